//! What the cycle of one pod will look up: the counts of its constraints and terms, made or brought up to date before the
//! cycle, so that the cycle itself only reads.

use crate::{
    index::counters::{Counted, Handle, Sources},
    node_info::NodeInfo,
    pod_facts::PodFacts,
    snapshot::Snapshot,
    spread::Spread,
    terms::{Scope, Term, means_all},
};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use mk8s_api::taints;
use std::{collections::HashSet, fmt::Write as _, sync::Arc};

/// The constraints of a profile for pods that have none.
#[derive(Debug, Clone)]
pub struct SpreadDefaults {
    pub constraints: Vec<TopologySpreadConstraint>,
    /// Whether they are the built-in ones, which do not ask that a node has all topologies.
    pub built_in: bool,
}

impl Default for SpreadDefaults {
    fn default() -> Self {
        let soft = |key: &str, max_skew| TopologySpreadConstraint {
            topology_key: key.to_owned(),
            when_unsatisfiable: "ScheduleAnyway".to_owned(),
            max_skew,
            ..TopologySpreadConstraint::default()
        };
        let constraints = vec![soft("kubernetes.io/hostname", 3), soft("topology.kubernetes.io/zone", 5)];
        Self { constraints, built_in: true }
    }
}

/// A constraint and where its counts are.
#[derive(Debug)]
pub struct SpreadNeed {
    pub spread: Spread,
    pub column: usize,
    pub counts: Handle,
    /// Whether the pod counts itself.
    pub self_match: bool,
}

/// A term of the pod and where the counts of the pods that it means are.
#[derive(Debug)]
pub struct TermNeed {
    pub term: Arc<Term>,
    pub weight: i64,
    pub column: usize,
    pub counts: Handle,
}

#[derive(Debug, Default)]
pub struct Needs {
    pub hard_spread: Vec<SpreadNeed>,
    pub soft_spread: Vec<SpreadNeed>,
    /// Whether a node without one of the soft constraints' topologies is left out.
    pub soft_spread_needs_all: bool,
    /// Per term: pods that all required affinity terms mean.
    pub affinity: Vec<TermNeed>,
    /// Whether the pod is meant by its own required affinity.
    pub affinity_to_itself: bool,
    pub anti_affinity: Vec<TermNeed>,
    pub preferred: Vec<TermNeed>,
    /// Groups of terms of placed pods that mean this pod.
    pub held: Vec<usize>,
}

/// What counters read, beside themselves.
macro_rules! sources {
    ($snapshot:expr) => {
        Sources {
            topology: &$snapshot.topology,
            nodes: &$snapshot.nodes,
            namespace_labels: &|namespace| $snapshot.catalogue.namespace_labels(namespace),
        }
    };
}
impl Snapshot {
    /// Makes ready what the cycle of this pod needs.
    pub fn prepare(&mut self, pod: &PodFacts, defaults: &SpreadDefaults) -> Needs {
        self.arrange();
        self.counters.begin();
        let mut needs = Needs::default();
        self.prepare_spread(pod, defaults, &mut needs);
        self.prepare_terms(pod, &mut needs);
        let labels = self.catalogue.namespace_labels(&pod.namespace);
        needs.held = self.held.meaning(pod, labels, &self.topology, &self.nodes);
        needs
    }

    fn prepare_spread(&mut self, pod: &PodFacts, defaults: &SpreadDefaults, needs: &mut Needs) {
        let own = !pod.spread.is_empty();
        let spreads = if own { pod.spread.clone() } else { self.default_spread(pod, defaults) };
        needs.soft_spread_needs_all = own || !defaults.built_in;
        let (hard, soft): (Vec<Spread>, Vec<Spread>) = spreads.into_iter().partition(|spread| spread.hard);
        needs.hard_spread = self.spread_needs(pod, hard, true);
        needs.soft_spread = self.spread_needs(pod, soft, needs.soft_spread_needs_all);
    }

    fn default_spread(&self, pod: &PodFacts, defaults: &SpreadDefaults) -> Vec<Spread> {
        if defaults.constraints.is_empty() {
            return Vec::new();
        }
        let selector = self.catalogue.default_selector(&pod.pod);
        if selector.is_everything() {
            return Vec::new();
        }
        defaults.constraints.iter().map(|constraint| Spread::with(&pod.pod, constraint, selector.clone())).collect()
    }

    fn spread_needs(&mut self, pod: &PodFacts, spreads: Vec<Spread>, all_topologies: bool) -> Vec<SpreadNeed> {
        let columns: Vec<usize> =
            spreads.iter().map(|spread| self.topology.column(&spread.topology_key, &self.nodes)).collect();
        let everywhere: Vec<String> = if all_topologies {
            spreads.iter().map(|spread| spread.topology_key.clone()).collect()
        } else {
            Vec::new()
        };
        let mut needs = Vec::with_capacity(spreads.len());
        for (spread, column) in spreads.into_iter().zip(columns) {
            let counted = Counted {
                key: format!("living|{}", spread.key),
                terms: vec![(Scope::of_namespace(&pod.namespace), countable(&spread))],
                living_only: true,
            };
            let (view_key, takes_part) = participation(pod, &spread, &everywhere);
            let counts = self.counters.view(counted, column, &view_key, &takes_part, &sources!(self));
            let self_match = spread.selector.matches(pod.labels());
            needs.push(SpreadNeed { spread, column, counts, self_match });
        }
        needs
    }

    fn prepare_terms(&mut self, pod: &PodFacts, needs: &mut Needs) {
        let terms = &pod.terms;
        let together: HashSet<&str> = terms.required_affinity.iter().map(|term| term.key.as_str()).collect();
        let mut together: Vec<&str> = together.into_iter().collect();
        together.sort_unstable();
        for term in &terms.required_affinity {
            let counted = Counted {
                key: format!("all|{}", together.join("&")),
                terms: terms.required_affinity.iter().map(|t| (t.scope.clone(), t.selector.clone())).collect(),
                living_only: false,
            };
            needs.affinity.push(self.term_need(term, 1, counted));
        }
        let labels = self.catalogue.namespace_labels(&pod.namespace);
        needs.affinity_to_itself = means_all(&terms.required_affinity, &pod.namespace, labels, pod.labels());
        for term in &terms.required_anti_affinity {
            needs.anti_affinity.push(self.term_need(term, 1, one(term)));
        }
        for (weight, term) in &terms.preferred {
            needs.preferred.push(self.term_need(term, i64::from(*weight), one(term)));
        }
    }

    fn term_need(&mut self, term: &Arc<Term>, weight: i64, counted: Counted) -> TermNeed {
        let column = self.topology.column(&term.topology_key, &self.nodes);
        let counts = self.counters.view(counted, column, "", &|_| true, &sources!(self));
        TermNeed { term: term.clone(), weight, column, counts }
    }
}

fn one(term: &Term) -> Counted {
    Counted {
        key: format!("all|{}", term.key),
        terms: vec![(term.scope.clone(), term.selector.clone())],
        living_only: false,
    }
}

/// A selector of everything counts nothing.
fn countable(spread: &Spread) -> mk8s_api::select::LabelSelector {
    if spread.selector.is_everything() { mk8s_api::select::LabelSelector::nothing() } else { spread.selector.clone() }
}

/// Which nodes' pods count for a constraint, and a text that is the same for the same nodes.
fn participation(
    pod: &PodFacts,
    spread: &Spread,
    topologies: &[String],
) -> (String, impl Fn(&NodeInfo) -> bool + use<>) {
    let mut key = topologies.join(",");
    let topologies = topologies.to_vec();
    let nodes = (spread.honor_affinity && !pod.required_nodes.is_any()).then(|| pod.required_nodes.clone());
    let tolerations = spread.honor_taints.then(|| pod.tolerations().to_vec());
    // Writing to a string cannot fail.
    let _ = write!(key, "{nodes:?}{tolerations:?}");
    let takes_part = move |info: &NodeInfo| {
        let Some(node) = info.facts.node.as_ref() else { return false };
        topologies.iter().all(|key| info.labels().contains_key(key))
            && nodes.as_ref().is_none_or(|required| required.allow(node))
            && tolerations.as_ref().is_none_or(|held| !taints::keep_away(info.facts.taints(), held))
    };
    (key, takes_part)
}
