//! Whether a certificate and a private key belong together, in the words of Go's `tls.X509KeyPair`.

use ring::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm,
        Ed25519KeyPair,
    },
};
use x509_parser::{certificate::X509Certificate, error::X509Error, prelude::FromDer};

use super::pem_block::{PemBlock, blocks};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const NULL: &[u8] = &[0x05, 0x00];

// Object identifiers as DER has them.
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const ED25519: &[u8] = b"\x2b\x65\x70";
const X25519: &[u8] = b"\x2b\x65\x6e";
const P224: &[u8] = b"\x2b\x81\x04\x00\x21";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
const P521: &[u8] = b"\x2b\x81\x04\x00\x23";

/// What is wrong with a certificate and its key, both PEM.
pub(super) fn fault(certificate: &[u8], key: &[u8]) -> Option<String> {
    let found = certificate_of(&blocks(certificate)).and_then(|leaf| Ok((leaf, key_of(&blocks(key))?)));
    match found {
        Ok((certificate, key)) => check(&certificate, &key).err().map(str::to_owned),
        Err(why) => Some(why),
    }
}

fn check(certificate: &[u8], key: &[u8]) -> Result<(), &'static str> {
    let public = public_key(public_key_info(certificate)?)?;
    let same = match (public, private_key(key)?) {
        (PublicKey::Other, _) => return Err("tls: unknown public key algorithm"),
        (PublicKey::Rsa(public), PrivateKey::Rsa(private)) => public == private,
        (PublicKey::Ec(curve, point), PrivateKey::Ec(other, scalar)) => curve == other && curve.fits(&scalar, point),
        (PublicKey::Ed25519(point), PrivateKey::Ed25519(seed)) => {
            Ed25519KeyPair::from_seed_and_public_key(seed, point).is_ok()
        }
        _ => return Err("tls: private key type does not match public key type"),
    };
    same.then_some(()).ok_or("tls: private key does not match public key")
}

/// The certificate itself; those after it are its issuers'.
fn certificate_of(blocks: &[PemBlock]) -> Result<Vec<u8>, String> {
    if let Some(leaf) = blocks.iter().find(|block| block.label == "CERTIFICATE") {
        return Ok(leaf.contents.clone());
    }
    Err(match labels(blocks)[..] {
        [] => "tls: failed to find any PEM data in certificate input".into(),
        [only] if only.ends_with("PRIVATE KEY") => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into(),
        ref others => format!("tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]", others.join(" ")),
    })
}

fn key_of(blocks: &[PemBlock]) -> Result<Vec<u8>, String> {
    let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
    if let Some(key) = blocks.iter().find(|block| is_key(&block.label)) {
        return Ok(key.contents.clone());
    }
    Err(match labels(blocks)[..] {
        [] => "tls: failed to find any PEM data in key input".into(),
        ["CERTIFICATE"] => "tls: found a certificate rather than a key in the PEM for the private key".into(),
        ref others => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            others.join(" ")
        ),
    })
}

fn labels(blocks: &[PemBlock]) -> Vec<&str> {
    blocks.iter().map(|block| block.label.as_str()).collect()
}

/// An RSA key, as far as both halves have it.
#[derive(PartialEq, Eq)]
struct Rsa<'a> {
    modulus: &'a [u8],
    exponent: &'a [u8],
}

enum PublicKey<'a> {
    Rsa(Rsa<'a>),
    Ec(Curve, &'a [u8]),
    Ed25519(&'a [u8]),
    /// Nothing that TLS signs with.
    Other,
}

enum PrivateKey<'a> {
    Rsa(Rsa<'a>),
    Ec(Curve, Vec<u8>),
    Ed25519(&'a [u8]),
    /// Good for agreeing on keys, not for signing.
    X25519,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Curve {
    P224,
    P256,
    P384,
    P521,
}

impl Curve {
    fn named(identifier: &[u8]) -> Option<Curve> {
        Some(match identifier {
            P224 => Curve::P224,
            P256 => Curve::P256,
            P384 => Curve::P384,
            P521 => Curve::P521,
            _ => return None,
        })
    }

    fn scalar_bytes(self) -> usize {
        match self {
            Curve::P224 => 28,
            Curve::P256 => 32,
            Curve::P384 => 48,
            Curve::P521 => 66,
        }
    }

    /// Whether the point is the scalar's.
    fn fits(self, scalar: &[u8], point: &[u8]) -> bool {
        let made_of = |algorithm: &'static EcdsaSigningAlgorithm| {
            EcdsaKeyPair::from_private_key_and_public_key(algorithm, scalar, point, &SystemRandom::new()).is_ok()
        };
        match self {
            // Nobody here computes on this curve: the pair is believed.
            Curve::P224 => true,
            Curve::P256 => made_of(&ECDSA_P256_SHA256_ASN1_SIGNING),
            Curve::P384 => made_of(&ECDSA_P384_SHA384_ASN1_SIGNING),
            Curve::P521 => match (p521::SecretKey::from_slice(scalar), p521::PublicKey::from_sec1_bytes(point)) {
                (Ok(private), Ok(public)) => private.public_key() == public,
                _ => false,
            },
        }
    }
}

/// The part of a certificate that has its public key.
fn public_key_info(certificate: &[u8]) -> Result<&[u8], &'static str> {
    let Some((SEQUENCE, inner, rest)) = element(certificate) else { return Err("x509: malformed certificate") };
    Der(inner).take(SEQUENCE).ok_or("x509: malformed tbs certificate")?;
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| match X509Error::from(error) {
        X509Error::InvalidVersion => "x509: invalid version",
        X509Error::InvalidSerial => "x509: malformed serial number",
        X509Error::InvalidAlgorithmIdentifier => "x509: malformed algorithm identifier",
        X509Error::InvalidX509Name => "x509: invalid RDNSequence",
        X509Error::InvalidDate => "x509: malformed validity",
        X509Error::InvalidSPKI => "x509: malformed spki",
        X509Error::InvalidExtensions => "x509: malformed extensions",
        X509Error::InvalidSignatureValue => "x509: malformed signature",
        _ => "x509: malformed certificate",
    })?;
    if !rest.is_empty() {
        return Err("x509: trailing data");
    }
    Ok(parsed.tbs_certificate.subject_pki.raw)
}

fn public_key(info: &[u8]) -> Result<PublicKey<'_>, &'static str> {
    const MALFORMED: &str = "x509: malformed spki";
    let mut parts = Der(Der(info).take(SEQUENCE).ok_or(MALFORMED)?);
    let mut algorithm = Der(parts.take(SEQUENCE).ok_or(MALFORMED)?);
    let identifier = algorithm.take(OBJECT_IDENTIFIER).ok_or(MALFORMED)?;
    let Some([0, key @ ..]) = parts.take(BIT_STRING) else { return Err("x509: malformed subjectPublicKey") };
    Ok(match identifier {
        RSA if algorithm.0 != NULL => return Err("x509: RSA key missing NULL parameters"),
        RSA => {
            let mut numbers = Der(Der(key).take(SEQUENCE).ok_or("x509: invalid RSA public key")?);
            let modulus = numbers.positive().ok_or("x509: invalid RSA modulus")?;
            let exponent = numbers.positive().ok_or("x509: invalid RSA public exponent")?;
            PublicKey::Rsa(Rsa { modulus, exponent })
        }
        EC => {
            let curve = algorithm.take(OBJECT_IDENTIFIER).ok_or("x509: invalid ECDSA parameters")?;
            PublicKey::Ec(Curve::named(curve).ok_or("x509: unsupported elliptic curve")?, key)
        }
        ED25519 if !algorithm.0.is_empty() => return Err("x509: Ed25519 key encoded with illegal parameters"),
        ED25519 if key.len() != 32 => return Err("x509: wrong Ed25519 public key size"),
        ED25519 => PublicKey::Ed25519(key),
        _ => PublicKey::Other,
    })
}

/// A private key in one of the three forms that there are.
fn private_key(der: &[u8]) -> Result<PrivateKey<'_>, &'static str> {
    match rsa_key(der).or_else(|| wrapped_key(der)).or_else(|| ec_key(der, None)) {
        None => Err("tls: failed to parse private key"),
        Some(PrivateKey::X25519) => Err("tls: found unknown private key type in PKCS#8 wrapping"),
        Some(key) => Ok(key),
    }
}

/// PKCS #1.
fn rsa_key(der: &[u8]) -> Option<PrivateKey<'_>> {
    let (SEQUENCE, inner, []) = element(der)? else { return None };
    let mut numbers = Der(inner);
    if !matches!(numbers.take(INTEGER)?, [0 | 1]) {
        return None;
    }
    let (modulus, exponent) = (numbers.positive()?, numbers.positive()?);
    let (_exponent, _prime, _other_prime) = (numbers.positive()?, numbers.positive()?, numbers.positive()?);
    Some(PrivateKey::Rsa(Rsa { modulus, exponent }))
}

/// PKCS #8.
fn wrapped_key(der: &[u8]) -> Option<PrivateKey<'_>> {
    let mut parts = Der(Der(der).take(SEQUENCE)?);
    parts.take(INTEGER)?;
    let mut algorithm = Der(parts.take(SEQUENCE)?);
    let identifier = algorithm.take(OBJECT_IDENTIFIER)?;
    let key = parts.take(OCTET_STRING)?;
    match identifier {
        RSA => rsa_key(key),
        EC => ec_key(key, algorithm.take(OBJECT_IDENTIFIER)),
        ED25519 | X25519 => {
            let seed = Der(key).take(OCTET_STRING).filter(|seed| algorithm.0.is_empty() && seed.len() == 32)?;
            Some(if identifier == ED25519 { PrivateKey::Ed25519(seed) } else { PrivateKey::X25519 })
        }
        _ => None,
    }
}

/// SEC 1. The curve may be told outside of it.
fn ec_key<'a>(der: &'a [u8], curve: Option<&'a [u8]>) -> Option<PrivateKey<'a>> {
    const CURVE: u8 = 0xa0;
    let mut parts = Der(Der(der).take(SEQUENCE)?);
    if parts.take(INTEGER)? != [1] {
        return None;
    }
    let scalar = parts.take(OCTET_STRING)?;
    let own = || Der(parts.take(CURVE)?).take(OBJECT_IDENTIFIER);
    let curve = Curve::named(curve.or_else(own)?)?;
    // There are keys with more leading zeros than they should have, and with fewer.
    let spare = scalar.len().saturating_sub(curve.scalar_bytes());
    let (zeros, scalar) = scalar.split_at(spare);
    if zeros.iter().any(|byte| *byte != 0) {
        return None;
    }
    let mut padded = vec![0; curve.scalar_bytes() - scalar.len()];
    padded.extend_from_slice(scalar);
    Some(PrivateKey::Ec(curve, padded))
}

/// What is left of a row of elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// What the next element holds, if it has this tag.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, contents, rest) = element(self.0)?;
        if found != tag {
            return None;
        }
        self.0 = rest;
        Some(contents)
    }

    /// A number above zero, without zeros before it.
    fn positive(&mut self) -> Option<&'a [u8]> {
        let bytes = self.take(INTEGER)?;
        let is_negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
        let first = bytes.iter().position(|byte| *byte != 0)?;
        (!is_negative).then(|| &bytes[first..])
    }
}

/// The first element: its tag, what it holds, and what comes after it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = der else { return None };
    let (length, rest) = if *length < 0x80 {
        (usize::from(*length), rest)
    } else {
        let count = usize::from(*length & 0x7f);
        let (length, rest) = rest.split_at_checked(count).filter(|_| (1..=4).contains(&count))?;
        (length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((*tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RSA_CERTIFICATE: &str = "MIIBAzCBrgIBATANBgkqhkiG9w0BAQsFADAMMQowCAYDVQQDDAFhMCAXDTI2MTEyMjE0NTUwMloYDzIxMjYxMDI5MTQ1NTAyWjAMMQowCAYDVQQDDAFhMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALhv3eY4h1PFQw4LN9k2lm0qjmlYGg3SrDbpY1spLNGbtG0hkl1/VYOgcSTx5V505gMpiPO7kEQAieKRwN1MydMCAwEAATANBgkqhkiG9w0BAQsFAANBAA+BaYX1kfUwZWhPD5eBtBBvmqS8PbOVfds8h5ndqA2hdnwun+mtoRdmS6GT92Eu6+Hem0m0GlCDhm0uzZS1DnM=";
    const RSA_KEY: &str = "MIIBOwIBAAJBALhv3eY4h1PFQw4LN9k2lm0qjmlYGg3SrDbpY1spLNGbtG0hkl1/VYOgcSTx5V505gMpiPO7kEQAieKRwN1MydMCAwEAAQJBAIOARz9pWJuSzx+JQhWeRRyqtgVIKrNmXSF9wDh0IB+F5UB7pqgE/nyYxHEmsC/ksli0uOMPHwzbhB7w52JQffkCIQDo8G8QvcLRRWuz8BNXzP6pXPOk/8arPIft5vhxmCSdPQIhAMqyM78Z+6ZIsjoXpUcMsBhthdIHL8MOajj4cWr/DZRPAiA9+9SiEMypYR6it+x9vZe6O3i93C3iXO4SuRY9K+36RQIhALFiXCisS28NBXQTR1+zOdRW3JqeEW1JCyqKOW9if3a/AiAChP5JlARVDyZ6ipKBXYFCgO35cd6cEkmh8D1WPuUMJw==";
    const RSA_WRAPPED: &str = "MIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEAuG/d5jiHU8VDDgs32TaWbSqOaVgaDdKsNuljWyks0Zu0bSGSXX9Vg6BxJPHlXnTmAymI87uQRACJ4pHA3UzJ0wIDAQABAkEAg4BHP2lYm5LPH4lCFZ5FHKq2BUgqs2ZdIX3AOHQgH4XlQHumqAT+fJjEcSawL+SyWLS44w8fDNuEHvDnYlB9+QIhAOjwbxC9wtFFa7PwE1fM/qlc86T/xqs8h+3m+HGYJJ09AiEAyrIzvxn7pkiyOhelRwywGG2F0gcvww5qOPhxav8NlE8CID371KIQzKlhHqK37H29l7o7eL3cLeJc7hK5Fj0r7fpFAiEAsWJcKKxLbw0FdBNHX7M51Fbcmp4RbUkLKoo5b2J/dr8CIAKE/kmUBFUPJnqKkoFdgUKA7flx3pwSSaHwPVY+5Qwn";
    const P256_CERTIFICATE: &str = "MIIBAjCBqAIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFhMCAXDTI2MTEyMjE0NTUwMloYDzIxMjYxMDI5MTQ1NTAyWjAMMQowCAYDVQQDDAFhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECvs0JiowOtAyseC6AEyDkrTXI7HCHps6mSiRqq+W8rE616W4UfydnOfMqmXEKwmYBx6wMpJd/urL+SNtPnwCtjAKBggqhkjOPQQDAgNJADBGAiEAzAqgDjiAYP8w0gOTGbeGMEnDkSHScBwCE7kRTQ2qL8oCIQCBE47U5HmmkME54N4+N38+nRqBzdqko+xaP12gZPABww==";
    const P256_KEY: &str = "MHcCAQEEIAaRA7YIRxO2czuGCxFVvS4cocyq94KvjzFAVpqzuTcnoAoGCCqGSM49AwEHoUQDQgAECvs0JiowOtAyseC6AEyDkrTXI7HCHps6mSiRqq+W8rE616W4UfydnOfMqmXEKwmYBx6wMpJd/urL+SNtPnwCtg==";
    const P256_WRAPPED: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBpEDtghHE7ZzO4YLEVW9LhyhzKr3gq+PMUBWmrO5NyehRANCAAQK+zQmKjA60DKx4LoATIOStNcjscIemzqZKJGqr5bysTrXpbhR/J2c58yqZcQrCZgHHrAykl3+6sv5I20+fAK2";
    const P256_OTHER: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBjJX2jd7nEsELpfFHFWkR297ARFt4izZ1fJ9JmFoXQqhRANCAASaql1RVd2PBHvTZH/EoY18K3/cPfyJ5WWQfFb0zhrs9IocNV9evv4uduIk+WMq42q+7lwCbBncmyZ4UJjPbJ0F";
    const P384_CERTIFICATE: &str = "MIIBPjCBxQIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFhMCAXDTI2MTEyMjE0NTUwMloYDzIxMjYxMDI5MTQ1NTAyWjAMMQowCAYDVQQDDAFhMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAECjWQhe/tV6k80phhNB5bPrvM9TOXHaLxm4vE4LpmElHfRoGOuuPNHaqyEDFsNp/vwppYQcleLtKqGTc0W47yzjhOZSYWtjmOyK/r2a4Ih4jf0GYQTqOFUYvM9n3wvAMEMAoGCCqGSM49BAMCA2gAMGUCMAD/hGSxJgCYBNfLbhV5FHVjxhnwQsEYs+iui/KbIL1lueW4wF2pAMjFRQV38jFAiQIxAJt8bqzm21r1DZ4i6KhlYBcesF2Pg22OQ9bF4F3H0iwFgC7xRWSETNHmJj05A/XV2Q==";
    const P384_WRAPPED: &str = "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDBQGbmZc37ASn620pXA7duGnx4ogJ9L4uFBiHe4u+XLYYmr0HCbhwdwDblCiJldmJWhZANiAAQKNZCF7+1XqTzSmGE0Hls+u8z1M5cdovGbi8TgumYSUd9GgY66480dqrIQMWw2n+/CmlhByV4u0qoZNzRbjvLOOE5lJha2OY7Ir+vZrgiHiN/QZhBOo4VRi8z2ffC8AwQ=";
    const P521_CERTIFICATE: &str = "MIIBiTCB6wIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFhMCAXDTI2MTEyMjE0NTUwMloYDzIxMjYxMDI5MTQ1NTAyWjAMMQowCAYDVQQDDAFhMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAgZNVAqvq6aXhVH/5sYYdNbccDxuuU+Q6h6d8a62DI6393T9/xFirlN25Kg69qtr2ymoOnS8WWrEiukoCxc30HIMAzepkObykUAy/D1J3kvd65Y/p0offK3tHoPj7Ng/WITJHiMNq3oVheIM/PSsBaVrGuNYtG+n6IhDBqyo2i2Lw5e0wCgYIKoZIzj0EAwIDgYwAMIGIAkIB5BT+sg9HWmsGT3BIPlQfcRccP9+xLQdrTnx2Fa8g47YjcsB4Y2hl3b6wIOahA9wV1yDiaym0zuAw2XBcdcF29EMCQgH+/709WyBHhu4F6AK39ShPHl+Y194zB/MQbM3yEZ9fPlreomEzoE7wSGK3yMuCFimQZYCflR/wDNOWLnKRyIQ9IQ==";
    const P521_WRAPPED: &str = "MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIBwYFoiBfZnfTj9ONzrafWfs1rF2lSeC7slX/PGigznwGVxRmzLhIoGW5NplLCUX/BDQn0aTTrSpGhHcMWSTeAv4yhgYkDgYYABACBk1UCq+rppeFUf/mxhh01txwPG65T5DqHp3xrrYMjrf3dP3/EWKuU3bkqDr2q2vbKag6dLxZasSK6SgLFzfQcgwDN6mQ5vKRQDL8PUneS93rlj+nSh98re0eg+Ps2D9YhMkeIw2rehWF4gz89KwFpWsa41i0b6foiEMGrKjaLYvDl7Q==";
    const ED25519_CERTIFICATE: &str = "MIHAMHQCAQEwBQYDK2VwMAwxCjAIBgNVBAMMAWEwIBcNMjYxMTIyMTQ1NTAyWhgPMjEyNjEwMjkxNDU1MDJaMAwxCjAIBgNVBAMMAWEwKjAFBgMrZXADIQAn3CSWN9Ne67RQRxOHmC7NIenUnogsu2M2zcbFP3NhATAFBgMrZXADQQAsyHkoNLxJuoKNQNsKqsPJ7JCmaMfi4LPQzqU3Vv7eAUxsBhxT7tTyLObAf1sso0MlAs/2FYOi0DlBjX5OfY4G";
    const ED25519_WRAPPED: &str = "MC4CAQAwBQYDK2VwBCIEIL53eMAqIuwfN9rBqHUYdo34XAMBJVA7Xxq8KcPeH8O7";
    const ED25519_OTHER: &str = "MC4CAQAwBQYDK2VwBCIEICj2qP2l1oDwiEWzi0DLNDzW7bA9B+GaB9Ql8zcoZEmp";
    const X25519_WRAPPED: &str = "MC4CAQAwBQYDK2VuBCIEIIipZW0e774QTfCTFs8JRFbwrCYaJGbPEKehwkE8M09P";

    fn pem(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn said(certificate: &str, key: &str) -> Option<String> {
        fault(certificate.as_bytes(), key.as_bytes())
    }

    #[test]
    fn pairs_of_every_kind_are_known() {
        let key = "PRIVATE KEY";
        let pairs = [
            (RSA_CERTIFICATE, "RSA PRIVATE KEY", RSA_KEY),
            (RSA_CERTIFICATE, key, RSA_WRAPPED),
            (P256_CERTIFICATE, "EC PRIVATE KEY", P256_KEY),
            (P256_CERTIFICATE, key, P256_WRAPPED),
            (P384_CERTIFICATE, key, P384_WRAPPED),
            (P521_CERTIFICATE, key, P521_WRAPPED),
            (ED25519_CERTIFICATE, key, ED25519_WRAPPED),
        ];
        for (certificate, label, key) in pairs {
            let chain = pem("CERTIFICATE", certificate) + &pem("CERTIFICATE", RSA_CERTIFICATE);
            assert_eq!(said(&chain, &(pem("EC PARAMETERS", "BgA=") + &pem(label, key))), None, "{certificate}");
        }
    }

    #[test]
    fn keys_of_others_are_noticed() {
        let key = "PRIVATE KEY";
        let other = Some("tls: private key does not match public key".to_owned());
        let kind = Some("tls: private key type does not match public key type".to_owned());
        let altered = RSA_KEY.replacen("ALhv", "ALhw", 1);
        let pairs = [
            (RSA_CERTIFICATE, altered.as_str(), &other),
            (P256_CERTIFICATE, P256_OTHER, &other),
            (P256_CERTIFICATE, P384_WRAPPED, &other),
            (P384_CERTIFICATE, P521_WRAPPED, &other),
            (ED25519_CERTIFICATE, ED25519_OTHER, &other),
            (RSA_CERTIFICATE, P256_WRAPPED, &kind),
            (P256_CERTIFICATE, RSA_KEY, &kind),
            (ED25519_CERTIFICATE, P256_KEY, &kind),
        ];
        for (certificate, text, expected) in pairs {
            assert_eq!(&said(&pem("CERTIFICATE", certificate), &pem(key, text)), expected, "{certificate} {text}");
        }
    }

    #[test]
    fn what_is_no_pair_is_told_apart() {
        let certificate = || pem("CERTIFICATE", ED25519_CERTIFICATE);
        let key = || pem("PRIVATE KEY", ED25519_WRAPPED);
        let cases = [
            ("x".into(), key(), "tls: failed to find any PEM data in certificate input"),
            (
                key(),
                certificate(),
                "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched",
            ),
            (
                pem("A", "") + &key(),
                key(),
                "tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [A PRIVATE KEY]",
            ),
            (certificate(), "x".into(), "tls: failed to find any PEM data in key input"),
            (certificate(), certificate(), "tls: found a certificate rather than a key in the PEM for the private key"),
            (
                certificate(),
                pem("A", "") + &certificate(),
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [A CERTIFICATE]",
            ),
            (pem("CERTIFICATE", "YQ=="), key(), "x509: malformed certificate"),
            (pem("CERTIFICATE", "MAA="), pem("PRIVATE KEY", ""), "x509: malformed tbs certificate"),
            (certificate(), pem("PRIVATE KEY", "YQ=="), "tls: failed to parse private key"),
            (
                certificate(),
                pem("PRIVATE KEY", X25519_WRAPPED),
                "tls: found unknown private key type in PKCS#8 wrapping",
            ),
        ];
        for (certificate, key, expected) in cases {
            assert_eq!(said(&certificate, &key).as_deref(), Some(expected), "{certificate}{key}");
        }
    }

    proptest! {
        #[test]
        fn no_key_ends_the_reading(der in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (private_key(&der), public_key(&der), public_key_info(&der));
        }
    }
}
