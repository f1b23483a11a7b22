//! PKCS #10: what a CertificateSigningRequest carries in its `request`, and which requests are a node's.
//!
//! The checks are those of Kubernetes' `pkg/apis/certificates/helpers.go` and of its signers, with their messages.
//!
//! Invariant: what is read here is what a verifier of the issued certificate reads; of several common names the last counts.

use x509_parser::{
    certification_request::X509CertificationRequest,
    extensions::{GeneralName, ParsedExtension},
    oid_registry::{OID_X509_COMMON_NAME, OID_X509_ORGANIZATION_NAME},
    prelude::FromDer,
};

/// Prefix of the common name of a node's certificate; the node's name follows.
pub const NODE_PREFIX: &str = "system:node:";
/// The organization of a node's certificate.
pub const NODES: &str = "system:nodes";

/// The signers Kubernetes itself has.
pub const CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client";
pub const KUBELET_CLIENT_SIGNER: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub const KUBELET_SERVING_SIGNER: &str = "kubernetes.io/kubelet-serving";
pub const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";

/// A request whose signature fits its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SigningRequest {
    pub common_name: String,
    pub organizations: Vec<String>,
    pub dns_names: Vec<String>,
    pub emails: Vec<String>,
    /// 4 or 16 bytes each.
    pub ip_addresses: Vec<Vec<u8>>,
    pub uris: Vec<String>,
    /// The subject as it was encoded.
    pub subject_der: Vec<u8>,
    /// The SubjectPublicKeyInfo as it was encoded.
    pub public_key_der: Vec<u8>,
}

impl SigningRequest {
    /// Reads a PEM block and checks the signature in it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(pem: &[u8]) -> Result<SigningRequest, String> {
        let block = pem::parse(pem).ok().filter(|block| block.tag() == "CERTIFICATE REQUEST");
        let block = block.ok_or("PEM block type must be CERTIFICATE REQUEST")?;
        let (rest, parsed) = X509CertificationRequest::from_der(block.contents())
            .map_err(|error| format!("asn1: structure error: {error}"))?;
        if !rest.is_empty() {
            return Err("asn1: syntax error: trailing data".into());
        }
        parsed.verify_signature().map_err(|error| format!("x509: the signature cannot be verified: {error}"))?;
        let info = &parsed.certification_request_info;
        let mut request = SigningRequest {
            subject_der: info.subject.as_raw().to_vec(),
            public_key_der: info.subject_pki.raw.to_vec(),
            ..SigningRequest::default()
        };
        for attribute in info.subject.iter_attributes() {
            let read = || attribute.as_str().map(str::to_owned).map_err(|_| "x509: the subject is no text");
            if *attribute.attr_type() == OID_X509_COMMON_NAME {
                request.common_name = read()?;
            } else if *attribute.attr_type() == OID_X509_ORGANIZATION_NAME {
                request.organizations.push(read()?);
            }
        }
        for extension in parsed.requested_extensions().into_iter().flatten() {
            if let ParsedExtension::SubjectAlternativeName(names) = extension {
                names.general_names.iter().for_each(|name| request.note(name));
            }
        }
        Ok(request)
    }

    fn note(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(name) => self.emails.push((*name).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) if matches!(bytes.len(), 4 | 16) => self.ip_addresses.push(bytes.to_vec()),
            // Names of other kinds are not taken over into certificates.
            _ => {}
        }
    }

    /// The node whose client or serving certificate this would be.
    pub fn node_name(&self) -> Option<&str> {
        self.common_name.strip_prefix(NODE_PREFIX).filter(|name| !name.is_empty())
    }

    /// Whether a kubelet's client certificate may be made of it.
    ///
    /// # Errors
    /// Why not.
    pub fn check_kubelet_client(&self, usages: &[String]) -> Result<(), String> {
        self.check_organization()?;
        for (names, kind) in [(!self.dns_names.is_empty(), "DNS"), (!self.emails.is_empty(), "Email")] {
            not_allowed(names, kind)?;
        }
        not_allowed(!self.ip_addresses.is_empty(), "IP")?;
        not_allowed(!self.uris.is_empty(), "URI")?;
        self.check_name()?;
        exact_usages(usages, "client auth")
    }

    /// Whether a kubelet's serving certificate may be made of it.
    ///
    /// # Errors
    /// Why not.
    pub fn check_kubelet_serving(&self, usages: &[String]) -> Result<(), String> {
        self.check_organization()?;
        if self.dns_names.is_empty() && self.ip_addresses.is_empty() {
            return Err("DNS or IP subjectAltName is required".into());
        }
        not_allowed(!self.emails.is_empty(), "Email")?;
        not_allowed(!self.uris.is_empty(), "URI")?;
        exact_usages(usages, "server auth")?;
        self.check_name()
    }

    fn check_organization(&self) -> Result<(), String> {
        match self.organizations.as_slice() {
            [only] if only == NODES => Ok(()),
            _ => Err("subject organization is not system:nodes".into()),
        }
    }

    fn check_name(&self) -> Result<(), String> {
        match self.common_name.starts_with(NODE_PREFIX) {
            true => Ok(()),
            false => Err("subject common name does not begin with system:node:".into()),
        }
    }
}

/// Whether a client certificate may be used so.
///
/// # Errors
/// Why not.
pub fn check_client_usages(usages: &[String]) -> Result<(), String> {
    let optional = ["digital signature", "key encipherment", "client auth"];
    if let Some(odd) = usages.iter().find(|usage| !optional.contains(&usage.as_str())) {
        return Err(format!("invalid usage for client certificate: {odd}"));
    }
    match usages.iter().any(|usage| usage == "client auth") {
        true => Ok(()),
        false => Err("missing required usage for client certificate: client auth".into()),
    }
}

fn not_allowed(there: bool, kind: &str) -> Result<(), String> {
    if there { Err(format!("{kind} subjectAltNames are not allowed")) } else { Ok(()) }
}

/// A signature, the purpose, and for RSA keys perhaps encipherment of keys; nothing else.
fn exact_usages(usages: &[String], purpose: &str) -> Result<(), String> {
    let has = |usage: &str| usages.iter().any(|one| one == usage);
    let known = |usage: &String| ["digital signature", "key encipherment", purpose].contains(&usage.as_str());
    if has("digital signature") && has(purpose) && usages.iter().all(known) {
        return Ok(());
    }
    let mut wanted = [purpose, "digital signature", "key encipherment"];
    wanted.sort_unstable();
    Err(format!("usages did not match [{}]", wanted.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    fn request(name: &str, organizations: &[&str], dns: &[&str]) -> SigningRequest {
        SigningRequest {
            common_name: name.into(),
            organizations: texts(organizations),
            dns_names: texts(dns),
            ..SigningRequest::default()
        }
    }

    #[test]
    fn requests_of_nodes_are_known() {
        let client = texts(&["digital signature", "client auth"]);
        let serving = texts(&["digital signature", "key encipherment", "server auth"]);
        let node = request("system:node:a", &["system:nodes"], &[]);
        assert_eq!(node.check_kubelet_client(&client), Ok(()));
        assert_eq!(node.node_name(), Some("a"));
        let usages = "usages did not match [client auth digital signature key encipherment]";
        assert_eq!(node.check_kubelet_client(&serving), Err(usages.into()));
        let cases = [
            (request("system:node:a", &[], &[]), "subject organization is not system:nodes"),
            (
                request("system:node:a", &["system:nodes", "system:masters"], &[]),
                "subject organization is not system:nodes",
            ),
            (request("a", &["system:nodes"], &[]), "subject common name does not begin with system:node:"),
            (request("system:node:a", &["system:nodes"], &["a"]), "DNS subjectAltNames are not allowed"),
        ];
        for (request, expected) in cases {
            assert_eq!(request.check_kubelet_client(&client), Err(expected.into()));
        }
        assert_eq!(node.check_kubelet_serving(&serving), Err("DNS or IP subjectAltName is required".into()));
        assert_eq!(request("system:node:a", &["system:nodes"], &["a"]).check_kubelet_serving(&serving), Ok(()));
    }

    #[test]
    fn clients_may_sign_and_encipher() {
        assert_eq!(check_client_usages(&texts(&["client auth"])), Ok(()));
        let odd = "invalid usage for client certificate: server auth";
        assert_eq!(check_client_usages(&texts(&["client auth", "server auth"])), Err(odd.into()));
        let missing = "missing required usage for client certificate: client auth";
        assert_eq!(check_client_usages(&texts(&["digital signature"])), Err(missing.into()));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for bad in ["", "x", "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"] {
            let expected = Err("PEM block type must be CERTIFICATE REQUEST".into());
            assert_eq!(SigningRequest::parse(bad.as_bytes()), expected, "{bad}");
        }
        let garbage = "-----BEGIN CERTIFICATE REQUEST-----\nAA==\n-----END CERTIFICATE REQUEST-----\n";
        assert!(SigningRequest::parse(garbage.as_bytes()).is_err());
    }
}
