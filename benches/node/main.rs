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
mod services;

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use std::time::Duration;

const NAMESPACE: &str = "mk8s-bench-node";

struct Plan {
    rounds: usize,
    services: usize,
    image: String,
    pid: Option<u32>,
}

/// One line of the table.
struct Measure {
    name: String,
    value: f64,
    unit: &'static str,
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times.get(times.len() / 2).map_or(f64::NAN, Duration::as_secs_f64) * 1e3
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
    anyhow::ensure!(!files.is_empty(), "which cluster? give its kubeconfig (and a peer's after it)");
    let mut columns = Vec::new();
    for file in &files {
        println!("measuring {file}");
        let config = Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &KubeConfigOptions::default()).await?;
        columns.push(measure(&Client::try_from(config)?, &plan).await?);
    }
    print_table(&files, &columns);
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
    let ms = |name: String, value| Measure { name, value, unit: "ms" };
    measures.push(ms("pod Ready, median".to_owned(), median(pods::one_by_one(client, plan).await?)));
    measures.push(ms("30 pods at once, all Ready".to_owned(), pods::at_once(client, plan, 30).await?.as_secs_f64() * 1e3));
    for others in [10, plan.services] {
        let times = services::answers(client, plan, others).await?;
        measures.push(ms(format!("Service answers, {others} others, median"), median(times)));
    }
    if let Some(pid) = plan.pid {
        measures.extend(idle::with_pods(client, plan, pid, 10).await?);
    }
    Ok(measures)
}

fn print_table(files: &[String], columns: &[Vec<Measure>]) {
    println!();
    print!("{:42}", "");
    for file in files {
        print!("{file:>28}");
    }
    println!();
    let rows = columns.first().map_or(0, Vec::len);
    for row in 0..rows {
        print!("{:42}", columns[0][row].name);
        for column in columns {
            print!("{:>28}", format!("{:.1} {}", column[row].value, column[row].unit));
        }
        if let [ours, peer, ..] = columns {
            print!("   {:.2}x", peer[row].value / ours[row].value);
        }
        println!();
    }
}
