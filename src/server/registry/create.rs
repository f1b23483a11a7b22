//! Create: a name, system metadata, admission, validation, and a put that expects the key to be absent.

use std::sync::Arc;

use jiff::Timestamp;
use mk8s_api::{meta, names, rules, status::Status};
use mk8s_store::{CommitError, Entry, Expect, Op, Stamped};
use serde_json::Value;

use super::{Call, Registry, Stored, Warnings, commit_failed, keys, owners};
use crate::admission::{self, Operation};

/// How many generated names are tried.
const GENERATED_NAMES: usize = 8;

impl Registry {
    /// Creates an object that was decoded and defaulted.
    pub async fn create(&self, call: &Call<'_>, mut object: Value, warnings: &mut Warnings) -> Result<Stored, Status> {
        owners::drop_repeated(&mut object, false, warnings);
        self.note_create(call, &mut object);
        self.create_managed(call, object, warnings).await
    }

    /// Creates an object that says who manages its fields.
    pub(super) async fn create_managed(
        &self,
        call: &Call<'_>,
        mut object: Value,
        warnings: &mut Warnings,
    ) -> Result<Stored, Status> {
        if call.resource.is_terminating() {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(Status::failure(405, "MethodNotAllowed", why));
        }
        check_scope(call, &mut object)?;
        if !meta::resource_version(&object).is_empty() {
            return Err(Status::failure(500, "", "resourceVersion should not be set on objects to be created"));
        }
        let base = match meta::name(&object) {
            "" if !meta::generate_name(&object).is_empty() => Some(meta::generate_name(&object).to_string()),
            _ => None,
        };
        clear_system_fields(&mut object);
        let name = meta::name(&object).to_string();
        let named = Call { name: &name, ..*call };
        let mut ready = self.admit_create(&named, object, warnings).await?;
        if call.options.dry_run {
            return self.dry_run_create(call, ready.object);
        }
        for _ in 0..GENERATED_NAMES {
            let name = meta::name(&ready.object);
            let value = self.presenter.to_stored(call.resource, &ready.object).await?;
            ready.reservation.propose();
            let put = self.put_new(call, name, value).await;
            ready.reservation.refused();
            match put {
                Ok(stored) => {
                    ready.reservation.keep();
                    return match stored {
                        Some(entry) => self.written(call.resource, entry).await,
                        None => Ok(Stored::Value(ready.object)),
                    };
                }
                Err(CommitError::TooLarge { .. }) if meta::metadata(&ready.object).contains_key("managedFields") => {
                    // The object is worth more than the notes about it.
                    meta::remove(&mut ready.object, "managedFields");
                }
                Err(CommitError::Conflict { .. }) => match &base {
                    Some(base) => meta::set_name(&mut ready.object, &generate(base)),
                    None => return Err(Status::already_exists(call.group_resource(), name)),
                },
                Err(error) => return Err(commit_failed(&error)),
            }
        }
        Err(Status::generate_name_conflict(call.group_resource(), meta::name(&ready.object), 1))
    }

    /// Everything between a decoded object and its write.
    async fn admit_create(&self, call: &Call<'_>, mut object: Value, warnings: &mut Warnings) -> Result<Ready, Status> {
        let resource = call.resource;
        let request = call.admission(Operation::Create, None);
        self.admission.mutate(&request, &mut object).await?;
        owners::drop_repeated(&mut object, true, warnings);
        check_scope(call, &mut object)?;
        resource.tidy(&mut object);
        fill_system_fields(&mut object);
        resource.prepare_create(&mut object);
        if resource.is("certificates.k8s.io", "certificatesigningrequests") {
            rules::note_requester(&mut object, &call.user.to_user_info());
        }
        let name = meta::name(&object).to_string();
        let request = admission::Request { name: &name, ..request };
        let reservation = match resource.is("", "services") {
            true => self.services.reserve_create(&mut object, call.options.dry_run, call.notes).await?,
            false => super::services::Reservation::none(),
        };
        let errors = resource.validate_create(&object);
        if !errors.is_empty() {
            return Err(resource.invalid(meta::name(&object), errors));
        }
        resource.warn("", &object, None, warnings);
        self.admission.validate(&request, &object).await?;
        Ok(Ready { object, reservation })
    }

    async fn put_new(&self, call: &Call<'_>, name: &str, value: Stamped) -> Result<Option<Arc<Entry>>, CommitError> {
        let key = keys::object(&call.resource.prefix, call.namespace, name);
        self.commit_decided(call, Op::Put { key, value, expect: Expect::Absent }).await
    }

    fn dry_run_create(&self, call: &Call<'_>, object: Value) -> Result<Stored, Status> {
        let name = meta::name(&object);
        let key = keys::object(&call.resource.prefix, call.namespace, name);
        match self.store.view().get(&key) {
            Some(_) => Err(Status::already_exists(call.group_resource(), name)),
            None => Ok(Stored::Value(object)),
        }
    }
}

/// An object that may be written, and what it holds in reserve until it is.
struct Ready {
    object: Value,
    reservation: super::services::Reservation,
}

/// The namespace of the object is the request's; a cluster-scoped object has none.
pub(super) fn check_scope(call: &Call<'_>, object: &mut Value) -> Result<(), Status> {
    if !call.resource.kind.namespaced {
        meta::remove(object, "namespace");
        return Ok(());
    }
    match meta::namespace(object) {
        "" => meta::set_namespace(object, call.namespace),
        same if same == call.namespace => {}
        _ => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// Drops what only the server says of an object.
fn clear_system_fields(object: &mut Value) {
    for field in
        ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion", "selfLink", "uid"]
    {
        meta::remove(object, field);
    }
}

/// Says what only the server says of a new object; a name as well when it only has the beginning of one.
fn fill_system_fields(object: &mut Value) {
    clear_system_fields(object);
    if meta::name(object).is_empty() && !meta::generate_name(object).is_empty() {
        let name = generate(meta::generate_name(object));
        meta::set_name(object, &name);
    }
    meta::set(object, "creationTimestamp", meta::format_time(Timestamp::now()));
    meta::set(object, "uid", uuid::Uuid::new_v4().to_string());
}

fn generate(base: &str) -> String {
    names::generate(base, rand::random())
}
