//! What an engine owes: on both of them where they share it, and what only sled can get wrong.

use super::{CheckpointMark, Engine, FORMAT, HardState, LogEntry, MemoryEngine, SledEngine, parts};
use crate::{
    OpenError,
    mvcc::{Change, Entry, Now},
};
use bytes::Bytes;
use proptest::prelude::*;
use std::{path::Path, sync::Arc};

fn log_entry(index: u64, term: u64, size: usize) -> Arc<LogEntry> {
    Arc::new(LogEntry { index, term, kind: 0, data: vec![index as u8; size], context: vec![7; 24] })
}

fn entry(key: &str, modified: u64, size: usize) -> Arc<Entry> {
    let value = Bytes::from(vec![b'v'; size]);
    Arc::new(Entry { key: Bytes::from(key.to_owned()), value, created: 1, modified })
}

fn put(key: &str, superseded: Option<u64>, modified: u64, size: usize) -> Change {
    Change { key: Bytes::from(key.to_owned()), superseded, now: Now::Entry(entry(key, modified, size)) }
}

fn gone(key: &str, superseded: u64, at: u64) -> Change {
    Change { key: Bytes::from(key.to_owned()), superseded: Some(superseded), now: Now::Gone(at) }
}

fn mark(index: u64, revision: u64) -> CheckpointMark {
    CheckpointMark { index, term: 1, revision, voters: vec![1, 2], learners: vec![3] }
}

fn keys(engine: &dyn Engine) -> Vec<(String, u64, usize)> {
    let entries = engine.load().expect("it loads").entries;
    let mut keys: Vec<_> =
        entries.iter().map(|e| (String::from_utf8_lossy(&e.key).into_owned(), e.modified, e.value.len())).collect();
    keys.sort();
    keys
}

/// The same test on both engines; the second argument opens the engine again.
fn on_both(test: impl Fn(Box<dyn Engine>, &dyn Fn() -> Box<dyn Engine>)) {
    let memory = MemoryEngine::default();
    test(Box::new(memory.clone()), &|| Box::new(memory.clone()));
    let dir = tempfile::tempdir().expect("a scratch directory");
    let open = || -> Box<dyn Engine> { Box::new(SledEngine::open(dir.path()).expect("it opens")) };
    test(open(), &open);
}

fn same(found: &[LogEntry], expected: &[Arc<LogEntry>]) -> bool {
    found.iter().eq(expected.iter().map(|entry| &**entry))
}

#[test]
fn what_was_appended_is_there_whatever_its_size() {
    on_both(|engine, again| {
        let sizes = [0, 1, parts::PART - 60, parts::PART, 3 * parts::PART, 9 << 20];
        let entries: Vec<_> = (1u64..).zip(sizes).map(|(index, size)| log_entry(index, 1, size)).collect();
        let hard_state = HardState { term: 1, vote: 1, commit: 4 };
        engine.append(&entries[..3], Some(hard_state)).expect("it appends");
        engine.append(&entries[3..], None).expect("it appends");
        drop(engine);
        let loaded = again().load().expect("it loads");
        assert!(same(&loaded.log, &entries) && loaded.hard_state == hard_state);
        let end = again().load_end().expect("it loads");
        assert!(same(&end.log, &entries[5..]) && end.hard_state == hard_state);
        let engine = again();
        assert!(same(&engine.entries(2, 5, u64::MAX).expect("it reads"), &entries[1..4]));
        assert!(same(&engine.entries(6, 7, 0).expect("it reads"), &entries[5..6]), "the first comes whatever its size");
    });
}

#[test]
fn another_leaders_entries_replace_ours_and_all_after_them() {
    on_both(|engine, again| {
        engine.load().expect("it loads");
        let ours: Vec<_> = (1..=5).map(|index| log_entry(index, 1, 4 * parts::PART)).collect();
        engine.append(&ours, None).expect("it appends");
        let theirs = log_entry(3, 2, 10);
        engine.append(std::slice::from_ref(&theirs), None).expect("it appends");
        drop(engine);
        let log = again().load().expect("it loads").log;
        assert!(same(&log, &[ours[0].clone(), ours[1].clone(), theirs]));
    });
}

#[test]
fn checkpoints_add_up_and_the_log_begins_behind_them() {
    on_both(|engine, again| {
        engine.append(&(1..=9).map(|index| log_entry(index, 1, 10)).collect::<Vec<_>>(), None).expect("it appends");
        engine
            .checkpoint(&[put("a", None, 1, 5), put("b", None, 2, 40_000), put("c", None, 3, 0)], &mark(3, 3))
            .expect("written");
        engine.checkpoint(&[put("a", Some(1), 4, 6), gone("b", 2, 5)], &mark(5, 5)).expect("written");
        engine.cut(5).expect("cut");
        drop(engine);
        let engine = again();
        let loaded = engine.load().expect("it loads");
        assert_eq!(loaded.mark, mark(5, 5));
        assert_eq!(loaded.log.iter().map(|e| e.index).collect::<Vec<_>>(), [6, 7, 8, 9]);
        assert_eq!(keys(&*engine), [("a".to_owned(), 4, 6), ("c".to_owned(), 3, 0)]);
    });
}

#[test]
fn another_replicas_state_replaces_everything() {
    on_both(|engine, again| {
        engine.append(&(1..=9).map(|index| log_entry(index, 1, 10)).collect::<Vec<_>>(), None).expect("it appends");
        engine.checkpoint(&[put("a", None, 1, 5), put("b", None, 2, 5)], &mark(2, 2)).expect("written");
        let hard_state = HardState { term: 4, vote: 0, commit: 40 };
        engine.install(&[entry("a", 17, 50_000), entry("z", 20, 1)], &mark(40, 20), hard_state).expect("installed");
        engine.append(&[log_entry(41, 4, 3)], None).expect("it appends");
        engine.checkpoint(&[gone("z", 20, 21)], &mark(41, 21)).expect("written");
        drop(engine);
        let engine = again();
        let loaded = engine.load().expect("it loads");
        assert_eq!((loaded.hard_state, loaded.mark, loaded.log.len()), (hard_state, mark(41, 21), 0));
        assert_eq!(keys(&*engine), [("a".to_owned(), 17, 50_000)]);
    });
}

/// Whoever had it before may still be giving its lock up.
fn open_raw(dir: &Path) -> sled::Db {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        match sled::open(dir) {
            Ok(db) => return db,
            Err(error) => assert!(std::time::Instant::now() < deadline, "sled opens: {error}"),
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

#[test]
fn a_checkpoint_that_did_not_end_does_not_count_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let engine = SledEngine::open(dir.path()).expect("it opens");
    engine.append(&(1..=9).map(|index| log_entry(index, 1, 10)).collect::<Vec<_>>(), None).expect("it appends");
    engine.checkpoint(&[put("a", None, 1, 5), put("b", None, 2, 5)], &mark(2, 2)).expect("written");
    drop(engine);
    let db = open_raw(dir.path());
    let before = db.open_tree("raft").expect("a tree").get("m").expect("read").expect("a mark");
    drop(db);
    // Ends, and then the mark is put back: as if it had been cut off just before.
    let engine = SledEngine::open(dir.path()).expect("it opens");
    engine.load().expect("it loads");
    engine.checkpoint(&[put("c", None, 3, 20_000)], &mark(5, 5)).expect("written");
    drop(engine);
    let db = open_raw(dir.path());
    db.open_tree("raft").expect("a tree").insert("m", before).expect("put back");
    drop(db);
    let engine = SledEngine::open(dir.path()).expect("it opens");
    assert_eq!(keys(&engine), [("a".to_owned(), 1, 5), ("b".to_owned(), 2, 5)]);
    assert_eq!(engine.load().expect("it loads").log.len(), 7, "the log behind the mark that counts");
    drop(engine);
    let revisions: Vec<_> = open_raw(dir.path()).open_tree("keys").expect("a tree").iter().keys().collect();
    assert_eq!(revisions.len(), 2, "{revisions:?}");
}

#[test]
fn a_key_that_is_gone_does_not_come_back_when_the_removal_was_cut_off() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let engine = SledEngine::open(dir.path()).expect("it opens");
    engine.checkpoint(&[put("a", None, 1, 5)], &mark(1, 1)).expect("written");
    // As if the old record had not been found: it stays, and so must what says that the key is gone.
    let left_behind = Change { superseded: None, ..gone("a", 1, 2) };
    let other = put("b", None, 3, 5);
    engine.checkpoint(&[left_behind.clone(), other], &mark(3, 3)).expect("written");
    drop(engine);
    // The record that says so was removed at the checkpoint's end; put it back where a crash would have left it.
    let db = open_raw(dir.path());
    for (key, value) in parts::split(0, 2, &super::codec::gone(b"a")) {
        db.open_tree("keys").expect("a tree").insert(key, value).expect("put back");
    }
    drop(db);
    let engine = SledEngine::open(dir.path()).expect("it opens");
    assert_eq!(keys(&engine), [("b".to_owned(), 3, 5)]);
}

#[test]
fn no_page_gets_so_large_that_sled_moves_it_to_an_unsynced_file() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let engine = SledEngine::open(dir.path()).expect("it opens");
    engine.load().expect("it loads");
    let mut revision = 0;
    for index in 1..=60 {
        engine.append(&[log_entry(index, 1, 150_000)], None).expect("it appends");
        if index % 10 == 0 {
            let changes: Vec<_> = (1..=5).map(|n| put(&format!("{index}-{n}"), None, revision + n, 90_000)).collect();
            revision += 5;
            engine.checkpoint(&changes, &mark(index, revision)).expect("written");
            engine.cut(index).expect("cut");
        }
        let files = std::fs::read_dir(dir.path().join("blobs")).expect("sled's directory").count();
        assert_eq!(files, 0, "after entry {index}");
    }
}

#[test]
fn a_directory_in_use_is_said_to_be() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let _engine = SledEngine::open(dir.path()).expect("it opens");
    let error = SledEngine::open(dir.path()).err().expect("it is in use");
    assert!(matches!(&error, OpenError::Locked { dir: named } if named == dir.path()), "{error:?}");
}

#[test]
fn anothers_directory_is_refused() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    for _ in 0..2 {
        SledEngine::open(dir.path()).expect("it opens").claim("cluster a, member 1").expect("it is ours");
    }
    let error = SledEngine::open(dir.path()).expect("it opens").claim("cluster a, member 2").expect_err("it is not");
    let text = error.to_string();
    assert!(text.contains("is of cluster a, member 1, and this is cluster a, member 2"), "{text}");
}

#[test]
fn another_format_is_refused() {
    for (found, says) in [(FORMAT + 1, "use the newer mk8s"), (1, "use the older mk8s")] {
        let dir = tempfile::tempdir().expect("a scratch directory");
        drop(SledEngine::open(dir.path()).expect("it opens"));
        let db = open_raw(dir.path());
        db.open_tree("meta").expect("a tree").insert("format", &found.to_be_bytes()).expect("changed");
        drop(db);
        let error = SledEngine::open(dir.path()).err().expect("it is refused").to_string();
        assert!(error.contains(says) && error.contains(&dir.path().display().to_string()), "{error}");
    }
}

#[test]
fn a_path_that_is_a_file_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().expect("a scratch file");
    let error = SledEngine::open(file.path()).err().expect("it is no directory");
    assert!(error.to_string().contains(&file.path().display().to_string()), "{error}");
}

/// A directory as the format before had it: the log in sled.
fn of_format_2(dir: &Path, log: &[Arc<LogEntry>], hard_state: HardState) {
    drop(SledEngine::open(dir).expect("it opens"));
    std::fs::remove_dir_all(dir.join("log")).expect("the newer log goes");
    let db = open_raw(dir);
    let raft = db.open_tree("raft").expect("a tree");
    for entry in log {
        let mut record = Vec::new();
        super::codec::put_log_entry(&mut record, entry);
        for (key, value) in parts::split(b'l', entry.index, &record) {
            raft.insert(key, value).expect("written");
        }
    }
    raft.insert("h", super::codec::hard_state(hard_state)).expect("written");
    db.open_tree("meta").expect("a tree").insert("format", &2u64.to_be_bytes()).expect("written");
}

#[test]
fn the_log_of_the_format_before_is_taken_over() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let log: Vec<_> = (1..=40).map(|index| log_entry(index, 1, 20 * parts::PART)).collect();
    let hard_state = HardState { term: 3, vote: 2, commit: 30 };
    of_format_2(dir.path(), &log, hard_state);
    // The second time it is of today's format.
    for _ in 0..2 {
        let loaded = SledEngine::open(dir.path()).expect("it opens").load().expect("it loads");
        assert!(same(&loaded.log, &log) && loaded.hard_state == hard_state);
    }
    let left = open_raw(dir.path()).open_tree("raft").expect("a tree").scan_prefix("l").count();
    assert_eq!(left, 0, "it is not there twice");
}

#[test]
fn what_a_cut_left_of_the_format_before_is_no_damage() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let log: Vec<_> = (1..=5).map(|index| log_entry(index, 1, 2 * parts::PART)).collect();
    of_format_2(dir.path(), &log, HardState::default());
    let db = open_raw(dir.path());
    let raft = db.open_tree("raft").expect("a tree");
    raft.insert("m", super::codec::mark(&mark(3, 3), 0)).expect("written");
    raft.remove(parts::key(b'l', 2, 0)).expect("removed");
    drop((raft, db));
    let loaded = SledEngine::open(dir.path()).expect("it opens").load().expect("it loads");
    assert!(same(&loaded.log, &log[3..]));
}

#[test]
fn a_hole_in_the_log_of_the_format_before_is_damage() {
    for lost in [parts::key(b'l', 3, 1), parts::key(b'l', 2, 1), parts::key(b'l', 2, 0)] {
        let dir = tempfile::tempdir().expect("a scratch directory");
        let log: Vec<_> = (1..=3).map(|index| log_entry(index, 1, 2 * parts::PART)).collect();
        of_format_2(dir.path(), &log, HardState::default());
        let db = open_raw(dir.path());
        db.open_tree("raft").expect("a tree").remove(lost).expect("removed");
        drop(db);
        let error = SledEngine::open(dir.path()).err().expect("it is damaged");
        assert!(matches!(error, OpenError::Damaged { .. }), "{error}");
    }
}

#[test]
fn a_log_that_does_not_reach_the_checkpoint_or_is_gone_is_damage() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let engine = SledEngine::open(dir.path()).expect("it opens");
    engine.append(&[log_entry(7, 1, 10)], None).expect("it appends");
    assert_eq!(engine.load().expect_err("entries are missing").kind(), std::io::ErrorKind::InvalidData);
    drop(engine);
    std::fs::remove_dir_all(dir.path().join("log")).expect("removed");
    let error = SledEngine::open(dir.path()).err().expect("it is damaged");
    assert!(matches!(&error, OpenError::Damaged { .. }) && error.to_string().contains("missing"), "{error}");
}

#[test]
fn anothers_state_counts_although_the_log_before_it_is_still_there() {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let engine = SledEngine::open(dir.path()).expect("it opens");
    engine.append(&(1..=9).map(|index| log_entry(index, 1, 10)).collect::<Vec<_>>(), None).expect("it appends");
    let first = dir.path().join("log/0000000000000001.log");
    let before = std::fs::read(&first).expect("a segment");
    let hard_state = HardState { term: 4, vote: 0, commit: 5 };
    engine.install(&[entry("a", 17, 5)], &mark(5, 20), hard_state).expect("installed");
    drop(engine);
    // As if it had been cut off before the log was begun anew.
    for file in std::fs::read_dir(dir.path().join("log")).expect("a directory") {
        std::fs::remove_file(file.expect("a file").path()).expect("removed");
    }
    std::fs::write(&first, before).expect("put back");
    for _ in 0..2 {
        let engine = SledEngine::open(dir.path()).expect("it opens");
        let loaded = engine.load().expect("it loads");
        assert_eq!((loaded.hard_state, loaded.mark, loaded.log), (hard_state, mark(5, 20), vec![]));
    }
    SledEngine::open(dir.path()).expect("it opens").append(&[log_entry(6, 4, 1)], None).expect("it appends");
}

proptest! {
    #[test]
    fn records_come_back_from_their_parts(lengths in prop::collection::vec(0usize..40_000, 1..6)) {
        let records: Vec<(u64, Vec<u8>)> =
            (5u64..).zip(&lengths).map(|(number, length)| (number, vec![number as u8; *length])).collect();
        let mut joiner = parts::Joiner::default();
        let mut back = Vec::new();
        for (number, record) in &records {
            for (key, value) in parts::split(b'x', *number, record) {
                prop_assert!(value.len() <= parts::PART);
                back.extend(joiner.add(&key, &value).expect("they are parts"));
            }
        }
        prop_assert!(joiner.is_done());
        prop_assert_eq!(back, records);
    }

    #[test]
    fn no_parts_make_it_panic(parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..13), prop::collection::vec(any::<u8>(), 0..9)), 0..9)) {
        let mut joiner = parts::Joiner::default();
        for (key, value) in &parts {
            if joiner.add(key, value).is_none() {
                break;
            }
        }
    }
}
