//! `hostPath`: a path of the node, checked or made as its type says.

use super::{VolumeError, failed, io_failed};
use k8s_openapi::api::core::v1::HostPathVolumeSource;
use std::{
    fs,
    os::unix::fs::{FileTypeExt, PermissionsExt},
    path::{Path, PathBuf},
};

pub(super) fn set_up(volume: &str, source: &HostPathVolumeSource) -> Result<PathBuf, VolumeError> {
    check(volume, Path::new(&source.path), source.type_.as_deref().unwrap_or_default())
}

pub(super) fn check(volume: &str, path: &Path, type_: &str) -> Result<PathBuf, VolumeError> {
    let shown = path.display();
    let kind = fs::metadata(path).ok().map(|metadata| metadata.file_type());
    let wrong = |what: &str| Err(failed(volume)(format!("hostPath type check failed: {shown} is not a {what}")));
    match (type_, kind) {
        ("DirectoryOrCreate", None) => make_folder(path).map_err(io_failed(volume, path))?,
        ("FileOrCreate", None) => make_file(path).map_err(io_failed(volume, path))?,
        ("Directory" | "DirectoryOrCreate", kind) if !kind.is_some_and(|kind| kind.is_dir()) => {
            return wrong("directory");
        }
        ("File" | "FileOrCreate", kind) if !kind.is_some_and(|kind| kind.is_file()) => return wrong("file"),
        ("Socket", kind) if !kind.is_some_and(|kind| kind.is_socket()) => return wrong("socket file"),
        ("CharDevice", kind) if !kind.is_some_and(|kind| kind.is_char_device()) => return wrong("character device"),
        ("BlockDevice", kind) if !kind.is_some_and(|kind| kind.is_block_device()) => return wrong("block device"),
        // Without a type nothing is checked; the runtime mounts a folder that is not there as a new one.
        ("", None) => make_folder(path).map_err(io_failed(volume, path))?,
        _ => {}
    }
    Ok(path.to_owned())
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

fn make_file(path: &Path) -> std::io::Result<()> {
    fs::OpenOptions::new().create(true).append(true).open(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let file = temp.path().join("f");
        fs::write(&file, "x").expect("written");
        for (name, type_, good) in [
            ("f", "File", true),
            ("f", "Directory", false),
            ("f", "", true),
            ("none", "File", false),
            ("none", "Socket", false),
            ("made/dir", "DirectoryOrCreate", true),
            ("made/file", "FileOrCreate", true),
        ] {
            assert_eq!(check("v", &temp.path().join(name), type_).is_ok(), good, "{name} {type_}");
        }
        assert!(temp.path().join("made/file").is_file());
    }
}
