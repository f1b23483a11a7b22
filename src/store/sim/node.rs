//! One machine of the simulation: a replica, and a disk that forgets what was not synced.

use super::{Plant, random::Random};
use crate::{
    Metrics,
    engine::{Engine, LogEntry, MemoryEngine},
    raft::{Checkpoint, Effects, Replica, Settings, Write},
};
use std::{collections::VecDeque, io, sync::Arc};

/// See the module.
pub(super) struct Node {
    pub(super) id: u64,
    /// Grows with each start; what was meant for an earlier life is dropped.
    pub(super) life: u64,
    pub(super) replica: Option<Replica>,
    /// What is durable.
    engine: MemoryEngine,
    /// What was asked for and is not.
    writes: VecDeque<Write>,
    checkpoint: Option<Checkpoint>,
    pub(super) slow_disk: bool,
    /// There is room for the log alone, which is kept for it.
    pub(super) full_disk: bool,
    pub(super) paused_until: u64,
    pub(super) tick_us: u64,
    founders: Vec<u64>,
    /// The one among all machines that is one, if there is one.
    pub(super) witness: Option<u64>,
    /// What a witness keeps has no bound.
    pub(super) keeps_all: bool,
    plant: Option<Plant>,
    /// The revision that was shown last in this life.
    pub(super) shown: u64,
}

/// Bytes of log after which a checkpoint is made: few, so that there are many.
const CHECKPOINT_BYTES: u64 = 700;

impl Node {
    pub(super) fn new(id: u64, founders: Vec<u64>, plant: Option<Plant>) -> Self {
        Self {
            id,
            life: 0,
            replica: None,
            engine: MemoryEngine::default(),
            writes: VecDeque::new(),
            checkpoint: None,
            slow_disk: false,
            full_disk: false,
            paused_until: 0,
            tick_us: 100_000,
            founders,
            witness: None,
            keeps_all: false,
            plant,
            shown: 0,
        }
    }

    pub(super) fn start(&mut self, chance: &mut Random) -> io::Result<()> {
        self.life += 1;
        self.tick_us = chance.between(80_000, 120_000);
        let settings = Settings {
            node_id: self.id,
            founders: Some(self.founders.clone()),
            life: chance.next(),
            keep_bytes: self.keep_bytes(chance),
            witness: self.is_witness(),
            index: None,
        };
        let mut replica = Replica::start(Arc::new(self.engine.clone()), settings, None, Arc::new(Metrics::default()))?;
        self.shown = replica.view().revision();
        replica.know_witnesses(self.witness.into_iter().collect());
        replica.begin()?;
        self.replica = Some(replica);
        Ok(())
    }

    /// Few, so that keyspaces are sent; but where a machine may be lost for good, a witness keeps what anyone lacks.
    fn keep_bytes(&self, chance: &mut Random) -> u64 {
        let few = chance.between(0, 600);
        match self.is_witness() && self.keeps_all {
            true if self.plant == Some(Plant::CutsEarly) => 0,
            true => u64::MAX,
            false => few,
        }
    }

    pub(super) fn is_witness(&self) -> bool {
        self.witness == Some(self.id)
    }

    /// The power goes: of what was not synced some is there, up to a point, and something there is torn.
    pub(super) fn crash(&mut self, chance: &mut Random) {
        self.replica = None;
        self.paused_until = 0;
        self.slow_disk = false;
        if let Some(checkpoint) = self.checkpoint.take()
            && chance.happens(500)
        {
            checkpoint.write(&self.engine).expect("this disk works");
        }
        while let Some(write) = self.writes.pop_front() {
            if chance.happens(500) {
                self.perform(&write);
                continue;
            }
            if let Some(torn) = torn(&write, chance) {
                self.engine.append(&torn, None).expect("this disk works");
            }
            break;
        }
        self.writes.clear();
        self.engine = self.engine.after_crash();
    }

    fn perform(&self, write: &Write) {
        let mut write = write.clone();
        if self.plant == Some(Plant::ForgottenVote) {
            write.forget_vote();
        }
        write.perform(&self.engine).expect("this disk works");
    }

    /// What the replica wants done, the disk's part taken out. Says whether the disk has begun to work.
    pub(super) fn effects(&mut self) -> io::Result<(Effects, bool)> {
        let Some(replica) = &mut self.replica else { return Ok(Default::default()) };
        let was_idle = self.writes.is_empty();
        let mut effects = replica.effects();
        let writes = std::mem::take(&mut effects.writes);
        let last = writes.last().map(|write| write.number);
        self.writes.extend(writes);
        if self.plant == Some(Plant::AcknowledgedUnsynced)
            && let Some(last) = last
        {
            replica.written(last)?;
        }
        Ok((effects, was_idle && !self.writes.is_empty()))
    }

    pub(super) fn disk_takes_us(&self, chance: &mut Random) -> u64 {
        if self.slow_disk { chance.between(20_000, 900_000) } else { chance.between(50, 3000) }
    }

    /// A sync ended. Says whether there is more to do.
    pub(super) fn synced(&mut self, chance: &mut Random) -> io::Result<bool> {
        let Some(mut write) = self.writes.pop_front() else { return Ok(false) };
        while chance.happens(700)
            && let Some(later) = self.writes.pop_front()
        {
            if let Err(apart) = write.merge(later) {
                self.writes.push_front(*apart);
                break;
            }
        }
        if write.is_install() {
            // There is one slow thing at a time.
            self.checkpoint_ended()?;
        }
        self.perform(&write);
        if self.plant != Some(Plant::AcknowledgedUnsynced)
            && let Some(replica) = &mut self.replica
        {
            replica.written(write.number)?;
        }
        Ok(!self.writes.is_empty())
    }

    /// Begins a checkpoint if one is due.
    pub(super) fn checkpoint_begins(&mut self) -> bool {
        let Some(replica) = &mut self.replica else { return false };
        if self.full_disk || self.checkpoint.is_some() || replica.bytes_since_checkpoint() < CHECKPOINT_BYTES {
            return false;
        }
        self.checkpoint = Some(replica.checkpoint());
        true
    }

    pub(super) fn checkpoint_ended(&mut self) -> io::Result<()> {
        let Some(checkpoint) = self.checkpoint.take() else { return Ok(()) };
        let done = checkpoint.write(&self.engine)?;
        if let Some(replica) = &mut self.replica
            && let Some(through) = replica.checkpointed(&done, self.full_disk)
        {
            self.engine.cut(through)?;
        }
        Ok(())
    }
}

/// The beginning of an append that did not end, without the state that goes with it.
fn torn(write: &Write, chance: &mut Random) -> Option<Vec<Arc<LogEntry>>> {
    let entries = write.appended()?;
    let kept = usize::try_from(chance.between(0, entries.len() as u64)).expect("within memory");
    (kept > 0).then(|| entries[..kept].to_vec())
}
