//! How long a pod may stay.

use crate::{
    common::{pods, updates::until},
    daemon_set::tolerates,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Taint, Toleration};
use mk8s_client::pod::Pod;
use std::time::Duration;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Stay,
    Leave,
    LeaveIn(Duration),
}

/// The first taint to run out decides.
pub(super) fn fate(pod: &Pod, taints: &[&Taint], now: Timestamp) -> Fate {
    if pod.metadata.deletion_timestamp.is_some() || pods::is_finished(pod) {
        return Fate::Stay;
    }
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let mut fate = Fate::Stay;
    for taint in taints {
        let matching: Vec<&Toleration> = tolerations.iter().filter(|toleration| tolerates(toleration, taint)).collect();
        if matching.is_empty() {
            return Fate::Leave;
        }
        let Some(seconds) = matching.iter().filter_map(|toleration| toleration.toleration_seconds).min() else {
            continue;
        };
        let since = taint.time_added.as_ref().map_or(now, |time| time.0);
        let left = until(since, SignedDuration::from_secs(seconds.max(0)), now);
        if left.is_zero() {
            return Fate::Leave;
        }
        fate = match fate {
            Fate::LeaveIn(earlier) => Fate::LeaveIn(earlier.min(left)),
            _ => Fate::LeaveIn(left),
        };
    }
    fate
}
