//! How fast an API server answers: creates, gets and lists of 1 KB ConfigMaps over real connections.
//!
//!     cargo bench --bench api -- KUBECONFIG [PEER_KUBECONFIG] [--seconds N] [--connections N]
//!
//! With a second kubeconfig the same is measured against that cluster, and the ratio is printed beside it.

#![allow(clippy::print_stdout)] // The table is the purpose.

mod connection;
mod target;

use connection::Connection;
use hyper::Method;
use std::time::{Duration, Instant};
use target::Target;
use tokio::task::JoinSet;

const NAMESPACE: &str = "mk8s-bench";

/// One line of the table.
struct Measure {
    name: &'static str,
    /// Requests a second.
    rate: f64,
    p50: Duration,
    p99: Duration,
}

struct Plan {
    seconds: u64,
    connections: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut plan = Plan { seconds: 5, connections: 64 };
    let mut files = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || -> anyhow::Result<usize> {
            let value = arguments.next().unwrap_or_default();
            value.parse().map_err(|_| anyhow::anyhow!("{argument} takes a number, not {value:?}"))
        };
        match argument.as_str() {
            "--seconds" => plan.seconds = number()? as u64,
            "--connections" => plan.connections = number()?,
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
    print_table(&files, &columns);
    Ok(())
}

async fn measure(target: &Target, plan: &Plan) -> anyhow::Result<Vec<Measure>> {
    let mut control = Connection::open(target).await?;
    let namespace = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{NAMESPACE}"}}}}"#);
    control.expect(Method::POST, "/api/v1/namespaces", namespace, &[201, 409]).await?;
    let run = std::process::id();
    let url = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let all = plan.connections;

    let create = {
        let url = url.clone();
        load("create", target, plan, all, move |worker, n| (Method::POST, url.clone(), config_map(&format!("c-{run}-{worker}-{n}"))))
            .await?
    };
    let create_one = {
        let url = url.clone();
        load("create, 1 connection", target, plan, 1, move |_, n| (Method::POST, url.clone(), config_map(&format!("s-{run}-{n}"))))
            .await?
    };
    let get = {
        let url = url.clone();
        load("get", target, plan, all, move |worker, _| (Method::GET, format!("{url}/c-{run}-{worker}-0"), String::new())).await?
    };
    let list = {
        let url = url.clone();
        load("list of 500", target, plan, 16.min(all), move |_, _| (Method::GET, format!("{url}?limit=500"), String::new())).await?
    };
    let whole = {
        let url = url.clone();
        load("list of 25,000", target, plan, 4.min(all), move |_, _| (Method::GET, format!("{url}?limit=25000"), String::new()))
            .await?
    };
    control.expect(Method::DELETE, &format!("/api/v1/namespaces/{NAMESPACE}"), String::new(), &[200, 202]).await?;
    Ok(vec![create, create_one, get, list, whole])
}

/// Asks over some connections for some seconds, each one request at a time.
async fn load<F>(name: &'static str, target: &Target, plan: &Plan, connections: usize, request: F) -> anyhow::Result<Measure>
where
    F: Fn(usize, u64) -> (Method, String, String) + Clone + Send + 'static,
{
    let mut opened = Vec::new();
    for _ in 0..connections {
        opened.push(Connection::open(target).await?);
    }
    let begun = Instant::now();
    let until = begun + Duration::from_secs(plan.seconds);
    let mut workers = JoinSet::new();
    for (worker, mut connection) in opened.into_iter().enumerate() {
        let request = request.clone();
        workers.spawn(async move {
            let mut latencies = Vec::new();
            let mut n = 0;
            while Instant::now() < until {
                let (method, path, body) = request(worker, n);
                let start = Instant::now();
                connection.expect(method, &path, body, &[200, 201]).await?;
                latencies.push(start.elapsed());
                n += 1;
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Vec::new();
    while let Some(worker) = workers.join_next().await {
        latencies.extend(worker??);
    }
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    anyhow::ensure!(!latencies.is_empty(), "{name}: no request was answered within {} s", plan.seconds);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    Ok(Measure { name, rate: latencies.len() as f64 / elapsed.as_secs_f64(), p50: at(0.5), p99: at(0.99) })
}

fn config_map(name: &str) -> String {
    let data = "x".repeat(900);
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"key":"{data}"}}}}"#)
}

fn print_table(files: &[String], columns: &[Vec<Measure>]) {
    println!("\n{:<24}{}", "", files.iter().map(|f| format!("{f:>40}")).collect::<String>());
    for row in 0..columns[0].len() {
        let mut line = format!("{:<24}", columns[0][row].name);
        for column in columns {
            let m = &column[row];
            let ms = |d: Duration| d.as_secs_f64() * 1000.0;
            let cell = format!("{:.0}/s  p50 {:.2} ms  p99 {:.2} ms", m.rate, ms(m.p50), ms(m.p99));
            line += &format!("{cell:>40}");
        }
        if let [ours, theirs] = columns {
            line += &format!("{:>10.1}x", ours[row].rate / theirs[row].rate);
        }
        println!("{line}");
    }
}
