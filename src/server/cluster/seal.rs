//! The cluster's keys on their way to a server that joins: sealed with the token's secret, inside TLS.
//!
//! ```text
//! salt (16) | nonce (12) | AES-256-GCM of the text, its key by HKDF-SHA-256 from the secret and the salt
//! ```

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};

const SALT_LEN: usize = 16;

/// It cannot be opened: another secret, or changed on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cluster's keys cannot be opened with this token")]
pub struct Sealed;

pub(crate) fn seal(secret: &str, text: &[u8]) -> Result<Vec<u8>, Sealed> {
    let mut head = [0; SALT_LEN + NONCE_LEN];
    SystemRandom::new().fill(&mut head).map_err(|_| Sealed)?;
    let (salt, nonce) = head.split_at(SALT_LEN);
    let mut bytes = text.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Sealed)?;
    key(secret, salt)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut bytes).map_err(|_| Sealed)?;
    Ok([&head[..], &bytes].concat())
}

pub(crate) fn open(secret: &str, sealed: &[u8]) -> Result<Vec<u8>, Sealed> {
    let (salt, rest) = sealed.split_at_checked(SALT_LEN).ok_or(Sealed)?;
    let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or(Sealed)?;
    let mut bytes = rest.to_vec();
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Sealed)?;
    let opened = key(secret, salt)?.open_in_place(nonce, Aad::empty(), &mut bytes).map_err(|_| Sealed)?;
    Ok(opened.to_vec())
}

fn key(secret: &str, salt: &[u8]) -> Result<LessSafeKey, Sealed> {
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret.as_bytes());
    let expanded = extracted.expand(&[b"mk8s join"], &AES_256_GCM).map_err(|_| Sealed)?;
    Ok(LessSafeKey::new(UnboundKey::from(expanded)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_only() {
        let sealed = seal("secret", b"keys").expect("it seals");
        assert_eq!(open("secret", &sealed), Ok(b"keys".to_vec()));
        assert_eq!(open("other", &sealed), Err(Sealed));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(open("secret", &changed), Err(Sealed), "byte {at}");
            assert_eq!(open("secret", &sealed[..at]), Err(Sealed), "{at} bytes");
        }
    }
}
