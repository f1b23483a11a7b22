//! The handle that the rest of the process holds.

use crate::{
    engine::{Engine, MemoryEngine, SledEngine},
    hub::{Hub, Watcher},
    metrics::{Gauges, Metrics},
    mvcc::{Compacted, Index, View, Window, WindowLimits},
    options::{OpenError, Options},
    raft::{self, Alone, Leadership, MemberChange, MemberStatus, Owner, Parts, Pieces, Request, Transport, Whole},
    seal::{Keeper, Key, RECORD_KEY, SealStatus, is_name},
    txn::{self, Commit, CommitError, Expect, Op, Stamped, Txn},
};
use bytes::Bytes;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::Duration,
};
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot, watch};

/// A replica of the store. Cheap to clone; the last clone's end does not close it, [`Store::close`] does.
#[derive(Clone)]
pub struct Store {
    hub: Arc<Hub>,
    index: Option<Index>,
    requests: mpsc::Sender<Request>,
    /// Room for the writes that wait: one permit for each started [`ROOM_UNIT`] bytes.
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
    leadership: watch::Receiver<Leadership>,
    engine: std::sync::Weak<dyn Engine>,
    keeper: Option<Arc<Keeper>>,
    timeout: Duration,
}

const ROOM_UNIT: usize = 1024;

/// Writes of this many bytes wait in memory at most; more wait with their callers.
const ROOM_BYTES: usize = 64 << 20;

/// The store is closed, or has no leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the store is closed, or has no leader")]
pub struct Unavailable;

/// What a peer sent is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{size} bytes from a peer are not a message of the store")]
pub struct NotAMessage {
    pub size: usize,
}

impl Store {
    /// Opens the store and waits until it takes writes, or, with peers, until it takes part.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the directory and what to do.
    pub async fn open(options: Options) -> Result<Store, OpenError> {
        Self::open_with(options, Box::new(Alone)).await
    }

    /// As [`Store::open`], for a replica that has peers.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_with(options: Options, transport: Box<dyn Transport>) -> Result<Store, OpenError> {
        let begin = move || {
            let engine: Arc<dyn Engine> = match &options.dir {
                Some(dir) => {
                    let engine = SledEngine::open(dir)?;
                    if let Some(identity) = &options.identity {
                        engine.claim(identity)?;
                    }
                    engine.set_reserve(options.reserve_bytes);
                    Arc::new(engine)
                }
                None => Arc::new(MemoryEngine::default()),
            };
            Self::start(engine, transport, options)
        };
        tokio::task::spawn_blocking(begin).await.expect("opening does not panic")
    }

    /// Opens the store over an engine; blocks while it is read.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn start(engine: Arc<dyn Engine>, transport: Box<dyn Transport>, options: Options) -> Result<Store, OpenError> {
        let dir = options.dir.clone().unwrap_or_else(|| PathBuf::from("(memory)"));
        let metrics = Arc::new(Metrics::default());
        let (requests, receiver) = mpsc::channel();
        let (leadership, led) = watch::channel(Leadership::default());
        let mut hub = None;
        let limits = WindowLimits {
            age: options.event_window,
            count: options.event_window_count,
            bytes: options.event_window_bytes,
        };
        let (timeout, index) = (options.timeout, options.index);
        let weak = Arc::downgrade(&engine);
        let keeper = options.sealing.clone().map(|sealing| Arc::new(Keeper::new(sealing, metrics.clone())));
        let parts = Parts {
            engine,
            transport,
            options,
            keeper: keeper.clone(),
            metrics: metrics.clone(),
            requests: receiver,
            to_self: requests.clone(),
            leadership,
        };
        let owner = Owner::start(parts, |view| hub.insert(Arc::new(Hub::new(Window::new(view, limits)))).clone())
            .map_err(|source| match source.kind() {
                std::io::ErrorKind::InvalidData => OpenError::Damaged { dir: dir.clone(), detail: source.to_string() },
                _ => OpenError::Io { dir: dir.clone(), source },
            })?;
        std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || owner.run())
            .map_err(|source| OpenError::Io { dir, source })?;
        let hub = hub.expect("a started owner has asked for its hub");
        let room = Arc::new(Semaphore::new(ROOM_BYTES / ROOM_UNIT));
        Ok(Store { hub, index, requests, room, metrics, leadership: led, engine: weak, keeper, timeout })
    }

    /// Carries a transaction out. When this returns it is durable, and [`Store::view`] shows it. On a full disk only what
    /// puts nothing is taken.
    ///
    /// # Errors
    /// [`CommitError::Conflict`] when an expectation does not hold; nothing has changed then. After
    /// [`CommitError::Unavailable`] it may have taken place, or take place later.
    pub async fn commit(&self, txn: Txn) -> Result<Commit, CommitError> {
        let small = !txn.ops.iter().any(|op| matches!(op, Op::Put { .. }));
        self.decide(txn, small).await
    }

    /// As [`Store::commit`], also when the disk is full: for the few bytes that say so.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn commit_small(&self, txn: Txn) -> Result<Commit, CommitError> {
        self.decide(txn, true).await
    }

    async fn decide(&self, txn: Txn, small: bool) -> Result<Commit, CommitError> {
        let size = txn.encoded_len();
        if size > txn::LIMIT {
            return Err(CommitError::TooLarge { size, limit: txn::LIMIT });
        }
        if let Some(op) = txn.stamped_outside() {
            return Err(CommitError::Unavailable(format!("operation {op} has its stamp outside its value")));
        }
        let closed = || CommitError::Unavailable(Unavailable.to_string());
        let permits = u32::try_from(size / ROOM_UNIT + 1).expect("within the limit");
        let decided = async {
            let _room = self.room.acquire_many(permits).await.map_err(|_| closed())?;
            loop {
                let mut encoded = Vec::with_capacity(size);
                match self.keeper.as_ref().and_then(|keeper| keeper.sealed(&txn)) {
                    Some(sealed) => sealed.encode(&mut encoded),
                    None => txn.encode(&mut encoded),
                }
                let (answer, answered) = oneshot::channel();
                self.requests.send(Request::Commit { txn: encoded, small, answer }).map_err(|_| closed())?;
                let outcome = answered.await.map_err(|_| closed())?;
                // Nothing has changed, and the new key is here.
                if !matches!(outcome, Err(CommitError::KeyChanged)) {
                    return outcome;
                }
            }
        };
        let timeout = self.timeout;
        let late =
            || CommitError::Unavailable(format!("no decision after {timeout:?}; the write may still take place"));
        tokio::time::timeout(timeout, decided).await.map_err(|_| late())?
    }

    /// Makes a new key that values are sealed with; gives `false` when it was to be the first one and there is one.
    ///
    /// # Errors
    /// As [`Store::commit`]; also when the store was opened without [`Options::sealing`].
    pub async fn change_key(&self, name: &str, first: bool) -> Result<bool, CommitError> {
        let keeper = self.keeper.as_ref().filter(|_| is_name(name));
        let keeper = keeper.ok_or_else(|| CommitError::Unavailable("no values are sealed here".to_owned()))?;
        let (_, record) = Key::make(name, keeper.root());
        let expect = if first { Expect::Absent } else { Expect::Any };
        let put = Op::Put { key: Bytes::from_static(RECORD_KEY), value: Stamped::plain(record), expect };
        match self.commit(Txn::one(put)).await {
            Ok(_) => Ok(true),
            Err(CommitError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// How values are sealed; `None` when the store was opened without [`Options::sealing`].
    pub fn seal_status(&self) -> Option<SealStatus> {
        let keeper = self.keeper.as_ref()?;
        let view = self.view();
        Some(SealStatus {
            key: keeper.current().map(|key| key.name().to_owned()),
            covered: keeper.covered().to_vec(),
            values: keeper.covered().iter().map(|prefix| view.count(prefix)).sum(),
            rewriting: keeper.is_rewriting(),
        })
    }

    /// A view as it may leave this process.
    pub fn pieces(&self, view: View) -> Pieces {
        let sealer = self.keeper.as_ref().and_then(|keeper| keeper.sealer(&view));
        Pieces::new(view).sealed_by(sealer)
    }

    /// The newest state here.
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
    /// [`Unavailable`] when the store is closed, or the leader cannot be asked.
    pub async fn barrier(&self) -> Result<View, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Barrier { answer }).map_err(|_| Unavailable)?;
        match tokio::time::timeout(self.timeout, answered).await {
            Ok(Ok(view)) => Ok(view),
            Ok(Err(_)) | Err(_) => Err(Unavailable),
        }
    }

    /// As [`Store::barrier`], and at once when no other replica takes part: then nothing is acknowledged elsewhere.
    ///
    /// # Errors
    /// As [`Store::barrier`].
    pub async fn fresh(&self) -> Result<View, Unavailable> {
        let Leadership { here, alone, .. } = *self.leadership.borrow();
        if here && alone { Ok(self.view()) } else { self.barrier().await }
    }

    /// Follows the keys under a prefix, from after a revision on.
    ///
    /// # Errors
    /// [`Compacted`] when events after the revision are gone.
    pub fn watch(&self, prefix: &[u8], after: u64) -> Result<Watcher, Compacted> {
        self.hub.watch(prefix, None, after)
    }

    /// Whether keys below a prefix can be read and watched by the terms of their values.
    pub fn has_index_of(&self, prefix: &[u8]) -> bool {
        self.index.is_some_and(|index| index.prefix == prefix)
    }

    /// As [`Store::watch`], of those keys only whose values say a term of the store's index, or said it before.
    ///
    /// # Errors
    /// As [`Store::watch`].
    pub fn watch_saying(&self, term: &str, prefix: &[u8], after: u64) -> Result<Watcher, Compacted> {
        self.hub.watch(prefix, Some(term), after)
    }

    pub fn revision(&self) -> u64 {
        self.hub.view().revision()
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// All metrics in Prometheus' text format, under etcd's names where etcd has them.
    pub fn metrics_text(&self) -> String {
        let Leadership { leader, here, .. } = *self.leadership.borrow();
        let (watchers, slow_watchers) = self.hub.watchers();
        let used_bytes = self.engine.upgrade().and_then(|engine| engine.used_bytes()).unwrap_or(0);
        let (has_leader, is_leader) = (leader.is_some(), here);
        self.metrics.text(Gauges {
            revision: self.revision(),
            used_bytes,
            watchers,
            slow_watchers,
            has_leader,
            is_leader,
        })
    }

    /// Who leads, now and from now on.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Whether writes are refused here because the disk has no room.
    pub fn is_full(&self) -> bool {
        self.metrics.disk_full.load(Relaxed)
    }

    /// Whether no other replica takes part.
    pub fn is_alone(&self) -> bool {
        self.leadership.borrow().alone
    }

    /// Changes who takes part; one change at a time.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn change_member(&self, change: MemberChange) -> Result<(), CommitError> {
        let closed = || CommitError::Unavailable(Unavailable.to_string());
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::ChangeMember { change, answer }).map_err(|_| closed())?;
        let late = || CommitError::Unavailable("no decision about the members; they may still change".to_owned());
        tokio::time::timeout(self.timeout, answered).await.map_err(|_| late())?.map_err(|_| closed())?
    }

    /// Takes a message that another replica's [`Transport`] was given for this one.
    ///
    /// # Errors
    /// [`NotAMessage`] when it is none. That this store is closed is no error: messages may be lost.
    pub fn deliver(&self, message: &[u8]) -> Result<(), NotAMessage> {
        let message = raft::decode_message(message).ok_or(NotAMessage { size: message.len() })?;
        drop(self.requests.send(Request::Message(Box::new(message), None)));
        Ok(())
    }

    /// As [`Store::deliver`], for a message that a keyspace came with.
    ///
    /// # Errors
    /// As [`Store::deliver`].
    pub fn deliver_with(&self, message: &[u8], keyspace: Whole) -> Result<(), NotAMessage> {
        let message = raft::decode_message(message).ok_or(NotAMessage { size: message.len() })?;
        drop(self.requests.send(Request::Message(Box::new(message), Some(keyspace))));
        Ok(())
    }

    /// Who takes part, as this replica knows it.
    ///
    /// # Errors
    /// [`Unavailable`] when the store is closed.
    pub async fn members(&self) -> Result<Vec<MemberStatus>, Unavailable> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request::Members { answer }).map_err(|_| Unavailable)?;
        answered.await.map_err(|_| Unavailable)
    }

    /// Hands the lead, if it is here, to a voter, or to the one that is nearest. That it went there shows in
    /// [`Store::leadership`].
    pub fn transfer_lead(&self, to: Option<u64>) {
        drop(self.requests.send(Request::Transfer { to }));
    }

    /// Says which of the others are witnesses, see [`Options::witness`].
    pub fn know_witnesses(&self, witnesses: BTreeSet<u64>) {
        drop(self.requests.send(Request::Witnesses(witnesses)));
    }

    /// A peer cannot be reached at the moment.
    pub fn unreachable(&self, peer: u64) {
        drop(self.requests.send(Request::Unreachable(peer)));
    }

    /// How it went with a message that held a snapshot.
    pub fn snapshot_sent(&self, to: u64, arrived: bool) {
        drop(self.requests.send(Request::SnapshotSent { to, arrived }));
    }

    /// Ends every watch and stops taking writes; what was acknowledged is on disk already. A leader that has peers
    /// hands the lead over first.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.requests.send(Request::Close { answer }).is_ok() {
            // The thread may have ended by itself.
            drop(answered.await);
        }
    }
}
