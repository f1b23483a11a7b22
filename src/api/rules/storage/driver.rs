//! What drivers of volumes say: how they are used (CSIDriver), where they run (CSINode), what room there is
//! (CSIStorageCapacity).

use std::collections::BTreeSet;

use serde_json::Value;

use super::at::{flag, get, has, int, list, maybe_text, remove, same, sub, text};
use super::check::{Errors, IMMUTABLE, immutable, label_key, label_selector, member, non_negative, required};
use super::{FieldError, GENERIC, Path, Quantity, Rules, Scope, check_class_name, check_driver_name, features, node};

pub(in super::super) static DRIVER: Rules = Rules {
    scope: Scope::Cluster,
    prepare_update: |new, old| {
        if !same(sub(new, "spec"), sub(old, "spec")) {
            crate::rules::meta::bump_generation(new);
        }
    },
    validate: |driver, errors| validate_driver(sub(driver, "spec"), errors),
    validate_update: Some(|new, old, errors| {
        let (spec, old_spec) = (sub(new, "spec"), sub(old, "spec"));
        validate_driver(spec, errors);
        for (field, shown) in [("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")]
        {
            immutable(errors, get(spec, field), get(old_spec, field), &Path::new("spec").child(shown));
        }
    }),
    gated: features::CSI_DRIVER,
    warnings: |driver, old| {
        let (spec, requests) = (sub(driver, "spec"), sub(sub(driver, "spec"), "tokenRequests"));
        let changed = old.is_none_or(|old| !same(sub(sub(old, "spec"), "tokenRequests"), requests));
        let silent = changed && !list(spec, "tokenRequests").is_empty() && !has(spec, "serviceAccountTokenInSecrets");
        silent.then(|| TOKENS_LOGGED.to_owned()).into_iter().collect()
    },
    ..GENERIC
};

const TOKENS_LOGGED: &str = "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes";

fn validate_driver(spec: &Value, errors: &mut Errors) {
    let path = Path::new("spec");
    for (field, shown) in [
        ("attachRequired", "attachedRequired"),
        ("podInfoOnMount", "podInfoOnMount"),
        ("storageCapacity", "storageCapacity"),
    ] {
        if flag(spec, field).is_none() {
            errors.push(FieldError::required(&path.child(shown), ""));
        }
    }
    if let Some(policy) = maybe_text(spec, "fsGroupPolicy") {
        member(errors, policy, &["File", "None", "ReadWriteOnceWithFSType"], &path.child("fsGroupPolicy"));
    }
    let requests = list(spec, "tokenRequests");
    check_token_requests(errors, requests, &path.child("tokenRequests"));
    for mode in list(spec, "volumeLifecycleModes") {
        let mode = mode.as_str().unwrap_or("");
        member(errors, mode, &["Persistent", "Ephemeral"], &path.child("volumeLifecycleModes"));
    }
    if let Some(seconds) = int(spec, "nodeAllocatableUpdatePeriodSeconds").filter(|seconds| *seconds < 10) {
        let why = "must be greater than or equal to 10 seconds";
        errors.push(FieldError::invalid(&path.child("nodeAllocatableUpdatePeriodSeconds"), seconds, why));
    }
    if let Some(given) = flag(spec, "serviceAccountTokenInSecrets").filter(|_| requests.is_empty()) {
        let why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        errors.push(FieldError::invalid(&path.child("serviceAccountTokenInSecrets"), given, why));
    }
}

fn check_token_requests(errors: &mut Errors, requests: &[Value], path: &Path) {
    let mut audiences = BTreeSet::new();
    for (n, request) in requests.iter().enumerate() {
        let (path, audience) = (path.index(n), text(request, "audience"));
        if !audiences.insert(audience) {
            errors.push(FieldError::duplicate(&path.child("audience"), audience));
            continue;
        }
        let Some(seconds) = int(request, "expirationSeconds") else { continue };
        let mut refuse = |why: &str| errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, why));
        if seconds < 600 {
            refuse("may not specify a duration less than 10 minutes");
        }
        if seconds > 1 << 32 {
            refuse("may not specify a duration larger than 2^32 seconds");
        }
    }
}

pub(in super::super) static NODE: Rules = Rules {
    scope: Scope::Cluster,
    validate: validate_node,
    validate_update: Some(|new, old, errors| {
        validate_node(new, errors);
        let of = |node| list(sub(node, "spec"), "drivers");
        let kept = |driver: &Value| {
            let mut driver = driver.clone();
            remove(&mut driver, "allocatable");
            driver
        };
        for old in of(old) {
            for new in of(new).iter().filter(|new| text(new, "name") == text(old, "name")) {
                immutable(errors, Some(&kept(new)), Some(&kept(old)), &Path::new("spec").child("drivers"));
            }
        }
    }),
    ..GENERIC
};

fn validate_node(node: &Value, errors: &mut Errors) {
    const MAX_ID: usize = 256;
    let path = Path::new("spec").child("drivers");
    let drivers = list(sub(node, "spec"), "drivers");
    for (n, driver) in drivers.iter().enumerate() {
        let (path, name, id) = (path.index(n), text(driver, "name"), text(driver, "nodeID"));
        check_driver_name(errors, name, &path.child("name"));
        required(errors, id, &path.child("nodeID"));
        if id.len() > MAX_ID {
            let why = format!("must be {MAX_ID} characters or less");
            errors.push(FieldError::invalid(&path.child("nodeID"), id, why));
        }
        non_negative(errors, int(sub(driver, "allocatable"), "count"), || path.child("allocatable").child("count"));
        if drivers[..n].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        let mut keys = BTreeSet::new();
        for key in list(driver, "topologyKeys") {
            let key = key.as_str().unwrap_or("");
            required(errors, key, &path);
            if !keys.insert(key) {
                errors.push(FieldError::duplicate(&path, key));
            }
            label_key(errors, key, || path.clone());
        }
    }
}

pub(in super::super) static CAPACITY: Rules = Rules {
    scope: Scope::Namespaced,
    validate: validate_capacity,
    validate_update: Some(|new, old, errors| {
        validate_capacity(new, errors);
        immutable(errors, get(new, "nodeTopology"), get(old, "nodeTopology"), &Path::new("nodeTopology"));
        let class = text(new, "storageClassName");
        if class != text(old, "storageClassName") {
            errors.push(FieldError::invalid(&Path::new("storageClassName"), class, IMMUTABLE));
        }
    }),
    warnings: |capacity, _| node::selector_advice(sub(capacity, "nodeTopology"), &Path::new("nodeTopology")),
    ..GENERIC
};

fn validate_capacity(capacity: &Value, errors: &mut Errors) {
    label_selector(errors, sub(capacity, "nodeTopology"), &Path::new("nodeTopology"));
    check_class_name(errors, text(capacity, "storageClassName"), || Path::new("storageClassName"));
    if let Some(amount) = get(capacity, "capacity").and_then(|amount| Quantity::from_json(amount).ok())
        && amount.is_negative()
    {
        let why = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(&Path::new("capacity"), amount.to_string(), why));
    }
}
