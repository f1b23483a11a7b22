//! Why a machine does not become a node, in words that say what to do.

use jiff::SignedDuration;
use mk8s_client::{connect::ConnectError, join_token::BadToken};
use std::{error::Error, io, path::PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    #[error(transparent)]
    BadToken(#[from] BadToken),
    #[error(
        "the CA of {server} is not the one that the token names: it is a server of another cluster, the token is of another, \
         or something between changes the connection"
    )]
    OtherCluster { server: String },
    #[error(
        "{dir} holds the certificate of a node of another cluster: to join this one, choose another --data-dir or remove it"
    )]
    Used { dir: PathBuf },
    #[error("{server} refuses the token: {why}; \"mk8s token create\" on a server makes a new one")]
    Token { server: String, why: &'static str },
    #[error(
        "this machine's clock is {} the server's: set it right (timedatectl set-ntp true) and join again",
        difference(.ahead)
    )]
    Clock { ahead: SignedDuration },
    #[error(
        "the certificate of {server} is not valid at this machine's time: compare the clocks of both and set them right \
         (timedatectl set-ntp true)"
    )]
    ClockOrExpired { server: String },
    #[error("{0}")]
    Denied(String),
    #[error(
        "{server} cannot be reached: is that the address of a server, does it run, and is its port open to this machine?"
    )]
    Unreachable {
        server: String,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    #[error("{server} does not answer within {seconds} s")]
    Silent { server: String, seconds: u64 },
    #[error("what {server} says is no answer of a server of mk8s: {why}")]
    NoAnswer { server: String, why: String },
    #[error("{server} refuses: {why}")]
    Refused { server: String, why: String },
    #[error("the certificate was not given within {seconds} s: look at \"kubectl get csr {name}\"")]
    NotSigned { name: String, seconds: u64 },
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot make a key: {0}")]
    Key(#[from] rcgen::Error),
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl JoinError {
    /// Whether waiting does not help.
    pub(super) fn is_final(&self) -> bool {
        !matches!(
            self,
            JoinError::Unreachable { .. }
                | JoinError::Silent { .. }
                | JoinError::NoAnswer { .. }
                | JoinError::Refused { .. }
                | JoinError::NotSigned { .. }
        )
    }

    /// What went wrong with a request to `server`.
    pub(super) fn of(server: &str, error: kube::Error) -> JoinError {
        let server = server.to_owned();
        if let kube::Error::Api(status) = &error {
            return match status.code {
                401 => JoinError::Token { server, why: "it is wrong, has ended, or was deleted" },
                _ => JoinError::Refused { server, why: status.message.clone() },
            };
        }
        match tls_error(&error) {
            Some(Tls::Time) => JoinError::ClockOrExpired { server },
            Some(Tls::Authority) => JoinError::OtherCluster { server },
            None => JoinError::Unreachable { server, source: Box::new(error) },
        }
    }
}

enum Tls {
    Time,
    Authority,
}

/// What TLS has against the server's certificate, wherever in the chain of causes that is said.
fn tls_error(error: &(dyn Error + 'static)) -> Option<Tls> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An error of input and output hides the one it was made of from `source`.
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = inner.and_then(|inner| inner.downcast_ref()).or_else(|| error.downcast_ref::<rustls::Error>());
        if let Some(rustls::Error::InvalidCertificate(why)) = found {
            use rustls::CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
            return Some(match why {
                Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. } => Tls::Time,
                _ => Tls::Authority,
            });
        }
        next = match inner {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// `2 h ahead of`, `6 min behind`.
fn difference(ahead: &SignedDuration) -> String {
    let seconds = ahead.as_secs().unsigned_abs();
    let amount = match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    };
    format!("{amount} {}", if ahead.is_negative() { "behind" } else { "ahead of" })
}

/// An error with its causes, each said once.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::CertificateError;

    fn wrapped(error: rustls::Error) -> kube::Error {
        kube::Error::Service(Box::new(io::Error::new(io::ErrorKind::InvalidData, error)))
    }

    #[test]
    fn causes_are_told_apart() {
        let of = |error: kube::Error| JoinError::of("https://a:6443", error);
        let time = of(wrapped(rustls::Error::InvalidCertificate(CertificateError::NotValidYet)));
        assert!(matches!(time, JoinError::ClockOrExpired { .. }) && time.is_final());
        let other = of(wrapped(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)));
        assert!(matches!(other, JoinError::OtherCluster { .. }) && other.is_final());
        let refused = of(kube::Error::Service(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused))));
        assert!(matches!(refused, JoinError::Unreachable { .. }) && !refused.is_final());
    }

    #[test]
    fn clocks_are_compared_in_words() {
        let text = |seconds| JoinError::Clock { ahead: SignedDuration::from_secs(seconds) }.to_string();
        assert!(text(7300).starts_with("this machine's clock is 2 h ahead of the server's"), "{}", text(7300));
        assert!(text(-360).starts_with("this machine's clock is 6 min behind the server's"), "{}", text(-360));
    }
}
