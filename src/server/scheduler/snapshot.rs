//! The cluster as the scheduler knows it: nodes and the pods placed on them, those it has just placed included, and the
//! counts that cycles look up.
//!
//! One owner changes it between cycles, a cycle only reads it; a change touches one node's entry and the counts that the
//! changed pod takes part in.

use crate::{
    catalogue::Catalogue,
    events::Events,
    index::{counters::Counters, held::HeldTerms, topology::Topology},
    node_info::{NodeFacts, NodeInfo, Nominated, Slot},
    nominations::Nominations,
    pod_facts::PodFacts,
};
use k8s_openapi::api::core::v1::Node;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// See the module.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// By slot. A slot without a node and without pods is free.
    pub(crate) nodes: Vec<NodeInfo>,
    by_name: HashMap<String, Slot>,
    free: Vec<Slot>,
    /// The nodes that exist, zones taking turns.
    order: Vec<Slot>,
    order_is_stale: bool,
    /// Where each pod is counted, by uid.
    placed: HashMap<Arc<str>, Slot>,
    /// On how many nodes each image is.
    image_nodes: HashMap<String, usize>,
    /// How many placed pods use a claim, by `namespace/name`.
    claim_users: HashMap<String, usize>,
    pub(crate) topology: Topology,
    pub(crate) counters: Counters,
    pub(crate) held: HeldTerms,
    nominations: Nominations,
    pub catalogue: Catalogue,
}

impl Snapshot {
    /// The nodes that exist, in the order in which cycles look at them.
    pub fn order(&self) -> &[Slot] {
        &self.order
    }

    pub fn at(&self, slot: Slot) -> &NodeInfo {
        &self.nodes[slot as usize]
    }

    /// A node that exists.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        let slot = *self.by_name.get(name)?;
        Some(&self.nodes[slot as usize]).filter(|node| node.exists())
    }

    pub fn node_count(&self) -> usize {
        self.order.len()
    }

    /// How many pods are counted on nodes.
    pub fn pod_count(&self) -> usize {
        self.placed.len()
    }

    /// On how many nodes an image is.
    pub fn nodes_with_image(&self, image: &str) -> usize {
        self.image_nodes.get(image).copied().unwrap_or(0)
    }

    pub fn claim_is_used(&self, key: &str) -> bool {
        self.claim_users.contains_key(key)
    }

    /// Adds or replaces a node. Returns its versions and what about it has changed.
    pub fn set_node(&mut self, node: Node) -> (Option<Arc<NodeFacts>>, Arc<NodeFacts>, Events) {
        let new = Arc::new(NodeFacts::of(node));
        let slot = self.entry(&new.name);
        let info = &mut self.nodes[slot as usize];
        let old = info.set_facts(new.clone());
        let existed = old.node.is_some();
        let events = if existed { difference(&old, &new) } else { Events::NODE_ADDED };
        if !existed {
            self.order_is_stale = true;
        }
        if !existed || events.intersects(Events::NODE_LABELS | Events::NODE_TAINTS) {
            self.order_is_stale |= old.zone() != new.zone();
            self.topology.node_changed(&self.nodes[slot as usize]);
        }
        if old.images != new.images {
            self.count_images(&old, &new);
        }
        (Some(old).filter(|_| existed), new, events)
    }

    pub fn remove_node(&mut self, name: &str) -> Option<Arc<NodeFacts>> {
        let slot = *self.by_name.get(name)?;
        let nobody = Arc::new(NodeFacts::named(name));
        let old = self.nodes[slot as usize].set_facts(nobody.clone());
        self.count_images(&old, &nobody);
        self.order_is_stale = true;
        self.topology.node_changed(&self.nodes[slot as usize]);
        self.release(slot);
        Some(old)
    }

    /// Counts a pod on a node; it moves there if it was counted elsewhere, and replaces its earlier version.
    pub fn place(&mut self, node: &str, pod: Arc<PodFacts>) -> Option<Arc<PodFacts>> {
        let old = self.remove_pod(&pod.uid);
        let slot = self.entry(node);
        self.placed.insert(pod.uid.clone(), slot);
        for claim in &pod.claims {
            *self.claim_users.entry(format!("{}/{}", pod.namespace, claim.name)).or_default() += 1;
        }
        let labels = self.catalogue.namespace_labels(&pod.namespace);
        self.counters.pod_moved(&pod, slot, 1, &self.topology, labels);
        self.held.pod_added(&pod, slot, &mut self.topology, &self.nodes);
        self.nodes[slot as usize].add(pod);
        old
    }

    /// Returns the pod, if it was counted anywhere.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<PodFacts>> {
        let slot = self.placed.remove(uid)?;
        let pod = self.nodes[slot as usize].remove(uid)?;
        for claim in &pod.claims {
            let key = format!("{}/{}", pod.namespace, claim.name);
            if let Some(users) = self.claim_users.get_mut(&key) {
                *users -= 1;
                if *users == 0 {
                    self.claim_users.remove(&key);
                }
            }
        }
        let labels = self.catalogue.namespace_labels(&pod.namespace);
        self.counters.pod_moved(&pod, slot, -1, &self.topology, labels);
        self.held.pod_removed(&pod, slot, &self.topology);
        self.release(slot);
        Some(pod)
    }

    /// The placed pod and the node it is counted on.
    pub fn placed(&self, uid: &str) -> Option<(&str, &Arc<PodFacts>)> {
        let node = &self.nodes[*self.placed.get(uid)? as usize];
        let pod = node.pods.iter().find(|pod| &*pod.uid == uid)?;
        Some((node.name(), pod))
    }

    pub fn nominations(&self) -> &Nominations {
        &self.nominations
    }

    /// Keeps room for a pod on a node; what was kept for it elsewhere is free.
    pub fn nominate(&mut self, pod: Arc<PodFacts>, node: &str) {
        self.end_nomination(&pod.uid);
        self.nominations.set(pod, node);
        self.mark_nominated(node);
    }

    pub fn end_nomination(&mut self, uid: &str) {
        if let Some(node) = self.nominations.clear(uid) {
            self.mark_nominated(&node);
        }
    }

    fn mark_nominated(&mut self, node: &str) {
        if let Some(slot) = self.by_name.get(node) {
            let nominated = self.nominations.on_node(node).iter().map(Nominated::of).collect();
            self.nodes[*slot as usize].set_nominated(nominated);
        }
    }

    /// The labels of a namespace, or `None` when it is gone.
    pub fn set_namespace(&mut self, name: &str, labels: Option<BTreeMap<String, String>>) {
        if self.catalogue.set_namespace(name, labels) {
            self.counters.namespace_changed();
        }
    }

    fn entry(&mut self, name: &str) -> Slot {
        if let Some(slot) = self.by_name.get(name) {
            return *slot;
        }
        let facts = Arc::new(NodeFacts::named(name));
        let slot = match self.free.pop() {
            Some(slot) => {
                self.nodes[slot as usize] = NodeInfo::new(slot, facts);
                slot
            }
            None => {
                let slot = Slot::try_from(self.nodes.len()).expect("nodes are fewer than four thousand million");
                self.nodes.push(NodeInfo::new(slot, facts));
                slot
            }
        };
        self.by_name.insert(name.to_owned(), slot);
        self.mark_nominated(name);
        slot
    }

    /// Forgets an entry that holds nothing any more.
    fn release(&mut self, slot: Slot) {
        let node = &self.nodes[slot as usize];
        if !node.exists() && node.pods.is_empty() && self.by_name.remove(node.name()).is_some() {
            self.free.push(slot);
        }
    }

    fn count_images(&mut self, old: &NodeFacts, new: &NodeFacts) {
        for image in new.images.keys() {
            *self.image_nodes.entry(image.clone()).or_default() += 1;
        }
        for image in old.images.keys() {
            if let Some(count) = self.image_nodes.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.image_nodes.remove(image);
                }
            }
        }
    }

    /// Brings the order up to date. Needed before a cycle.
    pub(crate) fn arrange(&mut self) {
        if !std::mem::take(&mut self.order_is_stale) {
            return;
        }
        let mut zones: Vec<Vec<Slot>> = Vec::new();
        let mut by_zone: HashMap<Option<(&str, &str)>, usize> = HashMap::new();
        for node in self.nodes.iter().filter(|node| node.exists()) {
            let zone = *by_zone.entry(node.facts.zone()).or_insert_with(|| {
                zones.push(Vec::new());
                zones.len() - 1
            });
            zones[zone].push(node.slot);
        }
        let longest = zones.iter().map(Vec::len).max().unwrap_or(0);
        self.order =
            (0..longest).flat_map(|turn| zones.iter().filter_map(move |zone| zone.get(turn))).copied().collect();
    }
}

fn difference(old: &NodeFacts, new: &NodeFacts) -> Events {
    let mut events = Events::NONE;
    if old.allocatable != new.allocatable {
        events |= Events::NODE_ALLOCATABLE;
    }
    if old.labels() != new.labels() {
        events |= Events::NODE_LABELS;
    }
    if old.taints() != new.taints() || old.cordoned != new.cordoned {
        events |= Events::NODE_TAINTS;
    }
    events
}
