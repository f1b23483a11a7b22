//! Volumes that cannot be used twice: disks of old volume types, on one node; claims with `ReadWriteOncePod`, anywhere.

use crate::{
    change::{Change, Subject},
    events::Events,
    framework::*,
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
};
use mk8s_client::pod::Volume;

pub struct VolumeRestrictions;

impl Plugin for VolumeRestrictions {
    fn name(&self) -> &'static str {
        "VolumeRestrictions"
    }
    fn events(&self) -> Events {
        Events::POD_GONE | Events::NODE_ADDED | Events::CLAIM
    }
    fn helps(&self, pod: &PodFacts, change: &Change, _: &Snapshot) -> bool {
        let uses = |name: Option<&String>| pod.claims.iter().any(|used| !used.ephemeral && Some(&used.name) == name);
        match &change.subject {
            Subject::Pod(pair) => pair.old.as_ref().is_some_and(|gone| {
                gone.namespace == pod.namespace
                    && (disk_conflict(pod, gone) || gone.claims.iter().any(|used| uses(Some(&used.name))))
            }),
            Subject::Claim(pair) => {
                pair.old.is_none()
                    && pair.new.as_ref().is_some_and(|claim| {
                        claim.metadata.namespace.as_deref().unwrap_or_default() == pod.namespace
                            && uses(claim.metadata.name.as_ref())
                    })
            }
            _ => true,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        let pod = cycle.pod;
        let disks = pod.volumes().iter().any(is_disk);
        if !disks && pod.claims.is_empty() {
            return Prepared::Skip;
        }
        let mut exclusive = Vec::new();
        let mut users = 0;
        for used in pod.claims.iter().filter(|used| !used.ephemeral) {
            let key = format!("{}/{}", pod.namespace, used.name);
            let Some(claim) = cycle.snapshot.catalogue.storage.claims.get(&key) else {
                return Prepared::Reject(Rejection::unresolvable(format!(
                    "persistentvolumeclaim {:?} not found",
                    used.name
                )));
            };
            let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
            if modes.iter().any(|mode| mode == "ReadWriteOncePod") {
                users += i64::from(cycle.snapshot.claim_is_used(&key));
                exclusive.push(used.name.as_str());
            }
        }
        if !disks && users == 0 {
            return Prepared::Skip;
        }
        Prepared::Ask(Box::new(Unshared { pod, exclusive, users, supposed: 0 }))
    }
}

struct Unshared<'a> {
    pod: &'a PodFacts,
    /// Claims that one pod at a time may use, and how many of them are in use.
    exclusive: Vec<&'a str>,
    users: i64,
    supposed: i64,
}

impl Filter for Unshared<'_> {
    fn looks_at_pods(&self) -> bool {
        true
    }

    fn check(&self, node: &NodeInfo) -> Verdict {
        if node.pods.iter().any(|other| disk_conflict(self.pod, other)) {
            return Err(Rejection::resolvable("node(s) had no available disk"));
        }
        if self.users + self.supposed > 0 {
            return Err(Rejection::resolvable(
                "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod",
            ));
        }
        Ok(())
    }

    fn suppose(&mut self, pod: &PodFacts, _: &NodeInfo, by: i64) {
        if pod.namespace != self.pod.namespace {
            return;
        }
        let shared = pod.claims.iter().filter(|used| !used.ephemeral && self.exclusive.contains(&used.name.as_str()));
        self.supposed += by * i64::try_from(shared.count()).unwrap_or(0);
    }

    fn forget(&mut self) {
        self.supposed = 0;
    }
}

fn is_disk(volume: &Volume) -> bool {
    volume.gce_persistent_disk.is_some()
        || volume.aws_elastic_block_store.is_some()
        || volume.iscsi.is_some()
        || volume.rbd.is_some()
}

fn disk_conflict(pod: &PodFacts, other: &PodFacts) -> bool {
    let disks = pod.volumes().iter().filter(|volume| is_disk(volume));
    disks.into_iter().any(|disk| other.volumes().iter().any(|held| conflicts(disk, held)))
}

/// Whether two pods cannot mount these on one node; most may be shared when both only read.
fn conflicts(one: &Volume, other: &Volume) -> bool {
    let both_read = |one: Option<bool>, other: Option<bool>| one == Some(true) && other == Some(true);
    if let (Some(a), Some(b)) = (&one.gce_persistent_disk, &other.gce_persistent_disk)
        && a.pd_name == b.pd_name
        && !both_read(a.read_only, b.read_only)
    {
        return true;
    }
    if let (Some(a), Some(b)) = (&one.aws_elastic_block_store, &other.aws_elastic_block_store)
        && a.volume_id == b.volume_id
    {
        return true;
    }
    if let (Some(a), Some(b)) = (&one.iscsi, &other.iscsi)
        && a.iqn == b.iqn
        && !both_read(a.read_only, b.read_only)
    {
        return true;
    }
    if let (Some(a), Some(b)) = (&one.rbd, &other.rbd) {
        let pool = |pool: &Option<String>| pool.clone().unwrap_or_else(|| "rbd".to_owned());
        return a.monitors.iter().any(|monitor| b.monitors.contains(monitor))
            && pool(&a.pool) == pool(&b.pool)
            && a.image == b.image
            && !both_read(a.read_only, b.read_only);
    }
    false
}
