//! The keyspace against a plain map, and the window against the keyspace.

use super::{Entry, Event, EventKind, Groups, Index, Keyspace, Now, Term, View, Window, WindowLimits};
use crate::txn::{Expect, Op, Reader, Stamped, Txn};
use bytes::Bytes;
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

fn put(key: &str, value: &str, expect: Expect) -> Op {
    Op::Put { key: Bytes::copy_from_slice(key.as_bytes()), value: Stamped::plain(value.to_owned()), expect }
}

fn delete(key: &str, expect: Expect) -> Op {
    Op::Delete { key: Bytes::copy_from_slice(key.as_bytes()), expect }
}

fn limits(count: usize) -> WindowLimits {
    WindowLimits { age: Duration::from_secs(300), count, bytes: 1 << 20 }
}

/// What a value begins with.
fn initial(value: &[u8]) -> Option<Term> {
    std::str::from_utf8(value.get(..1)?).ok().map(Term::from)
}

fn contents(view: &View) -> BTreeMap<Vec<u8>, (Vec<u8>, u64, u64)> {
    for directory in ["b/", "b/d/", "c/"] {
        assert_eq!(view.count(directory.as_bytes()), view.prefix(directory.as_bytes()).count(), "{directory}");
    }
    view.prefix(b"").map(|e| (e.key.to_vec(), (e.value.to_vec(), e.created, e.modified))).collect()
}

#[test]
fn a_failed_expectation_changes_nothing() {
    let mut keys = Keyspace::default();
    assert!(keys.apply(&Txn::one(put("a", "1", Expect::Absent))).outcome.is_ok());
    let before = contents(&keys.view());
    for expect in [Expect::Absent, Expect::Revision(7)] {
        let txn = Txn { ops: vec![put("b", "2", Expect::Any), put("a", "3", expect)] };
        let applied = keys.apply(&txn);
        assert!(applied.outcome.is_err() && applied.events.is_empty());
        assert_eq!(contents(&keys.view()), before);
        assert_eq!(keys.view().revision(), 1);
    }
}

#[test]
fn a_stamped_value_carries_its_revision() {
    let mut keys = Keyspace::default();
    for expected in [r#"{"v":"1"}"#, r#"{"v":"2"}"#] {
        let value = Stamped { bytes: Bytes::from_static(br#"{"v":""}"#), stamp_at: Some(6) };
        keys.apply(&Txn::one(Op::Put { key: Bytes::from_static(b"k"), value, expect: Expect::Any }));
        assert_eq!(keys.view().get(b"k").map(|e| e.value.clone()), Some(Bytes::from(expected)));
    }
}

#[test]
fn a_range_ends_before_its_end() {
    let mut keys = Keyspace::default();
    for key in ["/a/1", "/a/2", "/ab", "/b"] {
        keys.apply(&Txn::one(put(key, "", Expect::Any)));
    }
    let view = keys.view();
    let names = |entries: Vec<&Arc<Entry>>| -> Vec<String> {
        entries.iter().map(|e| String::from_utf8_lossy(&e.key).into_owned()).collect()
    };
    assert_eq!(names(view.prefix(b"/a/").collect()), ["/a/1", "/a/2"]);
    assert_eq!(names(view.range(b"/a/2", b"/b").collect()), ["/a/2", "/ab"]);
    assert!(view.range(b"/b", b"/a").next().is_none());
    assert_eq!(view.prefix(b"").count(), 4);
}

fn operations() -> impl Strategy<Value = Vec<Txn>> {
    let key = prop::sample::select(vec!["a", "b", "b/c", "b/d/e", "b/d/f", "d"]);
    let expect = prop_oneof![
        3 => Just(Expect::Any),
        1 => Just(Expect::Absent),
        1 => Just(Expect::Present),
        1 => (0u64..30).prop_map(Expect::Revision),
    ];
    let op = (key, "[a-z]{0,3}", expect, 0..3).prop_map(|(key, value, expect, what)| match what {
        0 => delete(key, expect),
        1 => Op::Check { key: Bytes::from(key), expect },
        _ => put(key, &value, expect),
    });
    prop::collection::vec(prop::collection::vec(op, 1..4).prop_map(|ops| Txn { ops }), 1..40)
}

proptest! {
    #[test]
    fn it_behaves_as_a_map_with_revisions(txns in operations()) {
        let mut keys = Keyspace::default();
        let mut model: BTreeMap<Vec<u8>, (Vec<u8>, u64, u64)> = BTreeMap::new();
        let mut revision = 0;
        for txn in &txns {
            let holds = txn.ops.iter().all(|op| {
                let (Op::Put { key, expect, .. } | Op::Delete { key, expect } | Op::Check { key, expect }) = op;
                let current = model.get(&key[..]);
                match expect {
                    Expect::Any => true,
                    Expect::Absent => current.is_none(),
                    Expect::Present => current.is_some(),
                    Expect::Revision(r) => current.is_some_and(|c| c.2 == *r),
                }
            });
            prop_assert_eq!(keys.apply(txn).outcome.is_ok(), holds);
            for op in txn.ops.iter().filter(|_| holds) {
                match op {
                    Op::Put { key, value, .. } => {
                        revision += 1;
                        let created = model.get(&key[..]).map_or(revision, |c| c.1);
                        model.insert(key.to_vec(), (value.bytes.to_vec(), created, revision));
                    }
                    Op::Delete { key, .. } => revision += u64::from(model.remove(&key[..]).is_some()),
                    Op::Check { .. } => {}
                }
            }
            prop_assert_eq!(contents(&keys.view()), model.clone());
            prop_assert_eq!(keys.view().revision(), revision);
        }
    }

    #[test]
    fn every_view_in_the_window_is_as_it_was(txns in operations()) {
        let mut keys = Keyspace::default();
        let mut window = Window::new(keys.view(), limits(1000));
        let mut seen = vec![keys.view()];
        for txn in &txns {
            let events = keys.apply(txn).events;
            window.push(Instant::now(), keys.view(), &events);
            seen.push(keys.view());
        }
        for view in seen {
            let again = window.view_at(view.revision()).expect("nothing is old yet");
            prop_assert_eq!(contents(&again), contents(&view));
        }
    }

    /// In every view, those of the past included.
    #[test]
    fn the_index_finds_what_a_scan_finds(txns in operations()) {
        let index = Index { prefix: b"b/", term: initial };
        let mut keys = Keyspace::restored(None, Some(index), 0, []).expect("nothing is sealed");
        let mut window = Window::new(keys.view(), limits(1000));
        for txn in &txns {
            let before = keys.view();
            let events = keys.apply(txn).events;
            for event in &events {
                let said = |entry: &Entry| index.term_of(entry);
                let (was, is) = match event.kind {
                    EventKind::Put => (event.previous.as_deref().and_then(said), said(&event.entry)),
                    EventKind::Delete => (said(&event.entry), None),
                };
                for term in ["a", "b", "c"] {
                    let expected = [&was, &is].iter().any(|said| said.as_deref() == Some(term));
                    prop_assert_eq!(event.terms.contain(term), expected);
                }
            }
            window.push(Instant::now(), keys.view(), &events);
            for view in [keys.view(), window.view_at(before.revision()).expect("nothing is old yet")] {
                for (term, from, end) in [("a", "", "z"), ("a", "b/d/", "b/d0"), ("b", "b/d/e", "b/d/f"), ("b", "b/", "b0")] {
                    let found: Vec<_> = view.range_saying(term, from.as_bytes(), end.as_bytes()).cloned().collect();
                    let all = view.range(from.as_bytes(), end.as_bytes());
                    let expected: Vec<_> = all.filter(|e| index.term_of(e).as_deref() == Some(term)).cloned().collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn a_transaction_survives_the_log(txns in operations()) {
        let mut bytes = Vec::new();
        for txn in &txns {
            txn.encode(&mut bytes);
        }
        let record = Bytes::from(bytes);
        let mut reader = Reader(&record);
        for txn in txns {
            prop_assert_eq!(Txn::decode(&record, &mut reader), Some(txn));
        }
    }

    #[test]
    fn garbage_in_the_log_is_no_transaction_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let record = Bytes::from(bytes);
        let mut reader = Reader(&record);
        while !reader.0.is_empty() && Txn::decode(&record, &mut reader).is_some() {}
    }
}

#[test]
fn what_is_too_old_is_said_to_be() {
    let mut keys = Keyspace::default();
    let mut window = Window::new(keys.view(), limits(3));
    for n in 0..10 {
        let events: Vec<Arc<Event>> = keys.apply(&Txn::one(put("k", &n.to_string(), Expect::Any))).events;
        window.push(Instant::now(), keys.view(), &events);
    }
    assert_eq!(window.after(7).expect("kept").map(|e| e.revision).collect::<Vec<_>>(), [8, 9, 10]);
    let error = window.after(6).err().expect("gone");
    assert_eq!((error.asked, error.oldest, error.newest), (6, 7, 10));
    assert!(window.view_at(6).is_err() && window.view_at(11).is_err() && window.view_at(7).is_ok());
}

#[test]
fn the_window_is_bounded_by_age_and_by_bytes() {
    let mut keys = Keyspace::default();
    let limits = WindowLimits { age: Duration::from_secs(300), count: 1000, bytes: 10_000 };
    let mut window = Window::new(keys.view(), limits);
    let begun = Instant::now();
    let mut write = |seconds: u64, size: usize, window: &mut Window| {
        let events = keys.apply(&Txn::one(put("k", &"x".repeat(size), Expect::Any))).events;
        window.push(begun + Duration::from_secs(seconds), keys.view(), &events);
    };
    for _ in 0..5 {
        write(0, 3000, &mut window);
    }
    assert!(window.after(1).is_err() && window.after(3).is_ok(), "more bytes than allowed are kept");
    write(200, 10, &mut window);
    write(301, 10, &mut window);
    assert!(window.after(4).is_err() && window.after(5).is_ok(), "events older than the window are kept");
}

#[test]
fn a_key_belongs_to_the_groups_of_its_prefixes() {
    let mut groups = Groups::default();
    for (number, prefix) in ["", "/a/", "/a/b", "/a/b/", "/a/bc", "/b/", "/a/b/c/d"].into_iter().enumerate() {
        groups.add(Bytes::from_static(prefix.as_bytes()), number);
    }
    let of = |key: &str| {
        let mut found = Vec::new();
        groups.each(key.as_bytes(), |members| found.extend(members.iter().copied()));
        found.sort_unstable();
        found
    };
    let table: &[(&str, &[usize])] = &[
        ("/a/b/c", &[0, 1, 2, 3]),
        ("/a/b/c/d", &[0, 1, 2, 3, 6]),
        ("/a/bcd", &[0, 1, 2, 4]),
        ("/a/z", &[0, 1]),
        ("/b", &[0]),
        ("/b/x", &[0, 5]),
        ("", &[0]),
    ];
    for (key, expected) in table {
        assert_eq!(of(key), *expected, "{key}");
    }
}

proptest! {
    #[test]
    fn groups_find_what_a_scan_finds(prefixes in prop::collection::hash_set("[ab]{0,5}", 0..12), key in "[ab]{0,7}") {
        let mut groups = Groups::default();
        for prefix in &prefixes {
            groups.add(Bytes::from(prefix.clone()), prefix.clone());
        }
        let mut found = Vec::new();
        groups.each(key.as_bytes(), |members| found.extend(members.iter().cloned()));
        let mut expected: Vec<_> = prefixes.into_iter().filter(|p| key.starts_with(p.as_str())).collect();
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }

    /// What checkpoints write, read back the way an engine does, is the keyspace.
    #[test]
    fn changes_add_up_to_the_keyspace(batches in prop::collection::vec(operations(), 1..4)) {
        let mut keys = Keyspace::default();
        let mut disk: BTreeMap<u64, (Bytes, Vec<u8>)> = BTreeMap::new();
        for txns in &batches {
            for txn in txns {
                drop(keys.apply(txn));
            }
            for change in keys.take_changes() {
                if let Some(superseded) = change.superseded {
                    let (key, _) = disk.remove(&superseded).expect("a checkpoint wrote what it says it supersedes");
                    prop_assert_eq!(&key, &change.key);
                }
                if let Now::Entry(entry) = change.now {
                    disk.insert(entry.modified, (entry.key.clone(), entry.value.to_vec()));
                }
            }
            let mut stored: Vec<_> = disk.values().cloned().collect();
            stored.sort();
            let expected: Vec<_> = keys.view().prefix(b"").map(|e| (e.key.clone(), e.value.to_vec())).collect();
            prop_assert_eq!(stored, expected);
        }
    }
}
