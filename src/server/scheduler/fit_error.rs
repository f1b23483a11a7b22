//! Why no node took a pod. `Display` is the message of its `FailedScheduling` event and of its condition.

use crate::{framework::Rejection, node_info::Slot, profile::PluginSet};
use std::{borrow::Cow, fmt};

/// What the filters said, node by node.
#[derive(Debug, Default)]
pub struct Diagnosis {
    pub node_count: usize,
    /// Said of all nodes at once, before any was asked.
    pub before: Option<String>,
    pub rejected: Vec<(Slot, Rejection)>,
    /// How many nodes did not have to be asked, and why.
    pub absent: Option<(usize, String)>,
    /// Who rejected.
    pub plugins: PluginSet,
}

impl Diagnosis {
    /// What was said of a node: `None` when it was not asked.
    pub fn of(&self, slot: Slot) -> Option<&Rejection> {
        self.rejected.iter().find(|(rejected, _)| *rejected == slot).map(|(_, rejection)| rejection)
    }

    /// Nodes on which evictions may help.
    pub fn resolvable(&self) -> Vec<Slot> {
        let resolvable = self.rejected.iter().filter(|(_, rejection)| !rejection.unresolvable);
        resolvable.map(|(slot, _)| *slot).collect()
    }
}

/// The diagnosis, and what preemption said.
#[derive(Debug, Default)]
pub struct FitError {
    pub diagnosis: Diagnosis,
    pub preemption: String,
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Diagnosis { node_count, before, rejected, absent, .. } = &self.diagnosis;
        if *node_count == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let mut counts = Counts::default();
        match before {
            Some(before) => write!(f, "0/{node_count} nodes are available: {before}.")?,
            None => {
                for (_, rejection) in rejected {
                    rejection.reasons.as_slice().iter().for_each(|reason| counts.add(reason, 1));
                }
                if let Some((nodes, reason)) = absent {
                    counts.add(&Cow::Owned(reason.clone()), *nodes);
                }
                write!(f, "0/{node_count} nodes are available:{}", counts.sentence())?;
            }
        }
        if !self.preemption.is_empty() {
            write!(f, " {}", self.preemption)?;
        }
        Ok(())
    }
}

/// Reasons with the number of nodes that gave them.
#[derive(Debug, Default)]
pub struct Counts(Vec<(Cow<'static, str>, usize)>);

impl Counts {
    #[expect(clippy::ptr_arg, reason = "a static text is kept without copying it")]
    pub fn add(&mut self, reason: &Cow<'static, str>, nodes: usize) {
        let same = |known: &Cow<'static, str>| std::ptr::eq(known.as_ptr(), reason.as_ptr()) || known == reason;
        match self.0.iter_mut().find(|(known, _)| same(known)) {
            Some((_, count)) => *count += nodes,
            None => self.0.push((reason.clone(), nodes)),
        }
    }

    /// ` 1 this, 2 that.`, or nothing.
    pub fn sentence(&self) -> String {
        let mut lines: Vec<String> = self.0.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        lines.sort();
        if lines.is_empty() { String::new() } else { format!(" {}.", lines.join(", ")) }
    }
}
