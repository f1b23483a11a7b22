//! The handle that the rest of the process holds.

use crate::{
    engine::{Engine, MemoryEngine, SledEngine},
    hub::{Hub, Watcher},
    metrics::Metrics,
    mvcc::{Compacted, View, Window},
    options::{OpenError, Options},
    raft::{Node, Request},
    txn::{self, Commit, CommitError, Txn},
};
use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
};
use thiserror::Error;
use tokio::sync::oneshot;

/// A replica of the store. Cheap to clone; the last clone's end does not close it, [`Store::close`] does.
#[derive(Clone)]
pub struct Store {
    hub: Arc<Hub>,
    requests: mpsc::Sender<Request>,
    metrics: Arc<Metrics>,
}

/// The store is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the store is closed")]
pub struct Unavailable;

impl Store {
    /// Opens the store and waits until it takes writes.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the directory and what to do.
    pub async fn open(options: Options) -> Result<Store, OpenError> {
        let begin = move || {
            let engine: Arc<dyn Engine> = match &options.dir {
                Some(dir) => Arc::new(SledEngine::open(dir)?),
                None => Arc::new(MemoryEngine::default()),
            };
            Self::start(engine, options)
        };
        tokio::task::spawn_blocking(begin).await.expect("opening does not panic")
    }

    /// Opens the store over an engine; blocks while it is read.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn start(engine: Arc<dyn Engine>, options: Options) -> Result<Store, OpenError> {
        let dir = options.dir.clone().unwrap_or_else(|| PathBuf::from("(memory)"));
        let metrics = Arc::new(Metrics::default());
        let (requests, receiver) = mpsc::channel();
        let mut hub = None;
        let (age, count) = (options.event_window, options.event_window_count);
        let node = Node::start(engine, options, metrics.clone(), (requests.clone(), receiver), |view| {
            hub.insert(Arc::new(Hub::new(Window::new(view, age, count)))).clone()
        })
        .map_err(|source| match source.kind() {
            std::io::ErrorKind::InvalidData => OpenError::Damaged { dir: dir.clone(), detail: source.to_string() },
            _ => OpenError::Io { dir: dir.clone(), source },
        })?;
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || node.run())
            .map_err(|source| OpenError::Io { dir, source })?;
        Ok(Store { hub: hub.expect("a started node has asked for its hub"), requests, metrics })
    }

    /// Carries a transaction out. When this returns it is durable, and [`Store::view`] shows it.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when an expectation does not hold; nothing has changed then.
    pub async fn commit(&self, txn: Txn) -> Result<Commit, CommitError> {
        let size = txn.encoded_len();
        if size > txn::LIMIT {
            return Err(CommitError::TooLarge { size, limit: txn::LIMIT });
        }
        let closed = || CommitError::Unavailable(Unavailable.to_string());
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Commit { txn, answer }).map_err(|_| closed())?;
        answered.await.map_err(|_| closed())?
    }

    /// The newest state.
    pub fn view(&self) -> View {
        self.hub.view()
    }

    /// The state at a revision of the last minutes.
    ///
    /// # Errors
    /// [`Compacted`] when it is too old, or not reached yet.
    pub fn view_at(&self, revision: u64) -> Result<View, Compacted> {
        self.hub.view_at(revision)
    }

    /// A state that includes every write acknowledged anywhere before this was called.
    ///
    /// # Errors
    /// [`Unavailable`] when the store is closed.
    pub async fn barrier(&self) -> Result<View, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Barrier { answer }).map_err(|_| Unavailable)?;
        answered.await.map_err(|_| Unavailable)
    }

    /// Follows the keys under a prefix, from after a revision on.
    ///
    /// # Errors
    /// [`Compacted`] when events after the revision are gone.
    pub fn watch(&self, prefix: &[u8], after: u64) -> Result<Watcher, Compacted> {
        self.hub.watch(prefix, after)
    }

    pub fn revision(&self) -> u64 {
        self.hub.view().revision()
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Ends every watch and stops taking writes; what was acknowledged is on disk already.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Request::Close { answer }).is_ok() {
            // The thread may have ended by itself.
            drop(answered.await);
        }
    }
}
