//! What the status of a pod says of the devices and node resources it has got.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::at::{get, list, map, maybe_text, sub, text};
use super::super::check::{Errors, invalid_each, member, required};
use crate::field::{FieldError, Path};
use crate::names;
use crate::quantity::Quantity;

/// The claims that were made for a pod, those for its extended resources, and what nodes gave.
pub(super) fn check(errors: &mut Errors, status: &Value, spec: &Value, path: &Path) {
    check_made(errors, status, spec, &path.child("resourceClaimStatuses"));
    if let Some(extended) = get(status, "extendedResourceClaimStatus") {
        check_extended(errors, extended, spec, &path.child("extendedResourceClaimStatus"));
    }
    check_of_node(errors, status, spec, &path.child("nodeAllocatableResourceClaimStatuses"));
}

fn check_made(errors: &mut Errors, status: &Value, spec: &Value, path: &Path) {
    let statuses = list(status, "resourceClaimStatuses");
    for (n, made) in statuses.iter().enumerate() {
        let (name, path) = (text(made, "name"), path.index(n));
        if !list(spec, "resourceClaims").iter().any(|claim| text(claim, "name") == name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.push(FieldError::invalid(&path.child("name"), name, why));
        }
        if statuses[..n].iter().any(|other| text(other, "name") == name) {
            errors.push(FieldError::duplicate(&path.child("name"), name));
        }
        if let Some(claim) = maybe_text(made, "resourceClaimName") {
            invalid_each(errors, names::dns1123_subdomain(claim), || path.child("resourceClaimName"), claim);
        }
    }
}

fn check_extended(errors: &mut Errors, status: &Value, spec: &Value, path: &Path) {
    let mappings = list(status, "requestMappings");
    let mappings_path = path.child("requestMappings");
    if mappings.is_empty() {
        errors.push(FieldError::required(&mappings_path, "at least one request mapping is required"));
    }
    const KEY: [&str; 3] = ["containerName", "resourceName", "requestName"];
    let key = |mapping| KEY.map(|field| text(mapping, field));
    let container = |name: &str| {
        let mut all = ["initContainers", "containers"].into_iter().flat_map(|field| list(spec, field));
        all.rfind(|container| text(container, "name") == name)
    };
    for (n, mapping) in mappings.iter().enumerate() {
        let [name, resource, request] = key(mapping);
        let at = mappings_path.index(n);
        match container(name) {
            None => {
                let why = "must match the name of an entry in spec.initContainers.name or spec.containers.name";
                errors.push(FieldError::invalid(&at.child("containerName"), name, why));
            }
            Some(container) if !map(sub(container, "resources"), "requests").contains_key(resource) => {
                let why = "must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests";
                errors.push(FieldError::invalid(&at.child("resourceName"), resource, why));
            }
            Some(_) => {}
        }
        invalid_each(errors, names::dns1123_label(request), || path.child("requestName"), request);
        if mappings[..n].iter().any(|other| key(other) == key(mapping)) {
            for (field, value) in KEY.into_iter().zip(key(mapping)) {
                errors.push(FieldError::duplicate(&at.child(field), value));
            }
        }
    }
    let claim = text(status, "resourceClaimName");
    if required(errors, claim, &path.child("resourceClaimName")) {
        invalid_each(errors, names::dns1123_subdomain(claim), || path.child("resourceClaimName"), claim);
    }
}

fn check_of_node(errors: &mut Errors, status: &Value, spec: &Value, path: &Path) {
    for (n, given) in list(status, "nodeAllocatableResourceClaimStatuses").iter().enumerate() {
        let (claim, path) = (text(given, "resourceClaimName"), path.index(n));
        if claim.is_empty() {
            errors.push(FieldError::required(&path.child("resourceClaimName"), "must not be empty"));
        }
        let names_it = |of: &Value| maybe_text(of, "resourceClaimName") == Some(claim);
        let known = list(spec, "resourceClaims").iter().chain(list(status, "resourceClaimStatuses")).any(names_it);
        if !known {
            let why = "no mapping found in pod reference";
            errors.push(FieldError::invalid(&path.child("resourceClaimName"), claim, why));
        }
        if list(given, "containers").is_empty() {
            errors.push(FieldError::required(&path.child("containers"), "must not be empty"));
        }
        let (amounts, path) = (map(given, "resources"), path.child("resources"));
        if amounts.is_empty() {
            errors.push(FieldError::required(&path, "must not be empty"));
        }
        for (name, amount) in amounts {
            let path = path.key(name.as_str());
            if name.contains('/') && !name.contains("kubernetes.io/") {
                errors.push(FieldError::invalid(&path, name.as_str(), "must be a node allocatable resource name"));
            }
            if let Some(amount) = Quantity::from_json(amount).ok().filter(|amount| amount.is_negative()) {
                errors.push(FieldError::invalid(&path, amount.to_string(), "must be non-negative"));
            }
        }
    }
}

/// The health of what a container was given; `containers` is where it is specified, if it can have anything.
pub(super) fn check_allocated(errors: &mut Errors, status: &Value, containers: Option<&[Value]>, path: &Path) {
    const HEALTHS: &[&str] = &["Healthy", "Unhealthy", "Unknown"];
    const MESSAGE_MAX_BYTES: usize = 1024;
    let (given, path) = (list(status, "allocatedResourcesStatus"), path.child("allocatedResourcesStatus"));
    let Some(containers) = containers else {
        if !given.is_empty() {
            errors.push(FieldError::forbidden(&path, "must not be specified in container status"));
        }
        return;
    };
    let container = containers.iter().find(|container| text(container, "name") == text(status, "name"));
    for (n, resource) in given.iter().enumerate() {
        let path = path.index(n);
        if let Some(why) = container.and_then(|container| unknown_resource(container, text(resource, "name"))) {
            errors.push(FieldError::invalid(&path.child("name"), text(resource, "name"), why));
        }
        let mut seen = BTreeSet::new();
        for (n, one) in list(resource, "resources").iter().enumerate() {
            let path = path.child("resources").index(n);
            member(errors, text(one, "health"), HEALTHS, &path.child("health"));
            match maybe_text(one, "message") {
                Some("") => {
                    errors.push(FieldError::required(&path.child("message"), "must be non-empty if specified"));
                }
                Some(message) if message.len() > MESSAGE_MAX_BYTES => {
                    errors.push(FieldError::too_long(&path.child("message"), MESSAGE_MAX_BYTES));
                }
                _ => {}
            }
            if !seen.insert(text(one, "resourceID")) {
                errors.push(FieldError::duplicate(&path.child("resourceID"), text(one, "resourceID")));
            }
        }
    }
}

fn unknown_resource(container: &Value, name: &str) -> Option<&'static str> {
    let resources = sub(container, "resources");
    let Some(claim) = name.strip_prefix("claim:") else {
        let known = map(resources, "requests").contains_key(name);
        return (!known).then_some("must match one of the container's resource requests");
    };
    let (claim, request) = claim.split_once('/').map_or((claim, None), |(claim, request)| (claim, Some(request)));
    let is_it = |known: &Value| {
        text(known, "name") == claim && Some(text(known, "request")).filter(|of| !of.is_empty()) == request
    };
    let known = list(resources, "claims").iter().any(is_it);
    (!known).then_some("must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty")
}
