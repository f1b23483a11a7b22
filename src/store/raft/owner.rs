//! The thread that owns a replica: it gives it time, requests, a disk and a network.
//!
//! ```text
//! requests ─▶ gather (everything that waits) ─▶ replica ─▶ messages ─▶ writes ─▶ publish ─▶ answer
//!     ▲                                                               │
//!     └ peers' messages, ticks, what ended beside this thread ◀───────┘
//! ```
//!
//! Alone, it writes itself: one fsync serves what was gathered. With peers a thread writes, see `disk`.

use super::{
    CheckpointDone, Effects, Leadership, MemberChange, MemberStatus, Outgoing, PeerMessage, Replica, Settings, Show,
    Transport, Whole, Write,
    checkpoint::of_log,
    codec,
    disk::Disk,
    pending::{Answer, MemberAnswer, ReadAnswer},
};
use crate::{engine::Engine, hub::Hub, metrics::Metrics, mvcc::View, options::Options, seal::Keeper, txn::CommitError};
use raft::eraftpb::Message;
use std::{
    collections::BTreeSet,
    io,
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, Sender},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{oneshot, watch};

/// What the thread is asked.
pub(crate) enum Request {
    /// An encoded transaction.
    Commit {
        txn: Vec<u8>,
        /// It is taken when the disk is full, too.
        small: bool,
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
    Members {
        answer: oneshot::Sender<Vec<MemberStatus>>,
    },
    Transfer {
        to: Option<u64>,
    },
    /// Which of the others are witnesses.
    Witnesses(BTreeSet<u64>),
    /// From a peer.
    Message(Box<Message>, Option<Whole>),
    Unreachable(u64),
    SnapshotSent {
        to: u64,
        arrived: bool,
    },
    /// The disk's thread did a write, and all before it.
    Written(u64, io::Result<()>),
    BackgroundDone(u64, io::Result<Done>),
    Close {
        answer: oneshot::Sender<()>,
    },
}

/// What ended beside this thread.
pub(crate) enum Done {
    Checkpoint(CheckpointDone),
    Cut,
}

struct Background {
    number: u64,
    thread: JoinHandle<()>,
}

/// What an owner is made of.
pub(crate) struct Parts {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) transport: Box<dyn Transport>,
    pub(crate) options: Options,
    pub(crate) keeper: Option<Arc<Keeper>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) requests: Receiver<Request>,
    pub(crate) to_self: Sender<Request>,
    pub(crate) leadership: watch::Sender<Leadership>,
}

/// How often the room on the disk is looked at: after so long, or after so many bytes of log.
const ROOM_EVERY: Duration = Duration::from_millis(500);
const ROOM_EVERY_BYTES: u64 = 1 << 20;

/// How often a leader without room hands the lead over that comes back to it.
const FULL_AGAIN: Duration = Duration::from_secs(10);

/// A checkpoint takes about so many times the bytes that changed, before it gives any back.
const CHECKPOINT_COSTS: u64 = 2;

/// How long one turn gathers requests at most, by their number.
const GATHER: usize = 4096;

/// How long a leader that closes waits for another one to take the lead.
const HAND_OVER: Duration = Duration::from_millis(1500);

/// See the module.
pub(crate) struct Owner {
    replica: Replica,
    engine: Arc<dyn Engine>,
    transport: Box<dyn Transport>,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    options: Options,
    requests: Receiver<Request>,
    to_self: Sender<Request>,
    leadership: watch::Sender<Leadership>,
    /// There from the moment this replica first has peers.
    disk: Option<Disk>,
    background: Option<Background>,
    next_background: u64,
    /// When the room on the disk was looked at last, and how much log had been written by then.
    room_checked: Option<(Instant, u64)>,
    full: bool,
    /// The disk has so little room that the log is kept short.
    scarce: bool,
    /// When there was last no room for a checkpoint.
    no_checkpoint: Option<Instant>,
    /// When the lead was last handed over for want of room.
    stepped_aside: Option<Instant>,
    /// Why writes are refused for good: the disk failed.
    broken: Option<CommitError>,
    closing: Option<Closing>,
}

struct Closing {
    answer: oneshot::Sender<()>,
    until: Instant,
    asked: bool,
}

impl Owner {
    /// Reads the engine back, applies what is known to be committed, and elects itself if it is alone.
    pub(crate) fn start(parts: Parts, hub: impl FnOnce(View) -> Arc<Hub>) -> io::Result<Self> {
        let Parts { engine, transport, options, keeper, metrics, requests, to_self, leadership } = parts;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let life = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        let replica = Replica::start(engine.clone(), Settings::new(&options, life), keeper, metrics.clone())?;
        // The checkpoint; what the log adds is shown like any other write, so that watches can resume in it.
        let hub = hub(replica.view());
        let mut owner = Self {
            replica,
            engine,
            transport,
            hub,
            metrics,
            options,
            requests,
            to_self,
            leadership,
            disk: None,
            background: None,
            next_background: 0,
            room_checked: None,
            full: false,
            scarce: false,
            no_checkpoint: None,
            stepped_aside: None,
            broken: None,
            closing: None,
        };
        owner.replica.begin()?;
        owner.perform()?;
        owner.replica.lead_if_alone()?;
        owner.perform()?;
        Ok(owner)
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
                self.step(Replica::tick);
                self.look_at_room();
                next_tick = Instant::now() + self.options.tick;
            }
            self.turn(first);
            if self.may_go()
                && let Some(closing) = self.closing.take()
            {
                return self.end(closing.answer);
            }
        }
    }

    /// One turn: everything that waits, made durable together.
    fn turn(&mut self, first: Option<Request>) {
        let (mut txns, mut reads) = (Vec::new(), Vec::new());
        let mut next = first;
        let mut gathered = 0;
        while let Some(request) = next.take() {
            gathered += 1;
            match request {
                Request::Commit { txn, small, answer } => match self.refusal(small) {
                    None => txns.push((txn, answer)),
                    Some(error) => drop(answer.send(Err(error))),
                },
                Request::Barrier { answer } => reads.push(answer),
                other => self.take(other),
            }
            if gathered < GATHER {
                next = self.requests.try_recv().ok();
            }
        }
        if !txns.is_empty() {
            self.step(|replica| replica.propose(txns));
        }
        // With a broken disk they are dropped here, which tells who asked.
        if !reads.is_empty() {
            self.step(|replica| replica.read(reads));
        }
        if self.broken.is_none()
            && let Err(error) = self.perform()
        {
            self.break_down(&error);
        }
        self.checkpoint_if_due();
    }

    fn take(&mut self, request: Request) {
        match request {
            Request::Commit { .. } | Request::Barrier { .. } => unreachable!("gathered by the turn"),
            Request::ChangeMember { change, answer } => self.step(|replica| replica.change_member(change, answer)),
            Request::Members { answer } => drop(answer.send(self.replica.members())),
            Request::Transfer { to: Some(to) } => self.step(|replica| replica.transfer(to)),
            Request::Transfer { to: None } => self.step(|replica| {
                replica.step_aside();
                replica.begin()
            }),
            Request::Witnesses(witnesses) => self.replica.know_witnesses(witnesses),
            Request::Message(message, keyspace) => self.step(|replica| replica.receive(*message, keyspace)),
            Request::Unreachable(peer) => self.step(|replica| replica.unreachable(peer)),
            Request::SnapshotSent { to, arrived } => self.step(|replica| replica.snapshot_sent(to, arrived)),
            Request::Written(number, Ok(())) => self.step(|replica| replica.written(number)),
            Request::Written(_, Err(error)) => self.break_down(&error),
            Request::BackgroundDone(number, outcome) => self.background_done(number, outcome),
            Request::Close { answer } => {
                self.replica.hold_proposals();
                self.closing = Some(Closing { answer, until: Instant::now() + HAND_OVER, asked: false });
            }
        }
    }

    /// Tells the replica something, unless its disk has failed.
    fn step(&mut self, tell: impl FnOnce(&mut Replica) -> io::Result<()>) {
        if self.broken.is_none()
            && let Err(error) = tell(&mut self.replica)
        {
            self.break_down(&error);
        }
    }

    /// Does what the replica wants done.
    fn perform(&mut self) -> io::Result<()> {
        loop {
            let Effects { messages, writes, shows, answers } = self.replica.effects();
            messages.into_iter().for_each(|outgoing| self.send(outgoing));
            for show in shows {
                match show {
                    Show::Events { view, events } => self.hub.publish(view, &events),
                    Show::Restart(view) => self.hub.restart(view),
                }
            }
            answers.into_iter().for_each(super::effects::Settled::tell);
            if writes.is_empty() {
                break;
            }
            self.write(writes)?;
        }
        let leadership = self.replica.leadership();
        self.leadership.send_if_modified(|known| std::mem::replace(known, leadership) != leadership);
        Ok(())
    }

    fn write(&mut self, writes: Vec<Write>) -> io::Result<()> {
        if self.disk.is_none() && self.replica.has_peers() {
            self.disk = Some(Disk::start(self.engine.clone(), self.metrics.clone(), self.to_self.clone())?);
        }
        for write in writes {
            if let Some(disk) = &self.disk {
                disk.write(write);
                continue;
            }
            let begun = Instant::now();
            write.perform(&*self.engine)?;
            self.metrics.synced(begun.elapsed());
            self.replica.written(write.number)?;
        }
        Ok(())
    }

    fn send(&mut self, outgoing: Outgoing) {
        let Outgoing { message, keyspace } = outgoing;
        let (to, bytes) = (message.to, codec::encode_message(&message));
        self.transport.send(PeerMessage { to, bytes, keyspace: keyspace.map(|view| self.replica.pieces(view)) });
    }

    fn refusal(&mut self, small: bool) -> Option<CommitError> {
        if self.broken.is_some() {
            return self.broken.clone();
        }
        self.look_at_room();
        (self.full && !small).then_some(CommitError::Full { reserve: self.options.reserve_bytes })
    }

    /// Whether the disk is full, now and then. Who leads hands the lead over before the others' writes fill it to the end.
    fn look_at_room(&mut self) {
        let written = self.metrics.log_bytes.load(Relaxed);
        let known = |(at, then): (Instant, u64)| at.elapsed() < ROOM_EVERY && written - then < ROOM_EVERY_BYTES;
        if self.broken.is_some() || self.room_checked.is_some_and(known) {
            return;
        }
        let now = Instant::now();
        self.room_checked = Some((now, written));
        let free = self.engine.free_bytes().unwrap_or(u64::MAX);
        let Options { reserve_bytes, checkpoint_bytes, .. } = self.options;
        let full = free < reserve_bytes;
        self.scarce = free < reserve_bytes + CHECKPOINT_COSTS * checkpoint_bytes;
        if full != self.full {
            self.full = full;
            self.metrics.disk_full.store(full, Relaxed);
            match full {
                true => tracing::warn!(free, "the disk under the store is full: no write is taken until there is room"),
                false => tracing::info!("the disk under the store has room again: writes are taken"),
            }
        }
        // It may have been chosen since; and those that it gives the lead to may have no room either.
        let lately = self.stepped_aside.is_some_and(|at| now.duration_since(at) < FULL_AGAIN);
        if full && !lately && self.closing.is_none() && self.replica.leads() {
            self.stepped_aside = Some(now);
            self.step(|replica| {
                replica.step_aside();
                replica.begin()
            });
        }
    }

    fn break_down(&mut self, error: &io::Error) {
        tracing::error!(%error, "the store's disk failed; no write is taken until mk8s is started again");
        let why = match error.kind() {
            io::ErrorKind::InvalidData => {
                format!("its data is damaged ({error}); remove this server from the cluster and let it join again")
            }
            _ => format!("its disk failed ({error}); look at the disk, then start mk8s again"),
        };
        let error = CommitError::Unavailable(why);
        // Whoever hears that a write failed finds that nobody leads here.
        self.leadership.send_replace(Leadership::default());
        self.replica.fail_all(&error).into_iter().for_each(super::effects::Settled::tell);
        self.broken = Some(error);
    }

    fn checkpoint_if_due(&mut self) {
        let is_due = self.replica.wants_rewrite()
            || self.replica.bytes_since_checkpoint() >= of_log(self.options.checkpoint_bytes, self.scarce);
        let lately = self.no_checkpoint.is_some_and(|at| at.elapsed() < ROOM_EVERY);
        if self.background.is_some() || self.broken.is_some() || !is_due || lately {
            return;
        }
        // Rather a long log than a checkpoint that cannot end. When the log has come so far that nothing else fits onto the
        // disk, what is kept for checkpoints is enough for one.
        if !self.engine.has_room_for(CHECKPOINT_COSTS * self.replica.checkpoint_size()) {
            self.no_checkpoint = Some(Instant::now());
            return;
        }
        self.no_checkpoint = None;
        let checkpoint = self.replica.checkpoint();
        let engine = self.engine.clone();
        self.in_background(move || checkpoint.write(&*engine).map(Done::Checkpoint));
    }

    fn background_done(&mut self, number: u64, outcome: io::Result<Done>) {
        if self.background.take_if(|running| running.number == number).is_none() {
            // Somebody has waited for it since.
            return;
        }
        match outcome {
            Ok(Done::Checkpoint(done)) => {
                if let Some(through) = self.replica.checkpointed(&done, self.scarce) {
                    let engine = self.engine.clone();
                    self.in_background(move || engine.cut(through).map(|()| Done::Cut));
                }
            }
            Ok(Done::Cut) => {}
            Err(error) => self.break_down(&error),
        }
    }

    fn in_background(&mut self, work: impl FnOnce() -> io::Result<Done> + Send + 'static) {
        let (to_self, number) = (self.to_self.clone(), self.next_background);
        self.next_background += 1;
        // The owner is gone when the store was closed meanwhile; a checkpoint is whole or absent either way.
        let work = move || drop(to_self.send(Request::BackgroundDone(number, work())));
        match std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(work) {
            Ok(thread) => self.background = Some(Background { number, thread }),
            Err(error) => self.break_down(&error),
        }
    }

    /// Whether it is time to go: not before another one leads, if one can.
    fn may_go(&mut self) -> bool {
        let Some(closing) = &mut self.closing else { return false };
        if self.broken.is_some() || !self.replica.leads() || Instant::now() >= closing.until {
            return true;
        }
        // What is under way is decided first, if it is soon.
        if !closing.asked && (!self.replica.has_pending() || Instant::now() + HAND_OVER / 2 >= closing.until) {
            closing.asked = true;
            let handed_over = self.replica.step_aside();
            self.step(Replica::begin);
            drop(self.perform());
            return !handed_over;
        }
        false
    }

    fn end(mut self, closer: oneshot::Sender<()>) {
        if self.broken.is_none() {
            // The last word of a leader that goes is the one that lets another lead.
            drop(self.perform());
        }
        self.hub.close();
        self.engine.stop_waiting();
        self.disk = None;
        if let Some(running) = self.background.take() {
            running.thread.join().expect("a checkpoint does not panic");
        }
        // The directory is free for the next one to open before the closer hears of it.
        drop(self);
        // The closer may have stopped waiting.
        closer.send(()).unwrap_or(());
    }
}

impl Drop for Owner {
    /// Whatever ends this thread, those who watch hear of it.
    fn drop(&mut self) {
        self.leadership.send_replace(Leadership::default());
        self.hub.close();
    }
}
