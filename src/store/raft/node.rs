//! The thread that owns raft: it batches what is asked, and does what raft says.
//!
//! ```text
//! requests ─▶ gather (everything that waits) ─▶ propose (one entry) ─▶ ready: append, fsync ─▶ apply ─▶ publish ─▶ answer
//!     ▲
//!     └ peers' messages, ticks, what ended in the background
//! ```

use super::{
    checkpoint::{Background, Done},
    codec,
    log::{Applied, Log, Position, SharedLog},
    pending::{Answer, MemberAnswer, Pending, ReadAnswer},
    transport::Transport,
};
use crate::{
    engine::{CheckpointMark, Engine, HardState, Loaded},
    hub::Hub,
    metrics::Metrics,
    mvcc::{Keyspace, View},
    options::Options,
    txn::CommitError,
};
use raft::{
    Config, RawNode, SnapshotStatus,
    eraftpb::{ConfChange, ConfChangeType, ConfState, Message},
};
use std::{
    io,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    time::{Duration, Instant},
};
use tokio::sync::{oneshot, watch};

/// What the thread is asked.
pub(crate) enum Request {
    /// An encoded transaction.
    Commit {
        txn: Vec<u8>,
        answer: Answer,
    },
    /// A view that includes every write acknowledged before the question.
    Barrier {
        answer: ReadAnswer,
    },
    ChangeMember {
        change: MemberChange,
        answer: MemberAnswer,
    },
    /// From a peer.
    Message(Box<Message>),
    Unreachable(u64),
    SnapshotSent {
        to: u64,
        arrived: bool,
    },
    BackgroundDone(u64, io::Result<Done>),
    Close {
        answer: oneshot::Sender<()>,
    },
}

/// A change of who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberChange {
    AddVoter(u64),
    /// Gets the log, and has no vote.
    AddLearner(u64),
    Remove(u64),
}

/// Who leads, as this replica knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The leader's id, if there is one.
    pub leader: Option<u64>,
    /// Whether that is this replica.
    pub here: bool,
}

/// What a node is made of.
pub(crate) struct Parts {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) options: Options,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) requests: Receiver<Request>,
    pub(crate) to_self: Sender<Request>,
    pub(crate) leadership: watch::Sender<Leadership>,
}

/// A batch takes no more transactions when it has this many bytes, so that none waits long for the others' fsync.
const BATCH_BYTES: usize = 256 << 10;

/// How often the room on the disk is looked at: after so long, or after so many bytes of log.
const ROOM_EVERY: Duration = Duration::from_millis(500);
const ROOM_EVERY_BYTES: u64 = 1 << 20;

/// See the module.
pub(crate) struct Node {
    pub(super) raw: RawNode<SharedLog>,
    pub(super) log: SharedLog,
    pub(super) engine: Arc<dyn Engine>,
    pub(super) transport: Box<dyn Transport>,
    pub(super) keyspace: Keyspace,
    pub(super) hub: Arc<Hub>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) options: Options,
    pub(super) requests: Receiver<Request>,
    pub(super) to_self: Sender<Request>,
    pub(super) leadership: watch::Sender<Leadership>,
    pub(super) pending: Pending,
    pub(super) bytes_since_checkpoint: u64,
    pub(super) background: Option<Background>,
    pub(super) next_background: u64,
    /// When the room on the disk was looked at last, and how much log had been written by then.
    room_checked: Option<(Instant, u64)>,
    full: bool,
    /// Why writes are refused for good: the disk failed.
    pub(super) broken: Option<CommitError>,
}

impl Node {
    /// Reads the engine back, applies what is known to be committed, and elects itself if it is alone.
    pub(crate) fn start(parts: Parts, hub: impl FnOnce(View) -> Arc<Hub>) -> io::Result<Self> {
        let Parts { engine, transport, options, metrics, requests, to_self, leadership } = parts;
        let Loaded { hard_state, mark, log, entries } = found_or_new(&*engine, &options)?;
        let keyspace = Keyspace::restored(mark.revision, entries);
        let at = Position { index: mark.index, term: mark.term };
        let bytes_since_checkpoint = log.iter().map(|entry| entry.data.len() as u64).sum();
        let last = log.last().map_or(at.index, |entry| entry.index);
        if hard_state.commit > last {
            let detail = format!("the log ends at entry {last}, and {} were committed", hard_state.commit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        let applied = Applied { at, members: codec::members(&mark), view: keyspace.view() };
        let log = Log::shared(engine.clone(), hard_state, log, applied);
        let config = Config {
            id: options.node_id,
            applied: at.index,
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
        let pending = Pending::new(options.node_id);
        let mut node = Self {
            raw,
            log,
            engine,
            transport,
            hub: hub(keyspace.view()),
            keyspace,
            metrics,
            options,
            requests,
            to_self,
            leadership,
            pending,
            bytes_since_checkpoint,
            background: None,
            next_background: 0,
            room_checked: None,
            full: false,
            broken: None,
        };
        node.process_ready()?;
        if node.log.applied().members.voters == [node.options.node_id] {
            node.raw.campaign().map_err(io::Error::other)?;
            node.process_ready()?;
        }
        Ok(node)
    }

    pub(crate) fn run(mut self) {
        let mut next_tick = Instant::now() + self.options.tick;
        loop {
            let first = match self.requests.recv_timeout(next_tick.saturating_duration_since(Instant::now())) {
                Ok(request) => Some(request),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            if Instant::now() >= next_tick {
                self.tick();
                next_tick = Instant::now() + self.options.tick;
            }
            if let Some(done) = self.turn(first) {
                self.hub.close();
                self.finish_background();
                // The directory is free for the next one to open before the closer hears of it.
                drop(self);
                // The closer may have stopped waiting.
                done.send(()).unwrap_or(());
                return;
            }
        }
    }

    fn tick(&mut self) {
        self.raw.tick();
        self.pending.forget_the_gone();
        for context in self.pending.unconfirmed_reads() {
            self.raw.read_index(context);
        }
    }

    /// One turn: everything that waits, made durable together. Returns the closer's answer when it is time to go.
    fn turn(&mut self, first: Option<Request>) -> Option<oneshot::Sender<()>> {
        let mut batch = Batch::default();
        let mut reads = Vec::new();
        let mut close = None;
        let mut next = first;
        while let Some(request) = next {
            match request {
                Request::Commit { txn, answer } => match self.refusal() {
                    None => batch.add(txn, answer),
                    Some(error) => drop(answer.send(Err(error))),
                },
                Request::Barrier { answer } => reads.push(answer),
                Request::ChangeMember { change, answer } => self.propose_member(change, answer),
                // Raft refuses what comes from those it does not know; that is no error of ours.
                Request::Message(message) => drop(self.raw.step(*message)),
                Request::Unreachable(peer) => self.raw.report_unreachable(peer),
                Request::SnapshotSent { to, arrived } => {
                    let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                    self.raw.report_snapshot(to, status);
                }
                Request::BackgroundDone(number, outcome) => self.background_done(number, outcome),
                Request::Close { answer } => close = Some(answer),
            }
            next =
                if close.is_some() || batch.data.len() >= BATCH_BYTES { None } else { self.requests.try_recv().ok() };
        }
        if !batch.answers.is_empty() {
            self.propose(batch);
        }
        // With a broken disk they are dropped here, which tells who asked.
        if !reads.is_empty() && self.broken.is_none() {
            let context = self.pending.read(reads);
            self.raw.read_index(context);
        }
        if self.broken.is_none()
            && let Err(error) = self.process_ready()
        {
            self.break_down(&error);
        }
        self.checkpoint_if_due();
        close
    }

    fn refusal(&mut self) -> Option<CommitError> {
        if self.broken.is_some() {
            return self.broken.clone();
        }
        let written = self.metrics.log_bytes.load(Relaxed);
        let known = |(at, then): (Instant, u64)| at.elapsed() < ROOM_EVERY && written - then < ROOM_EVERY_BYTES;
        if !self.room_checked.is_some_and(known) {
            self.room_checked = Some((Instant::now(), written));
            let full = self.engine.free_bytes().is_some_and(|free| free < self.options.reserve_bytes);
            if full != self.full {
                tracing::warn!(full, "the disk under the store");
            }
            self.full = full;
        }
        self.full.then_some(CommitError::Full { reserve: self.options.reserve_bytes })
    }

    fn propose(&mut self, batch: Batch) {
        Metrics::add(&self.metrics.batches, 1);
        Metrics::add(&self.metrics.log_bytes, batch.data.len() as u64);
        let context = self.pending.proposal(batch.answers);
        if let Err(error) = self.raw.propose(context.clone(), batch.data) {
            let error = CommitError::Unavailable(no_proposal(&error));
            for answer in self.pending.proposed(&context) {
                drop(answer.send(Err(error.clone())));
            }
        }
        self.metrics.pending.store(self.pending.len() as u64, Relaxed);
    }

    fn propose_member(&mut self, change: MemberChange, answer: MemberAnswer) {
        let (kind, node_id) = match change {
            MemberChange::AddVoter(id) => (ConfChangeType::AddNode, id),
            MemberChange::AddLearner(id) => (ConfChangeType::AddLearnerNode, id),
            MemberChange::Remove(id) => (ConfChangeType::RemoveNode, id),
        };
        let context = self.pending.member_change(answer);
        let change = ConfChange { change_type: kind.into(), node_id, ..ConfChange::default() };
        if let Err(error) = self.raw.propose_conf_change(context.clone(), change)
            && let Some(answer) = self.pending.member_changed(&context)
        {
            drop(answer.send(Err(CommitError::Unavailable(no_proposal(&error)))));
        }
    }

    pub(super) fn break_down(&mut self, error: &io::Error) {
        tracing::error!(%error, "the store's disk failed; no write is taken until mk8s is started again");
        let why = format!("its disk failed ({error}); look at the disk, then start mk8s again");
        let error = CommitError::Unavailable(why);
        self.pending.fail(&error);
        self.broken = Some(error);
        self.leadership.send_replace(Leadership::default());
    }
}

impl Drop for Node {
    /// Whatever ends this thread, those who watch hear of it.
    fn drop(&mut self) {
        self.leadership.send_replace(Leadership::default());
        self.hub.close();
    }
}

fn no_proposal(error: &raft::Error) -> String {
    match error {
        raft::Error::ProposalDropped => {
            "there is no leader at the moment, or it is changing its members; try again".to_owned()
        }
        other => other.to_string(),
    }
}

/// What the engine holds; where it holds nothing, the beginning that every founder writes.
///
/// It is a checkpoint of nothing at index 1, so that whoever joins later begins with a snapshot: the founders' names are
/// nowhere in the log.
fn found_or_new(engine: &dyn Engine, options: &Options) -> io::Result<Loaded> {
    let loaded = engine.load()?;
    let founders = options.founders.clone().unwrap_or_else(|| vec![options.node_id]);
    if loaded.mark.index > 0 || founders.is_empty() || loaded.hard_state != HardState::default() {
        return Ok(loaded);
    }
    let mark = CheckpointMark { index: 1, term: 1, revision: 0, voters: founders, learners: Vec::new() };
    let hard_state = HardState { term: 1, vote: 0, commit: 1 };
    engine.install(&[], &mark, hard_state)?;
    Ok(Loaded { hard_state, mark, ..Loaded::default() })
}

/// Transactions that share a log entry.
#[derive(Default)]
struct Batch {
    data: Vec<u8>,
    answers: Vec<Answer>,
}

impl Batch {
    fn add(&mut self, txn: Vec<u8>, answer: Answer) {
        if self.data.is_empty() {
            self.data = txn;
        } else {
            self.data.extend_from_slice(&txn);
        }
        self.answers.push(answer);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("id", &self.options.node_id).finish_non_exhaustive()
    }
}

/// For logs.
pub(super) fn names(members: &ConfState) -> String {
    format!("voters {:?}, learners {:?}", members.voters, members.learners)
}
