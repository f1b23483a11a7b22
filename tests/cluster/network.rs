//! Packets: host ports, session affinity, names of headless Services, the API from inside of a pod.

use crate::support::{shared, space::Space};
use std::{collections::BTreeSet, time::Duration};

/// Three pods of `hello` with a Service of each kind.
const THREE: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 3
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers: [{name: hello, image: 'mk8s/hello:1', ports: [{name: web, containerPort: 8080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: any}
spec: {selector: {app: hello}, ports: [{port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: sticky}
spec: {selector: {app: hello}, sessionAffinity: ClientIP, ports: [{port: 80, targetPort: web}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {selector: {app: hello}, clusterIP: None, ports: [{name: http, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: any.services.svc.cluster.local}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers: [{name: main, image: 'busybox:1.36', command: [sh, -c, \"trap 'exit 0' TERM; sleep 3600 & wait\"]}]
";

fn answers(url: &str, times: usize) -> BTreeSet<String> {
    (0..times).filter_map(|_| shared().curl(url)).collect()
}

#[test]
fn services_spread_stick_and_have_names() {
    let space = Space::new(shared(), "services");
    space.apply(THREE);
    space.kubectl(&["rollout", "status", "deployment/hello", "--timeout=60s"]);
    space.ready("client");
    let url = |service: &str| format!("http://{}/", space.field(&format!("service/{service}"), "{.spec.clusterIP}"));
    let (any, sticky) = (url("any"), url("sticky"));
    for url in [&any, &sticky] {
        shared().wait("the Service answers", Duration::from_secs(5), |host| host.curl(url).is_some());
    }
    assert_eq!(answers(&any, 40).len(), 3, "every pod answers");
    assert_eq!(answers(&sticky, 20).len(), 1, "one pod answers one client");

    let lookup = |arguments: &[&str]| {
        let output = space.run_kubectl(&[&["exec", "client", "--", "nslookup"], arguments].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let addresses = |text: &str| text.lines().skip(3).filter(|line| line.starts_with("Address")).count();
    let headless = lookup(&["headless.services.svc.cluster.local"]);
    assert_eq!(addresses(&headless), 3, "{headless}");
    let srv = lookup(&["-type=srv", "_http._tcp.headless.services.svc.cluster.local"]);
    assert_eq!(srv.matches("8080").count(), 3, "{srv}");
    let cluster_ip = space.field("service/any", "{.spec.clusterIP}");
    let reverse = lookup(&[&cluster_ip]);
    assert!(reverse.contains("any.services.svc.cluster.local"), "{reverse}");
    let external = lookup(&["elsewhere.services.svc.cluster.local"]);
    assert!(external.contains(&cluster_ip), "{external}");
    let nowhere = space.run_kubectl(&["exec", "client", "--", "nslookup", "nowhere.services.svc.cluster.local"]);
    assert!(!nowhere.status.success(), "a name that nobody has");
    let answer = space.kubectl(&["exec", "client", "--", "wget", "-qO-", "http://any/"]);
    assert!(answer.starts_with("Hello from hello-"), "{answer}");
    // A pod reaches itself through its Service, too.
    space.kubectl(&[
        "exec",
        "client",
        "--",
        "sh",
        "-c",
        "for i in 1 2 3 4 5 6; do wget -qO- http://sticky.services >/dev/null || exit 1; done",
    ]);
}

#[test]
fn pods_of_a_subdomain_have_names() {
    let space = Space::new(shared(), "names");
    space.apply(
        "
apiVersion: v1
kind: Service
metadata: {name: family}
spec: {clusterIP: None, selector: {app: family}}
---
apiVersion: v1
kind: Pod
metadata: {name: one, labels: {app: family}}
spec:
  hostname: first
  subdomain: family
  containers: [{name: main, image: 'busybox:1.36', command: [sh, -c, \"trap 'exit 0' TERM; sleep 3600 & wait\"]}]
",
    );
    space.ready("one");
    assert_eq!(space.kubectl(&["exec", "one", "--", "hostname"]), "first\n");
    assert_eq!(space.kubectl(&["exec", "one", "--", "hostname", "-f"]), "first.family.names.svc.cluster.local\n");
    let address = space.field("pod/one", "{.status.podIP}");
    space.wait_for(
        &["exec", "one", "--", "nslookup", "first.family.names.svc.cluster.local"],
        Duration::from_secs(10),
        |text| text.contains(&address),
    );
}

#[test]
fn a_host_port_leads_to_the_pod() {
    let space = Space::new(shared(), "host-port");
    space.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: door}
spec:
  containers: [{name: hello, image: 'mk8s/hello:1', ports: [{containerPort: 8080, hostPort: 18080}]}]
",
    );
    space.ready("door");
    let url = format!("http://{}:18080/", shared().address);
    assert_eq!(shared().curl(&url).as_deref(), Some("Hello from door\n"));
    // From outside of the host, too.
    let output =
        std::process::Command::new("curl").args(["-s", "--max-time", "2", &url]).output().expect("curl can be started");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Hello from door\n");
    space.kubectl(&["delete", "pod", "door"]);
    assert_eq!(shared().curl(&url), None, "the port is free again");
}

#[test]
fn a_pod_talks_to_the_api_with_its_own_account() {
    let space = Space::new(shared(), "account");
    space.kubectl(&["run", "asks", "--image=busybox:1.36", "--", "sh", "-c", "trap 'exit 0' TERM; sleep 3600 & wait"]);
    space.ready("asks");
    let token = space.kubectl(&["exec", "asks", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token"]);
    let address = space.field("pod/asks", "{.status.podIP}");
    let ask = |path: &str| {
        let url = format!("https://10.43.0.1{path}");
        let header = format!("Authorization: Bearer {token}");
        let code = ["-sk", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", "-H", &header, &url];
        shared().inside("curl", &code)
    };
    assert!(!address.is_empty());
    assert_eq!(ask("/version"), "200");
    assert_eq!(ask("/api/v1/namespaces/account/pods"), "403");
    space.kubectl(&["create", "rolebinding", "view", "--clusterrole=view", "--serviceaccount=account:default"]);
    shared().wait("the binding counts", Duration::from_secs(5), |_| ask("/api/v1/namespaces/account/pods") == "200");
    assert_eq!(ask("/api/v1/namespaces/default/pods"), "403");
    // And the pod itself reaches the API's Service.
    let answer = space.run_kubectl(&[
        "exec",
        "asks",
        "--",
        "sh",
        "-c",
        "echo | nc -w 2 kubernetes.default 443 >/dev/null; echo $?",
    ]);
    assert_eq!(String::from_utf8_lossy(&answer.stdout).trim_end(), "0");
}
