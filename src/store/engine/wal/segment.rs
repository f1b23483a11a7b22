//! The files of the log.

use super::{
    damage,
    frame::{HEAD, Head},
};
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

/// How long a segment is, in bytes, unless one append needs more.
pub(super) const SEGMENT: usize = 8 << 20;

const SPARE: &str = "spare";
const SUFFIX: &str = ".log";

/// One file of the log.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) length: usize,
    pub(super) file: File,
    path: PathBuf,
}

impl Segment {
    /// Makes a file with room for a frame of `needed` bytes. It has its name when its head is durable.
    pub(super) fn create(dir: &Path, head: &Head, needed: usize) -> io::Result<Self> {
        let spare = dir.join(SPARE);
        let length = SEGMENT.max(HEAD + needed);
        let file = reserve(&spare, length)?;
        file.write_all_at(&head.encode(), 0)?;
        file.sync_all()?;
        let path = dir.join(format!("{:016x}{SUFFIX}", head.sequence));
        std::fs::rename(&spare, &path)?;
        sync_directory(dir)?;
        Ok(Self { sequence: head.sequence, length, file, path })
    }

    /// All of it.
    pub(super) fn content(&self) -> io::Result<Vec<u8>> {
        let mut content = vec![0; self.length];
        self.file.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    pub(super) fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Removes its name; who reads it goes on reading.
    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}

/// The segments of a directory in their order. One that has a name has its head.
pub(super) fn list(dir: &Path) -> io::Result<Vec<(Segment, Head)>> {
    let mut segments = Vec::new();
    let files = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(segments),
        files => files?,
    };
    for file in files {
        let path = file?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(sequence) = name.strip_suffix(SUFFIX).and_then(|name| u64::from_str_radix(name, 16).ok()) else {
            continue;
        };
        let file = File::options().read(true).write(true).open(&path)?;
        let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut head = [0; HEAD];
        let unreadable = || damage(&format!("{} has no head", path.display()));
        file.read_exact_at(&mut head, 0).map_err(|_| unreadable())?;
        let head = Head::read(&head).filter(|head| head.sequence == sequence).ok_or_else(unreadable)?;
        segments.push((Segment { sequence, length, file, path }, head));
    }
    segments.sort_by_key(|(segment, _)| segment.sequence);
    Ok(segments)
}

/// Whether there is room for the next segment, whose blocks are reserved here.
pub(super) fn keep_spare(dir: &Path) -> bool {
    let spare = dir.join(SPARE);
    let reserved = std::fs::metadata(&spare).is_ok_and(|metadata| metadata.len() >= SEGMENT as u64);
    reserved || reserve(&spare, SEGMENT).is_ok()
}

/// A file that has that many bytes, and blocks for them where the file system can reserve some.
fn reserve(path: &Path, length: usize) -> io::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    if file.metadata()?.len() >= length as u64 {
        return Ok(file);
    }
    let size = i64::try_from(length).map_err(io::Error::other)?;
    match fallocate(&file, FallocateFlags::empty(), 0, size) {
        Ok(()) => {}
        // Its length alone: what is written later may find no room, as in any file.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINVAL) => file.set_len(length as u64)?,
        Err(error) => return Err(error.into()),
    }
    Ok(file)
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
