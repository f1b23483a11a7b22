//! Pods: one word for what all containers are doing.

use jiff::Timestamp;
use mk8s_api::meta;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{NONE, age, containers, is_true, items, labels, name, number, since, text, text_or},
};

pub(super) fn printers() -> Declared {
    let columns = "Name|Ready|Status|Restarts|Age|+IP|+Node|+Nominated Node|+Readiness Gates";
    vec![
        ("", "Pod", Printer::of(columns, pod)),
        ("", "PodTemplate", Printer::of("Name|Containers|Images|Pod Labels", pod_template)),
    ]
}

fn pod(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let summary = summarize(pod);
    let restarts = match &summary.last_restart {
        Some(last) if summary.restarts != 0 => format!("{} ({} ago)", summary.restarts, since(last, now)),
        _ => summary.restarts.to_string(),
    };
    vec![
        name(pod),
        json!(format!("{}/{}", summary.ready, summary.total)),
        json!(summary.reason),
        json!(restarts),
        age(pod, now),
        json!(text_or(&status["podIPs"][0]["ip"], NONE)),
        json!(text_or(&spec["nodeName"], NONE)),
        json!(text_or(&status["nominatedNodeName"], NONE)),
        json!(readiness_gates(pod)),
    ]
}

/// What a row says of a pod that is over (`conditions` of the row).
pub(super) fn row_conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match text(&pod["status"]["phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

struct Summary {
    ready: usize,
    total: usize,
    reason: String,
    restarts: i64,
    last_restart: Option<Value>,
}

/// Restarts of some containers, and when the last of them ended.
#[derive(Default, Clone)]
struct Restarts {
    count: i64,
    last: Option<Value>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += number(&container["restartCount"]);
        let finished = &container["lastState"]["terminated"]["finishedAt"];
        // Times of one format and zone compare as texts.
        if finished.is_string() && self.last.as_ref().is_none_or(|last| text(last) < text(finished)) {
            self.last = Some(finished.clone());
        }
    }
}

fn summarize(pod: &Value) -> Summary {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let phase = text(&status["phase"]);
    let mut reason = text_or(&status["reason"], phase).to_string();
    let gated = |c: &Value| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated";
    if items(&status["conditions"]).iter().any(gated) {
        reason = "SchedulingGated".to_string();
    }
    let sidecars: Vec<&str> = items(&spec["initContainers"])
        .iter()
        .filter(|c| c["restartPolicy"] == "Always")
        .map(|c| text(&c["name"]))
        .collect();
    let init = initialize(pod, &sidecars);
    let mut summary = Summary {
        ready: init.ready,
        total: items(&spec["containers"]).len() + sidecars.len(),
        reason: init.reason.clone().unwrap_or(reason),
        restarts: init.restarts.count,
        last_restart: init.restarts.last,
    };
    if init.reason.is_none() || is_true(pod, "Initialized") {
        run(pod, &mut summary, init.sidecar_restarts);
    }
    if meta::is_deleting(pod) {
        if status["reason"] == "NodeLost" {
            summary.reason = "Unknown".to_string();
        } else if !["Succeeded", "Failed"].contains(&phase) {
            summary.reason = "Terminating".to_string();
        }
    }
    summary
}

struct Init {
    /// What keeps the pod from starting its containers, if something does.
    reason: Option<String>,
    ready: usize,
    restarts: Restarts,
    sidecar_restarts: Restarts,
}

fn initialize(pod: &Value, sidecars: &[&str]) -> Init {
    let mut init =
        Init { reason: None, ready: 0, restarts: Restarts::default(), sidecar_restarts: Restarts::default() };
    let total = items(&pod["spec"]["initContainers"]).len();
    for (index, container) in items(&pod["status"]["initContainerStatuses"]).iter().enumerate() {
        let sidecar = sidecars.contains(&text(&container["name"]));
        init.restarts.add(container);
        if sidecar {
            init.sidecar_restarts.add(container);
        }
        let terminated = &container["state"]["terminated"];
        let waiting = text(&container["state"]["waiting"]["reason"]);
        if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
            continue;
        }
        if sidecar && container["started"] == true {
            init.ready += usize::from(container["ready"] == true);
            continue;
        }
        init.reason = Some(match waiting {
            _ if terminated.is_object() => format!("Init:{}", ended(terminated)),
            "" | "PodInitializing" => format!("Init:{index}/{total}"),
            waiting => format!("Init:{waiting}"),
        });
        break;
    }
    init
}

/// How a container ended: its reason, else the signal, else the exit code.
fn ended(terminated: &Value) -> String {
    match (text(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_string(),
    }
}

/// The first container that is not simply running gives the word.
fn run(pod: &Value, summary: &mut Summary, mut restarts: Restarts) {
    let (mut running, mut error) = (false, None);
    for container in items(&pod["status"]["containerStatuses"]).iter().rev() {
        restarts.add(container);
        let state = &container["state"];
        let waiting = text(&state["waiting"]["reason"]);
        if !waiting.is_empty() {
            summary.reason = waiting.to_string();
        } else if state["terminated"].is_object() {
            summary.reason = ended(&state["terminated"]);
            if number(&state["terminated"]["exitCode"]) != 0 {
                error = Some(summary.reason.clone());
            }
        } else if container["ready"] == true && state["running"].is_object() {
            running = true;
            summary.ready += 1;
        }
    }
    (summary.restarts, summary.last_restart) = (restarts.count, restarts.last);
    if summary.reason == "Completed" {
        summary.reason = match (running, error) {
            (true, _) if is_true(pod, "Ready") => "Running".to_string(),
            (_, Some(error)) => error,
            (true, None) => "NotReady".to_string(),
            (false, None) => "Completed".to_string(),
        };
    }
}

fn readiness_gates(pod: &Value) -> String {
    let gates = items(&pod["spec"]["readinessGates"]);
    if gates.is_empty() {
        return NONE.to_string();
    }
    let open = gates.iter().filter(|gate| is_true(pod, text(&gate["conditionType"]))).count();
    format!("{open}/{}", gates.len())
}

fn pod_template(object: &Value, _now: Timestamp) -> Vec<Value> {
    let [names, images] = containers(&object["template"]["spec"]);
    vec![name(object), names, images, json!(labels(&object["template"]["metadata"]["labels"]))]
}
