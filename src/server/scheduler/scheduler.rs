//! The scheduler without its hands: what it knows, who waits, and what it decides next. Pure; the driver brings changes
//! and carries decisions out, benchmarks and tests do both themselves.
//!
//! Invariant: a decision to bind is counted on its node before the next decision is made, and stays so until the pod is
//! seen there, is gone, or the binding has failed.

use crate::{
    change::{Change, Pair, Subject},
    cycle::{Chance, Outcome, schedule},
    devices::{self, DevicePlan, allocate::Failure},
    events::Events,
    framework::Cycle,
    metrics::{Metrics, Sizes},
    pod_facts::{PodFacts, scheduler_name},
    preemption::Preemption,
    profile::{PluginSet, Profile},
    queue::{self, Backoff, Queue, Tries},
    snapshot::Snapshot,
    volumes::{self, VolumePlan},
};
use k8s_openapi::api::{
    core::v1::Node,
    resource::v1::{DeviceClass, ResourceClaim, ResourceSlice},
};
use mk8s_client::pod::Pod;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// For how long a bound pod is counted on its node without having been seen there.
const ASSUMED_LONGEST: Duration = Duration::from_secs(15 * 60);

/// What to do about one pod.
#[derive(Debug)]
pub enum Decision {
    Bind {
        pod: Arc<PodFacts>,
        node: String,
        /// What has to be done to its volumes before.
        volumes: VolumePlan,
        /// Its claims on devices that have to be allocated or reserved before.
        devices: DevicePlan,
        tries: Option<Tries>,
    },
    Fail {
        pod: Arc<PodFacts>,
        message: String,
        /// The node to write in its status, the empty name to erase what is there, or nothing to leave it.
        nominate: Option<String>,
        /// Pods that have to go, and pods that lose the room that was kept for them on the node.
        victims: Vec<Arc<PodFacts>>,
        displaced: Vec<Arc<PodFacts>>,
        /// A claim that gives its devices back.
        deallocate: Option<Arc<ResourceClaim>>,
    },
}

struct Assumed {
    pod: Arc<PodFacts>,
    node: String,
    volumes: VolumePlan,
    devices: DevicePlan,
    /// Since when it is bound.
    bound: Option<Instant>,
}

impl Assumed {
    /// What was promised to the pod is its own by now, or free.
    fn take_back(&self, snapshot: &mut Snapshot) {
        volumes::take_back(&mut snapshot.catalogue.storage, &self.volumes);
        snapshot.catalogue.devices.take_back(&self.devices);
    }
}

pub struct Scheduler {
    profiles: Vec<Profile>,
    pub snapshot: Snapshot,
    queue: Queue,
    /// Decided, and not yet seen on its node; by uid.
    assumed: HashMap<Arc<str>, Assumed>,
    /// Held back by scheduling gates; by uid.
    gated: HashSet<String>,
    /// Held back because their claims on devices are not there; by uid.
    claimless: HashMap<String, Arc<Pod>>,
    /// Where the next search among the nodes begins.
    start: usize,
    metrics: Arc<Metrics>,
}

/// Plugins are timed in one of so many cycles.
const TIMED_EVERY: u64 = 10;

impl Scheduler {
    pub fn new(profiles: Vec<Profile>, backoff: Backoff) -> Self {
        Self::counting(profiles, backoff, Arc::default())
    }

    /// As [`Scheduler::new`], with counts that others read.
    pub fn counting(profiles: Vec<Profile>, backoff: Backoff, metrics: Arc<Metrics>) -> Self {
        Self {
            profiles,
            snapshot: Snapshot::default(),
            queue: Queue::new(backoff, metrics.clone()),
            assumed: HashMap::new(),
            gated: HashSet::new(),
            claimless: HashMap::new(),
            start: 0,
            metrics,
        }
    }

    pub fn sizes(&self) -> Sizes {
        let (active, backoff, unschedulable) = self.queue.lengths();
        Sizes {
            nodes: self.snapshot.node_count(),
            pods: self.snapshot.pod_count(),
            assumed: self.assumed.len(),
            waiting: [active, backoff, unschedulable, self.gated.len() + self.claimless.len()],
        }
    }

    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    fn profile_of(&self, pod: &Pod) -> Option<usize> {
        self.profiles.iter().position(|profile| profile.scheduler_name == scheduler_name(pod))
    }

    /// A pod is new, or this is its newer version.
    pub fn pod_applied(&mut self, pod: Arc<Pod>, now: Instant) {
        let status = pod.status.as_ref();
        let spec = pod.spec.as_ref();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        if !self.gated.is_empty() {
            self.gated.remove(&uid);
        }
        if !self.claimless.is_empty() {
            self.claimless.remove(&uid);
        }
        if matches!(status.and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed")) {
            self.pod_gone(&uid, now);
        } else if let Some(node) = spec.and_then(|s| s.node_name.clone()).filter(|name| !name.is_empty()) {
            self.pod_placed(&node, Arc::new(PodFacts::of(pod)), now);
        } else if self.assumed.contains_key(uid.as_str()) {
            // It is on its way to a node; this version was written before it got there. Should it not arrive, one that is
            // being deleted is not tried again.
            if pod.metadata.deletion_timestamp.is_some() {
                self.queue.remove(&uid);
            }
        } else if pod.metadata.deletion_timestamp.is_some() || self.profile_of(&pod).is_none() {
            self.queue.remove(&uid);
            self.snapshot.end_nomination(&uid);
        } else if spec.and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty()) {
            self.queue.remove(&uid);
            self.gated.insert(uid);
        } else {
            let facts = PodFacts::of(pod);
            // One that has been tried stays where it is: it is told why it cannot go on.
            if self.queue.get(&uid).is_none() && self.snapshot.catalogue.devices.claims_of(&facts).is_err() {
                self.claimless.insert(uid, facts.pod);
            } else {
                self.pod_waits(Arc::new(facts), now);
            }
        }
    }

    /// The pod is gone from the cluster.
    pub fn pod_deleted(&mut self, uid: &str, now: Instant) {
        self.gated.remove(uid);
        self.claimless.remove(uid);
        self.pod_gone(uid, now);
    }

    fn pod_gone(&mut self, uid: &str, now: Instant) {
        self.queue.remove(uid);
        self.snapshot.end_nomination(uid);
        if let Some(assumed) = self.assumed.remove(uid) {
            assumed.take_back(&mut self.snapshot);
        }
        if let Some(old) = self.snapshot.remove_pod(uid) {
            self.changed(&Change::pod_gone(old), now);
        }
    }

    fn pod_placed(&mut self, node: &str, pod: Arc<PodFacts>, now: Instant) {
        self.snapshot.end_nomination(&pod.uid);
        self.queue.remove(&pod.uid);
        let assumed = self.assumed.remove(&pod.uid);
        if let Some(assumed) = &assumed {
            assumed.take_back(&mut self.snapshot);
        }
        let change = match self.snapshot.place(node, pod.clone()) {
            Some(old) if assumed.is_none() => Change::pod_updated(&old, &pod, false),
            _ => Change::pod_added(pod),
        };
        self.changed(&change, now);
    }

    fn pod_waits(&mut self, pod: Arc<PodFacts>, now: Instant) {
        // What is written in the status comes later than what was decided here: it adds, and its absence takes nothing.
        if let Some(node) = pod.nominated_node() {
            self.snapshot.nominate(pod.clone(), node);
        } else if let Some(old) = self.queue.get(&pod.uid)
            && old.nominated_node().is_some()
        {
            self.snapshot.end_nomination(&pod.uid);
        }
        let Some(old) = self.queue.get(&pod.uid).cloned() else {
            self.queue.add(pod);
            return;
        };
        let change = Change::pod_updated(&old, &pod, true);
        let (profiles, snapshot) = (&self.profiles, &self.snapshot);
        let waits = pod.clone();
        self.queue.update(pod, now, |rejected_by| helps(profiles, snapshot, &waits, rejected_by, &change));
    }

    pub fn node_applied(&mut self, node: Node, now: Instant) {
        let (old, new, events) = self.snapshot.set_node(node);
        let subject = Subject::Node(Pair { old, new: Some(new) });
        self.changed(&Change { events, subject }, now);
    }

    pub fn node_deleted(&mut self, name: &str, now: Instant) {
        if let Some(old) = self.snapshot.remove_node(name) {
            self.changed(&Change { events: Events::NODE_GONE, subject: Subject::Node(Pair::gone(old)) }, now);
        }
    }

    /// A claim on devices is new, has changed, or is gone.
    pub fn claim_changed(&mut self, claim: &Arc<ResourceClaim>, exists: bool, now: Instant) {
        let old = self.snapshot.catalogue.devices.set_claim(claim, exists);
        if old.as_ref().is_some_and(|old| Arc::ptr_eq(old, claim)) {
            return;
        }
        let new = exists.then(|| claim.clone());
        let subject = Subject::ResourceClaim(Pair { old, new });
        self.changed(&Change { events: Events::RESOURCE_CLAIM, subject }, now);
        let namespace = &claim.metadata.namespace;
        let waiting = self.claimless.values().filter(|pod| exists && pod.metadata.namespace == *namespace);
        for pod in waiting.cloned().collect::<Vec<_>>() {
            self.pod_applied(pod, now);
        }
    }

    pub fn device_class_changed(&mut self, class: &Arc<DeviceClass>, exists: bool, now: Instant) {
        let known = self.snapshot.catalogue.devices.set_class(class, exists);
        let subject = Subject::DeviceClass(pair(class, known, exists));
        self.changed(&Change { events: Events::DEVICE_CLASS, subject }, now);
    }

    pub fn slice_changed(&mut self, slice: &Arc<ResourceSlice>, exists: bool, now: Instant) {
        let known = self.snapshot.catalogue.devices.set_slice(slice, exists);
        let subject = Subject::ResourceSlice(pair(slice, known, exists));
        self.changed(&Change { events: Events::RESOURCE_SLICE, subject }, now);
    }

    /// Something has changed that is in the snapshot already: pods that it may help are tried again.
    pub fn changed(&mut self, change: &Change, now: Instant) {
        if change.events.is_empty() {
            return;
        }
        let Self { profiles, snapshot, queue, .. } = self;
        queue.notify(now, change.label(), |pod, rejected_by| helps(profiles, snapshot, pod, rejected_by, change));
    }

    /// What comes next, if anybody can be tried now.
    pub fn next(&mut self, now: Instant, chance: Chance) -> Option<Decision> {
        loop {
            let pod = self.queue.pop(now)?;
            let Some(at) = self.profile_of(&pod.pod) else {
                self.queue.remove(&pod.uid);
                continue;
            };
            return Some(self.decide(at, pod, now, chance));
        }
    }

    fn decide(&mut self, at: usize, pod: Arc<PodFacts>, now: Instant, chance: Chance) -> Decision {
        let profile = &self.profiles[at];
        let needs = self.snapshot.prepare(&pod, &profile.spread_defaults);
        let cycle = Cycle { pod: &pod, snapshot: &self.snapshot, needs: &needs, now: chance.time };
        let timed = chance.tie_break.is_multiple_of(TIMED_EVERY).then_some(&*self.metrics);
        match schedule(profile, cycle, &mut self.start, chance, timed) {
            Outcome::Node(slot) => {
                let node = self.snapshot.at(slot);
                let volumes = volumes::plan(cycle, node);
                let name = node.name().to_owned();
                match devices::plan(cycle, node) {
                    Ok(devices) => self.assume(pod, name, volumes, devices),
                    Err(Failure::Node(why) | Failure::Claim(why)) => {
                        self.queue.failed(&pod.uid, queue::Failure::Error, now);
                        self.fail(pod, why, Preemption::None)
                    }
                }
            }
            Outcome::Unschedulable { error, preemption } => {
                let message = error.to_string();
                let mut plugins = error.diagnosis.plugins;
                if profile.preemption.is_some() && error.diagnosis.node_count > 0 {
                    self.metrics.preempts();
                }
                if error.diagnosis.node_count == 0 {
                    plugins = profile.all_filters();
                }
                self.queue.failed(&pod.uid, queue::Failure::Rejected(plugins), now);
                self.fail(pod, message, preemption)
            }
        }
    }

    fn assume(&mut self, pod: Arc<PodFacts>, node: String, volumes: VolumePlan, devices: DevicePlan) -> Decision {
        self.snapshot.catalogue.devices.promise(&devices);
        volumes::promise(&mut self.snapshot.catalogue.storage, &volumes, &node);
        self.snapshot.end_nomination(&pod.uid);
        self.snapshot.place(&node, pod.clone());
        let assumed = Assumed {
            pod: pod.clone(),
            node: node.clone(),
            volumes: volumes.clone(),
            devices: devices.clone(),
            bound: None,
        };
        self.assumed.insert(pod.uid.clone(), assumed);
        let tries = self.queue.tries(&pod.uid);
        Decision::Bind { pod, node, volumes, devices, tries }
    }

    fn fail(&mut self, pod: Arc<PodFacts>, message: String, preemption: Preemption) -> Decision {
        let written = pod.nominated_node().is_some();
        let mut displaced = Vec::new();
        let mut deallocate = None;
        let (nominate, victims) = match preemption {
            Preemption::Evict { node, victims } => {
                self.metrics.evicts(victims.len());
                let node = self.snapshot.at(node).name().to_owned();
                let others = self.snapshot.nominations().on_node(&node);
                displaced.extend(others.iter().filter(|other| other.priority < pod.priority).cloned());
                for other in &displaced {
                    self.snapshot.end_nomination(&other.uid);
                }
                self.snapshot.nominate(pod.clone(), &node);
                (Some(node), victims.into_iter().filter(|victim| !victim.deleting).collect::<Vec<_>>())
            }
            Preemption::NotHelpful(_) => {
                self.snapshot.end_nomination(&pod.uid);
                (written.then(String::new), Vec::new())
            }
            Preemption::Deallocate { claim, .. } => {
                deallocate = Some(claim);
                (None, Vec::new())
            }
            Preemption::None | Preemption::NotEligible(_) => (None, Vec::new()),
        };
        if !victims.is_empty() {
            self.queue.preemption_begins(&pod.uid);
        }
        Decision::Fail { pod, message, nominate, victims, displaced, deallocate }
    }

    /// A binding has ended.
    pub fn bound(&mut self, uid: &str, bound: bool, now: Instant) {
        if bound {
            self.queue.remove(uid);
            if let Some(assumed) = self.assumed.get_mut(uid) {
                assumed.bound = Some(now);
            }
            return;
        }
        self.forget(uid, now);
        self.queue.failed(uid, queue::Failure::Error, now);
    }

    /// Takes back that a pod was counted on its node.
    fn forget(&mut self, uid: &str, now: Instant) {
        let Some(assumed) = self.assumed.remove(uid) else { return };
        assumed.take_back(&mut self.snapshot);
        if let Some(old) = self.snapshot.remove_pod(uid) {
            self.changed(&Change::pod_gone(old), now);
        }
    }

    /// The victims of a pod were asked to go, or could not be.
    pub fn preempted(&mut self, uid: &str, failed: bool, now: Instant) {
        self.queue.preemption_ends(uid, failed, now);
    }

    /// Gives up on pods that were bound and never seen on their node. Returns them.
    pub fn expire(&mut self, now: Instant) -> Vec<(String, String)> {
        let old = |assumed: &&Assumed| assumed.bound.is_some_and(|since| now.duration_since(since) > ASSUMED_LONGEST);
        let expired: Vec<(Arc<PodFacts>, String)> =
            self.assumed.values().filter(old).map(|assumed| (assumed.pod.clone(), assumed.node.clone())).collect();
        for (pod, _) in &expired {
            self.forget(&pod.uid, now);
        }
        expired.into_iter().map(|(pod, node)| (pod.key.clone(), node)).collect()
    }
}

/// Before and after, where only the newest version is known.
fn pair<T>(object: &Arc<T>, known: bool, exists: bool) -> Pair<T> {
    Pair { old: (known || !exists).then(|| object.clone()), new: exists.then(|| object.clone()) }
}

/// Whether a change can make a waiting pod fit, by the plugins that rejected it.
fn helps(profiles: &[Profile], snapshot: &Snapshot, pod: &PodFacts, rejected_by: PluginSet, change: &Change) -> bool {
    let Some(profile) = profiles.iter().find(|profile| profile.scheduler_name == pod.scheduler_name()) else {
        return false;
    };
    profile.plugins.iter().enumerate().any(|(at, plugin)| {
        rejected_by.contains(at) && plugin.events().intersects(change.events) && plugin.helps(pod, change, snapshot)
    })
}
