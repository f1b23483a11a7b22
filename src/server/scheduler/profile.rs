//! How a scheduler of one name decides: its plugins, in the order in which they are asked, and their weights.

use crate::{framework::Plugin, needs::SpreadDefaults};
use std::time::Duration;

/// Plugins of a profile by number, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PluginSet(u32);

impl PluginSet {
    pub fn insert(&mut self, plugin: usize) {
        self.0 |= 1 << plugin;
    }

    pub fn contains(self, plugin: usize) -> bool {
        self.0 & (1 << plugin) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// How preemption looks for candidates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreemptionOptions {
    pub candidates_percent_min: usize,
    pub candidates_min: usize,
}

impl Default for PreemptionOptions {
    fn default() -> Self {
        Self { candidates_percent_min: 10, candidates_min: 100 }
    }
}

pub struct Profile {
    pub scheduler_name: String,
    /// At most 32; filters and scores refer to them.
    pub plugins: Vec<Box<dyn Plugin>>,
    pub filters: Vec<usize>,
    /// With weights.
    pub scores: Vec<(usize, i64)>,
    /// Absent when pods of this profile evict nobody.
    pub preemption: Option<PreemptionOptions>,
    /// Whether the plugin of resource claims takes part in preemption's message.
    pub names_claims: bool,
    /// How long the devices of a pod may take to be ready.
    pub binding_timeout: Duration,
    /// How many of all nodes must be found feasible before the search ends; 0 adapts to the size of the cluster.
    pub percent_of_nodes: usize,
    pub spread_defaults: SpreadDefaults,
}

/// Fewer feasible nodes than this are always looked for.
const FEASIBLE_MIN: usize = 100;
const PERCENT_MIN: usize = 5;

impl Profile {
    /// Everybody who can reject.
    pub fn all_filters(&self) -> PluginSet {
        let mut all = PluginSet::default();
        self.filters.iter().for_each(|plugin| all.insert(*plugin));
        all
    }

    /// After how many feasible nodes the search ends.
    pub fn feasible_wanted(&self, nodes: usize) -> usize {
        if self.scores.is_empty() {
            return 1;
        }
        if nodes < FEASIBLE_MIN {
            return nodes;
        }
        let percent = match self.percent_of_nodes {
            0 => 50usize.saturating_sub(nodes / 125).max(PERCENT_MIN),
            set => set,
        };
        (nodes * percent / 100).max(FEASIBLE_MIN)
    }
}
