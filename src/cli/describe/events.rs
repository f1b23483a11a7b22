//! The events of an object.

use super::{
    core_list,
    fields::{Clock, int, list, parse, text},
    page::{Page, line},
    place,
};
use crate::remote::{Remote, with_query};
use anyhow::Result;
use serde_json::Value;

/// The mirror of a static pod: its events carry the hash of its file, not its uid.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Reads the events of an object.
pub(super) async fn of(remote: &Remote, kind: &str, object: &Value) -> Result<Vec<Value>> {
    let mut all = Vec::new();
    for selector in selectors(kind, object) {
        let path = with_query(&core_list(place(object).0, "events"), &[("fieldSelector", &selector)]);
        let found = remote.list(&path).await?;
        all.extend(list(&found["items"]).iter().cloned());
    }
    Ok(all)
}

fn selectors(kind: &str, object: &Value) -> Vec<String> {
    let (namespace, name) = place(object);
    let core = object["apiVersion"] == "v1";
    let mirror = object["metadata"]["annotations"][MIRROR].as_str().filter(|_| core && kind == "Pod");
    let uid = mirror.unwrap_or(text(&object["metadata"]["uid"]));
    let selector = |uid: &str| {
        let mut parts = vec![format!("involvedObject.name={name}"), format!("involvedObject.namespace={namespace}")];
        // A pod's events are recorded by some under other kinds.
        if !(core && kind == "Pod") {
            parts.push(format!("involvedObject.kind={kind}"));
        }
        if !uid.is_empty() {
            parts.push(format!("involvedObject.uid={uid}"));
        }
        parts.join(",")
    };
    // Controllers record a node's uid, the kubelet its name.
    if core && kind == "Node" { vec![selector(uid), selector(name)] } else { vec![selector(uid)] }
}

/// The last lines of a description.
pub(super) fn write(events: &[Value], clock: &Clock, page: &mut Page) {
    if events.is_empty() {
        line!(page, 0, "Events:\t<none>");
        return;
    }
    page.flush();
    let mut events: Vec<&Value> = events.iter().collect();
    events.sort_by_key(|event| parse(&event["lastTimestamp"]));
    line!(page, 0, "Events:\n  Type\tReason\tAge\tFrom\tMessage");
    line!(page, 1, "----\t------\t----\t----\t-------");
    for event in events {
        let source = match text(&event["source"]["component"]) {
            "" => text(&event["reportingComponent"]),
            component => component,
        };
        let mut message = text(&event["message"]).trim().to_owned();
        let field = text(&event["involvedObject"]["fieldPath"]);
        if !field.is_empty() {
            message = format!("{field}: {message}");
        }
        let age = age(event, clock);
        line!(page, 1, "{}\t{}\t{age}\t{source}\t{message}", text(&event["type"]), text(&event["reason"]));
    }
}

fn age(event: &Value, clock: &Clock) -> String {
    let first = if parse(&event["eventTime"]).is_some() { &event["eventTime"] } else { &event["firstTimestamp"] };
    let first = clock.age(first);
    let series = &event["series"];
    if !series.is_null() {
        return format!("{} (x{} over {first})", clock.age(&series["lastObservedTime"]), int(&series["count"]));
    }
    match int(&event["count"]) {
        count @ 2.. => format!("{} (x{count} over {first})", clock.age(&event["lastTimestamp"])),
        _ => first,
    }
}
