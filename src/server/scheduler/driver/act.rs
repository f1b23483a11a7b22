//! Carrying out decisions: bindings, events, conditions, evictions.

use super::{
    devices::{DeviceError, give_back, must_wait, unreserve, wait_until_ready, write_claims},
    input::Input,
    volumes::bind_volumes,
};
use crate::{
    devices::DevicePlan,
    metrics::{Attempt, Metrics},
    pod_facts::PodFacts,
    queue::Tries,
    scheduler::Decision,
    volumes::VolumePlan,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::{Binding, ObjectReference, PodCondition},
        resource::v1::ResourceClaim,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status, Time},
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use mk8s_client::{EventRecorder, events::EventType, pod::Pod};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::mpsc;

/// The longest message of an event.
const MESSAGE_MAX: usize = 1024;

#[derive(Clone)]
pub(super) struct Actor {
    pub(super) client: Client,
    pub(super) recorder: EventRecorder,
    pub(super) inputs: mpsc::UnboundedSender<Input>,
    pub(super) volume_timeout: Duration,
    pub(super) binding_timeout: Duration,
    pub(super) metrics: Arc<Metrics>,
}

/// Why a pod did not get its node.
enum BindError {
    /// Gone, or bound by another: there is nothing left to bind.
    NotThere(String),
    Failed(String),
}

impl Actor {
    /// Begins to carry a decision out, of an attempt that began then; the scheduler is told how it went.
    pub(super) fn carry_out(&self, decision: Decision, begun: Instant) {
        let actor = self.clone();
        match decision {
            Decision::Bind { pod, node, volumes, devices, tries } => {
                tokio::spawn(async move {
                    let bound = actor.bind(&pod, &node, volumes, devices).await;
                    actor.count(&pod, bound, begun, tries);
                });
            }
            Decision::Fail { pod, message, nominate, victims, displaced, deallocate: unused } => {
                if let Some(claim) = unused {
                    let client = self.client.clone();
                    tokio::spawn(async move {
                        if let Err(error) = give_back(&client, &claim).await {
                            tracing::warn!(%error, "a claim that stands in a pod's way was not deallocated");
                        }
                    });
                }
                if !victims.is_empty() {
                    let (evictor, pod, node) = (self.clone(), pod.clone(), nominate.clone().unwrap_or_default());
                    tokio::spawn(async move { evictor.evict(&pod, &node, &victims, &displaced).await });
                }
                tokio::spawn(async move { actor.report(&pod, "Unschedulable", message, nominate).await });
            }
        }
    }

    fn pods(&self, pod: &PodFacts) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.namespace)
    }

    fn event(&self, pod: &PodFacts, scheduler: &str, kind: EventType, reason: &str, message: String) {
        self.recorder.with_component(scheduler).event(&*pod.pod, kind, reason, message);
    }

    fn tell(&self, input: Input) {
        // The owner is gone only when the process stops.
        drop(self.inputs.send(input));
    }

    fn count(&self, pod: &PodFacts, bound: bool, begun: Instant, tries: Option<Tries>) {
        let attempt = if bound { Attempt::Scheduled } else { Attempt::Error };
        self.metrics.attempted(pod.scheduler_name(), attempt, begun.elapsed());
        if let Some(Tries { count, since }) = tries.filter(|_| bound) {
            self.metrics.scheduled(count, since.elapsed());
        }
    }

    /// Returns whether the pod has got its node.
    async fn bind(&self, pod: &Arc<PodFacts>, node: &str, volumes: VolumePlan, devices: DevicePlan) -> bool {
        let mut claims = Vec::new();
        let outcome = self.try_bind(pod, node, volumes, devices, &mut claims).await;
        let bound = outcome.is_ok();
        if matches!(outcome, Err(BindError::Failed(_))) {
            unreserve(&self.client, pod, &mut claims).await;
        }
        self.tell(Input::Bound { uid: pod.uid.clone(), bound, claims });
        match outcome {
            Ok(()) => {
                let message = format!("Successfully assigned {} to {node}", pod.key);
                self.event(pod, pod.scheduler_name(), EventType::Normal, "Scheduled", message);
            }
            Err(BindError::NotThere(why)) => tracing::debug!(pod = pod.key, why, "the pod was not there to bind"),
            Err(BindError::Failed(why)) => {
                tracing::warn!(pod = pod.key, node, why, "binding failed");
                self.report(pod, "SchedulerError", why, None).await;
            }
        }
        bound
    }

    async fn try_bind(
        &self,
        pod: &PodFacts,
        node: &str,
        volumes: VolumePlan,
        devices: DevicePlan,
        claims: &mut Vec<Arc<ResourceClaim>>,
    ) -> Result<(), BindError> {
        if !devices.is_empty() {
            let prepared = self.prepare_devices(pod, node, devices, claims).await;
            prepared
                .map_err(|error| BindError::Failed(format!("running PreBind plugin \"DynamicResources\": {error}")))?;
        }
        if !volumes.is_empty() {
            let bound = bind_volumes(&self.client, node, volumes, self.volume_timeout).await;
            bound.map_err(|error| BindError::Failed(format!("running PreBind plugin \"VolumeBinding\": {error}")))?;
        }
        let binding = Binding {
            metadata: ObjectMeta {
                name: Some(pod.name().to_owned()),
                namespace: Some(pod.namespace.clone()),
                uid: Some(pod.uid.to_string()),
                ..ObjectMeta::default()
            },
            target: ObjectReference {
                kind: Some("Node".to_owned()),
                name: Some(node.to_owned()),
                ..ObjectReference::default()
            },
        };
        let sent: kube::Result<Status> =
            self.pods(pod).create_subresource("binding", pod.name(), &PostParams::default(), &binding).await;
        match sent {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                Err(BindError::NotThere(status.message))
            }
            Err(error) => Err(BindError::Failed(format!("binding rejected: {error}"))),
        }
    }

    async fn prepare_devices(
        &self,
        pod: &PodFacts,
        node: &str,
        devices: DevicePlan,
        claims: &mut Vec<Arc<ResourceClaim>>,
    ) -> Result<(), DeviceError> {
        write_claims(&self.client, pod, devices, claims).await?;
        if !must_wait(claims) {
            return Ok(());
        }
        let message = format!("waiting for binding conditions for device on node {node}");
        self.event(pod, pod.scheduler_name(), EventType::Normal, "BindingConditionsPending", message);
        wait_until_ready(&self.client, claims, self.binding_timeout).await
    }

    /// Tells the user: an event, and the status where it says something new.
    async fn report(&self, pod: &PodFacts, reason: &str, message: String, nominate: Option<String>) {
        self.event(pod, pod.scheduler_name(), EventType::Warning, "FailedScheduling", shortened(&message));
        let Some(patch) = status_patch(&pod.pod, reason, message, nominate) else { return };
        let params = PatchParams::default();
        if let Err(error) = self.pods(pod).patch_status(pod.name(), &params, &Patch::Strategic(patch)).await {
            tracing::debug!(pod = pod.key, %error, "the status of an unschedulable pod was not written");
        }
    }

    /// Asks the victims of a pod to go, and takes the room on the node from those that others waited for.
    async fn evict(&self, pod: &PodFacts, node: &str, victims: &[Arc<PodFacts>], displaced: &[Arc<PodFacts>]) {
        for other in displaced.iter().filter(|other| other.nominated_node().is_some()) {
            let patch = Patch::Strategic(serde_json::json!({ "status": { "nominatedNodeName": null } }));
            if let Err(error) = self.pods(other).patch_status(other.name(), &PatchParams::default(), &patch).await {
                tracing::debug!(pod = other.key, %error, "the nominated node was not erased");
            }
        }
        let evictions = victims.iter().map(|victim| self.evict_one(pod, node, victim));
        let failed = futures::future::join_all(evictions).await.into_iter().any(|evicted| !evicted);
        self.tell(Input::Preempted { uid: pod.uid.clone(), failed });
    }

    async fn evict_one(&self, pod: &PodFacts, node: &str, victim: &PodFacts) -> bool {
        let message = format!("{}: preempting to accommodate a higher priority pod", pod.scheduler_name());
        let condition = PodCondition {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
            reason: Some("PreemptionByScheduler".to_owned()),
            message: Some(message),
            observed_generation: victim.pod.metadata.generation,
            last_transition_time: Some(Time(Timestamp::now())),
            ..PodCondition::default()
        };
        let patch = Patch::Strategic(serde_json::json!({ "status": { "conditions": [condition] } }));
        let only = Preconditions { uid: Some(victim.uid.to_string()), resource_version: None };
        let delete = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        let pods = self.pods(victim);
        let evicted = async {
            pods.patch_status(victim.name(), &PatchParams::default(), &patch).await?;
            pods.delete(victim.name(), &delete).await.map(drop)
        };
        match evicted.await {
            Ok(()) => {
                let message = format!("Preempted by pod {} on node {node}", pod.uid);
                self.event(victim, pod.scheduler_name(), EventType::Normal, "Preempted", message);
                true
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => true,
            Err(error) => {
                tracing::warn!(pod = victim.key, for_pod = pod.key, %error, "a pod could not be evicted");
                false
            }
        }
    }
}

fn shortened(message: &str) -> String {
    const MORE: &str = " ...";
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let end = (0..=MESSAGE_MAX - MORE.len()).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
    format!("{}{MORE}", &message[..end])
}

/// The change of a pod's status that says why it has no node; `None` when it says so already.
fn status_patch(pod: &Pod, reason: &str, message: String, nominate: Option<String>) -> Option<serde_json::Value> {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let known = conditions.iter().find(|condition| condition.type_ == "PodScheduled");
    let same = known.is_some_and(|condition| {
        condition.status == "False"
            && condition.reason.as_deref() == Some(reason)
            && condition.message.as_deref() == Some(&message)
    });
    let nominated = status.and_then(|s| s.nominated_node_name.as_deref()).unwrap_or_default();
    let renominate = nominate.filter(|node| node != nominated);
    if same && renominate.is_none() {
        return None;
    }
    let mut patch = serde_json::json!({ "status": {} });
    if !same {
        let unchanged = known.filter(|condition| condition.status == "False");
        let since = unchanged.and_then(|condition| condition.last_transition_time.clone());
        let condition = PodCondition {
            type_: "PodScheduled".to_owned(),
            status: "False".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            observed_generation: pod.metadata.generation,
            last_transition_time: Some(since.unwrap_or_else(|| Time(Timestamp::now()))),
            ..PodCondition::default()
        };
        patch["status"]["conditions"] = serde_json::json!([condition]);
    }
    if let Some(node) = renominate {
        patch["status"]["nominatedNodeName"] = if node.is_empty() { serde_json::Value::Null } else { node.into() };
    }
    Some(patch)
}
