//! `projected`: several sources in one folder, tokens of the service account among them.

use super::{
    Context, VolumeError, atomic, config_map, downward, empty_dir, failed, io_failed, not_kept,
    payload::{self, File, Payload, mode, safe},
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
    place(context, volume, &files)
}

/// The ConfigMap that every namespace has, with the cluster's CA.
const ROOT_CA: &str = "kube-root-ca.crt";

/// As [`set_up`], without a server: the tokens come when one answers, and until then nobody would take them.
pub(super) fn set_up_alone(
    context: &Context<'_>,
    volume: &str,
    source: &ProjectedVolumeSource,
) -> Result<PathBuf, VolumeError> {
    place(context, volume, &files_alone(context, volume, source)?)
}

fn files_alone(context: &Context<'_>, volume: &str, source: &ProjectedVolumeSource) -> Result<Payload, VolumeError> {
    let default = source.default_mode;
    let mut files = Payload::new();
    for part in source.sources.iter().flatten() {
        if let Some(map) = &part.config_map {
            if map.name != ROOT_CA {
                return Err(not_kept(volume));
            }
            let data = [("ca.crt".to_owned(), context.ca_pem.as_bytes().to_vec())].into();
            files.extend(payload::project(volume, data, map.items.as_ref(), default, map.optional == Some(true))?);
        }
        if part.secret.is_some() {
            return Err(not_kept(volume));
        }
        if let Some(from) = &part.downward_api {
            files.extend(downward::files(context, volume, from.items.as_deref().unwrap_or_default(), default)?);
        }
    }
    Ok(files)
}

fn place(context: &Context<'_>, volume: &str, files: &Payload) -> Result<PathBuf, VolumeError> {
    let folder = context.folder("projected", volume);
    empty_dir::mount_memory(volume, &folder, None)?;
    atomic::write(&folder, files, &super::token::stamp(), context.group()).map_err(io_failed(volume, &folder))?;
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
