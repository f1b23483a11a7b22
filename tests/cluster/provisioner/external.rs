//! A provisioner that somebody else could have written: it knows the API, its ServiceAccount's rights, and nothing of mk8s.
//!
//! It does what sig-storage's library for external provisioners does, with folders below one folder for volumes: it leads by
//! an Endpoints object, follows claims and volumes, makes a volume for each claim that is annotated with its name, and
//! deletes those that are released.

use futures::{StreamExt, stream};
use k8s_openapi::{
    api::{
        core::v1::{Endpoints, Event, Node, PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

const ASKED: [&str; 2] = ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const HOSTNAME: &str = "kubernetes.io/hostname";

pub(super) struct Provisioner {
    pub(super) client: Client,
    /// As classes and claims name it.
    pub(super) name: &'static str,
    /// Where its ServiceAccount is.
    pub(super) namespace: &'static str,
    /// The folder that stands for a file server.
    pub(super) root: PathBuf,
}

enum Changed {
    Claim(Box<PersistentVolumeClaim>),
    Volume(Box<PersistentVolume>),
}

fn made<K: serde::de::DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("the object is good")
}

impl Provisioner {
    /// Serves claims until it is aborted.
    pub(super) async fn run(self) {
        self.lead().await;
        let claims = watcher(Api::all(self.client.clone()), watcher::Config::default());
        let volumes = watcher(Api::all(self.client.clone()), watcher::Config::default());
        let claims = claims
            .default_backoff()
            .applied_objects()
            .map(|claim| claim.map(|claim| Changed::Claim(Box::new(claim))))
            .boxed();
        let volumes = volumes
            .default_backoff()
            .applied_objects()
            .map(|volume| volume.map(|volume| Changed::Volume(Box::new(volume))))
            .boxed();
        let mut changes = stream::select(claims, volumes);
        while let Some(change) = changes.next().await {
            match change.expect("it may watch claims and volumes") {
                Changed::Claim(claim) => self.provision(&claim).await,
                Changed::Volume(volume) => self.reclaim(&volume).await,
            }
        }
    }

    /// The name of the lock: a slash is no part of a name.
    pub(super) fn lock(&self) -> String {
        self.name.replace('/', "-")
    }

    async fn lead(&self) {
        let api: Api<Endpoints> = Api::namespaced(self.client.clone(), self.namespace);
        let held = json!({"holderIdentity": "one", "leaseDurationSeconds": 15, "acquireTime": Timestamp::now().to_string(), "renewTime": Timestamp::now().to_string(), "leaderTransitions": 0});
        let lock = json!({"metadata": {"name": self.lock(), "annotations": {LEADER: held.to_string()}}});
        let lock = api.create(&PostParams::default(), &made(lock)).await.expect("the lock can be taken");
        self.tell(&lock, "LeaderElection", "one became leader").await;
    }

    async fn tell<K: Resource<DynamicType = ()>>(&self, about: &K, reason: &str, message: &str) {
        let namespace = about.namespace().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let now = Timestamp::now();
        let event = json!({
            "metadata": {"name": format!("{}.{:x}", about.name_any(), now.as_nanosecond())},
            "involvedObject": about.object_ref(&()),
            "reason": reason, "message": message, "type": "Normal", "source": {"component": self.name},
            "count": 1, "firstTimestamp": now.to_string(), "lastTimestamp": now.to_string(),
        });
        api.create(&PostParams::default(), &made(event)).await.expect("it may tell events");
    }

    async fn class(&self, name: &str) -> Option<StorageClass> {
        let api: Api<StorageClass> = Api::all(self.client.clone());
        api.get_opt(name).await.expect("it may read classes").filter(|class| class.provisioner == self.name)
    }

    async fn provision(&self, claim: &PersistentVolumeClaim) {
        let asked = ASKED.iter().find_map(|key| claim.annotations().get(*key)).is_some_and(|name| name == self.name);
        let spec = claim.spec.clone().unwrap_or_default();
        if !asked || spec.volume_name.is_some() || claim.metadata.deletion_timestamp.is_some() {
            return;
        }
        let Some(class) = self.class(spec.storage_class_name.as_deref().unwrap_or_default()).await else { return };
        let delayed = class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer");
        let node = match claim.annotations().get(SELECTED_NODE) {
            None if delayed => return,
            None => None,
            Some(name) => {
                let nodes: Api<Node> = Api::all(self.client.clone());
                Some(nodes.get(name).await.expect("it may read nodes"))
            }
        };
        let uid = claim.uid().expect("stored claims have a uid");
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        if volumes.get_opt(&format!("pvc-{uid}")).await.expect("it may read volumes").is_some() {
            return;
        }
        let namespace = claim.namespace().unwrap_or_default();
        let about =
            format!("External provisioner is provisioning volume for claim \"{namespace}/{}\"", claim.name_any());
        self.tell(claim, "Provisioning", &about).await;
        let folder = self.root.join(format!("{namespace}-{}-pvc-{uid}", claim.name_any()));
        fs::create_dir_all(&folder).expect("the folder can be made");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("it is everybody's");
        let on_node = node.map(|node| {
            let host = node.labels()[HOSTNAME].clone();
            let here = json!([{"key": HOSTNAME, "operator": "In", "values": [host]}]);
            json!({"required": {"nodeSelectorTerms": [{"matchExpressions": here}]}})
        });
        let volume = json!({
            "metadata": {"name": format!("pvc-{uid}"), "annotations": {PROVISIONED_BY: self.name}},
            "spec": {
                "capacity": {"storage": spec.resources.and_then(|resources| resources.requests?.remove("storage"))},
                "accessModes": spec.access_modes,
                "persistentVolumeReclaimPolicy": class.reclaim_policy,
                "storageClassName": class.name_any(),
                "mountOptions": class.mount_options,
                "hostPath": {"path": folder, "type": "Directory"},
                "claimRef": {
                    "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": claim.name_any(),
                    "uid": uid, "resourceVersion": claim.resource_version(),
                },
                "nodeAffinity": on_node,
            },
        });
        let volume: PersistentVolume = made(volume);
        volumes.create(&PostParams::default(), &volume).await.expect("it may create volumes");
        self.tell(claim, "ProvisioningSucceeded", &format!("Successfully provisioned volume pvc-{uid}")).await;
    }

    async fn reclaim(&self, volume: &PersistentVolume) {
        let spec = volume.spec.clone().unwrap_or_default();
        let released = volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Released");
        let ours = volume.annotations().get(PROVISIONED_BY).is_some_and(|name| name == self.name);
        let deleted = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
        if !released || !ours || !deleted || volume.metadata.deletion_timestamp.is_some() {
            return;
        }
        let class =
            self.class(spec.storage_class_name.as_deref().unwrap_or_default()).await.expect("the class is there");
        let archived =
            class.parameters.and_then(|all| all.get("archiveOnDelete").cloned()).is_none_or(|yes| yes == "true");
        let folder = PathBuf::from(spec.host_path.expect("it made a hostPath").path);
        match archived {
            true => fs::rename(&folder, archive_of(&folder)).expect("the folder can be archived"),
            false => fs::remove_dir_all(&folder).expect("the folder can be removed"),
        }
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        volumes.delete(&volume.name_any(), &DeleteParams::default()).await.expect("it may delete volumes");
    }
}

/// Where the content of a volume that is no more is kept.
pub(super) fn archive_of(folder: &Path) -> PathBuf {
    let name = folder.file_name().expect("a folder has a name").to_string_lossy();
    folder.with_file_name(format!("archived-{name}"))
}
