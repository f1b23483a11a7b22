//! ServiceAccount: its secrets are named and nothing else.

use serde_json::{Value, json};

use super::at::{items_mut, text};
use super::{GENERIC, Rules, Scope};
use crate::meta;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    prepare_create: name_secrets,
    prepare_update: |new, _| name_secrets(new),
    warnings: |account, old| {
        const KEY: &str = "kubernetes.io/enforce-mountable-secrets";
        let has = |account| meta::annotation(account, KEY).is_some();
        let why = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets";
        let is_new = has(account) && !old.is_some_and(has);
        is_new.then(|| format!("metadata.annotations[{KEY}]: {why}")).into_iter().collect()
    },
    ..GENERIC
};

/// Of a reference to a secret only the name counts.
fn name_secrets(account: &mut Value) {
    for secret in items_mut(account, "secrets") {
        let name = text(secret, "name");
        *secret = if name.is_empty() { json!({}) } else { json!({"name": name}) };
    }
}
