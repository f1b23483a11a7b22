//! How many pods some selectors match, per node, and seen through topologies per domain.
//!
//! A counter is made when a pod that is to be placed asks for it, is kept true while pods come and go, and goes when it
//! has not been asked for longest and there are many.

use super::{
    labels::LabelIndex,
    topology::{Domain, Topology},
};
use crate::{
    node_info::{NodeInfo, Slot},
    pod_facts::PodFacts,
    terms::{Labels, Scope},
};
use mk8s_api::select::LabelSelector;
use std::collections::{BTreeMap, HashMap};

/// Counters that are kept; beyond, the half that was not asked for longest goes.
const KEPT_MAX: usize = 512;

/// Which pods are counted: those that all of these mean.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The identity: equal keys count the same pods.
    pub key: String,
    pub terms: Vec<(Scope, LabelSelector)>,
    /// Whether pods that are being deleted are left out.
    pub living_only: bool,
}

impl Counted {
    fn means(&self, pod: &PodFacts, namespace_labels: &Labels) -> bool {
        !(self.living_only && pod.deleting)
            && self.terms.iter().all(|(scope, selector)| {
                scope.covers(&pod.namespace, namespace_labels) && selector.matches(pod.labels())
            })
    }

    fn looks_at_namespaces(&self) -> bool {
        self.terms.iter().any(|(scope, _)| scope.selector.is_some())
    }
}

#[derive(Debug)]
pub struct Counter {
    counted: Counted,
    per_node: Vec<u32>,
    views: Vec<View>,
    by_view: HashMap<String, usize>,
    used: u64,
    /// Whether the labels of namespaces have changed under it.
    stale: bool,
}

/// The counts of a counter per domain of a topology, over the nodes that take part.
#[derive(Debug)]
pub struct View {
    column: usize,
    epoch: u64,
    /// By slot: the domain that the node's pods count for, if it takes part.
    domains: Vec<Option<Domain>>,
    counts: Vec<i64>,
    /// By domain: how many nodes take part.
    nodes: Vec<u32>,
    /// How many domains have so many pods.
    histogram: BTreeMap<i64, usize>,
    total: i64,
}

impl View {
    /// The pods counted in a domain.
    pub fn count(&self, domain: Domain) -> i64 {
        self.counts.get(domain as usize).copied().unwrap_or(0)
    }

    pub fn total(&self) -> i64 {
        self.total
    }

    /// Whether a node takes part.
    pub fn includes(&self, slot: Slot) -> bool {
        self.domains.get(slot as usize).copied().flatten().is_some()
    }

    /// Domains with at least one node that takes part.
    pub fn domain_count(&self) -> usize {
        self.histogram.values().sum()
    }

    /// The fewest pods that a domain has, supposing that one had so many more.
    pub fn least(&self, moved: Option<(Domain, i64)>) -> Option<i64> {
        let Some((domain, by)) = moved else { return self.histogram.keys().next().copied() };
        let known = self.nodes.get(domain as usize).is_some_and(|nodes| *nodes > 0);
        if !known {
            return self.histogram.keys().next().copied();
        }
        let here = self.count(domain);
        let others = self.histogram.iter().find(|(count, domains)| **count != here || **domains > 1);
        Some(others.map_or(here + by, |(count, _)| (*count).min(here + by)))
    }

    fn empty(column: usize) -> Self {
        Self {
            column,
            epoch: u64::MAX,
            domains: Vec::new(),
            counts: Vec::new(),
            nodes: Vec::new(),
            histogram: BTreeMap::new(),
            total: 0,
        }
    }

    fn make(
        &mut self,
        topology: &Topology,
        nodes: &[NodeInfo],
        per_node: &[u32],
        takes_part: &dyn Fn(&NodeInfo) -> bool,
    ) {
        let column = topology.at(self.column);
        self.epoch = topology.epoch;
        self.domains = vec![None; nodes.len()];
        self.counts = vec![0; column.width()];
        self.nodes = vec![0; column.width()];
        self.total = 0;
        for node in nodes.iter().filter(|node| node.exists()) {
            let Some(domain) = column.domain(node.slot) else { continue };
            if !takes_part(node) {
                continue;
            }
            let pods = i64::from(per_node.get(node.slot as usize).copied().unwrap_or(0));
            self.domains[node.slot as usize] = Some(domain);
            self.counts[domain as usize] += pods;
            self.nodes[domain as usize] += 1;
            self.total += pods;
        }
        self.histogram.clear();
        for (count, _) in self.counts.iter().zip(&self.nodes).filter(|(_, nodes)| **nodes > 0) {
            *self.histogram.entry(*count).or_default() += 1;
        }
    }

    fn shift(&mut self, slot: Slot, by: i64) {
        let Some(domain) = self.domains.get(slot as usize).copied().flatten() else { return };
        let count = &mut self.counts[domain as usize];
        if let Some(domains) = self.histogram.get_mut(count) {
            *domains -= 1;
            if *domains == 0 {
                self.histogram.remove(count);
            }
        }
        *count += by;
        *self.histogram.entry(*count).or_default() += 1;
        self.total += by;
    }
}

/// A counter and one of its views, until the next pod is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handle {
    counter: usize,
    view: usize,
}

#[derive(Debug, Default)]
pub struct Counters {
    slots: Vec<Option<Counter>>,
    free: Vec<usize>,
    by_key: HashMap<String, usize>,
    index: LabelIndex,
    clock: u64,
}

/// What counters are made from.
pub struct Sources<'a> {
    pub topology: &'a Topology,
    pub nodes: &'a [NodeInfo],
    /// The labels of a namespace.
    pub namespace_labels: &'a dyn Fn(&str) -> &'a Labels,
}

impl Counters {
    /// Begins the preparation of another pod: handles of earlier ones end.
    pub fn begin(&mut self) {
        self.clock += 1;
        if self.by_key.len() <= KEPT_MAX {
            return;
        }
        let mut used: Vec<u64> = self.slots.iter().flatten().map(|counter| counter.used).collect();
        let middle = used.len() / 2;
        let (_, median, _) = used.select_nth_unstable(middle);
        let median = *median;
        for at in 0..self.slots.len() {
            if self.slots[at].as_ref().is_some_and(|counter| counter.used < median) {
                self.drop_counter(at);
            }
        }
    }

    fn drop_counter(&mut self, at: usize) {
        let Some(counter) = self.slots[at].take() else { return };
        self.by_key.remove(&counter.counted.key);
        if let Some((_, selector)) = counter.counted.terms.first() {
            self.index.unfile(selector, at);
        }
        self.free.push(at);
    }

    /// The view of a counter, made or brought up to date. `view_key` names who takes part.
    pub fn view(
        &mut self,
        counted: Counted,
        column: usize,
        view_key: &str,
        takes_part: &dyn Fn(&NodeInfo) -> bool,
        sources: &Sources<'_>,
    ) -> Handle {
        let at = self.counter(counted, sources);
        let counter = self.slots[at].as_mut().expect("the counter was just found");
        counter.used = self.clock;
        let key = format!("{column}|{view_key}");
        let view = match counter.by_view.get(&key) {
            Some(view) => *view,
            None => {
                counter.views.push(View::empty(column));
                counter.by_view.insert(key, counter.views.len() - 1);
                counter.views.len() - 1
            }
        };
        if counter.views[view].epoch != sources.topology.epoch {
            counter.views[view].make(sources.topology, sources.nodes, &counter.per_node, takes_part);
        }
        Handle { counter: at, view }
    }

    fn counter(&mut self, counted: Counted, sources: &Sources<'_>) -> usize {
        let known = self.by_key.get(&counted.key).copied();
        let stale = |at: usize| self.slots[at].as_ref().is_none_or(|counter| counter.stale);
        if let Some(at) = known.filter(|at| !stale(*at)) {
            return at;
        }
        if let Some(at) = known {
            self.drop_counter(at);
        }
        let mut per_node = vec![0; sources.nodes.len()];
        for node in sources.nodes {
            let means =
                |pod: &&std::sync::Arc<PodFacts>| counted.means(pod, (sources.namespace_labels)(&pod.namespace));
            per_node[node.slot as usize] = u32::try_from(node.pods.iter().filter(means).count()).unwrap_or(u32::MAX);
        }
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        if let Some((_, selector)) = counted.terms.first() {
            self.index.file(selector, at);
        }
        self.by_key.insert(counted.key.clone(), at);
        self.slots[at] = Some(Counter {
            counted,
            per_node,
            views: Vec::new(),
            by_view: HashMap::new(),
            used: self.clock,
            stale: false,
        });
        at
    }

    pub fn at(&self, handle: Handle) -> &View {
        let counter = self.slots[handle.counter].as_ref().expect("a handle's counter is kept while its pod is placed");
        &counter.views[handle.view]
    }

    /// The pods counted on one node, whether it takes part or not.
    pub fn on_node(&self, handle: Handle, slot: Slot) -> i64 {
        let counter = self.slots[handle.counter].as_ref().expect("a handle's counter is kept while its pod is placed");
        i64::from(counter.per_node.get(slot as usize).copied().unwrap_or(0))
    }

    /// A pod has come to a node (`by` is 1) or left it (-1).
    pub fn pod_moved(&mut self, pod: &PodFacts, slot: Slot, by: i32, topology: &Topology, namespace_labels: &Labels) {
        if self.by_key.is_empty() {
            return;
        }
        let Self { slots, index, .. } = self;
        let mut met: Vec<usize> = index.candidates(pod.labels()).collect();
        met.sort_unstable();
        met.dedup();
        for at in met {
            let Some(counter) = slots[at].as_mut() else { continue };
            if counter.stale || !counter.counted.means(pod, namespace_labels) {
                continue;
            }
            let place = slot as usize;
            if counter.per_node.len() <= place {
                counter.per_node.resize(place + 1, 0);
            }
            counter.per_node[place] = counter.per_node[place].saturating_add_signed(by);
            for view in counter.views.iter_mut().filter(|view| view.epoch == topology.epoch) {
                view.shift(slot, i64::from(by));
            }
        }
    }

    /// The labels of a namespace have changed.
    pub fn namespace_changed(&mut self) {
        for counter in self.slots.iter_mut().flatten().filter(|counter| counter.counted.looks_at_namespaces()) {
            counter.stale = true;
        }
    }
}
