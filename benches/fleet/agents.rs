//! What the agents of many nodes ask of a server: a Lease every ten seconds, a status now and then, and watches of their
//! pods, of the Services and of the EndpointSlices.

use crate::{
    Measure, Plan,
    connection::{Call, Connection},
    nodes, process,
    target::Target,
};
use http_body_util::BodyExt;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Every how often a Lease is renewed, and after how many renewals the status is told.
const RENEWAL: Duration = Duration::from_secs(10);
const STATUS: u32 = 3;

pub(crate) async fn work(control: &mut Connection, target: &Target, plan: &Plan) -> anyhow::Result<Vec<Measure>> {
    let mut agents = JoinSet::new();
    let (start, count) = (tokio::sync::watch::channel(None), plan.agents);
    for n in 0..count {
        let name = format!("agent-{n}");
        nodes::make(control, &name).await?;
        let agent = Agent::begin(target, name).await?;
        let mut begin = start.1.clone();
        let seconds = plan.seconds;
        agents.spawn(async move {
            let begun = begin.wait_for(Option::is_some).await.map(|at| at.expect("it was waited for"))?;
            // Nodes do not renew in step.
            let phase = RENEWAL.mul_f64(n as f64 / count as f64);
            agent.live(begun + phase, begun + Duration::from_secs(seconds)).await
        });
    }
    let before = plan.pid.map(process::cpu).transpose()?;
    let begun = Instant::now();
    start.0.send_replace(Some(begun));
    let mut latencies = Vec::new();
    while let Some(agent) = agents.join_next().await {
        latencies.extend(agent??);
    }
    let elapsed = begun.elapsed();
    latencies.sort_unstable();
    anyhow::ensure!(!latencies.is_empty(), "no agent has asked anything within {} s", plan.seconds);
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let mut measures = vec![
        Measure::ms(format!("calls of {count} agents, p50"), at(0.5)),
        Measure::ms(format!("calls of {count} agents, p99"), at(0.99)),
    ];
    if let (Some(pid), Some(before)) = (plan.pid, before) {
        let cores = (process::cpu(pid)? - before) / elapsed.as_secs_f64();
        measures.push(Measure::new(format!("cores with {count} agents"), cores, "cores"));
        measures.push(Measure::new(format!("resident with {count} agents"), process::resident(pid)?, "MB"));
    }
    nodes::remove(control, "agent").await?;
    Ok(measures)
}

struct Agent {
    name: String,
    calls: Connection,
    watches: JoinSet<()>,
}

impl Agent {
    async fn begin(target: &Target, name: String) -> anyhow::Result<Agent> {
        let mut watches = JoinSet::new();
        for what in [
            format!("pods?fieldSelector=spec.nodeName%3D{name}&"),
            "services?".to_owned(),
            format!("nodes?fieldSelector=metadata.name%3D{name}&"),
        ] {
            let mut connection = Connection::open(target).await?;
            let call = Call::get(format!("/api/v1/{what}watch=true&timeoutSeconds=600"));
            let mut events = connection.send(call).await?.into_body();
            watches.spawn(async move {
                let _connection = connection;
                while let Some(Ok(_)) = events.frame().await {}
            });
        }
        Ok(Agent { name, calls: Connection::open(target).await?, watches })
    }

    /// How long each call took.
    async fn live(mut self, first: Instant, until: Instant) -> anyhow::Result<Vec<Duration>> {
        let (mut next, mut renewals, mut took) = (first, 0, Vec::new());
        while next < until {
            tokio::time::sleep_until(next.into()).await;
            let call = if renewals % STATUS == 0 { nodes::status(&self.name) } else { nodes::renewal(&self.name) };
            let begun = Instant::now();
            self.calls.expect(call, &[200]).await?;
            took.push(begun.elapsed());
            (next, renewals) = (next + RENEWAL, renewals + 1);
        }
        self.watches.abort_all();
        Ok(took)
    }
}
