//! A server and two nodes that join it, on one bridge: tokens, names, pods that reach pods elsewhere, logs and exec through
//! the connections that the nodes opened.

use super::reaching;
use crate::support::{host::Host, tools};
use nix::sys::signal::Signal;
use std::time::Duration;

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

    let all = reaching::pods_on_all(&server, 3);
    reaching::all_reach_all(&server, &all, &[&server, &second, &third]);
    for pod in &all {
        assert_eq!(server.kubectl(&["logs", &pod.name]).trim(), format!("serving on {}", pod.name));
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
