//! The scheduler's decisions as tables: a cluster and a pod in YAML, the node, the victims or the message out.

mod affinity;
mod devices;
mod filters;
mod preemption;
mod properties;
mod queue;
mod scheduler;
mod scores;
mod spread;
mod volumes;

use crate::{
    catalogue::Budget,
    config,
    cycle::{Chance, Outcome, schedule},
    framework::Cycle,
    pod_facts::PodFacts,
    preemption::Preemption,
    profile::Profile,
    selector,
    snapshot::Snapshot,
    volumes::claim_key,
};
use expect_test::Expect;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Service},
    policy::v1::PodDisruptionBudget,
    resource::v1::{DeviceClass, DeviceRequestAllocationResult, ResourceClaim, ResourceSlice},
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass},
};
use mk8s_client::pod::Pod;
use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct Case {
    nodes: Vec<Node>,
    placed: Vec<Pod>,
    pod: Pod,
    namespaces: Vec<Namespace>,
    services: Vec<Service>,
    replica_sets: Vec<ReplicaSet>,
    budgets: Vec<PodDisruptionBudget>,
    claims: Vec<PersistentVolumeClaim>,
    volumes: Vec<PersistentVolume>,
    classes: Vec<StorageClass>,
    csi_nodes: Vec<CSINode>,
    csi_drivers: Vec<CSIDriver>,
    capacities: Vec<CSIStorageCapacity>,
    resource_claims: Vec<ResourceClaim>,
    device_classes: Vec<DeviceClass>,
    slices: Vec<ResourceSlice>,
    now: Timestamp,
    /// Pods that room is kept for, on the node of their status.
    nominated: Vec<Pod>,
}

fn facts(mut pod: Pod) -> Arc<PodFacts> {
    pod.metadata.uid.get_or_insert_with(|| pod.metadata.name.clone().unwrap_or_default());
    Arc::new(PodFacts::of(Arc::new(pod)))
}

fn yaml<T: serde::de::DeserializeOwned>(text: &str) -> T {
    serde_yaml::from_str(text).expect("the case is YAML")
}

fn name(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> String {
    metadata.name.clone().expect("an object has a name")
}

impl Case {
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for node in &self.nodes {
            snapshot.set_node(node.clone());
        }
        for namespace in &self.namespaces {
            let labels = namespace.metadata.labels.clone().unwrap_or_default();
            snapshot.set_namespace(&name(&namespace.metadata), Some(labels));
        }
        let of = |namespace: &Option<String>| namespace.clone().unwrap_or_default();
        let catalogue = &mut snapshot.catalogue;
        for service in &self.services {
            let chosen = service.spec.as_ref().and_then(|spec| spec.selector.clone());
            catalogue.set_service(&of(&service.metadata.namespace), &name(&service.metadata), chosen);
        }
        for set in &self.replica_sets {
            let chosen = selector::of(set.spec.as_ref().map(|spec| &spec.selector), Vec::new());
            let namespace = of(&set.metadata.namespace);
            catalogue.set_owner("ReplicaSet", &namespace, &name(&set.metadata), Some(chosen));
        }
        for budget in &self.budgets {
            catalogue.budgets.insert(name(&budget.metadata), Budget::of(budget));
        }
        let storage = &mut catalogue.storage;
        for claim in &self.claims {
            storage.claims.insert(claim_key(claim), Arc::new(claim.clone()));
        }
        for volume in &self.volumes {
            storage.volumes.insert(name(&volume.metadata), Arc::new(volume.clone()));
        }
        for class in &self.classes {
            storage.classes.insert(name(&class.metadata), Arc::new(class.clone()));
        }
        for node in &self.csi_nodes {
            storage.csi_nodes.insert(name(&node.metadata), Arc::new(node.clone()));
        }
        for driver in &self.csi_drivers {
            storage.csi_drivers.insert(name(&driver.metadata), Arc::new(driver.clone()));
        }
        for capacity in &self.capacities {
            storage.capacities.insert(name(&capacity.metadata), Arc::new(capacity.clone()));
        }
        let devices = &mut catalogue.devices;
        for class in &self.device_classes {
            devices.set_class(class, true);
        }
        for slice in &self.slices {
            devices.set_slice(&Arc::new(slice.clone()), true);
        }
        for claim in &self.resource_claims {
            devices.set_claim(&Arc::new(claim.clone()), true);
        }
        for pod in &self.placed {
            let node = pod.spec.as_ref().and_then(|s| s.node_name.clone()).expect("a placed pod names its node");
            snapshot.place(&node, facts(pod.clone()));
        }
        for pod in &self.nominated {
            let pod = facts(pod.clone());
            let node = pod.nominated_node().expect("a nominated pod names its node").to_owned();
            snapshot.nominate(pod, &node);
        }
        snapshot
    }

    fn decide(&self, profile: &Profile) -> String {
        let mut snapshot = self.snapshot();
        let pod = facts(self.pod.clone());
        let needs = snapshot.prepare(&pod, &profile.spread_defaults);
        let cycle = Cycle { pod: &pod, snapshot: &snapshot, needs: &needs, now: self.now };
        match schedule(profile, cycle, &mut 0, Chance::default(), None) {
            Outcome::Node(slot) => {
                let node = snapshot.at(slot);
                let plan = crate::devices::plan(cycle, node).expect("what was let through can be allocated");
                format!("{}{}", node.name(), given(&plan))
            }
            Outcome::Unschedulable { preemption: Preemption::Deallocate { claim, .. }, error } => {
                format!("deallocate {}: {error}", name(&claim.metadata))
            }
            Outcome::Unschedulable { preemption: Preemption::Evict { node, victims }, .. } => {
                let victims: Vec<&str> = victims.iter().map(|victim| victim.name()).collect();
                format!("evict {} on {}", victims.join(", "), snapshot.at(node).name())
            }
            Outcome::Unschedulable { error, .. } => error.to_string(),
        }
    }
}

/// The devices that claims get, by request.
fn given(plan: &crate::devices::DevicePlan) -> String {
    let results =
        plan.iter().filter_map(|claim| claim.allocation.as_ref()?.devices.as_ref()?.results.as_ref()).flatten();
    let given: Vec<String> = results.map(one_given).collect();
    if given.is_empty() { String::new() } else { format!(" with {}", given.join(", ")) }
}

/// Of a share, what it takes; of a device that has to be made ready, by what.
fn one_given(result: &DeviceRequestAllocationResult) -> String {
    let share = result.share_id.as_ref().map(|_| {
        let consumed = result.consumed_capacity.iter().flatten();
        let consumed: Vec<String> = consumed.map(|(name, amount)| format!("{name}: {}", amount.0)).collect();
        format!(" {{{}}}", consumed.join(", "))
    });
    let conditions = result.binding_conditions.as_ref().map(|conditions| format!(" once {}", conditions.join(", ")));
    let DeviceRequestAllocationResult { request, pool, device, .. } = result;
    format!("{request}: {pool}/{device}{}{}", share.unwrap_or_default(), conditions.unwrap_or_default())
}

/// What the default profile decides.
fn decided(case: &str) -> String {
    yaml::<Case>(case).decide(&config::default_profile())
}

fn check(case: &str, expected: Expect) {
    expected.assert_eq(&decided(case));
}

/// What the first profile of a configuration decides.
fn check_with(configuration: &str, case: &str, expected: Expect) {
    let configured = config::read(configuration).expect("the configuration is good");
    expected.assert_eq(&yaml::<Case>(case).decide(&configured.profiles[0]));
}
