//! What a cluster does with many nodes: pods through API, store and scheduler, a large Deployment, and the agents' own calls.
//!
//!     cargo bench --bench fleet -- KUBECONFIG [PEER_KUBECONFIG] [--nodes N] [--pods N] [--connections N] [--agents N]
//!                                  [--seconds N] [--pid PID]
//!
//! The nodes are objects only: no kubelet runs their pods. With `--pid` the resident memory of that process and its cores
//! are printed too. With a second kubeconfig the same is measured there, and the ratio is printed.

#![allow(clippy::print_stdout)] // The table is the purpose.

mod agents;
mod calls;
#[path = "../support/connection.rs"]
mod connection;
mod nodes;
mod pods;
#[path = "../support/process.rs"]
mod process;
#[path = "../support/table.rs"]
mod table;
#[path = "../support/target.rs"]
mod target;

use connection::{Call, Connection};
use table::Measure;
use target::Target;

const NAMESPACE: &str = "mk8s-bench-fleet";

struct Plan {
    nodes: usize,
    pods: usize,
    connections: usize,
    agents: usize,
    seconds: u64,
    pid: Option<u32>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut plan = Plan { nodes: 500, pods: 30_000, connections: 32, agents: 1000, seconds: 60, pid: None };
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut text = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} takes a value"));
        match argument.as_str() {
            "--nodes" => plan.nodes = text()?.parse()?,
            "--pods" => plan.pods = text()?.parse()?,
            "--connections" => plan.connections = text()?.parse()?,
            "--agents" => plan.agents = text()?.parse()?,
            "--seconds" => plan.seconds = text()?.parse()?,
            "--pid" => plan.pid = Some(text()?.parse()?),
            // Cargo's own.
            "--bench" => {}
            file => files.push(file.to_owned()),
        }
    }
    anyhow::ensure!(!files.is_empty(), "which cluster? give its kubeconfig (and a peer's after it)");
    let mut columns = Vec::new();
    for file in &files {
        println!("measuring {file}");
        columns.push(measure(&Target::read(file)?, &plan).await?);
    }
    table::print(&files, &columns);
    Ok(())
}

async fn measure(target: &Target, plan: &Plan) -> anyhow::Result<Vec<Measure>> {
    let mut control = Connection::open(target).await?;
    let namespace = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{NAMESPACE}"}}}}"#);
    control.expect(Call::post("/api/v1/namespaces", namespace), &[201, 409]).await?;
    let nodes = nodes::Nodes::make(target, "fleet", plan.nodes).await?;
    let mut measures = pods::through(&mut control, target, plan).await?;
    measures.extend(pods::deployment(&mut control, target, 1000).await?);
    pods::remove_all(&mut control).await?;
    nodes.remove(&mut control).await?;
    if plan.agents > 0 {
        measures.extend(agents::work(&mut control, target, plan).await?);
    }
    control.expect(Call::delete(format!("/api/v1/namespaces/{NAMESPACE}")), &[200, 202]).await?;
    Ok(measures)
}
