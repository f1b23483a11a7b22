//! What nodes and containers use: `metrics.k8s.io`, made of the agents' own figures.
//!
//! ```text
//! agent: stats/summary ──tunnel──▶ scrape ──▶ readings (two of each counter) ──▶ answer: NodeMetrics, PodMetrics
//! ```
//!
//! Reading order: `readings` (what is kept, and the rate between two readings), `scrape`, `answer`.
//!
//! Invariant: what is answered about a pod comes from the node that the pod is bound to.
//! Invariant: nothing is answered about a pod of which some running container has no rate yet.
//! Absent: history. Two readings of a counter are all that is ever kept.

mod answer;
mod readings;
mod scrape;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;

pub use answer::{get, list};
#[cfg(test)]
pub(crate) use readings::Summary;
pub use scrape::keep;

use readings::NodeReadings;

/// The newest readings of all nodes, by node. Cheap to clone.
#[derive(Clone, Default)]
pub struct Usage(Arc<RwLock<HashMap<String, NodeReadings>>>);
