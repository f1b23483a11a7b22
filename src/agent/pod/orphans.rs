//! What runs or lies on this node without a pod: deleted while the agent was away.

use super::{host::Host, labels};
use crate::{cgroup, volume};
use futures::future::join_all;
use mk8s_cri::v1;
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

/// Stops and removes the containers and sandboxes of pods that are no more.
pub(super) async fn take_down(
    host: &Arc<Host>,
    uids: BTreeSet<String>,
    sandboxes: &[v1::PodSandbox],
    containers: &[v1::Container],
) {
    let one = async |uid: &String| {
        let is_its = |labels: &std::collections::HashMap<String, String>| labels.get(labels::POD_UID) == Some(uid);
        for container in containers.iter().filter(|container| is_its(&container.labels)) {
            let grace = container.annotations.get(labels::POD_GRACE).and_then(|text| text.parse().ok()).unwrap_or(30);
            if container.state == v1::ContainerState::ContainerRunning as i32 {
                drop(host.runtime.stop_container(&container.id, Duration::from_secs(grace)).await);
            }
            drop(host.runtime.remove_container(&container.id).await);
        }
        for sandbox in sandboxes.iter().filter(|sandbox| is_its(&sandbox.labels)) {
            let name = sandbox.metadata.as_ref().map(|m| format!("{}/{}", m.namespace, m.name)).unwrap_or_default();
            tracing::info!(uid, name, "taking down a pod that exists no more");
            remove_sandbox(host, &sandbox.id).await;
            if let Some(metadata) = &sandbox.metadata {
                let logs =
                    host.options.log_dir.join(format!("{}_{}_{}", metadata.namespace, metadata.name, metadata.uid));
                drop(std::fs::remove_dir_all(logs));
            }
        }
    };
    join_all(uids.iter().map(one)).await;
}

pub(super) async fn remove_sandbox(host: &Host, id: &str) {
    if let Err(error) = host.runtime.stop_sandbox(id).await
        && !error.is_not_found()
    {
        tracing::warn!(sandbox = id, %error, "a sandbox cannot be stopped");
        return;
    }
    if let Err(error) = host.runtime.remove_sandbox(id).await
        && !error.is_not_found()
    {
        tracing::warn!(sandbox = id, %error, "a sandbox cannot be removed");
    }
}

/// Removes folders and control groups of pods that neither exist nor run.
pub(super) fn clear_folders(host: &Host, known: &HashSet<String>, running: &HashSet<String>) {
    let wanted = |uid: &String| known.contains(uid) || running.contains(uid);
    for entry in std::fs::read_dir(host.paths.pods()).into_iter().flatten().flatten() {
        let uid = entry.file_name().to_string_lossy().into_owned();
        if wanted(&uid) {
            continue;
        }
        match volume::tear_down(&entry.path()) {
            Ok(()) => {
                tracing::info!(uid, "the folder of a pod that exists no more is removed");
                for class in [cgroup::QosClass::Guaranteed, cgroup::QosClass::Burstable, cgroup::QosClass::BestEffort] {
                    cgroup::remove(&cgroup::parent_of(class, &uid));
                }
            }
            Err(error) => tracing::warn!(uid, %error, "the folder of a pod that exists no more stays"),
        }
    }
}
