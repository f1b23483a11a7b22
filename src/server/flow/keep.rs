//! What goes on beside requests: following the objects, lending seats, and keeping the objects themselves.

use std::{sync::Arc, time::Duration};

use futures::future;
use http::{Method, Request};
use jiff::Timestamp;
use kube::Client;
use mk8s_api::{
    at::{get, list, sub, text},
    meta,
};
use mk8s_store::{Store, View, Watcher};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{Flow, schema::level_of};
use crate::{bootstrap, stored};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const SCHEMAS: &str = "flowschemas";
const LEVELS: &str = "prioritylevelconfigurations";
const PREFIX: &[u8] = b"/registry/flowcontrol.apiserver.k8s.io/";
/// How often seats are lent anew.
const LEND: Duration = Duration::from_secs(10);
/// How often objects are looked at when nothing happens.
const LOOK: Duration = Duration::from_secs(60);

/// Keeps the configuration up to date with the store until `stop`.
pub(crate) async fn follow(flow: Arc<Flow>, store: Store, stop: CancellationToken) {
    let mut lend = tokio::time::interval(LEND);
    let mut watcher = None;
    loop {
        if watcher.is_none() {
            let view = store.view();
            flow.configure(&objects(&view, SCHEMAS), &objects(&view, LEVELS));
            watcher = watch(&store, &view);
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = lend.tick() => flow.lend(),
            // Whatever happened, all is read anew: it happens rarely.
            () = changed(watcher.as_mut()) => watcher = None,
        }
    }
}

fn objects(view: &View, plural: &str) -> Vec<Value> {
    stored::list(view, GROUP, plural, "")
}

fn watch(store: &Store, view: &View) -> Option<Watcher> {
    store.watch(PREFIX, view.revision()).or_else(|_| store.watch(PREFIX, store.revision())).ok()
}

async fn changed(watcher: Option<&mut Watcher>) {
    match watcher {
        Some(watcher) => drop(watcher.next().await),
        None => future::pending().await,
    }
}

/// Something to write.
#[derive(Debug, PartialEq)]
enum Action {
    /// An object that is missing, or is not what it must be.
    Mend(Value),
    Say(Value),
}

/// Keeps the objects that every cluster has, and the conditions of schemas, until `stop`. With nothing `wanted`, only the
/// conditions.
pub(crate) async fn keep_objects(store: Store, client: Client, wanted: Vec<Value>, stop: CancellationToken) {
    loop {
        let view = store.view();
        let now = meta::format_time(Timestamp::now());
        for action in plan(&wanted, &objects(&view, SCHEMAS), &objects(&view, LEVELS), &now) {
            if let Err(error) = act(&client, &action).await {
                tracing::debug!(%error, ?action, "an object of priority and fairness is not written");
            }
        }
        let mut watcher = watch(&store, &view);
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed(watcher.as_mut()) => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// What brings the objects in order.
fn plan(wanted: &[Value], schemas: &[Value], levels: &[Value], now: &str) -> Vec<Action> {
    let mut actions = Vec::new();
    for object in wanted {
        let all = if meta::kind(object) == "FlowSchema" { schemas } else { levels };
        let found = all.iter().find(|found| meta::name(found) == meta::name(object));
        if found.is_none_or(|found| bootstrap::mended(found, object).is_some()) {
            actions.push(Action::Mend(object.clone()));
        }
    }
    for schema in schemas {
        let level = level_of(schema);
        let dangles = !levels.iter().any(|known| meta::name(known) == level);
        actions.extend(with_condition(schema, level, dangles, now).map(Action::Say));
    }
    actions
}

/// The schema with its condition; `None` when it says so already.
fn with_condition(schema: &Value, level: &str, dangles: bool, now: &str) -> Option<Value> {
    let (status, reason, end) = match dangles {
        true => ("True", "NotFound", "but there is no such object"),
        false => ("False", "Found", "and it exists"),
    };
    let message = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {} {end}",
        mk8s_api::field::quote(level)
    );
    let known = list(sub(schema, "status"), "conditions");
    let current = known.iter().position(|one| text(one, "type") == "Dangling");
    let same = |one: &Value| {
        (text(one, "status"), text(one, "reason"), text(one, "message")) == (status, reason, message.as_str())
    };
    if current.is_some_and(|at| same(&known[at])) {
        return None;
    }
    let made =
        json!({"type": "Dangling", "status": status, "lastTransitionTime": now, "reason": reason, "message": message});
    let mut conditions = known.to_vec();
    match current {
        Some(at) => conditions[at] = made,
        None => conditions.push(made),
    }
    let mut said = schema.clone();
    if get(&said, "status").is_none() {
        said["status"] = json!({});
    }
    said["status"]["conditions"] = Value::Array(conditions);
    Some(said)
}

async fn act(client: &Client, action: &Action) -> anyhow::Result<()> {
    let schema = match action {
        Action::Mend(object) => return Ok(bootstrap::ensure(client, object).await?),
        Action::Say(schema) => schema,
    };
    let path = format!("/apis/{GROUP}/v1/{SCHEMAS}/{}/status", meta::name(schema));
    let request = Request::builder().method(Method::PUT).uri(path).header("content-type", "application/json");
    match client.request::<Value>(request.body(schema.to_string().into_bytes())?).await {
        // It has changed meanwhile, or is gone.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        sent => Ok(sent.map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_made_and_schemas_say_what_they_refer_to() {
        let object = |kind: &str, name: &str, spec: Value| json!({"kind": kind, "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}}, "spec": spec});
        let level = object("PriorityLevelConfiguration", "l", json!({"type": "Limited"}));
        let schema = |level: &str| object("FlowSchema", "s", json!({"priorityLevelConfiguration": {"name": level}}));
        let wanted = [level.clone(), schema("l")];
        assert_eq!(plan(&wanted, &[], &[], "T"), [Action::Mend(level.clone()), Action::Mend(schema("l"))]);
        let said = with_condition(&schema("l"), "l", false, "T").expect("changed");
        assert_eq!(plan(&wanted, &[schema("l")], std::slice::from_ref(&level), "T"), [Action::Say(said.clone())]);
        assert_eq!(plan(&wanted, &[said], std::slice::from_ref(&level), "U"), []);
        let dangling = plan(&wanted, &[schema("other")], &[level], "T");
        let Some(Action::Say(said)) = dangling.last() else { panic!("{dangling:?}") };
        assert_eq!(
            said["status"]["conditions"][0]["message"],
            "This FlowSchema references the PriorityLevelConfiguration object named \"other\" but there is no such object"
        );
        assert_eq!(dangling.len(), 2, "the spec is mended as well");
    }
}
