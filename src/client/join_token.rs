//! What lets a machine join: `K10<SHA-256 of the CA>::<user>:<secret>`.
//!
//! The hash lets the one who joins check whom it speaks to before it says anything secret. The user tells what the secret
//! is: `server` for that of the file `<data-dir>/server/token`, `node` for a bootstrap token (`id.secret`), which can also
//! stand alone, as k3s writes it.

use sha2::{Digest, Sha256};

/// A join token in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// Hexadecimal, of the CA's PEM text.
    pub ca_hash: String,
    pub user: String,
    pub secret: String,
}

/// Why a text is no join token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error(
        "--token is needed to join: make one with \"mk8s token create\" on a server, or take that of <data-dir>/server/token there"
    )]
    Missing,
    #[error(
        "the token does not carry the CA's hash: give it whole, as it was printed (K10<hash>::<user>:<secret>); \
         \"mk8s token create\" on a server makes one"
    )]
    NoHash,
}

impl JoinToken {
    /// The user of bootstrap tokens.
    pub const NODE: &str = "node";
    /// The user of the server's own token.
    pub const SERVER: &str = "server";

    /// # Errors
    /// [`BadToken`] says what is missing.
    pub fn parse(text: Option<&str>) -> Result<JoinToken, BadToken> {
        let text = text.map(str::trim).filter(|text| !text.is_empty()).ok_or(BadToken::Missing)?;
        let (hash, rest) = text.strip_prefix("K10").and_then(|rest| rest.split_once("::")).ok_or(BadToken::NoHash)?;
        let (user, secret) = rest.split_once(':').unwrap_or((JoinToken::NODE, rest));
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_hash || !is_word(user) || !is_word(secret) || secret.contains(':') {
            return Err(BadToken::NoHash);
        }
        Ok(JoinToken { ca_hash: hash.to_ascii_lowercase(), user: user.to_owned(), secret: secret.to_owned() })
    }

    /// The token of a cluster with this CA.
    pub fn of(ca_pem: &str, user: &str, secret: &str) -> JoinToken {
        JoinToken { ca_hash: ca_hash(ca_pem), user: user.to_owned(), secret: secret.to_owned() }
    }

    /// Whether this is the CA that the token means.
    pub fn is_of(&self, ca_pem: &str) -> bool {
        self.ca_hash == ca_hash(ca_pem)
    }
}

impl std::fmt::Display for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "K10{}::{}:{}", self.ca_hash, self.user, self.secret)
    }
}

/// What tokens say of a CA.
pub fn ca_hash(ca_pem: &str) -> String {
    Sha256::digest(ca_pem.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_taken() {
        let pem = "a certificate";
        let token = JoinToken::of(pem, "node", "abcdef.0123456789abcdef");
        let text = token.to_string();
        assert_eq!(JoinToken::parse(Some(&format!(" {text}\n"))), Ok(token.clone()));
        assert_eq!(JoinToken::parse(Some(&text.replace("node:", ""))), Ok(token.clone()));
        assert!(token.is_of(pem) && !token.is_of("another"));
        assert_eq!(JoinToken::parse(None), Err(BadToken::Missing));
        assert_eq!(JoinToken::parse(Some(" ")), Err(BadToken::Missing));
        let other = [
            text.replace("::", ":"),
            text.replace("abcdef.0123456789abcdef", ""),
            text.replace("node", ""),
            format!("{text}:x"),
        ];
        for bad in ["abc", "K10::server:abc", "K10abc::server:abc"].into_iter().chain(other.iter().map(String::as_str))
        {
            assert_eq!(JoinToken::parse(Some(bad)), Err(BadToken::NoHash), "{bad}");
        }
    }
}
