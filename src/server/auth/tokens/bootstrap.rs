//! Bootstrap tokens: `id.secret`, kept in a Secret `bootstrap-token-ID` of `kube-system`, with which machines ask for their
//! first certificate.
//!
//! What Kubernetes' `plugin/pkg/auth/authenticator/token/bootstrap` does: a token that is anyhow not good is no credential.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use jiff::Timestamp;
use mk8s_api::meta;
use mk8s_store::Store;
use serde_json::Value;

use crate::{
    auth::{AUTHENTICATED, User, authenticate::same_secret},
    stored,
};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
/// Who holds a bootstrap token is in this group.
pub const BOOTSTRAPPERS: &str = "system:bootstrappers";
/// Prefix of the user's name; the token's id follows.
const USER_PREFIX: &str = "system:bootstrap:";

/// Authenticates bootstrap tokens.
pub struct BootstrapTokens {
    store: Store,
}

impl BootstrapTokens {
    pub fn new(store: Store) -> BootstrapTokens {
        BootstrapTokens { store }
    }

    /// The user of a good token; `None` for whatever is none.
    pub fn read(&self, token: &str, now: Timestamp) -> Option<Arc<User>> {
        let (id, secret) = parts(token)?;
        let found = stored::get(&self.store.view(), "", "secrets", NAMESPACE, &format!("bootstrap-token-{id}"))?;
        user_of(&found, id, secret, now).map(Arc::new)
    }
}

/// Id and secret, when this has the form of a bootstrap token.
fn parts(token: &str) -> Option<(&str, &str)> {
    let (id, secret) = token.split_once('.')?;
    let is_word = |word: &str, length| {
        word.len() == length && word.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
    };
    (is_word(id, 6) && is_word(secret, 16)).then_some((id, secret))
}

fn user_of(stored: &Value, id: &str, secret: &str, now: Timestamp) -> Option<User> {
    let field = |name: &str| {
        let decoded = BASE64_STANDARD.decode(stored["data"][name].as_str()?).ok()?;
        String::from_utf8(decoded).ok().filter(|text| !text.is_empty())
    };
    let is =
        |name: &str, wanted: &str| field(name).is_some_and(|found| same_secret(found.as_bytes(), wanted.as_bytes()));
    if meta::is_deleting(stored) || stored["type"] != TYPE || !is("token-secret", secret) || !is("token-id", id) {
        return None;
    }
    if let Some(end) = field("expiration") {
        end.parse::<Timestamp>().ok().filter(|end| *end > now)?;
    }
    if !is("usage-bootstrap-authentication", "true") {
        return None;
    }
    let extra = field("auth-extra-groups").unwrap_or_default();
    let mut groups: Vec<&str> = extra.split(',').filter(|group| !group.is_empty()).collect();
    if !groups.iter().all(|group| is_group(group)) {
        return None;
    }
    groups.push(BOOTSTRAPPERS);
    groups.sort_unstable();
    groups.dedup();
    groups.push(AUTHENTICATED);
    Some(User::new(format!("{USER_PREFIX}{id}"), groups))
}

/// `system:bootstrappers:` and what may follow.
fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix(BOOTSTRAPPERS).and_then(|rest| rest.strip_prefix(':')) else { return false };
    let plain = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_lowercase();
    rest.len() <= 256
        && rest.bytes().all(|b| plain(b) || matches!(b, b':' | b'-'))
        && rest.bytes().last().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secret(fields: &[(&str, &str)]) -> Value {
        let mut data = json!({});
        let usual =
            [("token-id", "abcdef"), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-authentication", "true")];
        for (name, value) in usual.iter().chain(fields) {
            data[*name] = json!(BASE64_STANDARD.encode(value));
        }
        json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": TYPE, "data": data})
    }

    #[test]
    fn tokens_have_a_form() {
        assert_eq!(parts("abcdef.0123456789abcdef"), Some(("abcdef", "0123456789abcdef")));
        for bad in [
            "",
            "abcdef",
            "abcdef.0123456789abcde",
            "ABCDEF.0123456789abcdef",
            "abcdef.0123456789abcde.",
            "abcde/.0123456789abcdef",
        ] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }

    #[test]
    fn good_tokens_name_a_bootstrapper() {
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
        let groups =
            |stored: &Value| user_of(stored, "abcdef", "0123456789abcdef", now).map(|user| user.groups.join(" "));
        let usual = "system:bootstrappers system:authenticated";
        let extra = "system:bootstrappers system:bootstrappers:a:b system:authenticated";
        let mut other_type = secret(&[]);
        other_type["type"] = json!("Opaque");
        let cases = [
            (secret(&[]), Some(usual)),
            (secret(&[("auth-extra-groups", "system:bootstrappers:a:b")]), Some(extra)),
            (secret(&[("auth-extra-groups", "system:masters")]), None),
            (secret(&[("auth-extra-groups", "system:bootstrappers:")]), None),
            (secret(&[("expiration", "2026-01-01T12:00:01Z")]), Some(usual)),
            (secret(&[("expiration", "2026-01-01T11:00:00+01:00")]), None),
            (secret(&[("expiration", "2026-01-01T12:00:00Z")]), None),
            (secret(&[("expiration", "tomorrow")]), None),
            (secret(&[("usage-bootstrap-authentication", "false")]), None),
            (secret(&[("token-id", "abcdeg")]), None),
            (secret(&[("token-secret", "1123456789abcdef")]), None),
            (other_type, None),
        ];
        for (stored, expected) in cases {
            assert_eq!(groups(&stored).as_deref(), expected, "{stored}");
        }
        let user = user_of(&secret(&[]), "abcdef", "0123456789abcdef", now).expect("good");
        assert_eq!(user.name, "system:bootstrap:abcdef");
    }
}
