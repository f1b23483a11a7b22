//! What becomes of a volume whose claim is gone: it is kept, emptied for the next one, or deleted. Pure.

use super::plan::{Action, ObservedVolume, Plan, policy};
use crate::common::volumes::{PROVISIONED_BY, driver_for};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeSpec};
use mk8s_api::quantity::Quantity;
use mk8s_client::{events::EventType, kube::ResourceExt};
use serde_json::{Value, json};

/// Kept on volumes that Kubernetes itself would have provisioned, until they are deleted by it.
pub(super) const DELETED_HERE: &str = "kubernetes.io/pv-controller";
/// Kept on volumes until a provisioner has deleted what they stand for.
const DELETED_ELSEWHERE: &str = "external-provisioner.volume.kubernetes.io/finalizer";
pub(super) const MIGRATED_TO: &str = "pv.kubernetes.io/migrated-to";
const BUILT_IN: &str = "kubernetes.io/";
const HOST_PATH: &str = "kubernetes.io/host-path";

/// Pods that empty volumes are there.
pub(super) const RECYCLERS: &str = "default";

/// Bytes for each of which a pod that empties a volume gets more time.
const GIB: i64 = 1 << 30;
/// Seconds for each of them.
const SECONDS_PER_GIB: i64 = 30;

/// The pod that empties a volume.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Recycler {
    /// There is none. After a failure none is made for a while.
    None,
    Resting,
    /// A pod has its name, and nobody knows whose it is.
    Other,
    /// A pod of the name is being deleted.
    Leaving,
    Running,
    Succeeded,
    Failed(String),
    /// It was deleted by somebody.
    Gone,
    /// The server does not want it.
    Refused(String),
}

impl Recycler {
    /// Another one is made, though not at once.
    pub(super) fn has_failed(&self) -> bool {
        matches!(self, Recycler::Other | Recycler::Failed(_) | Recycler::Gone | Recycler::Refused(_))
    }
}

/// The finalizers that a volume should have. Those of provisioners elsewhere are theirs.
pub(super) fn finalizers(volume: &PersistentVolume) -> Vec<String> {
    let mut finalizers = volume.finalizers().to_vec();
    let Some(provisioner) = volume.annotations().get(PROVISIONED_BY) else { return finalizers };
    if driver_for(provisioner).is_some() {
        finalizers.retain(|known| known != DELETED_HERE);
        return finalizers;
    }
    if !provisioner.starts_with(BUILT_IN) {
        return finalizers;
    }
    finalizers.retain(|known| known != DELETED_ELSEWHERE);
    match policy(volume) {
        // What is being deleted gets no finalizers any more.
        "Delete" if volume.metadata.deletion_timestamp.is_some() => {}
        "Delete" if finalizers.iter().all(|known| known != DELETED_HERE) => finalizers.push(DELETED_HERE.to_owned()),
        "Retain" | "Recycle" => finalizers.retain(|known| known != DELETED_HERE),
        _ => {}
    }
    finalizers
}

/// The driver that takes care of a volume of old, when the volume does not say so.
pub(super) fn migrated_to(volume: &PersistentVolume) -> Option<&'static str> {
    let driver = driver_for(volume.annotations().get(PROVISIONED_BY)?)?;
    (volume.annotations().get(MIGRATED_TO).map(String::as_str) != Some(driver)).then_some(driver)
}

/// `plan` says that the volume is released.
pub(super) fn reclaim(observed: &ObservedVolume, phase: &str, plan: Plan) -> Plan {
    let volume = observed.volume.as_ref();
    if volume.annotations().get(MIGRATED_TO).is_some_and(|driver| !driver.is_empty()) {
        return plan;
    }
    match policy(volume) {
        "Delete" => delete(volume, phase, plan),
        "Recycle" => recycle(observed, phase, plan),
        _ => plan,
    }
}

/// It is told once that something is wrong; whoever looks at the volume later sees it.
fn fail(phase: &str, reason: &'static str, message: String) -> Plan {
    if phase == "Failed" {
        return Plan::default();
    }
    let failed = Plan::default().then(Action::Volume { phase: "Failed", message: message.clone() });
    failed.tell(EventType::Warning, reason, message)
}

/// Who has made a volume deletes it.
fn delete(volume: &PersistentVolume, phase: &str, plan: Plan) -> Plan {
    let provisioner = volume.annotations().get(PROVISIONED_BY).filter(|name| !name.is_empty());
    if provisioner.is_some_and(|name| !name.starts_with(BUILT_IN)) {
        return plan;
    }
    let Some(spec) = volume.spec.as_ref() else { return plan };
    let failed = |message| fail(phase, "VolumeFailedDelete", message);
    match provisioner {
        Some(name) if name != HOST_PATH => return failed(format!("no volume plugin matched name: {name}")),
        None if spec.csi.is_some() => return plan,
        _ => {}
    }
    let Some(host_path) = &spec.host_path else {
        let why = if spec.nfs.is_some() { "no deletable volume plugin matched" } else { "no volume plugin matched" };
        let name = volume.name_any();
        return failed(format!("error getting deleter volume plugin for volume {name:?}: {why}"));
    };
    match host_path.path.split_once("/tmp/") {
        Some((_, rest)) if !rest.is_empty() => plan.then(Action::Remove),
        _ => {
            let path = &host_path.path;
            failed(format!("host_path deleter only supports /tmp/.+ but received provided {path}"))
        }
    }
}

fn recycle(observed: &ObservedVolume, phase: &str, plan: Plan) -> Plan {
    let failed = |message: String| fail(phase, "VolumeFailedRecycle", message);
    if recycler_pod(&observed.volume).is_none() {
        return failed("No recycler plugin found for the volume!".to_owned());
    }
    if !observed.users.is_empty() {
        let message = format!("Volume is used by pods: {}", observed.users.join(","));
        return plan.tell(EventType::Normal, "VolumeFailedRecycle", message);
    }
    let over = |why: &str| failed(format!("Recycle failed: failed to recycle volume: {why}"));
    match &observed.recycler {
        Recycler::None => plan.then(Action::Recycle),
        Recycler::Resting | Recycler::Leaving | Recycler::Running => plan,
        Recycler::Other => {
            failed("Recycle failed: old recycler pod found, will retry later".to_owned()).then(Action::EndRecycler)
        }
        Recycler::Succeeded => {
            let done = plan.then(Action::EndRecycler).tell(EventType::Normal, "VolumeRecycled", "Volume recycled");
            done.then(Action::Unbind)
        }
        Recycler::Failed(why) => over(why).then(Action::EndRecycler),
        Recycler::Gone => over("recycler pod was deleted"),
        Recycler::Refused(why) => failed(format!("Recycle failed: unexpected error creating recycler pod:  {why}")),
    }
}

pub(super) fn recycler_name(volume: &str) -> String {
    format!("recycler-for-{volume}")
}

/// The pod that empties a volume; `None` where none can.
pub(super) fn recycler_pod(volume: &PersistentVolume) -> Option<Value> {
    let spec = volume.spec.as_ref()?;
    let (source, seconds_min) = match (&spec.host_path, &spec.nfs) {
        (Some(host_path), _) => (json!({"hostPath": {"path": host_path.path}}), 60),
        (None, Some(nfs)) => (json!({"nfs": {"server": nfs.server, "path": nfs.path}}), 300),
        (None, None) => return None,
    };
    let mut mounted = source;
    mounted["name"] = json!("vol");
    let script = "test -e /scrub && find /scrub -mindepth 1 -delete && test -z \"$(ls -A /scrub)\" || exit 1";
    Some(json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": recycler_name(&volume.name_any()), "namespace": RECYCLERS},
        "spec": {
            "activeDeadlineSeconds": (gibibytes(spec) * SECONDS_PER_GIB).max(seconds_min),
            "restartPolicy": "Never",
            "volumes": [mounted],
            "containers": [{
                "name": "pv-recycler",
                "image": "registry.k8s.io/build-image/debian-base:bookworm-v1.0.6",
                "command": ["/bin/sh"],
                "args": ["-c", script],
                "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}],
            }],
        },
    }))
}

/// Whole ones.
fn gibibytes(spec: &PersistentVolumeSpec) -> i64 {
    let text = spec.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
    let bytes = text.and_then(|text| Quantity::parse(&text.0).ok()).map(|amount| amount.value());
    bytes.unwrap_or_default() / GIB
}
