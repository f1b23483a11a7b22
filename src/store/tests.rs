//! The store as its users see it, over the engine in memory.

use crate::{
    Alone, CommitError, EventKind, Expect, Index, Leadership, Op, Options, Stamped, Store, Term, Txn, WatchItem,
    Watcher,
    engine::{Engine, Fault, MemoryEngine},
};
use bytes::Bytes;
use std::sync::Arc;

fn put(key: &str, value: &str) -> Txn {
    Txn::one(Op::Put { key: Bytes::from(key.to_owned()), value: Stamped::plain(value.to_owned()), expect: Expect::Any })
}

fn delete(key: &str) -> Txn {
    Txn::one(Op::Delete { key: Bytes::from(key.to_owned()), expect: Expect::Any })
}

fn open(engine: &MemoryEngine, options: Options) -> Store {
    Store::start(Arc::new(engine.clone()), Box::new(Alone), options).expect("the memory engine opens")
}

async fn commit(store: &Store, txn: Txn) -> u64 {
    store.commit(txn).await.expect("the commit stands").revision
}

/// The next `count` events as `revision:kind:key`.
async fn take(watcher: &mut Watcher, count: usize) -> Vec<String> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let WatchItem::Events(events) = watcher.next().await.expect("nothing is compacted") else { break };
        taken.extend(events.iter().map(|e| {
            let kind = if e.kind == EventKind::Put { "put" } else { "delete" };
            format!("{}:{kind}:{}", e.revision, String::from_utf8_lossy(&e.entry.key))
        }));
    }
    taken
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let engine = MemoryEngine::default();
    let store = open(&engine, Options::default());
    for n in 0..20 {
        commit(&store, put(&format!("k{n}"), "v")).await;
    }
    commit(&store, delete("k3")).await;
    store.close().await;
    assert!(matches!(store.commit(put("x", "")).await, Err(CommitError::Unavailable(_))));

    let again = open(&engine, Options::default());
    assert_eq!((again.revision(), again.view().len()), (21, 19));
    assert_eq!(commit(&again, put("new", "v")).await, 22);
}

#[tokio::test]
async fn the_log_is_cut_behind_a_checkpoint() {
    let engine = MemoryEngine::default();
    let store = open(&engine, Options { checkpoint_bytes: 2000, ..Options::default() });
    let mut written = 0;
    let checkpoints = || store.metrics().checkpoints.load(std::sync::atomic::Ordering::Relaxed);
    let kept = || engine.load().expect("it loads").log.len();
    // The log is cut some time after a checkpoint has been counted.
    while checkpoints() < 3 || kept() >= written / 2 {
        commit(&store, put(&format!("k{}", written % 7), &"v".repeat(100))).await;
        written += 1;
        assert!(written < 10_000, "checkpoints come by themselves, and the log is cut behind them");
    }
    commit(&store, delete("k0")).await;
    let (revision, expected) = (store.revision(), store.view());
    store.close().await;

    let again = open(&engine, Options::default());
    assert_eq!(again.revision(), revision);
    let same = |a: &crate::View, b: &crate::View| a.prefix(b"").zip(b.prefix(b"")).all(|(a, b)| a == b);
    assert!(again.view().len() == 6 && same(&again.view(), &expected));
}

#[tokio::test]
async fn a_watch_starts_at_a_revision_and_misses_nothing() {
    let store = Store::open(Options::default()).await.expect("opens");
    commit(&store, put("/a/1", "")).await;
    let middle = commit(&store, put("/b/1", "")).await;
    commit(&store, put("/a/2", "")).await;
    let mut watcher = store.watch(b"/a/", middle).expect("in the window");
    commit(&store, delete("/a/1")).await;
    commit(&store, put("/b/2", "")).await;
    commit(&store, put("/a/3", "")).await;
    assert_eq!(take(&mut watcher, 3).await, ["3:put:/a/2", "4:delete:/a/1", "6:put:/a/3"]);
    assert_eq!(watcher.progress(), Some(6));
    store.close().await;
    assert!(matches!(watcher.next().await, Ok(WatchItem::Closed)));
}

/// Values say what stands before their first `/`.
const BY_OWNER: Index =
    Index { prefix: b"/a/", term: |value| Some(Term::from(std::str::from_utf8(value).ok()?.split_once('/')?.0)) };

#[tokio::test]
async fn keys_are_watched_by_what_their_values_say() {
    let store = Store::open(Options { index: Some(BY_OWNER), ..Options::default() }).await.expect("opens");
    commit(&store, put("/a/1", "x/1")).await;
    let watch = |term: &str| store.watch_saying(term, b"/a/", 1).expect("in the window");
    let (mut x, mut y, mut z) = (watch("x"), watch("y"), watch("z"));
    let steps = [
        ("/a/1", "x/2"),
        // Another prefix than the index's.
        ("/b/1", "x/1"),
        // From one to another: both hear of it.
        ("/a/1", "y/1"),
        ("/a/2", "x/1"),
        // Says nothing any more.
        ("/a/1", "nothing"),
    ];
    for (key, value) in steps {
        commit(&store, put(key, value)).await;
    }
    commit(&store, delete("/a/2")).await;
    let expected_x = ["2:put:/a/1", "4:put:/a/1", "5:put:/a/2", "7:delete:/a/2"];
    let expected_y = ["4:put:/a/1", "6:put:/a/1"];
    assert_eq!(take(&mut x, 4).await, expected_x);
    assert_eq!(take(&mut y, 2).await, expected_y);
    // Those who come later read it from the window.
    assert_eq!(take(&mut watch("x"), 4).await, expected_x);
    assert_eq!(take(&mut watch("y"), 2).await, expected_y);
    assert!(z.try_next().expect("nothing is compacted").is_none(), "nobody ever said z");
    assert_eq!(z.progress(), Some(7));
    drop((x, y, z));
    assert_eq!(
        store.metrics_text().lines().find(|line| line.starts_with("etcd_debugging_mvcc_watcher_total")),
        Some("etcd_debugging_mvcc_watcher_total 0")
    );
}

#[tokio::test]
async fn what_values_say_is_known_after_a_restart() {
    let engine = MemoryEngine::default();
    let options = || Options { index: Some(BY_OWNER), ..Options::default() };
    let store = open(&engine, options());
    for n in 0..20 {
        commit(&store, put(&format!("/a/{n:02}"), if n % 5 == 0 { "x/" } else { "y/" })).await;
    }
    commit(&store, delete("/a/05")).await;
    store.close().await;
    let view = open(&engine, options()).view();
    let found: Vec<_> = view.range_saying("x", b"/a/", b"/a0").map(|e| e.key.clone()).collect();
    assert_eq!(found, ["/a/00", "/a/10", "/a/15"]);
}

#[tokio::test]
async fn a_slow_watcher_reads_the_window_and_sees_all() {
    let store = Store::open(Options::default()).await.expect("opens");
    let mut watcher = store.watch(b"", 0).expect("in the window");
    let many = 5000;
    for n in 0..many {
        commit(&store, put(&format!("k{}", n % 10), "")).await;
    }
    assert_eq!(watcher.progress(), None);
    let revisions: Vec<String> = take(&mut watcher, many).await;
    let expected: Vec<String> = (0..many).map(|n| format!("{}:put:k{}", n + 1, n % 10)).collect();
    assert_eq!(revisions, expected);
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_told() {
    let store = Store::open(Options { event_window_count: 100, ..Options::default() }).await.expect("opens");
    let mut watcher = store.watch(b"", 0).expect("in the window");
    for n in 0..3000 {
        commit(&store, put(&format!("k{n}"), "")).await;
    }
    let mut outcome = Ok(());
    for _ in 0..10 {
        if let Err(error) = watcher.next().await {
            outcome = Err(error);
            break;
        }
    }
    assert!(outcome.is_err(), "events were dropped in silence");
    assert!(store.watch(b"", 5).is_err());
}

#[tokio::test]
async fn a_full_disk_refuses_writes_until_there_is_room() {
    let engine = MemoryEngine::default();
    engine.set_free_bytes(Some(10));
    let store = open(&engine, Options::default());
    assert!(matches!(store.commit(put("a", "")).await, Err(CommitError::Full { .. })));
    assert!(store.view().is_empty() && store.is_full() && store.metrics_text().contains("mk8s_store_disk_full 1\n"));
    store.commit_small(put("why", "full")).await.expect("what says so is taken");
    store.commit(delete("why")).await.expect("what makes room is taken");
    engine.set_free_bytes(Some(u64::MAX));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while store.commit(put("a", "")).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "writes are taken again when there is room");
        tokio::task::yield_now().await;
    }
    assert!(!store.is_full());
}

#[tokio::test]
async fn a_log_of_the_same_few_keys_is_cut_on_a_disk_with_little_room() {
    let engine = MemoryEngine::default();
    let store = open(&engine, Options { reserve_bytes: 5000, checkpoint_bytes: 80_000, ..Options::default() });
    // Far less than the log that is enough for a checkpoint elsewhere.
    engine.set_free_bytes(Some(5000));
    let kept = || engine.entries(2, u64::MAX, u64::MAX).expect("the log is read").len();
    let mut written = 0;
    while store.metrics().checkpoints.load(std::sync::atomic::Ordering::Relaxed) < 3 || kept() >= written / 2 {
        commit(&store, put(&format!("k{}", written % 10), &"v".repeat(100))).await;
        written += 1;
        assert!(written < 10_000, "checkpoints of what changed find room, and the log is cut behind them");
    }
}

#[tokio::test]
async fn a_checkpoint_waits_until_there_is_room_for_it() {
    let engine = MemoryEngine::default();
    let options = Options { checkpoint_bytes: 1000, reserve_bytes: 5000, ..Options::default() };
    let store = open(&engine, options);
    engine.set_free_bytes(Some(6000));
    for n in 0..50 {
        commit(&store, put(&format!("k{n}"), &"v".repeat(if n == 0 { 3000 } else { 10 }))).await;
    }
    let checkpoints = || store.metrics().checkpoints.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(checkpoints(), 0);
    engine.set_free_bytes(Some(1 << 30));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while checkpoints() == 0 {
        commit(&store, put("k", "v")).await;
        assert!(std::time::Instant::now() < deadline, "the checkpoint comes when there is room");
    }
}

#[tokio::test]
async fn a_broken_disk_acknowledges_nothing() {
    let engine = MemoryEngine::default();
    let store = open(&engine, Options::default());
    commit(&store, put("a", "")).await;
    engine.fail_writes(true);
    assert!(matches!(store.commit(put("b", "")).await, Err(CommitError::Unavailable(_))));
    assert_eq!(*store.leadership().borrow(), Leadership::default(), "who cannot write does not lead");
    engine.fail_writes(false);
    assert!(matches!(store.commit(put("c", "")).await, Err(CommitError::Unavailable(_))), "it stays refused");
    let again = open(&engine, Options::default());
    assert_eq!(again.view().len(), 1);
}

#[tokio::test]
async fn a_transaction_over_the_limit_is_refused() {
    let store = Store::open(Options::default()).await.expect("opens");
    let error = store.commit(put("a", &"x".repeat(9 << 20))).await.expect_err("too large");
    assert!(matches!(error, CommitError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_crash_loses_nothing_that_was_acknowledged() {
    for (round, fault) in [Fault::Lost, Fault::Kept].into_iter().cycle().take(20).enumerate() {
        let engine = MemoryEngine::default();
        let options = Options { checkpoint_bytes: 3000, ..Options::default() };
        let store = open(&engine, options.clone());
        for n in 0..round * 7 {
            commit(&store, put(&format!("k{}", n % 13), &"v".repeat(n))).await;
        }
        let (acknowledged, before) = (store.revision(), store.view());
        engine.crash_at_next_append(fault);
        assert!(matches!(store.commit(put("last", "v")).await, Err(CommitError::Unavailable(_))));
        let disk = engine.after_crash();
        store.close().await;

        let again = open(&disk, options);
        let kept = u64::from(fault == Fault::Kept);
        assert_eq!(again.revision(), acknowledged + kept, "round {round}");
        for entry in before.prefix(b"") {
            assert_eq!(again.view().get(&entry.key), Some(entry), "round {round}");
        }
        assert_eq!(commit(&again, put("next", "v")).await, acknowledged + kept + 1);
        again.close().await;
    }
}

#[tokio::test]
async fn those_who_wait_together_share_an_fsync() {
    let engine = MemoryEngine::default();
    let store = open(&engine, Options::default());
    let before = engine.appends();
    let writers = (0..500).map(|n| {
        let store = store.clone();
        async move { commit(&store, put(&format!("k{n}"), "v")).await }
    });
    let mut revisions = futures::future::join_all(writers).await;
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=500).collect::<Vec<_>>());
    let appends = engine.appends() - before;
    assert!(appends <= 100, "{appends} appends for 500 writes at once");
}

#[tokio::test]
async fn a_watch_resumes_after_a_restart_where_the_log_still_has_it() {
    let engine = MemoryEngine::default();
    let store = open(&engine, Options::default());
    for n in 0..10 {
        commit(&store, put(&format!("k{n}"), "")).await;
    }
    store.close().await;
    let again = open(&engine, Options::default());
    let mut watcher = again.watch(b"k", 7).expect("the log is not cut yet");
    assert_eq!(take(&mut watcher, 3).await, ["8:put:k7", "9:put:k8", "10:put:k9"]);
}

#[tokio::test]
async fn a_watch_of_the_future_begins_there() {
    let store = Store::open(Options::default()).await.expect("opens");
    let mut watcher = store.watch(b"", 2).expect("the future is not gone");
    for n in 0..3 {
        commit(&store, put(&format!("k{n}"), "")).await;
    }
    assert_eq!(take(&mut watcher, 1).await, ["3:put:k2"]);
}

#[tokio::test]
async fn a_slow_watcher_of_few_keys_reads_past_many_others() {
    let store = Store::open(Options::default()).await.expect("opens");
    let mut watcher = store.watch(b"/rare/", 0).expect("in the window");
    for n in 0..1500 {
        commit(&store, put(&format!("/rare/{n}"), "")).await;
    }
    for n in 0..5000 {
        commit(&store, put(&format!("/many/{}", n % 3), "")).await;
    }
    commit(&store, put("/rare/end", "")).await;
    let seen = take(&mut watcher, 1501).await;
    assert_eq!((seen.len(), seen[0].as_str(), seen[1500].as_str()), (1501, "1:put:/rare/0", "6501:put:/rare/end"));
    assert!(matches!(watcher.try_next(), Ok(None)));
    assert_eq!(watcher.progress(), Some(6501));
}

#[tokio::test]
async fn a_stamp_outside_its_value_never_reaches_the_log() {
    let engine = MemoryEngine::default();
    let store = open(&engine, Options::default());
    let value = Stamped { bytes: Bytes::from_static(b"short"), stamp_at: Some(6) };
    let txn = Txn::one(Op::Put { key: Bytes::from_static(b"k"), value, expect: Expect::Any });
    assert!(store.commit(txn).await.is_err());
    assert_eq!(commit(&store, put("k", "")).await, 1);
}

#[tokio::test]
async fn a_barrier_shows_what_was_acknowledged() {
    let store = Store::open(Options::default()).await.expect("opens");
    for n in 1..50 {
        let revision = commit(&store, put("k", &n.to_string())).await;
        assert!(store.barrier().await.expect("it leads").revision() >= revision);
    }
    store.close().await;
    assert!(store.barrier().await.is_err());
}

#[tokio::test]
async fn the_metrics_say_what_happened() {
    let store = Store::open(Options::default()).await.expect("opens");
    commit(&store, put("a", "")).await;
    commit(&store, put("b", "")).await;
    commit(&store, delete("a")).await;
    let conflict = Op::Put { key: Bytes::from_static(b"b"), value: Stamped::plain(""), expect: Expect::Absent };
    assert!(store.commit(Txn::one(conflict)).await.is_err());
    let _watcher = store.watch(b"", 0).expect("in the window");
    let text = store.metrics_text();
    for line in [
        "etcd_mvcc_put_total 2",
        "etcd_mvcc_delete_total 1",
        "etcd_server_proposals_committed_total 4",
        "etcd_server_proposals_failed_total 1",
        "etcd_debugging_mvcc_keys_total 1",
        "etcd_debugging_mvcc_current_revision 3",
        "etcd_debugging_mvcc_watcher_total 1",
        "etcd_server_is_leader 1",
        "etcd_disk_wal_fsync_duration_seconds_bucket{le=\"+Inf\"}",
    ] {
        assert!(text.lines().any(|l| l.starts_with(line)), "{line} is not in\n{text}");
    }
}
