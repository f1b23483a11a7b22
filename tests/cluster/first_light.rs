//! One server from nothing to a pod that answers behind a Service, and back up after it was killed.

use crate::support::host::Host;
use nix::sys::signal::Signal;
use std::time::Duration;

const HELLO: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - name: hello
        image: mk8s/hello:1
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  type: NodePort
  selector: {app: hello}
  ports: [{port: 80, targetPort: 8080, nodePort: 30080}]
"#;

fn answer(host: &Host, url: &str) -> Option<String> {
    let output = host.command("curl").args(["-s", "--max-time", "2", url]).output().expect("curl can be started");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_deployment_answers_behind_a_service_and_survives_the_server() {
    let mut host = Host::start("first", &[]);
    host.apply(HELLO);
    host.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);

    let cluster_ip = host.kubectl(&["get", "service", "hello", "-o", "jsonpath={.spec.clusterIP}"]);
    host.wait("the cluster address answers", Duration::from_secs(10), |h| {
        answer(h, &format!("http://{cluster_ip}/")).is_some_and(|a| a.starts_with("Hello from hello-"))
    });
    host.wait("the node port answers", Duration::from_secs(10), |h| {
        answer(h, &format!("http://{}:30080/", h.address)).is_some_and(|a| a.starts_with("Hello from hello-"))
    });

    let containers = |h: &Host| {
        h.kubectl(&[
            "get",
            "pods",
            "-l",
            "app=hello",
            "-o",
            "jsonpath={.items[*].status.containerStatuses[0].containerID}",
        ])
    };
    let before = containers(&host);
    host.stop_server(Signal::SIGKILL);
    assert!(
        answer(&host, &format!("http://{cluster_ip}/")).is_some_and(|a| a.starts_with("Hello from hello-")),
        "the Service answers while the server is down"
    );
    host.start_server();
    assert_eq!(before, containers(&host), "the containers are those from before");

    host.kubectl(&["delete", "deployment/hello", "service/hello", "--wait"]);
    host.wait("the pods are gone", Duration::from_secs(60), |h| {
        h.try_kubectl(&["get", "pods", "-o", "name"]).is_some_and(|out| out.is_empty())
    });
}
