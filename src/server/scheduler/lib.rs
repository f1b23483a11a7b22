//! Which node a pod runs on.
//!
//! Reading order: [`cycle`] (one decision), `plugins/` (its reasons), [`queue`] (who is next), [`snapshot`] (what is
//! known), `driver` (the owner that ties them to the API).
//!
//! Invariant: everything but `driver` is pure; time and tie-breaks come in as arguments.
//! Invariant: the store is never read here; the API is the only source and the only way to bind.

pub mod cycle;
mod driver;
pub mod events;
pub mod framework;
pub mod node_info;
pub mod plugins;
pub mod pod_facts;
pub mod queue;
pub mod resource;
pub mod snapshot;
#[cfg(test)]
mod tests;

use kube::Client;
use tokio_util::sync::CancellationToken;

/// How the scheduler runs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Pods that name this scheduler are placed.
    pub scheduler_name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { scheduler_name: "default-scheduler".to_owned() }
    }
}

/// Places pods until `stop`.
pub async fn run(client: Client, options: Options, stop: CancellationToken) {
    driver::drive(client, options, plugins::default_profile(), stop).await;
}
