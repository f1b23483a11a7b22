//! JSON web tokens and the keys that their signatures are checked with. Pure.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::OidcError;

/// The longest token that is looked at.
const LONGEST: usize = 16 << 10;

/// A token whose signature has not been looked at.
pub(super) struct Token<'a> {
    pub(super) algorithm: String,
    pub(super) key_id: Option<String>,
    pub(super) claims: Map<String, Value>,
    signed: &'a str,
    signature: Vec<u8>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

impl<'a> Token<'a> {
    /// Reads the compact form; `None`: it is no token of this kind.
    pub(super) fn read(token: &'a str) -> Option<Token<'a>> {
        if token.len() <= LONGEST { Token::read_long(token) } else { None }
    }

    /// As [`Token::read`], of any length.
    pub(super) fn read_long(token: &'a str) -> Option<Token<'a>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        Some(Token {
            algorithm: header.alg,
            key_id: header.kid,
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
            signed,
            signature: decode(signature)?,
        })
    }

    /// Who says that it is from them.
    pub(super) fn issuer(&self) -> Option<&str> {
        match self.claims.get("iss")?.as_str()? {
            // As it once called itself.
            "accounts.google.com" => Some("https://accounts.google.com"),
            issuer => Some(issuer),
        }
    }
}

/// The keys of an issuer.
#[derive(Debug, Deserialize)]
pub(super) struct Keys {
    keys: Vec<Key>,
}

/// A JSON web key, as far as it can check signatures.
#[derive(Debug, Deserialize)]
struct Key {
    #[serde(default)]
    kid: Option<String>,
    #[serde(default, rename = "use")]
    purpose: Option<String>,
    #[serde(default)]
    alg: Option<String>,
    #[serde(flatten)]
    material: Material,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "kty")]
enum Material {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(other)]
    Other,
}

impl Keys {
    /// Reads a key set (RFC 7517).
    pub(super) fn read(document: &[u8]) -> Result<Keys, OidcError> {
        serde_json::from_slice(document).map_err(|error| OidcError::Document(error.to_string()))
    }

    /// Checks a signature with the key that the token names, or with any.
    pub(super) fn verify(&self, token: &Token<'_>) -> Result<(), OidcError> {
        let named = |key: &&Key| {
            let for_signatures = key.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
            let by_id = token.key_id.is_none() || key.kid == token.key_id;
            for_signatures && by_id && key.alg.as_ref().is_none_or(|alg| *alg == token.algorithm)
        };
        let mut found = self.keys.iter().filter(named).peekable();
        if found.peek().is_none() {
            return Err(OidcError::UnknownKey);
        }
        match found.any(|key| key.fits(token)) {
            true => Ok(()),
            false => Err(OidcError::Signature),
        }
    }
}

impl Key {
    fn fits(&self, token: &Token<'_>) -> bool {
        let decode = |text: &String| BASE64_URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).unwrap_or_default();
        let signed = token.signed.as_bytes();
        match &self.material {
            Material::Rsa { n, e } => {
                let parameters = match token.algorithm.as_str() {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    "PS512" => &signature::RSA_PSS_2048_8192_SHA512,
                    _ => return false,
                };
                RsaPublicKeyComponents { n: decode(n), e: decode(e) }
                    .verify(parameters, signed, &token.signature)
                    .is_ok()
            }
            Material::Ec { crv, x, y } => {
                let point = [vec![4], decode(x), decode(y)].concat();
                let algorithm = match (crv.as_str(), token.algorithm.as_str()) {
                    ("P-521", "ES512") => return fits_p521(&point, signed, &token.signature),
                    ("P-256", "ES256") => &signature::ECDSA_P256_SHA256_FIXED,
                    ("P-384", "ES384") => &signature::ECDSA_P384_SHA384_FIXED,
                    _ => return false,
                };
                UnparsedPublicKey::new(algorithm, point).verify(signed, &token.signature).is_ok()
            }
            Material::Other => false,
        }
    }
}

/// The one curve that `ring` does not have.
fn fits_p521(point: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    use p521::ecdsa::{Signature, VerifyingKey, signature::Verifier};
    let (Ok(key), Ok(signature)) = (VerifyingKey::from_sec1_bytes(point), Signature::from_slice(signature)) else {
        return false;
    };
    key.verify(signed, &signature).is_ok()
}
