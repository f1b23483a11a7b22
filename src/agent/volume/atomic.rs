//! Files that change all at once, in the layout of Kubernetes' atomic writer:
//!
//! ```text
//! volume/..2026_11_21_08_00_00.123456789/key    the files
//! volume/..data -> ..2026_11_21_08_00_00.123456789
//! volume/key -> ..data/key                      what programs open
//! ```
//!
//! A change writes a new folder and renames `..data` over the old link.

use super::payload::Payload;
use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

pub(super) const DATA: &str = "..data";
const DATA_NEW: &str = "..data_tmp";

/// Writes the payload; false when nothing changed.
pub fn write(folder: &Path, payload: &Payload, stamp: &str, group: Option<u32>) -> io::Result<bool> {
    fs::create_dir_all(folder)?;
    let old = fs::read_link(folder.join(DATA)).ok();
    if let Some(old) = &old
        && same(&folder.join(old), payload)
    {
        return Ok(false);
    }
    let version = format!("..{stamp}");
    let fresh = folder.join(&version);
    fs::create_dir(&fresh)?;
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755))?;
    write_files(&fresh, payload)?;
    if let Some(group) = group {
        super::ownership::give(folder, &fresh, group, super::ownership::May::Read)?;
    }
    let link = folder.join(DATA_NEW);
    remove_if_there(&link)?;
    symlink(&version, &link)?;
    fs::rename(&link, folder.join(DATA))?;
    link_entries(folder, payload)?;
    if let Some(old) = old.filter(|old| old.as_os_str().to_string_lossy().starts_with("..")) {
        fs::remove_dir_all(folder.join(old))?;
    }
    Ok(true)
}

fn write_files(folder: &Path, payload: &Payload) -> io::Result<()> {
    for (path, file) in payload {
        let target = folder.join(path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&target, &file.bytes)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Links for what is new, none for what is gone.
fn link_entries(folder: &Path, payload: &Payload) -> io::Result<()> {
    let first = |path: &str| Path::new(path).components().next().map(|part| PathBuf::from(part.as_os_str()));
    let wanted: BTreeSet<PathBuf> = payload.keys().filter_map(|path| first(path)).collect();
    for name in &wanted {
        let link = folder.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        if !name.to_string_lossy().starts_with("..") && !wanted.contains(&name) {
            remove_if_there(&folder.join(name))?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn same(folder: &Path, payload: &Payload) -> bool {
    let mut there = BTreeSet::new();
    list(folder, Path::new(""), &mut there);
    let wanted: BTreeSet<&str> = payload.keys().map(String::as_str).collect();
    there.len() == wanted.len()
        && there.iter().all(|path| wanted.contains(path.as_str()))
        && payload.iter().all(|(path, file)| fs::read(folder.join(path)).is_ok_and(|bytes| bytes == file.bytes))
}

fn list(folder: &Path, below: &Path, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder.join(below)).into_iter().flatten().flatten() {
        let path = below.join(entry.file_name());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => list(folder, &path, out),
            _ => drop(out.insert(path.to_string_lossy().into_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::volume::payload::File;

    fn payload(files: &[(&str, &str)]) -> Payload {
        files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), File { bytes: text.as_bytes().to_vec(), mode: 0o640 }))
            .collect()
    }

    #[test]
    fn changes_are_whole() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let folder = temp.path().join("v");
        let read = |path: &str| fs::read_to_string(folder.join(path)).ok();
        assert!(write(&folder, &payload(&[("a", "1"), ("d/b", "2")]), "one", None).expect("written"));
        assert_eq!((read("a"), read("d/b")), (Some("1".into()), Some("2".into())));
        assert!(!write(&folder, &payload(&[("a", "1"), ("d/b", "2")]), "two", None).expect("unchanged"));
        let open = folder.join("..data").canonicalize().expect("the link leads somewhere");
        assert!(write(&folder, &payload(&[("a", "3")]), "three", None).expect("written"));
        assert_eq!((read("a"), read("d/b")), (Some("3".into()), None));
        assert!(!folder.join("d").exists() && !open.exists());
        let mode = fs::metadata(folder.join("a")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
