//! Which nodes a DaemonSet's pods fit on: what the scheduler would say of node name, selector, affinity and taints.

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};
use mk8s_api::taints::{keep_away, tolerated};
use mk8s_client::kube::ResourceExt;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) should_run: bool,
    /// A pod that runs may stay, though a new one would not be put here.
    pub(super) may_stay: bool,
}

/// Whether a node's change makes no difference to any pod.
pub(super) fn same_for_pods(old: &Node, new: &Node) -> bool {
    let spec = |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
    old.metadata.labels == new.metadata.labels && spec(old) == spec(new)
}

/// `spec` has the tolerations of daemon pods already.
pub(super) fn fit(spec: &PodSpec, node: &Node) -> Fit {
    let none = Fit { should_run: false, may_stay: false };
    if spec.node_name.as_ref().is_some_and(|name| *name != node.name_any()) || !selects(spec, node) {
        return none;
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let tolerations = spec.tolerations.as_deref().unwrap_or_default();
    let evicts = taints.iter().any(|taint| taint.effect == "NoExecute" && !tolerated(taint, tolerations));
    Fit { should_run: !keep_away(taints, tolerations), may_stay: !evicts }
}

fn selects(spec: &PodSpec, node: &Node) -> bool {
    let labels = node.labels();
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|required| required.node_selector_terms.iter().any(|term| term_matches(term, node)))
}

/// An empty term matches nothing.
pub(crate) fn term_matches(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = node.labels();
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let name = node.name_any();
    let field = |key: &str| (key == "metadata.name").then_some(name.as_str());
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|wanted| requirement_holds(wanted, labels.get(&wanted.key).map(String::as_str)))
        && fields.iter().all(|wanted| requirement_holds(wanted, field(&wanted.key)))
}

fn requirement_holds(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|known| known == value));
    let numbers = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(value, bound)| value > bound),
        "Lt" => numbers().is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}
