//! The status of a pod: what a new one starts with, and what an update of it may say.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::at::{get, int, list, map, set, sub, text};
use super::super::check::{Errors, immutable, invalid_each};
use super::super::{at, ip};
use super::claims;
use crate::field::{FieldError, Path};
use crate::meta;
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
            "lastTransitionTime": meta::creation_timestamp(pod),
        }]);
    }
    set(pod, "status", status);
}

/// `Guaranteed`, `Burstable` or `BestEffort`, by the amounts of the pod as a whole if it has any, else by the requests
/// and limits of all containers.
pub fn qos_class(spec: &Value) -> &'static str {
    let mut requests = Amounts::new();
    let mut limits = Amounts::new();
    let mut guaranteed = true;
    if let Some(resources) = get(spec, "resources") {
        add(&mut requests, map(resources, "requests"));
        let found = add(&mut limits, map(resources, "limits"));
        guaranteed = map(resources, "limits").is_empty() || found == COUNTED.len();
    } else {
        for container in list(spec, "containers").iter().chain(list(spec, "initContainers")) {
            let resources = sub(container, "resources");
            add(&mut requests, map(resources, "requests"));
            guaranteed &= add(&mut limits, map(resources, "limits")) == COUNTED.len();
        }
    }
    if requests.is_empty() && limits.is_empty() {
        return "BestEffort";
    }
    let equal = requests.iter().all(|(name, amount)| limits.get(name) == Some(amount));
    if guaranteed && equal && requests.len() == limits.len() { "Guaranteed" } else { "Burstable" }
}

type Amounts = BTreeMap<&'static str, Quantity>;

/// What decides about the class.
const COUNTED: [&str; 2] = ["cpu", "memory"];

/// Adds what counts; answers how much of it there was.
fn add(sums: &mut Amounts, amounts: &Map<String, Value>) -> usize {
    let mut found = 0;
    for name in COUNTED {
        let amount = amounts.get(name).and_then(|amount| Quantity::from_json(amount).ok());
        if let Some(amount) = amount.filter(|amount| *amount > Quantity::ZERO) {
            *sums.entry(name).or_insert(Quantity::ZERO) += amount;
            found += 1;
        }
    }
    found
}

/// Keeps what the status decides nothing about.
pub(super) fn prepare_update(new: &mut Value, old: &Value) {
    if get(sub(new, "status"), "qosClass").is_none()
        && let Some(class) = get(sub(old, "status"), "qosClass").cloned()
        && let Some(status) = at::sub_mut(new, "status")
    {
        set(status, "qosClass", class);
    }
    keep_observed_generations(new, old);
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds", "ownerReferences"] {
        match crate::meta::metadata(old).get(field).cloned() {
            Some(kept) => crate::meta::set(new, field, kept),
            None => crate::meta::remove(new, field),
        }
    }
}

/// Whoever does not say what generation they saw, leaves what is known of it: of the status, and of the conditions in
/// their order, as there may be several of one type.
fn keep_observed_generations(new: &mut Value, old: &Value) {
    const FIELD: &str = "observedGeneration";
    let Some(status) = at::get_mut(new, "status") else { return };
    let old = sub(old, "status");
    let fill = |of: &mut Value, from: Option<&Value>| {
        if let Some(known) = from.and_then(|from| int(from, FIELD)).filter(|known| *known != 0)
            && int(of, FIELD).unwrap_or(0) == 0
        {
            set(of, FIELD, known);
        }
    };
    fill(status, Some(old));
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for condition in at::items_mut(status, "conditions") {
        let of = text(condition, "type").to_owned();
        let before = seen.entry(of.clone()).or_default();
        fill(condition, list(old, "conditions").iter().filter(|known| text(known, "type") == of).nth(*before));
        *before += 1;
    }
}

/// Advice about addresses.
pub(super) fn warnings(pod: &Value) -> Vec<String> {
    let (status, path) = (sub(pod, "status"), Path::new("status"));
    let of = |field: &'static str| {
        let path = path.child(field);
        let advice = move |(n, entry): (usize, &Value)| ip::advice(text(entry, "ip"), &path.index(n).child("ip"));
        list(status, field).iter().enumerate().filter_map(advice)
    };
    of("podIPs").chain(of("hostIPs")).collect()
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (status, old_status, path) = (sub(new, "status"), sub(old, "status"), Path::new("status"));
    let (spec, old_spec) = (sub(new, "spec"), sub(old, "spec"));
    super::update::check_annotation_updates(new, old, errors);
    super::spec::check_annotations(errors, new, &Path::new("metadata").child("annotations"));
    for (n, condition) in list(status, "conditions").iter().enumerate() {
        let path = path.child("conditions").index(n);
        check_generation(errors, condition, &path);
        let kind = text(condition, "type");
        // Kubernetes' own conditions are short words, all others are qualified names.
        invalid_each(errors, names::qualified_name(kind), || path.child("Type"), kind);
    }
    let nominated = text(status, "nominatedNodeName");
    if !nominated.is_empty() && nominated != text(old_status, "nominatedNodeName") {
        let path = path.child("nominatedNodeName");
        invalid_each(errors, names::dns1123_subdomain(nominated), || path.clone(), nominated);
        if !text(old_spec, "nodeName").is_empty() {
            let why = "may not be set on pods that are already bound to a node";
            errors.push(FieldError::forbidden(&path, why));
        }
    }
    check_generation(errors, status, &path);
    immutable(errors, get(status, "qosClass"), get(old_status, "qosClass"), &path.child("qosClass"));
    check_transitions(errors, status, old_status, old_spec, &path);
    claims::check(errors, status, spec, &path);
    for (field, plural) in [("podIP", "podIPs"), ("hostIP", "hostIPs")] {
        check_addresses(errors, status, old_status, field, plural, &path);
    }
    let os = text(sub(spec, "os"), "name");
    for (field, containers) in STATUSES {
        let path = path.child(field);
        for (n, status) in list(status, field).iter().enumerate() {
            check_user(errors, sub(status, "user"), os, &path.index(n).child("user").child("linux"));
            claims::check_allocated(errors, status, containers.map(|field| list(spec, field)), &path.index(n));
        }
    }
}

fn check_generation(errors: &mut Errors, of: &Value, path: &Path) {
    if let Some(generation) = int(of, "observedGeneration").filter(|n| *n < 0) {
        let why = "must be a non-negative integer";
        errors.push(FieldError::invalid(&path.child("observedGeneration"), generation, why));
    }
}

/// As whom a container runs.
fn check_user(errors: &mut Errors, user: &Value, os: &str, path: &Path) {
    let Some(linux) = get(user, "linux") else { return };
    if os == "windows" {
        return errors.push(FieldError::forbidden(path, "cannot be set for a windows pod"));
    }
    let mut check = |id: i64, path: Path| {
        if !(0..=i64::from(i32::MAX)).contains(&id) {
            errors.push(FieldError::invalid(&path, id, names::range_message(0, i32::MAX.into())));
        }
    };
    for field in ["uid", "gid"] {
        check(int(linux, field).unwrap_or(0), path.child(field));
    }
    for (n, group) in list(linux, "supplementalGroups").iter().enumerate() {
        check(group.as_i64().unwrap_or(0), path.child("supplementalGroups").index(n));
    }
}

/// Where the status of containers is, and where they are specified if they can have amounts.
const STATUSES: [(&str, Option<&str>); 3] = [
    ("containerStatuses", Some("containers")),
    ("initContainerStatuses", Some("initContainers")),
    ("ephemeralContainerStatuses", None),
];

/// A container that has ended for good stays ended.
fn check_transitions(errors: &mut Errors, status: &Value, old: &Value, spec: &Value, path: &Path) {
    let restarts_all = |container: &Value| {
        list(container, "restartPolicyRules").iter().any(|rule| text(rule, "action") == "RestartAllContainers")
    };
    let all_may_restart =
        ["initContainers", "containers"].iter().any(|field| list(spec, field).iter().any(restarts_all));
    for (field, containers) in STATUSES {
        if all_may_restart && containers.is_some() {
            continue;
        }
        for (n, before) in list(old, field).iter().enumerate() {
            let Some(ended) = get(sub(before, "state"), "terminated") else { continue };
            let name = text(before, "name");
            let code = int(ended, "exitCode").unwrap_or(0);
            let container = containers
                .and_then(|containers| list(spec, containers).iter().find(|container| text(container, "name") == name));
            let restarts = container.is_some_and(|container| restarts(container, spec, code));
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
}

/// Whether a container that ended with this code starts again.
fn restarts(container: &Value, spec: &Value, code: i64) -> bool {
    let by = |policy: &str| match policy {
        "OnFailure" => code != 0,
        "Never" => false,
        _ => true,
    };
    let own = text(container, "restartPolicy");
    if own.is_empty() {
        return by(text(spec, "restartPolicy"));
    }
    let applies = |rule: &&Value| {
        let codes = sub(rule, "exitCodes");
        let listed = list(codes, "values").iter().any(|value| value.as_i64() == Some(code));
        match text(codes, "operator") {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        }
    };
    let rule = list(container, "restartPolicyRules").iter().find(applies);
    rule.is_some_and(|rule| matches!(text(rule, "action"), "Restart" | "RestartAllContainers")) || by(own)
}

fn check_addresses(errors: &mut Errors, status: &Value, old: &Value, field: &str, plural: &'static str, path: &Path) {
    let of = |status| -> Vec<&str> { list(status, plural).iter().map(|entry| text(entry, "ip")).collect() };
    let (addresses, before) = (of(status), of(old));
    for (n, address) in addresses.iter().enumerate() {
        ip::check(errors, address, &before, &path.child(plural).index(n));
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
