//! Counters that the devices of a pool consume: what is cut out of one physical device cannot be had twice.

use super::{Amounts, held::Held, offered::Offered, pools::Pool};
use mk8s_api::quantity::Quantity;
use std::collections::HashMap;

/// A set of counters, or what a device consumes of one.
#[derive(Debug, Clone)]
pub struct Counters {
    pub set: String,
    pub amounts: Amounts,
}

/// What is left of the counters of a pool, by set and name. Less than nothing where more is held than there is.
#[derive(Debug)]
pub struct Left<'a>(HashMap<(&'a str, &'a str), Quantity>);

impl<'a> Left<'a> {
    /// Without what allocated devices consume, wherever they can be reached from.
    pub fn of(pool: &Pool<'a>, held: &Held) -> Self {
        let amounts = |counters: &'a Counters| {
            counters.amounts.iter().map(move |(name, amount)| ((counters.set.as_str(), name.as_str()), *amount))
        };
        let mut left = Self(pool.counters.values().copied().flat_map(amounts).collect());
        let slices = pool.slices.iter().chain(&pool.elsewhere);
        let devices = slices.flat_map(|slice| &slice.devices);
        for device in devices.filter(|device| !device.consumes.is_empty() && held.is_held(&device.id)) {
            left.change(device, |left, amount| left - amount);
        }
        left
    }

    /// Takes what a device consumes, when no counter falls short then.
    pub fn take(&mut self, device: &'a Offered) -> bool {
        self.change(device, |left, amount| left - amount);
        let enough = !self.0.values().any(|left| left.is_negative());
        if !enough {
            self.give_back(device);
        }
        enough
    }

    pub fn give_back(&mut self, device: &'a Offered) {
        self.change(device, |left, amount| left + amount);
    }

    fn change(&mut self, device: &'a Offered, by: impl Fn(Quantity, Quantity) -> Quantity) {
        for Counters { set, amounts } in &device.consumes {
            for (name, amount) in amounts {
                if let Some(left) = self.0.get_mut(&(set.as_str(), name.as_str())) {
                    *left = by(*left, *amount);
                }
            }
        }
    }
}
