//! A volume whose labels say in which zone or region it is can only be used there.

use crate::{
    change::{Change, Subject},
    events::Events,
    framework::*,
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
    volumes,
};
use k8s_openapi::api::core::v1::PersistentVolume;

pub struct VolumeZone;

const LABELS: [&str; 4] = [
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

/// The label of today for one of before.
fn label_of_today(label: &str) -> &str {
    match label {
        "failure-domain.beta.kubernetes.io/zone" => "topology.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region" => "topology.kubernetes.io/region",
        other => other,
    }
}

/// Where a volume is: a label, and the values that a node may have there.
type Place = (&'static str, Vec<String>);

fn places(volume: &PersistentVolume) -> Vec<Place> {
    let labels = volume.metadata.labels.as_ref();
    let values = |label: &'static str| {
        let value = labels?.get(label)?;
        let parts: Vec<String> = value.split("__").map(|part| part.trim().to_owned()).collect();
        // A list with an empty part cannot be understood and says nothing.
        parts.iter().all(|part| !part.is_empty()).then_some((label, parts))
    };
    LABELS.into_iter().filter_map(values).collect()
}

fn places_of_pod(pod: &PodFacts, snapshot: &Snapshot) -> Result<Vec<Place>, String> {
    let storage = &snapshot.catalogue.storage;
    let mut all = Vec::new();
    for used in pod.claims.iter().filter(|used| !used.ephemeral) {
        let name = &used.name;
        if name.is_empty() {
            return Err("PersistentVolumeClaim had no name".to_owned());
        }
        let claim = storage.claims.get(&format!("{}/{name}", pod.namespace));
        let claim = claim.ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
        let volume = volumes::volume_name(claim);
        if volume.is_empty() {
            let class = volumes::class_of(claim);
            if class.is_empty() {
                return Err("PersistentVolumeClaim had no pv name and storageClass name".to_owned());
            }
            let found = storage.classes.get(class);
            let found = found.ok_or_else(|| format!("storageclass.storage.k8s.io {class:?} not found"))?;
            match found.volume_binding_mode.as_deref() {
                Some("WaitForFirstConsumer") => continue,
                Some(_) => return Err("PersistentVolume had no name".to_owned()),
                None => return Err(format!("VolumeBindingMode not set for StorageClass {class:?}")),
            }
        }
        let found = storage.volumes.get(volume);
        all.extend(places(found.ok_or_else(|| format!("persistentvolume {volume:?} not found"))?));
    }
    Ok(all)
}

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }
    fn events(&self) -> Events {
        Events::STORAGE_CLASS | Events::NODE_ADDED | Events::NODE_LABELS | Events::CLAIM | Events::VOLUME
    }
    fn helps(&self, pod: &PodFacts, change: &Change, _: &Snapshot) -> bool {
        match &change.subject {
            Subject::StorageClass(pair) => {
                pair.old.is_none()
                    && pair
                        .new
                        .as_ref()
                        .is_some_and(|class| class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"))
            }
            Subject::Claim(pair) => pair.new.as_ref().is_some_and(|claim| {
                claim.metadata.namespace.as_deref().unwrap_or_default() == pod.namespace
                    && pod.claims.iter().any(|used| Some(&used.name) == claim.metadata.name.as_ref())
            }),
            Subject::Volume(pair) => match (&pair.old, &pair.new) {
                (Some(old), Some(new)) => places(old) != places(new),
                (_, new) => new.is_some(),
            },
            Subject::Node(pair) => pair.new.is_some(),
            _ => false,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        match places_of_pod(cycle.pod, cycle.snapshot) {
            Err(why) => Prepared::Reject(Rejection::unresolvable(why)),
            Ok(places) if places.is_empty() => Prepared::Skip,
            Ok(places) => Prepared::Ask(Box::new(Places(places))),
        }
    }
}

struct Places(Vec<Place>);

impl Filter for Places {
    fn check(&self, node: &NodeInfo) -> Verdict {
        let labels = node.labels();
        // A node without any of these labels is in a cluster of one zone.
        if !LABELS.iter().any(|label| labels.contains_key(*label)) {
            return Ok(());
        }
        let fits = |(label, values): &Place| {
            let here = labels.get(*label).or_else(|| labels.get(label_of_today(label)));
            here.is_some_and(|here| values.contains(here))
        };
        if self.0.iter().all(fits) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) had no available volume zone"))
    }
}
