//! What a workload was made of in the past: the replica sets of a deployment, the controller revisions of the other two.

use super::{group_kind, has_history, makes_pods};
use crate::{
    failure::Failure,
    record::CHANGE_CAUSE,
    remote::{Remote, with_query},
    resolve::{Info, selector_query},
};
use anyhow::{Result, anyhow, bail};
use serde_json::Value;
use std::collections::BTreeMap;

/// The annotation with the number of a deployment's revision.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

/// The states of a workload by number. Of two with the same number the later of the list counts.
pub(super) type Revisions = BTreeMap<i64, Value>;

/// The number of a deployment or replica set.
pub(super) fn revision(object: &Value) -> Option<i64> {
    object["metadata"]["annotations"][REVISION].as_str()?.parse().ok()
}

/// `what` is the thing that is missing for kinds without history.
pub(super) fn refuse_others(info: &Info, what: &str, retrieving: &str) -> Result<()> {
    if has_history(info) {
        return Ok(());
    }
    if makes_pods(info) {
        bail!("no {what} has been implemented for {:?}", group_kind(info));
    }
    let resource = &info.resource;
    bail!(
        "error retrieving {retrieving} for {:?}, no visitor method exists for {{{} {}}}",
        group_kind(info),
        resource.group,
        resource.kind
    )
}

/// The replica sets or controller revisions that belong to a workload.
pub(super) async fn of(remote: &Remote, info: &Info) -> Result<Revisions> {
    let is_deployment = info.resource.kind == "Deployment";
    let plural = if is_deployment { "replicasets" } else { "controllerrevisions" };
    let namespace = info.namespace.as_deref().unwrap_or_default();
    let path = format!("/apis/apps/v1/namespaces/{namespace}/{plural}");
    let selector = selector_query(&info.object["spec"]["selector"]);
    let list = remote.list(&with_query(&path, &[("labelSelector", &selector)])).await.map_err(|error| {
        let what = if is_deployment {
            "failed to retrieve replica sets from deployment"
        } else {
            "unable to find history controlled by"
        };
        let kind = if is_deployment { String::new() } else { format!("{} ", info.resource.kind) };
        anyhow!("{what} {kind}{}: {error:#}", info.name)
    })?;
    let Value::Array(items) = list["items"].clone() else { return Ok(Revisions::new()) };
    let uid = &info.object["metadata"]["uid"];
    let mine = items.into_iter().filter(|item| is_controlled(item, uid));
    let numbered = mine.filter_map(|mut item| {
        let number = if is_deployment { revision(&item) } else { item["revision"].as_i64() }?;
        let kind = if is_deployment { "ReplicaSet" } else { "ControllerRevision" };
        item["apiVersion"] = "apps/v1".into();
        item["kind"] = kind.into();
        Some((number, item))
    });
    Ok(numbered.collect())
}

fn is_controlled(object: &Value, uid: &Value) -> bool {
    let owners = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
    owners.into_iter().any(|owner| owner["controller"] == true && owner["uid"] == *uid)
}

/// Why a revision came to be.
pub(super) fn cause(state: &Value) -> &str {
    state["metadata"]["annotations"][CHANGE_CAUSE].as_str().filter(|cause| !cause.is_empty()).unwrap_or("<none>")
}

/// The workload as it was: a replica set stands for itself, a controller revision is put over the present state.
pub(super) fn restored(info: &Info, state: &Value) -> Result<Value> {
    if info.resource.kind == "Deployment" {
        return Ok(state.clone());
    }
    let resource = &info.resource;
    let schema = mk8s_api::schema::schema_of(&resource.group, &resource.version, &resource.kind)
        .ok_or_else(|| anyhow!("unable to parse history {}", state["metadata"]["name"].as_str().unwrap_or_default()))?;
    Ok(mk8s_api::patch::strategic::apply(schema, info.object.clone(), &state["data"])?)
}

/// The pod template of a revision. A deployment's cause is shown among the annotations.
pub(super) fn template(info: &Info, state: &Value) -> Result<Value> {
    let mut template = restored(info, state)?["spec"]["template"].take();
    if info.resource.kind == "Deployment" && cause(state) != "<none>" {
        if !template["metadata"]["annotations"].is_object() {
            template["metadata"]["annotations"] = serde_json::json!({});
        }
        template["metadata"]["annotations"][CHANGE_CAUSE] = cause(state).into();
    }
    Ok(template)
}

/// The latest state of the workload, which a list may have shown in another version.
pub(super) async fn latest(remote: &Remote, info: &Info) -> Result<Info> {
    let what = if info.resource.kind == "Deployment" { "deployment" } else { &info.resource.kind };
    let object = remote.get(&info.path()).await.map_err(|error| match Failure::reason(&error) {
        Some(_) => anyhow!("failed to retrieve {what} {}: {error:#}", info.name),
        None => error,
    })?;
    Ok(Info { object, ..info.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn info(kind: &str, object: Value) -> Info {
        let resource = crate::resolve::discovery::Resource {
            group: "apps".into(),
            version: "v1".into(),
            kind: kind.into(),
            ..Default::default()
        };
        Info { resource: resource.into(), namespace: None, name: "web".into(), object, source: None }
    }

    #[test]
    fn templates_of_the_past() {
        let state = json!({"metadata": {"annotations": {CHANGE_CAUSE: "me", REVISION: "3"}}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}}}});
        assert_eq!(revision(&state), Some(3));
        let expected = json!({"metadata": {"labels": {"a": "b"}, "annotations": {CHANGE_CAUSE: "me"}}});
        assert_eq!(template(&info("Deployment", Value::Null), &state).unwrap(), expected);

        let now = json!({"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {"minReadySeconds": 1, "template": {"spec": {"containers": [{"name": "new", "image": "2"}]}}}});
        let old = json!({"data": {"spec": {"template": {"$patch": "replace", "spec": {"containers": [{"name": "old", "image": "1"}]}}}}});
        let was = restored(&info("DaemonSet", now), &old).unwrap();
        assert_eq!(
            was["spec"],
            json!({"minReadySeconds": 1, "template": {"spec": {"containers": [{"name": "old", "image": "1"}]}}})
        );
    }

    #[test]
    fn kinds_without_history() {
        let resource = |group: &str, kind: &str| {
            let resource =
                crate::resolve::discovery::Resource { group: group.into(), kind: kind.into(), ..Default::default() };
            Info { resource: resource.into(), namespace: None, name: String::new(), object: Value::Null, source: None }
        };
        let told =
            |group, kind| refuse_others(&resource(group, kind), "history viewer", "history").unwrap_err().to_string();
        assert_eq!(told("apps", "ReplicaSet"), "no history viewer has been implemented for \"ReplicaSet.apps\"");
        assert_eq!(
            told("", "Service"),
            "error retrieving history for \"Service\", no visitor method exists for { Service}"
        );
    }
}
