//! LimitRange: defaults and bounds of what containers, pods and claims ask for.

use serde_json::{Map, Value};

use super::at::{items_mut, list, map, set, sub, sub_mut, text};
use super::check::{Errors, invalid_each};
use super::{GENERIC, Rules, Scope, resources};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names;
use crate::quantity::Quantity;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    default: set_defaults,
    // One without a name gets one that is as good as any.
    prepare_create: |range| {
        if meta::name(range).is_empty() {
            let uid = meta::uid(range).to_owned();
            meta::set_name(range, &uid);
        }
    },
    validate,
    ..GENERIC
};

fn set_defaults(range: &mut Value) {
    let Some(spec) = sub_mut(range, "spec") else { return };
    for item in items_mut(spec, "limits") {
        if text(item, "type") != "Container" {
            continue;
        }
        let mut default = map(item, "default").clone();
        let mut request = map(item, "defaultRequest").clone();
        fill(&mut default, map(item, "max"));
        fill(&mut request, &default);
        fill(&mut request, map(item, "min"));
        for (field, amounts) in [("default", default), ("defaultRequest", request)] {
            if !amounts.is_empty() {
                set(item, field, Value::Object(amounts));
            }
        }
    }
}

fn fill(amounts: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (name, amount) in from {
        amounts.entry(name.clone()).or_insert_with(|| amount.clone());
    }
}

fn validate(range: &Value, errors: &mut Errors) {
    let path = Path::new("spec").child("limits");
    let items = list(sub(range, "spec"), "limits");
    for (n, item) in items.iter().enumerate() {
        let path = path.index(n);
        let kind = text(item, "type");
        check_type(errors, kind, &path.child("type"));
        if items[..n].iter().any(|other| text(other, "type") == kind) {
            errors.push(FieldError::duplicate(&path.child("type"), kind));
        }
        check_names(errors, item, kind, &["max", "min"], &path);
        if kind == "Pod" {
            for field in ["default", "defaultRequest"] {
                if !map(item, field).is_empty() {
                    let why = "may not be specified when `type` is 'Pod'";
                    errors.push(FieldError::forbidden(&path.child(field), why));
                }
            }
        } else {
            check_names(errors, item, kind, &["default", "defaultRequest"], &path);
        }
        if kind == "PersistentVolumeClaim"
            && !map(item, "min").contains_key("storage")
            && !map(item, "max").contains_key("storage")
        {
            errors.push(FieldError::required(
                &path.child("limits"),
                "either minimum or maximum storage value is required, but neither was provided",
            ));
        }
        check_names(errors, item, kind, &["maxLimitRequestRatio"], &path);
        check_order(errors, item, kind, &path);
    }
}

fn check_type(errors: &mut Errors, kind: &str, path: &Path) {
    let wrong = names::qualified_name(kind);
    if wrong.is_empty() && !kind.contains('/') && !matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim") {
        errors.push(FieldError::invalid(path, kind, "must be a standard limit type or fully qualified"));
    }
    invalid_each(errors, wrong, || path.clone(), kind);
}

fn check_names(errors: &mut Errors, item: &Value, kind: &str, fields: &[&'static str], path: &Path) {
    for field in fields {
        for name in map(item, field).keys() {
            let path = || path.child(*field).key(name.as_str());
            match kind {
                "Pod" | "Container" => resources::container_resource_name(errors, name, path),
                _ => {
                    resources::resource_name(errors, name, path);
                }
            }
        }
    }
}

fn check_order(errors: &mut Errors, item: &Value, kind: &str, path: &Path) {
    let amount = |field: &str, name: &str| {
        let applies = kind != "Pod" || !field.starts_with("default");
        map(item, field).get(name).filter(|_| applies).and_then(|amount| Quantity::from_json(amount).ok())
    };
    let mut resources: Vec<&String> = ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"]
        .iter()
        .flat_map(|field| map(item, field).keys())
        .collect();
    resources.sort();
    resources.dedup();
    for name in resources {
        // Two fields and their words; the field that is blamed, and whose amount is told.
        for (low, low_words, high, high_words, blamed, told) in [
            ("min", "min", "max", "max", "min", "min"),
            ("min", "min", "defaultRequest", "default request", "defaultRequest", "defaultRequest"),
            ("defaultRequest", "default request", "max", "max", "defaultRequest", "defaultRequest"),
            ("defaultRequest", "default request", "default", "default limit", "defaultRequest", "defaultRequest"),
            ("min", "min", "default", "default", "default", "min"),
            ("default", "default", "max", "max", "default", "max"),
        ] {
            if let (Some(less), Some(more)) = (amount(low, name), amount(high, name))
                && less > more
            {
                let why = format!("{low_words} value {less} is greater than {high_words} value {more}");
                let told = if told == low { less } else { more };
                errors.push(FieldError::invalid(&path.child(blamed).key(name.as_str()), told.to_string(), why));
            }
        }
        let bounds = amount("min", name).zip(amount("max", name));
        if let Some(ratio) = amount("maxLimitRequestRatio", name) {
            check_ratio(errors, ratio, bounds, &path.child("maxLimitRequestRatio").key(name.as_str()));
        }
        if let (Some(limit), Some(request)) = (amount("default", name), amount("defaultRequest", name))
            && limit != request
            && !resources::may_overcommit(name)
        {
            let why = format!("default value {limit} must equal to defaultRequest value {request} in {name}");
            let path = path.child("defaultRequest").key(name.as_str());
            errors.push(FieldError::invalid(&path, request.to_string(), why));
        }
    }
}

fn check_ratio(errors: &mut Errors, ratio: Quantity, bounds: Option<(Quantity, Quantity)>, path: &Path) {
    /// Larger amounts are counted in whole numbers.
    const MAX_IN_MILLIS: i64 = i64::MAX / 1000;
    let mut refuse = |why: String| errors.push(FieldError::invalid(path, ratio.to_string(), why));
    if ratio.nanos() < 1_000_000_000 {
        refuse(format!("ratio {ratio} is less than 1"));
    }
    let Some((min, max)) = bounds else { return };
    let small = [ratio, min, max].iter().all(|amount| amount.value() < MAX_IN_MILLIS);
    #[expect(clippy::cast_precision_loss, reason = "as upstream divides")]
    let (allowed, wanted) = match small {
        true => (max.millis() as f64 / min.millis() as f64, ratio.millis() as f64 / 1000.0),
        false => (max.value() as f64 / min.value() as f64, ratio.value() as f64),
    };
    if wanted > allowed {
        refuse(format!("ratio {ratio} is greater than max/min = {allowed:.6}"));
    }
}
