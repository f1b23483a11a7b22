//! The status of a pod: what a new one starts with, and what an update of it may say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::at::{get, int, list, map, set, sub, text};
use super::super::check::{Errors, immutable, invalid_each};
use super::super::{at, ip};
use crate::field::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

pub(super) fn prepare_create(pod: &mut Value) {
    let class = qos_class(sub(pod, "spec"));
    let mut status = json!({"phase": "Pending", "qosClass": class});
    if !list(sub(pod, "spec"), "schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null,
            "lastTransitionTime": null,
        }]);
    }
    set(pod, "status", status);
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the requests and limits of all containers.
pub fn qos_class(spec: &Value) -> &'static str {
    let mut requests: BTreeMap<&str, Quantity> = BTreeMap::new();
    let mut limits: BTreeMap<&str, Quantity> = BTreeMap::new();
    let mut guaranteed = true;
    for container in list(spec, "containers").iter().chain(list(spec, "initContainers")) {
        let resources = sub(container, "resources");
        for (field, sums) in [("requests", &mut requests), ("limits", &mut limits)] {
            let mut found = 0;
            for name in ["cpu", "memory"] {
                let amount = map(resources, field).get(name).and_then(|amount| Quantity::from_json(amount).ok());
                if let Some(amount) = amount.filter(|amount| *amount > Quantity::ZERO) {
                    *sums.entry(name).or_insert(Quantity::ZERO) += amount;
                    found += 1;
                }
            }
            guaranteed &= field == "requests" || found == 2;
        }
    }
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    let equal = requests.iter().all(|(name, amount)| limits.get(name) == Some(amount));
    if guaranteed && equal && requests.len() == limits.len() { "Guaranteed" } else { "Burstable" }
}

/// Keeps what the status decides nothing about.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    if get(sub(new, "status"), "qosClass").is_none()
        && let Some(class) = get(sub(old, "status"), "qosClass").cloned()
        && let Some(status) = at::sub_mut(new, "status")
    {
        set(status, "qosClass", class);
    }
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences"] {
        match crate::meta::metadata(old).get(field).cloned() {
            Some(kept) => crate::meta::set(new, field, kept),
            None => crate::meta::remove(new, field),
        }
    }
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (status, old_status, path) = (sub(new, "status"), sub(old, "status"), Path::new("status"));
    let conditions = list(status, "conditions");
    for (n, condition) in conditions.iter().enumerate() {
        let kind = text(condition, "type");
        let condition_path = path.child("conditions").index(n);
        // Kubernetes' own conditions are short words, all others are qualified names.
        invalid_each(errors, names::qualified_name(kind), || condition_path.child("Type"), kind);
        if conditions[..n].iter().any(|other| text(other, "type") == kind) && !kind.is_empty() {
            errors.push(FieldError::duplicate(&condition_path.child("Type"), kind));
        }
    }
    let nominated = text(status, "nominatedNodeName");
    if !nominated.is_empty() && nominated != text(old_status, "nominatedNodeName") {
        let path = || path.child("nominatedNodeName");
        invalid_each(errors, names::dns1123_subdomain(nominated), path, nominated);
    }
    if let Some(generation) = int(status, "observedGeneration").filter(|n| *n < 0) {
        errors.push(FieldError::invalid(
            &path.child("observedGeneration"),
            generation,
            "must be a non-negative integer",
        ));
    }
    immutable(errors, get(status, "qosClass"), get(old_status, "qosClass"), &path.child("qosClass"));
    check_transitions(errors, status, old_status, sub(old, "spec"), &path);
    for (field, plural) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        check_addresses(errors, status, field, plural, &path);
    }
}

/// A container that has ended for good stays ended.
fn check_transitions(errors: &mut Errors, status: &Value, old: &Value, spec: &Value, path: &Path) {
    let field = "containerStatuses";
    for (n, before) in list(old, field).iter().enumerate() {
        let Some(ended) = get(sub(before, "state"), "terminated") else { continue };
        let name = text(before, "name");
        let container = list(spec, "containers").iter().find(|container| text(container, "name") == name);
        let own = container.map_or("", |container| text(container, "restartPolicy"));
        let rules = container.map_or(&[][..], |container| list(container, "restartPolicyRules"));
        let policy = if own.is_empty() { text(spec, "restartPolicy") } else { own };
        let code = int(ended, "exitCode").unwrap_or(0);
        let restarts = !rules.is_empty() || policy == "Always" || (policy == "OnFailure" && code != 0);
        let now = list(status, field).iter().find(|status| text(status, "name") == name);
        let running_again = now.is_some_and(|now| get(sub(now, "state"), "terminated").is_none());
        if running_again && !restarts {
            errors.push(FieldError::forbidden(
                &path.child(field).index(n).child("state"),
                "may not be transitioned to non-terminated state",
            ));
        }
    }
}

fn check_addresses(errors: &mut Errors, status: &Value, field: &str, plural: &'static str, path: &Path) {
    let addresses: Vec<&str> = list(status, plural).iter().map(|entry| text(entry, "ip")).collect();
    for (n, address) in addresses.iter().enumerate() {
        ip::check(errors, address, &[], &path.child(plural).index(n));
    }
    let one = text(status, field);
    if let Some(first) = addresses.first()
        && !one.is_empty()
        && one != *first
    {
        errors.push(FieldError::invalid(
            &path.child(plural).index(0).child("ip"),
            *first,
            format!("must be equal to `{field}`"),
        ));
    }
    if addresses.len() > 1 {
        let v6 = addresses.iter().filter(|address| ip::is_v6(address)).count();
        if addresses.len() > 2 || v6 != 1 {
            errors.push(FieldError::invalid(
                &path.child(plural),
                sub(status, plural).clone(),
                "may specify no more than one IP for each IP family",
            ));
        }
    }
}
