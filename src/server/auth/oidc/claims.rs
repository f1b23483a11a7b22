//! From the claims of a token to a user. Pure.

use std::time::{SystemTime, UNIX_EPOCH};

use mk8s_api::cel::Value as Cel;
use serde_json::{Map, Value, json};

use super::{
    OidcError,
    check::{Compiled, Expression, Rule, Source},
};
use crate::auth::{AUTHENTICATED, User};

type Claims = Map<String, Value>;

/// Seconds since 1970.
pub(super) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(since).unwrap_or(i64::MAX)
}

/// Whether claims are for this cluster and it is their time.
pub(super) fn check(issuer: &Compiled, claims: &Claims, now_s: i64) -> Result<(), OidcError> {
    check_time(claims, now_s)?;
    let audiences = texts(claims, "aud")?;
    if audiences.iter().any(|audience| issuer.issuer.audiences.contains(audience)) {
        return Ok(());
    }
    Err(OidcError::Audience { wanted: issuer.issuer.audiences.clone(), found: audiences })
}

/// The user that claims describe.
pub(super) fn user(issuer: &Compiled, claims: Claims) -> Result<User, OidcError> {
    let claims = Value::Object(claims);
    let mut user = User::new(username(issuer, &claims)?, groups(issuer, &claims)?);
    user.uid = match &issuer.uid {
        None => String::new(),
        Some(Source::Claim { claim, .. }) => text(&claims, claim)?,
        Some(Source::Expression(expression)) => evaluated_text(expression, &claims, "uid")?,
    };
    if let Some(id) = claims["jti"].as_str().filter(|id| !id.is_empty()) {
        user.extra.insert("authentication.kubernetes.io/credential-id".into(), vec![format!("JTI={id}")]);
    }
    for (key, expression) in &issuer.extra {
        let values = evaluated_texts(expression, &claims, "extra")?;
        if !values.is_empty() {
            user.extra.insert(key.clone(), values);
        }
    }
    for (claim, wanted) in &issuer.required {
        let found = text(&claims, claim)?;
        if found != *wanted {
            return Err(OidcError::Required { claim: claim.clone(), found, wanted: wanted.clone() });
        }
    }
    check_rules(&issuer.rules, &claims, "claim validation expression")?;
    if !issuer.user_rules.is_empty() {
        let info = json!({"username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra});
        check_rules(&issuer.user_rules, &info, "user info validation rule")?;
    }
    user.groups.push(AUTHENTICATED.to_owned());
    Ok(user)
}

fn check_time(claims: &Claims, now_s: i64) -> Result<(), OidcError> {
    let seconds = |claim: &str| claims.get(claim).and_then(Value::as_f64);
    #[expect(clippy::cast_precision_loss, reason = "times are far from where it would be lost")]
    let now = now_s as f64;
    let expiry = seconds("exp").ok_or_else(|| OidcError::claim("exp", "is missing"))?;
    if now >= expiry {
        return Err(OidcError::Expired);
    }
    // As clocks differ.
    if seconds("nbf").is_some_and(|begin| now + 300.0 < begin) {
        return Err(OidcError::claim("nbf", "lies in the future"));
    }
    Ok(())
}

fn username(issuer: &Compiled, claims: &Value) -> Result<String, OidcError> {
    let name = match &issuer.username {
        Source::Claim { claim, prefix } => {
            let name = text(claims, claim)?;
            if claim == "email" && claims.get("email_verified").is_some_and(|verified| *verified != true) {
                return Err(OidcError::claim("email", "is not verified"));
            }
            if name.is_empty() {
                return Err(OidcError::claim(claim, "is empty, and should be the user's name"));
            }
            return Ok(format!("{prefix}{name}"));
        }
        Source::Expression(expression) => evaluated_text(expression, claims, "username")?,
    };
    match name.is_empty() {
        true => Err(OidcError::Expression("empty username via CEL expression is not allowed".into())),
        false => Ok(name),
    }
}

fn groups(issuer: &Compiled, claims: &Value) -> Result<Vec<String>, OidcError> {
    match &issuer.groups {
        None => Ok(Vec::new()),
        Some(Source::Claim { claim, prefix }) => {
            let Value::Object(claims) = claims else { return Ok(Vec::new()) };
            Ok(texts(claims, claim)?.into_iter().map(|group| format!("{prefix}{group}")).collect())
        }
        Some(Source::Expression(expression)) => evaluated_texts(expression, claims, "group"),
    }
}

/// A claim that is a text.
fn text(claims: &Value, claim: &str) -> Result<String, OidcError> {
    let value = claims.get(claim).ok_or_else(|| OidcError::claim(claim, "is missing"))?;
    value.as_str().map(str::to_owned).ok_or_else(|| OidcError::claim(claim, "is no text"))
}

/// A claim that is a text, or a list of them, or absent.
fn texts(claims: &Claims, claim: &str) -> Result<Vec<String>, OidcError> {
    let wrong = || OidcError::claim(claim, "is neither a text nor a list of texts");
    match claims.get(claim) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one.clone()]),
        Some(Value::Array(many)) => {
            many.iter().map(|text| text.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn evaluated<'a>(expression: &'a Expression, over: &'a Value, what: &str) -> Result<Cel<'a>, OidcError> {
    let run = expression.program.evaluate(&[Some(Cel::claims(over))]);
    run.result.map_err(|error| {
        OidcError::Expression(format!(
            "error evaluating {what}: expression '{}' resulted in error: {error}",
            expression.source
        ))
    })
}

fn evaluated_text(expression: &Expression, claims: &Value, what: &str) -> Result<String, OidcError> {
    let place = format!("{what} claim expression");
    match evaluated(expression, claims, &place)? {
        Cel::String(text) => Ok(text.to_string()),
        _ => Err(OidcError::Expression(format!(
            "error evaluating {place}: {what} claim expression must return a string"
        ))),
    }
}

/// Empty texts count for nothing.
fn evaluated_texts(expression: &Expression, claims: &Value, what: &str) -> Result<Vec<String>, OidcError> {
    let place = format!("{what} claim expression");
    let texts = match evaluated(expression, claims, &place)? {
        Cel::Null => Some(Vec::new()),
        Cel::String(one) => Some(vec![one.to_string()]),
        many @ Cel::List(_) => match many.to_json() {
            Ok(Value::Array(many)) => many.into_iter().map(|text| text.as_str().map(str::to_owned)).collect(),
            _ => None,
        },
        _ => None,
    };
    let texts = texts.ok_or_else(|| {
        let why = "expression must return a string or a list of strings";
        OidcError::Expression(format!("error evaluating {place}: {why}"))
    })?;
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn check_rules(rules: &[Rule], over: &Value, what: &str) -> Result<(), OidcError> {
    for Rule { expression, message } in rules {
        let failed = match evaluated(expression, over, what)? {
            Cel::Bool(true) => continue,
            Cel::Bool(false) => format!("validation expression '{}' failed: {message}", expression.source),
            _ => "validation expression must return a boolean".to_owned(),
        };
        return Err(OidcError::Expression(format!("error evaluating {what}: {failed}")));
    }
    Ok(())
}
