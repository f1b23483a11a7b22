//! The Pod Security Standards, where a namespace's labels ask for them: `pod-security.kubernetes.io/enforce` refuses pods,
//! `.../warn` tells their authors. Each check is the newest of upstream's versions.
//!
//! Reading order: [`PodSecurity`], then [`baseline`] and [`restricted`], where a check is one function.

mod baseline;
mod restricted;
#[cfg(test)]
mod tests;

use mk8s_api::{meta, status::Status};
use serde_json::Value;

use super::{
    Context, Operation, Plugin, Request,
    service_account::MIRROR,
    stored::{get, items},
};

pub(super) struct PodSecurity;

const LABELS: &str = "pod-security.kubernetes.io";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// A level, as the label has it, and the version that is shown with it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Policy {
    level: Level,
    shown: String,
}

/// Something a pod must not do: the reason in few words, and where.
struct Violation {
    reason: &'static str,
    detail: String,
}

type Check = fn(&Value) -> Option<Violation>;

impl Plugin for PodSecurity {
    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        if !concerns_pod(request, object) {
            return Ok(());
        }
        let Some(policy) = policy_of(request, context, "enforce") else { return Ok(()) };
        match describe(policy.level, object) {
            Some(why) => {
                Err(request.forbidden(Some(object), &format!("violates PodSecurity {:?}: {why}", policy.shown)))
            }
            None => Ok(()),
        }
    }
}

/// What the author of an object is told without being refused: for pods and for templates of pods.
pub(super) fn warnings(request: &Request<'_>, object: &Value, context: &Context<'_>) -> Vec<String> {
    if !matches!(request.operation, Operation::Create | Operation::Update) || !request.subresource.is_empty() {
        return Vec::new();
    }
    // Of a pod that changes, only changes of what is checked are spoken of.
    if request.is("", "pods") && request.old.is_some_and(|old| old["spec"] == object["spec"]) {
        return Vec::new();
    }
    let template = match (request.group, request.resource) {
        ("", "pods") => object,
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &object["spec"]["template"],
        ("", "podtemplates") => &object["template"],
        ("batch", "cronjobs") => &object["spec"]["jobTemplate"]["spec"]["template"],
        _ => return Vec::new(),
    };
    let Some(policy) = policy_of(request, context, "warn") else { return Vec::new() };
    describe(policy.level, template)
        .map(|why| format!("would violate PodSecurity {:?}: {why}", policy.shown))
        .into_iter()
        .collect()
}

/// Pods when they are made, and later changes of what is checked; not what the agent reports of static ones.
fn concerns_pod(request: &Request<'_>, pod: &Value) -> bool {
    if !request.is("", "pods") || meta::annotation(pod, MIRROR).is_some() {
        return false;
    }
    match (request.operation, request.subresource) {
        (Operation::Create, "") => true,
        (Operation::Update, "" | "ephemeralcontainers" | "resize") => {
            request.old.is_none_or(|old| old["spec"] != pod["spec"])
        }
        _ => false,
    }
}

/// What the namespace asks for in a mode; `None` when that is nothing.
fn policy_of(request: &Request<'_>, context: &Context<'_>, mode: &str) -> Option<Policy> {
    let namespace = get(context.view, "", "namespaces", "", request.namespace)?;
    let label = meta::label(&namespace, &format!("{LABELS}/{mode}"))?;
    let (level, word) = match label {
        "privileged" => (Level::Privileged, "privileged"),
        "baseline" => (Level::Baseline, "baseline"),
        // What cannot be understood is taken for the strictest.
        _ => (Level::Restricted, "restricted"),
    };
    let version = meta::label(&namespace, &format!("{LABELS}/{mode}-version")).unwrap_or("latest");
    (level != Level::Privileged).then(|| Policy { level, shown: format!("{word}:{version}") })
}

fn describe(level: Level, pod: &Value) -> Option<String> {
    // Within a level in the order of their names, so that messages do not change from call to call.
    let mut checks: Vec<(&str, Check)> = baseline::CHECKS.to_vec();
    match level {
        Level::Privileged => return None,
        Level::Baseline => checks.extend(baseline::UNLESS_RESTRICTED),
        Level::Restricted => {}
    }
    checks.sort_by_key(|(id, _)| *id);
    if level == Level::Restricted {
        checks.extend(restricted::CHECKS);
    }
    let found: Vec<String> =
        checks.iter().filter_map(|(_, check)| check(pod)).map(|violation| worded(&violation)).collect();
    (!found.is_empty()).then(|| found.join(", "))
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
