//! Sealed values: to be read nowhere but in memory, whatever becomes of the key, the flags and the disk.

use super::*;
use crate::{
    Alone, Expect, Op, OpenError, Options, Pieces, Stamped, Store, Txn,
    engine::{Engine, MemoryEngine},
    snapshot::{self, Chunks},
};
use std::{fs, path::Path, sync::Arc};

const TEXT: &str = "open sesame";

fn sealing(covered: &[&'static str]) -> Option<Sealing> {
    Some(Sealing {
        root: [1; 32],
        covered: covered.iter().map(|prefix| Bytes::from_static(prefix.as_bytes())).collect(),
    })
}

fn options(sealing: Option<Sealing>) -> Options {
    Options { sealing, ..Options::default() }
}

fn start(engine: &MemoryEngine, sealing: Option<Sealing>) -> Store {
    Store::start(Arc::new(engine.clone()), Box::new(Alone), options(sealing)).expect("it opens")
}

/// A value with its own revision between `<` and `>`.
fn put(key: &str, text: &str) -> Txn {
    let value = Stamped { bytes: Bytes::from(format!("<>{text}")), stamp_at: Some(1) };
    Txn::one(Op::Put { key: Bytes::from(key.to_owned()), value, expect: Expect::Any })
}

async fn write(store: &Store, key: &str, text: &str) {
    store.commit(put(key, text)).await.expect("it is written");
}

fn read(store: &Store, key: &str) -> String {
    let entry = store.view().get(key.as_bytes()).expect("it is there").clone();
    let text = String::from_utf8_lossy(&entry.value).into_owned();
    text.strip_prefix(&format!("<{}>", entry.modified)).expect("its own revision").to_owned()
}

async fn rewritten(store: &Store) {
    while store.seal_status().expect("it seals").rewriting {
        store.barrier().await.expect("it answers");
        tokio::task::yield_now().await;
    }
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// Whether a text is anywhere in the log or the keyspace of an engine.
fn on_disk(engine: &MemoryEngine, text: &str) -> bool {
    let loaded = engine.load().expect("memory");
    loaded.log.iter().any(|entry| holds(&entry.data, text))
        || loaded.entries.iter().any(|entry| holds(&entry.value, text))
}

fn in_files(dir: &Path, text: &str) -> bool {
    fs::read_dir(dir).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() { in_files(&path, text) } else { holds(&fs::read(&path).expect("a file"), text) }
    })
}

#[tokio::test]
async fn no_file_has_the_text_and_every_start_reads_it() {
    let scratch = tempfile::tempdir().expect("a directory");
    let options = || Options { dir: Some(scratch.path().to_owned()), ..options(sealing(&["/s/"])) };
    let store = Store::open(options()).await.expect("it opens");
    assert!(store.change_key("one", true).await.expect("it is written"));
    assert!(!store.change_key("two", true).await.expect("there is one"));
    write(&store, "/s/a", TEXT).await;
    write(&store, "/p/a", "for everyone").await;
    store.close().await;
    assert!(!in_files(scratch.path(), TEXT) && in_files(scratch.path(), "for everyone"), "the log");

    let store = Store::open(options()).await.expect("it opens");
    assert_eq!(read(&store, "/s/a"), TEXT);
    // Twice, so that a generation goes that came.
    for name in ["two", "three"] {
        assert!(store.change_key(name, false).await.expect("it is written"));
        rewritten(&store).await;
        write(&store, "/s/b", TEXT).await;
    }
    let status = store.seal_status().expect("it seals");
    assert_eq!((status.key.as_deref(), status.values), (Some("three"), 2));
    store.close().await;
    assert!(!in_files(scratch.path(), TEXT), "the checkpoint");

    let store = Store::open(options()).await.expect("it opens");
    assert_eq!(
        (read(&store, "/s/a"), read(&store, "/s/b"), read(&store, "/p/a")),
        (TEXT.into(), TEXT.into(), "for everyone".into())
    );
    store.close().await;
    let foreign = Some(Sealing { root: [2; 32], covered: Vec::new() });
    let refused = Store::open(Options { sealing: foreign, ..options() }).await;
    let Err(error @ OpenError::Damaged { .. }) = refused else { panic!("another root opens nothing") };
    assert!(error.to_string().contains("the key three cannot be opened with this cluster's secrets"), "{error}");
}

#[tokio::test]
async fn what_was_plain_becomes_sealed_and_back() {
    let engine = MemoryEngine::default();
    let store = start(&engine, None);
    write(&store, "/s/a", TEXT).await;
    store.close().await;

    let store = start(&engine, sealing(&["/s/"]));
    assert_eq!(read(&store, "/s/a"), TEXT);
    assert_eq!(store.seal_status().expect("it can").key, None);
    assert!(store.change_key("one", true).await.expect("it is written"));
    rewritten(&store).await;
    write(&store, "/s/b", TEXT).await;
    store.close().await;
    assert!(!on_disk(&engine, TEXT));

    // Another kind is named from now on.
    let store = start(&engine, sealing(&["/s/", "/c/"]));
    write(&store, "/c/a", TEXT).await;
    store.close().await;
    assert!(!on_disk(&engine, TEXT));

    // And now none: what was sealed is still read, and written plainly.
    let store = start(&engine, sealing(&[]));
    let all = |store: &Store| ["/s/a", "/s/b", "/c/a"].map(|key| read(store, key));
    assert_eq!(all(&store), [TEXT; 3]);
    store.change_key("two", false).await.expect("it is written");
    rewritten(&store).await;
    store.close().await;
    let loaded = engine.load().expect("memory");
    assert!(loaded.entries.iter().all(|entry| sealed_by(&entry.value).is_none()));
    assert_eq!(all(&start(&engine, sealing(&[]))), [TEXT; 3]);
}

#[tokio::test]
async fn writes_go_on_while_the_key_changes() {
    let engine = MemoryEngine::default();
    let store = start(&engine, sealing(&["/s/"]));
    store.change_key("k", true).await.expect("it is written");
    let changes = async {
        for n in 0..30 {
            store.change_key(&format!("k{n}"), false).await.expect("it is written");
        }
    };
    let writer = |writer: usize| {
        let store = store.clone();
        async move {
            for n in 0..60 {
                write(&store, &format!("/s/{writer}/{n}"), TEXT).await;
            }
        }
    };
    tokio::join!(changes, writer(0), writer(1), writer(2));
    rewritten(&store).await;
    store.close().await;
    assert!(!on_disk(&engine, TEXT));
    let store = start(&engine, sealing(&["/s/"]));
    assert_eq!(store.view().count(b"/s/"), 180);
    assert_eq!(read(&store, "/s/2/59"), TEXT);
}

#[tokio::test]
async fn a_changed_value_is_named_and_nothing_panics() {
    let engine = MemoryEngine::default();
    let store = start(&engine, sealing(&["/s/"]));
    store.change_key("one", true).await.expect("it is written");
    write(&store, "/s/a", TEXT).await;
    store.change_key("two", false).await.expect("it is written");
    rewritten(&store).await;
    store.close().await;
    let crate::engine::Loaded { hard_state, mark, mut entries, .. } = engine.load().expect("memory");
    let entry = entries.iter_mut().find(|entry| entry.key == "/s/a").expect("it is there");
    let mut value = entry.value.to_vec();
    *value.last_mut().expect("it has a tag") ^= 1;
    *entry = Arc::new(crate::Entry { value: value.into(), ..crate::Entry::clone(entry) });
    engine.install(&entries, &mark, hard_state).expect("memory");
    let opened = Store::start(Arc::new(engine.clone()), Box::new(Alone), options(sealing(&["/s/"])));
    let Err(error @ OpenError::Damaged { .. }) = opened else { panic!("it was changed") };
    let expected = "the value of /s/a cannot be opened with the key two: it was changed, or belongs elsewhere";
    assert!(error.to_string().contains(expected), "{error}");
}

#[tokio::test]
async fn snapshots_are_sealed_and_begin_a_cluster_with_the_same_root() {
    let scratch = tempfile::tempdir().expect("a directory");
    let (old, new, newer) = (scratch.path().join("old"), scratch.path().join("new"), scratch.path().join("newer"));
    let options = |dir: &Path| Options { dir: Some(dir.to_owned()), ..options(sealing(&["/s/"])) };
    let store = Store::open(options(&old)).await.expect("it opens");
    store.change_key("one", true).await.expect("it is written");
    write(&store, "/s/a", TEXT).await;
    let file: Vec<u8> = Chunks::new(b"", store.pieces(store.view())).flatten().collect();
    let plain: Vec<u8> = Pieces::new(store.view()).flatten().collect();
    assert!(!holds(&file, TEXT) && holds(&plain, TEXT));
    store.change_key("two", false).await.expect("it is written");
    write(&store, "/s/b", TEXT).await;
    store.close().await;

    let (_, whole) = snapshot::read(&file[..]).expect("it is whole");
    crate::found(&new, whole, |_| put("/first", ""), 1, "one").expect("it is founded");
    let whole = crate::salvage(&old).expect("it is whole");
    crate::found(&newer, whole, |_| put("/first", ""), 1, "one").expect("it is founded");
    assert!(!in_files(scratch.path(), TEXT));
    let store = Store::open(options(&new)).await.expect("it opens");
    assert_eq!(read(&store, "/s/a"), TEXT);
    store.close().await;
    let store = Store::open(options(&newer)).await.expect("it opens");
    assert_eq!((read(&store, "/s/a"), read(&store, "/s/b")), (TEXT.into(), TEXT.into()));
    store.close().await;
}
