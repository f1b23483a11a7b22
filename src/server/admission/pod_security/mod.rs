//! The Pod Security Standards, where a namespace's labels ask for them: `pod-security.kubernetes.io/enforce` refuses pods,
//! `.../warn` tells their authors, `.../audit` the audit log; each with a `...-version`.
//!
//! Reading order: [`PodSecurity`], [`labels`] (what a namespace asks for), [`namespace`] (when that changes), then
//! [`baseline`] and [`restricted`], where a check is one function.

mod baseline;
mod labels;
mod namespace;
mod restricted;
#[cfg(test)]
mod tests;

use mk8s_api::{field, status::Status};
use serde_json::Value;

use self::labels::{Level, Policies, Policy, Version};
use super::{
    Context, Operation, Plugin, Request,
    stored::{get, items},
};

pub(super) struct PodSecurity;

/// What the audit log is told.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
const VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";
const ERROR: &str = "pod-security.kubernetes.io/error";

/// Something a pod must not do: the reason in few words, and where.
struct Violation {
    reason: &'static str,
    detail: String,
}

type Form = fn(&Value) -> Option<Violation>;

/// Something that pods are looked at for.
struct Check {
    id: &'static str,
    /// The minor versions since when it is done so.
    forms: &'static [(u32, Form)],
    /// The check of a laxer level whose place it takes.
    instead_of: &'static str,
}

impl Check {
    const fn new(id: &'static str, forms: &'static [(u32, Form)]) -> Check {
        Check { id, forms, instead_of: "" }
    }

    const fn instead_of(self, id: &'static str) -> Check {
        Check { instead_of: id, ..self }
    }

    /// How it is done as of a version, if it is.
    fn form(&self, version: Version) -> Option<Form> {
        self.forms.iter().rev().find(|(since, _)| version.has(*since)).map(|(_, form)| *form)
    }
}

impl Plugin for PodSecurity {
    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        if !matches!(request.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        if request.whole("", "namespaces") {
            return namespace::validate(request, object, context);
        }
        let is_pod = request.is("", "pods");
        let pod = match is_pod {
            true => concerns_pod(request, object).then_some(object),
            false => template(request, object),
        };
        let Some(pod) = pod else { return Ok(()) };
        let Some(namespace) = get(context.view, "", "namespaces", "", request.namespace) else { return Ok(()) };
        judge(request, object, pod, is_pod, Policies::of(&namespace))
    }
}

/// Refuses, warns and tells the audit log. Templates of pods are never refused: their pods will be.
fn judge(
    request: &Request<'_>,
    object: &Value,
    pod: &Value,
    is_enforced: bool,
    (policies, errors): (Policies, Vec<field::FieldError>),
) -> Result<(), Status> {
    let notes = request.notes;
    if !errors.is_empty() {
        notes.annotate(ERROR, format!("Failed to parse policy: {}", field::aggregate(&errors)));
    }
    let mut known: Vec<(Policy, Option<String>)> = Vec::new();
    let mut found = |policy: Policy| match known.iter().find(|(judged, _)| *judged == policy) {
        Some((_, found)) => found.clone(),
        None => {
            let found = described(&violations(policy, pod));
            known.push((policy, found.clone()));
            found
        }
    };
    let would = |policy: Policy, why: &str| format!("would violate PodSecurity {:?}: {why}", policy.to_string());
    let mut refused = None;
    if is_enforced {
        let enforced = policies.enforce.to_string();
        refused = found(policies.enforce).map(|why| format!("violates PodSecurity {enforced:?}: {why}"));
        notes.annotate(ENFORCED, enforced);
    }
    if let Some(why) = found(policies.audit) {
        notes.annotate(VIOLATIONS, would(policies.audit, &why));
    }
    if let Some(why) = refused {
        return Err(request.forbidden(Some(object), &why));
    }
    if let Some(why) = found(policies.warn) {
        notes.warn(would(policies.warn, &why));
    }
    Ok(())
}

/// Pods when they are made, and when what runs in them changes.
fn concerns_pod(request: &Request<'_>, pod: &Value) -> bool {
    match (request.operation, request.subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "" | "ephemeralcontainers" | "resize") => {
            request.old.is_none_or(|old| runs_other(pod, old))
        }
        _ => false,
    }
}

/// Whether there are other containers than before, or other images in them.
fn runs_other(pod: &Value, old: &Value) -> bool {
    let of = |pod: &Value, field: &str| -> Vec<(String, String)> {
        items(&pod["spec"][field])
            .iter()
            .map(|container| (text(&container["name"]), text(&container["image"])))
            .collect()
    };
    let (added, known) = (of(pod, "ephemeralContainers"), of(old, "ephemeralContainers"));
    ["containers", "initContainers"].into_iter().any(|field| of(pod, field) != of(old, field))
        || added.iter().any(|container| !known.contains(container))
}

/// The template of pods in an object that has one.
fn template<'o>(request: &Request<'_>, object: &'o Value) -> Option<&'o Value> {
    let template = match (request.group, request.resource) {
        _ if !request.subresource.is_empty() => return None,
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &object["spec"]["template"],
        ("", "podtemplates") => &object["template"],
        ("batch", "cronjobs") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return None,
    };
    template.is_object().then_some(template)
}

/// What a pod does that a policy does not allow, first by the baseline, in the order of the checks' names.
fn violations(policy: Policy, pod: &Value) -> Vec<Violation> {
    let (baseline, restricted): (&[Check], &[Check]) = match policy.level {
        Level::Privileged => (&[], &[]),
        Level::Baseline => (&baseline::CHECKS, &[]),
        Level::Restricted => (&baseline::CHECKS, &restricted::CHECKS),
    };
    let is_replaced =
        |id: &str| restricted.iter().any(|check| check.instead_of == id && check.form(policy.version).is_some());
    let checks = baseline.iter().filter(|check| !is_replaced(check.id)).chain(restricted);
    checks.filter_map(|check| check.form(policy.version)?(pod)).collect()
}

fn described(violations: &[Violation]) -> Option<String> {
    let texts: Vec<String> = violations.iter().map(worded).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

/// What a check finds, but in pods of which something holds.
fn unless(excepted: fn(&Value) -> bool, pod: &Value, check: Form) -> Option<Violation> {
    if excepted(pod) { None } else { check(pod) }
}

fn worded(violation: &Violation) -> String {
    match violation.detail.as_str() {
        "" => violation.reason.to_string(),
        detail => format!("{} ({detail})", violation.reason),
    }
}

/// All containers: init, main, ephemeral.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(|field| items(&pod["spec"][field]))
}

/// Names of the containers for which `bad` holds.
fn named(pod: &Value, bad: impl Fn(&Value) -> bool) -> Vec<String> {
    containers(pod).filter(|container| bad(container)).map(|container| text(&container["name"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

fn plural(singular: &'static str, count: usize) -> String {
    if count == 1 { singular.to_string() } else { format!("{singular}s") }
}

/// `container "a"`, `containers "a", "b"`.
fn listed(what: &'static str, names: &[String]) -> String {
    format!("{} {}", plural(what, names.len()), quoted(names))
}

fn quoted<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> String {
    names.into_iter().map(|name| format!("\"{}\"", name.as_ref())).collect::<Vec<_>>().join(", ")
}

/// Who sets something: the pod, some containers, or both; `None` when nobody does.
fn setters(pod: bool, containers: &[String]) -> Option<String> {
    let who = pod
        .then(|| "pod".to_string())
        .into_iter()
        .chain((!containers.is_empty()).then(|| listed("container", containers)));
    let who: Vec<String> = who.collect();
    (!who.is_empty()).then(|| who.join(" and "))
}

fn windows(pod: &Value) -> bool {
    pod["spec"]["os"]["name"] == "windows"
}

/// User namespaces contain what root in the container may do.
fn own_users(pod: &Value) -> bool {
    pod["spec"]["hostUsers"] == false
}
