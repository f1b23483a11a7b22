//! Clients that nobody here wrote, doing what programs do: create, list, watch, patch, exec, logs.

mod kube;

use crate::support::{shared, space::Space, tools};
use std::{fs, process::Command};

/// A program that exits with success when everything was as it should be; it gets the namespace as its argument.
fn passes(mut command: Command, namespace: &'static str) {
    let space = Space::new(shared(), namespace);
    let output = command.arg(space.name).output().expect("the client can be started");
    let text = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n--- server:\n{}", String::from_utf8_lossy(&text), shared().log_tail());
}

#[test]
fn python() {
    let mut command = shared().command("timeout");
    command.arg("120").arg(tools::python()).arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/python/check.py"));
    passes(command, "client-python");
}

#[test]
fn node() {
    // A module finds its packages from the folder it is in.
    let script = tools::node_modules().with_file_name("check.mjs");
    fs::write(&script, include_str!("node/check.mjs")).expect("the script can be written");
    let mut command = shared().command("timeout");
    command.args(["120", "node"]).arg(script);
    passes(command, "client-node");
}
