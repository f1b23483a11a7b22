//! CertificateSigningRequest: what is asked stays; the answer is a status, written by those who approve and those who sign.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::at::{get, int, list, same, sub, sub_mut, text, texts};
use super::check::{Errors, member, required};
use super::{GENERIC, Rules, Scope};
use crate::{
    field::{FieldError, Path},
    names::{self, NameRule},
    signing_request::{LEGACY_SIGNER, SigningRequest},
};

pub(super) static RULES: Rules = Rules {
    name: NameRule::PathSegment,
    scope: Scope::Cluster,
    has_status: true,
    prepare_update: |new, old| super::at::keep(new, old, "spec"),
    prepare_status_update,
    validate,
    validate_update: Some(|new, old, errors| validate_change(new, old, Way::Plain, errors)),
    validate_status_update: |new, old, errors| validate_change(new, old, Way::Signing, errors),
    selectable: &[("spec.signerName", |request| text(sub(request, "spec"), "signerName").to_string())],
    ..GENERIC
};

/// What is settled with these cannot be taken back.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];
const FINAL: [&str; 3] = ["Approved", "Denied", "Failed"];

/// How a request is changed: by its owner, by who signs it, or by who approves it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Signing,
    Approving,
}

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Writes down who asks: only the server knows.
pub fn note_requester(request: &mut Value, user_info: &Value) {
    let Some(spec) = sub_mut(request, "spec").and_then(Value::as_object_mut) else { return };
    for (field, said) in [("username", "username"), ("uid", "uid"), ("groups", "groups"), ("extra", "extra")] {
        match get(user_info, said) {
            Some(value) => spec.insert(field.to_owned(), value.clone()),
            None => spec.remove(field),
        };
    }
}

/// Undoes what an approval may not change, which is everything but metadata and conditions. `now` as in objects.
pub fn prepare_approval(new: &mut Value, old: &Value, now: &str) {
    super::meta::prepare_update(new, old);
    let asked = sub(new, "status").get("conditions").cloned();
    super::at::keep(new, old, "spec");
    super::at::keep(new, old, "status");
    if let Some(fields) = new.as_object_mut() {
        let status = fields.entry("status").or_insert_with(|| Value::Object(Map::new()));
        match (status.as_object_mut(), asked) {
            (Some(status), Some(conditions)) => status.insert("conditions".into(), conditions),
            (Some(status), None) => status.remove("conditions"),
            (None, _) => None,
        };
    }
    stamp_conditions(new, old, now);
}

/// Gives conditions the times that they lack.
pub fn stamp_conditions(new: &mut Value, old: &Value, now: &str) {
    let known = list(sub(old, "status"), "conditions");
    for condition in conditions_mut(new) {
        let (kind, status) = (text(condition, "type").to_owned(), text(condition, "status").to_owned());
        let since = known.iter().find(|known| text(known, "type") == kind && text(known, "status") == status);
        let since = since.map(|known| text(known, "lastTransitionTime")).filter(|time| !time.is_empty());
        for (field, time) in [("lastUpdateTime", now), ("lastTransitionTime", since.unwrap_or(now))] {
            if text(condition, field).is_empty() {
                condition[field] = json!(time);
            }
        }
    }
}

/// What is wrong with a request whose conditions are about to become those of an approval.
pub fn validate_approval(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = super::meta::validate_update(new, old, &RULES);
    validate_change(new, old, Way::Approving, &mut errors);
    errors
}

fn conditions_mut(request: &mut Value) -> impl Iterator<Item = &mut Value> {
    let conditions = sub_mut(request, "status").and_then(|status| status.get_mut("conditions"));
    conditions.and_then(Value::as_array_mut).into_iter().flatten().filter(|condition| condition.is_object())
}

/// Who signs does not approve: what was decided stays as it was written.
fn prepare_status_update(new: &mut Value, old: &Value) {
    for kind in DECISIONS {
        let decided: Vec<&Value> = of_type(old, kind).collect();
        if of_type(new, kind).count() == decided.len() {
            let asked = conditions_mut(new).filter(|condition| text(condition, "type") == kind);
            asked.zip(decided).for_each(|(asked, decided)| *asked = decided.clone());
        }
    }
}

fn of_type<'a>(request: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    list(sub(request, "status"), "conditions").iter().filter(move |condition| text(condition, "type") == kind)
}

fn validate(request: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(request, "spec"), Path::new("spec"));
    let encoded = text(spec, "request");
    if let Err(why) = SigningRequest::parse(&STANDARD.decode(encoded).unwrap_or_default()) {
        errors.push(FieldError::invalid(&path.child("request"), sub(spec, "request").clone(), why));
    }
    let usages = list(spec, "usages");
    if usages.is_empty() {
        errors.push(FieldError::required(&path.child("usages"), ""));
    }
    for (n, usage) in texts(spec, "usages").enumerate() {
        member(errors, usage, USAGES, &path.child("usages").index(n));
    }
    for (n, usage) in texts(spec, "usages").enumerate() {
        if texts(spec, "usages").take(n).any(|other| other == usage) {
            errors.push(FieldError::duplicate(&path.child("usages").index(n), usage));
        }
    }
    signer_name(errors, text(spec, "signerName"), &path.child("signerName"));
    if let Some(seconds) = int(spec, "expirationSeconds").filter(|seconds| *seconds < 600) {
        errors.push(FieldError::invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        ));
    }
    validate_conditions(request, &Value::Null, errors);
    validate_certificate(request, &Value::Null, errors);
}

fn signer_name(errors: &mut Errors, signer: &str, path: &Path) {
    if signer == LEGACY_SIGNER {
        let why = "the legacy signerName is not allowed via this API version";
        return errors.push(FieldError::invalid(path, signer, why));
    }
    if !required(errors, signer, path) {
        return;
    }
    let Some((domain, rest)) = signer.split_once('/').filter(|(_, rest)| !rest.contains('/')) else {
        let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.push(FieldError::invalid(path, signer, why));
    };
    let mut wrong = |value: &str, label: &str, why: Vec<String>| {
        let found = !why.is_empty();
        errors.extend(
            why.iter().map(|why| FieldError::invalid(path, value, format!("validating label {label:?}: {why}"))),
        );
        found
    };
    let _ = domain.split('.').any(|label| wrong(domain, label, names::dns1123_label(label)));
    let _ = rest.split('.').any(|label| wrong(rest, label, names::dns1123_subdomain(label)));
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, why));
    }
}

/// The rest of the specification is that of the old one, and was looked at when it was made.
fn validate_change(new: &Value, old: &Value, way: Way, errors: &mut Errors) {
    validate_conditions(new, old, errors);
    validate_certificate(new, old, errors);
    let path = Path::new("status").child("conditions");
    for kind in FINAL {
        if of_type(new, kind).count() < of_type(old, kind).count() {
            let why = format!("updates may not remove a condition of type {kind:?}");
            errors.push(FieldError::forbidden(&path, why));
        }
    }
    for kind in DECISIONS.into_iter().filter(|_| way != Way::Approving) {
        let (now, before) = (of_type(new, kind).count(), of_type(old, kind).count());
        if now > before {
            errors.push(FieldError::forbidden(&path, format!("updates may not add a condition of type {kind:?}")));
        } else if now == before && !of_type(new, kind).eq(of_type(old, kind)) {
            errors.push(FieldError::forbidden(&path, format!("updates may not modify a condition of type {kind:?}")));
        }
    }
    let certificate = |request| text(sub(request, "status"), "certificate");
    let path = Path::new("status").child("certificate");
    if certificate(new) != certificate(old) {
        if way != Way::Signing {
            errors.push(FieldError::forbidden(&path, "updates may not set certificate content"));
        } else if !certificate(old).is_empty() {
            errors.push(FieldError::forbidden(&path, "updates may not modify existing certificate content"));
        }
    }
}

fn validate_conditions(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("status").child("conditions");
    let (conditions, known) = (list(sub(new, "status"), "conditions"), list(sub(old, "status"), "conditions"));
    let twice =
        |list: &[Value], n: usize| list[..n].iter().any(|other| same(sub(other, "type"), sub(&list[n], "type")));
    // What is wrong already may stay so.
    let tolerates_both = DECISIONS.iter().all(|kind| of_type(old, kind).next().is_some());
    let tolerates_empty = known.iter().any(|condition| text(condition, "type").is_empty());
    let tolerates_twice = (0..known.len()).any(|n| twice(known, n));
    let mut decided: Option<&str> = None;
    for (n, condition) in conditions.iter().enumerate() {
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        if kind.is_empty() && !tolerates_empty {
            errors.push(FieldError::required(&path.index(n).child("type"), ""));
        }
        let allowed: &[&str] = if FINAL.contains(&kind) { &["True"] } else { &["False", "True", "Unknown"] };
        super::check::word(errors, status, allowed, &path.index(n).child("status"));
        if DECISIONS.contains(&kind) && !tolerates_both {
            if decided.is_some_and(|other| other != kind) {
                let why = "Approved and Denied conditions are mutually exclusive";
                errors.push(FieldError::invalid(&path, kind, why));
            }
            decided = decided.or(Some(kind));
        }
        if !tolerates_twice && twice(conditions, n) {
            errors.push(FieldError::duplicate(&path.index(n).child("type"), kind));
        }
    }
}

fn validate_certificate(new: &Value, old: &Value, errors: &mut Errors) {
    let of = |request| text(sub(request, "status"), "certificate");
    if of(new) == of(old) || certificates(of(old)).is_err() {
        return;
    }
    if let Err(why) = certificates(of(new)) {
        errors.push(FieldError::invalid(&Path::new("status").child("certificate"), "<certificate data>", why));
    }
}

/// Whether this is a chain of certificates, or nothing.
fn certificates(encoded: &str) -> Result<(), String> {
    if encoded.is_empty() {
        return Ok(());
    }
    let blocks = STANDARD.decode(encoded).map(pem::parse_many);
    let blocks = blocks.ok().and_then(Result::ok).unwrap_or_default();
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    for block in blocks {
        if block.tag() != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.tag()));
        }
        if block.headers().iter().next().is_some() {
            return Err("no PEM block headers are permitted".into());
        }
        let whole = X509Certificate::from_der(block.contents()).map(|(rest, _)| rest.is_empty());
        match whole {
            Ok(true) => {}
            Ok(false) => return Err("x509: trailing data".into()),
            Err(error) => return Err(format!("x509: malformed certificate: {error}")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn request(conditions: Value) -> Value {
        json!({
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "1"},
            "spec": {"signerName": "example.com/a"},
            "status": {"conditions": conditions},
        })
    }

    fn condition(kind: &str) -> Value {
        json!({"type": kind, "status": "True", "reason": "r"})
    }

    #[test]
    fn approvals_change_conditions_only() {
        let old = request(json!([]));
        let mut new = request(json!([condition("Approved")]));
        new["spec"]["signerName"] = json!("example.com/b");
        new["status"]["certificate"] = json!("eA==");
        new["metadata"]["annotations"] = json!({"a": "b"});
        prepare_approval(&mut new, &old, "2026-01-01T00:00:00Z");
        assert_eq!(new["spec"], old["spec"]);
        assert_eq!(new["metadata"]["annotations"], json!({"a": "b"}));
        let stamped = "2026-01-01T00:00:00Z";
        let approved = json!({"type": "Approved", "status": "True", "reason": "r", "lastUpdateTime": stamped, "lastTransitionTime": stamped});
        assert_eq!(new["status"], json!({"conditions": [approved]}));
        assert_eq!(validate_approval(&new, &old), Vec::new());
    }

    #[test]
    fn who_signs_does_not_approve() {
        let old = request(json!([{"type": "Approved", "status": "True", "reason": "r"}]));
        let mut new =
            request(json!([{"type": "Approved", "status": "True", "reason": "changed"}, condition("Failed")]));
        RULES.prepare_status_update(&mut new, &old);
        assert_eq!(new["status"]["conditions"][0], old["status"]["conditions"][0]);
    }

    #[test]
    fn decisions_are_final() {
        let check = |new: Value, old: Value, way: Way, expected: Expect| {
            let mut errors = Vec::new();
            validate_change(&request(new), &request(old), way, &mut errors);
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            expected.assert_eq(&lines.join("\n"));
        };
        let (approved, denied) = (condition("Approved"), condition("Denied"));
        check(
            json!([]),
            json!([approved]),
            Way::Approving,
            expect![[r#"status.conditions: Forbidden: updates may not remove a condition of type "Approved""#]],
        );
        check(
            json!([denied]),
            json!([]),
            Way::Signing,
            expect![[r#"status.conditions: Forbidden: updates may not add a condition of type "Denied""#]],
        );
        check(
            json!([approved, denied]),
            json!([]),
            Way::Approving,
            expect![[
                r#"status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive"#
            ]],
        );
        check(
            json!([{"type": "Approved", "status": "False"}, {"type": "", "status": ""}]),
            json!([]),
            Way::Approving,
            expect![[r#"
                status.conditions[0].status: Unsupported value: "False": supported values: "True"
                status.conditions[1].type: Required value
                status.conditions[1].status: Required value"#]],
        );
    }

    #[test]
    fn certificates_are_certificates() {
        let encode = |text: &str| STANDARD.encode(text);
        let key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n";
        let bad = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        assert_eq!(certificates(""), Ok(()));
        assert_eq!(certificates(&encode("x")), Err("must contain at least one CERTIFICATE PEM block".into()));
        let found = "only CERTIFICATE PEM blocks are allowed, found \"PRIVATE KEY\"";
        assert_eq!(certificates(&encode(key)), Err(found.into()));
        assert!(certificates(&encode(bad)).is_err());
    }

    #[test]
    fn who_asks_is_the_servers_to_say() {
        let mut asked = json!({"spec": {"username": "root", "uid": "1", "extra": {"a": ["b"]}}});
        note_requester(&mut asked, &json!({"username": "me", "groups": ["g"]}));
        assert_eq!(asked, json!({"spec": {"username": "me", "groups": ["g"]}}));
    }
}
