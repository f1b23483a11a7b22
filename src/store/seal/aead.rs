//! Bytes that only the holder of a secret reads, and that nobody else changes unnoticed.
//!
//! ```text
//! salt (16) | nonce (12) | AES-256-GCM of the text, its key by HKDF-SHA-256 from the secret, the salt and the purpose
//! ```
//!
//! Each text has a key of its own, so that no number of texts wears the secret out.

use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf::{HKDF_SHA256, Salt},
    rand::{SecureRandom, SystemRandom},
};

const SALT_LEN: usize = 16;

/// It cannot be opened: another secret, another place, or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it was sealed with another key, for another place, or was changed since")]
pub struct Sealed;

/// Random bytes for a new secret.
pub fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    fill(&mut bytes);
    bytes
}

fn fill(bytes: &mut [u8]) {
    SystemRandom::new().fill(bytes).expect("the kernel gives random numbers once it has booted");
}

/// Appends the sealed text to `head`. Opened, it must be in the same `place`.
pub fn seal(mut head: Vec<u8>, secret: &[u8], purpose: &[u8], place: &[u8], text: &[u8]) -> Vec<u8> {
    let mut unique = [0; SALT_LEN + NONCE_LEN];
    fill(&mut unique);
    let (salt, nonce) = unique.split_at(SALT_LEN);
    let key = key(secret, salt, purpose);
    let nonce = Nonce::try_assume_unique_for_key(nonce).expect("it has a nonce's length");
    let mut bytes = text.to_vec();
    key.seal_in_place_append_tag(nonce, Aad::from(place), &mut bytes).expect("far below what one key may seal");
    head.reserve(unique.len() + bytes.len());
    head.extend_from_slice(&unique);
    head.extend_from_slice(&bytes);
    head
}

/// Gives the text.
///
/// # Errors
/// [`Sealed`].
pub fn open(secret: &[u8], purpose: &[u8], place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Sealed> {
    let (salt, rest) = sealed.split_at_checked(SALT_LEN).ok_or(Sealed)?;
    let (nonce, rest) = rest.split_at_checked(NONCE_LEN).ok_or(Sealed)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Sealed)?;
    let mut bytes = rest.to_vec();
    let length =
        key(secret, salt, purpose).open_in_place(nonce, Aad::from(place), &mut bytes).map_err(|_| Sealed)?.len();
    bytes.truncate(length);
    Ok(bytes)
}

/// A secret made of another one, for one purpose.
pub fn derive(secret: &[u8], purpose: &[u8]) -> [u8; 32] {
    let mut derived = [0; 32];
    let extracted = Salt::new(HKDF_SHA256, &[]).extract(secret);
    let purpose = [purpose];
    let expanded = extracted.expand(&purpose, HKDF_SHA256).expect("one block");
    expanded.fill(&mut derived).expect("as long as the hash");
    derived
}

fn key(secret: &[u8], salt: &[u8], purpose: &[u8]) -> LessSafeKey {
    let extracted = Salt::new(HKDF_SHA256, salt).extract(secret);
    let purpose = [purpose];
    let expanded = extracted.expand(&purpose, &AES_256_GCM).expect("one block");
    LessSafeKey::new(UnboundKey::from(expanded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_secret_purpose_and_place_only() {
        let sealed = seal(b"head".to_vec(), b"secret", b"test", b"/a", b"text");
        let sealed = sealed.strip_prefix(b"head").expect("it is in front");
        assert_eq!(open(b"secret", b"test", b"/a", sealed), Ok(b"text".to_vec()));
        assert_eq!(open(b"other", b"test", b"/a", sealed), Err(Sealed));
        assert_eq!(open(b"secret", b"other", b"/a", sealed), Err(Sealed));
        assert_eq!(open(b"secret", b"test", b"/b", sealed), Err(Sealed));
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert_eq!(open(b"secret", b"test", b"/a", &changed), Err(Sealed), "byte {at}");
            assert_eq!(open(b"secret", b"test", b"/a", &sealed[..at]), Err(Sealed), "{at} bytes");
        }
        assert_ne!(derive(b"secret", b"a"), derive(b"secret", b"b"));
    }
}
