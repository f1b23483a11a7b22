//! The provisioner of `local-path`: a claim gets a folder of the node on which it is used first.
//!
//! ```text
//! claim, its node chosen ─▶ the node makes a folder ─▶ PersistentVolume for that claim and that node
//! volume released ─▶ the node deletes the folder ─▶ the PersistentVolume goes
//! ```
//!
//! It does through the API what any external provisioner does. Only the folder is made by the node's agent, behind
//! `nodes/proxy`.
//!
//! Invariant: a volume is deleted after its folder, never before; a finalizer sees to it.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Failure, Result,
    failure::{Doing, already_exists, not_found, unless_gone},
    queue_changes,
};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use mk8s_client::{
    EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        Api, ResourceExt,
        api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    },
};
use plan::{FINALIZER, Observed, PROVISIONER, Step, VolumeStep, plan_claim, plan_volume, volume_for};
use serde_json::{Value, json};
use std::sync::Arc;

struct Provisioner {
    ctx: Context,
    events: EventRecorder,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    classes: Informer<StorageClass>,
    nodes: Informer<Node>,
}

pub(crate) async fn run(ctx: Context) {
    let provisioner = Arc::new(Provisioner {
        events: ctx.events.with_component(PROVISIONER),
        claims: ctx.informers.all(),
        volumes: ctx.informers.all(),
        classes: ctx.informers.all(),
        nodes: ctx.informers.all(),
        ctx: ctx.clone(),
    });
    provisioner.claims.synced().await;
    provisioner.volumes.synced().await;
    provisioner.classes.synced().await;
    provisioner.nodes.synced().await;
    let (claims, volumes) = (WorkQueue::new("local-path-claims"), WorkQueue::new("local-path-volumes"));
    queue_changes(&provisioner.claims, &claims);
    queue_changes(&provisioner.volumes, &volumes);
    let (for_claims, for_volumes) = (provisioner.clone(), provisioner);
    let make = move |key| {
        let provisioner = for_claims.clone();
        async move { provisioner.provision(key).await }
    };
    let delete = move |key| {
        let provisioner = for_volumes.clone();
        async move { provisioner.reclaim(key).await }
    };
    tokio::join!(ctx.serve(claims, 4, make), ctx.serve(volumes, 4, delete));
}

impl Provisioner {
    async fn provision(&self, key: Key) -> Result<Outcome> {
        let Some(claim) = self.claims.by_key(&key) else { return Ok(Outcome::Done) };
        let observed = Observed {
            class: self.classes.get("", plan::class_of(&claim)),
            node: plan::selected_node(&claim).and_then(|name| self.nodes.get("", name)),
            provisioned: self.volumes.get("", &plan::volume_name(&claim)).is_some(),
            claim: claim.clone(),
        };
        match plan_claim(&observed) {
            Step::Nothing => Ok(Outcome::Done),
            Step::Refuse { why } => {
                self.failed(&claim, &why);
                Ok(Outcome::Done)
            }
            Step::Reschedule { why } => {
                self.failed(&claim, &why);
                let patch = json!({"metadata": {"resourceVersion": claim.resource_version(), "annotations": {plan::SELECTED_NODE: null}}});
                let api = self.ctx.api::<PersistentVolumeClaim>(&key.namespace);
                unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
                    .doing(format_args!("taking back the node of PersistentVolumeClaim {key}"))?;
                Ok(Outcome::Done)
            }
            Step::Provision { node, folder } => {
                let message = format!("External provisioner is provisioning volume for claim \"{key}\"");
                self.events.event(claim.as_ref(), EventType::Normal, "Provisioning", message);
                match self.make(&observed, &node, &folder).await {
                    Ok(name) => {
                        let message = format!("Successfully provisioned volume {name}");
                        self.events.event(claim.as_ref(), EventType::Normal, "ProvisioningSucceeded", message);
                        Ok(Outcome::Done)
                    }
                    Err(failure) => {
                        self.failed(&claim, &failure.message());
                        Err(failure)
                    }
                }
            }
        }
    }

    fn failed(&self, claim: &PersistentVolumeClaim, why: &str) {
        let message = format!("failed to provision volume with StorageClass {:?}: {why}", plan::class_of(claim));
        self.events.event(claim, EventType::Warning, "ProvisioningFailed", message);
    }

    /// The folder first: whoever sees the volume can use it.
    async fn make(&self, observed: &Observed, node: &str, folder: &str) -> Result<String> {
        let answer = self.ask(http::Method::POST, node, folder).await?;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let path = answer["path"].as_str().filter(|path| path.starts_with('/'));
        let path =
            path.ok_or_else(|| Failure::Other(format!("node {node:?} does not say where the folder {folder:?} is")))?;
        let volume = volume_for(observed, path)
            .ok_or_else(|| Failure::Other("the claim has lost its class or node".to_owned()))?;
        let name = volume.name_any();
        let api = Api::<PersistentVolume>::all(self.ctx.client.clone());
        match api.create(&PostParams::default(), &volume).await {
            Err(error) if !already_exists(&error) => Err(error).doing(format_args!("creating PersistentVolume {name}")),
            _ => Ok(name),
        }
    }

    async fn reclaim(&self, key: Key) -> Result<Outcome> {
        let Some(volume) = self.volumes.by_key(&key) else { return Ok(Outcome::Done) };
        match plan_volume(&volume) {
            VolumeStep::Nothing => return Ok(Outcome::Done),
            VolumeStep::LetGo => {}
            VolumeStep::Delete { node, folder } => {
                // What was on a node that is no more is gone with it.
                if self.nodes.get("", &node).is_some()
                    && let Err(failure) = self.ask(http::Method::DELETE, &node, &folder).await
                {
                    self.events.event(volume.as_ref(), EventType::Warning, "VolumeFailedDelete", failure.message());
                    return Err(failure);
                }
                let params = DeleteParams {
                    preconditions: Some(Preconditions { uid: volume.uid(), resource_version: None }),
                    ..DeleteParams::default()
                };
                let api = Api::<PersistentVolume>::all(self.ctx.client.clone());
                unless_gone(api.delete(&key.name, &params).await)
                    .doing(format_args!("deleting PersistentVolume {key}"))?;
            }
        }
        self.let_go(&key).await
    }

    /// Removes the finalizer from the volume as it is now.
    async fn let_go(&self, key: &Key) -> Result<Outcome> {
        let api = Api::<PersistentVolume>::all(self.ctx.client.clone());
        let Some(volume) = api.get_opt(&key.name).await.doing(format_args!("reading PersistentVolume {key}"))? else {
            return Ok(Outcome::Done);
        };
        let left: Vec<&String> = volume.finalizers().iter().filter(|name| *name != FINALIZER).collect();
        if left.len() < volume.finalizers().len() {
            let patch = json!({"metadata": {"resourceVersion": volume.resource_version(), "finalizers": left}});
            unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
                .doing(format_args!("letting PersistentVolume {key} go"))?;
        }
        Ok(Outcome::Done)
    }

    /// Has a node make or delete a folder; one that is gone is as good as deleted.
    async fn ask(&self, method: http::Method, node: &str, folder: &str) -> Result<String> {
        let uri = format!("/api/v1/nodes/{node}/proxy/storage/{folder}");
        let request = http::Request::builder().method(method.clone()).uri(uri).body(Vec::new());
        let request = request.map_err(|error| Failure::Other(format!("node {node:?}, folder {folder:?}: {error}")))?;
        match self.ctx.client.request_text(request).await {
            Err(error) if method == http::Method::DELETE && not_found(&error) => Ok(String::new()),
            answer => answer.doing(format_args!("folder {folder} of node {node}")),
        }
    }
}
