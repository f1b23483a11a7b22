//! `secret`: each key a file, in memory only.

use super::{Context, VolumeError, atomic, empty_dir, failed, io_failed, payload};
use k8s_openapi::api::core::v1::{KeyToPath, SecretVolumeSource};
use std::path::PathBuf;

pub(super) async fn set_up(
    context: &Context<'_>,
    volume: &str,
    source: &SecretVolumeSource,
) -> Result<PathBuf, VolumeError> {
    let optional = source.optional == Some(true);
    let name = source.secret_name.as_deref().unwrap_or_default();
    let files = files(context, volume, name, source.items.as_ref(), source.default_mode, optional).await?;
    let folder = context.folder("secret", volume);
    empty_dir::mount_memory(volume, &folder, None)?;
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
    let object = context.leases.secret(name).get().await;
    let object = object.map_err(|()| {
        failed(volume)(format!("failed to sync secret cache: timed out waiting for secret \"{name}\""))
    })?;
    let data = match object {
        Some(secret) => payload::of_secret(&secret),
        None if optional => Default::default(),
        None => return Err(failed(volume)(format!("secret \"{name}\" not found"))),
    };
    payload::project(volume, data, items, mode, optional)
}
