//! Who is asking, and may they: authentication and authorization of every request.
//!
//! Reading order: [`User`] and [`Attributes`] (the nouns), [`authenticate`] (peer certificate, bearer tokens, anonymous),
//! [`authorize`] and [`chain`] (`system:masters` -> Node -> RBAC, or what is configured; [`authorizers`] is the file that may
//! say so), then [`pki`] and [`tokens`] for the material both rest on, [`oidc`] for the tokens of others, and [`webhook`] for
//! others who are asked.
//!
//! Invariant: nothing but [`webhook`] waits: each check is a lookup in memory. Nothing here writes but
//! [`tokens::note_uses`], which does so beside the requests.

pub mod authenticate;
pub mod authorize;
pub mod authorizers;
mod cache;
pub mod chain;
pub mod escalation;
pub(crate) mod follow;
pub mod impersonate;
pub mod node;
pub mod oidc;
pub mod pki;
pub mod rbac;
mod reload;
pub mod tokens;
pub mod webhook;

pub use authenticate::{AuthError, Authentication, Authenticator, Peer};
pub use authorize::{Authorization, Authorizer, Decision, Rules, forbidden};
pub use chain::{AuthorizerOptions, Verdict};
pub use oidc::{OidcError, OidcOptions, Providers};
pub use pki::{Pki, PkiError, PkiOptions};
pub use tokens::{TokenIssuer, TokenReader};

use chain::aggregate;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

/// The group every authenticated user is in.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of those who presented no credentials.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of those who presented no credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// Members of this group may do everything, whatever RBAC says.
pub const MASTERS: &str = "system:masters";
/// Every agent's certificate carries this group.
pub const NODES: &str = "system:nodes";
/// Prefix of an agent's user name; the node's name follows.
pub const NODE_PREFIX: &str = "system:node:";
/// Prefix of a service account's user name; `namespace:name` follows.
pub const SERVICE_ACCOUNT_PREFIX: &str = "system:serviceaccount:";

/// An authenticated identity. Serialized, it is `UserInfo` of `authentication.k8s.io/v1`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct User {
    #[serde(rename = "username", skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> User {
        User { name: name.into(), groups: groups.into_iter().map(Into::into).collect(), ..User::default() }
    }

    /// The user of those who presented no credentials.
    pub fn anonymous() -> User {
        User::new(ANONYMOUS, [UNAUTHENTICATED])
    }

    /// The identity of parts of the control plane that act through the in-process router.
    pub fn control_plane(name: &str) -> User {
        User::new(name, [MASTERS, AUTHENTICATED])
    }

    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }

    /// The node's name when this user is an agent (`system:node:NAME` in group `system:nodes`).
    pub fn node_name(&self) -> Option<&str> {
        let name = self.name.strip_prefix(NODE_PREFIX)?;
        (!name.is_empty() && self.in_group(NODES)).then_some(name)
    }

    /// Namespace and name when this user is a service account.
    pub fn service_account(&self) -> Option<(&str, &str)> {
        self.name.strip_prefix(SERVICE_ACCOUNT_PREFIX)?.split_once(':')
    }

    /// `authentication.k8s.io/v1 UserInfo`, as SelfSubjectReview and TokenReview answer it.
    pub fn to_user_info(&self) -> Value {
        json!(self)
    }
}

/// What a request wants, in the words of authorization. Empty strings mean "not said".
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    pub user: &'a User,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, ...; for paths the lower-cased method.
    pub verb: &'a str,
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub path: &'a str,
    pub is_resource: bool,
    pub label_selector: Option<&'a str>,
    pub field_selector: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    /// A request for a path that names no resource, such as `/healthz`.
    pub fn for_path(user: &'a User, verb: &'a str, path: &'a str) -> Attributes<'a> {
        Attributes {
            user,
            verb,
            group: "",
            version: "",
            resource: "",
            subresource: "",
            namespace: "",
            name: "",
            path,
            is_resource: false,
            label_selector: None,
            field_selector: None,
        }
    }

    /// A request for a resource; fill the remaining fields with struct update syntax.
    pub fn for_resource(user: &'a User, verb: &'a str, group: &'a str, resource: &'a str) -> Attributes<'a> {
        Attributes { group, version: "*", resource, is_resource: true, ..Attributes::for_path(user, verb, "") }
    }
}
