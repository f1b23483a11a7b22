//! A node's taints keep away the pods that do not tolerate them.

use super::reject;
use crate::{events::Events, framework::*, node_info::NodeInfo, pod_facts::PodFacts, snapshot::Snapshot};
use k8s_openapi::api::core::v1::{Taint, Toleration};

pub(super) struct TaintToleration;

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }
    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_TAINTS
    }
    fn filter(&self, pod: &PodFacts, node: &NodeInfo) -> Result<(), Rejection> {
        let kept_away = taints(node)
            .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
            .any(|taint| !pod.tolerations.iter().any(|t| tolerates(t, taint)));
        if kept_away {
            return reject(Filter::name(self), "node(s) had untolerated taint(s)", true);
        }
        Ok(())
    }
}

impl Score for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }
    fn weight(&self) -> i64 {
        3
    }
    /// How many `PreferNoSchedule` taints the pod does not tolerate; normalising turns fewest into best.
    fn score(&self, pod: &PodFacts, node: &NodeInfo, _: &Snapshot) -> i64 {
        let disliked = taints(node)
            .filter(|taint| taint.effect == "PreferNoSchedule")
            .filter(|taint| !pod.tolerations.iter().any(|t| tolerates(t, taint)))
            .count();
        i64::try_from(disliked).unwrap_or(i64::MAX)
    }
    fn normalize(&self, scores: &mut [i64]) {
        scale_to_max(scores, true);
    }
}

fn taints(node: &NodeInfo) -> impl Iterator<Item = &Taint> {
    node.node.iter().filter_map(|n| n.spec.as_ref()).flat_map(|s| s.taints.iter().flatten())
}

/// Whether a toleration matches a taint. The time it tolerates for is eviction's concern.
pub(super) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let empty = |s: &Option<String>| s.as_deref().unwrap_or_default().is_empty();
    let effect = empty(&toleration.effect) || toleration.effect.as_deref() == Some(&taint.effect);
    let key = empty(&toleration.key) || toleration.key.as_deref() == Some(&taint.key);
    if !effect || !key {
        return false;
    }
    let theirs = taint.value.as_deref().unwrap_or_default();
    let ours = toleration.value.as_deref().unwrap_or_default();
    let numbers = || Some((theirs.parse::<i64>().ok()?, ours.parse::<i64>().ok()?));
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => ours == theirs,
        "Exists" => true,
        "Lt" => numbers().is_some_and(|(theirs, ours)| theirs < ours),
        "Gt" => numbers().is_some_and(|(theirs, ours)| theirs > ours),
        _ => false,
    }
}
