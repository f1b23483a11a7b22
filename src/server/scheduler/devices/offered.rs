//! What drivers offer: slices and their devices, read once.

use super::{
    Amounts, DeviceId,
    capacity::{self, Capacity},
    counters::Counters,
    pools::PoolId,
};
use k8s_openapi::api::{
    core::v1::NodeSelector,
    resource::v1::{Counter, Device, ResourceSlice},
};
use kube::ResourceExt;
use std::{collections::BTreeMap, sync::Arc};

/// A slice, with its devices as selectors see them.
#[derive(Debug)]
pub struct Slice {
    pub slice: Arc<ResourceSlice>,
    pub name: String,
    pub pool: PoolId,
    /// Either there are devices in a slice, or counters.
    pub devices: Vec<Offered>,
    pub counters: Vec<Counters>,
    /// Whether any of its devices does.
    pub consumes: bool,
}

#[derive(Debug)]
pub struct Offered {
    pub id: DeviceId,
    pub device: Device,
    pub capacities: Vec<Capacity>,
    pub consumes: Vec<Counters>,
    attributes: serde_json::Value,
    capacity: serde_json::Value,
}

/// From which nodes something can be reached.
pub struct Place<'a> {
    pub node_name: Option<&'a str>,
    pub all_nodes: bool,
    pub selector: Option<&'a NodeSelector>,
}

impl Slice {
    pub fn of(slice: &Arc<ResourceSlice>) -> Self {
        let spec = &slice.spec;
        let pool = PoolId { driver: spec.driver.clone(), pool: spec.pool.name.clone() };
        let devices: Vec<Offered> =
            spec.devices.iter().flatten().map(|device| Offered::of(&pool, device.clone())).collect();
        let counters = spec.shared_counters.iter().flatten();
        let counters = counters.map(|set| Counters { set: set.name.clone(), amounts: amounts(&set.counters) });
        Self {
            name: slice.name_any(),
            consumes: devices.iter().any(|device| !device.consumes.is_empty()),
            counters: counters.collect(),
            devices,
            pool,
            slice: slice.clone(),
        }
    }

    /// `None` where each device says it for itself.
    pub fn place(&self) -> Option<Place<'_>> {
        let spec = &self.slice.spec;
        let place = Place::of(&spec.node_name, spec.all_nodes, &spec.node_selector);
        (place.is_said() || spec.per_device_node_selection != Some(true)).then_some(place)
    }

    /// From where one of its devices can be reached.
    pub fn place_of<'a>(&'a self, device: &'a Offered) -> Place<'a> {
        self.place().unwrap_or_else(|| device.place())
    }
}

impl Offered {
    fn of(pool: &PoolId, device: Device) -> Self {
        let json = |value: serde_json::Result<serde_json::Value>| value.unwrap_or_default();
        let consumes = device.consumes_counters.iter().flatten();
        let consumes = consumes.map(|set| Counters { set: set.counter_set.clone(), amounts: amounts(&set.counters) });
        Self {
            id: DeviceId { driver: pool.driver.clone(), pool: pool.pool.clone(), device: device.name.clone() },
            capacities: capacity::of(&device),
            consumes: consumes.collect(),
            attributes: json(serde_json::to_value(&device.attributes)),
            capacity: json(serde_json::to_value(&device.capacity)),
            device,
        }
    }

    pub fn seen(&self) -> mk8s_api::cel::device::Device<'_> {
        mk8s_api::cel::device::Device {
            driver: &self.id.driver,
            attributes: &self.attributes,
            capacity: &self.capacity,
            allow_multiple_allocations: self.is_shareable(),
        }
    }

    /// Whether several claims can have a share of it each.
    pub fn is_shareable(&self) -> bool {
        self.device.allow_multiple_allocations.unwrap_or(false)
    }

    pub fn place(&self) -> Place<'_> {
        Place::of(&self.device.node_name, self.device.all_nodes, &self.device.node_selector)
    }
}

impl<'a> Place<'a> {
    fn of(node_name: &'a Option<String>, all_nodes: Option<bool>, selector: &'a Option<NodeSelector>) -> Self {
        let node_name = node_name.as_deref().filter(|name| !name.is_empty());
        Self { node_name, all_nodes: all_nodes == Some(true), selector: selector.as_ref() }
    }

    fn is_said(&self) -> bool {
        self.node_name.is_some() || self.all_nodes || self.selector.is_some()
    }
}

fn amounts(counters: &BTreeMap<String, Counter>) -> Amounts {
    counters.iter().map(|(name, counter)| (name.clone(), capacity::read(&counter.value))).collect()
}
