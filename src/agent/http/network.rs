//! Connections made inside a pod's network namespace.

use nix::sched::{CloneFlags, setns};
use std::{
    fs::File,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

const DIAL: Duration = Duration::from_secs(10);

/// The namespace of a sandbox, from what the runtime says about it.
pub(super) fn namespace_of(info: &str) -> Option<PathBuf> {
    let info: serde_json::Value = serde_json::from_str(info).ok()?;
    let spec = info["runtimeSpec"]["linux"]["namespaces"].as_array();
    let network = spec.into_iter().flatten().find(|namespace| namespace["type"] == "network");
    let path = network.and_then(|namespace| namespace["path"].as_str()).filter(|path| !path.is_empty());
    path.map(PathBuf::from).or_else(|| {
        let pid = info["pid"].as_u64().filter(|pid| *pid > 0)?;
        Some(format!("/proc/{pid}/ns/net").into())
    })
}

/// Connects to a port of the loopback address there. A thread of its own changes the namespace and ends with it changed.
pub(super) async fn connect(namespace: Option<PathBuf>, port: u16) -> io::Result<tokio::net::TcpStream> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    std::thread::Builder::new().name("pod-network".into()).spawn(move || {
        // The receiver is gone when nobody waits any more.
        let _ = sender.send(connect_here(namespace.as_deref(), port));
    })?;
    let stream = receiver.await.map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

fn connect_here(namespace: Option<&Path>, port: u16) -> io::Result<TcpStream> {
    if let Some(namespace) = namespace {
        setns(File::open(namespace)?, CloneFlags::CLONE_NEWNET)?;
    }
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&v4, DIAL).or_else(|error| {
        let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        TcpStream::connect_timeout(&v6, DIAL).map_err(|_| error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_found() {
        let cases = [
            (
                r#"{"pid": 7, "runtimeSpec": {"linux": {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/run/netns/x"}]}}}"#,
                Some("/run/netns/x"),
            ),
            (r#"{"pid": 7}"#, Some("/proc/7/ns/net")),
            ("{}", None),
            ("nonsense", None),
        ];
        for (info, expected) in cases {
            assert_eq!(namespace_of(info).as_deref(), expected.map(Path::new));
        }
    }
}
