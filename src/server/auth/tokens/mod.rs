//! Service-account tokens: JSON web tokens signed with the cluster's key (ES256), bound to a service account and, usually,
//! to a pod, a secret or a node. A token is good while all it is bound to exists.
//!
//! Reading order: [`Claims`], [`SigningKey`] (making and checking signatures), [`TokenReader`] (authentication),
//! [`TokenIssuer`] (the `serviceaccounts/token` subresource), [`legacy`] (tokens that Secrets hold, for as long as
//! they hold them) and [`uses`] of those. [`BootstrapTokens`] are of another kind: secrets that machines have before
//! they have a certificate.

mod bootstrap;
mod issue;
mod key;
mod legacy;
mod read;
#[cfg(test)]
mod tests;
mod uses;

pub use bootstrap::{BOOTSTRAPPERS, BootstrapTokens};
pub use issue::{TokenBinding, TokenIssuer};
pub use key::SigningKey;
pub use read::TokenReader;
pub use uses::{Use, note_uses};

use serde::{Deserialize, Serialize};

/// Why a bearer token is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("not a token of this cluster")]
    NotOurs,
    #[error("the signature does not fit")]
    Signature,
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    NotYet,
    #[error("token audiences {found:?} is invalid for the target audiences {wanted:?}")]
    Audience { found: Vec<String>, wanted: Vec<String> },
    #[error("service account token has been invalidated: {0} is gone")]
    Invalidated(String),
    #[error("{0}")]
    Claim(&'static str),
    #[error("Token has been invalidated")]
    Revoked,
    #[error("Token does not match server's copy")]
    OtherToken,
    #[error("serviceaccounts {0:?} not found")]
    NoAccount(String),
    #[error("ServiceAccount {0} has been deleted")]
    AccountDeleted(String),
    #[error("ServiceAccount UID ({found}) does not match claim ({claimed})")]
    AccountUid { found: String, claimed: String },
    #[error(
        "the token in secret {secret} for service account {account} has been marked invalid. Use tokens from the \
         TokenRequest API or manually created secret-based tokens, or remove the '{label}' label from the secret to \
         temporarily allow use of this token"
    )]
    MarkedInvalid { secret: String, account: String, label: &'static str },
}

/// A token's payload, as Kubernetes writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    pub exp: i64,
    pub iat: i64,
    pub iss: String,
    #[serde(default)]
    pub jti: String,
    #[serde(rename = "kubernetes.io")]
    pub kubernetes: KubernetesClaims,
    pub nbf: i64,
    pub sub: String,
}

/// What the token is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubernetesClaims {
    pub namespace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Bound>,
    pub serviceaccount: Bound,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    pub name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// RFC 7519 lets `aud` be a string or a list.
fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
