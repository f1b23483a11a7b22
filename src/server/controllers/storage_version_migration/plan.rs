//! What becomes of the migrations of one resource, and of its definition where clients have defined it.

use crate::{common::updates::whole_second, inventory::ApiKind};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::storagemigration::v1beta1::{StorageVersionMigration, StorageVersionMigrationStatus},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition,
};
use mk8s_api::meta;
use mk8s_client::kube::ResourceExt;
use serde_json::{Value, json};
use std::{cmp::Ordering, sync::Arc};

pub(super) const RUNNING: &str = "Running";
pub(super) const SUCCEEDED: &str = "Succeeded";
pub(super) const FAILED: &str = "Failed";
const MIGRATING: &str = "StorageMigrating";
/// What must be possible with objects that are written anew.
const VERBS: [&str; 3] = ["update", "patch", "list"];
/// For how long a resource may not be there yet.
const PATIENCE: SignedDuration = SignedDuration::from_mins(1);

/// One step for one migration.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// It is over, and the definition hears of it; then the next one may begin.
    End { name: String, succeeded: bool },
    /// It is the first in the line.
    Begin { name: String },
    /// It runs and has not noted yet up to which version objects are to be written.
    Mark { name: String },
    /// It runs: objects up to this version are written.
    Rewrite { name: String, up_to: String },
}

/// The steps that are due, those of the oldest migrations first.
pub(super) fn plan(migrations: &[Arc<StorageVersionMigration>]) -> Vec<Step> {
    let mut migrations: Vec<&StorageVersionMigration> = migrations.iter().map(AsRef::as_ref).collect();
    migrations.sort_by_key(|one| (one.creation_timestamp(), one.name_any()));
    let is_over = |one: &StorageVersionMigration| holds(one, SUCCEEDED) || holds(one, FAILED);
    let mut steps = vec![];
    let mut waiting = None;
    let mut one_runs = false;
    for migration in migrations {
        let name = migration.name_any();
        match (holds(migration, RUNNING), is_over(migration)) {
            (true, true) => steps.push(Step::End { name, succeeded: holds(migration, SUCCEEDED) }),
            (true, false) => {
                one_runs = true;
                steps.push(match checkpoint(migration) {
                    Some(up_to) => Step::Rewrite { name, up_to: up_to.to_owned() },
                    None => Step::Mark { name },
                });
            }
            (false, false) => waiting = waiting.or(Some(name)),
            (false, true) => {}
        }
    }
    steps.extend(waiting.filter(|_| !one_runs).map(|name| Step::Begin { name }));
    steps
}

fn checkpoint(migration: &StorageVersionMigration) -> Option<&str> {
    migration.status.as_ref()?.resource_version.as_deref().filter(|version| !version.is_empty())
}

fn condition<'a>(migration: &'a StorageVersionMigration, of: &str) -> Option<&'a Condition> {
    migration.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == of)
}

pub(super) fn holds(migration: &StorageVersionMigration, of: &str) -> bool {
    condition(migration, of).is_some_and(|condition| condition.status == "True")
}

/// What can be said of a resource before its objects are looked at.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    /// Its objects can be written anew.
    Found(Arc<ApiKind>),
    /// It may be there soon.
    Awaited,
    Impossible(String),
}

/// `kind` is what is served under the resource's name.
pub(super) fn target(migration: &StorageVersionMigration, kind: Option<&Arc<ApiKind>>, now: Timestamp) -> Target {
    let Some(kind) = kind else {
        let created = migration.creation_timestamp().map_or(Timestamp::MIN, |time| time.0);
        return match now.duration_since(created) < PATIENCE {
            true => Target::Awaited,
            false => Target::Impossible("resource does not exist in discovery".to_owned()),
        };
    };
    match VERBS.iter().all(|verb| kind.supports(verb)) {
        true => Target::Found(kind.clone()),
        false => {
            let (name, verbs) = (described(kind), VERBS.join(" "));
            Target::Impossible(format!("resource {name:?} does not support discovery operations: [{verbs}]"))
        }
    }
}

/// A resource as Kubernetes prints it.
pub(super) fn described(kind: &ApiKind) -> String {
    format!("{}/{}, Resource={}", kind.group, kind.version, kind.plural)
}

/// Whether an object was last written before the migration began; `Err` for a version that is none.
pub(super) fn is_due(version: &str, up_to: &str) -> Result<bool, String> {
    Ok(meta::compare_versions(version, up_to)? != Ordering::Greater)
}

/// The migration with one more condition that holds; one that was there stays as it is.
pub(super) fn with(
    migration: &StorageVersionMigration,
    of: &str,
    message: &str,
    now: Timestamp,
) -> StorageVersionMigration {
    let reason = match of {
        RUNNING => "MigrationRunning",
        SUCCEEDED => "StorageVersionMigrationSucceeded",
        _ => "StorageVersionMigrationFailed",
    };
    let mut migration = migration.clone();
    if condition(&migration, of).is_none_or(|known| !["True", "False"].contains(&known.status.as_str())) {
        let conditions = status_of(&mut migration).conditions.get_or_insert_default();
        conditions.retain(|known| known.type_ != of);
        conditions.push(Condition {
            type_: of.to_owned(),
            status: "True".to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: whole_second(now),
            observed_generation: None,
        });
    }
    migration
}

/// The migration as it is when nothing is left to do.
pub(super) fn ended(migration: &StorageVersionMigration, now: Timestamp) -> StorageVersionMigration {
    let mut migration = migration.clone();
    let conditions = status_of(&mut migration).conditions.get_or_insert_default();
    for running in conditions.iter_mut().filter(|condition| condition.type_ == RUNNING) {
        "False".clone_into(&mut running.status);
        "MigrationCompleted".clone_into(&mut running.reason);
        "Migration completed".clone_into(&mut running.message);
        running.last_transition_time = whole_second(now);
    }
    migration
}

/// The migration with the version up to which objects are to be written.
pub(super) fn marked(migration: &StorageVersionMigration, up_to: &str) -> StorageVersionMigration {
    let mut migration = migration.clone();
    status_of(&mut migration).resource_version = Some(up_to.to_owned());
    migration
}

fn status_of(migration: &mut StorageVersionMigration) -> &mut StorageVersionMigrationStatus {
    migration.status.get_or_insert_default()
}

/// What is applied to the definition of a resource whose migration begins.
pub(super) fn definition_at_begin(definition: &CustomResourceDefinition, name: &str, now: Timestamp) -> Value {
    apply(definition, "True", "MigrationRunning", &format!("Migration {name} is running"), now)
}

/// What is applied to the definition of a resource whose migration is over. Only the storage version is left in
/// `storedVersions`, if the migration has succeeded and the definition is still the one that it began with.
pub(super) fn definition_at_end(definition: &CustomResourceDefinition, succeeded: bool, now: Timestamp) -> Value {
    if !succeeded {
        return apply(definition, "False", "MigrationFailed", "The migration has failed", now);
    }
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let begun = conditions.iter().find(|condition| condition.type_ == MIGRATING);
    let is_same = begun.is_some_and(|begun| begun.observed_generation == definition.metadata.generation);
    let and = match is_same {
        true => "and the stored versions have been updated",
        false => "but the stored versions have not been updated due to a generation mismatch",
    };
    let message = format!("The migration has succeeded {and}");
    let mut applied = apply(definition, "False", "MigrationSucceeded", &message, now);
    if let Some(storage) = definition.spec.versions.iter().find(|version| is_same && version.storage) {
        applied["status"]["storedVersions"] = json!([storage.name]);
    }
    applied
}

fn apply(definition: &CustomResourceDefinition, status: &str, reason: &str, message: &str, now: Timestamp) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        // Whoever has changed it since makes this a conflict.
        "metadata": {"name": definition.name_any(), "resourceVersion": definition.resource_version()},
        "status": {"conditions": [{
            "type": MIGRATING,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": whole_second(now),
            "observedGeneration": definition.metadata.generation,
        }]},
    })
}
