//! Servers are killed and stopped under load, again and again: nothing that was acknowledged is lost, and every watch
//! shows everything once and in order.
//!
//! `MK8S_FAILOVER_ROUNDS` says how many rounds there are.

use super::{Server, leader, three};
use crate::support::{host::Host, say};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use nix::sys::signal::Signal;
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

const ROUNDS: usize = 6;

/// How long a write may wait after the leader was lost.
const WITHOUT_LEADER: Duration = Duration::from_secs(4);

/// What happens to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    KillLeader,
    KillFollower,
    /// It is stopped for longer than an election takes, and then goes on.
    PauseLeader,
}

const FAULTS: [Fault; 3] = [Fault::KillLeader, Fault::KillFollower, Fault::PauseLeader];

/// What the servers have acknowledged: each write's revision, and what it wrote.
#[derive(Default)]
struct Acknowledged(Mutex<BTreeMap<u64, (String, u64)>>);

impl Acknowledged {
    fn note(&self, object: &ConfigMap) {
        let (revision, name, count) = read(object);
        let before = self.0.lock().expect("not poisoned").insert(revision, (name.clone(), count));
        assert!(before.is_none(), "revision {revision} was given twice: {before:?}, {name}");
    }

    fn last(&self) -> u64 {
        *self.0.lock().expect("not poisoned").keys().max().expect("there were writes")
    }
}

/// Revision, name and content.
fn read(object: &ConfigMap) -> (u64, String, u64) {
    let revision = object.metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).expect("a version");
    let count = object.data.as_ref().and_then(|data| data.get("count")?.parse().ok()).unwrap_or(0);
    (revision, object.metadata.name.clone().expect("a name"), count)
}

/// Creates and updates at one server, without a pause, whatever the answers are.
async fn write(server: &Server<'_>, acknowledged: &Acknowledged, done: &AtomicBool) {
    let api = Api::<ConfigMap>::namespaced(server.client().await, "default");
    for number in 0u64.. {
        if done.load(Relaxed) {
            return;
        }
        let name = format!("{}-{}", server.name, number / 5);
        let change = json!({"metadata": {"name": name}, "data": {"count": number.to_string()}});
        let patch = PatchParams::default();
        let object = serde_json::from_value(change.clone()).expect("it is one");
        let answer = match number % 5 {
            0 => api.create(&PostParams::default(), &object).await,
            _ => api.patch(&name, &patch, &Patch::Merge(change)).await,
        };
        match answer {
            Ok(object) => acknowledged.note(&object),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// What one follower of all changes saw.
#[derive(Default)]
struct Seen {
    events: Vec<(u64, String, u64)>,
    /// How often its connection broke.
    breaks: usize,
}

/// Follows all changes from a version on at one server; when it is gone, at the next one.
async fn follow(servers: &[Server<'_>; 3], at: usize, from: u64, reached: &AtomicU64, done: &AtomicBool) -> Seen {
    let mut apis = Vec::new();
    for server in servers {
        apis.push(Api::<ConfigMap>::namespaced(server.client().await, "default"));
    }
    let (mut seen, mut at, mut from) = (Seen::default(), at, from);
    while !done.load(Relaxed) {
        let parameters = WatchParams::default().timeout(290);
        let Ok(stream) = apis[at].watch(&parameters, &from.to_string()).await else {
            at = (at + 1) % 3;
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let mut stream = std::pin::pin!(stream);
        loop {
            let next = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
            match next {
                Err(_) if done.load(Relaxed) => return seen,
                Err(_) => {}
                Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                    let event = read(&object);
                    assert!(event.0 > from, "server {at}: {event:?} comes after revision {from}");
                    from = event.0;
                    reached.store(from, Relaxed);
                    seen.events.push(event);
                }
                Ok(Some(Ok(WatchEvent::Bookmark(mark)))) => {
                    // It says that nothing before it is still to come.
                    let revision = mark.metadata.resource_version.parse().expect("a version");
                    assert!(revision >= from, "server {at}: a bookmark at {revision} comes after revision {from}");
                    from = revision;
                    reached.store(from, Relaxed);
                }
                Ok(Some(Ok(WatchEvent::Error(status)))) => panic!("server {at}: a watch from {from} ends: {status:?}"),
                Ok(Some(Ok(other))) => panic!("server {at}: nobody did {other:?}"),
                Ok(Some(Err(_)) | None) => break,
            }
        }
        seen.breaks += 1;
        at = (at + 1) % 3;
    }
    seen
}

/// How long after `begun` one of the servers takes a write that was begun then.
async fn taken(servers: &[&Server<'_>], name: String, begun: Instant, acknowledged: &Acknowledged) -> Duration {
    let mut tries = Vec::new();
    for server in servers {
        let api = Api::<ConfigMap>::namespaced(server.client().await, "default");
        let object: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": format!("{name}-{}", server.name)}}))
                .expect("it is one");
        tries.push(Box::pin(async move {
            loop {
                match api.create(&PostParams::default(), &object).await {
                    Ok(object) => return object,
                    Err(kube::Error::Api(status)) if status.code == 409 => {
                        // An earlier try has taken place after all.
                        return api.get(object.metadata.name.as_deref().expect("named")).await.expect("it is there");
                    }
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        }));
    }
    let (first, _, others) = futures::future::select_all(tries).await;
    let waited = begun.elapsed();
    acknowledged.note(&first);
    for other in others {
        acknowledged.note(&other.await);
    }
    waited
}

async fn rounds(servers: &[Server<'_>; 3], rounds: usize, acknowledged: &Acknowledged) -> Vec<(Fault, Duration)> {
    let mut waits = Vec::new();
    for round in 0..rounds {
        let fault = FAULTS[round % FAULTS.len()];
        let leader = leader(servers);
        let victim = match fault {
            Fault::KillFollower => servers.iter().find(|server| server.name != leader.name).expect("there are three"),
            _ => leader,
        };
        let survivors: Vec<_> = servers.iter().filter(|server| server.name != victim.name).collect();
        match fault {
            Fault::PauseLeader => victim.signal(Signal::SIGSTOP),
            _ => victim.kill(),
        }
        let begun = Instant::now();
        waits.push((fault, taken(&survivors, format!("probe-{round}"), begun, acknowledged).await));
        match fault {
            Fault::PauseLeader => {
                tokio::time::sleep(Duration::from_secs(2)).await;
                victim.signal(Signal::SIGCONT);
            }
            _ => victim.run(),
        }
        victim.wait_until_ready();
        victim.wait_for_voters(2);
    }
    waits
}

#[test]
fn nothing_acknowledged_is_lost_and_every_watch_shows_it_once() {
    let count = std::env::var("MK8S_FAILOVER_ROUNDS").ok().map_or(ROUNDS, |text| text.parse().expect("a number"));
    let host = Host::prepare("kills", &[]);
    let servers = three(&host);
    let runtime = Runtime::new().expect("threads");
    check(&servers, count, &runtime);
}

fn check(servers: &[Server<'_>; 3], count: usize, runtime: &Runtime) {
    let acknowledged = Acknowledged::default();
    let (written, shown) = (AtomicBool::new(false), AtomicBool::new(false));
    let progress: [AtomicU64; 3] = Default::default();
    let start = runtime.block_on(async {
        let first = Api::<ConfigMap>::namespaced(servers[0].client().await, "default");
        let list = first.list(&ListParams::default()).await.expect("a list");
        list.metadata.resource_version.and_then(|text| text.parse().ok()).expect("a version")
    });
    let (waits, followers) = std::thread::scope(|scope| {
        let (acknowledged, written, shown) = (&acknowledged, &written, &shown);
        let follow = |(at, reached)| scope.spawn(move || runtime.block_on(follow(servers, at, start, reached, shown)));
        let followers: Vec<_> = progress.iter().enumerate().map(follow).collect();
        let write = |server| scope.spawn(move || runtime.block_on(write(server, acknowledged, written)));
        let writers: Vec<_> = servers.iter().map(write).collect();
        let waits = runtime.block_on(rounds(servers, count, acknowledged));
        written.store(true, Relaxed);
        writers.into_iter().for_each(|writer| writer.join().expect("a writer ends"));
        let last = acknowledged.last();
        servers[0].wait("every watch shows the last write", Duration::from_secs(30), |_| {
            progress.iter().all(|reached| reached.load(Relaxed) >= last).then_some(())
        });
        shown.store(true, Relaxed);
        let followers: Vec<_> = followers.into_iter().map(|follower| follower.join().expect("it saw all")).collect();
        (waits, followers)
    });
    judge(&waits, &followers, &acknowledged);
    let lists = servers.iter().map(|server| {
        runtime.block_on(async {
            let api = Api::<ConfigMap>::namespaced(server.client().await, "default");
            let list = api.list(&ListParams::default()).await.expect("a list");
            list.items.iter().map(read).collect::<BTreeSet<_>>()
        })
    });
    let lists: Vec<_> = lists.collect();
    assert!(lists.iter().all(|list| *list == lists[0]), "the servers show different things");
    let shown: BTreeMap<_, _> =
        lists[0].iter().map(|(revision, name, count)| (name.clone(), (*revision, *count))).collect();
    for (revision, (name, count)) in acknowledged.0.lock().expect("not poisoned").iter() {
        let found = shown.get(name).unwrap_or_else(|| panic!("{name} of revision {revision} is lost"));
        let kept = found.0 > *revision || *found == (*revision, *count);
        assert!(kept, "{name}: {found:?}, acknowledged {revision} {count}");
    }
}

fn judge(waits: &[(Fault, Duration)], followers: &[Seen], acknowledged: &Acknowledged) {
    let acknowledged = acknowledged.0.lock().expect("not poisoned");
    let events: Vec<BTreeMap<u64, (String, u64)>> = followers
        .iter()
        .map(|seen| seen.events.iter().map(|(revision, name, count)| (*revision, (name.clone(), *count))).collect())
        .collect();
    for (at, seen) in events.iter().enumerate() {
        for (revision, write) in acknowledged.iter() {
            assert_eq!(seen.get(revision), Some(write), "watch {at} did not show revision {revision}");
        }
        assert!(*seen == events[0], "watches {at} and 0 show different things");
    }
    for fault in FAULTS {
        let mut times: Vec<_> = waits.iter().filter(|(of, _)| *of == fault).map(|(_, wait)| *wait).collect();
        times.sort();
        if let (Some(longest), Some(middle)) = (times.last(), times.get(times.len() / 2)) {
            say(format_args!(
                "{fault:?}: {} rounds, a write waited {middle:?} in the middle, {longest:?} at most",
                times.len()
            ));
            assert!(*longest < WITHOUT_LEADER, "a write waited {longest:?} after {fault:?}");
        }
    }
    let breaks: usize = followers.iter().map(|seen| seen.breaks).sum();
    let kills = waits.iter().filter(|(fault, _)| *fault != Fault::PauseLeader).count();
    say(format_args!(
        "{} writes acknowledged, {} shown, {breaks} watches broken by {kills} kills",
        acknowledged.len(),
        events[0].len()
    ));
    assert!(breaks <= 3 * kills, "watches broke whose server lived");
}
