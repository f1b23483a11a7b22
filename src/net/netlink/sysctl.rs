//! Network sysctls of the current network namespace.

use super::NetlinkError;

/// Writes `/proc/sys/net/KEY` unless it holds the value already (a read-only /proc is fine then).
pub fn set(key: &str, value: &str) -> Result<(), NetlinkError> {
    let path = format!("/proc/sys/net/{key}");
    if std::fs::read_to_string(&path).is_ok_and(|current| current.trim() == value) {
        return Ok(());
    }
    std::fs::write(&path, value).map_err(|source| NetlinkError::Sysctl { path, source })
}

/// Reads `/proc/sys/net/KEY`, if there is such a key.
pub fn get(key: &str) -> Option<String> {
    std::fs::read_to_string(format!("/proc/sys/net/{key}")).ok().map(|value| value.trim().to_owned())
}
