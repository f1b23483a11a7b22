//! What clients do while servers come and go, and what they may expect: what was acknowledged is there, every watch shows
//! everything once and in order, and who is up answers.

use super::Server;
use crate::support::say;
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{GetParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// How long a read may take at a server that is up, whoever leads.
const READ_MAX: Duration = Duration::from_secs(2);

/// What the servers have acknowledged: each write's revision, and what it wrote.
#[derive(Default)]
pub(super) struct Acknowledged(Mutex<BTreeMap<u64, (String, u64)>>);

impl Acknowledged {
    pub(super) fn note(&self, object: &ConfigMap) {
        let (revision, name, count) = read(object);
        let before = self.0.lock().expect("not poisoned").insert(revision, (name.clone(), count));
        assert!(before.is_none(), "revision {revision} was given twice: {before:?}, {name}");
    }

    fn last(&self) -> u64 {
        *self.0.lock().expect("not poisoned").keys().max().expect("there were writes")
    }
}

/// Who answers nobody at the moment.
pub(super) struct Silent(AtomicUsize);

impl Silent {
    const NOBODY: usize = usize::MAX;

    pub(super) fn becomes(&self, server: Option<usize>) {
        self.0.store(server.unwrap_or(Self::NOBODY), SeqCst);
    }

    fn is(&self, server: usize) -> bool {
        self.0.load(SeqCst) == server
    }
}

/// Ends what goes on beside a test, also when the test fails.
struct Ends<'a>([&'a AtomicBool; 2]);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|end| end.store(true, SeqCst));
    }
}

/// What one follower of all changes saw.
#[derive(Default)]
struct Seen {
    events: Vec<(u64, String, u64)>,
    /// How often its connection broke.
    breaks: usize,
}

/// How reads went at one server while it was up.
#[derive(Default)]
struct Reads {
    count: usize,
    longest: Duration,
}

/// Writes, follows and reads at all of the servers while `rounds` go on; then looks at what was seen. `kills` is how many
/// servers were killed in them.
pub(super) fn under_load<T>(
    servers: &[&Server<'_>],
    runtime: &Runtime,
    rounds: impl FnOnce(&Acknowledged, &Silent) -> (T, usize),
) -> T {
    let (acknowledged, silent) = (Acknowledged::default(), Silent(AtomicUsize::new(Silent::NOBODY)));
    let (written, shown) = (AtomicBool::new(false), AtomicBool::new(false));
    let progress: Vec<AtomicU64> = servers.iter().map(|_| AtomicU64::new(0)).collect();
    let start = runtime.block_on(async {
        let maps = Api::<ConfigMap>::namespaced(servers[0].client().await, "default");
        let list = maps.list(&ListParams::default()).await.expect("a list");
        list.metadata.resource_version.and_then(|text| text.parse().ok()).expect("a version")
    });
    let (outcome, kills, followers, reads) = std::thread::scope(|scope| {
        let (acknowledged, silent, written, shown) = (&acknowledged, &silent, &written, &shown);
        let _ends = Ends([written, shown]);
        let follow = |(at, reached)| scope.spawn(move || runtime.block_on(follow(servers, at, start, reached, shown)));
        let followers: Vec<_> = progress.iter().enumerate().map(follow).collect();
        let write = |server| scope.spawn(move || runtime.block_on(write(server, acknowledged, written)));
        let writers: Vec<_> = servers.iter().copied().map(write).collect();
        let look = |(at, server)| scope.spawn(move || runtime.block_on(look(server, at, silent, written)));
        let readers: Vec<_> = servers.iter().copied().enumerate().map(look).collect();
        let (outcome, kills) = rounds(acknowledged, silent);
        written.store(true, SeqCst);
        writers.into_iter().for_each(|writer| writer.join().expect("a writer ends"));
        let reads: Vec<_> = readers.into_iter().map(|reader| reader.join().expect("whoever is up answers")).collect();
        let last = acknowledged.last();
        servers[0].wait("every watch shows the last write", Duration::from_secs(30), |_| {
            progress.iter().all(|reached| reached.load(SeqCst) >= last).then_some(())
        });
        shown.store(true, SeqCst);
        let followers: Vec<_> = followers.into_iter().map(|follower| follower.join().expect("it saw all")).collect();
        (outcome, kills, followers, reads)
    });
    all_was_shown(&followers, &acknowledged, kills);
    all_is_there(servers, runtime, &acknowledged);
    let longest = reads.iter().map(|reads| reads.longest).max().unwrap_or_default();
    say(format_args!(
        "{} reads at servers that were up, {longest:?} at most",
        reads.iter().map(|r| r.count).sum::<usize>()
    ));
    assert!(longest < READ_MAX, "a read took {longest:?}");
    outcome
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
        if done.load(SeqCst) {
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

/// Reads what a server has in memory, again and again; while it is up, it answers.
async fn look(server: &Server<'_>, at: usize, silent: &Silent, done: &AtomicBool) -> Reads {
    let api = Api::<ConfigMap>::namespaced(server.client().await, "default");
    let in_memory = GetParams::at("0");
    let mut reads = Reads::default();
    while !done.load(SeqCst) {
        let (begun, was_silent) = (Instant::now(), silent.is(at));
        let answer = tokio::time::timeout(READ_MAX, api.get_with("kube-root-ca.crt", &in_memory)).await;
        // Whoever was asked may have been killed since.
        if !was_silent && !silent.is(at) {
            match answer {
                Ok(Ok(_)) => {
                    reads.count += 1;
                    reads.longest = reads.longest.max(begun.elapsed());
                }
                Ok(Err(error)) => panic!("{} is up and does not answer: {error}", server.name),
                Err(_) => panic!("{} is up and does not answer in {READ_MAX:?}", server.name),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    reads
}

/// Follows all changes from a version on at one server; when it is gone, at the next one.
async fn follow(servers: &[&Server<'_>], at: usize, from: u64, reached: &AtomicU64, done: &AtomicBool) -> Seen {
    let mut apis = Vec::new();
    for server in servers {
        apis.push(Api::<ConfigMap>::namespaced(server.client().await, "default"));
    }
    let (mut seen, mut at, mut from) = (Seen::default(), at, from);
    while !done.load(SeqCst) {
        let parameters = WatchParams::default().timeout(290);
        let Ok(stream) = apis[at].watch(&parameters, &from.to_string()).await else {
            at = (at + 1) % apis.len();
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let begun = Instant::now();
        let mut stream = std::pin::pin!(stream);
        loop {
            let next = tokio::time::timeout(Duration::from_millis(200), stream.next()).await;
            match next {
                Err(_) if done.load(SeqCst) => return seen,
                Err(_) => {}
                Ok(Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)))) => {
                    let event = read(&object);
                    assert!(event.0 > from, "server {at}: {event:?} comes after revision {from}");
                    from = event.0;
                    reached.store(from, SeqCst);
                    seen.events.push(event);
                }
                Ok(Some(Ok(WatchEvent::Bookmark(mark)))) => {
                    // It says that nothing before it is still to come.
                    let revision = mark.metadata.resource_version.parse().expect("a version");
                    assert!(revision >= from, "server {at}: a bookmark at {revision} comes after revision {from}");
                    from = revision;
                    reached.store(from, SeqCst);
                }
                Ok(Some(Ok(WatchEvent::Error(status)))) => panic!("server {at}: a watch from {from} ends: {status:?}"),
                Ok(Some(Ok(other))) => panic!("server {at}: nobody did {other:?}"),
                Ok(Some(Err(_)) | None) => break,
            }
        }
        // A watch ends by itself when it was asked to.
        if begun.elapsed() < Duration::from_secs(289) {
            seen.breaks += 1;
        }
        at = (at + 1) % apis.len();
    }
    seen
}

fn all_was_shown(followers: &[Seen], acknowledged: &Acknowledged, kills: usize) {
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
    let breaks: usize = followers.iter().map(|seen| seen.breaks).sum();
    say(format_args!(
        "{} writes acknowledged, {} shown, {breaks} watches broken by {kills} kills",
        acknowledged.len(),
        events[0].len()
    ));
    assert!(breaks <= followers.len() * kills, "watches broke whose server lived");
}

fn all_is_there(servers: &[&Server<'_>], runtime: &Runtime, acknowledged: &Acknowledged) {
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
