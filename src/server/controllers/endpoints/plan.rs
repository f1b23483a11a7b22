//! The Endpoints of a Service: addresses grouped by the ports they serve.

use crate::common::{
    backends::{self, BackendPort, addresses, families, hostname, is_backend, is_headless, publishes_not_ready},
    pods::{self, is_ready},
};
use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";

/// One object cannot carry any number of addresses; slices do.
const ADDRESSES_MAX: usize = 1000;

pub(super) struct Observed {
    pub(super) service: Option<Arc<Service>>,
    /// The pods it selects.
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) current: Option<Arc<Endpoints>>,
}

#[derive(Debug)]
pub(super) enum Action {
    Create(Endpoints),
    Update(Endpoints),
    Delete,
}

pub(super) fn plan(observed: &Observed) -> Option<Action> {
    let managed = |endpoints: &Endpoints| endpoints.labels().get(MANAGED_BY).is_some_and(|manager| manager == MANAGER);
    let Some(service) = observed.service.as_deref() else {
        // Endpoints that someone made for a Service by hand stay theirs.
        return observed.current.as_deref().filter(|current| managed(current)).map(|_| Action::Delete);
    };
    backends::selector(service)?;
    let (subsets, truncated) = truncate(subsets(service, &observed.pods));
    let subsets = Some(subsets).filter(|subsets| !subsets.is_empty());
    let Some(current) = observed.current.as_deref() else {
        let metadata = ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.namespace(),
            labels: Some(labels(service)),
            annotations: truncated.then(|| [(OVER_CAPACITY.to_owned(), "truncated".to_owned())].into()),
            ..ObjectMeta::default()
        };
        return Some(Action::Create(Endpoints { metadata, subsets }));
    };
    let mut new = current.clone();
    new.metadata.labels = Some(labels(service));
    if truncated {
        new.annotations_mut().insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else if new.annotations().contains_key(OVER_CAPACITY) {
        new.annotations_mut().remove(OVER_CAPACITY);
    }
    new.subsets = subsets;
    let unchanged = new.metadata == current.metadata
        && new.subsets.as_deref().unwrap_or_default() == current.subsets.as_deref().unwrap_or_default();
    (!unchanged).then_some(Action::Update(new))
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

/// Ports with the same addresses share a subset.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let family = families(service).first().copied().unwrap_or(backends::Family::V4);
    let everything = publishes_not_ready(service);
    let mut known: Vec<(EndpointAddress, bool)> = Vec::new();
    let mut by_port: BTreeMap<Option<BackendPort>, BTreeSet<usize>> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| is_backend(pod, everything)) {
        let Some(ip) = addresses(pod, family).into_iter().next() else { continue };
        let address = EndpointAddress {
            ip,
            hostname: hostname(pod, service),
            node_name: Some(pods::node(pod).to_owned()).filter(|node| !node.is_empty()),
            target_ref: Some(backends::target(pod)),
        };
        let portless = service.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_none_or(Vec::is_empty);
        let ports: Vec<Option<BackendPort>> = match portless {
            true if is_headless(service) => vec![None],
            true => Vec::new(),
            false => backends::ports(service, pod).into_iter().map(Some).collect(),
        };
        for port in ports {
            by_port.entry(port).or_default().insert(known.len());
        }
        known.push((address, everything || is_ready(pod)));
    }
    let mut by_addresses: BTreeMap<BTreeSet<usize>, Vec<BackendPort>> = BTreeMap::new();
    for (port, addresses) in by_port {
        by_addresses.entry(addresses).or_default().extend(port);
    }
    let subset = |(addresses, ports): (BTreeSet<usize>, Vec<BackendPort>)| {
        let pick = |ready: bool| {
            let chosen = addresses.iter().map(|index| &known[*index]).filter(|(_, is)| *is == ready);
            let mut chosen: Vec<EndpointAddress> = chosen.map(|(address, _)| address.clone()).collect();
            chosen.sort_by(|one, two| (&one.ip, uid(one)).cmp(&(&two.ip, uid(two))));
            Some(chosen).filter(|chosen| !chosen.is_empty())
        };
        let ports: Vec<EndpointPort> = ports.into_iter().map(endpoint_port).collect();
        EndpointSubset {
            addresses: pick(true),
            not_ready_addresses: pick(false),
            ports: Some(ports).filter(|ports| !ports.is_empty()),
        }
    };
    by_addresses.into_iter().map(subset).collect()
}

fn uid(address: &EndpointAddress) -> Option<&String> {
    address.target_ref.as_ref().and_then(|target| target.uid.as_ref())
}

fn endpoint_port(port: BackendPort) -> EndpointPort {
    EndpointPort {
        name: Some(port.name).filter(|name| !name.is_empty()),
        port: port.port,
        protocol: Some(port.protocol),
        app_protocol: port.app_protocol,
    }
}

/// Keeps ready addresses before others; says whether any had to go.
fn truncate(mut subsets: Vec<EndpointSubset>) -> (Vec<EndpointSubset>, bool) {
    let mut room = ADDRESSES_MAX;
    let mut truncated = false;
    let mut keep = |addresses: &mut Option<Vec<EndpointAddress>>| {
        let Some(list) = addresses else { return };
        truncated |= list.len() > room;
        list.truncate(room);
        room -= list.len();
        if list.is_empty() {
            *addresses = None;
        }
    };
    subsets.iter_mut().for_each(|subset| keep(&mut subset.addresses));
    subsets.iter_mut().for_each(|subset| keep(&mut subset.not_ready_addresses));
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    (subsets, truncated)
}
