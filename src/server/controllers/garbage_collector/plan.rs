//! What happens to one object, given its owners and its dependents.

use crate::inventory::{FOREGROUND, ORPHAN, Record};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use std::sync::Arc;

/// What there is of an owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Exists,
    /// The server has it, the graph not yet.
    ExistsUnseen,
    WaitsForDependents,
    Absent,
    /// Its kind is not served, or not yet.
    Unknown,
    /// A namespaced owner of a cluster-scoped object cannot be.
    Invalid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Background,
    Foreground,
    Orphan,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Forget these owners: others keep it alive.
    DropOwners(Vec<String>),
    /// Block no owner any more: a circle waits for itself.
    Unblock,
    Delete(Policy),
    /// Take the reference from all dependents, then go.
    Orphan,
    /// No dependent blocks it any more.
    DropFinalizer,
    /// These dependents block it.
    Press(Vec<String>),
}

/// Whether owners matter: what is being deleted goes anyway.
pub(super) fn needs_owners(record: &Record) -> bool {
    !record.is_being_deleted && !record.owners.is_empty()
}

/// `circular`: it waits for its dependents, and one of them for it.
pub(super) fn plan(
    record: &Record,
    dependents: &[Arc<Record>],
    circular: bool,
    owners: &[(OwnerReference, Owner)],
) -> Action {
    if record.orphans_dependents() {
        return Action::Orphan;
    }
    if record.waits_for_dependents() {
        // Kubernetes lets them wait for ever.
        return if circular { Action::DropFinalizer } else { wait(record, dependents) };
    }
    if !needs_owners(record) {
        return Action::Nothing;
    }
    let with = |wanted: &[Owner]| {
        let found = owners.iter().filter(|(_, owner)| wanted.contains(owner));
        found.map(|(reference, _)| reference.uid.clone()).collect::<Vec<_>>()
    };
    // What cannot be judged keeps it alive.
    if !with(&[Owner::Unknown, Owner::Invalid]).is_empty() {
        return Action::Nothing;
    }
    let lost = with(&[Owner::Absent, Owner::WaitsForDependents]);
    if !with(&[Owner::Exists, Owner::ExistsUnseen]).is_empty() {
        return if lost.is_empty() { Action::Nothing } else { Action::DropOwners(lost) };
    }
    if !with(&[Owner::WaitsForDependents]).is_empty() && !dependents.is_empty() {
        let circular = dependents.iter().any(|dependent| dependent.waits_for_dependents());
        let blocks = record.owners.iter().any(|owner| owner.block_owner_deletion == Some(true));
        return if circular && blocks { Action::Unblock } else { Action::Delete(Policy::Foreground) };
    }
    Action::Delete(if record.has_finalizer(ORPHAN) {
        Policy::Orphan
    } else if record.has_finalizer(FOREGROUND) {
        Policy::Foreground
    } else {
        Policy::Background
    })
}

fn wait(record: &Record, dependents: &[Arc<Record>]) -> Action {
    let blocks = |dependent: &&Arc<Record>| {
        dependent.owners.iter().any(|owner| owner.uid == record.uid && owner.block_owner_deletion == Some(true))
    };
    let blocking: Vec<_> = dependents.iter().filter(blocks).collect();
    if blocking.is_empty() {
        return Action::DropFinalizer;
    }
    let pressed = blocking.into_iter().filter(|dependent| !dependent.is_being_deleted);
    let pressed: Vec<String> = pressed.map(|dependent| dependent.uid.clone()).collect();
    if pressed.is_empty() { Action::Nothing } else { Action::Press(pressed) }
}
