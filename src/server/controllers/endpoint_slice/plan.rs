//! The slices of a Service, changed as little as its pods allow.

use super::topology::{self, Shares, Slices};
use crate::common::{
    backends::{
        self, BackendPort, Family, addresses, families, hostname, is_backend, is_headless, publishes_not_ready,
    },
    claims::controller_ref,
    pods::{self, is_ready},
    slices::{Action, MANAGED_BY, SERVICE_NAME},
};
use k8s_openapi::{
    api::{
        core::v1::Service,
        discovery::v1::{Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

const ENDPOINTS_MAX: usize = 100;

pub(super) struct Observed {
    pub(super) service: Arc<Service>,
    /// The pods it selects.
    pub(super) pods: Vec<Arc<Pod>>,
    /// The pods' nodes as far as there are any, with their zones where they say one.
    pub(super) nodes: HashMap<String, Option<String>>,
    /// The slices kept for it.
    pub(super) slices: Vec<Arc<EndpointSlice>>,
    /// How much of the cluster each zone is, for a Service that asks to stay in its zone.
    pub(super) shares: Shares,
}

/// What is done to the slices.
#[derive(Default)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    /// For a Service that asks to stay in its zone: for each family whether it can, or why not.
    pub(super) hinted: Vec<(Family, Result<(), String>)>,
}

/// What makes an endpoint the same one: its address and the pod behind it.
type Identity = (Vec<String>, Option<String>);

fn identity(endpoint: &Endpoint) -> Identity {
    (endpoint.addresses.clone(), endpoint.target_ref.as_ref().and_then(|target| target.uid.clone()))
}

pub(super) fn plan(observed: &Observed) -> Plan {
    let families = families(&observed.service);
    let mut plan = Plan::default();
    let mut deletes: Vec<Arc<EndpointSlice>> = Vec::new();
    let (mut updates, mut creates) = (Vec::new(), Vec::new());
    let named = |slice: &EndpointSlice| families.iter().any(|family| slice.address_type == family.name());
    deletes.extend(observed.slices.iter().filter(|slice| !named(slice)).cloned());
    for family in &families {
        let of_family = observed.slices.iter().filter(|slice| slice.address_type == family.name()).cloned().collect();
        let mut slices = plan_family(observed, *family, of_family, &mut deletes);
        if topology::is_asked_for(&observed.service) {
            plan.hinted.push((*family, topology::add_hints(&observed.shares, &mut slices)));
        }
        updates.append(&mut slices.updates);
        creates.append(&mut slices.creates);
    }
    let deletes = deletes.into_iter().map(|slice| Action::Delete { name: slice.name_any(), uid: slice.uid() });
    let updates = updates.into_iter().map(|slice| Action::Update(Box::new(slice)));
    let creates = creates.into_iter().map(|slice| Action::Create(Box::new(slice)));
    plan.actions = deletes.chain(updates).chain(creates).collect();
    plan
}

fn plan_family(
    observed: &Observed,
    family: Family,
    slices: Vec<Arc<EndpointSlice>>,
    deletes: &mut Vec<Arc<EndpointSlice>>,
) -> Slices {
    let service = observed.service.as_ref();
    let uid = service.uid().unwrap_or_default();
    let (owned, foreign): (Vec<_>, Vec<_>) =
        slices.into_iter().partition(|slice| slice.owner_references().iter().any(|owner| owner.uid == uid));
    deletes.extend(foreign);
    // Pods may give a named port different numbers: then there are slices for each.
    let mut wanted: BTreeMap<Vec<BackendPort>, Vec<Endpoint>> = BTreeMap::new();
    for pod in observed.pods.iter().filter(|pod| is_backend(pod, true) && has_node(observed, pod)) {
        let endpoint = endpoint(observed, pod, family);
        if !endpoint.addresses.is_empty() {
            wanted.entry(backends::ports(service, pod)).or_default().push(endpoint);
        }
    }
    let mut existing: BTreeMap<Vec<BackendPort>, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in owned {
        existing.entry(ports_of(&slice)).or_default().push(slice);
    }
    let mut kept = Slices::default();
    for (ports, endpoints) in wanted {
        let slices = existing.remove(&ports).unwrap_or_default();
        let filled = fill(service, family, &ports, endpoints, slices);
        deletes.extend(filled.deletes);
        kept.unchanged.extend(filled.kept.unchanged);
        kept.updates.extend(filled.kept.updates);
        kept.creates.extend(filled.kept.creates);
    }
    // With nothing to list, one empty slice says that someone looked.
    let mut spare = existing.into_values().flatten();
    if kept.unchanged.is_empty() && kept.updates.is_empty() && kept.creates.is_empty() {
        let empty = new_slice(service, family, &[], Vec::new());
        let mut rest: Vec<_> = spare.by_ref().collect();
        match rest.iter().position(|slice| ports_of(slice).is_empty()) {
            Some(index) => {
                let slice = rest.swap_remove(index);
                let relabeled = EndpointSlice { endpoints: Some(Vec::new()), ..with_labels(service, &slice) };
                if slice.endpoints.as_ref().is_some_and(|endpoints| !endpoints.is_empty())
                    || relabeled.metadata != slice.metadata
                {
                    kept.updates.push(relabeled);
                }
            }
            None => kept.creates.push(empty),
        }
        deletes.extend(rest);
    }
    deletes.extend(spare);
    kept
}

/// A pod whose node is gone is as good as gone, unless its address is to be told in any case.
fn has_node(observed: &Observed, pod: &Pod) -> bool {
    publishes_not_ready(&observed.service) || observed.nodes.contains_key(pods::node(pod))
}

#[derive(Default)]
struct Filled {
    kept: Slices,
    deletes: Vec<Arc<EndpointSlice>>,
}

/// Endpoints stay in the slices they are in; new ones go where slices are written anyway, then where there is room, then
/// into new slices.
fn fill(
    service: &Service,
    family: Family,
    ports: &[BackendPort],
    endpoints: Vec<Endpoint>,
    slices: Vec<Arc<EndpointSlice>>,
) -> Filled {
    let order: Vec<Identity> = endpoints.iter().map(identity).collect();
    let mut missing: HashMap<Identity, Endpoint> = order.iter().cloned().zip(endpoints).collect();
    let mut drafts: Vec<(Arc<EndpointSlice>, EndpointSlice)> = Vec::new();
    let by_topology = topology::is_asked_for(service);
    for slice in slices {
        let mut draft = with_labels(service, &slice);
        let listed = draft.endpoints.take().unwrap_or_default();
        let still = listed.into_iter().filter_map(|old| {
            let mut new = missing.remove(&identity(&old))?;
            if by_topology && topology::is_ready(&new) {
                // Whether they still do is for all slices together.
                new.hints = old.hints;
            }
            Some(new)
        });
        draft.endpoints = Some(still.collect());
        drafts.push((slice, draft));
    }
    let mut new: Vec<Endpoint> = order.iter().filter_map(|identity| missing.remove(identity)).collect();
    let is_changed = |old: &EndpointSlice, draft: &EndpointSlice| {
        draft.metadata != old.metadata
            || draft.endpoints.as_deref().unwrap_or_default() != old.endpoints.as_deref().unwrap_or_default()
    };
    drafts.sort_by_key(|(old, draft)| !is_changed(old, draft));
    for (_, draft) in &mut drafts {
        let listed = draft.endpoints.get_or_insert_default();
        let room = ENDPOINTS_MAX.saturating_sub(listed.len()).min(new.len());
        listed.extend(new.drain(..room));
    }
    let mut filled = Filled::default();
    for (old, draft) in drafts {
        if draft.endpoints.as_ref().is_none_or(Vec::is_empty) {
            filled.deletes.push(old);
            continue;
        }
        match is_changed(&old, &draft) {
            true => filled.kept.updates.push(draft),
            false => filled.kept.unchanged.push(draft),
        }
    }
    let chunks = new.chunks(ENDPOINTS_MAX).map(<[Endpoint]>::to_vec);
    filled.kept.creates = chunks.map(|chunk| new_slice(service, family, ports, chunk)).collect();
    filled
}

fn endpoint(observed: &Observed, pod: &Pod, family: Family) -> Endpoint {
    let service = observed.service.as_ref();
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let serving = is_ready(pod);
    let ready = publishes_not_ready(service) || (serving && !terminating);
    let node = Some(pods::node(pod)).filter(|node| !node.is_empty());
    let zone = node.and_then(|node| observed.nodes.get(node)).cloned().flatten();
    Endpoint {
        addresses: addresses(pod, family),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(pod, service),
        hints: hints(service, ready, node, zone.as_deref()),
        node_name: node.map(str::to_owned),
        target_ref: Some(backends::target(pod)),
        zone,
        deprecated_topology: None,
    }
}

/// Traffic that prefers to stay near is told where near is; the annotation says more than the field.
fn hints(service: &Service, ready: bool, node: Option<&str>, zone: Option<&str>) -> Option<EndpointHints> {
    if topology::is_asked_for(service) {
        return None;
    }
    let wish = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.to_owned() }]);
    let for_nodes = node.filter(|_| wish == "PreferSameNode").map(|node| vec![ForNode { name: node.to_owned() }]);
    let known = matches!(wish, "PreferClose" | "PreferSameZone" | "PreferSameNode");
    (known && ready && (for_zones.is_some() || for_nodes.is_some())).then_some(EndpointHints { for_nodes, for_zones })
}

fn ports_of(slice: &EndpointSlice) -> Vec<BackendPort> {
    let backend = |port: &EndpointPort| BackendPort {
        name: port.name.clone().unwrap_or_default(),
        protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
        port: port.port.unwrap_or_default(),
        app_protocol: port.app_protocol.clone(),
    };
    slice.ports.iter().flatten().map(backend).collect()
}

fn with_labels(service: &Service, slice: &EndpointSlice) -> EndpointSlice {
    let mut slice = slice.clone();
    slice.metadata.labels = Some(labels(service));
    slice
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.labels().clone();
    labels.remove(HEADLESS);
    if is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.name_any());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn new_slice(service: &Service, family: Family, ports: &[BackendPort], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let name = service.name_any();
    let prefix = if name.len() < 253 { format!("{name}-") } else { name };
    let ports = ports.iter().map(|port| EndpointPort {
        name: Some(port.name.clone()),
        protocol: Some(port.protocol.clone()),
        port: Some(port.port),
        app_protocol: port.app_protocol.clone(),
    });
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(prefix),
            namespace: service.namespace(),
            labels: Some(labels(service)),
            owner_references: Some(vec![controller_ref(service)]),
            ..ObjectMeta::default()
        },
        address_type: family.name().to_owned(),
        endpoints: Some(endpoints),
        ports: Some(ports.collect()),
    }
}
