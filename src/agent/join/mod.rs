//! How a machine becomes a node of a cluster that is there.
//!
//! ```text
//! which CA? ─▶ the token's hash says that it is the right one ─▶ TLS with that CA, the token's secret
//!   ─▶ a certificate for the node's name, signed for a key that stays here ─▶ the cluster's networks ─▶ an ordinary start
//! ```
//!
//! Reading order: [`join`], then [`server`] (what is asked of the server), [`certificate`] (key, request, renewal), [`files`],
//! [`network`].
//!
//! Invariant: nothing secret goes to a server before its CA was compared with the token's hash.
//! Invariant: the key never leaves the machine; the node's name belongs to it.
//! Invariant: a node that has joined needs neither token nor server to start again.

mod certificate;
mod failure;
mod files;
mod network;
mod server;

pub use failure::JoinError;
pub use network::ClusterNetwork;

use crate::Identity;
use certificate::Certificate;
use files::Files;
use kube::Client;
use mk8s_client::{JoinToken, Servers, connect, servers};
use std::{path::PathBuf, time::Duration};
use tokio_util::sync::CancellationToken;

const DELAY_FIRST: Duration = Duration::from_millis(500);
const DELAY_MAX: Duration = Duration::from_secs(10);
/// A certificate that could not be renewed is tried again after this.
const RENEW_AGAIN: Duration = Duration::from_secs(60);

/// Who joins, and what.
#[derive(Debug, Clone)]
pub struct JoinOptions {
    /// `https://host:port` of a server.
    pub server: String,
    /// Needed the first time only.
    pub token: Option<String>,
    /// The agent's own directory, below the data directory.
    pub dir: PathBuf,
    /// Where the servers' addresses are kept.
    pub servers_file: PathBuf,
    pub node_name: String,
}

/// A node with all that it needs to run.
pub struct Joined {
    pub ca_pem: String,
    pub identity: Identity,
    pub servers: Servers,
    pub network: ClusterNetwork,
    options: JoinOptions,
    files: Files,
    certificate: Certificate,
}

/// Joins, or finds that this was done before. Whatever may pass is waited for; `None` when `stop` came first.
///
/// # Errors
/// [`JoinError`] for what waiting does not mend: it says what is wrong and what to do.
pub async fn join(options: JoinOptions, stop: CancellationToken) -> Result<Option<Joined>, JoinError> {
    let mut delay = DELAY_FIRST;
    loop {
        let Some(result) = stop.run_until_cancelled(attempt(&options)).await else { return Ok(None) };
        match result {
            Ok(joined) => return Ok(Some(joined)),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => tracing::warn!(error = failure::chain(&error), "cannot join yet, trying again"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_none() {
            return Ok(None);
        }
        delay = (delay * 2).min(DELAY_MAX);
    }
}

async fn attempt(options: &JoinOptions) -> Result<Joined, JoinError> {
    let files = Files::new(&options.dir);
    let held = files.held()?;
    let usable = held.filter(|(_, certificate)| certificate.is_of(&options.node_name) && certificate.is_good_now());
    let (ca_pem, certificate) = match usable {
        Some((ca_pem, certificate)) => {
            // A token is not needed any more; one of another cluster is a mistake.
            if let Ok(token) = JoinToken::parse(options.token.as_deref())
                && !token.is_of(&ca_pem)
            {
                return Err(JoinError::Used { dir: options.dir.clone() });
            }
            (ca_pem, certificate)
        }
        None => first(options, &files).await?,
    };
    let identity = certificate.identity()?;
    let servers = Servers::kept_in(&options.server, &options.servers_file)?;
    let client = connect::client(&servers, &ca_pem, &identity, "kubelet")?;
    std::fs::create_dir_all(&options.dir).map_err(|source| JoinError::File {
        action: "make",
        path: options.dir.clone(),
        source,
    })?;
    let network = network::learn(&client, &options.dir, &options.server).await?;
    Ok(Joined { ca_pem, identity, servers, network, options: options.clone(), files, certificate })
}

/// The way of a machine that has no certificate.
async fn first(options: &JoinOptions, files: &Files) -> Result<(String, Certificate), JoinError> {
    let token = JoinToken::parse(options.token.as_deref())?;
    let shown = server::look(&options.server).await?;
    if !token.is_of(&shown.ca_pem) {
        return Err(JoinError::OtherCluster { server: options.server.clone() });
    }
    shown.check_clock(jiff::Timestamp::now())?;
    let key = files.key()?;
    let client = connect::client_with_token(&options.server, &shown.ca_pem, &token.secret, "kubelet")?;
    learn_servers(options, &client).await?;
    let refused = |error| shown.explain(error, &token, &options.server);
    let certificate = certificate::ask(&client, &options.server, &options.node_name, key).await.map_err(refused)?;
    files.save(&shown.ca_pem, &certificate)?;
    tracing::info!(server = options.server, node = options.node_name, "joined the cluster");
    Ok((shown.ca_pem, certificate))
}

/// Hears of the other servers before anything else: once it has joined, any of them will do. One that cannot tell is no
/// reason not to join.
async fn learn_servers(options: &JoinOptions, client: &Client) -> Result<(), JoinError> {
    let servers = Servers::kept_in(&options.server, &options.servers_file)?;
    match tokio::time::timeout(server::ANSWER_WITHIN, servers::ask(&servers, client)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "which servers there are is not known yet"),
        Err(_) => tracing::debug!("which servers there are is not known yet"),
    }
    Ok(())
}

impl Joined {
    /// A client with the rights of the node.
    ///
    /// # Errors
    /// Only what is wrong with the certificates.
    pub fn client(&self, program: &'static str) -> Result<kube::Client, JoinError> {
        Ok(connect::client(&self.servers, &self.ca_pem, &self.identity, program)?)
    }

    /// Renews the certificate before it ends, until `stop`. Connections that are made after that show the new one.
    pub async fn keep_fresh(self, stop: CancellationToken) {
        let Joined { ca_pem, identity, servers, options, files, mut certificate, .. } = self;
        loop {
            let wait = certificate.renew_in(jiff::Timestamp::now());
            if stop.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                return;
            }
            if certificate.renew_in(jiff::Timestamp::now()) > Duration::ZERO {
                continue;
            }
            match renew(&options, &servers, &ca_pem, &identity, &certificate, &files).await {
                Ok(fresh) => {
                    tracing::info!(node = options.node_name, "the node's certificate was renewed");
                    certificate = fresh;
                }
                Err(error) => {
                    tracing::warn!(error = failure::chain(&error), "the node's certificate cannot be renewed yet");
                    let _ = stop.run_until_cancelled(tokio::time::sleep(RENEW_AGAIN)).await;
                }
            }
        }
    }
}

async fn renew(
    options: &JoinOptions,
    servers: &Servers,
    ca_pem: &str,
    identity: &Identity,
    old: &Certificate,
    files: &Files,
) -> Result<Certificate, JoinError> {
    let client = connect::client(servers, ca_pem, identity, "kubelet")?;
    let fresh = certificate::ask(&client, &options.server, &options.node_name, old.key_pem.clone()).await?;
    identity.replace(&fresh.cert_pem, &fresh.key_pem)?;
    files.save(ca_pem, &fresh)?;
    Ok(fresh)
}
