//! Objects of files as kubectl prints them: its compiled types write some fields even when a file leaves them out.

use serde_json::{Value, json};

/// Adds the fields that are always written.
pub(super) fn complete(object: &mut Value) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    let (template, status) = match kind.as_str() {
        "Pod" => ("", json!({})),
        "Deployment" | "Job" => ("/spec/template", json!({})),
        "DaemonSet" => (
            "/spec/template",
            json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0}),
        ),
        "StatefulSet" => ("/spec/template", json!({"availableReplicas": 0, "replicas": 0})),
        "ReplicaSet" | "ReplicationController" => ("/spec/template", json!({"replicas": 0})),
        "CronJob" => ("/spec/jobTemplate/spec/template", json!({})),
        "Service" => ("", json!({"loadBalancer": {}})),
        _ => return,
    };
    add(object, "status", status);
    match kind.as_str() {
        "Deployment" => inside(object, "/spec", "strategy"),
        "DaemonSet" | "StatefulSet" => inside(object, "/spec", "updateStrategy"),
        "CronJob" => inside(object, "/spec/jobTemplate", "metadata"),
        "Service" => {
            let ports = object.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
            ports.into_iter().flatten().for_each(|port| add(port, "targetPort", 0.into()));
        }
        _ => {}
    }
    inside(object, template, "metadata");
    for field in ["initContainers", "containers"] {
        let containers = object.pointer_mut(&format!("{template}/spec/{field}")).and_then(Value::as_array_mut);
        containers.into_iter().flatten().for_each(|container| add(container, "resources", json!({})));
    }
}

fn inside(object: &mut Value, path: &str, field: &str) {
    if let Some(parent) = object.pointer_mut(path) {
        add(parent, field, json!({}));
    }
}

fn add(parent: &mut Value, field: &str, value: Value) {
    if let Some(map) = parent.as_object_mut() {
        map.entry(field).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_always_written() {
        let mut job = json!({"kind": "CronJob", "metadata": {}, "spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"name": "a"}]}}}}}});
        complete(&mut job);
        assert_eq!(
            job,
            json!({"kind": "CronJob", "metadata": {}, "status": {}, "spec": {"jobTemplate": {"metadata": {}, "spec": {"template": {
                "metadata": {}, "spec": {"containers": [{"name": "a", "resources": {}}]}}}}}})
        );
        let mut custom = json!({"kind": "Custom"});
        complete(&mut custom);
        assert_eq!(custom, json!({"kind": "Custom"}));
    }
}
