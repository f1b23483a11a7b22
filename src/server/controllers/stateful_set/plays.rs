//! A StatefulSet, its pods and claims, played through an update and a change of its size.

use super::{
    POD_HASH, identity, plan,
    plan::{Action, Observed},
    retention,
};
use crate::common::{
    fixtures::{noon, one},
    interruption::{self, Pods, World, Write, write},
};
use expect_test::expect;
use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::PersistentVolumeClaim};
use mk8s_client::{kube::ResourceExt, pod::Pod};
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone)]
struct Set {
    set: StatefulSet,
    pods: Pods,
    claims: BTreeMap<String, PersistentVolumeClaim>,
    /// In which round the user asks for another image and size.
    wish: Option<(usize, &'static str, i32)>,
    rounds: usize,
}

fn set(spec: &str, wish: (usize, &'static str, i32)) -> Set {
    let set = one(&format!(
        "kind: StatefulSet\nmetadata: {{name: web, namespace: n, uid: w, generation: 1}}\nspec:\n  selector: {{matchLabels: \
         {{app: w}}}}\n  serviceName: s\n  volumeClaimTemplates: [{{metadata: {{name: data}}, spec: {{}}}}]\n  \
         persistentVolumeClaimRetentionPolicy: {{whenScaled: Delete, whenDeleted: Retain}}\n  {spec}\n  template: \
         {{metadata: {{labels: {{app: w}}}}, spec: {{containers: [{{name: c, image: i0}}]}}}}\nstatus: {{replicas: 0}}\n"
    ));
    Set { set, pods: Pods::default(), claims: BTreeMap::new(), wish: Some(wish), rounds: 0 }
}

fn revision(set: &StatefulSet) -> String {
    let template = set.spec.as_ref().map(|spec| &spec.template);
    let containers = template.and_then(|template| template.spec.as_ref()).map(|spec| &spec.containers);
    containers.and_then(|containers| containers[0].image.clone()).unwrap_or_default()
}

impl World for Set {
    fn writes(&self) -> Vec<Write<Set>> {
        let update = revision(&self.set);
        let known = self.set.status.as_ref().and_then(|status| status.current_revision.clone());
        let current = known.unwrap_or_else(|| update.clone());
        let observed = Observed {
            set: Arc::new(self.set.clone()),
            pods: self.pods.all(),
            claims: self.claims.iter().map(|(name, claim)| (name.clone(), Arc::new(claim.clone()))).collect(),
            current: current.clone(),
            update: update.clone(),
            collisions: 0,
        };
        let plan = plan::plan(noon(), &observed);
        let mut writes = vec![];
        for action in plan.actions {
            match action {
                Action::Create { ordinal, updated } => {
                    self.make_claims(ordinal, &mut writes);
                    let revision = if updated { &update } else { &current };
                    let template = self.set.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
                    let pod = identity::new_pod(&self.set, &template, revision, ordinal);
                    writes.push(write(format!("start {ordinal} of {revision}"), move |world: &mut Set| {
                        world.pods.create(&pod)
                    }));
                }
                Action::Claim { ordinal } => self.make_claims(ordinal, &mut writes),
                Action::Own { claim, owners } => {
                    writes.push(write(format!("own {claim}"), move |world: &mut Set| {
                        world.claims.get_mut(&claim).expect("it is there").metadata.owner_references = Some(owners);
                    }));
                }
                Action::Delete { pod } => {
                    writes.push(write(format!("stop {pod}"), move |world: &mut Set| world.pods.delete(&pod)));
                }
                Action::Restore { .. } | Action::Adopt { .. } | Action::Release { .. } => {
                    unreachable!("nobody else touches the pods")
                }
            }
        }
        writes
            .extend(plan.status.map(|status| write("status", move |world: &mut Set| world.set.status = Some(status))));
        writes
    }

    fn others(&mut self) -> bool {
        self.rounds += 1;
        let due = self.wish.take_if(|(round, ..)| *round <= self.rounds);
        if let Some((_, image, replicas)) = due {
            let spec = self.set.spec.get_or_insert_default();
            spec.replicas = Some(replicas);
            spec.template.spec.get_or_insert_default().containers[0].image = Some(image.into());
            *self.set.metadata.generation.get_or_insert_default() += 1;
        }
        // Claims that belong to pods that are gone go after them.
        let pods: Vec<Option<String>> = self.pods.by_name.values().map(ResourceExt::uid).collect();
        let count = self.claims.len();
        self.claims.retain(|_, claim| {
            let mut owners = claim.owner_references().iter().filter(|owner| owner.kind == "Pod");
            owners.all(|owner| pods.contains(&Some(owner.uid.clone())))
        });
        let started = self.pods.start_all();
        started || due.is_some() || self.wish.is_some() || count != self.claims.len()
    }

    /// Ordered sets start and stop one pod at a time.
    fn holds(&self) -> Result<(), String> {
        let on_their_way = self.pods.by_name.values().filter(|pod| !crate::common::pods::is_ready(pod)).count();
        if on_their_way > 1 { Err(format!("{on_their_way} pods are on their way")) } else { Ok(()) }
    }

    fn facts(&self) -> String {
        let hash = |pod: &Pod| pod.labels().get(POD_HASH).cloned().unwrap_or_default();
        let pods = self.pods.by_name.values().map(|pod| format!("{} of {}\n", pod.name_any(), hash(pod)));
        let owners = |claim: &PersistentVolumeClaim| -> Vec<String> {
            claim.owner_references().iter().map(|owner| owner.name.clone()).collect()
        };
        let claims = self.claims.values().map(|claim| format!("{} of {:?}\n", claim.name_any(), owners(claim)));
        let status = self.set.status.clone().unwrap_or_default();
        let counts = (status.replicas, status.ready_replicas, status.current_replicas, status.updated_replicas);
        let revisions = (status.current_revision, status.update_revision);
        pods.chain(claims).collect::<String>() + &format!("{counts:?} {revisions:?}\n")
    }
}

impl Set {
    fn make_claims(&self, ordinal: i32, writes: &mut Vec<Write<Set>>) {
        for mut claim in identity::claims(&self.set, ordinal) {
            let name = claim.name_any();
            claim.metadata.owner_references = retention::first_owners(&self.set, ordinal);
            if !self.claims.contains_key(&name) {
                writes.push(write(format!("make {name}"), move |world: &mut Set| {
                    world.claims.entry(name).or_insert(claim);
                }));
            }
        }
    }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    interruption::check(
        &set("replicas: 2", (10, "i1", 1)),
        &expect![[r#"
        make data-web-0
        start 0 of i0
        status
        make data-web-1
        start 1 of i0
        status
        status
        own data-web-1
        stop web-1
        status
        stop web-0
        status
        start 0 of i1
        status
        status
    "#]],
        &expect![[r#"
        web-0 of i1
        data-web-0 of []
        (1, Some(1), Some(1), Some(1)) (Some("i1"), Some("i1"))
    "#]],
    );
}
