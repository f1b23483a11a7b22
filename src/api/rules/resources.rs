//! Names and amounts of compute resources: requests and limits of containers, capacities of nodes.

use serde_json::{Map, Value};

use super::at::{map, sub};
use super::check::{Errors, invalid_each};
use crate::field::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;
use crate::quota::amounts;

pub(super) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

fn is_standard_container(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_huge_page(name)
}

pub(super) fn is_standard(name: &str) -> bool {
    const OBJECTS: [&str; 20] = [
        "cpu",
        "memory",
        "ephemeral-storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "storage",
        "requests.storage",
        "services.nodeports",
        "services.loadbalancers",
    ];
    OBJECTS.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// Resources that are counted in whole numbers.
fn is_integer(name: &str) -> bool {
    const OBJECTS: [&str; 9] = [
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    ];
    OBJECTS.contains(&name) || is_extended(name)
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether requests may be less than limits.
pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// A name that is qualified or of a standard resource.
pub(super) fn resource_name(errors: &mut Errors, name: &str, path: impl Fn() -> Path) -> bool {
    let wrong = names::qualified_name(name);
    if !wrong.is_empty() {
        invalid_each(errors, wrong, path, name);
        return false;
    }
    if !name.contains('/') && !is_standard(name) {
        errors.push(FieldError::invalid(&path(), name, "must be a standard resource type or fully qualified"));
    }
    true
}

pub(super) fn container_resource_name(errors: &mut Errors, name: &str, path: impl Fn() -> Path) {
    resource_name(errors, name, &path);
    if !name.contains('/') {
        if !is_standard_container(name) {
            errors.push(FieldError::invalid(&path(), name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.push(FieldError::invalid(&path(), name, "doesn't follow extended resource name standard"));
    }
}

/// An amount: not negative, and whole for resources that are counted.
pub(super) fn quantity_value(errors: &mut Errors, name: &str, amount: &Value, path: impl Fn() -> Path) {
    let quantity = match Quantity::from_json(amount) {
        Ok(quantity) => quantity,
        Err(error) => {
            errors.push(FieldError::invalid(&path(), amount.clone(), error.to_string()));
            return;
        }
    };
    if quantity.is_negative() {
        errors.push(FieldError::invalid(&path(), quantity.to_string(), "must be greater than or equal to 0"));
    }
    if is_integer(name) && quantity.millis() % 1000 != 0 {
        errors.push(FieldError::invalid(&path(), quantity.to_string(), "must be an integer"));
    }
}

const PAGES: &str = "is not positive integer multiple of";

/// Whether an amount of huge pages is a number of pages of the size that the resource's name tells.
fn is_of_whole_pages(name: &str, amount: Quantity) -> bool {
    let size = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok());
    size.filter(|size| size.value() > 0 && size.is_integer()).is_some_and(|size| amount.value() % size.value() == 0)
}

/// Forgives broken huge pages, and a way to relabel files that is off, in what replaces an object that has such.
pub(super) fn forgive_what_was(errors: &mut Errors, old: &Value) {
    if errors.iter().any(|error| error.detail.contains(PAGES)) && has_broken_pages(old) {
        errors.retain(|error| !error.detail.contains(PAGES));
    }
    const RELABELLING: &str = "seLinuxChangePolicy";
    let is_one = |error: &FieldError| error.field.ends_with(RELABELLING) && error.value == "MountOption";
    if errors.iter().any(is_one) && has_field(old, RELABELLING) {
        errors.retain(|error| !is_one(error));
    }
}

fn has_field(value: &Value, name: &str) -> bool {
    match value {
        Value::Array(items) => items.iter().any(|item| has_field(item, name)),
        Value::Object(fields) => fields.contains_key(name) || fields.values().any(|value| has_field(value, name)),
        _ => false,
    }
}

fn has_broken_pages(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_broken_pages),
        Value::Object(fields) => fields.iter().any(|(name, value)| {
            let broken = |amount: Quantity| !is_of_whole_pages(name, amount);
            has_broken_pages(value) || is_huge_page(name) && quantity(fields, name).is_some_and(broken)
        }),
        _ => false,
    }
}

fn quantity(amounts: &Map<String, Value>, name: &str) -> Option<Quantity> {
    amounts.get(name).and_then(|amount| Quantity::from_json(amount).ok())
}

/// Resources that are stated for a pod as a whole.
pub(super) fn is_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

fn pod_resource_name(errors: &mut Errors, name: &str, path: &dyn Fn() -> Path) {
    let before = errors.len();
    resource_name(errors, name, path);
    if errors.len() == before && !is_of_pods(name) {
        errors.push(FieldError::not_supported(&path(), name, &["cpu", "hugepages-", "memory"]));
    }
}

/// `resources` of a pod as a whole, and how they go with those of its containers.
pub(super) fn of_pod(errors: &mut Errors, spec: &Value, claims: &[&str], path: &Path) {
    let Some(resources) = super::at::get(spec, "resources") else { return };
    let path = path.child("resources");
    if super::at::text(sub(spec, "os"), "name") == "windows" {
        return errors.push(FieldError::forbidden(&path, "may not be set for a windows pod"));
    }
    if super::at::has(resources, "claims") {
        let why = "claims may not be set for Resources at pod-level";
        errors.push(FieldError::forbidden(&path.child("claims"), why));
    }
    named_requirements(errors, resources, claims, pod_resource_name, &path);
    let (requests, limits) = (map(resources, "requests"), map(resources, "limits"));
    for (field, whole) in [("requests", requests), ("limits", limits)] {
        for (name, sum) in amounts::of_containers(spec, field) {
            if let Some(given) = quantity(whole, &name).filter(|given| sum > *given)
                && (field == "requests" || is_huge_page(&name))
            {
                let why = format!("must be greater than or equal to aggregate container {field} of {sum}");
                errors.push(FieldError::invalid(&path.child(field).key(name), given.to_string(), why));
            }
        }
    }
    for (n, container) in super::at::list(spec, "containers").iter().enumerate() {
        for (name, amount) in amounts::read(sub(sub(container, "resources"), "limits")) {
            if let Some(given) = quantity(limits, &name).filter(|given| amount > *given) {
                let path = path.child("containers").index(n).key(name).child("limits");
                let why = format!("must be less than or equal to pod limits of {given}");
                errors.push(FieldError::invalid(&path, amount.to_string(), why));
            }
        }
    }
}

/// `resources` of a container.
pub(super) fn requirements(errors: &mut Errors, resources: &Value, claims: &[&str], path: &Path) {
    let check_name = |errors: &mut Errors, name: &str, path: &dyn Fn() -> Path| {
        container_resource_name(errors, name, path);
    };
    named_requirements(errors, resources, claims, check_name, path);
}

fn named_requirements(
    errors: &mut Errors,
    resources: &Value,
    claims: &[&str],
    check_name: impl Fn(&mut Errors, &str, &dyn Fn() -> Path),
    path: &Path,
) {
    if resources.is_null() {
        return;
    }
    let (limits, requests) = (map(resources, "limits"), map(resources, "requests"));
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let mut computes = false;
    let mut huge = false;
    for (amounts, list_path) in [(limits, &limits_path), (requests, &requests_path)] {
        for (name, amount) in amounts {
            check_name(errors, name, &|| list_path.key(name.as_str()));
            quantity_value(errors, name, amount, || list_path.key(name.as_str()));
            computes |= name == "cpu" || name == "memory";
            huge |= is_huge_page(name);
            if is_huge_page(name)
                && let Some(amount) = quantity(amounts, name).filter(|amount| !is_of_whole_pages(name, *amount))
            {
                let why = format!("{amount} {PAGES} {name}");
                errors.push(FieldError::invalid(&list_path.key(name.as_str()), amount.to_string(), why));
            }
        }
    }
    for name in requests.keys() {
        let Some(request) = quantity(requests, name) else { continue };
        match quantity(limits, name) {
            Some(limit) if request != limit && !may_overcommit(name) => errors.push(FieldError::invalid(
                &requests_path,
                request.to_string(),
                format!("must be equal to {name} limit of {limit}"),
            )),
            Some(limit) if request > limit => errors.push(FieldError::invalid(
                &requests_path,
                request.to_string(),
                format!("must be less than or equal to {name} limit of {limit}"),
            )),
            None if !may_overcommit(name) => {
                errors.push(FieldError::required(&limits_path, "Limit must be set for non overcommitable resources"))
            }
            _ => {}
        }
    }
    if huge && !computes {
        errors.push(FieldError::forbidden(path, "HugePages require cpu or memory"));
    }
    check_claims(errors, resources, claims, &path.child("claims"));
}

/// The claims of the pod, whole or a request of one, that a container uses: each once.
fn check_claims(errors: &mut Errors, resources: &Value, of_pod: &[&str], path: &Path) {
    let mut seen: Vec<String> = Vec::new();
    for (n, claim) in super::at::list(resources, "claims").iter().enumerate() {
        let (name, request) = (super::at::text(claim, "name"), super::at::text(claim, "request"));
        let at = path.index(n);
        if name.is_empty() {
            errors.push(FieldError::required(&at, ""));
            continue;
        }
        if seen.iter().any(|seen| seen == name) {
            errors.push(FieldError::duplicate(&at, name));
        } else {
            let whole = request.is_empty();
            if !whole {
                invalid_each(errors, names::dns1123_label(request), || at.child("request"), request);
            }
            let key = if whole { name.to_owned() } else { format!("{name}/{request}") };
            if seen.contains(&key) {
                errors.push(FieldError::duplicate(&at, key.as_str()));
            } else if whole {
                let parts = seen.iter().filter(|seen| seen.split_once('/').is_some_and(|(claim, _)| claim == name));
                errors.extend(parts.map(|_| FieldError::duplicate(&at, name)));
            }
            if !seen.contains(&key) {
                seen.push(key);
            }
        }
        if !of_pod.contains(&name) {
            let mut known: Vec<&str> = of_pod.to_vec();
            known.sort_unstable();
            let mut error = FieldError::not_found(&at, name);
            error.detail = match known.is_empty() {
                true => "must be one of the names in pod.spec.resourceClaims which is empty".to_owned(),
                false => format!("must be one of the names in pod.spec.resourceClaims: {}", known.join(", ")),
            };
            errors.push(error);
        }
    }
}

/// Sets requests that are left out to the limits.
pub(super) fn default_requests(container: &mut Value) {
    let limits = map(sub(container, "resources"), "limits").clone();
    if limits.is_empty() {
        return;
    }
    let Some(resources) = container.get_mut("resources") else { return };
    if let Some(requests) = super::at::map_mut(resources, "requests") {
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}
