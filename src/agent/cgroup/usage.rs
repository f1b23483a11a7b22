//! What a control group has used so far.

use super::{MOUNT, Version, relative, version};
use std::{
    fs,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub cpu_nanoseconds: u64,
    pub memory_bytes: u64,
    /// Memory without what the kernel could take back at once.
    pub working_set_bytes: u64,
    pub rss_bytes: u64,
    pub page_faults: u64,
    pub major_page_faults: u64,
    pub pids: u64,
}

/// The usage of a group: a pod's parent, or `/` for the whole machine. `None` when it does not exist.
pub fn usage_at(parent: &str) -> Option<Usage> {
    match version() {
        Version::V1 => usage_v1(&relative(parent)),
        Version::V2 => usage_v2(&Path::new(MOUNT).join(relative(parent))),
    }
}

fn number(file: PathBuf) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// A value of a file with lines `key value`.
fn keyed(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    line.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

fn usage_v1(relative: &Path) -> Option<Usage> {
    let at = |controller: &str, file: &str| Path::new(MOUNT).join(controller).join(relative).join(file);
    let cpu_nanoseconds = number(at("cpuacct", "cpuacct.usage"))?;
    let memory_bytes = number(at("memory", "memory.usage_in_bytes")).unwrap_or_default();
    let stat = fs::read_to_string(at("memory", "memory.stat")).unwrap_or_default();
    Some(Usage {
        cpu_nanoseconds,
        memory_bytes,
        working_set_bytes: memory_bytes.saturating_sub(keyed(&stat, "total_inactive_file")),
        rss_bytes: keyed(&stat, "total_rss"),
        page_faults: keyed(&stat, "total_pgfault"),
        major_page_faults: keyed(&stat, "total_pgmajfault"),
        pids: number(at("pids", "pids.current")).unwrap_or_default(),
    })
}

/// What of the machine's memory is not free. Version 2 counts nothing for the group of everything.
fn used_of_machine(meminfo: &str) -> u64 {
    keyed(meminfo, "MemTotal:").saturating_sub(keyed(meminfo, "MemFree:")).saturating_mul(1024)
}

fn usage_v2(folder: &Path) -> Option<Usage> {
    let cpu = fs::read_to_string(folder.join("cpu.stat")).ok()?;
    let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
    let memory_bytes = number(folder.join("memory.current"))
        .unwrap_or_else(|| used_of_machine(&fs::read_to_string("/proc/meminfo").unwrap_or_default()));
    Some(Usage {
        cpu_nanoseconds: keyed(&cpu, "usage_usec").saturating_mul(1000),
        memory_bytes,
        working_set_bytes: memory_bytes.saturating_sub(keyed(&stat, "inactive_file")),
        rss_bytes: keyed(&stat, "anon"),
        page_faults: keyed(&stat, "pgfault"),
        major_page_faults: keyed(&stat, "pgmajfault"),
        pids: number(folder.join("pids.current")).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::{keyed, used_of_machine};

    #[test]
    fn keys_are_whole_words() {
        let text = "cache 5\ninactive_file 7\ntotal_inactive_file 9\n";
        assert_eq!(keyed(text, "inactive_file"), 7);
        assert_eq!(keyed(text, "total_inactive_file"), 9);
        assert_eq!(keyed(text, "missing"), 0);
    }

    #[test]
    fn the_machine_uses_what_is_not_free() {
        assert_eq!(used_of_machine("MemTotal:       16000 kB\nMemFree:         6000 kB\n"), 10_000 * 1024);
        assert_eq!(used_of_machine(""), 0);
    }
}
