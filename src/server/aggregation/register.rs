//! The APIServices of custom resources: one for every version that a definition serves; and the condition of all that
//! this server answers for itself.
//!
//! [`plan`] says what is to be written; [`keep_local`] watches and writes. What somebody made themselves, without the
//! label [`local::MANAGED`], stays as it is.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future;
use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use mk8s_api::{
    at::{flag, get, list, sub, text},
    meta,
};
use mk8s_store::Store;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    health::{self, Condition},
    index, local,
};
use crate::stored;

const DEFINITIONS: (&str, &str) = ("apiextensions.k8s.io", "customresourcedefinitions");
const SERVICES: (&str, &str) = ("apiregistration.k8s.io", "apiservices");
/// How soon a write that failed is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Something to write.
#[derive(Debug, Clone, PartialEq)]
enum Action {
    Create(Value),
    Replace(Value),
    /// Only the status.
    Say(Value),
    Delete(String),
}

/// Keeps the APIServices of what this server serves itself, until `stop`.
pub async fn keep_local(store: Store, client: Client, stop: CancellationToken) {
    loop {
        let view = store.view();
        let definitions = stored::list(&view, DEFINITIONS.0, DEFINITIONS.1, "");
        let services = stored::list(&view, SERVICES.0, SERVICES.1, "");
        let mut failed = false;
        for action in plan(&definitions, &services, &meta::format_time(Timestamp::now())) {
            if let Err(error) = act(&client, &action).await {
                tracing::debug!(%error, ?action, "an APIService is not written");
                failed = true;
            }
        }
        let prefixes = [b"/registry/apiextensions.k8s.io/customresourcedefinitions/", index::PREFIX];
        let watch = |prefix| {
            let later = |_| store.watch(prefix, store.revision());
            store.watch(prefix, view.revision()).or_else(later).ok()
        };
        let mut watchers: Vec<_> = prefixes.into_iter().filter_map(watch).collect();
        let changed = future::select_all(watchers.iter_mut().map(|watcher| Box::pin(watcher.next())));
        tokio::select! {
            () = stop.cancelled() => return,
            _ = changed => {}
            () = tokio::time::sleep(AGAIN), if failed => {}
        }
    }
}

/// What brings the APIServices in line with the definitions.
fn plan(definitions: &[Value], services: &[Value], now: &str) -> Vec<Action> {
    let mut wanted = BTreeMap::new();
    for definition in definitions {
        let spec = sub(definition, "spec");
        let group = text(spec, "group");
        for version in list(spec, "versions").iter().filter(|version| flag(version, "served") == Some(true)) {
            let version = text(version, "name");
            let (of_group, of_version) = local::CUSTOM;
            let service = local::api_service(group, version, of_group, of_version, "true");
            wanted.insert(format!("{version}.{group}"), service);
        }
    }
    for built_in in local::objects() {
        wanted.remove(meta::name(&built_in));
    }
    let known: BTreeSet<&str> = services.iter().map(meta::name).collect();
    let missing = wanted.iter().filter(|(name, _)| !known.contains(name.as_str()));
    let mut actions: Vec<Action> = missing.map(|(_, service)| Action::Create(service.clone())).collect();
    for service in services {
        let name = meta::name(service);
        if meta::label(service, local::MANAGED) == Some("true") {
            match wanted.get(name) {
                None => {
                    actions.push(Action::Delete(name.to_owned()));
                    continue;
                }
                Some(wanted) if wanted["spec"] != service["spec"] => {
                    let mut replaced = service.clone();
                    replaced["spec"] = wanted["spec"].clone();
                    actions.push(Action::Replace(replaced));
                    continue;
                }
                Some(_) => {}
            }
        }
        if get(sub(service, "spec"), "service").is_none() {
            let said = health::with_condition(service, &Condition::local(), now);
            actions.extend(said.map(Action::Say));
        }
    }
    actions
}

async fn act(client: &Client, action: &Action) -> kube::Result<()> {
    const PATH: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
    let (method, path, body) = match action {
        Action::Create(service) => (Method::POST, PATH.to_owned(), service.to_string()),
        Action::Replace(service) => (Method::PUT, format!("{PATH}/{}", meta::name(service)), service.to_string()),
        Action::Say(service) => (Method::PUT, format!("{PATH}/{}/status", meta::name(service)), service.to_string()),
        Action::Delete(name) => (Method::DELETE, format!("{PATH}/{name}"), String::new()),
    };
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.body(body.into_bytes()).map_err(kube::Error::HttpError)?;
    match client.request::<Value>(request).await {
        // Somebody else was first.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        sent => sent.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(versions: &[(&str, bool)]) -> Value {
        let versions = versions.iter().map(|(name, served)| json!({"name": name, "served": served}));
        json!({"metadata": {"name": "x"}, "spec": {"group": "a.b", "versions": versions.collect::<Vec<_>>()}})
    }

    fn shown(actions: &[Action]) -> Vec<String> {
        let show = |action: &Action| match action {
            Action::Create(service) => format!("create {}", meta::name(service)),
            Action::Replace(service) => format!("replace {}", meta::name(service)),
            Action::Say(service) => {
                format!("say {} {}", meta::name(service), service["status"]["conditions"][0]["reason"])
            }
            Action::Delete(name) => format!("delete {name}"),
        };
        actions.iter().map(show).collect()
    }

    #[test]
    fn versions_that_are_served_have_a_service() {
        let definitions = [definition(&[("v1", true), ("v2", true), ("v3", false)])];
        let made = |version: &str, managed: &str| local::api_service("a.b", version, 1000, 100, managed);
        let mut own = made("v2", "");
        own["metadata"]["labels"] = json!({});
        own["spec"]["service"] = json!({"name": "s"});
        let mut other = made("v1", "true");
        other["spec"]["versionPriority"] = json!(7);
        let cases = [
            (vec![], vec!["create v1.a.b", "create v2.a.b"]),
            (vec![made("v1", "true"), own.clone()], vec!["say v1.a.b \"Local\""]),
            (vec![other, own], vec!["replace v1.a.b"]),
            (
                vec![made("v1", "true"), made("v2", "true"), made("v3", "true")],
                vec!["say v1.a.b \"Local\"", "say v2.a.b \"Local\"", "delete v3.a.b"],
            ),
        ];
        for (services, expected) in cases {
            assert_eq!(shown(&plan(&definitions, &services, "T")), expected, "{services:?}");
        }
    }

    #[test]
    fn what_is_in_line_is_left_alone() {
        let service = local::api_service("a.b", "v1", 1000, 100, "true");
        let said = health::with_condition(&service, &Condition::local(), "T").expect("changed");
        assert_eq!(plan(&[definition(&[("v1", true)])], &[said], "U"), []);
    }
}
