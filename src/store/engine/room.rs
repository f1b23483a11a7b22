//! Room on the disk that is the store's before it needs it.
//!
//! sled ends for good when the disk has no room for what it writes. So blocks beyond the end of its file are reserved,
//! and when they cannot be, writes are refused while there is room for what must be written nevertheless: terms, votes,
//! and what a leader with room sends. When there is room again the reserve is filled, and writes are taken.

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};
use std::{
    fs::File,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Room {
    reserve: AtomicU64,
    /// The file has blocks up to here.
    reserved_to: AtomicU64,
    /// The file system cannot reserve blocks; then only its free room is looked at.
    unable: AtomicBool,
}

impl Room {
    pub(super) fn set_reserve(&self, bytes: u64) {
        self.reserve.store(bytes, Relaxed);
    }

    /// Whether there is enough room behind the file's end; reserves more when half of it is gone.
    pub(super) fn keep(&self, file: &File) -> bool {
        let reserve = self.reserve.load(Relaxed);
        if reserve == 0 || self.unable.load(Relaxed) {
            return true;
        }
        let Ok(length) = file.metadata().map(|metadata| metadata.len()) else { return true };
        if length + reserve / 2 <= self.reserved_to.load(Relaxed) {
            return true;
        }
        let (Ok(from), Ok(more)) = (i64::try_from(length), i64::try_from(reserve)) else { return true };
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, more) {
            Ok(()) => {
                self.reserved_to.store(length + reserve, Relaxed);
                true
            }
            Err(Errno::ENOSPC | Errno::EDQUOT) => false,
            Err(_) => {
                self.unable.store(true, Relaxed);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Room;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn blocks_are_reserved_and_the_length_stays() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        std::fs::write(file.path(), b"some").expect("written");
        let room = Room::default();
        assert!(room.keep(file.as_file()));
        room.set_reserve(1 << 20);
        assert!(room.keep(file.as_file()));
        let metadata = file.as_file().metadata().expect("it is there");
        assert_eq!(metadata.len(), 4);
        assert!(room.unable.into_inner() || metadata.blocks() * 512 >= 1 << 20);
    }

    #[test]
    fn a_disk_that_can_never_have_so_much_is_full() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let room = Room::default();
        room.set_reserve(1 << 50);
        let enough = room.keep(file.as_file());
        assert!(!enough || room.unable.into_inner(), "more than any disk has was promised");
    }
}
