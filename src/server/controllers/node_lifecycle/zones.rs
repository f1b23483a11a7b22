//! How fast the nodes of a zone may lose their pods: where much fails at once, it is more likely the network that fails, and
//! pods that are sent away make it worse.
//!
//! | not ready in the zone | a node loses its pods |
//! |---|---|
//! | some, or all while other zones are well | every 10 s |
//! | 55 % and more than two, of more than 50 nodes | every 100 s |
//! | the same of fewer nodes | not at all |
//!
//! With no node ready in any zone nobody loses pods; that is [`super::plan`]'s.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Node;
use mk8s_api::topology;
use mk8s_client::kube::ResourceExt;
use std::{collections::HashMap, sync::Arc, time::Duration};

const PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LONG_PAUSE: SignedDuration = SignedDuration::from_secs(100);
const UNHEALTHY_PERCENT: usize = 55;
const LARGE: usize = 50;

/// A zone that is in disruption is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// For so long a count of the nodes is good.
const COUNTED_FOR: SignedDuration = SignedDuration::from_secs(1);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) ready: usize,
    pub(super) not_ready: usize,
}

impl Health {
    /// How long after one node the next one may lose its pods; `None` while none may.
    fn pause(self) -> Option<SignedDuration> {
        let all = self.ready + self.not_ready;
        let partly = self.ready > 0 && self.not_ready > 2 && self.not_ready * 100 >= all * UNHEALTHY_PERCENT;
        match partly {
            false => Some(PAUSE),
            true if all > LARGE => Some(LONG_PAUSE),
            true => None,
        }
    }
}

/// Region and zone of a node; all nodes that say nothing are in one.
fn zone_of(node: &Node) -> String {
    topology::zone(node.labels()).map(|(region, zone)| format!("{region}/{zone}")).unwrap_or_default()
}

/// Who may lose its pods, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    AskIn(Duration),
}

#[derive(Default)]
pub(super) struct Zones {
    health: HashMap<String, Health>,
    counted: Option<Timestamp>,
    /// By zone the last node that lost its pods.
    last: HashMap<String, (Timestamp, String)>,
}

impl Zones {
    /// Asks for a node's turn. A node that was given it keeps it, should it ask again.
    pub(super) fn turn(&mut self, node: &Node, nodes: impl FnOnce() -> Vec<Arc<Node>>, now: Timestamp) -> Turn {
        if self.counted.is_none_or(|counted| now.duration_since(counted) > COUNTED_FOR) {
            self.count(&nodes());
            self.counted = Some(now);
        }
        let (zone, name) = (zone_of(node), node.name_any());
        let Some(pause) = self.health.get(&zone).copied().unwrap_or_default().pause() else {
            return Turn::AskIn(LOOK_AGAIN);
        };
        if let Some((given, to)) = self.last.get(&zone).filter(|(_, to)| *to != name) {
            let left = pause - now.duration_since(*given);
            if left.is_positive() {
                tracing::debug!(
                    node = name,
                    before = to,
                    "the pods of a node stay until those of another one are gone"
                );
                return Turn::AskIn(left.unsigned_abs());
            }
        }
        self.last.insert(zone, (now, name));
        Turn::Now
    }

    fn count(&mut self, nodes: &[Arc<Node>]) {
        self.health.clear();
        for node in nodes {
            let health = self.health.entry(zone_of(node)).or_default();
            *(if super::is_ready(node) { &mut health.ready } else { &mut health.not_ready }) += 1;
        }
        let health = &self.health;
        self.last.retain(|zone, _| health.contains_key(zone));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{noon, shared};

    #[test]
    fn the_more_nodes_fail_the_slower_pods_leave() {
        let table = [
            (10, 1, Some(PAUSE)),
            (0, 7, Some(PAUSE)),
            (1, 2, Some(PAUSE)),
            (3, 3, Some(PAUSE)),
            (2, 3, None),
            (9, 11, None),
            (22, 28, None),
            (22, 29, Some(LONG_PAUSE)),
            (24, 29, Some(PAUSE)),
        ];
        for (ready, not_ready, expected) in table {
            assert_eq!(Health { ready, not_ready }.pause(), expected, "{ready} ready, {not_ready} not");
        }
    }

    fn nodes(zone: &str, ready: usize, not_ready: usize) -> String {
        let node = |n: usize| {
            let status = if n < ready { "True" } else { "False" };
            format!(
                "---\nkind: Node\nmetadata: {{name: {zone}{n}, labels: {{topology.kubernetes.io/zone: {zone}}}}}\nstatus: {{conditions: \
                 [{{type: Ready, status: \"{status}\"}}]}}\n"
            )
        };
        (0..ready + not_ready).map(node).collect()
    }

    #[test]
    fn one_node_of_a_zone_after_the_other() {
        let all = shared::<Node>(&[nodes("a", 3, 2), nodes("b", 0, 1), nodes("c", 1, 3)].concat());
        let mut zones = Zones::default();
        let mut turn = |name: &str, seconds: i64| {
            let node = all.iter().find(|node| node.name_any() == name).expect("a node");
            zones.turn(node, || all.clone(), noon() + SignedDuration::from_secs(seconds))
        };
        let later = |seconds| Turn::AskIn(Duration::from_secs(seconds));
        assert_eq!(turn("a3", 0), Turn::Now);
        assert_eq!(turn("a4", 2), later(8));
        assert_eq!(turn("a3", 3), Turn::Now, "it was its turn already");
        assert_eq!(turn("b0", 3), Turn::Now, "another zone");
        assert_eq!(turn("c1", 3), later(5), "too much of a small zone has failed");
        assert_eq!(turn("a4", 13), Turn::Now);
    }
}
