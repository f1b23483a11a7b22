//! Namespaces that come to ask for a standard: labels that cannot be understood are refused, and who asks for more than before
//! is told which pods are already there that would be refused.

use std::{
    collections::{BTreeMap, HashSet},
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
    let mut found = Found { enforce, checked: 0, until: Instant::now() + PATIENCE, by_reasons: BTreeMap::new() };
    // One of each controller's first: the others are likely the same.
    let (mut controllers, mut others, mut total) = (HashSet::new(), Vec::new(), 0);
    for entry in stored::entries(view, "", "pods", namespace) {
        total += 1;
        if found.is_complete() {
            continue;
        }
        let Some(pod) = decoded(&entry) else { continue };
        match controller(&pod) {
            Some(uid) if !controllers.insert(uid.to_owned()) => others.push(entry),
            _ => found.look(&pod),
        }
    }
    for entry in others {
        if found.is_complete() {
            break;
        }
        decoded(&entry).iter().for_each(|pod| found.look(pod));
    }
    found.told(namespace, total)
}

fn decoded(entry: &Entry) -> Option<Value> {
    serde_json::from_slice(&entry.value).ok()
}

/// What was found so far.
struct Found {
    enforce: Policy,
    checked: usize,
    until: Instant,
    /// By what pods do: the first of their names, and how many they are.
    by_reasons: BTreeMap<String, (String, usize)>,
}

impl Found {
    /// Whether no more pods are looked at.
    fn is_complete(&self) -> bool {
        self.checked >= PODS || Instant::now() >= self.until
    }

    fn look(&mut self, pod: &Value) {
        self.checked += 1;
        let reasons: Vec<&str> = violations(self.enforce, pod).iter().map(|violation| violation.reason).collect();
        if reasons.is_empty() {
            return;
        }
        let name = meta::name(pod);
        let (first, count) = self.by_reasons.entry(reasons.join(", ")).or_insert_with(|| (name.to_owned(), 0));
        *count += 1;
        if name < first.as_str() {
            *first = name.to_owned();
        }
    }

    fn told(self, namespace: &str, total: usize) -> Vec<String> {
        let (checked, level) = (self.checked, self.enforce.to_string());
        let mut warnings = Vec::new();
        if checked < total {
            warnings.push(format!(
                "new PodSecurity enforce level only checked against the first {checked} of {total} existing pods"
            ));
        }
        if !self.by_reasons.is_empty() {
            warnings.push(format!(
                "existing pods in namespace {namespace:?} violate the new PodSecurity enforce level {level:?}"
            ));
        }
        let of_pods = self.by_reasons.into_iter().map(|(reasons, (first, count))| match count {
            1 => format!("{first}: {reasons}"),
            2 => format!("{first} (and 1 other pod): {reasons}"),
            _ => format!("{first} (and {} other pods): {reasons}", count - 1),
        });
        let mut of_pods: Vec<String> = of_pods.collect();
        of_pods.sort();
        warnings.extend(of_pods);
        warnings
    }
}

fn controller(pod: &Value) -> Option<&str> {
    let owners = stored::items(&pod["metadata"]["ownerReferences"]);
    owners.iter().find(|owner| owner["controller"] == true)?["uid"].as_str()
}
