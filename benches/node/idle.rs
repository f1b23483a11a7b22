//! What a process costs while pods idle.

use crate::{
    Plan, pods,
    process::{cpu, resident},
    table::Measure,
};
use kube::{Client, api::PostParams};
use std::time::Duration;

const OBSERVED: Duration = Duration::from_secs(30);

pub(crate) async fn with_pods(client: &Client, plan: &Plan, pid: u32, count: usize) -> anyhow::Result<Vec<Measure>> {
    let api = pods::api(client);
    let mut events = pods::watch(&api).await?;
    for n in 0..count {
        api.create(&PostParams::default(), &pods::pod(&format!("idle-{n}"), &plan.image)).await?;
    }
    pods::until_ready(&mut events, count).await?;
    drop(events);
    let before = cpu(pid)?;
    tokio::time::sleep(OBSERVED).await;
    let share = (cpu(pid)? - before) / OBSERVED.as_secs_f64() * 100.0;
    let resident = resident(pid)?;
    pods::remove_all(client).await?;
    Ok(vec![
        Measure::new(format!("resident, {count} idle pods"), resident, "MB"),
        Measure::new(format!("share of a core, {count} idle pods"), share, "%"),
    ])
}
