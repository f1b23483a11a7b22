//! Affinity, tolerations and topology spread: what decides on which node a pod may run.

use serde_json::{Map, Value, json};

use super::super::at::{get, get_mut, has, int, items_mut, list, list_mut, map, sub, text, texts};
use super::super::check::{self, Errors, invalid_each, label_key, member, positive};
use super::super::node::EFFECTS;
use crate::field::{FieldError, Path};
use crate::names;

pub(super) fn check_affinity(errors: &mut Errors, affinity: &Value, path: &Path) {
    const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
    const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";
    if let Some(node) = get(affinity, "nodeAffinity") {
        let path = path.child("nodeAffinity");
        if let Some(selector) = get(node, REQUIRED) {
            check_node_selector(errors, selector, &path.child(REQUIRED));
        }
        for (n, term) in list(node, PREFERRED).iter().enumerate() {
            let path = path.child(PREFERRED).index(n);
            check_weight(errors, term, &path);
            check_node_term(errors, sub(term, "preference"), false, &path.child("preference"));
        }
    }
    for field in ["podAffinity", "podAntiAffinity"] {
        let (pods, path) = (sub(affinity, field), path.child(field));
        for (n, term) in list(pods, REQUIRED).iter().enumerate() {
            check_pod_term(errors, term, &path.child(REQUIRED).index(n));
        }
        for (n, term) in list(pods, PREFERRED).iter().enumerate() {
            let path = path.child(PREFERRED).index(n);
            check_weight(errors, term, &path);
            check_pod_term(errors, sub(term, "podAffinityTerm"), &path.child("podAffinityTerm"));
        }
    }
}

fn check_weight(errors: &mut Errors, term: &Value, path: &Path) {
    let weight = int(term, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        errors.push(FieldError::invalid(&path.child("weight"), weight, "must be in the range 1-100"));
    }
}

pub(in super::super) fn check_node_selector(errors: &mut Errors, selector: &Value, path: &Path) {
    let path = path.child("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        errors.push(FieldError::required(&path, "must have at least one node selector term"));
    }
    for (n, term) in terms.iter().enumerate() {
        check_node_term(errors, term, true, &path.index(n));
    }
}

fn check_node_term(errors: &mut Errors, term: &Value, check_values: bool, path: &Path) {
    for (n, expression) in list(term, "matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(n);
        let values = list(expression, "values");
        let values_path = || path.child("values");
        match text(expression, "operator") {
            "In" | "NotIn" if values.is_empty() => errors
                .push(FieldError::required(&values_path(), "must be specified when `operator` is 'In' or 'NotIn'")),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                &values_path(),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "Gt" | "Lt" if values.len() != 1 => errors.push(FieldError::required(
                &values_path(),
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            other => errors.push(FieldError::invalid(&path.child("operator"), other, "not a valid selector operator")),
        }
        label_key(errors, text(expression, "key"), || path.child("key"));
        if check_values {
            for (n, value) in texts(expression, "values").enumerate() {
                invalid_each(errors, names::label_value(value), || values_path().index(n), value);
            }
        }
    }
    for (n, field) in list(term, "matchFields").iter().enumerate() {
        let path = path.child("matchFields").index(n);
        match text(field, "operator") {
            "In" | "NotIn" => {
                if list(field, "values").len() != 1 {
                    errors.push(FieldError::required(
                        &path.child("values"),
                        "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
                    ));
                }
            }
            other => errors.push(FieldError::invalid(&path.child("operator"), other, "not a valid selector operator")),
        }
        match text(field, "key") {
            "metadata.name" => {
                for (n, value) in texts(field, "values").enumerate() {
                    invalid_each(errors, names::dns1123_subdomain(value), || path.child("values").index(n), value);
                }
            }
            other => errors.push(FieldError::invalid(&path.child("key"), other, "not a valid field selector key")),
        }
    }
}

fn check_pod_term(errors: &mut Errors, term: &Value, path: &Path) {
    check::label_selector(errors, sub(term, "labelSelector"), &path.child("labelSelector"));
    check::label_selector(errors, sub(term, "namespaceSelector"), &path.child("namespaceSelector"));
    for namespace in texts(term, "namespaces") {
        invalid_each(errors, names::dns1123_label(namespace), || path.child("namespace"), namespace);
    }
    check_label_keys(errors, term, path);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
    }
    label_key(errors, key, || path.child("topologyKey"));
}

/// `matchLabelKeys` and `mismatchLabelKeys`.
fn check_label_keys(errors: &mut Errors, term: &Value, path: &Path) {
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        if list(term, field).is_empty() {
            continue;
        }
        if !has(term, "labelSelector") {
            errors
                .push(FieldError::forbidden(&path.child(field), "must not be specified when labelSelector is not set"));
            continue;
        }
        for (n, key) in texts(term, field).enumerate() {
            label_key(errors, key, || path.child(field).index(n));
        }
    }
    let selector = sub(term, "labelSelector");
    let mut seen: Vec<&str> = map(selector, "matchLabels").keys().map(String::as_str).collect();
    for expression in list(selector, "matchExpressions") {
        let key = text(expression, "key");
        if let Some(n) = texts(term, "matchLabelKeys").position(|listed| listed == key)
            && seen.contains(&key)
        {
            errors.push(FieldError::invalid(&path.index(n), key, "exists in both matchLabelKeys and labelSelector"));
        }
        seen.push(key);
    }
    for (n, key) in texts(term, "matchLabelKeys").enumerate() {
        if texts(term, "mismatchLabelKeys").any(|other| other == key) {
            errors.push(FieldError::invalid(
                &path.child("matchLabelKeys").index(n),
                key,
                "exists in both matchLabelKeys and mismatchLabelKeys",
            ));
        }
    }
}

/// Writes what `matchLabelKeys` and `mismatchLabelKeys` mean for this pod into the selectors beside them.
pub(super) fn merge_label_keys(pod: &mut Value) {
    let labels = crate::meta::labels(pod).clone();
    let Some(spec) = get_mut(pod, "spec") else { return };
    if let Some(affinity) = get_mut(spec, "affinity") {
        for field in ["podAffinity", "podAntiAffinity"] {
            let Some(pods) = get_mut(affinity, field) else { continue };
            for term in items_mut(pods, "requiredDuringSchedulingIgnoredDuringExecution") {
                merge_keys(term, &labels);
            }
            for term in items_mut(pods, "preferredDuringSchedulingIgnoredDuringExecution") {
                if let Some(term) = get_mut(term, "podAffinityTerm") {
                    merge_keys(term, &labels);
                }
            }
        }
    }
    for constraint in items_mut(spec, "topologySpreadConstraints") {
        merge_keys(constraint, &labels);
    }
}

fn merge_keys(term: &mut Value, labels: &Map<String, Value>) {
    let expressions: Vec<Value> = [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")]
        .into_iter()
        .flat_map(|(field, operator)| texts(term, field).map(move |key| (key, operator)))
        .filter_map(|(key, operator)| {
            labels.get(key).map(|value| json!({"key": key, "operator": operator, "values": [value]}))
        })
        .collect();
    if let Some(selector) = get_mut(term, "labelSelector").filter(|_| !expressions.is_empty())
        && let Some(known) = list_mut(selector, "matchExpressions")
    {
        known.extend(expressions);
    }
}

pub(in super::super) fn check_tolerations(errors: &mut Errors, tolerations: &[Value], path: &Path) {
    for (n, toleration) in tolerations.iter().enumerate() {
        let path = path.index(n);
        let (key, operator, value, effect) = (
            text(toleration, "key"),
            text(toleration, "operator"),
            text(toleration, "value"),
            text(toleration, "effect"),
        );
        if !key.is_empty() {
            label_key(errors, key, || path.child("key"));
        } else if operator != "Exists" {
            errors.push(FieldError::invalid(
                &path.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        if has(toleration, "tolerationSeconds") && effect != "NoExecute" {
            errors.push(FieldError::invalid(
                &path.child("effect"),
                effect,
                "effect must be 'NoExecute' when `tolerationSeconds` is set",
            ));
        }
        match operator {
            "" | "Equal" => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    errors.push(FieldError::invalid(&path.child("operator"), value, wrong.join(";")));
                }
            }
            "Exists" => {
                if !value.is_empty() {
                    errors.push(FieldError::invalid(
                        &path.child("operator"),
                        value,
                        "value must be empty when `operator` is 'Exists'",
                    ));
                }
            }
            "Lt" | "Gt" => errors.push(FieldError::not_supported(
                &path.child("operator"),
                operator,
                &["Equal", "Exists", "Lt", "Gt"],
            )),
            other => errors.push(FieldError::not_supported(&path.child("operator"), other, &["Equal", "Exists"])),
        }
        if !effect.is_empty() {
            member(errors, effect, EFFECTS, &path.child("effect"));
        }
    }
}

pub(super) fn check_spread(errors: &mut Errors, constraints: &[Value], path: &Path) {
    for (n, constraint) in constraints.iter().enumerate() {
        let path = path.index(n);
        let (key, action) = (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
        positive(errors, int(constraint, "maxSkew").unwrap_or(0), &path.child("maxSkew"));
        if key.is_empty() {
            errors.push(FieldError::required(&path.child("topologyKey"), "can not be empty"));
        }
        member(errors, action, &["DoNotSchedule", "ScheduleAnyway"], &path.child("whenUnsatisfiable"));
        let again = |other: &Value| text(other, "topologyKey") == key && text(other, "whenUnsatisfiable") == action;
        if constraints[n + 1..].iter().any(again) {
            errors.push(FieldError::duplicate(
                &path.child("{topologyKey, whenUnsatisfiable}"),
                format!("{{{key}, {action}}}"),
            ));
        }
        if let Some(domains) = int(constraint, "minDomains") {
            positive(errors, domains, &path.child("minDomains"));
            if action != "DoNotSchedule" {
                errors.push(FieldError::invalid(
                    &path.child("minDomains"),
                    domains,
                    format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"),
                ));
            }
        }
        for field in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            if let Some(policy) = get(constraint, field).and_then(Value::as_str) {
                member(errors, policy, &["Honor", "Ignore"], &path.child(field));
            }
        }
        check_label_keys(errors, constraint, &path);
        check::label_selector(errors, sub(constraint, "labelSelector"), &path.child("labelSelector"));
    }
}
