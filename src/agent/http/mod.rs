//! What is asked of the node through the tunnel.

use crate::pod::Pods;
use tokio_util::sync::CancellationToken;

/// Serves until `stop`.
pub async fn run(_pods: Pods, stop: CancellationToken) {
    stop.cancelled().await;
}
