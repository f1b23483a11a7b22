//! The key that signs tokens: ECDSA on P-256, `ES256` in JSON web tokens (RFC 7515, 7518).

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ring::{
    digest,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::TokenError;

/// The fixed head of the SubjectPublicKeyInfo of a P-256 key; the point follows. Its digest is the key's id.
const SPKI_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

pub struct SigningKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
    id: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

impl SigningKey {
    /// From a PKCS#8 PEM file.
    pub fn from_pem(text: &str) -> Result<SigningKey, String> {
        let pem = pem::parse(text).map_err(|e| e.to_string())?;
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pem.contents(), &random)
            .map_err(|e| e.to_string())?;
        let spki = [SPKI_HEAD.as_slice(), pair.public_key().as_ref()].concat();
        let id = BASE64_URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &spki));
        Ok(SigningKey { pair, random, id })
    }

    /// A new key, for tests and for those who keep none.
    pub fn generate() -> Result<SigningKey, String> {
        let pair = rcgen::KeyPair::generate().map_err(|e| e.to_string())?;
        SigningKey::from_pem(&pair.serialize_pem())
    }

    /// The compact form: `header.claims.signature`. Fails when the system has no random numbers.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, String> {
        let header = json!({"alg": "ES256", "kid": self.id});
        let claims = serde_json::to_vec(claims).map_err(|e| e.to_string())?;
        let signed =
            format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header.to_string()), BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = self.pair.sign(&self.random, signed.as_bytes()).map_err(|_| "signing failed".to_string())?;
        Ok(format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token this key signed. Expiry and audience are the caller's to check.
    pub fn verify<C: DeserializeOwned>(&self, token: &str) -> Result<C, TokenError> {
        #[derive(Deserialize)]
        struct Header {
            alg: String,
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::NotOurs)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::NotOurs)?;
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::NotOurs)?;
        if header.alg != "ES256" {
            return Err(TokenError::NotOurs);
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref())
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| TokenError::Signature)?;
        serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::NotOurs)
    }

    /// The public half as a JSON web key set (RFC 7517), what `/openid/v1/jwks` answers.
    pub fn jwks(&self) -> Value {
        // An uncompressed point: 4, then x and y of 32 bytes each.
        let point = self.pair.public_key().as_ref();
        let coordinate = |from: usize| {
            point.get(from..from + 32).map(|bytes| BASE64_URL_SAFE_NO_PAD.encode(bytes)).unwrap_or_default()
        };
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256", "x": coordinate(1), "y": coordinate(33),
        }]})
    }
}

/// Who a token says has issued it; nobody has checked that.
pub(super) fn issuer(token: &str) -> Result<String, TokenError> {
    #[derive(Deserialize)]
    struct Payload {
        iss: String,
    }
    let payload = token.split('.').nth(1).ok_or(TokenError::NotOurs)?;
    let payload: Payload = serde_json::from_slice(&decode(payload)?).map_err(|_| TokenError::NotOurs)?;
    Ok(payload.iss)
}

fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::NotOurs)
}
