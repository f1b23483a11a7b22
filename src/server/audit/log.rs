//! The audit log: a file of one JSON object a line, turned when it is large.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::{mpsc, oneshot};

/// How many lines wait for the disk before requests do.
const WAITING: usize = 1024;
/// For how long lines are gathered before they are written: under load, a line is a call of the system no more.
const GATHERED: Duration = Duration::from_millis(2);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the log is and what is kept of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// `-` is standard output.
    pub path: PathBuf,
    /// When a file is turned.
    pub max_bytes: u64,
    /// How many turned files are kept; 0 keeps all.
    pub max_backups: usize,
    /// For how many days; 0 keeps them for ever.
    pub max_days: u32,
}

/// Writes lines, one after the other.
#[derive(Debug)]
pub(super) struct Log {
    lines: mpsc::Sender<Message>,
    /// Lines that were lost.
    pub(super) lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(Vec<u8>),
    /// Tells when all before it is written.
    Flush(oneshot::Sender<()>),
}

impl Log {
    /// Opens the file. Its thread ends with this.
    pub(super) fn open(options: LogOptions) -> io::Result<Log> {
        let mut writer = Writer::open(options)?;
        let (lines, mut incoming) = mpsc::channel(WAITING);
        let lost = Arc::<AtomicU64>::default();
        let counted = lost.clone();
        std::thread::Builder::new().name("audit".into()).spawn(move || {
            while let Some(first) = incoming.blocking_recv() {
                std::thread::sleep(GATHERED);
                let mut flushed = Vec::new();
                let mut lines = Vec::new();
                let others = std::iter::from_fn(|| incoming.try_recv().ok()).take(WAITING);
                for message in std::iter::once(first).chain(others) {
                    match message {
                        Message::Line(line) => lines.push(line),
                        Message::Flush(done) => flushed.push(done),
                    }
                }
                if let Err((error, unwritten)) = writer.write(&lines) {
                    counted.fetch_add(unwritten as u64, Relaxed);
                    let path = writer.options.path.display();
                    tracing::error!(%error, lines = unwritten, %path, "the audit log cannot be written");
                }
                // Who asked may have gone away.
                flushed.into_iter().for_each(|done| done.send(()).unwrap_or_default());
            }
        })?;
        Ok(Log { lines, lost })
    }

    /// Writes a line when there is room.
    pub(super) async fn write(&self, line: Vec<u8>) {
        if self.lines.send(Message::Line(line)).await.is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Writes a line, or loses it when there is no room.
    pub(super) fn write_now(&self, line: Vec<u8>) {
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    /// Waits until all is written.
    pub(super) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.lines.send(Message::Flush(done)).await.is_ok() {
            // The thread ends only when the channel is closed.
            let _ = flushed.await;
        }
    }
}

struct Writer {
    options: LogOptions,
    /// Nothing: standard output.
    file: Option<(File, u64)>,
}

impl Writer {
    fn open(options: LogOptions) -> io::Result<Writer> {
        let file = match options.path.as_os_str() == "-" {
            true => None,
            false => Some(append(&options.path)?),
        };
        Ok(Writer { options, file })
    }

    /// Writes lines, as many at once as the file has room for. The error tells how many were not.
    fn write(&mut self, mut lines: &[Vec<u8>]) -> Result<(), (io::Error, usize)> {
        while !lines.is_empty() {
            let written = self.write_some(lines).map_err(|error| (error, lines.len()))?;
            lines = &lines[written..];
        }
        Ok(())
    }

    /// How many of the lines were written.
    fn write_some(&mut self, lines: &[Vec<u8>]) -> io::Result<usize> {
        let Some((file, size)) = &mut self.file else {
            return io::stdout().lock().write_all(&lines.concat()).map(|()| lines.len());
        };
        let mut after = *size;
        let fits = |line: &&Vec<u8>| {
            after += line.len() as u64;
            after <= self.options.max_bytes
        };
        match lines.iter().take_while(fits).count() {
            0 if *size > 0 => {
                self.file = Some(turn(&self.options)?);
                Ok(0)
            }
            fitting => {
                // A line that is larger than a file is has one of its own.
                let text = lines[..fitting.max(1)].concat();
                file.write_all(&text)?;
                *size += text.len() as u64;
                Ok(fitting.max(1))
            }
        }
    }
}

fn append(path: &Path) -> io::Result<(File, u64)> {
    use std::os::unix::fs::OpenOptionsExt;
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Puts the file aside under the time, removes old ones, and begins a new one.
fn turn(options: &LogOptions) -> io::Result<(File, u64)> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H-%M-%S%.3f").to_string();
    fs::rename(&options.path, beside(&options.path, &now))?;
    for old in superseded(options, SystemTime::now())? {
        fs::remove_file(old)?;
    }
    append(&options.path)
}

/// `audit.log` with the time becomes `audit-TIME.log`.
fn beside(path: &Path, time: &str) -> PathBuf {
    let (stem, ending) = parts(path);
    path.with_file_name(format!("{stem}-{time}{ending}"))
}

fn parts(path: &Path) -> (String, String) {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let ending = text(path.extension());
    (text(path.file_stem()), if ending.is_empty() { ending } else { format!(".{ending}") })
}

/// The turned files that are too many or too old.
fn superseded(options: &LogOptions, now: SystemTime) -> io::Result<Vec<PathBuf>> {
    let (stem, ending) = parts(&options.path);
    let dir = options.path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut turned = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let time = name.strip_prefix(&format!("{stem}-")).and_then(|rest| rest.strip_suffix(&ending));
        // Only names that were made here.
        if time.is_some_and(|time| time.len() == "2026-01-01T00-00-00.000".len() && time.contains('T')) {
            turned.push((name, entry.path(), entry.metadata()?.modified()?));
        }
    }
    turned.sort_by(|one, other| other.0.cmp(&one.0));
    let too_old = |modified: SystemTime| {
        options.max_days > 0 && now.duration_since(modified).is_ok_and(|age| age > DAY * options.max_days)
    };
    let too_many = |index: usize| options.max_backups > 0 && index >= options.max_backups;
    let old = turned.into_iter().enumerate().filter(|(index, (.., modified))| too_many(*index) || too_old(*modified));
    Ok(old.map(|(_, (_, path, _))| path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_turned_and_old_ones_removed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("logs/audit.log");
        let options = LogOptions { path: path.clone(), max_bytes: 10, max_backups: 2, max_days: 0 };
        let mut writer = Writer::open(options.clone()).expect("opened");
        for n in 0..3 {
            fs::write(beside(&path, &format!("2020-01-0{n}T00-00-00.000")), "old").expect("written");
        }
        fs::write(path.with_file_name("audit-mine.log"), "mine").expect("written");
        writer.write(&["1234\n", "5678\n", "abcdefgh\n"].map(bytes)).expect("written");
        let mut names: Vec<String> = fs::read_dir(dir.path().join("logs"))
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!((names.len(), names[0].as_str()), (4, "audit-2020-01-02T00-00-00.000.log"), "{names:?}");
        assert!(names.contains(&"audit-mine.log".to_owned()));
        assert_eq!(fs::read_to_string(&path).expect("the log"), "abcdefgh\n");
        let turned = names.iter().find(|name| name.contains("-20") && !name.contains("2020")).expect("turned");
        assert_eq!(fs::read_to_string(path.with_file_name(turned)).expect("the log"), "1234\n5678\n");
        let old = LogOptions { max_days: 1, max_backups: 0, ..options };
        assert_eq!(superseded(&old, SystemTime::now() + DAY * 2).expect("listed").len(), 2);
    }

    #[test]
    fn a_line_longer_than_a_file_may_be_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("audit.log");
        let options = LogOptions { path: path.clone(), max_bytes: 10, max_backups: 0, max_days: 0 };
        let mut writer = Writer::open(options).expect("opened");
        writer.write(&["longer than a file may be\n", "ab\n"].map(bytes)).expect("written");
        assert_eq!(fs::read_to_string(&path).expect("the log"), "ab\n");
        assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2);
    }

    fn bytes(line: &str) -> Vec<u8> {
        line.as_bytes().to_vec()
    }
}
