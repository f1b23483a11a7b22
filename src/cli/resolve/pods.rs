//! From an argument to the one pod whose streams or ports are meant.

use super::{Info, Query, info_of, items, one, selector_query};
use crate::{
    remote::{JSON, with_query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use std::{cmp::Ordering, time::Duration};

/// How long it may take until a workload has a pod, unless `--pod-running-timeout` says otherwise.
pub(crate) const RUNNING_TIMEOUT: &str = "1m0s";

/// The object of `NAME` (of a pod) or `TYPE/NAME`.
pub(crate) async fn named(cx: &Session, argument: &str) -> Result<Info> {
    let args =
        if argument.contains('/') { vec![argument.to_owned()] } else { vec!["pods".to_owned(), argument.to_owned()] };
    one(cx, &Query { args: &args, ..Query::default() }).await
}

/// The pod behind an object; waits until there is one.
pub(crate) async fn behind(cx: &Session, info: Info, timeout: Duration) -> Result<Info> {
    if info.resource.kind == "Pod" && info.resource.group.is_empty() {
        return Ok(info);
    }
    let type_name = format!("*{}.{}", info.resource.version, info.resource.kind);
    let selector = selector(&info).map_err(|why| anyhow!("cannot attach to {type_name}: {why}"))?;
    let pods = cx.mapper().await?.find("pods")?;
    let path = with_query(&pods.path(info.namespace.as_deref()), &[("labelSelector", &selector)]);
    let remote = cx.remote().await?;
    let list = remote.list(&path).await?;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let best = items(&pods, list).into_iter().min_by(|a, b| order(&a.object, &b.object));
    if let Some(best) = best {
        return Ok(best);
    }
    let mut events =
        remote.watch(&with_query(&path, &[("watch", "true"), ("resourceVersion", &version)]), JSON).await?;
    let first = async {
        while let Some((kind, object)) = events.next().await? {
            if kind == "ADDED" || kind == "MODIFIED" {
                return Ok(info_of(&pods, object));
            }
        }
        bail!("watch closed before UntilWithoutRetry timeout")
    };
    tokio::time::timeout(timeout, first).await.map_err(|_| anyhow!("timed out waiting for the condition"))?
}

fn selector(info: &Info) -> Result<String> {
    let spec = &info.object["spec"];
    let resource = &info.resource;
    match resource.kind.as_str() {
        "Service" if spec["selector"].as_object().is_none_or(|labels| labels.is_empty()) => {
            bail!("invalid service '{}': Service is defined without a selector", info.name)
        }
        "Service" | "ReplicationController" => Ok(super::label_query(&spec["selector"])),
        "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Deployment" | "Job" => Ok(selector_query(&spec["selector"])),
        _ => bail!("selector for *{}.{} not implemented", resource.version, resource.kind),
    }
}

/// The pod that is most of use comes first: assigned, running, ready, staying, longest ready, fewest restarts, oldest.
fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |pod: &Value| {
        let phase = match pod["status"]["phase"].as_str() {
            Some("Unknown") => 1,
            Some("Running") => 0,
            _ => 2,
        };
        let assigned = pod["spec"]["nodeName"].as_str().is_some_and(|name| !name.is_empty());
        (!assigned, phase, ready_since(pod).is_none(), pod["metadata"].get("deletionTimestamp").is_some())
    };
    let restarts = |pod: &Value| {
        let statuses = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
        statuses.filter_map(|status| status["restartCount"].as_u64()).max().unwrap_or(0)
    };
    // Times of this form are ordered as text.
    let created = |pod: &Value| pod["metadata"]["creationTimestamp"].as_str().unwrap_or("9").to_owned();
    rank(a)
        .cmp(&rank(b))
        .then_with(|| ready_since(a).cmp(&ready_since(b)))
        .then_with(|| restarts(a).cmp(&restarts(b)))
        .then_with(|| created(a).cmp(&created(b)))
}

fn ready_since(pod: &Value) -> Option<&str> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True")?;
    Some(ready["lastTransitionTime"].as_str().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_best_pod_comes_first() {
        let pod = |name: &str, phase: &str, ready: &str, restarts: u64| {
            let conditions = if ready.is_empty() {
                json!([])
            } else {
                json!([{"type": "Ready", "status": "True", "lastTransitionTime": ready}])
            };
            json!({"metadata": {"name": name}, "spec": {"nodeName": "n"},
                "status": {"phase": phase, "conditions": conditions, "containerStatuses": [{"restartCount": restarts}]}})
        };
        let mut pods = [
            pod("pending", "Pending", "", 0),
            pod("unready", "Running", "", 0),
            pod("restarted", "Running", "2020-01-01T00:00:00Z", 4),
            pod("young", "Running", "2021-01-01T00:00:00Z", 0),
            pod("best", "Running", "2020-01-01T00:00:00Z", 0),
            json!({"metadata": {"name": "unassigned"}, "status": {"phase": "Pending"}}),
        ];
        pods.sort_by(order);
        let names: Vec<&str> = pods.iter().filter_map(|pod| pod["metadata"]["name"].as_str()).collect();
        assert_eq!(names, ["best", "restarted", "young", "unready", "pending", "unassigned"]);
    }

    #[test]
    fn selectors() {
        let info = |kind: &str, object: Value| {
            let mut resource = (*crate::resolve::discovery::tests::sample().find("cm").unwrap()).clone();
            resource.kind = kind.to_owned();
            Info { resource: resource.into(), namespace: None, name: "x".into(), object, source: None }
        };
        let cases = [
            ("Service", json!({"spec": {"selector": {"a": "b"}}}), "a=b"),
            ("Service", json!({"spec": {}}), "invalid service 'x': Service is defined without a selector"),
            ("Deployment", json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}}), "a=b"),
            ("ConfigMap", json!({}), "selector for *v1.ConfigMap not implemented"),
        ];
        for (kind, object, expected) in cases {
            let found = selector(&info(kind, object)).unwrap_or_else(|error| error.to_string());
            assert_eq!(found, expected, "{kind}");
        }
    }
}
