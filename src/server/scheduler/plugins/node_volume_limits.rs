//! A CSI driver can attach so many volumes to a node.

use crate::{
    catalogue::Storage,
    change::{Change, Subject},
    events::Events,
    framework::*,
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
    volumes,
};
use k8s_openapi::api::storage::v1::CSINode;
use std::collections::{BTreeMap, HashMap};

pub struct NodeVolumeLimits;

impl Plugin for NodeVolumeLimits {
    fn name(&self) -> &'static str {
        "NodeVolumeLimits"
    }
    fn events(&self) -> Events {
        Events::CSI_NODE | Events::POD_GONE | Events::CLAIM | Events::ATTACHMENT
    }
    fn helps(&self, pod: &PodFacts, change: &Change, _: &Snapshot) -> bool {
        match &change.subject {
            Subject::CsiNode(pair) => match (&pair.old, &pair.new) {
                (Some(old), Some(new)) => {
                    let old = limits(Some(old));
                    limits(Some(new)).iter().any(|(driver, limit)| *limit > old.get(driver).copied().unwrap_or(0))
                }
                (_, new) => new.is_some(),
            },
            Subject::Pod(pair) => pair.old.as_ref().is_some_and(|gone| !gone.claims.is_empty()),
            Subject::Claim(pair) => {
                pair.old.is_none()
                    && pair.new.as_ref().is_some_and(|claim| {
                        claim.metadata.namespace.as_deref().unwrap_or_default() == pod.namespace
                            && pod.claims.iter().any(|used| Some(&used.name) == claim.metadata.name.as_ref())
                    })
            }
            Subject::Attachment(pair) => pair.new.is_none() && !pod.claims.is_empty(),
            _ => false,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        if cycle.pod.claims.is_empty() {
            return Prepared::Skip;
        }
        let storage = &cycle.snapshot.catalogue.storage;
        match csi_volumes(cycle.pod, storage, true) {
            // VolumeBinding says what is wrong with the claims.
            Err(_) => Prepared::Skip,
            Ok(wanted) if wanted.is_empty() => Prepared::Skip,
            Ok(wanted) => Prepared::Ask(Box::new(Limits { storage, wanted })),
        }
    }
}

/// Volumes by what makes them unique, with their driver.
type Attached = BTreeMap<String, String>;

struct Limits<'a> {
    storage: &'a Storage,
    wanted: Attached,
}

impl Filter for Limits<'_> {
    fn looks_at_pods(&self) -> bool {
        true
    }

    fn check(&self, node: &NodeInfo) -> Verdict {
        let limits = limits(self.storage.csi_nodes.get(node.name()).map(AsRef::as_ref));
        if limits.is_empty() {
            return Ok(());
        }
        let mut attached = Attached::new();
        for pod in &node.pods {
            // Of a pod with a node, what cannot be read does not count.
            attached.extend(csi_volumes(pod, self.storage, false).unwrap_or_default());
        }
        let mut counts: HashMap<&str, i64> = HashMap::new();
        let elsewhere = attachments(self.storage, node.name());
        let unseen = elsewhere.iter().filter(|(volume, _)| !attached.contains_key(*volume));
        for (_, driver) in attached.iter().chain(unseen) {
            *counts.entry(driver).or_default() += 1;
        }
        for (_, driver) in self.wanted.iter().filter(|(volume, _)| !attached.contains_key(*volume)) {
            let count = counts.entry(driver).or_default();
            *count += 1;
            if limits.get(driver).is_some_and(|limit| *count > *limit) {
                return Err(Rejection::resolvable("node(s) exceed max volume count"));
            }
        }
        Ok(())
    }
}

fn limits(node: Option<&CSINode>) -> BTreeMap<String, i64> {
    let drivers = node.map(|node| node.spec.drivers.as_slice()).unwrap_or_default();
    let limit = |driver: &k8s_openapi::api::storage::v1::CSINodeDriver| {
        Some((driver.name.clone(), i64::from(driver.allocatable.as_ref()?.count?)))
    };
    drivers.iter().filter_map(limit).collect()
}

fn attachments(storage: &Storage, node: &str) -> Attached {
    let here = storage.attachments.values().filter(|attachment| attachment.spec.node_name == node);
    let volume = |attachment: &std::sync::Arc<k8s_openapi::api::storage::v1::VolumeAttachment>| {
        let name = attachment.spec.source.persistent_volume_name.as_deref()?;
        let handle = &storage.volumes.get(name)?.spec.as_ref()?.csi.as_ref()?.volume_handle;
        let driver = &attachment.spec.attacher;
        (!driver.is_empty()).then(|| (format!("{driver}/{handle}"), driver.clone()))
    };
    here.filter_map(volume).collect()
}

/// The CSI volumes of a pod: those of bound claims, and those that are going to be provisioned.
fn csi_volumes(pod: &PodFacts, storage: &Storage, is_new: bool) -> Result<Attached, String> {
    let mut all = Attached::new();
    for used in &pod.claims {
        let key = format!("{}/{}", pod.namespace, used.name);
        let Some(claim) = storage.claims.get(&key) else {
            if is_new {
                let missing = format!("persistentvolumeclaim {:?} not found", used.name);
                return Err(format!("looking up PVC {key}: {missing}"));
            }
            continue;
        };
        volumes::check_owner(&pod.pod, claim, used)?;
        let name = volumes::volume_name(claim);
        let (driver, handle) = match storage.volumes.get(name) {
            Some(volume) => match volume.spec.as_ref().and_then(|spec| spec.csi.as_ref()) {
                Some(csi) => (csi.driver.clone(), csi.volume_handle.clone()),
                None => continue,
            },
            // It has no volume yet: what its class makes counts, under a name of its own.
            None => match storage.classes.get(volumes::class_of(claim)) {
                Some(class) => (class.provisioner.clone(), format!("claim {key}")),
                None => continue,
            },
        };
        if !driver.is_empty() && !handle.is_empty() {
            all.insert(format!("{driver}/{handle}"), driver);
        }
    }
    Ok(all)
}
