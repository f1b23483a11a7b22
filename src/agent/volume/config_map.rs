//! `configMap`: each key a file.

use super::{Context, VolumeError, atomic, failed, io_failed, payload};
use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, KeyToPath};
use std::path::PathBuf;

pub(super) async fn set_up(
    context: &Context<'_>,
    volume: &str,
    source: &ConfigMapVolumeSource,
) -> Result<PathBuf, VolumeError> {
    let optional = source.optional == Some(true);
    let files = files(context, volume, &source.name, source.items.as_ref(), source.default_mode, optional).await?;
    let folder = context.folder("configmap", volume);
    atomic::write(&folder, &files, &super::token::stamp(), context.group()).map_err(io_failed(volume, &folder))?;
    Ok(folder)
}

pub(super) async fn files(
    context: &Context<'_>,
    volume: &str,
    name: &str,
    items: Option<&Vec<KeyToPath>>,
    mode: Option<i32>,
    optional: bool,
) -> Result<payload::Payload, VolumeError> {
    let object = context.leases.config_map(name).get().await;
    let object = object.map_err(|()| {
        failed(volume)(format!("failed to sync configmap cache: timed out waiting for configmap \"{name}\""))
    })?;
    let data = match object {
        Some(map) => payload::of_config_map(&map),
        None if optional => Default::default(),
        None => return Err(failed(volume)(format!("configmap \"{name}\" not found"))),
    };
    payload::project(volume, data, items, mode, optional)
}
