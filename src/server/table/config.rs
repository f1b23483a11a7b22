//! What pods are configured with, the namespaces they are in, and what happened to them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{UNKNOWN, age, items, name, number, since, text, text_or},
};

pub(super) fn printers() -> Declared {
    let event_columns = "Last Seen|Type|Reason|Object|+Subobject|+Source|Message|+First Seen|+Count|+Name";
    vec![
        (
            "",
            "Namespace",
            Printer::of("Name|Status|Age", |o, now| vec![name(o), json!(text(&o["status"]["phase"])), age(o, now)]),
        ),
        (
            "",
            "ConfigMap",
            Printer::of("Name|Data|Age", |o, now| {
                vec![name(o), json!(entries(o, "data") + entries(o, "binaryData")), age(o, now)]
            }),
        ),
        (
            "",
            "Secret",
            Printer::of("Name|Type|Data|Age", |o, now| {
                vec![name(o), json!(text(&o["type"])), json!(entries(o, "data")), age(o, now)]
            }),
        ),
        ("", "ServiceAccount", Printer::of("Name|Age", |o, now| vec![name(o), age(o, now)])),
        ("", "Event", Printer::of(event_columns, core_event)),
        ("events.k8s.io", "Event", Printer::of(event_columns, event)),
        ("", "ComponentStatus", Printer::of("Name|Status|Message|Error", component_status)),
        ("", "ResourceQuota", Printer::of("Name|Request|Limit|Age", resource_quota)),
        (
            "coordination.k8s.io",
            "Lease",
            Printer::of("Name|Holder|Age", |o, now| {
                vec![name(o), json!(text(&o["spec"]["holderIdentity"])), age(o, now)]
            }),
        ),
        (
            "coordination.k8s.io",
            "LeaseCandidate",
            Printer::of("Name|LeaseName|BinaryVersion|EmulationVersion|Age", lease_candidate),
        ),
    ]
}

fn entries(object: &Value, field: &str) -> usize {
    object[field].as_object().map_or(0, |map| map.len())
}

/// The two kinds of events are one with two spellings.
struct EventFields<'a> {
    first: &'a Value,
    last: &'a Value,
    count: i64,
    about: &'a Value,
    component: &'a str,
    host: &'a str,
    message: &'a str,
}

fn core_event(object: &Value, now: Timestamp) -> Vec<Value> {
    let fields = EventFields {
        first: &object["firstTimestamp"],
        last: &object["lastTimestamp"],
        count: number(&object["count"]),
        about: &object["involvedObject"],
        component: text_or(&object["source"]["component"], text(&object["reportingComponent"])),
        host: text_or(&object["source"]["host"], text(&object["reportingInstance"])),
        message: text(&object["message"]),
    };
    event_cells(object, &fields, now)
}

fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let fields = EventFields {
        first: &object["deprecatedFirstTimestamp"],
        last: &object["deprecatedLastTimestamp"],
        count: number(&object["deprecatedCount"]),
        about: &object["regarding"],
        component: text_or(&object["deprecatedSource"]["component"], text(&object["reportingController"])),
        host: text_or(&object["deprecatedSource"]["host"], text(&object["reportingInstance"])),
        message: text(&object["note"]),
    };
    event_cells(object, &fields, now)
}

fn event_cells(object: &Value, fields: &EventFields<'_>, now: Timestamp) -> Vec<Value> {
    let first = match since(fields.first, now) {
        unknown if unknown == UNKNOWN => since(&object["eventTime"], now),
        known => known,
    };
    let series = &object["series"];
    let (last, count) = match () {
        () if series.is_object() => (since(&series["lastObservedTime"], now), number(&series["count"])),
        () if fields.last.is_null() => (first.clone(), fields.count.max(1)),
        () => (since(fields.last, now), fields.count.max(1)),
    };
    let kind = text(&fields.about["kind"]).to_lowercase();
    let target = match text(&fields.about["name"]) {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = match fields.host {
        "" => fields.component.to_string(),
        host => format!("{}, {host}", fields.component),
    };
    vec![
        json!(last),
        json!(text(&object["type"])),
        json!(text(&object["reason"])),
        json!(target),
        json!(text(&fields.about["fieldPath"])),
        json!(source),
        json!(fields.message.trim()),
        json!(first),
        json!(count),
        name(object),
    ]
}

fn component_status(object: &Value, _now: Timestamp) -> Vec<Value> {
    let healthy = items(&object["conditions"]).iter().find(|condition| condition["type"] == "Healthy");
    let status = match healthy {
        Some(condition) if condition["status"] == "True" => "Healthy",
        Some(_) => "Unhealthy",
        None => "Unknown",
    };
    let field = |field: &str| json!(healthy.map_or("", |condition| text(&condition[field])));
    vec![name(object), json!(status), field("message"), field("error")]
}

fn resource_quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in object["status"]["hard"].as_object().into_iter().flatten() {
        let used = text_or(&object["status"]["used"][resource], "0");
        let list = if resource.starts_with("limits.") { &mut limits } else { &mut requests };
        list.push(format!("{resource}: {used}/{}", text(hard)));
    }
    vec![name(object), json!(requests.join(", ")), json!(limits.join(", ")), age(object, now)]
}

fn lease_candidate(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = |field: &str| json!(text(&object["spec"][field]));
    vec![name(object), spec("leaseName"), spec("binaryVersion"), spec("emulationVersion"), age(object, now)]
}
