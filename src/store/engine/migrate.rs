//! A directory of an older format, brought to the one that is written today.
//!
//! In format 2 the log was in sled too: `l<index><part>` and `h`, its hard state. It is written to files of its own; until
//! the directory says that it is of the newer format that may begin anew.

use super::{
    HardState, LogEntry, codec, parts,
    sled::{HARD_STATE, MARK, to_io},
    wal::Wal,
};
use crate::txn::Reader;
use std::{io, path::Path, sync::Arc};

/// The oldest format that is read.
pub(super) const OLDEST: u64 = 2;

const LOG: u8 = b'l';

/// So many bytes of log are written at once, about.
const APPEND: usize = 1 << 20;

/// Writes the log that is in sled to `log`.
pub(super) fn log_of_2(log: &Path, raft: &sled::Tree) -> io::Result<Wal> {
    let damaged = |detail: &str| io::Error::new(io::ErrorKind::InvalidData, detail);
    let hard_state = match raft.get(HARD_STATE).map_err(to_io)? {
        Some(bytes) => codec::read_hard_state(&bytes).ok_or_else(|| damaged("raft's state cannot be read"))?,
        None => HardState::default(),
    };
    // What is before the mark was perhaps being removed.
    let after = match raft.get(MARK).map_err(to_io)? {
        Some(bytes) => codec::read_mark(&bytes).ok_or_else(|| damaged("the checkpoint's mark cannot be read"))?.0.index,
        None => 0,
    };
    let wal = Wal::create(log, 0, hard_state)?;
    let (mut joiner, mut waiting, mut bytes) = (parts::Joiner::default(), Vec::<Arc<LogEntry>>::new(), 0);
    for pair in raft.range(parts::keys(LOG, after + 1..u64::MAX)) {
        let (key, value) = pair.map_err(to_io)?;
        let unreadable = || damaged("an entry of the log cannot be read");
        let Some((index, record)) = joiner.add(&key, &value).ok_or_else(unreadable)? else { continue };
        let entry = codec::read_log_entry(&mut Reader(&record)).filter(|entry| entry.index == index);
        let entry = entry.ok_or_else(unreadable)?;
        bytes += record.len();
        waiting.push(Arc::new(entry));
        if bytes >= APPEND {
            wal.append(&waiting, None)?;
            (waiting, bytes) = (Vec::new(), 0);
        }
    }
    if !joiner.is_done() {
        return Err(damaged("the last entry of the log is cut short"));
    }
    wal.append(&waiting, None)?;
    Ok(wal)
}

/// Removes the log from sled, once it is elsewhere.
pub(super) fn remove_log_of_2(raft: &sled::Tree) -> io::Result<()> {
    for key in raft.range(parts::keys(LOG, 0..u64::MAX)).keys() {
        raft.remove(key.map_err(to_io)?).map_err(to_io)?;
    }
    Ok(())
}
