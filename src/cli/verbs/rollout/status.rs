//! `rollout status`: how far a rollout is.

use super::{Workloads, group_kind, tell_nothing_found};
use crate::{
    failure::all_or,
    flags::duration,
    resolve::Info,
    session::Session,
    verbs::following::{Seen, follow},
};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;

#[derive(clap::Args, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    workloads: Workloads,
    /// Watch until the rollout is done.
    #[arg(short = 'w', long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_default_value = true)]
    watch: String,
    /// Only this revision; 0 is the last one.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true, hide_default_value = true)]
    revision: i64,
    /// How long to wait; 0 is for ever.
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
}

impl Status {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        self.workloads.check()?;
        if self.revision < 0 {
            bail!("revision must be a positive integer: {}", self.revision);
        }
        let timeout = duration(&self.timeout)?;
        let targets = self.workloads.find(cx).await?;
        if targets.infos.is_empty() && targets.failures.is_empty() {
            return tell_nothing_found(cx).await;
        }
        let mut failures = targets.failures;
        for info in &targets.infos {
            let followed = async {
                if timeout.is_zero() {
                    return self.one(cx, info).await;
                }
                let limited = tokio::time::timeout(timeout, self.one(cx, info)).await;
                limited.unwrap_or_else(|_| Err(anyhow!("timed out waiting for the condition")))
            };
            failures.extend(followed.await.err());
        }
        all_or(failures)
    }

    async fn one(&self, cx: &Session, info: &Info) -> Result<()> {
        let status = viewer(info)?;
        follow(cx.remote().await?, info, |seen| match seen {
            Seen::Is(object) => {
                let (text, done) = status(object, self.revision)?;
                crate::outln!("{text}");
                Ok((done || self.watch == "false").then_some(()))
            }
            Seen::Missing => Ok(None),
            Seen::Gone => bail!("object has been deleted"),
        })
        .await
    }
}

/// A line about an object, and whether its rollout is done.
type Viewer = fn(&Value, i64) -> Result<(String, bool)>;

fn viewer(info: &Info) -> Result<Viewer> {
    match (info.resource.group.as_str(), info.resource.kind.as_str()) {
        ("apps", "Deployment") => Ok(deployment),
        ("apps", "DaemonSet") => Ok(daemon_set),
        ("apps", "StatefulSet") => Ok(stateful_set),
        _ => bail!("no status viewer has been implemented for {}", group_kind(info)),
    }
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn observed(object: &Value) -> bool {
    int(&object["metadata"]["generation"]) <= int(&object["status"]["observedGeneration"])
}

fn deployment(object: &Value, revision: i64) -> Result<(String, bool)> {
    let (spec, status, name) = (&object["spec"], &object["status"], name(object));
    if revision > 0 {
        let running = super::revisions::revision(object).unwrap_or(0);
        if running != revision {
            bail!("desired revision ({revision}) is different from the running revision ({running})");
        }
    }
    if !observed(object) {
        return Ok(("Waiting for deployment spec update to be observed...".to_owned(), false));
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    if conditions.into_iter().any(|c| c["type"] == "Progressing" && c["reason"] == "ProgressDeadlineExceeded") {
        bail!("deployment {name:?} exceeded its progress deadline");
    }
    let waiting = |what: String| Ok((format!("Waiting for deployment {name:?} rollout to finish: {what}..."), false));
    let (wanted, all) = (int(&spec["replicas"]), int(&status["replicas"]));
    let (updated, available) = (int(&status["updatedReplicas"]), int(&status["availableReplicas"]));
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new replicas have been updated"));
    }
    if all > updated {
        return waiting(format!("{} old replicas are pending termination", all - updated));
    }
    if available < updated {
        return waiting(format!("{available} of {updated} updated replicas are available"));
    }
    Ok((format!("deployment {name:?} successfully rolled out"), true))
}

const ROLLING_ONLY: &str = "rollout status is only available for RollingUpdate strategy type";

fn daemon_set(object: &Value, _: i64) -> Result<(String, bool)> {
    if object["spec"]["updateStrategy"]["type"] != "RollingUpdate" {
        bail!(ROLLING_ONLY);
    }
    if !observed(object) {
        return Ok(("Waiting for daemon set spec update to be observed...".to_owned(), false));
    }
    let (status, name) = (&object["status"], name(object));
    let waiting = |what: String| Ok((format!("Waiting for daemon set {name:?} rollout to finish: {what}..."), false));
    let wanted = int(&status["desiredNumberScheduled"]);
    let (updated, available) = (int(&status["updatedNumberScheduled"]), int(&status["numberAvailable"]));
    if updated < wanted {
        return waiting(format!("{updated} out of {wanted} new pods have been updated"));
    }
    if available < wanted {
        return waiting(format!("{available} of {wanted} updated pods are available"));
    }
    Ok((format!("daemon set {name:?} successfully rolled out"), true))
}

fn stateful_set(object: &Value, _: i64) -> Result<(String, bool)> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let strategy = &spec["updateStrategy"];
    if strategy["type"] != "RollingUpdate" {
        bail!(ROLLING_ONLY);
    }
    if int(&status["observedGeneration"]) == 0 || !observed(object) {
        return Ok(("Waiting for statefulset spec update to be observed...".to_owned(), false));
    }
    let (wanted, ready, updated) =
        (int(&spec["replicas"]), int(&status["readyReplicas"]), int(&status["updatedReplicas"]));
    if ready < wanted {
        return Ok((format!("Waiting for {} pods to be ready...", wanted - ready), false));
    }
    if strategy["rollingUpdate"].is_object() {
        if let Some(partition) = strategy["rollingUpdate"]["partition"].as_i64()
            && updated < wanted - partition
        {
            let new = wanted - partition;
            return Ok((
                format!(
                    "Waiting for partitioned roll out to finish: {updated} out of {new} new pods have been updated..."
                ),
                false,
            ));
        }
        return Ok((format!("partitioned roll out complete: {updated} new pods have been updated..."), true));
    }
    let text = |field: &str| status[field].as_str().unwrap_or_default().to_owned();
    let (new, current) = (text("updateRevision"), text("currentRevision"));
    if new != current {
        return Ok((
            format!("waiting for statefulset rolling update to complete {updated} pods at revision {new}..."),
            false,
        ));
    }
    Ok((
        format!(
            "statefulset rolling update complete {} pods at revision {current}...",
            int(&status["currentReplicas"])
        ),
        true,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(viewer: Viewer, object: Value) -> String {
        match viewer(&object, 0) {
            Ok((text, done)) => format!("{} {text}", if done { "done:" } else { "wait:" }),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn deployments() {
        let with = |status: Value| json!({"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": 3}, "status": status});
        let cases = [
            (json!({"observedGeneration": 1}), "wait: Waiting for deployment spec update to be observed..."),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 1}),
                "wait: Waiting for deployment \"web\" rollout to finish: 1 out of 3 new replicas have been updated...",
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 4}),
                "wait: Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...",
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
                "wait: Waiting for deployment \"web\" rollout to finish: 2 of 3 updated replicas are available...",
            ),
            (
                json!({"observedGeneration": 2, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
                "done: deployment \"web\" successfully rolled out",
            ),
            (
                json!({"observedGeneration": 2, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]}),
                "error: deployment \"web\" exceeded its progress deadline",
            ),
        ];
        for (status, expected) in cases {
            assert_eq!(told(deployment, with(status)), expected);
        }
        assert!(deployment(&with(json!({})), 7).is_err());
    }

    #[test]
    fn sets() {
        let daemon = |status: Value| json!({"metadata": {"name": "d", "generation": 1}, "spec": {"updateStrategy": {"type": "RollingUpdate"}}, "status": status});
        assert_eq!(
            told(
                daemon_set,
                daemon(json!({"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1}))
            ),
            "wait: Waiting for daemon set \"d\" rollout to finish: 1 out of 2 new pods have been updated..."
        );
        let stateful = |strategy: Value, status: Value| json!({"metadata": {"name": "s", "generation": 1}, "spec": {"replicas": 2, "updateStrategy": strategy}, "status": status});
        let rolling = json!({"type": "RollingUpdate"});
        let partitioned = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
        let cases = [
            (rolling.clone(), json!({}), "wait: Waiting for statefulset spec update to be observed..."),
            (
                rolling.clone(),
                json!({"observedGeneration": 1, "readyReplicas": 1}),
                "wait: Waiting for 1 pods to be ready...",
            ),
            (
                partitioned.clone(),
                json!({"observedGeneration": 1, "readyReplicas": 2}),
                "wait: Waiting for partitioned roll out to finish: 0 out of 1 new pods have been updated...",
            ),
            (
                partitioned,
                json!({"observedGeneration": 1, "readyReplicas": 2, "updatedReplicas": 1}),
                "done: partitioned roll out complete: 1 new pods have been updated...",
            ),
            (
                rolling.clone(),
                json!({"observedGeneration": 1, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "a"}),
                "wait: waiting for statefulset rolling update to complete 0 pods at revision b...",
            ),
            (
                rolling,
                json!({"observedGeneration": 1, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "b", "currentReplicas": 2}),
                "done: statefulset rolling update complete 2 pods at revision b...",
            ),
            (
                json!({"type": "OnDelete"}),
                json!({}),
                "error: rollout status is only available for RollingUpdate strategy type",
            ),
        ];
        for (strategy, status, expected) in cases {
            assert_eq!(told(stateful_set, stateful(strategy, status)), expected);
        }
    }
}
