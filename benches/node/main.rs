//! How fast a node is: a pod from its creation to Ready, thirty at once, a Service from its creation to its first answer,
//! and what the process costs while pods idle.
//!
//!     cargo bench --bench node -- KUBECONFIG [PEER_KUBECONFIG] [--rounds N] [--services N] [--image NAME] [--pid PID]
//!
//! Runs on the node, because it asks Services by their cluster address. The image must be on the node already; it answers
//! HTTP on port 8080. With `--pid` the resident memory of that process and its share of a core are printed, over half a
//! minute in which ten pods do nothing.

#![allow(clippy::print_stdout)] // The table is the purpose.

mod idle;
mod pods;
#[path = "../support/process.rs"]
mod process;
mod services;
#[path = "../support/table.rs"]
mod table;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use std::time::Duration;
use table::Measure;

const NAMESPACE: &str = "mk8s-bench-node";

struct Plan {
    rounds: usize,
    services: usize,
    image: String,
    pid: Option<u32>,
}

/// Of at least one.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut plan = Plan { rounds: 11, services: 5000, image: "docker.io/mk8s/hello:1".to_owned(), pid: None };
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut text = || arguments.next().ok_or_else(|| anyhow::anyhow!("{argument} takes a value"));
        match argument.as_str() {
            "--rounds" => plan.rounds = text()?.parse()?,
            "--services" => plan.services = text()?.parse()?,
            "--image" => plan.image = text()?,
            "--pid" => plan.pid = Some(text()?.parse()?),
            // Cargo's own.
            "--bench" => {}
            file => files.push(file.to_owned()),
        }
    }
    anyhow::ensure!(plan.rounds > 0, "--rounds takes a number from 1 on");
    anyhow::ensure!(!files.is_empty(), "which cluster? give its kubeconfig (and a peer's after it)");
    let mut columns = Vec::new();
    for file in &files {
        println!("measuring {file}");
        let config =
            Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &KubeConfigOptions::default()).await?;
        columns.push(measure(&Client::try_from(config)?, &plan).await?);
    }
    table::print(&files, &columns);
    Ok(())
}

async fn measure(client: &Client, plan: &Plan) -> anyhow::Result<Vec<Measure>> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    namespaces.create(&PostParams::default(), &namespace).await?;
    let measured = all(client, plan).await;
    namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
    measured
}

async fn all(client: &Client, plan: &Plan) -> anyhow::Result<Vec<Measure>> {
    let mut measures = Vec::new();
    measures.push(Measure::ms("pod Ready, median", median(pods::one_by_one(client, plan).await?)));
    measures.push(Measure::ms("30 pods at once, all Ready", pods::at_once(client, plan, 30).await?));
    for others in [10, plan.services] {
        let times = services::answers(client, plan, others).await?;
        measures.push(Measure::ms(format!("Service answers, {others} others, median"), median(times)));
    }
    if let Some(pid) = plan.pid {
        measures.extend(idle::with_pods(client, plan, pid, 10).await?);
    }
    Ok(measures)
}
