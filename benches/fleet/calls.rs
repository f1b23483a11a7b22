//! How long clients wait for an answer while a cluster holds many pods.

use crate::{
    Measure, NAMESPACE, Plan,
    connection::{Call, Connection},
    target::Target,
};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const CLIENTS: usize = 8;
const LENGTH: Duration = Duration::from_secs(20);

/// Clients that get, change and list pods one call after the other, without a pause.
pub(crate) async fn among(target: &Target, plan: &Plan) -> anyhow::Result<Vec<Measure>> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (mut connection, pods, nodes) = (Connection::open(target).await?, plan.pods, plan.nodes);
        clients.spawn(async move {
            let (begun, mut took) = (Instant::now(), Vec::new());
            for n in (client..).step_by(CLIENTS) {
                if begun.elapsed() > LENGTH {
                    break;
                }
                let asked = Instant::now();
                connection.expect(call(n, n.wrapping_mul(7919) % pods, n % nodes), &[200]).await?;
                took.push(asked.elapsed());
            }
            anyhow::Ok(took)
        });
    }
    let mut took = Vec::new();
    while let Some(client) = clients.join_next().await {
        took.extend(client??);
    }
    took.sort_unstable();
    anyhow::ensure!(!took.is_empty(), "no call was answered within {LENGTH:?}");
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    let calls = format!("calls of {CLIENTS} clients among {} pods", plan.pods);
    Ok(vec![
        Measure::new(calls.clone(), took.len() as f64 / LENGTH.as_secs_f64(), "calls/s"),
        Measure::ms(format!("{calls}, p50"), at(0.5)),
        Measure::ms(format!("{calls}, p99"), at(0.99)),
        Measure::ms(format!("{calls}, longest"), at(1.0)),
    ])
}

/// Of ten calls five get a pod, three change one, one lists the pods of a node, and one lists a page of all.
fn call(n: usize, pod: usize, node: usize) -> Call {
    let pods = format!("/api/v1/namespaces/{NAMESPACE}/pods");
    match n / CLIENTS % 10 {
        0..=4 => Call::get(format!("{pods}/p-{pod}")),
        5..=7 => {
            let change = format!(r#"{{"metadata":{{"annotations":{{"bench":"{n}"}}}}}}"#);
            Call::patch(format!("{pods}/p-{pod}"), "application/merge-patch+json", change)
        }
        8 => Call::get(format!("/api/v1/pods?fieldSelector=spec.nodeName%3Dfleet-{node}")),
        _ => Call::get(format!("{pods}?limit=500")),
    }
}
