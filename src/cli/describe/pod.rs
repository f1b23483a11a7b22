//! Pods, and the template of pods that workloads hold.

use super::{
    Seen,
    containers::{self, Around},
    fields::{self, Clock, controller, int, list, text},
    page::{Page, line, put},
    volumes,
};
use anyhow::Result;
use serde_json::Value;

pub(super) fn write(seen: &Seen, page: &mut Page) -> Result<()> {
    let (pod, clock) = (&seen.object, &seen.clock);
    let (metadata, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    line!(page, 0, "Name:\t{}", text(&metadata["name"]));
    line!(page, 0, "Namespace:\t{}", text(&metadata["namespace"]));
    placement(spec, status, clock, page);
    page.marks(pod);
    phase(pod, clock, page);
    line!(page, 0, "IP:\t{}", text(&status["podIP"]));
    let addresses = list(&status["podIPs"]);
    line!(page, 0, "IPs:{}", if addresses.is_empty() { "\t<none>" } else { "" });
    for address in addresses {
        line!(page, 1, "IP:\t{}", text(&address["ip"]));
    }
    if let Some(owner) = controller(pod) {
        line!(page, 0, "Controlled By:\t{}/{}", text(&owner["kind"]), text(&owner["name"]));
    }
    if !text(&status["nominatedNodeName"]).is_empty() {
        line!(page, 0, "NominatedNodeName:\t{}", text(&status["nominatedNodeName"]));
    }
    if !spec["resources"].is_null() {
        line!(page, 0, "Resources:");
        containers::resources(&spec["resources"], 1, page);
    }
    all_containers(pod, clock, page);
    conditions(spec, status, page);
    volumes::write(&spec["volumes"], "", page);
    let class = text(&status["qosClass"]);
    line!(page, 0, "QoS Class:\t{}", if class.is_empty() { "BestEffort" } else { class });
    page.labels(0, "Node-Selectors", &spec["nodeSelector"]);
    tolerations("Tolerations", &spec["tolerations"], page);
    spread("", &spec["topologySpreadConstraints"], page);
    scheduling_group("", &spec["schedulingGroup"], page);
    Ok(())
}

fn placement(spec: &Value, status: &Value, clock: &Clock, page: &mut Page) {
    if let Some(priority) = spec["priority"].as_i64() {
        line!(page, 0, "Priority:\t{priority}");
    }
    let named = [
        ("Priority Class Name", "priorityClassName"),
        ("Runtime Class Name", "runtimeClassName"),
        ("Service Account", "serviceAccountName"),
    ];
    for (title, field) in named {
        if !text(&spec[field]).is_empty() {
            line!(page, 0, "{title}:\t{}", text(&spec[field]));
        }
    }
    match text(&spec["nodeName"]) {
        "" => line!(page, 0, "Node:\t<none>"),
        node => line!(page, 0, "Node:\t{node}/{}", text(&status["hostIP"])),
    }
    if !status["startTime"].is_null() {
        line!(page, 0, "Start Time:\t{}", clock.time(&status["startTime"]));
    }
}

fn phase(pod: &Value, clock: &Clock, page: &mut Page) {
    let (metadata, spec, status) = (&pod["metadata"], &pod["spec"], &pod["status"]);
    let phase = text(&status["phase"]);
    if !metadata["deletionTimestamp"].is_null() && !matches!(phase, "Failed" | "Succeeded") {
        line!(page, 0, "Status:\tTerminating (lasts {})", clock.age(&metadata["deletionTimestamp"]));
        line!(page, 0, "Termination Grace Period:\t{}s", int(&metadata["deletionGracePeriodSeconds"]));
    } else {
        line!(page, 0, "Status:\t{phase}");
    }
    for (title, field) in [("Reason", "reason"), ("Message", "message")] {
        if !text(&status[field]).is_empty() {
            line!(page, 0, "{title}:\t{}", text(&status[field]));
        }
    }
    let seccomp = &spec["securityContext"]["seccompProfile"];
    if !seccomp.is_null() {
        line!(page, 0, "SeccompProfile:\t{}", text(&seccomp["type"]));
        if seccomp["type"] == "Localhost" {
            line!(page, 0, "LocalhostProfile:\t{}", text(&seccomp["localhostProfile"]));
        }
    }
}

fn all_containers(pod: &Value, clock: &Clock, page: &mut Page) {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let around = Around { pod: Some(pod), clock, space: "" };
    if !list(&spec["initContainers"]).is_empty() {
        containers::write("Init Containers", &spec["initContainers"], &status["initContainerStatuses"], &around, page);
    }
    containers::write("Containers", &spec["containers"], &status["containerStatuses"], &around, page);
    let ephemeral = &spec["ephemeralContainers"];
    if !list(ephemeral).is_empty() {
        containers::write("Ephemeral Containers", ephemeral, &status["ephemeralContainerStatuses"], &around, page);
    }
}

fn conditions(spec: &Value, status: &Value, page: &mut Page) {
    let conditions = list(&status["conditions"]);
    let gates = list(&spec["readinessGates"]);
    if !gates.is_empty() {
        line!(page, 0, "Readiness Gates:\n  Type\tStatus");
        for gate in gates {
            let kind = text(&gate["conditionType"]);
            let found = conditions.iter().find(|condition| condition["type"] == kind);
            line!(page, 1, "{kind} \t{} ", found.map_or("<none>", |condition| text(&condition["status"])));
        }
    }
    if !conditions.is_empty() {
        line!(page, 0, "Conditions:\n  Type\tStatus");
        for condition in conditions {
            line!(page, 1, "{} \t{} ", text(&condition["type"]), text(&condition["status"]));
        }
    }
}

/// The template of a workload.
pub(super) fn template(template: &Value, clock: &Clock, page: &mut Page) {
    line!(page, 0, "Pod Template:");
    if template.is_null() {
        put!(page, 1, "<unset>");
        return;
    }
    let (metadata, spec) = (&template["metadata"], &template["spec"]);
    page.labels(0, "  Labels", &metadata["labels"]);
    if fields::pairs(&metadata["annotations"]).next().is_some() {
        page.annotations(0, "  Annotations", &metadata["annotations"]);
    }
    if !text(&spec["serviceAccountName"]).is_empty() {
        line!(page, 1, "Service Account:\t{}", text(&spec["serviceAccountName"]));
    }
    let around = Around { pod: None, clock, space: "  " };
    if !list(&spec["initContainers"]).is_empty() {
        containers::write("Init Containers", &spec["initContainers"], &Value::Null, &around, page);
    }
    containers::write("Containers", &spec["containers"], &Value::Null, &around, page);
    volumes::write(&spec["volumes"], "  ", page);
    spread("  ", &spec["topologySpreadConstraints"], page);
    if !text(&spec["priorityClassName"]).is_empty() {
        line!(page, 1, "Priority Class Name:\t{}", text(&spec["priorityClassName"]));
    }
    page.labels(0, "  Node-Selectors", &spec["nodeSelector"]);
    tolerations("  Tolerations", &spec["tolerations"], page);
    scheduling_group("  ", &spec["schedulingGroup"], page);
}

fn tolerations(title: &str, tolerations: &Value, page: &mut Page) {
    let mut tolerations: Vec<&Value> = list(tolerations).iter().collect();
    tolerations.sort_by_key(|toleration| text(&toleration["key"]));
    let lines: Vec<String> = tolerations.into_iter().map(toleration).collect();
    page.each(0, title, &lines);
}

fn toleration(toleration: &Value) -> String {
    let (key, value, effect) = (text(&toleration["key"]), text(&toleration["value"]), text(&toleration["effect"]));
    let mut line = key.to_owned();
    if !value.is_empty() {
        line.push_str(&format!("={value}"));
    }
    if !effect.is_empty() {
        line.push_str(&format!(":{effect}"));
    }
    if toleration["operator"] == "Exists" && value.is_empty() {
        line.push_str(if line.is_empty() { "op=Exists" } else { " op=Exists" });
    }
    if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
        line.push_str(&format!(" for {seconds}s"));
    }
    line
}

fn spread(space: &str, constraints: &Value, page: &mut Page) {
    let mut constraints: Vec<&Value> = list(constraints).iter().collect();
    if constraints.is_empty() {
        return;
    }
    constraints.sort_by_key(|constraint| text(&constraint["topologyKey"]));
    put!(page, 0, "{space}Topology Spread Constraints:\t");
    for (index, constraint) in constraints.into_iter().enumerate() {
        if index > 0 {
            put!(page, 0, "{space}\t");
        }
        put!(page, 0, "{}:{}", text(&constraint["topologyKey"]), text(&constraint["whenUnsatisfiable"]));
        put!(page, 0, " when max skew {} is exceeded", int(&constraint["maxSkew"]));
        if !constraint["labelSelector"].is_null() {
            put!(page, 0, " for selector {}", fields::format_selector(&constraint["labelSelector"]));
        }
        line!(page, 0, "");
    }
}

fn scheduling_group(space: &str, group: &Value, page: &mut Page) {
    if !group.is_null() {
        line!(page, 0, "{space}SchedulingGroup:");
        line!(page, 1, "PodGroupName:\t{}", text(&group["podGroupName"]));
    }
}
