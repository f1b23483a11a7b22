//! From clients that merge by themselves to server-side apply: what a client owns by having written becomes what it owns by
//! having applied, so that its next apply can let go of it.

use serde_json::{Value, json};

use super::{
    configuration::LAST_APPLIED,
    managers::{Manager, Managers, Operation},
};
use crate::meta;

fn managers(object: &Value) -> Managers {
    Managers::decode(meta::metadata(object).get("managedFields").cloned().unwrap_or_default()).unwrap_or_default()
}

/// The names of those who have the annotation of what was last applied, by this operation.
pub fn annotation_owners(object: &Value, operation: Operation) -> Vec<String> {
    let step = format!("f:{LAST_APPLIED}");
    let steps = ["f:metadata", "f:annotations", step.as_str()];
    let all = managers(object);
    let owners = all.iter().filter(|manager| manager.operation == operation && manager.fields.has(&steps));
    let mut names: Vec<String> = owners.map(|manager| manager.name.clone()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The JSON patch that makes what the `writers` own the fields of `applier`; `None` when there is nothing to do. It names
/// the version of the object, so that it fails when the object has moved.
pub fn patch(object: &Value, writers: &[String], applier: &str) -> Option<Value> {
    let before = managers(object);
    let mut after = before.clone();
    for writer in writers {
        after = upgraded(after, writer, applier);
    }
    if after == before {
        return None;
    }
    Some(json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": after.encode().unwrap_or_else(|| json!([]))},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": meta::resource_version(object)},
    ]))
}

fn upgraded(mut managers: Managers, writer: &str, applier: &str) -> Managers {
    let is = |manager: &Manager, name: &str, operation: Operation| {
        manager.name == name && manager.operation == operation && manager.subresource.is_empty()
    };
    let find = |managers: &Managers, name: &str, operation: Operation| {
        managers.0.iter().position(|manager| is(manager, name, operation))
    };
    let Some(at) = find(&managers, applier, Operation::Apply).or_else(|| find(&managers, writer, Operation::Update))
    else {
        return managers;
    };
    let mut target = managers.0.remove(at);
    target.name = applier.to_owned();
    target.operation = Operation::Apply;
    // Of the writer's entries only that of the same version can be taken over as it is.
    if let Some(same) =
        managers.0.iter().find(|m| is(m, writer, Operation::Update) && m.api_version == target.api_version)
    {
        target.fields.unite(&same.fields);
    }
    managers.0.insert(at, target);
    managers.0.retain(|manager| !is(manager, writer, Operation::Update));
    managers
}
