//! Registers the node, renews its Lease, and reports its status when something changed.
//!
//! ```text
//! register ──▶ follow the node: podCIDR ──▶ CNI configuration ──▶ runtime's network ready ──▶ status: Ready
//!                       renew Lease every 10 s; look at the machine every 10 s; status at least every 5 min
//! ```

use super::{
    Health, Machine, Report, cni,
    facts::{disk_free, memory_available, pids_free},
};
use crate::AgentOptions;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{ContainerImage, Node, NodeSpec, NodeStatus, Taint},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use mk8s_client::{EventRecorder, Selection, events::EventType, feed};
use mk8s_cri::Runtime;
use parking_lot::RwLock;
use std::{sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const LEASE_SECONDS: i32 = 40;
/// Below this share of free bytes or inodes the disk is under pressure. k3s' threshold, half of kubelet's own: the machines
/// are small, their disks are used for other things too.
const DISK_FREE_PERCENT: u64 = 5;
const RENEW: Duration = Duration::from_secs(10);
/// A server that takes longer for a Lease cannot help.
const RENEWED: Duration = Duration::from_secs(5);
/// After so many failures in a row another server is asked.
const FAILURES: u32 = 2;
/// A status without news is written this often.
const QUIET_MAX: Duration = Duration::from_secs(300);
/// While the network is awaited, the runtime is asked this often.
const NETWORK_POLL: Duration = Duration::from_millis(50);

/// What the rest of the agent reads of the node.
pub struct NodeShared {
    pub machine: Machine,
    pub object: RwLock<Option<Arc<Node>>>,
    /// Whether pods with a network of their own can be started.
    pub network_ready: watch::Sender<bool>,
    pub health: RwLock<Health>,
}

impl NodeShared {
    pub fn new(machine: Machine) -> NodeShared {
        let (network_ready, _) = watch::channel(false);
        NodeShared { machine, object: RwLock::default(), network_ready, health: RwLock::default() }
    }
}

struct Follower {
    options: AgentOptions,
    client: Client,
    runtime: Runtime,
    recorder: EventRecorder,
    shared: Arc<NodeShared>,
    runtime_version: String,
    images: Vec<ContainerImage>,
    was_ready: bool,
    reported: Option<(NodeStatus, std::time::Instant)>,
}

/// Runs until `stop`.
pub async fn run(
    options: AgentOptions,
    client: Client,
    runtime: Runtime,
    recorder: EventRecorder,
    shared: Arc<NodeShared>,
    stop: CancellationToken,
) {
    let lease = tokio::spawn(keep_lease(client.clone(), options.clone(), shared.clone(), stop.clone()));
    let follower = Follower {
        options,
        client,
        runtime,
        recorder,
        shared,
        runtime_version: String::new(),
        images: Vec::new(),
        was_ready: false,
        reported: None,
    };
    follower.run(stop).await;
    lease.abort();
}

impl Follower {
    async fn run(mut self, stop: CancellationToken) {
        if let Ok(version) = self.runtime.version().await {
            self.runtime_version = format!("{}://{}", version.runtime_name, version.runtime_version);
        }
        self.images = images_of(&self.runtime).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = self.register() => {}
        }
        self.recorder.event(&self.reference(), EventType::Normal, "Starting", "Starting kubelet.");
        let (sender, mut changes) = mpsc::channel(16);
        let nodes: Api<Node> = Api::all(self.client.clone());
        let selector = Selection::fields(format!("metadata.name={}", self.options.node_name));
        feed::follow(nodes, selector, |change| change, sender, stop.clone());
        let mut tick = tokio::time::interval(RENEW);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let waiting = self.shared.health.read().network.is_some() && self.pod_cidr().is_some();
            tokio::select! {
                () = stop.cancelled() => return,
                change = changes.recv() => match change {
                    Some(feed::Change::Applied(node)) => self.on_node(node),
                    Some(feed::Change::Deleted(_)) => {
                        *self.shared.object.write() = None;
                        self.reported = None;
                        self.register().await;
                    }
                    Some(feed::Change::Synced) => continue,
                    None => return,
                },
                _ = tick.tick() => self.images = images_of(&self.runtime).await,
                () = tokio::time::sleep(NETWORK_POLL), if waiting => {}
            }
            self.measure().await;
            self.report().await;
        }
    }

    fn reference(&self) -> Node {
        let name = self.options.node_name.clone();
        Node {
            metadata: ObjectMeta { uid: Some(name.clone()), name: Some(name), ..ObjectMeta::default() },
            ..Node::default()
        }
    }

    fn pod_cidr(&self) -> Option<String> {
        let node = self.shared.object.read().clone()?;
        node.spec.as_ref()?.pod_cidr.clone().filter(|cidr| !cidr.is_empty())
    }

    /// Without a server the node is what it was last, so that pods can be given their network.
    fn remember_node(&self) {
        if self.shared.object.read().is_some() {
            return;
        }
        let text = std::fs::read(self.options.paths().node()).ok();
        let node = text.and_then(|text| serde_json::from_slice::<Node>(&text).ok());
        if let Some(node) = node.filter(|node| node.metadata.name.as_deref() == Some(&self.options.node_name)) {
            tracing::info!(node = self.options.node_name, "the node goes by what it was last");
            self.on_node(Arc::new(node));
        }
    }

    /// Keeps what [`Self::remember_node`] reads.
    fn keep_node(&self, node: &Node) {
        let kept = Node {
            metadata: ObjectMeta {
                name: node.metadata.name.clone(),
                uid: node.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            spec: node.spec.clone(),
            status: None,
        };
        let (file, text) = (self.options.paths().node(), serde_json::to_vec(&kept).unwrap_or_default());
        if std::fs::read(&file).is_ok_and(|known| known == text) {
            return;
        }
        let fresh = file.with_extension("new");
        if let Err(error) = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(fresh, &file)) {
            tracing::warn!(path = %file.display(), %error, "the node's object cannot be kept");
        }
    }

    fn on_node(&self, node: Arc<Node>) {
        if node.spec.as_ref().is_some_and(|spec| spec.pod_cidr.is_some()) {
            self.keep_node(&node);
        }
        *self.shared.object.write() = Some(node);
        if let Some(cidr) = self.pod_cidr()
            && self.options.container_runtime_endpoint.is_none()
        {
            match cni::write_config(&self.options, &cidr) {
                Ok(true) => tracing::info!(cidr, "pod network configured"),
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "the pod network cannot be configured"),
            }
        }
    }

    /// Creates the node, or takes over the one that is there.
    async fn register(&mut self) {
        let mut delay = Duration::from_millis(100);
        loop {
            match self.try_register().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "the node cannot be registered yet");
                    self.remember_node();
                }
            }
            tokio::time::sleep(delay).await;
            delay = (delay * 2).min(Duration::from_secs(5));
        }
    }

    async fn try_register(&mut self) -> kube::Result<()> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        self.measure().await;
        let labels = self.labels();
        let mut node = self.reference();
        node.metadata.uid = None;
        node.metadata.labels = Some(labels.clone());
        node.metadata.annotations =
            Some([("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned())].into());
        node.spec =
            Some(NodeSpec { taints: Some(self.taints()).filter(|taints| !taints.is_empty()), ..NodeSpec::default() });
        node.status = Some(self.status(&NodeStatus::default()));
        let node = match nodes.create(&PostParams::default(), &node).await {
            Ok(created) => created,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let patch = serde_json::json!({"metadata": {"labels": labels}});
                nodes.patch(&self.options.node_name, &PatchParams::default(), &Patch::Merge(patch)).await?
            }
            Err(error) => return Err(error),
        };
        tracing::info!(node = self.options.node_name, "node registered");
        self.on_node(Arc::new(node));
        Ok(())
    }

    fn labels(&self) -> std::collections::BTreeMap<String, String> {
        let arch = mk8s_cri::archive::architecture();
        let mut labels: std::collections::BTreeMap<String, String> = [
            ("kubernetes.io/hostname", self.options.node_name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", arch),
            ("beta.kubernetes.io/os", "linux"),
            ("beta.kubernetes.io/arch", arch),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        labels.extend(self.options.node_labels.clone());
        labels
    }

    fn taints(&self) -> Vec<Taint> {
        let parse = |text: &String| {
            let (head, effect) = text.rsplit_once(':')?;
            let (key, value) = head.split_once('=').map_or((head, None), |(key, value)| (key, Some(value.to_owned())));
            Some(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
        };
        self.options.node_taints.iter().filter_map(parse).collect()
    }

    /// Asks the runtime and looks at the machine.
    async fn measure(&mut self) {
        let conditions = self.runtime.status().await;
        let problem = |conditions: &[mk8s_cri::v1::RuntimeCondition], type_: &str| {
            let found = conditions.iter().find(|condition| condition.r#type == type_ && !condition.status)?;
            Some(format!("{type_}=false reason:{} message:{}", found.reason, found.message))
        };
        let disk = disk_free(&self.options.data_dir);
        let mut health = Health {
            memory_pressure: memory_available() < 100 << 20,
            disk_pressure: disk.0 < DISK_FREE_PERCENT || disk.1 < DISK_FREE_PERCENT,
            pid_pressure: pids_free() < 5,
            ..Health::default()
        };
        match conditions {
            Ok(answer) => {
                let list = answer.status.unwrap_or_default().conditions;
                health.runtime = problem(&list, "RuntimeReady");
                health.network = problem(&list, "NetworkReady");
            }
            Err(error) => health.runtime = Some(error.to_string()),
        }
        if self.options.container_runtime_endpoint.is_none() && self.pod_cidr().is_none() && health.network.is_none() {
            // A configuration of an earlier run is there; what it says may no longer hold.
            health.network =
                Some("NetworkReady=false reason:NetworkPluginNotReady message:Node has no pod CIDR yet".into());
        }
        let ready = health.network.is_none() && health.runtime.is_none();
        self.shared.network_ready.send_if_modified(|known| std::mem::replace(known, ready) != ready);
        *self.shared.health.write() = health;
    }

    fn status(&self, old: &NodeStatus) -> NodeStatus {
        let health = self.shared.health.read().clone();
        Report {
            machine: &self.shared.machine,
            health: &health,
            node_name: &self.options.node_name,
            node_ip: self.options.node_ip,
            version: &self.options.version,
            runtime_version: &self.runtime_version,
            images: &self.images,
            old,
            now: Timestamp::now(),
        }
        .status()
    }

    async fn report(&mut self) {
        let old = self.shared.object.read().as_ref().and_then(|node| node.status.clone()).unwrap_or_default();
        let new = self.status(&old);
        let news = match &self.reported {
            None => true,
            Some((told, at)) => at.elapsed() > QUIET_MAX || without_heartbeat(told) != without_heartbeat(&new),
        };
        if !news {
            return;
        }
        let nodes: Api<Node> = Api::all(self.client.clone());
        // What is attached is the control plane's to say.
        let told = NodeStatus { volumes_attached: None, ..new.clone() };
        let patch = serde_json::json!({"status": told});
        match nodes.patch_status(&self.options.node_name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(node) => {
                *self.shared.object.write() = Some(Arc::new(node));
                self.reported = Some((new, std::time::Instant::now()));
                self.tell_readiness();
            }
            Err(error) => tracing::warn!(%error, "the node's status cannot be written"),
        }
    }

    fn tell_readiness(&mut self) {
        let ready = *self.shared.network_ready.borrow();
        if ready == self.was_ready {
            return;
        }
        self.was_ready = ready;
        let reason = if ready { "NodeReady" } else { "NodeNotReady" };
        let message = format!("Node {} status is now: {reason}", self.options.node_name);
        self.recorder.event(&self.reference(), EventType::Normal, reason, message);
        if ready && let Some(hook) = self.options.on_ready.take() {
            hook();
        }
    }
}

/// Heartbeats are no news.
fn without_heartbeat(status: &NodeStatus) -> NodeStatus {
    let mut out = status.clone();
    for condition in out.conditions.iter_mut().flatten() {
        condition.last_heartbeat_time = None;
    }
    out
}

async fn images_of(runtime: &Runtime) -> Vec<ContainerImage> {
    let mut images: Vec<ContainerImage> = Vec::new();
    for image in runtime.images().await.unwrap_or_default() {
        let names: Vec<String> = image.repo_digests.into_iter().chain(image.repo_tags).collect();
        if !names.is_empty() {
            images.push(ContainerImage { names: Some(names), size_bytes: i64::try_from(image.size).ok() });
        }
    }
    images.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.names.cmp(&b.names)));
    images
}

/// Renews the node's Lease until `stop`.
async fn keep_lease(client: Client, options: AgentOptions, shared: Arc<NodeShared>, stop: CancellationToken) {
    let leases: Api<Lease> = Api::namespaced(client, "kube-node-lease");
    let (mut known, mut failures) = (false, 0);
    loop {
        let written = async {
            match known {
                true => renew(&leases, &options.node_name).await,
                false => create(&leases, &options.node_name, &shared).await,
            }
        };
        let result = tokio::time::timeout(RENEWED, written).await;
        let (wait, helpless) = match result {
            Ok(Ok(())) => {
                (known, failures) = (true, 0);
                (RENEW, false)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the node's lease cannot be renewed");
                known &= !matches!(&error, kube::Error::Api(status) if status.code == 404);
                (Duration::from_millis(500), !matches!(&error, kube::Error::Api(status) if status.code < 500))
            }
            Err(_) => {
                tracing::debug!("the node's lease was not renewed in time");
                (Duration::from_millis(500), true)
            }
        };
        failures = if helpless { failures + 1 } else { 0 };
        if failures >= FAILURES {
            failures = 0;
            options.servers.leave();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn renew(leases: &Api<Lease>, node_name: &str) -> kube::Result<()> {
    let patch = serde_json::json!({"spec": {
        "renewTime": MicroTime(Timestamp::now()),
        "holderIdentity": node_name,
        "leaseDurationSeconds": LEASE_SECONDS,
    }});
    leases.patch(node_name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
}

async fn create(leases: &Api<Lease>, node_name: &str, shared: &NodeShared) -> kube::Result<()> {
    let owner = shared.object.read().as_ref().and_then(|node| {
        let uid = node.uid()?;
        Some(OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: node.name_any(),
            uid,
            ..OwnerReference::default()
        })
    });
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(node_name.to_owned()),
            namespace: Some("kube-node-lease".into()),
            owner_references: owner.map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(node_name.to_owned()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(MicroTime(Timestamp::now())),
            ..LeaseSpec::default()
        }),
    };
    match leases.create(&PostParams::default(), &lease).await {
        Err(kube::Error::Api(status)) if status.code == 409 => renew(leases, node_name).await,
        other => other.map(drop),
    }
}
