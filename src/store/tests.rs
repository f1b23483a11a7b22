//! The store as its users see it, over the engine in memory.

use crate::{
    CommitError, EventKind, Expect, Op, Options, Stamped, Store, Txn, WatchItem, Watcher,
    engine::{Engine, MemoryEngine},
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
    Store::start(Arc::new(engine.clone()), options).expect("the memory engine opens")
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
    while store.metrics().checkpoints.load(std::sync::atomic::Ordering::Relaxed) < 3 {
        commit(&store, put(&format!("k{}", written % 7), &"v".repeat(100))).await;
        written += 1;
        assert!(written < 10_000, "checkpoints come by themselves");
    }
    commit(&store, delete("k0")).await;
    let (revision, expected) = (store.revision(), store.view());
    store.close().await;
    assert!(engine.load().expect("it loads").log.len() < written / 2, "the log was cut");

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
    assert!(store.view().is_empty());
    engine.set_free_bytes(Some(u64::MAX));
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while store.commit(put("a", "")).await.is_err() {
        assert!(std::time::Instant::now() < deadline, "writes are taken again when there is room");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_broken_disk_acknowledges_nothing() {
    let engine = MemoryEngine::default();
    let store = open(&engine, Options::default());
    commit(&store, put("a", "")).await;
    engine.fail_writes(true);
    assert!(matches!(store.commit(put("b", "")).await, Err(CommitError::Unavailable(_))));
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
