//! `projected`: several sources in one folder, tokens of the service account among them.

use super::{
    Context, VolumeError, atomic, config_map, downward, empty_dir, failed, io_failed,
    payload::{File, Payload, mode, safe},
    secret,
};
use crate::pod::facts;
use k8s_openapi::api::core::v1::{ProjectedVolumeSource, ServiceAccountTokenProjection};
use std::path::PathBuf;

pub(super) async fn set_up(
    context: &Context<'_>,
    volume: &str,
    source: &ProjectedVolumeSource,
) -> Result<PathBuf, VolumeError> {
    let default = source.default_mode;
    let mut files = Payload::new();
    for part in source.sources.iter().flatten() {
        if let Some(map) = &part.config_map {
            let optional = map.optional == Some(true);
            files.extend(config_map::files(context, volume, &map.name, map.items.as_ref(), default, optional).await?);
        }
        if let Some(from) = &part.secret {
            let optional = from.optional == Some(true);
            files.extend(secret::files(context, volume, &from.name, from.items.as_ref(), default, optional).await?);
        }
        if let Some(from) = &part.downward_api {
            files.extend(downward::files(context, volume, from.items.as_deref().unwrap_or_default(), default)?);
        }
        if let Some(from) = &part.service_account_token {
            files.extend(token(context, volume, from, default).await?);
        }
    }
    let folder = context.folder("projected", volume);
    empty_dir::mount_memory(volume, &folder, None)?;
    atomic::write(&folder, &files, &super::token::stamp(), context.group()).map_err(io_failed(volume, &folder))?;
    Ok(folder)
}

async fn token(
    context: &Context<'_>,
    volume: &str,
    from: &ServiceAccountTokenProjection,
    default: Option<i32>,
) -> Result<Payload, VolumeError> {
    if !safe(&from.path) {
        return Err(failed(volume)(format!("invalid path {:?}", from.path)));
    }
    let wanted = super::token::Wanted::of(context.pod, from);
    let token = context.tokens.get(context.client, &wanted).await.map_err(failed(volume))?;
    // Whoever is in the group reads it by the group's right.
    let private = facts::spec(context.pod).security_context.as_ref().is_some_and(|context| context.fs_group.is_some());
    let mode = if private { 0o600 } else { mode(None, default) };
    Ok([(from.path.clone(), File { bytes: token.into_bytes(), mode })].into())
}
