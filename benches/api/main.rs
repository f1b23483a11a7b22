//! How fast an API server answers: creates, gets, lists and applies of 1 KB ConfigMaps over real connections, in JSON and
//! the first three in protobuf as well, creates of a custom resource with rules, and how soon many watches learn of a change.
//!
//!     cargo bench --bench api -- KUBECONFIG [PEER_KUBECONFIG] [--seconds N] [--connections N] [--watches N]
//!
//! With a second kubeconfig the same is measured against that cluster, and the ratio is printed beside it.

#![allow(clippy::print_stdout)] // The table is the purpose.

#[path = "../support/connection.rs"]
mod connection;
mod custom;
mod protobuf;
#[path = "../support/target.rs"]
mod target;
mod watches;

use connection::{Call, Connection};
use std::time::{Duration, Instant};
use target::Target;
use tokio::task::JoinSet;

const NAMESPACE: &str = "mk8s-bench";
/// YAML, of which JSON is a part.
const APPLY: &str = "application/apply-patch+yaml";

/// One line of the table.
struct Measure {
    name: String,
    /// Requests a second.
    rate: f64,
    p50: Duration,
    p99: Duration,
}

impl Measure {
    /// Of at least one latency.
    fn of(name: impl Into<String>, mut latencies: Vec<Duration>, elapsed: Duration) -> Measure {
        latencies.sort_unstable();
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
        Measure { name: name.into(), rate: latencies.len() as f64 / elapsed.as_secs_f64(), p50: at(0.5), p99: at(0.99) }
    }
}

struct Plan {
    seconds: u64,
    connections: usize,
    watches: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut plan = Plan { seconds: 5, connections: 64, watches: 1000 };
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
            "--watches" => plan.watches = number()?,
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
    control.expect(Call::post("/api/v1/namespaces", namespace), &[201, 409]).await?;
    let run = std::process::id();
    let url = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let all = plan.connections;
    let ours = || url.clone();

    let base = ours();
    let create = move |worker, n| Call::post(base.clone(), config_map(&format!("c-{run}-{worker}-{n}")));
    let base = ours();
    let create_one = move |_, n| Call::post(base.clone(), config_map(&format!("s-{run}-{n}")));
    let base = ours();
    let get = move |worker, _| Call::get(format!("{base}/c-{run}-{worker}-0"));
    let base = ours();
    let list = move |_, _| Call::get(format!("{base}?limit=500"));
    let base = ours();
    let whole = move |_, _| Call::get(format!("{base}?limit=25000"));
    let base = ours();
    let apply = move |worker, n: u64| {
        let name = format!("a-{run}-{worker}-{}", n / 2);
        Call::patch(format!("{base}/{name}?fieldManager=bench&force=true"), APPLY, applied(&name, n % 2))
    };
    let create_protobuf = move |worker, n| protobuf::create(&format!("p-{run}-{worker}-{n}"), &"x".repeat(900));
    let get_protobuf = move |worker, _| protobuf::read(&format!("/p-{run}-{worker}-0"));
    let measures = vec![
        load("create", target, plan, all, create).await?,
        load("create, 1 connection", target, plan, 1, create_one).await?,
        load("get", target, plan, all, get).await?,
        load("list of 500", target, plan, 16.min(all), list).await?,
        load("list of 25,000", target, plan, 4.min(all), whole).await?,
        load("create, protobuf", target, plan, all, create_protobuf).await?,
        load("get, protobuf", target, plan, all, get_protobuf).await?,
        load("list of 500, protobuf", target, plan, 16.min(all), |_, _| protobuf::read("?limit=500")).await?,
        load("server-side apply", target, plan, all, apply).await?,
        custom::creates(&mut control, target, plan).await?,
        watches::learn(&mut control, target, plan).await?,
    ];
    control.expect(Call::delete(format!("/api/v1/namespaces/{NAMESPACE}")), &[200, 202]).await?;
    Ok(measures)
}

/// Asks over some connections for some seconds, each one request at a time.
async fn load<F>(
    name: &'static str,
    target: &Target,
    plan: &Plan,
    connections: usize,
    request: F,
) -> anyhow::Result<Measure>
where
    F: Fn(usize, u64) -> Call + Clone + Send + 'static,
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
                let call = request(worker, n);
                let start = Instant::now();
                connection.expect(call, &[200, 201]).await?;
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
    anyhow::ensure!(!latencies.is_empty(), "{name}: no request was answered within {} s", plan.seconds);
    Ok(Measure::of(name, latencies, begun.elapsed()))
}

fn config_map(name: &str) -> String {
    let data = "x".repeat(900);
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"key":"{data}"}}}}"#)
}

/// The same object twice: made, then changed.
fn applied(name: &str, change: u64) -> String {
    let data = "x".repeat(900);
    format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"key":"{data}","change":"{change}"}}}}"#
    )
}

fn print_table(files: &[String], columns: &[Vec<Measure>]) {
    println!("\n{:<30}{}", "", files.iter().map(|f| format!("{f:>40}")).collect::<String>());
    for row in 0..columns[0].len() {
        let mut line = format!("{:<30}", columns[0][row].name);
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
