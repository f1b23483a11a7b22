//! Volumes of CSI drivers are attached to the nodes whose pods use them, and detached when no pod does.
//!
//! ```text
//! pod on a node ─▶ VolumeAttachment ─▶ the driver's attacher attaches ─▶ node.status.volumesAttached ─▶ the node mounts
//! pod gone ─▶ not in node.status.volumesInUse ─▶ not in volumesAttached ─▶ VolumeAttachment deleted ─▶ detached
//! ```
//!
//! What is attached is what VolumeAttachments say: nothing is remembered but when a volume was wanted last, and what its
//! users were told. One worker decides for all nodes, so that no two get a volume that only one may have.
//!
//! Invariant: a node is told that a volume is gone before that is asked for, and is asked afterwards whether it uses it.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;
mod wanted;

use crate::{
    common::{
        Context, Result,
        failure::{Doing, already_exists, unless_gone},
        own_writes::OwnWrites,
        pods,
        volumes::{self, BY_CLAIM, claim_of, claims_of, index_by_claim, is_terminated},
    },
    node_lifecycle::{BY_NODE, index_by_node, is_ready},
};
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSIDriver, VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentSpec},
};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    kube::{
        Api, ResourceExt,
        api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
        core::ObjectMeta,
    },
    pod::Pod,
};
use parking_lot::Mutex;
use plan::{Action, Observed, Plan, Wanted, is_managed, is_out_of_service};
use serde_json::json;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use wanted::{Storage, Use, attachment_name, is_shared, unique_name, wanted};

/// Attachments by the node, and by the PersistentVolume.
const TO_NODE: &str = "attachment-node";
const OF_VOLUME: &str = "attachment-volume";
/// PersistentVolumes by how nodes call them.
const BY_NAME: &str = "unique-volume";

struct Controller {
    ctx: Context,
    events: EventRecorder,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
    drivers: Informer<CSIDriver>,
    attachments: Informer<VolumeAttachment>,
    own_nodes: OwnWrites<Node>,
    own_attachments: OwnWrites<VolumeAttachment>,
    memory: Mutex<Memory>,
    queue: WorkQueue<Key>,
}

/// What objects do not tell, by node.
#[derive(Default)]
struct Memory {
    unwanted_since: HashMap<String, BTreeMap<String, Timestamp>>,
    told: HashMap<String, BTreeMap<String, String>>,
    /// What nodes that are gone had in use.
    in_use_at_last: HashMap<String, Vec<String>>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component("attachdetach-controller"),
        pods: ctx.informers.all(),
        nodes: ctx.informers.all(),
        claims: ctx.informers.all(),
        volumes: ctx.informers.all(),
        drivers: ctx.informers.all(),
        attachments: ctx.informers.all(),
        own_nodes: OwnWrites::default(),
        own_attachments: OwnWrites::default(),
        memory: Mutex::default(),
        queue: WorkQueue::new("attachdetach-controller"),
        ctx: ctx.clone(),
    });
    controller.index();
    controller.pods.synced().await;
    controller.nodes.synced().await;
    controller.claims.synced().await;
    controller.volumes.synced().await;
    controller.drivers.synced().await;
    controller.attachments.synced().await;
    controller.follow();
    let queue = controller.queue.clone();
    let reconcile = move |key: Key| {
        let controller = controller.clone();
        async move { controller.reconcile(&key.name).await }
    };
    ctx.serve(queue, 1, reconcile).await;
}

/// Nodes are keys by their name.
fn key(node: &str) -> Key {
    Key::new("", node)
}

fn volume_of(attachment: &VolumeAttachment) -> Option<&str> {
    attachment.spec.source.persistent_volume_name.as_deref()
}

/// What of a node is decided by.
fn relevant(node: &Node) -> impl PartialEq + '_ {
    let status = node.status.as_ref();
    let attached = status.and_then(|status| status.volumes_attached.as_ref());
    let in_use = status.and_then(|status| status.volumes_in_use.as_ref());
    (is_managed(node), is_out_of_service(node), is_ready(node), attached, in_use)
}

impl Storage for Controller {
    fn claim(&self, key: &Key) -> Option<Arc<PersistentVolumeClaim>> {
        self.claims.by_key(key)
    }

    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        self.volumes.get("", name)
    }

    fn driver(&self, name: &str) -> Option<Arc<CSIDriver>> {
        self.drivers.get("", name)
    }
}

impl Controller {
    fn index(&self) {
        index_by_claim(&self.pods);
        index_by_node(&self.pods);
        self.attachments.index(TO_NODE, |attachment| vec![attachment.spec.node_name.clone()]);
        self.attachments.index(OF_VOLUME, |attachment| volume_of(attachment).map(str::to_owned).into_iter().collect());
        self.volumes.index(BY_NAME, |volume| unique_name(volume).into_iter().collect());
    }

    fn follow(self: &Arc<Self>) {
        let this = self.clone();
        self.pods.handle(move |change| this.pod_changed(change));
        let this = self.clone();
        self.nodes.handle(move |change| this.node_changed(change));
        let this = self.clone();
        self.claims.handle(move |change| {
            let old = change.old().and_then(|old| volumes::volume_name(old));
            if old != volumes::volume_name(change.object()) {
                this.users(&Key::of(change.object().as_ref()));
            }
        });
        let this = self.clone();
        self.volumes.handle(move |change| {
            let reserved = |volume: &PersistentVolume| volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone());
            let updated = matches!(change, Change::Updated { old, new } if reserved(old) == reserved(new));
            if !updated {
                this.volume_changed(change.object());
            }
        });
        let this = self.clone();
        self.attachments.handle(move |change| {
            let attachment = change.object();
            this.queue.add(key(&attachment.spec.node_name));
            // Others may wait for it to go.
            let volume = volume_of(attachment).and_then(|name| this.volumes.get("", name));
            volume.iter().for_each(|volume| this.volume_changed(volume));
        });
        let this = self.clone();
        self.drivers.handle(move |change| {
            let same = |old: &CSIDriver, new: &CSIDriver| old.spec.attach_required == new.spec.attach_required;
            if !matches!(change, Change::Updated { old, new } if same(old, new)) {
                this.nodes.list().iter().for_each(|node| this.queue.add(Key::of(node.as_ref())));
            }
        });
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.object();
        let same = |old: &Arc<Pod>| pods::node(old) == pods::node(pod) && is_terminated(old) == is_terminated(pod);
        let updated = matches!(change, Change::Updated { old, .. } if same(old));
        if !updated && !pods::node(pod).is_empty() && claims_of(pod).next().is_some() {
            self.queue.add(key(pods::node(pod)));
        }
    }

    fn node_changed(&self, change: &Change<Node>) {
        let node = change.object();
        let name = node.name_any();
        let mut memory = self.memory.lock();
        match change {
            Change::Deleted(_) => {
                let in_use = node.status.as_ref().and_then(|status| status.volumes_in_use.clone());
                memory.in_use_at_last.insert(name.clone(), in_use.unwrap_or_default());
            }
            Change::Updated { old, new } if relevant(old) == relevant(new) => return,
            _ => drop(memory.in_use_at_last.remove(&name)),
        }
        self.queue.add(key(&name));
    }

    /// All nodes that use a volume, or have it, have another look; those too that know it under another name.
    fn volume_changed(&self, volume: &PersistentVolume) {
        let same = unique_name(volume).map(|name| self.volumes.indexed(BY_NAME, &name)).unwrap_or_default();
        let names = same.iter().map(|volume| volume.name_any()).chain([volume.name_any()]);
        for attachment in names.flat_map(|name| self.attachments.indexed(OF_VOLUME, &name)) {
            self.queue.add(key(&attachment.spec.node_name));
        }
        let claims = same.iter().map(|volume| volume.as_ref()).chain([volume]).filter_map(claim_of);
        claims.for_each(|(claim, _)| self.users(&claim));
    }

    /// The nodes with pods that use a claim have another look.
    fn users(&self, claim: &Key) {
        for pod in self.pods.indexed(BY_CLAIM, &claim.to_string()) {
            if !pods::node(&pod).is_empty() {
                self.queue.add(key(pods::node(&pod)));
            }
        }
    }

    async fn reconcile(&self, name: &str) -> Result<Outcome> {
        let seen = self.observe(name);
        let plan = plan::plan(Timestamp::now(), &seen);
        let since = plan.unwanted_since.clone();
        self.memory.lock().remember(name, |memory| &mut memory.unwanted_since, since);
        let mut again = false;
        for action in &plan.actions {
            again |= !self.act(name, &seen, action).await?;
        }
        self.tell(&plan);
        let mut memory = self.memory.lock();
        if seen.node.is_none() && seen.attachments.is_empty() {
            memory.in_use_at_last.remove(name);
        }
        memory.remember(name, |memory| &mut memory.told, plan.told);
        Ok(match plan.look_again {
            _ if again => Outcome::Again,
            Some(wait) => Outcome::After(wait),
            None => Outcome::Done,
        })
    }

    fn observe(&self, name: &str) -> Observed {
        let uses = wanted(self.pods.indexed(BY_NODE, name), self);
        let memory = self.memory.lock();
        Observed {
            name: name.to_owned(),
            node: self.nodes.get("", name).and_then(|_| self.own_nodes.one(&key(name), &self.nodes)),
            in_use_at_last: memory.in_use_at_last.get(name).cloned(),
            wanted: uses.into_iter().map(|used| self.with_others(name, used)).collect(),
            attachments: self.attachments(TO_NODE, name, |attachment| attachment.spec.node_name == name),
            unwanted_since: memory.unwanted_since.get(name).cloned().unwrap_or_default(),
            told: memory.told.get(name).cloned().unwrap_or_default(),
        }
    }

    fn with_others(&self, node: &str, used: Use) -> Wanted {
        let mut elsewhere = Vec::new();
        let same = match is_shared(&used.volume) {
            true => Vec::new(),
            false => unique_name(&used.volume).map(|name| self.volumes.indexed(BY_NAME, &name)).unwrap_or_default(),
        };
        for volume in same {
            let name = volume.name_any();
            let of_volume = self.attachments(OF_VOLUME, &name, |attachment| volume_of(attachment) == Some(&name));
            for attachment in of_volume.into_iter().filter(|attachment| attachment.spec.node_name != node) {
                let pods = self.pods_with(&volume, &attachment.spec.node_name);
                elsewhere.push((attachment, pods));
            }
        }
        Wanted { used, elsewhere }
    }

    fn pods_with(&self, volume: &PersistentVolume, node: &str) -> Vec<Arc<Pod>> {
        let claim = claim_of(volume).map(|(claim, _)| claim.to_string()).unwrap_or_default();
        let mut pods = self.pods.indexed(BY_CLAIM, &claim);
        pods.retain(|pod| pods::node(pod) == node && !is_terminated(pod));
        pods.sort_by_key(|pod| pod.name_any());
        pods
    }

    /// As they will be once the informer has seen what was written here.
    fn attachments(
        &self,
        index: &'static str,
        term: &str,
        wanted: impl Fn(&VolumeAttachment) -> bool,
    ) -> Vec<Arc<VolumeAttachment>> {
        let look = || self.attachments.indexed(index, term);
        let mut found = self.own_attachments.read(&key(""), &self.attachments, look);
        found.retain(|attachment| wanted(attachment));
        found
    }

    /// Whether it was done.
    async fn act(&self, node: &str, seen: &Observed, action: &Action) -> Result<bool> {
        match action {
            Action::Report { volumes } => self.report(node, volumes).await.map(|()| true),
            Action::Attach { attachment, driver, volume } => {
                self.attach(node, attachment, driver, volume).await.map(|()| true)
            }
            Action::Detach { attachment, checked } => {
                if *checked && self.uses(node, attachment).await? {
                    return Ok(false);
                }
                let known = seen.attachments.iter().find(|known| known.name_any() == *attachment);
                self.detach(attachment, known.and_then(|known| known.uid())).await.map(|()| true)
            }
        }
    }

    async fn report(&self, node: &str, volumes: &[String]) -> Result<()> {
        let attached: Vec<_> = volumes.iter().map(|name| json!({"name": name, "devicePath": ""})).collect();
        let patch = Patch::Merge(json!({"status": {"volumesAttached": attached}}));
        let api: Api<Node> = Api::all(self.ctx.client.clone());
        let patched = unless_gone(api.patch_status(node, &PatchParams::default(), &patch).await)
            .doing(format_args!("telling node {node} what is attached"))?;
        patched.into_iter().for_each(|patched| self.own_nodes.wrote(&key(node), patched));
        Ok(())
    }

    async fn attach(&self, node: &str, name: &str, driver: &str, volume: &str) -> Result<()> {
        let attachment = VolumeAttachment {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            spec: VolumeAttachmentSpec {
                attacher: driver.to_owned(),
                node_name: node.to_owned(),
                source: VolumeAttachmentSource {
                    persistent_volume_name: Some(volume.to_owned()),
                    ..VolumeAttachmentSource::default()
                },
            },
            status: None,
        };
        let api: Api<VolumeAttachment> = Api::all(self.ctx.client.clone());
        match api.create(&PostParams::default(), &attachment).await {
            Ok(created) => self.own_attachments.wrote(&key(""), created),
            // It shows in a moment.
            Err(error) if already_exists(&error) => {}
            Err(error) => return Err(error).doing(format_args!("attaching volume {volume} to node {node}")),
        }
        Ok(())
    }

    /// What the node itself says at this moment.
    async fn uses(&self, node: &str, attachment: &str) -> Result<bool> {
        let api: Api<Node> = Api::all(self.ctx.client.clone());
        let live = api.get_opt(node).await.doing(format_args!("reading what node {node} uses"))?;
        let in_use = live.and_then(|live| live.status?.volumes_in_use).unwrap_or_default();
        Ok(in_use.iter().any(|volume| attachment_name(volume, node).as_deref() == Some(attachment)))
    }

    async fn detach(&self, name: &str, uid: Option<String>) -> Result<()> {
        let only = Preconditions { uid: uid.clone(), resource_version: None };
        let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
        let api: Api<VolumeAttachment> = Api::all(self.ctx.client.clone());
        let deleted = unless_gone(api.delete(name, &params).await).doing(format_args!("deleting attachment {name}"))?;
        match deleted.and_then(|deleted| deleted.left()) {
            Some(going) if going.metadata.deletion_timestamp.is_some() => self.own_attachments.wrote(&key(""), going),
            _ => self.own_attachments.deleted(&key(""), uid),
        }
        Ok(())
    }

    fn tell(&self, plan: &Plan) {
        for said in &plan.events {
            self.events.event(said.pod.as_ref(), said.kind, said.reason, said.message.clone());
        }
    }
}

impl Memory {
    /// Nothing is kept of nodes about which there is nothing to say.
    fn remember<T>(
        &mut self,
        node: &str,
        part: impl FnOnce(&mut Memory) -> &mut HashMap<String, BTreeMap<String, T>>,
        facts: BTreeMap<String, T>,
    ) {
        match facts.is_empty() {
            true => drop(part(self).remove(node)),
            false => drop(part(self).insert(node.to_owned(), facts)),
        }
    }
}
