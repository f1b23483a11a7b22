//! Nodes without kubelets: objects that say they are Ready, whose Leases are kept.

use crate::{
    connection::{Call, Connection},
    target::Target,
};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::task::JoinSet;

const RENEWAL: Duration = Duration::from_secs(10);

/// So many nodes share a connection: their Leases are renewed in time also when each call takes a while.
const SHARING: usize = 100;

pub(crate) struct Nodes {
    prefix: &'static str,
    renewing: JoinSet<()>,
}

impl Nodes {
    /// Makes the nodes and keeps them Ready until they are removed.
    pub(crate) async fn make(target: &Target, prefix: &'static str, count: usize) -> anyhow::Result<Nodes> {
        let mut connection = Connection::open(target).await?;
        for n in 0..count {
            make(&mut connection, &format!("{prefix}-{n}")).await?;
        }
        let mut renewing = JoinSet::new();
        for first in (0..count).step_by(SHARING) {
            let mut connection = Connection::open(target).await?;
            renewing.spawn(async move {
                loop {
                    tokio::time::sleep(RENEWAL).await;
                    for n in first..count.min(first + SHARING) {
                        // A Lease that is late by one renewal does no harm.
                        drop(connection.expect(renewal(&format!("{prefix}-{n}")), &[200]).await);
                    }
                }
            });
        }
        Ok(Nodes { prefix, renewing })
    }

    pub(crate) async fn remove(mut self, control: &mut Connection) -> anyhow::Result<()> {
        self.renewing.abort_all();
        remove(control, self.prefix).await
    }
}

/// Deletes the nodes of a prefix with their Leases.
pub(crate) async fn remove(control: &mut Connection, prefix: &str) -> anyhow::Result<()> {
    for of in ["/api/v1/nodes", LEASES] {
        control.expect(Call::delete(format!("{of}?labelSelector=bench%3D{prefix}")), &[200]).await?;
    }
    Ok(())
}

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";

/// A node with its Lease; Ready.
pub(crate) async fn make(connection: &mut Connection, name: &str) -> anyhow::Result<()> {
    let prefix = name.rsplit_once('-').map_or(name, |(prefix, _)| prefix);
    let labels = json!({"bench": prefix, "kubernetes.io/hostname": name});
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": name, "labels": labels},
        "spec": {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micro_time()},
    });
    connection.expect(Call::post(LEASES, lease.to_string()), &[201, 409]).await?;
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    connection.expect(Call::post("/api/v1/nodes", node.to_string()), &[201, 409]).await?;
    connection.expect(status(name), &[200]).await
}

/// What a kubelet says of its node.
pub(crate) fn status(name: &str) -> Call {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let size = json!({"cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "100Gi"});
    let condition = |kind: &str, status: &str| -> Value {
        json!({
            "type": kind, "status": status, "reason": "Bench", "message": "no kubelet",
            "lastHeartbeatTime": now, "lastTransitionTime": now,
        })
    };
    let conditions = [
        condition("Ready", "True"),
        condition("MemoryPressure", "False"),
        condition("DiskPressure", "False"),
        condition("PIDPressure", "False"),
    ];
    let change = json!({"status": {"capacity": size, "allocatable": size, "conditions": conditions}});
    Call::patch(format!("/api/v1/nodes/{name}/status"), "application/strategic-merge-patch+json", change.to_string())
}

pub(crate) fn renewal(name: &str) -> Call {
    let change = json!({"spec": {"renewTime": micro_time()}});
    Call::patch(format!("{LEASES}/{name}"), "application/merge-patch+json", change.to_string())
}

fn micro_time() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}
