//! A Service with a ready pod behind it, from its creation to the first answer on its cluster address.

use crate::{NAMESPACE, Plan, pods};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Requests that are under way at once while the others are made.
const AT_ONCE: usize = 32;
const PATIENCE: Duration = Duration::from_secs(30);

fn service(name: &str, target: &str) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"selector": {"bench": target}, "ports": [{"port": 80, "targetPort": 8080}]},
    }))
    .expect("this is a Service")
}

pub(crate) async fn answers(client: &Client, plan: &Plan, others: usize) -> anyhow::Result<Vec<Duration>> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let parameters = PostParams::default();
    let behind = pods::api(client);
    let mut events = pods::watch(&behind).await?;
    behind.create(&parameters, &pods::pod("target", &plan.image)).await?;
    pods::until_ready(&mut events, 1).await?;
    println!("making {others} other Services");
    let made = futures::stream::iter(0..others)
        .map(|n| {
            let (services, parameters) = (services.clone(), parameters.clone());
            async move { services.create(&parameters, &service(&format!("other-{n}"), "target")).await.map(drop) }
        })
        .buffer_unordered(AT_ONCE);
    made.collect::<Vec<_>>().await.into_iter().collect::<Result<(), _>>()?;
    // The last of them answers: what came before it is done.
    time_one(&services, "settled").await?;
    let mut times = Vec::new();
    for round in 0..plan.rounds {
        times.push(time_one(&services, &format!("timed-{round}")).await?);
    }
    services.delete_collection(&DeleteParams::default(), &Default::default()).await?;
    pods::remove_all(client).await?;
    Ok(times)
}

async fn time_one(services: &Api<Service>, name: &str) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let made = services.create(&PostParams::default(), &service(name, "target")).await?;
    let address = made.spec.and_then(|spec| spec.cluster_ip).ok_or_else(|| anyhow::anyhow!("{name} has no address"))?;
    while begun.elapsed() < PATIENCE {
        if ask(&address).await.is_ok_and(|answered| answered) {
            return Ok(begun.elapsed());
        }
        // Refused at once while there are no rules; a connection that is dropped waits for its time-out below.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    anyhow::bail!("Service {name} at {address} did not answer within {PATIENCE:?}")
}

async fn ask(address: &str) -> std::io::Result<bool> {
    let connecting = TcpStream::connect((address, 80));
    let mut stream = timeout(Duration::from_millis(20), connecting).await??;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").await?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1."))
}
