//! Which nodes get a pod, which pods go, and what is reported.

use super::fit::{Fit, fit};
use crate::common::{
    claims::{Claim, claim, controller_ref},
    history::POD_HASH,
    pods::{self, WholePod, from_template, is_available, is_ready},
    selectors,
    updates::{positive, scaled},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetStatus},
        core::v1::{Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Toleration},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use mk8s_client::{events::EventType, kube::ResourceExt, pod::Pod};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(super) struct Observed {
    pub(super) set: Arc<DaemonSet>,
    /// Its pods, and those of no one.
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) nodes: Vec<Arc<Node>>,
    /// Of the template that pods should have.
    pub(super) hash: String,
    /// Nodes on which failed pods are left alone yet, and how long.
    pub(super) paused: BTreeMap<String, Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Release { pod: String },
    Adopt { pod: String },
    Delete { pods: Vec<String> },
    Create { nodes: Vec<String> },
}

pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    pub(super) events: Vec<(EventType, &'static str, String)>,
    /// Nodes of failed pods that go now.
    pub(super) failed_on: Vec<String>,
    pub(super) status: Option<DaemonSetStatus>,
    pub(super) look_again: Option<Duration>,
}

struct OnNode<'a> {
    name: String,
    fit: Fit,
    /// The oldest first.
    pods: Vec<&'a Arc<Pod>>,
}

struct Draft<'a> {
    now: Timestamp,
    min_ready: i32,
    hash: &'a str,
    paused: &'a BTreeMap<String, Duration>,
    failed_on: Vec<String>,
    delete: Vec<String>,
    create: Vec<String>,
    events: Vec<(EventType, &'static str, String)>,
    look_again: Option<Duration>,
}

pub(super) fn plan(now: Timestamp, observed: &Observed) -> Plan {
    let set = observed.set.as_ref();
    let (mut actions, own) = claim_pods(observed);
    let template = daemon_spec(set);
    let mut on_nodes = place(observed, &own, &template);
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default();
    let mut draft = Draft {
        now,
        min_ready,
        hash: &observed.hash,
        paused: &observed.paused,
        failed_on: Vec::new(),
        delete: Vec::new(),
        create: Vec::new(),
        events: Vec::new(),
        look_again: None,
    };
    let status = report(observed, &on_nodes, now, min_ready);
    if set.metadata.deletion_timestamp.is_none() {
        let (surge, unavailable) = limits(set, status.desired_number_scheduled);
        for node in &on_nodes {
            draft.manage(node, surge > 0);
        }
        // Pods on nodes that are gone go, too.
        let known: Vec<&str> = observed.nodes.iter().filter_map(|node| node.metadata.name.as_deref()).collect();
        let stray = own.iter().filter(|pod| target(pod).is_none_or(|node| !known.contains(&node.as_str())));
        draft.delete.extend(stray.filter(|pod| pods::is_active(pod)).map(|pod| pod.name_any()));
        let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref());
        let rolls = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("OnDelete");
        if rolls && draft.delete.is_empty() && draft.create.is_empty() {
            on_nodes.retain(|node| node.fit.should_run || !node.pods.is_empty());
            if surge > 0 {
                draft.roll_surging(&on_nodes, surge, status.desired_number_scheduled)
            } else {
                draft.roll(&on_nodes, unavailable)
            }
        }
    }
    let Draft { mut delete, mut create, events, failed_on, look_again, .. } = draft;
    delete.sort();
    delete.dedup();
    create.sort();
    actions.extend((!delete.is_empty()).then_some(Action::Delete { pods: delete }));
    actions.extend((!create.is_empty()).then_some(Action::Create { nodes: create }));
    let waits = own.iter().filter_map(|pod| pods::available_in(pod, min_ready, now)).filter(|wait| !wait.is_zero());
    let changed = set.status.as_ref() != Some(&status);
    Plan { actions, events, failed_on, status: changed.then_some(status), look_again: waits.chain(look_again).min() }
}

fn claim_pods(observed: &Observed) -> (Vec<Action>, Vec<Arc<Pod>>) {
    let set = observed.set.as_ref();
    let selector = selectors::compile(set.spec.as_ref().map(|spec| &spec.selector));
    let (mut actions, mut own) = (Vec::new(), Vec::new());
    for pod in &observed.pods {
        let selected = selector.as_ref().is_some_and(|selector| selector.matches(&pod.metadata.labels));
        match claim(&set.metadata, &pod.metadata, selected) {
            Claim::Own => own.push(pod.clone()),
            Claim::Adopt => {
                actions.push(Action::Adopt { pod: pod.name_any() });
                own.push(pod.clone());
            }
            Claim::Release => actions.push(Action::Release { pod: pod.name_any() }),
            Claim::Ignore => {}
        }
    }
    actions.sort();
    (actions, own)
}

fn place<'a>(observed: &Observed, own: &'a [Arc<Pod>], template: &PodSpec) -> Vec<OnNode<'a>> {
    let mut by_node: BTreeMap<String, Vec<&Arc<Pod>>> = BTreeMap::new();
    // Of one that has ended and goes nothing is expected any more; somebody may hold it for long.
    let counts = |pod: &&Arc<Pod>| !(pods::is_finished(pod) && pod.metadata.deletion_timestamp.is_some());
    for pod in own.iter().filter(counts) {
        if let Some(node) = target(pod) {
            by_node.entry(node).or_default().push(pod);
        }
    }
    let nodes = observed.nodes.iter().map(|node| {
        let mut pods = by_node.remove(&node.name_any()).unwrap_or_default();
        pods.sort_by_key(|pod| (pods::node(pod).is_empty(), pod.metadata.creation_timestamp.clone(), pod.name_any()));
        OnNode { name: node.name_any(), fit: fit(template, node), pods }
    });
    nodes.collect()
}

/// The node of a pod: where it runs, or where its affinity binds it to.
fn target(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.as_ref().filter(|node| !node.is_empty()) {
        return Some(node.clone());
    }
    let required = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = required.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields = required.node_selector_terms.iter().flat_map(|term| term.match_fields.iter().flatten());
    let by_name = fields.into_iter().find(|field| field.key == "metadata.name" && field.operator == "In")?;
    by_name.values.as_ref()?.first().cloned()
}

impl Draft<'_> {
    /// Brings a node to the pods it should have, whatever their version.
    fn manage(&mut self, node: &OnNode<'_>, surges: bool) {
        if !node.fit.may_stay {
            self.delete.extend(node.pods.iter().filter(|pod| pods::is_active(pod)).map(|pod| pod.name_any()));
            return;
        }
        if node.pods.is_empty() {
            if node.fit.should_run {
                self.create.push(node.name.clone());
            }
            return;
        }
        let mut running = Vec::new();
        for pod in node.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
            let place =
                format!("daemon pod {}/{} on node {}", pod.namespace().unwrap_or_default(), pod.name_any(), node.name);
            match pods::phase(pod) {
                "Failed" => {
                    if let Some(wait) = self.paused.get(&node.name) {
                        self.look_again = Some(self.look_again.map_or(*wait, |known| known.min(*wait)));
                        continue;
                    }
                    self.failed_on.push(node.name.clone());
                    self.events.push((
                        EventType::Warning,
                        "FailedDaemonPod",
                        format!("Found failed {place}, will try to kill it"),
                    ));
                    self.delete.push(pod.name_any());
                }
                "Succeeded" => {
                    self.events.push((
                        EventType::Normal,
                        "SucceededDaemonPod",
                        format!("Found succeeded {place}, will try to delete it"),
                    ));
                    self.delete.push(pod.name_any());
                }
                _ => running.push(*pod),
            }
        }
        if !surges {
            self.delete.extend(running.iter().skip(1).map(|pod| pod.name_any()));
            return;
        }
        if running.is_empty() && node.fit.should_run {
            self.create.push(node.name.clone());
        }
        // Two may be there while the new one becomes available.
        let (new, old): (Vec<_>, Vec<_>) = running.into_iter().partition(|pod| self.is_new(pod));
        self.delete.extend(new.iter().skip(1).chain(old.iter().skip(1)).map(|pod| pod.name_any()));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!is_ready(old) || is_available(new, self.min_ready, self.now))
        {
            self.delete.push(old.name_any());
        }
    }

    fn is_new(&self, pod: &Pod) -> bool {
        pod.labels().get(POD_HASH).is_some_and(|hash| hash == self.hash)
    }

    /// Of a node the pod of the new and the one of an old version; those that are being deleted do not count.
    fn versions<'p>(&self, node: &OnNode<'p>) -> (Option<&'p Arc<Pod>>, Option<&'p Arc<Pod>>) {
        let alive = || node.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).copied();
        (alive().find(|pod| self.is_new(pod)), alive().find(|pod| !self.is_new(pod)))
    }

    /// Deletes old pods: those that are not available, and of the others as many as may be missing.
    fn roll(&mut self, nodes: &[OnNode<'_>], unavailable: i32) {
        let (mut missing, mut candidates) = (0, Vec::new());
        for node in nodes {
            match self.versions(node) {
                (None, Some(old)) if is_available(old, self.min_ready, self.now) => candidates.push(old.name_any()),
                (None, Some(old)) => {
                    missing += 1;
                    self.delete.push(old.name_any());
                }
                (Some(new), None) if is_available(new, self.min_ready, self.now) => {}
                _ => missing += 1,
            }
        }
        candidates.truncate(usize::try_from(unavailable - missing).unwrap_or_default());
        self.delete.extend(candidates);
    }

    /// Creates new pods beside old ones; an old one goes when its successor is available, or, on a node where none is
    /// wanted any more, when it is not missed.
    fn roll_surging(&mut self, nodes: &[OnNode<'_>], surge: i32, desired: i32) {
        let (mut surging, mut available, mut candidates, mut leaving) = (0, 0, Vec::new(), Vec::new());
        for node in nodes {
            let is_there = |pod: &Pod| is_available(pod, self.min_ready, self.now);
            let (new, old) = self.versions(node);
            available += i32::from(old.or(new).is_some_and(|pod| is_there(pod)));
            match (new, old) {
                (None, Some(old)) if !node.fit.should_run && is_there(old) => leaving.push(old.name_any()),
                (None, Some(old)) if !node.fit.should_run => self.delete.push(old.name_any()),
                (None, Some(old)) if is_there(old) => candidates.push(node.name.clone()),
                (None, Some(_)) => self.create.push(node.name.clone()),
                (Some(new), Some(old)) if is_there(new) => self.delete.push(old.name_any()),
                (Some(_), Some(_)) => surging += 1,
                _ => {}
            }
        }
        candidates.truncate(usize::try_from(surge - surging).unwrap_or_default());
        self.create.extend(candidates);
        leaving.truncate(usize::try_from(available - desired).unwrap_or_default());
        self.delete.extend(leaving);
    }
}

fn limits(set: &DaemonSet, desired: i32) -> (i32, i32) {
    let strategy = set.spec.as_ref().and_then(|spec| spec.update_strategy.as_ref()?.rolling_update.as_ref());
    let one = IntOrString::Int(1);
    let surge =
        strategy.and_then(|strategy| strategy.max_surge.as_ref()).map_or(0, |surge| scaled(surge, desired, true));
    let unavailable = strategy.and_then(|strategy| strategy.max_unavailable.as_ref()).unwrap_or(&one);
    let unavailable = scaled(unavailable, desired, true);
    (surge, if surge == 0 { unavailable.max(1) } else { unavailable })
}

fn report(observed: &Observed, nodes: &[OnNode<'_>], now: Timestamp, min_ready: i32) -> DaemonSetStatus {
    let set = observed.set.as_ref();
    let mut status = DaemonSetStatus {
        observed_generation: set.metadata.generation,
        collision_count: set.status.as_ref().and_then(|status| status.collision_count),
        conditions: set.status.as_ref().and_then(|status| status.conditions.clone()),
        ..DaemonSetStatus::default()
    };
    let (mut updated, mut available) = (0, 0);
    for node in nodes {
        if !node.fit.should_run {
            status.number_misscheduled += i32::from(!node.pods.is_empty());
            continue;
        }
        status.desired_number_scheduled += 1;
        status.current_number_scheduled += i32::from(!node.pods.is_empty());
        // Of two the older one counts.
        let Some(pod) = node.pods.first() else { continue };
        status.number_ready += i32::from(is_ready(pod));
        available += i32::from(is_available(pod, min_ready, now));
        updated += i32::from(pod.labels().get(POD_HASH) == Some(&observed.hash));
    }
    status.updated_number_scheduled = positive(updated);
    status.number_available = positive(available);
    status.number_unavailable = positive(status.desired_number_scheduled - available);
    status
}

/// The template's spec with what daemon pods tolerate: trouble of their node is no reason to leave it.
fn daemon_spec(set: &DaemonSet) -> PodSpec {
    let mut spec = set.spec.as_ref().and_then(|spec| spec.template.spec.clone()).unwrap_or_default();
    let mut tolerated = vec![
        ("node.kubernetes.io/not-ready", "NoExecute"),
        ("node.kubernetes.io/unreachable", "NoExecute"),
        ("node.kubernetes.io/disk-pressure", "NoSchedule"),
        ("node.kubernetes.io/memory-pressure", "NoSchedule"),
        ("node.kubernetes.io/pid-pressure", "NoSchedule"),
        ("node.kubernetes.io/unschedulable", "NoSchedule"),
    ];
    if spec.host_network == Some(true) {
        tolerated.push(("node.kubernetes.io/network-unavailable", "NoSchedule"));
    }
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in tolerated {
        let toleration = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        if !tolerations.contains(&toleration) {
            tolerations.push(toleration);
        }
    }
    spec
}

/// A pod for one node: the scheduler binds it there and nowhere else.
pub(super) fn new_pod(set: &DaemonSet, node: &str, hash: &str) -> WholePod {
    let Some(spec) = set.spec.as_ref() else { return WholePod::default() };
    let mut pod = from_template(&spec.template, &set.name_any(), controller_ref(set));
    pod.labels_mut().insert(POD_HASH.to_owned(), hash.to_owned());
    let generation = set.annotations().get("deprecated.daemonset.template.generation");
    let generation = generation.cloned().unwrap_or_else(|| set.metadata.generation.unwrap_or(1).to_string());
    pod.labels_mut().insert("pod-template-generation".to_owned(), generation);
    let mut spec = daemon_spec(set);
    bind(&mut spec, node);
    pod.spec = Some(spec);
    pod
}

/// Each term of the required affinity also names the node.
fn bind(spec: &mut PodSpec, node: &str) {
    let by_name = NodeSelectorRequirement {
        key: "metadata.name".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let affinity: &mut NodeAffinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    let required: &mut NodeSelector =
        affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
    if required.node_selector_terms.is_empty() {
        required.node_selector_terms.push(NodeSelectorTerm::default());
    }
    for term in &mut required.node_selector_terms {
        term.match_fields = Some(vec![by_name.clone()]);
    }
}
