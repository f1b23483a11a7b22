//! How long a pod may stay.

use crate::common::{pods, updates::until};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Taint, Toleration};
use mk8s_api::taints::tolerates;
use mk8s_client::pod::Pod;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Stay,
    Leave,
    LeaveIn(Duration),
}

impl Fate {
    /// What remains of a time that began at `since`.
    pub(crate) fn after(since: Timestamp, seconds: i64, now: Timestamp) -> Fate {
        let left = until(since, SignedDuration::from_secs(seconds.max(0)), now);
        if left.is_zero() { Fate::Leave } else { Fate::LeaveIn(left) }
    }

    pub(crate) fn sooner(self, other: Fate) -> Fate {
        match (self, other) {
            (Fate::Leave, _) | (_, Fate::Leave) => Fate::Leave,
            (Fate::Stay, fate) | (fate, Fate::Stay) => fate,
            (Fate::LeaveIn(one), Fate::LeaveIn(other)) => Fate::LeaveIn(one.min(other)),
        }
    }
}

/// The first taint to run out decides. A pod's time begins with the taint, or with its own coming to a node that had the
/// taint before; where a taint does not say when it was added, `seen` is when it was seen.
pub(super) fn fate(pod: &Pod, taints: &[&Taint], seen: Timestamp, now: Timestamp) -> Fate {
    if !pods::is_active(pod) {
        return Fate::Stay;
    }
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let came = came(pod);
    let mut fate = Fate::Stay;
    for taint in taints {
        let matching: Vec<&Toleration> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        if matching.is_empty() {
            return Fate::Leave;
        }
        if let Some(seconds) = matching.iter().filter_map(|toleration| toleration.toleration_seconds).min() {
            let added = taint.time_added.as_ref().map_or(seen, |time| time.0);
            let since = came.map_or(added, |came| added.max(came));
            fate = fate.sooner(Fate::after(since, seconds, now));
        }
    }
    fate
}

/// When a pod was given its node; when it was made, where nobody placed it.
fn came(pod: &Pod) -> Option<Timestamp> {
    let scheduled = pods::condition(pod, "PodScheduled").filter(|scheduled| scheduled.status == "True");
    let scheduled = scheduled.and_then(|scheduled| scheduled.last_transition_time.as_ref());
    scheduled.or(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0)
}
