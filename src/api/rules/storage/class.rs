//! StorageClass and VolumeAttributesClass: kinds of volumes, and what of a volume can be changed later.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::at::{default_pointer, get, list, map, maybe_text, same, sub, text};
use super::check::{Errors, immutable, invalid_each, label_key, member, required};
use super::{FieldError, GENERIC, Path, Rules, Scope, names, node};

pub(in super::super) static CLASS: Rules = Rules {
    scope: Scope::Cluster,
    default: |class| {
        default_pointer(class, "reclaimPolicy", "Delete");
        default_pointer(class, "volumeBindingMode", "Immediate");
    },
    validate: validate_class,
    validate_update: Some(|new, old, errors| {
        validate_class(new, errors);
        for field in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] {
            immutable(errors, get(new, field), get(old, field), &Path::new(field));
        }
    }),
    warnings: |class, _| {
        let path = Path::new("allowedTopologies");
        let terms = list(class, "allowedTopologies").iter().enumerate();
        let expressions = terms.flat_map(|(t, term)| {
            list(term, "matchLabelExpressions").iter().enumerate().map(move |(n, expression)| (t, n, expression))
        });
        let advice = |(t, n, expression): (usize, usize, &Value)| {
            let path = path.index(t).child("matchLabelExpressions").index(n).child("key");
            node::deprecated_label(text(expression, "key")).map(|why| format!("{path}: {why}"))
        };
        expressions.filter_map(advice).collect()
    },
    ..GENERIC
};

pub(in super::super) static ATTRIBUTES_CLASS: Rules = Rules {
    scope: Scope::Cluster,
    validate: validate_attributes,
    validate_update: Some(|new, old, errors| {
        for field in ["driverName", "parameters"] {
            if !same(sub(new, field), sub(old, field)) {
                errors.push(FieldError::forbidden(&Path::new(field), format!("updates to {field} are forbidden.")));
            }
        }
        validate_attributes(new, errors);
    }),
    ..GENERIC
};

fn validate_class(class: &Value, errors: &mut Errors) {
    check_provisioner(errors, text(class, "provisioner"), "provisioner");
    check_parameters(errors, class, true);
    let policy = text(class, "reclaimPolicy");
    if !policy.is_empty() {
        member(errors, policy, &["Delete", "Retain"], &Path::new("reclaimPolicy"));
    }
    match maybe_text(class, "volumeBindingMode") {
        None => errors.push(FieldError::required(&Path::new("volumeBindingMode"), "")),
        Some(mode) => member(errors, mode, &["Immediate", "WaitForFirstConsumer"], &Path::new("volumeBindingMode")),
    }
    check_topologies(errors, list(class, "allowedTopologies"), &Path::new("allowedTopologies"));
}

fn validate_attributes(class: &Value, errors: &mut Errors) {
    check_provisioner(errors, text(class, "driverName"), "driverName");
    check_parameters(errors, class, false);
}

fn check_provisioner(errors: &mut Errors, name: &str, field: &'static str) {
    if required(errors, name, &Path::new(field)) {
        let lower = name.to_lowercase();
        invalid_each(errors, names::qualified_name(&lower), || Path::new(field), &lower);
    }
}

fn check_parameters(errors: &mut Errors, class: &Value, may_be_empty: bool) {
    const MAX_COUNT: usize = 512;
    const MAX_BYTES: usize = 256 * 1024;
    let (parameters, path) = (map(class, "parameters"), Path::new("parameters"));
    if parameters.len() > MAX_COUNT {
        errors.push(FieldError::too_long(&path, MAX_COUNT));
        return;
    }
    if parameters.contains_key("") {
        errors.push(FieldError::invalid(&path, "", "field can not be empty."));
    }
    let size: usize = parameters.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > MAX_BYTES {
        errors.push(FieldError::too_long(&path, MAX_BYTES));
    }
    if !may_be_empty && parameters.is_empty() {
        errors.push(FieldError::required(&path, "must contain at least one key/value pair"));
    }
}

type Term<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// No term may say what another one says. A term that says nothing counts as said once for each term of the list.
fn check_topologies(errors: &mut Errors, terms: &[Value], path: &Path) {
    let mut seen: Vec<Term<'_>> = vec![Term::new(); terms.len()];
    for (n, term) in terms.iter().enumerate() {
        let path = path.index(n).child("matchLabelExpressions");
        let read = check_term(errors, list(term, "matchLabelExpressions"), &path);
        for _ in seen.iter().filter(|other| **other == read) {
            errors.push(FieldError::duplicate(&path, ""));
        }
        seen.push(read);
    }
}

fn check_term<'a>(errors: &mut Errors, expressions: &'a [Value], path: &Path) -> Term<'a> {
    let mut term = Term::new();
    for (n, expression) in expressions.iter().enumerate() {
        let (path, key) = (path.index(n), text(expression, "key"));
        let given = list(expression, "values");
        if given.is_empty() {
            errors.push(FieldError::required(&path.child("values"), ""));
        }
        let mut values = BTreeSet::new();
        for (n, value) in given.iter().enumerate() {
            let value = value.as_str().unwrap_or("");
            if !values.insert(value) {
                errors.push(FieldError::duplicate(&path.child("values").index(n), value));
            }
        }
        label_key(errors, key, || path.child("key"));
        if term.insert(key, values).is_some() {
            errors.push(FieldError::duplicate(&path.child("key"), key));
        }
    }
    term
}
