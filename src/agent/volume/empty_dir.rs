//! `emptyDir`: a folder that lives as long as the pod, on disk or in memory.

use super::{Context, VolumeError, failed, io_failed, ownership};
use k8s_openapi::api::core::v1::EmptyDirVolumeSource;
use mk8s_api::quantity::Quantity;
use nix::mount::{MsFlags, mount};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub(super) fn set_up(
    context: &Context<'_>,
    volume: &str,
    source: &EmptyDirVolumeSource,
) -> Result<PathBuf, VolumeError> {
    let folder = context.folder("empty-dir", volume);
    // A restart of the machine leaves the folder of one in memory, and nothing mounted there.
    if folder.exists() && (!is_in_memory(source) || is_mount_point(&folder)) {
        return Ok(folder);
    }
    match source.medium.as_deref().unwrap_or_default() {
        "" => fs::create_dir_all(&folder).map_err(io_failed(volume, &folder))?,
        "Memory" => {
            let limit =
                source.size_limit.as_ref().and_then(|limit| Quantity::parse(&limit.0).ok()).map(Quantity::value);
            mount_memory(volume, &folder, limit.filter(|bytes| *bytes > 0))?;
        }
        other => return Err(failed(volume)(format!("unknown storage medium {other:?}"))),
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).map_err(io_failed(volume, &folder))?;
    if let Some(group) = context.group() {
        ownership::give(&folder, &folder, group, ownership::May::Write).map_err(io_failed(volume, &folder))?;
    }
    Ok(folder)
}

/// A file system in memory at a folder, unless there is one.
pub(super) fn mount_memory(volume: &str, folder: &Path, limit: Option<i64>) -> Result<(), VolumeError> {
    if is_mount_point(folder) {
        return Ok(());
    }
    fs::create_dir_all(folder).map_err(io_failed(volume, folder))?;
    let data = limit.map(|bytes| format!("size={bytes}"));
    let mounted = mount(Some("tmpfs"), folder, Some("tmpfs"), MsFlags::empty(), data.as_deref());
    mounted.map_err(|error| io_failed(volume, folder)(error.into()))
}

pub(super) fn is_in_memory(source: &EmptyDirVolumeSource) -> bool {
    source.medium.as_deref() == Some("Memory")
}

pub(super) fn is_mount_point(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = |path: &Path| fs::metadata(path).map(|metadata| metadata.dev()).ok();
    match (device(folder), folder.parent().and_then(device)) {
        (Some(own), Some(parent)) => own != parent,
        _ => false,
    }
}
