//! StorageVersionMigrations: every object of a resource is written once more, so that all are stored in the version in
//! which the server stores them today.
//!
//! ```text
//! in line ─▶ Running ─▶ resourceVersion noted ─▶ all older objects applied as they are ─▶ Succeeded ─▶ Running=False
//!    definition: StorageMigrating=True                            or Failed ─┘   StorageMigrating=False, storedVersions
//! ```
//!
//! An object is written by an apply that sets nothing. It names uid and version: what was changed, deleted or made anew
//! meanwhile is refused as a conflict, and is stored in the right version already, or not at all.
//!
//! Invariant: of one resource at most one migration runs; the oldest is the first.
//! Invariant: what was rewritten is newer than the noted version, so a migration that is begun again goes on.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::{
    common::{
        Context, Result,
        failure::{Doing, Failure, said, unless_gone},
    },
    inventory::{ApiKind, Inventory},
};
use futures::future::try_join_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::storagemigration::v1beta1::StorageVersionMigration,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::GroupResource,
};
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        self, Api, ResourceExt,
        api::{ListParams, ObjectMeta, Patch, PatchParams, PostParams},
        core::{DynamicObject, PartialObjectMeta},
    },
};
use plan::{FAILED, RUNNING, SUCCEEDED, Step, Target, plan, target};
use serde_json::{Value, json};
use std::{fmt, sync::Arc, time::Duration};

const WORKERS: usize = 5;
/// Who applies to objects, and who to definitions.
const COMPONENT: &str = "storage-version-migrator-controller";
const RUNNER: &str = "migration-runner-controller";
/// How many objects are listed at a time, and how many of them are written at once.
const PAGE: u32 = 500;
const AT_ONCE: usize = 16;
/// How often a resource is looked for that is not there yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What stands in line together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Resource {
    group: String,
    plural: String,
}

impl Resource {
    fn of(migration: &StorageVersionMigration) -> Resource {
        let GroupResource { group, resource } =
            migration.spec.as_ref().map(|spec| spec.resource.clone()).unwrap_or_default();
        Resource { group, plural: resource }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plural, self.group)
    }
}

struct Controller {
    ctx: Context,
    inventory: Inventory,
    migrations: Informer<StorageVersionMigration>,
}

pub(crate) async fn run(ctx: Context, inventory: Inventory) {
    let migrations: Informer<StorageVersionMigration> = ctx.informers.all();
    migrations.synced().await;
    inventory.synced().await;
    let queue = WorkQueue::new(COMPONENT);
    migrations.handle({
        let queue = queue.clone();
        move |change| queue.add(Resource::of(change.object()))
    });
    let controller = Arc::new(Controller { ctx: ctx.clone(), inventory, migrations });
    let reconcile = move |resource| {
        let controller = controller.clone();
        async move { controller.reconcile(resource).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

/// How rewriting the objects ended.
enum Rewritten {
    All,
    /// The migration is not there any more.
    Abandoned,
    Failed(String),
}

impl Controller {
    async fn reconcile(&self, resource: Resource) -> Result<Outcome> {
        let mut migrations = self.migrations.list();
        migrations.retain(|migration| Resource::of(migration) == resource);
        for step in plan(&migrations) {
            let (Step::End { name, .. } | Step::Begin { name } | Step::Mark { name } | Step::Rewrite { name, .. }) =
                &step;
            let Some(migration) = migrations.iter().find(|one| one.name_any() == *name) else { continue };
            match &step {
                Step::End { succeeded, .. } => {
                    let now = Timestamp::now();
                    self.define(&resource, |definition| plan::definition_at_end(definition, *succeeded, now)).await?;
                    self.write(&plan::ended(migration, now)).await?;
                }
                Step::Begin { name } => {
                    let now = Timestamp::now();
                    self.define(&resource, |definition| plan::definition_at_begin(definition, name, now)).await?;
                    self.write(&plan::with(migration, RUNNING, "The migration is running", now)).await?;
                }
                Step::Mark { .. } => {
                    let Some(kind) = self.target(&resource, migration).await? else {
                        return Ok(Outcome::After(LOOK_AGAIN));
                    };
                    self.mark(migration, &kind).await?;
                }
                Step::Rewrite { up_to, .. } => {
                    let Some(kind) = self.target(&resource, migration).await? else {
                        return Ok(Outcome::After(LOOK_AGAIN));
                    };
                    let now = Timestamp::now();
                    match self.rewrite(migration, &kind, up_to).await? {
                        Rewritten::All => self.write(&plan::with(migration, SUCCEEDED, "", now)).await?,
                        Rewritten::Failed(why) => {
                            let message = format!("migration encountered unhandled error: {why}");
                            self.write(&plan::with(migration, FAILED, &message, now)).await?;
                        }
                        Rewritten::Abandoned => {}
                    }
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// The kind whose objects are meant; `None` when there is none, or none yet.
    async fn target(&self, resource: &Resource, migration: &StorageVersionMigration) -> Result<Option<Arc<ApiKind>>> {
        let kinds = self.inventory.kinds();
        let kind = kinds.all().find(|kind| kind.group == resource.group && kind.plural == resource.plural);
        match target(migration, kind, Timestamp::now()) {
            Target::Found(kind) => Ok(Some(kind)),
            Target::Awaited => Ok(None),
            Target::Impossible(why) => {
                self.write(&plan::with(migration, FAILED, &why, Timestamp::now())).await?;
                Ok(None)
            }
        }
    }

    fn objects(&self, kind: &ApiKind, namespace: Option<&str>) -> Api<DynamicObject> {
        let (client, resource) = (self.ctx.client.clone(), kind.resource());
        match namespace {
            Some(namespace) => Api::namespaced_with(client, namespace, &resource),
            None => Api::all_with(client, &resource),
        }
    }

    /// Notes the newest version that objects of the resource may have now.
    async fn mark(&self, migration: &StorageVersionMigration, kind: &ApiKind) -> Result<()> {
        let listed = self.objects(kind, None).list_metadata(&ListParams::default().limit(1)).await;
        let listed = listed.doing(format_args!("listing {}", plan::described(kind)))?;
        let version = listed.metadata.resource_version.unwrap_or_default();
        if let Err(why) = plan::is_due(&version, &version) {
            let message = format!("latest resourceVersion for {} is not valid: {why}", plan::described(kind));
            return self.write(&plan::with(migration, FAILED, &message, Timestamp::now())).await;
        }
        self.write(&plan::marked(migration, &version)).await
    }

    async fn rewrite(&self, migration: &StorageVersionMigration, kind: &ApiKind, up_to: &str) -> Result<Rewritten> {
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let is_there = self.migrations.by_key(&Key::new("", migration.name_any()));
            if is_there.is_none_or(|live| live.uid() != migration.uid()) {
                return Ok(Rewritten::Abandoned);
            }
            let listed = self.objects(kind, None).list_metadata(&page).await;
            let listed = listed.doing(format_args!("listing {}", plan::described(kind)))?;
            let mut due = vec![];
            for object in listed.items {
                match plan::is_due(object.metadata.resource_version.as_deref().unwrap_or_default(), up_to) {
                    Ok(true) => due.push(object.metadata),
                    Ok(false) => {}
                    Err(why) => return Ok(Rewritten::Failed(why)),
                }
            }
            for some in due.chunks(AT_ONCE) {
                let mut writes = vec![];
                some.iter().for_each(|meta| writes.push(self.rewrite_one(kind, meta)));
                let refused = try_join_all(writes).await?.into_iter().flatten().next();
                if let Some(why) = refused {
                    return Ok(Rewritten::Failed(why));
                }
            }
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(Rewritten::All),
            }
        }
    }

    /// Writes one object; why it cannot be written, if so.
    async fn rewrite_one(&self, kind: &ApiKind, meta: &ObjectMeta) -> Result<Option<String>> {
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref().unwrap_or_default());
        let unchanged = json!({
            "apiVersion": kind.resource().api_version,
            "kind": kind.kind,
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version},
        });
        let api: Api<PartialObjectMeta<DynamicObject>> = match namespace {
            Some(namespace) => Api::namespaced_with(self.ctx.client.clone(), namespace, &kind.resource()),
            None => Api::all_with(self.ctx.client.clone(), &kind.resource()),
        };
        let applied = api.patch_metadata(name, &PatchParams::apply(COMPONENT), &Patch::Apply(unchanged)).await;
        match applied {
            Ok(_) => Ok(None),
            Err(kube::Error::Api(status)) if status.code == 409 || status.code == 404 => Ok(None),
            Err(error @ kube::Error::Api(_)) if !is_passing(&error) => Ok(Some(said(&error))),
            Err(error) => Err(error).doing(format_args!("rewriting {} {name}", plan::described(kind))),
        }
    }

    /// Applies to the definition of a resource, if clients have defined it.
    async fn define(&self, resource: &Resource, apply: impl Fn(&CustomResourceDefinition) -> Value) -> Result<()> {
        let definitions: Api<CustomResourceDefinition> = Api::all(self.ctx.client.clone());
        let name = resource.to_string();
        let found = definitions.get_opt(&name).await.doing(format_args!("reading CustomResourceDefinition {name}"))?;
        let Some(definition) = found else { return Ok(()) };
        let params = PatchParams::apply(RUNNER).force();
        let written = definitions.patch_status(&name, &params, &Patch::Apply(apply(&definition))).await;
        unless_gone(written).doing(format_args!("writing the status of CustomResourceDefinition {name}"))?;
        Ok(())
    }

    async fn write(&self, migration: &StorageVersionMigration) -> Result<(), Failure> {
        let api: Api<StorageVersionMigration> = Api::all(self.ctx.client.clone());
        let name = migration.name_any();
        let written = api.replace_status(&name, &PostParams::default(), migration).await;
        unless_gone(written).doing(format_args!("writing the status of StorageVersionMigration {name}"))?;
        Ok(())
    }
}

/// What may be otherwise soon: an overloaded server, one that stops.
fn is_passing(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if matches!(status.code, 429 | 500 | 503 | 504))
}
