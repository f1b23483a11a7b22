//! Hints that keep traffic in its zone, for Services that ask for it by annotation: each zone is given endpoints in
//! proportion to the CPU of its nodes, so that none has to do more than a fifth beyond its share.
//!
//! ```text
//! shares of the zones ──▶ endpoints each zone should have ─┐
//! endpoints by the zone they are in ───────────────────────┴─▶ zones with too many give to zones with too few
//! ```
//!
//! Slices that fit what is wanted stay as they are, whatever would be best.

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::{Endpoint, EndpointHints, EndpointSlice, ForZone},
};
use mk8s_api::quantity::Quantity;
use mk8s_client::kube::ResourceExt;
use std::{collections::BTreeMap, sync::Arc};

pub(super) const ZONE: &str = "topology.kubernetes.io/zone";
/// By which a Service asks for it; the older one counts first.
const MODES: [&str; 2] = ["service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode"];
/// Nodes that are not there for everybody's pods.
const EXCLUDED: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// How much more than its share an endpoint may get.
const OVERLOAD: f64 = 0.2;

pub(super) const DISABLED: &str = "Topology Aware Hints has been disabled";
pub(super) const ENABLED: &str = "Topology Aware Hints has been enabled";
const NO_SHARES: &str = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes";
const TOO_FEW: &str = "Insufficient number of endpoints";
const OVERLOADED: &str =
    "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold";
const NO_ZONE: &str = "One or more endpoints do not have a zone specified";
const NONE: &str = "No hints allocated for zones";

pub(super) fn is_asked_for(service: &Service) -> bool {
    let mode = MODES.iter().find_map(|mode| service.annotations().get(*mode));
    mode.is_some_and(|mode| mode == "Auto" || mode == "auto")
}

/// Each zone's part of the CPU of all nodes; `None` where they do not say enough, or are all in one zone.
pub(super) type Shares = Option<BTreeMap<String, f64>>;

pub(super) fn shares(nodes: &[Arc<Node>]) -> Shares {
    let mut by_zone: BTreeMap<String, i64> = BTreeMap::new();
    for capacity in nodes.iter().filter_map(|node| capacity(node)) {
        let (Some(zone), millis) = capacity else { return None };
        if millis == 0 {
            return None;
        }
        *by_zone.entry(zone).or_default() += millis;
    }
    let total: i64 = by_zone.values().sum();
    let share = |(zone, millis)| (zone, millis as f64 / total as f64);
    (by_zone.len() > 1).then(|| by_zone.into_iter().map(share).collect())
}

/// What a node counts for: its zone, and thousandths of CPUs. `None` for one that does not count.
pub(super) fn capacity(node: &Node) -> Option<(Option<String>, i64)> {
    let status = node.status.as_ref();
    let mut conditions = status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !ready || EXCLUDED.iter().any(|label| node.labels().contains_key(*label)) {
        return None;
    }
    let zone = node.labels().get(ZONE).filter(|zone| !zone.is_empty()).cloned();
    let cpu = status.and_then(|status| status.allocatable.as_ref()?.get("cpu"));
    let millis = cpu.and_then(|cpu| Quantity::parse(&cpu.0).ok()).map_or(0, Quantity::millis);
    Some((zone, millis))
}

/// How many endpoints a zone should have.
struct Allocation {
    minimum: usize,
    maximum: usize,
    desired: f64,
}

/// The slices of one family, by what is to be done with them. What is unchanged is as it is stored.
#[derive(Default)]
pub(super) struct Slices {
    pub(super) unchanged: Vec<EndpointSlice>,
    pub(super) updates: Vec<EndpointSlice>,
    pub(super) creates: Vec<EndpointSlice>,
}

impl Slices {
    fn all(&self) -> impl Iterator<Item = &EndpointSlice> {
        self.unchanged.iter().chain(&self.updates).chain(&self.creates)
    }

    /// The endpoints that can be given hints.
    fn written(&mut self) -> impl Iterator<Item = &mut Endpoint> {
        let slices = self.creates.iter_mut().chain(&mut self.updates);
        slices.flat_map(|slice| slice.endpoints.iter_mut().flatten()).filter(|endpoint| is_ready(endpoint))
    }

    fn remove_hints(&mut self) {
        let (wrong, right) = std::mem::take(&mut self.unchanged).into_iter().partition(has_hints);
        self.unchanged = right;
        self.updates.extend::<Vec<_>>(wrong);
        let slices = self.creates.iter_mut().chain(&mut self.updates);
        slices.flat_map(|slice| slice.endpoints.iter_mut().flatten()).for_each(|endpoint| endpoint.hints = None);
    }
}

pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) == Some(true)
}

pub(super) fn has_hints(slice: &EndpointSlice) -> bool {
    slice.endpoints.iter().flatten().any(|endpoint| endpoint.hints.is_some())
}

fn for_zone(zone: &str) -> Option<EndpointHints> {
    Some(EndpointHints { for_zones: Some(vec![ForZone { name: zone.to_owned() }]), for_nodes: None })
}

/// Gives hints to what is written, and has written what has wrong ones. Where that cannot be done well there are none,
/// and why is the error.
pub(super) fn add_hints(shares: &Shares, slices: &mut Slices) -> Result<(), String> {
    let hinted = try_hints(shares, slices);
    if hinted.is_err() {
        slices.remove_hints();
    }
    hinted
}

fn try_hints(shares: &Shares, slices: &mut Slices) -> Result<(), String> {
    let ready = slices.all().flat_map(|slice| slice.endpoints.iter().flatten()).filter(|one| is_ready(one)).count();
    let allocations = allocations(shares, ready)?;
    let mut hinted: BTreeMap<String, usize> = BTreeMap::new();
    for slice in std::mem::take(&mut slices.unchanged) {
        match hints_of(&slice, &hinted, &allocations) {
            Some(more) => {
                more.into_iter().for_each(|(zone, count)| *hinted.entry(zone).or_default() += count);
                slices.unchanged.push(slice);
            }
            None => slices.updates.push(slice),
        }
    }
    for endpoint in slices.written() {
        let zone = endpoint.zone.clone().filter(|zone| !zone.is_empty()).ok_or(NO_ZONE)?;
        endpoint.hints = for_zone(&zone);
        *hinted.entry(zone).or_default() += 1;
    }
    if hinted.is_empty() {
        return Err(NONE.to_owned());
    }
    let (mut giving, mut receiving) = imbalance(&allocations, &hinted);
    for endpoint in slices.written() {
        let Some(left) = endpoint.zone.as_ref().and_then(|zone| giving.get_mut(zone)).filter(|left| **left > 0) else {
            continue;
        };
        let Some((zone, missing)) = receiving.iter_mut().find(|(_, missing)| **missing > 0) else { break };
        endpoint.hints = for_zone(zone);
        *left -= 1;
        *missing -= 1;
    }
    Ok(())
}

fn allocations(shares: &Shares, endpoints: usize) -> Result<BTreeMap<String, Allocation>, String> {
    let shares = shares.as_ref().ok_or(NO_SHARES)?;
    let refused = |why: &str| Err(format!("{why} ({endpoints} endpoints, {} zones)", shares.len()));
    if shares.len() > endpoints {
        return refused(TOO_FEW);
    }
    let mut allocations = BTreeMap::new();
    for (zone, share) in shares {
        let desired = share * endpoints as f64;
        let minimum = (desired * (1.0 / (1.0 + OVERLOAD))).ceil() as usize;
        let desired = desired.max(minimum as f64);
        allocations.insert(zone.clone(), Allocation { minimum, maximum: 0, desired });
    }
    let least: usize = allocations.values().map(|allocation| allocation.minimum).sum();
    let Some(spare) = endpoints.checked_sub(least) else { return refused(OVERLOADED) };
    allocations.values_mut().for_each(|allocation| allocation.maximum = allocation.minimum + spare);
    Ok(allocations)
}

/// How many hints a slice has for each zone. `None` when it has to be written: an endpoint has none, or one for a zone
/// that needs none, or a zone would have so many that others could not have their least.
fn hints_of(
    slice: &EndpointSlice,
    hinted: &BTreeMap<String, usize>,
    allocations: &BTreeMap<String, Allocation>,
) -> Option<BTreeMap<String, usize>> {
    let mut hints: BTreeMap<String, usize> = BTreeMap::new();
    for endpoint in slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint)) {
        let zones = endpoint.hints.as_ref().and_then(|hints| hints.for_zones.as_ref());
        for zone in zones.filter(|zones| !zones.is_empty())? {
            allocations.get(&zone.name)?;
            *hints.entry(zone.name.clone()).or_default() += 1;
        }
    }
    let fits = |(zone, count): (&String, &usize)| {
        count + hinted.get(zone).copied().unwrap_or_default() <= allocations[zone].maximum
    };
    hints.iter().all(fits).then_some(hints)
}

/// How many endpoints zones have to give to others, and how many others lack.
fn imbalance(
    allocations: &BTreeMap<String, Allocation>,
    hinted: &BTreeMap<String, usize>,
) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let (mut too_many, mut too_few) = (BTreeMap::new(), BTreeMap::new());
    for (zone, allocation) in allocations {
        let surplus = hinted.get(zone).copied().unwrap_or_default() as f64 - allocation.desired;
        if surplus > 0.0 {
            too_many.insert(zone, surplus);
        } else if surplus < 0.0 {
            too_few.insert(zone, -surplus);
        }
    }
    let (mut giving, mut receiving) = (BTreeMap::new(), BTreeMap::new());
    while let (Some((giver, gives)), Some((receiver, lacks))) = (most(&mut too_many), most(&mut too_few)) {
        // Less than half an endpoint is not worth a way to another zone.
        if (*gives < 1.0 && *lacks < 1.0) || *gives < 0.5 || *lacks < 0.5 {
            break;
        }
        *gives -= 1.0;
        *lacks -= 1.0;
        *giving.entry(giver.clone()).or_default() += 1;
        *receiving.entry(receiver.clone()).or_default() += 1;
    }
    (giving, receiving)
}

/// The first of those with the most.
fn most<'a>(zones: &'a mut BTreeMap<&String, f64>) -> Option<(&'a String, &'a mut f64)> {
    let more = |best: Option<(&'a String, &'a mut f64)>, next: (&'a String, &'a mut f64)| match best {
        Some(best) if *best.1 >= *next.1 => Some(best),
        _ => Some(next),
    };
    zones.iter_mut().map(|(zone, number)| (*zone, number)).fold(None, more)
}
