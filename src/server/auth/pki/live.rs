//! The server certificate as connections see it: replaceable while they run.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

#[derive(Debug)]
pub(super) struct LiveCertificate(RwLock<Arc<CertifiedKey>>);

impl LiveCertificate {
    pub(super) fn new(key: CertifiedKey) -> LiveCertificate {
        LiveCertificate(RwLock::new(Arc::new(key)))
    }

    pub(super) fn replace(&self, key: CertifiedKey) {
        *self.0.write() = Arc::new(key);
    }
}

impl ResolvesServerCert for LiveCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }
}
