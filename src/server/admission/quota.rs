//! ResourceQuota: what a namespace may hold. Usage is counted from what is stored, plus what was let through and is not
//! stored yet, so that writes at the same time cannot exceed a quota together.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use mk8s_api::{meta, quantity::Quantity, status::Status};
use mk8s_store::{Store, View};
use parking_lot::Mutex;
use serde_json::Value;

use super::{
    Operation, Request,
    pod_resources::{Resources, add, of_pod, read},
    stored::{items, list},
};

/// What was let through is stored, or has failed, after this long.
const IN_FLIGHT: Duration = Duration::from_secs(10);

pub(super) struct Quota {
    store: Store,
    /// What was let through: where it will be stored, what it counts, until when it is waited for.
    in_flight: Mutex<Vec<InFlight>>,
}

struct InFlight {
    key: String,
    namespace: String,
    object: Value,
    until: Instant,
    group: String,
    resource: String,
}

impl Quota {
    pub(super) fn new(store: Store) -> Quota {
        Quota { store, in_flight: Mutex::default() }
    }

    /// Lets the object through, or refuses it with the quota it would exceed.
    pub(super) async fn charge(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        if request.operation != Operation::Create || !request.subresource.is_empty() || request.namespace.is_empty() || request.dry_run {
            return Ok(());
        }
        let view = self.store.view();
        let quotas = list(&view, "", "resourcequotas", request.namespace);
        if quotas.is_empty() {
            return Ok(());
        }
        let usage = usage_of(request.group, request.resource, object);
        let mut in_flight = self.in_flight.lock();
        let now = Instant::now();
        in_flight.retain(|waiting| now < waiting.until && view.get(waiting.key.as_bytes()).is_none());
        let mut charged = false;
        for quota in quotas.iter().filter(|quota| in_scope(quota, request.resource, object)) {
            charged |= check(&view, &in_flight, request, object, quota, &usage)?;
        }
        if charged {
            let group = if request.group.is_empty() { "core" } else { request.group };
            in_flight.push(InFlight {
                key: format!("/registry/{group}/{}/{}/{}", request.resource, request.namespace, request.name_of(Some(object))),
                namespace: request.namespace.to_string(),
                object: object.clone(),
                until: now + IN_FLIGHT,
                group: request.group.to_string(),
                resource: request.resource.to_string(),
            });
        }
        Ok(())
    }
}

/// Whether the quota counts this object at all; an error when it would be exceeded.
fn check(view: &View, in_flight: &[InFlight], request: &Request<'_>, object: &Value, quota: &Value, usage: &Resources) -> Result<bool, Status> {
    let hard = read(&quota["spec"]["hard"]);
    let name = meta::name(quota);
    if request.is("", "pods") {
        let lacking = unstated(&hard, object);
        if !lacking.is_empty() {
            return Err(request.forbidden(Some(object), &format!("failed quota: {name}: must specify {}", lacking.join("; "))));
        }
    }
    let counted: Resources = usage.iter().filter(|(name, _)| hard.contains_key(*name)).map(|(name, quantity)| (name.clone(), *quantity)).collect();
    if counted.is_empty() {
        return Ok(false);
    }
    let used = used(view, in_flight, request, quota, &hard);
    let zero = Quantity::parse("0").expect("a number");
    let exceeded: Vec<&String> = counted
        .iter()
        .filter(|(name, more)| used.get(*name).copied().unwrap_or(zero) + **more > hard[*name])
        .map(|(name, _)| name)
        .collect();
    if exceeded.is_empty() {
        return Ok(true);
    }
    let show = |of: &dyn Fn(&String) -> Quantity| exceeded.iter().map(|name| format!("{name}={}", of(name))).collect::<Vec<_>>().join(",");
    let why = format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        show(&|name| counted[name]),
        show(&|resource| used.get(resource).copied().unwrap_or(zero)),
        show(&|resource| hard[resource]),
    );
    Err(request.forbidden(Some(object), &why))
}

/// What the namespace holds of this kind, and what is on its way.
fn used(view: &View, in_flight: &[InFlight], request: &Request<'_>, quota: &Value, hard: &Resources) -> Resources {
    let mut total: Resources = hard.keys().map(|name| (name.clone(), Quantity::parse("0").expect("a number"))).collect();
    let (group, resource) = (request.group, request.resource);
    let stored = list(view, group, resource, request.namespace);
    let waiting = in_flight.iter().filter(|w| w.group == group && w.resource == resource && w.namespace == request.namespace);
    for object in stored.iter().chain(waiting.map(|waiting| &waiting.object)).filter(|object| in_scope(quota, resource, object)) {
        add(&mut total, &usage_of(group, resource, object));
    }
    total
}

/// What an object counts for, under all names a quota may use.
fn usage_of(group: &str, resource: &str, object: &Value) -> Resources {
    let one = Quantity::parse("1").expect("a number");
    let suffix = if group.is_empty() { String::new() } else { format!(".{group}") };
    let mut usage = Resources::from([(format!("count/{resource}{suffix}"), one)]);
    match (group, resource) {
        ("", "pods") if ["Succeeded", "Failed"].contains(&object["status"]["phase"].as_str().unwrap_or_default()) => {}
        ("", "pods") => {
            usage.insert("pods".into(), one);
            for (name, quantity) in of_pod(object, "requests") {
                usage.insert(format!("requests.{name}"), quantity);
                if ["cpu", "memory", "ephemeral-storage"].contains(&name.as_str()) || name.starts_with("hugepages-") {
                    usage.insert(name, quantity);
                }
            }
            usage.extend(of_pod(object, "limits").into_iter().map(|(name, quantity)| (format!("limits.{name}"), quantity)));
        }
        ("", "services") => {
            usage.insert("services".into(), one);
            let ports = Quantity::parse(&items(&object["spec"]["ports"]).len().to_string()).expect("a number");
            match object["spec"]["type"].as_str() {
                Some("NodePort") => drop(usage.insert("services.nodeports".into(), ports)),
                Some("LoadBalancer") => {
                    usage.insert("services.loadbalancers".into(), one);
                    if object["spec"]["allocateLoadBalancerNodePorts"] != false {
                        usage.insert("services.nodeports".into(), ports);
                    }
                }
                _ => {}
            }
        }
        ("", "persistentvolumeclaims") => {
            usage.insert("persistentvolumeclaims".into(), one);
            let storage = read(&object["spec"]["resources"]["requests"]).remove("storage");
            let class = object["spec"]["storageClassName"].as_str().filter(|class| !class.is_empty());
            if let Some(class) = class {
                usage.insert(format!("{class}.storageclass.storage.k8s.io/persistentvolumeclaims"), one);
            }
            if let Some(storage) = storage {
                usage.insert("requests.storage".into(), storage);
                usage.extend(class.map(|class| (format!("{class}.storageclass.storage.k8s.io/requests.storage"), storage)));
            }
        }
        ("", "replicationcontrollers" | "secrets" | "configmaps" | "resourcequotas") => drop(usage.insert(resource.into(), one)),
        _ => {}
    }
    usage
}

/// Resources the quota limits and containers do not state: `limits.cpu for: a,b`.
fn unstated(hard: &Resources, pod: &Value) -> Vec<String> {
    let spec = &pod["spec"];
    if spec["resources"].is_object() {
        return Vec::new();
    }
    let mut lacking: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in items(&spec["containers"]).iter().chain(items(&spec["initContainers"])) {
        for (name, field, resource) in [
            ("cpu", "requests", "cpu"),
            ("memory", "requests", "memory"),
            ("requests.cpu", "requests", "cpu"),
            ("requests.memory", "requests", "memory"),
            ("limits.cpu", "limits", "cpu"),
            ("limits.memory", "limits", "memory"),
        ] {
            if hard.contains_key(name) && container["resources"][field][resource].is_null() {
                lacking.entry(name).or_default().insert(container["name"].as_str().unwrap_or_default());
            }
        }
    }
    lacking.into_iter().map(|(name, of)| format!("{name} for: {}", of.into_iter().collect::<Vec<_>>().join(","))).collect()
}

/// Whether a quota's scopes include the object; scopes select pods only.
fn in_scope(quota: &Value, resource: &str, object: &Value) -> bool {
    let scopes = items(&quota["spec"]["scopes"]).iter().filter_map(Value::as_str).map(|scope| (scope, "Exists", &[] as &[Value]));
    let selectors = items(&quota["spec"]["scopeSelector"]["matchExpressions"]).iter().filter_map(|expression| {
        Some((expression["scopeName"].as_str()?, expression["operator"].as_str()?, items(&expression["values"])))
    });
    scopes.chain(selectors).all(|(scope, operator, values)| resource == "pods" && scope_matches(scope, operator, values, object))
}

fn scope_matches(scope: &str, operator: &str, values: &[Value], pod: &Value) -> bool {
    let spec = &pod["spec"];
    let terminating = spec["activeDeadlineSeconds"].as_i64().is_some_and(|seconds| seconds >= 0);
    let best_effort = || of_pod(pod, "requests").is_empty() && of_pod(pod, "limits").is_empty();
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => {
            let class = &spec["priorityClassName"];
            let named = class.as_str().is_some_and(|class| !class.is_empty());
            match operator {
                "In" => values.contains(class),
                "NotIn" => !values.contains(class),
                "DoesNotExist" => !named,
                _ => named,
            }
        }
        _ => false,
    }
}
