//! What of a pod only its node needs: left away where many pods are kept and none is run.

use k8s_openapi::api::core::v1::{Container, Pod, Volume};
use std::any::Any;

/// Leaves that away of a pod; other kinds stay as they are.
pub(super) fn trim<K: Any>(object: &mut K) {
    if let Some(pod) = (object as &mut dyn Any).downcast_mut::<Pod>() {
        trim_pod(pod);
    }
}

/// Half of a pod's memory is the token's volume, and room that vectors have and do not use.
fn trim_pod(pod: &mut Pod) {
    if let Some(owners) = &mut pod.metadata.owner_references {
        owners.shrink_to_fit();
    }
    if let Some(spec) = &mut pod.spec {
        spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()).for_each(trim_container);
        spec.containers.shrink_to_fit();
        if let Some(volumes) = &mut spec.volumes {
            volumes.retain(is_more_than_files);
            volumes.shrink_to_fit();
        }
        if let Some(tolerations) = &mut spec.tolerations {
            tolerations.shrink_to_fit();
        }
    }
    if let Some(status) = &mut pod.status {
        if let Some(conditions) = &mut status.conditions {
            conditions.shrink_to_fit();
        }
        if let Some(containers) = &mut status.container_statuses {
            containers.shrink_to_fit();
        }
    }
}

fn trim_container(container: &mut Container) {
    let Container { name, image, ports, resources, resize_policy, restart_policy, restart_policy_rules, .. } =
        std::mem::take(container);
    *container = Container {
        name,
        image,
        ports,
        resources,
        resize_policy,
        restart_policy,
        restart_policy_rules,
        ..Container::default()
    };
}

/// Whether anyone but the node has to do with a volume: whoever provides it, or places the pod where it can be had.
fn is_more_than_files(volume: &Volume) -> bool {
    volume.config_map.is_none()
        && volume.secret.is_none()
        && volume.projected.is_none()
        && volume.downward_api.is_none()
        && volume.empty_dir.is_none()
        && volume.host_path.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_control_loops_look_at_stays() {
        let pod = json!({
            "metadata": {"name": "a", "labels": {"a": "b"}},
            "spec": {
                "nodeName": "n",
                "containers": [{
                    "name": "c", "image": "i", "command": ["x"], "env": [{"name": "A", "value": "b"}],
                    "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "1"}},
                    "volumeMounts": [{"name": "v", "mountPath": "/v"}], "livenessProbe": {"tcpSocket": {"port": 80}},
                }],
                "initContainers": [{"name": "s", "restartPolicy": "Always", "args": ["x"]}],
                "volumes": [
                    {"name": "v", "persistentVolumeClaim": {"claimName": "c"}},
                    {"name": "t", "projected": {"sources": []}},
                    {"name": "e", "emptyDir": {}},
                ],
            },
            "status": {"phase": "Running"},
        });
        let mut pod: Pod = serde_json::from_value(pod).expect("a pod");
        trim(&mut pod);
        let left = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "labels": {"a": "b"}},
            "spec": {
                "nodeName": "n",
                "containers": [{
                    "name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": {"requests": {"cpu": "1"}},
                }],
                "initContainers": [{"name": "s", "restartPolicy": "Always"}],
                "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}],
            },
            "status": {"phase": "Running"},
        });
        assert_eq!(serde_json::to_value(&pod).expect("JSON"), left);
    }
}
