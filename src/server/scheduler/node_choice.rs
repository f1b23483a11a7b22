//! Which nodes a pod may or would rather go to by their labels and names: `nodeSelector`, node affinity, and the node
//! affinity of volumes.

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PreferredSchedulingTerm,
};
use mk8s_client::pod::Pod;
use std::collections::BTreeMap;

/// `nodeSelector` and required node affinity of a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequiredNodes {
    pub labels: BTreeMap<String, String>,
    pub affinity: Option<NodeSelector>,
}

impl RequiredNodes {
    pub fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        Self {
            labels: spec.node_selector.clone().unwrap_or_default(),
            affinity: affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.clone()),
        }
    }

    pub fn is_any(&self) -> bool {
        self.labels.is_empty() && self.affinity.is_none()
    }

    pub fn allow(&self, node: &Node) -> bool {
        let labels = node.metadata.labels.as_ref();
        self.labels.iter().all(|(key, value)| labels.and_then(|l| l.get(key)) == Some(value))
            && self.affinity.as_ref().is_none_or(|selector| selects(selector, node))
    }

    /// The names of all nodes that can be meant, where the affinity names nodes. Empty when its terms exclude each other.
    pub fn names(&self) -> Option<Vec<String>> {
        let terms = &self.affinity.as_ref()?.node_selector_terms;
        if terms.is_empty() {
            return None;
        }
        let mut all = Vec::new();
        for term in terms {
            all.extend(names_of(term)?);
        }
        all.sort();
        all.dedup();
        Some(all)
    }
}

fn names_of(term: &NodeSelectorTerm) -> Option<Vec<String>> {
    let fields = term.match_fields.iter().flatten();
    let mut lists = fields
        .filter(|r| r.key == "metadata.name" && r.operator == "In")
        .map(|r| r.values.as_deref().unwrap_or_default());
    let mut names = lists.next()?.to_vec();
    for list in lists {
        names.retain(|name| list.contains(name));
    }
    Some(names)
}

/// The terms are alternatives.
pub fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| matches(term, node))
}

/// The sum of the weights of the preferences that a node meets. One without requirements is met by none.
pub fn preference(terms: &[PreferredSchedulingTerm], node: &Node) -> i64 {
    let met = terms.iter().filter(|term| term.weight != 0 && matches(&term.preference, node));
    met.map(|term| i64::from(term.weight)).sum()
}

/// A term without any requirement matches nothing.
fn matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    let field = |key: &str| if key == "metadata.name" { node.metadata.name.as_deref() } else { None };
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|r| holds(r, label(&r.key)))
        && fields.iter().all(|r| holds(r, field(&r.key)))
}

fn holds(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = || actual.is_some_and(|actual| values.iter().any(|v| v == actual));
    let numbers = || Some((actual?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => numbers().is_some_and(|(actual, bound)| actual > bound),
        "Lt" => numbers().is_some_and(|(actual, bound)| actual < bound),
        _ => false,
    }
}
