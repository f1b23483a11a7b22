//! The folder of snapshots: `<data-dir>/server/snapshots/<name>-<time>.snapshot`.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use mk8s_store::snapshot::{self, SnapshotError};

use super::about::About;
use crate::auth::{PkiError, pki::files};

const ENDING: &str = ".snapshot";

#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("{path}")]
    Unusable {
        path: String,
        #[source]
        source: SnapshotError,
    },
    #[error("cannot write {path}")]
    Write {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("cannot read {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// `<data-dir>/server/snapshots`.
pub(super) fn of(server_dir: &Path) -> PathBuf {
    server_dir.join("snapshots")
}

/// The name of a snapshot's file; in the order of their names, those of one name are in the order of their times.
pub(super) fn file_name(name: &str, now: Timestamp) -> String {
    format!("{name}-{}{ENDING}", now.strftime("%Y%m%dT%H%M%SZ"))
}

/// What the file was named for, if it is one of ours.
fn name_of(file: &str) -> Option<&str> {
    let (name, time) = file.strip_suffix(ENDING)?.rsplit_once('-')?;
    (!name.is_empty() && time.len() == 16 && time.ends_with('Z')).then_some(name)
}

/// A file on its way; it is gone again unless it is finished.
pub(super) struct Writing {
    to: PathBuf,
    partial: PathBuf,
    file: BufWriter<File>,
    finished: bool,
}

impl Writing {
    pub(super) fn begin(to: &Path) -> Result<Writing, FolderError> {
        let mut partial = to.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let failed = |source| FolderError::Write { path: to.display().to_string(), source };
        if to.exists() {
            return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "it is there already")));
        }
        // What an earlier try left may have other permissions.
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(failed)?;
        Ok(Writing { to: to.to_owned(), partial, file: BufWriter::with_capacity(1 << 20, file), finished: false })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FolderError> {
        let path = &self.to;
        self.file.write_all(bytes).map_err(|source| FolderError::Write { path: path.display().to_string(), source })
    }

    /// Makes it durable, reads it back, and gives it its name.
    pub(super) fn finish(mut self) -> Result<About, FolderError> {
        let path = self.to.display().to_string();
        let failed = |source| FolderError::Write { path: path.clone(), source };
        self.file.flush().map_err(failed)?;
        self.file.get_ref().sync_all().map_err(failed)?;
        let about = check(&self.partial)?;
        fs::rename(&self.partial, &self.to).map_err(failed)?;
        self.finished = true;
        let parent = self.to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)?;
        Ok(about)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.finished {
            // It is nobody's yet, and the next try takes it away as well.
            drop(fs::remove_file(&self.partial));
        }
    }
}

fn opened(path: &Path) -> Result<BufReader<File>, FolderError> {
    let file = File::open(path).map_err(|source| FolderError::Read { path: path.display().to_string(), source })?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

fn unusable(path: &Path) -> impl Fn(SnapshotError) -> FolderError {
    let path = path.display().to_string();
    move |source| FolderError::Unusable { path: path.clone(), source }
}

fn understood(path: &Path, about: &[u8]) -> Result<About, FolderError> {
    let what = "what it says of itself cannot be read".to_owned();
    About::read(about).ok_or_else(|| unusable(path)(SnapshotError::Damaged { what }))
}

/// Reads a file to its end and checks it.
pub(super) fn check(path: &Path) -> Result<About, FolderError> {
    understood(path, &snapshot::check(opened(path)?).map_err(unusable(path))?)
}

/// Reads a file whole.
pub(super) fn read(path: &Path) -> Result<(About, mk8s_store::Whole), FolderError> {
    let (about, whole) = snapshot::read(opened(path)?).map_err(unusable(path))?;
    Ok((understood(path, &about)?, whole))
}

/// A file of the folder.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) path: PathBuf,
    pub(super) name: String,
    pub(super) size: u64,
}

/// The snapshots of a folder, in the order of their names; none when there is no folder.
pub(super) fn list(folder: &Path) -> Result<Vec<Kept>, FolderError> {
    let failed = |source| FolderError::Read { path: folder.display().to_string(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let file = entry.file_name();
        let Some(name) = file.to_str().and_then(name_of) else { continue };
        let size = entry.metadata().map_err(failed)?.len();
        found.push(Kept { path: entry.path(), name: name.to_owned(), size });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// Removes all of a name but the newest; gives what is gone.
pub(super) fn prune(folder: &Path, name: &str, keep: usize) -> Result<Vec<PathBuf>, FolderError> {
    let all: Vec<Kept> = list(folder)?.into_iter().filter(|kept| kept.name == name).collect();
    let gone: Vec<PathBuf> = all[..all.len().saturating_sub(keep)].iter().map(|kept| kept.path.clone()).collect();
    for path in &gone {
        fs::remove_file(path).map_err(|source| FolderError::Write { path: path.display().to_string(), source })?;
    }
    Ok(gone)
}

/// Makes the folder.
pub(super) fn make(folder: &Path) -> Result<(), FolderError> {
    Ok(files::create_private_dir(folder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_a_name_are_kept() {
        let folder = tempfile::tempdir().expect("a directory");
        let touch = |name: &str| fs::write(folder.path().join(name), b"").expect("written");
        for second in 0..5 {
            touch(&file_name("scheduled", Timestamp::from_second(second).expect("a time")));
        }
        touch(&file_name("before-upgrade", Timestamp::UNIX_EPOCH));
        touch("scheduled-20260101T000000Z.snapshot.partial");
        touch("notes.txt");
        assert_eq!(list(folder.path()).expect("listed").len(), 6);
        let gone = prune(folder.path(), "scheduled", 2).expect("pruned");
        let names =
            |kept: &[PathBuf]| kept.iter().map(|p| p.file_name().expect("a file").to_owned()).collect::<Vec<_>>();
        assert_eq!(
            names(&gone),
            [
                "scheduled-19700101T000000Z.snapshot",
                "scheduled-19700101T000001Z.snapshot",
                "scheduled-19700101T000002Z.snapshot"
            ]
        );
        assert_eq!(list(folder.path()).expect("listed").len(), 3);
        assert!(prune(folder.path(), "scheduled", 2).expect("pruned").is_empty());
        assert!(list(&folder.path().join("none")).expect("no folder is an empty one").is_empty());
    }

    #[test]
    fn a_file_that_is_not_finished_is_gone() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("a-19700101T000000Z.snapshot");
        let mut writing = Writing::begin(&path).expect("begun");
        writing.write(b"not a snapshot").expect("written");
        assert!(writing.finish().is_err(), "it is read back");
        assert_eq!(fs::read_dir(folder.path()).expect("listed").count(), 0);
    }
}
