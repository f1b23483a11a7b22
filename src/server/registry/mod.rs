//! What the verbs do: one registry for every kind, over the store.
//!
//! Reading order: [`Resource`] (a kind as the registry sees it), [`Registry`] and [`Call`], then a file a verb:
//! `list` (get and list), `watch`, `create`, `update`, `patch`, `delete`; `encode` and `keys` (what is in the store);
//! the kinds whose verbs do more: `pods`, `eviction`, `services`, `scale`, `namespaces`; and `custom`: the kinds that clients define.
//!
//! Invariant: every write is one transaction that names the revision it read; a lost race is a conflict or a retry,
//! never a lost update.
//! Invariant: what the store holds has passed pruning, defaulting, admission and validation.

mod apply;
mod continue_token;
mod create;
mod custom;
mod delete;
mod encode;
mod eviction;
mod expiry;
mod keys;
mod list;
mod namespaces;
mod options;
mod owners;
mod patch;
mod pods;
mod resource;
mod scale;
mod select;
mod service_families;
mod services;
mod update;
mod watch;

pub(crate) use custom::Presenter;
pub use custom::{Table, read_conversion};
pub use delete::{Deleted, success};
pub(crate) use encode::labels;
pub use encode::{decode, metadata_text, type_prefix};
pub use expiry::expire_events;
pub use list::{List, aside};
pub use options::{DeleteOptions, FieldValidation, ListOptions, Propagation, VersionMatch, WriteOptions};
pub use patch::{Patch, PatchKind};
pub use pods::BY_NODE;
pub use resource::{Resource, Resources};
pub use services::ServiceRanges;
pub use update::Updated;
pub use watch::{Change, ChangeKind, Frame, Watch};

use std::sync::Arc;

use mk8s_api::status::{GroupResource, Status};
use mk8s_store::{Commit, CommitError, Entry, Op, Store, Txn};
use serde_json::Value;

use crate::{
    admission::{self, Admission, Notes, Operation, Outdated},
    auth::User,
};

/// The registry of all kinds.
pub struct Registry {
    store: Store,
    resources: Resources,
    admission: Admission,
    services: services::Allocator,
    presenter: custom::Presenter,
}

/// One request for one resource, as the registry needs it.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub resource: &'a Arc<Resource>,
    pub namespace: &'a str,
    pub name: &'a str,
    pub subresource: &'a str,
    pub user: &'a User,
    pub options: &'a WriteOptions,
    /// Where admission puts what it says besides yes and no.
    pub notes: &'a Notes,
}

/// An object as a write leaves it.
#[derive(Debug, Clone)]
pub enum Stored {
    Entry(Arc<Entry>),
    /// Not in the store, and in the form in which it is served: a dry run, or what is only an answer.
    Value(Value),
}

impl Stored {
    /// The object in the form in which the resource is served.
    pub fn served(&self, resource: &Resource) -> Value {
        match self {
            Stored::Entry(entry) => resource.to_served(encode::decode(&entry.value)),
            Stored::Value(value) => value.clone(),
        }
    }
}

/// What a client is told beside the object, as `Warning` headers.
pub type Warnings = Vec<String>;

impl Registry {
    pub fn new(store: Store, resources: Resources, admission: Admission, ranges: ServiceRanges) -> Registry {
        let services = services::Allocator::new(store.clone(), ranges);
        Registry { services, store, presenter: resources.presenter(), resources, admission }
    }

    pub fn store(&self) -> &Store {
        &self.store
    }

    pub fn resources(&self) -> &Resources {
        &self.resources
    }

    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// How many objects of a kind there are.
    pub(crate) fn count(&self, group: &str, version: &str, plural: &str) -> usize {
        let resource = self.resources.find(group, version, plural);
        resource.map_or(0, |resource| self.store.view().count(resource.prefix.as_bytes()))
    }

    /// What is counted here, as Prometheus reads it.
    pub fn metrics_text(&self) -> String {
        self.presenter.metrics_text()
    }

    /// A stored object of a built-in kind, decoded; for the subresources that look at other kinds.
    pub(crate) fn lookup(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = keys::object(&keys::kind_prefix(group, plural), namespace, name);
        self.store.view().get(&key).map(|entry| encode::decode(&entry.value))
    }

    /// The objects of a kind that carry a label, decoded.
    pub(crate) fn lookup_labelled(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        key: &str,
        value: &str,
    ) -> Vec<Value> {
        let prefix = keys::scope(&keys::kind_prefix(group, plural), namespace);
        let view = self.store.view();
        let entries = view.range(prefix.as_bytes(), &keys::end_of(&prefix));
        let labelled =
            entries.filter(|entry| encode::labels(&entry.value).get(key).is_some_and(|found| found == value));
        labelled.map(|entry| encode::decode(&entry.value)).collect()
    }

    /// What a write leaves, in the form of the version that was written.
    async fn written(&self, resource: &Resource, entry: Arc<Entry>) -> Result<Stored, Status> {
        Ok(Stored::Entry(self.presenter.present_one(resource, entry).await?))
    }

    /// Lets pass or refuses an object that is an order rather than something to keep, and completes it.
    pub async fn admit_order(&self, call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
        self.admission.admit(&call.admission(Operation::Create, None), object).await
    }

    /// Lets pass or refuses a connection to an object; `options` are what is asked of it.
    pub async fn admit_connection(&self, call: &Call<'_>, mut options: Value) -> Result<(), Status> {
        let request =
            admission::Request { options: admission::Options::None, ..call.admission(Operation::Connect, None) };
        self.admission.admit(&request, &mut options).await
    }

    /// Commits one operation of a request, if what was decided about it still holds; the entry it put or deleted.
    async fn commit_decided(&self, call: &Call<'_>, op: Op) -> Result<Option<Arc<Entry>>, CommitError> {
        let outdated = || CommitError::Unavailable("another server decides about this now; try again".to_owned());
        let conditions = call.notes.conditions(&self.store).map_err(|Outdated| outdated())?;
        if conditions.is_empty() {
            return self.commit(op).await;
        }
        let ops = std::iter::once(op).chain(conditions).collect();
        match self.decide(Txn { ops }).await {
            Ok(mut commit) => Ok(commit.entries.swap_remove(0)),
            Err(CommitError::Conflict { op: 1.., .. }) => {
                call.notes.outdate();
                Err(outdated())
            }
            Err(error) => Err(error),
        }
    }

    /// Commits one operation; the entry it put or deleted.
    async fn commit(&self, op: Op) -> Result<Option<Arc<Entry>>, CommitError> {
        let mut commit = self.decide(Txn::one(op)).await?;
        Ok(commit.entries.pop().flatten())
    }

    async fn decide(&self, txn: Txn) -> Result<Commit, CommitError> {
        match WHEN_FULL.try_with(|()| ()) {
            Ok(()) => self.store.commit_small(txn).await,
            Err(_) => self.store.commit(txn).await,
        }
    }
}

tokio::task_local! {
    /// There for the few requests whose writes are taken when the disk is full.
    static WHEN_FULL: ();
}

/// Answers a request that may write the few bytes which say that the disk is full, when it is.
pub(crate) fn when_full<F: Future>(answer: F) -> impl Future<Output = F::Output> {
    WHEN_FULL.scope((), answer)
}

impl<'a> Call<'a> {
    fn admission<'b>(&'b self, operation: Operation, old: Option<&'b Value>) -> admission::Request<'b> {
        admission::Request {
            operation,
            group: &self.resource.kind.group,
            version: &self.resource.kind.version,
            kind: self.resource.kind_of(self.subresource),
            kind_version: self.resource.kind_version_of(self.subresource),
            resource: &self.resource.kind.plural,
            subresource: self.subresource,
            namespace: self.namespace,
            name: self.name,
            user: self.user,
            old,
            dry_run: self.options.dry_run,
            options: admission::Options::Write(self.options),
            target: Some(self.resource),
            notes: self.notes,
        }
    }

    fn group_resource(&self) -> &'a GroupResource {
        &self.resource.group_resource
    }

    fn not_found(&self) -> Status {
        Status::not_found(self.group_resource(), self.name)
    }
}

/// The `Status` of a commit that failed for reasons other than its expectations.
fn commit_failed(error: &CommitError) -> Status {
    match error {
        CommitError::TooLarge { .. } => Status::too_large(error),
        CommitError::Full { .. } => Status::failure(507, "InsufficientStorage", error.to_string()),
        CommitError::Unavailable(_) | CommitError::KeyChanged => Status::unavailable(error.to_string()),
        CommitError::Conflict { .. } => Status::internal("a write that expects nothing was refused"),
    }
}
