//! Volumes of a pod on this node: set up before its sandbox, refreshed while it runs, torn down after its end.
//!
//! Reading order: [`set_up`] (which kind goes where), one file a kind, [`atomic`] (files that change all at once),
//! [`subpath`] (a part of a volume, safely).
//!
//! Invariant: a mounted file never shows half of a change.
//! Invariant: tearing down never follows a mount or a link out of the pod's own directory.

pub mod atomic;
mod claim;
mod config_map;
mod downward;
mod empty_dir;
mod host_path;
mod ownership;
mod payload;
mod projected;
mod secret;
pub mod storage;
pub mod subpath;
mod token;

pub use token::Tokens;

use crate::{node::Capacity, objects::Leases, pod::facts};
use k8s_openapi::api::core::v1::{Pod, Volume};
use kube::Client;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::{Path, PathBuf},
};

/// In the words of Kubernetes' FailedMount events.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {why}")]
    SetUp { volume: String, why: String },
    #[error("MountVolume.SetUp failed for volume \"{volume}\" : {path}: {source}")]
    Io {
        volume: String,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// What volumes are made from.
pub struct Context<'a> {
    pub pod: &'a Pod,
    /// The pod's own directory.
    pub directory: &'a Path,
    pub leases: &'a Leases,
    pub tokens: &'a Tokens,
    pub client: &'a Client,
    pub capacity: Capacity,
    pub host_ip: &'a str,
    pub pod_ips: &'a [String],
    /// The cluster's CA, which ConfigMaps `kube-root-ca.crt` hold.
    pub ca_pem: &'a str,
}

impl Context<'_> {
    /// As kubelet lays them out: `volumes/kubernetes.io~configmap/name`.
    fn folder(&self, plugin: &str, volume: &str) -> PathBuf {
        self.directory.join("volumes").join(format!("kubernetes.io~{plugin}")).join(volume)
    }

    fn group(&self) -> Option<u32> {
        let context = facts::spec(self.pod).security_context.as_ref()?;
        u32::try_from(context.fs_group?).ok()
    }
}

fn failed(volume: &str) -> impl Fn(String) -> VolumeError {
    move |why| VolumeError::SetUp { volume: volume.to_owned(), why }
}

fn io_failed(volume: &str, path: &Path) -> impl Fn(io::Error) -> VolumeError {
    move |source| VolumeError::Io { volume: volume.to_owned(), path: path.to_owned(), source }
}

/// Sets up all volumes: where each is on the host. Those that are `known` stay where they are; only what is made of files
/// is brought up to date.
pub async fn set_up(
    context: &Context<'_>,
    known: Option<&HashMap<String, PathBuf>>,
) -> Result<HashMap<String, PathBuf>, VolumeError> {
    let mut out = HashMap::new();
    for volume in facts::spec(context.pod).volumes.iter().flatten() {
        let path = match known.and_then(|known| known.get(&volume.name)).filter(|_| !is_of_files(volume)) {
            Some(path) => path.clone(),
            None => set_up_one(context, volume).await?,
        };
        out.insert(volume.name.clone(), path);
    }
    Ok(out)
}

/// The file in a pod's directory that says where its volumes are.
const PLACES: &str = "volumes.json";

/// Keeps where the volumes are, for an agent that starts when nobody can be asked.
///
/// # Errors
/// That of the file.
pub fn remember(directory: &Path, volumes: &HashMap<String, PathBuf>) -> io::Result<()> {
    let file = directory.join(PLACES);
    let places: BTreeMap<_, _> = volumes.iter().collect();
    let text = serde_json::to_vec(&places)?;
    if std::fs::read(&file).is_ok_and(|known| known == text) {
        return Ok(());
    }
    let fresh = directory.join("volumes.new");
    std::fs::write(&fresh, text)?;
    std::fs::rename(fresh, file)
}

/// As [`set_up`] when no server answers: what was set up before stays where it is, and what was in memory and is gone is made
/// anew as far as nobody has to be asked.
///
/// # Errors
/// Also for what cannot be made: Secrets, which are never on the disk, and what no agent has set up before.
pub fn set_up_alone(context: &Context<'_>) -> Result<HashMap<String, PathBuf>, VolumeError> {
    let kept = remembered(context.directory);
    let mut out = HashMap::new();
    for volume in facts::spec(context.pod).volumes.iter().flatten() {
        let path = match kept.get(&volume.name).filter(|path| is_there(volume, path)) {
            Some(path) => path.clone(),
            None => make_alone(context, volume)?,
        };
        out.insert(volume.name.clone(), path);
    }
    Ok(out)
}

/// Where the volumes were set up.
fn remembered(directory: &Path) -> HashMap<String, PathBuf> {
    let places = std::fs::read(directory.join(PLACES)).ok();
    places.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

fn is_there(volume: &Volume, path: &Path) -> bool {
    match &volume.empty_dir {
        Some(source) if empty_dir::is_in_memory(source) => empty_dir::is_mount_point(path),
        _ if is_of_files(volume) => path.join(atomic::DATA).exists(),
        _ => path.exists(),
    }
}

fn make_alone(context: &Context<'_>, volume: &Volume) -> Result<PathBuf, VolumeError> {
    let name = &volume.name;
    if let Some(source) = &volume.projected {
        projected::set_up_alone(context, name, source)
    } else if let Some(source) = &volume.downward_api {
        downward::set_up(context, name, source)
    } else if let Some(source) = &volume.empty_dir {
        empty_dir::set_up(context, name, source)
    } else if let Some(source) = &volume.host_path {
        host_path::set_up(name, source)
    } else {
        Err(not_kept(name))
    }
}

/// What a volume holds is with the servers only.
fn not_kept(volume: &str) -> VolumeError {
    failed(volume)("no server answers, and the node does not keep what is in it".to_owned())
}

fn is_of_files(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

async fn set_up_one(context: &Context<'_>, volume: &Volume) -> Result<PathBuf, VolumeError> {
    let name = &volume.name;
    if let Some(source) = &volume.config_map {
        return config_map::set_up(context, name, source).await;
    }
    if let Some(source) = &volume.secret {
        return secret::set_up(context, name, source).await;
    }
    if let Some(source) = &volume.projected {
        return projected::set_up(context, name, source).await;
    }
    if let Some(source) = &volume.downward_api {
        return downward::set_up(context, name, source);
    }
    if let Some(source) = &volume.empty_dir {
        return empty_dir::set_up(context, name, source);
    }
    if let Some(source) = &volume.host_path {
        return host_path::set_up(name, source);
    }
    if let Some(source) = &volume.persistent_volume_claim {
        return claim::set_up(context, name, &source.claim_name).await;
    }
    if volume.ephemeral.is_some() {
        let claim = format!("{}-{name}", facts::name(context.pod));
        return claim::set_up(context, name, &claim).await;
    }
    let known = serde_json::to_value(volume).unwrap_or_default();
    let kind = known.as_object().and_then(|map| map.keys().find(|key| *key != "name").cloned()).unwrap_or_default();
    match kind.is_empty() {
        // A volume without a source is an empty directory.
        true => empty_dir::set_up(context, name, &Default::default()),
        false => Err(failed(name)(format!("volumes of type {kind} are not supported on this node"))),
    }
}

/// Unmounts and removes what a pod's volumes were. What is mounted from elsewhere is only unmounted.
pub fn tear_down(directory: &Path) -> io::Result<()> {
    for mount in mounts_below(directory) {
        // Lazily: a process that still sits in it must not keep the pod from ending.
        if let Err(error) =
            nix::mount::umount2(&mount, nix::mount::MntFlags::MNT_DETACH | nix::mount::MntFlags::UMOUNT_NOFOLLOW)
        {
            tracing::warn!(path = %mount.display(), %error, "cannot unmount");
        }
    }
    if let Some(left) = mounts_below(directory).first() {
        return Err(io::Error::other(format!("{} is still mounted", left.display())));
    }
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Mount points in a directory, the innermost first.
fn mounts_below(directory: &Path) -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescape).collect();
    found.retain(|path| path.starts_with(directory));
    found.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    found
}

/// The kernel writes blanks and backslashes in octal.
fn unescape(text: &str) -> PathBuf {
    let mut out = Vec::new();
    let bytes = text.as_bytes();
    let mut i = 0;
    while i < bytes.len() {
        let octal = bytes.get(i + 1..i + 4).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()).filter(|_| bytes[i] == b'\\') {
            Some(byte) => {
                out.push(byte);
                i += 4;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(out).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_found_again_if_they_are_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let volumes = HashMap::from([("data".to_owned(), dir.path().join("data"))]);
        assert_eq!(remembered(dir.path()), HashMap::new());
        remember(dir.path(), &volumes).expect("written");
        assert_eq!(remembered(dir.path()), volumes);

        let volume = |source: &str| {
            let source: serde_json::Value = serde_json::from_str(source).expect("it is one");
            let mut volume = serde_json::json!({"name": "v"});
            volume.as_object_mut().expect("one").extend(source.as_object().cloned().expect("one"));
            serde_json::from_value::<Volume>(volume).expect("a volume")
        };
        let path = dir.path().join("v");
        let [on_disk, in_memory, of_files] =
            [r#"{"emptyDir":{}}"#, r#"{"emptyDir":{"medium":"Memory"}}"#, r#"{"projected":{}}"#].map(volume);
        assert!(!is_there(&on_disk, &path));
        std::fs::create_dir_all(&path).expect("made");
        assert!(is_there(&on_disk, &path));
        assert!(!is_there(&in_memory, &path), "what was mounted there is gone");
        assert!(!is_there(&of_files, &path), "it was in memory, and is empty");
        std::fs::create_dir(path.join(atomic::DATA)).expect("made");
        assert!(is_there(&of_files, &path));
    }

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescape("/a\\040b/c\\134d"), Path::new("/a b/c\\d"));
    }
}
