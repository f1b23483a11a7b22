//! Asks the connected agents for their figures, every now and then.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Limited};
use mk8s_api::status::Status;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::{Usage, readings::Summary};
use crate::{
    http::{Router, body::request_body},
    relay::Relay,
};

/// How far apart readings of a node are.
const RESOLUTION: Duration = Duration::from_secs(15);
/// How often it is looked whether a node is due. A new node's second reading comes that soon.
const TICK: Duration = Duration::from_secs(5);
/// How long an agent may take, and how much it may say.
const PATIENCE: Duration = Duration::from_secs(10);
const LIMIT: usize = 16 << 20;
/// How many agents are asked at the same time.
const AT_ONCE: usize = 32;
/// How long what a node said last is believed.
const FORGET: Duration = Duration::from_secs(60);

/// Keeps the router's readings new until `stop`.
pub async fn keep(router: Router, stop: CancellationToken) {
    let (relay, usage) = (router.relay(), router.usage());
    let mut asked: HashMap<String, Instant> = HashMap::new();
    let mut heard: HashMap<String, Instant> = HashMap::new();
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let connected: HashSet<String> = relay.nodes().into_iter().collect();
        asked.retain(|node, _| connected.contains(node));
        let due = connected.into_iter().filter(|node| usage.is_due(node, asked.get(node).copied()));
        let due: Vec<String> = due.collect();
        asked.extend(due.iter().map(|node| (node.clone(), Instant::now())));
        let answers = futures::stream::iter(due).map(|node| async move {
            let said = tokio::time::timeout(PATIENCE, summary(relay, &node)).await;
            (node, said.unwrap_or_else(|_| Err(Status::timeout("the agent did not answer in time", 1))))
        });
        let mut answers = std::pin::pin!(answers.buffer_unordered(AT_ONCE));
        while let Some(Some((node, said))) = stop.run_until_cancelled(answers.next()).await {
            match said {
                Ok(summary) => {
                    usage.note(&node, &summary);
                    heard.insert(node, Instant::now());
                }
                Err(status) => tracing::debug!(node, status = status.message, "no figures of a node"),
            }
        }
        heard.retain(|_, at| at.elapsed() < FORGET);
        usage.0.write().retain(|node, _| heard.contains_key(node));
    }
}

impl Usage {
    /// Takes in what a node's agent says now.
    pub(crate) fn note(&self, node: &str, summary: &Summary) {
        self.0.write().entry(node.to_owned()).or_default().note(summary);
    }

    fn is_due(&self, node: &str, asked: Option<Instant>) -> bool {
        let Some(asked) = asked else { return true };
        // Half a tick early, so that a tick that comes a little early counts.
        asked.elapsed() + TICK / 2 >= RESOLUTION || !self.0.read().get(node).is_some_and(super::NodeReadings::settled)
    }
}

async fn summary(relay: &Relay, node: &str) -> Result<Summary, Status> {
    let mut request = Request::get("http://node/stats/summary")
        .body(request_body(http_body_util::Empty::<Bytes>::new()))
        .map_err(Status::internal)?;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    let response = relay.send(node, request).await?;
    if !response.status().is_success() {
        return Err(Status::internal(format!("the agent answered {}", response.status())));
    }
    let body = Limited::new(response.into_body(), LIMIT).collect().await;
    let bytes = body.map_err(Status::internal)?.to_bytes();
    serde_json::from_slice(&bytes).map_err(Status::internal)
}
