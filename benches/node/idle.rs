//! What a process costs while pods idle.

use crate::{Measure, Plan, pods};
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
        Measure { name: format!("resident, {count} idle pods"), value: resident, unit: "MB" },
        Measure { name: format!("share of a core, {count} idle pods"), value: share, unit: "%" },
    ])
}

/// Seconds of processor time so far.
fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or_default();
    let second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100) as f64;
    Ok((ticks(11) + ticks(12)) / second)
}

fn resident(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().next().unwrap_or_default().parse()?;
    Ok(kib * 1024.0 / 1e6)
}
