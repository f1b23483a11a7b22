//! PersistentVolumes and the claims for them: which claim gets which volume, and what a volume is after its claim.
//!
//! ```text
//! claim: Pending ─▶ a volume fits: claimRef of the volume, phase of the volume, name in the claim ─▶ Bound ─▶ Lost
//!           └─▶ none fits: the class's provisioner is asked, once it is known where when the class waits for a pod
//! volume: Available ─▶ Bound ─▶ Released (its claim is gone): retained, or deleted by who provisioned it, or emptied by a
//!           pod and Available again
//! ```
//!
//! Volumes are made and deleted by provisioners, which are programs of their own; this loop makes none.
//!
//! Invariant: a volume is reserved before its claim names it, so that two claims never have the same one.

mod matching;
mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod provisioning_plays;
mod reclaim;
#[cfg(test)]
mod reclaim_plays;
#[cfg(test)]
mod reclaim_tests;
mod recycler;
#[cfg(test)]
mod tests;
mod volume;

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    own_writes::OwnWrites,
    pods, queue_changes,
    volumes::{BY_CLAIM, claim_of, claims_of, index_by_claim, is_terminated},
};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use matching::class_of_claim;
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    kube::{
        Api, Resource, ResourceExt,
        api::{Patch, PatchParams},
    },
    pod::Pod,
};
use plan::{Action, BIND_COMPLETED, BOUND_BY_CONTROLLER, ObservedClaim, PROVISIONERS, Plan, SELECTED_NODE, plan_claim};
use recycler::Recyclers;
use serde_json::{Value, json};
use std::sync::Arc;

const COMPONENT: &str = "persistentvolume-controller";
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

/// Volumes by the claims that they are for.
const FOR_CLAIM: &str = "volume-for-claim";

struct Controller {
    ctx: Context,
    events: EventRecorder,
    volumes: Informer<PersistentVolume>,
    claims: Informer<PersistentVolumeClaim>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    own_volumes: OwnWrites<PersistentVolume>,
    own_claims: OwnWrites<PersistentVolumeClaim>,
    recyclers: Recyclers,
    claim_queue: WorkQueue<Key>,
    volume_queue: WorkQueue<Key>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component(COMPONENT),
        volumes: ctx.informers.all(),
        claims: ctx.informers.all(),
        classes: ctx.informers.all(),
        pods: ctx.informers.all(),
        nodes: ctx.informers.all(),
        own_volumes: OwnWrites::default(),
        own_claims: OwnWrites::default(),
        recyclers: Recyclers::default(),
        claim_queue: WorkQueue::new("persistentvolume-claims"),
        volume_queue: WorkQueue::new("persistentvolume-volumes"),
        ctx: ctx.clone(),
    });
    index_by_claim(&controller.pods);
    controller
        .volumes
        .index(FOR_CLAIM, |volume| claim_of(volume).map(|(key, _)| key.to_string()).into_iter().collect());
    controller.volumes.synced().await;
    controller.claims.synced().await;
    controller.classes.synced().await;
    controller.pods.synced().await;
    controller.nodes.synced().await;
    controller.follow();
    let (for_claims, for_volumes) = (controller.clone(), controller.clone());
    let claims = move |key| {
        let controller = for_claims.clone();
        async move { controller.reconcile_claim(key).await }
    };
    let volumes = move |key| {
        let controller = for_volumes.clone();
        async move { controller.reconcile_volume(key).await }
    };
    // One worker for claims: two must not choose the same volume.
    tokio::join!(
        ctx.serve(controller.claim_queue.clone(), 1, claims),
        ctx.serve(controller.volume_queue.clone(), 2, volumes)
    );
}

fn is_unbound(claim: &PersistentVolumeClaim) -> bool {
    !claim.annotations().contains_key(BIND_COMPLETED)
}

/// Namespaced volumes are none: their key has a name only.
fn volume_key(name: &str) -> Key {
    Key::new("", name)
}

impl Controller {
    fn follow(self: &Arc<Self>) {
        queue_changes(&self.claims, &self.claim_queue);
        queue_changes(&self.volumes, &self.volume_queue);
        let this = self.clone();
        // A claim's change may concern the volume it names, a volume's the claims that wait.
        self.claims.handle(move |change| {
            let name = change.object().spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
            name.into_iter().for_each(|name| this.volume_queue.add(volume_key(name)));
        });
        let this = self.clone();
        self.volumes.handle(move |change| {
            let reference = change.object().spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
            match reference {
                Some(claim) => {
                    let namespace = claim.namespace.clone().unwrap_or_default();
                    this.claim_queue.add(Key::new(&namespace, claim.name.clone().unwrap_or_default()));
                }
                None => this.queue_unbound(),
            }
        });
        let this = self.clone();
        self.classes.handle(move |_| this.queue_unbound());
        let this = self.clone();
        self.pods.handle(move |change| this.pod_changed(change));
    }

    /// A pod that comes or gets a node may decide where its claims' volumes are to be; one that ends lets volumes go.
    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.object();
        let comes = change.old().is_none_or(|old| pods::node(old).is_empty() && !pods::node(pod).is_empty());
        if comes {
            claims_of(pod).for_each(|claim| self.claim_queue.add(claim));
        }
        if matches!(change, Change::Deleted(_)) || is_terminated(pod) {
            let volumes = claims_of(pod).flat_map(|claim| self.volumes.indexed(FOR_CLAIM, &claim.to_string()));
            volumes.for_each(|volume| self.volume_queue.add(Key::of(volume.as_ref())));
        }
        recycler::volume_of(pod).into_iter().for_each(|volume| self.volume_queue.add(volume_key(&volume)));
    }

    fn queue_unbound(&self) {
        let unbound = self.claims.list().into_iter().filter(|claim| is_unbound(claim));
        unbound.for_each(|claim| self.claim_queue.add(Key::of(claim.as_ref())));
    }

    async fn reconcile_claim(&self, key: Key) -> Result<Outcome> {
        let live = self.claims.by_key(&key);
        let Some(claim) = live.and_then(|_| self.own_claims.one(&key, &self.claims)) else {
            self.own_claims.forget(&key);
            return Ok(Outcome::Done);
        };
        let volumes = self.own_volumes.read(&volume_key(""), &self.volumes, || self.volumes.list());
        let class = self.classes.get("", class_of_claim(&claim));
        let observed = ObservedClaim {
            volumes,
            class,
            default_class: self.default_class(),
            node: self.node_of(&claim),
            unplaced: self.unplaced(&key),
            claim: claim.clone(),
        };
        let plan = plan_claim(&observed);
        self.tell(claim.as_ref(), &plan);
        for action in &plan.actions {
            self.act_on_claim(&key, &observed, action).await?;
        }
        Ok(Outcome::Done)
    }

    /// The pods that use a claim and have no node yet.
    fn unplaced(&self, claim: &Key) -> Vec<String> {
        let mut pods = self.pods.indexed(BY_CLAIM, &claim.to_string());
        pods.retain(|pod| pods::node(pod).is_empty() && !is_terminated(pod));
        let mut names: Vec<String> = pods.iter().map(|pod| pod.name_any()).collect();
        names.sort();
        names
    }

    fn tell<K: Resource<DynamicType = ()>>(&self, about: &K, plan: &Plan) {
        for (kind, reason, message) in &plan.events {
            self.events.event(about, *kind, reason, message.clone());
        }
    }

    /// The youngest of the default classes.
    fn default_class(&self) -> Option<String> {
        let is_default = |class: &Arc<StorageClass>| {
            DEFAULT_CLASS.iter().any(|key| class.annotations().get(*key).is_some_and(|value| value == "true"))
        };
        let classes = self.classes.list().into_iter().filter(is_default);
        let youngest = classes
            .max_by_key(|class| (class.metadata.creation_timestamp.clone(), std::cmp::Reverse(class.name_any())));
        youngest.map(|class| class.name_any())
    }

    /// Where the claim is to be used: as the scheduler says, or where a pod that uses it was put.
    fn node_of(&self, claim: &PersistentVolumeClaim) -> Option<Arc<Node>> {
        if let Some(name) = claim.annotations().get(SELECTED_NODE) {
            return self.nodes.get("", name);
        }
        let key = Key::of(claim);
        let users = self.pods.indexed(BY_CLAIM, &key.to_string());
        users.iter().find_map(|pod| self.nodes.get("", pod.spec.as_ref()?.node_name.as_deref()?))
    }

    async fn act_on_claim(&self, key: &Key, observed: &ObservedClaim, action: &Action) -> Result<()> {
        let claim = observed.claim.as_ref();
        match action {
            Action::Bind { volume } => {
                let Some(volume) = observed.volumes.iter().find(|known| known.name_any() == *volume) else {
                    return Ok(());
                };
                self.bind(key, claim, volume).await
            }
            Action::Classify { class } => {
                self.patch_claim(key, claim, json!({"spec": {"storageClassName": class}})).await.map(drop)
            }
            Action::Provision { provisioner, node } => {
                let mut annotations = json!({});
                PROVISIONERS.iter().for_each(|key| annotations[*key] = json!(provisioner));
                node.iter().for_each(|node| annotations[SELECTED_NODE] = json!(node));
                self.patch_claim(key, claim, json!({"metadata": {"annotations": annotations}})).await.map(drop)
            }
            Action::Claim { phase } => {
                let mut status = json!({"phase": phase});
                if *phase == "Lost" {
                    status["accessModes"] = Value::Null;
                    status["capacity"] = Value::Null;
                    status["currentVolumeAttributesClassName"] = Value::Null;
                }
                self.patch_claim_status(key, claim, status).await
            }
            _ => Ok(()),
        }
    }

    /// First the volume, then the claim: what was begun is recognised by the volume's reference and finished.
    async fn bind(&self, key: &Key, claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Result<()> {
        let name = volume.name_any();
        let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
        let mut volume = volume.clone();
        if reference.is_none_or(|reference| reference.uid != claim.metadata.uid) {
            let mut metadata = json!({"resourceVersion": volume.resource_version()});
            if reference.is_none() {
                metadata["annotations"] = json!({BOUND_BY_CONTROLLER: "yes"});
            }
            let patch = json!({"metadata": metadata, "spec": {"claimRef": {
                "kind": "PersistentVolumeClaim", "apiVersion": "v1", "namespace": key.namespace, "name": key.name,
                "uid": claim.uid(), "resourceVersion": claim.resource_version()}}});
            let api = Api::<PersistentVolume>::all(self.ctx.client.clone());
            let patched = unless_gone(api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await)
                .doing(format_args!("binding PersistentVolume {name} to {key}"))?;
            let Some(patched) = patched else { return Ok(()) };
            self.own_volumes.wrote(&volume_key(""), patched.clone());
            volume = patched;
        }
        if volume.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            self.set_phase(&volume, "Bound", "").await?;
        }
        let mut claim = claim.clone();
        let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) == Some(&name);
        if !named || is_unbound(&claim) {
            let mut annotations = json!({BIND_COMPLETED: "yes"});
            if !named {
                annotations[BOUND_BY_CONTROLLER] = json!("yes");
            }
            let patch = json!({"metadata": {"annotations": annotations}, "spec": {"volumeName": name}});
            match self.patch_claim(key, &claim, patch).await? {
                Some(patched) => claim = patched,
                None => return Ok(()),
            }
        }
        match plan::bound_status(&claim, &volume) {
            Some(status) => self.patch_claim_status(key, &claim, status).await,
            None => Ok(()),
        }
    }

    async fn patch_claim(
        &self,
        key: &Key,
        claim: &PersistentVolumeClaim,
        mut patch: Value,
    ) -> Result<Option<PersistentVolumeClaim>> {
        patch["metadata"]["resourceVersion"] = json!(claim.resource_version());
        let api = self.ctx.api::<PersistentVolumeClaim>(&key.namespace);
        let patched = unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .doing(format_args!("updating PersistentVolumeClaim {key}"))?;
        patched.iter().for_each(|patched| self.own_claims.wrote(key, patched.clone()));
        Ok(patched)
    }

    async fn patch_claim_status(&self, key: &Key, claim: &PersistentVolumeClaim, status: Value) -> Result<()> {
        let patch = json!({"metadata": {"resourceVersion": claim.resource_version()}, "status": status});
        let api = self.ctx.api::<PersistentVolumeClaim>(&key.namespace);
        let patched = unless_gone(api.patch_status(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .doing(format_args!("updating the status of PersistentVolumeClaim {key}"))?;
        patched.into_iter().for_each(|patched| self.own_claims.wrote(key, patched));
        Ok(())
    }
}
