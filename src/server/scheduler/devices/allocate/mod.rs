//! The search for devices that meet all requests of all claims: the first solution is taken, in the order of pools, slices
//! and devices; a limit of tries bounds it.

mod constraints;
mod result;
mod wanted;

use super::{
    Amounts, Compiled, DeviceId, Devices, capacity,
    counters::Left,
    key_of,
    offered::{Offered, Slice},
    pools::Pool,
    requests_of,
};
use crate::node_info::NodeInfo;
use constraints::Constraint;
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceTaint, ResourceClaim};
use mk8s_api::{device_taints::tolerates, quantity::Quantity};
use std::{cell::Cell, collections::HashMap, rc::Rc, sync::Arc, time::Duration};
use wanted::Wanted;

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

/// A search tries so many devices in a second: a cycle knows no clock.
const TRIES_PER_SECOND: usize = 25_000;

impl Limit {
    /// As many tries as fit into a time; in none at all, there is no end.
    pub fn of_time(time: Duration) -> Self {
        let milliseconds = usize::try_from(time.as_millis()).unwrap_or(usize::MAX);
        let tries = milliseconds.saturating_mul(TRIES_PER_SECOND / 1000);
        Self(Cell::new(if time.is_zero() { usize::MAX } else { tries }))
    }

    /// For a search that has been made before.
    pub fn none() -> Self {
        Self(Cell::new(usize::MAX))
    }

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

/// A device, and where it is offered.
#[derive(Clone, Copy)]
struct Found<'a> {
    pool: usize,
    slice: &'a Slice,
    device: &'a Offered,
}

/// A request, or an alternative of one, by numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    claim: usize,
    request: usize,
    option: usize,
}

struct Picked<'a> {
    key: Key,
    found: Found<'a>,
    /// What the share of a device that others may have, too, takes of its capacities.
    share: Option<Amounts>,
    /// Whether it took of the pool's counters.
    counted: bool,
}

/// What the claims of the search share of a device.
#[derive(Default)]
struct Shares {
    count: usize,
    consumed: Amounts,
}

/// A place in the order in which devices are tried.
#[derive(Clone, Copy, Default)]
struct Place {
    pool: usize,
    slice: usize,
    device: usize,
}

/// Where the search is.
#[derive(Clone, Copy)]
struct At {
    key: Key,
    /// Which device of the request is looked for.
    device: usize,
    /// The first that is tried: in which order a request has its devices makes no difference.
    from: Place,
}

impl At {
    fn request(claim: usize, request: usize) -> Self {
        Self { key: Key { claim, request, option: 0 }, device: 0, from: Place::default() }
    }
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
    wanted: Vec<Vec<Vec<Rc<Wanted<'a>>>>>,
    /// By claim and request: which alternative was taken.
    chosen: Vec<Vec<usize>>,
    constraints: Vec<Vec<Constraint<'a>>>,
    /// For which claims a device is about to be allocated.
    allocating: HashMap<&'a DeviceId, Vec<usize>>,
    sharing: HashMap<&'a DeviceId, Shares>,
    /// By pool, once a device has asked.
    counters: HashMap<usize, Left<'a>>,
    picked: Vec<Vec<Picked<'a>>>,
    /// Whether a device matches a request.
    matches: HashMap<(*const Offered, Key), bool>,
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
        constraints: Vec::new(),
        allocating: HashMap::new(),
        sharing: HashMap::new(),
        counters: HashMap::new(),
        picked: claims.iter().map(|_| Vec::new()).collect(),
        matches: HashMap::new(),
    };
    for (n, claim) in claims.iter().enumerate() {
        search.read(n, claim)?;
    }
    match search.one(At::request(0, 0), false)? {
        Outcome::Found => Ok(Some((0..claims.len()).map(|claim| search.result(claim)).collect())),
        _ if search.pools.iter().any(|pool| pool.invalid) => {
            Err(Failure::Node("invalid resource pools were encountered".to_owned()))
        }
        _ => Ok(None),
    }
}

impl<'a> Search<'a, '_> {
    fn wanted(&self, key: Key) -> &Rc<Wanted<'a>> {
        &self.wanted[key.claim][key.request][key.option]
    }

    /// Whether the selectors of the class and of the request select a device, and the node can reach it.
    fn selects(&mut self, key: Key, wanted: &Wanted<'a>, found: Found<'a>) -> Result<bool, Failure> {
        let known = (std::ptr::from_ref(found.device), key);
        if let Some(known) = self.matches.get(&known) {
            return Ok(*known);
        }
        if !self.limit.spend() {
            return Err(self.timed_out());
        }
        let of_class = || format!("class {}", wanted.class.class.metadata.name.as_deref().unwrap_or_default());
        let of_claim = || format!("claim {}", key_of(&self.claims[key.claim]));
        let class = wanted.class.selectors.iter().flatten();
        let matches = all_match(class, found.device, of_class)?
            && all_match(wanted.selectors.iter(), found.device, of_claim)?
            && (found.slice.place().is_some() || found.device.place().reaches(self.node));
        self.matches.insert(known, matches);
        Ok(matches)
    }

    /// Whether a device has what is wanted of its capacities.
    fn suffices(&self, wanted: &Wanted<'a>, device: &Offered) -> bool {
        if !device.is_shareable() && self.devices.held().is_shared(&device.id) {
            return false;
        }
        if wanted.capacity.is_none() && !device.is_shareable() {
            return true;
        }
        let sharing = self.sharing.get(&device.id).map(|shares| &shares.consumed);
        capacity::suffices(
            &device.capacities,
            wanted.capacity.as_ref(),
            [self.devices.held().consumed(&device.id), sharing],
        )
    }

    fn timed_out(&self) -> Failure {
        Failure::Node(format!("node {}: timed out trying to allocate devices", self.node.name()))
    }

    /// Allocates one device and all that come after it. `in_option`: the alternative of the request is chosen.
    fn one(&mut self, at: At, in_option: bool) -> Result<Outcome, Failure> {
        let Key { claim, request, .. } = at.key;
        if claim == self.claims.len() {
            return Ok(Outcome::Found);
        }
        if request == self.wanted[claim].len() {
            let outcome = self.one(At::request(claim + 1, 0), false)?;
            // A later claim's excess may be cured by an earlier claim's other alternative.
            return Ok(if matches!(outcome, Outcome::TooMany) { Outcome::NotFound } else { outcome });
        }
        let options = &self.wanted[claim][request];
        if !in_option && options.first().is_some_and(|first| first.parent.is_some()) {
            return self.alternatives(at, options.len());
        }
        let Some(wanted) = options.get(at.key.option).cloned() else { return Ok(Outcome::NotFound) };
        if wanted.all.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Outcome::NotFound);
        }
        if at.device >= wanted.count {
            return self.one(At::request(claim, request + 1), false);
        }
        if self.picked[claim].len() + (wanted.count - at.device) > DEVICES_MAX {
            return Ok(Outcome::TooMany);
        }
        match &wanted.all {
            Some(all) => self.next_of_all(at, all[at.device], in_option),
            None => self.any(at, in_option),
        }
    }

    /// Tries one alternative after the other.
    fn alternatives(&mut self, at: At, count: usize) -> Result<Outcome, Failure> {
        let mut only_too_many = true;
        for option in 0..count {
            match self.one(At { key: Key { option, ..at.key }, ..at }, true)? {
                Outcome::Found => {
                    self.chosen[at.key.claim][at.key.request] = option;
                    return Ok(Outcome::Found);
                }
                Outcome::NotFound => only_too_many = false,
                Outcome::TooMany => {}
            }
        }
        Ok(if only_too_many { Outcome::TooMany } else { Outcome::NotFound })
    }

    /// The devices of a request for all of them are taken one by one; there is no other way.
    fn next_of_all(&mut self, at: At, found: Found<'a>, in_option: bool) -> Result<Outcome, Failure> {
        if !self.pick(at.key, found, true)? {
            return Ok(Outcome::NotFound);
        }
        let outcome = self.one(At { device: at.device + 1, ..at }, in_option)?;
        if !matches!(outcome, Outcome::Found) {
            self.put_back(at.key.claim);
        }
        Ok(outcome)
    }

    /// Tries one device after the other.
    fn any(&mut self, at: At, in_option: bool) -> Result<Outcome, Failure> {
        let from = at.from;
        for pool in from.pool..self.pools.len() {
            if !self.pools[pool].usable() {
                continue;
            }
            let first = if pool == from.pool { from.slice } else { 0 };
            for slice in first..self.pools[pool].slices.len() {
                let offered = self.pools[pool].slices[slice];
                let first = if (pool, slice) == (from.pool, from.slice) { from.device } else { 0 };
                for (device, candidate) in offered.devices.iter().enumerate().skip(first) {
                    if !self.limit.spend() {
                        return Err(self.timed_out());
                    }
                    if !self.pick(at.key, Found { pool, slice: offered, device: candidate }, false)? {
                        continue;
                    }
                    let next = Place { pool, slice, device: device + 1 };
                    let outcome = self.one(At { device: at.device + 1, from: next, ..at }, in_option)?;
                    if matches!(outcome, Outcome::Found) {
                        return Ok(outcome);
                    }
                    self.put_back(at.key.claim);
                    if matches!(outcome, Outcome::TooMany) {
                        return Ok(outcome);
                    }
                }
            }
        }
        Ok(Outcome::NotFound)
    }

    fn is_in_use(&self, key: Key, admin: bool, device: &DeviceId) -> bool {
        let claims = self.allocating.get(device).map(Vec::as_slice).unwrap_or_default();
        match admin {
            true => claims.contains(&key.claim),
            false => !claims.is_empty() || self.devices.is_taken(device),
        }
    }

    /// Takes a device for a request when it is free, selected, large enough, tolerable and in accord with the others.
    /// `must`: there is no other way, and it is known to be selected.
    fn pick(&mut self, key: Key, found: Found<'a>, must: bool) -> Result<bool, Failure> {
        let (wanted, device) = (self.wanted(key).clone(), found.device);
        if self.is_in_use(key, wanted.admin, &device.id)
            || !(must || self.selects(key, &wanted, found)?)
            || !self.suffices(&wanted, device)
            || !tolerated(device, &wanted)
        {
            return Ok(false);
        }
        // A device that is shared has taken what it consumes of counters once.
        let counted = !device.consumes.is_empty() && !self.is_shared(&device.id);
        if counted && !self.left(found.pool).take(device) {
            return Ok(false);
        }
        if !self.accords(key.claim, &wanted, device) {
            if counted {
                self.left(found.pool).give_back(device);
            }
            if must {
                let DeviceId { driver, pool, device } = &device.id;
                return Err(Failure::Claim(format!(
                    "claim {}, request {}: cannot add device {driver}/{pool}/{device} because a claim constraint would not be satisfied",
                    key_of(&self.claims[key.claim]),
                    wanted.name
                )));
            }
            return Ok(false);
        }
        let share = device.is_shareable().then(|| capacity::share(&device.capacities, wanted.capacity.as_ref()));
        match &share {
            None => self.allocating.entry(&device.id).or_default().push(key.claim),
            Some(share) => self.sharing.entry(&device.id).or_default().add(share),
        }
        self.picked[key.claim].push(Picked { key, found, share, counted });
        Ok(true)
    }

    fn is_shared(&self, device: &DeviceId) -> bool {
        self.devices.held().is_shared(device) || self.sharing.get(device).is_some_and(|shares| shares.count > 0)
    }

    /// What is left of the counters of a pool.
    fn left(&mut self, pool: usize) -> &mut Left<'a> {
        self.counters.entry(pool).or_insert_with(|| Left::of(&self.pools[pool], self.devices.held()))
    }

    /// Takes a device into all constraints of its claim, or into none.
    fn accords(&mut self, claim: usize, wanted: &Wanted<'_>, device: &'a Offered) -> bool {
        let constraints = &mut self.constraints[claim];
        for n in 0..constraints.len() {
            if !constraints[n].add(wanted, device) {
                constraints[..n].iter_mut().for_each(|earlier| earlier.remove(wanted));
                return false;
            }
        }
        true
    }

    /// Undoes the last pick of a claim.
    fn put_back(&mut self, claim: usize) {
        let Some(Picked { key, found, share, counted }) = self.picked[claim].pop() else { return };
        let wanted = self.wanted(key).clone();
        self.constraints[claim].iter_mut().for_each(|constraint| constraint.remove(&wanted));
        if counted {
            self.left(found.pool).give_back(found.device);
        }
        match share {
            None => {
                if let Some(claims) = self.allocating.get_mut(&found.device.id) {
                    claims.retain(|other| *other != claim);
                }
            }
            Some(share) => {
                if let Some(shares) = self.sharing.get_mut(&found.device.id) {
                    shares.remove(&share);
                }
            }
        }
    }
}

impl Shares {
    fn add(&mut self, share: &Amounts) {
        self.count += 1;
        for (name, amount) in share {
            *self.consumed.entry(name.clone()).or_insert(Quantity::ZERO) += *amount;
        }
    }

    fn remove(&mut self, share: &Amounts) {
        self.count -= 1;
        for (name, amount) in share {
            if let Some(consumed) = self.consumed.get_mut(name) {
                *consumed = *consumed - *amount;
            }
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
