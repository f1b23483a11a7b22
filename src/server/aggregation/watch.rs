//! Keeping an eye on extensions: whether they are there, and what they serve.
//!
//! Every server does so for itself, because each needs to know; what they write as the condition `Available` is the same.

use std::{collections::HashMap, time::Duration};

use futures::{StreamExt, future, stream::FuturesUnordered};
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty};
use jiff::Timestamp;
use mk8s_api::{discovery, meta, status::Status};
use mk8s_store::{Store, Watcher};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::{
    Aggregation,
    found::{self, Served},
    health::{self, Condition},
    index::{PREFIX, Remote},
    proxy,
};
use crate::{
    admission::Notes,
    auth::{MASTERS, User},
    http::{Router, body::request_body},
    registry::{Call, Registry, Warnings, WriteOptions},
};

const PROBE: Duration = Duration::from_secs(5);
/// How many probes are sent at once: one answer is enough, from whichever endpoint.
const ATTEMPTS: usize = 5;
/// How often an extension is looked at when nothing happens.
const AGAIN: Duration = Duration::from_secs(30);
/// How soon after a probe failed, doubled each time.
const SOON: Duration = Duration::from_millis(250);
/// The largest description of itself that an extension may have.
const DOCUMENT: usize = 32 << 20;

/// Follows the APIServices until `stop`.
pub async fn keep(router: Router, stop: CancellationToken) {
    let aggregation = router.aggregation().clone();
    let user = User::control_plane("system:kube-aggregator");
    let mut failures: HashMap<String, u32> = HashMap::new();
    loop {
        let view = aggregation.0.store.view();
        let remotes = aggregation.remotes();
        let names: Vec<&str> = remotes.iter().map(|remote| remote.name.as_str()).collect();
        aggregation.0.found.write().keep_only(&names);
        failures.retain(|name, _| names.contains(&name.as_str()));
        let mut watchers = watchers(&aggregation.0.store, &remotes, view.revision());
        let looks = remotes.iter().map(|remote| {
            let (aggregation, user, view) = (&aggregation, &user, &view);
            async move {
                let condition = match health::of_store(view, remote) {
                    Some(condition) => condition,
                    None => Condition::of_probe(aggregation.probe(remote, user).await),
                };
                let learnt = if condition.available { aggregation.learn(remote, user).await } else { None };
                (remote, condition, learnt)
            }
        });
        for (remote, condition, learnt) in future::join_all(looks).await {
            aggregation.0.found.write().note(&remote.name, learnt);
            let asked_in_vain = condition.reason == "FailedDiscoveryCheck";
            match asked_in_vain {
                true => *failures.entry(remote.name.clone()).or_default() += 1,
                false => drop(failures.remove(&remote.name)),
            }
            if let Err(status) = say(router.registry(), &user, remote, &condition).await {
                tracing::debug!(
                    service = remote.name,
                    why = status.message,
                    "the condition of an APIService is not written"
                );
            }
        }
        let soonest = failures.values().map(|count| SOON.saturating_mul(1 << (*count).min(10))).min();
        let pause = soonest.unwrap_or(AGAIN).min(AGAIN);
        let changed = future::select_all(watchers.iter_mut().map(|watcher| Box::pin(watcher.next())));
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changed => {}
            () = tokio::time::sleep(pause), if !remotes.is_empty() => {}
        }
    }
}

/// Watchers of all that decides about extensions.
fn watchers(store: &Store, remotes: &[std::sync::Arc<Remote>], revision: u64) -> Vec<Watcher> {
    let mut prefixes = vec![String::from_utf8_lossy(PREFIX).into_owned()];
    for remote in remotes {
        let namespace = &remote.service.namespace;
        prefixes.push(format!("/registry/core/services/{namespace}/"));
        prefixes.push(format!("/registry/discovery.k8s.io/endpointslices/{namespace}/"));
    }
    prefixes.sort();
    prefixes.dedup();
    let watch = |prefix: String| match store.watch(prefix.as_bytes(), revision) {
        Ok(watcher) => Some(watcher),
        Err(_) => store.watch(prefix.as_bytes(), store.revision()).ok(),
    };
    prefixes.into_iter().filter_map(watch).collect()
}

/// Writes the condition where it says something new.
async fn say(registry: &Registry, user: &User, remote: &Remote, condition: &Condition) -> Result<(), Status> {
    let resource = registry.resources().find("apiregistration.k8s.io", "v1", "apiservices");
    let resource = resource.ok_or_else(Status::resource_not_found)?;
    let now = meta::format_time(Timestamp::now());
    let (options, notes) = (WriteOptions::default(), Notes::default());
    let call = Call {
        resource: &resource,
        namespace: "",
        name: &remote.name,
        subresource: "status",
        user,
        options: &options,
        notes: &notes,
    };
    let mut warnings = Warnings::new();
    let write = registry.update_with(&call, &mut warnings, |old| {
        let mut new = health::with_condition(old, condition, &now).unwrap_or_else(|| old.clone());
        meta::set(&mut new, "resourceVersion", "0");
        Ok(new)
    });
    write.await.map(drop)
}

impl Aggregation {
    /// Whether the extension answers for its version; why not otherwise.
    async fn probe(&self, remote: &Remote, user: &User) -> Result<(), String> {
        let url = format!("{}{}", self.endpoint(remote).origin(), remote.path());
        let once = || async {
            let answered =
                tokio::time::timeout(PROBE, self.get(remote, user, &remote.path(), "application/json, */*")).await;
            match answered {
                Ok(Ok((code, _))) if (200..300).contains(&code) => Ok(()),
                Ok(Ok((code, _))) => {
                    Err(format!("failing or missing response from {url}: bad status from {url}: {code}"))
                }
                Ok(Err(why)) => Err(format!("failing or missing response from {url}: {why}")),
                Err(_) => Err(format!("timed out waiting for {url}")),
            }
        };
        let mut attempts: FuturesUnordered<_> = (0..ATTEMPTS).map(|_| once()).collect();
        let mut last = Ok(());
        while let Some(outcome) = attempts.next().await {
            last = outcome;
            if last.is_ok() {
                break;
            }
        }
        last
    }

    /// What an extension says it serves.
    async fn learn(&self, remote: &Remote, user: &User) -> Option<Served> {
        let aggregated = self.told(remote, user, "/apis", discovery::AGGREGATED).await;
        let aggregated = aggregated.filter(|document| document["kind"] == "APIGroupDiscoveryList");
        let resources = match aggregated {
            Some(document) => found::in_aggregated(&document, remote).unwrap_or_default(),
            None => {
                let list = self.told(remote, user, &remote.path(), "application/json").await?;
                found::of_resource_list(&list)
            }
        };
        let index = self.told(remote, user, "/openapi/v3", "application/json").await.unwrap_or_default();
        let own = remote.path();
        let openapi_v3 = index["paths"][own.trim_start_matches('/')]["serverRelativeURL"].as_str().map(str::to_string);
        let v2 = self.told(remote, user, "/openapi/v2", "application/json").await;
        let openapi_v2: Option<(Map<String, Value>, Map<String, Value>)> =
            v2.and_then(|document| found::in_openapi_v2(document, remote));
        Some(Served { resources, fresh: true, openapi_v3, openapi_v2 })
    }

    /// A JSON document of an extension.
    async fn told(&self, remote: &Remote, user: &User, path: &str, accept: &'static str) -> Option<Value> {
        let answered = tokio::time::timeout(PROBE, self.get(remote, user, path, accept)).await;
        match answered.ok()? {
            Ok((200, body)) => serde_json::from_slice(&body).ok(),
            _ => None,
        }
    }

    async fn get(
        &self,
        remote: &Remote,
        user: &User,
        path: &str,
        accept: &'static str,
    ) -> Result<(u16, Vec<u8>), String> {
        let mut request = Request::new(request_body(Empty::new()));
        *request.uri_mut() = path.parse().map_err(|error| format!("{path}: {error}"))?;
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(accept));
        proxy::introduce(request.headers_mut(), &User::new(user.name.clone(), [MASTERS]));
        let answered = self.0.client.send(&self.endpoint(remote), request).await;
        let response = answered.map_err(|error| error.to_string())?;
        let code = response.status().as_u16();
        let mut body = response.into_body();
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
            if all.len() + data.len() > DOCUMENT {
                return Err(format!("{path} is larger than {DOCUMENT} bytes"));
            }
            all.extend_from_slice(&data);
        }
        Ok((code, all))
    }
}
