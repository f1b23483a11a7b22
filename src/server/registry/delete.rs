//! Delete: preconditions, grace, finalizers, and only then the key.
//!
//! ```text
//!            grace left (pods)            finalizers left
//!   alive ──────────────────▶ terminating ───────────────▶ waits for updates that remove them
//!     │                            │ grace 0, no finalizers
//!     └────────────────────────────┴──▶ gone
//! ```

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use mk8s_api::{
    crd, meta,
    status::{Details, GroupResource, Status},
};
use mk8s_store::{CommitError, Entry, Expect, Op, Txn};
use serde_json::{Value, json};

use super::{Call, DeleteOptions, ListOptions, Propagation, Registry, Stored, commit_failed, encode, keys, list::List};
use crate::admission::{self, Operation};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const ATTEMPTS: usize = 64;

/// How many objects of a definition that is gone are taken away at once.
const SWEPT: usize = 256;

/// How a delete ended.
#[derive(Debug)]
pub enum Deleted {
    /// The object is gone; what is answered of it depends on the kind.
    Gone(Stored),
    /// It is marked, or was already; this is how it looks now.
    Terminating(Stored),
}

/// What one attempt decided.
enum Step {
    Nothing,
    /// Write this, and keep the object.
    Mark(Value),
    /// The object goes now; if given, its last state is written before, so that watchers see it.
    Remove(Option<Value>),
}

impl Registry {
    pub async fn delete(&self, call: &Call<'_>, options: &DeleteOptions) -> Result<Deleted, Status> {
        self.remove(call, options, false).await
    }

    /// As [`Registry::delete`]; `admitted`: as part of something that has passed admission already.
    pub(super) async fn remove(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
        admitted: bool,
    ) -> Result<Deleted, Status> {
        options.check()?;
        let key = keys::object(&call.resource.prefix, call.namespace, call.name);
        for _ in 0..ATTEMPTS {
            let entry = self.store.view().get(&key).cloned().ok_or_else(|| call.not_found())?;
            let old = self.presenter.read(call.resource, &entry).await?;
            check_preconditions(call, options, &old)?;
            let request = admission::Request {
                options: admission::Options::Delete(options),
                ..call.admission(Operation::Delete, Some(&old))
            };
            if !admitted {
                self.admission.admit(&request, &mut Value::Null).await?;
            }
            let step = match call.resource.is("", "namespaces") {
                true => super::namespaces::step(&old, Timestamp::now()).map_or_else(
                    || plan(call, options, &old),
                    |marked| match marked {
                        Some(object) => Step::Mark(object),
                        None => Step::Nothing,
                    },
                ),
                false => self::begun(call, &old).map_or_else(|| plan(call, options, &old), Step::Mark),
            };
            match self.take(call, &entry, old, step, options.dry_run || call.options.dry_run).await? {
                Some(deleted) => return Ok(deleted),
                None if options.resource_version.is_some() => {
                    return Err(Status::stale(call.group_resource(), call.name));
                }
                None => {}
            }
        }
        Err(Status::stale(call.group_resource(), call.name))
    }

    /// Carries a step out; `None` when the object moved meanwhile.
    async fn take(
        &self,
        call: &Call<'_>,
        entry: &Arc<Entry>,
        old: Value,
        step: Step,
        dry_run: bool,
    ) -> Result<Option<Deleted>, Status> {
        let expect = Expect::Revision(entry.modified);
        let key = entry.key.clone();
        let ops = match &step {
            Step::Nothing => {
                let stored = self.written(call.resource, entry.clone()).await?;
                return Ok(Some(Deleted::Terminating(stored)));
            }
            Step::Mark(object) | Step::Remove(Some(object)) if dry_run => {
                let stored = Stored::Value(object.clone());
                return Ok(Some(if matches!(step, Step::Mark(_)) {
                    Deleted::Terminating(stored)
                } else {
                    Deleted::Gone(stored)
                }));
            }
            Step::Remove(None) if dry_run => {
                return Ok(Some(Deleted::Gone(self.written(call.resource, entry.clone()).await?)));
            }
            Step::Mark(object) => {
                vec![Op::Put { key, value: self.presenter.to_stored(call.resource, object).await?, expect }]
            }
            Step::Remove(None) => vec![Op::Delete { key, expect }],
            Step::Remove(Some(object)) => vec![
                Op::Put { key: key.clone(), value: self.presenter.to_stored(call.resource, object).await?, expect },
                Op::Delete { key, expect: Expect::Any },
            ],
        };
        let mut commit = match self.store.commit(Txn { ops }).await {
            Ok(commit) => commit,
            Err(CommitError::Conflict { .. }) => return Ok(None),
            Err(error) => return Err(commit_failed(&error)),
        };
        let last = commit.entries.pop().flatten().unwrap_or_else(|| entry.clone());
        if let Step::Mark(_) = step {
            return Ok(Some(Deleted::Terminating(self.written(call.resource, last).await?)));
        }
        self.forget(call, &old);
        let last = Entry { value: encode::with_version(&last.value, commit.revision), ..(*last).clone() };
        Ok(Some(Deleted::Gone(self.written(call.resource, Arc::new(last)).await?)))
    }

    /// Gives back what a deleted object held.
    pub(super) fn forget(&self, call: &Call<'_>, object: &Value) {
        if call.resource.is("", "services") {
            self.services.release(object);
        }
    }

    /// Takes away what is left of the objects of a definition that is gone: those that nobody could see.
    pub(super) async fn sweep(&self, call: &Call<'_>, definition: &Value) {
        if !call.resource.is("apiextensions.k8s.io", "customresourcedefinitions") {
            return;
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (group, plural) = (text(&definition["spec"]["group"]), text(&definition["spec"]["names"]["plural"]));
        if group.is_empty() || plural.is_empty() || self.resources.is_built_in(&group, &plural) {
            return;
        }
        let prefix = keys::kind_prefix(&group, &plural);
        let keys: Vec<_> = {
            let view = self.store.view();
            view.range(prefix.as_bytes(), &keys::end_of(&prefix)).map(|entry| entry.key.clone()).collect()
        };
        for keys in keys.chunks(SWEPT) {
            let ops = keys.iter().map(|key| Op::Delete { key: key.clone(), expect: Expect::Any }).collect();
            if let Err(error) = self.store.commit(Txn { ops }).await {
                tracing::warn!(%error, group, plural, "objects of a deleted definition stay behind");
            }
        }
    }

    /// Deletes all objects that a list would show; the list as it was.
    pub async fn delete_collection(
        &self,
        call: &Call<'_>,
        options: &DeleteOptions,
        selection: &ListOptions,
    ) -> Result<List, Status> {
        let list = self.list(call.resource, call.namespace, selection).await?;
        for entry in &list.entries {
            let (namespace, name) = keys::namespace_and_name(&call.resource.prefix, entry);
            let one = Call { namespace, name, ..*call };
            match self.delete(&one, options).await {
                Ok(_) => {}
                Err(status) if status.is_not_found() => {}
                Err(status) => return Err(status),
            }
        }
        Ok(list)
    }
}

/// The answer about an object that is gone.
pub fn success(call: &Call<'_>, object: &Value) -> Status {
    Status::success(Some(Details {
        name: call.name.to_string(),
        group: call.resource.kind.group.clone(),
        kind: call.resource.kind.plural.clone(),
        uid: meta::uid(object).to_string(),
        ..Details::default()
    }))
}

pub(super) fn check_preconditions(call: &Call<'_>, options: &DeleteOptions, object: &Value) -> Result<(), Status> {
    // Such a refusal names the kind.
    let kind = GroupResource::new(&*call.resource.kind.group, &*call.resource.kind.kind);
    let conflict = |why: String| Err(Status::conflict(&kind, call.name, why));
    let (uid, version) = (meta::uid(object), meta::resource_version(object));
    match (&options.uid, &options.resource_version) {
        (Some(wanted), _) if wanted != uid => conflict(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        )),
        (_, Some(wanted)) if wanted != version => conflict(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). The object might have been modified"
        )),
        _ => Ok(()),
    }
}

/// A definition that is deleted for the first time: it stays until its objects are gone.
fn begun(call: &Call<'_>, old: &Value) -> Option<Value> {
    let is_definition = call.resource.is("apiextensions.k8s.io", "customresourcedefinitions");
    let now = meta::format_time(Timestamp::now());
    is_definition.then(|| crd::definition::begin_deletion(old, &now)).flatten()
}

/// Pure but for the clock: what a delete does to an object.
fn plan(call: &Call<'_>, options: &DeleteOptions, old: &Value) -> Step {
    plan_at(
        Timestamp::now(),
        Policy {
            graceful: call.resource.is("", "pods"),
            orphans: call.resource.orphans_by_default(),
            collected: !call.resource.is_event(),
        },
        options,
        old,
    )
}

/// What the kind says about deletion.
#[derive(Clone, Copy)]
struct Policy {
    /// Somebody else (the kubelet) does the last delete.
    graceful: bool,
    /// Dependents are orphaned unless the client says otherwise.
    orphans: bool,
    /// Dependents are the garbage collector's.
    collected: bool,
}

fn plan_at(now: Timestamp, policy: Policy, options: &DeleteOptions, old: &Value) -> Step {
    let mut object = old.clone();
    let mut graceful = None;
    if policy.graceful {
        match grace(now, options, &mut object) {
            Grace::Pending => return Step::Nothing,
            Grace::Ended => {}
            Grace::Set(seconds) => graceful = Some(seconds),
        }
    }
    let finalizers = finalizers_for(policy, options, old);
    set_finalizers(&mut object, &finalizers);
    match (finalizers.is_empty(), graceful) {
        (true, None) => Step::Remove(None),
        (true, Some(0)) => Step::Remove(Some(object)),
        (true, Some(_)) | (false, Some(_)) => Step::Mark(object),
        (false, None) => {
            mark(now, &mut object);
            if object == *old { Step::Nothing } else { Step::Mark(object) }
        }
    }
}

enum Grace {
    /// Deletion is under way with no longer a grace than was asked.
    Pending,
    /// The grace is over, the object may go.
    Ended,
    /// The object now says that it has so many seconds.
    Set(i64),
}

/// `rest.BeforeDelete` for a pod.
fn grace(now: Timestamp, options: &DeleteOptions, object: &mut Value) -> Grace {
    let asked = options.grace_period_s.map(|seconds| if seconds < 0 { 1 } else { seconds });
    if let Some(text) = meta::deletion_timestamp(object) {
        let current = meta::deletion_grace_period_seconds(object).unwrap_or(0);
        if current == 0 {
            return Grace::Ended;
        }
        let Some(mut seconds) = asked.filter(|seconds| *seconds < current) else { return Grace::Pending };
        let begun = meta::parse_time(text).unwrap_or(now) - SignedDuration::from_secs(current);
        let mut until = begun + SignedDuration::from_secs(seconds);
        if until < now {
            until = now;
            seconds = seconds.min(1);
        }
        meta::set(object, "deletionTimestamp", meta::format_time(until));
        meta::set(object, "deletionGracePeriodSeconds", seconds);
        return Grace::Set(seconds);
    }
    let of_pod = object["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
    let mut seconds = asked.unwrap_or(of_pod);
    let phase = object["status"]["phase"].as_str().unwrap_or_default();
    let unscheduled = object["spec"]["nodeName"].as_str().unwrap_or_default().is_empty();
    if unscheduled || matches!(phase, "Failed" | "Succeeded") {
        seconds = 0;
    }
    if seconds < 0 {
        seconds = 1;
    }
    meta::set(
        object,
        "deletionTimestamp",
        meta::format_time(now.saturating_add(SignedDuration::from_secs(seconds.min(1 << 40))).unwrap_or(now)),
    );
    meta::set(object, "deletionGracePeriodSeconds", seconds);
    bump_generation(object);
    Grace::Set(seconds)
}

/// Deletion has begun for an object without grace that others must finish with first.
fn mark(now: Timestamp, object: &mut Value) {
    let later = meta::deletion_timestamp(object).and_then(meta::parse_time).is_some_and(|time| time > now);
    if !meta::is_deleting(object) {
        bump_generation(object);
    }
    if !meta::is_deleting(object) || later {
        meta::set(object, "deletionTimestamp", meta::format_time(now));
    }
    meta::set(object, "deletionGracePeriodSeconds", 0);
}

fn bump_generation(object: &mut Value) {
    let generation = meta::generation(object);
    if generation > 0 {
        meta::set(object, "generation", generation + 1);
    }
}

/// The finalizers once the garbage collector's two say what the options, the object and the kind want.
fn finalizers_for(policy: Policy, options: &DeleteOptions, object: &Value) -> Vec<String> {
    let has = |name: &str| meta::finalizers(object).any(|finalizer| finalizer == name);
    let mut kept: Vec<String> =
        meta::finalizers(object).filter(|f| *f != ORPHAN && *f != FOREGROUND).map(str::to_string).collect();
    if !policy.collected {
        return kept;
    }
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation) {
        (Some(orphan), _) => (orphan, false),
        (None, Some(propagation)) => (propagation == Propagation::Orphan, propagation == Propagation::Foreground),
        (None, None) if has(ORPHAN) => (true, false),
        (None, None) if has(FOREGROUND) => (false, true),
        (None, None) => (policy.orphans, false),
    };
    kept.extend(orphan.then(|| ORPHAN.to_string()));
    kept.extend(foreground.then(|| FOREGROUND.to_string()));
    kept
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    match finalizers {
        [] => meta::remove(object, "finalizers"),
        list => meta::set(object, "finalizers", json!(list)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(step: &Step) -> String {
        let fields = |object: &Value| {
            format!(
                "{} grace={} finalizers={}",
                meta::deletion_timestamp(object).unwrap_or("-"),
                meta::metadata(object).get("deletionGracePeriodSeconds").cloned().unwrap_or_default(),
                meta::finalizers(object).collect::<Vec<_>>().join(",")
            )
        };
        match step {
            Step::Nothing => "nothing".into(),
            Step::Mark(object) => format!("mark {}", fields(object)),
            Step::Remove(None) => "remove".into(),
            Step::Remove(Some(object)) => format!("remove after {}", fields(object)),
        }
    }

    #[test]
    fn deletes_are_planned_as_upstream_does() {
        let now = meta::parse_time("2026-01-01T00:00:00Z").expect("a time");
        let plain = Policy { graceful: false, orphans: false, collected: true };
        let pod = Policy { graceful: true, ..plain };
        let running = json!({"metadata": {}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 30}, "status": {"phase": "Running"}});
        let dying = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:20Z", "deletionGracePeriodSeconds": 30}, "spec": {"nodeName": "n"}});
        let finalized = json!({"metadata": {"finalizers": ["a/b"]}});
        let none = DeleteOptions::default();
        let grace = |seconds| DeleteOptions { grace_period_s: Some(seconds), ..DeleteOptions::default() };
        let policy = |propagation| DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
        let cases = [
            (plain, &none, json!({"metadata": {}}), "remove"),
            (plain, &none, finalized.clone(), "mark 2026-01-01T00:00:00Z grace=0 finalizers=a/b"),
            (
                plain,
                &policy(Propagation::Orphan),
                json!({"metadata": {}}),
                "mark 2026-01-01T00:00:00Z grace=0 finalizers=orphan",
            ),
            (
                plain,
                &policy(Propagation::Foreground),
                json!({"metadata": {}}),
                "mark 2026-01-01T00:00:00Z grace=0 finalizers=foregroundDeletion",
            ),
            (Policy { orphans: true, ..plain }, &policy(Propagation::Background), json!({"metadata": {}}), "remove"),
            (
                Policy { orphans: true, ..plain },
                &none,
                json!({"metadata": {}}),
                "mark 2026-01-01T00:00:00Z grace=0 finalizers=orphan",
            ),
            (pod, &none, running.clone(), "mark 2026-01-01T00:00:30Z grace=30 finalizers="),
            (pod, &grace(0), running.clone(), "remove after 2026-01-01T00:00:00Z grace=0 finalizers="),
            (pod, &grace(-5), running.clone(), "mark 2026-01-01T00:00:01Z grace=1 finalizers="),
            (pod, &none, json!({"metadata": {}, "spec": {}}), "remove after 2026-01-01T00:00:00Z grace=0 finalizers="),
            (pod, &none, dying.clone(), "nothing"),
            (pod, &grace(60), dying.clone(), "nothing"),
            (pod, &grace(0), dying.clone(), "remove after 2026-01-01T00:00:00Z grace=0 finalizers="),
            (pod, &grace(15), dying, "mark 2026-01-01T00:00:05Z grace=15 finalizers="),
        ];
        for (policy, options, object, expected) in cases {
            assert_eq!(show(&plan_at(now, policy, options, &object)), expected, "{object} {options:?}");
        }
    }
}
