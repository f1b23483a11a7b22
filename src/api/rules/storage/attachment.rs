//! VolumeAttachment: a volume that is to be on a node.

use serde_json::{Value, json};

use super::at::{get, int, map, maybe_text, sub, text};
use super::check::{Errors, immutable, invalid_each, keep_metadata};
use super::volume::check_spec;
use super::{FieldError, GENERIC, Path, Rules, Scope, at, check_driver_name, names};

const METADATA_MAX_BYTES: usize = 256 * 1024;
const MESSAGE_MAX_BYTES: usize = 1024;

pub(in super::super) static ATTACHMENT: Rules = Rules {
    scope: Scope::Cluster,
    has_status: true,
    prepare_create: |attachment| at::set(attachment, "status", json!({"attached": false})),
    prepare_status_update: keep_metadata,
    validate,
    validate_update: Some(|new, old, errors| {
        validate(new, errors);
        immutable(errors, get(new, "spec"), get(old, "spec"), &Path::new("spec"));
    }),
    validate_status_update: |new, _, errors| validate(new, errors),
    ..GENERIC
};

fn validate(attachment: &Value, errors: &mut Errors) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let (spec, path) = (sub(attachment, "spec"), Path::new("spec"));
    check_driver_name(errors, text(spec, "attacher"), &path.child("attacher"));
    let (source, source_path) = (sub(spec, "source"), path.child("source"));
    let volume = maybe_text(source, "persistentVolumeName");
    let volume_path = || source_path.child("persistentVolumeName");
    match (get(source, "inlineVolumeSpec"), volume) {
        (None, None) => errors.push(FieldError::required(&source_path, ONE)),
        (Some(_), Some(_)) => errors.push(FieldError::forbidden(&source_path, ONE)),
        (None, Some("")) => {
            errors.push(FieldError::required(&volume_path(), "must specify non empty persistentVolumeName"));
        }
        (None, Some(_)) => {}
        (Some(inline), None) => check_spec(errors, inline, None, &source_path.child("inlineVolumeSpec")),
    }
    let node = text(spec, "nodeName");
    invalid_each(errors, names::dns1123_subdomain(node), || path.child("nodeName"), node);
    check_status(errors, sub(attachment, "status"), &Path::new("status"));
    if let Some(volume) = volume {
        invalid_each(errors, names::dns1123_subdomain(volume), volume_path, volume);
    }
}

fn check_status(errors: &mut Errors, status: &Value, path: &Path) {
    let metadata = map(status, "attachmentMetadata");
    let size: usize = metadata.iter().map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum();
    if size > METADATA_MAX_BYTES {
        errors.push(FieldError::too_long(&path.child("attachmentMetadata"), METADATA_MAX_BYTES));
    }
    for field in ["attachError", "detachError"] {
        let Some(error) = get(status, field) else { continue };
        let path = path.child(field);
        if text(error, "message").len() > MESSAGE_MAX_BYTES {
            errors.push(FieldError::too_long(&path.child("message"), METADATA_MAX_BYTES));
        }
        if let Some(code) = int(error, "errorCode").filter(|code| *code < 0) {
            let why = names::range_message(0, i64::from(i32::MAX));
            errors.push(FieldError::invalid(&path.child("errorCode"), code, why));
        }
    }
}
