//! The next step of a Deployment.

use super::{
    conditions,
    revisions::{self, HASH, annotate_new, same_template, template_hash},
    scaling::{self, available, limits, resize, size, size_of_new, total},
};
use crate::common::{
    claims::{Claim, claim, controller_ref},
    selectors,
    updates::{positive, whole_second},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::kube::ResourceExt;
use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

pub(super) struct Observed {
    pub(super) deployment: Arc<Deployment>,
    /// Its sets, and those of no one.
    pub(super) sets: Vec<Arc<ReplicaSet>>,
    /// Uids of sets with pods that have not ended; looked up only for Deployments that recreate.
    pub(super) with_pods: HashSet<String>,
}

pub(super) enum Action {
    Release(Arc<ReplicaSet>),
    Adopt(Arc<ReplicaSet>),
    Create(Box<ReplicaSet>),
    /// A set with new annotations, and from which size to which.
    Update {
        set: Box<ReplicaSet>,
        scaled: Option<(i32, i32)>,
    },
    Delete(String),
    /// The Deployment's own revision annotation.
    Revision(String),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Release(set) => write!(f, "Release {}", set.name_any()),
            Action::Adopt(set) => write!(f, "Adopt {}", set.name_any()),
            Action::Create(set) => write!(f, "Create {} size {}", without_hash(set), size(set)),
            Action::Update { set, scaled: Some((from, to)) } => write!(f, "Scale {} {from} -> {to}", set.name_any()),
            Action::Update { set, scaled: None } => write!(f, "Annotate {}", set.name_any()),
            Action::Delete(name) => write!(f, "Delete {name}"),
            Action::Revision(revision) => write!(f, "Revision {revision}"),
        }
    }
}

/// Names of new sets end in a hash, which says nothing to a reader.
fn without_hash(set: &ReplicaSet) -> String {
    let name = set.name_any();
    name.rsplit_once('-').map_or(name.clone(), |(stem, _)| format!("{stem}-*"))
}

pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    /// The new status, when it says something new.
    pub(super) status: Option<DeploymentStatus>,
    pub(super) look_again: Option<Duration>,
}

pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

pub(super) fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|spec| spec.strategy.as_ref());
    strategy.and_then(|strategy| strategy.type_.as_deref()) == Some("Recreate")
}

/// The sets as they will be, and what is reported of them.
struct Draft<'a> {
    now: Timestamp,
    deployment: &'a Deployment,
    /// By age. The new one is among them or not yet made.
    sets: Vec<ReplicaSet>,
    new: Option<usize>,
    created: Option<ReplicaSet>,
    deleted: Vec<String>,
    revision: Option<String>,
    status: DeploymentStatus,
}

pub(super) fn plan(now: Timestamp, observed: &Observed) -> Plan {
    let deployment = observed.deployment.as_ref();
    let (mut actions, originals) = claim_sets(observed);
    let sets: Vec<ReplicaSet> = originals.iter().map(|set| set.as_ref().clone()).collect();
    let new = sets.iter().position(|set| same_template(deployment, set));
    let status = deployment.status.clone().unwrap_or_default();
    let mut draft = Draft { now, deployment, sets, new, created: None, deleted: Vec::new(), revision: None, status };
    let spec_paused = deployment.spec.as_ref().and_then(|spec| spec.paused) == Some(true);
    let rolls = if deployment.metadata.deletion_timestamp.is_some() {
        false
    } else {
        conditions::pause(&mut draft.status, deployment, now);
        draft.annotate();
        if spec_paused || scaling::size_changed(deployment, &draft.sets) {
            scaling::scale(deployment, &mut draft.sets, draft.new);
            if spec_paused {
                draft.cut_history();
            }
            false
        } else {
            if recreates(deployment) {
                draft.recreate(&observed.with_pods)
            } else {
                draft.roll()
            }
            true
        }
    };
    let status = draft.report(rolls);
    draft.changes(&originals, &mut actions);
    let look_again = conditions::deadline_in(deployment, &status, now).filter(|_| rolls);
    let changed = deployment.status.as_ref() != Some(&status);
    Plan { actions, status: changed.then_some(status), look_again }
}

fn claim_sets(observed: &Observed) -> (Vec<Action>, Vec<Arc<ReplicaSet>>) {
    let deployment = observed.deployment.as_ref();
    let selector = selectors::compile(deployment.spec.as_ref().map(|spec| &spec.selector));
    let mut actions = Vec::new();
    let mut own = Vec::new();
    for set in &observed.sets {
        let selected = selector.as_ref().is_some_and(|selector| selector.matches(&set.metadata.labels));
        match claim(&deployment.metadata, &set.metadata, selected) {
            Claim::Own => own.push(set.clone()),
            // Adopted sets join with the next step, in the version that the adoption made.
            Claim::Adopt => actions.push(Action::Adopt(set.clone())),
            Claim::Release => actions.push(Action::Release(set.clone())),
            Claim::Ignore => {}
        }
    }
    own.sort_by_cached_key(|set| (set.metadata.creation_timestamp.clone(), set.name_any()));
    (actions, own)
}

impl Draft<'_> {
    /// The newest revision belongs to the set with the Deployment's template.
    fn newest_revision(&self) -> i64 {
        let old = self.sets.iter().enumerate().filter(|(index, _)| Some(*index) != self.new);
        old.map(|(_, set)| revisions::revision(set)).max().unwrap_or_default() + 1
    }

    fn annotate(&mut self) {
        let newest = self.newest_revision();
        let Some(new) = self.new else { return };
        let set = &mut self.sets[new];
        annotate_new(self.deployment, set, newest);
        if let (Some(spec), Some(wanted)) = (&mut set.spec, &self.deployment.spec) {
            let seconds = wanted.min_ready_seconds.filter(|seconds| *seconds != 0);
            if spec.min_ready_seconds.filter(|seconds| *seconds != 0) != seconds {
                spec.min_ready_seconds = wanted.min_ready_seconds;
            }
        }
        self.revision = set.annotations().get(revisions::REVISION).cloned();
        if conditions::has_deadline(self.deployment) && conditions::get(&self.status, "Progressing").is_none() {
            let message = format!("Found new replica set {:?}", set.name_any());
            let at = whole_second(self.now);
            conditions::set(&mut self.status, "Progressing", "True", conditions::FOUND, message, at);
        }
    }

    /// Makes the new set when there is none.
    fn create(&mut self) {
        if self.new.is_some() {
            return;
        }
        let newest = self.newest_revision();
        let mut set = new_set(self.deployment);
        let count = size_of_new(self.deployment, 0, total(&self.sets));
        resize(self.deployment, &mut set, count);
        annotate_new(self.deployment, &mut set, newest);
        self.revision = Some(newest.to_string());
        if conditions::has_deadline(self.deployment) {
            let message = format!("Created new replica set {:?}", set.name_any());
            let at = whole_second(self.now);
            conditions::set(&mut self.status, "Progressing", "True", conditions::CREATED, message, at);
        }
        self.created = Some(set);
    }

    fn new_set(&self) -> Option<&ReplicaSet> {
        self.created.as_ref().or(self.new.map(|new| &self.sets[new]))
    }

    fn roll(&mut self) {
        self.create();
        let wanted = replicas(self.deployment);
        if let Some(new) = self.new {
            let current = size(&self.sets[new]);
            let to = if current > wanted { wanted } else { size_of_new(self.deployment, current, total(&self.sets)) };
            if to != current {
                return resize(self.deployment, &mut self.sets[new], to);
            }
        }
        let Some(new) = self.new_set().cloned() else { return };
        let mut old = self.take_old();
        let shrank = scaling::shrink_old(self.deployment, &new, &mut old);
        self.put_old(old);
        if !shrank {
            self.finish();
        }
    }

    fn recreate(&mut self, with_pods: &HashSet<String>) {
        let mut old = self.take_old();
        let mut shrank = false;
        for set in old.iter_mut().filter(|set| size(set) > 0) {
            resize(self.deployment, set, 0);
            shrank = true;
        }
        let reported = |set: &ReplicaSet| set.status.as_ref().is_some_and(|status| status.replicas > 0);
        let has_pods = |set: &ReplicaSet| set.metadata.uid.as_ref().is_some_and(|uid| with_pods.contains(uid));
        let running = old.iter().any(|set| reported(set) || has_pods(set));
        self.put_old(old);
        if shrank || running {
            return;
        }
        self.create();
        if let Some(new) = self.new
            && size(&self.sets[new]) != replicas(self.deployment)
        {
            resize(self.deployment, &mut self.sets[new], replicas(self.deployment));
        }
        self.finish();
    }

    fn finish(&mut self) {
        let known = self.deployment.status.clone().unwrap_or_default();
        if conditions::is_complete(self.deployment, &known) {
            self.cut_history();
        }
    }

    /// Old sets by age; the new one stays where it is.
    fn take_old(&mut self) -> Vec<ReplicaSet> {
        let old = self.sets.iter().enumerate().filter(|(index, _)| Some(*index) != self.new);
        old.map(|(_, set)| set.clone()).collect()
    }

    fn put_old(&mut self, old: Vec<ReplicaSet>) {
        let mut old = old.into_iter();
        for (index, set) in self.sets.iter_mut().enumerate() {
            if Some(index) != self.new
                && let Some(changed) = old.next()
            {
                *set = changed;
            }
        }
    }

    /// Deletes the oldest sets beyond the history's limit, those that are empty.
    fn cut_history(&mut self) {
        let limit = self.deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit);
        let Some(limit) = limit.filter(|limit| *limit != i32::MAX) else { return };
        let mut old = self.take_old();
        old.retain(|set| set.metadata.deletion_timestamp.is_none());
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
        old.sort_by_cached_key(|set| {
            (revisions::revision(set), set.metadata.creation_timestamp.clone(), set.name_any())
        });
        let is_empty = |set: &&ReplicaSet| {
            let status = set.status.as_ref();
            let observed = status.and_then(|status| status.observed_generation).unwrap_or_default();
            size(set) == 0
                && status.is_none_or(|status| status.replicas == 0)
                && set.metadata.generation.unwrap_or_default() <= observed
        };
        self.deleted = old[..surplus].iter().filter(is_empty).map(|set| set.name_any()).collect();
    }

    fn report(&self, rolls: bool) -> DeploymentStatus {
        let all: Vec<&ReplicaSet> = self.sets.iter().chain(&self.created).collect();
        let sum = |count: &dyn Fn(&ReplicaSet) -> i32| all.iter().map(|set| count(set)).sum::<i32>();
        let actual = |set: &ReplicaSet| set.status.as_ref().map_or(0, |status| status.replicas);
        let ready = |set: &ReplicaSet| set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default();
        let available = sum(&available);
        let mut status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: positive(sum(&actual)),
            updated_replicas: positive(self.new_set().map_or(0, actual)),
            ready_replicas: positive(sum(&ready)),
            available_replicas: positive(available),
            unavailable_replicas: positive((sum(&size) - available).max(0)),
            terminating_replicas: terminating(&all),
            collision_count: self.status.collision_count,
            conditions: self.status.conditions.clone(),
        };
        let enough = available >= replicas(self.deployment) - limits(self.deployment).unavailable;
        conditions::availability(&mut status, enough, self.now);
        if rolls {
            conditions::progress(&mut status, self.deployment, self.new_set(), self.now);
            let new_first: Vec<&ReplicaSet> = self.new_set().into_iter().chain(all).collect();
            conditions::replica_failure(&mut status, &new_first);
        }
        status.conditions = status.conditions.filter(|conditions| !conditions.is_empty());
        status
    }

    /// What must be written to make the sets as drafted.
    fn changes(self, originals: &[Arc<ReplicaSet>], actions: &mut Vec<Action>) {
        actions.extend(self.created.map(|set| Action::Create(Box::new(set))));
        for (original, set) in originals.iter().zip(self.sets) {
            if original.as_ref() != &set {
                let (from, to) = (size(original), size(&set));
                actions.push(Action::Update { set: Box::new(set), scaled: (from != to).then_some((from, to)) });
            }
        }
        actions.extend(self.deleted.into_iter().map(Action::Delete));
        let known = self.deployment.annotations().get(revisions::REVISION);
        actions.extend(self.revision.filter(|revision| Some(revision) != known).map(Action::Revision));
    }
}

/// Sets that no one has looked after yet do not count; one that was and does not say makes the sum unknown.
fn terminating(sets: &[&ReplicaSet]) -> Option<i32> {
    let mut sum = 0;
    for status in sets.iter().filter_map(|set| set.status.as_ref()) {
        match status.terminating_replicas {
            Some(count) => sum += count,
            None if status.observed_generation.unwrap_or_default() == 0 => {}
            None => return None,
        }
    }
    Some(sum)
}

fn new_set(deployment: &Deployment) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count);
    let hash = template_hash(&spec.template, collisions);
    let mut template = spec.template;
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH.to_owned(), hash.clone());
    let name = deployment.name_any();
    // The whole must be a valid name.
    let stem: String = name.chars().take(253 - 1 - hash.len()).collect();
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{stem}-{hash}")),
            namespace: deployment.namespace(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}
