//! Definitions of custom resources: their names are accepted when nobody else has them, then their kinds are served; one
//! that is deleted takes its objects with it.
//!
//! ```text
//! spec.names ──free?──▶ NamesAccepted ──▶ Established ──delete──▶ Terminating ──objects gone──▶ finalizer gone
//! ```
//!
//! A change of names is looked at by all definitions of the group: one may wait for a name that another gives back.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Result,
    emptying::{Pages, delete_all, is_empty},
    failure::{Doing, said, unless_gone},
};
use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        self, Api, ResourceExt,
        api::{DeleteParams, PostParams},
        core::DynamicObject,
        discovery::ApiResource,
    },
};
use plan::{CLEANUP, Ending, ended, is_established, planned};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

const WORKERS: usize = 5;

/// How long objects that others must finish with are left alone.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

struct Controller {
    ctx: Context,
    definitions: Informer<CustomResourceDefinition>,
}

pub(crate) async fn run(ctx: Context) {
    let definitions: Informer<CustomResourceDefinition> = ctx.informers.all();
    definitions.synced().await;
    let queue: WorkQueue<Key> = WorkQueue::new("custom-resource-definitions");
    definitions.handle({
        let (queue, definitions) = (queue.clone(), definitions.clone());
        move |change| {
            let changed = change.object();
            queue.add(Key::of(changed.as_ref()));
            let waits = |other: &CustomResourceDefinition| {
                other.spec.group == changed.spec.group && !plan::has_its_names(other)
            };
            definitions.list().iter().filter(|other| waits(other)).for_each(|other| queue.add(Key::of(other.as_ref())));
        }
    });
    let controller = Arc::new(Controller { ctx: ctx.clone(), definitions });
    let reconcile = move |key: Key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

impl Controller {
    fn api(&self) -> Api<CustomResourceDefinition> {
        Api::all(self.ctx.client.clone())
    }

    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(definition) = self.definitions.by_key(&key) else { return Ok(Outcome::Done) };
        if definition.metadata.deletion_timestamp.is_some() {
            return self.end(&definition).await;
        }
        let all = self.definitions.list();
        let others: Vec<&CustomResourceDefinition> =
            all.iter().map(AsRef::as_ref).filter(|other| other.name_any() != key.name).collect();
        if let Some(planned) = planned(&definition, &others, Timestamp::now()) {
            self.write(&planned).await?;
        }
        Ok(Outcome::Done)
    }

    async fn write(&self, definition: &CustomResourceDefinition) -> Result<Option<CustomResourceDefinition>> {
        let name = definition.name_any();
        let written = self.api().replace_status(&name, &PostParams::default(), definition).await;
        unless_gone(written).doing(format_args!("writing the status of CustomResourceDefinition {name}"))
    }

    /// Deletes the objects of a definition, and then lets it go.
    async fn end(&self, definition: &CustomResourceDefinition) -> Result<Outcome> {
        if !definition.finalizers().iter().any(|finalizer| finalizer == CLEANUP) {
            return Ok(Outcome::Done);
        }
        let mut live = definition.clone();
        if let Some(marked) = ended(&live, &Ending::InProgress, Timestamp::now()) {
            let Some(written) = self.write(&marked).await? else { return Ok(Outcome::Done) };
            live = written;
        }
        let ending = match is_established(&live) {
            false => Ending::NeverEstablished,
            true => match self.empty(&live).await {
                Ok(true) => Ending::Completed,
                Ok(false) => return Ok(Outcome::After(LOOK_AGAIN)),
                Err(error) => Ending::Failed(said(&error)),
            },
        };
        if let Some(done) = ended(&live, &ending, Timestamp::now()) {
            self.write(&done).await?;
        }
        Ok(if matches!(ending, Ending::Failed(_)) { Outcome::Again } else { Outcome::Done })
    }

    /// Deletes all objects; whether none are left. However many there are, a page of them is held at a time.
    async fn empty(&self, definition: &CustomResourceDefinition) -> kube::Result<bool> {
        // A kind of which no version is served is emptied by the server, when its definition goes.
        let Some(resource) = served(definition) else { return Ok(true) };
        let client = &self.ctx.client;
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let mut namespaces = BTreeSet::new();
        let mut pages = Pages::default();
        while let Some(page) = pages.next(&all).await? {
            // What only waits for others needs no word more.
            let stays = page.items.iter().filter(|object| object.metadata.deletion_timestamp.is_none());
            namespaces.extend(stays.map(ResourceExt::namespace));
        }
        for namespace in &namespaces {
            let api = match namespace {
                Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
                None => all.clone(),
            };
            delete_all(client, &api, &DeleteParams::default()).await?;
        }
        is_empty(&all).await
    }
}

/// The kind in a version that is served, the storage version if it is.
fn served(definition: &CustomResourceDefinition) -> Option<ApiResource> {
    let versions = || definition.spec.versions.iter().filter(|version| version.served);
    let version = versions().find(|version| version.storage).or_else(|| versions().next())?;
    let names = definition.status.as_ref()?.accepted_names.as_ref()?;
    Some(ApiResource {
        group: definition.spec.group.clone(),
        version: version.name.clone(),
        api_version: format!("{}/{}", definition.spec.group, version.name),
        kind: names.kind.clone(),
        plural: names.plural.clone(),
    })
}
