//! LimitRanges: defaults for containers that state no resources, bounds for those that do.

use mk8s_api::{field::aggregate, meta, quantity::Quantity, status::Status};
use serde_json::{Map, Value, json};

use super::{
    Context, Operation, Plugin, Request,
    pod_resources::{Resources, read, without_overhead},
    stored::{items, items_mut, list},
};

pub(super) struct LimitRanger;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

impl Plugin for LimitRanger {
    fn mutate(&self, request: &Request<'_>, object: &mut Value, context: &Context<'_>) -> Result<(), Status> {
        if !request.creates("", "pods") {
            return Ok(());
        }
        for range in list(context.view, "", "limitranges", request.namespace) {
            default_pod(&range, object);
        }
        Ok(())
    }

    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        let resized =
            request.is("", "pods") && request.subresource == "resize" && request.operation == Operation::Update;
        let claim = request.whole("", "persistentvolumeclaims")
            && matches!(request.operation, Operation::Create | Operation::Update);
        if !(request.creates("", "pods") || resized || claim) || request.old.is_some_and(meta::is_deleting) {
            return Ok(());
        }
        for range in list(context.view, "", "limitranges", request.namespace) {
            let mut errors: Vec<String> = Vec::new();
            for limit in items(&range["spec"]["limits"]) {
                match (claim, limit["type"].as_str().unwrap_or_default()) {
                    (true, "PersistentVolumeClaim") => check_claim(limit, object, &mut errors),
                    (false, "Container") => {
                        containers(object).for_each(|container| check_container(limit, container, &mut errors))
                    }
                    (false, "Pod") => {
                        let amounts = |field| without_overhead(object, field);
                        check("Pod", limit, &amounts("requests"), &amounts("limits"), &mut errors)
                    }
                    _ => {}
                }
            }
            if !errors.is_empty() {
                return Err(request.forbidden(Some(object), &aggregate(&errors)));
            }
        }
        Ok(())
    }
}

fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    items(&pod["spec"]["containers"]).iter().chain(items(&pod["spec"]["initContainers"]))
}

fn default_pod(range: &Value, pod: &mut Value) {
    let (mut requests, mut limits) = (Map::new(), Map::new());
    for limit in items(&range["spec"]["limits"]).iter().filter(|limit| limit["type"] == "Container") {
        requests.extend(limit["defaultRequest"].as_object().cloned().unwrap_or_default());
        limits.extend(limit["default"].as_object().cloned().unwrap_or_default());
    }
    let mut set = Vec::new();
    for (field, words) in [("containers", "container"), ("initContainers", "init container")] {
        for container in items_mut(&mut pod["spec"], field) {
            let name = container["name"].as_str().unwrap_or_default().to_string();
            for (kind, defaults) in [("requests", &requests), ("limits", &limits)] {
                let added = fill(container, kind, defaults);
                if !added.is_empty() {
                    set.push(format!("{} {} for {words} {name}", added.join(", "), kind.trim_end_matches('s')));
                }
            }
        }
    }
    if !set.is_empty() {
        pod["metadata"]["annotations"][ANNOTATION] = json!(format!("LimitRanger plugin set: {}", set.join("; ")));
    }
}

/// Adds the defaults a container has not; the names added, sorted.
fn fill(container: &mut Value, kind: &str, defaults: &Map<String, Value>) -> Vec<String> {
    let mut added = Vec::new();
    for (name, quantity) in defaults {
        if container["resources"][kind].get(name).is_none() {
            container["resources"][kind][name] = quantity.clone();
            added.push(name.clone());
        }
    }
    added
}

fn check_claim(limit: &Value, claim: &Value, errors: &mut Vec<String>) {
    let requests = read(&claim["spec"]["resources"]["requests"]);
    for (name, least) in read(&limit["min"]) {
        errors.extend(min_violation("PersistentVolumeClaim", &name, least, requests.get(&name), None));
    }
    for (name, most) in read(&limit["max"]) {
        let message = format!("maximum {name} usage per PersistentVolumeClaim is {most}");
        match requests.get(&name) {
            None => errors.push(format!("{message}.  No request is specified")),
            Some(request) if *request > most => errors.push(format!("{message}, but request is {request}")),
            Some(_) => {}
        }
    }
}

fn check_container(limit: &Value, container: &Value, errors: &mut Vec<String>) {
    let resources = &container["resources"];
    check("Container", limit, &read(&resources["requests"]), &read(&resources["limits"]), errors);
}

fn check(of: &str, limit: &Value, requests: &Resources, limits: &Resources, errors: &mut Vec<String>) {
    for (name, least) in read(&limit["min"]) {
        errors.extend(min_violation(of, &name, least, requests.get(&name), limits.get(&name)));
    }
    for (name, most) in read(&limit["max"]) {
        let message = format!("maximum {name} usage per {of} is {most}");
        match (requests.get(&name), limits.get(&name)) {
            (_, None) => errors.push(format!("{message}.  No limit is specified")),
            (_, Some(limit)) if *limit > most => errors.push(format!("{message}, but limit is {limit}")),
            (Some(request), _) if *request > most => errors.push(format!("{message}, but request is {request}")),
            _ => {}
        }
    }
    for (name, ratio) in read(&limit["maxLimitRequestRatio"]) {
        errors.extend(ratio_violation(of, &name, ratio, requests.get(&name), limits.get(&name)));
    }
}

fn min_violation(
    of: &str,
    name: &str,
    least: Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let message = format!("minimum {name} usage per {of} is {least}");
    match (request, limit) {
        (None, _) => Some(format!("{message}.  No request is specified")),
        (Some(request), _) if *request < least => Some(format!("{message}, but request is {request}")),
        (_, Some(limit)) if *limit < least => Some(format!("{message}, but limit is {limit}")),
        _ => None,
    }
}

fn ratio_violation(
    of: &str,
    name: &str,
    most: Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let message = format!("{name} max limit to request ratio per {of} is {most}");
    let Some(request) = request.filter(|request| !request.is_zero()) else {
        return Some(format!("{message}, but no request is specified or request is 0"));
    };
    let Some(limit) = limit.filter(|limit| !limit.is_zero()) else {
        return Some(format!("{message}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.as_f64() / request.as_f64();
    (ratio > most.as_f64()).then(|| format!("{message}, but provided ratio is {ratio:.6}"))
}
