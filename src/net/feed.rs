//! What the node follows in the API: Services, EndpointSlices and Namespaces, as one stream of changes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, ResourceExt};
use mk8s_client::{
    Selection,
    feed::{self, Change as Fed},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Namespace (empty for cluster-scoped kinds) and name.
pub type ObjectKey = (Arc<str>, Arc<str>);

/// One change of one object; `None` when it is gone.
#[derive(Debug, Clone)]
pub enum Change {
    Service(ObjectKey, Option<Arc<Service>>),
    Slice(ObjectKey, Option<Arc<EndpointSlice>>),
    Namespace(ObjectKey, Option<Arc<Namespace>>),
    /// The zone of this node, which those know who follow the nodes; `None` when it has none.
    Zone(Option<Arc<str>>),
    /// Everything that existed at the start of one kind was delivered. Comes [`KINDS`] times, once for each.
    Synced,
}

/// How many kinds are followed.
pub(crate) const KINDS: usize = 3;

/// A full queue holds back the watches, nothing is lost.
const QUEUE: usize = 4096;

/// Starts following the API; ends with `stop`.
pub(crate) fn follow(client: &Client, stop: &CancellationToken) -> mpsc::Receiver<Change> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let all = Selection::default;
    let services = Api::all(client.clone());
    feed::follow(services, all(), |change| translate(change, Change::Service), sender.clone(), stop.clone());
    let slices = Api::all(client.clone());
    feed::follow(slices, all(), |change| translate(change, Change::Slice), sender.clone(), stop.clone());
    let namespaces = Api::all(client.clone());
    feed::follow(namespaces, all(), |change| translate(change, Change::Namespace), sender, stop.clone());
    receiver
}

fn translate<K: ResourceExt>(change: Fed<K>, of_kind: fn(ObjectKey, Option<Arc<K>>) -> Change) -> Change {
    let key = |object: &K| (Arc::from(object.namespace().unwrap_or_default()), Arc::from(object.name_any()));
    match change {
        Fed::Applied(object) => of_kind(key(&object), Some(object)),
        Fed::Deleted(object) => of_kind(key(&object), None),
        Fed::Synced => Change::Synced,
    }
}
