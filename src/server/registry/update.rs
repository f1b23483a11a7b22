//! Update: read, transform, check, and a put that expects the revision that was read.
//!
//! Replace, patch, apply and the subresources are all this loop with another transformation. A lost race is tried again
//! when the caller did not say which version they meant, otherwise it is theirs to resolve.

use std::sync::Arc;

use mk8s_api::{
    field::{FieldError, Path},
    meta,
    rules::Scale,
    status::{GroupResource, Status},
};
use mk8s_store::{CommitError, Entry, Expect, Op, Stamped};
use serde_json::Value;

use super::{Call, Registry, Stored, Warnings, apply, commit_failed, create::check_scope, keys, owners};
use crate::admission::Operation;

/// How often a write without a version is tried against a moving object.
const ATTEMPTS: usize = 64;

/// How an update came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    /// Whoever writes a field has it.
    Plainly,
    /// Who has what is settled already.
    ByApplying,
}

/// As what an update passes admission.
#[derive(Clone, Copy)]
pub(super) enum Admitted<'a> {
    Itself,
    /// As the scale that is in it.
    Scale(&'a Scale),
    /// It is the effect of what has passed admission.
    Before,
}

/// The way of an update.
#[derive(Clone, Copy)]
struct Way<'a> {
    written: Written,
    admitted: Admitted<'a>,
}

/// What an update leaves, and whether it made the object.
#[derive(Debug)]
pub struct Updated {
    pub stored: Stored,
    pub created: bool,
}

impl Registry {
    /// Replaces an object with one that was decoded and defaulted.
    pub async fn update(&self, call: &Call<'_>, mut object: Value, warnings: &mut Warnings) -> Result<Updated, Status> {
        owners::drop_repeated(&mut object, false, warnings);
        let key = keys::object(&call.resource.prefix, call.namespace, call.name);
        if call.subresource.is_empty() && call.resource.create_on_update && self.store.view().get(&key).is_none() {
            match meta::name(&object) {
                same if same == call.name => {}
                other => return Err(wrong_name(other, call.name)),
            }
            let mut object = object;
            meta::remove(&mut object, "resourceVersion");
            let stored = self.create(call, object, warnings).await?;
            return Ok(Updated { stored, created: true });
        }
        let stored = self.update_with(call, warnings, |_| Ok(object.clone())).await?;
        Ok(Updated { stored, created: false })
    }

    /// Writes what `transform` makes of the stored object.
    pub async fn update_with(
        &self,
        call: &Call<'_>,
        warnings: &mut Warnings,
        transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Stored, Status> {
        self.update_as(call, Admitted::Itself, warnings, transform).await
    }

    /// As [`Registry::update_with`], passing admission as something else.
    pub(super) async fn update_as(
        &self,
        call: &Call<'_>,
        admitted: Admitted<'_>,
        warnings: &mut Warnings,
        transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Stored, Status> {
        self.write(call, Way { written: Written::Plainly, admitted }, warnings, transform).await
    }

    /// As [`Registry::update_with`], for an object that says who manages its fields.
    pub(super) async fn update_applied(
        &self,
        call: &Call<'_>,
        admitted: Admitted<'_>,
        warnings: &mut Warnings,
        transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Stored, Status> {
        self.write(call, Way { written: Written::ByApplying, admitted }, warnings, transform).await
    }

    async fn write(
        &self,
        call: &Call<'_>,
        way: Way<'_>,
        warnings: &mut Warnings,
        mut transform: impl FnMut(&Value) -> Result<Value, Status>,
    ) -> Result<Stored, Status> {
        let key = keys::object(&call.resource.prefix, call.namespace, call.name);
        for _ in 0..ATTEMPTS {
            let entry = self.store.view().get(&key).cloned().ok_or_else(|| call.not_found())?;
            let old = self.presenter.read(call.resource, &entry).await?;
            let new = transform(&old)?;
            let unconditional = check_version(call, &new, &old)?;
            let mut notes = Warnings::new();
            let result = self.update_once(call, way, &entry, new, &old, &mut notes).await;
            if let Some(result) = result.transpose() {
                warnings.append(&mut notes);
                return result;
            }
            if !unconditional {
                return Err(Status::stale(call.group_resource(), call.name));
            }
        }
        Err(Status::stale(call.group_resource(), call.name))
    }

    /// One attempt; `None` when the object moved meanwhile.
    async fn update_once(
        &self,
        call: &Call<'_>,
        way: Way<'_>,
        entry: &Arc<Entry>,
        mut new: Value,
        old: &Value,
        warnings: &mut Warnings,
    ) -> Result<Option<Stored>, Status> {
        let resource = call.resource;
        let request = call.admission(Operation::Update, Some(old));
        if meta::name(&new) != call.name {
            return Err(wrong_name(meta::name(&new), call.name));
        }
        check_scope(call, &mut new)?;
        // A binding is noted nowhere.
        if way.written == Written::Plainly && call.subresource != "binding" {
            self.note_update(call, old, &mut new);
        }
        match way.admitted {
            Admitted::Itself => self.admission.mutate(&request, &mut new).await?,
            Admitted::Scale(scale) => self.admit_scale(call, scale, &mut new, old).await?,
            Admitted::Before => {}
        }
        owners::drop_repeated(&mut new, true, warnings);
        resource.tidy(&mut new);
        let managers = meta::metadata_mut(&mut new).and_then(|metadata| metadata.remove("managedFields"));
        keep_system_fields(&mut new, old);
        resource.prepare_update(call.subresource, &mut new, old);
        match managers {
            Some(managers) => meta::set(&mut new, "managedFields", managers),
            None => meta::remove(&mut new, "managedFields"),
        }
        let mut reservation = match resource.is("", "services") && call.subresource.is_empty() {
            true => self.services.reserve_update(&mut new, old, call.options.dry_run, call.notes).await?,
            false => super::services::Reservation::none(),
        };
        let errors = resource.validate_update(call.subresource, &new, old, warnings);
        if !errors.is_empty() {
            return Err(resource.invalid(call.name, errors));
        }
        resource.warn(call.subresource, &new, Some(old), warnings);
        if let Admitted::Itself = way.admitted {
            self.admission.validate(&request, &new).await?;
        }
        if finished(&new, old) {
            return self.delete_finished(call, entry, new).await;
        }
        meta::set(&mut new, "resourceVersion", meta::resource_version(old));
        if (new == *old || apply::only_times_differ(&new, old))
            && self.presenter.is_stored(resource, entry, &new).await?
        {
            return self.written(resource, entry.clone()).await.map(Some);
        }
        if call.options.dry_run {
            return Ok(Some(Stored::Value(new)));
        }
        let op = |value: Stamped| Op::Put { key: entry.key.clone(), value, expect: Expect::Revision(entry.modified) };
        let value = self.presenter.to_stored(resource, &new).await?;
        reservation.propose();
        let mut put = self.commit_decided(call, op(value)).await;
        if matches!(put, Err(CommitError::TooLarge { .. })) && way.written == Written::Plainly {
            // The object is worth more than the notes about it.
            meta::remove(&mut new, "managedFields");
            put = self.commit_decided(call, op(self.presenter.to_stored(resource, &new).await?)).await;
        }
        reservation.refused();
        match put {
            Ok(put) => {
                reservation.keep();
                match put {
                    Some(entry) => self.written(resource, entry).await.map(Some),
                    None => Ok(Some(Stored::Value(new))),
                }
            }
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(error) => Err(commit_failed(&error)),
        }
    }

    /// Lets the scale of an object pass admission, and takes over what admission makes of it.
    async fn admit_scale(&self, call: &Call<'_>, scale: &Scale, new: &mut Value, old: &Value) -> Result<(), Status> {
        let call = Call { subresource: "scale", ..*call };
        let (mut wanted, current) = (scale.read(new), scale.read(old));
        let request = call.admission(Operation::Update, Some(&current));
        self.admission.mutate(&request, &mut wanted).await?;
        scale.write(new, &wanted);
        self.admission.validate(&request, &wanted).await
    }

    /// The last finalizer is gone from an object under deletion: the update deletes it.
    async fn delete_finished(&self, call: &Call<'_>, entry: &Arc<Entry>, new: Value) -> Result<Option<Stored>, Status> {
        if call.options.dry_run {
            return Ok(Some(Stored::Value(new)));
        }
        match self.commit(Op::Delete { key: entry.key.clone(), expect: Expect::Revision(entry.modified) }).await {
            Ok(_) => {
                self.forget(call, &new);
                self.sweep(call, &new).await;
                Ok(Some(Stored::Value(new)))
            }
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(error) => Err(commit_failed(&error)),
        }
    }
}

fn finished(new: &Value, old: &Value) -> bool {
    let under_deletion = meta::is_deleting(old) && meta::deletion_grace_period_seconds(old).unwrap_or(0) == 0;
    // A namespace has finalizers of its own, in its spec.
    let namespace_finalizers =
        meta::kind(new) == "Namespace" && new["spec"]["finalizers"].as_array().is_some_and(|list| !list.is_empty());
    under_deletion
        && !meta::has_finalizers(new)
        && !namespace_finalizers
        && (meta::has_finalizers(old) || meta::kind(new) == "Namespace")
}

/// Whether the update is meant for any version; an error when it is meant for another one.
fn check_version(call: &Call<'_>, new: &Value, old: &Value) -> Result<bool, Status> {
    let (uid, old_uid) = (meta::uid(new), meta::uid(old));
    if !uid.is_empty() && uid != old_uid {
        let why = format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {old_uid}");
        return Err(Status::conflict(call.group_resource(), call.name, why));
    }
    match meta::resource_version(new) {
        "0" => Ok(true),
        "" if call.resource.unconditional_update => Ok(true),
        "" => {
            let error = FieldError::invalid(
                &Path::new("metadata").child("resourceVersion"),
                0,
                "must be specified for an update",
            );
            let GroupResource { group, resource } = call.group_resource();
            Err(Status::invalid(group, resource, call.name, vec![error]))
        }
        version if version.parse::<u64>().is_err() => {
            let detail = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
            let error = FieldError::invalid(&Path::new("metadata").child("resourceVersion"), version, detail);
            Err(call.resource.invalid(call.name, vec![error]))
        }
        version if version == meta::resource_version(old) => Ok(false),
        _ => Err(Status::stale(call.group_resource(), call.name)),
    }
}

fn wrong_name(of_object: &str, of_url: &str) -> Status {
    match of_object {
        "" => Status::bad_request(format!(
            "the name of the object ({of_url} based on URL) was undeterminable: name must be provided"
        )),
        _ => Status::bad_request(format!(
            "the name of the object ({of_object}) does not match the name on the URL ({of_url})"
        )),
    }
}

/// What no client may change.
fn keep_system_fields(new: &mut Value, old: &Value) {
    for field in [
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "generateName",
    ] {
        let kept = meta::metadata(old).get(field).cloned();
        match kept {
            Some(value) => meta::set(new, field, value),
            None if field == "generateName" => {}
            None => meta::remove(new, field),
        }
    }
}
