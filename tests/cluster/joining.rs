//! A server and two nodes that join it, on one bridge: tokens, names, pods that reach pods elsewhere, logs and exec through
//! the connections that the nodes opened.

use crate::support::{host::Host, tools};
use nix::sys::signal::Signal;
use std::time::Duration;

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
spec: {selector: {app: who}, ports: [{port: 80, targetPort: 8080}]}
"#;

/// A pod of the DaemonSet.
struct Pod {
    name: String,
    address: String,
    node: String,
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

fn token(server: &Host, arguments: &[&str]) -> String {
    let mut command = server.command(tools::mk8s());
    let output = command.arg("token").args(arguments).output().expect("nsenter can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Ends by itself, with this in its log.
fn is_refused(mut agent: Host, why: &str) {
    agent.spawn_server();
    agent.wait(why, Duration::from_secs(30), |agent| agent.log_tail().contains(why));
    agent.stop_server(Signal::SIGKILL);
}

#[test]
fn nodes_join_and_their_pods_reach_each_other() {
    let mut server = Host::prepare("main", &[]);
    server.open_lan();
    server.start_server();

    let url = format!("https://{}:6443", server.address);
    let command = token(&server, &["create", "--print-join-command", "--description", "for the test"]);
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[..4], ["mk8s", "agent", "--join", url.as_str()], "{command}");
    let good = words[5].to_owned();
    assert!(token(&server, &["list"]).contains("for the test"));

    let join = ["--join", url.as_str(), "--token", good.as_str()];
    let mut second = server.beside("second", 2, &join);
    let mut third = server.beside("third", 3, &join);
    second.spawn_server();
    third.spawn_server();
    for agent in [&second, &third] {
        server.wait_for(&["get", "node", &agent.name, "--no-headers"], Duration::from_secs(90), |out| {
            out.split_whitespace().nth(1) == Some("Ready")
        });
    }

    server.apply(WHO);
    server.kubectl(&["rollout", "status", "daemonset/who", "--timeout=90s"]);
    let all = pods(&server);
    assert_eq!(all.len(), 3, "one pod a node");
    for from in &all {
        for to in &all {
            let url = format!("http://{}:8080/cgi-bin/who", to.address);
            let ask = ["exec", &from.name, "--", "wget", "-qO-", &url];
            let answer = server.wait_for(&ask, Duration::from_secs(20), |answer| answer.contains("asked"));
            // Some versions of busybox write IPv4 addresses as IPv6 ones.
            let answer = answer.trim().replace("[::ffff:", "").replace(']', "");
            assert_eq!(answer, format!("{} asked {}", from.address, to.name), "{} to {}", from.node, to.node);
        }
        let ask = ["exec", &from.name, "--", "wget", "-qO-", "http://who/cgi-bin/who"];
        server.wait_for(&ask, Duration::from_secs(20), |answer| answer.contains("asked who-"));
        assert_eq!(server.kubectl(&["logs", &from.name]).trim(), format!("serving on {}", from.name));
    }

    // Whoever has a token has no other's name by it; and whoever has a wrong one has nothing.
    is_refused(server.beside("second", 4, &join), "the node name \"second\" belongs to another machine");
    let wrong = format!("{}{}", &good[..good.len() - 1], if good.ends_with('a') { "b" } else { "a" });
    let join = ["--join", url.as_str(), "--token", wrong.as_str()];
    is_refused(server.beside("fifth", 5, &join), "the part behind the dot is wrong");
    let other = format!("K10{}{}", if good.starts_with("K100") { "1" } else { "0" }, &good[4..]);
    let join = ["--join", url.as_str(), "--token", other.as_str()];
    is_refused(server.beside("sixth", 6, &join), "is not the one that the token names");

    // A killed agent comes back with its certificate and its pods; the token is not needed any more.
    token(&server, &["delete", &good]);
    let there = all.iter().find(|pod| pod.node == "second").expect("a pod on the node");
    let container = ["get", "pod", &there.name, "-o", "jsonpath={.status.containerStatuses[0].containerID}"];
    let before = server.kubectl(&container);
    second.stop_server(Signal::SIGKILL);
    second.spawn_server();
    server.wait_for(&["exec", &there.name, "--", "hostname"], Duration::from_secs(20), |out| out.trim() == there.name);
    assert_eq!(server.kubectl(&container), before, "the container is that from before");
    third.stop_server(Signal::SIGTERM);
}
