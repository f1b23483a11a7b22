//! Pods leave a node: by eviction, which disruption budgets may put off, or by deletion.

use super::{Drain, filters};
use crate::{
    failure::Failure,
    flags::{DryRun, duration},
    printers,
    remote::Remote,
    resolve::Info,
    session::Session,
};
use anyhow::{Result, anyhow};
use futures::future::join_all;
use mk8s_api::duration;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Between two attempts to evict a pod that may not go yet, as kubectl has it.
const RETRY_DELAY: Duration = Duration::from_secs(5);
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// When everything must be done, and how long that was.
#[derive(Clone, Copy)]
struct Limit {
    at: Option<Instant>,
    whole: Duration,
}

impl Limit {
    fn of(timeout: Duration) -> Limit {
        Limit { at: (!timeout.is_zero()).then(|| Instant::now() + timeout), whole: timeout }
    }

    fn is_over(self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }
}

/// Whether the server can evict pods at all.
pub(super) fn evictable(pods: &Info) -> bool {
    pods.resource.subresources.iter().any(|name| name == "eviction")
}

impl Drain {
    /// Sends the pods away and waits until they are gone.
    pub(super) async fn send_away(&self, cx: &Session, pods: &[Info], dry_run: DryRun) -> Vec<anyhow::Error> {
        let Some(first) = pods.first() else { return Vec::new() };
        let limit = match duration(&self.timeout) {
            Ok(timeout) => Limit::of(timeout),
            Err(error) => return vec![error],
        };
        if self.disable_eviction || !evictable(first) {
            return self.delete_all(cx, pods, dry_run, limit).await.err().into_iter().collect();
        }
        let results = join_all(pods.iter().map(|pod| self.evict(cx, pod, dry_run, limit))).await;
        results.into_iter().filter_map(Result::err).collect()
    }

    fn options(&self, dry_run: DryRun) -> Value {
        let mut options = json!({});
        if self.grace_period >= 0 {
            options["gracePeriodSeconds"] = self.grace_period.into();
        }
        if dry_run == DryRun::Server {
            options["dryRun"] = json!(["All"]);
        }
        options
    }

    async fn evict(&self, cx: &Session, pod: &Info, dry_run: DryRun, limit: Limit) -> Result<()> {
        let remote = cx.remote().await?;
        let namespace = pod.namespace.as_deref().unwrap_or_default();
        let shown = format!("pods/{:?} -n {namespace:?}", pod.name);
        let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": namespace}, "deleteOptions": self.options(dry_run)});
        let mut pod = pod.clone();
        loop {
            crate::outln!(
                "evicting pod {namespace}/{}{}",
                pod.name,
                if dry_run == DryRun::Server { " (server dry run)" } else { "" }
            );
            if limit.is_over() {
                return Err(anyhow!(
                    "error when evicting {shown}: global timeout reached: {}",
                    duration::text_of(limit.whole)
                ));
            }
            let Err(error) = remote.post(&format!("{}/eviction", pod.path()), &eviction).await else { break };
            let delay = duration::text_of(RETRY_DELAY);
            match Failure::reason(&error) {
                Some("NotFound") => return Ok(()),
                Some("TooManyRequests") => {
                    crate::errln!("error when evicting {shown} (will retry after {delay}): {error:#}");
                }
                Some("Forbidden")
                    if namespace_ends(&error) && pod.object["metadata"]["deletionTimestamp"].is_string() =>
                {
                    break;
                }
                Some("Forbidden") if namespace_ends(&error) => {
                    crate::errln!(
                        "error when evicting pod {:?} from terminating namespace {namespace:?} (will retry after {delay}): {error:#}",
                        pod.name
                    );
                }
                _ => return Err(anyhow!("error when evicting {shown}: {error:#}")),
            }
            tokio::time::sleep(RETRY_DELAY).await;
            if let Ok(fresh) = remote.get(&pod.path()).await {
                pod.object = fresh;
            }
        }
        if dry_run == DryRun::Server {
            return Ok(());
        }
        self.gone(remote, vec![pod.clone()], limit, "evicted", "eviction failed").await.map_err(|error| {
            anyhow!("error when waiting for pod {:?} in namespace {namespace:?} to terminate: {error:#}", pod.name)
        })
    }

    async fn delete_all(&self, cx: &Session, pods: &[Info], dry_run: DryRun, limit: Limit) -> Result<()> {
        let remote = cx.remote().await?;
        for pod in pods {
            match remote.delete(&pod.path(), &self.options(dry_run)).await {
                Err(error) if !Failure::is_not_found(&error) => return Err(error),
                _ => {}
            }
        }
        if dry_run == DryRun::Server {
            return Ok(());
        }
        self.gone(remote, pods.to_vec(), limit, "deleted", "deletion failed").await
    }

    /// Asks every second which of the pods are still there.
    async fn gone(&self, remote: &Remote, mut pods: Vec<Info>, limit: Limit, done: &str, failed: &str) -> Result<()> {
        loop {
            let mut pending = Vec::new();
            for pod in pods {
                match remote.get(&pod.path()).await {
                    Ok(now) if now["metadata"]["uid"] != pod.object["metadata"]["uid"] => self.tell(&pod, done)?,
                    Ok(now)
                        if filters::long_deleted(&now, self.skip_wait_for_delete_timeout, jiff::Timestamp::now()) =>
                    {
                        crate::outln!(
                            "pod {:?} has DeletionTimestamp older than {} seconds, skipping",
                            pod.name,
                            self.skip_wait_for_delete_timeout
                        );
                    }
                    Ok(_) => pending.push(pod),
                    Err(error) if Failure::is_not_found(&error) => self.tell(&pod, done)?,
                    Err(error) => {
                        self.tell(&pod, failed)?;
                        return Err(error);
                    }
                }
            }
            if pending.is_empty() {
                return Ok(());
            }
            if limit.is_over() {
                return Err(anyhow!("context deadline exceeded"));
            }
            pods = pending;
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn tell(&self, pod: &Info, done: &str) -> Result<()> {
        let flags = &self.nodes.change();
        printers::changed(flags, flags.dry_run()?, pod, &pod.object, done)
    }
}

/// Whether the server refused because the namespace is going away.
fn namespace_ends(error: &anyhow::Error) -> bool {
    let Some(Failure::Api(status)) = error.downcast_ref::<Failure>() else { return false };
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    causes.into_iter().any(|cause| cause["reason"] == "NamespaceTerminating")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ending_namespace_is_known_by_its_cause() {
        let status = json!({"reason": "Forbidden", "details": {"causes": [{"reason": "NamespaceTerminating"}]}});
        assert!(namespace_ends(&Failure::Api(status).into()));
        assert!(!namespace_ends(&anyhow!("x")));
    }
}
