//! The token that lets another machine join: `K10<SHA-256 of the CA>::<user>:<secret>`.
//!
//! The hash, in hexadecimal, is that of the CA's certificate as a PEM file has it: a machine that joins knows by it that
//! it talks to the right cluster before it tells its secret.

/// A token in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// In lower case.
    pub ca_hash: String,
    /// `server` in the cluster's own token.
    pub user: String,
    pub secret: String,
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

impl JoinToken {
    /// Reads a token; spaces around it do not count.
    ///
    /// # Errors
    /// [`BadToken`] when it is not whole.
    pub fn parse(text: &str) -> Result<JoinToken, BadToken> {
        let parts = text.trim().strip_prefix("K10").and_then(|rest| rest.split_once("::"));
        let (ca_hash, user) = parts.ok_or(BadToken::NoHash)?;
        let (user, secret) = user.split_once(':').ok_or(BadToken::NoHash)?;
        let is_hash = ca_hash.len() == 64 && ca_hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hash || user.is_empty() || secret.is_empty() || secret.contains(char::is_whitespace) {
            return Err(BadToken::NoHash);
        }
        Ok(JoinToken { ca_hash: ca_hash.to_ascii_lowercase(), user: user.to_owned(), secret: secret.to_owned() })
    }
}

impl std::fmt::Display for JoinToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "K10{}::{}:{}", self.ca_hash, self.user, self.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_tokens_are_taken() {
        let hash = "0aF3".repeat(16);
        let good = format!("K10{hash}::server:abc");
        let token = JoinToken::parse(&format!(" {good}\n")).expect("it is whole");
        assert_eq!((token.ca_hash.as_str(), token.secret.as_str()), (hash.to_ascii_lowercase().as_str(), "abc"));
        assert_eq!(token.to_string(), good.to_lowercase().replacen("k10", "K10", 1));
        for bad in [
            "",
            "abc",
            "K10::server:abc",
            "K10abc::server:abc",
            &good.replace("server:abc", "server:"),
            &good.replace("server:abc", ":abc"),
            &good.replace("server:abc", "server"),
            &good.replace("abc", "a b"),
            &good.replace("::", ":"),
            &good.replace("0a", "xy"),
        ] {
            assert_eq!(JoinToken::parse(bad), Err(BadToken::NoHash), "{bad}");
        }
    }
}
