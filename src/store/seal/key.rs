//! The key that values are sealed with: a record of the keyspace, itself sealed with the root secret.
//!
//! ```text
//! record   "mk8s:key:v1:" name ":" | 32 bytes, sealed with the root for this name
//! value    "mk8s:enc:v1:" name ":" | stamp (4), bytes, sealed with the key for the path of the entry
//! ```

use super::aead;
use crate::txn::Stamped;
use bytes::{BufMut, Bytes};
use std::io;
use thiserror::Error;

const RECORD: &[u8] = b"mk8s:key:v1:";
const VALUE: &[u8] = b"mk8s:enc:v1:";

const RECORD_PURPOSE: &[u8] = b"mk8s key of values";
const VALUE_PURPOSE: &[u8] = b"mk8s value";

/// The most bytes of a key's name.
const NAME_MAX: usize = 100;

/// Whether a key can be named like this.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len()) && !name.contains(':')
}

/// Why a value or a key cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum SealError {
    #[error("the record of the key that seals values is none of this version's")]
    NoKey,
    #[error(
        "the key {name} cannot be opened with this cluster's secrets: they are another cluster's, or the record was changed"
    )]
    Foreign { name: String },
    #[error("the value of {path} is sealed with the key {name}, which is not here")]
    Unknown { path: String, name: String },
    #[error("the value of {path} cannot be opened with the key {name}: it was changed, or belongs elsewhere")]
    Changed { path: String, name: String },
}

impl From<SealError> for io::Error {
    fn from(error: SealError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// A key by its name; without its secret where nobody has the root.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Key {
    name: String,
    secret: Option<[u8; 32]>,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The name of the key that sealed these bytes; `None` when they are not sealed.
pub(crate) fn sealed_by(bytes: &[u8]) -> Option<&str> {
    split(bytes, VALUE).map(|(name, _)| name)
}

/// The name of the key in a record.
pub(crate) fn recorded(record: &[u8]) -> Option<&str> {
    split(record, RECORD).map(|(name, _)| name)
}

fn split<'a>(bytes: &'a [u8], magic: &[u8]) -> Option<(&'a str, &'a [u8])> {
    let rest = bytes.strip_prefix(magic)?;
    let end = rest.iter().take(NAME_MAX + 1).position(|byte| *byte == b':')?;
    Some((std::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]))
}

fn headed(magic: &[u8], name: &str) -> Vec<u8> {
    [magic, name.as_bytes(), b":"].concat()
}

impl Key {
    /// A new key, and its record.
    pub(crate) fn make(name: &str, root: &[u8; 32]) -> (Self, Vec<u8>) {
        let secret = aead::random();
        let record = aead::seal(headed(RECORD, name), root, RECORD_PURPOSE, name.as_bytes(), &secret);
        (Self { name: name.to_owned(), secret: Some(secret) }, record)
    }

    /// Reads a record. Without the root, only whose it is.
    pub(crate) fn read(record: &[u8], root: Option<&[u8; 32]>) -> Result<Self, SealError> {
        let (name, sealed) = split(record, RECORD).ok_or(SealError::NoKey)?;
        let name = name.to_owned();
        let Some(root) = root else { return Ok(Self { name, secret: None }) };
        let opened = aead::open(root, RECORD_PURPOSE, name.as_bytes(), sealed);
        match opened.ok().and_then(|secret| secret.try_into().ok()) {
            Some(secret) => Ok(Self { name, secret: Some(secret) }),
            None => Err(SealError::Foreign { name }),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Seals a value for a path; as it is where this key's secret is not known.
    pub(crate) fn seal(&self, path: &[u8], value: &Stamped) -> Bytes {
        let Some(secret) = &self.secret else { return value.bytes.clone() };
        let mut text = Vec::with_capacity(4 + value.bytes.len());
        text.put_u32(value.stamp_at.unwrap_or(u32::MAX));
        text.put_slice(&value.bytes);
        aead::seal(headed(VALUE, &self.name), secret, VALUE_PURPOSE, path, &text).into()
    }

    /// Opens the value of a path. What is not sealed, and what this key has no secret for, is given as it is.
    pub(crate) fn open(&self, path: &[u8], bytes: &Bytes) -> Result<Stamped, SealError> {
        let Some((name, sealed)) = split(bytes, VALUE) else { return Ok(Stamped::plain(bytes.clone())) };
        let path_text = || String::from_utf8_lossy(path).into_owned();
        if name != self.name {
            return Err(SealError::Unknown { path: path_text(), name: name.to_owned() });
        }
        let Some(secret) = &self.secret else { return Ok(Stamped::plain(bytes.clone())) };
        let changed = || SealError::Changed { path: path_text(), name: name.to_owned() };
        let text = aead::open(secret, VALUE_PURPOSE, path, sealed).map_err(|_| changed())?;
        let text = Bytes::from(text);
        let (stamp, _) = text.split_first_chunk::<4>().ok_or_else(changed)?;
        let stamp_at = Some(u32::from_be_bytes(*stamp)).filter(|at| *at != u32::MAX);
        let bytes = text.slice(4..);
        match stamp_at {
            Some(at) if at as usize > bytes.len() => Err(changed()),
            stamp_at => Ok(Stamped { bytes, stamp_at }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_opens_at_its_path_with_its_key() {
        let root = [7; 32];
        let (key, record) = Key::make("a", &root);
        assert_eq!(Key::read(&record, Some(&root)), Ok(key.clone()));
        assert_eq!(Key::read(&record, Some(&[8; 32])), Err(SealError::Foreign { name: "a".into() }));
        let nameless = Key::read(&record, None).expect("it has a name");
        assert_eq!(nameless.name(), "a");
        for value in [Stamped::plain("text"), Stamped { bytes: "text".into(), stamp_at: Some(2) }] {
            let sealed = key.seal(b"/a", &value);
            assert_eq!(sealed_by(&sealed), Some("a"));
            assert!(!sealed.windows(4).any(|window| window == b"text"));
            assert_eq!(key.open(b"/a", &sealed), Ok(value.clone()));
            assert_eq!(nameless.open(b"/a", &sealed), Ok(Stamped::plain(sealed.clone())));
            assert_eq!(
                key.open(b"/b", &sealed).map_err(|error| error.to_string()),
                Err("the value of /b cannot be opened with the key a: it was changed, or belongs elsewhere".into())
            );
            let (other, _) = Key::make("b", &root);
            assert_eq!(
                other.open(b"/a", &sealed).map_err(|error| error.to_string()),
                Err("the value of /a is sealed with the key a, which is not here".into())
            );
        }
        assert_eq!(key.open(b"/a", &Bytes::from_static(b"{}")), Ok(Stamped::plain("{}")));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(record: bool, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from([headed(if record { RECORD } else { VALUE }, "a"), bytes].concat());
            let (key, _) = Key::make("a", &[7; 32]);
            prop_assert!(Key::read(&bytes, Some(&[7; 32])).is_err());
            prop_assert_eq!(key.open(b"/a", &bytes).is_err(), !record);
        }
    }
}
