//! How a witness stays small beside what it keeps of the log.
//!
//! Most of the executable is for other servers, and most of what a witness needs of it only its start needs: code and
//! constants that are not used leave memory. What is free is given back at once, and not kept for the next burst.

use std::{
    ffi::c_void,
    fs, io,
    os::unix::process::CommandExt,
    process::Command,
    ptr::{NonNull, with_exposed_provenance_mut},
    time::Duration,
};

use nix::sys::mman::{MmapAdvise, madvise};

/// Starts this program once more in its own place, unless it is told already to give memory back as soon as it is free:
/// the allocator reads that before anything else runs, and keeps what was free for a while otherwise.
pub fn give_back_at_once() {
    const DELAY: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(DELAY).is_some() {
        return;
    }
    let mut arguments = std::env::args_os();
    if let (Ok(program), Some(name)) = (std::env::current_exe(), arguments.next()) {
        // It comes back only when it fails, and then a witness is larger.
        drop(Command::new(program).arg0(name).args(arguments).env(DELAY, "0").exec());
    }
}

/// Now and then leaves out of memory what is in the executable's file as well; what is used is there again at once, out of
/// the page cache.
pub(super) async fn leave_out_unused() {
    let mut ticks = tokio::time::interval(Duration::from_secs(2));
    loop {
        ticks.tick().await;
        if let Err(error) = leave_out() {
            tracing::debug!(%error, "code that is not used stays in memory");
        }
    }
}

fn leave_out() -> io::Result<()> {
    for (start, length) in fs::read_to_string("/proc/self/maps")?.lines().filter_map(unwritten) {
        let Some(start) = NonNull::new(with_exposed_provenance_mut::<c_void>(start)) else { continue };
        // SAFETY: the kernel has just named this mapping of a file. Nothing ever wrote to it, and none of it is unloaded, so
        // its pages are the file's whenever they are read again.
        #[allow(unsafe_code)]
        unsafe {
            madvise(start, length, MmapAdvise::MADV_DONTNEED)?;
        }
    }
    Ok(())
}

/// Start and length of a mapping, if it is a program's code, or the constants at the beginning of its file: the loader writes
/// to what comes behind the code, and only then makes that read-only.
fn unwritten(mapping: &str) -> Option<(usize, usize)> {
    let mut fields = mapping.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let (access, offset, file) = (fields.next()?, fields.next()?, fields.nth(2)?);
    let number = |text: &str| usize::from_str_radix(text, 16).ok();
    if !(access == "r-xp" || access == "r--p" && number(offset)? == 0) || !file.starts_with('/') {
        return None;
    }
    let start = number(start)?;
    Some((start, number(end)?.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_wrote_to_is_left_out() {
        let table = [
            (
                "55d0a0000000-55d0a0002000 r-xp 00001000 fe:00 1234                       /usr/local/bin/mk8s",
                Some(0x2000),
            ),
            (
                "55d0a0000000-55d0a0002000 r--p 00000000 fe:00 1234                       /usr/local/bin/mk8s",
                Some(0x2000),
            ),
            ("55d0a0000000-55d0a0002000 r--p 00003000 fe:00 1234                       /usr/local/bin/mk8s", None),
            ("55d0a0000000-55d0a0002000 rw-p 00001000 fe:00 1234                       /usr/local/bin/mk8s", None),
            ("7ffd0a000000-7ffd0a002000 r-xp 00000000 00:00 0                          [vdso]", None),
            ("7f0000000000-7f0000001000 r-xp 00000000 00:00 0", None),
            ("", None),
        ];
        for (mapping, expected) in table {
            assert_eq!(unwritten(mapping).map(|(_, length)| length), expected, "{mapping}");
        }
    }

    #[test]
    fn what_runs_goes_on() {
        let resident = || -> u64 {
            let status = fs::read_to_string("/proc/self/status").expect("readable");
            let line = status.lines().find(|line| line.starts_with("RssFile:")).expect("a line");
            line.split_ascii_whitespace().nth(1).and_then(|size| size.parse().ok()).expect("a size")
        };
        let before = resident();
        leave_out().expect("the kernel takes it");
        assert!(resident() < before, "{before} kB before, {} kB after", resident());
    }
}
