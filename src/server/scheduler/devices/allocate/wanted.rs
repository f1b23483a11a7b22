//! What the requests of a claim want, read before the search.

use super::{Failure, Found, Key, Search, constraints::Constraint};
use crate::devices::{Amounts, Class, Compiled, capacity, key_of, requests_of};
use k8s_openapi::api::resource::v1::{
    CapacityRequirements, DeviceRequest, DeviceSelector, DeviceToleration, ResourceClaim,
};
use std::rc::Rc;

/// What one request, or one alternative of it, wants.
pub(super) struct Wanted<'a> {
    pub(super) name: &'a str,
    pub(super) parent: Option<&'a str>,
    pub(super) class: &'a Class,
    pub(super) selectors: Vec<Compiled>,
    pub(super) tolerations: Option<&'a Vec<DeviceToleration>>,
    /// Of the capacities of each device.
    pub(super) capacity: Option<Amounts>,
    pub(super) admin: bool,
    pub(super) count: usize,
    /// All devices of a request for all of them.
    pub(super) all: Option<Vec<Found<'a>>>,
}

impl Wanted<'_> {
    /// The name of the request, or of that which it is an alternative of.
    pub(super) fn base_name(&self) -> &str {
        self.parent.unwrap_or(self.name)
    }

    pub(super) fn full_name(&self) -> String {
        match self.parent {
            None => self.name.to_owned(),
            Some(parent) => format!("{parent}/{}", self.name),
        }
    }

    /// Whether one of the names means it; without names, it is meant.
    pub(super) fn is_among(&self, names: &[String]) -> bool {
        names.is_empty()
            || names.iter().any(|name| name == self.base_name())
            || (self.parent.is_some() && names.contains(&self.full_name()))
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
    capacity: Option<&'a CapacityRequirements>,
}

fn terms(request: &DeviceRequest) -> impl Iterator<Item = Terms<'_>> {
    let several = request.first_available.iter().flatten().map(|one| Terms {
        name: &one.name,
        parent: Some(&request.name),
        class: &one.device_class_name,
        mode: one.allocation_mode.as_deref(),
        count: one.count,
        admin: false,
        selectors: one.selectors.as_ref(),
        tolerations: one.tolerations.as_ref(),
        capacity: one.capacity.as_ref(),
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
        capacity: one.capacity.as_ref(),
    });
    exactly.chain(several)
}

impl<'a> Search<'a, '_> {
    pub(super) fn read(&mut self, at: usize, claim: &'a ResourceClaim) -> Result<(), Failure> {
        self.wanted.push(Vec::new());
        let mut least = 0;
        for (n, request) in requests_of(claim).iter().enumerate() {
            self.wanted[at].push(Vec::new());
            for (option, terms) in terms(request).enumerate() {
                let key = Key { claim: at, request: n, option };
                let wanted = self.want(claim, key, terms)?;
                self.wanted[at][n].push(Rc::new(wanted));
            }
            least += self.wanted[at][n].iter().map(|wanted| wanted.count).min().unwrap_or(0);
        }
        if least > super::DEVICES_MAX {
            let (claim, most) = (key_of(claim), super::DEVICES_MAX);
            return Err(Failure::Claim(format!(
                "claim {claim}: number of requested devices {least} exceeds the claim limit of {most}"
            )));
        }
        let constraints = claim.spec.devices.iter().flat_map(|devices| devices.constraints.iter().flatten());
        let constraints = constraints.enumerate().map(|(n, constraint)| {
            let what = "empty constraint (unsupported constraint type?)";
            Constraint::of(constraint)
                .ok_or_else(|| Failure::Claim(format!("claim {}, constraint #{n}: {what}", key_of(claim))))
        });
        let constraints = constraints.collect::<Result<_, _>>()?;
        self.constraints.push(constraints);
        Ok(())
    }

    fn want(&mut self, claim: &ResourceClaim, key: Key, terms: Terms<'a>) -> Result<Wanted<'a>, Failure> {
        let request = format!("claim {}, request {}", key_of(claim), terms.name);
        let says = |what: String| Failure::Claim(format!("{request}: {what}"));
        let mut selectors = Vec::new();
        for (n, selector) in terms.selectors.into_iter().flatten().enumerate() {
            let Some(selector) = self.devices.selector(selector) else {
                let what = "CEL expression empty (unsupported selector type?)";
                return Err(Failure::Claim(format!("{request}, selector #{n}: {what}")));
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
        let capacity = terms.capacity.and_then(|capacity| capacity.requests.as_ref());
        let capacity = capacity.map(|wanted| {
            wanted.iter().map(|(name, amount)| (name.clone(), capacity::read(amount))).collect::<Amounts>()
        });
        let mut wanted = Wanted { name, parent, class, selectors, tolerations, capacity, admin, count: 0, all: None };
        match terms.mode.unwrap_or("ExactCount") {
            "ExactCount" => wanted.count = usize::try_from(terms.count.unwrap_or(1)).unwrap_or(usize::MAX),
            "All" => {
                let all = self.all(claim, key, &wanted)?;
                wanted.count = all.len();
                wanted.all = Some(all);
            }
            other => return Err(says(format!("unsupported count mode {other}"))),
        }
        Ok(wanted)
    }

    /// All devices that a request for all of them means.
    fn all(&mut self, claim: &ResourceClaim, key: Key, wanted: &Wanted<'a>) -> Result<Vec<Found<'a>>, Failure> {
        let mut all = Vec::new();
        for pool in 0..self.pools.len() {
            let of_pool = &self.pools[pool];
            let state = match (of_pool.incomplete, of_pool.invalid) {
                (true, _) => "being updated",
                (_, true) => "invalid",
                _ => "",
            };
            if !state.is_empty() {
                let (claim, request, pool) = (key_of(claim), wanted.name, of_pool.id);
                let what = format!("asks for all devices, but resource pool {pool} is currently {state}");
                return Err(Failure::Claim(format!("claim {claim}, request {request}: {what}")));
            }
            for slice in of_pool.slices.clone() {
                for device in &slice.devices {
                    let found = Found { pool, slice, device };
                    if self.selects(key, wanted, found)? && self.suffices(wanted, device) {
                        all.push(found);
                    }
                }
            }
        }
        Ok(all)
    }
}
