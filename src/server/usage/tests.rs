use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    answer::{used, window},
    readings::{NodeReadings, Summary},
};

fn at(seconds: i64) -> String {
    Timestamp::from_second(1_700_000_000 + seconds).expect("a time").to_string()
}

fn figures(seconds: i64, cpu_ms: u64) -> Value {
    json!({
        "cpu": {"time": at(seconds), "usageCoreNanoSeconds": cpu_ms * 1_000_000},
        "memory": {"time": at(seconds), "workingSetBytes": 4096 * cpu_ms},
    })
}

fn container(name: &str, started: i64, seconds: i64, cpu_ms: u64) -> Value {
    let mut all = figures(seconds, cpu_ms);
    all["name"] = json!(name);
    all["startTime"] = json!(at(started));
    all
}

/// A node at a time, with one pod of these containers.
fn summary(seconds: i64, uid: &str, containers: &[Value]) -> Summary {
    let mut node = figures(seconds, 1000 * u64::try_from(seconds).expect("positive"));
    node["nodeName"] = json!("n");
    let pod = json!({"podRef": {"name": "p", "namespace": "ns", "uid": uid}, "containers": containers});
    serde_json::from_value(json!({"node": node, "pods": [pod]})).expect("a summary")
}

fn shown(readings: &NodeReadings, uid: &str) -> String {
    let Some(rates) = readings.pod("ns", "p", uid) else { return "none".to_owned() };
    let one = |(name, rate): &(&str, super::readings::Rate)| {
        let used = used(rate);
        let text = |resource: &str| used[resource].as_str().unwrap_or_default().to_owned();
        format!("{name} {} {} in {}", text("cpu"), text("memory"), window(rate.window))
    };
    rates.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[test]
fn rates_lie_between_two_readings() {
    let mut readings = NodeReadings::default();
    readings.note(&summary(100, "u", &[container("a", -1000, 100, 5000)]));
    assert!(!readings.settled());
    assert_eq!((readings.node(), shown(&readings, "u")), (None, "none".to_owned()));
    readings.note(&summary(115, "u", &[container("a", -1000, 115, 8000)]));
    assert!(readings.settled());
    assert_eq!(shown(&readings, "u"), "a 200m 32000Ki in 15s");
    let node = readings.node().expect("two readings");
    assert_eq!((node.cpu_nanocores, window(node.window)), (1_000_000_000, "15s".to_owned()));
    // The same reading again says nothing new.
    readings.note(&summary(115, "u", &[container("a", -1000, 115, 8000)]));
    assert_eq!(shown(&readings, "u"), "a 200m 32000Ki in 15s");
    assert_eq!(shown(&readings, "other"), "none");
}

#[test]
fn new_containers_are_measured_from_their_beginning() {
    let mut readings = NodeReadings::default();
    readings.note(&summary(100, "u", &[container("a", 90, 100, 1000)]));
    assert_eq!(shown(&readings, "u"), "a 100m 4000Ki in 10s");
    // One that is restarted begins anew, and nothing is said while one has no rate.
    readings.note(&summary(115, "u", &[container("a", 115, 115, 10)]));
    assert_eq!(shown(&readings, "u"), "none");
    readings.note(&summary(130, "u", &[container("a", 115, 130, 1510), container("b", -500, 130, 1)]));
    assert_eq!(shown(&readings, "u"), "none");
    readings.note(&summary(145, "u", &[container("a", 115, 145, 3010), container("b", -500, 145, 1)]));
    assert_eq!(shown(&readings, "u"), "a 100m 12040Ki in 15s, b 0 4Ki in 15s");
}

#[test]
fn another_pod_of_the_name_is_another() {
    let mut readings = NodeReadings::default();
    readings.note(&summary(100, "u", &[container("a", -500, 100, 1000)]));
    readings.note(&summary(115, "v", &[container("a", -500, 115, 2000)]));
    assert_eq!((shown(&readings, "u"), shown(&readings, "v")), ("none".to_owned(), "none".to_owned()));
}

#[test]
fn counters_that_fall_begin_anew() {
    let mut readings = NodeReadings::default();
    readings.note(&summary(100, "u", &[container("a", -500, 100, 1000)]));
    readings.note(&summary(115, "u", &[container("a", -500, 115, 10)]));
    assert_eq!(shown(&readings, "u"), "none");
}

#[test]
fn windows_are_gos_durations() {
    for (millis, expected) in [(15_000, "15s"), (15_012, "15.012s"), (15_120, "15.12s"), (75_500, "1m15.5s"), (0, "0s")]
    {
        assert_eq!(window(SignedDuration::from_millis(millis)), expected);
    }
}
