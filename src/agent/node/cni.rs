//! The network configuration that the runtime reads, and the plugin it names.
//!
//! Written when the node has its pod CIDR. The runtime is not told a network before that, so no pod gets a wrong address.

use crate::AgentOptions;
use std::{fs, io, path::Path};

/// Writes the configuration; false when it was there already.
pub fn write_config(options: &AgentOptions, pod_cidr: &str) -> io::Result<bool> {
    let paths = options.paths();
    let text = config(options, pod_cidr).to_string();
    let file = paths.cni_conf().join("10-mk8s.conflist");
    if fs::read_to_string(&file).is_ok_and(|old| old == text) {
        return Ok(false);
    }
    fs::create_dir_all(paths.cni_conf())?;
    // In place and in one write: containerd looks again when a file is written, not when one is renamed into the folder.
    fs::write(&file, text)?;
    Ok(true)
}

fn config(options: &AgentOptions, pod_cidr: &str) -> serde_json::Value {
    serde_json::json!({
        "cniVersion": "1.0.0",
        "name": "mk8s",
        "plugins": [{
            "type": "mk8s-cni",
            "bridge": options.bridge,
            "podCidr": pod_cidr,
            "clusterCidr": options.cluster_cidr,
            "mtu": options.mtu.unwrap_or_else(|| link_mtu(options.node_ip).unwrap_or(1500) - options.mtu_overhead),
            "dataDir": options.paths().root.join("cni/state"),
            "capabilities": {"portMappings": true},
        }],
    })
}

/// The MTU of the link that has the node's address.
fn link_mtu(address: std::net::IpAddr) -> Option<u32> {
    let mut links = nix::ifaddrs::getifaddrs().ok()?;
    let link = links.find(|link| {
        let ip = link.address.as_ref().and_then(|at| {
            let v4 = at.as_sockaddr_in().map(|v4| std::net::IpAddr::from(v4.ip()));
            v4.or_else(|| at.as_sockaddr_in6().map(|v6| v6.ip().into()))
        });
        ip == Some(address)
    })?;
    let mtu: u32 = fs::read_to_string(Path::new("/sys/class/net").join(link.interface_name).join("mtu"))
        .ok()?
        .trim()
        .parse()
        .ok()?;
    // That of the loopback link says nothing about packets on a wire.
    Some(mtu.min(9000)).filter(|mtu| *mtu >= 576)
}

/// The plugins the runtime calls: ours, and the one that containerd calls for every pod's `lo`. Both are this executable.
const PLUGINS: [&str; 2] = ["mk8s-cni", "loopback"];

/// Makes the plugins links to the executable.
pub fn link_plugins(options: &AgentOptions) -> io::Result<()> {
    let folder = options.paths().cni_bin();
    fs::create_dir_all(&folder)?;
    let program = match &options.executable {
        Some(program) => program.clone(),
        None => std::env::current_exe()?,
    };
    PLUGINS.iter().try_for_each(|plugin| link(&folder, plugin, &program))
}

fn link(folder: &Path, plugin: &str, program: &Path) -> io::Result<()> {
    let link = folder.join(plugin);
    if fs::read_link(&link).is_ok_and(|target| target == program) {
        return Ok(());
    }
    let fresh = folder.join(format!(".{plugin}.new"));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    std::os::unix::fs::symlink(program, &fresh)?;
    fs::rename(&fresh, &link)
}
