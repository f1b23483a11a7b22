//! The scheduler over time: changes in, decisions out.

use super::yaml;
use crate::{
    config::{self, Configured},
    cycle::Chance,
    scheduler::{Decision, Scheduler},
};
use mk8s_client::pod::Pod;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

struct Trial {
    scheduler: Scheduler,
    now: Instant,
}

impl Trial {
    fn with(configuration: &str) -> Self {
        let Configured { profiles, backoff, .. } = config::read(configuration).expect("the configuration is good");
        Self { scheduler: Scheduler::new(profiles, backoff), now: Instant::now() }
    }

    fn node(&mut self, name: &str, cpu: &str) {
        let node = format!(
            "{{metadata: {{name: {name}}}, status: {{allocatable: {{cpu: '{cpu}', memory: 8Gi, pods: '9'}}}}}}"
        );
        self.scheduler.node_applied(yaml(&node), self.now);
    }

    /// A pod of one CPU, with further fields of its spec.
    fn pod(&mut self, name: &str, spec: &str) {
        self.apply(name, spec, "");
    }

    fn apply(&mut self, name: &str, spec: &str, further: &str) {
        let requests = "containers: [{name: c, resources: {requests: {cpu: '1'}}}]";
        let text =
            format!("{{metadata: {{name: {name}, namespace: n, uid: {name}}}, spec: {{{requests}{spec}}}{further}}}");
        self.scheduler.pod_applied(Arc::new(yaml::<Pod>(&text)), self.now);
    }

    fn later(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    fn next(&mut self) -> String {
        match self.scheduler.next(self.now, Chance::default()) {
            None => "nobody".to_owned(),
            Some(Decision::Bind { pod, node, .. }) => format!("{} to {node}", pod.name()),
            Some(Decision::Fail { pod, nominate, victims, .. }) => {
                let victims: Vec<&str> = victims.iter().map(|victim| victim.name()).collect();
                format!("{} waits for {nominate:?}, evicts {victims:?}", pod.name())
            }
        }
    }
}

#[test]
fn a_decision_counts_before_it_is_carried_out() {
    let mut trial = Trial::with("{}");
    trial.node("a", "1");
    trial.pod("p", "");
    trial.pod("q", "");
    assert_eq!(trial.next(), "p to a");
    assert_eq!(trial.next(), "q waits for None, evicts []");
    assert_eq!(trial.next(), "nobody");
    trial.scheduler.bound("p", false, trial.now);
    assert_eq!(trial.next(), "q to a", "the room of a failed binding is free");
    assert_eq!(trial.next(), "nobody", "an error waits its time out");
}

#[test]
fn a_rejected_pod_comes_back_when_what_it_lacks_appears() {
    let mut trial = Trial::with("{}");
    trial.node("a", "1");
    trial.pod("q", ", nodeSelector: {disk: ssd}");
    assert_eq!(trial.next(), "q waits for None, evicts []");
    trial.later(20);
    trial.node("b", "1");
    assert_eq!(trial.next(), "nobody", "a node without the label is no help");
    let node = "{metadata: {name: b, labels: {disk: ssd}}, status: {allocatable: {cpu: '1', pods: '9'}}}";
    trial.scheduler.node_applied(yaml(node), trial.now);
    assert_eq!(trial.next(), "q to b");
}

#[test]
fn gates_hold_a_pod_back() {
    let mut trial = Trial::with("{}");
    trial.node("a", "2");
    trial.pod("q", ", schedulingGates: [{name: g}]");
    assert_eq!(trial.next(), "nobody");
    trial.pod("q", "");
    assert_eq!(trial.next(), "q to a");
}

#[test]
fn each_scheduler_places_its_own() {
    let mut trial = Trial::with("profiles: [{schedulerName: default-scheduler}, {schedulerName: other}]");
    trial.node("a", "9");
    trial.pod("p", ", schedulerName: nobody");
    trial.pod("q", ", schedulerName: other");
    trial.pod("r", "");
    assert_eq!((trial.next(), trial.next(), trial.next()), ("q to a".into(), "r to a".into(), "nobody".into()));
}

#[test]
fn room_is_kept_until_the_victims_have_gone() {
    let mut trial = Trial::with("{}");
    trial.node("a", "1");
    trial.pod("low", "");
    assert_eq!(trial.next(), "low to a");
    trial.pod("low", ", nodeName: a");
    trial.pod("high", ", priority: 10");
    assert_eq!(trial.next(), "high waits for Some(\"a\"), evicts [\"low\"]");
    trial.later(20);
    trial.scheduler.preempted("high", false, trial.now);
    trial.pod("between", ", priority: 5");
    trial.scheduler.pod_deleted("low", trial.now);
    assert_eq!(trial.next(), "high to a");
    assert_eq!(trial.next(), "between waits for None, evicts []");
}

#[test]
fn a_pod_that_goes_is_forgotten_everywhere() {
    let mut trial = Trial::with("{}");
    trial.node("a", "1");
    trial.pod("p", "");
    trial.pod("q", "");
    assert_eq!(trial.next(), "p to a");
    trial.scheduler.pod_deleted("q", trial.now);
    trial.scheduler.pod_deleted("p", trial.now);
    assert_eq!(trial.next(), "nobody");
    trial.pod("r", "");
    assert_eq!(trial.next(), "r to a");
    trial.scheduler.bound("r", true, trial.now);
    trial.apply("r", ", nodeName: a", ", status: {phase: Succeeded}");
    trial.pod("s", "");
    assert_eq!(trial.next(), "s to a");
}

#[test]
fn a_bound_pod_that_is_never_seen_loses_its_room() {
    let mut trial = Trial::with("{}");
    trial.node("a", "1");
    trial.pod("p", "");
    assert_eq!(trial.next(), "p to a");
    trial.scheduler.bound("p", true, trial.now);
    trial.later(60);
    assert!(trial.scheduler.expire(trial.now).is_empty());
    trial.later(3600);
    assert_eq!(trial.scheduler.expire(trial.now), [("n/p".to_owned(), "a".to_owned())]);
    trial.pod("q", "");
    assert_eq!(trial.next(), "q to a");
}

#[test]
fn a_pod_waits_for_its_claims_and_a_device_is_promised_once() {
    let mut trial = Trial::with("{}");
    trial.node("a", "9");
    let now = trial.now;
    let class = "{metadata: {name: gpu}, spec: {}}";
    trial.scheduler.device_class_changed(&Arc::new(yaml(class)), true, now);
    let slice = "{metadata: {name: s}, spec: {driver: d, nodeName: a, pool: {name: a, generation: 1, resourceSliceCount: 1}, devices: [{name: g}]}}";
    trial.scheduler.slice_changed(&Arc::new(yaml(slice)), true, now);
    let claim = |name: &str, version: u32, status: &str| {
        let owner =
            format!("ownerReferences: [{{apiVersion: v1, kind: Pod, name: {name}, uid: {name}, controller: true}}]");
        let meta = format!("{{name: {name}-x, namespace: n, uid: {name}-x, resourceVersion: '{version}', {owner}}}");
        let spec = "{devices: {requests: [{name: r, exactly: {deviceClassName: gpu}}]}}";
        Arc::new(yaml(&format!("{{metadata: {meta}, spec: {spec}{status}}}")))
    };
    let wants = ", resourceClaims: [{name: c, resourceClaimTemplateName: t}]";
    for name in ["p", "q"] {
        trial.pod(name, wants);
    }
    assert_eq!(trial.next(), "nobody", "the claims are not made yet");
    assert_eq!(trial.scheduler.sizes().waiting[3], 2);
    for name in ["p", "q"] {
        trial.scheduler.claim_changed(&claim(name, 1, ""), true, now);
    }
    assert_eq!(trial.next(), "nobody", "the pods do not say which claims are their own");
    for name in ["p", "q"] {
        let made = format!(", status: {{resourceClaimStatuses: [{{name: c, resourceClaimName: {name}-x}}]}}");
        trial.apply(name, wants, &made);
    }
    assert_eq!(trial.next(), "p to a");
    assert_eq!(trial.next(), "q waits for None, evicts []", "the only device is promised");
    let allocated = ", status: {allocation: {devices: {results: [{request: r, driver: d, pool: a, device: g}]}}, reservedFor: [{resource: pods, name: p, uid: p}]}";
    trial.scheduler.claim_changed(&claim("p", 3, allocated), true, now);
    trial.scheduler.bound("p", true, now);
    trial.apply("p", &format!(", nodeName: a{wants}"), "");
    trial.scheduler.claim_changed(&claim("p", 2, ""), true, now);
    trial.later(20);
    assert_eq!(trial.next(), "nobody", "an older version of the claim takes nothing back");
    trial.scheduler.claim_changed(&claim("p", 4, ""), true, trial.now);
    assert_eq!(trial.next(), "q to a", "what is given back is free");
}
