//! What a replica wants done. Whoever drives it does it, and tells it how it went.

use super::pending::{Answer, MemberAnswer, ReadAnswer};
use crate::{
    engine::{CheckpointMark, Engine, HardState, LogEntry},
    mvcc::{Entry, Event, View},
    txn::{Commit, CommitError},
};
use raft::eraftpb::Message;
use std::{io, sync::Arc};

/// In the order in which they are to be done: what is shown comes before the answers.
#[derive(Default)]
pub(crate) struct Effects {
    /// May be lost, repeated, delayed, and overtake each other.
    pub(crate) messages: Vec<Outgoing>,
    /// One after the other; [`super::Replica::written`] is told of each, or of the last of several that are durable.
    pub(crate) writes: Vec<Write>,
    pub(crate) shows: Vec<Show>,
    pub(crate) answers: Vec<Settled>,
}

/// A message for another replica.
pub(crate) struct Outgoing {
    pub(crate) message: Message,
    /// The keyspace that goes with it, as it was at the place in the log that the message names.
    pub(crate) keyspace: Option<View>,
}

/// What is to be made durable.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    /// Grows by one.
    pub(crate) number: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Append { entries: Vec<Arc<LogEntry>>, hard_state: Option<HardState> },
    Install { entries: Vec<Arc<Entry>>, mark: CheckpointMark, hard_state: HardState },
}

impl Write {
    pub(crate) fn perform(&self, engine: &dyn Engine) -> io::Result<()> {
        match &self.what {
            What::Append { entries, hard_state } => engine.append(entries, *hard_state),
            What::Install { entries, mark, hard_state } => engine.install(entries, mark, *hard_state),
        }
    }

    /// What it appends to the log; `None` when it is no append.
    #[cfg(test)]
    pub(crate) fn appended(&self) -> Option<&[Arc<LogEntry>]> {
        match &self.what {
            What::Append { entries, .. } => Some(entries),
            What::Install { .. } => None,
        }
    }

    #[cfg(test)]
    pub(crate) fn is_install(&self) -> bool {
        matches!(self.what, What::Install { .. })
    }

    /// A bug for the simulation to find.
    #[cfg(test)]
    pub(crate) fn forget_vote(&mut self) {
        if let What::Append { hard_state: Some(state), .. } = &mut self.what {
            state.vote = 0;
        }
    }

    /// Takes a later write into this one, so that one fsync serves both; gives it back where that cannot be.
    pub(crate) fn merge(&mut self, later: Write) -> Result<(), Box<Write>> {
        let (What::Append { entries, hard_state }, What::Append { entries: more, hard_state: newer }) =
            (&mut self.what, &later.what)
        else {
            return Err(Box::new(later));
        };
        let follows = match (entries.last(), more.first()) {
            (Some(last), Some(first)) => first.index == last.index + 1,
            (None, _) | (_, None) => true,
        };
        if !follows {
            return Err(Box::new(later));
        }
        entries.extend(more.iter().cloned());
        *hard_state = newer.or(*hard_state);
        self.number = later.number;
        Ok(())
    }
}

/// What becomes visible.
pub(crate) enum Show {
    /// A newer state, and what led to it.
    Events { view: View, events: Vec<Arc<Event>> },
    /// Another replica's state, which took the place of ours.
    Restart(View),
}

/// Somebody's answer.
pub(crate) enum Settled {
    Commit(Answer, Result<Commit, CommitError>),
    Read(ReadAnswer, View),
    Member(MemberAnswer, Result<(), CommitError>),
}

impl Settled {
    /// Whoever asked may have gone; what was decided stands.
    pub(crate) fn tell(self) {
        match self {
            Settled::Commit(answer, outcome) => drop(answer.send(outcome)),
            Settled::Read(answer, view) => drop(answer.send(view)),
            Settled::Member(answer, outcome) => drop(answer.send(outcome)),
        }
    }
}
