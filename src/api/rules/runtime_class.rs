//! RuntimeClass: which handler runs a pod's containers, what that costs, and where it can be had.

use serde_json::{Value, json};

use super::at::{get, list, map, sub, text};
use super::check::{Errors, immutable, invalid_each, labels};
use super::{GENERIC, Rules, Scope, node, pod, resources};
use crate::field::{FieldError, Path};
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Cluster,
    validate,
    warnings: |class, _| {
        let labels = map(sub(class, "scheduling"), "nodeSelector").keys();
        labels
            .filter_map(|key| node::deprecated_label(key))
            .map(|why| format!("scheduling.nodeSelector: {why}"))
            .collect()
    },
    validate_update: Some(|new, old, errors| {
        immutable(errors, get(new, "handler"), get(old, "handler"), &Path::new("handler"));
    }),
    ..GENERIC
};

fn validate(class: &Value, errors: &mut Errors) {
    let handler = text(class, "handler");
    if super::check::required(errors, handler, &Path::new("handler")) {
        invalid_each(errors, names::dns1123_label(handler), || Path::new("handler"), handler);
    }
    if let Some(overhead) = get(class, "overhead") {
        let limits = json!({"limits": sub(overhead, "podFixed")});
        resources::requirements(errors, &limits, &[], &Path::new("overhead"));
    }
    if let Some(scheduling) = get(class, "scheduling") {
        let path = Path::new("scheduling");
        labels(errors, map(scheduling, "nodeSelector"), || path.child("nodeSelector"));
        check_tolerations(errors, list(scheduling, "tolerations"), &path.child("tolerations"));
    }
}

fn check_tolerations(errors: &mut Errors, tolerations: &[Value], path: &Path) {
    pod::check_tolerations(errors, tolerations, path);
    let said = |toleration| ["key", "operator", "value", "effect"].map(|field| text(toleration, field));
    for (n, toleration) in tolerations.iter().enumerate() {
        if tolerations[..n].iter().any(|other| said(other) == said(toleration)) {
            errors.push(FieldError::duplicate(&path.index(n), toleration.clone()).with_shown("Toleration"));
        }
    }
}
