//! Room that is kept: pods which others were evicted for, and the node each of them waits for.

use crate::pod_facts::PodFacts;
use std::{collections::HashMap, sync::Arc};

#[derive(Debug, Default)]
pub struct Nominations {
    /// By uid.
    nodes: HashMap<Arc<str>, String>,
    by_node: HashMap<String, Vec<Arc<PodFacts>>>,
}

impl Nominations {
    /// Keeps room for a pod that nothing is kept for.
    pub(crate) fn set(&mut self, pod: Arc<PodFacts>, node: &str) {
        self.nodes.insert(pod.uid.clone(), node.to_owned());
        self.by_node.entry(node.to_owned()).or_default().push(pod);
    }

    /// Returns the node on which something was kept.
    pub(crate) fn clear(&mut self, uid: &str) -> Option<String> {
        let node = self.nodes.remove(uid)?;
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.retain(|pod| &*pod.uid != uid);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
        Some(node)
    }

    pub fn node_of(&self, uid: &str) -> Option<&str> {
        self.nodes.get(uid).map(String::as_str)
    }

    pub fn on_node(&self, node: &str) -> &[Arc<PodFacts>] {
        self.by_node.get(node).map(Vec::as_slice).unwrap_or_default()
    }
}
