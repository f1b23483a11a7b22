//! Which conditions and taints a node should have.

use crate::common::updates::whole_second;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, NodeStatus, Taint};
use std::{sync::Arc, time::Duration};

/// A node that never reported anything gets longer to start.
const STARTUP_GRACE: Duration = Duration::from_secs(60);

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// Conditions, the status that is bad, and the taint that shows it.
const CONDITION_TAINTS: &[(&str, &str, &str)] = &[
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// What a silent node's own reports become.
const REPORTED: &[&str] = &["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

pub(super) struct Observed {
    pub(super) node: Arc<Node>,
    /// When the node was last heard of.
    pub(super) last_sign: Timestamp,
    /// With no node ready at all it is more likely that this side is cut off: no pods are evicted.
    pub(super) any_ready: bool,
    /// Whether it is the node's turn to lose its pods, if it must.
    pub(super) has_turn: bool,
    pub(super) grace: Duration,
}

pub(super) struct Plan {
    pub(super) status: Option<NodeStatus>,
    pub(super) taints: Option<Vec<Taint>>,
    /// It would lose its pods if it had its turn.
    pub(super) waits_for_turn: bool,
    /// When the silence will have lasted too long.
    pub(super) look_again: Option<Duration>,
}

pub(super) fn condition<'a>(status: &'a NodeStatus, kind: &str) -> Option<&'a NodeCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

pub(super) fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    condition(node.status.as_ref()?, "Ready")
}

pub(crate) fn is_ready(node: &Node) -> bool {
    ready_condition(node).is_some_and(|ready| ready.status == "True")
}

pub(super) fn plan(now: Timestamp, observed: &Observed) -> Plan {
    let node = observed.node.as_ref();
    let mut status = node.status.clone().unwrap_or_default();
    let grace = if ready_condition(node).is_some() { observed.grace } else { STARTUP_GRACE };
    let silence = Duration::try_from(now.duration_since(observed.last_sign)).unwrap_or_default();
    let is_silent = silence > grace;
    if is_silent {
        mark_unknown(&mut status, node, now);
    }
    let known = condition(&status, "Ready").is_some_and(|ready| ready.status == "Unknown");
    let evicting = evicting_taint(&status).filter(|_| observed.any_ready);
    let (has_turn, loses_pods) = (observed.has_turn || is_evicting(node), evicting.is_some());
    let wanted = wanted_taints(node, &status, evicting.filter(|_| has_turn));
    Plan {
        waits_for_turn: loses_pods && !has_turn,
        taints: change_taints(node, wanted, now),
        status: (node.status.as_ref() != Some(&status)).then_some(status),
        // A moment later than the grace, so that it is over for certain.
        look_again: (!is_silent || !known).then(|| grace.saturating_sub(silence) + Duration::from_millis(10)),
    }
}

fn mark_unknown(status: &mut NodeStatus, node: &Node, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    for kind in REPORTED {
        match conditions.iter_mut().find(|condition| condition.type_ == *kind) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                known.status = "Unknown".to_owned();
                known.reason = Some("NodeStatusUnknown".to_owned());
                known.message = Some("Kubelet stopped posting node status.".to_owned());
                known.last_transition_time = Some(whole_second(now));
            }
            None => conditions.push(NodeCondition {
                type_: (*kind).to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(whole_second(now)),
            }),
        }
    }
}

fn is(status: &NodeStatus, kind: &str, value: &str) -> bool {
    condition(status, kind).is_some_and(|condition| condition.status == value)
}

/// The taint that sends pods away.
fn evicting_taint(status: &NodeStatus) -> Option<&'static str> {
    if is(status, "Ready", "False") { Some(NOT_READY) } else { is(status, "Ready", "Unknown").then_some(UNREACHABLE) }
}

fn is_evicting(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    taints.into_iter().flatten().any(|taint| taint.effect == "NoExecute" && is_own(taint))
}

fn wanted_taints(
    node: &Node,
    status: &NodeStatus,
    evicting: Option<&'static str>,
) -> Vec<(&'static str, &'static str)> {
    let shown = CONDITION_TAINTS.iter().filter(|(kind, value, _)| is(status, kind, value));
    let mut wanted: Vec<_> = shown.map(|(_, _, key)| (*key, "NoSchedule")).collect();
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    wanted.extend(evicting.map(|key| (key, "NoExecute")));
    wanted
}

/// The taints of this controller.
fn is_own(taint: &Taint) -> bool {
    let shown = CONDITION_TAINTS.iter().any(|(_, _, key)| *key == taint.key) || taint.key == UNSCHEDULABLE;
    let evicts = [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
    (taint.effect == "NoSchedule" && shown) || (taint.effect == "NoExecute" && evicts)
}

/// All taints as they should be; others' stay where they are. `None` when nothing changes.
fn change_taints(node: &Node, wanted: Vec<(&'static str, &'static str)>, now: Timestamp) -> Option<Vec<Taint>> {
    let current = node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let has = |taint: &Taint, (key, effect): (&str, &str)| taint.key == key && taint.effect == effect;
    let mut taints: Vec<Taint> = current
        .iter()
        .filter(|taint| !is_own(taint) || wanted.iter().any(|wanted| has(taint, *wanted)))
        .cloned()
        .collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| has(taint, (key, effect))) {
            let time_added = Some(whole_second(now));
            taints.push(Taint { key: key.to_owned(), effect: effect.to_owned(), value: None, time_added });
        }
    }
    (taints != current).then_some(taints)
}
