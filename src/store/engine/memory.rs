//! The engine's twin in memory. It survives being closed, so that tests can open it again; it can be told to do what
//! crashes and failing disks do.

use super::{CheckpointMark, Engine, HardState, Loaded, LogEntry};
use crate::mvcc::{Change, Entry, Now};
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine {
    disk: Arc<Mutex<Disk>>,
}

/// What becomes of one append, which fails in each case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// None of it is on the disk.
    Lost,
    /// All of it is, although the caller is told that it is not.
    Kept,
}

#[derive(Debug, Clone, Default)]
struct Disk {
    hard_state: HardState,
    log: BTreeMap<u64, Arc<LogEntry>>,
    /// By revision, as on a disk.
    entries: BTreeMap<u64, Arc<Entry>>,
    mark: CheckpointMark,
    fail_writes: bool,
    fault: Option<Fault>,
    is_full: bool,
    free_bytes: Option<u64>,
    appends: u64,
}

impl MemoryEngine {
    /// From now on every write fails, as on a broken disk.
    pub fn fail_writes(&self, fail: bool) {
        self.disk.lock().fail_writes = fail;
    }

    /// Whether there is no room for any write at all.
    pub fn set_full(&self, full: bool) {
        self.disk.lock().is_full = full;
    }

    /// The next append fails like this, and every write after it, as when the power is cut.
    pub fn crash_at_next_append(&self, fault: Fault) {
        self.disk.lock().fault = Some(fault);
    }

    /// The disk as it is after a crash, for the next life; the old one's stays with the old one.
    pub fn after_crash(&self) -> Self {
        let mut disk = self.disk.lock().clone();
        (disk.fail_writes, disk.fault) = (false, None);
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    /// What [`Engine::free_bytes`] says.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.disk.lock().free_bytes = free;
    }

    /// How often something was made durable by [`Engine::append`].
    pub fn appends(&self) -> u64 {
        self.disk.lock().appends
    }

    fn write(&self, change: impl FnOnce(&mut Disk)) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.fail_writes {
            return Err(io::Error::other("the disk was told to fail"));
        }
        if disk.is_full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        change(&mut disk);
        Ok(())
    }
}

impl Engine for MemoryEngine {
    fn load(&self) -> io::Result<Loaded> {
        let disk = self.disk.lock();
        Ok(Loaded {
            hard_state: disk.hard_state,
            mark: disk.mark.clone(),
            log: disk.log.range(disk.mark.index + 1..).map(|(_, entry)| LogEntry::clone(entry)).collect(),
            entries: disk.entries.values().cloned().collect(),
        })
    }

    fn load_end(&self) -> io::Result<Loaded> {
        let mut loaded = self.load()?;
        loaded.log = loaded.log.pop().into_iter().collect();
        Ok(loaded)
    }

    fn append(&self, entries: &[Arc<LogEntry>], hard_state: Option<HardState>) -> io::Result<()> {
        let fault = self.disk.lock().fault.take();
        if fault != Some(Fault::Lost) {
            self.write(|disk| {
                if let Some(first) = entries.first() {
                    disk.log.split_off(&first.index);
                }
                disk.log.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
                disk.hard_state = hard_state.unwrap_or(disk.hard_state);
                disk.appends += 1;
            })?;
        }
        if fault.is_some() {
            self.fail_writes(true);
            return Err(io::Error::other("the power was cut"));
        }
        Ok(())
    }

    fn entries(&self, low: u64, high: u64, bytes_max: u64) -> io::Result<Vec<LogEntry>> {
        let disk = self.disk.lock();
        let mut bytes = 0;
        let fits = |entry: &&Arc<LogEntry>| {
            bytes += entry.data.len() as u64;
            entry.index == low || bytes <= bytes_max
        };
        Ok(disk
            .log
            .range(low..high)
            .map(|(_, entry)| entry)
            .take_while(fits)
            .map(|entry| LogEntry::clone(entry))
            .collect())
    }

    fn checkpoint(&self, changes: &[Change], mark: &CheckpointMark) -> io::Result<()> {
        self.write(|disk| {
            for change in changes {
                if let Some(superseded) = change.superseded {
                    disk.entries.remove(&superseded);
                }
                if let Now::Entry(entry) = &change.now {
                    disk.entries.insert(entry.modified, entry.clone());
                }
            }
            disk.mark = mark.clone();
        })
    }

    fn rewrite(&self, entries: &mut dyn Iterator<Item = Arc<Entry>>, mark: &CheckpointMark) -> io::Result<()> {
        self.write(|disk| {
            disk.entries = entries.map(|entry| (entry.modified, entry)).collect();
            disk.mark = mark.clone();
        })
    }

    fn install(&self, entries: &[Arc<Entry>], mark: &CheckpointMark, hard_state: HardState) -> io::Result<()> {
        self.write(|disk| {
            disk.entries = entries.iter().map(|entry| (entry.modified, entry.clone())).collect();
            disk.log.clear();
            (disk.mark, disk.hard_state) = (mark.clone(), hard_state);
        })
    }

    fn cut(&self, through: u64) -> io::Result<()> {
        self.write(|disk| disk.log = disk.log.split_off(&(through + 1)))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.disk.lock().free_bytes
    }
}
