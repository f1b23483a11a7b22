//! `downwardAPI`: fields of the pod as files.

use super::{
    Context, VolumeError, atomic, failed, io_failed,
    payload::{File, Payload, mode, safe},
};
use crate::pod::{env, facts};
use k8s_openapi::api::core::v1::{DownwardAPIVolumeFile, DownwardAPIVolumeSource};
use std::path::PathBuf;

pub(super) fn set_up(
    context: &Context<'_>,
    volume: &str,
    source: &DownwardAPIVolumeSource,
) -> Result<PathBuf, VolumeError> {
    let files = files(context, volume, source.items.as_deref().unwrap_or_default(), source.default_mode)?;
    let folder = context.folder("downward-api", volume);
    atomic::write(&folder, &files, &super::token::stamp(), context.group()).map_err(io_failed(volume, &folder))?;
    Ok(folder)
}

pub(super) fn files(
    context: &Context<'_>,
    volume: &str,
    items: &[DownwardAPIVolumeFile],
    default: Option<i32>,
) -> Result<Payload, VolumeError> {
    let mut out = Payload::new();
    for item in items {
        if !safe(&item.path) {
            return Err(failed(volume)(format!("invalid path {:?}", item.path)));
        }
        let text = value(context, item).map_err(failed(volume))?;
        out.insert(item.path.clone(), File { bytes: text.into_bytes(), mode: mode(item.mode, default) });
    }
    Ok(out)
}

fn value(context: &Context<'_>, item: &DownwardAPIVolumeFile) -> Result<String, String> {
    if let Some(field) = &item.field_ref {
        let first = context.pod_ips.first().cloned().unwrap_or_default();
        return match field.field_path.as_str() {
            "status.podIP" => Ok(first),
            "status.podIPs" => Ok(context.pod_ips.join(",")),
            "status.hostIP" | "status.hostIPs" => Ok(context.host_ip.to_owned()),
            path => env::metadata_field(context.pod, path).ok_or_else(|| format!("unsupported fieldPath: {path}")),
        };
    }
    let Some(field) = &item.resource_field_ref else { return Ok(String::new()) };
    let name = field.container_name.as_deref().unwrap_or_default();
    let (_, container) = facts::container(context.pod, name).ok_or_else(|| format!("container {name} not found"))?;
    env::resource_value(context.pod, &container, field, context.capacity).map_err(|error| error.to_string())
}
