//! The affinity terms of placed pods, seen from the pod that is to be placed. Pods of one controller have the same terms:
//! they make one group, with the number of pods that hold it per node and per domain.

use super::{
    labels::LabelIndex,
    topology::{Domain, Topology},
};
use crate::{
    node_info::{NodeInfo, Slot},
    pod_facts::PodFacts,
    terms::{Holds, Labels, Term},
};
use std::{collections::HashMap, sync::Arc};

#[derive(Debug)]
pub struct Group {
    pub holds: Holds,
    pub column: usize,
    key: String,
    term: Arc<Term>,
    per_node: HashMap<Slot, u32>,
    counts: HashMap<Domain, i64>,
    epoch: u64,
}

impl Group {
    /// How many placed pods in a domain hold the term.
    pub fn count(&self, domain: Domain) -> i64 {
        self.counts.get(&domain).copied().unwrap_or(0)
    }

    fn make(&mut self, topology: &Topology, nodes: &[NodeInfo]) {
        self.epoch = topology.epoch;
        self.counts.clear();
        for (slot, pods) in &self.per_node {
            let exists = nodes.get(*slot as usize).is_some_and(NodeInfo::exists);
            if let Some(domain) = topology.domain(self.column, *slot).filter(|_| exists) {
                *self.counts.entry(domain).or_default() += i64::from(*pods);
            }
        }
    }
}

#[derive(Debug, Default)]
pub struct HeldTerms {
    groups: Vec<Option<Group>>,
    free: Vec<usize>,
    by_key: HashMap<String, usize>,
    index: LabelIndex,
}

impl HeldTerms {
    pub fn at(&self, group: usize) -> &Group {
        self.groups[group].as_ref().expect("a group that was met is kept while its pod is placed")
    }

    /// A pod with terms has come to a node.
    pub fn pod_added(&mut self, pod: &PodFacts, slot: Slot, topology: &mut Topology, nodes: &[NodeInfo]) {
        for held in &pod.terms.held {
            let at = match self.by_key.get(&held.group) {
                Some(at) => *at,
                None => {
                    let group = Group {
                        holds: held.holds,
                        column: topology.column(&held.term.topology_key, nodes),
                        key: held.group.clone(),
                        term: held.term.clone(),
                        per_node: HashMap::new(),
                        counts: HashMap::new(),
                        epoch: topology.epoch,
                    };
                    let at = self.free.pop().unwrap_or_else(|| {
                        self.groups.push(None);
                        self.groups.len() - 1
                    });
                    self.groups[at] = Some(group);
                    self.by_key.insert(held.group.clone(), at);
                    self.index.file(&held.term.selector, at);
                    at
                }
            };
            let group = self.groups[at].as_mut().expect("a group with a key is kept");
            *group.per_node.entry(slot).or_default() += 1;
            let fresh = group.epoch == topology.epoch;
            if let Some(domain) = topology.domain(group.column, slot).filter(|_| fresh) {
                *group.counts.entry(domain).or_default() += 1;
            }
        }
    }

    pub fn pod_removed(&mut self, pod: &PodFacts, slot: Slot, topology: &Topology) {
        for held in &pod.terms.held {
            let Some(at) = self.by_key.get(&held.group).copied() else { continue };
            let group = self.groups[at].as_mut().expect("a group with a key is kept");
            if let Some(pods) = group.per_node.get_mut(&slot) {
                *pods -= 1;
                if *pods == 0 {
                    group.per_node.remove(&slot);
                }
                let fresh = group.epoch == topology.epoch;
                if let Some(domain) = topology.domain(group.column, slot).filter(|_| fresh) {
                    let count = group.counts.entry(domain).or_default();
                    *count -= 1;
                    if *count == 0 {
                        group.counts.remove(&domain);
                    }
                }
            }
            if group.per_node.is_empty() {
                self.by_key.remove(&group.key);
                self.index.unfile(&group.term.selector, at);
                self.groups[at] = None;
                self.free.push(at);
            }
        }
    }

    /// The groups whose term means this pod, brought up to date.
    pub fn meaning(
        &mut self,
        pod: &PodFacts,
        namespace_labels: &Labels,
        topology: &Topology,
        nodes: &[NodeInfo],
    ) -> Vec<usize> {
        if self.by_key.is_empty() {
            return Vec::new();
        }
        let mut met: Vec<usize> = self.index.candidates(pod.labels()).collect();
        met.sort_unstable();
        met.dedup();
        met.retain(|at| {
            let Some(group) = self.groups[*at].as_mut() else { return false };
            let means = group.term.means(&pod.namespace, namespace_labels, pod.labels());
            if means && group.epoch != topology.epoch {
                group.make(topology, nodes);
            }
            means
        });
        met
    }
}
