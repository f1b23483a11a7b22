//! Tokens that Secrets of the type `kubernetes.io/service-account-token` hold. They do not expire: one is good while
//! its Secret holds it and its ServiceAccount exists.
//!
//! What Kubernetes' `pkg/serviceaccount/legacy.go` does.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use mk8s_api::meta;
use mk8s_controllers::{INVALID_SINCE, LAST_USED, SecretToken, TokenSigner};
use mk8s_store::View;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{SigningKey, TokenError, uses::Use};
use crate::{
    auth::{AUTHENTICATED, SERVICE_ACCOUNT_PREFIX, User, authenticate::same_secret},
    stored,
};

/// Who says that such a token is good, whatever the issuer of other tokens is.
pub(super) const ISSUER: &str = "kubernetes/serviceaccount";
const DAY_S: i64 = 24 * 3600;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LegacyClaims {
    pub iss: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/namespace")]
    pub namespace: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/secret.name")]
    pub secret: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub account: String,
    #[serde(default, rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub account_uid: String,
    #[serde(default)]
    pub sub: String,
}

impl TokenSigner for SigningKey {
    fn sign_secret_token(&self, token: SecretToken<'_>) -> Result<String, String> {
        let SecretToken { namespace, secret, account, account_uid } = token;
        self.sign(&LegacyClaims {
            iss: ISSUER.to_owned(),
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            account: account.to_owned(),
            account_uid: account_uid.to_owned(),
            sub: format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{account}"),
        })
    }
}

/// A token whose signature is good.
pub(super) struct LegacyToken {
    claims: LegacyClaims,
    pub user: Arc<User>,
    /// The last day, since 1970, on which it was told that the token is used.
    told: AtomicI64,
}

impl LegacyToken {
    pub(super) fn new(claims: LegacyClaims) -> Result<LegacyToken, TokenError> {
        claims.check()?;
        Ok(LegacyToken { user: Arc::new(claims.user()), claims, told: AtomicI64::new(0) })
    }

    /// Whether the token is good now. `used` is told what is to be noted.
    pub(super) fn check(&self, token: &str, view: &View, now_s: i64, used: impl Fn(Use)) -> Result<(), TokenError> {
        let LegacyClaims { namespace, secret: name, account, account_uid, .. } = &self.claims;
        let secret = stored::get(view, "", "secrets", namespace, name).filter(|secret| !meta::is_deleting(secret));
        let secret = secret.ok_or(TokenError::Revoked)?;
        let held = BASE64_STANDARD.decode(secret["data"]["token"].as_str().unwrap_or_default()).unwrap_or_default();
        if !same_secret(&held, token.as_bytes()) {
            return Err(TokenError::OtherToken);
        }
        let found = stored::get(view, "", "serviceaccounts", namespace, account);
        let found = found.ok_or_else(|| TokenError::NoAccount(account.clone()))?;
        if meta::is_deleting(&found) {
            return Err(TokenError::AccountDeleted(format!("{namespace}/{account}")));
        }
        let uid = meta::uid(&found);
        if uid != account_uid {
            return Err(TokenError::AccountUid { found: uid.to_owned(), claimed: account_uid.clone() });
        }
        self.tell(&secret, now_s, used);
        match meta::label(&secret, INVALID_SINCE) {
            None | Some("") => Ok(()),
            Some(_) => Err(TokenError::MarkedInvalid {
                secret: format!("{namespace}/{name}"),
                account: format!("{namespace}/{account}"),
                label: INVALID_SINCE,
            }),
        }
    }

    /// Once a day, unless the Secret says it already. Clocks differ: tomorrow is as good as today.
    fn tell(&self, secret: &Value, now_s: i64, used: impl Fn(Use)) {
        let date = |at_s: i64| meta::format_time(meta::timestamp_from_seconds(at_s))[..10].to_owned();
        let (day, today) = (now_s / DAY_S, date(now_s));
        let noted = meta::label(secret, LAST_USED).is_some_and(|on| on == today || on == date(now_s + DAY_S));
        if !noted && self.told.swap(day, Ordering::Relaxed) != day {
            used(Use {
                namespace: self.claims.namespace.clone(),
                secret: self.claims.secret.clone(),
                uid: meta::uid(secret).to_owned(),
                today,
            });
        }
    }
}

impl LegacyClaims {
    fn check(&self) -> Result<(), TokenError> {
        let needed = [
            ("sub claim is missing", &self.sub),
            ("namespace claim is missing", &self.namespace),
            ("secretName claim is missing", &self.secret),
            ("serviceAccountName claim is missing", &self.account),
            ("serviceAccountUID claim is missing", &self.account_uid),
        ];
        if let Some((why, _)) = needed.into_iter().find(|(_, claim)| claim.is_empty()) {
            return Err(TokenError::Claim(why));
        }
        let subject = self.sub.strip_prefix(SERVICE_ACCOUNT_PREFIX).and_then(|rest| rest.split_once(':'));
        if subject != Some((&self.namespace, &self.account)) {
            return Err(TokenError::Claim("sub claim is invalid"));
        }
        Ok(())
    }

    fn user(&self) -> User {
        let namespace = format!("system:serviceaccounts:{}", self.namespace);
        let groups = ["system:serviceaccounts", &namespace, AUTHENTICATED];
        User { uid: self.account_uid.clone(), ..User::new(&self.sub, groups) }
    }
}
