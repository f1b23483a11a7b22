//! LimitRange: defaults and bounds of what containers, pods and claims ask for.

use serde_json::{Map, Value};

use super::at::{items_mut, list, map, set, sub, sub_mut, text};
use super::check::{Errors, invalid_each};
use super::{GENERIC, Rules, Scope, resources};
use crate::field::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

pub(super) static RULES: Rules = Rules { scope: Scope::Namespaced, default: set_defaults, validate, ..GENERIC };

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
        invalid_each(errors, names::qualified_name(kind), || path.child("type"), kind);
        if items[..n].iter().any(|other| text(other, "type") == kind) {
            errors.push(FieldError::duplicate(&path.child("type"), kind));
        }
        for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            let amounts = map(item, field);
            if kind == "Pod" && field.starts_with("default") && !amounts.is_empty() {
                errors.push(FieldError::forbidden(&path.child(field), "may not be specified when `type` is 'Pod'"));
                continue;
            }
            for name in amounts.keys() {
                resources::resource_name(errors, name, || path.child(field).key(name.as_str()));
            }
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
        check_order(errors, item, &path);
    }
}

fn check_order(errors: &mut Errors, item: &Value, path: &Path) {
    let amount =
        |field: &str, name: &str| map(item, field).get(name).and_then(|amount| Quantity::from_json(amount).ok());
    let mut resources: Vec<&String> =
        ["max", "min", "default", "defaultRequest"].iter().flat_map(|field| map(item, field).keys()).collect();
    resources.sort();
    resources.dedup();
    for name in resources {
        for (low, high) in [
            ("min", "max"),
            ("min", "defaultRequest"),
            ("defaultRequest", "max"),
            ("defaultRequest", "default"),
            ("default", "max"),
        ] {
            if let (Some(less), Some(more)) = (amount(low, name), amount(high, name))
                && less > more
            {
                let words = |field: &str| match field {
                    "default" => "default".to_string(),
                    "defaultRequest" => "default request".to_string(),
                    other => other.to_string(),
                };
                errors.push(FieldError::invalid(
                    &path.child(low).key(name.as_str()),
                    less.to_string(),
                    format!("{} value {less} is greater than {} value {more}", words(low), words(high)),
                ));
            }
        }
    }
}
