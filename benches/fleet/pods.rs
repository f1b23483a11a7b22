//! Pods from their creation until they are bound, counted from a watch of the bound ones.

use crate::{
    Measure, NAMESPACE, Plan, calls,
    connection::{Call, Connection},
    process,
    target::Target,
};
use anyhow::Context;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{sync::watch, task::JoinSet};

const PATIENCE: Duration = Duration::from_secs(60);

/// Creates pods over all connections as fast as they go, and waits until all are bound.
pub(crate) async fn through(control: &mut Connection, target: &Target, plan: &Plan) -> anyhow::Result<Vec<Measure>> {
    let mut bound = Bound::watch(target).await?;
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut workers = JoinSet::new();
    for _ in 0..plan.connections {
        let (mut connection, next, pods) = (Connection::open(target).await?, next.clone(), plan.pods);
        workers.spawn(async move {
            loop {
                let n = next.fetch_add(1, Relaxed);
                if n >= pods {
                    return anyhow::Ok(());
                }
                connection.expect(Call::post(url(), pod(&format!("p-{n}"))), &[201]).await?;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker??;
    }
    let created = begun.elapsed();
    bound.reach(plan.pods).await?;
    let all = begun.elapsed();
    let per_second = |took: Duration| plan.pods as f64 / took.as_secs_f64();
    let mut measures = vec![
        Measure::new(format!("pods created, {} nodes", plan.nodes), per_second(created), "pods/s"),
        Measure::new(format!("pods bound, {} nodes", plan.nodes), per_second(all), "pods/s"),
    ];
    if let Some(pid) = plan.pid {
        measures.push(Measure::new(format!("resident with {} pods", plan.pods), process::resident(pid)?, "MB"));
        let (before, seconds) = (process::cpu(pid)?, 20);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        let cores = (process::cpu(pid)? - before) / seconds as f64;
        measures.push(Measure::new(format!("cores with {} pods at rest", plan.pods), cores, "cores"));
    }
    drop(bound);
    measures.extend(calls::among(target, plan).await?);
    remove_all(control).await?;
    Ok(measures)
}

/// A Deployment from its creation until all its pods are bound.
pub(crate) async fn deployment(
    control: &mut Connection,
    target: &Target,
    replicas: usize,
) -> anyhow::Result<Vec<Measure>> {
    let mut bound = Bound::watch(target).await?;
    let url = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments");
    let deployment = format!(
        r#"{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"large"}},"spec":{{"replicas":{replicas},"selector":{{"matchLabels":{{"app":"large"}}}},"template":{{"metadata":{{"labels":{{"app":"large"}}}},"spec":{SPEC}}}}}}}"#
    );
    let begun = Instant::now();
    control.expect(Call::post(url.clone(), deployment), &[201]).await?;
    bound.reach(replicas).await?;
    let took = begun.elapsed();
    control
        .expect(Call::delete(format!("{url}/large?propagationPolicy=Foreground&gracePeriodSeconds=0")), &[200, 202])
        .await?;
    Ok(vec![Measure::ms(format!("Deployment of {replicas}, all pods bound"), took)])
}

/// Deletes all pods; nobody runs them who would say that they have stopped.
pub(crate) async fn remove_all(control: &mut Connection) -> anyhow::Result<()> {
    control.expect(Call::delete(format!("{}?gracePeriodSeconds=0", url())), &[200]).await
}

const SPEC: &str = r#"{"containers":[{"name":"c","image":"docker.io/mk8s/pause:1","resources":{"requests":{"cpu":"100m","memory":"100Mi"}}}],"nodeSelector":{"bench":"fleet"}}"#;

fn url() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/pods")
}

fn pod(name: &str) -> String {
    format!(
        r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"app":"bench"}}}},"spec":{SPEC}}}"#
    )
}

/// How many pods have been bound since the watch began.
struct Bound(watch::Receiver<usize>);

impl Bound {
    async fn watch(target: &Target) -> anyhow::Result<Bound> {
        let mut connection = Connection::open(target).await?;
        let path = format!("{}?watch=true&timeoutSeconds=3600&fieldSelector=spec.nodeName!%3D", url());
        let answer = connection.send(Call::get(path)).await?;
        anyhow::ensure!(answer.status().is_success(), "the watch is answered with {}", answer.status());
        let (count, counted) = watch::channel(0);
        tokio::spawn(async move {
            // The connection lives as long as what comes over it.
            let _connection = connection;
            tally(answer.into_body(), &count).await;
        });
        Ok(Bound(counted))
    }

    async fn reach(&mut self, wanted: usize) -> anyhow::Result<()> {
        let mut seen = *self.0.borrow();
        while seen < wanted {
            let changed = tokio::time::timeout(PATIENCE, self.0.changed()).await;
            changed
                .ok()
                .transpose()?
                .with_context(|| format!("{seen} of {wanted} pods are bound, and then no more"))?;
            seen = *self.0.borrow();
        }
        Ok(())
    }
}

/// Counts the pods that come to match, without reading the rest of them: the client shares the machine with what it measures.
async fn tally(mut body: Incoming, count: &watch::Sender<usize>) {
    const ADDED: &[u8] = br#"{"type":"ADDED""#;
    let (mut at_start, mut matched) = (true, 0);
    while let Some(Ok(frame)) = body.frame().await {
        let Some(data) = frame.data_ref() else { continue };
        let mut added = 0;
        for byte in data.iter() {
            if *byte == b'\n' {
                (at_start, matched) = (true, 0);
            } else if at_start {
                at_start = *byte == ADDED[matched];
                matched += 1;
                if at_start && matched == ADDED.len() {
                    added += 1;
                    at_start = false;
                }
            }
        }
        if added > 0 && !count.is_closed() {
            count.send_modify(|count| *count += added);
        } else if count.is_closed() {
            return;
        }
    }
}
