//! A pod that was said to be disrupted and is still there after a while was not: the condition is taken back.

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    pods::{condition, is_active},
    updates::{until, whole_second},
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodCondition;
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        ResourceExt,
        api::{Patch, PatchParams},
    },
    pod::Pod,
};
use serde_json::json;
use std::time::Duration;

const TIMEOUT: SignedDuration = SignedDuration::from_mins(2);
const DISRUPTED: &str = "DisruptionTarget";

pub(super) async fn run(ctx: Context) {
    let pods: Informer<Pod> = ctx.informers.all();
    pods.synced().await;
    let queue = WorkQueue::new("disruption-stale-condition");
    pods.handle({
        let queue = queue.clone();
        move |change| {
            let pod = change.object();
            if let Some(left) = stale_in(pod, Timestamp::now()) {
                queue.add_after(Key::of(pod.as_ref()), left);
            }
        }
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, pods) = (ctx.clone(), pods.clone());
            async move { take_back(&ctx, &pods, key).await }
        }
    };
    ctx.serve(queue, 1, reconcile).await;
}

async fn take_back(ctx: &Context, pods: &Informer<Pod>, key: Key) -> Result<Outcome> {
    let now = Timestamp::now();
    let Some(pod) = pods.by_key(&key) else { return Ok(Outcome::Done) };
    match stale_in(&pod, now) {
        None => return Ok(Outcome::Done),
        Some(left) if !left.is_zero() => return Ok(Outcome::After(left)),
        Some(_) => {}
    }
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    for known in conditions.iter_mut().filter(|known| known.type_ == DISRUPTED) {
        *known = PodCondition {
            type_: DISRUPTED.to_owned(),
            status: "False".to_owned(),
            last_transition_time: Some(whole_second(now)),
            observed_generation: known.observed_generation.and(pod.metadata.generation),
            ..PodCondition::default()
        };
    }
    let api = ctx.api::<Pod>(&key.namespace);
    let meta = json!({"uid": pod.uid(), "resourceVersion": pod.resource_version()});
    let patch = Patch::Merge(json!({"metadata": meta, "status": {"conditions": conditions}}));
    let written = unless_gone(api.patch_status(&pod.name_any(), &PatchParams::default(), &patch).await);
    written.doing(format_args!("clearing {DISRUPTED} of pod {key}"))?;
    Ok(Outcome::Done)
}

/// How long until the condition is stale; `None` when it is not there, or rightly so.
fn stale_in(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let known = condition(pod, DISRUPTED).filter(|known| known.status == "True" && is_active(pod))?;
    if known.reason.as_deref() == Some("TerminationByKubelet") {
        return None;
    }
    Some(known.last_transition_time.as_ref().map_or(Duration::ZERO, |since| until(since.0, TIMEOUT, now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{noon, one};

    #[test]
    fn a_disruption_is_believed_for_two_minutes() {
        let table = [
            (
                "{type: DisruptionTarget, status: \"True\", lastTransitionTime: \"2026-01-01T11:59:00Z\"}",
                "Running",
                Some(60),
            ),
            (
                "{type: DisruptionTarget, status: \"True\", lastTransitionTime: \"2026-01-01T11:00:00Z\"}",
                "Running",
                Some(0),
            ),
            (
                "{type: DisruptionTarget, status: \"True\", lastTransitionTime: \"2026-01-01T11:00:00Z\"}",
                "Failed",
                None,
            ),
            ("{type: DisruptionTarget, status: \"True\", reason: TerminationByKubelet}", "Running", None),
            ("{type: DisruptionTarget, status: \"False\"}", "Running", None),
            ("{type: Ready, status: \"True\"}", "Running", None),
        ];
        for (condition, phase, expected) in table {
            let pod: Pod = one(&format!(
                "kind: Pod\nmetadata: {{name: p}}\nstatus: {{phase: {phase}, conditions: [{condition}]}}"
            ));
            assert_eq!(stale_in(&pod, noon()), expected.map(Duration::from_secs), "{condition} {phase}");
        }
    }
}
