//! What controllers read in pods and how they make them.

use super::{
    Context, Failure, Result,
    failure::{Doing, namespace_terminating, not_found, said},
    own_writes::OwnWrites,
    updates::until,
};
use jiff::{SignedDuration, Timestamp};
/// A pod with all of its fields, as it is written.
pub(crate) use k8s_openapi::api::core::v1::Pod as WholePod;
use k8s_openapi::{
    api::core::v1::{PodCondition, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use mk8s_client::{
    EventRecorder, Key, Kind,
    events::EventType,
    kube::{
        self, Resource, ResourceExt,
        api::{DeleteParams, PostParams, Request},
    },
    pod::Pod,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

pub(crate) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

/// It has run to its end.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// It runs or will run.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

pub(crate) fn is_terminating(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_some()
}

pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().find(|condition| condition.type_ == kind)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|ready| ready.status == "True")?.last_transition_time.as_ref().map(|time| time.0)
}

/// How long until a ready pod has been ready for `min_ready` seconds; zero when it is available, `None` when not ready.
pub(crate) fn available_in(pod: &Pod, min_ready: i32, now: Timestamp) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    if min_ready == 0 {
        return Some(Duration::ZERO);
    }
    let since = ready_since(pod)?;
    Some(until(since, SignedDuration::from_secs(min_ready.into()), now))
}

pub(crate) fn is_available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    available_in(pod, min_ready, now) == Some(Duration::ZERO)
}

/// A pod as a template describes it, managed by `owner`.
pub(crate) fn from_template(template: &PodTemplateSpec, owner_name: &str, owner: OwnerReference) -> WholePod {
    let meta = template.metadata.clone().unwrap_or_default();
    WholePod {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(owner_name)),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// With a dash, unless the name with it would be none.
fn name_prefix(owner: &str) -> String {
    let dashed = format!("{owner}-");
    if dashed.len() <= 253 { dashed } else { owner.to_owned() }
}

/// Sends a new pod; of the answer is kept what is kept of pods.
pub(crate) async fn create(ctx: &Context, namespace: &str, pod: &WholePod) -> kube::Result<Pod> {
    let request = requests(namespace).create(&PostParams::default(), text(pod)?);
    ctx.client.request(request.map_err(kube::Error::BuildRequest)?).await
}

/// Sends a pod as it is to be from now on; of the answer is kept what is kept of pods.
pub(crate) async fn replace(ctx: &Context, namespace: &str, pod: &WholePod) -> kube::Result<Pod> {
    let request = requests(namespace).replace(&pod.name_any(), &PostParams::default(), text(pod)?);
    ctx.client.request(request.map_err(kube::Error::BuildRequest)?).await
}

fn requests(namespace: &str) -> Request {
    Request::new(Pod::url_path(&(), Some(namespace)))
}

fn text(pod: &WholePod) -> kube::Result<Vec<u8>> {
    serde_json::to_vec(pod).map_err(kube::Error::SerdeError)
}

/// Who creates and deletes pods on whose behalf.
pub(crate) struct PodWriter<'a, K> {
    pub(crate) ctx: &'a Context,
    pub(crate) events: &'a EventRecorder,
    pub(crate) writes: &'a OwnWrites<Pod>,
    pub(crate) owner: &'a K,
    pub(crate) key: &'a Key,
}

impl<K: Kind> PodWriter<'_, K> {
    /// Creates a pod and tells so. In a namespace that goes away nothing is created and nothing is wrong.
    pub(crate) async fn create(&self, pod: &WholePod) -> Result<()> {
        match create(self.ctx, &self.key.namespace, pod).await {
            Ok(created) => {
                let message = format!("Created pod: {}", created.name_any());
                self.events.event(self.owner, EventType::Normal, "SuccessfulCreate", message);
                self.writes.wrote(self.key, created);
                Ok(())
            }
            Err(error) if namespace_terminating(&error) => Ok(()),
            Err(error) => {
                let message = format!("Error creating: {}", said(&error));
                self.events.event(self.owner, EventType::Warning, "FailedCreate", message);
                Err(error).doing("creating a pod")
            }
        }
    }

    /// Deletes a pod and tells so; one that is gone is deleted.
    pub(crate) async fn delete(&self, pod: &Pod) -> Result<()> {
        let pods = self.ctx.api::<Pod>(&self.key.namespace);
        let name = pod.name_any();
        // The name may belong to another pod by now.
        let preconditions = Some(kube::api::Preconditions { uid: pod.uid(), resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        match pods.delete(&name, &params).await {
            Ok(deleted) => {
                // A pod that ends gracefully is there for a while and shows it.
                match deleted.left().filter(|left| left.metadata.deletion_timestamp.is_some()) {
                    Some(dying) => self.writes.wrote(self.key, dying),
                    None => self.writes.deleted(self.key, pod.uid()),
                }
                let message = format!("Deleted pod: {name}");
                self.events.event(self.owner, EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if not_found(&error) => {
                self.writes.deleted(self.key, pod.uid());
                Ok(())
            }
            Err(error) => {
                let message = format!("Error deleting: {}", said(&error));
                self.events.event(self.owner, EventType::Warning, "FailedDelete", message);
                Err(Failure::Api { doing: format!("deleting pod {name}"), source: error })
            }
        }
    }
}

/// Sorts pods so that those that are missed least come first: unassigned, pending, not ready, cheap, crowded on their
/// node, ready for less time (in powers of two), restarted often, young.
pub(crate) fn sort_for_deletion(pods: &mut [Arc<Pod>], on_node: &HashMap<String, usize>, now: Timestamp) {
    pods.sort_by_cached_key(|pod| Rank::of(pod, on_node, now));
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    assigned: bool,
    phase: u8,
    ready: bool,
    deletion_cost: i32,
    crowded: std::cmp::Reverse<usize>,
    ready_for: i64,
    restarts: std::cmp::Reverse<i32>,
    age: i64,
    uid: String,
}

impl Rank {
    fn of(pod: &Pod, on_node: &HashMap<String, usize>, now: Timestamp) -> Rank {
        let order = |phase| match phase {
            "Unknown" => 1,
            "Running" => 2,
            _ => 0,
        };
        let magnitude = |since: Option<Timestamp>| {
            let seconds = since.map_or(0, |since| now.duration_since(since).as_secs().max(0));
            i64::from(seconds.checked_ilog2().map_or(-1, |log| log as i32))
        };
        let cost = pod.annotations().get("controller.kubernetes.io/pod-deletion-cost");
        let restarts = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
        Rank {
            assigned: !node(pod).is_empty(),
            phase: order(phase(pod)),
            ready: is_ready(pod),
            deletion_cost: cost.and_then(|cost| cost.parse().ok()).unwrap_or_default(),
            crowded: std::cmp::Reverse(on_node.get(node(pod)).copied().unwrap_or_default()),
            ready_for: if is_ready(pod) { magnitude(ready_since(pod)) } else { 0 },
            restarts: std::cmp::Reverse(restarts.map(|status| status.restart_count).max().unwrap_or_default()),
            age: magnitude(pod.metadata.creation_timestamp.as_ref().map(|time| time.0)),
            uid: pod.uid().unwrap_or_default(),
        }
    }
}
