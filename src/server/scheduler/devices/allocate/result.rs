//! What is written into a claim that gets its devices.

use super::{Picked, Search, wanted::Wanted};
use crate::devices::DeviceId;
use k8s_openapi::{
    api::{
        core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm},
        resource::v1::{
            AllocationResult, DeviceAllocationConfiguration, DeviceAllocationResult, DeviceRequestAllocationResult,
        },
    },
    apimachinery::pkg::api::resource::Quantity,
};
use std::collections::{BTreeMap, HashMap};

fn not_empty<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|list| !list.is_empty())
}

impl Search<'_, '_> {
    /// The ids of shares are empty: they are drawn when the claim is written.
    pub(super) fn result(&self, at: usize) -> AllocationResult {
        let results = self.picked[at].iter().map(|picked| self.result_of(picked)).collect();
        AllocationResult {
            allocation_timestamp: None,
            devices: Some(DeviceAllocationResult {
                results: not_empty(results),
                config: not_empty(self.configurations(at)),
            }),
            node_selector: self.place(at),
        }
    }

    fn result_of(&self, picked: &Picked<'_>) -> DeviceRequestAllocationResult {
        let wanted = self.wanted(picked.key);
        let DeviceId { driver, pool, device } = picked.found.device.id.clone();
        let offered = &picked.found.device.device;
        let consumed = picked.share.iter().flatten();
        let consumed: BTreeMap<String, Quantity> =
            consumed.map(|(name, amount)| (name.clone(), Quantity(amount.to_string()))).collect();
        DeviceRequestAllocationResult {
            request: wanted.full_name(),
            driver,
            pool,
            device,
            admin_access: wanted.admin.then_some(true),
            tolerations: wanted.tolerations.cloned().and_then(not_empty),
            share_id: picked.share.is_some().then(String::new),
            consumed_capacity: Some(consumed).filter(|consumed| !consumed.is_empty()),
            binding_conditions: offered.binding_conditions.clone().and_then(not_empty),
            binding_failure_conditions: offered.binding_failure_conditions.clone().and_then(not_empty),
        }
    }

    /// The configurations of the classes, once each, and then those of the claim, as far as they concern what was taken.
    fn configurations(&self, at: usize) -> Vec<DeviceAllocationConfiguration> {
        let mut all: Vec<DeviceAllocationConfiguration> = Vec::new();
        let mut of_class: HashMap<&str, std::ops::Range<usize>> = HashMap::new();
        let taken: Vec<&Wanted<'_>> = self.wanted[at]
            .iter()
            .zip(&self.chosen[at])
            .filter_map(|(options, chosen)| options.get(*chosen).map(|wanted| &**wanted))
            .collect();
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
            let times = match requests {
                [] => 1,
                _ => taken.iter().filter(|wanted| wanted.is_among(requests)).count(),
            };
            for _ in 0..times {
                all.push(DeviceAllocationConfiguration {
                    source: "FromClaim".to_owned(),
                    requests: not_empty(requests.to_vec()),
                    opaque: config.opaque.clone(),
                });
            }
        }
        all
    }

    /// From which nodes all devices of a claim can be reached; `None` when from all.
    fn place(&self, at: usize) -> Option<NodeSelector> {
        let mut term = NodeSelectorTerm::default();
        for Picked { found, .. } in &self.picked[at] {
            let place = found.slice.place_of(found.device);
            if place.node_name.is_some() || found.device.device.binds_to_node == Some(true) {
                let name = NodeSelectorRequirement {
                    key: "metadata.name".to_owned(),
                    operator: "In".to_owned(),
                    values: Some(vec![self.node.name().to_owned()]),
                };
                let term = NodeSelectorTerm { match_fields: Some(vec![name]), ..NodeSelectorTerm::default() };
                return Some(NodeSelector { node_selector_terms: vec![term] });
            }
            let Some(own) = place.selector.and_then(|selector| selector.node_selector_terms.first()) else {
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
