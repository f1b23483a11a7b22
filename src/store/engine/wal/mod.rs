//! The log in files of its own: an append is one write and one `fdatasync`, and sled is not asked.
//!
//! ```text
//! log/<sequence>.log   a segment, its blocks reserved when it is made
//! log/spare            the next one: there is always room for it, or the disk is called full
//! ```
//!
//! Entries are found by a list of their places in memory. What another leader's entries replace is replaced there; in
//! the files the newer frame counts. Segments whose entries are no longer asked for are removed, the oldest first.
//!
//! Reading order: [`frame`] (bytes), [`segment`] (files), then here.
//!
//! Invariant: what an append that was cut off left is at the end of the newest segment, was never called durable, and
//! goes. A frame that cannot be read anywhere else is damage, and said to be.

mod frame;
mod segment;
#[cfg(test)]
mod tests;

use super::{HardState, LogEntry};
use frame::{Batch, Head, Place};
use parking_lot::Mutex;
use segment::Segment;
use std::{
    collections::VecDeque,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// See the module.
pub(super) struct Wal {
    dir: PathBuf,
    /// Held by who appends, while the disk works.
    writer: Mutex<Writer>,
    /// Never held while the disk works.
    index: Mutex<Index>,
}

struct Writer {
    segment: Arc<Segment>,
    /// Where the next frame goes in it.
    end: u32,
    hard_state: HardState,
    epoch: u64,
    /// One append's bytes; its memory is used again.
    buffer: Vec<u8>,
    /// A write failed, and nobody knows what is on the disk.
    failed: bool,
}

impl Writer {
    fn new(segment: Arc<Segment>, epoch: u64, hard_state: HardState) -> Self {
        Self { segment, end: frame::BEGIN, hard_state, epoch, buffer: Vec::new(), failed: false }
    }
}

/// Which entries there are, and where.
#[derive(Default)]
struct Index {
    places: VecDeque<(Arc<Segment>, Place)>,
    /// Oldest first, with the greatest index in each; the last one is written to.
    segments: VecDeque<(Arc<Segment>, u64)>,
}

impl Index {
    fn first(&self) -> Option<u64> {
        self.places.front().map(|(_, place)| place.index)
    }

    fn last(&self) -> Option<u64> {
        self.places.back().map(|(_, place)| place.index)
    }

    /// Takes over an append; gives its first entry's index back when there would be a gap before it.
    fn add(&mut self, segment: &Arc<Segment>, batch: Batch) -> Result<(), u64> {
        for place in batch.places {
            while self.last().is_some_and(|last| last >= place.index) {
                self.places.pop_back();
            }
            if self.last().is_some_and(|last| last + 1 != place.index) {
                return Err(place.index);
            }
            if let Some((_, greatest)) = self.segments.back_mut() {
                *greatest = place.index.max(*greatest);
            }
            self.places.push_back((segment.clone(), place));
        }
        Ok(())
    }

    /// Forgets entries up to `through`; gives the segments that hold no others.
    fn cut(&mut self, through: u64) -> Vec<Arc<Segment>> {
        while self.first().is_some_and(|first| first <= through) {
            self.places.pop_front();
        }
        let mut over = Vec::new();
        while self.segments.len() > 1 && self.segments.front().is_some_and(|(_, greatest)| *greatest <= through) {
            over.extend(self.segments.pop_front().map(|(segment, _)| segment));
        }
        over
    }
}

impl Wal {
    /// Begins a log where there is none, or one that does not count.
    pub(super) fn create(dir: &Path, epoch: u64, hard_state: HardState) -> io::Result<Self> {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => std::fs::create_dir_all(dir)?,
        }
        segment::sync_directory(dir.parent().unwrap_or(dir))?;
        let head = Head { previous_end: 0, sequence: 1, epoch, hard_state };
        let segment = Arc::new(Segment::create(dir, &head, 0)?);
        Ok(Self::at(dir, Writer::new(segment, epoch, hard_state), Index::default()))
    }

    fn at(dir: &Path, writer: Writer, mut index: Index) -> Self {
        if index.segments.is_empty() {
            index.segments.push_back((writer.segment.clone(), 0));
        }
        segment::keep_spare(dir);
        Self { dir: dir.to_owned(), writer: Mutex::new(writer), index: Mutex::new(index) }
    }

    /// Finds the log of an epoch. One before it was replaced, and goes; then this one begins with `hard_state`.
    ///
    /// # Errors
    /// `InvalidData` says what is damaged.
    pub(super) fn open(dir: &Path, epoch: u64, hard_state: HardState) -> io::Result<Self> {
        let mut segments = segment::list(dir)?;
        let Some((newest, newest_head)) = segments.last() else { return Err(damage("it is missing")) };
        if newest_head.epoch > epoch {
            return Err(damage("it is newer than the keyspace"));
        }
        let sequence = newest.sequence;
        if newest_head.epoch < epoch {
            let head = Head { previous_end: 0, sequence: sequence + 1, epoch, hard_state };
            let segment = Arc::new(Segment::create(dir, &head, 0)?);
            segments.iter().try_for_each(|(older, _)| older.remove())?;
            return Ok(Self::at(dir, Writer::new(segment, epoch, hard_state), Index::default()));
        }
        // Removing a segment need not be durable: one may have come back, without those after it.
        let mut from = segments.len();
        while from > 0 && {
            let (segment, head) = &segments[from - 1];
            head.epoch == epoch && segment.sequence + (segments.len() - from) as u64 == sequence
        } {
            from -= 1;
        }
        let current = segments.split_off(from);
        segments.iter().try_for_each(|(older, _)| older.remove())?;

        let mut index = Index::default();
        let mut state = current.first().map_or(hard_state, |(_, head)| head.hard_state);
        let ends: Vec<_> = current.iter().skip(1).map(|(_, head)| head.previous_end).collect();
        let mut end = 0;
        for (at, (segment, _)) in current.into_iter().enumerate() {
            let segment = Arc::new(segment);
            let found = frame::read(&segment.content()?, segment.sequence);
            if found.broken || ends.get(at).is_some_and(|end| *end != found.end) {
                return Err(damage(&format!("{} cannot be read behind byte {}", segment.name(), found.end)));
            }
            index.segments.push_back((segment.clone(), 0));
            for batch in found.batches {
                state = batch.hard_state.unwrap_or(state);
                let before = index.last().unwrap_or_default();
                index.add(&segment, batch).map_err(|at| damage(&format!("it goes from entry {before} to {at}")))?;
            }
            end = found.end;
        }
        let (segment, _) = index.segments.back().cloned().ok_or_else(|| damage("it is missing"))?;
        // Who wrote the last frames may have died before they were durable.
        segment.file.sync_data()?;
        Ok(Self::at(dir, Writer { end, ..Writer::new(segment, epoch, state) }, index))
    }

    pub(super) fn hard_state(&self) -> HardState {
        self.writer.lock().hard_state
    }

    pub(super) fn epoch(&self) -> u64 {
        self.writer.lock().epoch
    }

    /// The first entry's index and the last one's.
    pub(super) fn range(&self) -> Option<(u64, u64)> {
        let index = self.index.lock();
        index.first().zip(index.last())
    }

    /// See [`super::Engine::append`].
    pub(super) fn append(&self, entries: &[Arc<LogEntry>], hard_state: Option<HardState>) -> io::Result<()> {
        let writer = &mut *self.writer.lock();
        if writer.failed {
            return Err(io::Error::other("an earlier write to the log failed: mk8s must be started again"));
        }
        let needed = frame::bound(entries);
        if writer.segment.length - (writer.end as usize) < needed {
            self.roll(writer, needed)?;
        }
        let batch = frame::write(&mut writer.buffer, (writer.segment.sequence, writer.end), entries, hard_state);
        writer.failed = true;
        writer.segment.file.write_all_at(&writer.buffer, u64::from(writer.end))?;
        writer.segment.file.sync_data()?;
        writer.failed = false;
        writer.end += u32::try_from(writer.buffer.len()).expect("it fits into a segment");
        writer.hard_state = hard_state.unwrap_or(writer.hard_state);
        if writer.buffer.capacity() > BUFFER {
            writer.buffer = Vec::new();
        }
        let gap = |index| io::Error::other(format!("entry {index} does not follow the log's last one"));
        self.index.lock().add(&writer.segment, batch).map_err(gap)
    }

    /// Begins the next segment.
    fn roll(&self, writer: &mut Writer, needed: usize) -> io::Result<()> {
        let Writer { segment, end, hard_state, epoch, .. } = writer;
        let head = Head { previous_end: *end, sequence: segment.sequence + 1, epoch: *epoch, hard_state: *hard_state };
        let next = Arc::new(Segment::create(&self.dir, &head, needed)?);
        (writer.end, writer.segment) = (frame::BEGIN, next.clone());
        self.index.lock().segments.push_back((next, 0));
        segment::keep_spare(&self.dir);
        Ok(())
    }

    /// See [`super::Engine::entries`].
    pub(super) fn entries(&self, low: u64, high: u64, bytes_max: u64) -> io::Result<Vec<LogEntry>> {
        let mut bytes = 0;
        let places: Vec<_> = {
            let index = self.index.lock();
            let skip = index.first().map_or(0, |first| low.saturating_sub(first));
            let behind = index.places.iter().skip(usize::try_from(skip).unwrap_or(usize::MAX));
            let within = behind.take_while(|(_, place)| {
                let first = bytes == 0;
                bytes += u64::from(place.length);
                place.index < high && (first || bytes <= bytes_max)
            });
            within.cloned().collect()
        };
        let mut buffer = Vec::new();
        let read = |(segment, place): &(Arc<Segment>, Place)| {
            buffer.resize(place.length as usize, 0);
            segment.file.read_exact_at(&mut buffer, u64::from(place.offset))?;
            place.read(&buffer).ok_or_else(|| damage(&format!("entry {} cannot be read", place.index)))
        };
        places.iter().map(read).collect()
    }

    /// See [`super::Engine::cut`].
    pub(super) fn cut(&self, through: u64) -> io::Result<()> {
        let over = self.index.lock().cut(through);
        over.iter().try_for_each(|segment| segment.remove())
    }

    /// Begins the log of the next epoch, which the keyspace has begun: nothing of this one is left.
    pub(super) fn restart(&self, epoch: u64, hard_state: HardState) -> io::Result<()> {
        let writer = &mut *self.writer.lock();
        let head = Head { previous_end: 0, sequence: writer.segment.sequence + 1, epoch, hard_state };
        let segment = Arc::new(Segment::create(&self.dir, &head, 0)?);
        *writer = Writer::new(segment.clone(), epoch, hard_state);
        let begun = Index { segments: VecDeque::from([(segment, 0)]), ..Index::default() };
        let before = std::mem::replace(&mut *self.index.lock(), begun);
        segment::keep_spare(&self.dir);
        before.segments.iter().try_for_each(|(segment, _)| segment.remove())
    }

    /// Whether there is room for the next segment.
    pub(super) fn has_room(&self) -> bool {
        segment::keep_spare(&self.dir)
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.index.lock().segments.iter().map(|(segment, _)| segment.length as u64).sum()
    }
}

/// A buffer over this is not kept, in bytes.
const BUFFER: usize = 1 << 20;

fn damage(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the log: {what}"))
}
