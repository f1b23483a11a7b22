//! The search for devices that meet all requests of all claims: the first solution is taken, in the order of pools, slices
//! and devices; a limit of tries bounds it.

use super::{Class, Compiled, DeviceId, Devices, Offered, Slice, key_of, pools::Pool, requests_of};
use crate::node_info::NodeInfo;
use k8s_openapi::api::{
    core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm},
    resource::v1::{
        AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceAttribute,
        DeviceRequestAllocationResult, DeviceSelector, DeviceTaint, DeviceToleration, ResourceClaim,
    },
};
use mk8s_api::device_taints::tolerates;
use std::{cell::Cell, collections::HashMap, sync::Arc};

/// A claim has so many devices at most.
const DEVICES_MAX: usize = 32;

/// Why a search was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Another node may do.
    Node(String),
    /// Something is wrong with the claim or a class.
    Claim(String),
}

/// How many devices may be tried in all searches of a cycle together.
#[derive(Debug)]
pub struct Limit(Cell<usize>);

impl Default for Limit {
    fn default() -> Self {
        Self(Cell::new(250_000))
    }
}

impl Limit {
    #[cfg(test)]
    pub fn of(tries: usize) -> Self {
        Self(Cell::new(tries))
    }

    fn spend(&self) -> bool {
        let left = self.0.get();
        self.0.set(left.saturating_sub(1));
        left > 0
    }
}

/// What one request, or one alternative of it, wants.
struct Wanted<'a> {
    name: &'a str,
    parent: Option<&'a str>,
    class: &'a Class,
    selectors: Vec<Compiled>,
    tolerations: Option<&'a Vec<DeviceToleration>>,
    admin: bool,
    count: usize,
    /// All devices of a request for all of them.
    all: Option<Vec<Found<'a>>>,
}

impl Wanted<'_> {
    fn full_name(&self) -> String {
        match self.parent {
            None => self.name.to_owned(),
            Some(parent) => format!("{parent}/{}", self.name),
        }
    }
}

#[derive(Clone, Copy)]
struct Found<'a> {
    slice: &'a Slice,
    device: &'a Offered,
}

/// Devices must agree on an attribute.
struct Agreement<'a> {
    requests: &'a [String],
    attribute: &'a str,
    value: Option<&'a DeviceAttribute>,
    devices: usize,
}

impl<'a> Agreement<'a> {
    fn concerns(&self, wanted: &Wanted<'_>) -> bool {
        let base = wanted.parent.unwrap_or(wanted.name);
        self.requests.is_empty()
            || self.requests.iter().any(|name| name == base)
            || (wanted.parent.is_some() && self.requests.contains(&wanted.full_name()))
    }

    fn add(&mut self, wanted: &Wanted<'_>, device: &'a Offered) -> bool {
        if !self.concerns(wanted) {
            return true;
        }
        let Some(value) = attribute(device, self.attribute) else { return false };
        if self.devices == 0 {
            self.value = Some(value);
        } else if !self.value.is_some_and(|known| agree(known, value)) {
            return false;
        }
        self.devices += 1;
        true
    }

    fn remove(&mut self, wanted: &Wanted<'_>) {
        if self.concerns(wanted) {
            self.devices -= 1;
        }
    }
}

/// Two values of which it is known how to compare them.
fn agree(one: &DeviceAttribute, other: &DeviceAttribute) -> bool {
    (one.string.is_some() && one.string == other.string)
        || (one.int.is_some() && one.int == other.int)
        || (one.bool.is_some() && one.bool == other.bool)
        || (one.version.is_some() && one.version == other.version)
}

/// By its full name; one of the driver's own domain may be written without it.
fn attribute<'a>(device: &'a Offered, name: &str) -> Option<&'a DeviceAttribute> {
    let attributes = device.device.attributes.as_ref()?;
    attributes.get(name).or_else(|| {
        let (domain, id) = name.split_once('/')?;
        attributes.get(id).filter(|_| domain == device.id.driver)
    })
}

struct Picked<'a> {
    request: (usize, usize),
    found: Found<'a>,
}

/// Where the search is.
#[derive(Clone, Copy)]
struct At {
    claim: usize,
    request: usize,
    option: usize,
    device: usize,
}

enum Outcome {
    Found,
    NotFound,
    /// The claim would have more devices than fit; fewer may do.
    TooMany,
}

struct Search<'a, 'l> {
    devices: &'a Devices,
    limit: &'l Limit,
    node: &'a NodeInfo,
    pools: Vec<Pool<'a>>,
    claims: &'a [Arc<ResourceClaim>],
    /// By claim and request: the request itself, or its alternatives.
    wanted: Vec<Vec<Vec<Wanted<'a>>>>,
    /// By claim and request: which alternative was taken.
    chosen: Vec<Vec<usize>>,
    agreements: Vec<Vec<Agreement<'a>>>,
    /// For which claims a device is about to be allocated.
    allocating: HashMap<&'a DeviceId, Vec<usize>>,
    picked: Vec<Vec<Picked<'a>>>,
    /// Whether a device matches a request, by where the device and the request are.
    matches: HashMap<(*const Offered, usize, usize, usize), bool>,
}

/// What the claims get on the node, in their order; `None` when they cannot all be met.
pub fn allocate(
    devices: &Devices,
    node: &NodeInfo,
    claims: &[Arc<ResourceClaim>],
    limit: &Limit,
) -> Result<Option<Vec<AllocationResult>>, Failure> {
    if claims.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let mut search = Search {
        devices,
        limit,
        node,
        pools: devices.pools(node),
        claims,
        wanted: Vec::new(),
        chosen: claims.iter().map(|claim| vec![0; requests_of(claim).len()]).collect(),
        agreements: Vec::new(),
        allocating: HashMap::new(),
        picked: claims.iter().map(|_| Vec::new()).collect(),
        matches: HashMap::new(),
    };
    for (n, claim) in claims.iter().enumerate() {
        search.read(n, claim)?;
    }
    match search.one(At { claim: 0, request: 0, option: 0, device: 0 }, false)? {
        Outcome::Found => Ok(Some((0..claims.len()).map(|claim| search.result(claim)).collect())),
        _ if search.pools.iter().any(|pool| pool.invalid) => {
            Err(Failure::Node("invalid resource pools were encountered".to_owned()))
        }
        _ => Ok(None),
    }
}

/// What a request and an alternative of one have in common.
struct Terms<'a> {
    name: &'a str,
    parent: Option<&'a str>,
    class: &'a str,
    mode: Option<&'a str>,
    count: Option<i64>,
    admin: bool,
    selectors: Option<&'a Vec<DeviceSelector>>,
    tolerations: Option<&'a Vec<DeviceToleration>>,
    needs_capacity: bool,
}

impl<'a> Search<'a, '_> {
    fn read(&mut self, at: usize, claim: &'a ResourceClaim) -> Result<(), Failure> {
        self.wanted.push(Vec::new());
        let mut least = 0;
        for (n, request) in requests_of(claim).iter().enumerate() {
            self.wanted[at].push(Vec::new());
            let alternatives = request.first_available.as_deref().unwrap_or_default();
            let several = alternatives.iter().map(|one| Terms {
                name: &one.name,
                parent: Some(&request.name),
                class: &one.device_class_name,
                mode: one.allocation_mode.as_deref(),
                count: one.count,
                admin: false,
                selectors: one.selectors.as_ref(),
                tolerations: one.tolerations.as_ref(),
                needs_capacity: one.capacity.is_some(),
            });
            let exactly = request.exactly.iter().map(|one| Terms {
                name: &request.name,
                parent: None,
                class: &one.device_class_name,
                mode: one.allocation_mode.as_deref(),
                count: one.count,
                admin: one.admin_access == Some(true),
                selectors: one.selectors.as_ref(),
                tolerations: one.tolerations.as_ref(),
                needs_capacity: one.capacity.is_some(),
            });
            for (option, terms) in exactly.chain(several).enumerate() {
                let wanted = self.want(claim, (at, n, option), terms)?;
                self.wanted[at][n].push(wanted);
            }
            least += self.wanted[at][n].iter().map(|wanted| wanted.count).min().unwrap_or(0);
        }
        if least > DEVICES_MAX {
            let claim = key_of(claim);
            return Err(Failure::Claim(format!(
                "claim {claim}: number of requested devices {least} exceeds the claim limit of {DEVICES_MAX}"
            )));
        }
        let constraints = claim.spec.devices.iter().flat_map(|devices| devices.constraints.iter().flatten());
        let mut agreements = Vec::new();
        for (n, constraint) in constraints.enumerate() {
            let Some(attribute) = constraint.match_attribute.as_deref() else {
                return Err(Failure::Claim(format!(
                    "claim {}, constraint #{n}: empty constraint (unsupported constraint type?)",
                    key_of(claim)
                )));
            };
            let requests = constraint.requests.as_deref().unwrap_or_default();
            agreements.push(Agreement { requests, attribute, value: None, devices: 0 });
        }
        self.agreements.push(agreements);
        Ok(())
    }

    fn want(
        &mut self,
        claim: &ResourceClaim,
        at: (usize, usize, usize),
        terms: Terms<'a>,
    ) -> Result<Wanted<'a>, Failure> {
        let says = |what: String| Failure::Claim(format!("claim {}, request {}: {what}", key_of(claim), terms.name));
        if terms.needs_capacity {
            return Err(says("capacity is requested, but shares of devices are not supported".to_owned()));
        }
        let mut selectors = Vec::new();
        for (n, selector) in terms.selectors.into_iter().flatten().enumerate() {
            let Some(selector) = self.devices.selector(selector) else {
                let (claim, request) = (key_of(claim), terms.name);
                let what = "CEL expression empty (unsupported selector type?)";
                return Err(Failure::Claim(format!("claim {claim}, request {request}, selector #{n}: {what}")));
            };
            selectors.push(selector);
        }
        let Some(class) = self.devices.class(terms.class) else {
            let class = terms.class;
            let what =
                format!("could not retrieve device class {class}: deviceclass.resource.k8s.io {class:?} not found");
            return Err(says(what));
        };
        let Terms { name, parent, admin, tolerations, .. } = terms;
        let mut wanted = Wanted { name, parent, class, selectors, tolerations, admin, count: 0, all: None };
        match terms.mode.unwrap_or("ExactCount") {
            "ExactCount" => wanted.count = usize::try_from(terms.count.unwrap_or(1)).unwrap_or(usize::MAX),
            "All" => {
                let mut all = Vec::new();
                for pool in 0..self.pools.len() {
                    let pool = &self.pools[pool];
                    let state = match (pool.incomplete, pool.invalid) {
                        (true, _) => "being updated",
                        (_, true) => "invalid",
                        _ => "",
                    };
                    if !state.is_empty() {
                        let what = format!("asks for all devices, but resource pool {} is currently {state}", pool.id);
                        return Err(says(what));
                    }
                    for slice in pool.slices.clone() {
                        for device in &slice.devices {
                            if self.selects(at, &wanted, claim, device)? {
                                all.push(Found { slice, device });
                            }
                        }
                    }
                }
                wanted.count = all.len();
                wanted.all = Some(all);
            }
            other => return Err(says(format!("unsupported count mode {other}"))),
        }
        Ok(wanted)
    }

    /// Whether the selectors of the class and of the request select a device.
    fn selects(
        &mut self,
        at: (usize, usize, usize),
        wanted: &Wanted<'a>,
        claim: &ResourceClaim,
        device: &'a Offered,
    ) -> Result<bool, Failure> {
        if device.device.binding_conditions.as_ref().is_some_and(|conditions| !conditions.is_empty()) {
            return Ok(false);
        }
        let key = (std::ptr::from_ref(device), at.0, at.1, at.2);
        if let Some(known) = self.matches.get(&key) {
            return Ok(*known);
        }
        if !self.limit.spend() {
            return Err(self.timed_out());
        }
        let of_class = || format!("class {}", wanted.class.class.metadata.name.as_deref().unwrap_or_default());
        let class = wanted.class.selectors.iter().flatten();
        let matches = all_match(class, device, of_class)?
            && all_match(wanted.selectors.iter(), device, || format!("claim {}", key_of(claim)))?;
        self.matches.insert(key, matches);
        Ok(matches)
    }

    fn timed_out(&self) -> Failure {
        Failure::Node(format!("node {}: timed out trying to allocate devices", self.node.name()))
    }

    /// Allocates one device and all that come after it. `in_option`: the alternative of the request is chosen.
    fn one(&mut self, at: At, in_option: bool) -> Result<Outcome, Failure> {
        if at.claim == self.claims.len() {
            return Ok(Outcome::Found);
        }
        if at.request == self.wanted[at.claim].len() {
            let next = At { claim: at.claim + 1, request: 0, option: 0, device: 0 };
            let outcome = self.one(next, false)?;
            // A later claim's excess may be cured by an earlier claim's other alternative.
            return Ok(if matches!(outcome, Outcome::TooMany) { Outcome::NotFound } else { outcome });
        }
        let options = &self.wanted[at.claim][at.request];
        if !in_option && options.first().is_some_and(|first| first.parent.is_some()) {
            let mut only_too_many = true;
            for option in 0..options.len() {
                match self.one(At { option, ..at }, true)? {
                    Outcome::Found => {
                        self.chosen[at.claim][at.request] = option;
                        return Ok(Outcome::Found);
                    }
                    Outcome::NotFound => only_too_many = false,
                    Outcome::TooMany => {}
                }
            }
            return Ok(if only_too_many { Outcome::TooMany } else { Outcome::NotFound });
        }
        let Some(wanted) = options.get(at.option) else { return Ok(Outcome::NotFound) };
        if wanted.all.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Outcome::NotFound);
        }
        if at.device >= wanted.count {
            return self.one(At { request: at.request + 1, option: 0, device: 0, ..at }, false);
        }
        if self.picked[at.claim].len() + (wanted.count - at.device) > DEVICES_MAX {
            return Ok(Outcome::TooMany);
        }
        if let Some(all) = &wanted.all {
            let found = all[at.device];
            if !self.pick(at, found, true)? {
                return Ok(Outcome::NotFound);
            }
            let outcome = self.one(At { device: at.device + 1, ..at }, in_option)?;
            if !matches!(outcome, Outcome::Found) {
                self.put_back(at);
            }
            return Ok(outcome);
        }
        self.any(at, in_option)
    }

    /// Tries one device after the other.
    fn any(&mut self, at: At, in_option: bool) -> Result<Outcome, Failure> {
        for pool in 0..self.pools.len() {
            if !self.pools[pool].usable() {
                continue;
            }
            for slice in 0..self.pools[pool].slices.len() {
                let slice = self.pools[pool].slices[slice];
                for device in &slice.devices {
                    if !self.limit.spend() {
                        return Err(self.timed_out());
                    }
                    if !self.pick(at, Found { slice, device }, false)? {
                        continue;
                    }
                    match self.one(At { device: at.device + 1, ..at }, in_option)? {
                        Outcome::Found => return Ok(Outcome::Found),
                        Outcome::NotFound => self.put_back(at),
                        Outcome::TooMany => {
                            self.put_back(at);
                            return Ok(Outcome::TooMany);
                        }
                    }
                }
            }
        }
        Ok(Outcome::NotFound)
    }

    /// Takes a device for a request when it is free, selected, tolerable and in agreement with the others. `must`: there
    /// is no other way.
    fn pick(&mut self, at: At, found: Found<'a>, must: bool) -> Result<bool, Failure> {
        let id = &found.device.id;
        let about = self.allocating.get(id).map(Vec::as_slice).unwrap_or_default();
        let admin = self.wanted[at.claim][at.request][at.option].admin;
        let in_use = match admin {
            true => about.contains(&at.claim),
            false => !about.is_empty() || self.devices.is_taken(id),
        };
        if in_use {
            return Ok(false);
        }
        let claims = self.claims;
        let claim = &claims[at.claim];
        // Taken out while the search is asked about it.
        let options = std::mem::take(&mut self.wanted[at.claim][at.request]);
        let wanted = &options[at.option];
        let selected = match must {
            true => Ok(true),
            false => self.selects((at.claim, at.request, at.option), wanted, claim, found.device),
        };
        let counters = found.device.device.consumes_counters.as_ref().is_some_and(|counters| !counters.is_empty());
        let usable = selected.map(|selected| selected && !counters && tolerated(found.device, wanted));
        let agreed = match usable {
            Ok(true) => self.agree(at.claim, wanted, found.device),
            _ => Ok(()),
        };
        let name = wanted.name;
        self.wanted[at.claim][at.request] = options;
        if !usable? {
            return Ok(false);
        }
        if agreed.is_err() {
            if must {
                let DeviceId { driver, pool, device } = id;
                return Err(Failure::Claim(format!(
                    "claim {}, request {name}: cannot add device {driver}/{pool}/{device} because a claim constraint would not be satisfied",
                    key_of(claim)
                )));
            }
            return Ok(false);
        }
        self.allocating.entry(id).or_default().push(at.claim);
        self.picked[at.claim].push(Picked { request: (at.request, at.option), found });
        Ok(true)
    }

    fn agree(&mut self, claim: usize, wanted: &Wanted<'_>, device: &'a Offered) -> Result<(), ()> {
        let agreements = &mut self.agreements[claim];
        for n in 0..agreements.len() {
            if !agreements[n].add(wanted, device) {
                agreements[..n].iter_mut().for_each(|earlier| earlier.remove(wanted));
                return Err(());
            }
        }
        Ok(())
    }

    /// Undoes the last pick of a claim.
    fn put_back(&mut self, at: At) {
        let Some(picked) = self.picked[at.claim].pop() else { return };
        let wanted = &self.wanted[at.claim][picked.request.0][picked.request.1];
        self.agreements[at.claim].iter_mut().for_each(|agreement| agreement.remove(wanted));
        if let Some(claims) = self.allocating.get_mut(&picked.found.device.id) {
            claims.retain(|claim| *claim != at.claim);
        }
    }

    fn result(&self, at: usize) -> AllocationResult {
        let results = self.picked[at].iter().map(|picked| {
            let wanted = &self.wanted[at][picked.request.0][picked.request.1];
            let DeviceId { driver, pool, device } = picked.found.device.id.clone();
            DeviceRequestAllocationResult {
                request: wanted.full_name(),
                driver,
                pool,
                device,
                admin_access: wanted.admin.then_some(true),
                tolerations: wanted.tolerations.cloned().filter(|tolerations| !tolerations.is_empty()),
                ..DeviceRequestAllocationResult::default()
            }
        });
        let results: Vec<DeviceRequestAllocationResult> = results.collect();
        let config = self.configurations(at);
        AllocationResult {
            allocation_timestamp: None,
            devices: Some(DeviceAllocationResult {
                results: Some(results).filter(|results| !results.is_empty()),
                config: Some(config).filter(|config| !config.is_empty()),
            }),
            node_selector: self.place(at),
        }
    }

    /// The configurations of the classes, once each, and then those of the claim, as far as they concern what was taken.
    fn configurations(&self, at: usize) -> Vec<DeviceAllocationConfiguration> {
        let mut all: Vec<DeviceAllocationConfiguration> = Vec::new();
        let mut of_class: HashMap<&str, std::ops::Range<usize>> = HashMap::new();
        let taken: Vec<&Wanted<'_>> =
            self.wanted[at].iter().zip(&self.chosen[at]).filter_map(|(options, chosen)| options.get(*chosen)).collect();
        for wanted in &taken {
            let class = &wanted.class.class;
            let name = class.metadata.name.as_deref().unwrap_or_default();
            if let Some(known) = of_class.get(name) {
                for config in &mut all[known.clone()] {
                    config.requests.get_or_insert_default().push(wanted.full_name());
                }
                continue;
            }
            let start = all.len();
            all.extend(class.spec.config.iter().flatten().map(|config| DeviceAllocationConfiguration {
                source: "FromClass".to_owned(),
                requests: Some(vec![wanted.full_name()]),
                opaque: config.opaque.clone(),
            }));
            of_class.insert(name, start..all.len());
        }
        let own = self.claims[at].spec.devices.iter().flat_map(|devices| devices.config.iter().flatten());
        for config in own {
            let requests = config.requests.as_deref().unwrap_or_default();
            let concerns = |wanted: &&&Wanted<'_>| {
                let base = wanted.parent.unwrap_or(wanted.name);
                requests.iter().any(|name| name == base || *name == wanted.full_name())
            };
            let times = if requests.is_empty() { 1 } else { taken.iter().filter(concerns).count() };
            for _ in 0..times {
                all.push(DeviceAllocationConfiguration {
                    source: "FromClaim".to_owned(),
                    requests: config.requests.clone().filter(|requests| !requests.is_empty()),
                    opaque: config.opaque.clone(),
                });
            }
        }
        all
    }

    /// From which nodes all devices of a claim can be reached; `None` when from all.
    fn place(&self, at: usize) -> Option<NodeSelector> {
        let mut term = NodeSelectorTerm::default();
        for picked in &self.picked[at] {
            let spec = &picked.found.slice.slice.spec;
            if let Some(node) = spec.node_name.clone().filter(|name| !name.is_empty()) {
                let name = NodeSelectorRequirement {
                    key: "metadata.name".to_owned(),
                    operator: "In".to_owned(),
                    values: Some(vec![node]),
                };
                let term = NodeSelectorTerm { match_fields: Some(vec![name]), ..NodeSelectorTerm::default() };
                return Some(NodeSelector { node_selector_terms: vec![term] });
            }
            let Some(own) = spec.node_selector.as_ref().and_then(|selector| selector.node_selector_terms.first())
            else {
                continue;
            };
            add_new(&own.match_fields, &mut term.match_fields);
            add_new(&own.match_expressions, &mut term.match_expressions);
        }
        let any = term.match_fields.is_some() || term.match_expressions.is_some();
        any.then(|| NodeSelector { node_selector_terms: vec![term] })
    }
}

fn add_new(from: &Option<Vec<NodeSelectorRequirement>>, to: &mut Option<Vec<NodeSelectorRequirement>>) {
    for requirement in from.iter().flatten() {
        let known = to.get_or_insert_default();
        if !known.contains(requirement) {
            known.push(requirement.clone());
        }
    }
}

fn all_match<'s>(
    selectors: impl Iterator<Item = &'s Compiled>,
    device: &Offered,
    of: impl Fn() -> String,
) -> Result<bool, Failure> {
    for (n, selector) in selectors.enumerate() {
        let selector = match &**selector {
            Ok(selector) => selector,
            Err(error) => return Err(Failure::Claim(format!("{}: selector #{n}: CEL compile error: {error}", of()))),
        };
        match selector.matches(device.seen()) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => return Err(Failure::Claim(format!("{}: selector #{n}: CEL runtime error: {error}", of()))),
        }
    }
    Ok(true)
}

fn tolerated(device: &Offered, wanted: &Wanted<'_>) -> bool {
    let keeps_away = |taint: &&DeviceTaint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let mut taints = device.device.taints.iter().flatten().filter(keeps_away);
    taints.all(|taint| wanted.tolerations.into_iter().flatten().any(|toleration| tolerates(toleration, taint)))
}
