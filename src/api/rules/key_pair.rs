//! Whether a certificate and a private key belong together, in the words of Go's `tls.X509KeyPair`.

use rustls::{
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer},
};
use x509_parser::{
    asn1_rs::Sequence,
    certificate::X509Certificate,
    error::X509Error,
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519},
    prelude::FromDer,
    x509::SubjectPublicKeyInfo,
};

use super::pem_block::{PemBlock, blocks};

/// What is wrong with a certificate and its key, both PEM.
pub(super) fn fault(certificate: &[u8], key: &[u8]) -> Option<String> {
    let found = certificate_of(blocks(certificate)).and_then(|leaf| Ok((leaf, key_of(blocks(key))?)));
    match found {
        Ok((certificate, key)) => check(&certificate, &key).err().map(str::to_owned),
        Err(why) => Some(why),
    }
}

/// The certificate itself; those after it are its issuers'.
fn certificate_of(blocks: Vec<PemBlock>) -> Result<PemBlock, String> {
    let labels = labels(&blocks);
    if let Some(leaf) = blocks.into_iter().find(|block| block.label == "CERTIFICATE") {
        return Ok(leaf);
    }
    Err(match &labels[..] {
        [] => "tls: failed to find any PEM data in certificate input".into(),
        [only] if only.ends_with("PRIVATE KEY") => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into(),
        others => format!("tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]", others.join(" ")),
    })
}

fn key_of(blocks: Vec<PemBlock>) -> Result<PemBlock, String> {
    let labels = labels(&blocks);
    let is_key = |label: &str| label == "PRIVATE KEY" || label.ends_with(" PRIVATE KEY");
    if let Some(key) = blocks.into_iter().find(|block| is_key(&block.label)) {
        return Ok(key);
    }
    Err(match &labels[..] {
        [] => "tls: failed to find any PEM data in key input".into(),
        [only] if only == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".into()
        }
        others => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            others.join(" ")
        ),
    })
}

fn labels(blocks: &[PemBlock]) -> Vec<String> {
    blocks.iter().map(|block| block.label.clone()).collect()
}

/// A key that is one, and that nobody here can compute with, is believed.
fn check(certificate: &PemBlock, key: &PemBlock) -> Result<(), &'static str> {
    let (rest, certificate) = X509Certificate::from_der(&certificate.contents).map_err(malformed)?;
    if !rest.is_empty() {
        return Err("x509: trailing data");
    }
    let public = &certificate.tbs_certificate.subject_pki;
    let known = [OID_PKCS1_RSAENCRYPTION, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_SIG_ED25519];
    if !known.contains(&public.algorithm.algorithm) {
        return Err("tls: unknown public key algorithm");
    }
    let der = &key.contents[..];
    if !Sequence::from_der(der).is_ok_and(|(rest, _)| rest.is_empty()) {
        return Err("tls: failed to parse private key");
    }
    // What stands before PEM's label is not to be trusted: Go tries all three forms.
    let forms: [PrivateKeyDer<'_>; 3] = [
        PrivatePkcs1KeyDer::from(der).into(),
        PrivatePkcs8KeyDer::from(der).into(),
        PrivateSec1KeyDer::from(der).into(),
    ];
    let Some(private) = forms.iter().find_map(|form| any_supported_type(form).ok()) else { return Ok(()) };
    let Some(own) = private.public_key() else { return Ok(()) };
    let Ok((_, own)) = SubjectPublicKeyInfo::from_der(&own) else { return Ok(()) };
    if own.algorithm.algorithm != public.algorithm.algorithm {
        return Err("tls: private key type does not match public key type");
    }
    if own.subject_public_key != public.subject_public_key {
        return Err("tls: private key does not match public key");
    }
    Ok(())
}

fn malformed(error: x509_parser::nom::Err<X509Error>) -> &'static str {
    match X509Error::from(error) {
        X509Error::InvalidVersion => "x509: invalid version",
        X509Error::InvalidSerial => "x509: malformed serial number",
        X509Error::InvalidAlgorithmIdentifier => "x509: malformed algorithm identifier",
        X509Error::InvalidX509Name => "x509: invalid RDNSequence",
        X509Error::InvalidDate => "x509: malformed validity",
        X509Error::InvalidSPKI => "x509: malformed spki",
        X509Error::InvalidExtensions => "x509: malformed extensions",
        X509Error::InvalidSignatureValue => "x509: malformed signature",
        _ => "x509: malformed certificate",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const P256_CERTIFICATE: &str = "MIIBAjCBqAIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFhMCAXDTI2MTEyMjE0NTUwMloYDzIxMjYxMDI5MTQ1NTAyWjAMMQowCAYDVQQDDAFhMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECvs0JiowOtAyseC6AEyDkrTXI7HCHps6mSiRqq+W8rE616W4UfydnOfMqmXEKwmYBx6wMpJd/urL+SNtPnwCtjAKBggqhkjOPQQDAgNJADBGAiEAzAqgDjiAYP8w0gOTGbeGMEnDkSHScBwCE7kRTQ2qL8oCIQCBE47U5HmmkME54N4+N38+nRqBzdqko+xaP12gZPABww==";
    const P256_KEY: &str = "MHcCAQEEIAaRA7YIRxO2czuGCxFVvS4cocyq94KvjzFAVpqzuTcnoAoGCCqGSM49AwEHoUQDQgAECvs0JiowOtAyseC6AEyDkrTXI7HCHps6mSiRqq+W8rE616W4UfydnOfMqmXEKwmYBx6wMpJd/urL+SNtPnwCtg==";
    const P256_WRAPPED: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBpEDtghHE7ZzO4YLEVW9LhyhzKr3gq+PMUBWmrO5NyehRANCAAQK+zQmKjA60DKx4LoATIOStNcjscIemzqZKJGqr5bysTrXpbhR/J2c58yqZcQrCZgHHrAykl3+6sv5I20+fAK2";
    const P256_OTHER: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgBjJX2jd7nEsELpfFHFWkR297ARFt4izZ1fJ9JmFoXQqhRANCAASaql1RVd2PBHvTZH/EoY18K3/cPfyJ5WWQfFb0zhrs9IocNV9evv4uduIk+WMq42q+7lwCbBncmyZ4UJjPbJ0F";
    const P384_CERTIFICATE: &str = "MIIBPjCBxQIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFhMCAXDTI2MTEyMjE0NTUwMloYDzIxMjYxMDI5MTQ1NTAyWjAMMQowCAYDVQQDDAFhMHYwEAYHKoZIzj0CAQYFK4EEACIDYgAECjWQhe/tV6k80phhNB5bPrvM9TOXHaLxm4vE4LpmElHfRoGOuuPNHaqyEDFsNp/vwppYQcleLtKqGTc0W47yzjhOZSYWtjmOyK/r2a4Ih4jf0GYQTqOFUYvM9n3wvAMEMAoGCCqGSM49BAMCA2gAMGUCMAD/hGSxJgCYBNfLbhV5FHVjxhnwQsEYs+iui/KbIL1lueW4wF2pAMjFRQV38jFAiQIxAJt8bqzm21r1DZ4i6KhlYBcesF2Pg22OQ9bF4F3H0iwFgC7xRWSETNHmJj05A/XV2Q==";
    const P384_WRAPPED: &str = "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDBQGbmZc37ASn620pXA7duGnx4ogJ9L4uFBiHe4u+XLYYmr0HCbhwdwDblCiJldmJWhZANiAAQKNZCF7+1XqTzSmGE0Hls+u8z1M5cdovGbi8TgumYSUd9GgY66480dqrIQMWw2n+/CmlhByV4u0qoZNzRbjvLOOE5lJha2OY7Ir+vZrgiHiN/QZhBOo4VRi8z2ffC8AwQ=";
    const P521_CERTIFICATE: &str = "MIIBiTCB6wIBATAKBggqhkjOPQQDAjAMMQowCAYDVQQDDAFhMCAXDTI2MTEyMjE0NTUwMloYDzIxMjYxMDI5MTQ1NTAyWjAMMQowCAYDVQQDDAFhMIGbMBAGByqGSM49AgEGBSuBBAAjA4GGAAQAgZNVAqvq6aXhVH/5sYYdNbccDxuuU+Q6h6d8a62DI6393T9/xFirlN25Kg69qtr2ymoOnS8WWrEiukoCxc30HIMAzepkObykUAy/D1J3kvd65Y/p0offK3tHoPj7Ng/WITJHiMNq3oVheIM/PSsBaVrGuNYtG+n6IhDBqyo2i2Lw5e0wCgYIKoZIzj0EAwIDgYwAMIGIAkIB5BT+sg9HWmsGT3BIPlQfcRccP9+xLQdrTnx2Fa8g47YjcsB4Y2hl3b6wIOahA9wV1yDiaym0zuAw2XBcdcF29EMCQgH+/709WyBHhu4F6AK39ShPHl+Y194zB/MQbM3yEZ9fPlreomEzoE7wSGK3yMuCFimQZYCflR/wDNOWLnKRyIQ9IQ==";
    const P521_WRAPPED: &str = "MIHuAgEAMBAGByqGSM49AgEGBSuBBAAjBIHWMIHTAgEBBEIBwYFoiBfZnfTj9ONzrafWfs1rF2lSeC7slX/PGigznwGVxRmzLhIoGW5NplLCUX/BDQn0aTTrSpGhHcMWSTeAv4yhgYkDgYYABACBk1UCq+rppeFUf/mxhh01txwPG65T5DqHp3xrrYMjrf3dP3/EWKuU3bkqDr2q2vbKag6dLxZasSK6SgLFzfQcgwDN6mQ5vKRQDL8PUneS93rlj+nSh98re0eg+Ps2D9YhMkeIw2rehWF4gz89KwFpWsa41i0b6foiEMGrKjaLYvDl7Q==";
    const RSA_CERTIFICATE: &str = "MIIBAzCBrgIBATANBgkqhkiG9w0BAQsFADAMMQowCAYDVQQDDAFhMCAXDTI2MTEyMjE0NTUwMloYDzIxMjYxMDI5MTQ1NTAyWjAMMQowCAYDVQQDDAFhMFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBALhv3eY4h1PFQw4LN9k2lm0qjmlYGg3SrDbpY1spLNGbtG0hkl1/VYOgcSTx5V505gMpiPO7kEQAieKRwN1MydMCAwEAATANBgkqhkiG9w0BAQsFAANBAA+BaYX1kfUwZWhPD5eBtBBvmqS8PbOVfds8h5ndqA2hdnwun+mtoRdmS6GT92Eu6+Hem0m0GlCDhm0uzZS1DnM=";
    const ED25519_CERTIFICATE: &str = "MIHAMHQCAQEwBQYDK2VwMAwxCjAIBgNVBAMMAWEwIBcNMjYxMTIyMTQ1NTAyWhgPMjEyNjEwMjkxNDU1MDJaMAwxCjAIBgNVBAMMAWEwKjAFBgMrZXADIQAn3CSWN9Ne67RQRxOHmC7NIenUnogsu2M2zcbFP3NhATAFBgMrZXADQQAsyHkoNLxJuoKNQNsKqsPJ7JCmaMfi4LPQzqU3Vv7eAUxsBhxT7tTyLObAf1sso0MlAs/2FYOi0DlBjX5OfY4G";
    const ED25519_WRAPPED: &str = "MC4CAQAwBQYDK2VwBCIEIL53eMAqIuwfN9rBqHUYdo34XAMBJVA7Xxq8KcPeH8O7";
    const ED25519_OTHER: &str = "MC4CAQAwBQYDK2VwBCIEICj2qP2l1oDwiEWzi0DLNDzW7bA9B+GaB9Ql8zcoZEmp";

    fn pem(label: &str, body: &str) -> String {
        format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n")
    }

    fn said(certificate: &str, key: &str) -> Option<String> {
        fault(certificate.as_bytes(), key.as_bytes())
    }

    #[test]
    fn pairs_are_told_from_others() {
        let key = "PRIVATE KEY";
        let other = Some("tls: private key does not match public key");
        let kind = Some("tls: private key type does not match public key type");
        let table = [
            (P256_CERTIFICATE, "EC PRIVATE KEY", P256_KEY, None),
            (P256_CERTIFICATE, key, P256_WRAPPED, None),
            (P384_CERTIFICATE, key, P384_WRAPPED, None),
            (ED25519_CERTIFICATE, key, ED25519_WRAPPED, None),
            (P256_CERTIFICATE, key, P256_OTHER, other),
            (P256_CERTIFICATE, key, P384_WRAPPED, other),
            (ED25519_CERTIFICATE, key, ED25519_OTHER, other),
            (RSA_CERTIFICATE, key, P256_WRAPPED, kind),
            (ED25519_CERTIFICATE, key, P256_KEY, kind),
            // Nobody here computes on this curve.
            (P521_CERTIFICATE, key, P521_WRAPPED, None),
        ];
        for (certificate, label, key, expected) in table {
            let chain = pem("CERTIFICATE", certificate) + &pem("CERTIFICATE", RSA_CERTIFICATE);
            let key = pem("EC PARAMETERS", "BgA=") + &pem(label, key);
            assert_eq!(said(&chain, &key).as_deref(), expected, "{certificate} {key}");
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
            (certificate(), pem("PRIVATE KEY", "YQ=="), "tls: failed to parse private key"),
        ];
        for (certificate, key, expected) in cases {
            assert_eq!(said(&certificate, &key).as_deref(), Some(expected), "{certificate}{key}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_end_the_reading(certificate in ".{0,80}", key in proptest::collection::vec(any::<u8>(), 0..80)) {
            let block = |label: &str, contents: Vec<u8>| PemBlock { label: label.into(), contents };
            let _ = check(&block("CERTIFICATE", certificate.into_bytes()), &block("PRIVATE KEY", key));
        }
    }
}
