//! What the runtime is told of a pod's sandbox. Pure.

use super::{dns, facts, hosts, labels, resources, security};
use crate::{AgentOptions, cgroup};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use mk8s_cri::v1;
use std::{collections::HashMap, path::PathBuf};

/// Where a pod's containers log: `<namespace>_<name>_<uid>`.
pub fn log_folder(pod: &Pod, options: &AgentOptions) -> PathBuf {
    options.log_dir.join(format!("{}_{}_{}", facts::namespace(pod), facts::name(pod), facts::uid(pod)))
}

pub(super) fn config(pod: &Pod, options: &AgentOptions, attempt: u32) -> v1::PodSandboxConfig {
    let spec = facts::spec(pod);
    let annotations: HashMap<String, String> = pod.annotations().clone().into_iter().collect();
    let mut labels: HashMap<String, String> = pod.labels().clone().into_iter().collect();
    labels.extend(identity(pod));
    let sysctls = spec.security_context.iter().flat_map(|context| context.sysctls.iter().flatten());
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: facts::name(pod).to_owned(),
            namespace: facts::namespace(pod).to_owned(),
            uid: facts::uid(pod).to_owned(),
            attempt,
        }),
        hostname: match facts::host_network(pod) {
            true => String::new(),
            false => hosts::kernel_name(pod, &options.cluster_domain),
        },
        log_directory: log_folder(pod, options).display().to_string(),
        dns_config: Some(dns::config(pod, options)),
        port_mappings: port_mappings(pod),
        labels,
        annotations,
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: cgroup::parent_of(resources::qos_class(pod), facts::uid(pod)),
            security_context: Some(security::of_sandbox(pod)),
            sysctls: sysctls.map(|sysctl| (sysctl.name.clone(), sysctl.value.clone())).collect(),
            ..v1::LinuxPodSandboxConfig::default()
        }),
        windows: None,
    }
}

/// The labels by which what runs is found again.
pub(super) fn identity(pod: &Pod) -> [(String, String); 3] {
    [
        (labels::POD_NAME, facts::name(pod)),
        (labels::POD_NAMESPACE, facts::namespace(pod)),
        (labels::POD_UID, facts::uid(pod)),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
}

fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    if facts::host_network(pod) {
        return Vec::new();
    }
    let sidecars = facts::init_containers(pod).iter().filter(|container| facts::is_sidecar(container));
    let ports = facts::containers(pod).iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let mapped = ports.filter_map(|port| Some((port, port.host_port.filter(|host| *host > 0)?)));
    mapped
        .map(|(port, host_port)| v1::PortMapping {
            protocol: match port.protocol.as_deref() {
                Some("UDP") => v1::Protocol::Udp,
                Some("SCTP") => v1::Protocol::Sctp,
                _ => v1::Protocol::Tcp,
            } as i32,
            container_port: port.container_port,
            host_port,
            host_ip: port.host_ip.clone().unwrap_or_default(),
        })
        .collect()
}
