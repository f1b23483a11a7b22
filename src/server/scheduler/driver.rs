//! The owner of the scheduler's state: takes changes, runs cycles, binds. Everything it decides is in the pure modules.

use crate::{
    Options,
    cycle::{Profile, schedule},
    events::Events,
    pod_facts::PodFacts,
    queue::Queue,
    snapshot::Snapshot,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Binding, Event, EventSource, Node, ObjectReference, Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
    runtime::watcher,
};
use mk8s_client::feed::{Change, follow};
use std::{
    collections::HashMap,
    sync::Arc,
    time::Instant,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What the driver is told.
enum Input {
    Pod(Change<Pod>),
    Node(Change<Node>),
    /// A binding ended: the pod's uid, and whether it is bound.
    Bound { uid: String, bound: bool },
}

/// Changes wait here while a cycle runs.
const INPUTS: usize = 4096;

/// Cycles between two looks at the inputs, so that a long queue does not keep the picture stale.
const CYCLES_PER_TURN: usize = 64;

pub(crate) async fn drive(client: Client, options: Options, profile: Profile, stop: CancellationToken) {
    let (sender, mut inputs) = mpsc::channel(INPUTS);
    let any = watcher::Config::default;
    follow(Api::<Node>::all(client.clone()), any(), Input::Node, sender.clone(), stop.clone());
    follow(Api::<Pod>::all(client.clone()), any(), Input::Pod, sender.clone(), stop.clone());
    let mut driver = Driver {
        client,
        options,
        profile,
        inputs: sender,
        queue: Queue::default(),
        snapshot: Snapshot::default(),
        binding: HashMap::new(),
        unsynced: 2,
        turns: 0,
    };
    loop {
        let release = driver.queue.next_release().map(tokio::time::Instant::from_std);
        let idle = driver.queue.lengths().0 == 0 || driver.unsynced > 0;
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            input = inputs.recv() => match input {
                Some(input) => driver.take(input, Instant::now()),
                None => return,
            },
            () = std::future::ready(()), if !idle => {}
            () = at(release), if idle => {}
        }
        while let Ok(input) = inputs.try_recv() {
            driver.take(input, Instant::now());
        }
        if driver.unsynced == 0 {
            driver.cycles();
        }
        tokio::task::yield_now().await;
    }
}

async fn at(time: Option<tokio::time::Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

struct Driver {
    client: Client,
    options: Options,
    profile: Profile,
    inputs: mpsc::Sender<Input>,
    queue: Queue,
    snapshot: Snapshot,
    /// Pods whose binding is under way, by uid: counted on their node already.
    binding: HashMap<String, String>,
    /// Kinds whose first list has not arrived: before that, nothing is placed.
    unsynced: usize,
    turns: u64,
}

impl Driver {
    fn take(&mut self, input: Input, now: Instant) {
        match input {
            Input::Pod(Change::Applied(pod)) => self.pod_applied(pod, now),
            Input::Pod(Change::Deleted(pod)) => {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                self.queue.remove(uid);
                self.binding.remove(uid);
                self.free(uid, now);
            }
            Input::Node(Change::Applied(node)) => {
                let events = self.snapshot.set_node(node);
                self.queue.notify(events, now);
            }
            Input::Node(Change::Deleted(node)) => {
                self.snapshot.remove_node(node.metadata.name.as_deref().unwrap_or_default());
            }
            Input::Pod(Change::Synced) | Input::Node(Change::Synced) => self.unsynced -= 1,
            Input::Bound { uid, bound: true } => {
                self.binding.remove(&uid);
                self.queue.remove(&uid);
            }
            Input::Bound { uid, bound: false } => {
                self.binding.remove(&uid);
                self.free(&uid, now);
                self.queue.failed(&uid, Events::ALL, now);
            }
        }
    }

    fn pod_applied(&mut self, pod: Arc<Pod>, now: Instant) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
        let spec = pod.spec.as_ref();
        if matches!(phase, "Succeeded" | "Failed") {
            self.queue.remove(&uid);
            self.free(&uid, now);
        } else if let Some(node) = spec.and_then(|s| s.node_name.clone()).filter(|n| !n.is_empty()) {
            if !self.binding.contains_key(&uid) {
                self.queue.remove(&uid);
            }
            self.snapshot.place(&node, Arc::new(PodFacts::of(pod)));
        } else if pod.metadata.deletion_timestamp.is_some() || !self.is_ours(&pod) {
            self.queue.remove(&uid);
        } else if !self.binding.contains_key(&uid) {
            let gated = spec.and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|g| !g.is_empty());
            if gated {
                self.queue.remove(&uid);
            } else {
                self.queue.add(Arc::new(PodFacts::of(pod)), now);
            }
        }
    }

    fn is_ours(&self, pod: &Pod) -> bool {
        let wanted = pod.spec.as_ref().and_then(|s| s.scheduler_name.as_deref());
        wanted.unwrap_or("default-scheduler") == self.options.scheduler_name
    }

    fn free(&mut self, uid: &str, now: Instant) {
        if self.snapshot.remove_pod(uid) {
            self.queue.notify(Events::POD_GONE, now);
        }
    }

    fn cycles(&mut self) {
        for _ in 0..CYCLES_PER_TURN {
            let Some(pod) = self.queue.pop(Instant::now()) else { return };
            self.turns = self.turns.wrapping_add(1);
            match schedule(&self.profile, &pod, &self.snapshot, self.turns) {
                Ok(node) => {
                    self.snapshot.place(&node, pod.clone());
                    self.binding.insert(pod.uid.clone(), node.clone());
                    self.bind(pod, node);
                }
                Err(error) => {
                    self.queue.failed(&pod.uid, error.helped_by, Instant::now());
                    self.report_failure(pod, error.to_string());
                }
            }
        }
    }

    fn bind(&self, pod: Arc<PodFacts>, node: String) {
        let (client, inputs, reporter) = (self.client.clone(), self.inputs.clone(), self.options.scheduler_name.clone());
        tokio::spawn(async move {
            let namespace = pod.pod.metadata.namespace.clone().unwrap_or_default();
            let name = pod.pod.metadata.name.clone().unwrap_or_default();
            let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
            let binding = Binding {
                metadata: ObjectMeta {
                    name: Some(name.clone()),
                    namespace: Some(namespace.clone()),
                    uid: Some(pod.uid.clone()),
                    ..ObjectMeta::default()
                },
                target: ObjectReference {
                    api_version: None,
                    kind: Some("Node".to_owned()),
                    name: Some(node.clone()),
                    ..ObjectReference::default()
                },
            };
            let outcome: Result<k8s_openapi::apimachinery::pkg::apis::meta::v1::Status, _> =
                pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
            let bound = match outcome {
                Ok(_) => true,
                // Gone or bound by another: there is nothing left to bind.
                Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {
                    tracing::debug!(pod = pod.key, message = status.message, "pod was not there to bind");
                    false
                }
                Err(error) => {
                    tracing::warn!(pod = pod.key, node, %error, "binding failed");
                    false
                }
            };
            // The driver is gone only when the process stops.
            drop(inputs.send(Input::Bound { uid: pod.uid.clone(), bound }).await);
            if bound {
                let message = format!("Successfully assigned {} to {node}", pod.key);
                record(&client, &pod.pod, &reporter, "Normal", "Scheduled", message).await;
            }
        });
    }

    /// Tells the user: an event, and the `PodScheduled` condition when it says something new.
    fn report_failure(&self, pod: Arc<PodFacts>, message: String) {
        let (client, reporter) = (self.client.clone(), self.options.scheduler_name.clone());
        tokio::spawn(async move {
            record(&client, &pod.pod, &reporter, "Warning", "FailedScheduling", message.clone()).await;
            let conditions = pod.pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
            let known = conditions
                .iter()
                .any(|c| c.type_ == "PodScheduled" && c.status == "False" && c.message.as_deref() == Some(&message));
            if known {
                return;
            }
            let condition = PodCondition {
                type_: "PodScheduled".to_owned(),
                status: "False".to_owned(),
                reason: Some("Unschedulable".to_owned()),
                message: Some(message),
                last_transition_time: Some(Time(Timestamp::now())),
                ..PodCondition::default()
            };
            let patch = serde_json::json!({ "status": { "conditions": [condition] } });
            let namespace = pod.pod.metadata.namespace.clone().unwrap_or_default();
            let pods: Api<Pod> = Api::namespaced(client, &namespace);
            let name = pod.pod.metadata.name.clone().unwrap_or_default();
            if let Err(error) = pods.patch_status(&name, &PatchParams::default(), &Patch::Strategic(patch)).await {
                tracing::debug!(pod = pod.key, %error, "the PodScheduled condition was not written");
            }
        });
    }
}

/// Writes an event about a pod; a lost one is not worth more than a line in the log.
async fn record(client: &Client, pod: &Pod, reporter: &str, kind: &str, reason: &str, message: String) {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let now = Timestamp::now();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(format!("{name}.{:x}", now.as_nanosecond())),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        involved_object: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            name: Some(name),
            namespace: Some(namespace.clone()),
            uid: pod.metadata.uid.clone(),
            resource_version: pod.metadata.resource_version.clone(),
            ..ObjectReference::default()
        },
        type_: Some(kind.to_owned()),
        reason: Some(reason.to_owned()),
        message: Some(message),
        source: Some(EventSource { component: Some(reporter.to_owned()), host: None }),
        reporting_component: Some(reporter.to_owned()),
        first_timestamp: Some(Time(now)),
        last_timestamp: Some(Time(now)),
        count: Some(1),
        ..Event::default()
    };
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    if let Err(error) = events.create(&PostParams::default(), &event).await {
        tracing::debug!(%error, reason, "an event was not written");
    }
}
