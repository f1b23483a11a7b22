//! The extension points of the scheduling framework.
//!
//! A [`Plugin`] is a small value made from a profile. Once per pod it prepares what it asks of nodes: a [`Filter`], a
//! [`Score`], or nothing when the pod does not concern it; that is where state of a cycle lives.

use crate::{
    change::Change,
    events::Events,
    needs::Needs,
    node_info::{NodeInfo, Taken},
    pod_facts::PodFacts,
    snapshot::Snapshot,
};
use jiff::Timestamp;
use std::borrow::Cow;

/// What one cycle sees.
#[derive(Clone, Copy)]
pub struct Cycle<'a> {
    pub pod: &'a PodFacts,
    pub snapshot: &'a Snapshot,
    pub needs: &'a Needs,
    pub now: Timestamp,
}

/// Why a node cannot take a pod, in Kubernetes' words; each reason is counted by itself in the pod's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reasons {
    One(Cow<'static, str>),
    Several(Vec<Cow<'static, str>>),
}

impl Reasons {
    pub fn as_slice(&self) -> &[Cow<'static, str>] {
        match self {
            Reasons::One(one) => std::slice::from_ref(one),
            Reasons::Several(several) => several,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    pub reasons: Reasons,
    /// Whether evicting pods from the node could never help.
    pub unresolvable: bool,
}

impl Rejection {
    pub fn resolvable(reason: &'static str) -> Self {
        Self { reasons: Reasons::One(Cow::Borrowed(reason)), unresolvable: false }
    }

    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reasons: Reasons::One(reason.into()), unresolvable: true }
    }
}

pub type Verdict = Result<(), Rejection>;

/// What a plugin asks of nodes for one pod.
pub enum Prepared<'a> {
    /// The pod does not concern the plugin.
    Skip,
    Ask(Box<dyn Filter + 'a>),
    /// As `Ask`, and only nodes with these names need to be asked.
    AskOnly(Vec<String>, Box<dyn Filter + 'a>),
    /// No node can take the pod.
    Reject(Rejection),
}

/// Decides whether nodes can take the pod of the cycle.
pub trait Filter {
    fn check(&self, node: &NodeInfo) -> Verdict;

    /// As `check`, if this were taken of the node; whoever asks how much is taken answers by it.
    fn check_if_taken(&self, node: &NodeInfo, _taken: &Taken) -> Verdict {
        self.check(node)
    }

    /// Whether it looks at the pods of a node or their ports, and not only at what they take together; whoever is told
    /// suppositions does.
    fn looks_at_pods(&self) -> bool {
        false
    }

    /// Suppose that a pod were on the node as well (`by` is 1) or were not (-1). Suppositions are about one node at a time.
    fn suppose(&mut self, _pod: &PodFacts, _node: &NodeInfo, _by: i64) {}

    /// Forget what was supposed.
    fn forget(&mut self) {}
}

/// Ranks nodes that can take the pod of the cycle.
pub trait Score {
    fn score(&self, node: &NodeInfo) -> i64;

    /// Brings the raw scores of all candidates to 0 (worst) to 100 (best). The default leaves them as they are.
    fn normalize(&self, _candidates: &[&NodeInfo], _scores: &mut [i64]) {}
}

pub trait Plugin: Send + Sync {
    fn name(&self) -> &'static str;

    /// Which changes of the cluster can make a pod that this plugin rejected fit.
    fn events(&self) -> Events {
        Events::NONE
    }

    /// Whether this very change can. Only asked about changes with one of [`Plugin::events`].
    fn helps(&self, _pod: &PodFacts, _change: &Change, _snapshot: &Snapshot) -> bool {
        true
    }

    fn filter<'a>(&'a self, _cycle: Cycle<'a>) -> Prepared<'a> {
        Prepared::Skip
    }

    fn score<'a>(&'a self, _cycle: Cycle<'a>, _candidates: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        None
    }
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
