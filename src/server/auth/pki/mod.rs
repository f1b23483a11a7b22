//! The cluster's keys and certificates: made on first start, kept under `<data-dir>/server`, renewed while running.
//!
//! ```text
//! tls/ca.{crt,key}              the cluster CA; signs every leaf below except the front proxy's
//! tls/server.{crt,key}          what port 6443 shows
//! tls/admin, controller, scheduler, agent, peer .{crt,key}   client identities
//! tls/front-proxy-ca, front-proxy .{crt,key}           for extension API servers
//! tls/service-account.key       signs service-account tokens
//! token, admin-token            the join token (it carries the CA's hash), the administrator's bearer token
//! ```
//!
//! Reading order: [`Pki`], then [`authority`] (issuing), [`files`] (atomic, 0600), [`kubeconfig`], [`live`] (the certificate
//! connections see).
//!
//! Invariant: a crash at any moment leaves files the next start accepts or replaces; a CA is never replaced silently.

mod authority;
pub(crate) mod files;
pub mod kubeconfig;
mod live;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use mk8s_client::join_token::{JoinToken, ca_hash};
use parking_lot::RwLock;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{authority::Authority, live::LiveCertificate};
use super::{MASTERS, NODE_PREFIX, NODES, tokens::SigningKey};
use crate::cluster::SERVERS;

pub use self::authority::{Leaf, Subject, Usage};

/// The files that every server of the cluster has alike.
const SHARED: [&str; 7] = [
    "tls/service-account.key",
    "tls/front-proxy-ca.key",
    "tls/front-proxy-ca.crt",
    "admin-token",
    "token",
    "tls/ca.key",
    "tls/ca.crt",
];

/// How often certificates are looked at.
const CHECK_EVERY: Duration = Duration::from_secs(3600);

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{path} is not a usable {what}: {why}; restore it from a backup, or remove it together with its .key/.crt twin to have a new one made"
    )]
    Unusable { path: PathBuf, what: &'static str, why: String },
    #[error("cannot make a certificate for {name}")]
    Issue {
        name: String,
        #[source]
        source: rcgen::Error,
    },
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    #[error("--token: {0}")]
    Token(String),
}

/// What certificates are made for.
#[derive(Debug, Clone)]
pub struct PkiOptions {
    /// `<data-dir>/server`.
    pub dir: PathBuf,
    pub node_name: String,
    pub node_ip: IpAddr,
    /// The first address of the service network: the `kubernetes` Service.
    pub service_ip: IpAddr,
    pub cluster_domain: String,
    /// Further host names and addresses of the server.
    pub tls_sans: Vec<String>,
    /// The join token's secret as given by the user; made when absent.
    pub token: Option<String>,
}

/// The identities a server holds certificates for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Server,
    Admin,
    Controller,
    Scheduler,
    Agent,
    /// This server towards the others.
    Peer,
    FrontProxy,
}

const ROLES: [Role; 7] =
    [Role::Server, Role::Admin, Role::Controller, Role::Scheduler, Role::Agent, Role::Peer, Role::FrontProxy];

impl Role {
    fn file_stem(self) -> &'static str {
        match self {
            Role::Server => "server",
            Role::Admin => "admin",
            Role::Controller => "controller",
            Role::Scheduler => "scheduler",
            Role::Agent => "agent",
            Role::Peer => "peer",
            Role::FrontProxy => "front-proxy",
        }
    }

    fn subject(self, options: &PkiOptions) -> Subject {
        let client = |name: &str, groups: &[&str]| Subject {
            name: name.to_string(),
            groups: groups.iter().map(ToString::to_string).collect(),
            sans: Vec::new(),
            usage: Usage::Client,
        };
        match self {
            Role::Server => Subject {
                name: "mk8s-server".into(),
                groups: Vec::new(),
                sans: server_names(options),
                usage: Usage::Server,
            },
            Role::Admin => client("system:admin", &[MASTERS]),
            Role::Controller => client("system:kube-controller-manager", &[]),
            Role::Scheduler => client("system:kube-scheduler", &[]),
            Role::Agent => client(&format!("{NODE_PREFIX}{}", options.node_name), &[NODES]),
            Role::Peer => client(&format!("mk8s:server:{}", options.node_name), &[SERVERS]),
            Role::FrontProxy => client("system:front-proxy", &[]),
        }
    }
}

/// Every name a client may reach this server by, sorted, each once.
fn server_names(options: &PkiOptions) -> Vec<String> {
    let mut names: Vec<String> =
        ["localhost", "127.0.0.1", "::1", "kubernetes", "kubernetes.default", "kubernetes.default.svc"]
            .map(str::to_string)
            .to_vec();
    names.push(format!("kubernetes.default.svc.{}", options.cluster_domain));
    names.push(options.node_name.clone());
    names.push(options.node_ip.to_string());
    names.push(options.service_ip.to_string());
    names.extend(options.tls_sans.iter().cloned());
    names.sort();
    names.dedup();
    names
}

/// The server's keys and certificates.
#[derive(Debug)]
pub struct Pki {
    options: PkiOptions,
    ca: Authority,
    front_proxy_ca: Authority,
    leaves: RwLock<BTreeMap<Role, Arc<Leaf>>>,
    live: Arc<LiveCertificate>,
    signing_key: Arc<SigningKey>,
    join_token: JoinToken,
    admin_token: String,
    renewed: watch::Sender<u64>,
}

impl Pki {
    /// Reads what is there and makes what is missing, expired soon, or no longer fitting (changed names).
    pub fn load_or_create(options: PkiOptions, now: SystemTime) -> Result<Pki, PkiError> {
        let tls = options.dir.join("tls");
        // The store lies beside the keys, and its Secrets are as private.
        files::create_private_dir(&options.dir)?;
        files::create_private_dir(&tls)?;
        let ca = Authority::load_or_create(&tls, "ca", "mk8s-ca", now)?;
        let front_proxy_ca = Authority::load_or_create(&tls, "front-proxy-ca", "mk8s-front-proxy-ca", now)?;
        let mut leaves = BTreeMap::new();
        for role in ROLES {
            let authority = if role == Role::FrontProxy { &front_proxy_ca } else { &ca };
            let leaf = authority.load_or_issue(&tls, role.file_stem(), &role.subject(&options), now)?;
            leaves.insert(role, Arc::new(leaf));
        }
        let live = Arc::new(LiveCertificate::new(leaves[&Role::Server].certified_key()?));
        let signing_key = Arc::new(load_signing_key(&tls.join("service-account.key"))?);
        let join_token = load_join_token(&options, &ca)?;
        let admin_token = load_secret(&options.dir.join("admin-token"))?;
        let (renewed, _) = watch::channel(0);
        Ok(Pki {
            options,
            ca,
            front_proxy_ca,
            leaves: RwLock::new(leaves),
            live,
            signing_key,
            join_token,
            admin_token,
            renewed,
        })
    }

    /// The cluster CA, PEM.
    pub fn ca_pem(&self) -> &str {
        self.ca.pem()
    }

    /// The cluster CA's key, PEM: for those who sign in its name.
    pub fn ca_key_pem(&self) -> String {
        self.ca.key_pem()
    }

    /// The same, DER: what the key of encryption at rest is sealed with is made of it.
    pub(crate) fn ca_key_der(&self) -> Vec<u8> {
        self.ca.key_der()
    }

    /// The CA that signs the front proxy's certificate, PEM.
    pub fn front_proxy_ca_pem(&self) -> &str {
        self.front_proxy_ca.pem()
    }

    /// The current certificate and key of an identity.
    pub fn leaf(&self, role: Role) -> Arc<Leaf> {
        self.leaves.read()[&role].clone()
    }

    pub fn signing_key(&self) -> Arc<SigningKey> {
        self.signing_key.clone()
    }

    /// `K10<sha256 of the CA>::server:<secret>`: what another machine needs to join.
    pub fn join_token(&self) -> &JoinToken {
        &self.join_token
    }

    /// Tells clusters apart: the beginning of the CA's hash.
    pub fn cluster_name(&self) -> &str {
        &self.join_token.ca_hash[..NAME_LENGTH]
    }

    /// The part of the join token that is secret.
    pub fn join_secret(&self) -> &str {
        &self.join_token.secret
    }

    /// What every server of the cluster has alike, by file below [`PkiOptions::dir`].
    pub fn secrets(&self) -> Result<BTreeMap<String, String>, PkiError> {
        let read = |name: &&str| {
            let text = files::read_if_there(&self.options.dir.join(name))?;
            Ok(text.map(|text| ((*name).to_string(), text)))
        };
        SHARED.iter().filter_map(|name| read(name).transpose()).collect()
    }

    /// Writes what another server of the cluster had, for [`Pki::load_or_create`] to find. A CA's certificate goes last:
    /// while it is missing, nothing counts.
    pub fn install(dir: &Path, secrets: &BTreeMap<String, String>) -> Result<(), PkiError> {
        files::create_private_dir(dir)?;
        files::create_private_dir(&dir.join("tls"))?;
        for (name, text) in SHARED.iter().filter_map(|name| secrets.get_key_value(*name)) {
            files::write_private(&dir.join(name), text.as_bytes())?;
        }
        Ok(())
    }

    /// The administrator's bearer token.
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// Issues a client certificate that is kept nowhere, for an identity other than the server's own.
    pub fn issue(&self, subject: &Subject, now: SystemTime) -> Result<Leaf, PkiError> {
        self.ca.issue(subject, now)
    }

    /// The TLS side of the port: shows the current server certificate, asks for (and does not insist on) a client
    /// certificate of the cluster CA.
    pub fn server_config(&self, alpn: &[&[u8]]) -> Result<ServerConfig, PkiError> {
        let tls = |error: &dyn std::fmt::Display| PkiError::Tls(error.to_string());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.ca.der().clone()).map_err(|e| tls(&e))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .map_err(|e| tls(&e))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| tls(&e))?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(self.live.clone());
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }

    /// A kubeconfig of the administrator for this server.
    pub fn admin_kubeconfig(&self, server_url: &str) -> String {
        kubeconfig::render(server_url, self.ca_pem(), &self.leaf(Role::Admin))
    }

    /// Replaces the leaves that expire soon. New connections see a new server certificate at once.
    pub fn renew(&self, now: SystemTime) -> Result<Vec<Role>, PkiError> {
        let tls = self.options.dir.join("tls");
        let mut renewed = Vec::new();
        for role in ROLES {
            let subject = role.subject(&self.options);
            let authority = if role == Role::FrontProxy { &self.front_proxy_ca } else { &self.ca };
            if authority.accepts(&self.leaf(role), &subject, now) {
                continue;
            }
            let leaf = authority.issue(&subject, now)?;
            leaf.save(&tls, role.file_stem())?;
            if role == Role::Server {
                self.live.replace(leaf.certified_key()?);
            }
            self.leaves.write().insert(role, Arc::new(leaf));
            renewed.push(role);
        }
        if !renewed.is_empty() {
            self.renewed.send_modify(|generation| *generation += 1);
        }
        Ok(renewed)
    }

    /// Changes whenever leaves were renewed; for those who copied one (kubeconfig, agent).
    pub fn renewals(&self) -> watch::Receiver<u64> {
        self.renewed.subscribe()
    }

    /// Renews leaves until stopped.
    pub async fn keep_fresh(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(CHECK_EVERY)).await.is_some() {
            match self.renew(SystemTime::now()) {
                Ok(roles) if roles.is_empty() => {}
                Ok(roles) => tracing::info!(?roles, "certificates renewed"),
                Err(error) => {
                    tracing::error!(error = %format!("{:#}", anyhow::Error::new(error)), "certificates cannot be renewed")
                }
            }
        }
    }
}

/// How much of the CA's hash tells clusters apart.
const NAME_LENGTH: usize = 12;

/// [`Pki::cluster_name`] of a server's directory, if it has a CA.
pub(crate) fn cluster_of(dir: &Path) -> Result<Option<String>, PkiError> {
    let ca = files::read_if_there(&dir.join("tls").join("ca.crt"))?;
    Ok(ca.map(|pem| ca_hash(&pem)[..NAME_LENGTH].to_owned()))
}

fn load_signing_key(path: &Path) -> Result<SigningKey, PkiError> {
    let unusable = |why: String| PkiError::Unusable { path: path.to_path_buf(), what: "service-account key", why };
    if let Some(pem) = files::read_if_there(path)? {
        return SigningKey::from_pem(&pem).map_err(unusable);
    }
    let pair =
        rcgen::KeyPair::generate().map_err(|source| PkiError::Issue { name: "service accounts".into(), source })?;
    let pem = pair.serialize_pem();
    files::write_private(path, pem.as_bytes())?;
    SigningKey::from_pem(&pem).map_err(unusable)
}

/// 32 random bytes in hex, kept in a file of their own.
fn load_secret(path: &Path) -> Result<String, PkiError> {
    if let Some(secret) =
        files::read_if_there(path)?.map(|text| text.trim().to_string()).filter(|secret| !secret.is_empty())
    {
        return Ok(secret);
    }
    let secret = random_hex()?;
    files::write_private(path, format!("{secret}\n").as_bytes())?;
    Ok(secret)
}

fn random_hex() -> Result<String, PkiError> {
    let mut bytes = [0u8; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|_| PkiError::Tls("the system gives no random numbers".into()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The token file: what the user asked for, else what was there, else a new one.
fn load_join_token(options: &PkiOptions, ca: &Authority) -> Result<JoinToken, PkiError> {
    let path = options.dir.join("token");
    let stored = files::read_if_there(&path)?.map(|text| text.trim().to_string());
    let secret = match (&options.token, &stored) {
        (Some(given), _) => secret_of(given)?.to_string(),
        (None, Some(stored)) if !stored.is_empty() => secret_of(stored)?.to_string(),
        _ => random_hex()?,
    };
    let token = JoinToken::of(ca.pem(), JoinToken::SERVER, &secret);
    if stored != Some(token.to_string()) {
        files::write_private(&path, format!("{token}\n").as_bytes())?;
    }
    Ok(token)
}

/// The secret part of a token, which may be given alone or in the long form.
fn secret_of(token: &str) -> Result<&str, PkiError> {
    let token = token.trim();
    let secret = match token.strip_prefix("K10") {
        Some(long) => long.split_once("::").and_then(|(_, user)| user.split_once(':')).map(|(_, secret)| secret).ok_or_else(|| {
            PkiError::Token("a token that starts with K10 has the form K10<CA hash>::server:<secret>; give it whole, or a secret of your own".into())
        })?,
        None => token,
    };
    if secret.is_empty() || secret.contains(|c: char| c.is_whitespace() || c == ':') {
        return Err(PkiError::Token(
            "the secret must not be empty or contain spaces or colons; leave --token away to have one made".into(),
        ));
    }
    Ok(secret)
}
