//! The thread that owns raft: it batches what is asked, makes each batch durable with one fsync, applies it, and answers.
//!
//! ```text
//! requests ─▶ gather (everything that waits) ─▶ propose (one entry) ─▶ ready: append, fsync ─▶ apply ─▶ publish ─▶ answer
//!                                                                                │
//!                                                 enough log ─▶ checkpoint (own thread) ─▶ cut the log
//! ```

use super::log::{Log, SharedLog};
use crate::{
    engine::{Changes, CheckpointMark, Engine},
    hub::Hub,
    metrics::Metrics,
    mvcc::{Keyspace, View},
    options::Options,
    txn::{Commit, CommitError, Reader, Txn},
};
use raft::{
    Config, RawNode,
    eraftpb::{Entry, EntryType},
};
use std::{
    collections::HashMap,
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};
use tokio::sync::oneshot;

/// What the thread is asked.
pub(crate) enum Request {
    Commit { txn: Txn, answer: oneshot::Sender<Result<Commit, CommitError>> },
    /// The newest view that includes every write acknowledged before the question.
    Barrier { answer: oneshot::Sender<View> },
    /// A checkpoint ended.
    Checkpointed(io::Result<CheckpointMark>),
    Close { answer: oneshot::Sender<()> },
}

/// A record of the log holds at most about this much: sled writes larger values to files of their own.
const BATCH_BYTES: usize = 192 << 10;

const TICK: Duration = Duration::from_millis(100);

/// How often the room on the disk is looked at.
const ROOM_EVERY: Duration = Duration::from_millis(500);

type Answer = oneshot::Sender<Result<Commit, CommitError>>;

/// See the module.
pub(crate) struct Node {
    raw: RawNode<SharedLog>,
    log: SharedLog,
    engine: Arc<dyn Engine>,
    keyspace: Keyspace,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    options: Options,
    requests: Receiver<Request>,
    to_self: Sender<Request>,
    /// Who waits for which proposed batch.
    waiting: HashMap<u64, Vec<Answer>>,
    next_batch: u64,
    applied: (u64, u64),
    bytes_since_checkpoint: u64,
    checkpointing: Option<std::thread::JoinHandle<()>>,
    room_checked: Option<Instant>,
    full: bool,
    /// Why writes are refused for good: the disk failed.
    broken: Option<String>,
}

impl Node {
    /// Reads the engine back and elects the only voter.
    pub(crate) fn start(
        engine: Arc<dyn Engine>,
        options: Options,
        metrics: Arc<Metrics>,
        (to_self, requests): (Sender<Request>, Receiver<Request>),
        hub: impl FnOnce(View) -> Arc<Hub>,
    ) -> io::Result<Self> {
        let mut loaded = engine.load()?;
        if loaded.mark.voters.is_empty() {
            loaded.mark.voters = vec![options.node_id];
        }
        let (index, term) = (loaded.mark.index, loaded.mark.term);
        let keyspace = Keyspace::restored(loaded.mark.revision, loaded.entries);
        let log = Log::new(engine.clone(), loaded.hard_state, loaded.mark, loaded.log);
        let config = Config {
            id: options.node_id,
            applied: index,
            election_tick: 10,
            heartbeat_tick: 3,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: 1 << 20,
            max_inflight_msgs: 256,
            ..Config::default()
        };
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log.clone(), &logger).map_err(io::Error::other)?;
        let hub = hub(keyspace.view());
        let mut node = Self {
            raw,
            log,
            engine,
            keyspace,
            hub,
            metrics,
            options,
            requests,
            to_self,
            waiting: HashMap::new(),
            next_batch: 0,
            applied: (index, term),
            bytes_since_checkpoint: 0,
            checkpointing: None,
            room_checked: None,
            full: false,
            broken: None,
        };
        node.raw.campaign().map_err(io::Error::other)?;
        node.process_ready()?;
        Ok(node)
    }

    pub(crate) fn run(mut self) {
        let mut next_tick = Instant::now() + TICK;
        loop {
            let first = match self.requests.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if Instant::now() >= next_tick {
                self.raw.tick();
                next_tick = Instant::now() + TICK;
            }
            let Some(first) = first else { continue };
            if let Some(done) = self.turn(first) {
                self.hub.close();
                if let Some(checkpoint) = self.checkpointing.take() {
                    checkpoint.join().expect("a checkpoint does not panic");
                }
                // The directory is free for the next one to open before the closer hears of it.
                drop(self);
                // The closer may have stopped waiting.
                done.send(()).unwrap_or(());
                return;
            }
        }
    }

    /// One turn: everything that waits, made durable together. Returns the closer's answer when it is time to go.
    fn turn(&mut self, first: Request) -> Option<oneshot::Sender<()>> {
        let mut batch = Batch::default();
        let mut barriers = Vec::new();
        let mut close = None;
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Commit { txn, answer } => match self.refusal() {
                    None => batch.add(&txn, answer),
                    Some(error) => drop(answer.send(Err(error))),
                },
                Request::Barrier { answer } => barriers.push(answer),
                Request::Checkpointed(outcome) => self.checkpointed(outcome),
                Request::Close { answer } => close = Some(answer),
            }
            next = if close.is_some() || batch.data.len() >= BATCH_BYTES { None } else { self.requests.try_recv().ok() };
        }
        if !batch.answers.is_empty() {
            self.propose(batch);
        }
        if self.broken.is_none()
            && self.raw.has_ready()
            && let Err(error) = self.process_ready()
        {
            self.break_down(&error);
        }
        // With one voter, everything acknowledged is applied by now, and no one else can lead.
        for barrier in barriers {
            drop(barrier.send(self.hub.view()));
        }
        self.checkpoint_if_due();
        close
    }

    fn refusal(&mut self) -> Option<CommitError> {
        if let Some(why) = &self.broken {
            return Some(CommitError::Unavailable(why.clone()));
        }
        if self.room_checked.is_none_or(|at| at.elapsed() >= ROOM_EVERY) {
            self.room_checked = Some(Instant::now());
            let full = self.engine.free_bytes().is_some_and(|free| free < self.options.reserve_bytes);
            if full != self.full {
                tracing::warn!(full, "the disk under the store");
            }
            self.full = full;
        }
        self.full.then_some(CommitError::Full { reserve: self.options.reserve_bytes })
    }

    fn propose(&mut self, batch: Batch) {
        let id = self.next_batch;
        self.next_batch += 1;
        self.bytes_since_checkpoint += batch.data.len() as u64;
        Metrics::add(&self.metrics.log_bytes, batch.data.len() as u64);
        match self.raw.propose(id.to_be_bytes().to_vec(), batch.data) {
            Ok(()) => drop(self.waiting.insert(id, batch.answers)),
            Err(error) => {
                for answer in batch.answers {
                    drop(answer.send(Err(CommitError::Unavailable(error.to_string()))));
                }
            }
        }
    }

    fn process_ready(&mut self) -> io::Result<()> {
        while self.raw.has_ready() {
            let mut ready = self.raw.ready();
            self.apply(ready.take_committed_entries());
            let entries = ready.take_entries();
            if !entries.is_empty() || ready.hs().is_some() {
                let begun = Instant::now();
                self.log.append(entries, ready.hs())?;
                Metrics::add(&self.metrics.syncs, 1);
                let micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
                Metrics::add(&self.metrics.sync_micros, micros);
            }
            let mut light = self.raw.advance(ready);
            if let Some(commit) = light.commit_index() {
                self.log.set_commit(commit);
            }
            self.apply(light.take_committed_entries());
            self.raw.advance_apply();
        }
        Ok(())
    }

    fn apply(&mut self, entries: Vec<Entry>) {
        let mut outcomes = Vec::new();
        let mut events = Vec::new();
        for entry in entries {
            self.applied = (entry.index, entry.term);
            // An empty entry opens a leader's term.
            if entry.data.is_empty() || entry.entry_type != EntryType::EntryNormal as i32 {
                continue;
            }
            let batch = <[u8; 8]>::try_from(entry.context.as_slice()).map(u64::from_be_bytes).ok();
            // Entries from before a restart have the numbers of another life, and nobody waits for them.
            let mut answers = batch.and_then(|id| self.waiting.remove(&id)).unwrap_or_default().into_iter();
            let mut reader = Reader(&entry.data);
            while !reader.0.is_empty() {
                let txn = Txn::decode(&mut reader).expect("the log holds what was encoded here");
                let applied = self.keyspace.apply(&txn);
                let counter = if applied.outcome.is_ok() { &self.metrics.commits } else { &self.metrics.conflicts };
                Metrics::add(counter, 1);
                events.extend(applied.events);
                if let Some(answer) = answers.next() {
                    outcomes.push((answer, applied.outcome));
                }
            }
        }
        self.log.applied(self.applied.0);
        if !events.is_empty() {
            self.hub.publish(self.keyspace.view(), &events);
        }
        for (answer, outcome) in outcomes {
            // The caller may have gone; the write stands.
            drop(answer.send(outcome));
        }
    }

    fn checkpoint_if_due(&mut self) {
        if self.checkpointing.is_some() || self.broken.is_some() || self.bytes_since_checkpoint < self.options.checkpoint_bytes {
            return;
        }
        self.bytes_since_checkpoint = 0;
        let view = self.keyspace.view();
        let changes: Changes =
            self.keyspace.take_dirty().into_iter().map(|key| (key.clone(), view.get(&key).cloned())).collect();
        let (index, term) = self.applied;
        let mark = CheckpointMark { index, term, revision: view.revision(), voters: vec![self.options.node_id] };
        let (engine, to_self) = (self.engine.clone(), self.to_self.clone());
        self.checkpointing = Some(std::thread::spawn(move || {
            let outcome = engine.checkpoint(changes, &mark).map(|()| mark);
            // The node is gone when the store was closed meanwhile; the checkpoint is whole or absent either way.
            drop(to_self.send(Request::Checkpointed(outcome)));
        }));
    }

    fn checkpointed(&mut self, outcome: io::Result<CheckpointMark>) {
        self.checkpointing = None;
        match outcome.and_then(|mark| self.log.cut(mark)) {
            Ok(()) => Metrics::add(&self.metrics.checkpoints, 1),
            Err(error) => self.break_down(&error),
        }
    }

    fn break_down(&mut self, error: &io::Error) {
        tracing::error!(%error, "the store's disk failed; no write is taken until mk8s is started again");
        let why = format!("its disk failed ({error}); look at the disk, then start mk8s again");
        for answer in std::mem::take(&mut self.waiting).into_values().flatten() {
            drop(answer.send(Err(CommitError::Unavailable(why.clone()))));
        }
        self.broken = Some(why);
    }
}

/// Transactions that share a log entry.
#[derive(Default)]
struct Batch {
    data: Vec<u8>,
    answers: Vec<Answer>,
}

impl Batch {
    fn add(&mut self, txn: &Txn, answer: Answer) {
        txn.encode(&mut self.data);
        self.answers.push(answer);
    }
}
