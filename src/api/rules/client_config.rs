//! Where a webhook is: a URL or a Service. The same for admission and for the conversion of custom resources.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::at::{default_pointer, get, get_mut, int, maybe_text, text};
use super::check::Errors;
use super::pem_block;
use crate::field::{FieldError, Path};
use crate::names;
use crate::url::{self, Url};

const FORM: &str = "; desired format: https://host[/path]";

/// The port of a Service that is referred to.
pub(super) fn default_service(holder: &mut Value) {
    if let Some(service) = get_mut(holder, "service") {
        default_pointer(service, "port", 443);
    }
}

/// A `clientConfig`: exactly one of URL and Service.
pub(crate) fn check(errors: &mut Errors, config: &Value, path: &Path) {
    match (maybe_text(config, "url"), get(config, "service")) {
        (Some(url), None) => check_url(errors, url, &path.child("url")),
        (None, Some(service)) => check_service(errors, service, &path.child("service")),
        _ => errors.push(FieldError::required(path, "exactly one of url or service is required")),
    }
}

/// A `caBundle` that holds something must hold a certificate.
pub(crate) fn check_ca_bundle(errors: &mut Errors, bundle: &str, path: &Path) {
    if !bundle.is_empty()
        && let Some(why) = bundle_complaint(bundle)
    {
        errors.push(FieldError::invalid(path, bundle, format!("unable to load root certificates: {why}")));
    }
}

/// Whether a `caBundle` can be used.
pub(crate) fn is_ca_bundle(bundle: &str) -> bool {
    bundle_complaint(bundle).is_none()
}

/// Why a bundle trusts nobody.
fn bundle_complaint(bundle: &str) -> Option<&'static str> {
    let bytes = STANDARD.decode(bundle).unwrap_or_default();
    let mut complaint = "unable to parse bytes as PEM block";
    for block in pem_block::blocks(&bytes) {
        match (block.label.as_str(), is_sequence(&block.contents)) {
            ("CERTIFICATE", true) => return None,
            ("CERTIFICATE", false) => return Some("failed to parse certificate: x509: malformed certificate"),
            _ => complaint = "no valid certificate authority data seen",
        }
    }
    Some(complaint)
}

/// The outermost part of a certificate: one sequence, as long as it says.
fn is_sequence(der: &[u8]) -> bool {
    let [0x30, length, rest @ ..] = der else { return false };
    if *length < 0x80 {
        return rest.len() == usize::from(*length);
    }
    let count = usize::from(*length & 0x7f);
    let Some((length, rest)) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count)) else { return false };
    rest.len() == length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte))
}

fn check_url(errors: &mut Errors, url: &str, path: &Path) {
    let Url { scheme, user, host, query, fragment } = match url::split(url) {
        Ok(url) => url,
        Err(why) => return errors.push(FieldError::required(path, format!("url must be a valid URL: {why}{FORM}"))),
    };
    let mut refuse = |value: &str, why: String| errors.push(FieldError::invalid(path, value, why));
    if scheme != "https" {
        refuse(&scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        refuse(host, format!("host must be specified{FORM}"));
    }
    if let Some(user) = user {
        refuse(user, "user information is not permitted in the URL".into());
    }
    if !fragment.is_empty() {
        refuse(fragment, "fragments are not permitted in the URL".into());
    }
    if !query.is_empty() {
        refuse(query, "query parameters are not permitted in the URL".into());
    }
}

fn check_service(errors: &mut Errors, service: &Value, path: &Path) {
    // Kubernetes takes the one for the other.
    for (field, shown) in [("name", "namespace"), ("namespace", "name")] {
        if text(service, field).is_empty() {
            errors.push(FieldError::required(&path.child(shown), ""));
        }
    }
    check_port(errors, int(service, "port").unwrap_or(0), &path.child("port"));
    let Some(url_path) = maybe_text(service, "path").filter(|path| !matches!(*path, "" | "/")) else { return };
    let path = path.child("path");
    let mut refuse = |why: String| errors.push(FieldError::invalid(&path, url_path, why));
    if url_path == "//" {
        return refuse("segment[0] may not be empty".into());
    }
    if !url_path.starts_with('/') {
        refuse("must start with a '/'".into());
    }
    let mut rest = url_path.chars();
    rest.next();
    let rest = rest.as_str();
    for (n, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            refuse(format!("segment[{n}] may not be empty"));
            continue;
        }
        for why in names::dns1123_subdomain(step) {
            refuse(format!("segment[{n}]: {why}"));
        }
    }
}

pub(super) fn check_port(errors: &mut Errors, port: i64, path: &Path) {
    let wrong = names::port_number(port);
    if !wrong.is_empty() {
        errors.push(FieldError::invalid(path, port, format!("port is not valid: {}", wrong.join(", "))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bundles_hold_certificates() {
        let pem = |label: &str, der: &[u8]| {
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
        };
        let cases = [
            (pem("CERTIFICATE", &[0x30, 2, 5, 0]), None),
            (pem("RSA KEY", &[0x30, 0]) + &pem("CERTIFICATE", &[0x30, 0x81, 2, 5, 0]), None),
            (pem("CERTIFICATE", &[0x30, 3, 5, 0]), Some("failed to parse certificate: x509: malformed certificate")),
            (pem("RSA KEY", &[0x30, 0]), Some("no valid certificate authority data seen")),
            ("none".to_owned(), Some("unable to parse bytes as PEM block")),
            ("-----BEGIN X".to_owned(), Some("unable to parse bytes as PEM block")),
        ];
        for (bundle, expected) in cases {
            assert_eq!(bundle_complaint(&STANDARD.encode(&bundle)), expected, "{bundle}");
        }
    }

    #[test]
    fn places_are_checked() {
        let cases = [
            (json!({}), "c: Required value: exactly one of url or service is required"),
            (
                json!({"url": "https://a", "service": {}}),
                "c: Required value: exactly one of url or service is required",
            ),
            (json!({"url": "https://a:443/x"}), ""),
            (
                json!({"url": "http://a"}),
                "c.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            ),
            (
                json!({"url": "https:///x"}),
                "c.url: Invalid value: \"\": host must be specified; desired format: https://host[/path]",
            ),
            (
                json!({"url": "https://u@a"}),
                "c.url: Invalid value: \"u\": user information is not permitted in the URL",
            ),
            (json!({"url": "https://a#f"}), "c.url: Invalid value: \"f\": fragments are not permitted in the URL"),
            (
                json!({"url": "https://a?b=c"}),
                "c.url: Invalid value: \"b=c\": query parameters are not permitted in the URL",
            ),
            (json!({"service": {"name": "s", "namespace": "n", "port": 443, "path": "/a/b"}}), ""),
            (json!({"service": {"namespace": "n", "port": 443}}), "c.service.namespace: Required value"),
            (
                json!({"service": {"name": "s", "namespace": "n", "port": 65536}}),
                "c.service.port: Invalid value: 65536: port is not valid: must be between 1 and 65535, inclusive",
            ),
            (
                json!({"service": {"name": "s", "namespace": "n", "port": 1, "path": "//"}}),
                "c.service.path: Invalid value: \"//\": segment[0] may not be empty",
            ),
            (
                json!({"service": {"name": "s", "namespace": "n", "port": 1, "path": "/a//b"}}),
                "c.service.path: Invalid value: \"/a//b\": segment[1] may not be empty",
            ),
        ];
        for (config, expected) in cases {
            let mut errors = Errors::new();
            check(&mut errors, &config, &Path::new("c"));
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            assert_eq!(texts.join("\n"), expected, "{config}");
        }
    }
}
