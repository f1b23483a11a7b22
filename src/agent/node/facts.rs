//! What the machine is: processors, memory, disk, names and versions.

use nix::sys::statvfs::statvfs;
use std::{fs, path::Path};

/// What pods can be given, before anything is kept back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    pub milli_cpu: i64,
    pub memory: i64,
    /// Bytes of the disk that the data directory is on.
    pub storage: i64,
    pub pods: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Machine {
    pub capacity: Capacity,
    /// Bytes of huge pages by size as in resource names (`2Mi`).
    pub hugepages: Vec<(String, i64)>,
    pub machine_id: String,
    pub system_uuid: String,
    pub boot_id: String,
    pub kernel: String,
    pub os_image: String,
    pub hostname: String,
}

fn line(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

impl Machine {
    pub fn look(disk: &Path, max_pods: u32) -> Machine {
        let boot_id = line("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let machine_id = line("/etc/machine-id").or_else(|| line("/var/lib/dbus/machine-id")).unwrap_or_default();
        let system_uuid = line("/sys/class/dmi/id/product_uuid").unwrap_or_else(|| machine_id.clone());
        let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1));
        Machine {
            capacity: Capacity {
                milli_cpu: processors * 1000,
                memory: memory_total(&fs::read_to_string("/proc/meminfo").unwrap_or_default()),
                storage: disk_size(disk),
                pods: i64::from(max_pods),
            },
            hugepages: hugepages(),
            machine_id,
            system_uuid,
            boot_id,
            kernel: line("/proc/sys/kernel/osrelease").unwrap_or_default(),
            os_image: os_image(&fs::read_to_string("/etc/os-release").unwrap_or_default()),
            hostname,
        }
    }
}

fn memory_total(meminfo: &str) -> i64 {
    kilobytes(meminfo, "MemTotal:") * 1024
}

pub(super) fn memory_available() -> i64 {
    kilobytes(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemAvailable:") * 1024
}

fn kilobytes(meminfo: &str, key: &str) -> i64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(key));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[allow(clippy::unnecessary_cast)] // the fields' width depends on the platform
fn disk_size(disk: &Path) -> i64 {
    statvfs(disk).map_or(0, |fs| i64::try_from(fs.blocks() as u64 * fs.fragment_size() as u64).unwrap_or(i64::MAX))
}

/// Free share of the disk's bytes and inodes, in percent.
#[allow(clippy::unnecessary_cast)]
pub(super) fn disk_free(disk: &Path) -> (u64, u64) {
    let share = |free: u64, total: u64| (free * 100).checked_div(total).unwrap_or(100);
    statvfs(disk).map_or((100, 100), |fs| {
        (share(fs.blocks_available() as u64, fs.blocks() as u64), share(fs.files_available() as u64, fs.files() as u64))
    })
}

/// How many more processes fit, in percent of the most.
pub(super) fn pids_free() -> u64 {
    let max = line("/proc/sys/kernel/pid_max").and_then(|text| text.parse::<u64>().ok()).unwrap_or(32768);
    let used =
        line("/proc/loadavg").and_then(|text| text.split_whitespace().nth(3)?.split('/').nth(1)?.parse::<u64>().ok());
    used.map_or(100, |used| max.saturating_sub(used) * 100 / max.max(1))
}

fn hugepages() -> Vec<(String, i64)> {
    let mut out = Vec::new();
    for entry in fs::read_dir("/sys/kernel/mm/hugepages").into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let kilobytes = name.strip_prefix("hugepages-").and_then(|rest| rest.strip_suffix("kB")?.parse::<i64>().ok());
        let Some(kilobytes) = kilobytes else { continue };
        let count =
            line(&entry.path().join("nr_hugepages").to_string_lossy()).and_then(|text| text.parse::<i64>().ok());
        let size =
            if kilobytes >= 1 << 20 { format!("{}Gi", kilobytes >> 20) } else { format!("{}Mi", kilobytes >> 10) };
        out.push((size, count.unwrap_or_default() * kilobytes * 1024));
    }
    out.sort();
    out
}

fn os_image(os_release: &str) -> String {
    let value = os_release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    value.map_or_else(|| "Linux".to_owned(), |value| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_kernel_are_read() {
        assert_eq!(memory_total("MemTotal:       1024 kB\nMemFree: 5 kB\n"), 1 << 20);
        assert_eq!(memory_total("nonsense"), 0);
        assert_eq!(
            os_image("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
            "Debian GNU/Linux 12 (bookworm)"
        );
    }
}
