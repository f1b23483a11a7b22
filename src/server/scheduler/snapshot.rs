//! The cluster as the scheduler knows it: nodes and the pods placed on them, those it has just placed included.
//!
//! One owner changes it between cycles, a cycle only reads it; a change touches one node's entry.

use crate::{
    events::Events,
    node_info::NodeInfo,
    pod_facts::PodFacts,
};
use k8s_openapi::api::core::v1::Node;
use std::{collections::HashMap, sync::Arc};

/// All nodes, in the order in which they were first seen.
#[derive(Debug, Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    by_name: HashMap<String, usize>,
    /// Where each pod is counted, by uid.
    placed: HashMap<String, String>,
    /// On how many nodes each image is.
    image_nodes: HashMap<String, usize>,
}

impl Snapshot {
    /// The nodes that exist (entries that only hold pods of an unknown node are left out).
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter().filter(|info| info.node.is_some())
    }

    pub fn node_count(&self) -> usize {
        self.nodes().count()
    }

    /// On how many nodes an image is.
    pub fn nodes_with_image(&self, image: &str) -> usize {
        self.image_nodes.get(image).copied().unwrap_or(0)
    }

    /// Adds or replaces a node and says what about it has changed.
    pub fn set_node(&mut self, node: Arc<Node>) -> Events {
        let Some(name) = node.metadata.name.clone() else { return Events::NONE };
        let info = self.entry(&name);
        let events = info.node.as_deref().map_or(Events::NODE_ADDED, |old| difference(old, &node));
        let old_images: Vec<String> = info.images.keys().cloned().collect();
        info.set_node(node);
        let new_images: Vec<String> = info.images.keys().cloned().collect();
        self.count_images(&old_images, &new_images);
        events
    }

    pub fn remove_node(&mut self, name: &str) {
        let Some(at) = self.by_name.get(name).copied() else { return };
        let old_images: Vec<String> = self.nodes[at].images.drain().map(|(image, _)| image).collect();
        self.nodes[at].node = None;
        self.count_images(&old_images, &[]);
        if self.nodes[at].pod_count() == 0 {
            self.nodes.swap_remove(at);
            self.by_name.remove(name);
            if let Some(moved) = self.nodes.get(at) {
                self.by_name.insert(moved.name.clone(), at);
            }
        }
    }

    /// Counts a pod on a node; it moves there if it was counted elsewhere.
    pub fn place(&mut self, node: &str, pod: Arc<PodFacts>) {
        if self.placed.get(&pod.uid).is_some_and(|old| old != node) {
            self.remove_pod(&pod.uid.clone());
        }
        self.placed.insert(pod.uid.clone(), node.to_owned());
        self.entry(node).add(pod);
    }

    /// Returns whether the pod was counted anywhere.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(node) = self.placed.remove(uid) else { return false };
        self.entry(&node).remove(uid)
    }

    pub fn is_placed(&self, uid: &str) -> bool {
        self.placed.contains_key(uid)
    }

    fn entry(&mut self, name: &str) -> &mut NodeInfo {
        let at = *self.by_name.entry(name.to_owned()).or_insert_with(|| {
            self.nodes.push(NodeInfo::named(name));
            self.nodes.len() - 1
        });
        &mut self.nodes[at]
    }

    fn count_images(&mut self, gone: &[String], come: &[String]) {
        for image in come {
            *self.image_nodes.entry(image.clone()).or_default() += 1;
        }
        for image in gone {
            if let Some(count) = self.image_nodes.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.image_nodes.remove(image);
                }
            }
        }
    }
}

fn difference(old: &Node, new: &Node) -> Events {
    let allocatable = |node: &Node| node.status.as_ref().and_then(|s| s.allocatable.clone());
    let taints = |node: &Node| {
        node.spec.as_ref().map(|s| (s.taints.clone().unwrap_or_default(), s.unschedulable.unwrap_or(false)))
    };
    let mut events = Events::NONE;
    if allocatable(old) != allocatable(new) {
        events = events | Events::NODE_ALLOCATABLE;
    }
    if old.metadata.labels != new.metadata.labels {
        events = events | Events::NODE_LABELS;
    }
    if taints(old) != taints(new) {
        events = events | Events::NODE_TAINTS;
    }
    events
}
