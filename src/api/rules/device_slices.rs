//! ResourceSlice: the devices of a driver, and from which nodes they can be reached.

use serde_json::Value;

use super::at::{flag, get, has, int, list, map, maybe_text, sub, text};
use super::check::{self, Errors, immutable, invalid_each, word};
use super::device_claims::{EFFECTS, check_pool_name, check_qualified_name, each, once};
use super::storage::check_driver_name;
use super::{GENERIC, Generation, Rules, Scope, device_binding, device_capacity, features, pod};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static SLICE: Rules = Rules {
    scope: Scope::Cluster,
    generation: Generation::Spec,
    validate: |slice, errors| check_spec(errors, sub(slice, "spec"), &Path::new("spec")),
    validate_update: Some(|new, old, errors| {
        let (spec, was, path) = (sub(new, "spec"), sub(old, "spec"), Path::new("spec"));
        check_spec(errors, spec, &path);
        let name = |spec| get(sub(spec, "pool"), "name");
        immutable(errors, name(spec), name(was), &path.child("pool").child("name"));
        for field in ["driver", "nodeName"] {
            immutable(errors, get(spec, field), get(was, field), &path.child(field));
        }
    }),
    selectable: &[
        ("spec.nodeName", |slice| text(sub(slice, "spec"), "nodeName").to_string()),
        ("spec.driver", |slice| text(sub(slice, "spec"), "driver").to_string()),
    ],
    gated: features::RESOURCE_SLICE,
    warnings: |slice, _| {
        let driver = text(sub(slice, "spec"), "driver");
        let upper = driver.to_lowercase() != driver;
        let warning = || {
            let driver = crate::field::quote(driver);
            format!("spec.driver: driver names should be lowercase; {driver} contains uppercase characters")
        };
        upper.then(warning).into_iter().collect()
    },
    ..GENERIC
};

/// Gives taints the time that they lack: what tolerates them for a while counts from it. `now` as in objects.
pub fn stamp_taints(slice: &mut Value, now: &str) {
    let devices = slice.pointer_mut("/spec/devices").and_then(Value::as_array_mut).into_iter().flatten();
    let taints = devices.filter_map(|device| device.get_mut("taints").and_then(Value::as_array_mut)).flatten();
    for taint in taints.filter_map(Value::as_object_mut) {
        if taint.get("timeAdded").is_none_or(Value::is_null) {
            taint.insert("timeAdded".to_owned(), now.into());
        }
    }
}

const DEVICES_MAX: usize = 128;
/// When any of them has taints, counters or lists of values.
const DEVICES_MAX_ADVANCED: usize = 64;
const ATTRIBUTES_MAX: usize = 32;
const VALUE_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const CONSUMPTIONS_MAX: usize = 2;

fn check_spec(errors: &mut Errors, spec: &Value, path: &Path) {
    check_driver_name(errors, text(spec, "driver"), &path.child("driver"));
    let (pool, pool_path) = (sub(spec, "pool"), path.child("pool"));
    check_pool_name(errors, text(pool, "name"), &pool_path.child("name"));
    let count = int(pool, "resourceSliceCount").unwrap_or(0);
    if count <= 0 {
        errors.push(FieldError::invalid(&pool_path.child("resourceSliceCount"), count, "must be greater than zero"));
    }
    let generation = int(pool, "generation").unwrap_or(0);
    if generation < 0 {
        let what = "must be greater than or equal to zero";
        errors.push(FieldError::invalid(&pool_path.child("generation"), generation, what));
    }
    check_place(errors, spec, path);
    if has(spec, "sharedCounters") && has(spec, "devices") {
        errors.push(FieldError::invalid(path, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let advanced = |device: &Value| {
        let lists = |attribute: &Value| ["bools", "ints", "strings", "versions"].iter().any(|f| has(attribute, f));
        !list(device, "taints").is_empty()
            || !list(device, "consumesCounters").is_empty()
            || map(device, "attributes").values().any(lists)
    };
    let max = if list(spec, "devices").iter().any(advanced) { DEVICES_MAX_ADVANCED } else { DEVICES_MAX };
    let per_device = flag(spec, "perDeviceNodeSelection") == Some(true);
    each(errors, spec, "devices", max, path, |errors, device, path| check_device(errors, device, per_device, path));
    once(errors, spec, "devices", path, |device| text(device, "name").to_owned());
    each(errors, spec, "sharedCounters", COUNTER_SETS_MAX, path, |errors, set, path| {
        check_label(errors, text(set, "name"), &path.child("name"));
        check_counters(errors, set, path);
    });
    once(errors, spec, "sharedCounters", path, |set| text(set, "name").to_owned());
}

fn check_label(errors: &mut Errors, name: &str, path: &Path) {
    if check::required(errors, name, path) {
        invalid_each(errors, names::dns1123_label(name), || path.clone(), name);
    }
}

fn check_counters(errors: &mut Errors, of: &Value, path: &Path) {
    let (counters, path) = (map(of, "counters"), path.child("counters"));
    if counters.is_empty() {
        errors.push(FieldError::required(&path, ""));
    } else if counters.len() > COUNTERS_MAX {
        errors.push(FieldError::too_many(&path, counters.len(), COUNTERS_MAX));
    } else {
        for name in counters.keys() {
            invalid_each(errors, names::dns1123_label(name), || path.clone(), name);
        }
    }
}

/// From where the devices can be reached: one of four ways to say it.
fn check_place(errors: &mut Errors, spec: &Value, path: &Path) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut places = Vec::new();
    if let Some(node) = maybe_text(spec, "nodeName") {
        let path = path.child("nodeName");
        if node.is_empty() {
            errors.push(FieldError::invalid(&path, node, "must be either unset or set to a non-empty string"));
        } else {
            places.push("`nodeName`");
            invalid_each(errors, names::dns1123_subdomain(node), || path.clone(), node);
        }
    }
    if has(spec, "nodeSelector") {
        places.push("`nodeSelector`");
        let path = path.child("nodeSelector");
        let selector = sub(spec, "nodeSelector");
        pod::check_node_selector(errors, selector, &path);
        if list(selector, "nodeSelectorTerms").len() != 1 {
            let terms = sub(selector, "nodeSelectorTerms").clone();
            let what = "must have exactly one node selector term";
            errors.push(FieldError::invalid(&path.child("nodeSelectorTerms"), terms, what));
        }
    }
    for (field, quoted) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        match flag(spec, field) {
            Some(true) => places.push(quoted),
            Some(false) => {
                errors.push(FieldError::invalid(&path.child(field), false, "must be either unset or set to true"));
            }
            None => {}
        }
    }
    match places.len() {
        0 => errors.push(FieldError::required(path, ONE)),
        1 => {}
        _ => {
            let set = format!("{{{}}}", places.join(", "));
            errors.push(FieldError::invalid(path, set, format!("{ONE}, but multiple fields are set")));
        }
    }
}

fn check_device(errors: &mut Errors, device: &Value, per_device: bool, path: &Path) {
    let name = text(device, "name");
    invalid_each(errors, names::dns1123_label(name), || path.child("name"), name);
    let (attributes, capacity) = (map(device, "attributes"), map(device, "capacity"));
    let total = attributes.len() + capacity.len();
    if total > ATTRIBUTES_MAX {
        let what = format!("the total number of attributes and capacities must not exceed {ATTRIBUTES_MAX}");
        errors.push(FieldError::invalid(path, total, what));
    }
    for (name, attribute) in attributes {
        check_qualified_name(errors, name, &path.child("attributes"));
        check_attribute(errors, attribute, &path.child("attributes").key(name));
    }
    let shared = flag(device, "allowMultipleAllocations") == Some(true);
    for (name, amount) in capacity {
        check_qualified_name(errors, name, &path.child("capacity"));
        let path = path.child("capacity").key(name).child("requestPolicy");
        match (has(amount, "requestPolicy"), shared) {
            (false, _) => {}
            (true, false) => errors.push(FieldError::forbidden(&path, "allowMultipleAllocations must be true")),
            (true, true) => device_capacity::check_policy(errors, amount, &path),
        }
    }
    each(errors, device, "taints", TAINTS_MAX, path, |errors, taint, path| {
        check::label_key(errors, text(taint, "key"), || path.child("key"));
        let value = text(taint, "value");
        invalid_each(errors, names::label_value(value), || path.child("value"), value);
        word(errors, text(taint, "effect"), EFFECTS, &path.child("effect"));
    });
    each(errors, device, "consumesCounters", CONSUMPTIONS_MAX, path, |errors, consumed, path| {
        check_label(errors, text(consumed, "counterSet"), &path.child("counterSet"));
        check_counters(errors, consumed, path);
    });
    once(errors, device, "consumesCounters", path, |consumed| text(consumed, "counterSet").to_owned());
    check_device_place(errors, device, per_device, path);
    device_binding::check_conditions(errors, device, path);
}

fn check_device_place(errors: &mut Errors, device: &Value, per_device: bool, path: &Path) {
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    if !per_device {
        if ["nodeName", "nodeSelector", "allNodes"].into_iter().any(|field| has(device, field)) {
            let what = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
            errors.push(FieldError::invalid(path, Value::Null, what));
        }
        return;
    }
    let mut set = Vec::new();
    if let Some(node) = maybe_text(device, "nodeName") {
        let path = path.child("nodeName");
        if node.is_empty() {
            errors.push(FieldError::invalid(&path, node, "must not be empty"));
        } else {
            set.push("`nodeName`");
            invalid_each(errors, names::dns1123_subdomain(node), || path.clone(), node);
        }
    }
    if has(device, "nodeSelector") {
        set.push("`nodeSelector`");
        pod::check_node_selector(errors, sub(device, "nodeSelector"), &path.child("nodeSelector"));
    }
    match flag(device, "allNodes") {
        Some(true) => set.push("`allNodes`"),
        Some(false) => {
            let what = "must be either unset or set to true";
            errors.push(FieldError::invalid(&path.child("allNodes"), false, what));
        }
        None => {}
    }
    match set.len() {
        0 => errors.push(FieldError::required(path, ONE)),
        1 => {}
        _ => errors.push(FieldError::invalid(path, format!("{{{}}}", set.join(", ")), ONE)),
    }
}

fn check_attribute(errors: &mut Errors, attribute: &Value, path: &Path) {
    let kinds = ["bool", "bools", "int", "ints", "string", "strings", "version", "versions"];
    let set = kinds.iter().filter(|kind| has(attribute, kind)).count();
    if let Some(value) = maybe_text(attribute, "string") {
        check_length(errors, value, &path.child("string"));
    }
    for (n, value) in list(attribute, "strings").iter().enumerate() {
        check_length(errors, value.as_str().unwrap_or_default(), &path.child("strings").index(n));
    }
    if let Some(version) = maybe_text(attribute, "version") {
        check_version(errors, version, &path.child("version"));
    }
    for (n, version) in list(attribute, "versions").iter().enumerate() {
        check_version(errors, version.as_str().unwrap_or_default(), &path.child("versions").index(n));
    }
    match set {
        0 => errors.push(FieldError::invalid(path, "", "exactly one value must be specified")),
        1 => {}
        _ => errors.push(FieldError::invalid(path, attribute.clone(), "exactly one value must be specified")),
    }
}

fn check_length(errors: &mut Errors, value: &str, path: &Path) {
    if value.len() > VALUE_MAX {
        errors.push(FieldError::too_long(path, VALUE_MAX));
    }
}

fn check_version(errors: &mut Errors, version: &str, path: &Path) {
    if !is_version(version) {
        errors.push(FieldError::invalid(path, version, "must be a string compatible with semver.org spec 2.0.0"));
    }
    check_length(errors, version, path);
}

/// Three numbers without needless zeros; behind a hyphen what comes before the version, behind a plus what was built.
fn is_version(version: &str) -> bool {
    let number = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'))
    };
    let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (numbers, pre) = rest.split_once('-').map_or((rest, None), |(numbers, pre)| (numbers, Some(pre)));
    let parts: Vec<&str> = numbers.split('.').collect();
    let pre_part = |text: &str| word(text) && (number(text) || !text.bytes().all(|b| b.is_ascii_digit()));
    parts.len() == 3
        && parts.into_iter().all(number)
        && pre.is_none_or(|pre| pre.split('.').all(pre_part))
        && build.is_none_or(|build| build.split('.').all(word))
}
