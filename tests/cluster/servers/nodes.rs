//! A node of a cluster with several servers: all of them reach its pods, though it opens no port and they have no node of
//! their own, and none of them is missed.

use super::{Server, three};
use crate::support::{host::Host, tools::Kubectl};
use nix::sys::signal::Signal;
use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

/// Says hello, says which life of its container this is, and ends it when it is asked to.
const WEB: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: web
    image: busybox:1.36
    command: [sh, -c]
    args:
    - |
      mkdir -p /tmp/w/cgi-bin
      echo hello >/tmp/w/hello
      cat /proc/sys/kernel/random/uuid >/tmp/w/life
      ls /var/run/secrets/kubernetes.io/serviceaccount >/tmp/w/account
      printf '#!/bin/sh\necho\ntouch /tmp/die\n' >/tmp/w/cgi-bin/die
      chmod +x /tmp/w/cgi-bin/die
      httpd -p 8080 -h /tmp/w
      echo serving
      while [ ! -e /tmp/die ]; do sleep 0.2; done
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"#;

const SOON: Duration = Duration::from_secs(30);

fn apply(server: &Server<'_>, manifest: &str) {
    let file = server.dir.join("manifest.yaml");
    fs::write(&file, manifest).expect("written");
    server.wait("it is applied", SOON, |server| server.kubectl(&["apply", "-f", file.to_str().expect("text")]));
}

/// Waits until a server answers this, whatever it answers first: tunnels to a server that has just begun are on their way.
fn says(server: &Server<'_>, arguments: &[&str], expected: &str) {
    server.wait(&format!("{arguments:?} says {expected:?}"), SOON, |server| {
        server.kubectl(arguments).filter(|said| said.trim() == expected)
    });
}

/// All ways to a pod, through one server.
fn reaches(server: &Server<'_>) {
    says(server, &["logs", "web"], "serving");
    says(server, &["exec", "web", "--", "echo", "hi"], "hi");
    says(server, &["get", "--raw", "/api/v1/nodes/node/proxy/healthz"], "ok");
    says(server, &["get", "--raw", "/api/v1/namespaces/default/pods/web:8080/proxy/hello"], "hello");
    says(server, &["get", "--raw", "/api/v1/namespaces/default/services/web:80/proxy/hello"], "hello");
    let port = server.port + 10_000;
    let mut command = server.host.command(Kubectl::Newest.program());
    command.env("KUBECONFIG", server.kubeconfig()).args(["port-forward", "pod/web", &format!("{port}:8080")]);
    let mut forward = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nsenter can be started");
    let url = format!("http://127.0.0.1:{port}/hello");
    server.wait("the port is forwarded", SOON, |server| server.host.curl(&url).filter(|said| said.trim() == "hello"));
    forward.kill().expect("it can be ended");
    forward.wait().expect("it can be waited for");
}

/// Since when the node is Ready.
fn ready_since(server: &Server<'_>) -> Option<String> {
    let path = "jsonpath={range .status.conditions[?(@.type==\"Ready\")]}{.status} {.lastTransitionTime}{end}";
    server.kubectl(&["get", "node", "node", "-o", path]).filter(|said| said.starts_with("True"))
}

#[test]
fn every_server_reaches_a_node_and_none_is_missed() {
    let mut host = Host::prepare("fleet", &[]);
    host.open_lan();
    let servers = three(&host);
    let joining = servers[0].joining(&servers[0].token());
    let mut node = host.beside("node", 2, &joining.iter().map(String::as_str).collect::<Vec<_>>());
    node.inside("nft", &["add table inet closed; add chain inet closed in { type filter hook input priority -10; }"]);
    node.inside("nft", &["add rule inet closed in iifname lan0 tcp flags & (syn | ack) == syn drop"]);
    node.spawn_server();
    let since = servers[1].wait("the node is Ready", Duration::from_secs(90), ready_since);
    apply(&servers[0], WEB);
    let wait = ["wait", "--for=condition=Ready", "pod/web", "--timeout=60s"];
    servers[0].wait("the pod is Ready", Duration::from_secs(90), |server| server.kubectl(&wait));
    for server in &servers {
        reaches(server);
    }
    the_server_that_it_joined_at_dies(&host, &servers, &joining);

    // One of them is the one that the node talks to.
    for (n, victim) in servers.iter().enumerate() {
        victim.kill();
        let begun = Instant::now();
        let survivor = &servers[(n + 1) % 3];
        let mark = format!("after-{n}");
        let annotate = ["annotate", "pod", "web", &format!("mark={mark}")];
        let annotated = [&annotate[..], &["--overwrite"]].concat();
        survivor.wait("a write is taken", SOON, |server| server.kubectl(&annotated));
        let pod =
            WEB.split("---").next().expect("a pod").replace("name: web, labels: {app: web}", &format!("name: {mark}"));
        apply(survivor, &pod);
        let path = ["get", "pod", &mark, "-o", "jsonpath={.status.phase}"];
        says(survivor, &path, "Running");
        assert!(begun.elapsed() < SOON, "the node has heard of it after {:?}", begun.elapsed());
        says(survivor, &["exec", "web", "--", "echo", "hi"], "hi");
        says(&servers[(n + 2) % 3], &["exec", "web", "--", "echo", "hi"], "hi");
        drop(survivor.kubectl(&["delete", "pod", &mark, "--grace-period=0", "--wait=false"]));
        victim.run();
        victim.wait_until_ready();
        says(victim, &["exec", "web", "--", "echo", "hi"], "hi");
    }

    // It finds the others without the one that it joined at.
    node.stop_server(Signal::SIGKILL);
    servers[0].kill();
    node.spawn_server();
    reaches(&servers[1]);
    assert_eq!(ready_since(&servers[2]).as_deref(), Some(since.as_str()), "it was Ready all the time");

    without_servers(&servers, &mut node);
    another_address(&servers, &mut node);
    a_removed_server_says_so(&servers);
}

/// The only server that a node was told of is killed as soon as the node has its certificate.
fn the_server_that_it_joined_at_dies(host: &Host, servers: &[Server<'_>; 3], joining: &[String]) {
    let mut orphan = host.beside("orphan", 3, &joining.iter().map(String::as_str).collect::<Vec<_>>());
    orphan.spawn_server();
    while !orphan.log_tail().contains("joined the cluster") {
        std::thread::sleep(Duration::from_millis(2));
    }
    servers[0].kill();
    servers[1].wait("the node is Ready", Duration::from_secs(90), |server| {
        let said = server.kubectl(&["get", "node", "orphan", "--no-headers"])?;
        (said.split_whitespace().nth(1) == Some("Ready")).then_some(())
    });
    orphan.stop_server(Signal::SIGTERM);
    servers[1].kubectl(&["delete", "node", "orphan"]).expect("it is deleted");
    servers[0].run();
    servers[0].wait_until_ready();
    servers[0].wait_for_voters(2);
}

/// All servers are gone, and the agent begins anew, as after a restart of the machine without what was in memory: what ends
/// is started again all the same.
fn without_servers(servers: &[Server<'_>; 3], node: &mut Host) {
    let address = servers[1].kubectl(&["get", "pod", "web", "-o", "jsonpath={.status.podIP}"]).expect("an address");
    let web = format!("http://{}:8080", address.trim());
    let life = node.curl(&format!("{web}/life")).expect("it answers");
    assert_eq!(node.curl(&format!("{web}/account")).as_deref(), Some("ca.crt\nnamespace\ntoken\n"));
    servers.iter().for_each(Server::kill);
    node.stop_server(Signal::SIGKILL);
    let mounts = fs::read_to_string("/proc/mounts").expect("it is there");
    let data = node.data_dir.to_str().expect("text");
    let tokens = mounts.lines().filter_map(|line| line.split(' ').nth(1)).filter(|path| path.starts_with(data));
    let tokens: Vec<_> = tokens.filter(|path| path.contains("kubernetes.io~projected")).collect();
    assert!(!tokens.is_empty(), "{mounts}");
    tokens.iter().for_each(|path| drop(node.inside("umount", &["-l", path])));
    node.spawn_server();
    node.wait("it goes by its record", SOON, |node| node.log_tail().contains("its own record of its pods pods="));
    assert_eq!(node.curl(&format!("{web}/life")).as_ref(), Some(&life), "what runs is adopted");
    drop(node.curl(&format!("{web}/cgi-bin/die")));
    node.wait("it is started again", Duration::from_secs(60), |node| {
        node.curl(&format!("{web}/life")).is_some_and(|now| now != life)
    });
    assert_eq!(node.curl(&format!("{web}/account")).as_deref(), Some("ca.crt\nnamespace\n"), "no token is on the disk");
    servers.iter().for_each(Server::run);
    servers.iter().for_each(Server::wait_until_ready);
    servers[0].wait_for_voters(2);
    servers.iter().for_each(reaches);
    let restarts = ["get", "pod", "web", "-o", "jsonpath={.status.containerStatuses[0].restartCount}"];
    says(&servers[0], &restarts, "1");
    let account = ["exec", "web", "--", "ls", "/var/run/secrets/kubernetes.io/serviceaccount"];
    says(&servers[0], &account, "ca.crt\nnamespace\ntoken");
}

/// The machine has another address: the node takes it and stays the same.
fn another_address(servers: &[Server<'_>; 3], node: &mut Host) {
    let uid = ["get", "node", "node", "-o", "jsonpath={.metadata.uid}"];
    let before = servers[0].kubectl(&uid).expect("a node");
    let (network, _) = node.address.rsplit_once('.').expect("an address has parts");
    let (old, new) = (format!("{}/24", node.address), format!("{network}.77"));
    node.stop_server(Signal::SIGTERM);
    node.inside("ip", &["address", "del", &old, "dev", "lan0"]);
    node.inside("ip", &["address", "add", &format!("{new}/24"), "dev", "lan0"]);
    node.address.clone_from(&new);
    node.spawn_server();
    let address = "jsonpath={.status.addresses[?(@.type==\"InternalIP\")].address}";
    says(&servers[1], &["get", "node", "node", "-o", address], &new);
    assert_eq!(servers[1].kubectl(&uid).expect("a node"), before);
    servers.iter().for_each(reaches);
}

/// It refuses to answer, and says what to do; its own data shows nothing any more.
fn a_removed_server_says_so(servers: &[Server<'_>; 3]) {
    let [stays, other, goes] = servers;
    let members = stays.cluster(&["members"]).expect("a leader answers");
    let id = members.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let id = words.next()?.to_owned();
        (words.next()? == goes.name).then_some(id)
    });
    let id = id.expect("it is a member");
    // The one that leads gives the lead away first, and is to be asked again.
    stays.wait("it is removed", SOON, |server| server.cluster(&["remove", &id]));
    goes.wait("it says so", SOON, |server| {
        let mut command = server.host.command(Kubectl::Newest.program());
        command.env("KUBECONFIG", server.kubeconfig()).args(["get", "--raw", "/api/v1/pods"]);
        let said = super::output(&mut command).err()?;
        said.contains("was removed from the cluster").then_some(())
    });
    let again = goes.cluster(&["status"]);
    assert_eq!(again, None, "it does not know how the cluster is");
    goes.kill();
    goes.run();
    goes.wait("it says so again", SOON, |server| {
        let mut command = server.host.command(Kubectl::Newest.program());
        command.env("KUBECONFIG", server.kubeconfig()).args(["get", "--raw", "/readyz"]);
        let said = super::output(&mut command).err()?;
        said.contains("was removed from the cluster").then_some(())
    });
    [stays, other].into_iter().for_each(reaches);
}
