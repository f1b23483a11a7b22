//! The engine: checkpoints in sled, and the log beside it ([`super::wal`]).
//!
//! ```text
//! raft   m  checkpoint mark, with its generation      e  epoch of the log      h  hard state when that epoch began
//! keys   <g><revision><part> what the key of that revision became, in parts; <g> is the generation
//! meta   format              format version       identity  whose this is
//! ```
//!
//! A checkpoint adds records of new revisions, which do not count until the mark says so; then what they supersede is
//! removed. So it needs no large atomic step, which sled would hold in memory as a whole. A keyspace that comes
//! from another replica, or is written anew as a whole, is the next generation. With another replica's keyspace the log
//! begins anew too: the mark and the epoch are one batch, and a log of an epoch before does not count.
//!
//! Invariant: sled's own flush does not make bytes survive a power failure on Linux (it asks `sync_file_range` for the
//! data, and nothing for the file's size or the drive's cache): [`SledEngine::sync`] does, and nothing is called durable
//! without it.

use super::{CheckpointMark, Engine, FORMAT, HardState, Loaded, LogEntry, codec, migrate, parts, room::Room, wal::Wal};
use crate::{
    mvcc::{Change, Entry, Now},
    options::OpenError,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

/// See the module.
pub struct SledEngine {
    meta: sled::Tree,
    raft: sled::Tree,
    keys: sled::Tree,
    wal: Wal,
    /// sled's file once more, to sync it.
    file: File,
    dir: PathBuf,
    generation: Mutex<u8>,
    /// Held by what is slow, of which there is one at a time.
    slow: Mutex<()>,
    room: Room,
    /// Last, so that the directory is unlocked when all else is done.
    db: sled::Db,
}

/// How long a directory that somebody has is waited for.
const LOCKED: Duration = Duration::from_secs(1);

pub(super) const HARD_STATE: &[u8] = b"h";
pub(super) const MARK: &[u8] = b"m";
const EPOCH: &[u8] = b"e";
/// Where the log is, in the store's directory.
const LOG_DIRECTORY: &str = "log";

/// A checkpoint syncs after so many bytes, so that no sync has much to do and appends do not wait long behind it.
const SYNC_EVERY: usize = 256 << 10;

/// A whole keyspace, for which nothing is written beside it, syncs after so many: far less than is kept of the disk.
const SYNC_ALL_EVERY: usize = 4 << 20;

/// So many records are read together, and so many times that wait to be looked at.
const RECORDS_AT_ONCE: usize = 128;
const RECORDS_AHEAD: usize = 4;

/// After so many records removed it is looked whether there is still room for more.
const REMOVED_AT_ONCE: usize = 64;

impl SledEngine {
    /// Opens the directory, creating it when it is not there.
    ///
    /// # Errors
    /// [`OpenError`] says what is wrong with the directory and what to do.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let db = open_db(dir)?;
        let tree = |name: &str| db.open_tree(name).map_err(|error| open_error(dir, error));
        let (meta, raft, keys) = (tree("meta")?, tree("raft")?, tree("keys")?);
        let file = File::options().write(true).open(dir.join("db")).map_err(io)?;
        let log = dir.join(LOG_DIRECTORY);
        let found = meta.get("format").map_err(|error| open_error(dir, error))?;
        let wal = match format(dir, found.as_deref())? {
            Some(FORMAT) => open_log(&log, &raft),
            // What does not say its format has nothing in it that counts.
            None => Wal::create(&log, 0, HardState::default()),
            Some(_) => migrate::log_of_2(&log, &raft),
        };
        let wal = wal.map_err(|source| match source.kind() {
            io::ErrorKind::InvalidData => OpenError::Damaged { dir: dir.to_owned(), detail: source.to_string() },
            _ => io(source),
        })?;
        let (generation, slow, room) = Default::default();
        let engine = Self { meta, raft, keys, wal, file, dir: dir.to_owned(), generation, slow, room, db };
        if found.as_deref() != Some(&FORMAT.to_be_bytes()) {
            engine.meta.insert("format", &FORMAT.to_be_bytes()).map_err(|error| open_error(dir, error))?;
            engine.sync().map_err(io)?;
            // The files' names must last as well.
            for named in [Some(dir), dir.parent()].into_iter().flatten().filter(|d| !d.as_os_str().is_empty()) {
                File::open(named).and_then(|d| d.sync_all()).map_err(io)?;
            }
        }
        migrate::remove_log_of_2(&engine.raft).map_err(io)?;
        Ok(engine)
    }

    /// Takes a directory that is nobody's yet, or was taken under the same name before.
    ///
    /// # Errors
    /// [`OpenError::Foreign`] when it is another's.
    pub fn claim(&self, identity: &str) -> Result<(), OpenError> {
        let failed = |source| OpenError::Io { dir: self.dir.clone(), source };
        match self.meta.get("identity").map_err(|error| failed(to_io(error)))? {
            Some(found) if &*found != identity.as_bytes() => Err(OpenError::Foreign {
                dir: self.dir.clone(),
                found: String::from_utf8_lossy(&found).into_owned(),
                expected: identity.to_owned(),
            }),
            Some(_) => Ok(()),
            None => {
                self.meta.insert("identity", identity).map_err(|error| failed(to_io(error)))?;
                self.sync().map_err(failed)
            }
        }
    }

    /// From now on so many bytes of the disk are kept for this store, beside what it uses.
    pub fn set_reserve(&self, bytes: u64) {
        self.room.set_reserve(bytes);
        self.room.keep(&self.file);
    }

    /// Makes everything written to sled so far durable.
    fn sync(&self) -> io::Result<()> {
        self.db.flush().map_err(to_io)?;
        self.file.sync_data()?;
        self.room.keep(&self.file);
        Ok(())
    }

    /// What anyone may take of the disk.
    fn unused_bytes(&self) -> Option<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.dir).ok()?;
        Some(stat.blocks_available() * stat.fragment_size())
    }

    fn damaged(&self, detail: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {detail}", self.dir.display()))
    }

    /// Everything that is to be read back; where the log is read from is told by its last entry's index.
    fn read_back(&self, log_from: impl FnOnce(u64) -> u64) -> io::Result<Loaded> {
        let mut loaded = Loaded { hard_state: self.wal.hard_state(), ..Loaded::default() };
        let mut generation = 0;
        if let Some(bytes) = self.raft.get(MARK).map_err(to_io)? {
            (loaded.mark, generation) =
                codec::read_mark(&bytes).ok_or_else(|| self.damaged("the checkpoint's mark cannot be read"))?;
        }
        loaded.log = self.load_log(loaded.mark.index, log_from)?;
        loaded.entries = self.load_keys(generation, loaded.mark.revision)?;
        *self.generation.lock() = generation;
        Ok(loaded)
    }

    fn load_log(&self, mark: u64, from: impl FnOnce(u64) -> u64) -> io::Result<Vec<LogEntry>> {
        if let Some((first, _)) = self.wal.range().filter(|(first, _)| *first > mark + 1) {
            return Err(self.damaged(&format!("the log begins with entry {first}, the checkpoint ends with {mark}")));
        }
        self.wal.cut(mark)?;
        let last = self.wal.range().map_or(0, |(_, last)| last);
        self.wal.entries(from(last).max(mark + 1), u64::MAX, u64::MAX)
    }

    /// Reads the keyspace, and removes what a checkpoint left behind that did not end.
    fn load_keys(&self, generation: u8, revision_max: u64) -> io::Result<Vec<Arc<Entry>>> {
        let mut newest: HashMap<Bytes, (u64, Option<Arc<Entry>>)> = HashMap::new();
        let (mut stale, mut superseded) = (Vec::new(), Vec::new());
        let mut joiner = parts::Joiner::default();
        self.each_record(|key, value| {
            let counts = parts::number(&key).is_some_and(|revision| revision <= revision_max);
            if key.first() != Some(&generation) || !counts {
                stale.push(key);
                return Ok(());
            }
            let unreadable = || self.damaged("an entry of the keyspace cannot be read");
            let Some((revision, record)) = joiner.add(&key, &value).ok_or_else(unreadable)? else { return Ok(()) };
            let (key, entry) = codec::read_entry(revision, &record).ok_or_else(unreadable)?;
            // Revisions come in order: what is here already is older.
            if let Some((older, _)) = newest.insert(key, (revision, entry.map(Arc::new))) {
                superseded.push(older);
            }
            Ok(())
        })?;
        if !joiner.is_done() {
            return Err(self.damaged("the last entry of the keyspace is cut short"));
        }
        for key in stale {
            self.keys.remove(key).map_err(to_io)?;
        }
        superseded.into_iter().try_for_each(|revision| self.remove_revision(generation, revision))?;
        Ok(newest.into_values().filter_map(|(_, entry)| entry).collect())
    }

    /// Calls `take` with each record in order. A thread of its own reads them: what sled caches meanwhile, and gives up
    /// again, would otherwise lie between the entries and leave holes there.
    fn each_record(&self, mut take: impl FnMut(sled::IVec, sled::IVec) -> io::Result<()>) -> io::Result<()> {
        std::thread::scope(|scope| {
            let (sender, records) = mpsc::sync_channel(RECORDS_AHEAD);
            scope.spawn(move || {
                let mut rest = self.keys.iter();
                loop {
                    let some: sled::Result<Vec<_>> =
                        rest.by_ref().take(RECORDS_AT_ONCE).map(|record| self.seen_again(record?)).collect();
                    let is_last = some.as_ref().map_or(true, Vec::is_empty);
                    // Whoever takes no more has found a fault.
                    if sender.send(some).is_err() || is_last {
                        return;
                    }
                }
            });
            for some in records {
                some.map_err(to_io)?.into_iter().try_for_each(|(key, value)| take(key, value))?;
            }
            Ok(())
        })
    }

    /// sled looks at what it might give up of its cache after 64 accesses to a 256th of it. A scan alone is one for each
    /// page, and everything would stay cached.
    fn seen_again(&self, record: (sled::IVec, sled::IVec)) -> sled::Result<(sled::IVec, sled::IVec)> {
        self.keys.contains_key(&record.0).map(|_| record)
    }

    fn parts_of(&self, generation: u8, revision: u64) -> io::Result<Vec<sled::IVec>> {
        let keys = self.keys.range(parts::keys(generation, revision..revision + 1)).keys();
        keys.collect::<Result<_, _>>().map_err(to_io)
    }

    /// Removes a record that counts no more: all of it or nothing, whenever the process ends. Parts that stayed behind
    /// would be damage to whoever reads them.
    fn remove_revision(&self, generation: u8, revision: u64) -> io::Result<()> {
        let parts = self.parts_of(generation, revision)?;
        if let [only] = parts.as_slice() {
            return self.keys.remove(only).map(drop).map_err(to_io);
        }
        let mut batch = sled::Batch::default();
        parts.into_iter().for_each(|part| batch.remove(part));
        self.keys.apply_batch(batch).map_err(to_io)
    }

    fn remove_generation(&self, generation: u8) -> io::Result<()> {
        for (at, key) in self.keys.scan_prefix([generation]).keys().enumerate() {
            if at.is_multiple_of(REMOVED_AT_ONCE) {
                self.room.wait(&self.file)?;
            }
            self.keys.remove(key.map_err(to_io)?).map_err(to_io)?;
        }
        Ok(())
    }

    /// Writes all records of the generation after another one, and gives it; it does not count before the mark says so.
    fn write_generation(
        &self,
        before: u8,
        records: impl Iterator<Item = (u64, Vec<u8>)>,
        sync_every: usize,
    ) -> io::Result<u8> {
        let generation = before.wrapping_add(1);
        // Left there by one that did not end.
        self.remove_generation(generation)?;
        self.write_records(generation, records, sync_every)?;
        Ok(generation)
    }

    /// Writes records, syncing now and then and at the end.
    fn write_records(
        &self,
        generation: u8,
        records: impl Iterator<Item = (u64, Vec<u8>)>,
        sync_every: usize,
    ) -> io::Result<()> {
        let mut unsynced = 0;
        for (revision, record) in records {
            for (key, value) in parts::split(generation, revision, &record) {
                self.keys.insert(key, value).map_err(to_io)?;
            }
            unsynced += record.len();
            if unsynced >= sync_every {
                self.sync()?;
                self.room.wait(&self.file)?;
                unsynced = 0;
            }
        }
        self.sync()
    }
}

/// A format that is read; `None` in a directory that has none yet.
fn format(dir: &Path, bytes: Option<&[u8]>) -> Result<Option<u64>, OpenError> {
    let dir = dir.to_owned();
    let Some(bytes) = bytes else { return Ok(None) };
    let Ok(found) = bytes.try_into().map(u64::from_be_bytes) else {
        return Err(OpenError::Damaged { dir, detail: "its format version cannot be read".to_owned() });
    };
    match found {
        migrate::OLDEST..=FORMAT => Ok(Some(found)),
        ..migrate::OLDEST => Err(OpenError::Older { dir, found, supported: migrate::OLDEST }),
        _ => Err(OpenError::Newer { dir, found, supported: FORMAT }),
    }
}

fn open_log(log: &Path, raft: &sled::Tree) -> io::Result<Wal> {
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "the log's epoch cannot be read");
    let (epoch, hard_state) = match raft.get(EPOCH).map_err(to_io)? {
        None => (0, HardState::default()),
        Some(bytes) => {
            let epoch = u64::from_be_bytes(bytes.as_ref().try_into().map_err(|_| unreadable())?);
            let state = raft.get(HARD_STATE).map_err(to_io)?.ok_or_else(unreadable)?;
            (epoch, codec::read_hard_state(&state).ok_or_else(unreadable)?)
        }
    };
    Wal::open(log, epoch, hard_state)
}

/// Who had the directory before may still be ending: sled gives its lock up in the background.
fn open_db(dir: &Path) -> Result<sled::Db, OpenError> {
    let begun = Instant::now();
    loop {
        let config = sled::Config::new()
            .path(dir)
            // We say when to flush: once a batch.
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput)
            // The keyspace is held in memory by the store itself.
            .cache_capacity(16 << 20);
        match config.open().map_err(|error| open_error(dir, error)) {
            Err(OpenError::Locked { .. }) if begun.elapsed() < LOCKED => std::thread::sleep(LOCKED / 50),
            opened => return opened,
        }
    }
}

fn open_error(dir: &Path, error: sled::Error) -> OpenError {
    let dir = dir.to_owned();
    match error {
        sled::Error::Io(source)
            if source.to_string().contains("lock") || source.kind() == io::ErrorKind::WouldBlock =>
        {
            OpenError::Locked { dir }
        }
        sled::Error::Io(source) => OpenError::Io { dir, source },
        sled::Error::Corruption { .. } => OpenError::Damaged { dir, detail: error.to_string() },
        other => OpenError::Io { dir, source: to_io(other) },
    }
}

pub(super) fn to_io(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl Engine for SledEngine {
    fn load(&self) -> io::Result<Loaded> {
        self.read_back(|_| 0)
    }

    fn load_end(&self) -> io::Result<Loaded> {
        self.read_back(|last| last)
    }

    fn append(&self, entries: &[Arc<LogEntry>], hard_state: Option<HardState>) -> io::Result<()> {
        self.wal.append(entries, hard_state)
    }

    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> io::Result<Vec<LogEntry>> {
        self.wal.entries(low, high, bytes_max)
    }

    fn checkpoint(&self, changes: &[Change], mark: &CheckpointMark) -> io::Result<()> {
        let _alone = self.slow.lock();
        self.room.wait(&self.file)?;
        let generation = *self.generation.lock();
        let records = changes.iter().map(|change| {
            let record = match &change.now {
                Now::Entry(entry) => codec::entry(entry),
                Now::Gone(_) => codec::gone(&change.key),
            };
            (change.revision(), record)
        });
        self.write_records(generation, records, SYNC_EVERY)?;
        self.raft.insert(MARK, codec::mark(mark, generation)).map_err(to_io)?;
        self.sync()?;
        // From here on nothing needs to be durable: what a crash leaves behind is removed at the next open. A record
        // that says a key is gone goes last, when nothing is left that it speaks about.
        let superseded = changes.iter().filter_map(|change| change.superseded);
        let gone = changes.iter().filter(|change| matches!(change.now, Now::Gone(_))).map(Change::revision);
        for (at, revision) in superseded.chain(gone).enumerate() {
            if at.is_multiple_of(REMOVED_AT_ONCE) {
                self.room.wait(&self.file)?;
            }
            self.remove_revision(generation, revision)?;
        }
        Ok(())
    }

    fn rewrite(&self, entries: &mut dyn Iterator<Item = Arc<Entry>>, mark: &CheckpointMark) -> io::Result<()> {
        let _alone = self.slow.lock();
        let before = *self.generation.lock();
        let records = entries.map(|entry| (entry.modified, codec::entry(&entry)));
        let generation = self.write_generation(before, records, SYNC_EVERY)?;
        self.raft.insert(MARK, codec::mark(mark, generation)).map_err(to_io)?;
        self.sync()?;
        *self.generation.lock() = generation;
        self.remove_generation(before)
    }

    fn install(&self, entries: &[Arc<Entry>], mark: &CheckpointMark, hard_state: HardState) -> io::Result<()> {
        let _alone = self.slow.lock();
        // sled ends for good when it finds no room.
        let bytes: u64 = entries.iter().map(|entry| (entry.key.len() + entry.value.len()) as u64).sum();
        if self.free_bytes().is_some_and(|free| free < 2 * bytes) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let before = *self.generation.lock();
        let records = entries.iter().map(|entry| (entry.modified, codec::entry(entry)));
        let generation = self.write_generation(before, records, SYNC_ALL_EVERY)?;
        let mut batch = sled::Batch::default();
        let epoch = self.wal.epoch() + 1;
        batch.insert(MARK, codec::mark(mark, generation));
        batch.insert(EPOCH, &epoch.to_be_bytes());
        batch.insert(HARD_STATE, codec::hard_state(hard_state));
        self.raft.apply_batch(batch).map_err(to_io)?;
        self.sync()?;
        *self.generation.lock() = generation;
        self.wal.restart(epoch, hard_state)?;
        self.remove_generation(before)
    }

    fn cut(&self, through: u64) -> io::Result<()> {
        self.wal.cut(through)
    }

    fn free_bytes(&self) -> Option<u64> {
        if !self.wal.has_room() || !self.room.keep(&self.file) {
            return Some(0);
        }
        self.unused_bytes()
    }

    fn has_room_for(&self, bytes: u64) -> bool {
        self.unused_bytes().is_none_or(|unused| unused + self.room.kept(&self.file) / 2 >= bytes)
    }

    fn stop_waiting(&self) {
        self.room.end();
    }

    fn used_bytes(&self) -> Option<u64> {
        Some(self.db.size_on_disk().ok()? + self.wal.used_bytes())
    }
}
