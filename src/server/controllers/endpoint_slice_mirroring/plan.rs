//! One slice for each set of ports and family of addresses that Endpoints have.

use crate::common::{
    claims::controller_ref,
    slices::{Action, MANAGED_BY, SERVICE_NAME},
};
use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointPort as OldPort, EndpointSubset, Endpoints, Service},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::kube::ResourceExt;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Endpoints that a lock of leaders uses are no one's backends.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const NOT_MIRRORED: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];
/// Of each subset at most this many addresses are mirrored.
const SUBSET_MAX: usize = 1000;

pub(super) struct Observed {
    pub(super) endpoints: Option<Arc<Endpoints>>,
    /// The Service of that name.
    pub(super) service: Option<Arc<Service>>,
    /// The slices that mirror Endpoints of that name.
    pub(super) slices: Vec<Arc<EndpointSlice>>,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    /// Reasons and messages of warnings.
    pub(super) events: Vec<(&'static str, String)>,
}

pub(super) fn plan(observed: &Observed) -> Plan {
    let mirrored =
        observed.endpoints.as_deref().filter(|endpoints| is_mirrored(endpoints, observed.service.as_deref()));
    match mirrored {
        Some(endpoints) => mirror(endpoints, &observed.slices),
        None => Plan { actions: observed.slices.iter().map(|slice| delete(slice)).collect(), events: Vec::new() },
    }
}

fn is_mirrored(endpoints: &Endpoints, service: Option<&Service>) -> bool {
    let skipped = endpoints.labels().get(SKIP).is_some_and(|value| value == "true");
    let by_hand = service.is_some_and(|service| service.spec.as_ref().is_some_and(|spec| spec.selector.is_none()));
    !skipped && !endpoints.annotations().contains_key(LEADER) && by_hand
}

fn delete(slice: &EndpointSlice) -> Action {
    Action::Delete { name: slice.name_any(), uid: slice.uid() }
}

/// Family and ports: what the endpoints of a slice have in common.
type Place = (&'static str, Vec<Port>);
/// Name, protocol, number, application protocol.
type Port = (String, String, i32, Option<String>);

fn mirror(endpoints: &Endpoints, slices: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let mut wanted: BTreeMap<Place, Vec<Endpoint>> = BTreeMap::new();
    let (mut invalid, mut skipped) = (0, 0);
    for subset in regroup(endpoints.subsets.as_deref().unwrap_or_default()) {
        let mut added = 0;
        let total = subset.addresses.len();
        for (address, ready) in subset.addresses {
            if added >= SUBSET_MAX {
                break;
            }
            match endpoint(&address, ready) {
                Some((family, endpoint)) => {
                    wanted.entry((family, subset.ports.clone())).or_default().push(endpoint);
                    added += 1;
                }
                None => invalid += 1,
            }
        }
        skipped += total - added;
    }
    if invalid > 0 {
        let message = format!("Skipped {invalid} invalid IP addresses when mirroring to EndpointSlices");
        plan.events.push(("InvalidIPAddress", message));
    }
    if skipped > invalid {
        let message = format!(
            "A max of {SUBSET_MAX} addresses can be mirrored to EndpointSlices per Endpoints subset. {skipped} addresses were skipped"
        );
        plan.events.push(("TooManyAddressesToMirror", message));
    }
    let mut existing: BTreeMap<Place, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in slices {
        existing.entry(place_of(slice)).or_default().push(slice);
    }
    let (mut deletes, mut creates) = (Vec::new(), Vec::new());
    for (place, listed) in wanted {
        let mut known = existing.remove(&place).unwrap_or_default().into_iter();
        let new = slice(endpoints, &place, listed);
        match known.next() {
            None => creates.push(new),
            Some(old) if is_same(old, &new) => {}
            Some(old) => plan.actions.push(Action::Update(Box::new(renewed(old, new)))),
        }
        deletes.extend(known);
    }
    deletes.extend(existing.into_values().flatten());
    // A slice that would go is used for what would be new, when its family is the same.
    for new in creates {
        match deletes.iter().position(|old| old.address_type == new.address_type) {
            Some(index) => plan.actions.push(Action::Update(Box::new(renewed(deletes.remove(index), new)))),
            None if endpoints.metadata.deletion_timestamp.is_some() => {}
            None => plan.actions.push(Action::Create(Box::new(new))),
        }
    }
    plan.actions.extend(deletes.into_iter().map(|slice| delete(slice)));
    plan
}

struct Regrouped {
    ports: Vec<Port>,
    addresses: Vec<(EndpointAddress, bool)>,
}

/// Subsets as they should have been written: ports with the same addresses together, and each address once. One that is
/// both ready and not is not.
fn regroup(subsets: &[EndpointSubset]) -> Vec<Regrouped> {
    type Id = (String, Option<String>);
    let mut all: BTreeMap<Id, &EndpointAddress> = BTreeMap::new();
    let mut by_port: BTreeMap<Option<Port>, BTreeMap<Id, bool>> = BTreeMap::new();
    for subset in subsets {
        let mut ports: Vec<Option<Port>> = subset.ports.iter().flatten().map(|port| Some(port_of(port))).collect();
        if ports.is_empty() {
            ports.push(None);
        }
        let ready = subset.addresses.iter().flatten().map(|address| (address, true));
        let not_ready = subset.not_ready_addresses.iter().flatten().map(|address| (address, false));
        for (address, ready) in ready.chain(not_ready) {
            let id = (address.ip.clone(), address.target_ref.as_ref().and_then(|target| target.uid.clone()));
            all.entry(id.clone()).or_insert(address);
            for port in &ports {
                let of_port = by_port.entry(port.clone()).or_default();
                let known = of_port.entry(id.clone()).or_insert(ready);
                *known &= ready;
            }
        }
    }
    let mut by_addresses: BTreeMap<Vec<(Id, bool)>, Vec<Port>> = BTreeMap::new();
    for (port, addresses) in by_port {
        by_addresses.entry(addresses.into_iter().collect()).or_default().extend(port);
    }
    let regrouped = by_addresses.into_iter().map(|(ids, ports)| Regrouped {
        ports,
        addresses: ids.into_iter().filter_map(|(id, ready)| Some(((*all.get(&id)?).clone(), ready))).collect(),
    });
    regrouped.collect()
}

fn port_of(port: &OldPort) -> Port {
    let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    (port.name.clone().unwrap_or_default(), protocol, port.port, port.app_protocol.clone())
}

fn endpoint(address: &EndpointAddress, ready: bool) -> Option<(&'static str, Endpoint)> {
    let ip: IpAddr = address.ip.parse().ok()?;
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let endpoint = Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), serving: None, terminating: None }),
        hostname: address.hostname.clone().filter(|name| !name.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    };
    Some((family, endpoint))
}

fn place_of(slice: &EndpointSlice) -> Place {
    let port = |port: &EndpointPort| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        (port.name.clone().unwrap_or_default(), protocol, port.port.unwrap_or_default(), port.app_protocol.clone())
    };
    let mut ports: Vec<Port> = slice.ports.iter().flatten().map(port).collect();
    ports.sort();
    (if slice.address_type == "IPv6" { "IPv6" } else { "IPv4" }, ports)
}

fn slice(endpoints: &Endpoints, place: &Place, listed: Vec<Endpoint>) -> EndpointSlice {
    let name = endpoints.name_any();
    let mut labels = endpoints.labels().clone();
    labels.insert(SERVICE_NAME.to_owned(), name.clone());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut annotations = endpoints.annotations().clone();
    NOT_MIRRORED.iter().for_each(|key| drop(annotations.remove(*key)));
    let ports = place.1.iter().map(|(name, protocol, port, app)| EndpointPort {
        name: Some(name.clone()),
        protocol: Some(protocol.clone()),
        port: Some(*port),
        app_protocol: app.clone(),
    });
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: Some(if name.len() < 253 { format!("{name}-") } else { name }),
            namespace: endpoints.namespace(),
            labels: Some(labels),
            annotations: Some(annotations).filter(|annotations| !annotations.is_empty()),
            owner_references: Some(vec![controller_ref(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: place.0.to_owned(),
        endpoints: Some(listed),
        ports: Some(ports.collect()),
    }
}

/// The order of endpoints means nothing.
fn is_same(old: &EndpointSlice, new: &EndpointSlice) -> bool {
    let listed = |slice: &EndpointSlice| -> BTreeSet<String> {
        let all = slice.endpoints.iter().flatten();
        all.map(|endpoint| serde_json::to_string(endpoint).expect("endpoints have a JSON form")).collect()
    };
    let owner =
        |slice: &EndpointSlice| slice.owner_references().iter().map(|owner| owner.uid.clone()).collect::<Vec<_>>();
    old.labels() == new.labels()
        && old.annotations() == new.annotations()
        && owner(old) == owner(new)
        && listed(old) == listed(new)
}

/// The old slice with what the new one says.
fn renewed(old: &EndpointSlice, new: EndpointSlice) -> EndpointSlice {
    let metadata = ObjectMeta {
        labels: new.metadata.labels,
        annotations: new.metadata.annotations,
        owner_references: new.metadata.owner_references,
        ..old.metadata.clone()
    };
    EndpointSlice { metadata, ..new }
}
