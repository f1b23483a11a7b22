//! What holds whatever the cluster: no node is overcommitted, nobody of the same or a higher priority is evicted, and the
//! kept counts are those of a walk over all pods.

use super::facts;
use crate::{
    config::Configured,
    cycle::Chance,
    index::counters::Handle,
    pod_facts::PodFacts,
    scheduler::{Decision, Scheduler},
};
use k8s_openapi::api::core::v1::Node;
use mk8s_client::pod::Pod;
use proptest::{collection::vec, prelude::*};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

#[derive(Debug, Clone)]
enum Step {
    Node { name: u8, cpu: u16, zone: u8 },
    NodeGone { name: u8 },
    Pod { name: u8, cpu: u16, priority: i32, shape: u8 },
    PodGone { name: u8 },
    Decide,
    Confirm { name: u8 },
    FailBinding { name: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..5u8, 500..3000u16, 0..3u8).prop_map(|(name, cpu, zone)| Step::Node { name, cpu, zone }),
        1 => (0..5u8).prop_map(|name| Step::NodeGone { name }),
        6 => (0..20u8, 0..1500u16, 0..4i32, 0..5u8).prop_map(|(name, cpu, priority, shape)| Step::Pod { name, cpu, priority, shape }),
        2 => (0..20u8).prop_map(|name| Step::PodGone { name }),
        8 => Just(Step::Decide),
        3 => (0..20u8).prop_map(|name| Step::Confirm { name }),
        1 => (0..20u8).prop_map(|name| Step::FailBinding { name }),
    ]
}

fn node(name: u8, cpu: u16, zone: u8) -> Node {
    let text = serde_json::json!({
        "metadata": {"name": format!("n{name}"), "labels": {"zone": format!("z{zone}"), "host": format!("n{name}")}},
        "status": {"allocatable": {"cpu": format!("{cpu}m"), "memory": "8Gi", "pods": "4"}},
    });
    serde_json::from_value(text).expect("a node")
}

fn pod(name: u8, cpu: u16, priority: i32, shape: u8) -> Pod {
    let term = serde_json::json!([{"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}]);
    let spread = serde_json::json!([{
        "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }]);
    let mut spec = serde_json::json!({
        "priority": priority,
        "containers": [{"name": "c", "resources": {"requests": {"cpu": format!("{cpu}m")}}}],
    });
    match shape {
        1 => spec["topologySpreadConstraints"] = spread,
        2 => spec["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = term,
        3 => spec["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = term,
        _ => {}
    }
    let text = serde_json::json!({
        "metadata": {"name": format!("p{name}"), "namespace": "n", "uid": format!("p{name}"), "labels": {"app": "web"}},
        "spec": spec,
    });
    serde_json::from_value(text).expect("a pod")
}

fn on_node(pod: &Arc<PodFacts>, node: &str) -> Arc<Pod> {
    let mut placed = Pod::clone(&pod.pod);
    placed.spec.get_or_insert_default().node_name = Some(node.to_owned());
    Arc::new(placed)
}

/// After the pod was placed, its node holds no more than it has, by a count that uses no kept sum.
fn holds_what_it_has(scheduler: &Scheduler, node: &str) -> bool {
    let info = scheduler.snapshot.node(node).expect("a pod was placed on the node");
    let cpu: i64 = info.pods.iter().map(|pod| pod.request.exact.milli_cpu).sum();
    cpu <= info.facts.allocatable.milli_cpu && info.pod_count() <= info.facts.allocatable.pods
}

/// The count that a pod with a term of `web` in its zone sees, and the count of a walk.
fn counts_agree(scheduler: &mut Scheduler) {
    let asker = facts(pod(99, 0, 0, 2));
    let needs = scheduler.snapshot.prepare(&asker, &crate::needs::SpreadDefaults::default());
    let (handle, column): (Handle, usize) = (needs.anti_affinity[0].counts, needs.anti_affinity[0].column);
    let snapshot = &scheduler.snapshot;
    for slot in snapshot.order() {
        let domain = snapshot.topology.domain(column, *slot).expect("every node has a zone");
        let same = |other: &&u32| snapshot.topology.domain(column, **other) == Some(domain);
        let there = || snapshot.order().iter().filter(same).flat_map(|other| &snapshot.at(*other).pods);
        let counted = snapshot.counters.at(handle).count(domain);
        assert_eq!(counted, i64::try_from(there().count()).expect("few pods"));
        let held: i64 = needs
            .held
            .iter()
            .map(|group| snapshot.held.at(*group))
            .filter(|group| group.holds == crate::terms::Holds::RequiredAntiAffinity)
            .map(|group| group.count(domain))
            .sum();
        let holders = there().filter(|pod| !pod.terms.required_anti_affinity.is_empty()).count();
        assert_eq!(held, i64::try_from(holders).expect("few pods"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn no_cycle_overcommits_and_no_equal_is_evicted(steps in vec(step(), 1..120)) {
        let Configured { profiles, backoff, .. } = Configured::default();
        let mut scheduler = Scheduler::new(profiles, backoff);
        let mut now = Instant::now();
        let mut decided: Vec<(Arc<PodFacts>, String)> = Vec::new();
        for step in steps {
            now += Duration::from_secs(3);
            match step {
                Step::Node { name, cpu, zone } => scheduler.node_applied(node(name, cpu, zone), now),
                Step::NodeGone { name } => scheduler.node_deleted(&format!("n{name}"), now),
                Step::Pod { name, cpu, priority, shape } => {
                    let uid = format!("p{name}");
                    if scheduler.snapshot.placed(&uid).is_none() {
                        scheduler.pod_applied(Arc::new(pod(name, cpu, priority, shape)), now);
                    }
                }
                Step::PodGone { name } => {
                    let uid = format!("p{name}");
                    decided.retain(|(pod, _)| *pod.uid != *uid);
                    scheduler.pod_deleted(&uid, now);
                }
                Step::Decide => match scheduler.next(now, Chance { tie_break: 7, offset: 3, ..Chance::default() }) {
                    None => {}
                    Some(Decision::Bind { pod, node, .. }) => {
                        prop_assert!(holds_what_it_has(&scheduler, &node), "{} on {node}", pod.key);
                        decided.push((pod, node));
                    }
                    Some(Decision::Fail { pod, victims, .. }) => {
                        for victim in &victims {
                            prop_assert!(victim.priority < pod.priority);
                            scheduler.pod_deleted(&victim.uid, now);
                            decided.retain(|(pod, _)| pod.uid != victim.uid);
                        }
                        scheduler.preempted(&pod.uid, false, now);
                    }
                },
                Step::Confirm { name } => {
                    let uid = format!("p{name}");
                    if let Some(at) = decided.iter().position(|(pod, _)| *pod.uid == *uid) {
                        let (pod, node) = decided.remove(at);
                        scheduler.bound(&uid, true, now);
                        scheduler.pod_applied(on_node(&pod, &node), now);
                    }
                }
                Step::FailBinding { name } => {
                    let uid = format!("p{name}");
                    if let Some(at) = decided.iter().position(|(pod, _)| *pod.uid == *uid) {
                        decided.remove(at);
                        scheduler.bound(&uid, false, now);
                    }
                }
            }
            counts_agree(&mut scheduler);
        }
    }
}
