//! The command line: what kubectl does, for any kubeconfig and any Kubernetes.
//!
//! Read `command.rs` (the verbs), then `session.rs` (what a run knows), `remote.rs` (requests), `resolve/` (from words to
//! objects), `printers/` (from objects to words), and one file of `verbs/`. `token/` is no verb of kubectl's: it makes what
//! lets machines join.
//!
//! Invariant: objects are untyped JSON here; a kind nobody compiled in works as well as a Pod.
//! Invariant: what is printed, the streams it goes to and the exit code are those of kubectl 1.36.
//! Invariant: nothing here knows mk8s' server, except for the place of its kubeconfig.

mod apply;
mod command;
mod describe;
mod explain;
mod failure;
mod flags;
mod kubeconfig;
mod printers;
mod record;
mod remote;
mod resolve;
pub mod say;
mod session;
mod streaming;
mod token;
mod verbs;

pub use token::{TokenArgs, token_command};

use std::{ffi::OsString, process::ExitCode};

/// Runs one command. `argv` begins with the program; a following `kubectl` is skipped.
pub fn main(mut argv: Vec<OsString>) -> ExitCode {
    if argv.get(1).is_some_and(|word| word == "kubectl") {
        argv.remove(1);
    }
    let parsed = match command::parse(argv) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            crate::errln!("error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(command::run(parsed));
    // Reads of a terminal cannot be cancelled; do not wait for them.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let (message, code) = failure::tell(&error);
            if !message.is_empty() {
                crate::errln!("{message}");
            }
            ExitCode::from(code)
        }
    }
}
