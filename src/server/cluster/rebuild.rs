//! A new cluster of one server with a keyspace that is there: from a snapshot, or from the last server that is left.
//!
//! ```text
//! store.new is founded ─▶ store becomes store.before-<time> ─▶ store.new becomes store ─▶ member.json
//! ```
//!
//! Whatever is left of the old cluster may still run, with the same CA. So the new first member has a number that nobody
//! ever had, and every older number counts as removed.
//!
//! Invariant: stopped anywhere, the same command again comes to the same end; nothing of the old store is deleted.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mk8s_store::{OpenError, Whole};

use super::{
    members,
    record::{Record, RecordError},
};
use crate::auth::PkiError;

#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(
        "{dir} is that of a witness, which votes and has no data: do this on a server that has some, or on a new one"
    )]
    Witness { dir: String },
    #[error("{path} has no CA of a cluster: is that the --data-dir of a server?")]
    NoCa { path: String },
}

/// What was made.
#[derive(Debug)]
pub(crate) struct Rebuilt {
    pub(crate) member: u64,
    pub(crate) revision: u64,
    pub(crate) keys: usize,
    /// Where the old store is now, if there was one.
    pub(crate) before: Option<PathBuf>,
}

/// Puts a keyspace in the place of a server's store.
pub(crate) fn rebuild(dir: &Path, cluster: &str, whole: Whole, now: Timestamp) -> Result<Rebuilt, RebuildError> {
    refuse_witness(dir)?;
    let (store, new) = (dir.join("store"), dir.join("store.new"));
    mk8s_store::ensure_free(&store)?;
    let failed = |action, path: &Path| {
        let path = path.display().to_string();
        move |source| RebuildError::File { action, path, source }
    };
    if new.exists() {
        fs::remove_dir_all(&new).map_err(failed("remove", &new))?;
    }
    let keys = whole.entries().len();
    let record = Record { id: members::first_of_next_hundred(whole.entries()), founder: false, ..Record::founder() };
    let first = |view: &mk8s_store::View| members::only(view, record.id);
    let revision = mk8s_store::found(&new, whole, first, record.id, &record.identity(cluster))?;
    let mut before = None;
    if store.exists() {
        let aside = dir.join(format!("store.before-{}", now.strftime("%Y%m%dT%H%M%SZ")));
        fs::rename(&store, &aside).map_err(failed("rename", &store))?;
        before = Some(aside);
    }
    fs::rename(&new, &store).map_err(failed("rename", &new))?;
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))?;
    record.save(dir)?;
    Ok(Rebuilt { member: record.id, revision, keys, before })
}

fn refuse_witness(dir: &Path) -> Result<(), RebuildError> {
    match Record::load(dir)? {
        Some(record) if record.witness => Err(RebuildError::Witness { dir: dir.display().to_string() }),
        _ => Ok(()),
    }
}

/// The last server that is left begins a new cluster with all that it has.
pub(crate) fn recover(dir: &Path, now: Timestamp) -> Result<Rebuilt, RebuildError> {
    let cluster = crate::auth::pki::cluster_of(dir)?
        .ok_or_else(|| RebuildError::NoCa { path: dir.join("tls").display().to_string() })?;
    refuse_witness(dir)?;
    let whole = mk8s_store::salvage(&dir.join("store"))?;
    rebuild(dir, &cluster, whole, now)
}
