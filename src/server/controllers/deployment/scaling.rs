//! How many pods each set should have. Pure arithmetic over the sets' sizes.

use super::{
    plan::replicas,
    revisions::{DESIRED, MAX, annotate_size, number},
};
use crate::common::updates::scaled;
use k8s_openapi::{
    api::apps::v1::{Deployment, ReplicaSet},
    apimachinery::pkg::util::intstr::IntOrString,
};
use mk8s_client::kube::ResourceExt;

/// How far a rolling update may go beyond and below the wanted number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

/// Both zero would stand still: then one may be missing. Recreating allows neither.
pub(super) fn limits(deployment: &Deployment) -> Limits {
    if super::plan::recreates(deployment) {
        return Limits { surge: 0, unavailable: 0 };
    }
    let quarter = IntOrString::String("25%".to_owned());
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref()?.rolling_update.as_ref());
    let wanted = replicas(deployment);
    let surge = strategy.and_then(|strategy| strategy.max_surge.as_ref()).unwrap_or(&quarter);
    let unavailable = strategy.and_then(|strategy| strategy.max_unavailable.as_ref()).unwrap_or(&quarter);
    let (surge, unavailable) = (scaled(surge, wanted, true), scaled(unavailable, wanted, false));
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    Limits { surge, unavailable: unavailable.min(wanted) }
}

pub(super) fn size(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn available(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

/// Whether what it reports is about its size of now.
fn is_observed(set: &ReplicaSet) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or_default();
    set.metadata.generation.unwrap_or_default() <= observed
}

pub(super) fn total(sets: &[ReplicaSet]) -> i32 {
    sets.iter().map(size).sum()
}

pub(super) fn resize(deployment: &Deployment, set: &mut ReplicaSet, to: i32) {
    if let Some(spec) = &mut set.spec {
        spec.replicas = Some(to);
    }
    let wanted = replicas(deployment);
    annotate_size(set, wanted, wanted + limits(deployment).surge);
}

/// How many pods the new set may have, given what all sets have.
pub(super) fn size_of_new(deployment: &Deployment, current: i32, all: i32) -> i32 {
    let wanted = replicas(deployment);
    if super::plan::recreates(deployment) {
        return wanted;
    }
    let room = wanted + limits(deployment).surge - all;
    if room <= 0 { current } else { current + room.min(wanted - current) }
}

/// Shrinks old sets as far as availability allows, first by pods that are not available, then the oldest sets first.
/// `old` is sorted by age. True when anything shrank.
///
/// What a set reports may be older than its size. Pods that it must give up do not count; of a set that has not seen its
/// size yet none is certain to be available; and however many are reported, never more go than the sizes allow.
pub(super) fn shrink_old(deployment: &Deployment, new: &ReplicaSet, old: &mut [ReplicaSet]) -> bool {
    if total(old) == 0 {
        return false;
    }
    let staying = |set: &ReplicaSet| available(set).min(size(set));
    let certain = |set: &ReplicaSet| if is_observed(set) { staying(set) } else { 0 };
    let all_available: i32 = old.iter().map(certain).sum::<i32>() + certain(new);
    let min_available = replicas(deployment) - limits(deployment).unavailable;
    let new_unavailable = size(new) - certain(new);
    let budget = total(old) + size(new) - min_available - new_unavailable;
    if budget <= 0 {
        return false;
    }
    let mut unhealthy = 0;
    for set in old.iter_mut() {
        let down = (budget - unhealthy).min(size(set) - staying(set));
        if down > 0 {
            resize(deployment, set, size(set) - down);
            unhealthy += down;
        }
    }
    let budget = (all_available - min_available).min(budget - unhealthy);
    let mut healthy = 0;
    for set in old.iter_mut() {
        let down = size(set).min(budget - healthy);
        if down > 0 {
            resize(deployment, set, size(set) - down);
            healthy += down;
        }
    }
    unhealthy + healthy > 0
}

/// Whether the Deployment's size changed since its sets were sized.
pub(super) fn size_changed(deployment: &Deployment, sets: &[ReplicaSet]) -> bool {
    let active = sets.iter().filter(|set| size(set) > 0);
    active.filter_map(|set| number(set, DESIRED)).any(|desired| desired != replicas(deployment))
}

/// The new set has all pods that are wanted, and they are available.
fn is_saturated(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let wanted = replicas(deployment);
    size(set) == wanted && number(set, DESIRED) == Some(wanted) && available(set) == wanted
}

/// Sizes sets for a Deployment whose size changed, or that is paused: the only active set takes all; with several, each
/// takes its part, so that a rollout goes neither faster nor slower. `sets` is sorted by age; `new` is an index into it.
pub(super) fn scale(deployment: &Deployment, sets: &mut [ReplicaSet], new: Option<usize>) {
    let wanted = replicas(deployment);
    let active: Vec<usize> = (0..sets.len()).filter(|index| size(&sets[*index]) > 0).collect();
    let only = match active.as_slice() {
        [] => new.or(sets.len().checked_sub(1)),
        [only] => Some(*only),
        _ => None,
    };
    if let Some(only) = only {
        if size(&sets[only]) != wanted {
            resize(deployment, &mut sets[only], wanted);
        }
        return;
    }
    if active.is_empty() {
        return;
    }
    if let Some(new) = new
        && is_saturated(deployment, &sets[new])
    {
        for index in active.into_iter().filter(|index| *index != new) {
            resize(deployment, &mut sets[index], 0);
        }
    } else if !super::plan::recreates(deployment) {
        scale_in_proportion(deployment, sets, active);
    }
}

fn scale_in_proportion(deployment: &Deployment, sets: &mut [ReplicaSet], mut active: Vec<usize>) {
    let wanted = replicas(deployment);
    let allowed = if wanted > 0 { wanted + limits(deployment).surge } else { 0 };
    let to_add = allowed - active.iter().map(|index| size(&sets[*index])).sum::<i32>();
    // Larger sets first; among equals growing favours the newer, shrinking the older.
    let created = |index: usize| (sets[index].metadata.creation_timestamp.clone(), sets[index].name_any());
    active.sort_by(|one, two| {
        let by_size = size(&sets[*two]).cmp(&size(&sets[*one]));
        let by_age = created(*one).cmp(&created(*two));
        by_size.then(if to_add > 0 { by_age.reverse() } else { by_age })
    });
    let mut added = 0;
    let mut sizes: Vec<i32> = Vec::new();
    for index in &active {
        let part = proportion(deployment, &sets[*index], to_add, added);
        sizes.push(size(&sets[*index]) + part);
        added += part;
    }
    // What rounding left over goes to the largest.
    sizes[0] = (sizes[0] + to_add - added).max(0);
    for (index, size) in active.into_iter().zip(sizes) {
        resize(deployment, &mut sets[index], size);
    }
}

fn proportion(deployment: &Deployment, set: &ReplicaSet, to_add: i32, added: i32) -> i32 {
    if size(set) == 0 || to_add == 0 || to_add == added {
        return 0;
    }
    let part = fraction(deployment, set);
    let left = to_add - added;
    if to_add > 0 { part.min(left) } else { part.max(left) }
}

fn fraction(deployment: &Deployment, set: &ReplicaSet) -> i32 {
    if replicas(deployment) == 0 {
        return -size(set);
    }
    let max = f64::from(replicas(deployment) + limits(deployment).surge);
    let before = number(set, MAX).filter(|max| *max > 0);
    let reported = deployment.status.as_ref().and_then(|status| status.replicas).filter(|count| *count > 0);
    let Some(before) = before.or(reported) else { return 0 };
    let resized = f64::from(size(set)) * max / f64::from(before);
    resized.round() as i32 - size(set)
}
