//! What a snapshot says of itself, before its content.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::Timestamp;
use mk8s_store::View;
use serde::{Deserialize, Serialize};

use crate::{
    auth::{Pki, PkiError},
    cluster::seal,
};

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct About {
    /// The beginning of the hash of the cluster's CA.
    pub cluster: String,
    /// The server that made it.
    pub server: String,
    /// RFC 3339.
    pub taken: String,
    pub revision: u64,
    pub keys: u64,
    /// The version of mk8s.
    pub version: String,
    /// The cluster's keys, sealed with the secret of its token, in base64: for a machine that has none.
    pub sealed: String,
}

/// Why a snapshot cannot say what it is about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DescribeError {
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// What is written before a view of this server.
pub(crate) fn describe(pki: &Pki, server: &str, view: &View, now: Timestamp) -> Result<Vec<u8>, DescribeError> {
    let keys = serde_json::to_vec(&pki.secrets()?).expect("plain strings become JSON");
    let sealed = seal::seal(pki.join_secret(), &keys);
    let about = About {
        cluster: pki.cluster_name().to_owned(),
        server: server.to_owned(),
        taken: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        revision: view.revision(),
        keys: view.len() as u64,
        version: mk8s_api::version::GIT_VERSION.to_owned(),
        sealed: STANDARD.encode(sealed),
    };
    Ok(serde_json::to_vec(&about).expect("plain fields become JSON"))
}

impl About {
    pub(super) fn read(bytes: &[u8]) -> Option<About> {
        serde_json::from_slice(bytes).ok()
    }

    pub(super) fn sealed_keys(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.sealed).ok()
    }
}
