//! Which node a pod runs on.
//!
//! Reading order: [`scheduler`] (what it knows and decides), [`cycle`] (one decision), [`framework`] and [`plugins`] (its
//! reasons), [`preemption`] (making room), [`queue`] (who is next), [`snapshot`] and [`index`] (what is known),
//! [`config`] (profiles), [`metrics`], `driver` (the owner that ties them to the API).
//!
//! Invariant: everything but `driver` is pure, but for what is counted; time and tie-breaks come in as arguments.
//! Invariant: the store is never read here; the API is the only source and the only way to bind.
//! Invariant: a cycle reads counts that are kept while pods come and go; it visits the nodes that it samples, and no
//! other node's pods.
//! Absent: extenders, permit plugins and pod groups.

pub mod catalogue;
pub mod change;
pub mod config;
pub mod cycle;
pub mod devices;
mod driver;
pub mod events;
pub mod fit_error;
pub mod framework;
pub mod index;
pub mod metrics;
pub mod needs;
pub mod node_choice;
pub mod node_info;
pub mod nominations;
pub mod plugins;
pub mod pod_facts;
pub mod preemption;
pub mod profile;
pub mod queue;
pub mod resource;
pub mod scheduler;
pub mod selector;
pub mod snapshot;
pub mod spread;
pub mod terms;
#[cfg(test)]
mod tests;
pub mod volumes;

use config::Configured;
use kube::Client;
use metrics::Metrics;
use mk8s_client::Informers;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Places pods until `stop`, and counts. Others in the process may use the informers, too; bindings are written with
/// `client`.
pub async fn run(
    client: Client,
    informers: Informers,
    configured: Configured,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    driver::drive(client, &informers, configured, metrics, stop).await;
}
