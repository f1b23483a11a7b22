//! Static pods: files in a folder are pods of this node, and the server is shown a mirror of each.

use super::{facts, registry::Pods};
use k8s_openapi::{
    api::core::v1::{Pod, Toleration},
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
};
use mk8s_api::decode;
use mk8s_client::Informer;
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

const LOOK: Duration = Duration::from_secs(2);

/// Follows the folder until it is dropped.
pub(super) async fn follow(pods: Pods, informer: Informer<Pod>) {
    let host = pods.host().clone();
    let folder = host.paths.static_pods();
    let mut running: HashMap<String, Arc<Pod>> = HashMap::new();
    loop {
        let found = read_folder(&folder, &host.options.node_name);
        for (uid, pod) in &running {
            if !found.contains_key(uid) {
                tracing::info!(pod = facts::format(pod), "static pod removed");
                pods.gone(uid);
            }
        }
        for (uid, pod) in &found {
            if !running.contains_key(uid) {
                tracing::info!(pod = facts::format(pod), "static pod found");
                pods.put(pod.clone());
            }
        }
        running = found;
        if informer.is_synced() {
            mirror_all(&pods, &informer, &running).await;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn read_folder(folder: &Path, node_name: &str) -> HashMap<String, Arc<Pod>> {
    let mut out = HashMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_manifest = path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if !is_manifest || !path.is_file() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        match read_pod(&text, &path.display().to_string(), node_name) {
            Ok(pod) => drop(out.insert(facts::uid(&pod).to_owned(), Arc::new(pod))),
            Err(why) => tracing::error!(path = %path.display(), why, "a static pod cannot be read"),
        }
    }
    out
}

/// A pod of a file, named after the node as Kubernetes does, with a uid that changes with its text.
fn read_pod(text: &str, file: &str, node_name: &str) -> Result<Pod, String> {
    let value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    let mut pod: Pod = decode::typed(&value).map_err(|error| error.to_string())?;
    let name = pod.metadata.name.clone().filter(|name| !name.is_empty()).ok_or("metadata.name is missing")?;
    let spec = pod.spec.as_mut().ok_or("spec is missing")?;
    if spec.containers.is_empty() {
        return Err("spec.containers is empty".into());
    }
    let hash = Sha256::digest(format!("{node_name}\n{file}\n{text}").as_bytes());
    let hash: String = hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    spec.node_name = Some(node_name.to_owned());
    spec.enable_service_links.get_or_insert(true);
    spec.restart_policy.get_or_insert_with(|| "Always".into());
    spec.dns_policy.get_or_insert_with(|| "ClusterFirst".into());
    spec.termination_grace_period_seconds.get_or_insert(30);
    let everything =
        Toleration { operator: Some("Exists".into()), effect: Some("NoExecute".into()), ..Toleration::default() };
    spec.tolerations.get_or_insert_default().push(everything);
    pod.metadata.name = Some(format!("{name}-{node_name}"));
    pod.metadata.namespace.get_or_insert_with(|| "default".into());
    pod.metadata.uid = Some(hash.clone());
    let notes = pod.annotations_mut();
    notes.insert(facts::CONFIG_SOURCE.into(), "file".into());
    notes.insert(facts::CONFIG_HASH.into(), hash);
    Ok(pod)
}

/// Creates mirrors that are missing and removes those whose file is gone or different.
async fn mirror_all(pods: &Pods, informer: &Informer<Pod>, running: &HashMap<String, Arc<Pod>>) {
    let host = pods.host();
    for mirror in informer.list().into_iter().filter(|pod| facts::is_mirror(pod)) {
        let of = mirror.annotations().get(facts::CONFIG_MIRROR).cloned().unwrap_or_default();
        if running.contains_key(&of) && !facts::is_deleting(&mirror) {
            continue;
        }
        let api: Api<Pod> = Api::namespaced(host.client.clone(), facts::namespace(&mirror));
        let preconditions = Preconditions { uid: mirror.metadata.uid.clone(), resource_version: None };
        let now = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        drop(api.delete(facts::name(&mirror), &now).await);
    }
    for (uid, pod) in running {
        if informer.get(facts::namespace(pod), facts::name(pod)).is_some() {
            continue;
        }
        let api: Api<Pod> = Api::namespaced(host.client.clone(), facts::namespace(pod));
        let node = host.node.object.read().clone();
        match api.create(&PostParams::default(), &mirror_of(pod, uid, node.as_deref())).await {
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(pod = facts::format(pod), %error, "the mirror of a static pod cannot be created")
            }
        }
    }
}

fn mirror_of(pod: &Pod, uid: &str, node: Option<&k8s_openapi::api::core::v1::Node>) -> Pod {
    let mut mirror = pod.clone();
    mirror.metadata.uid = None;
    mirror.annotations_mut().insert(facts::CONFIG_MIRROR.into(), uid.to_owned());
    if let Some(node) = node {
        mirror.metadata.owner_references = Some(vec![OwnerReference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: node.name_any(),
            uid: node.uid().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        }]);
    }
    mirror
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_become_pods() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: c, image: i}]}\n";
        let pod = read_pod(text, "/m/web.yaml", "n1").expect("a pod");
        assert_eq!((facts::name(&pod), facts::namespace(&pod), facts::is_static(&pod)), ("web-n1", "default", true));
        let other = read_pod(&text.replace("i}", "j}"), "/m/web.yaml", "n1").expect("a pod");
        assert_ne!(facts::uid(&pod), facts::uid(&other));
        for bad in ["", "[1]", "metadata: {name: x}", "metadata: {}\nspec: {containers: [{name: c}]}"] {
            assert!(read_pod(bad, "f", "n1").is_err(), "{bad}");
        }
    }
}
