//! The join token: `K10<SHA-256 of the CA>::server:<secret>`.

use sha2::{Digest, Sha256};

/// A token in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) ca_hash: String,
    pub(super) secret: String,
}

/// Why a token is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("--token is needed to join: it is in <data-dir>/server/token on any server of the cluster")]
    Missing,
    #[error(
        "the token does not carry the CA's hash: give it whole, as it is in <data-dir>/server/token on any server of the cluster (K10<hash>::server:<secret>)"
    )]
    NoHash,
}

impl Token {
    pub(super) fn parse(text: Option<&str>) -> Result<Token, BadToken> {
        let text = text.ok_or(BadToken::Missing)?.trim();
        let (hash, user) = text.strip_prefix("K10").and_then(|rest| rest.split_once("::")).ok_or(BadToken::NoHash)?;
        let (_, secret) = user.split_once(':').ok_or(BadToken::NoHash)?;
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) || secret.is_empty() {
            return Err(BadToken::NoHash);
        }
        Ok(Token { ca_hash: hash.to_ascii_lowercase(), secret: secret.to_owned() })
    }

    pub(super) fn is_of(&self, ca_pem: &str) -> bool {
        self.ca_hash == hash(ca_pem)
    }
}

fn hash(ca_pem: &str) -> String {
    Sha256::digest(ca_pem.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_taken() {
        let pem = "a certificate";
        let good = format!("K10{}::server:abc", hash(pem));
        let token = Token::parse(Some(&good)).expect("it is whole");
        assert!(token.is_of(pem) && !token.is_of("another") && token.secret == "abc");
        assert_eq!(Token::parse(None), Err(BadToken::Missing));
        for bad in [
            "",
            "abc",
            "K10::server:abc",
            "K10abc::server:abc",
            &good.replace("server:abc", "server:"),
            &good.replace("::", ":"),
        ] {
            assert_eq!(Token::parse(Some(bad)), Err(BadToken::NoHash), "{bad}");
        }
    }
}
