//! Namespaces that come to ask for a standard: labels that cannot be understood are refused, and who asks for more than before
//! is told which pods are already there that would be refused.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use mk8s_api::{meta, status::Status};
use mk8s_store::{Entry, View};
use serde_json::Value;

use super::{
    Context, Operation, Request,
    labels::{Level, Policies, Policy},
    violations,
};
use crate::stored;

/// How many pods are looked at, and for how long.
const PODS: usize = 3000;
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) fn validate(request: &Request<'_>, namespace: &Value, context: &Context<'_>) -> Result<(), Status> {
    let (policies, errors) = Policies::of(namespace);
    let before = request.old.filter(|_| request.operation == Operation::Update).map(Policies::of);
    // What was wrong before may stay.
    if !errors.is_empty() && before.as_ref().is_none_or(|(_, old)| *old != errors) {
        return Err(Status::invalid("", "Namespace", meta::name(namespace), errors));
    }
    let Some((before, _)) = before else { return Ok(()) };
    let (new, old) = (policies.enforce, before.enforce);
    let is_relaxed = new.version == old.version && new.level <= old.level;
    if new.level != Level::Privileged && !is_relaxed {
        let name = meta::name(namespace);
        existing(context.view, name, new).into_iter().for_each(|warning| request.notes.warn(warning));
    }
    Ok(())
}

/// What is told about the pods that are there.
fn existing(view: &View, namespace: &str, enforce: Policy) -> Vec<String> {
    let until = Instant::now() + PATIENCE;
    let (mut checked, mut total) = (0, 0);
    // By what they do, who does it: the first name, and how many.
    let mut found: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut check = |pod: &Value| {
        checked += 1;
        let reasons: Vec<&str> = violations(enforce, pod).iter().map(|violation| violation.reason).collect();
        if !reasons.is_empty() {
            let name = meta::name(pod).to_owned();
            let (first, count) = found.entry(reasons.join(", ")).or_insert_with(|| (name.clone(), 0));
            *count += 1;
            if name < *first {
                *first = name;
            }
        }
        checked < PODS && Instant::now() < until
    };
    // One of each controller's first: the others are likely the same.
    let (mut controllers, mut others) = (HashSet::new(), Vec::<Arc<Entry>>::new());
    let mut goes_on = true;
    for entry in stored::entries(view, "", "pods", namespace) {
        total += 1;
        if !goes_on {
            continue;
        }
        let Ok(pod) = serde_json::from_slice::<Value>(&entry.value) else { continue };
        match controller(&pod) {
            Some(uid) if !controllers.insert(uid.to_owned()) => others.push(entry),
            _ => goes_on = check(&pod),
        }
    }
    for entry in others {
        if !goes_on {
            break;
        }
        goes_on = serde_json::from_slice(&entry.value).is_ok_and(|pod: Value| check(&pod));
    }
    let mut warnings = Vec::new();
    if checked < total {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {checked} of {total} existing pods"
        ));
    }
    if !found.is_empty() {
        let (namespace, level) = (namespace, enforce.to_string());
        warnings.push(format!(
            "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {level:?}"
        ));
    }
    let mut of_pods: Vec<String> = found
        .into_iter()
        .map(|(reasons, (first, count))| match count {
            1 => format!("{first}: {reasons}"),
            2 => format!("{first} (and 1 other pod): {reasons}"),
            _ => format!("{first} (and {} other pods): {reasons}", count - 1),
        })
        .collect();
    of_pods.sort();
    warnings.extend(of_pods);
    warnings
}

fn controller(pod: &Value) -> Option<&str> {
    let owners = stored::items(&pod["metadata"]["ownerReferences"]);
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}
