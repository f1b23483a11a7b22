//! Capacities of devices that claims can have shares of: which amounts can be had.

use std::collections::BTreeSet;

use serde_json::Value;

use super::at::{get, has, list, sub};
use super::check::Errors;
use crate::field::{FieldError, Path};
use crate::quantity::Quantity;

const VALUES_MAX: usize = 10;

fn read(value: Option<&Value>) -> Option<Quantity> {
    value.filter(|value| !value.is_null()).and_then(|value| Quantity::from_json(value).ok())
}

/// Checks the `requestPolicy` of a capacity.
pub(super) fn check_policy(errors: &mut Errors, capacity: &Value, path: &Path) {
    let (policy, whole) = (sub(capacity, "requestPolicy"), read(get(capacity, "value")).unwrap_or(Quantity::ZERO));
    let values = list(policy, "validValues");
    let (valued, ranged) = (!values.is_empty(), has(policy, "validRange"));
    if valued && ranged {
        let what =
            "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time";
        return errors.push(FieldError::forbidden(path, what));
    }
    if !valued && !ranged {
        return;
    }
    let field = if valued { "validValues" } else { "validRange" };
    let Some(default) = read(get(policy, "default")) else {
        let what = format!("required when {field} is defined");
        return errors.push(FieldError::required(&path.child("default"), what));
    };
    match valued {
        true => check_values(errors, values, default, whole, &path.child(field)),
        false => check_range(errors, sub(policy, field), default, whole, &path.child(field)),
    }
}

fn check_values(errors: &mut Errors, values: &[Value], default: Quantity, whole: Quantity, path: &Path) {
    let values: Vec<Quantity> = values.iter().map(|value| read(Some(value)).unwrap_or(Quantity::ZERO)).collect();
    for (n, pair) in values.windows(2).enumerate() {
        if pair[0] > pair[1] {
            let what = "values must be sorted in ascending order";
            errors.push(FieldError::invalid(&path.index(n + 1), pair[1].to_string(), what));
        }
    }
    if values.len() > VALUES_MAX {
        errors.push(FieldError::too_many(path, values.len(), VALUES_MAX));
    } else {
        for (n, value) in values.iter().enumerate().filter(|(_, value)| **value > whole) {
            let what = format!("option is larger than capacity value: {whole}");
            errors.push(FieldError::invalid(&path.index(n), value.to_string(), what));
        }
        let mut seen = BTreeSet::new();
        for (n, value) in values.iter().enumerate() {
            if !seen.insert(value.value()) {
                errors.push(FieldError::duplicate(&path.index(n), value.value().to_string()));
            }
        }
    }
    if values.len() > VALUES_MAX || !values.contains(&default) {
        let what = "default value is not valid according to the requestPolicy";
        errors.push(FieldError::invalid(path, default.to_string(), what));
    }
}

fn check_range(errors: &mut Errors, range: &Value, default: Quantity, whole: Quantity, path: &Path) {
    let of = |field: &str| read(get(range, field));
    let Some(min) = of("min") else {
        return errors.push(FieldError::required(&path.child("min"), "required when validRange is defined"));
    };
    let mut wrong = |is: bool, field: &'static str, value: Quantity, what: String| {
        if is {
            errors.push(FieldError::invalid(&path.child(field), value.to_string(), what));
        }
    };
    wrong(min > whole, "min", min, format!("min is larger than capacity value: {whole}"));
    wrong(default < min, "min", default, format!("default is less than min: {min}"));
    let max = of("max");
    if let Some(max) = max {
        wrong(min > max, "max", min, format!("min is larger than max: {max}"));
        wrong(max > whole, "max", max, format!("max is larger than capacity value: {whole}"));
        wrong(default > max, "max", default, format!("default is more than max: {max}"));
    }
    let Some(step) = of("step") else { return };
    let first = min + step;
    wrong(first > whole, "step", step, format!("one step {first} is larger than capacity value: {whole}"));
    for value in [Some(default), max].into_iter().flatten() {
        let beyond = i128::from(value.value()) - i128::from(min.value());
        let off = step.value() != 0 && beyond % i128::from(step.value()) != 0;
        wrong(off, "step", value, format!("value is not a multiple of a given step ({step}) from ({min})"));
    }
}
