//! The claims of a pod: those that are bound must be usable on the node, those that wait for their first consumer must be
//! bound or provisioned for it.

use crate::{
    change::{Change, Subject},
    events::Events,
    framework::*,
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
    volumes::{self, PodClaims},
};

pub struct VolumeBinding;

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }
    fn events(&self) -> Events {
        Events::STORAGE_CLASS
            | Events::CLAIM
            | Events::VOLUME
            | Events::NODE_ADDED
            | Events::NODE_LABELS
            | Events::CSI_NODE
            | Events::CSI_DRIVER
            | Events::CSI_CAPACITY
    }
    fn helps(&self, pod: &PodFacts, change: &Change, _: &Snapshot) -> bool {
        match &change.subject {
            Subject::Claim(pair) => {
                let used = |claim: &k8s_openapi::api::core::v1::PersistentVolumeClaim| {
                    claim.metadata.namespace.as_deref().unwrap_or_default() == pod.namespace
                        && pod.claims.iter().any(|used| Some(&used.name) == claim.metadata.name.as_ref())
                };
                pair.new.as_ref().is_some_and(|claim| used(claim))
            }
            Subject::StorageClass(pair) => match (&pair.old, &pair.new) {
                (Some(old), Some(new)) => old.allowed_topologies != new.allowed_topologies,
                (_, new) => new.is_some(),
            },
            Subject::CsiCapacity(pair) => {
                let limit = |capacity: &Option<std::sync::Arc<_>>| {
                    capacity
                        .as_ref()
                        .and_then(|capacity: &std::sync::Arc<_>| volumes::limit(capacity))
                        .map(|q| q.nanos())
                };
                pair.new.is_some() && (pair.old.is_none() || limit(&pair.new) > limit(&pair.old))
            }
            Subject::CsiDriver(pair) => {
                let tracked = |driver: &Option<std::sync::Arc<k8s_openapi::api::storage::v1::CSIDriver>>| {
                    driver.as_ref().and_then(|driver| driver.spec.storage_capacity).unwrap_or(false)
                };
                pair.new.is_some() && tracked(&pair.old) && !tracked(&pair.new)
            }
            Subject::Volume(pair) => pair.new.is_some(),
            Subject::Node(pair) => pair.new.is_some(),
            Subject::CsiNode(pair) => pair.new.is_some(),
            _ => false,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        if cycle.pod.claims.is_empty() {
            return Prepared::Skip;
        }
        let storage = &cycle.snapshot.catalogue.storage;
        let sorted = volumes::check_claims(cycle.pod, storage).and_then(|()| volumes::sort_claims(cycle.pod, storage));
        match sorted {
            Err(why) => Prepared::Reject(Rejection::unresolvable(why)),
            Ok(claims) if !claims.immediate.is_empty() => {
                Prepared::Reject(Rejection::unresolvable("pod has unbound immediate PersistentVolumeClaims"))
            }
            Ok(claims) => Prepared::Ask(Box::new(Usable { cycle, claims })),
        }
    }
}

struct Usable<'a> {
    cycle: Cycle<'a>,
    claims: PodClaims,
}

impl Filter for Usable<'_> {
    fn check(&self, node: &NodeInfo) -> Verdict {
        volumes::on_node(&self.claims, &self.cycle.snapshot.catalogue.storage, node).map(drop)
    }
}
