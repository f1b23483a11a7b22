//! The extension points of the scheduling framework. A plugin is a small value without state: what differs per pod is
//! computed once into [`PodFacts`], what differs per node is in [`NodeInfo`].

use crate::{events::Events, node_info::NodeInfo, pod_facts::PodFacts, snapshot::Snapshot};
use std::borrow::Cow;

/// Why a node cannot take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The plugin that said no.
    pub plugin: &'static str,
    /// One or more reasons in Kubernetes' words; each is counted by itself in the pod's message.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether evicting pods from the node could never help.
    pub unresolvable: bool,
}

/// Decides whether a node can take a pod.
pub trait Filter: Send + Sync {
    fn name(&self) -> &'static str;
    /// Which changes of the cluster can make a pod that this plugin rejected fit.
    fn events(&self) -> Events;
    fn filter(&self, pod: &PodFacts, node: &NodeInfo) -> Result<(), Rejection>;
}

/// Ranks a node that can take a pod, 0 (worst) to 100 (best).
pub trait Score: Send + Sync {
    fn name(&self) -> &'static str;
    fn weight(&self) -> i64;
    fn score(&self, pod: &PodFacts, node: &NodeInfo, snapshot: &Snapshot) -> i64;
    /// Brings the raw scores of all candidates to 0..=100. The default leaves them as they are.
    fn normalize(&self, _scores: &mut [i64]) {}
}

/// The highest score a plugin gives.
pub const MAX_SCORE: i64 = 100;

/// Scales scores so that the largest becomes 100; `reverse` turns "most" into "worst".
pub fn scale_to_max(scores: &mut [i64], reverse: bool) {
    let largest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        *score = if largest == 0 { 0 } else { *score * MAX_SCORE / largest };
        if reverse {
            *score = MAX_SCORE - *score;
        }
    }
}
