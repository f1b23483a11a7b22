//! `pods/resize`: the amounts of cpu and memory that a pod that runs may still change, of itself and of its containers.

use serde_json::{Map, Value};

use super::super::at::{get, keep, list, list_mut, map, map_mut, remove, same, sub, sub_mut, text};
use super::super::check::Errors;
use super::status::qos_class;
use super::{spec, update};
use crate::field::{FieldError, Path};
use crate::meta;

const CHANGEABLE: [&str; 2] = ["cpu", "memory"];
const LISTS: [&str; 2] = ["containers", "initContainers"];

fn is_sidecar(container: &Value) -> bool {
    text(container, "restartPolicy") == "Always"
}

/// Keeps everything but amounts and what is done when they change. Containers that come, go or change their places are
/// left as they are asked for, to be found fault with.
pub fn prepare_resize(new: &mut Value, old: &Value) {
    let spec = |pod| sub(pod, "spec");
    let names = |pod: &Value, field| -> Vec<String> {
        list(sub(pod, "spec"), field).iter().map(|container| text(container, "name").to_owned()).collect()
    };
    if LISTS.iter().all(|field| list(spec(new), field).len() == list(spec(old), field).len()) {
        let asked = spec(new).clone();
        let in_place = LISTS.map(|field| names(new, field) == names(old, field));
        update::keep_rest(new, old);
        if let Some(spec) = sub_mut(new, "spec") {
            keep(spec, &asked, "resources");
            for (field, in_place) in LISTS.into_iter().zip(in_place) {
                if !in_place {
                    keep(spec, &asked, field);
                    continue;
                }
                for (container, asked) in list_mut(spec, field).into_iter().flatten().zip(list(&asked, field)) {
                    keep(container, asked, "resources");
                    keep(container, asked, "resizePolicy");
                }
                if list(spec, field).is_empty() {
                    keep(spec, sub(old, "spec"), field);
                }
            }
        }
    }
    update::count_generation(new, old);
}

/// What is wrong with a pod whose amounts were changed.
pub fn validate_resize(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = super::super::meta::validate_update(new, old, &super::RULES);
    spec::check_pod(new, &mut errors);
    let whole = |why| vec![FieldError::forbidden(&Path::new(""), why)];
    if meta::annotation(old, "kubernetes.io/config.mirror").is_some() {
        return whole("static pods cannot be resized");
    }
    let (new_spec, old_spec, path) = (sub(new, "spec"), sub(old, "spec"), Path::new("spec"));
    if text(sub(old_spec, "os"), "name") == "windows" {
        return whole("windows pods cannot be resized");
    }
    let class = text(sub(old, "status"), "qosClass");
    let class = if class.is_empty() { qos_class(old_spec) } else { class };
    if class != qos_class(new_spec) {
        let why = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(&path, text(sub(new, "status"), "qosClass"), why));
    }
    let running = list(sub(old, "status"), "containerStatuses")
        .iter()
        .find(|status| get(sub(status, "state"), "running").is_some());
    if running.is_some_and(|status| get(status, "resources").is_none()) {
        errors.push(FieldError::forbidden(&path, "Pod running on node without support for resize"));
    }
    let mut masked = new_spec.clone();
    let has_amounts = |spec| ["requests", "limits"].iter().any(|field| !map(sub(spec, "resources"), field).is_empty());
    if has_amounts(new_spec) || has_amounts(old_spec) {
        check_of_pod(&mut errors, &mut masked, new_spec, old_spec, &path);
    }
    if !list(sub(old, "status"), "nodeAllocatableResourceClaimStatuses").is_empty() {
        let why = "pods with node allocatable resource claims cannot be resized";
        errors.push(FieldError::forbidden(&path, why));
    }
    if !check_order(&mut errors, new_spec, old_spec, &path) {
        return errors;
    }
    for field in ["initContainers", "containers"] {
        for (n, (container, before)) in list(new_spec, field).iter().zip(list(old_spec, field)).enumerate() {
            let path = path.child(field).index(n).child("resources");
            check_kept(&mut errors, sub(container, "resources"), sub(before, "resources"), "resource", &path);
        }
    }
    for field in LISTS {
        for (n, before) in list(old_spec, field).iter().enumerate() {
            let Some(container) = list_mut(&mut masked, field).and_then(|containers| containers.get_mut(n)) else {
                continue;
            };
            let path = if field == "containers" { path.clone() } else { path.child(field).index(n) };
            check_container(&mut errors, container, before, field == "initContainers", &path);
        }
    }
    if errors.is_empty() && !same(&masked, old_spec) {
        errors.push(FieldError::forbidden(&path, "only cpu and memory resources are mutable"));
    }
    errors
}

/// Amounts of the pod as a whole.
fn check_of_pod(errors: &mut Errors, masked: &mut Value, new: &Value, old: &Value, path: &Path) {
    let (now, before, at) = (get(new, "resources"), get(old, "resources"), path.child("resources"));
    match (now, before) {
        (None, Some(_)) => return errors.push(FieldError::forbidden(&at, "pod-level resources cannot be removed")),
        (Some(now), Some(before)) => check_kept(errors, now, before, "pod-level resource", &at),
        _ => {}
    }
    if let Some(resources) = sub_mut(masked, "resources") {
        mask(resources, before.unwrap_or(&Value::Null));
    }
    if !same(sub(masked, "resources"), sub(old, "resources")) {
        let why = "only cpu and memory resources are mutable at pod-level";
        errors.push(FieldError::forbidden(path, why));
    }
}

/// Amounts may change and not go.
fn check_kept(errors: &mut Errors, new: &Value, old: &Value, what: &str, path: &Path) {
    for field in ["requests", "limits"] {
        let now = map(new, field);
        if map(old, field).keys().any(|name| !now.contains_key(name)) {
            errors.push(FieldError::forbidden(&path.child(field), format!("{what} {field} cannot be removed")));
        }
    }
}

/// Containers stay where they are; whether to go on.
fn check_order(errors: &mut Errors, new: &Value, old: &Value, path: &Path) -> bool {
    let before = errors.len();
    for field in LISTS {
        let (containers, path) = (list(new, field), path.child(field));
        if containers.len() != list(old, field).len() {
            errors.push(FieldError::forbidden(&path, format!("{field} may not be added or removed on resize")));
            continue;
        }
        for (n, (container, old)) in containers.iter().zip(list(old, field)).enumerate() {
            if text(container, "name") != text(old, "name") {
                let why = format!("{field} may not be renamed or reordered on resize");
                errors.push(FieldError::forbidden(&path.index(n).child("name"), why));
            }
        }
    }
    errors.len() == before
}

fn check_container(errors: &mut Errors, container: &mut Value, old: &Value, is_init: bool, path: &Path) {
    let changed = !same(container, old);
    if let Some(resources) = sub_mut(container, "resources") {
        mask(resources, sub(old, "resources"));
        // Kubernetes refuses every resize of a container that has claims of devices.
        remove(resources, "claims");
    }
    if !same(container, old) {
        let why = match is_init {
            true => "only cpu and memory resources for init or sidecar containers are mutable",
            false => "only cpu and memory resources are mutable",
        };
        errors.push(FieldError::forbidden(path, why));
    }
    let restarts = |policy: &Value| text(policy, "restartPolicy") == "RestartContainer";
    if is_init && changed && !is_sidecar(container) {
        for _ in list(container, "resizePolicy").iter().filter(|policy| restarts(policy)) {
            let why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.push(FieldError::forbidden(path, why));
        }
    }
}

/// Puts the old amounts of what may change in the place of the new ones.
fn mask(resources: &mut Value, old: &Value) {
    for field in ["requests", "limits"] {
        let before = map(old, field);
        let Some(amounts) = map_mut(resources, field) else { continue };
        for name in CHANGEABLE {
            put_back(amounts, before, name);
        }
        if amounts.is_empty() {
            remove(resources, field);
        }
    }
}

fn put_back(amounts: &mut Map<String, Value>, before: &Map<String, Value>, name: &str) {
    match before.get(name) {
        Some(amount) => amounts.insert(name.to_owned(), amount.clone()),
        None => amounts.remove(name),
    };
}
