//! How soon many watches of one resource learn of a change.

use crate::{
    Measure, NAMESPACE, Plan,
    connection::{Call, Connection},
    target::Target,
};
use anyhow::Context;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const ROUNDS: u64 = 50;
const PATIENCE: Duration = Duration::from_secs(10);

/// The rate is that of events; the latencies are from before the change was sent until each watch has it.
pub(crate) async fn learn(control: &mut Connection, target: &Target, plan: &Plan) -> anyhow::Result<Measure> {
    // ConfigMaps are many by now; of Leases there is this one.
    let url = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases");
    let lease = r#"{"apiVersion":"coordination.k8s.io/v1","kind":"Lease","metadata":{"name":"watched"}}"#;
    control.expect(Call::post(url.clone(), lease), &[201, 409]).await?;
    let (seen, mut events) = mpsc::unbounded_channel();
    for _ in 0..plan.watches {
        let mut connection = Connection::open(target).await?;
        let answer = connection.send(Call::get(format!("{url}?watch=true&timeoutSeconds=600"))).await?;
        anyhow::ensure!(answer.status().is_success(), "a watch is answered with {}", answer.status());
        let seen = seen.clone();
        tokio::spawn(async move {
            // The connection lives as long as what comes over it.
            let _connection = connection;
            follow(answer.into_body(), &seen).await;
        });
    }
    // Each begins with the Lease as it is.
    round(&mut events, plan.watches).await?;
    let (begun, mut latencies) = (Instant::now(), Vec::new());
    for n in 1..=ROUNDS {
        let start = Instant::now();
        let change = format!(r#"{{"spec":{{"leaseTransitions":{n}}}}}"#);
        control.expect(Call::patch(format!("{url}/watched"), "application/merge-patch+json", change), &[200]).await?;
        latencies
            .extend(round(&mut events, plan.watches).await?.into_iter().map(|at| at.saturating_duration_since(start)));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(Measure::of(format!("update reaches {} watches", plan.watches), latencies, begun.elapsed()))
}

/// When each of `count` watches had its next event.
async fn round(events: &mut mpsc::UnboundedReceiver<Instant>, count: usize) -> anyhow::Result<Vec<Instant>> {
    let mut times = Vec::with_capacity(count);
    while times.len() < count {
        let next = tokio::time::timeout(PATIENCE, events.recv()).await;
        let next =
            next.ok().flatten().with_context(|| format!("only {} of {count} watches have the event", times.len()))?;
        times.push(next);
    }
    Ok(times)
}

/// Tells when each event has come: they end with a line's end.
async fn follow(mut body: Incoming, seen: &mpsc::UnboundedSender<Instant>) {
    while let Some(Ok(frame)) = body.frame().await {
        let now = Instant::now();
        let ends = frame.data_ref().map_or(0, |data| data.iter().filter(|byte| **byte == b'\n').count());
        if (0..ends).any(|_| seen.send(now).is_err()) {
            return;
        }
    }
}
