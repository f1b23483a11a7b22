//! From client-side apply to server-side apply: what was written becomes what was applied.

use anyhow::Result;
use mk8s_api::apply::{Operation, upgrade};
use serde_json::{Value, json};

use super::LAST_APPLIED;
use crate::{
    failure::Failure,
    remote::{APPLY, JSON_PATCH, with_query},
    resolve::Info,
    session::Session,
};

/// Who applies the annotation of what was last applied, so that it stays when its writer is gone.
const ANNOTATION_MANAGER: &str = "kubectl-last-applied";

/// How often the managers are rewritten against a moving object.
const MIGRATIONS: usize = 5;

/// Applies the annotation alone, when nobody has done so; the object as it is then.
pub(crate) async fn keep_annotation(cx: &Session, info: &Info, object: &Value) -> Result<Option<Value>> {
    let Some(said) = object["metadata"]["annotations"].get(LAST_APPLIED) else { return Ok(None) };
    if !upgrade::annotation_owners(object, Operation::Apply).is_empty() {
        return Ok(None);
    }
    let metadata = &object["metadata"];
    let mut alone = json!({"apiVersion": object["apiVersion"], "kind": object["kind"],
        "metadata": {"name": metadata["name"], "annotations": {LAST_APPLIED: said}}});
    if let Some(namespace) = metadata.get("namespace") {
        alone["metadata"]["namespace"] = namespace.clone();
    }
    let path = with_query(&info.path(), &[("fieldManager", ANNOTATION_MANAGER)]);
    cx.remote().await?.patch(&path, APPLY, &alone).await.map(Some)
}

/// Makes what client-side applies own the fields of `manager`; whether there was any.
pub(crate) async fn take_over(cx: &Session, info: &Info, manager: &str, object: &Value) -> Result<bool> {
    let writers = upgrade::annotation_owners(object, Operation::Update);
    let remote = cx.remote().await?;
    let path = with_query(&info.path(), &[("fieldManager", manager)]);
    let mut object = object.clone();
    for attempt in 1..=MIGRATIONS {
        let Some(patch) = upgrade::patch(&object, &writers, manager) else { return Ok(false) };
        match remote.patch(&path, JSON_PATCH, &patch).await {
            Ok(_) => return Ok(true),
            Err(error) if Failure::is_conflict(&error) && attempt < MIGRATIONS => {
                object = remote.get(&info.path()).await?
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}
