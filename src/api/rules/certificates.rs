//! CertificateSigningRequest: what is asked stays; the answer is a status.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::at::{get, int, list, sub, text, texts};
use super::check::{Errors, immutable, member, required};
use super::{GENERIC, Rules, Scope};
use crate::field::{FieldError, Path};
use crate::names::NameRule;

pub(super) static RULES: Rules = Rules {
    name: NameRule::PathSegment,
    scope: Scope::Cluster,
    has_status: true,
    prepare_update: |new, old| super::at::keep(new, old, "spec"),
    validate,
    validate_update: Some(|new, old, errors| {
        immutable(errors, get(new, "spec"), get(old, "spec"), &Path::new("spec"));
    }),
    selectable: &[("spec.signerName", |request| text(sub(request, "spec"), "signerName").to_string())],
    ..GENERIC
};

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

fn validate(request: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(request, "spec"), Path::new("spec"));
    let encoded = text(spec, "request");
    let decoded = STANDARD.decode(encoded).unwrap_or_default();
    let is_pem = std::str::from_utf8(&decoded).is_ok_and(|pem| pem.contains("-----BEGIN CERTIFICATE REQUEST-----"));
    if !is_pem {
        errors.push(FieldError::invalid(
            &path.child("request"),
            encoded,
            "PEM block type must be CERTIFICATE REQUEST",
        ));
    }
    let usages = list(spec, "usages");
    if usages.is_empty() {
        errors.push(FieldError::required(&path.child("usages"), ""));
    }
    for (n, usage) in texts(spec, "usages").enumerate() {
        member(errors, usage, USAGES, &path.child("usages").index(n));
        if texts(spec, "usages").take(n).any(|other| other == usage) {
            errors.push(FieldError::duplicate(&path.child("usages").index(n), usage));
        }
    }
    let signer = text(spec, "signerName");
    let signer_path = path.child("signerName");
    if required(errors, signer, &signer_path) {
        match signer.split_once('/') {
            Some((domain, rest)) if domain.contains('.') && !rest.is_empty() && !rest.contains('/') => {}
            _ => errors.push(FieldError::invalid(
                &signer_path,
                signer,
                "must be a fully qualified domain and path of the form 'example.com/signer-name'",
            )),
        }
    }
    if let Some(seconds) = int(spec, "expirationSeconds").filter(|seconds| *seconds < 600) {
        errors.push(FieldError::invalid(
            &path.child("expirationSeconds"),
            seconds,
            "may not specify a duration less than 600 seconds (10 minutes)",
        ));
    }
}
