//! AppArmor profiles as annotations, which came before the field: what they may say, and that both say the same.

use serde_json::Value;

use super::super::at::{get, list, maybe_text, sub, text};
use super::super::check::Errors;
use super::windows::{CONTAINERS, each_container};
use crate::field::{FieldError, Path, quote};
use crate::meta;

/// Begins the key of a container's annotation.
pub(super) const ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";
const LOCALHOST: &str = "localhost/";

/// The annotations of a pod or a template: each is of a container, and is a profile.
pub(super) fn check_annotations(errors: &mut Errors, holder: &Value, path: &Path) {
    let spec = sub(holder, "spec");
    for (key, profile) in meta::annotations(holder) {
        let Some(name) = key.strip_prefix(ANNOTATION) else { continue };
        let is_it = |container: &Value| text(container, "name") == name;
        if !CONTAINERS.iter().any(|field| list(spec, field).iter().any(is_it)) {
            errors.push(FieldError::invalid(&path.key(key.as_str()), name, "container not found"));
        }
        let profile = profile.as_str().unwrap_or("");
        if !matches!(profile, "" | "runtime/default" | "unconfined") && !profile.starts_with(LOCALHOST) {
            let why = format!("invalid AppArmor profile name: {}", quote(profile));
            errors.push(FieldError::invalid(&path.key(key.as_str()), profile, why));
        }
    }
}

/// Annotation and field say the same, where a container has both.
pub(in super::super) fn check_match(errors: &mut Errors, holder: &Value, path: &Path) {
    const PROFILE: &str = "appArmorProfile";
    let spec = sub(holder, "spec");
    if text(sub(spec, "os"), "name") == "windows" {
        return;
    }
    let of_pod = get(sub(spec, "securityContext"), PROFILE);
    each_container(spec, path, |container, path| {
        let key = format!("{ANNOTATION}{}", text(container, "name"));
        let profile = get(sub(container, "securityContext"), PROFILE).or(of_pod);
        let (Some(profile), Some(annotation)) = (profile, meta::annotation(holder, &key)) else { return };
        let of_file = annotation.strip_prefix(LOCALHOST);
        let (same_type, same_file) = match text(profile, "type") {
            "Unconfined" => (annotation == "unconfined", true),
            "RuntimeDefault" => (annotation == "runtime/default", true),
            "Localhost" => (of_file.is_some(), of_file == maybe_text(profile, "localhostProfile")),
            _ => return,
        };
        let path = path.child("securityContext").child(PROFILE);
        if !same_type {
            let why = "apparmor type in annotation and field must match";
            errors.push(FieldError::forbidden(&path.child("type"), why));
        } else if !same_file {
            let why = "apparmor profile in annotation and field must match";
            errors.push(FieldError::forbidden(&path.child("localhostProfile"), why));
        }
    });
}
