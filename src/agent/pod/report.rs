//! Writes a pod's status to the server: always the newest, one write at a time, again until it succeeds.

use super::facts;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use std::{sync::Arc, time::Duration};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

const FIRST_DELAY: Duration = Duration::from_millis(50);
/// Fields that are told as absent, not left as they were.
const CLEARED: [&str; 6] =
    ["message", "reason", "podIP", "podIPs", "initContainerStatuses", "ephemeralContainerStatuses"];

/// A wish with its number, so that it can be told when it has come true.
type Wish = Option<(u64, Arc<Pod>, PodStatus)>;

pub(super) struct Reporter {
    wanted: watch::Sender<Wish>,
    /// The number of the newest wish that was written, or has lost its pod.
    written: watch::Receiver<u64>,
    wished: u64,
    _stop: DropGuard,
}

impl Reporter {
    pub(super) fn new(client: Client) -> Reporter {
        let (wanted, wishes) = watch::channel(None);
        let (tell, written) = watch::channel(0);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = follow(client, wishes, tell) => {}
            }
        });
        Reporter { wanted, written, wished: 0, _stop: stop.drop_guard() }
    }

    /// Replaces what was to be written before.
    pub(super) fn report(&mut self, pod: &Arc<Pod>, status: PodStatus) {
        self.wished += 1;
        self.wanted.send_replace(Some((self.wished, pod.clone(), status)));
    }

    /// Returns when the newest wish has been written, or has lost its pod.
    pub(super) async fn flushed(&self) {
        let wished = self.wished;
        // An error says that the writer is gone, and with it what could be waited for.
        let _ = self.written.clone().wait_for(|done| *done >= wished).await;
    }
}

async fn follow(client: Client, mut wishes: watch::Receiver<Wish>, written: watch::Sender<u64>) {
    let mut delay = FIRST_DELAY;
    while wishes.changed().await.is_ok() {
        // A wish that cannot be written is tried until a newer one replaces it.
        loop {
            let Some((number, pod, status)) = wishes.borrow_and_update().clone() else { break };
            match write(&client, &pod, &status).await {
                Ok(()) => {
                    delay = FIRST_DELAY;
                    written.send_replace(number);
                    break;
                }
                Err(error) => {
                    tracing::debug!(pod = facts::format(&pod), %error, "a pod's status cannot be written, trying again");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(Duration::from_secs(5));
                }
            }
        }
    }
}

async fn write(client: &Client, pod: &Pod, status: &PodStatus) -> kube::Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), facts::namespace(pod));
    let patch = Patch::Merge(body(pod, status));
    match pods.patch_status(facts::name(pod), &PatchParams::default(), &patch).await {
        Ok(_) => Ok(()),
        // Gone, or another pod of the same name by now: nothing to tell any more.
        Err(kube::Error::Api(answer)) if matches!(answer.code, 404 | 409 | 422) => {
            if answer.code == 422 {
                tracing::warn!(pod = facts::format(pod), message = answer.message, "a pod's status is refused");
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

fn body(pod: &Pod, status: &PodStatus) -> serde_json::Value {
    let mut body = serde_json::json!({"metadata": {"uid": facts::uid(pod)}, "status": status});
    for field in CLEARED {
        if body["status"].get(field).is_none() {
            body["status"][field] = serde_json::Value::Null;
        }
    }
    body
}
