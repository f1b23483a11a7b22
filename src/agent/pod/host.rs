//! What every pod worker of this node works with.

use crate::{
    AgentOptions,
    image::Puller,
    node::{Capacity, NodeShared},
    objects::Objects,
    options::Paths,
    pod::verdicts::Verdicts,
    volume::Tokens,
};
use k8s_openapi::api::core::v1::Service;
use kube::Client;
use mk8s_client::{EventRecorder, Informer};
use mk8s_cri::{Containerd, Runtime};
use std::sync::Arc;
use tokio::sync::watch;

pub struct Host {
    pub options: AgentOptions,
    pub paths: Paths,
    pub client: Client,
    pub runtime: Runtime,
    /// Absent with a runtime that is not containerd.
    pub containerd: Option<Containerd>,
    pub recorder: EventRecorder,
    pub puller: Puller,
    pub objects: Objects,
    pub tokens: Tokens,
    pub services: Informer<Service>,
    pub node: Arc<NodeShared>,
    pub verdicts: Verdicts,
    /// Whether no server has answered since the start, so that the node goes by its own record.
    pub alone: watch::Sender<bool>,
}

impl Host {
    pub fn capacity(&self) -> Capacity {
        self.node.machine.capacity
    }

    pub fn is_alone(&self) -> bool {
        *self.alone.borrow()
    }

    /// Waits until all Services are known, or nobody can tell.
    pub async fn services_known(&self) {
        let mut alone = self.alone.subscribe();
        tokio::select! {
            () = self.services.synced() => {}
            Ok(_) = alone.wait_for(|alone| *alone) => {}
        }
    }

    pub fn host_ip(&self) -> String {
        self.options.node_ip.to_string()
    }
}
