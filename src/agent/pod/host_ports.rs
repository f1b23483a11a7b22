//! Which pod has which port of the node: a pod that was put here for a port that another one has is rejected.

use super::facts;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::HashMap;

/// By the pod's uid.
#[derive(Default)]
pub(super) struct HostPorts(Mutex<HashMap<String, Vec<HostPort>>>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPort {
    /// Empty for all addresses.
    ip: String,
    protocol: String,
    port: i32,
}

impl HostPort {
    fn collides(&self, other: &HostPort) -> bool {
        let same_address = self.ip == other.ip || self.ip.is_empty() || other.ip.is_empty();
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

fn ports_of(pod: &Pod) -> Vec<HostPort> {
    let sidecars = facts::init_containers(pod).iter().filter(|container| facts::is_sidecar(container));
    let ports = facts::containers(pod).iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let host_port = |port: &k8s_openapi::api::core::v1::ContainerPort| {
        Some(HostPort {
            ip: port.host_ip.clone().filter(|ip| ip != "0.0.0.0").unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: port.host_port.filter(|port| *port > 0)?,
        })
    };
    ports.filter_map(host_port).collect()
}

impl HostPorts {
    /// True when the pod has its ports from now on, until they are released.
    pub(super) fn take(&self, pod: &Pod) -> bool {
        let wanted = ports_of(pod);
        let mut held = self.0.lock();
        let others = held.iter().filter(|(uid, _)| *uid != facts::uid(pod)).flat_map(|(_, ports)| ports);
        if others.into_iter().any(|port| wanted.iter().any(|wanted| wanted.collides(port))) {
            return false;
        }
        if !wanted.is_empty() {
            held.insert(facts::uid(pod).to_owned(), wanted);
        }
        true
    }

    /// A pod that runs already has its ports, whoever else wants them.
    pub(super) fn keep(&self, pod: &Pod) {
        let ports = ports_of(pod);
        if !ports.is_empty() {
            self.0.lock().insert(facts::uid(pod).to_owned(), ports);
        }
    }

    pub(super) fn release(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(uid: &str, port: serde_json::Value) -> Pod {
        let container = json!({"name": "c", "ports": [port]});
        serde_json::from_value(json!({"metadata": {"uid": uid, "name": uid}, "spec": {"containers": [container]}}))
            .expect("a pod")
    }

    #[test]
    fn a_port_is_one_pods() {
        let ports = HostPorts::default();
        let first = pod("a", json!({"containerPort": 1, "hostPort": 80}));
        assert!(ports.take(&first));
        assert!(ports.take(&first), "its own port is in no one's way");
        let table = [
            (json!({"containerPort": 2, "hostPort": 80}), false),
            (json!({"containerPort": 2, "hostPort": 80, "protocol": "TCP", "hostIP": "127.0.0.1"}), false),
            (json!({"containerPort": 2, "hostPort": 80, "protocol": "UDP"}), true),
            (json!({"containerPort": 2, "hostPort": 81}), true),
            (json!({"containerPort": 80}), true),
        ];
        for (port, expected) in table {
            let other = pod("b", port.clone());
            assert_eq!(ports.take(&other), expected, "{port}");
            ports.release("b");
        }
        ports.release("a");
        assert!(ports.take(&pod("b", json!({"containerPort": 2, "hostPort": 80}))));
    }
}
