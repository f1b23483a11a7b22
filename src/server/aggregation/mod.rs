//! API servers of others behind this one: what an APIService with a Service says is served by that Service.
//!
//! ```text
//! APIService ─▶ index (who serves which group and version)
//!                │        ▲ Available
//!                ▼        │
//!    request ─▶ proxy   watch (is it there? what does it serve?) ─▶ found ─▶ merge ─▶ /apis, /openapi
//! ```
//!
//! Reading order: `index`, `proxy` (a request on its way to an extension), `watch` with `health` (conditions) and
//! `found` (what extensions say they serve), `merge` and `documents` (one description of all), `local` with `register`
//! (the APIServices of what this server serves itself).
//!
//! Invariant: what this server serves itself is never handed on, whatever an APIService says.
//! Invariant: an extension learns who asks from headers under our client certificate; the caller's own credentials
//! never reach it.
//! Invariant: without an APIService that names a Service, discovery and OpenAPI cost what they cost without this room.

mod documents;
mod found;
mod health;
mod index;
pub mod local;
mod merge;
mod proxy;
mod register;
#[cfg(test)]
mod tests;
mod watch;

use std::sync::Arc;

use mk8s_store::Store;
use parking_lot::RwLock;

pub use proxy::Forwarded;
pub use register::keep_local;
pub use watch::keep;

use self::{
    documents::Documents,
    found::Found,
    index::{Remote, Services},
};
use crate::webhook::{Client, Endpoint, Identity};

/// The extensions of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Aggregation(Arc<Shared>);

struct Shared {
    store: Store,
    services: Services,
    client: Client,
    /// What we show to extensions.
    identity: RwLock<Option<Identity>>,
    found: RwLock<Found>,
    documents: Documents,
}

impl Aggregation {
    pub fn new(store: Store, client: Client) -> Aggregation {
        Aggregation(Arc::new(Shared {
            services: Services::new(store.clone()),
            store,
            client,
            identity: RwLock::default(),
            found: RwLock::default(),
            documents: Documents::default(),
        }))
    }

    /// From now on this is shown to extensions.
    pub fn identify_as(&self, identity: Identity) {
        *self.0.identity.write() = Some(identity);
    }

    /// Who serves a version of a group, if it is not this server.
    pub fn remote(&self, group: &str, version: &str) -> Option<Arc<Remote>> {
        self.0.services.find(group, version)
    }

    fn remotes(&self) -> Arc<[Arc<Remote>]> {
        self.0.services.all()
    }

    /// Where an extension is, with what we show of ourselves.
    fn endpoint(&self, remote: &Remote) -> Endpoint {
        Endpoint { identity: self.0.identity.read().clone(), ..remote.endpoint.clone() }
    }
}
