//! ResourceClaim, ResourceClaimTemplate and DeviceClass: which devices are wanted, and which ones a claim has got.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::at::{default, get, get_mut, has, int, items_mut, keep, list, maybe_text, same, sub, text};
use super::check::{self, Errors, immutable, invalid_each, member, required, word};
use super::storage::check_driver_name;
use super::{GENERIC, Generation, Rules, Scope, device_binding, pod, resources};
use crate::cel::device::{self, Selector};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static CLAIM: Rules = Rules {
    scope: Scope::Namespaced,
    has_status: true,
    default: |claim| {
        if let Some(spec) = get_mut(claim, "spec") {
            default_spec(spec);
        }
    },
    prepare_status_update: drop_devices_of_nothing,
    validate: |claim, errors| check_spec(errors, sub(claim, "spec"), &Path::new("spec")),
    validate_update: Some(|new, old, errors| spec_stays(new, old, "ResourceClaimSpec", errors)),
    validate_status_update,
    ..GENERIC
};

pub(super) static TEMPLATE: Rules = Rules {
    scope: Scope::Namespaced,
    default: |template| {
        if let Some(spec) = get_mut(template, "spec").and_then(|spec| get_mut(spec, "spec")) {
            default_spec(spec);
        }
    },
    validate: validate_template,
    validate_update: Some(|new, old, errors| {
        validate_template(new, errors);
        spec_stays(new, old, "ResourceClaimTemplateSpec", errors);
    }),
    ..GENERIC
};

fn validate_template(template: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(template, "spec"), Path::new("spec"));
    let meta_path = path.child("metadata");
    let meta = sub(spec, "metadata");
    check::labels(errors, super::at::map(meta, "labels"), || meta_path.child("labels"));
    check::annotations(errors, super::at::map(meta, "annotations"), || meta_path.child("annotations"));
    check_nothing_else(errors, meta, &meta_path);
    check_spec(errors, sub(spec, "spec"), &path.child("spec"));
}

/// Metadata of a template has labels and annotations only.
fn check_nothing_else(errors: &mut Errors, metadata: &Value, path: &Path) {
    const OTHERS: [(&str, &str); 12] = [
        ("name", "name"),
        ("generateName", "generateName"),
        ("namespace", "namespace"),
        ("selfLink", "selfLink"),
        ("uid", "uID"),
        ("resourceVersion", "resourceVersion"),
        ("generation", "generation"),
        ("creationTimestamp", "creationTimestamp"),
        ("deletionTimestamp", "deletionTimestamp"),
        ("deletionGracePeriodSeconds", "deletionGracePeriodSeconds"),
        ("ownerReferences", "ownerReferences"),
        ("finalizers", "finalizers"),
    ];
    for (field, shown) in OTHERS {
        let zero = |value: &Value| value.as_str() == Some("") || (field == "generation" && value.as_i64() == Some(0));
        if get(metadata, field).is_some_and(|value| !zero(value)) {
            errors.push(FieldError::forbidden(&path.child(shown), "cannot be set"));
        }
    }
}

pub(super) static CLASS: Rules = Rules {
    scope: Scope::Cluster,
    generation: Generation::Spec,
    validate: |class, errors| {
        let (spec, path) = (sub(class, "spec"), Path::new("spec"));
        check_selectors(errors, spec, &path);
        each(errors, spec, "config", CONFIGS_MAX, &path, check_configuration);
        if let Some(name) = maybe_text(spec, "extendedResourceName").filter(|name| !resources::is_extended(name)) {
            let path = path.child("extendedResourceName");
            errors.push(FieldError::invalid(&path, name, "must be a valid extended resource name"));
        }
    },
    ..GENERIC
};

const DEVICES_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const CONFIGS_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const CONSUMERS_MAX: usize = 256;

pub(super) const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

fn default_spec(spec: &mut Value) {
    let Some(devices) = get_mut(spec, "devices") else { return };
    for request in items_mut(devices, "requests") {
        if let Some(exactly) = get_mut(request, "exactly") {
            default_request(exactly);
        }
        items_mut(request, "firstAvailable").iter_mut().for_each(default_request);
    }
}

fn default_request(request: &mut Value) {
    default(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" && int(request, "count").unwrap_or(0) == 0 {
        super::at::set(request, "count", 1);
    }
    for toleration in items_mut(request, "tolerations") {
        default(toleration, "operator", "Equal");
    }
}

fn spec_stays(new: &Value, old: &Value, name: &str, errors: &mut Errors) {
    check::immutable_struct(errors, get(new, "spec"), get(old, "spec"), name, &Path::new("spec"));
}

/// Checks each item of a list that has at most so many.
pub(super) fn each(
    errors: &mut Errors,
    of: &Value,
    field: &'static str,
    max: usize,
    path: &Path,
    mut check: impl FnMut(&mut Errors, &Value, &Path),
) {
    let (items, path) = (list(of, field), path.child(field));
    if items.len() > max {
        return errors.push(FieldError::too_many(&path, items.len(), max));
    }
    for (n, item) in items.iter().enumerate() {
        check(errors, item, &path.index(n));
    }
}

/// Refuses items that are there twice, by a key of theirs.
pub(super) fn once<K: Ord + Clone + Into<Value>>(
    errors: &mut Errors,
    of: &Value,
    field: &'static str,
    path: &Path,
    key: impl Fn(&Value) -> K,
) {
    let mut seen = BTreeSet::new();
    for (n, item) in list(of, field).iter().enumerate() {
        let key = key(item);
        if !seen.insert(key.clone()) {
            errors.push(FieldError::duplicate(&path.child(field).index(n), key));
        }
    }
}

/// The names of a claim's requests, each with those of its alternatives.
struct Requests<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Requests<'a> {
    fn of(spec: &'a Value) -> Self {
        let alternatives = |request| list(request, "firstAvailable").iter().map(|one| text(one, "name")).collect();
        let requests = list(sub(spec, "devices"), "requests").iter();
        Self(requests.map(|request| (text(request, "name"), alternatives(request))).collect())
    }

    fn has(&self, reference: &str) -> bool {
        match reference.split_once('/') {
            None => self.0.contains_key(reference),
            Some((request, one)) => self.0.get(request).is_some_and(|alternatives| alternatives.contains(one)),
        }
    }

    fn check(&self, errors: &mut Errors, reference: &str, path: &Path) {
        const WHAT: &str =
            "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        let segments: Vec<&str> = reference.split('/').collect();
        if segments.len() > 2 {
            return errors.push(FieldError::invalid(path, reference, WHAT));
        }
        for segment in segments {
            invalid_each(errors, names::dns1123_label(segment), || path.clone(), segment);
        }
        if !self.has(reference) {
            errors.push(FieldError::invalid(path, reference, WHAT));
        }
    }

    fn check_all(&self, errors: &mut Errors, of: &Value, path: &Path) {
        each(errors, of, "requests", DEVICES_MAX, path, |errors, reference, path| {
            self.check(errors, reference.as_str().unwrap_or_default(), path);
        });
        once(errors, of, "requests", path, |reference| reference.as_str().unwrap_or_default().to_owned());
    }
}

fn check_spec(errors: &mut Errors, spec: &Value, path: &Path) {
    let (devices, path) = (sub(spec, "devices"), path.child("devices"));
    let requests = Requests::of(spec);
    each(errors, devices, "requests", DEVICES_MAX, &path, check_request);
    once(errors, devices, "requests", &path, |request| text(request, "name").to_owned());
    each(errors, devices, "constraints", CONSTRAINTS_MAX, &path, |errors, constraint, path| {
        requests.check_all(errors, constraint, path);
        match (maybe_text(constraint, "matchAttribute"), maybe_text(constraint, "distinctAttribute")) {
            (Some(name), _) => check_full_name(errors, name, &path.child("matchAttribute")),
            (None, Some(name)) => check_full_name(errors, name, &path.child("distinctAttribute")),
            (None, None) => errors.push(FieldError::required(
                path,
                "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
            )),
        }
    });
    each(errors, devices, "config", CONFIGS_MAX, &path, |errors, config, path| {
        requests.check_all(errors, config, path);
        check_configuration(errors, config, path);
    });
}

fn check_request(errors: &mut Errors, request: &Value, path: &Path) {
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    let name = text(request, "name");
    invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
    let alternatives = !list(request, "firstAvailable").is_empty();
    match (has(request, "exactly"), alternatives) {
        (false, false) => errors.push(FieldError::required(path, ONE)),
        (true, true) => {
            errors.push(FieldError::invalid(path, Value::Null, format!("{ONE}, but multiple fields are set")));
        }
        (true, false) => check_wanted(errors, sub(request, "exactly"), &path.child("exactly")),
        (false, true) => {
            each(errors, request, "firstAvailable", ALTERNATIVES_MAX, path, |errors, one, path| {
                let name = text(one, "name");
                invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
                check_wanted(errors, one, path);
            });
            once(errors, request, "firstAvailable", path, |one| text(one, "name").to_owned());
        }
    }
}

/// What a request and an alternative of one have in common.
fn check_wanted(errors: &mut Errors, wanted: &Value, path: &Path) {
    let class = text(wanted, "deviceClassName");
    if required(errors, class, &path.child("deviceClassName")) {
        invalid_each(errors, names::dns1123_subdomain(class), || path.child("deviceClassName"), class);
    }
    check_selectors(errors, wanted, path);
    let count = int(wanted, "count").unwrap_or(0);
    match text(wanted, "allocationMode") {
        "All" if count != 0 => errors.push(FieldError::invalid(
            &path.child("count"),
            count,
            "must not be specified when allocationMode is 'All'",
        )),
        "ExactCount" if count <= 0 => {
            errors.push(FieldError::invalid(&path.child("count"), count, "must be greater than zero"));
        }
        mode => member(errors, mode, &["All", "ExactCount"], &path.child("allocationMode")),
    }
    each(errors, wanted, "tolerations", usize::MAX, path, check_toleration);
}

fn check_toleration(errors: &mut Errors, toleration: &Value, path: &Path) {
    let (key, value, effect) = (text(toleration, "key"), text(toleration, "value"), text(toleration, "effect"));
    if !key.is_empty() {
        check::label_key(errors, key, || path.child("key"));
    }
    match text(toleration, "operator") {
        "Exists" if !value.is_empty() => {
            errors.push(FieldError::invalid(&path.child("value"), value, "must be empty for operator `Exists`"));
        }
        "Equal" => invalid_each(errors, names::label_value(value), || path.child("value"), value),
        operator => word(errors, operator, &["Equal", "Exists"], &path.child("operator")),
    }
    if !effect.is_empty() {
        member(errors, effect, EFFECTS, &path.child("effect"));
    }
}

fn check_selectors(errors: &mut Errors, of: &Value, path: &Path) {
    each(errors, of, "selectors", SELECTORS_MAX, path, |errors, selector, path| {
        let path = path.child("cel");
        if !has(selector, "cel") {
            return errors.push(FieldError::required(&path, ""));
        }
        let (expression, path) = (text(sub(selector, "cel"), "expression"), path.child("expression"));
        if expression.len() > device::LENGTH_MAX {
            return errors.push(FieldError::too_long(&path, device::LENGTH_MAX));
        }
        match Selector::compile(expression) {
            Ok(selector) if selector.max_cost > device::COST_LIMIT => {
                errors.push(FieldError::forbidden(&path, "too complex, exceeds cost limit"));
            }
            Ok(_) => {}
            Err(error) => errors.push(FieldError::invalid(&path, expression, error.to_string())),
        }
    });
}

fn check_configuration(errors: &mut Errors, config: &Value, path: &Path) {
    let path = path.child("opaque");
    if !has(config, "opaque") {
        return errors.push(FieldError::required(&path, ""));
    }
    let opaque = sub(config, "opaque");
    check_driver_name(errors, text(opaque, "driver"), &path.child("driver"));
    device_binding::check_object(
        errors,
        sub(opaque, "parameters"),
        device_binding::DATA_MAX,
        &path.child("parameters"),
    );
}

/// `name`, or `domain/name`.
pub(super) fn check_qualified_name(errors: &mut Errors, name: &str, path: &Path) {
    let (domain, id) = match name.split_once('/') {
        None => (None, name),
        Some((domain, id)) => (Some(domain), id),
    };
    match domain {
        Some("") => errors.push(FieldError::invalid(path, "", "the domain must not be empty")),
        Some(domain) => check_driver_name(errors, domain, path),
        None => {}
    }
    if domain.is_some() && id.is_empty() {
        return errors.push(FieldError::invalid(path, "", "the name must not be empty"));
    }
    if id.len() > 32 {
        errors.push(FieldError::too_long(path, 32));
    }
    invalid_each(errors, names::c_identifier(id), || path.clone(), id);
}

fn check_full_name(errors: &mut Errors, name: &str, path: &Path) {
    check_qualified_name(errors, name, path);
    if !name.contains('/') {
        let what = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(FieldError::invalid(path, name, what));
    }
}

/// One or several names of subdomains with slashes between.
pub(super) fn check_pool_name(errors: &mut Errors, name: &str, path: &Path) {
    if !required(errors, name, path) {
        return;
    }
    if name.len() > 253 {
        errors.push(FieldError::too_long(path, 253));
    }
    for part in name.split('/') {
        invalid_each(errors, names::dns1123_subdomain(part), || path.clone(), part);
    }
}

/// What a driver says of devices that are not allocated any more goes with the allocation.
fn drop_devices_of_nothing(new: &mut Value, old: &Value) {
    keep(new, old, "spec");
    check::keep_metadata(new, old);
    let Some(status) = get_mut(new, "status") else { return };
    let allocation = sub(status, "allocation").clone();
    let was = sub(sub(old, "status"), "allocation");
    let had = |device: &Value| list(sub(was, "devices"), "results").iter().any(|result| is_of(device, result));
    let has = |device: &Value| list(sub(&allocation, "devices"), "results").iter().any(|result| is_of(device, result));
    if let Some(Value::Array(devices)) = get_mut(status, "devices") {
        devices.retain(|device| has(device) || !had(device));
        if devices.is_empty() {
            super::at::remove(status, "devices");
        }
    }
}

fn is_of(device: &Value, result: &Value) -> bool {
    ["driver", "pool", "device", "shareID"].iter().all(|field| same(sub(device, field), sub(result, field)))
}

fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (status, was, path) = (sub(new, "status"), sub(old, "status"), Path::new("status"));
    each(errors, status, "reservedFor", CONSUMERS_MAX, &path, |errors, consumer, path| {
        for field in ["resource", "name", "uid"] {
            required(errors, text(consumer, field), &path.child(field));
        }
    });
    once(errors, status, "reservedFor", &path, |consumer| text(consumer, "uid").to_owned());
    let allocation = get(status, "allocation").filter(|allocation| !allocation.is_null());
    let results = list(sub(allocation.unwrap_or(&Value::Null), "devices"), "results");
    each(errors, status, "devices", usize::MAX, &path, |errors, device, path| {
        check_device(errors, device, path);
        device_binding::check_share(errors, device, path);
        if !results.iter().any(|result| is_of(device, result)) {
            let id = device_binding::shared_id(device);
            errors.push(FieldError::invalid(path, id, "must be an allocated device in the claim"));
        }
        device_binding::check_status(errors, device, path);
    });
    let devices = list(status, "devices");
    for (n, device) in devices.iter().enumerate() {
        if devices[..n].iter().any(|other| is_of(other, device)) {
            let path = path.child("devices").index(n);
            errors.push(FieldError::duplicate(&path, device_binding::shared_id(device)));
        }
    }
    let consumers = list(status, "reservedFor");
    if !consumers.is_empty() {
        let path = path.child("reservedFor");
        let known = |consumer: &Value| list(was, "reservedFor").iter().any(|old| same(old, consumer));
        let deleted = has(sub(new, "metadata"), "deletionTimestamp");
        if allocation.is_none() {
            errors.push(FieldError::forbidden(&path, "may not be specified when `allocated` is not set"));
        } else if deleted && !consumers.iter().all(known) {
            let what = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
            errors.push(FieldError::forbidden(&path, what));
        }
    }
    let before = get(was, "allocation").filter(|allocation| !allocation.is_null());
    match (allocation, before) {
        (Some(_), Some(_)) => immutable(errors, allocation, before, &path.child("allocation")),
        (Some(allocation), None) => check_allocation(errors, allocation, sub(new, "spec"), &path.child("allocation")),
        (None, _) => {}
    }
}

fn check_device(errors: &mut Errors, device: &Value, path: &Path) {
    check_driver_name(errors, text(device, "driver"), &path.child("driver"));
    check_pool_name(errors, text(device, "pool"), &path.child("pool"));
    let name = text(device, "device");
    invalid_each(errors, names::dns1123_label(name), || path.child("device"), name);
}

fn check_allocation(errors: &mut Errors, allocation: &Value, spec: &Value, path: &Path) {
    let requests = Requests::of(spec);
    let (devices, devices_path) = (sub(allocation, "devices"), path.child("devices"));
    each(errors, devices, "results", DEVICES_MAX, &devices_path, |errors, result, path| {
        requests.check(errors, text(result, "request"), &path.child("request"));
        check_device(errors, result, path);
        device_binding::check_conditions(errors, result, path);
        device_binding::check_share(errors, result, path);
    });
    each(errors, devices, "config", 2 * CONFIGS_MAX, &devices_path, |errors, config, path| {
        word(errors, text(config, "source"), &["FromClaim", "FromClass"], &path.child("source"));
        requests.check_all(errors, config, path);
        check_configuration(errors, config, path);
    });
    if has(allocation, "nodeSelector") {
        pod::check_node_selector(errors, sub(allocation, "nodeSelector"), &path.child("nodeSelector"));
    }
}
