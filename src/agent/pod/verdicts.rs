//! What probes say of running containers, by container id.

use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    pub fn name(self) -> &'static str {
        match self {
            ProbeKind::Startup => "Startup",
            ProbeKind::Liveness => "Liveness",
            ProbeKind::Readiness => "Readiness",
        }
    }
}

/// Cheap to clone; the probes write, the plan and the status read.
#[derive(Debug, Clone, Default)]
pub struct Verdicts(Arc<Mutex<HashMap<(String, ProbeKind), bool>>>);

impl Verdicts {
    /// `None` while there is no probe or it has not decided.
    pub fn get(&self, container: &str, kind: ProbeKind) -> Option<bool> {
        self.0.lock().get(&(container.to_owned(), kind)).copied()
    }

    /// True when this is news.
    pub fn set(&self, container: &str, kind: ProbeKind, good: bool) -> bool {
        self.0.lock().insert((container.to_owned(), kind), good) != Some(good)
    }

    pub fn forget(&self, container: &str) {
        self.0.lock().retain(|(id, _), _| id != container);
    }
}
