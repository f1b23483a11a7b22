//! A snapshot becomes a cluster of one server.

use std::path::Path;

use jiff::Timestamp;
use mk8s_client::join_token::{BadToken, JoinToken};

use super::{
    about::About,
    folder::{self, FolderError},
};
use crate::{
    auth::{Pki, PkiError, pki},
    cluster::{
        rebuild::{RebuildError, Rebuilt, rebuild},
        seal,
    },
};

#[derive(Debug, thiserror::Error)]
pub(super) enum RestoreError {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(
        "the snapshot is of the cluster {found}, and {dir} is of the cluster {here}: choose another --data-dir, or remove that one"
    )]
    OtherCluster { found: String, here: String, dir: String },
    #[error(
        "{dir} has no keys of a cluster: give the --token of the snapshot's cluster {cluster} as well, the keys in the snapshot are sealed with it"
    )]
    NoToken { dir: String, cluster: String },
    #[error(transparent)]
    BadToken(#[from] BadToken),
    #[error("the token is of another cluster than the snapshot, which is of {cluster}")]
    OtherToken { cluster: String },
    #[error("the keys in the snapshot cannot be opened with this token: it is not the one of the time of the snapshot")]
    Sealed,
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
}

/// Makes the server's directory one of a cluster that begins with the snapshot.
pub(super) fn restore(
    file: &Path,
    server_dir: &Path,
    token: Option<&str>,
    now: Timestamp,
) -> Result<(About, Rebuilt), RestoreError> {
    mk8s_store::ensure_free(&server_dir.join("store")).map_err(RebuildError::from)?;
    let (about, whole) = folder::read(file)?;
    let dir = server_dir.display().to_string();
    match pki::cluster_of(server_dir)? {
        Some(here) if here == about.cluster => {}
        Some(here) => return Err(RestoreError::OtherCluster { found: about.cluster, here, dir }),
        None => {
            let cluster = about.cluster.clone();
            let token = token.ok_or(RestoreError::NoToken { dir, cluster })?;
            install_keys(&about, token, server_dir)?;
        }
    }
    let rebuilt = rebuild(server_dir, &about.cluster, whole, now)?;
    Ok((about, rebuilt))
}

fn install_keys(about: &About, token: &str, server_dir: &Path) -> Result<(), RestoreError> {
    let token = JoinToken::parse(Some(token))?;
    if !token.ca_hash.starts_with(&about.cluster) {
        return Err(RestoreError::OtherToken { cluster: about.cluster.clone() });
    }
    let sealed = about.sealed_keys().ok_or(RestoreError::Sealed)?;
    let keys = seal::open(&token.secret, &sealed).map_err(|_| RestoreError::Sealed)?;
    let keys = serde_json::from_slice(&keys).map_err(|_| RestoreError::Sealed)?;
    Ok(Pki::install(server_dir, &keys)?)
}
