//! Capacities of devices, and how much of them a share takes.

use super::Amounts;
use k8s_openapi::{api::resource::v1::Device, apimachinery::pkg::api::resource};
use mk8s_api::quantity::{Format, Quantity};
use std::cmp::Ordering;

/// One capacity of a device.
#[derive(Debug, Clone)]
pub struct Capacity {
    pub name: String,
    pub value: Quantity,
    pub policy: Option<Policy>,
}

/// Which amounts of a capacity can be had.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    pub default: Option<Quantity>,
    pub range: Option<Range>,
    /// Ascending.
    pub values: Vec<Quantity>,
}

#[derive(Debug, Clone)]
pub struct Range {
    pub min: Quantity,
    pub max: Option<Quantity>,
    pub step: Option<Quantity>,
}

/// An amount that cannot be read counts as nothing (the API server has refused it).
pub(super) fn read(quantity: &resource::Quantity) -> Quantity {
    quantity.0.parse().unwrap_or(Quantity::ZERO)
}

/// The capacities of a device.
pub(super) fn of(device: &Device) -> Vec<Capacity> {
    let all = device.capacity.iter().flatten().map(|(name, capacity)| Capacity {
        name: name.clone(),
        value: read(&capacity.value),
        policy: capacity.request_policy.as_ref().map(|policy| Policy {
            default: policy.default.as_ref().map(read),
            range: policy.valid_range.as_ref().map(|range| Range {
                min: read(&range.min),
                max: range.max.as_ref().map(read),
                step: range.step.as_ref().map(read).filter(|step| step.value() != 0),
            }),
            values: policy.valid_values.iter().flatten().map(read).collect(),
        }),
    });
    all.collect()
}

impl Capacity {
    /// How much is taken when so much is asked for: the next amount that can be had, or by default all of it.
    pub fn taken(&self, wanted: Option<Quantity>) -> Quantity {
        let policy = self.policy.as_ref();
        let Some(wanted) = wanted else { return policy.and_then(|policy| policy.default).unwrap_or(self.value) };
        let Some(policy) = policy else { return wanted };
        match &policy.range {
            Some(range) => range.above(wanted),
            None => policy.values.iter().copied().find(|value| *value >= wanted).unwrap_or(wanted),
        }
    }

    /// Whether so much can be had at all.
    fn allows(&self, taken: Quantity) -> bool {
        let Some(policy) = &self.policy else { return true };
        if policy.default == Some(taken) {
            return true;
        }
        match &policy.range {
            Some(range) => range.has(taken),
            None => policy.values.is_empty() || policy.values.contains(&taken),
        }
    }
}

impl Range {
    fn above(&self, wanted: Quantity) -> Quantity {
        match (wanted.cmp(&self.min), self.step) {
            (Ordering::Less, _) => self.min,
            (_, None) => wanted,
            (_, Some(step)) => {
                let (min, step) = (i128::from(self.min.value()), i128::from(step.value()));
                let beyond = i128::from(wanted.value()) - min;
                let steps = beyond / step + i128::from(beyond % step != 0);
                let units = i64::try_from(min + steps * step).unwrap_or(i64::MAX);
                Quantity::from_units(units, Format::Binary)
            }
        }
    }

    fn has(&self, taken: Quantity) -> bool {
        let on_step = |step: Quantity| (taken.value().saturating_sub(self.min.value())) % step.value() == 0;
        self.max.is_none_or(|max| taken <= max) && self.step.is_none_or(on_step)
    }
}

/// Whether a device has what is asked of its capacities, beside what others hold of them already.
pub fn suffices(capacities: &[Capacity], wanted: Option<&Amounts>, held: [Option<&Amounts>; 2]) -> bool {
    let is_there = |name: &String| capacities.iter().any(|capacity| capacity.name == *name);
    if !wanted.into_iter().flatten().all(|(name, _)| is_there(name)) {
        return false;
    }
    capacities.iter().all(|capacity| {
        let taken = capacity.taken(amount(wanted, &capacity.name));
        let others = held.into_iter().filter_map(|held| amount(held, &capacity.name));
        capacity.allows(taken) && others.fold(taken, |sum, more| sum + more) <= capacity.value
    })
}

/// What a share of a device takes of each of its capacities.
pub fn share(capacities: &[Capacity], wanted: Option<&Amounts>) -> Amounts {
    let taken = |capacity: &Capacity| capacity.taken(amount(wanted, &capacity.name));
    capacities.iter().map(|capacity| (capacity.name.clone(), taken(capacity))).collect()
}

fn amount(of: Option<&Amounts>, name: &str) -> Option<Quantity> {
    of?.get(name).copied()
}
