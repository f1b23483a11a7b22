//! `fsGroup`: volumes belong to a group that all containers of the pod are in.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, lchown},
    path::Path,
};

/// What the group may do with the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    Read,
    Write,
}

/// Gives `folder` itself and everything in `tree` to a group; folders become set-gid.
pub(super) fn give(folder: &Path, tree: &Path, group: u32, may: May) -> io::Result<()> {
    own(folder, group, may)?;
    walk(tree, group, may)
}

fn walk(path: &Path, group: u32, may: May) -> io::Result<()> {
    own(path, group, may)?;
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            walk(&entry?.path(), group, may)?;
        }
    }
    Ok(())
}

fn own(path: &Path, group: u32, may: May) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.gid() != group {
        lchown(path, None, Some(group))?;
    }
    if metadata.is_symlink() {
        return Ok(());
    }
    let files = if may == May::Write { 0o660 } else { 0o440 };
    let more = if metadata.is_dir() { files | 0o2110 } else { files };
    let mode = metadata.mode() & 0o7777;
    if mode | more != mode {
        fs::set_permissions(path, fs::Permissions::from_mode(mode | more))?;
    }
    Ok(())
}
