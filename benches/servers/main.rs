//! What several servers do on one machine: how soon one that joins is ready and votes, with many objects to take over, how
//! soon a write is taken when the leader is killed, and what a witness holds.
//!
//!     cargo bench --bench servers -- BINARY --address IP [--port N] [--objects N] [--bytes N] [--connections N] [--kills N]
//!
//! It starts BINARY as servers without nodes, on the ports from N on, in a directory of its own, and ends them again.
//! IP is an address of this machine that is no loopback's.

#![allow(clippy::print_stdout)] // The table is the purpose.

#[path = "../support/connection.rs"]
mod connection;
mod load;
#[path = "../support/process.rs"]
mod process;
mod server;
#[path = "../support/table.rs"]
mod table;
#[path = "../support/target.rs"]
mod target;

use anyhow::Context;
use connection::{Call, Connection};
use server::{Place, Server};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use table::Measure;

struct Plan {
    objects: usize,
    bytes: usize,
    connections: usize,
    kills: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut plan = Plan { objects: 100_000, bytes: 1000, connections: 64, kills: 5 };
    let (mut binary, mut address, mut port) = (None, None, 16443);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut text = || arguments.next().with_context(|| format!("{argument} takes a value"));
        match argument.as_str() {
            "--address" => address = Some(text()?),
            "--port" => port = text()?.parse()?,
            "--objects" => plan.objects = text()?.parse()?,
            "--bytes" => plan.bytes = text()?.parse()?,
            "--connections" => plan.connections = text()?.parse()?,
            "--kills" => plan.kills = text()?.parse()?,
            // Cargo's own.
            "--bench" => {}
            file => binary = Some(PathBuf::from(file)),
        }
    }
    let binary = binary.context("which executable? give its path")?;
    let address = address.context("--address: which of this machine's? it must be no loopback's")?;
    let directory = tempfile::Builder::new().prefix("mk8s-bench-").tempdir()?;
    let place = Place { binary, address, directory: directory.path().to_owned() };
    let measures = measure(&place, port, &plan).await?;
    table::print(&[String::new()], &[measures]);
    Ok(())
}

async fn measure(place: &Place, port: u16, plan: &Plan) -> anyhow::Result<Vec<Measure>> {
    let first = Server::start(place, "a", port, &[])?;
    first.ready().await?;
    let took = load::create(&first.target()?, plan.objects, plan.bytes, plan.connections).await?;
    let mut measures = vec![Measure::new("creates", plan.objects as f64 / took.as_secs_f64(), "/s")];
    let joining = first.joining()?;
    let begun = Instant::now();
    let second = Server::start(place, "b", port + 1, &joining)?;
    second.ready().await?;
    measures.push(Measure::ms("a server that joins is ready", begun.elapsed()));
    second.is("voter").await?;
    measures.push(Measure::ms("it votes", begun.elapsed()));
    let count = load::count(&second.target()?).await?;
    anyhow::ensure!(count >= plan.objects, "the server that joined shows {count} objects of {}", plan.objects);

    let witness = Server::start(place, "w", port + 2, &[joining, vec!["--witness".to_owned()]].concat())?;
    witness.is("witness").await?;
    measures.push(Measure::new("a witness, resident, before", process::resident(witness.pid())?, "MB"));
    let (large, seconds) = (20_000, Duration::from_secs(10));
    let before = process::cpu(witness.pid())?;
    let begun = Instant::now();
    let rate = load::replace(&first.target()?, large, plan.connections, seconds).await?;
    let cores = (process::cpu(witness.pid())? - before) / begun.elapsed().as_secs_f64();
    measures.push(Measure::new("changes of 20 KB, with a witness", rate, "/s"));
    measures.push(Measure::new("cores of the witness meanwhile", cores, "cores"));
    measures.push(Measure::new("a witness, resident, after that", process::resident(witness.pid())?, "MB"));

    let mut waits = Vec::new();
    for kill in 0..plan.kills {
        let [leads, other] = if first.leads().await? { [&first, &second] } else { [&second, &first] };
        let target = other.target()?;
        leads.kill()?;
        let begun = Instant::now();
        load::written(&target, &format!("after-{kill}")).await?;
        waits.push(begun.elapsed());
        leads.run()?;
        leads.ready().await?;
        leads.is("voter").await?;
    }
    waits.sort_unstable();
    if let (Some(middle), Some(longest)) = (waits.get(waits.len() / 2), waits.last()) {
        measures.push(Measure::ms("a write after a leader's death, p50", *middle));
        measures.push(Measure::ms("a write after a leader's death, longest", *longest));
    }
    Ok(measures)
}

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !holds().await {
        anyhow::ensure!(Instant::now() < deadline, "not within 120 s: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
