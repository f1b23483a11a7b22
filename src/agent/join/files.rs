//! What a node keeps of its joining: `tls/ca.crt`, `tls/kubelet-client.key`, `tls/kubelet-client.crt`. The key is there first and stays.

use super::{
    certificate::{self, Certificate},
    failure::JoinError,
};
use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

#[derive(Debug, Clone)]
pub(super) struct Files {
    dir: PathBuf,
}

impl Files {
    pub(super) fn new(dir: &Path) -> Files {
        Files { dir: dir.join("tls") }
    }

    /// The CA and the node's certificate, if there are both.
    pub(super) fn held(&self) -> Result<Option<(String, Certificate)>, JoinError> {
        let (ca, cert, key) =
            (self.read("ca.crt")?, self.read("kubelet-client.crt")?, self.read("kubelet-client.key")?);
        let (Some(ca), Some(cert), Some(key)) = (ca, cert, key) else { return Ok(None) };
        Ok(Certificate::read(cert, key).map(|certificate| (ca, certificate)))
    }

    /// The node's key, made the first time.
    pub(super) fn key(&self) -> Result<String, JoinError> {
        if let Some(key) = self.read("kubelet-client.key")? {
            return Ok(key);
        }
        let key = certificate::new_key()?;
        self.write("kubelet-client.key", &key, 0o600)?;
        Ok(key)
    }

    pub(super) fn save(&self, ca_pem: &str, certificate: &Certificate) -> Result<(), JoinError> {
        self.write("ca.crt", ca_pem, 0o644)?;
        self.write("kubelet-client.crt", &certificate.cert_pem, 0o644)
    }

    fn read(&self, name: &str) -> Result<Option<String>, JoinError> {
        let path = self.dir.join(name);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(JoinError::File { action: "read", path, source }),
        }
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<(), JoinError> {
        let path = self.dir.join(name);
        let written =
            DirBuilder::new().recursive(true).mode(0o700).create(&self.dir).and_then(|()| replace(&path, text, mode));
        written.map_err(|source| JoinError::File { action: "write", path, source })
    }
}

/// The file is there whole or not at all.
pub(super) fn replace(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_stays_and_is_private() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files::new(dir.path());
        assert_eq!(files.held().expect("readable"), None);
        let key = files.key().expect("a key");
        assert_eq!(files.key().expect("the same"), key);
        let mode = |name: &str| fs::metadata(dir.path().join(name)).expect(name).permissions().mode() & 0o777;
        assert_eq!((mode("tls"), mode("tls/kubelet-client.key")), (0o700, 0o600));
    }
}
