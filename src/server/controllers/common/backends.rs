//! Which pods stand behind a Service, and how Services are found for a pod.

use super::{
    pods::{self, is_finished, is_ready},
    selectors::{Labels, has_all},
};
use k8s_openapi::{
    api::core::v1::{ContainerPort, ObjectReference, Service, ServicePort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use mk8s_client::{Change, Informer, Key, WorkQueue, kube::ResourceExt, pod::Pod};
use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

/// One address family of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }

    fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// One port of a Service as a pod answers to it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BackendPort {
    pub(crate) name: String,
    pub(crate) protocol: String,
    pub(crate) port: i32,
    pub(crate) app_protocol: Option<String>,
}

/// The selector of a Service whose endpoints are kept by controllers.
pub(crate) fn selector(service: &Service) -> Option<&Labels> {
    let spec = service.spec.as_ref()?;
    let external = spec.type_.as_deref() == Some("ExternalName");
    // Stored as an empty map, a selector selects nothing rather than everything.
    spec.selector.as_ref().filter(|selector| !external && !selector.is_empty())
}

pub(crate) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses) == Some(true)
}

/// Without an address of its own; clients find the pods by name.
pub(crate) fn is_headless(service: &Service) -> bool {
    let address = service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()).unwrap_or_default();
    address == "None" || address.is_empty()
}

/// The families of a Service; one that does not say yet has the family of its address, or IPv4.
pub(crate) fn families(service: &Service) -> Vec<Family> {
    let spec = service.spec.as_ref();
    let named = spec.and_then(|spec| spec.ip_families.as_ref()).into_iter().flatten();
    let mut families: Vec<Family> = named.map(|name| if name == "IPv6" { Family::V6 } else { Family::V4 }).collect();
    if families.is_empty() {
        let address = spec.and_then(|spec| spec.cluster_ip.as_deref()).and_then(|address| address.parse().ok());
        families.push(address.map_or(Family::V4, Family::of));
    }
    families
}

/// A pod's addresses of one family, in their usual form.
pub(crate) fn addresses(pod: &Pod, family: Family) -> Vec<String> {
    let status = pod.status.as_ref();
    let listed = status.and_then(|status| status.pod_ips.as_ref()).into_iter().flatten().map(|address| &address.ip);
    let parsed = listed.filter_map(|address| address.parse::<IpAddr>().ok());
    parsed.filter(|address| Family::of(*address) == family).map(|address| address.to_string()).collect()
}

/// It has an address and has not ended. One that is being deleted counts only where that is told of it.
pub(crate) fn is_backend(pod: &Pod, with_terminating: bool) -> bool {
    let has_address = pod.status.as_ref().is_some_and(|status| {
        status.pod_ip.as_ref().is_some_and(|address| !address.is_empty())
            || status.pod_ips.as_ref().is_some_and(|addresses| !addresses.is_empty())
    });
    let dying = pod.metadata.deletion_timestamp.is_some();
    has_address && !is_finished(pod) && (with_terminating || !dying)
}

/// The name under which a pod of a headless Service is found.
pub(crate) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let ours = spec.subdomain == service.metadata.name && pod.metadata.namespace == service.metadata.namespace;
    spec.hostname.clone().filter(|hostname| ours && !hostname.is_empty())
}

pub(crate) fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.namespace(),
        name: pod.metadata.name.clone(),
        uid: pod.uid(),
        ..ObjectReference::default()
    }
}

/// The ports of a Service that a pod has, in the Service's order.
pub(crate) fn ports(service: &Service, pod: &Pod) -> Vec<BackendPort> {
    let ports = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).into_iter().flatten();
    let backend = |port: &ServicePort| {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        Some(BackendPort {
            name: port.name.clone().unwrap_or_default(),
            protocol: protocol.to_owned(),
            port: target_port(port, protocol, pod)?,
            app_protocol: port.app_protocol.clone(),
        })
    };
    ports.filter_map(backend).collect()
}

/// A number stands for itself, a name for the port that a container of the pod gives it.
fn target_port(port: &ServicePort, protocol: &str, pod: &Pod) -> Option<i32> {
    let name = match port.target_port.as_ref() {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    // Init containers that go on running serve, too.
    let sidecars = spec.init_containers.iter().flatten();
    let sidecars = sidecars.filter(|container| container.restart_policy.as_deref() == Some("Always"));
    let declared = spec.containers.iter().chain(sidecars).flat_map(|container| container.ports.iter().flatten());
    let named = |declared: &&ContainerPort| {
        declared.name.as_ref() == Some(name) && declared.protocol.as_deref().unwrap_or("TCP") == protocol
    };
    declared.into_iter().find(named).map(|declared| declared.container_port)
}

/// An index of Services by one pair of their selector: a pod need not be compared with every Service.
pub(crate) const BY_SELECTOR: &str = "selector";

pub(crate) fn index_by_selector(services: &Informer<Service>) {
    services.index(BY_SELECTOR, |service| {
        let namespace = service.namespace().unwrap_or_default();
        let pair = selector(service).and_then(|selector| selector.first_key_value());
        pair.map(|(key, value)| term(&namespace, key, value)).into_iter().collect()
    });
}

fn term(namespace: &str, key: &str, value: &str) -> String {
    format!("{namespace}/{key}={value}")
}

pub(crate) fn services_of(services: &Informer<Service>, pod: &Pod) -> BTreeSet<Key> {
    let namespace = pod.namespace().unwrap_or_default();
    let candidates =
        pod.labels().iter().flat_map(|(key, value)| services.indexed(BY_SELECTOR, &term(&namespace, key, value)));
    let selects = |service: &Arc<Service>| {
        selector(service).is_some_and(|selector| has_all(pod.metadata.labels.as_ref(), selector))
    };
    candidates.filter(selects).map(|service| Key::of(service.as_ref())).collect()
}

/// Queues the Services that a pod's change concerns.
pub(crate) fn queue_services(change: &Change<Pod>, services: &Informer<Service>, queue: &WorkQueue<Key>) {
    if let Change::Updated { old, new } = change
        && seen_by_services(old) == seen_by_services(new)
    {
        return;
    }
    for pod in [Some(change.object()), change.old()].into_iter().flatten() {
        services_of(services, pod).into_iter().for_each(|key| queue.add(key));
    }
}

/// All that endpoints tell of a pod.
fn seen_by_services(pod: &Pod) -> impl PartialEq + '_ {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    (
        is_ready(pod),
        pods::phase(pod),
        pod.metadata.deletion_timestamp.is_some(),
        status.map(|status| (&status.pod_ip, &status.pod_ips)),
        spec.map(|spec| (&spec.node_name, &spec.hostname, &spec.subdomain)),
        &pod.metadata.labels,
        &pod.metadata.uid,
    )
}
