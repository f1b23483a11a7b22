//! Each node's domain under each topology key, as small numbers: a column of domains per key, filled when the key is first
//! asked for.

use crate::node_info::{NodeInfo, Slot};
use std::collections::HashMap;

/// A topology value, numbered within its column.
pub type Domain = u32;

const NOWHERE: Domain = Domain::MAX;

#[derive(Debug, Default)]
pub struct Topology {
    columns: Vec<Column>,
    by_key: HashMap<String, usize>,
    /// Rises with every change of which nodes there are, of their labels or their taints.
    pub epoch: u64,
}

#[derive(Debug)]
pub struct Column {
    pub key: String,
    domains: Vec<Domain>,
    by_value: HashMap<String, Domain>,
}

impl Column {
    pub fn domain(&self, slot: Slot) -> Option<Domain> {
        self.domains.get(slot as usize).copied().filter(|domain| *domain != NOWHERE)
    }

    /// How many domains were ever seen: counts of all domains fit an array of this length.
    pub fn width(&self) -> usize {
        self.by_value.len()
    }

    fn set(&mut self, slot: Slot, value: Option<&String>) {
        let at = slot as usize;
        if self.domains.len() <= at {
            self.domains.resize(at + 1, NOWHERE);
        }
        let next = Domain::try_from(self.by_value.len()).unwrap_or(NOWHERE);
        self.domains[at] = value.map_or(NOWHERE, |value| *self.by_value.entry(value.clone()).or_insert(next));
    }
}

impl Topology {
    /// The column of a key; `nodes` fill it when it is new.
    pub fn column(&mut self, key: &str, nodes: &[NodeInfo]) -> usize {
        if let Some(at) = self.by_key.get(key) {
            return *at;
        }
        let mut column = Column { key: key.to_owned(), domains: Vec::new(), by_value: HashMap::new() };
        for node in nodes {
            column.set(node.slot, node.labels().get(key));
        }
        self.columns.push(column);
        self.by_key.insert(key.to_owned(), self.columns.len() - 1);
        self.columns.len() - 1
    }

    /// The column of a key, if anybody has asked for it.
    pub fn known(&self, key: &str) -> Option<usize> {
        self.by_key.get(key).copied()
    }

    pub fn at(&self, column: usize) -> &Column {
        &self.columns[column]
    }

    pub fn domain(&self, column: usize, slot: Slot) -> Option<Domain> {
        self.columns[column].domain(slot)
    }

    /// A node is new, gone, or has other labels or taints.
    pub fn node_changed(&mut self, node: &NodeInfo) {
        self.epoch += 1;
        for column in &mut self.columns {
            column.set(node.slot, node.labels().get(&column.key));
        }
    }
}
