//! What a pod asks of its node: the sums of its containers, as the scheduler counts them.

use super::fields::{list, text};
use mk8s_api::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

pub(super) type Amounts = BTreeMap<String, Quantity>;

/// Which amounts are summed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Which {
    Requests,
    Limits,
}

impl Which {
    fn field(self) -> &'static str {
        if self == Which::Requests { "requests" } else { "limits" }
    }
}

/// The sum for a pod. With `actual`, containers whose resources were changed in place count what they have, too.
pub(super) fn of_pod(pod: &Value, which: Which, actual: bool) -> Amounts {
    let spec = &pod["spec"];
    let mut sum = of_containers(pod, which, actual);
    for (name, amount) in amounts(&spec["resources"][which.field()]) {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            sum.insert(name, amount);
        }
    }
    for (name, amount) in amounts(&spec["overhead"]) {
        match sum.get_mut(&name) {
            Some(limit) if which == Which::Requests || !limit.is_zero() => *limit += amount,
            None if which == Which::Requests => {
                sum.insert(name, amount);
            }
            _ => {}
        }
    }
    sum
}

fn of_containers(pod: &Value, which: Which, actual: bool) -> Amounts {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let one = |container: &Value, statuses: &Value| {
        let wanted = amounts(&container["resources"][which.field()]);
        let status = list(statuses).iter().find(|status| status["name"] == container["name"]);
        match status.filter(|status| actual && !status["resources"].is_null()) {
            Some(status) => effective(pod, wanted, status, which),
            None => wanted,
        }
    };
    let mut sum = Amounts::new();
    for container in list(&spec["containers"]) {
        add(&mut sum, &one(container, &status["containerStatuses"]));
    }
    // Init containers run one by one, beside the restartable ones before them.
    let (mut beside, mut most) = (Amounts::new(), Amounts::new());
    for container in list(&spec["initContainers"]) {
        let mut now;
        if container["restartPolicy"] == "Always" {
            let own = one(container, &status["initContainerStatuses"]);
            add(&mut sum, &own);
            add(&mut beside, &own);
            now = beside.clone();
        } else {
            now = amounts(&container["resources"][which.field()]);
            add(&mut now, &beside);
        }
        larger(&mut most, now);
    }
    larger(&mut sum, most);
    sum
}

/// While a change in place is under way the larger of the old and the new counts.
fn effective(pod: &Value, wanted: Amounts, status: &Value, which: Which) -> Amounts {
    let pending = list(&pod["status"]["conditions"]).iter().find(|condition| condition["type"] == "PodResizePending");
    let infeasible = pending.is_some_and(|condition| text(&condition["reason"]) == "Infeasible");
    let mut most = amounts(&status["resources"][which.field()]);
    if which == Which::Requests {
        larger(&mut most, amounts(&status["allocatedResources"]));
    }
    if !infeasible {
        larger(&mut most, wanted);
    }
    most
}

/// The quantities of a map of resources.
pub(super) fn amounts(value: &Value) -> Amounts {
    let entries = value.as_object().into_iter().flatten();
    entries.filter_map(|(name, amount)| Some((name.clone(), Quantity::from_json(amount).ok()?))).collect()
}

pub(super) fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        match sum.get_mut(name) {
            Some(known) => *known += *amount,
            None => {
                sum.insert(name.clone(), *amount);
            }
        }
    }
}

fn larger(most: &mut Amounts, other: Amounts) {
    for (name, amount) in other {
        let known = most.entry(name).or_insert(amount);
        if amount > *known {
            *known = amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn init_containers_count_by_their_largest() {
        let container = |cpu: &str, restart: Value| json!({"name": "x", "resources": {"requests": {"cpu": cpu}}, "restartPolicy": restart});
        let pod = json!({"spec": {"containers": [container("100m", Value::Null), container("200m", Value::Null)],
            "initContainers": [container("50m", json!("Always")), container("1", Value::Null)],
            "overhead": {"cpu": "10m"}}});
        assert_eq!(of_pod(&pod, Which::Requests, false)["cpu"].to_string(), "1060m");
        assert!(of_pod(&pod, Which::Limits, false).is_empty());
    }
}
