//! What clients do with the servers.

use crate::{Call, Connection, target::Target, until};
use http_body_util::BodyExt;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, bytes: usize, mark: usize) -> String {
    let data = format!("{mark:08}{}", "x".repeat(bytes));
    format!(r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"{name}"}},"data":{{"d":"{data}"}}}}"#)
}

/// Makes objects; how long that took.
pub(crate) async fn create(
    target: &Target,
    count: usize,
    bytes: usize,
    connections: usize,
) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for first in 0..connections {
        let mut connection = Connection::open(target).await?;
        writers.spawn(async move {
            for n in (first..count).step_by(connections) {
                connection.expect(Call::post(MAPS, map(&format!("o-{n}"), bytes, n)), &[201]).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    Ok(begun.elapsed())
}

/// Changes an object on each connection, again and again; how often in a second.
pub(crate) async fn replace(
    target: &Target,
    bytes: usize,
    connections: usize,
    seconds: Duration,
) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for n in 0..connections {
        let mut connection = Connection::open(target).await?;
        writers.spawn(async move {
            let name = format!("large-{n}");
            connection.expect(Call::post(MAPS, map(&name, bytes, 0)), &[201]).await?;
            let mut written = 0;
            while begun.elapsed() < seconds {
                written += 1;
                let change = map(&name, bytes, written);
                let call = Call::patch(format!("{MAPS}/{name}"), "application/merge-patch+json", change);
                connection.expect(call, &[200]).await?;
            }
            connection.expect(Call::delete(format!("{MAPS}/{name}")), &[200]).await?;
            anyhow::Ok(written)
        });
    }
    let mut written = 0;
    while let Some(count) = writers.join_next().await {
        written += count??;
    }
    Ok(written as f64 / begun.elapsed().as_secs_f64())
}

/// How many objects a server shows.
pub(crate) async fn count(target: &Target) -> anyhow::Result<usize> {
    let call = Call::get(format!("{MAPS}?limit=1"));
    let answer = Connection::open(target).await?.send(call).await?.into_body().collect().await?.to_bytes();
    let list: serde_json::Value = serde_json::from_slice(&answer)?;
    let more = list["metadata"]["remainingItemCount"].as_u64().unwrap_or_default();
    Ok(usize::try_from(more)? + list["items"].as_array().map_or(0, Vec::len))
}

/// Returns when a write is taken.
pub(crate) async fn written(target: &Target, name: &str) -> anyhow::Result<()> {
    until("a write is taken", async || {
        let write = async {
            let call = Call::post(MAPS, map(name, 10, 0));
            Connection::open(target).await?.expect(call, &[201, 409]).await
        };
        write.await.is_ok()
    })
    .await
}
