//! The engine's twin in memory. It survives being closed, so that tests can open it again; it can be told to lose what a
//! crash would lose, and to fail.

use super::{Changes, CheckpointMark, Engine, HardState, Loaded, LogEntry};
use crate::mvcc::Entry;
use bytes::Bytes;
use parking_lot::Mutex;
use std::{collections::BTreeMap, io, sync::Arc};

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct MemoryEngine {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug, Default)]
struct Disk {
    hard_state: HardState,
    log: BTreeMap<u64, LogEntry>,
    keys: BTreeMap<Bytes, Arc<Entry>>,
    mark: CheckpointMark,
    fail_writes: bool,
    free_bytes: Option<u64>,
}

impl MemoryEngine {
    /// From now on every write fails, as on a broken disk.
    pub fn fail_writes(&self, fail: bool) {
        self.disk.lock().fail_writes = fail;
    }

    /// What [`Engine::free_bytes`] says.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.disk.lock().free_bytes = free;
    }

    fn write(&self, change: impl FnOnce(&mut Disk)) -> io::Result<()> {
        let mut disk = self.disk.lock();
        if disk.fail_writes {
            return Err(io::Error::other("the disk was told to fail"));
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
            log: disk.log.range(disk.mark.index + 1..).map(|(_, entry)| entry.clone()).collect(),
            entries: disk.keys.values().cloned().collect(),
        })
    }

    fn append(&self, entries: &[LogEntry], hard_state: Option<HardState>) -> io::Result<()> {
        self.write(|disk| {
            if let Some(first) = entries.first() {
                disk.log.split_off(&first.index);
            }
            disk.log.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
            disk.hard_state = hard_state.unwrap_or(disk.hard_state);
        })
    }

    fn entries(&self, low: u64, high: u64) -> io::Result<Vec<LogEntry>> {
        Ok(self.disk.lock().log.range(low..high).map(|(_, entry)| entry.clone()).collect())
    }

    fn checkpoint(&self, changes: Changes, mark: &CheckpointMark) -> io::Result<()> {
        self.write(|disk| {
            for (key, entry) in changes {
                match entry {
                    Some(entry) => drop(disk.keys.insert(key, entry)),
                    None => drop(disk.keys.remove(&key)),
                }
            }
            disk.mark = mark.clone();
        })
    }

    fn cut(&self, through: u64) -> io::Result<()> {
        self.write(|disk| disk.log = disk.log.split_off(&(through + 1)))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.disk.lock().free_bytes
    }
}
