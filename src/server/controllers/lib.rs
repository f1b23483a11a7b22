//! The control loops: each one makes one kind of promise of the API come true.
//!
//! Reading order: [`Options`] and [`run`] here, `common/` (what all loops share: own writes, claims, pods, slow start), then
//! any folder. A folder is one controller: `mod.rs` observes and acts, `plan.rs` decides and does nothing else, `tests.rs`
//! shows decisions for fixtures.
//!
//! ```text
//! informers ──change──▶ queue ──key──▶ observe ──▶ plan (pure) ──▶ act ──▶ API
//!     ▲                                                                     │
//!     └─────────────────────────── watch ───────────────────────────────────┘
//! ```
//!
//! Invariant: a plan is a function of what was observed and of the time; it is printable and sorted.
//! Invariant: an object of an informer is never changed; a controller changes a clone and sends it.
//! Invariant: the leader may die between any two writes, and what comes out is the same; `common/interruption` plays plans
//! and `common/succession` whole controllers (`plays.rs`) with a death after each of their writes.
//! Invariant: no controller waits for time to pass where a change would tell it; delays are deadlines of the API.
//! Absent: the store and the server's inside; everything here goes through a client.

mod common;
pub mod options;

mod attach_detach;
mod bootstrap_token;
mod certificates;
mod cluster_role_aggregation;
mod cron_job;
mod custom_resources;
mod daemon_set;
mod deployment;
mod device_taint_eviction;
mod disruption;
mod endpoint_slice;
mod endpoint_slice_mirroring;
mod endpoints;
mod ephemeral_volume;
mod garbage_collector;
mod horizontal_pod_autoscaler;
mod inventory;
mod job;
mod local_path;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod node_ttl;
mod persistent_volume;
mod pod_gc;
mod policy_status;
mod replicas;
mod resource_claim;
mod resource_quota;
mod root_ca;
mod service_account;
mod service_account_token;
mod service_cidr;
mod stateful_set;
mod storage_version_migration;
mod taint_eviction;
mod ttl_after_finished;
mod volume_expansion;
mod volume_protection;

pub use options::{Options, SecretToken, TokenSigner};
pub use service_account_token::{INVALID_SINCE, LAST_USED};

use common::Context;
use inventory::Inventory;
use mk8s_client::{EventRecorder, Informers};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs all control loops until `stop`. A loop that ends by mistake is reported; the others go on. Others in the
/// process may use the informers, too.
pub async fn run(informers: Informers, options: Options, stop: CancellationToken) {
    let client = informers.client().clone();
    let events = EventRecorder::new(client.clone(), "controllers", None, stop.clone());
    let context = Context { client, informers, events, options: Arc::new(options), stop: stop.clone() };
    let mut loops = JoinSet::new();
    // Who listens to the inventory listens before it runs, and misses nothing.
    let inventory = Inventory::new(context.client.clone());
    loops.spawn(garbage_collector::prepare(context.clone(), inventory.clone()));
    loops.spawn(namespace::prepare(context.clone(), inventory.clone()));
    loops.spawn(resource_quota::prepare(context.clone(), inventory.clone()));
    loops.spawn(horizontal_pod_autoscaler::run(context.clone(), inventory.clone()));
    loops.spawn(disruption::run(context.clone(), inventory.clone()));
    loops.spawn(storage_version_migration::run(context.clone(), inventory.clone()));
    loops.spawn(inventory.run(context.clone()));
    loops.spawn(custom_resources::run(context.clone()));
    loops.spawn(node_ipam::run(context.clone()));
    loops.spawn(node_ttl::run(context.clone()));
    loops.spawn(node_lifecycle::run(context.clone()));
    loops.spawn(taint_eviction::run(context.clone()));
    loops.spawn(device_taint_eviction::run(context.clone()));
    loops.spawn(pod_gc::run(context.clone()));
    loops.spawn(policy_status::run(context.clone()));
    loops.spawn(service_account::run(context.clone()));
    loops.spawn(service_account_token::run(context.clone()));
    loops.spawn(root_ca::run(context.clone()));
    loops.spawn(certificates::run(context.clone()));
    loops.spawn(bootstrap_token::run(context.clone()));
    loops.spawn(service_cidr::run(context.clone()));
    loops.spawn(endpoint_slice::run(context.clone()));
    loops.spawn(endpoint_slice_mirroring::run(context.clone()));
    loops.spawn(endpoints::run(context.clone()));
    loops.spawn(cluster_role_aggregation::run(context.clone()));
    loops.spawn(deployment::run(context.clone()));
    loops.spawn(daemon_set::run(context.clone()));
    loops.spawn(stateful_set::run(context.clone()));
    loops.spawn(cron_job::run(context.clone()));
    loops.spawn(job::run(context.clone()));
    loops.spawn(ttl_after_finished::run(context.clone()));
    loops.spawn(resource_claim::run(context.clone()));
    loops.spawn(persistent_volume::run(context.clone()));
    loops.spawn(local_path::run(context.clone()));
    loops.spawn(attach_detach::run(context.clone()));
    loops.spawn(volume_expansion::run(context.clone()));
    loops.spawn(ephemeral_volume::run(context.clone()));
    loops.spawn(volume_protection::run(context.clone()));
    loops.spawn(replicas::run_replica_sets(context.clone()));
    loops.spawn(replicas::run_replication_controllers(context.clone()));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            ended = loops.join_next() => match ended {
                Some(Err(error)) => tracing::error!(%error, "a control loop ended"),
                Some(Ok(())) => {}
                None => return stop.cancelled().await,
            },
        }
    }
}
