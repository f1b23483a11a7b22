//! Pods from their creation to Ready, as a client sees it through a watch that is open before.

use crate::{NAMESPACE, Plan};
use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;
use std::{
    collections::HashSet,
    pin::Pin,
    time::{Duration, Instant},
};

type Events = Pin<Box<dyn Stream<Item = kube::Result<WatchEvent<Pod>>> + Send>>;

pub(crate) fn pod(name: &str, image: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"bench": name}},
        "spec": {"containers": [{"name": "c", "image": image}], "terminationGracePeriodSeconds": 0},
    }))
    .expect("this is a pod")
}

pub(crate) fn api(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), NAMESPACE)
}

/// Every change of the pods from now on.
pub(crate) async fn watch(pods: &Api<Pod>) -> anyhow::Result<Events> {
    let version = pods.list(&Default::default()).await?.metadata.resource_version.unwrap_or_default();
    Ok(Box::pin(pods.watch(&WatchParams::default().timeout(290), &version).await?))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// Waits until `count` different pods are Ready.
pub(crate) async fn until_ready(events: &mut Events, count: usize) -> anyhow::Result<()> {
    let mut ready = HashSet::new();
    while ready.len() < count {
        match events.try_next().await? {
            Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) if is_ready(&pod) => {
                ready.insert(pod.name_any());
            }
            Some(_) => {}
            None => anyhow::bail!("the watch ended with {} of {count} pods Ready", ready.len()),
        }
    }
    Ok(())
}

/// Deletes all pods and waits until none is left.
pub(crate) async fn remove_all(client: &Client) -> anyhow::Result<()> {
    let pods = api(client);
    let mut events = watch(&pods).await?;
    let mut left: HashSet<String> = pods.list(&Default::default()).await?.iter().map(ResourceExt::name_any).collect();
    pods.delete_collection(&DeleteParams::default().grace_period(0), &Default::default()).await?;
    while !left.is_empty() {
        match events.next().await.transpose()? {
            Some(WatchEvent::Deleted(pod)) => drop(left.remove(&pod.name_any())),
            Some(_) => {}
            None => anyhow::bail!("the watch ended with {} pods left", left.len()),
        }
    }
    Ok(())
}

pub(crate) async fn one_by_one(client: &Client, plan: &Plan) -> anyhow::Result<Vec<Duration>> {
    let pods = api(client);
    let mut times = Vec::new();
    for round in 0..plan.rounds {
        let mut events = watch(&pods).await?;
        let begun = Instant::now();
        pods.create(&PostParams::default(), &pod(&format!("one-{round}"), &plan.image)).await?;
        until_ready(&mut events, 1).await?;
        times.push(begun.elapsed());
        remove_all(client).await?;
    }
    Ok(times)
}

pub(crate) async fn at_once(client: &Client, plan: &Plan, count: usize) -> anyhow::Result<Duration> {
    let pods = api(client);
    let mut events = watch(&pods).await?;
    let begun = Instant::now();
    let parameters = PostParams::default();
    let made: Vec<Pod> = (0..count).map(|n| pod(&format!("many-{n}"), &plan.image)).collect();
    futures::future::try_join_all(made.iter().map(|pod| pods.create(&parameters, pod))).await?;
    until_ready(&mut events, count).await?;
    let took = begun.elapsed();
    remove_all(client).await?;
    Ok(took)
}
