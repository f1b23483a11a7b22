//! Who owns the claims of a StatefulSet: the set, when they are to go with it; a surplus pod, when they are to go with
//! that; otherwise neither. Garbage collection does the rest.

use super::identity::in_range;
use crate::common::claims::controller_ref;
use k8s_openapi::{
    api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use mk8s_client::kube::{Resource, ResourceExt};
use mk8s_client::pod::Pod;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) delete_with_set: bool,
    pub(super) delete_when_scaled: bool,
}

impl Policy {
    pub(super) fn of(set: &StatefulSet) -> Policy {
        let policy = set.spec.as_ref().and_then(|spec| spec.persistent_volume_claim_retention_policy.as_ref());
        let deletes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
        Policy {
            delete_with_set: deletes(policy.and_then(|policy| policy.when_deleted.as_ref())),
            delete_when_scaled: deletes(policy.and_then(|policy| policy.when_scaled.as_ref())),
        }
    }

    fn retains_all(self) -> bool {
        !self.delete_with_set && !self.delete_when_scaled
    }
}

/// Whether a reference names this object, whichever object of that name it means.
fn names<K: Resource<DynamicType = ()>>(reference: &OwnerReference, object: &K) -> bool {
    reference.api_version == K::api_version(&())
        && reference.kind == K::kind(&())
        && reference.name == object.name_any()
}

fn is_owned_by<K: Resource<DynamicType = ()>>(claim: &PersistentVolumeClaim, owner: &K) -> bool {
    claim.owner_references().iter().any(|reference| Some(&reference.uid) == owner.meta().uid.as_ref())
}

/// The claim still belongs to an object that had this name before and is going away.
pub(super) fn is_stale<K: Resource<DynamicType = ()>>(claim: &PersistentVolumeClaim, owner: &K) -> bool {
    let found = claim.owner_references().iter().find(|reference| names(reference, owner));
    found.is_some_and(|reference| Some(&reference.uid) != owner.meta().uid.as_ref())
}

/// Another controller manages the claim; then the policy is not ours to carry out.
pub(super) fn has_other_controller(claim: &PersistentVolumeClaim, set: &StatefulSet, pod: &Pod) -> bool {
    if Policy::of(set).retains_all() {
        return false;
    }
    claim.owner_references().iter().any(|reference| {
        if names(reference, set) {
            return Some(&reference.uid) != set.metadata.uid.as_ref();
        }
        if names(reference, pod) {
            return Some(&reference.uid) != pod.metadata.uid.as_ref();
        }
        reference.controller == Some(true)
    })
}

/// The owners a claim should have, or `None` when it has them.
pub(super) fn owners(
    claim: &PersistentVolumeClaim,
    set: &StatefulSet,
    ordinal: i32,
    pod: &Pod,
) -> Option<Vec<OwnerReference>> {
    if is_stale(claim, set) || is_stale(claim, pod) {
        return None;
    }
    let (by_set, by_pod) = (is_owned_by(claim, set), is_owned_by(claim, pod));
    let others = || {
        let others =
            claim.owner_references().iter().filter(|reference| !names(reference, set) && !names(reference, pod));
        others.cloned().collect::<Vec<_>>()
    };
    if has_other_controller(claim, set, pod) {
        return (by_set || by_pod).then(others);
    }
    let (wants_set, wants_pod) = wanted(set, ordinal);
    let weak = claim.owner_references().iter().any(|reference| {
        let ours = [&set.metadata.uid, &pod.metadata.uid].into_iter().flatten().any(|uid| *uid == reference.uid);
        ours && reference.controller != Some(true)
    });
    if !weak && by_set == wants_set && by_pod == wants_pod {
        return None;
    }
    let mut owners = others();
    owners.extend(wants_set.then(|| controller_ref(set)));
    owners.extend(wants_pod.then(|| controller_ref(pod)));
    Some(owners)
}

/// Whether the set, and whether the pod, is to own the claims of an ordinal.
fn wanted(set: &StatefulSet, ordinal: i32) -> (bool, bool) {
    let policy = Policy::of(set);
    let surplus = !in_range(set, ordinal);
    let with_pod = policy.delete_when_scaled && surplus;
    (policy.delete_with_set && !with_pod, with_pod)
}

/// The owners of a claim that is made for an ordinal the set wants.
pub(super) fn first_owners(set: &StatefulSet, ordinal: i32) -> Option<Vec<OwnerReference>> {
    wanted(set, ordinal).0.then(|| vec![controller_ref(set)])
}
