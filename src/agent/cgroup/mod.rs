//! Control groups of pods, version 1 and 2: where they are, their limits, what they use.
//!
//! The layout is Kubernetes': `/kubepods/{burstable,besteffort}/pod<uid>`, guaranteed pods directly below `/kubepods`. The
//! runtime makes the groups of containers below those of pods.

mod usage;

pub use usage::{Usage, usage_at};

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::OnceLock,
};

const MOUNT: &str = "/sys/fs/cgroup";
/// Controllers whose limits a pod has.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V2,
}

pub fn version() -> Version {
    static VERSION: OnceLock<Version> = OnceLock::new();
    *VERSION.get_or_init(|| match Path::new(MOUNT).join("cgroup.controllers").exists() {
        true => Version::V2,
        false => Version::V1,
    })
}

/// Whether systemd owns the tree, so that groups are made through it.
pub fn systemd_driver() -> bool {
    version() == Version::V2 && Path::new("/run/systemd/system").exists()
}

/// CAP_SYS_RESOURCE (24) in the effective set.
pub fn may_lower_oom_score() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let effective = effective.and_then(|text| u64::from_str_radix(text.trim(), 16).ok());
    effective.is_none_or(|set| set & (1 << 24) != 0)
}

/// What a pod as a whole may use; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    pub cpu_shares: Option<u64>,
    /// Microseconds in each period of 100 ms.
    pub cpu_quota: Option<i64>,
    pub memory: Option<i64>,
    pub pids: Option<i64>,
}

/// The class of a pod by its requests and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl QosClass {
    pub fn name(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }
}

/// What the runtime is told: a path for the cgroupfs driver, a slice for systemd's.
pub fn parent_of(class: QosClass, uid: &str) -> String {
    let middle = match class {
        QosClass::Guaranteed => None,
        QosClass::Burstable => Some("burstable"),
        QosClass::BestEffort => Some("besteffort"),
    };
    let systemd = systemd_driver();
    match (systemd, middle) {
        (false, None) => format!("/kubepods/pod{uid}"),
        (false, Some(middle)) => format!("/kubepods/{middle}/pod{uid}"),
        (true, None) => format!("kubepods-pod{}.slice", uid.replace('-', "_")),
        (true, Some(middle)) => format!("kubepods-{middle}-pod{}.slice", uid.replace('-', "_")),
    }
}

/// Where a parent is in the file system; `kubepods-burstable-podX.slice` lies in the slices its name is made of.
fn relative(parent: &str) -> PathBuf {
    let Some(slice) = parent.strip_suffix(".slice") else { return parent.trim_start_matches('/').into() };
    let mut path = PathBuf::new();
    let mut name = String::new();
    for part in slice.split('-') {
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        path.push(format!("{name}.slice"));
    }
    path
}

/// The folders of a group: one, or in version 1 one for each controller.
fn folders(parent: &str) -> Vec<PathBuf> {
    let relative = relative(parent);
    match version() {
        Version::V2 => vec![Path::new(MOUNT).join(relative)],
        Version::V1 => {
            let mounted = |controller: &&&str| Path::new(MOUNT).join(controller).is_dir();
            let all = [
                "cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "devices", "freezer", "hugetlb", "systemd",
                "net_cls",
            ];
            let mut out: Vec<PathBuf> = Vec::new();
            for controller in all.iter().filter(mounted) {
                let folder = Path::new(MOUNT).join(controller);
                // cpu and cpuacct are often links to one mount.
                let folder = fs::canonicalize(&folder).unwrap_or(folder).join(&relative);
                if !out.contains(&folder) {
                    out.push(folder);
                }
            }
            out
        }
    }
}

/// Makes a pod's group with its limits. What the kernel does not offer is left out.
pub fn create(parent: &str, limits: Limits) -> io::Result<()> {
    match version() {
        Version::V2 => {
            let relative = relative(parent);
            let mut folder = PathBuf::from(MOUNT);
            for part in &relative {
                enable_controllers(&folder)?;
                folder.push(part);
                create_dir(&folder)?;
            }
            enable_controllers(&folder)?;
        }
        Version::V1 => {
            let made = Path::new(MOUNT).join("cpuset").join(relative(parent));
            create_cpuset(&made)?;
            for controller in CONTROLLERS {
                let top = Path::new(MOUNT).join(controller);
                if top.is_dir() {
                    fs::create_dir_all(top.join(relative(parent)))?;
                }
            }
        }
    }
    set_limits(parent, limits);
    Ok(())
}

fn create_dir(folder: &Path) -> io::Result<()> {
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// A cpuset without processors and memories holds no process: new ones take over their parent's.
fn create_cpuset(folder: &Path) -> io::Result<()> {
    let top = Path::new(MOUNT).join("cpuset");
    if !top.is_dir() {
        return Ok(());
    }
    let Ok(relative) = folder.strip_prefix(&top) else { return Ok(()) };
    let mut at = top.clone();
    for part in relative {
        let above = at.clone();
        at.push(part);
        create_dir(&at)?;
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let has = fs::read_to_string(at.join(file)).is_ok_and(|text| !text.trim().is_empty());
            if !has && let Ok(text) = fs::read_to_string(above.join(file)) {
                write(&at.join(file), text.trim());
            }
        }
    }
    Ok(())
}

fn enable_controllers(folder: &Path) -> io::Result<()> {
    let offered = fs::read_to_string(folder.join("cgroup.controllers"))?;
    let enabled = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
    let has = |list: &str, name: &str| list.split_whitespace().any(|word| word == name);
    for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
        if !has(&offered, controller) || has(&enabled, controller) {
            continue;
        }
        let file = folder.join("cgroup.subtree_control");
        if let Err(error) = fs::write(&file, format!("+{controller}")) {
            // A group with processes of its own (mk8s in a container) hands them to a child first.
            if error.raw_os_error() == Some(libc::EBUSY) {
                evacuate(folder)?;
                fs::write(&file, format!("+{controller}"))?;
            } else {
                tracing::debug!(controller, folder = %folder.display(), %error, "a controller cannot be enabled");
            }
        }
    }
    Ok(())
}

fn evacuate(folder: &Path) -> io::Result<()> {
    let refuge = folder.join("init");
    create_dir(&refuge)?;
    for pid in fs::read_to_string(folder.join("cgroup.procs"))?.lines() {
        // Kernel threads stay where they are.
        write(&refuge.join("cgroup.procs"), pid);
    }
    Ok(())
}

/// Sets the limits of a group that exists.
pub fn set_limits(parent: &str, limits: Limits) {
    let relative = relative(parent);
    let quota = limits.cpu_quota.unwrap_or(-1);
    match version() {
        Version::V1 => {
            let at = |controller: &str, file: &str| Path::new(MOUNT).join(controller).join(&relative).join(file);
            if let Some(shares) = limits.cpu_shares {
                write(&at("cpu", "cpu.shares"), &shares.to_string());
            }
            if limits.cpu_quota.is_some() {
                write(&at("cpu", "cpu.cfs_period_us"), "100000");
                write(&at("cpu", "cpu.cfs_quota_us"), &quota.to_string());
            }
            if let Some(memory) = limits.memory {
                write(&at("memory", "memory.limit_in_bytes"), &memory.to_string());
            }
            if let Some(pids) = limits.pids {
                write(&at("pids", "pids.max"), &pids.to_string());
            }
        }
        Version::V2 => {
            let at = |file: &str| Path::new(MOUNT).join(&relative).join(file);
            if let Some(shares) = limits.cpu_shares {
                write(&at("cpu.weight"), &weight_of(shares).to_string());
            }
            if limits.cpu_quota.is_some() {
                write(&at("cpu.max"), &format!("{quota} 100000"));
            }
            if let Some(memory) = limits.memory {
                write(&at("memory.max"), &memory.to_string());
            }
            if let Some(pids) = limits.pids {
                write(&at("pids.max"), &pids.to_string());
            }
        }
    }
}

/// Version 2's weight (1 to 10000) of version 1's shares (2 to 262144).
fn weight_of(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9999 / 262_142
}

fn write(file: &Path, text: &str) {
    if let Err(error) = fs::write(file, text) {
        tracing::debug!(file = %file.display(), text, %error, "a control group setting was refused");
    }
}

/// Removes a pod's group and the empty groups in it. A group that is still used stays.
pub fn remove(parent: &str) {
    for folder in folders(parent) {
        remove_tree(&folder);
    }
}

fn remove_tree(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    if let Err(error) = fs::remove_dir(folder) {
        tracing::debug!(folder = %folder.display(), %error, "a control group stays");
    }
}

/// Uids of pods that have a group.
pub fn pods() -> Vec<String> {
    if systemd_driver() {
        return Vec::new();
    }
    let top = match version() {
        Version::V2 => Path::new(MOUNT).join("kubepods"),
        Version::V1 => Path::new(MOUNT).join("memory/kubepods"),
    };
    let names = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let all = names(top.clone()).chain(names(top.join("burstable"))).chain(names(top.join("besteffort")));
    all.filter_map(|name| name.to_string_lossy().strip_prefix("pod").map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_nested() {
        assert_eq!(
            relative("kubepods-burstable-podab_c.slice"),
            Path::new("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podab_c.slice")
        );
        assert_eq!(relative("/kubepods/burstable/podx"), Path::new("kubepods/burstable/podx"));
    }

    #[test]
    fn shares_become_weights() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 39), (262_144, 10000)] {
            assert_eq!(weight_of(shares), weight);
        }
    }
}
