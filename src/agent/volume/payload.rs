//! What is written into volumes made of files: relative paths, contents and modes.

use super::{VolumeError, failed};
use k8s_openapi::api::core::v1::{ConfigMap, KeyToPath, Secret};
use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

pub(super) const DEFAULT_MODE: i32 = 0o644;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub bytes: Vec<u8>,
    pub mode: u32,
}

/// By relative path.
pub(super) type Payload = BTreeMap<String, File>;

/// A relative path that stays inside.
pub(super) fn safe(path: &str) -> bool {
    let path = Path::new(path);
    path.components().next().is_some() && path.components().all(|part| matches!(part, Component::Normal(_)))
}

pub(super) fn mode(own: Option<i32>, default: Option<i32>) -> u32 {
    u32::try_from(own.or(default).unwrap_or(DEFAULT_MODE)).unwrap_or(0o644) & 0o777
}

pub(super) fn of_config_map(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten().map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone()));
    text.chain(binary).collect()
}

pub(super) fn of_secret(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// All keys, or those that are listed under other paths.
pub(super) fn project(
    volume: &str,
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&Vec<KeyToPath>>,
    default: Option<i32>,
    optional: bool,
) -> Result<Payload, VolumeError> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let file = |(key, bytes)| (key, File { bytes, mode: mode(None, default) });
        return Ok(data.into_iter().map(file).collect());
    };
    let mut out = Payload::new();
    for item in items {
        if !safe(&item.path) {
            return Err(failed(volume)(format!("invalid path {:?}", item.path)));
        }
        match data.get(&item.key) {
            Some(bytes) => {
                drop(out.insert(item.path.clone(), File { bytes: bytes.clone(), mode: mode(item.mode, default) }))
            }
            None if optional => {}
            None => return Err(failed(volume)(format!("references non-existent config key: {}", item.key))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::safe;

    #[test]
    fn paths_stay_inside() {
        for (path, good) in [("a", true), ("a/b", true), ("..", false), ("a/../b", false), ("/a", false), ("", false)] {
            assert_eq!(safe(path), good, "{path}");
        }
    }
}
