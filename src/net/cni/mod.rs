//! The CNI plugin: what containerd runs to give a pod its network (CNI spec 1.1, answering 0.3.0 to 1.1.0).
//!
//! One bridge a node, one veth pair a pod. A pod's address is a /32 whose only route is the node, so that *every* packet a
//! pod sends is routed by the node, also between two pods of one bridge: service translation, source addresses and
//! (later) policy hold on every path, with or without the kernel's bridge-netfilter.
//!
//! ```text
//!   pod netns: eth0 10.42.0.7/32 -- default via 10.42.0.1
//!      |
//!   vethXXXX (port, hairpin) -- cni0 10.42.0.1/24 -- routing + nftables -- uplink
//! ```
//!
//! Reading order: `conf` (what is asked), `address` (who has which address, on disk), `attach` (what is done to the
//! kernel), `pods` (the nftables rules), `result` and `error` (what is answered).
//!
//! Invariant: what a DEL needs is on disk or derived from the container's id; it succeeds without a network namespace and
//! when run twice.

mod address;
mod attach;
mod conf;
mod error;
mod pods;
mod result;
#[cfg(test)]
mod tests;

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};

pub use error::{CniError, Code};

use attach::Attachment;
use conf::NetConf;

/// The versions of the specification this plugin speaks.
const VERSIONS: [&str; 6] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", "0.2.0"];
/// Answered when the input is too broken to name a version.
const NEWEST: &str = "1.1.0";

/// The name of the nftables table the plugin keeps.
pub use pods::TABLE as PODS_TABLE;

/// The plugin's `main`: reads `CNI_*` and standard input, writes a result or an error to standard output.
pub fn cni_main() -> ExitCode {
    let mut input = Vec::new();
    let outcome = match std::io::stdin().read_to_end(&mut input) {
        Ok(_) => run(|name| std::env::var(name).ok(), &input),
        Err(error) => Err(CniError::new(Code::Io, "cannot read the network configuration").because(&error)),
    };
    let (output, code) = match outcome {
        Ok(output) => (output, ExitCode::SUCCESS),
        Err(error) => (Some(error.to_json(&spoken_version(&input))), ExitCode::FAILURE),
    };
    if let Some(output) = output {
        // The runtime that closed the pipe no longer cares for the answer.
        let _ = writeln!(std::io::stdout().lock(), "{output}");
    }
    code
}

/// The version errors are answered in: the asked one if it is known.
fn spoken_version(input: &[u8]) -> String {
    let conf: Value = serde_json::from_slice(input).unwrap_or_default();
    let asked = conf["cniVersion"].as_str().unwrap_or(NEWEST);
    if VERSIONS.contains(&asked) { asked.to_owned() } else { NEWEST.to_owned() }
}

fn run(env: impl Fn(&str) -> Option<String>, input: &[u8]) -> Result<Option<Value>, CniError> {
    let command = env("CNI_COMMAND").unwrap_or_default();
    if command == "VERSION" {
        let asked: Value = serde_json::from_slice(input).unwrap_or_default();
        return Ok(Some(json!({
            "cniVersion": asked["cniVersion"].as_str().unwrap_or(NEWEST),
            "supportedVersions": VERSIONS,
        })));
    }
    if !["ADD", "DEL", "CHECK", "STATUS", "GC"].contains(&command.as_str()) {
        return Err(CniError::new(Code::InvalidEnvironment, format!("unknown CNI_COMMAND {command:?}")));
    }
    let conf = NetConf::parse(input)?;
    if conf.plugin_type == "loopback" {
        return loopback(&command, &conf, &env);
    }
    let conf = conf.validate()?;
    match command.as_str() {
        "ADD" => {
            let attachment = attachment(&env)?;
            let result = attach::add(&conf, &attachment)?;
            Ok(Some(result.to_json(&conf.cni_version)))
        }
        "DEL" => attach::del(&conf, &attachment_to_remove(&env)?).map(|()| None),
        "CHECK" => attach::check(&conf, &attachment(&env)?).map(|()| None),
        "STATUS" => attach::status(&conf).map(|()| None),
        _ => attach::gc(&conf).map(|()| None),
    }
}

fn attachment(env: &impl Fn(&str) -> Option<String>) -> Result<Attachment, CniError> {
    let attachment = attachment_to_remove(env)?;
    match attachment.netns {
        Some(_) => Ok(attachment),
        None => Err(CniError::new(Code::InvalidEnvironment, "required env variable [CNI_NETNS] missing")),
    }
}

/// For DEL the network namespace may be gone.
fn attachment_to_remove(env: &impl Fn(&str) -> Option<String>) -> Result<Attachment, CniError> {
    let required = |name: &str| {
        env(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| CniError::new(Code::InvalidEnvironment, format!("required env variable [{name}] missing")))
    };
    let container = required("CNI_CONTAINERID")?;
    let ifname = required("CNI_IFNAME")?;
    let name_ok = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !container.bytes().all(name_ok) || !container.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(CniError::new(Code::InvalidEnvironment, format!("invalid CNI_CONTAINERID {container:?}")));
    }
    let ifname_ok = ifname.len() <= 15
        && ifname != "."
        && ifname != ".."
        && !ifname.bytes().any(|byte| byte == b'/' || byte == b':' || byte.is_ascii_whitespace());
    if !ifname_ok {
        return Err(CniError::new(Code::InvalidEnvironment, format!("invalid CNI_IFNAME {ifname:?}")));
    }
    let netns = env("CNI_NETNS").filter(|path| !path.is_empty()).map(PathBuf::from);
    Ok(Attachment { container, ifname, netns })
}

/// The plugin a runtime calls under the name `loopback`: sets a sandbox's `lo` up.
fn loopback(command: &str, conf: &NetConf, env: &impl Fn(&str) -> Option<String>) -> Result<Option<Value>, CniError> {
    match command {
        "ADD" => {
            let attachment = attachment(env)?;
            let result = attach::loopback(&attachment)?;
            Ok(Some(result.to_json(&conf.cni_version)))
        }
        _ => Ok(None),
    }
}
