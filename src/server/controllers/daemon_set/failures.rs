//! How long a node on which daemon pods fail is left alone: longer each time, so that a node which refuses pods is not
//! asked without pause.

use jiff::{SignedDuration, Timestamp};
use mk8s_client::Key;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

const FIRST: Duration = Duration::from_secs(1);
const MAX: Duration = Duration::from_secs(15 * 60);

/// A node that has been well for this long starts anew.
const FORGIVEN: Duration = Duration::from_secs(30 * 60);

/// By DaemonSet and node: since when, and for how long.
#[derive(Default)]
pub(super) struct Failures {
    pauses: HashMap<Key, BTreeMap<String, (Timestamp, Duration)>>,
}

fn left(since: Timestamp, pause: Duration, now: Timestamp) -> Duration {
    let pause = SignedDuration::try_from(pause).unwrap_or(SignedDuration::MAX);
    Duration::try_from(pause - now.duration_since(since)).unwrap_or_default()
}

impl Failures {
    /// The nodes to be left alone, and how long yet.
    pub(super) fn paused(&self, set: &Key, now: Timestamp) -> BTreeMap<String, Duration> {
        let pauses = self.pauses.get(set).into_iter().flatten();
        let waits = pauses.map(|(node, (since, pause))| (node.clone(), left(*since, *pause, now)));
        waits.filter(|(_, left)| !left.is_zero()).collect()
    }

    pub(super) fn failed(&mut self, set: &Key, node: &str, now: Timestamp) {
        let pauses = self.pauses.entry(set.clone()).or_default();
        let next = match pauses.get(node) {
            Some((since, pause)) if !left(*since, FORGIVEN, now).is_zero() => (*pause * 2).min(MAX),
            _ => FIRST,
        };
        pauses.insert(node.to_owned(), (now, next));
    }

    pub(super) fn forget(&mut self, set: &Key) {
        self.pauses.remove(set);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::noon;

    #[test]
    fn pauses_double_until_they_are_forgiven() {
        let (mut failures, set) = (Failures::default(), Key::new("n", "d"));
        let mut now = noon();
        let mut pauses = Vec::new();
        for _ in 0..12 {
            failures.failed(&set, "a", now);
            let pause = failures.paused(&set, now)["a"];
            pauses.push(pause.as_secs());
            now += SignedDuration::try_from(pause).expect("short");
            assert!(failures.paused(&set, now).is_empty());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]);
        failures.failed(&set, "a", now + SignedDuration::from_hours(1));
        assert_eq!(failures.paused(&set, now + SignedDuration::from_hours(1))["a"], FIRST);
    }
}
