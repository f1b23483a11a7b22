//! What a Secret for a token needs.

use crate::common::Result;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Secret, ServiceAccount},
};
use mk8s_client::kube::ResourceExt;

const NAME: &str = "kubernetes.io/service-account.name";
const UID: &str = "kubernetes.io/service-account.uid";

const CA: &str = "ca.crt";
const NAMESPACE: &str = "namespace";
const TOKEN: &str = "token";

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The account that it is for does not exist.
    Delete,
    Fill(Missing),
}

/// What a Secret has not, or not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    ca: bool,
    namespace: bool,
    token: bool,
}

/// The account that a Secret names; empty when it names none.
pub(super) fn account_name(secret: &Secret) -> &str {
    secret.annotations().get(NAME).map_or("", String::as_str)
}

/// The uid of the account; empty when any account of the name is meant.
pub(super) fn account_uid(secret: &Secret) -> &str {
    secret.annotations().get(UID).map_or("", String::as_str)
}

/// Whether this is the account that the Secret is for.
pub(super) fn is_for(secret: &Secret, account: &ServiceAccount) -> bool {
    let uid = account_uid(secret);
    account.metadata.name.as_deref() == Some(account_name(secret))
        && (uid.is_empty() || account.metadata.uid.as_deref() == Some(uid))
}

/// `account`: the one that the Secret is for. `ca`: the cluster's, nothing when it has none.
pub(super) fn plan(secret: &Secret, account: Option<&ServiceAccount>, ca: &str) -> Option<Action> {
    if account.is_none() {
        return Some(Action::Delete);
    }
    let held = |key: &str| secret.data.as_ref().and_then(|data| data.get(key)).map_or(&[][..], |value| &value.0);
    let missing = Missing {
        ca: !ca.is_empty() && held(CA) != ca.as_bytes(),
        namespace: held(NAMESPACE).is_empty(),
        token: held(TOKEN).is_empty(),
    };
    (missing.ca || missing.namespace || missing.token).then_some(Action::Fill(missing))
}

/// The Secret with what it needs.
pub(super) fn filled(
    secret: &Secret,
    account: &ServiceAccount,
    missing: Missing,
    ca: &str,
    sign: impl FnOnce() -> Result<String>,
) -> Result<Secret> {
    let mut filled = secret.clone();
    let data = filled.data.get_or_insert_default();
    if missing.ca {
        data.insert(CA.to_owned(), ByteString(ca.into()));
    }
    if missing.namespace {
        data.insert(NAMESPACE.to_owned(), ByteString(secret.namespace().unwrap_or_default().into()));
    }
    if missing.token {
        data.insert(TOKEN.to_owned(), ByteString(sign()?.into()));
    }
    filled.annotations_mut().insert(NAME.to_owned(), account.name_any());
    filled.annotations_mut().insert(UID.to_owned(), account.uid().unwrap_or_default());
    Ok(filled)
}
