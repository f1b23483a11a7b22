//! Room on the disk that is the store's before it needs it.
//!
//! sled ends for good when the disk has no room for what it writes. So blocks beyond the end of its file are reserved,
//! and when they cannot be, writes are refused while there is room for what must be written nevertheless: terms, votes,
//! and what a leader with room sends. When there is room again the reserve is filled, and writes are taken.
//!
//! A checkpoint is written in steps, each far smaller than half the reserve; between them it waits while less than that
//! half is left. What the file has is asked anew each time: sled cuts off the end of its file when it is free, and the
//! blocks behind the end are lost with it.

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};
use std::{
    fs::{File, Metadata},
    io,
    os::unix::fs::MetadataExt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// How often room is looked for by whoever waits for it.
const AGAIN: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Room {
    reserve: AtomicU64,
    /// The file system cannot reserve blocks; then only its free room is looked at.
    unable: AtomicBool,
    /// Nobody is to wait any more.
    ends: AtomicBool,
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
        let Ok(metadata) = file.metadata() else { return true };
        if behind_the_end(&metadata) >= reserve / 2 {
            return true;
        }
        let (Ok(from), Ok(more)) = (i64::try_from(metadata.len()), i64::try_from(reserve)) else { return true };
        let reserve = |bytes| fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, bytes);
        match reserve(more).or_else(|_| reserve(more / 2 + 1)) {
            Ok(()) => true,
            Err(Errno::ENOSPC | Errno::EDQUOT) => false,
            Err(_) => {
                self.unable.store(true, Relaxed);
                true
            }
        }
    }

    /// As [`Room::keep`]; waits until it is so.
    ///
    /// # Errors
    /// `StorageFull` when nobody is to wait any more.
    pub(super) fn wait(&self, file: &File) -> io::Result<()> {
        let mut waits = false;
        while !self.keep(file) {
            if self.ends.load(Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if !std::mem::replace(&mut waits, true) {
                tracing::warn!("the disk has no room for the store's checkpoint; it goes on when there is some");
            }
            std::thread::sleep(AGAIN);
        }
        if waits {
            tracing::info!("the disk has room for the store's checkpoint again");
        }
        Ok(())
    }

    pub(super) fn end(&self) {
        self.ends.store(true, Relaxed);
    }

    /// How much the file may grow without taking anything of what is free.
    pub(super) fn kept(&self, file: &File) -> u64 {
        file.metadata().map_or(0, |metadata| behind_the_end(&metadata))
    }
}

/// Bytes of blocks that a file has behind its end. It has no holes.
fn behind_the_end(metadata: &Metadata) -> u64 {
    (metadata.blocks() * 512).saturating_sub(metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_lost_with_the_files_end_is_reserved_again() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let room = Room::default();
        room.set_reserve(1 << 20);
        for length in [8 << 20, 64 << 10, 0, 4 << 20] {
            file.as_file().set_len(length).expect("its length is changed");
            std::fs::write(file.path(), vec![1; usize::try_from(length).expect("small")]).expect("written");
            assert!(room.keep(file.as_file()));
            assert!(room.unable.load(Relaxed) || room.kept(file.as_file()) >= 1 << 19, "at {length}");
        }
    }

    #[test]
    fn whoever_waits_for_room_can_be_told_to_stop() {
        let file = tempfile::NamedTempFile::new().expect("a scratch file");
        let room = Room::default();
        room.wait(file.as_file()).expect("nothing is to be kept");
        room.set_reserve(1 << 50);
        if room.keep(file.as_file()) {
            // This file system reserves nothing, so nobody ever waits.
            return assert!(room.unable.into_inner());
        }
        let waited = std::thread::scope(|scope| {
            let waits = scope.spawn(|| room.wait(file.as_file()));
            room.end();
            waits.join().expect("it does not panic")
        });
        assert_eq!(waited.expect_err("there is no room").kind(), io::ErrorKind::StorageFull);
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
