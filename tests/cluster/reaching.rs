//! Whatever a pod asks for, on whatever node: other pods, Services, node ports, names. By both ways between nodes.

use crate::support::host::Host;
use nix::sys::signal::Signal;
use std::{fs, time::Duration};

/// One pod a node; each answers with the address it is asked from.
const WHO: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: who}
spec:
  selector: {matchLabels: {app: who}}
  template:
    metadata: {labels: {app: who}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: who
        image: busybox:1.36
        command: [sh, -c]
        args:
        - |
          mkdir -p /tmp/cgi-bin
          printf '#!/bin/sh\necho\necho "$REMOTE_ADDR asked $HOSTNAME"\n' >/tmp/cgi-bin/who
          chmod +x /tmp/cgi-bin/who
          echo "serving on $HOSTNAME"
          exec httpd -f -p 8080 -h /tmp
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: who}
spec: {type: NodePort, selector: {app: who}, ports: [{port: 80, targetPort: 8080, nodePort: 30080}]}
---
apiVersion: v1
kind: Service
metadata: {name: each}
spec: {clusterIP: None, selector: {app: who}, ports: [{port: 8080}]}
"#;

/// A pod of the DaemonSet.
pub(super) struct Pod {
    pub(super) name: String,
    address: String,
    pub(super) node: String,
}

fn pods(server: &Host) -> Vec<Pod> {
    let columns = "jsonpath={range .items[*]}{.metadata.name} {.status.podIP} {.spec.nodeName}{\"\\n\"}{end}";
    let listed = server.kubectl(&["get", "pods", "-l", "app=who", "-o", columns]);
    let read = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        Some(Pod { name: words.next()?, address: words.next()?, node: words.next()? })
    };
    listed.lines().filter_map(read).collect()
}

/// A pod on each node, of which there are so many.
pub(super) fn pods_on_all(server: &Host, nodes: usize) -> Vec<Pod> {
    server.apply(WHO);
    server.kubectl(&["rollout", "status", "daemonset/who", "--timeout=90s"]);
    let all = pods(server);
    assert_eq!(all.len(), nodes, "one pod a node");
    all
}

/// Each pod asks each other one, the Service by its names, and the Service's port on each node; so do the nodes.
pub(super) fn all_reach_all(server: &Host, all: &[Pod], nodes: &[&Host]) {
    let soon = Duration::from_secs(20);
    for from in all {
        let ask = |url: &str| {
            let ask = ["exec", &from.name, "--", "wget", "-qO-", url];
            server.wait_for(&ask, soon, |answer| answer.contains(" asked who-"))
        };
        for to in all {
            let answer = ask(&format!("http://{}:8080/cgi-bin/who", to.address));
            // Some versions of busybox write IPv4 addresses as IPv6 ones.
            let answer = answer.trim().replace("[::ffff:", "").replace(']', "");
            assert_eq!(answer, format!("{} asked {}", from.address, to.name), "{} to {}", from.node, to.node);
        }
        ask("http://who/cgi-bin/who");
        ask("http://who.default.svc.cluster.local/cgi-bin/who");
        for node in nodes {
            ask(&format!("http://{}:30080/cgi-bin/who", node.address));
        }
        let lookup = ["exec", &from.name, "--", "nslookup", "each.default.svc.cluster.local"];
        let named = |text: &str| all.iter().all(|pod| text.contains(&pod.address));
        server.wait_for(&lookup, soon, named);
    }
    for (from, to) in nodes.iter().flat_map(|from| nodes.iter().map(move |to| (from, to))) {
        let url = format!("http://{}:30080/cgi-bin/who", to.address);
        // Every pod has its turn now and then.
        let mut answered = std::collections::BTreeSet::new();
        from.wait(&format!("{} is answered by all pods through {}", from.name, to.name), soon, |host| {
            answered.extend(host.curl(&url).and_then(|said| Some(said.trim().rsplit_once(' ')?.1.to_owned())));
            answered.len() == all.len()
        });
    }
}

#[test]
fn pods_reach_each_other_by_plain_routes() {
    let mut server = Host::prepare("main", &["--overlay", "host-gw"]);
    server.open_lan();
    server.start_server();
    let url = format!("https://{}:6443", server.address);
    let token = fs::read_to_string(server.data_dir.join("server/token")).expect("a token");
    let mut second = server.beside("second", 2, &["--join", &url, "--token", token.trim()]);
    second.spawn_server();
    server.wait_for(&["get", "node", "second", "--no-headers"], Duration::from_secs(90), |out| {
        out.split_whitespace().nth(1) == Some("Ready")
    });
    let all = pods_on_all(&server, 2);
    all_reach_all(&server, &all, &[&server, &second]);
    for (host, other) in [(&server, &second), (&second, &server)] {
        let routes = host.inside("ip", &["route"]);
        assert!(routes.contains(&format!("via {} ", other.address)), "{routes}");
        let links = host.inside("ip", &["link"]);
        assert!(!links.contains("mk8s-vxlan"), "{links}");
        let there = all.iter().find(|pod| pod.node == host.name).expect("a pod on each");
        let own = server.kubectl(&["exec", &there.name, "--", "cat", "/sys/class/net/eth0/mtu"]);
        assert_eq!(own.trim(), "1500", "nothing is taken from packets");
    }
    second.stop_server(Signal::SIGTERM);
}
