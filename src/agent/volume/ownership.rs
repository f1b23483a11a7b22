//! `fsGroup`: volumes belong to a group that all containers of the pod are in.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

/// Gives `folder` itself and everything in `tree` to a group; files become readable and writable, folders set-gid.
pub(super) fn give(folder: &Path, tree: &Path, group: u32) -> io::Result<()> {
    own(folder, group)?;
    walk(tree, group)
}

fn walk(path: &Path, group: u32) -> io::Result<()> {
    own(path, group)?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(&entry?.path(), group)?;
        }
    }
    Ok(())
}

fn own(path: &Path, group: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if metadata.is_symlink() {
        return Ok(());
    }
    let more = if metadata.is_dir() { 0o2770 } else { 0o660 };
    let mode = metadata.mode() & 0o7777;
    if mode | more != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode | more))?;
    }
    Ok(())
}
