//! `rollout undo`: back to an earlier revision.

use super::{
    Workloads,
    revisions::{self, REVISION, Revisions},
};
use crate::{
    apply::LAST_APPLIED,
    describe,
    failure::all_or,
    flags::{ChangeFlags, DryRun},
    remote::{JSON_PATCH, STRATEGIC, with_query},
    resolve::Info,
    session::Session,
    verbs::targets,
};
use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Undo {
    #[command(flatten)]
    workloads: Workloads,
    /// The revision to go back to; 0 is the one before.
    #[arg(long, default_value_t = 0, allow_hyphen_values = true, hide_default_value = true)]
    to_revision: i64,
    #[command(flatten)]
    change: ChangeFlags,
}

/// Annotations that belong to the deployment, whatever its template is.
const OWN: [&str; 6] = [
    LAST_APPLIED,
    REVISION,
    "deployment.kubernetes.io/revision-history",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "deprecated.deployment.rollback.to",
];

const HASH: &str = "pod-template-hash";

impl Undo {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        self.workloads.check()?;
        let targets = self.workloads.find(cx).await?;
        let mut failures = targets.failures;
        for info in &targets.infos {
            if info.object["metadata"]["annotations"].get(LAST_APPLIED).is_some() {
                crate::errln!(
                    "Warning: resource {}/{} was previously managed with 'kubectl apply'. Rolling back will not update the {LAST_APPLIED} annotation, which may cause unexpected behavior on future 'kubectl apply' operations. Consider using 'kubectl apply' with your previous configuration file instead.",
                    info.resource.plural,
                    info.name
                );
            }
            let told = match self.roll_back(cx, info, dry_run).await {
                Ok(done) => targets::told(&self.change, dry_run, info, &info.object, &done),
                Err(error) => Err(error),
            };
            failures.extend(told.err());
        }
        all_or(failures)
    }

    /// What was done, in words.
    async fn roll_back(&self, cx: &Session, info: &Info, dry_run: DryRun) -> Result<String> {
        let to = self.to_revision;
        revisions::refuse_others(info, "rollbacker", "rollbacker")?;
        if to < 0 {
            bail!("unable to find specified revision {to} in history");
        }
        let remote = cx.remote().await?;
        let info = revisions::latest(remote, info).await?;
        let found = revisions::of(remote, &info).await?;
        let state = chosen(&info, &found, to)?;
        let is_deployment = info.resource.kind == "Deployment";
        if dry_run == DryRun::Client {
            let text = describe::pod_template(&revisions::restored(&info, state)?["spec"]["template"]);
            return Ok(if is_deployment { text } else { format!("will roll back to {text}") });
        }
        if is_deployment && info.object["spec"]["paused"] == true {
            bail!(
                "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again"
            );
        }
        if already_there(&info, state) {
            return Ok(format!("skipped rollback (current template already matches revision {to})"));
        }
        let (kind, patch) = if is_deployment {
            (JSON_PATCH, deployment_patch(&info.object, state))
        } else {
            (STRATEGIC, state["data"].clone())
        };
        let path =
            with_query(&info.path(), &[("fieldManager", self.change.manager("kubectl")), ("dryRun", dry_run.query())]);
        let patched = remote.patch(&path, kind, &patch).await;
        patched.map_err(|error| anyhow!("failed restoring revision {to}: {error:#}"))?;
        Ok("rolled back".to_owned())
    }
}

/// The revision asked for, or the last but one.
fn chosen<'a>(info: &Info, found: &'a Revisions, to: i64) -> Result<&'a Value> {
    if to > 0 {
        return found.get(&to).ok_or_else(|| anyhow!("unable to find specified revision {to} in history"));
    }
    found.values().rev().nth(1).ok_or_else(|| match info.resource.kind.as_str() {
        "Deployment" => anyhow!("no rollout history found for deployment {:?}", info.name),
        _ => anyhow!("no last revision to roll back to"),
    })
}

fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH);
    }
    template
}

fn already_there(info: &Info, state: &Value) -> bool {
    let now = without_nulls(&info.object["spec"]["template"]);
    if info.resource.kind == "Deployment" {
        return without_hash(&now) == without_hash(&without_nulls(&state["spec"]["template"]));
    }
    let mut then = without_nulls(&state["data"]["spec"]["template"]);
    if let Some(then) = then.as_object_mut() {
        then.remove("$patch");
    }
    now == then
}

/// `creationTimestamp: null` says nothing.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect::<Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect::<Vec<_>>().into(),
        other => other.clone(),
    }
}

/// The template of the replica set, and its annotations but for the deployment's own.
fn deployment_patch(deployment: &Value, replica_set: &Value) -> Value {
    let of = |object: &Value, own: bool| -> Vec<(String, Value)> {
        let annotations = object["metadata"]["annotations"].as_object().into_iter().flatten();
        annotations
            .filter(|(key, _)| OWN.contains(&key.as_str()) == own)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let annotations: Map<String, Value> = of(deployment, true).into_iter().chain(of(replica_set, false)).collect();
    json!([
        {"op": "replace", "path": "/spec/template", "value": without_hash(&replica_set["spec"]["template"])},
        {"op": "replace", "path": "/metadata/annotations", "value": annotations},
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: &str, template: Value) -> Info {
        let resource = crate::resolve::discovery::Resource { kind: kind.into(), ..Default::default() };
        Info {
            resource: resource.into(),
            namespace: None,
            name: "web".into(),
            object: json!({"spec": {"template": template}}),
            source: None,
        }
    }

    #[test]
    fn the_last_but_one_is_chosen() {
        let found = Revisions::from([(1, json!("a")), (4, json!("b")), (7, json!("c"))]);
        let deployment = info("Deployment", Value::Null);
        assert_eq!(chosen(&deployment, &found, 0).unwrap(), "b");
        assert_eq!(chosen(&deployment, &found, 7).unwrap(), "c");
        assert_eq!(
            chosen(&deployment, &found, 2).unwrap_err().to_string(),
            "unable to find specified revision 2 in history"
        );
        assert_eq!(
            chosen(&deployment, &Revisions::new(), 0).unwrap_err().to_string(),
            "no rollout history found for deployment \"web\""
        );
        assert_eq!(
            chosen(&info("DaemonSet", Value::Null), &Revisions::new(), 0).unwrap_err().to_string(),
            "no last revision to roll back to"
        );
    }

    #[test]
    fn the_same_template_is_noticed() {
        let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}});
        let set = json!({"spec": {"template": {"metadata": {"creationTimestamp": null, "labels": {"a": "b", HASH: "123"}}, "spec": {"x": 1}}}});
        assert!(already_there(&info("Deployment", template.clone()), &set));
        let revision = json!({"data": {"spec": {"template": {"$patch": "replace", "metadata": {"labels": {"a": "b"}}, "spec": {"x": 1}}}}});
        assert!(already_there(&info("StatefulSet", template.clone()), &revision));
        assert!(!already_there(&info("StatefulSet", json!({})), &revision));
    }

    #[test]
    fn a_deployment_keeps_its_own_annotations() {
        let deployment = json!({"metadata": {"annotations": {REVISION: "3", "gone": "x"}}});
        let set = json!({"metadata": {"annotations": {REVISION: "1", "back": "y"}}, "spec": {"template": {"metadata": {"labels": {HASH: "1"}}}}});
        assert_eq!(
            deployment_patch(&deployment, &set),
            json!([{"op": "replace", "path": "/spec/template", "value": {"metadata": {"labels": {}}}},
                {"op": "replace", "path": "/metadata/annotations", "value": {REVISION: "3", "back": "y"}}])
        );
    }
}
