//! What an agent is told when it starts.

use mk8s_client::{Identity, Servers};
use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A static program that becomes an image of its own, so that the first pod needs no registry.
#[derive(Debug, Clone)]
pub struct EmbeddedImage {
    /// A full reference as `docker.io/mk8s/pause:1`.
    pub reference: String,
    /// The program's name in the image.
    pub name: String,
    pub binary: &'static [u8],
}

/// How an agent reaches its servers.
pub struct Connection {
    pub servers: Servers,
    pub ca_pem: String,
    /// Who the agent is. Who renews its certificate replaces it in here.
    pub identity: Identity,
}

#[derive(Clone)]
pub struct AgentOptions {
    /// The cluster's data directory; the agent keeps its own in `agent` below it.
    pub data_dir: PathBuf,
    pub node_name: String,
    pub node_ip: IpAddr,
    pub servers: Servers,
    pub ca_pem: String,
    /// Who the agent is to the servers. Who renews its certificate replaces it in here.
    pub identity: Identity,
    pub cluster_dns: IpAddr,
    pub cluster_domain: String,
    pub cluster_cidr: String,
    /// The bridge that pods are attached to.
    pub bridge: String,
    /// MTU of pods; `None` takes that of the node's link.
    pub mtu: Option<u32>,
    /// How much smaller pods' packets are than those of the node's link: what the way to other nodes adds to them.
    pub mtu_overhead: u32,
    /// A socket of a runtime that is there already; `None` runs a private containerd.
    pub container_runtime_endpoint: Option<PathBuf>,
    /// Name servers for pods with `dnsPolicy: Default`, and the searches of the others.
    pub resolv_conf: PathBuf,
    pub node_labels: BTreeMap<String, String>,
    /// `key=value:effect`, given to the node when it registers for the first time.
    pub node_taints: Vec<String>,
    pub max_pods: u32,
    /// Where containers' logs are kept.
    pub log_dir: PathBuf,
    /// What the sandbox of every pod runs.
    pub pause_image: String,
    pub embedded_images: Vec<EmbeddedImage>,
    /// The executable that the CNI plugin is a link to; `None`: this one.
    pub executable: Option<PathBuf>,
    /// The node's version as `kubectl get nodes` shows it.
    pub version: String,
    /// Called once when the node has become Ready.
    pub on_ready: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl AgentOptions {
    /// Options with their usual values for an agent of a cluster.
    pub fn new(data_dir: &Path, node_name: &str, node_ip: IpAddr, connection: Connection) -> AgentOptions {
        let Connection { servers, ca_pem, identity } = connection;
        AgentOptions {
            data_dir: data_dir.to_owned(),
            node_name: node_name.to_owned(),
            node_ip,
            servers,
            ca_pem,
            identity,
            cluster_dns: IpAddr::from([10, 43, 0, 10]),
            cluster_domain: "cluster.local".into(),
            cluster_cidr: "10.42.0.0/16".into(),
            bridge: "cni0".into(),
            mtu: None,
            mtu_overhead: 0,
            container_runtime_endpoint: None,
            resolv_conf: "/etc/resolv.conf".into(),
            node_labels: BTreeMap::new(),
            node_taints: Vec::new(),
            max_pods: 110,
            log_dir: "/var/log/pods".into(),
            pause_image: "docker.io/mk8s/pause:1".into(),
            embedded_images: Vec::new(),
            executable: None,
            version: mk8s_api::version::GIT_VERSION.into(),
            on_ready: None,
        }
    }

    pub fn paths(&self) -> Paths {
        Paths::new(&self.data_dir)
    }
}

/// Where the agent keeps what. Everything below `root` outlives a restart of mk8s, and `state` one of mk8s but not of the
/// machine.
#[derive(Debug, Clone)]
pub struct Paths {
    pub root: PathBuf,
    pub state: PathBuf,
}

impl Paths {
    pub fn new(data_dir: &Path) -> Paths {
        use sha2::{Digest, Sha256};
        // Socket paths have at most 107 bytes, so the data directory is named by its hash.
        let full = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        let hash = Sha256::digest(full.to_string_lossy().as_bytes());
        let name: String = hash.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        Paths { root: full.join("agent"), state: Path::new("/run/mk8s").join(name) }
    }

    pub fn containerd_root(&self) -> PathBuf {
        self.root.join("containerd")
    }

    pub fn containerd_socket(&self) -> PathBuf {
        self.state.join("containerd.sock")
    }

    /// Which servers the cluster has, as it said last.
    pub fn servers(&self) -> PathBuf {
        self.root.join("servers.json")
    }

    /// Which archives of the images' folder were imported.
    pub fn imported(&self) -> PathBuf {
        self.root.join("imported.json")
    }

    pub fn cni_bin(&self) -> PathBuf {
        self.root.join("cni/bin")
    }

    pub fn cni_conf(&self) -> PathBuf {
        self.root.join("cni/net.d")
    }

    pub fn registries(&self) -> PathBuf {
        self.root.join("etc/containerd/certs.d")
    }

    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub fn static_pods(&self) -> PathBuf {
        self.root.join("pod-manifests")
    }

    /// What belongs to one pod: volumes, hosts file, termination messages.
    pub fn pod(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    pub fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    /// The node's own record of its pods.
    pub fn record(&self) -> PathBuf {
        self.root.join("record")
    }

    /// The node's object as it was last.
    pub fn node(&self) -> PathBuf {
        self.root.join("node.json")
    }

    /// Folders that are volumes, beside all that is the agent's own.
    pub fn storage(&self) -> PathBuf {
        self.root.with_file_name("storage")
    }

    /// FIFOs of processes that are attached to.
    pub fn streams(&self) -> PathBuf {
        self.state.join("streams")
    }
}
