//! What an object counts for in a ResourceQuota, and which quotas count it: the one description for the server, which
//! refuses what would exceed a quota, and for the control loop, which reports what is used.
//!
//! Reading order: [`Charge`] (an object as quotas see it), [`Charge::is_in_scope`], [`amounts`], [`devices`].

pub mod amounts;
pub mod devices;

#[cfg(test)]
mod tests;

use amounts::{Resources, of_pod, read};
use devices::{Made, add_devices, made_for};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::{
    at::{int, list, sub, text},
    meta,
    quantity::Quantity,
    rules::qos_class,
};

/// An object as quotas see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Charge {
    /// Under all names that a quota may use. Extended resources that stand for the devices of claims are not among them
    /// before [`devices::count_extended`].
    pub usage: Resources,
    traits: Traits,
}

/// What scopes ask.
#[derive(Debug, Clone, PartialEq)]
enum Traits {
    Pod { terminating: bool, best_effort: bool, class: String, crosses_namespaces: bool },
    Claim { attribute_classes: Vec<String> },
    Devices { made: Option<Box<Made>> },
    Other,
}

/// The name under which objects of a resource are counted: `count/deployments.apps`.
pub fn count_name(group: &str, plural: &str) -> String {
    if group.is_empty() { format!("count/{plural}") } else { format!("count/{plural}.{group}") }
}

/// Kinds that are counted under their bare name, too.
pub fn is_counted_plainly(group: &str, plural: &str) -> bool {
    group.is_empty() && matches!(plural, "configmaps" | "replicationcontrollers" | "resourcequotas" | "secrets")
}

fn number(count: usize) -> Quantity {
    Quantity::parse(&count.to_string()).expect("digits are a quantity")
}

impl Charge {
    pub fn of(group: &str, plural: &str, object: &Value, now: Timestamp) -> Charge {
        let mut usage = Resources::from([(count_name(group, plural), number(1))]);
        if is_counted_plainly(group, plural) {
            usage.insert(plural.to_owned(), number(1));
        }
        let traits = match (group, plural) {
            ("", "pods") => {
                if is_charged(object, now) {
                    add_pod(&mut usage, object);
                }
                traits_of_pod(object)
            }
            ("", "services") => {
                add_service(&mut usage, object);
                Traits::Other
            }
            ("", "persistentvolumeclaims") => {
                add_claim(&mut usage, object);
                Traits::Claim { attribute_classes: attribute_classes(object) }
            }
            ("resource.k8s.io", "resourceclaims") => {
                add_devices(&mut usage, object);
                Traits::Devices { made: made_for(object) }
            }
            _ => Traits::Other,
        };
        Charge { usage, traits }
    }

    /// Whether all scopes of a quota's spec hold. What has no scopes of its kind is in none.
    pub fn is_in_scope(&self, spec: &Value) -> bool {
        let plain =
            list(spec, "scopes").iter().filter_map(Value::as_str).map(|scope| (scope, "Exists", &[] as &[Value]));
        let selector = list(sub(spec, "scopeSelector"), "matchExpressions").iter();
        let selected =
            selector.map(|wanted| (text(wanted, "scopeName"), text(wanted, "operator"), list(wanted, "values")));
        plain.chain(selected).all(|(scope, operator, values)| self.has_scope(scope, operator, values))
    }

    fn has_scope(&self, scope: &str, operator: &str, values: &[Value]) -> bool {
        match (&self.traits, scope) {
            (Traits::Pod { terminating, .. }, "Terminating") => *terminating,
            (Traits::Pod { terminating, .. }, "NotTerminating") => !terminating,
            (Traits::Pod { best_effort, .. }, "BestEffort") => *best_effort,
            (Traits::Pod { best_effort, .. }, "NotBestEffort") => !best_effort,
            (Traits::Pod { crosses_namespaces, .. }, "CrossNamespacePodAffinity") => *crosses_namespaces,
            (Traits::Pod { class, .. }, "PriorityClass") => {
                selects(operator, values, Some(class.as_str()).filter(|class| !class.is_empty()))
            }
            (Traits::Claim { attribute_classes }, "VolumeAttributesClass") => match attribute_classes.as_slice() {
                [] => selects(operator, values, None),
                classes => classes.iter().any(|class| selects(operator, values, Some(class))),
            },
            _ => false,
        }
    }
}

fn selects(operator: &str, values: &[Value], name: Option<&str>) -> bool {
    let listed = name.is_some_and(|name| values.iter().any(|value| value == name));
    match operator {
        "In" => listed,
        "NotIn" => !listed,
        "DoesNotExist" => name.is_none(),
        _ => name.is_some(),
    }
}

/// Ended pods are charged for nothing, nor are those that should be gone.
fn is_charged(pod: &Value, now: Timestamp) -> bool {
    let over = gone_at(pod).is_some_and(|gone| now > gone);
    !over && !matches!(text(sub(pod, "status"), "phase"), "Succeeded" | "Failed")
}

/// When a pod that is being deleted should be gone.
pub fn gone_at(pod: &Value) -> Option<Timestamp> {
    let metadata = sub(pod, "metadata");
    let asked: Timestamp = text(metadata, "deletionTimestamp").parse().ok()?;
    let grace = int(metadata, "deletionGracePeriodSeconds")?;
    asked.checked_add(SignedDuration::from_secs(grace)).ok()
}

fn add_pod(usage: &mut Resources, pod: &Value) {
    usage.insert("pods".into(), number(1));
    for (name, quantity) in of_pod(pod, "requests") {
        usage.insert(format!("requests.{name}"), quantity);
        if matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-") {
            usage.insert(name, quantity);
        }
    }
    let limits = of_pod(pod, "limits").into_iter();
    usage.extend(limits.map(|(name, quantity)| (format!("limits.{name}"), quantity)));
}

fn traits_of_pod(pod: &Value) -> Traits {
    let spec = sub(pod, "spec");
    Traits::Pod {
        terminating: int(spec, "activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0),
        best_effort: qos_class(spec) == "BestEffort",
        class: text(spec, "priorityClassName").to_owned(),
        crosses_namespaces: crosses_namespaces(sub(spec, "affinity")),
    }
}

fn crosses_namespaces(affinity: &Value) -> bool {
    let crosses = |term: &Value| !list(term, "namespaces").is_empty() || !term["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().map(|side| sub(affinity, side)).any(|side| {
        let required = list(side, "requiredDuringSchedulingIgnoredDuringExecution").iter();
        let preferred = list(side, "preferredDuringSchedulingIgnoredDuringExecution").iter();
        required.chain(preferred.map(|term| sub(term, "podAffinityTerm"))).any(crosses)
    })
}

fn add_service(usage: &mut Resources, service: &Value) {
    let spec = sub(service, "spec");
    let ports = list(spec, "ports");
    let mut node_ports = 0;
    match text(spec, "type") {
        "NodePort" => node_ports = ports.len(),
        "LoadBalancer" => {
            usage.insert("services.loadbalancers".into(), number(1));
            let given = ports.iter().filter(|port| int(port, "nodePort").is_some_and(|port| port != 0));
            let allocates = spec["allocateLoadBalancerNodePorts"] != false;
            node_ports = if allocates { ports.len() } else { given.count() };
        }
        _ => {}
    }
    usage.insert("services".into(), number(1));
    usage.insert("services.nodeports".into(), number(node_ports));
}

fn add_claim(usage: &mut Resources, claim: &Value) {
    let annotated = meta::annotations(claim).get("volume.beta.kubernetes.io/storage-class").and_then(Value::as_str);
    let class = annotated.unwrap_or_else(|| text(sub(claim, "spec"), "storageClassName"));
    let asked = read(sub(sub(sub(claim, "spec"), "resources"), "requests")).remove("storage");
    let given = read(sub(sub(claim, "status"), "allocatedResources")).remove("storage");
    usage.insert("persistentvolumeclaims".into(), number(1));
    let mut put = |name: &str, amount: Quantity| {
        usage.insert(name.to_owned(), amount);
        if !class.is_empty() {
            usage.insert(format!("{class}.storageclass.storage.k8s.io/{name}"), amount);
        }
    };
    // An expansion that is under way, or could not be finished, holds what it was given.
    if let Some(asked) = asked {
        put("requests.storage", given.filter(|given| *given > asked).unwrap_or(asked));
    }
    if !class.is_empty() {
        put("persistentvolumeclaims", number(1));
    }
}

fn attribute_classes(claim: &Value) -> Vec<String> {
    let status = sub(claim, "status");
    let classes = [
        text(sub(claim, "spec"), "volumeAttributesClassName"),
        text(status, "currentVolumeAttributesClassName"),
        text(sub(status, "modifyVolumeStatus"), "targetVolumeAttributesClassName"),
    ];
    classes.iter().filter(|class| !class.is_empty()).map(|class| (*class).to_owned()).collect()
}
