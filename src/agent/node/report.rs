//! The node's status as Kubernetes reports it. Pure.

use super::Machine;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        ContainerImage, DaemonEndpoint, NodeAddress, NodeCondition, NodeDaemonEndpoints, NodeRuntimeHandler,
        NodeStatus, NodeSystemInfo,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};
use std::{collections::BTreeMap, net::IpAddr};

/// How the node is, as far as it was measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Why the runtime is not ready; `None` when it is.
    pub runtime: Option<String>,
    /// Why pods cannot be given a network.
    pub network: Option<String>,
    pub memory_pressure: bool,
    pub disk_pressure: bool,
    pub pid_pressure: bool,
}

pub struct Report<'a> {
    pub machine: &'a Machine,
    pub health: &'a Health,
    pub node_name: &'a str,
    pub node_ip: IpAddr,
    pub version: &'a str,
    /// `containerd://1.7.1`.
    pub runtime_version: &'a str,
    pub images: &'a [ContainerImage],
    pub old: &'a NodeStatus,
    pub now: Timestamp,
}

/// Images that are listed; the rest is too much for an object that is written often.
const IMAGES_MAX: usize = 50;
/// Memory that is kept back, as eviction begins below it.
const MEMORY_RESERVE: i64 = 100 << 20;

impl Report<'_> {
    pub fn status(&self) -> NodeStatus {
        let machine = self.machine;
        NodeStatus {
            capacity: Some(self.resources(0, 100)),
            allocatable: Some(self.resources(MEMORY_RESERVE, 90)),
            addresses: Some(vec![
                NodeAddress { type_: "InternalIP".into(), address: self.node_ip.to_string() },
                NodeAddress { type_: "Hostname".into(), address: self.node_name.to_owned() },
            ]),
            conditions: Some(self.conditions()),
            daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(DaemonEndpoint { port: 10250 }) }),
            node_info: Some(NodeSystemInfo {
                architecture: mk8s_cri::archive::architecture().into(),
                boot_id: machine.boot_id.clone(),
                container_runtime_version: self.runtime_version.to_owned(),
                kernel_version: machine.kernel.clone(),
                kube_proxy_version: String::new(),
                kubelet_version: self.version.to_owned(),
                machine_id: machine.machine_id.clone(),
                operating_system: "linux".into(),
                os_image: machine.os_image.clone(),
                swap: None,
                system_uuid: machine.system_uuid.clone(),
            }),
            images: Some(self.images.iter().take(IMAGES_MAX).cloned().collect()),
            runtime_handlers: Some(vec![
                NodeRuntimeHandler { name: Some(String::new()), features: None },
                NodeRuntimeHandler { name: Some("runc".into()), features: None },
            ]),
            volumes_attached: self.old.volumes_attached.clone(),
            volumes_in_use: self.old.volumes_in_use.clone(),
            ..NodeStatus::default()
        }
    }

    fn resources(&self, memory_reserve: i64, storage_percent: i64) -> BTreeMap<String, Quantity> {
        let capacity = self.machine.capacity;
        let hugepages: i64 = self.machine.hugepages.iter().map(|(_, bytes)| bytes).sum();
        let memory = if memory_reserve == 0 { capacity.memory } else { capacity.memory - memory_reserve - hugepages };
        let storage = match storage_percent {
            100 => format!("{}Ki", capacity.storage / 1024),
            percent => (capacity.storage / 100 * percent).to_string(),
        };
        let mut out = BTreeMap::from([
            ("cpu".to_owned(), Quantity((capacity.milli_cpu / 1000).to_string())),
            ("memory".to_owned(), Quantity(format!("{}Ki", memory / 1024))),
            ("ephemeral-storage".to_owned(), Quantity(storage)),
            ("pods".to_owned(), Quantity(capacity.pods.to_string())),
        ]);
        for (size, bytes) in &self.machine.hugepages {
            let amount = if *bytes == 0 { "0".to_owned() } else { format!("{}Ki", bytes / 1024) };
            out.insert(format!("hugepages-{size}"), Quantity(amount));
        }
        out
    }

    fn conditions(&self) -> Vec<NodeCondition> {
        let health = self.health;
        let pressure = |type_: &str, bad: bool, good_reason: &str, good: &str, bad_reason: &str, why: &str| match bad {
            false => self.condition(type_, "False", good_reason, good.to_owned()),
            true => self.condition(type_, "True", bad_reason, why.to_owned()),
        };
        let problems: Vec<String> = health
            .runtime
            .iter()
            .map(|why| format!("container runtime is down: {why}"))
            .chain(health.network.iter().map(|why| format!("container runtime network not ready: {why}")))
            .collect();
        let ready = match problems.is_empty() {
            true => self.condition("Ready", "True", "KubeletReady", "kubelet is posting ready status".into()),
            false => self.condition("Ready", "False", "KubeletNotReady", problems.join(", ")),
        };
        let foreign = self.old.conditions.iter().flatten();
        let own = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
        let mut out: Vec<NodeCondition> =
            foreign.filter(|condition| !own.contains(&condition.type_.as_str())).cloned().collect();
        out.extend([
            pressure(
                own[0],
                health.memory_pressure,
                "KubeletHasSufficientMemory",
                "kubelet has sufficient memory available",
                "KubeletHasInsufficientMemory",
                "kubelet has insufficient memory available",
            ),
            pressure(
                own[1],
                health.disk_pressure,
                "KubeletHasNoDiskPressure",
                "kubelet has no disk pressure",
                "KubeletHasDiskPressure",
                "kubelet has disk pressure",
            ),
            pressure(
                own[2],
                health.pid_pressure,
                "KubeletHasSufficientPID",
                "kubelet has sufficient PID available",
                "KubeletHasInsufficientPID",
                "kubelet has insufficient PID available",
            ),
            ready,
        ]);
        out
    }

    fn condition(&self, type_: &str, status: &str, reason: &str, message: String) -> NodeCondition {
        let old = self.old.conditions.iter().flatten().find(|old| old.type_ == type_ && old.status == status);
        NodeCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_heartbeat_time: Some(Time(self.now)),
            last_transition_time: Some(old.and_then(|old| old.last_transition_time.clone()).unwrap_or(Time(self.now))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Capacity;
    use expect_test::expect;

    #[test]
    fn the_network_decides_readiness() {
        let capacity = Capacity { milli_cpu: 2000, memory: 1 << 30, storage: 100 << 20, pods: 110 };
        let machine = Machine { capacity, ..Machine::default() };
        let lines = |health: &Health| {
            let old = NodeStatus::default();
            let report = Report {
                machine: &machine,
                health,
                node_name: "n1",
                node_ip: IpAddr::from([10, 0, 0, 1]),
                version: "v1",
                runtime_version: "containerd://1",
                images: &[],
                old: &old,
                now: Timestamp::UNIX_EPOCH,
            };
            let status = report.status();
            let conditions = status.conditions.unwrap_or_default().into_iter();
            let mut out: Vec<String> = conditions
                .map(|c| {
                    format!(
                        "{}={} {}: {}",
                        c.type_,
                        c.status,
                        c.reason.unwrap_or_default(),
                        c.message.unwrap_or_default()
                    )
                })
                .collect();
            out.push(format!("{:?}", status.allocatable.unwrap_or_default()));
            out.join("\n")
        };
        expect![[r#"
            MemoryPressure=False KubeletHasSufficientMemory: kubelet has sufficient memory available
            DiskPressure=False KubeletHasNoDiskPressure: kubelet has no disk pressure
            PIDPressure=False KubeletHasSufficientPID: kubelet has sufficient PID available
            Ready=True KubeletReady: kubelet is posting ready status
            {"cpu": Quantity("2"), "ephemeral-storage": Quantity("94371840"), "memory": Quantity("946176Ki"), "pods": Quantity("110")}"#]]
        .assert_eq(&lines(&Health::default()));
        let health = Health { network: Some("no CNI".into()), disk_pressure: true, ..Health::default() };
        let text = lines(&health);
        assert!(text.contains("Ready=False KubeletNotReady: container runtime network not ready: no CNI"), "{text}");
        assert!(text.contains("DiskPressure=True KubeletHasDiskPressure"), "{text}");
    }
}
