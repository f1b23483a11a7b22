//! Probes, lifecycle hooks and the handlers they share.

use serde_json::Value;

use super::super::at::{get, int, list, sub, text};
use super::super::check::{Errors, invalid_each, member, non_negative, port_number, port_or_name, required};
use crate::field::{FieldError, Path};
use crate::names;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Liveness,
    Readiness,
    Startup,
}

/// The three probes of a container.
pub(super) fn check_probes(errors: &mut Errors, container: &Value, grace: Option<i64>, path: &Path) {
    for (field, kind) in
        [("livenessProbe", Kind::Liveness), ("readinessProbe", Kind::Readiness), ("startupProbe", Kind::Startup)]
    {
        if let Some(probe) = get(container, field) {
            check_probe(errors, probe, kind, grace, &path.child(field));
        }
    }
}

fn check_probe(errors: &mut Errors, probe: &Value, kind: Kind, grace: Option<i64>, path: &Path) {
    check_handler(errors, probe, &["exec", "httpGet", "tcpSocket", "grpc"], grace, path);
    for field in ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"] {
        non_negative(errors, int(probe, field), || path.child(field));
    }
    let own_grace = int(probe, "terminationGracePeriodSeconds");
    let grace_path = || path.child("terminationGracePeriodSeconds");
    if let Some(seconds) = own_grace.filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(&grace_path(), seconds, "must be greater than 0"));
    }
    if kind == Kind::Readiness {
        if let Some(seconds) = own_grace {
            errors.push(FieldError::invalid(&grace_path(), seconds, "must not be set for readinessProbes"));
        }
    } else {
        let threshold = int(probe, "successThreshold").unwrap_or(0);
        if threshold != 1 {
            errors.push(FieldError::invalid(&path.child("successThreshold"), threshold, "must be 1"));
        }
    }
}

pub(super) fn check_lifecycle(errors: &mut Errors, lifecycle: &Value, grace: Option<i64>, os: &Value, path: &Path) {
    for hook in ["postStart", "preStop"] {
        if let Some(handler) = get(lifecycle, hook) {
            check_handler(errors, handler, &["exec", "httpGet", "tcpSocket", "sleep"], grace, &path.child(hook));
        }
    }
    if get(lifecycle, "stopSignal").is_some() && os.is_null() {
        errors.push(FieldError::forbidden(
            &path.child("stopSignal"),
            "may not be set for containers with empty `spec.os.name`",
        ));
    }
}

fn check_handler(errors: &mut Errors, handler: &Value, kinds: &[&'static str], grace: Option<i64>, path: &Path) {
    let mut found = false;
    for kind in kinds {
        let Some(action) = get(handler, kind) else { continue };
        let path = path.child(*kind);
        if found {
            errors.push(FieldError::forbidden(&path, "may not specify more than 1 handler type"));
            continue;
        }
        found = true;
        match *kind {
            "exec" if list(action, "command").is_empty() => {
                errors.push(FieldError::required(&path.child("command"), ""));
            }
            "httpGet" => check_http(errors, action, &path),
            "tcpSocket" => port_or_name(errors, sub(action, "port"), &path.child("port")),
            "grpc" => port_number(errors, int(action, "port").unwrap_or(0), &path.child("port")),
            "sleep" => {
                let seconds = int(action, "seconds").unwrap_or(0);
                if let Some(grace) = grace.filter(|grace| seconds < 0 || seconds > *grace) {
                    errors.push(FieldError::invalid(
                        &path,
                        seconds,
                        format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})"),
                    ));
                }
            }
            _ => {}
        }
    }
    if !found {
        errors.push(FieldError::required(path, "must specify a handler type"));
    }
}

fn check_http(errors: &mut Errors, http: &Value, path: &Path) {
    required(errors, text(http, "path"), &path.child("path"));
    port_or_name(errors, sub(http, "port"), &path.child("port"));
    member(errors, text(http, "scheme"), &["HTTP", "HTTPS"], &path.child("scheme"));
    for header in list(http, "httpHeaders") {
        let name = text(header, "name");
        invalid_each(errors, names::http_header_name(name), || path.child("httpHeaders"), name);
    }
}
