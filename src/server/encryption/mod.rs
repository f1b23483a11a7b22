//! Secrets, and what else is named, sealed at rest: which kinds, with which key, and when there is one.
//!
//! ```text
//! tls/ca.key ─▶ root ─┐
//! resources ─▶ prefixes ┴▶ mk8s-store seals values under them (`mk8s_store::seal`)
//! leader: every server can ─▶ the first key          mk8s secrets-encrypt rotate ─▶ another key
//! ```
//!
//! The root that seals the key is made of the CA's key, which every server of a cluster has, which joining servers and
//! snapshots carry, and without which a store cannot be used anyway.
//!
//! Reading order: [`resources`], [`command`].
//!
//! Invariant: nothing is sealed before every server has said that it reads sealed values.

mod command;
mod resources;

use std::time::Duration;

use jiff::Timestamp;
use mk8s_store::{CommitError, Sealing, Store, seal::aead};
use tokio_util::sync::CancellationToken;

pub use command::{SecretsEncryptArgs, command};
pub use resources::Resource;
pub(crate) use resources::names;

use crate::{auth::Pki, cluster::members};

/// How often it is looked whether a first key can be made.
const LOOK: Duration = Duration::from_secs(2);

/// What the store is given.
pub(crate) fn sealing(pki: &Pki, resources: &[Resource]) -> Sealing {
    let root = aead::derive(&pki.ca_key_der(), b"mk8s encryption at rest");
    Sealing { root, covered: resources.iter().map(|resource| resource.prefix().into()).collect() }
}

/// Why there is no new key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeyError {
    #[error(
        "the server {name} has not said that it reads sealed values: wait until it has started, upgrade it, or remove it"
    )]
    Older { name: String },
    #[error(transparent)]
    Undecided(#[from] CommitError),
}

/// Makes a key, and seals everything with it from here on. A first key is made only where there is none.
pub(crate) async fn change_key(store: &Store, me: u64, first: bool) -> Result<String, KeyError> {
    let servers = members::all(&store.view());
    if let Some(older) = servers.into_values().find(|server| server.id != me && !server.seals) {
        return Err(KeyError::Older { name: older.name });
    }
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let name = format!("aesgcm-{}-{}", Timestamp::now().strftime("%Y%m%dT%H%M%SZ"), &unique[..8]);
    store.change_key(&name, first).await?;
    Ok(name)
}

/// Makes the first key if it is this server's turn to, and there is something to seal. Says whether that is settled.
pub(crate) async fn begin(store: &Store, me: u64) -> bool {
    if store.seal_status().is_none_or(|status| status.key.is_some() || status.covered.is_empty()) {
        return true;
    }
    if !store.leadership().borrow().here {
        return false;
    }
    match change_key(store, me, true).await {
        Ok(name) => tracing::info!(name, "Secrets are sealed at rest from now on"),
        Err(error) => tracing::debug!(%error, "no key for sealing Secrets is made yet"),
    }
    false
}

/// Sees to it that there is a key, as soon as there can be one.
pub(crate) async fn keep(store: Store, me: u64, stop: CancellationToken) {
    let settled = async {
        while !begin(&store, me).await {
            tokio::time::sleep(LOOK).await;
        }
    };
    stop.run_until_cancelled(settled).await;
}
