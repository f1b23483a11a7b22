//! Namespaces: one that is deleted is emptied first, kind by kind, pods before everything they use.
//!
//! ```text
//! deletionTimestamp ──▶ Terminating ──▶ pods gone ──▶ all kinds gone ──▶ spec.finalizers without "kubernetes" ──▶ gone
//! ```
//!
//! The inventory tells when something in it disappears, so nothing is asked again in vain.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::{
    common::{
        Context, Result,
        emptying::{Pages, delete_all, delete_each, is_empty},
        failure::{Doing, said, unless_gone},
        queue_changes,
    },
    inventory::{ApiKind, Change, Inventory},
};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        self, Api,
        api::{DeleteParams, PostParams},
        core::DynamicObject,
    },
};
use plan::{Contents, FINALIZER, Remaining, conditions, finalized, terminating};
use std::{sync::Arc, time::Duration};

const WORKERS: usize = 10;

/// Kinds that are emptied at the same time.
const KINDS_AT_ONCE: usize = 16;

/// Should no one tell of the last object's end, it is looked for after this.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

struct Controller {
    ctx: Context,
    namespaces: Informer<Namespace>,
    inventory: Inventory,
}

pub(crate) fn prepare(ctx: Context, inventory: Inventory) -> impl Future<Output = ()> + Send {
    let controller =
        Arc::new(Controller { namespaces: ctx.informers.all(), inventory: inventory.clone(), ctx: ctx.clone() });
    let queue = WorkQueue::new("namespace");
    inventory.handle({
        let (queue, namespaces) = (queue.clone(), controller.namespaces.clone());
        move |change| {
            if let Change::Removed(record) = change
                && namespaces.get("", &record.key.namespace).is_some_and(|namespace| terminates(&namespace))
            {
                queue.add(Key::new("", &record.key.namespace));
            }
        }
    });
    async move {
        controller.namespaces.synced().await;
        queue_changes(&controller.namespaces, &queue);
        let reconcile = move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(key).await }
        };
        ctx.serve(queue, WORKERS, reconcile).await;
    }
}

fn terminates(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        if self.namespaces.get("", &key.name).is_none_or(|namespace| !terminates(&namespace)) {
            return Ok(Outcome::Done);
        }
        let api: Api<Namespace> = Api::all(self.ctx.client.clone());
        let doing = |what: &str| format!("{what} namespace {}", key.name);
        // The truth, not what was seen: deleting is for ever.
        let live = api.get_opt(&key.name).await.doing(doing("reading"))?;
        let Some(mut live) = live.filter(terminates) else { return Ok(Outcome::Done) };
        if let Some(updated) = terminating(&live) {
            let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await);
            let Some(written) = written.doing(doing("terminating"))? else { return Ok(Outcome::Done) };
            live = written;
        }
        if !live.spec.as_ref().is_some_and(|spec| spec.finalizers.iter().flatten().any(|known| known == FINALIZER)) {
            return Ok(Outcome::Done);
        }
        let contents = self.empty(&key.name).await;
        if let Some(updated) = conditions(&live, &contents, Timestamp::now()) {
            let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await);
            let Some(written) = written.doing(doing("reporting on"))? else { return Ok(Outcome::Done) };
            live = written;
        }
        if !contents.is_empty() {
            return Ok(if contents.failures.is_empty() { Outcome::After(LOOK_AGAIN) } else { Outcome::Again });
        }
        let done = finalized(&live);
        let written = api.replace_subresource("finalize", &key.name, &PostParams::default(), &done).await;
        unless_gone(written).doing(doing("finalizing"))?;
        Ok(Outcome::Done)
    }

    /// Deletes what is there and says what remains.
    async fn empty(&self, namespace: &str) -> Contents {
        let mut contents = Contents::default();
        let discovered = crate::inventory::discover(&self.ctx.client).await;
        let kinds = discovered.unwrap_or_else(|error| {
            contents.discovery_failure = Some(said(&error));
            self.inventory.kinds()
        });
        let deletable = kinds.all().filter(|kind| kind.namespaced && kind.supports("delete") && kind.supports("list"));
        let (pods, others): (Vec<_>, Vec<_>) =
            deletable.cloned().partition(|kind| kind.group.is_empty() && kind.kind == "Pod");
        for kinds in [pods, others] {
            let emptied = stream::iter(kinds).map(|kind| async move {
                let result = self.empty_kind(namespace, &kind).await;
                (kind, result)
            });
            let results: Vec<_> = emptied.buffer_unordered(KINDS_AT_ONCE).collect().await;
            for (kind, result) in results {
                match result {
                    Ok(remaining) => contents.add(&kind, remaining),
                    Err(error) => contents.failures.push(said(&error)),
                }
            }
            // What pods use stays until they are gone.
            if !contents.is_empty() {
                break;
            }
        }
        contents
    }

    /// Deletes what is there of a kind, and says what remains. However many there are, a page of them is held at a time.
    async fn empty_kind(&self, namespace: &str, kind: &ApiKind) -> kube::Result<Remaining> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.ctx.client.clone(), namespace, &kind.resource());
        if is_empty(&api).await? {
            return Ok(Remaining::default());
        }
        let params = DeleteParams::background();
        match kind.supports("deletecollection") {
            true => delete_all(&self.ctx.client, &api, &params).await?,
            false => delete_each(&api, &params).await?,
        }
        let mut remaining = Remaining::default();
        let mut pages = Pages::default();
        while let Some(page) = pages.next(&api).await? {
            remaining.add(page.items.iter().map(|object| &object.metadata));
        }
        Ok(remaining)
    }
}
