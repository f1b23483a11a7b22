//! Garbage collection: what is owned by nothing that exists is deleted.
//!
//! ```text
//! inventory ──▶ Graph (pure) ──uids to look at──▶ queue ──▶ plan (pure) ──▶ act
//! ```
//!
//! Background: the owner goes, its dependents follow. Foreground: the owner waits (finalizer `foregroundDeletion`) until
//! dependents that block it are gone. Orphan: dependents lose the reference first (finalizer `orphan`), then the owner goes.
//!
//! Invariant: nothing is deleted because an owner is missing here; the server is asked first, or has told of its deletion.
//! Invariant: every write carries uid and version of what was judged; what changed meanwhile is judged again.

mod graph;
mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::{
    common::{
        Context, Result,
        batch::all_at_once,
        failure::{Doing, unless_gone},
    },
    inventory::{Change, Inventory, Record},
};
use graph::Graph;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::OwnerReference};
use mk8s_client::{
    EventRecorder, Outcome, WorkQueue,
    events::EventType,
    kube::{
        Api,
        api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
        core::{DynamicObject, PartialObjectMeta},
    },
};
use parking_lot::Mutex;
use plan::{Action, Owner, Policy, plan};
use serde_json::{Value, json};
use std::sync::Arc;

const WORKERS: usize = 20;

struct Collector {
    ctx: Context,
    events: EventRecorder,
    inventory: Inventory,
    graph: Mutex<Graph>,
    queue: WorkQueue<String>,
}

/// The collector listens from now on; it works once the returned future runs and the inventory is complete.
pub(crate) fn prepare(ctx: Context, inventory: Inventory) -> impl Future<Output = ()> + Send {
    let queue: WorkQueue<String> = WorkQueue::new("garbage-collector");
    let collector = Arc::new(Collector {
        events: ctx.events.with_component("garbage-collector-controller"),
        ctx: ctx.clone(),
        inventory: inventory.clone(),
        graph: Mutex::default(),
        queue: queue.clone(),
    });
    inventory.handle({
        let (collector, queue) = (collector.clone(), queue.clone());
        move |change| {
            let mut graph = collector.graph.lock();
            let uids = match change {
                Change::Applied(record) => graph.apply(record.clone()),
                Change::Removed(record) => graph.remove(record),
            };
            uids.into_iter().for_each(|uid| queue.add(uid));
        }
    });
    async move {
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            () = inventory.synced() => {}
        }
        let uids = collector.graph.lock().complete();
        uids.into_iter().for_each(|uid| queue.add(uid));
        let reconcile = move |uid| {
            let collector = collector.clone();
            async move { collector.reconcile(uid).await }
        };
        ctx.serve(queue, WORKERS, reconcile).await;
    }
}

impl Collector {
    async fn reconcile(&self, uid: String) -> Result<Outcome> {
        let Some((record, dependents, circular)) = self.look(&uid) else { return Ok(Outcome::Done) };
        let mut owners = Vec::new();
        if plan::needs_owners(&record) {
            for reference in &record.owners {
                self.tell_misplaced(&record, reference);
                owners.push((reference.clone(), self.owner(&record, reference).await?));
            }
        }
        let action = plan(&record, &dependents, circular, &owners);
        self.act(&record, &dependents, &action).await?;
        // An owner that exists and is not known here yet must be looked at again: its end could be missed.
        let unknown = owners.iter().any(|(_, owner)| matches!(owner, Owner::ExistsUnseen | Owner::Unknown));
        Ok(if unknown { Outcome::Again } else { Outcome::Done })
    }

    fn look(&self, uid: &str) -> Option<(Arc<Record>, Vec<Arc<Record>>, bool)> {
        let graph = self.graph.lock();
        let (record, dependents) = graph.look(uid)?;
        let circular = record.waits_for_dependents() && graph.waits_for_itself(uid);
        Some((record, dependents, circular))
    }

    /// An owner in another namespace is none, and whoever wrote the reference should know.
    fn tell_misplaced(&self, record: &Record, reference: &OwnerReference) {
        if !self.graph.lock().is_elsewhere(record, reference) {
            return;
        }
        let namespace = &record.key.namespace;
        let OwnerReference { api_version, kind, name, uid, .. } = reference;
        let message = format!(
            "ownerRef [{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}] does not exist in namespace \
             {namespace:?}"
        );
        let about = ObjectReference {
            api_version: Some(record.kind.resource().api_version),
            kind: Some(record.kind.kind.clone()),
            namespace: Some(namespace.clone()).filter(|namespace| !namespace.is_empty()),
            name: Some(record.key.name.clone()),
            uid: Some(record.uid.clone()),
            ..ObjectReference::default()
        };
        self.events.record(about, EventType::Warning, "OwnerRefInvalidNamespace", message);
    }

    /// What there is of an owner: as the graph knows, else as the server says.
    async fn owner(&self, record: &Record, reference: &OwnerReference) -> Result<Owner> {
        if let Some(known) = self.graph.lock().owner(record, reference) {
            return Ok(known);
        }
        let kinds = self.inventory.kinds();
        let Some(kind) = kinds.find(&reference.api_version, &reference.kind) else { return Ok(Owner::Unknown) };
        if kind.namespaced && record.key.namespace.is_empty() {
            return Ok(Owner::Invalid);
        }
        let resource = kind.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = match kind.namespaced {
            true => Api::namespaced_with(self.ctx.client.clone(), &record.key.namespace, &resource),
            false => Api::all_with(self.ctx.client.clone(), &resource),
        };
        let live = api.get_opt(&reference.name).await;
        let live = live.doing(format_args!("looking up the owner {} {}", reference.kind, reference.name))?;
        let Some(live) = live.filter(|live| live.metadata.uid.as_ref() == Some(&reference.uid)) else {
            self.graph.lock().is_absent(reference);
            return Ok(Owner::Absent);
        };
        Ok(match Record::of(kind, &live.metadata) {
            Some(live) if live.waits_for_dependents() => Owner::WaitsForDependents,
            _ => Owner::ExistsUnseen,
        })
    }

    async fn act(&self, record: &Record, dependents: &[Arc<Record>], action: &Action) -> Result<()> {
        match action {
            Action::Nothing => Ok(()),
            Action::DropOwners(uids) => self.drop_owners(record, uids).await,
            Action::Unblock => {
                let mut owners = record.owners.clone();
                owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
                self.patch(record, json!({"ownerReferences": owners})).await?;
                // The version is another one now; the change brings the record back.
                Ok(())
            }
            Action::Delete(policy) => self.delete(record, *policy).await,
            Action::Orphan => {
                let owner = [record.uid.clone()];
                all_at_once(dependents.iter().map(|dependent| self.drop_owners(dependent, &owner))).await?;
                self.drop_finalizer(record, crate::inventory::ORPHAN).await
            }
            Action::DropFinalizer => self.drop_finalizer(record, crate::inventory::FOREGROUND).await,
            Action::Press(uids) => {
                uids.iter().for_each(|uid| self.queue.add(uid.clone()));
                Ok(())
            }
        }
    }

    fn api(&self, record: &Record) -> Api<PartialObjectMeta<DynamicObject>> {
        let resource = record.kind.resource();
        match record.key.namespace.as_str() {
            "" => Api::all_with(self.ctx.client.clone(), &resource),
            namespace => Api::namespaced_with(self.ctx.client.clone(), namespace, &resource),
        }
    }

    async fn delete(&self, record: &Record, policy: Policy) -> Result<()> {
        let params = DeleteParams {
            propagation_policy: Some(match policy {
                Policy::Background => PropagationPolicy::Background,
                Policy::Foreground => PropagationPolicy::Foreground,
                Policy::Orphan => PropagationPolicy::Orphan,
            }),
            preconditions: Some(Preconditions {
                uid: Some(record.uid.clone()),
                resource_version: Some(record.version.clone()),
            }),
            ..DeleteParams::default()
        };
        let deleted = unless_gone(self.api(record).delete(&record.key.name, &params).await);
        deleted.doing(format_args!("deleting {} {}", record.kind.kind, record.key)).map(drop)
    }

    async fn drop_owners(&self, record: &Record, uids: &[String]) -> Result<()> {
        let kept = record.owners.iter().filter(|owner| !uids.contains(&owner.uid));
        let kept: Vec<&OwnerReference> = kept.collect();
        if kept.len() == record.owners.len() {
            return Ok(());
        }
        self.patch(record, json!({"ownerReferences": kept})).await
    }

    async fn drop_finalizer(&self, record: &Record, finalizer: &str) -> Result<()> {
        let kept = record.finalizers.iter().filter(|known| *known != finalizer);
        let kept: Vec<&String> = kept.collect();
        self.patch(record, json!({"finalizers": kept})).await
    }

    async fn patch(&self, record: &Record, mut metadata: Value) -> Result<()> {
        metadata["uid"] = json!(record.uid);
        metadata["resourceVersion"] = json!(record.version);
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let patched = unless_gone(self.api(record).patch(&record.key.name, &PatchParams::default(), &patch).await);
        patched.doing(format_args!("updating the metadata of {} {}", record.kind.kind, record.key)).map(drop)
    }
}
