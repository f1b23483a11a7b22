//! The log of containerd, kept short.
//!
//! containerd never opens its log again, but appends to it: so what is there is copied away, and the file emptied. A line
//! that is written between the two is lost.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

/// One file of this size, and one older one, is what the log takes.
const LIMIT_BYTES: u64 = 10 << 20;
const LOOK: Duration = Duration::from_secs(60);

/// Looks at the log until it is dropped.
pub(super) async fn keep_short(log: PathBuf) {
    loop {
        tokio::time::sleep(LOOK).await;
        let path = log.clone();
        let outcome = tokio::task::spawn_blocking(move || shorten(&path, LIMIT_BYTES)).await;
        if let Ok(Err(error)) = outcome {
            tracing::warn!(log = %log.display(), %error, "the log of containerd cannot be shortened");
        }
    }
}

/// Moves what the log holds to `<log>.1`, in place of what was there, when it is more than `limit` bytes.
fn shorten(log: &Path, limit: u64) -> io::Result<()> {
    if fs::metadata(log)?.len() <= limit {
        return Ok(());
    }
    let old = log.with_extension("log.1");
    let copy = log.with_extension("log.part");
    fs::copy(log, &copy)?;
    fs::rename(&copy, &old)?;
    fs::OpenOptions::new().write(true).open(log)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_long_log_becomes_the_old_one() {
        let folder = tempfile::tempdir().expect("a directory");
        let log = folder.path().join("containerd.log");
        // As containerd has it: open all the time, for appending.
        let mut open = fs::OpenOptions::new().create(true).append(true).open(&log).expect("opens");
        let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
        let old = folder.path().join("containerd.log.1");
        for (line, limit, log_then, old_then) in [
            ("one\n", 10, "one\n", ""),
            ("two\n", 6, "", "one\ntwo\n"),
            ("three\n", 6, "three\n", "one\ntwo\n"),
            ("4\n", 6, "", "three\n4\n"),
        ] {
            open.write_all(line.as_bytes()).expect("writes");
            shorten(&log, limit).expect("works");
            assert_eq!((read(&log).as_str(), read(&old).as_str()), (log_then, old_then));
        }
        assert_eq!(fs::read_dir(&folder).expect("reads").count(), 2, "nothing else is left behind");
    }
}
