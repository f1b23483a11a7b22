//! One replica without a thread, a clock or a disk: it is told what happened, and says what is to be done.
//!
//! ```text
//! tick, receive, propose, read, written ... ─▶ raft ─▶ ready ─▶ effects() ─▶ messages, writes, what is shown, answers
//! ```
//!
//! Invariant: nothing is told to anyone, peers included, that says more than what is durable.
//! Invariant: the same inputs give the same effects: time, randomness and names come from outside.

use super::{
    checkpoint::Sizes,
    codec,
    effects::{Effects, Settled},
    log::{Applied, Log, Position, SharedLog},
    members::{Heard, Leadership},
    pending::{MemberAnswer, Pending, ReadAnswer},
    pieces::Whole,
    proposals::{Inbox, Outbox},
    ready::Held,
    witness::Witness,
};
use crate::{
    engine::{CheckpointMark, Engine, HardState, Loaded},
    metrics::Metrics,
    mvcc::{Index, Keyspace, View},
    options::Options,
    seal::Keeper,
    txn::CommitError,
};
use raft::{
    Config, RawNode, SnapshotStatus, StateRole,
    eraftpb::{Entry, Message, MessageType},
};
use std::{
    collections::{BTreeSet, VecDeque},
    io,
    sync::Arc,
};

/// Ticks without a word from the leader before another one is chosen: this many to twice as many.
pub(crate) const ELECTION_TICKS: usize = 6;

/// What a replica is started with.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) node_id: u64,
    /// See [`Options::founders`].
    pub(crate) founders: Option<Vec<u64>>,
    /// Tells this life of the replica from its others, and makes its moments differ from other replicas'.
    pub(crate) life: u64,
    /// How many bytes of log are kept behind a checkpoint for replicas that are late.
    pub(crate) keep_bytes: u64,
    /// See [`Options::witness`].
    pub(crate) witness: bool,
    /// See [`Options::index`].
    pub(crate) index: Option<Index>,
}

impl Settings {
    pub(crate) fn new(options: &Options, life: u64) -> Self {
        let Options { node_id, founders, keep_bytes, witness, index, .. } = options.clone();
        Self { node_id, founders, life, keep_bytes, witness, index }
    }
}

/// See the module.
pub(crate) struct Replica {
    pub(super) raw: RawNode<SharedLog>,
    pub(super) log: SharedLog,
    pub(super) keyspace: Keyspace,
    pub(super) keeper: Option<Arc<Keeper>>,
    pub(super) index: Option<Index>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) settings: Settings,
    pub(super) pending: Pending,
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    pub(super) effects: Effects,
    /// What raft wanted done and is not durable yet, in order.
    pub(super) held: VecDeque<Held>,
    /// The number of the last write asked for, and of the last one that is durable.
    pub(super) last_write: u64,
    pub(super) durable_write: u64,
    /// The term that is durable.
    pub(super) durable_term: u64,
    /// Entries that are committed and not applied yet.
    pub(super) committed: VecDeque<Entry>,
    /// The write that makes the commit index durable, and that index: see `apply`.
    pub(super) commit_write: Option<(u64, u64)>,
    /// The write of another replica's state, and the place in the log that it reaches.
    pub(super) installing: Option<(u64, u64)>,
    /// How far the log is known to be committed by whoever reads the disk.
    pub(super) durable_commit: u64,
    /// What came with a snapshot's message, for the moment until raft takes it.
    pub(super) arrived: Option<Whole>,
    /// The leader and its term, as seen last.
    pub(super) led: (u64, u64),
    pub(super) heard: Heard,
    /// Ticks since a write became durable, while one is asked for.
    pub(super) stalled_ticks: usize,
    pub(super) sizes: Sizes,
    /// There when this one is a witness.
    pub(super) witness: Option<Witness>,
    pub(super) witnesses: BTreeSet<u64>,
    /// Where the logs of witnesses begin at most, as far as this replica led.
    pub(super) witness_from: u64,
}

impl Replica {
    /// Reads the engine back. Beginning a cluster is written at once; everything else is an effect.
    pub(crate) fn start(
        engine: Arc<dyn Engine>,
        settings: Settings,
        keeper: Option<Arc<Keeper>>,
        metrics: Arc<Metrics>,
    ) -> io::Result<Self> {
        let Loaded { hard_state, mark, log, entries } = found_or_new(&*engine, &settings)?;
        let keyspace = Keyspace::restored(keeper.clone(), settings.index, mark.revision, entries)?;
        let at = Position { index: mark.index, term: mark.term };
        let last = log.last().map_or(at.index, |entry| entry.index);
        if hard_state.commit > last {
            let detail = format!("the log ends at entry {last}, and {} were committed", hard_state.commit);
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        let applied = Applied { at, members: codec::members(&mark), view: keyspace.view() };
        let log = Log::shared(engine, hard_state, log, applied, settings.witness);
        let config = Config {
            id: settings.node_id,
            applied: at.index,
            election_tick: ELECTION_TICKS,
            max_election_tick: Self::election_ticks_max(settings.witness),
            heartbeat_tick: 1,
            pre_vote: true,
            check_quorum: true,
            max_size_per_msg: 1 << 20,
            // With the size above this is what a slow follower can hold up in memory.
            max_inflight_msgs: 32,
            max_uncommitted_size: 256 << 20,
            max_committed_size_per_ready: 16 << 20,
            ..Config::default()
        };
        let config = if settings.witness { small(config) } else { config };
        let witness = settings.witness.then(|| Witness::new(settings.keep_bytes));
        let logger = slog::Logger::root(slog::Discard, slog::o!());
        let raw = RawNode::new(&config, log.clone(), &logger).map_err(io::Error::other)?;
        Ok(Self {
            pending: Pending::new(settings.node_id, settings.life),
            durable_term: hard_state.term,
            durable_commit: hard_state.commit.max(at.index),
            raw,
            log,
            keyspace,
            keeper,
            index: settings.index,
            metrics,
            settings,
            outbox: Outbox::default(),
            inbox: Inbox::default(),
            effects: Effects::default(),
            held: VecDeque::new(),
            last_write: 0,
            durable_write: 0,
            committed: VecDeque::new(),
            commit_write: None,
            installing: None,
            arrived: None,
            led: (raft::INVALID_ID, 0),
            heard: Heard::default(),
            stalled_ticks: 0,
            sizes: Sizes::default(),
            witness,
            witnesses: BTreeSet::new(),
            witness_from: 0,
        })
    }

    /// Lets raft do what it can do without being told anything: after a start, apply what is known to be committed.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.settle()
    }

    /// What is to be done now.
    pub(crate) fn effects(&mut self) -> Effects {
        std::mem::take(&mut self.effects)
    }

    /// Raft's clock.
    pub(crate) fn tick(&mut self) -> io::Result<()> {
        self.heard.tick();
        self.stalled_ticks = if self.is_writing() { self.stalled_ticks + 1 } else { 0 };
        // Alone it would lead at once, which raft allows only when everything before is durable.
        let waits = self.is_alone() && self.is_writing() && !self.leads();
        if !waits && self.installing.is_none() {
            self.raw.tick();
        }
        self.pending.forget_the_gone();
        self.outbox.forget_the_gone();
        self.ask_again();
        self.look_after_members();
        self.settle()
    }

    /// Elects itself when there is nobody else, without waiting for a leader who never comes.
    pub(crate) fn lead_if_alone(&mut self) -> io::Result<()> {
        if self.is_alone() && !self.is_witness() && !self.is_writing() && !self.leads() {
            self.raw.campaign().map_err(io::Error::other)?;
        }
        self.settle()
    }

    /// Takes a message from a peer, with the keyspace if one came with it.
    pub(crate) fn receive(&mut self, mut message: Message, keyspace: Option<Whole>) -> io::Result<()> {
        if message.to != self.settings.node_id {
            return Ok(());
        }
        self.heard.of(message.from);
        if message.msg_type() == MessageType::MsgHeartbeat {
            self.hear_everyone_has(std::mem::take(&mut message.index));
        }
        let leads_instead = self.must_lead_instead(&message);
        match message.msg_type() {
            MessageType::MsgPropose => {
                // A witness passes the lead on before anything is written.
                let takes = self.leads() && !self.is_witness();
                if takes && self.inbox.is_new(&message, self.raw.raft.term) {
                    // Raft refuses it while it hands the lead over; whoever asked hears of that.
                    drop(self.raw.step(message));
                }
            }
            MessageType::MsgSnapshot => {
                if keyspace.is_some() {
                    self.arrived = keyspace;
                    drop(self.raw.step(message));
                }
            }
            // It cannot lead before it has what it was given.
            MessageType::MsgTimeoutNow if self.installing.is_some() || self.is_witness() => {}
            MessageType::MsgHeartbeat if self.has_forgotten(&message) => {
                let detail = "this server confirmed entries of the log which its disk does not have any more";
                return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
            }
            // Raft refuses what comes from those it does not know; that is no error of ours.
            _ => drop(self.raw.step(message)),
        }
        if leads_instead {
            self.lead_instead()?;
        }
        self.settle()
    }

    /// A leader says how much of what we confirmed is committed: that we must have.
    fn has_forgotten(&self, heartbeat: &Message) -> bool {
        heartbeat.term >= self.raw.raft.term && heartbeat.commit > self.raw.raft.raft_log.last_index()
    }

    /// Asks for a state that includes every write acknowledged before.
    pub(crate) fn read(&mut self, answers: Vec<ReadAnswer>) -> io::Result<()> {
        let context = self.pending.read(answers);
        self.raw.read_index(context);
        self.settle()
    }

    /// Raft forgets reads that it was asked at a bad moment.
    pub(super) fn ask_again(&mut self) {
        for context in self.pending.unconfirmed_reads() {
            self.raw.read_index(context);
        }
    }

    /// A write, and all before it, are durable.
    pub(crate) fn written(&mut self, number: u64) -> io::Result<()> {
        self.durable_write = self.durable_write.max(number);
        self.stalled_ticks = 0;
        self.release();
        self.settle()
    }

    /// A peer cannot be reached at the moment.
    pub(crate) fn unreachable(&mut self, peer: u64) -> io::Result<()> {
        self.raw.report_unreachable(peer);
        if self.raw.raft.leader_id == peer {
            // What was on its way there may be lost, and nothing would ever say so.
            self.fail_pending("the leader cannot be reached; the write may have taken place, or may still");
        }
        self.settle()
    }

    /// How it went with a message that held a snapshot.
    pub(crate) fn snapshot_sent(&mut self, to: u64, arrived: bool) -> io::Result<()> {
        let status = if arrived { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
        self.raw.report_snapshot(to, status);
        self.settle()
    }

    pub(crate) fn change_member(&mut self, change: super::MemberChange, answer: MemberAnswer) -> io::Result<()> {
        self.propose_member(change, answer);
        self.settle()
    }

    pub(super) fn fail_pending(&mut self, why: &str) {
        let error = CommitError::Unavailable(why.to_owned());
        let failed = self.pending.fail(&error);
        self.effects.answers.extend(failed);
    }

    /// Answers everyone who wants something written: this replica ends.
    pub(crate) fn fail_all(&mut self, error: &CommitError) -> Vec<Settled> {
        let mut failed = self.pending.fail(error);
        failed.extend(self.outbox.drain().map(|answer| Settled::Commit(answer, Err(error.clone()))));
        failed
    }

    pub(crate) fn leads(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Whether there is nobody to send anything to.
    pub(crate) fn is_alone(&self) -> bool {
        let voters = self.raw.raft.prs().conf().voters().ids();
        voters.len() == 1 && voters.contains(self.settings.node_id)
    }

    pub(crate) fn has_peers(&self) -> bool {
        self.raw.raft.prs().iter().any(|(id, _)| *id != self.settings.node_id)
    }

    /// Whether a write was asked for that is not durable.
    pub(crate) fn is_writing(&self) -> bool {
        self.durable_write < self.last_write
    }

    pub(crate) fn leadership(&self) -> Leadership {
        let leader = Some(self.raw.raft.leader_id).filter(|id| *id != raft::INVALID_ID);
        // A witness that leads only passes the lead on.
        Leadership {
            leader,
            here: self.leads() && !self.is_witness(),
            term: self.raw.raft.term,
            alone: !self.has_peers(),
        }
    }

    pub(crate) fn view(&self) -> View {
        self.keyspace.view()
    }

    /// Makes the moments of elections a matter of this replica and its life, not of chance.
    pub(super) fn settle_election(&mut self) {
        let role = self.raw.raft.state as u64;
        let mut mixed = self.settings.life ^ self.settings.node_id.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        for part in [self.raw.raft.term, role] {
            mixed = (mixed ^ part).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            mixed ^= mixed >> 29;
        }
        let jitter = usize::try_from(mixed % ELECTION_TICKS as u64).expect("small");
        self.raw.raft.set_randomized_election_timeout(self.election_ticks() + jitter);
    }
}

/// Raft's settings for a replica that is to be small.
fn small(config: Config) -> Config {
    Config {
        max_size_per_msg: super::witness::MESSAGE_BYTES,
        max_inflight_msgs: super::witness::ON_THEIR_WAY,
        max_committed_size_per_ready: 1 << 20,
        ..config
    }
}

/// What the engine holds; where it holds nothing, the beginning that every founder writes.
///
/// It is a checkpoint of nothing at index 1, so that whoever joins later begins with a snapshot: the founders' names are
/// nowhere in the log.
fn found_or_new(engine: &dyn Engine, settings: &Settings) -> io::Result<Loaded> {
    let loaded = if settings.witness { engine.load_end()? } else { engine.load()? };
    let founders = settings.founders.clone().unwrap_or_else(|| vec![settings.node_id]);
    if loaded.mark.index > 0 || founders.is_empty() || loaded.hard_state != HardState::default() {
        return Ok(loaded);
    }
    let mark = CheckpointMark { index: 1, term: 1, revision: 0, voters: founders, learners: Vec::new() };
    let hard_state = HardState { term: 1, vote: 0, commit: 1 };
    engine.install(&[], &mark, hard_state)?;
    Ok(Loaded { hard_state, mark, ..Loaded::default() })
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("id", &self.settings.node_id).finish_non_exhaustive()
    }
}
