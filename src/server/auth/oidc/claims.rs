//! From the claims of a token to a user. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::{OidcError, OidcOptions};
use crate::auth::{AUTHENTICATED, User};

/// Seconds since 1970.
pub(super) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// The user that claims describe, when they are for this cluster and it is their time.
pub(super) fn user(options: &OidcOptions, claims: &Map<String, Value>, now_s: i64) -> Result<User, OidcError> {
    let seconds = |claim: &str| claims.get(claim).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "times are far from where it would be lost")]
    let now = now_s as f64;
    let expiry = seconds("exp").ok_or(OidcError::Claim("exp", "is missing"))?;
    if now >= expiry {
        return Err(OidcError::Expired);
    }
    // As clocks differ.
    if seconds("nbf").is_some_and(|begin| now + 300.0 < begin) {
        return Err(OidcError::Claim("nbf", "lies in the future"));
    }
    if !texts(claims.get("aud")).contains(&options.client_id.as_str()) {
        return Err(OidcError::Claim("aud", "does not name this cluster's client id"));
    }
    for (claim, wanted) in &options.required_claims {
        if claims.get(claim).and_then(Value::as_str) != Some(wanted) {
            return Err(OidcError::Required(claim.clone()));
        }
    }
    let name = claims.get(&options.username_claim).and_then(Value::as_str).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| OidcError::Required(options.username_claim.clone()))?;
    if options.username_claim == "email" && claims.get("email_verified").is_some_and(|verified| *verified != true) {
        return Err(OidcError::Claim("email", "is not verified"));
    }
    let mut groups: Vec<String> = Vec::new();
    if let Some(claim) = &options.groups_claim {
        groups.extend(texts(claims.get(claim)).iter().map(|group| format!("{}{group}", options.groups_prefix)));
    }
    groups.push(AUTHENTICATED.to_owned());
    let mut user = User::new(format!("{}{name}", options.username_prefix), groups);
    if let Some(id) = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![format!("JTI={id}")]);
    }
    Ok(user)
}

/// A text, or a list of them.
fn texts(claim: Option<&Value>) -> Vec<&str> {
    match claim {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
