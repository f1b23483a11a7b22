//! Pods that belong together are spread over domains: hard constraints bound how uneven it may get, soft ones prefer the
//! domains with fewer of them.

use crate::{
    change::{Change, Pair, Subject},
    events::Events,
    framework::*,
    index::topology::Domain,
    needs::{SpreadDefaults, SpreadNeed},
    node_info::{NodeFacts, NodeInfo},
    pod_facts::PodFacts,
    snapshot::Snapshot,
    spread::Spread,
};

/// With the constraints of pods that have none.
#[derive(Default)]
pub struct PodTopologySpread {
    pub defaults: SpreadDefaults,
}

const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str = "node(s) didn't match pod topology spread constraints (missing required label)";
const HOSTNAME: &str = "kubernetes.io/hostname";

impl PodTopologySpread {
    fn hard(&self, pod: &PodFacts, snapshot: &Snapshot) -> Vec<Spread> {
        if !pod.spread.is_empty() {
            return pod.spread.iter().filter(|spread| spread.hard).cloned().collect();
        }
        let hard = self.defaults.constraints.iter().filter(|c| c.when_unsatisfiable == "DoNotSchedule");
        let selector = snapshot.catalogue.default_selector(&pod.pod);
        hard.map(|constraint| Spread::with(&pod.pod, constraint, selector.clone())).collect()
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }
    fn events(&self) -> Events {
        Events::POD_ADDED
            | Events::POD_LABELS
            | Events::POD_TOLERATIONS
            | Events::POD_GONE
            | Events::NODE_ADDED
            | Events::NODE_GONE
            | Events::NODE_LABELS
            | Events::NODE_TAINTS
    }
    fn helps(&self, pod: &PodFacts, change: &Change, snapshot: &Snapshot) -> bool {
        let constraints = self.hard(pod, snapshot);
        match &change.subject {
            Subject::Itself(pair) => {
                let tolerations = change.events.intersects(Events::POD_TOLERATIONS);
                (tolerations && constraints.iter().any(|spread| spread.honor_taints))
                    || counts_change(&constraints, pair)
            }
            Subject::Pod(pair) => {
                let other = pair.new.as_ref().or(pair.old.as_ref());
                other.is_some_and(|other| other.namespace == pod.namespace) && counts_change(&constraints, pair)
            }
            Subject::Node(pair) => domains_change(&constraints, pair),
            _ => false,
        }
    }
    fn filter<'a>(&'a self, cycle: Cycle<'a>) -> Prepared<'a> {
        if cycle.needs.hard_spread.is_empty() {
            return Prepared::Skip;
        }
        Prepared::Ask(Box::new(Skew::new(cycle)))
    }
    fn score<'a>(&'a self, cycle: Cycle<'a>, candidates: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        if cycle.needs.soft_spread.is_empty() {
            return None;
        }
        Some(Box::new(Fewest::new(cycle, candidates)))
    }
}

/// Whether a constraint counts one version of a pod and not the other.
fn counts_change(constraints: &[Spread], pair: &Pair<PodFacts>) -> bool {
    constraints.iter().any(|spread| {
        let counts = |pod: &Option<_>| {
            pod.as_ref().is_some_and(|pod: &std::sync::Arc<PodFacts>| spread.selector.matches(pod.labels()))
        };
        counts(&pair.old) != counts(&pair.new)
    })
}

fn domains_change(constraints: &[Spread], pair: &Pair<NodeFacts>) -> bool {
    let takes_part =
        |node: &NodeFacts| constraints.iter().all(|spread| node.labels().contains_key(&spread.topology_key));
    match (&pair.old, &pair.new) {
        (Some(old), Some(new)) => {
            let moved =
                |spread: &Spread| old.labels().get(&spread.topology_key) != new.labels().get(&spread.topology_key);
            takes_part(old) != takes_part(new)
                || (takes_part(new) && (constraints.iter().any(moved) || old.taints() != new.taints()))
        }
        (Some(one), None) | (None, Some(one)) => takes_part(one),
        (None, None) => false,
    }
}

/// The hard constraints, and what is supposed of one node.
struct Skew<'a> {
    cycle: Cycle<'a>,
    constraints: Vec<Bound<'a>>,
}

struct Bound<'a> {
    need: &'a SpreadNeed,
    least: i64,
    /// The domain of the node that suppositions are about, and by how many pods it has more.
    supposed: Option<(Domain, i64)>,
}

impl<'a> Skew<'a> {
    fn new(cycle: Cycle<'a>) -> Self {
        let bound = |need: &'a SpreadNeed| {
            let mut bound = Bound { need, least: 0, supposed: None };
            bound.count_least(cycle.snapshot);
            bound
        };
        Self { cycle, constraints: cycle.needs.hard_spread.iter().map(bound).collect() }
    }
}

impl Bound<'_> {
    fn count_least(&mut self, snapshot: &Snapshot) {
        let view = snapshot.counters.at(self.need.counts);
        // With fewer domains than are wanted, one that is not there has no pods.
        let too_few = view.domain_count() < self.need.spread.min_domains;
        self.least = if too_few { 0 } else { view.least(self.supposed).unwrap_or(i64::from(i32::MAX)) };
    }
}

impl Filter for Skew<'_> {
    fn looks_at_pods(&self) -> bool {
        true
    }

    fn check(&self, node: &NodeInfo) -> Verdict {
        let snapshot = self.cycle.snapshot;
        for Bound { need, least, supposed } in &self.constraints {
            let Some(domain) = snapshot.topology.domain(need.column, node.slot) else {
                return Err(Rejection::unresolvable(NO_LABEL));
            };
            let more = supposed.map_or(0, |(place, more)| if place == domain { more } else { 0 });
            let count = snapshot.counters.at(need.counts).count(domain) + more;
            if count + i64::from(need.self_match) - least > need.spread.max_skew {
                return Err(Rejection::resolvable(UNEVEN));
            }
        }
        Ok(())
    }

    fn suppose(&mut self, pod: &PodFacts, node: &NodeInfo, by: i64) {
        let (cycle, incoming) = (self.cycle, self.cycle.pod);
        if pod.namespace != incoming.namespace {
            return;
        }
        for bound in &mut self.constraints {
            let view = cycle.snapshot.counters.at(bound.need.counts);
            let spread = &bound.need.spread;
            // A pod that is being deleted is not counted, so it cannot leave the count either.
            if pod.deleting || !view.includes(node.slot) || !spread.selector.matches(pod.labels()) {
                continue;
            }
            let Some(domain) = cycle.snapshot.topology.domain(bound.need.column, node.slot) else { continue };
            bound.supposed = Some((domain, bound.supposed.map_or(0, |(_, more)| more) + by));
            bound.count_least(cycle.snapshot);
        }
    }

    fn forget(&mut self) {
        for bound in self.constraints.iter_mut().filter(|bound| bound.supposed.is_some()) {
            bound.supposed = None;
            bound.count_least(self.cycle.snapshot);
        }
    }
}

/// The soft constraints: how many pods the domains of a node have.
struct Fewest<'a> {
    cycle: Cycle<'a>,
    /// With the weight of a pod: more domains, more weight, so that large topologies do not drown small ones.
    constraints: Vec<(&'a SpreadNeed, f64)>,
}

impl<'a> Fewest<'a> {
    fn new(cycle: Cycle<'a>, candidates: &[&'a NodeInfo]) -> Self {
        let mut fewest = Self { cycle, constraints: Vec::new() };
        fewest.constraints = cycle.needs.soft_spread.iter().map(|need| (need, 0.0)).collect();
        let taking_part: Vec<&NodeInfo> = candidates.iter().filter(|node| !fewest.ignores(node)).copied().collect();
        for (need, weight) in &mut fewest.constraints {
            let domains = if need.spread.topology_key == HOSTNAME {
                taking_part.len()
            } else {
                let domain = |node: &&NodeInfo| cycle.snapshot.topology.domain(need.column, node.slot);
                let mut domains: Vec<Option<Domain>> = taking_part.iter().map(domain).collect();
                domains.sort_unstable();
                domains.dedup();
                domains.len()
            };
            *weight = ((domains + 2) as f64).ln();
        }
        fewest
    }

    /// Whether a node lacks a topology that it needs to be ranked.
    fn ignores(&self, node: &NodeInfo) -> bool {
        let lacks = |need: &SpreadNeed| self.cycle.snapshot.topology.domain(need.column, node.slot).is_none();
        self.cycle.needs.soft_spread_needs_all && self.constraints.iter().any(|(need, _)| lacks(need))
    }
}

impl Score for Fewest<'_> {
    fn score(&self, node: &NodeInfo) -> i64 {
        if self.ignores(node) {
            return 0;
        }
        let snapshot = self.cycle.snapshot;
        let score: f64 = self
            .constraints
            .iter()
            .filter_map(|(need, weight)| {
                let domain = snapshot.topology.domain(need.column, node.slot)?;
                let count = if need.spread.topology_key == HOSTNAME {
                    snapshot.counters.on_node(need.counts, node.slot)
                } else {
                    snapshot.counters.at(need.counts).count(domain)
                };
                Some(count as f64 * weight + (need.spread.max_skew - 1) as f64)
            })
            .sum();
        score.round() as i64
    }

    fn normalize(&self, candidates: &[&NodeInfo], scores: &mut [i64]) {
        let ignored: Vec<bool> = candidates.iter().map(|node| self.ignores(node)).collect();
        let ranked = || scores.iter().zip(&ignored).filter(|(_, ignored)| !**ignored).map(|(score, _)| *score);
        let (least, most) = (ranked().min().unwrap_or(0), ranked().max().unwrap_or(0));
        for (score, ignored) in scores.iter_mut().zip(ignored) {
            *score = match () {
                () if ignored => 0,
                () if most == 0 => MAX_SCORE,
                () => MAX_SCORE * (most + least - *score) / most,
            };
        }
    }
}
