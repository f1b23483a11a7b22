//! Questions to a server, and its answers: one frame of JSON each, over a connection of their own.

use std::{io, sync::Arc, time::Duration};

use mk8s_api::version::GIT_VERSION;
use mk8s_client::connect::{self, SERVER_NAME};
use mk8s_store::{MemberStatus, SealStatus, engine::FORMAT};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{error::Elapsed, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{TALK, frames, members::Member};
use crate::{
    auth::{PkiError, pki::Leaf},
    encryption,
};

const CONNECT: Duration = Duration::from_secs(3);
const ANSWER: Duration = Duration::from_secs(15);

/// What a server can be asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Question {
    /// By anyone: which CA is it?
    Ca,
    /// By whoever knows the token's secret.
    Join {
        secret: String,
        #[serde(flatten)]
        joiner: Joiner,
    },
    /// These by administrators, and by other servers.
    Status,
    Remove {
        id: u64,
    },
    Transfer {
        to: Option<u64>,
    },
    /// How Secrets are encrypted at rest, here.
    Encryption,
    /// Encrypt them with another key.
    RotateEncryption,
    /// All there is, as a file of a snapshot: [`Answer::Follows`], and then the file.
    Snapshot,
}

/// A server that wants to join, in its own words. What it does not say it does not know of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Joiner {
    pub name: String,
    pub address: String,
    #[serde(default)]
    pub witness: bool,
    #[serde(default)]
    pub version: Option<String>,
    /// The newest format of the store that it reads.
    #[serde(default)]
    pub format: u64,
    /// Whether it reads sealed values.
    #[serde(default)]
    pub seals: bool,
}

impl Joiner {
    /// This executable.
    pub fn new(name: &str, address: &str, witness: bool) -> Joiner {
        Joiner {
            name: name.to_owned(),
            address: address.to_owned(),
            witness,
            version: Some(GIT_VERSION.to_owned()),
            format: FORMAT,
            seals: true,
        }
    }

    /// Why it cannot take part, if it is too old for that: what it would be sent it could not read.
    pub(super) fn is_too_old(&self, sealed: bool) -> Option<String> {
        let lacks = match (self.format < FORMAT, sealed && !self.seals) {
            (true, _) => format!("does not read the cluster's data, which has format {FORMAT}"),
            (_, true) => "does not read encrypted Secrets, which this cluster has".to_owned(),
            _ => return None,
        };
        let its = self.version.as_deref().unwrap_or("an older version than this cluster");
        Some(format!("it runs {its}, which {lacks}: install {GIT_VERSION} or a newer one there, and let it join again"))
    }
}

/// What it says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    Ca {
        pem: String,
    },
    /// The number of the new member, the cluster's keys, sealed, and who is there.
    Joined {
        id: u64,
        sealed: Vec<u8>,
        members: Vec<Member>,
    },
    Status(Status),
    Encryption(EncryptionStatus),
    Done,
    /// Another server knows: the leader, at this address.
    Elsewhere {
        address: String,
    },
    /// What was asked for comes in frames behind this one, the last of them empty.
    Follows,
    /// Not now.
    Later {
        why: String,
    },
    Refused {
        why: String,
    },
}

/// The cluster as a server sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub term: u64,
    pub revision: u64,
    pub members: Vec<MemberState>,
}

/// How objects are encrypted at rest, as far as a server is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EncryptionStatus {
    /// The key's name, once there is one.
    pub key: Option<String>,
    /// The kinds that are.
    pub resources: Vec<String>,
    /// How many objects of them there are.
    pub objects: usize,
    /// Whether the server's files are still being written anew with the key.
    pub rewriting: bool,
}

impl From<SealStatus> for EncryptionStatus {
    fn from(status: SealStatus) -> EncryptionStatus {
        let SealStatus { key, covered, values, rewriting } = status;
        let resources = encryption::names(covered.iter().map(AsRef::as_ref));
        EncryptionStatus { key, resources, objects: values, rewriting }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberState {
    pub id: u64,
    pub name: String,
    pub address: String,
    pub voter: bool,
    pub leader: bool,
    #[serde(default)]
    pub witness: bool,
    /// Whether its disk is full.
    #[serde(default)]
    pub full: bool,
    /// Known to the leader only.
    pub behind: Option<u64>,
    pub active: Option<bool>,
}

impl MemberState {
    pub(super) fn new(status: MemberStatus, member: Option<&Member>) -> MemberState {
        let MemberStatus { id, voter, leader, behind, active } = status;
        let (name, address) = member.map_or_else(Default::default, |m| (m.name.clone(), m.address.clone()));
        let (witness, full) = member.map_or_else(Default::default, |member| (member.witness, member.full));
        MemberState { id, name, address, voter, leader, witness, full, behind, active }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    #[error("{address} cannot be reached")]
    Unreachable {
        address: String,
        #[source]
        source: io::Error,
    },
    #[error("{address} does not answer")]
    Silent { address: String },
    #[error("what {address} says is no answer of a server of mk8s: is that the right address and version?")]
    NoAnswer { address: String },
    #[error("cannot set up TLS: {0}")]
    Tls(String),
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// TLS towards a server whose CA is not known yet: nothing secret goes there.
pub(super) fn to_anyone() -> Arc<ClientConfig> {
    Arc::new(with_alpn(connect::to_anyone(), TALK))
}

/// TLS towards a server of the cluster, with a certificate of ours if there is one.
pub fn to_server(ca_pem: &str, leaf: Option<&Leaf>, alpn: &[u8]) -> Result<Arc<ClientConfig>, TalkError> {
    let tls = |error: &dyn std::fmt::Display| TalkError::Tls(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|e| tls(&e))?;
    roots.add(ca).map_err(|e| tls(&e))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| tls(&e))?
        .with_root_certificates(roots);
    let config = match leaf {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let chain = CertificateDer::pem_slice_iter(leaf.cert_pem.as_bytes()).collect::<Result<Vec<_>, _>>();
            let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes()).map_err(|e| tls(&e))?;
            builder.with_client_auth_cert(chain.map_err(|e| tls(&e))?, key).map_err(|e| tls(&e))?
        }
    };
    Ok(Arc::new(with_alpn(config, alpn)))
}

fn with_alpn(mut config: ClientConfig, alpn: &[u8]) -> ClientConfig {
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

pub(super) async fn connect(address: &str, tls: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, TalkError> {
    let unreachable = |source| TalkError::Unreachable { address: address.to_owned(), source };
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| TalkError::Tls(error.to_string()))?;
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(tls).connect(name, stream).await
    };
    let late = |_: Elapsed| TalkError::Silent { address: address.to_owned() };
    timeout(CONNECT, connect).await.map_err(late)?.map_err(unreachable)
}

/// Asks a server.
///
/// # Errors
/// [`TalkError`] when it cannot be asked, or does not answer.
pub async fn ask(address: &str, tls: Arc<ClientConfig>, question: &Question) -> Result<Answer, TalkError> {
    ask_for_more(address, tls, question).await.map(|(answer, _)| answer)
}

/// What follows an answer.
pub struct Rest {
    address: String,
    stream: TlsStream<TcpStream>,
}

impl Rest {
    /// The next part; nothing at the end.
    ///
    /// # Errors
    /// [`TalkError`] when the end does not come.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, TalkError> {
        let address = || self.address.clone();
        let read = frames::read(&mut self.stream, frames::FRAME_MAX);
        let read = timeout(ANSWER, read).await.map_err(|_| TalkError::Silent { address: address() })?;
        match read.map_err(|source| TalkError::Unreachable { address: address(), source })? {
            Some((_, part)) if part.is_empty() => Ok(None),
            Some((_, part)) => Ok(Some(part)),
            None => Err(TalkError::Unreachable { address: address(), source: io::ErrorKind::UnexpectedEof.into() }),
        }
    }
}

/// As [`ask`], with what follows the answer.
///
/// # Errors
/// As [`ask`].
pub async fn ask_for_more(
    address: &str,
    tls: Arc<ClientConfig>,
    question: &Question,
) -> Result<(Answer, Rest), TalkError> {
    let mut stream = connect(address, tls).await?;
    let no_answer = || TalkError::NoAnswer { address: address.to_owned() };
    let question = serde_json::to_vec(question).expect("plain fields become JSON");
    let talk = async {
        frames::write(&mut stream, 0, &question).await?;
        stream.flush().await?;
        frames::read(&mut stream, frames::TALK_MAX).await
    };
    let unreachable = |source| TalkError::Unreachable { address: address.to_owned(), source };
    let late = |_: Elapsed| TalkError::Silent { address: address.to_owned() };
    let frame = timeout(ANSWER, talk).await.map_err(late)?.map_err(unreachable)?;
    let (_, answer) = frame.ok_or_else(no_answer)?;
    let answer = serde_json::from_slice(&answer).map_err(|_| no_answer())?;
    Ok((answer, Rest { address: address.to_owned(), stream }))
}

/// Asks a server, and then whoever it sends us to, until there is an answer for good.
///
/// # Errors
/// As [`ask`].
pub async fn ask_leader(address: &str, tls: Arc<ClientConfig>, question: &Question) -> Result<Answer, TalkError> {
    let mut at = address.to_owned();
    let mut last = None;
    for _ in 0..20 {
        match ask(&at, tls.clone(), question).await {
            Ok(Answer::Elsewhere { address }) => at = address,
            Ok(later @ Answer::Later { .. }) => {
                last = Some(later);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(error) if at == address => return Err(error),
            // The leader that was named has just gone.
            Err(_) => {
                address.clone_into(&mut at);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Ok(answer) => return Ok(answer),
        }
    }
    Ok(last.unwrap_or_else(|| Answer::Later { why: "the cluster has no leader".to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_older_server_asks_is_understood_and_refused_with_a_remedy() {
        let older = r#"{"join":{"secret":"s","name":"b","address":"b:1"}}"#;
        let Question::Join { joiner, .. } = serde_json::from_str(older).expect("it is a question") else {
            panic!("it wants to join");
        };
        assert!(!joiner.witness && joiner.version.is_none());
        let why = joiner.is_too_old(false).expect("its format is not known");
        assert!(why.contains("an older version") && why.contains(&format!("install {GIT_VERSION}")), "{why}");

        let own = Joiner::new("b", "b:1", true);
        assert_eq!(own.is_too_old(true), None);
        let question = Question::Join { secret: "s".into(), joiner: own.clone() };
        let text = serde_json::to_string(&question).expect("it becomes JSON");
        let again = serde_json::from_str(&text).expect("it is a question");
        assert!(matches!(again, Question::Join { joiner, .. } if joiner == own), "{text}");

        let plain = Joiner { seals: false, version: Some("v1.2".into()), ..own.clone() };
        assert_eq!(plain.is_too_old(false), None);
        let why = plain.is_too_old(true).expect("Secrets are sealed");
        assert!(why.contains("it runs v1.2") && why.contains("encrypted Secrets"), "{why}");
        assert_eq!(Joiner { format: FORMAT + 1, ..own }.is_too_old(true), None, "newer");
    }
}
