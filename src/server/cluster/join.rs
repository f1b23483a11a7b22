//! How a server becomes a member of a cluster that is there.
//!
//! ```text
//! which CA? ─▶ the token's hash says that it is the right one ─▶ TLS with that CA ─▶ the token's secret
//!   ─▶ a number, the cluster's keys (sealed), who is there ─▶ files ─▶ an ordinary start, as a learner
//! ```

use std::{collections::BTreeMap, path::Path};

use super::{
    TALK,
    record::{Record, RecordError},
    seal,
    talk::{self, Answer, Joiner, Question, TalkError},
};
use crate::auth::{Pki, PkiError};
use mk8s_client::join_token::{BadToken, JoinToken};

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error("--join {url:?}: {why}; use https://HOST:6443, the address of a server of the cluster")]
    Url { url: String, why: &'static str },
    #[error(transparent)]
    Token(#[from] BadToken),
    #[error(
        "--join {address}: its CA is not the one that the token names: it is a server of another cluster, the token is of another, or something between changes the connection"
    )]
    OtherCluster { address: String },
    #[error("{dir} holds the data of a cluster: to join another one, choose another --data-dir or remove it")]
    Used { dir: String },
    #[error("--join {address}: {why}")]
    Refused { address: String, why: String },
    #[error("--join {address}")]
    Talk {
        address: String,
        #[source]
        source: TalkError,
    },
    #[error(transparent)]
    Sealed(#[from] seal::Sealed),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// `HOST:PORT` of a server's URL.
///
/// # Errors
/// [`JoinError::Url`] when it is none.
pub fn address_of(url: &str) -> Result<String, JoinError> {
    let wrong = |why| JoinError::Url { url: url.to_owned(), why };
    let rest = url.trim().strip_prefix("https://").ok_or_else(|| wrong("it does not begin with https://"))?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || rest.contains(['/', '?', '@', ' ']) {
        return Err(wrong("it is no host and port alone"));
    }
    let has_port = rest.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    match (has_port, rest.rsplit_once(':')) {
        (true, _) => Ok(rest.to_owned()),
        (false, None) => Ok(format!("{rest}:6443")),
        (false, Some(_)) if rest.ends_with(']') => Ok(format!("{rest}:6443")),
        (false, Some(_)) => Err(wrong("its port is none")),
    }
}

/// Joins, and leaves in `dir` what a start needs.
///
/// # Errors
/// [`JoinError`] says what is wrong and what to do.
pub async fn join(
    url: &str,
    token: Option<&str>,
    dir: &Path,
    name: &str,
    address: &str,
    witness: bool,
) -> Result<Record, JoinError> {
    let server = address_of(url)?;
    let token = JoinToken::parse(token)?;
    if dir.join("store").exists() || dir.join("tls").join("ca.key").exists() {
        return Err(JoinError::Used { dir: dir.display().to_string() });
    }
    let failed = |source| JoinError::Talk { address: server.clone(), source };
    let other = || JoinError::OtherCluster { address: server.clone() };
    let refused = |why: String| JoinError::Refused { address: server.clone(), why };
    let ca_pem = match talk::ask(&server, talk::to_anyone(), &Question::Ca).await.map_err(failed)? {
        Answer::Ca { pem } if token.is_of(&pem) => pem,
        Answer::Ca { .. } => return Err(other()),
        _ => return Err(failed(TalkError::NoAnswer { address: server.clone() })),
    };
    let tls = talk::to_server(&ca_pem, None, TALK).map_err(failed)?;
    let question = Question::Join { secret: token.secret.clone(), joiner: Joiner::new(name, address, witness) };
    let (id, sealed, members) = match talk::ask_leader(&server, tls, &question).await.map_err(failed)? {
        Answer::Joined { id, sealed, members } => (id, sealed, members),
        Answer::Refused { why } | Answer::Later { why } => return Err(refused(why)),
        _ => return Err(failed(TalkError::NoAnswer { address: server.clone() })),
    };
    let keys: BTreeMap<String, String> =
        serde_json::from_slice(&seal::open(&token.secret, &sealed)?).map_err(|_| seal::Sealed)?;
    Pki::install(dir, &keys)?;
    let record = Record { id, founder: false, members, witness, ..Record::founder() };
    record.save(dir)?;
    tracing::info!(id, server, "joined the cluster");
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_and_perhaps_a_port() {
        let good = [
            ("https://10.0.0.1:6443", "10.0.0.1:6443"),
            ("https://a.example/", "a.example:6443"),
            ("https://[fd00::1]:7443", "[fd00::1]:7443"),
            ("https://[fd00::1]", "[fd00::1]:6443"),
        ];
        for (url, address) in good {
            assert_eq!(address_of(url).expect("it is one"), address);
        }
        for bad in ["", "10.0.0.1", "http://a:1", "https://", "https://a:b", "https://a/b", "https://u@a", "https://:1"]
        {
            assert!(address_of(bad).is_err(), "{bad}");
        }
    }
}
