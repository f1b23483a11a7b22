//! Several replicas over a network in memory that can be cut: the same store, with somebody to send to.

use bytes::Bytes;
use mk8s_store::{
    Alone, Assembly, CommitError, Expect, MemberChange, Op, Options, PeerMessage, Stamped, Store, Transport, Txn, View,
    WatchItem,
    engine::{Engine, MemoryEngine},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Who is there, and who is cut off.
#[derive(Clone, Default)]
struct Network {
    stores: Arc<Mutex<BTreeMap<u64, Store>>>,
    cut_off: Arc<Mutex<BTreeSet<u64>>>,
    /// Loses every n-th message, if any.
    lose_every: Arc<Mutex<Option<u64>>>,
    snapshots: Arc<Mutex<u64>>,
}

struct Line {
    from: u64,
    network: Network,
    sent: u64,
}

impl Transport for Line {
    fn send(&mut self, message: PeerMessage) {
        self.sent += 1;
        let lost = self.network.lose_every.lock().expect("not poisoned").is_some_and(|n| self.sent.is_multiple_of(n));
        let cut_off = self.network.cut_off.lock().expect("not poisoned");
        let arrives = !lost && !cut_off.contains(&self.from) && !cut_off.contains(&message.to);
        drop(cut_off);
        let to = self.network.stores.lock().expect("not poisoned").get(&message.to).filter(|_| arrives).cloned();
        if let Some(to) = &to {
            match message.keyspace.clone() {
                None => to.deliver(&message.bytes),
                Some(pieces) => {
                    let mut assembly = Assembly::default();
                    pieces.for_each(|piece| assembly.add(&piece).expect("it is a piece"));
                    to.deliver_with(&message.bytes, assembly.finish().expect("all are there"))
                }
            }
            .expect("what raft sends is a message");
        }
        if message.keyspace.is_some() {
            *self.network.snapshots.lock().expect("not poisoned") += 1;
            if let Some(me) = self.network.stores.lock().expect("not poisoned").get(&self.from) {
                me.snapshot_sent(message.to, to.is_some());
            }
        }
    }
}

fn options(node_id: u64, founders: &[u64]) -> Options {
    Options {
        node_id,
        founders: Some(founders.to_vec()),
        tick: Duration::from_millis(10),
        timeout: Duration::from_secs(2),
        ..Options::default()
    }
}

impl Network {
    fn start(&self, options: Options, engine: &MemoryEngine) -> Store {
        let id = options.node_id;
        let line = Line { from: id, network: self.clone(), sent: 0 };
        let store = Store::start(Arc::new(engine.clone()), Box::new(line), options).expect("it opens");
        self.stores.lock().expect("not poisoned").insert(id, store.clone());
        store
    }

    fn three(&self) -> Vec<(Store, MemoryEngine)> {
        (1..=3)
            .map(|id| {
                let engine = MemoryEngine::default();
                (self.start(options(id, &[1, 2, 3]), &engine), engine)
            })
            .collect()
    }

    fn cut_off(&self, id: u64) {
        self.cut_off.lock().expect("not poisoned").insert(id);
    }

    fn heal(&self) {
        self.cut_off.lock().expect("not poisoned").clear();
    }

    async fn stop(&self, id: u64) {
        let store = self.stores.lock().expect("not poisoned").remove(&id).expect("it runs");
        store.close().await;
    }
}

async fn leader(store: &Store, not: Option<u64>) -> u64 {
    let mut leadership = store.leadership();
    let known = leadership.wait_for(|l| l.leader.is_some() && l.leader != not).await.expect("it runs");
    known.leader.expect("just seen")
}

fn put(key: &str, value: &str, expect: Expect) -> Txn {
    Txn::one(Op::Put { key: Bytes::from(key.to_owned()), value: Stamped::plain(value.to_owned()), expect })
}

/// Writes until it is acknowledged; for keys of which any number of writes is the same.
async fn write(store: &Store, key: &str) -> u64 {
    loop {
        match store.commit(put(key, "v", Expect::Any)).await {
            Ok(commit) => return commit.revision,
            Err(CommitError::Unavailable(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The view of a store once it has a revision.
async fn once_at(store: &Store, revision: u64) -> View {
    let mut watcher = store.watch(b"", store.revision()).expect("that is now");
    while store.revision() < revision {
        // A snapshot in between ends what can be watched from before it.
        match watcher.next().await {
            Ok(WatchItem::Events(_)) => {}
            Ok(WatchItem::Closed) => panic!("it closed"),
            Err(_) => watcher = store.watch(b"", store.revision()).expect("that is now"),
        }
    }
    store.view()
}

fn contents(view: &View) -> Vec<(Bytes, Bytes, u64)> {
    view.prefix(b"").map(|e| (e.key.clone(), e.value.clone(), e.modified)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_takes_writes_and_shows_all_of_them() {
    let network = Network::default();
    *network.lose_every.lock().expect("not poisoned") = Some(50);
    let stores = network.three();
    leader(&stores[0].0, None).await;
    for round in 0..30 {
        for (at, (store, _)) in stores.iter().enumerate() {
            let revision = write(store, &format!("{round}/{at}")).await;
            for (other, _) in &stores {
                let seen = other.barrier().await.expect("there is a leader");
                assert!(seen.revision() >= revision, "a barrier misses revision {revision}");
            }
        }
    }
    let expected = stores[0].0.barrier().await.expect("there is a leader");
    assert_eq!(expected.len(), 90);
    for (store, _) in &stores {
        assert_eq!(contents(&once_at(store, expected.revision()).await), contents(&expected));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_acknowledges_nothing_and_catches_up() {
    let network = Network::default();
    let stores = network.three();
    let store = |id: u64| &stores[usize::try_from(id).expect("small") - 1].0;
    write(&stores[0].0, "before").await;
    let old = leader(&stores[0].0, None).await;
    network.cut_off(old);
    let other = if old == 1 { 2 } else { 1 };
    let alone = {
        let store = store(old).clone();
        tokio::spawn(async move {
            tokio::time::timeout(Duration::from_secs(1), store.commit(put("alone", "v", Expect::Any))).await
        })
    };
    leader(store(other), Some(old)).await;
    let acknowledged = write(store(other), "after").await;
    assert!(!matches!(alone.await.expect("no panic"), Ok(Ok(_))), "a leader without a majority acknowledged a write");
    assert!(store(old).view().get(b"after").is_none());
    network.heal();
    let view = once_at(store(old), acknowledged).await;
    assert!(view.get(b"after").is_some() && view.get(b"before").is_some());
    let end = write(store(old), "end").await;
    let expected = contents(&once_at(store(other), end).await);
    assert_eq!(contents(&once_at(store(old), end).await), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_disk_is_nearly_full_hands_the_lead_over() {
    let network = Network::default();
    let stores = network.three();
    let old = leader(&stores[0].0, None).await;
    write(&stores[0].0, "before").await;
    let (full, engine) = &stores[usize::try_from(old).expect("small") - 1];
    engine.set_free_bytes(Some(10));
    leader(full, Some(old)).await;
    assert!(matches!(full.commit(put("here", "v", Expect::Any)).await, Err(CommitError::Full { .. })));
    let other = &stores[usize::try_from(old % 3).expect("small")].0;
    let revision = write(other, "elsewhere").await;
    assert!(once_at(full, revision).await.get(b"elsewhere").is_some(), "what others write it takes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_without_any_room_ends_nothing() {
    let network = Network::default();
    let stores = network.three();
    let old = leader(&stores[0].0, None).await;
    write(&stores[0].0, "before").await;
    let at = usize::try_from(old).expect("small") - 1;
    let others = [&stores[(at + 1) % 3].0, &stores[(at + 2) % 3].0];
    let (full, engine) = &stores[at];
    engine.set_full(true);
    // Who leads finds that out by a write, and after a while another one leads.
    write(others[0], "meanwhile").await;
    leader(others[1], Some(old)).await;
    let revision = write(others[1], "later").await;
    engine.set_full(false);
    assert!(once_at(full, revision).await.get(b"later").is_some());
    let end = write(full, "end").await;
    let expected = contents(&once_at(others[0], end).await);
    assert_eq!(contents(&once_at(full, end).await), expected);
    // A store that ends does not wait for room.
    engine.set_full(true);
    write(others[0], "last").await;
    network.stop(old).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_joins_late_gets_a_snapshot_and_then_the_log() {
    let network = Network::default();
    let engine = MemoryEngine::default();
    let first = network.start(Options { checkpoint_bytes: 2000, ..options(1, &[1]) }, &engine);
    for n in 0..300 {
        write(&first, &format!("k{}", n % 50)).await;
    }
    let joining = MemoryEngine::default();
    let second = network.start(options(2, &[]), &joining);
    let mut watcher = second.watch(b"", 0).expect("nothing is gone yet");
    first.change_member(MemberChange::AddLearner(2)).await.expect("it is alone, and decides");
    assert_eq!(contents(&once_at(&second, 300).await), contents(&first.view()));
    assert!(*network.snapshots.lock().expect("not poisoned") > 0);
    let missed = loop {
        match watcher.next().await {
            Ok(WatchItem::Events(events)) => assert!(events.iter().all(|e| e.revision <= 300)),
            Ok(WatchItem::Closed) => panic!("it closed"),
            Err(compacted) => break compacted,
        }
    };
    assert!(missed.oldest > 0, "a watcher was not told of what it missed");
    // The leader may be giving it a vote by itself.
    while first.change_member(MemberChange::AddVoter(2)).await.is_err() {
        tokio::task::yield_now().await;
    }
    let mut following = second.watch(b"", second.revision()).expect("that is now");
    let revision = write(&second, "by the second").await;
    assert!(matches!(following.next().await, Ok(WatchItem::Events(_))));
    assert!(first.barrier().await.expect("both are there").revision() >= revision);

    // Now two are needed: neither restarts into a cluster of its own.
    network.stop(2).await;
    network.stop(1).await;
    let first = Store::start(Arc::new(engine.after_crash()), Box::new(Alone), options(1, &[1])).expect("it opens");
    assert!(!first.leadership().borrow().here, "it elected itself, although there are two voters");
    let unheard = tokio::time::timeout(Duration::from_millis(500), first.commit(put("x", "", Expect::Any))).await;
    assert!(!matches!(unheard, Ok(Ok(_))));
    first.close().await;
    let first = network.start(options(1, &[1]), &engine.after_crash());
    let second = network.start(options(2, &[]), &joining.after_crash());
    let end = write(&first, "end").await;
    assert!(end > revision && once_at(&second, end).await.get(b"by the second").is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_come_and_go_lose_nothing_that_was_acknowledged() {
    let network = Network::default();
    let mut engines: Vec<MemoryEngine> = network.three().into_iter().map(|(_, engine)| engine).collect();
    let mut acknowledged = Vec::new();
    let mut newest = 0;
    for round in 0..12u64 {
        let down = round % 3 + 1;
        let up = (round + 1) % 3 + 1;
        let store = network.stores.lock().expect("not poisoned")[&up].clone();
        for n in 0..10 {
            let key = format!("{round}/{n}");
            let revision = write(&store, &key).await;
            assert!(revision > newest, "revision {revision} after {newest}");
            newest = revision;
            acknowledged.push(key);
        }
        network.stop(down).await;
        // Two of three go on.
        newest = write(&store, "without").await;
        let at = usize::try_from(down).expect("small") - 1;
        engines[at] = engines[at].after_crash();
        // Small checkpoints, so that some come back to a log that was cut.
        network.start(Options { checkpoint_bytes: 500, ..options(down, &[1, 2, 3]) }, &engines[at]);
    }
    let stores: Vec<Store> = network.stores.lock().expect("not poisoned").values().cloned().collect();
    let expected = stores[0].barrier().await.expect("there is a leader");
    for key in &acknowledged {
        assert!(expected.get(key.as_bytes()).is_some(), "{key} is lost");
    }
    for store in &stores {
        assert_eq!(contents(&once_at(store, expected.revision()).await), contents(&expected));
    }
}

#[tokio::test]
async fn bytes_that_are_no_message_are_refused() {
    let store = Store::open(Options::default()).await.expect("opens");
    let error = store.deliver(&[0xff; 7]).expect_err("it is none");
    assert_eq!(error.to_string(), "7 bytes from a peer are not a message of the store");
}

fn sealing(options: Options) -> Options {
    let covered = vec![Bytes::from_static(b"/s/")];
    Options { sealing: Some(mk8s_store::Sealing { root: [1; 32], covered }), ..options }
}

/// Whether a text is anywhere in what a replica has written.
fn on_disk(engine: &MemoryEngine, text: &str) -> bool {
    let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    let loaded = engine.load().expect("memory");
    loaded.log.iter().any(|entry| holds(&entry.data)) || loaded.entries.iter().any(|entry| holds(&entry.value))
}

#[tokio::test]
async fn a_key_that_changes_reaches_every_replica_also_one_that_was_away() {
    let network = Network::default();
    let engines: Vec<_> = (1..=3).map(|_| MemoryEngine::default()).collect();
    let start = |id: u64| {
        let options = Options { checkpoint_bytes: 2000, keep_bytes: 0, ..sealing(options(id, &[1, 2, 3])) };
        network.start(options, &engines[usize::try_from(id - 1).expect("small")])
    };
    let stores: Vec<Store> = (1..=3).map(start).collect();
    let leads = leader(&stores[0], None).await;
    stores[0].change_key("one", true).await.expect("it is written");
    let away = (1..=3).find(|id| *id != leads).expect("there are three");
    let here = &stores[usize::try_from(if away == 1 { 1 } else { 0 }).expect("small")];
    here.commit(put("/s/a", "open sesame", Expect::Any)).await.expect("it is written");
    network.cut_off(away);
    here.change_key("two", false).await.expect("it is written");
    for n in 0..300 {
        here.commit(put(&format!("/s/{n}"), "open sesame", Expect::Any)).await.expect("it is written");
    }
    network.heal();
    let late = &stores[usize::try_from(away - 1).expect("small")];
    while late.revision() < here.revision() {
        tokio::task::yield_now().await;
    }
    let value = late.view().get(b"/s/a").expect("it is there").value.clone();
    assert_eq!(value, "open sesame");
    assert_eq!(late.seal_status().expect("it seals").key.as_deref(), Some("two"));
    network.stop(away).await;
    assert!(engines.iter().all(|engine| !on_disk(engine, "open sesame")));
    let late = start(away);
    // A follower seals its writes itself.
    while late.commit(put("/s/b", "open sesame", Expect::Any)).await.is_err() {
        tokio::task::yield_now().await;
    }
    assert!(engines.iter().all(|engine| !on_disk(engine, "open sesame")));
}
