//! Clients of the simulation: each asks some replica for one thing at a time, and gives up when it hears nothing.

use super::{
    history::{self, Ended, History, Wanted},
    random::Random,
};
use crate::{Commit, CommitError, Expect, Op, Stamped, Txn, View, raft::Replica};
use bytes::Bytes;
use std::io;
use tokio::sync::oneshot;

/// See the module.
#[derive(Default)]
pub(super) struct Client {
    waits: Option<Waits>,
    /// What it saw last, to expect it.
    known: Option<View>,
}

struct Waits {
    id: u64,
    floor: u64,
    wanted: Wanted,
    until: u64,
    node: u64,
    answer: Answered,
}

enum Answered {
    Write(oneshot::Receiver<Result<Commit, CommitError>>, Vec<bool>),
    Read(oneshot::Receiver<View>),
}

/// How a replica answers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// The planted bug: reads show what is here, not what everyone has been told.
    pub(super) stale: bool,
    /// Its disk is full: it takes no writes.
    pub(super) full: bool,
}

const KEYS: [&str; 3] = ["/a", "/b", "/c/d"];

impl Client {
    pub(super) fn is_idle(&self) -> bool {
        self.waits.is_none()
    }

    /// Asks a replica for something.
    pub(super) fn ask(
        &mut self,
        now: u64,
        node: u64,
        replica: &mut Replica,
        manner: Manner,
        history: &mut History,
        chance: &mut Random,
    ) -> io::Result<()> {
        let (id, floor) = history.begin();
        let until = now + chance.between(300_000, 2_500_000);
        if chance.happens(300) {
            let (answer, answered) = oneshot::channel();
            if manner.stale {
                drop(answer.send(replica.view()));
            } else {
                replica.read(vec![answer])?;
            }
            let answer = Answered::Read(answered);
            self.waits = Some(Waits { id, floor, wanted: Wanted::Read, until, node, answer });
            return Ok(());
        }
        let mut keys = vec![Bytes::from_static(chance.pick(&KEYS).expect("there are some").as_bytes())];
        if chance.happens(200) {
            let other = Bytes::from_static(chance.pick(&KEYS).expect("there are some").as_bytes());
            if other != keys[0] {
                keys.push(other);
            }
        }
        let ops: Vec<Op> = keys.iter().map(|key| self.op(id, key.clone(), chance)).collect();
        let puts = ops.iter().map(|op| matches!(op, Op::Put { .. })).collect();
        let mut encoded = Vec::new();
        Txn { ops }.encode(&mut encoded);
        let (answer, answered) = oneshot::channel();
        if manner.full {
            drop(answer.send(Err(CommitError::Full { reserve: 0 })));
        } else {
            replica.propose([(encoded, answer)])?;
        }
        let wanted = Wanted::Write { keys };
        self.waits = Some(Waits { id, floor, wanted, until, node, answer: Answered::Write(answered, puts) });
        Ok(())
    }

    fn op(&self, id: u64, key: Bytes, chance: &mut Random) -> Op {
        let known = self.known.as_ref().and_then(|view| view.get(&key)).map(|entry| entry.modified);
        let expect = match (chance.between(0, 9), known) {
            (0..=4, _) => Expect::Any,
            (5, _) => Expect::Present,
            (_, Some(revision)) => Expect::Revision(revision),
            (_, None) => Expect::Absent,
        };
        if chance.happens(150) && expect != Expect::Absent {
            return Op::Delete { key, expect };
        }
        Op::Put { key, value: Stamped::plain(id.to_string()), expect }
    }

    /// Looks whether there is an answer, or no sense in waiting. Says whether it is free again.
    pub(super) fn look(&mut self, now: u64, history: &mut History) -> bool {
        let Some(waits) = &mut self.waits else { return false };
        let ended = match &mut waits.answer {
            Answered::Write(answer, puts) => match answer.try_recv() {
                Ok(outcome) => {
                    let Wanted::Write { keys } = &waits.wanted else { unreachable!("a write") };
                    let mut ended = history::ended(keys, outcome);
                    if let Ended::Written { modified, .. } = &mut ended {
                        modified.iter_mut().zip(puts).filter(|(_, put)| !**put).for_each(|(at, _)| *at = None);
                    }
                    Some(ended)
                }
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Ended::Unknown),
            },
            Answered::Read(answer) => match answer.try_recv() {
                Ok(view) => {
                    self.known = Some(view.clone());
                    Some(Ended::Read(view))
                }
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Ended::Unknown),
            },
        };
        let Some(ended) = ended.or_else(|| (now >= waits.until).then_some(Ended::Unknown)) else { return false };
        let waits = self.waits.take().expect("just seen");
        history.end(waits.id, waits.floor, waits.wanted, ended);
        true
    }

    pub(super) fn waits_for(&self, node: u64) -> bool {
        self.waits.as_ref().is_some_and(|waits| waits.node == node)
    }
}
