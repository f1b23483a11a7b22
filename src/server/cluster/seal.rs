//! The cluster's keys on their way to a server that joins, and in snapshots: sealed with the token's secret.

use mk8s_store::seal::aead;

const PURPOSE: &[u8] = b"mk8s join";

/// It cannot be opened: another secret, or changed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's keys cannot be opened with this token")]
pub struct Sealed;

pub(crate) fn seal(secret: &str, text: &[u8]) -> Vec<u8> {
    aead::seal(Vec::new(), secret.as_bytes(), PURPOSE, &[], text)
}

pub(crate) fn open(secret: &str, sealed: &[u8]) -> Result<Vec<u8>, Sealed> {
    aead::open(secret.as_bytes(), PURPOSE, &[], sealed).map_err(|_| Sealed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_only() {
        let sealed = seal("secret", b"keys");
        assert_eq!(open("secret", &sealed), Ok(b"keys".to_vec()));
        assert_eq!(open("other", &sealed), Err(Sealed));
    }
}
