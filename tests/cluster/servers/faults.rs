//! Servers are killed, stopped, cut off and run out of disk under load, again and again: nothing that was acknowledged is
//! lost, every watch shows everything once and in order, writes and control loops go on soon, and no pod is restarted.
//!
//! Each server has a network of its own, so that it can be cut off from the others while clients reach it:
//!
//! ```text
//!   test ── 10.98.N.1 ── a ┐
//!   test ── 10.98.M.1 ── b ┼── 10.97.N.0/24: servers and nodes
//!   test ── 10.98.L.1 ── c ┘
//! ```
//!
//! `MK8S_FAILOVER_ROUNDS` says how many rounds there are, `MK8S_FAILOVER_NODES` how many nodes.

use super::{
    Server,
    harm::{self, Fault::*, Harm, Whom::*},
    leader,
    load::{Acknowledged, Silent, under_load},
};
use crate::support::{host::Host, say};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// What happens to three servers, in turn.
const THREE: [Harm; 9] = [
    (Kill, Leader),
    (Kill, Follower),
    (Pause, Leader),
    (Cut, Leader),
    (Fill, Leader),
    (Deafen, Leader),
    (Mute, Leader),
    (Fill, Follower),
    (Cut, Follower),
];

/// What happens to two servers and a witness.
const WITH_WITNESS: [Harm; 6] =
    [(Kill, Leader), (Cut, Leader), (Kill, Witness), (Fill, Leader), (Kill, Follower), (Pause, Leader)];

/// After so long without a write something is wrong; how long it really takes is printed.
const WITHOUT_LEADER: Duration = Duration::from_secs(10);

/// How long it may take until a Deployment made after a fault has a pod that has a node.
const WITHOUT_LOOPS: Duration = Duration::from_secs(30);

const SOON: Duration = Duration::from_secs(30);

/// How much is written while a disk is full: more than the log has room for.
const WEIGHTS: usize = 24;

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).ok().map_or(otherwise, |text| text.parse().expect("a number"))
}

/// The most that a server's log may take of its small disk.
const LOG_MAX: u64 = 128 << 20;

/// What was measured in one round.
struct Round {
    harm: Harm,
    /// The most bytes that a server has in its log, and in its store.
    disk: [u64; 2],
    /// Until a write was taken.
    write: Duration,
    /// Until a Deployment's pod had a node, and until it ran.
    pod: Option<[Duration; 2]>,
}

#[test]
fn three_servers_and_their_nodes_survive_whatever_befalls_one() {
    let mut first = Host::prepare("faults-a", &[]);
    first.open_lan();
    let others = [first.beside("faults-b", 2, &[]), first.beside("faults-c", 3, &[])];
    let a = start(&first, "a", Vec::new());
    a.wait_until_ready();
    let joining = a.joining(&a.token());
    let [b, c] = [("b", &others[0]), ("c", &others[1])].map(|(name, host)| start(host, name, joining.clone()));
    let servers = [a, b, c];
    servers.iter().for_each(|server| server.wait_for_voters(2));
    let nodes = nodes(&servers[0], &first, &joining, number("MK8S_FAILOVER_NODES", 1));
    for (server, node) in servers.iter().flat_map(|server| nodes.iter().map(move |node| (server, node))) {
        let tunnel = format!("tunnel open node=\"{}\"", node.name);
        server.wait("each node knows each server", SOON, |server| server.log().contains(&tunnel).then_some(()));
    }
    check(&servers, &THREE, number("MK8S_FAILOVER_ROUNDS", THREE.len()), &nodes);
}

#[test]
fn two_servers_and_a_witness_survive_whatever_befalls_one() {
    let mut first = Host::prepare("faults-a", &[]);
    first.open_lan();
    let others = [first.beside("faults-b", 2, &[]), first.beside("faults-w", 3, &[])];
    let a = start(&first, "a", Vec::new());
    a.wait_until_ready();
    let joining = a.joining(&a.token());
    let b = start(&others[0], "b", joining.clone());
    b.wait_until_ready();
    let w = start(&others[1], "w", [joining, vec!["--witness".into()]].concat());
    let servers = [a, b, w];
    servers.iter().for_each(|server| server.wait_for_voters(1));
    check(&servers, &WITH_WITNESS, number("MK8S_FAILOVER_ROUNDS", WITH_WITNESS.len()), &[]);
}

/// A server on a host and a disk of its own.
fn start<'a>(host: &'a Host, name: &str, flags: Vec<String>) -> Server<'a> {
    let server = Server::new(host, name, 6443, flags);
    harm::small_disk(&server);
    server.run();
    server
}

/// Nodes that are Ready, with a pod on each.
fn nodes(server: &Server<'_>, lan: &Host, joining: &[String], count: usize) -> Vec<Host> {
    let joining: Vec<_> = joining.iter().map(String::as_str).collect();
    let names: Vec<_> = (1..=count).map(|n| format!("node-{n}")).collect();
    let beside = |(n, name): (usize, &String)| {
        let mut node = lan.beside(name, u8::try_from(n + 10).expect("few"), &joining);
        node.spawn_server();
        node
    };
    let nodes = names.iter().enumerate().map(beside).collect();
    for name in &names {
        server.wait("a node is Ready", Duration::from_secs(90), |server| {
            let said = server.kubectl(&["get", "node", name, "--no-headers"])?;
            (said.split_whitespace().nth(1) == Some("Ready")).then_some(())
        });
        let overrides = json!({"spec": {"nodeName": name, "terminationGracePeriodSeconds": 0}}).to_string();
        let run = ["run", &format!("on-{name}"), "--image=mk8s/hello:1", "--overrides", &overrides];
        server.wait("a pod is made", SOON, |server| server.kubectl(&run));
        let wait = ["wait", "--for=condition=Ready", &format!("pod/on-{name}"), "--timeout=60s"];
        server.kubectl(&wait).expect("it becomes Ready");
    }
    nodes
}

fn check(servers: &[Server<'_>; 3], harms: &[Harm], count: usize, nodes: &[Host]) {
    let runtime = Runtime::new().expect("threads");
    let api: Vec<_> = servers.iter().filter(|server| !is_witness(server)).collect();
    let weights: Namespace = serde_json::from_value(json!({"metadata": {"name": "weights"}})).expect("it is one");
    runtime.block_on(async {
        let spaces = Api::<Namespace>::all(api[0].client().await);
        spaces.create(&PostParams::default(), &weights).await.expect("a namespace");
    });
    let lives = |server: &Server<'_>| server.wait("pods are shown", SOON, |server| lives(server));
    let before = lives(api[0]);
    assert_eq!(before.len(), nodes.len());
    let rounds = under_load(&api, &runtime, |acknowledged, silent| {
        let one = |n: usize| round(servers, &runtime, n, harms[n % harms.len()], nodes, acknowledged, silent);
        let rounds: Vec<_> = (0..count).map(one).collect();
        let kills = rounds.iter().filter(|round| matches!(round.harm, (Kill, Leader | Follower))).count();
        (rounds, kills)
    });
    for server in api {
        assert_eq!(lives(server), before, "{}: a pod was restarted", server.name);
    }
    report(&rounds);
}

fn is_witness(server: &Server<'_>) -> bool {
    server.flags.iter().any(|flag| flag == "--witness")
}

/// The containers of the pods that are there from the beginning, and how often they were restarted.
fn lives(server: &Server<'_>) -> Option<BTreeSet<String>> {
    let columns = "jsonpath={range .items[*]}{.metadata.name} {.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}{\"\\n\"}{end}";
    let listed = server.kubectl(&["get", "pods", "-o", columns])?;
    Some(listed.lines().filter(|line| line.starts_with("on-")).map(str::to_owned).collect())
}

fn round(
    servers: &[Server<'_>; 3],
    runtime: &Runtime,
    number: usize,
    harm: Harm,
    nodes: &[Host],
    acknowledged: &Acknowledged,
    silent: &Silent,
) -> Round {
    let (fault, whom) = harm;
    let leads = leader(servers).name.clone();
    let is_victim = |server: &&Server<'_>| match whom {
        Leader => server.name == leads,
        Follower => server.name != leads && !is_witness(server),
        Witness => is_witness(server),
    };
    let at = servers.iter().position(|server| is_victim(&server)).expect("there is one");
    let victim = &servers[at];
    let survivors: Vec<_> = servers.iter().filter(|server| server.name != victim.name && !is_witness(server)).collect();
    if fault.silences() {
        silent.becomes(Some(at));
    }
    let clients: Vec<_> = survivors.iter().map(|server| runtime.block_on(server.client())).collect();
    say(format_args!("round {number}: {harm:?}, {}", victim.name));
    let probe = format!("probe-{number}");
    harm::begin(fault, victim);
    let begun = Instant::now();
    let (write, pod) = runtime.block_on(async {
        let pod = async {
            match !nodes.is_empty() && whom == Leader {
                true => Some(gets_a_pod(&clients[0], &format!("round-{number}"), begun).await),
                false => None,
            }
        };
        tokio::join!(taken(&clients, &probe, begun, acknowledged), pod)
    });
    let why = |late: &Late| format!("{harm:?}, {}: {late:?}\n{}", victim.name, explain(survivors[0], nodes, &late.0));
    let pod = pod.map(|outcome| outcome.unwrap_or_else(|late| panic!("{}", why(&late))));
    if fault == Fill {
        runtime.block_on(weigh(&clients[0]));
        is_said_to_be_full(survivors[0], victim, true);
    }
    harm::end(fault, victim);
    if !is_witness(victim) {
        victim.wait_until_ready();
    }
    victim.wait_for_voters(servers.iter().filter(|server| !is_witness(server)).count() - 1);
    if !is_witness(victim) {
        // By itself, as before.
        let waited = async {
            let client = victim.client().await;
            tokio::time::timeout(SOON, taken_by(&client, format!("healed-{number}"), acknowledged)).await
        };
        runtime.block_on(waited).unwrap_or_else(|_| panic!("{harm:?}: it takes no writes again\n{}", victim.log()));
    }
    if fault == Fill {
        is_said_to_be_full(survivors[0], victim, false);
    }
    silent.becomes(None);
    let largest = |path: &str| servers.iter().map(|server| bytes_below(&server.data_dir().join(path))).max();
    let disk = ["server/store/log", "server/store"].map(|path| largest(path).unwrap_or(0));
    assert!(disk[0] < LOG_MAX, "after {harm:?} a server's log has {} bytes", disk[0]);
    Round { harm, disk, write, pod }
}

/// Waits until the cluster says that a server's disk is full, or that it is not any more.
fn is_said_to_be_full(server: &Server<'_>, victim: &Server<'_>, full: bool) {
    let reason = if full { "ServerDiskFull" } else { "ServerDiskHasRoom" };
    let selector = format!("reason={reason},involvedObject.kind=Node,involvedObject.name={}", victim.name);
    server.wait(reason, SOON, |server| {
        let members = server.cluster(&["members"])?;
        let row = members.lines().find(|line| line.split_whitespace().nth(1) == Some(&victim.name))?;
        let events =
            server.kubectl(&["get", "events", "-n", "default", "-o", "name", "--field-selector", &selector])?;
        (row.contains("disk full") == full && !events.is_empty()).then_some(())
    });
}

/// How much of a disk a directory takes.
fn bytes_below(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let taken = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        // It was removed meanwhile.
        Err(_) => 0,
    });
    taken.sum()
}

/// A Deployment whose pod does not run in time.
#[derive(Debug)]
struct Late(String);

/// All that may say why a pod does not run.
fn explain(server: &Server<'_>, nodes: &[Host], name: &str) -> String {
    let said =
        |arguments: &[&str]| format!("# {}\n{}", arguments.join(" "), server.kubectl(arguments).unwrap_or_default());
    let label = format!("round={name}");
    let mut text = said(&["get", "pods", "-l", &label, "-o", "yaml"]);
    text += &said(&["get", "deployments,replicasets", "-l", &label, "-o", "wide"]);
    text += &said(&["get", "events", "-A", "--sort-by=.metadata.creationTimestamp"]);
    text += &said(&["get", "nodes", "-o", "wide"]);
    text += &said(&["get", "leases", "-A"]);
    text += &server.cluster(&["status"]).unwrap_or_default();
    for node in nodes {
        text += &format!("# the log of {}\n{}\n", node.name, node.log_end(200));
    }
    text + &format!("# the log of {}\n{}", server.name, server.log_end(200))
}

/// How long after `begun` one of the clients has a write taken that was begun then.
async fn taken(clients: &[Client], name: &str, begun: Instant, acknowledged: &Acknowledged) -> Duration {
    let tries = clients.iter().enumerate().map(|(n, client)| {
        let name = format!("{name}-{n}");
        Box::pin(async move {
            taken_by(client, name, acknowledged).await;
            begun.elapsed()
        })
    });
    let (waited, _, others) = futures::future::select_all(tries).await;
    futures::future::join_all(others).await;
    waited
}

/// Until a write is taken.
async fn taken_by(client: &Client, name: String, acknowledged: &Acknowledged) {
    let api = Api::<ConfigMap>::namespaced(client.clone(), "default");
    let object: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}})).expect("it is one");
    loop {
        match api.create(&PostParams::default(), &object).await {
            Ok(object) => return acknowledged.note(&object),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                // An earlier try has taken place after all.
                return acknowledged.note(&api.get(&name).await.expect("it is there"));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// More than the log of a full disk can take.
async fn weigh(client: &Client) {
    let api = Api::<ConfigMap>::namespaced(client.clone(), "weights");
    let object = |n: usize| -> ConfigMap {
        let data = "x".repeat(1_000_000);
        serde_json::from_value(json!({"metadata": {"name": format!("w{n}")}, "data": {"w": data}})).expect("it is one")
    };
    let deadline = Instant::now() + SOON;
    for n in 0..WEIGHTS {
        while let Err(error) = api.create(&PostParams::default(), &object(n)).await {
            let is_there = matches!(&error, kube::Error::Api(status) if status.code == 409);
            if is_there {
                break;
            }
            assert!(Instant::now() < deadline, "servers with room take no writes: {error}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    drop(api.delete_collection(&DeleteParams::default(), &ListParams::default()).await);
}

/// How long after `begun` a Deployment made now has a pod with a node, and until that runs.
async fn gets_a_pod(client: &Client, name: &str, begun: Instant) -> Result<[Duration; 2], Late> {
    let deployments = Api::<Deployment>::namespaced(client.clone(), "default");
    let labels = json!({"round": name});
    let deployment: Deployment = serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "terminationGracePeriodSeconds": 0,
                    "containers": [{"name": "main", "image": "mk8s/hello:1"}],
                },
            },
        },
    }))
    .expect("it is one");
    loop {
        match deployments.create(&PostParams::default(), &deployment).await {
            Ok(_) => break,
            Err(kube::Error::Api(status)) if status.code == 409 => break,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    let pods = Api::<Pod>::namespaced(client.clone(), "default");
    let mine = ListParams::default().labels(&format!("round={name}"));
    let mut placed = None;
    let run = loop {
        if begun.elapsed() > 2 * WITHOUT_LOOPS {
            return Err(Late(name.to_owned()));
        }
        let listed = pods.list(&mine).await.map(|list| list.items).unwrap_or_default();
        let is_placed = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let runs = |pod: &Pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"));
        if placed.is_none() && listed.iter().any(is_placed) {
            placed = Some(begun.elapsed());
        }
        if listed.iter().any(runs) {
            break begun.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    drop(deployments.delete(name, &DeleteParams::background()).await);
    Ok([placed.unwrap_or(run), run])
}

fn report(rounds: &[Round]) {
    let mut writes: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
    let mut pods: [Vec<Duration>; 2] = Default::default();
    for Round { harm, write, pod, .. } in rounds {
        writes.entry(format!("{harm:?}")).or_default().push(*write);
        if harm.1 == Leader {
            writes.entry("any of a leader".to_owned()).or_default().push(*write);
        }
        for (times, took) in pods.iter_mut().zip(pod.iter().flatten()) {
            times.push(*took);
        }
    }
    for (harm, times) in &writes {
        spread(&format!("{harm}: a write is taken after"), times.clone());
    }
    let [placed, run] = pods;
    let longest = placed.iter().max().copied();
    spread("a Deployment's pod has a node after", placed);
    spread("it runs after", run);
    let [log, store] = [0, 1].map(|at| rounds.iter().map(|round| round.disk[at] >> 20).max().unwrap_or(0));
    say(format_args!(
        "{} rounds; on a disk the log took {log} MiB at most, the store in all {store} MiB",
        rounds.len()
    ));
    for Round { harm, write, .. } in rounds {
        assert!(*write < WITHOUT_LEADER, "a write waited {write:?} after {harm:?}");
    }
    assert!(longest.is_none_or(|longest| longest < WITHOUT_LOOPS), "a pod waited {longest:?} for a node");
}

fn spread(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    if let (Some(middle), Some(late), Some(longest)) = (at(50), at(99), times.last()) {
        say(format_args!(
            "{what} {middle:.2?} in the middle, {late:.2?} at 99 %, {longest:.2?} at most of {}",
            times.len()
        ));
    }
}
