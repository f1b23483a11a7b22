//! The engine on sled. Log and state share one tree, so that a batch of both is one atomic write and one fsync.
//!
//! ```text
//! raft   l<index>  log entry        h  hard state
//! keys   k<key>    entry            m  checkpoint mark
//! meta   format    format version
//! ```

use super::{Changes, CheckpointMark, Engine, FORMAT, HardState, Loaded, LogEntry, codec};
use crate::options::OpenError;
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// See the module.
pub struct SledEngine {
    db: sled::Db,
    raft: sled::Tree,
    keys: sled::Tree,
    dir: PathBuf,
}

const HARD_STATE: &[u8] = b"h";
const MARK: &[u8] = b"m";

impl SledEngine {
    /// Opens the directory, creating it when it is not there.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { dir: dir.to_owned(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let db = sled::Config::new()
            .path(dir)
            // We say when to flush: once a batch.
            .flush_every_ms(None)
            .mode(sled::Mode::HighThroughput)
            // The keyspace is held in memory by the store itself.
            .cache_capacity(16 << 20)
            .open()
            .map_err(|error| open_error(dir, error))?;
        let tree = |name: &str| db.open_tree(name).map_err(|error| open_error(dir, error));
        let (meta, raft, keys) = (tree("meta")?, tree("raft")?, tree("keys")?);
        match meta.get("format").map_err(|error| open_error(dir, error))? {
            Some(bytes) => {
                let found = bytes.as_ref().try_into().map(u64::from_be_bytes).map_err(|_| OpenError::Damaged {
                    dir: dir.to_owned(),
                    detail: "its format version cannot be read".to_owned(),
                })?;
                if found > FORMAT {
                    return Err(OpenError::Newer { dir: dir.to_owned(), found, supported: FORMAT });
                }
            }
            None => {
                meta.insert("format", &FORMAT.to_be_bytes()).map_err(|error| open_error(dir, error))?;
                db.flush().map_err(|error| open_error(dir, error))?;
            }
        }
        Ok(Self { db, raft, keys, dir: dir.to_owned() })
    }

    fn damaged(&self, detail: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {detail}", self.dir.display()))
    }
}

fn open_error(dir: &Path, error: sled::Error) -> OpenError {
    let dir = dir.to_owned();
    match error {
        sled::Error::Io(source) if source.to_string().contains("lock") || source.kind() == io::ErrorKind::WouldBlock => {
            OpenError::Locked { dir }
        }
        sled::Error::Io(source) => OpenError::Io { dir, source },
        sled::Error::Corruption { .. } => OpenError::Damaged { dir, detail: error.to_string() },
        other => OpenError::Io { dir, source: to_io(other) },
    }
}

fn to_io(error: sled::Error) -> io::Error {
    match error {
        sled::Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

fn log_key(index: u64) -> [u8; 9] {
    let mut key = [b'l'; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

impl Engine for SledEngine {
    fn load(&self) -> io::Result<Loaded> {
        let mut loaded = Loaded::default();
        if let Some(bytes) = self.raft.get(HARD_STATE).map_err(to_io)? {
            loaded.hard_state = codec::read_hard_state(&bytes).ok_or_else(|| self.damaged("raft's state cannot be read"))?;
        }
        if let Some(bytes) = self.keys.get(MARK).map_err(to_io)? {
            loaded.mark = codec::read_mark(&bytes).ok_or_else(|| self.damaged("the checkpoint's mark cannot be read"))?;
        }
        for pair in self.keys.scan_prefix(b"k") {
            let (key, bytes) = pair.map_err(to_io)?;
            let entry = codec::read_entry(&key[1..], &bytes)
                .ok_or_else(|| self.damaged(&format!("the key {} cannot be read", String::from_utf8_lossy(&key[1..]))))?;
            loaded.entries.push(Arc::new(entry));
        }
        for pair in self.raft.range(log_key(loaded.mark.index + 1)..=log_key(u64::MAX)) {
            let (key, bytes) = pair.map_err(to_io)?;
            let entry = codec::read_log_entry(&bytes)
                .filter(|entry| log_key(entry.index) == *key)
                .ok_or_else(|| self.damaged("an entry of the log cannot be read"))?;
            let expected = loaded.log.last().map_or(loaded.mark.index, |e: &LogEntry| e.index) + 1;
            if entry.index != expected {
                return Err(self.damaged(&format!("the log goes from entry {} to {}", expected - 1, entry.index)));
            }
            loaded.log.push(entry);
        }
        Ok(loaded)
    }

    fn append(&self, entries: &[LogEntry], hard_state: Option<HardState>) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for entry in entries {
            batch.insert(&log_key(entry.index), codec::log_entry(entry));
        }
        if let Some(state) = hard_state {
            batch.insert(HARD_STATE, codec::hard_state(state));
        }
        if let Some(last) = entries.last() {
            // What another leader's entries replace is gone for good.
            for stale in self.raft.range(log_key(last.index + 1)..=log_key(u64::MAX)).keys() {
                batch.remove(stale.map_err(to_io)?);
            }
        }
        self.raft.apply_batch(batch).map_err(to_io)?;
        self.raft.flush().map_err(to_io)?;
        Ok(())
    }

    fn entries(&self, low: u64, high: u64) -> io::Result<Vec<LogEntry>> {
        self.raft
            .range(log_key(low)..log_key(high))
            .map(|pair| {
                let (_, bytes) = pair.map_err(to_io)?;
                codec::read_log_entry(&bytes).ok_or_else(|| self.damaged("an entry of the log cannot be read"))
            })
            .collect()
    }

    fn checkpoint(&self, changes: Changes, mark: &CheckpointMark) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for (key, entry) in changes {
            let mut stored = Vec::with_capacity(key.len() + 1);
            stored.push(b'k');
            stored.extend_from_slice(&key);
            match entry {
                Some(entry) => batch.insert(stored, codec::entry(&entry)),
                None => batch.remove(stored),
            }
        }
        batch.insert(MARK, codec::mark(mark));
        self.keys.apply_batch(batch).map_err(to_io)?;
        self.db.flush().map_err(to_io)?;
        Ok(())
    }

    fn cut(&self, through: u64) -> io::Result<()> {
        let mut batch = sled::Batch::default();
        for key in self.raft.range(log_key(0)..=log_key(through)).keys() {
            batch.remove(key.map_err(to_io)?);
        }
        self.raft.apply_batch(batch).map_err(to_io)
    }

    fn free_bytes(&self) -> Option<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.dir).ok()?;
        Some(u64::from(stat.blocks_available()) * u64::from(stat.fragment_size()))
    }
}
