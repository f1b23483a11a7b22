//! Reading a log: from the last lines, since a time, up to a size, and on after it was rotated.

use super::line::{Stream, parse};
use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const PIECE: usize = 64 << 10;
/// A log whose entries are longer has none.
const ENTRY_MAX: usize = 1 << 20;

#[derive(Debug, Clone, Default)]
pub struct Options {
    pub since: Option<Timestamp>,
    pub tail_lines: Option<u64>,
    pub limit_bytes: Option<u64>,
    pub timestamps: bool,
    pub stream: Option<Stream>,
}

pub struct Reader {
    path: PathBuf,
    file: File,
    inode: u64,
    options: Options,
    /// Read and not yet a whole entry.
    rest: BytesMut,
    left: Option<u64>,
    /// The next entry begins a line, so a timestamp goes before it.
    line_begins: bool,
}

impl Reader {
    pub fn open(path: &Path, options: Options) -> io::Result<Reader> {
        let mut file = File::open(path)?;
        let inode = file.metadata()?.ino();
        // With a stream or a time to choose by, every line has to be looked at.
        let start = match options.tail_lines {
            Some(lines) => tail_offset(&mut file, lines, options.stream)?,
            None => 0,
        };
        file.seek(SeekFrom::Start(start))?;
        let left = options.limit_bytes;
        Ok(Reader { path: path.to_owned(), file, inode, options, rest: BytesMut::new(), left, line_begins: true })
    }

    /// The limit is reached: nothing comes any more.
    pub fn is_exhausted(&self) -> bool {
        self.left == Some(0)
    }

    /// What can be read now; empty at the present end.
    pub fn next_chunk(&mut self) -> io::Result<Bytes> {
        let mut out = BytesMut::new();
        while out.is_empty() && !self.is_exhausted() {
            let mut buffer = vec![0; PIECE];
            let n = self.file.read(&mut buffer)?;
            if n == 0 && !self.follow_rotation()? {
                break;
            }
            self.rest.extend_from_slice(&buffer[..n]);
            self.take_entries(&mut out);
            if self.rest.len() > ENTRY_MAX {
                self.rest.clear();
            }
        }
        Ok(out.freeze())
    }

    fn take_entries(&mut self, out: &mut BytesMut) {
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let entry = self.rest.split_to(end + 1);
            self.add(&entry[..end], out);
            if self.is_exhausted() {
                return;
            }
        }
    }

    fn add(&mut self, entry: &[u8], out: &mut BytesMut) {
        let Some(line) = parse(entry) else { return };
        if self.options.stream.is_some_and(|wanted| wanted != line.stream) {
            return;
        }
        if let Some(since) = self.options.since
            && line.timestamp().is_some_and(|time| time < since)
        {
            return;
        }
        let begin = out.len();
        if self.options.timestamps && self.line_begins {
            out.extend_from_slice(line.time);
            out.extend_from_slice(b" ");
        }
        out.extend_from_slice(line.content);
        if !line.partial {
            out.extend_from_slice(b"\n");
        }
        self.line_begins = !line.partial;
        if let Some(left) = &mut self.left {
            let added = (out.len() - begin) as u64;
            if added > *left {
                out.truncate(begin + usize::try_from(*left).unwrap_or(usize::MAX));
            }
            *left = left.saturating_sub(added);
        }
    }

    /// True when the log goes on in a new file.
    fn follow_rotation(&mut self) -> io::Result<bool> {
        let Ok(metadata) = std::fs::metadata(&self.path) else { return Ok(false) };
        if metadata.ino() == self.inode {
            return Ok(false);
        }
        // Between our last read and the rotation something may have been added.
        let mut last = Vec::new();
        self.file.read_to_end(&mut last)?;
        self.rest.extend_from_slice(&last);
        self.file = File::open(&self.path)?;
        self.inode = metadata.ino();
        Ok(true)
    }
}

/// Where the last lines begin. Entries that are parts belong to the line that they are part of.
fn tail_offset(file: &mut File, lines: u64, stream: Option<Stream>) -> io::Result<u64> {
    let length = file.metadata()?.len();
    if lines == 0 {
        return Ok(length);
    }
    let (mut position, mut tail) = (length, Vec::new());
    let mut size = PIECE as u64;
    loop {
        let begin = position.saturating_sub(size);
        let mut piece = vec![0; usize::try_from(position - begin).map_err(io::Error::other)?];
        file.seek(SeekFrom::Start(begin))?;
        file.read_exact(&mut piece)?;
        piece.extend_from_slice(&tail);
        (tail, position) = (piece, begin);
        if let Some(offset) = nth_line_from_end(&tail, lines, stream, position == 0) {
            return Ok(position + offset);
        }
        if position == 0 {
            return Ok(0);
        }
        size = size.saturating_mul(2).min(8 << 20);
    }
}

/// Offset of the `lines`th line from the end; `None` when there are fewer for sure known.
fn nth_line_from_end(bytes: &[u8], lines: u64, stream: Option<Stream>, whole: bool) -> Option<u64> {
    let mut starts = Vec::new();
    let mut begin = 0;
    let mut after_partial = false;
    // Without the beginning of the file the first entry may be cut.
    let mut skip = !whole;
    while let Some(length) = bytes[begin..].iter().position(|byte| *byte == b'\n') {
        let entry = &bytes[begin..begin + length];
        if let Some(line) = parse(entry).filter(|_| !skip)
            && stream.is_none_or(|wanted| wanted == line.stream)
        {
            if !after_partial {
                starts.push(begin);
            }
            after_partial = line.partial;
        }
        skip = false;
        begin += length + 1;
    }
    let index = starts.len().checked_sub(usize::try_from(lines).ok()?)?;
    // The very first line that was seen may be the end of one that began before.
    if index == 0 && !whole {
        return None;
    }
    Some(starts[index] as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LOG: &str = "\
        2026-01-01T00:00:01Z stdout F one\n\
        2026-01-01T00:00:02Z stderr F two\n\
        2026-01-01T00:00:03Z stdout P thr\n\
        2026-01-01T00:00:03Z stdout F ee\n\
        nonsense\n\
        2026-01-01T00:00:04Z stdout F four\n";

    fn read(log: &str, options: Options) -> String {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(log.as_bytes()).expect("written");
        let mut reader = Reader::open(file.path(), options).expect("there");
        let mut out = Vec::new();
        loop {
            let chunk = reader.next_chunk().expect("readable");
            if chunk.is_empty() {
                return String::from_utf8(out).expect("text");
            }
            out.extend_from_slice(&chunk);
        }
    }

    #[test]
    fn options_choose_lines() {
        let default = Options::default;
        let since = "2026-01-01T00:00:03Z".parse().expect("a time");
        for (options, expected) in [
            (default(), "one\ntwo\nthree\nfour\n"),
            (Options { tail_lines: Some(2), ..default() }, "three\nfour\n"),
            (Options { tail_lines: Some(0), ..default() }, ""),
            (Options { tail_lines: Some(99), ..default() }, "one\ntwo\nthree\nfour\n"),
            (Options { limit_bytes: Some(6), ..default() }, "one\ntw"),
            (Options { since: Some(since), ..default() }, "three\nfour\n"),
            (Options { stream: Some(Stream::Stderr), ..default() }, "two\n"),
            (Options { stream: Some(Stream::Stdout), tail_lines: Some(3), ..default() }, "one\nthree\nfour\n"),
            (
                Options { timestamps: true, tail_lines: Some(2), ..default() },
                "2026-01-01T00:00:03Z three\n2026-01-01T00:00:04Z four\n",
            ),
        ] {
            assert_eq!(read(LOG, options.clone()), expected, "{options:?}");
        }
    }

    #[test]
    fn long_logs_have_a_tail() {
        let log: String = (0..20_000).map(|i| format!("2026-01-01T00:00:01Z stdout F line {i}\n")).collect();
        assert_eq!(read(&log, Options { tail_lines: Some(2), ..Options::default() }), "line 19998\nline 19999\n");
        let many = read(&log, Options { tail_lines: Some(15_000), ..Options::default() });
        assert_eq!(many.lines().count(), 15_000);
    }

    #[test]
    fn a_rotated_log_goes_on() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let path = temp.path().join("0.log");
        std::fs::write(&path, "2026-01-01T00:00:01Z stdout F a\n").expect("written");
        let mut reader = Reader::open(&path, Options::default()).expect("there");
        assert_eq!(reader.next_chunk().expect("readable"), "a\n");
        assert_eq!(reader.next_chunk().expect("readable"), "");
        std::fs::rename(&path, temp.path().join("old")).expect("renamed");
        std::fs::write(&path, "2026-01-01T00:00:02Z stdout F b\n").expect("written");
        assert_eq!(reader.next_chunk().expect("readable"), "b\n");
    }
}
