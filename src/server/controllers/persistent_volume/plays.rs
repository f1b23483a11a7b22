//! Claims and volumes played until each has found the other: in four writes, between any two of which the leader may die.

use super::{
    BIND_COMPLETED,
    plan::{Action, ObservedClaim, ObservedVolume, plan_claim, plan_volume},
    reclaim::Recycler,
};
use crate::common::{
    fixtures::objects,
    interruption::{self, World, Write, write},
};
use expect_test::expect;
use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim};
use mk8s_client::kube::ResourceExt;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone)]
struct Storage {
    claims: BTreeMap<String, PersistentVolumeClaim>,
    volumes: BTreeMap<String, PersistentVolume>,
    /// Whose turn it is: claims or volumes.
    volumes_turn: bool,
    /// A claim that its user deletes, and in which round.
    deleted: Option<(usize, &'static str)>,
    rounds: usize,
}

fn bound_to(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref())
}

impl Storage {
    fn of_claims(&self) -> Vec<Write<Storage>> {
        let mut writes = vec![];
        for (key, claim) in &self.claims {
            let observed = ObservedClaim {
                claim: Arc::new(claim.clone()),
                volumes: self.volumes.values().cloned().map(Arc::new).collect(),
                class: None,
                default_class: None,
                node: None,
                unplaced: Vec::new(),
            };
            for action in plan_claim(&observed).actions {
                match action {
                    Action::Bind { volume } => self.bind(key, claim, &volume, &mut writes),
                    Action::Claim { phase } => {
                        let key = key.clone();
                        writes.push(write(format!("{key} is {phase}"), move |world: &mut Storage| {
                            let Some(claim) = world.claims.get_mut(&key) else { return };
                            claim.status.get_or_insert_default().phase = Some(phase.to_owned());
                        }));
                    }
                    other => unreachable!("{other:?} is for classes"),
                }
            }
            // One claim at a time: the next one sees what this one took.
            if !writes.is_empty() {
                break;
            }
        }
        writes
    }

    /// As `Controller::bind` does it.
    fn bind(&self, key: &str, claim: &PersistentVolumeClaim, name: &str, writes: &mut Vec<Write<Storage>>) {
        let volume = &self.volumes[name];
        let uid = claim.uid();
        if bound_to(volume).is_none_or(|reference| reference.uid != uid) {
            let (name, reference) = (
                name.to_owned(),
                ObjectReference {
                    name: Some(key.to_owned()),
                    namespace: Some("n".into()),
                    uid: uid.clone(),
                    ..ObjectReference::default()
                },
            );
            writes.push(write(format!("reserve {name} for {key}"), move |world: &mut Storage| {
                let volume = world.volumes.get_mut(&name).expect("volumes stay");
                volume.spec.get_or_insert_default().claim_ref = Some(reference);
            }));
        }
        if volume.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            let name = name.to_owned();
            writes.push(write(format!("{name} is Bound"), move |world: &mut Storage| world.set_phase(&name, "Bound")));
        }
        let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()) == Some(name);
        if !named || !claim.annotations().contains_key(BIND_COMPLETED) {
            let (key, name) = (key.to_owned(), name.to_owned());
            writes.push(write(format!("{key} gets {name}"), move |world: &mut Storage| {
                let Some(claim) = world.claims.get_mut(&key) else { return };
                claim.annotations_mut().insert(BIND_COMPLETED.to_owned(), "yes".to_owned());
                claim.spec.get_or_insert_default().volume_name = Some(name);
            }));
        }
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            let key = key.to_owned();
            writes.push(write(format!("{key} is Bound"), move |world: &mut Storage| {
                let Some(claim) = world.claims.get_mut(&key) else { return };
                claim.status.get_or_insert_default().phase = Some("Bound".into());
            }));
        }
    }

    fn of_volumes(&self) -> Vec<Write<Storage>> {
        let mut writes = vec![];
        for (name, volume) in &self.volumes {
            let reference = bound_to(volume);
            let claim = reference.and_then(|reference| {
                let claim = self.claims.get(reference.name.as_deref()?)?;
                (claim.uid() == reference.uid).then(|| Arc::new(claim.clone()))
            });
            let volume = Arc::new(volume.clone());
            let observed = ObservedVolume { volume, claim, users: Vec::new(), recycler: Recycler::None };
            for action in plan_volume(&observed).actions {
                let name = name.clone();
                match action {
                    Action::Volume { phase, .. } => {
                        writes.push(write(format!("{name} is {phase}"), move |world: &mut Storage| {
                            world.set_phase(&name, phase)
                        }));
                    }
                    Action::Unbind => writes.push(write(format!("free {name}"), move |world: &mut Storage| {
                        world.volumes.get_mut(&name).expect("volumes stay").spec.get_or_insert_default().claim_ref =
                            None;
                    })),
                    _ => {}
                }
            }
        }
        writes
    }

    fn set_phase(&mut self, volume: &str, phase: &str) {
        let volume = self.volumes.get_mut(volume).expect("volumes stay");
        volume.status.get_or_insert_default().phase = Some(phase.to_owned());
    }
}

impl World for Storage {
    fn writes(&self) -> Vec<Write<Storage>> {
        if self.volumes_turn { self.of_volumes() } else { self.of_claims() }
    }

    fn others(&mut self) -> bool {
        self.rounds += 1;
        let due = self.deleted.take_if(|(round, _)| *round <= self.rounds);
        due.iter().for_each(|(_, claim)| drop(self.claims.remove(*claim)));
        self.volumes_turn = !self.volumes_turn;
        due.is_some() || self.deleted.is_some() || !self.of_claims().is_empty() || !self.of_volumes().is_empty()
    }

    /// No two claims have one volume, and what a claim has is reserved for it.
    fn holds(&self) -> Result<(), String> {
        for (key, claim) in &self.claims {
            let Some(name) = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()) else { continue };
            if bound_to(&self.volumes[name]).is_none_or(|reference| reference.uid != claim.uid()) {
                return Err(format!("{key} has {name}, which is not reserved for it"));
            }
        }
        Ok(())
    }

    fn facts(&self) -> String {
        let claims = self.claims.iter().map(|(key, claim)| {
            let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default();
            let phase = claim.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
            format!("{key} {phase} {volume}\n")
        });
        let volumes = self.volumes.iter().map(|(name, volume)| {
            let claim = bound_to(volume).and_then(|reference| reference.name.clone()).unwrap_or_default();
            let phase = volume.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
            format!("{name} {phase} {claim}\n")
        });
        claims.chain(volumes).collect()
    }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let claim = |name: &str, size: &str| {
        format!(
            "---\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}, namespace: n, uid: {name}}}\nspec: {{accessModes: \
             [ReadWriteOnce], storageClassName: \"\", resources: {{requests: {{storage: {size}}}}}}}\n"
        )
    };
    let volume = |name: &str, size: &str| {
        format!(
            "---\nkind: PersistentVolume\nmetadata: {{name: {name}}}\nspec: {{capacity: {{storage: {size}}}, accessModes: \
             [ReadWriteOnce]}}\n"
        )
    };
    let yaml = [claim("a", "1Gi"), claim("b", "2Gi"), claim("c", "9Gi"), volume("one", "1Gi"), volume("two", "3Gi")];
    let yaml = yaml.concat();
    let world = Storage {
        claims: objects::<PersistentVolumeClaim>(&yaml).into_iter().map(|claim| (claim.name_any(), claim)).collect(),
        volumes: objects::<PersistentVolume>(&yaml).into_iter().map(|volume| (volume.name_any(), volume)).collect(),
        volumes_turn: false,
        deleted: Some((12, "a")),
        rounds: 0,
    };
    interruption::check(
        &world,
        &expect![[r#"
        one is Available
        two is Available
        reserve one for a
        one is Bound
        a gets one
        a is Bound
        reserve two for b
        two is Bound
        b gets two
        b is Bound
        one is Released
    "#]],
        &expect![[r#"
        b Bound two
        c  
        one Released a
        two Bound b
    "#]],
    );
}
