//! What pods use, what is made of it, and the folders that they keep.

use crate::support::{shared, space::Space};
use std::{path::Path, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

/// As old manifests have it, with a load that one pod cannot carry.
const BUSY: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: busybox:1.36
        command: [sh, -c, 'while :; do :; done']
        resources: {requests: {cpu: 20m}, limits: {cpu: 100m}}
---
apiVersion: autoscaling/v2beta2
kind: HorizontalPodAutoscaler
metadata: {name: busy}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: busy}
  minReplicas: 1
  maxReplicas: 2
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
";

#[test]
fn busy_pods_are_seen_and_scaled() {
    let space = Space::new(shared(), "busy");
    space.apply(BUSY);
    let top = space.wait_for(&["top", "pods", "-l", "app=busy", "--no-headers"], 2 * MINUTE, |top| {
        let cores = top.split_whitespace().nth(1).and_then(|text| text.strip_suffix('m')?.parse::<u64>().ok());
        cores.is_some_and(|milli| milli >= 50)
    });
    assert!(top.starts_with("busy-"), "{top}");
    let nodes = space.kubectl(&["top", "nodes"]);
    assert!(nodes.lines().nth(1).is_some_and(|line| line.contains('%')), "{nodes}");
    space.wait_field("deployment/busy", "{.spec.replicas}", 2 * MINUTE, |replicas| replicas == "2");
    space.wait_for(&["get", "events", "-o", "custom-columns=M:.message"], MINUTE, |events| {
        events.contains("New size: 2; reason: cpu resource utilization (percentage of request) above target")
    });
    let version =
        space.kubectl(&["get", "horizontalpodautoscalers.v2beta2.autoscaling", "busy", "-o", "jsonpath={.apiVersion}"]);
    assert_eq!(version, "autoscaling/v2beta2");
}

const KEEPER: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: keeper}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000}
  containers:
  - name: main
    image: busybox:1.36
    command: [sh, -c, 'echo kept >> /data/file && sleep 3600']
    volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
";

#[test]
fn claims_without_a_class_get_a_folder() {
    let space = Space::new(shared(), "keeper");
    space.apply(KEEPER);
    space.ready("keeper");
    let volume = space.field("pvc/data", "{.spec.volumeName}");
    let path = space.kubectl(&["get", "pv", &volume, "-o", "jsonpath={.spec.local.path}"]);
    assert_eq!(std::fs::read_to_string(Path::new(&path).join("file")).expect("the pod's file"), "kept\n");
    // Another pod finds what the first one left.
    space.kubectl(&["delete", "pod", "keeper"]);
    space.apply(KEEPER);
    space.ready("keeper");
    assert_eq!(space.kubectl(&["exec", "keeper", "--", "cat", "/data/file"]), "kept\nkept\n");
    space.kubectl(&["delete", "pod", "keeper"]);
    space.kubectl(&["delete", "pvc", "data"]);
    space.wait_for(&["get", "pv", "-o", "name"], MINUTE, |left| !left.contains(&volume));
    assert!(!Path::new(&path).exists());
}
