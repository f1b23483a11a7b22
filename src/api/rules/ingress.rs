//! Ingress and IngressClass: hosts, paths and what stands behind them.

use serde_json::Value;

use super::at::{default_pointer, get, get_mut, int, list, maybe_text, sub, text, texts};
use super::check::{Errors, immutable, invalid_each, member, port_number, required};
use super::{GENERIC, Generation, Rules, Scope, ip, service};
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names;

pub(super) static RULES: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    prepare_create: |ingress| super::at::set(ingress, "status", serde_json::json!({"loadBalancer": {}})),
    validate: |ingress, errors| {
        validate(ingress, None, errors);
        let class = maybe_text(sub(ingress, "spec"), "ingressClassName");
        if let (Some(annotated), Some(class)) = (meta::annotation(ingress, CLASS_ANNOTATION), class)
            && annotated != class
        {
            errors.push(FieldError::invalid(
                &Path::new("annotations").child(CLASS_ANNOTATION),
                annotated,
                "must match `ingressClassName` when both are specified",
            ));
        }
    },
    validate_update: Some(|new, old, errors| validate(new, Some(old), errors)),
    validate_status_update,
    warnings: |ingress, old| {
        let named = maybe_text(sub(ingress, "spec"), "ingressClassName").is_some();
        let annotated = old.is_none() && !named && meta::annotation(ingress, CLASS_ANNOTATION).is_some();
        let why =
            || format!("annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead");
        annotated.then(why).into_iter().collect()
    },
    status_warnings: service::balancer_advice,
    ..GENERIC
};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

fn validate_status_update(new: &Value, old: &Value, errors: &mut Errors) {
    let points = |ingress| list(sub(sub(ingress, "status"), "loadBalancer"), "ingress");
    let before: Vec<&str> = points(old).iter().map(|point| text(point, "ip")).collect();
    let path = Path::new("status").child("loadBalancer").child("ingress");
    for (n, point) in points(new).iter().enumerate() {
        let (address, host, path) = (text(point, "ip"), text(point, "hostname"), path.index(n));
        if !address.is_empty() {
            ip::check(errors, address, &before, &path.child("ip"));
        }
        if !host.is_empty() {
            invalid_each(errors, names::dns1123_subdomain(host), || path.child("hostname"), host);
            if ip::parse(host).is_some() {
                let why = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(&path.child("hostname"), host, why));
            }
        }
    }
}

/// Whether secrets, or hosts with a wildcard, had names that are not allowed; those may stay.
fn tolerated(old: Option<&Value>) -> (bool, bool) {
    let spec = old.map_or(&Value::Null, |old| sub(old, "spec"));
    let wrong_secret = |tls: &Value| {
        let secret = text(tls, "secretName");
        !secret.is_empty() && !names::dns1123_subdomain(secret).is_empty()
    };
    let wrong_host = |rule: &Value| {
        let host = text(rule, "host");
        host.contains('*') && !names::wildcard_dns1123_subdomain(host).is_empty()
    };
    (list(spec, "tls").iter().any(wrong_secret), list(spec, "rules").iter().any(wrong_host))
}

fn validate(ingress: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (any_secret, any_wildcard) = tolerated(old);
    let (spec, path) = (sub(ingress, "spec"), Path::new("spec"));
    let rules = list(spec, "rules");
    let backend = get(spec, "defaultBackend");
    if rules.is_empty() && backend.is_none() {
        errors.push(FieldError::invalid(
            &path,
            sub(spec, "rules").clone(),
            "either `defaultBackend` or `rules` must be specified",
        ));
    }
    if let Some(backend) = backend {
        check_backend(errors, backend, &path.child("defaultBackend"));
    }
    for (n, rule) in rules.iter().enumerate() {
        check_rule(errors, rule, any_wildcard, &path.child("rules").index(n));
    }
    for (n, tls) in list(spec, "tls").iter().enumerate() {
        let path = path.child("tls").index(n);
        for (n, host) in texts(tls, "hosts").enumerate() {
            check_host(errors, host, &path.child("hosts").index(n));
        }
        let secret = text(tls, "secretName");
        if !secret.is_empty() && !any_secret {
            invalid_each(errors, names::dns1123_subdomain(secret), || path.child("secretName"), secret);
        }
    }
    if let Some(class) = maybe_text(spec, "ingressClassName") {
        invalid_each(errors, names::dns1123_subdomain(class), || path.child("ingressClassName"), class);
    }
}

fn check_host(errors: &mut Errors, host: &str, path: &Path) {
    let check: names::Check =
        if host.contains('*') { names::wildcard_dns1123_subdomain } else { names::dns1123_subdomain };
    invalid_each(errors, check(host), || path.clone(), host);
}

fn check_rule(errors: &mut Errors, rule: &Value, any_wildcard: bool, path: &Path) {
    let host = text(rule, "host");
    if !host.is_empty() {
        if ip::parse(host).is_some() {
            errors.push(FieldError::invalid(&path.child("host"), host, "must be a DNS name, not an IP address"));
        }
        if !(any_wildcard && host.contains('*')) {
            check_host(errors, host, &path.child("host"));
        }
    }
    let Some(http) = get(rule, "http") else { return };
    let path = path.child("http").child("paths");
    let paths = list(http, "paths");
    if paths.is_empty() {
        errors.push(FieldError::required(&path, ""));
    }
    for (n, entry) in paths.iter().enumerate() {
        check_path(errors, entry, &path.index(n));
    }
}

fn check_path(errors: &mut Errors, entry: &Value, path: &Path) {
    let Some(kind) = maybe_text(entry, "pathType") else {
        errors.push(FieldError::required(&path.child("pathType"), "pathType must be specified"));
        return;
    };
    let wanted = text(entry, "path");
    let mut refuse = |why: String| errors.push(FieldError::invalid(&path.child("path"), wanted, why));
    match kind {
        "Exact" | "Prefix" => {
            if !wanted.starts_with('/') {
                refuse("must be an absolute path".into());
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|bad| wanted.contains(bad)) {
                refuse(format!("must not contain '{bad}'"));
            }
            for bad in ["/..", "/."].into_iter().filter(|bad| wanted.ends_with(bad)) {
                refuse(format!("cannot end with '{bad}'"));
            }
        }
        "ImplementationSpecific" => {
            if !wanted.is_empty() && !wanted.starts_with('/') {
                refuse("must be an absolute path".into());
            }
        }
        other => errors.push(FieldError::not_supported(
            &path.child("pathType"),
            other,
            &["Exact", "ImplementationSpecific", "Prefix"],
        )),
    }
    check_backend(errors, sub(entry, "backend"), &path.child("backend"));
}

fn check_backend(errors: &mut Errors, backend: &Value, path: &Path) {
    match (get(backend, "resource"), get(backend, "service")) {
        (Some(_), Some(_)) => {
            errors.push(FieldError::invalid(path, "", "cannot set both resource and service backends"));
        }
        (Some(resource), None) => check_reference(errors, resource, &path.child("resource")),
        (None, Some(service)) => {
            let service_path = path.child("service");
            let name = text(service, "name");
            if required(errors, name, &service_path.child("name")) {
                invalid_each(errors, names::dns1123_label(name), || service_path.child("name"), name);
            }
            let port = sub(service, "port");
            let port_path = service_path.child("port");
            match (text(port, "name"), int(port, "number").unwrap_or(0)) {
                ("", 0) => errors.push(FieldError::required(path, "port name or number is required")),
                ("", number) => port_number(errors, number, &port_path.child("number")),
                (name, 0) => invalid_each(errors, names::port_name(name), || port_path.child("name"), name),
                _ => errors.push(FieldError::invalid(path, "", "cannot set both port name & port number")),
            }
        }
        (None, None) => {
            errors.push(FieldError::invalid(path, "", "resource or service backend is required"));
        }
    }
}

/// An object of another kind.
fn check_reference(errors: &mut Errors, reference: &Value, path: &Path) {
    if let Some(group) = maybe_text(reference, "apiGroup") {
        invalid_each(errors, names::dns1123_subdomain(group), || path.child("apiGroup"), group);
    }
    for field in ["kind", "name"] {
        let name = text(reference, field);
        if required(errors, name, &path.child(field)) {
            invalid_each(errors, names::path_segment(name), || path.child(field), name);
        }
    }
}

pub(super) static CLASS: Rules = Rules {
    scope: Scope::Cluster,
    generation: Generation::Spec,
    default: |class| {
        if let Some(parameters) = get_mut(class, "spec").and_then(|spec| get_mut(spec, "parameters")) {
            default_pointer(parameters, "scope", "Cluster");
        }
    },
    validate: validate_class,
    validate_update: Some(|new, old, errors| {
        let controller = |class| Value::from(text(sub(class, "spec"), "controller"));
        let path = Path::new("spec").child("controller");
        immutable(errors, Some(&controller(new)), Some(&controller(old)), &path);
        validate_class(new, errors);
    }),
    ..GENERIC
};

fn validate_class(class: &Value, errors: &mut Errors) {
    let (spec, path) = (sub(class, "spec"), Path::new("spec"));
    let controller = text(spec, "controller");
    let controller_path = path.child("controller");
    if controller.len() > 250 {
        errors.push(FieldError::too_long(&controller_path, 250));
    }
    if required(errors, controller, &controller_path) {
        match controller.split_once('/') {
            Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
                invalid_each(errors, names::dns1123_subdomain(domain), || controller_path.clone(), domain);
            }
            _ => errors.push(FieldError::invalid(
                &controller_path,
                controller,
                "must be a domain-prefixed path (such as \"acme.io/foo\")",
            )),
        }
    }
    let Some(parameters) = get(spec, "parameters") else { return };
    let path = path.child("parameters");
    check_reference(errors, parameters, &path);
    let namespace = maybe_text(parameters, "namespace");
    let namespace_path = || path.child("namespace");
    match (text(parameters, "scope"), namespace) {
        ("Namespace", None) => {
            errors.push(FieldError::required(&namespace_path(), "`parameters.scope` is set to 'Namespace'"));
        }
        ("Namespace", Some(name)) => invalid_each(errors, names::dns1123_label(name), namespace_path, name),
        ("Cluster", Some(_)) => {
            errors.push(FieldError::forbidden(&namespace_path(), "`parameters.scope` is set to 'Cluster'"));
        }
        ("Cluster", None) => {}
        (other, _) => member(errors, other, &["Cluster", "Namespace"], &path.child("scope")),
    }
}
