//! What allocations hold of devices: whole ones, and shares of those that several claims can have.

use super::{Amounts, DeviceId, capacity};
use k8s_openapi::api::resource::v1::{AllocationResult, DeviceRequestAllocationResult};
use mk8s_api::quantity::Quantity;
use std::collections::HashMap;

/// What is held of one device.
#[derive(Debug, Default)]
struct Hold {
    /// How many allocations have it for themselves.
    whole: usize,
    shares: usize,
    /// Of its capacities, by all shares together.
    consumed: Amounts,
}

/// What is held of all devices. Access of administrators holds nothing.
#[derive(Debug, Default)]
pub struct Held(HashMap<DeviceId, Hold>);

fn holding(allocation: &AllocationResult) -> impl Iterator<Item = &DeviceRequestAllocationResult> {
    let results = allocation.devices.iter().flat_map(|devices| devices.results.iter().flatten());
    results.filter(|result| result.admin_access != Some(true))
}

fn id_of(result: &DeviceRequestAllocationResult) -> DeviceId {
    DeviceId { driver: result.driver.clone(), pool: result.pool.clone(), device: result.device.clone() }
}

fn consumed(result: &DeviceRequestAllocationResult) -> impl Iterator<Item = (&String, Quantity)> {
    result.consumed_capacity.iter().flatten().map(|(name, amount)| (name, capacity::read(amount)))
}

impl Held {
    pub fn take(&mut self, allocation: &AllocationResult) {
        for result in holding(allocation) {
            let hold = self.0.entry(id_of(result)).or_default();
            if result.share_id.is_none() {
                hold.whole += 1;
                continue;
            }
            hold.shares += 1;
            for (name, amount) in consumed(result) {
                *hold.consumed.entry(name.clone()).or_insert(Quantity::ZERO) += amount;
            }
        }
    }

    pub fn give_back(&mut self, allocation: &AllocationResult) {
        for result in holding(allocation) {
            let id = id_of(result);
            let Some(hold) = self.0.get_mut(&id) else { continue };
            match result.share_id {
                None => hold.whole -= 1,
                Some(_) => {
                    hold.shares -= 1;
                    for (name, amount) in consumed(result) {
                        if let Some(held) = hold.consumed.get_mut(name) {
                            *held = *held - amount;
                        }
                    }
                }
            }
            if hold.whole + hold.shares == 0 {
                self.0.remove(&id);
            }
        }
    }

    /// Whether somebody has all of it.
    pub fn is_taken(&self, device: &DeviceId) -> bool {
        self.0.get(device).is_some_and(|hold| hold.whole > 0)
    }

    /// Whether somebody has it or a share of it.
    pub fn is_held(&self, device: &DeviceId) -> bool {
        self.0.contains_key(device)
    }

    pub fn is_shared(&self, device: &DeviceId) -> bool {
        self.0.get(device).is_some_and(|hold| hold.shares > 0)
    }

    /// What the shares of a device take of its capacities.
    pub fn consumed(&self, device: &DeviceId) -> Option<&Amounts> {
        self.0.get(device).map(|hold| &hold.consumed)
    }
}
