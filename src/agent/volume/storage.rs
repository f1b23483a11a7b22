//! Folders that are volumes: made and deleted by name, in one place of this node.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Volumes' folders begin so.
const PREFIX: &str = "pvc-";
/// Longer names no file system takes.
const NAME: usize = 255;

/// A name that stays in its place.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    name.starts_with(PREFIX) && name.len() <= NAME && name.chars().all(plain)
}

fn place(storage: &Path, name: &str) -> io::Result<PathBuf> {
    match is_plain(name) {
        true => Ok(storage.join(name)),
        false => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not the name of a volume's folder")))
        }
    }
}

/// A folder that every user may write to, as no one knows yet who will.
pub fn make(storage: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = place(storage, name)?;
    fs::create_dir_all(storage)?;
    fs::set_permissions(storage, fs::Permissions::from_mode(0o711))?;
    match fs::create_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !folder.is_symlink() && folder.is_dir() => {
            Ok(folder)
        }
        Err(error) => Err(error),
        Ok(()) => {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o777))?;
            Ok(folder)
        }
    }
}

/// Deletes a folder with all that is in it, unless something is mounted there. Links are deleted, not followed.
pub fn remove(storage: &Path, name: &str) -> io::Result<()> {
    let folder = place(storage, name)?;
    if let Some(mount) = super::mounts_below(&folder).first() {
        return Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{} is mounted", mount.display())));
    }
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_and_deleted() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (storage, outside) = (temp.path().join("storage"), temp.path().join("outside"));
        fs::create_dir(&outside).expect("made");
        let folder = make(&storage, "pvc-1_n_c").expect("made");
        assert_eq!(folder, storage.join("pvc-1_n_c"));
        assert_eq!(fs::metadata(&folder).expect("there").permissions().mode() & 0o777, 0o777);
        fs::write(folder.join("kept"), "x").expect("written");
        assert_eq!(make(&storage, "pvc-1_n_c").expect("still there"), folder);
        assert!(folder.join("kept").exists());
        std::os::unix::fs::symlink(&outside, folder.join("link")).expect("linked");
        remove(&storage, "pvc-1_n_c").expect("deleted");
        remove(&storage, "pvc-1_n_c").expect("nothing to delete");
        assert!(!folder.exists() && outside.exists());
        std::os::unix::fs::symlink(&outside, storage.join("pvc-2")).expect("linked");
        assert!(make(&storage, "pvc-2").is_err());
    }

    #[test]
    fn names_stay_in_their_place() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        for name in
            ["", "..", "pvc-/../../etc", "pvc-a/b", "etc", "pvc-\0", "pvc-\u{e9}", &format!("pvc-{}", "a".repeat(300))]
        {
            assert!(make(temp.path(), name).is_err(), "{name:?}");
            assert!(remove(temp.path(), name).is_err(), "{name:?}");
        }
    }
}
