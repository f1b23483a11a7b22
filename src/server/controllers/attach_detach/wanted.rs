//! Which volumes the pods of a node want attached to it, and what they are called. Pure.

use crate::common::volumes::{claim_name, claim_of, is_terminated, not_made_for, volume_name, volumes};
use k8s_openapi::api::{
    core::v1::{CSIPersistentVolumeSource, PersistentVolume, PersistentVolumeClaim},
    storage::v1::CSIDriver,
};
use mk8s_client::{
    Key,
    kube::ResourceExt,
    pod::{Pod, Volume},
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, sync::Arc};

/// How nodes call the volumes of CSI drivers: `kubernetes.io/csi/DRIVER^HANDLE`.
const PLUGIN: &str = "kubernetes.io/csi/";

/// A volume, and the pods of one node that use it.
#[derive(Debug, Clone)]
pub(super) struct Use {
    pub(super) volume: Arc<PersistentVolume>,
    pub(super) pods: Vec<Arc<Pod>>,
}

/// Where claims, volumes and drivers are looked up.
pub(super) trait Storage {
    fn claim(&self, key: &Key) -> Option<Arc<PersistentVolumeClaim>>;
    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>>;
    fn driver(&self, name: &str) -> Option<Arc<CSIDriver>>;
}

/// The volumes that must be attached for the pods of a node, by name.
pub(super) fn wanted(pods: Vec<Arc<Pod>>, storage: &impl Storage) -> Vec<Use> {
    let mut uses: BTreeMap<String, Use> = BTreeMap::new();
    for pod in pods.into_iter().filter(|pod| !is_terminated(pod)) {
        for volume in volumes(&pod).filter_map(|volume| attachable(&pod, volume, storage)) {
            let name = unique_name(&volume).unwrap_or_default();
            let used = uses.entry(name).or_insert_with(|| Use { volume, pods: Vec::new() });
            used.pods.push(pod.clone());
        }
    }
    uses.into_values().collect()
}

/// The volume behind one of a pod's, when it is there and somebody must attach it.
fn attachable(pod: &Pod, volume: &Volume, storage: &impl Storage) -> Option<Arc<PersistentVolume>> {
    let claim = storage.claim(&Key::new(pod.namespace().unwrap_or_default(), claim_name(pod, volume)?))?;
    if volume.ephemeral.is_some() && not_made_for(pod, &claim.metadata).is_some() {
        return None;
    }
    let volume = storage.volume(volume_name(&claim)?)?;
    let (_, uid) = claim_of(&volume)?;
    let driver = storage.driver(&source(&volume)?.driver);
    // A driver that says nothing is asked to attach.
    let attaches = driver.is_none_or(|driver| driver.spec.attach_required != Some(false));
    (attaches && uid == claim.metadata.uid.as_deref()).then_some(volume)
}

pub(super) fn source(volume: &PersistentVolume) -> Option<&CSIPersistentVolumeSource> {
    volume.spec.as_ref()?.csi.as_ref()
}

/// The same for all PersistentVolumes that stand for one volume of a driver.
pub(super) fn unique_name(volume: &PersistentVolume) -> Option<String> {
    source(volume).map(|csi| format!("{PLUGIN}{}^{}", csi.driver, csi.volume_handle))
}

/// The name of the VolumeAttachment of a volume, called as nodes do, to a node; `None` for what no CSI driver attaches.
pub(super) fn attachment_name(unique_name: &str, node: &str) -> Option<String> {
    let (driver, handle) = unique_name.strip_prefix(PLUGIN)?.split_once('^')?;
    let digest = Sha256::digest(format!("{handle}{driver}{node}"));
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("csi-{hex}"))
}

/// Whether a VolumeAttachment has a name as it is made here.
pub(super) fn is_ours(attachment: &str) -> bool {
    let hex = |text: &str| text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    attachment.strip_prefix("csi-").is_some_and(hex)
}

/// Whether several nodes may have it at once; who says nothing leaves it to the driver.
pub(super) fn is_shared(volume: &PersistentVolume) -> bool {
    let modes = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    modes.is_empty() || modes.iter().any(|mode| matches!(mode.as_str(), "ReadWriteMany" | "ReadOnlyMany"))
}
