//! What a pod's containers live through: probes, hooks, ends and restarts, images that cannot be had.

use crate::support::{registry::Registry, shared, space::Space};
use std::{fs, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);

/// A pod's YAML with one busybox container that runs until it is told to end.
fn idle(name: &str, container: &str, pod: &str) -> String {
    let wait = "trap 'exit 0' TERM; echo started; sleep 3600 & wait";
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  {pod}
  containers:
  - name: main
    image: busybox:1.36
    command: [sh, -c, \"{wait}\"]
    {container}
"
    )
}

#[test]
fn a_failed_liveness_probe_restarts_the_container() {
    let space = Space::new(shared(), "liveness");
    let probe = "livenessProbe: {exec: {command: [test, '!', -e, /tmp/bad]}, periodSeconds: 1, failureThreshold: 1}";
    space.apply(&idle("alive", probe, "terminationGracePeriodSeconds: 1"));
    space.ready("alive");
    let pod = "pod/alive";
    let first = space.field(pod, "{.status.containerStatuses[0].containerID}");
    space.kubectl(&["exec", "alive", "--", "touch", "/tmp/bad"]);
    space.wait_field(pod, "{.status.containerStatuses[0].restartCount}", MINUTE, |count| count == "1");
    space.ready("alive");
    assert_ne!(first, space.field(pod, "{.status.containerStatuses[0].containerID}"));
    space.wait_for(&["get", "events", "-o", "custom-columns=R:.reason,M:.message"], MINUTE, |events| {
        events.contains("Unhealthy") && events.contains("Liveness probe failed") && events.contains("Killing")
    });
}

/// nginx speaks HTTP/2 and can end an answer with a trailer: with the right file it is a gRPC health service.
const HEALTH: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: health}
data:
  nginx.conf: |
    events {}
    http {
      server {
        listen 8081 http2;
        location / {
          root /health;
          default_type application/grpc;
          add_trailer grpc-status 0;
          error_page 405 =200 $uri;
        }
      }
    }
binaryData: {answer: AAAAAAIIAQ==}
---
apiVersion: v1
kind: Pod
metadata: {name: grpc}
spec:
  containers:
  - name: nginx
    image: nginx:1.25
    command: [nginx, -c, /etc/health/nginx.conf, -g, 'daemon off;']
    readinessProbe: {grpc: {port: 8081}, periodSeconds: 1, failureThreshold: 1}
    volumeMounts:
    - {name: config, mountPath: /etc/health}
    - {name: answer, mountPath: /health/grpc.health.v1.Health}
  volumes:
  - {name: config, configMap: {name: health, items: [{key: nginx.conf, path: nginx.conf}]}}
  - {name: answer, configMap: {name: health, items: [{key: answer, path: Check}]}}
";

#[test]
fn a_grpc_service_is_asked_for_its_health() {
    let space = Space::new(shared(), "grpc");
    space.apply(HEALTH);
    space.ready("grpc");
    // NOT_SERVING.
    space.kubectl(&[
        "patch",
        "configmap",
        "health",
        "--type=merge",
        "-p",
        r#"{"binaryData": {"answer": "AAAAAAIIAg=="}}"#,
    ]);
    let ready = "{.status.conditions[?(@.type=='Ready')].status}";
    space.wait_field("pod/grpc", ready, MINUTE, |ready| ready == "False");
    space.wait_for(&["get", "events", "-o", "custom-columns=M:.message"], MINUTE, |events| {
        events.contains("Readiness probe failed: service unhealthy (responded with \"NOT_SERVING\")")
    });
}

#[test]
fn readiness_decides_who_is_behind_a_service() {
    let space = Space::new(shared(), "readiness");
    space.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: nginx
    image: nginx:1.25
    startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1, failureThreshold: 30}
    readinessProbe: {httpGet: {path: /ready, port: 80}, periodSeconds: 1, failureThreshold: 1}
    livenessProbe: {httpGet: {path: /, port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
",
    );
    space.wait_field("pod/web", "{.status.containerStatuses[0].started}", MINUTE, |started| started == "true");
    let endpoints = "{.subsets[*].addresses[*].ip}";
    let not_ready = "{.subsets[*].notReadyAddresses[*].ip}";
    space.wait_field("endpoints/web", not_ready, MINUTE, |addresses| !addresses.is_empty());
    assert_eq!(space.field("endpoints/web", endpoints), "");
    space.kubectl(&["exec", "web", "--", "touch", "/usr/share/nginx/html/ready"]);
    space.wait_field("endpoints/web", endpoints, MINUTE, |addresses| !addresses.is_empty());
    let url = format!("http://{}/", space.field("service/web", "{.spec.clusterIP}"));
    shared().wait("the Service answers", Duration::from_secs(5), |host| host.curl(&url).is_some());
    space.kubectl(&["exec", "web", "--", "rm", "/usr/share/nginx/html/ready"]);
    space.wait_field("endpoints/web", endpoints, MINUTE, |addresses| addresses.is_empty());
    shared().wait("the Service answers no more", Duration::from_secs(5), |host| host.curl(&url).is_none());
    assert_eq!(space.field("pod/web", "{.status.containerStatuses[0].restartCount}"), "0");
}

#[test]
fn a_container_that_fails_is_restarted_with_backoff() {
    let space = Space::new(shared(), "backoff");
    space.kubectl(&["run", "fails", "--image=busybox:1.36", "--", "sh", "-c", "echo attempt; exit 7"]);
    let state = "{.status.containerStatuses[0].state.waiting.reason}";
    space.wait_field("pod/fails", state, MINUTE, |reason| reason == "CrashLoopBackOff");
    let last = "{.status.containerStatuses[0].lastState.terminated.exitCode}";
    space.wait_field("pod/fails", last, MINUTE, |code| code == "7");
    space.wait_for(&["logs", "fails", "--previous"], MINUTE, |log| log == "attempt\n");
    space.wait_field("pod/fails", "{.status.containerStatuses[0].restartCount}", MINUTE, |count| count != "0");
    assert_eq!(space.field("pod/fails", "{.status.phase}"), "Running");

    space.kubectl(&["run", "once", "--image=busybox:1.36", "--restart=Never", "--", "sh", "-c", "exit 3"]);
    space.wait_field("pod/once", "{.status.phase}", MINUTE, |phase| phase == "Failed");
    assert_eq!(space.field("pod/once", "{.status.containerStatuses[0].restartCount}"), "0");
    space.kubectl(&["run", "well", "--image=busybox:1.36", "--restart=OnFailure", "--", "true"]);
    space.wait_field("pod/well", "{.status.phase}", MINUTE, |phase| phase == "Succeeded");
}

#[test]
fn hooks_run_after_the_start_and_before_the_end() {
    let space = Space::new(shared(), "hooks");
    let folder = shared().scratch("hooks");
    let container = "
    lifecycle:
      postStart: {exec: {command: [sh, -c, echo began >>/shared/log]}}
      preStop: {exec: {command: [sh, -c, echo ends >>/shared/log]}}
    volumeMounts: [{name: shared, mountPath: /shared}]";
    let pod = format!("volumes: [{{name: shared, hostPath: {{path: {}, type: Directory}}}}]", folder.display());
    space.apply(&idle("hooked", container, &pod));
    space.ready("hooked");
    let log = || fs::read_to_string(folder.join("log")).unwrap_or_default();
    assert_eq!(log(), "began\n");
    space.kubectl(&["delete", "pod", "hooked"]);
    assert_eq!(log(), "began\nends\n");
}

#[test]
fn init_containers_run_first_and_in_order() {
    let space = Space::new(shared(), "init");
    let pod = "
  volumes: [{name: data, emptyDir: {}}]
  initContainers:
  - {name: one, image: 'busybox:1.36', command: [sh, -c, echo one >>/data/log], volumeMounts: [{name: data, mountPath: /data}]}
  - {name: two, image: 'busybox:1.36', command: [sh, -c, echo two >>/data/log], volumeMounts: [{name: data, mountPath: /data}]}
  - {name: beside, image: 'busybox:1.36', restartPolicy: Always, command: [sh, -c, \"trap 'exit 0' TERM; sleep 3600 & wait\"]}";
    space.apply(&idle("ordered", "volumeMounts: [{name: data, mountPath: /data}]", pod));
    space.ready("ordered");
    assert_eq!(space.kubectl(&["exec", "ordered", "-c", "main", "--", "cat", "/data/log"]), "one\ntwo\n");
    let sidecar = "{.status.initContainerStatuses[2].state.running.startedAt}";
    assert_ne!(space.field("pod/ordered", sidecar), "");
}

#[test]
fn an_image_that_cannot_be_had_is_said_and_waited_for() {
    let space = Space::new(shared(), "no-image");
    let image = "127.0.0.1:5002/library/nginx:1.25";
    space.kubectl(&["run", "late", &format!("--image={image}")]);
    let reason = "{.status.containerStatuses[0].state.waiting.reason}";
    space.wait_field("pod/late", reason, MINUTE, |reason| reason == "ErrImagePull");
    space.wait_field("pod/late", reason, MINUTE, |reason| reason == "ImagePullBackOff");
    let message = space.field("pod/late", "{.status.containerStatuses[0].state.waiting.message}");
    assert!(message.contains("Back-off pulling image") && message.contains(image), "{message}");
    space.kubectl(&["run", "never", "--image=absent:1", "--image-pull-policy=Never"]);
    space.wait_field("pod/never", reason, MINUTE, |reason| reason == "ErrImageNeverPull");

    // What came with an archive needs no registry at all.
    space.kubectl(&["run", "here", "--image=nginx:1.14.2", "--image-pull-policy=Never"]);
    space.ready("here");

    // When the registry is there after all, the pod gets its image without anybody's help.
    let registry = Registry::open(shared(), 5002);
    registry.fill(shared());
    space.ready("late");
}

#[test]
fn a_static_pod_comes_and_goes_with_its_file() {
    let space = Space::new(shared(), "static");
    let manifest = idle("fixed", "", "").replace("metadata: {", "metadata: {namespace: static, ");
    let file = shared().data_dir.join("agent/pod-manifests/fixed.yaml");
    fs::write(&file, manifest).expect("the manifest can be written");
    let name = format!("fixed-{}", shared().name);
    space.wait_for(&["get", "pod", &name, "--ignore-not-found", "-o", "jsonpath={.status.phase}"], MINUTE, |phase| {
        phase == "Running"
    });
    assert_eq!(space.field(&format!("pod/{name}"), "{.metadata.ownerReferences[0].kind}"), "Node");
    // Deleting the mirror does not delete the pod.
    let id = space.field(&format!("pod/{name}"), "{.status.containerStatuses[0].containerID}");
    space.kubectl(&["delete", "pod", &name, "--wait=false"]);
    let path = "jsonpath={.status.containerStatuses[0].containerID}";
    space.wait_for(&["get", "pod", &name, "--ignore-not-found", "-o", path], MINUTE, |now| now == id);
    fs::remove_file(&file).expect("the manifest can be removed");
    space.wait_for(&["get", "pods", "-o", "name"], MINUTE, |names| names.is_empty());
}

#[test]
fn a_pod_that_is_deleted_while_it_starts_goes_at_once() {
    let space = Space::new(shared(), "hasty");
    let names: Vec<String> = (0..12).map(|n| format!("hasty-{n}")).collect();
    for (n, name) in names.iter().enumerate() {
        space.apply(&idle(name, "", "terminationGracePeriodSeconds: 5"));
        // At another moment of its start each.
        std::thread::sleep(Duration::from_millis(60 * n as u64));
        space.kubectl(&["delete", "pod", name, "--wait=false"]);
    }
    space.wait_for(&["get", "pods", "-o", "name"], MINUTE, |left| left.trim().is_empty());
}
