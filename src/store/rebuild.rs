//! Beginning anew with a keyspace that is there: of a snapshot, or of the last directory that is left of a cluster.
//!
//! ```text
//! snapshot ─────────────▶ Whole ─┐
//! directory ─▶ salvage ─▶ Whole ─┴▶ found ─▶ a directory of one founder, at a later revision
//! ```
//!
//! Invariant: revisions go on at a number that nobody has seen, so that whoever follows the old history is told to read
//! everything anew.

use crate::{
    engine::{CheckpointMark, Engine, HardState, SledEngine},
    mvcc::{Keyspace, View},
    options::OpenError,
    raft::Whole,
    txn::{Reader, Txn},
};
use bytes::Bytes;
use std::{io, path::Path};

/// By how much the revision jumps: more than any cluster writes between a snapshot and its restoration.
const JUMP: u64 = 1_000_000_000;

/// Makes sure that nobody uses a directory. That it is damaged, or not there, is no matter.
///
/// # Errors
/// [`OpenError::Locked`].
pub fn ensure_free(dir: &Path) -> Result<(), OpenError> {
    if !dir.join("db").exists() {
        return Ok(());
    }
    match SledEngine::open(dir) {
        Err(error @ OpenError::Locked { .. }) => Err(error),
        _ => Ok(()),
    }
}

/// Everything that may have been acknowledged to anyone, as a directory has it: its last checkpoint, and all of its log
/// whether it is known to be committed or not. The directory is not changed.
///
/// # Errors
/// [`OpenError`] when it is in use, or damaged, or nothing was ever written to it.
pub fn salvage(dir: &Path) -> Result<Whole, OpenError> {
    if !dir.join("db").exists() {
        let source = io::Error::new(io::ErrorKind::NotFound, "there is no store");
        return Err(OpenError::Io { dir: dir.to_owned(), source });
    }
    let damaged = |detail: String| OpenError::Damaged { dir: dir.to_owned(), detail };
    let loaded = SledEngine::open(dir)?.load().map_err(|error| damaged(error.to_string()))?;
    let unreadable = |error: io::Error| damaged(error.to_string());
    // Sealed values stay sealed.
    let mut keyspace = Keyspace::restored(None, None, loaded.mark.revision, loaded.entries).map_err(unreadable)?;
    // What is no write changes members, who do not count any more.
    for entry in loaded.log.into_iter().filter(|entry| entry.kind == 0) {
        let record = Bytes::from(entry.data);
        let mut reader = Reader(&record);
        while !reader.0.is_empty() {
            let txn = Txn::decode(&record, &mut reader)
                .ok_or_else(|| damaged(format!("entry {} of the log cannot be read", entry.index)))?;
            // A conflict is as much an outcome as any other.
            drop(keyspace.take(txn).map_err(unreadable)?);
        }
    }
    Ok(Whole::of(&keyspace.view()))
}

/// Makes the directory of a new cluster's only member, that begins with a keyspace changed by `first`.
///
/// # Errors
/// [`OpenError`] when the directory has data already, or cannot be written.
pub fn found(
    dir: &Path,
    whole: Whole,
    first: impl FnOnce(&View) -> Txn,
    node_id: u64,
    identity: &str,
) -> Result<u64, OpenError> {
    let failed = |source| OpenError::Io { dir: dir.to_owned(), source };
    let engine = SledEngine::open(dir)?;
    let loaded = engine.load().map_err(failed)?;
    if loaded.mark.index > 0 || loaded.hard_state != HardState::default() {
        return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "there is a store already")));
    }
    let mut keyspace = Keyspace::restored(None, None, whole.revision + JUMP, whole.entries).map_err(failed)?;
    let first = first(&keyspace.view());
    keyspace.apply(&first).outcome.map_err(|error| failed(io::Error::other(error)))?;
    let view = keyspace.view();
    let entries: Vec<_> = view.after(None).cloned().collect();
    let mark = CheckpointMark { index: 1, term: 1, revision: view.revision(), voters: vec![node_id], learners: vec![] };
    engine.claim(identity)?;
    engine.install(&entries, &mark, HardState { term: 1, vote: 0, commit: 1 }).map_err(failed)?;
    Ok(view.revision())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expect, Op, Options, Stamped, Store};

    fn put(key: &str) -> Txn {
        Txn::one(Op::Put { key: Bytes::from(key.to_owned()), value: Stamped::plain("v"), expect: Expect::Any })
    }

    #[tokio::test]
    async fn a_directory_begins_anew_with_everything_that_was_acknowledged() {
        let scratch = tempfile::tempdir().expect("a directory");
        let (old, new) = (scratch.path().join("old"), scratch.path().join("new"));
        let options = |dir: &Path, node_id| Options { dir: Some(dir.to_owned()), node_id, ..Options::default() };
        let store = Store::open(options(&old, 1)).await.expect("it opens");
        for n in 0..20 {
            store.commit(put(&format!("/k/{n}"))).await.expect("it is written");
        }
        let before = store.revision();
        store.close().await;

        let whole = salvage(&old).expect("it is whole");
        assert_eq!((whole.revision(), whole.entries().len()), (before, 20));
        let revision = found(&new, whole, |_| put("/first"), 101, "member 101").expect("it is founded");
        assert_eq!(revision, before + JUMP + 1);
        assert!(found(&new, Whole::default(), |_| put("/first"), 101, "member 101").is_err(), "there is data");

        let store = Store::open(options(&new, 101)).await.expect("it opens");
        assert_eq!(store.revision(), revision);
        assert_eq!(store.view().prefix(b"/").count(), 21);
        assert!(store.watch(b"/", before).is_err(), "who followed the old history is told");
        store.commit(put("/after")).await.expect("it is written");
        store.close().await;
        assert!(salvage(&scratch.path().join("none")).is_err());
    }
}
