//! One object as it changes: its state now, then every change of it.

use crate::{
    failure::Failure,
    remote::{JSON, Remote, with_query},
    resolve::Info,
};
use anyhow::Result;
use serde_json::Value;
use std::time::Duration;

/// What is seen of an object.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// It is like this (now, or again after a change).
    Is(&'a Value),
    /// It was not there to begin with.
    Missing,
    /// It went away.
    Gone,
}

/// How long to wait before an ended watch is begun anew.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows every state of the object to `step` until that has an answer.
pub(crate) async fn follow<T>(
    remote: &Remote,
    info: &Info,
    mut step: impl FnMut(Seen<'_>) -> Result<Option<T>>,
) -> Result<T> {
    let only = format!("metadata.name={}", info.name);
    let path = with_query(&info.collection(), &[("fieldSelector", &only)]);
    let mut first = true;
    let mut last = Value::Null;
    loop {
        let list = remote.get(&path).await?;
        let now = list["items"].as_array().and_then(|items| items.first());
        let answer = match now {
            Some(object) if object["metadata"]["resourceVersion"] == last && !first => None,
            Some(object) => {
                last = object["metadata"]["resourceVersion"].clone();
                step(Seen::Is(&typed(info, object.clone())))?
            }
            None if first => step(Seen::Missing)?,
            None => step(Seen::Gone)?,
        };
        if let Some(answer) = answer {
            return Ok(answer);
        }
        first = false;
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        let watch = with_query(&path, &[("watch", "true"), ("resourceVersion", version)]);
        let mut events = match remote.watch(&watch, JSON).await {
            Err(error) if matches!(Failure::reason(&error), Some("Expired" | "Gone")) => continue,
            events => events?,
        };
        // An ended watch is begun anew.
        while let Ok(Some((kind, object))) = events.next().await {
            let answer = match kind.as_str() {
                "ADDED" | "MODIFIED" => {
                    last = object["metadata"]["resourceVersion"].clone();
                    step(Seen::Is(&typed(info, object)))?
                }
                "DELETED" => step(Seen::Gone)?,
                _ => None,
            };
            if let Some(answer) = answer {
                return Ok(answer);
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Items of a list do not say what they are.
fn typed(info: &Info, mut object: Value) -> Value {
    if object.get("kind").is_none() {
        object["kind"] = info.resource.kind.clone().into();
        object["apiVersion"] = info.resource.api_version().into();
    }
    object
}
