//! A Deployment, its sets and its pods, played through updates: whoever dies in between, never are fewer pods available
//! than the strategy allows, and the end is the same.

use super::{
    plan::{self, Action, Observed, plan},
    scaling::limits,
};
use crate::{
    common::{
        fixtures::{noon, one},
        interruption::{self, Pods, World, Write, write},
        pods::is_ready,
    },
    replicas::rounds::{self, Written},
};
use expect_test::expect;
use jiff::ToSpan;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        core::v1::PodTemplateSpec,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use proptest::prelude::*;
use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

#[derive(Clone)]
struct Rollout {
    deployment: Deployment,
    sets: BTreeMap<String, ReplicaSet>,
    pods: Pods,
    /// Images that the user will ask for, each when this many rounds have passed.
    wishes: Vec<(usize, u8)>,
    rounds: usize,
    /// Whose turn it is: the Deployment's controller, or that of the sets.
    sets_turn: bool,
    /// Which pods a round starts, as bits; all of them when there are none.
    starts: Vec<u8>,
    /// So many must be available, once as many as wanted have been: those that the strategy demands, or those that the
    /// controller could know of when it decided.
    floor: Option<i32>,
}

fn rollout(spec: &str, wishes: &[(usize, u8)]) -> Rollout {
    Rollout {
        deployment: one(&format!(
            "kind: Deployment\nmetadata: {{name: web, namespace: n, uid: d, generation: 1}}\nspec:\n  selector: \
             {{matchLabels: {{app: web}}}}\n  progressDeadlineSeconds: 600\n  revisionHistoryLimit: 10\n  template: \
             {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: c, image: i0}}]}}}}\n  {spec}\n"
        )),
        sets: BTreeMap::new(),
        pods: Pods::default(),
        wishes: wishes.to_vec(),
        rounds: 0,
        sets_turn: false,
        starts: vec![],
        floor: None,
    }
}

fn image(template: Option<&PodTemplateSpec>) -> String {
    let containers = template.and_then(|template| template.spec.as_ref()).map(|spec| &spec.containers);
    containers.and_then(|containers| containers[0].image.clone()).unwrap_or_default()
}

fn image_of(set: &ReplicaSet) -> String {
    image(set.spec.as_ref().and_then(|spec| spec.template.as_ref()))
}

impl Rollout {
    fn of_deployment(&self) -> Vec<Write<Rollout>> {
        let sets = self.sets.values().cloned().map(Arc::new).collect();
        let deployment = Arc::new(self.deployment.clone());
        let plan = plan(noon(), &Observed { deployment, sets, with_pods: Default::default() });
        let mut writes = vec![];
        for action in plan.actions {
            writes.push(match action {
                Action::Create(set) => {
                    let size = super::scaling::size(&set);
                    write(format!("create set of {} with {size}", image_of(&set)), move |world: &mut Rollout| {
                        world.create_set(*set)
                    })
                }
                Action::Update { set, .. } => {
                    let size = super::scaling::size(&set);
                    write(format!("update set of {} with {size}", image_of(&set)), move |world: &mut Rollout| {
                        let known = world.sets.get_mut(&set.name_any()).expect("sets are only deleted in this loop");
                        if known.spec != set.spec {
                            *known.metadata.generation.get_or_insert_default() += 1;
                        }
                        known.spec.clone_from(&set.spec);
                        known.metadata.annotations.clone_from(&set.metadata.annotations);
                    })
                }
                Action::Delete(name) => write("delete set", move |world: &mut Rollout| drop(world.sets.remove(&name))),
                Action::Revision(revision) => write(format!("revision {revision}"), move |world: &mut Rollout| {
                    let annotations = world.deployment.metadata.annotations.get_or_insert_default();
                    annotations.insert(super::revisions::REVISION.to_owned(), revision);
                }),
                Action::Adopt(_) | Action::Release(_) => unreachable!("all sets are the Deployment's own"),
            });
        }
        writes.extend(
            plan.status
                .map(|status| write("status", move |world: &mut Rollout| world.deployment.status = Some(status))),
        );
        writes
    }

    fn of_sets(&self) -> Vec<Write<Rollout>> {
        let written = self.sets.values().flat_map(|set| {
            let image = image_of(set);
            let writes = rounds::round(set, self.pods.all()).into_iter();
            writes.map(move |written| match written {
                Written::Create(pod) => {
                    write(format!("start {image}"), move |world: &mut Rollout| world.pods.create(&pod))
                }
                Written::Delete(name) => {
                    write(format!("stop {image}"), move |world: &mut Rollout| world.pods.delete(&name))
                }
                Written::Status(set) => write(format!("status of {image}"), move |world: &mut Rollout| {
                    world.sets.insert(set.name_any(), *set);
                }),
            })
        });
        written.collect()
    }

    /// A name is taken once.
    fn create_set(&mut self, mut set: ReplicaSet) {
        let age = i64::try_from(self.sets.len()).expect("few sets");
        set.metadata.uid = set.metadata.name.clone();
        set.metadata.generation = Some(1);
        set.metadata.creation_timestamp = Some(Time(noon() + age.seconds()));
        self.sets.entry(set.name_any()).or_insert(set);
    }

    fn set_floor(&mut self) {
        let demanded = plan::replicas(&self.deployment) - limits(&self.deployment).unavailable;
        let reported = |set: &ReplicaSet| super::scaling::available(set).min(super::scaling::size(set));
        let known = self.sets.values().map(reported).sum::<i32>();
        let everything_is_known = known == self.available() && self.of_sets().is_empty();
        if everything_is_known && known >= plan::replicas(&self.deployment) {
            self.floor = Some(demanded);
        }
        self.floor = self.floor.map(|floor| floor.min(known));
    }

    fn available(&self) -> i32 {
        self.pods.by_name.values().filter(|pod| is_ready(pod)).count() as i32
    }
}

impl World for Rollout {
    fn writes(&self) -> Vec<Write<Rollout>> {
        if self.sets_turn { self.of_sets() } else { self.of_deployment() }
    }

    fn others(&mut self) -> bool {
        let round = self.rounds;
        self.rounds += 1;
        let due: Vec<u8> = self.wishes.iter().filter(|(at, _)| *at == round).map(|(_, image)| *image).collect();
        for image in due {
            let spec = self.deployment.spec.get_or_insert_default();
            let pod = spec.template.spec.get_or_insert_default();
            pod.containers[0].image = Some(format!("i{image}"));
            *self.deployment.metadata.generation.get_or_insert_default() += 1;
        }
        let names: Vec<String> = self.pods.by_name.keys().cloned().collect();
        let bits = self.starts.get(round).copied().unwrap_or(u8::MAX);
        let starting = names.iter().enumerate().filter(|(n, _)| bits >> (n % 8) & 1 == 1);
        let started = starting.fold(false, |any, (_, name)| self.pods.start(name) | any);
        self.set_floor();
        self.sets_turn = !self.sets_turn;
        let waits = self.wishes.iter().any(|(at, _)| *at > round) || self.starts.len() > round;
        started || waits || !self.of_deployment().is_empty() || !self.of_sets().is_empty()
    }

    fn holds(&self) -> Result<(), String> {
        match self.floor.filter(|floor| self.available() < *floor) {
            Some(floor) => Err(format!("{} pods are available, {floor} must be", self.available())),
            None => Ok(()),
        }
    }

    fn facts(&self) -> String {
        let mut text = String::new();
        let mut sets: Vec<&ReplicaSet> = self.sets.values().collect();
        sets.sort_by_key(|set| image_of(set));
        for set in sets {
            let is_own =
                |pod: &&Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == set.metadata.uid.as_ref());
            let pods = self.pods.by_name.values().filter(is_own).count();
            let size = super::scaling::size(set);
            let revision = super::revisions::revision(set);
            writeln!(text, "{} revision {revision}: {pods} of {size}", image_of(set)).expect("text");
        }
        let status = self.deployment.status.clone().unwrap_or_default();
        let count = |count: Option<i32>| count.unwrap_or_default();
        let of = [status.replicas, status.updated_replicas, status.available_replicas].map(count);
        writeln!(text, "replicas, updated, available: {of:?}").expect("text");
        for condition in status.conditions.unwrap_or_default() {
            writeln!(text, "{}={} {}", condition.type_, condition.status, condition.reason.unwrap_or_default())
                .expect("text");
        }
        text
    }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    interruption::check(
        &rollout("replicas: 2\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}", &[(20, 1)]),
        &expect![[r#"
            create set of i0 with 2
            revision 1
            status
            start i0
            start i0
            status of i0
            status of i0
            status
            create set of i1 with 1
            revision 2
            status
            start i1
            status of i1
            status of i1
            update set of i0 with 1
            status
            stop i0
            status of i0
            update set of i1 with 2
            start i1
            status of i1
            status of i0
            status
            status of i1
            update set of i0 with 0
            status
            stop i0
            status of i0
            status of i0
            status
        "#]],
        &expect![[r#"
            i0 revision 1: 0 of 0
            i1 revision 2: 2 of 2
            replicas, updated, available: [2, 2, 2]
            Available=True MinimumReplicasAvailable
            Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

#[test]
fn going_back_in_the_middle_of_an_update_loses_no_pod() {
    interruption::check(
        &rollout("replicas: 3\n  strategy: {rollingUpdate: {maxSurge: 2, maxUnavailable: 1}}", &[(20, 1), (23, 0)]),
        &expect![[r#"
            create set of i0 with 3
            revision 1
            status
            start i0
            start i0
            start i0
            status of i0
            status of i0
            status
            create set of i1 with 2
            update set of i0 with 2
            revision 2
            status
            start i1
            start i1
            status of i1
            stop i0
            status of i0
            update set of i0 with 3
            revision 3
            status
            status of i1
            start i0
            status of i0
            update set of i1 with 0
            status
            stop i1
            stop i1
            status of i1
            status of i0
            status
            status of i1
            status
        "#]],
        &expect![[r#"
            i0 revision 3: 3 of 3
            i1 revision 2: 0 of 0
            replicas, updated, available: [3, 3, 3]
            Available=True MinimumReplicasAvailable
            Progressing=True NewReplicaSetAvailable
        "#]],
    );
}

fn any_amount() -> impl Strategy<Value = String> {
    prop_oneof![(0_u8..4).prop_map(|n| n.to_string()), (0_u8..101).prop_map(|n| format!("{n}%"))]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// Whatever is wished when, whichever pods start late, and whoever dies when.
    #[test]
    fn as_many_pods_as_must_be_are_available(
        replicas in 1_i32..7,
        surge in any_amount(),
        unavailable in any_amount(),
        wishes in prop::collection::vec((10_usize..60, 0_u8..3), 0..6),
        starts in prop::collection::vec(any::<u8>(), 0..80),
        lives in prop::collection::vec(0_usize..5, 0..120),
    ) {
        let spec = format!("replicas: {replicas}\n  strategy: {{rollingUpdate: {{maxSurge: {surge}, maxUnavailable: {unavailable}}}}}");
        let world = Rollout { starts, ..rollout(&spec, &wishes) };
        let mut lives = lives.into_iter();
        let played = interruption::play(world, |planned| lives.next().unwrap_or(planned));
        let played = played.map_err(TestCaseError::fail)?;
        let status = played.world.deployment.status.clone().unwrap_or_default();
        prop_assert_eq!(status.updated_replicas, Some(replicas), "{}", played.story);
        prop_assert_eq!(status.replicas, Some(replicas), "{}", played.story);
    }
}
