//! What the control loops must be told.

use ipnet::Ipv4Net;
use std::{fmt::Debug, sync::Arc};

#[derive(Debug, Clone)]
pub struct Options {
    /// Where pods get their addresses; every node gets a part of it.
    pub cluster_cidr: Ipv4Net,
    /// Length of the prefix of a node's part.
    pub node_cidr_mask: u8,
    pub service_cidr: Ipv4Net,
    /// The cluster's CA certificates, published in each namespace.
    pub root_ca_pem: String,
    /// What Kubernetes' own signers sign with. Without it approved requests wait for another signer.
    pub cluster_signing_cert_pem: Option<String>,
    pub cluster_signing_key_pem: Option<String>,
    /// Who signs the tokens that Secrets hold. Without it such Secrets wait for another controller.
    pub token_signer: Option<Arc<dyn TokenSigner>>,
    /// A node that has not renewed its Lease for this long is Unknown.
    pub node_monitor_grace_period: std::time::Duration,
    /// Terminated pods that are kept; 0 keeps all.
    pub terminated_pod_gc_threshold: usize,
}

/// The token of a Secret: whose it is, and where it is kept.
#[derive(Debug, Clone, Copy)]
pub struct SecretToken<'a> {
    /// Of the Secret and of the ServiceAccount.
    pub namespace: &'a str,
    pub secret: &'a str,
    pub account: &'a str,
    pub account_uid: &'a str,
}

/// Signs tokens with the key that the API server believes.
pub trait TokenSigner: Debug + Send + Sync {
    /// Fails when the system has no random numbers.
    fn sign_secret_token(&self, token: SecretToken<'_>) -> Result<String, String>;
}

impl Default for Options {
    fn default() -> Self {
        Options {
            cluster_cidr: Ipv4Net::new_assert([10, 42, 0, 0].into(), 16),
            node_cidr_mask: 24,
            service_cidr: Ipv4Net::new_assert([10, 43, 0, 0].into(), 16),
            root_ca_pem: String::new(),
            cluster_signing_cert_pem: None,
            cluster_signing_key_pem: None,
            token_signer: None,
            node_monitor_grace_period: std::time::Duration::from_secs(40),
            terminated_pod_gc_threshold: 12500,
        }
    }
}
