//! What limits, prioritises, scales or checks other objects.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{NONE, UNKNOWN, UNSET, age, condition, items, name, number, plain_or, selector, text, text_or},
};

pub(super) fn printers() -> Declared {
    let admission = "admissionregistration.k8s.io";
    let flow = "flowcontrol.apiserver.k8s.io";
    let levels = "Name|Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit|Age";
    let webhooks = "Name|Webhooks:integer|Age";
    vec![
        (
            "policy",
            "PodDisruptionBudget",
            Printer::of("Name|Min Available|Max Unavailable|Allowed Disruptions:integer|Age", disruption_budget),
        ),
        (
            "autoscaling",
            "HorizontalPodAutoscaler",
            Printer::of("Name|Reference|Targets|MinPods|MaxPods|Replicas|Age", autoscaler),
        ),
        (
            "scheduling.k8s.io",
            "PriorityClass",
            Printer::of("Name|Value:integer|Global-Default:boolean|Age|PreemptionPolicy", priority_class),
        ),
        (admission, "MutatingWebhookConfiguration", Printer::of(webhooks, webhook)),
        (admission, "ValidatingWebhookConfiguration", Printer::of(webhooks, webhook)),
        (
            admission,
            "ValidatingAdmissionPolicy",
            Printer::of("Name|Validations:integer|ParamKind|Age", |o, now| admission_policy(o, "validations", now)),
        ),
        (
            admission,
            "MutatingAdmissionPolicy",
            Printer::of("Name|Mutations:integer|ParamKind|Age", |o, now| admission_policy(o, "mutations", now)),
        ),
        (admission, "ValidatingAdmissionPolicyBinding", Printer::of("Name|PolicyName|ParamRef|Age", policy_binding)),
        (admission, "MutatingAdmissionPolicyBinding", Printer::of("Name|PolicyName|ParamRef|Age", policy_binding)),
        (
            flow,
            "FlowSchema",
            Printer::of("Name|PriorityLevel|MatchingPrecedence|DistinguisherMethod|Age|MissingPL", flow_schema),
        ),
        (flow, "PriorityLevelConfiguration", Printer::of(levels, priority_level)),
    ]
}

fn disruption_budget(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        name(object),
        json!(plain_or(&spec["minAvailable"], "N/A")),
        json!(plain_or(&spec["maxUnavailable"], "N/A")),
        json!(number(&object["status"]["disruptionsAllowed"])),
        age(object, now),
    ]
}

fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let target = &spec["scaleTargetRef"];
    vec![
        name(object),
        json!(format!("{}/{}", text(&target["kind"]), text(&target["name"]))),
        json!(metrics(spec, status)),
        json!(plain_or(&spec["minReplicas"], UNSET)),
        json!(number(&spec["maxReplicas"])),
        json!(number(&status["currentReplicas"])),
        age(object, now),
    ]
}

/// So many metrics are shown.
const SHOWN: usize = 2;

fn metrics(spec: &Value, status: &Value) -> String {
    // The first version of the kind knows one metric, by fields of its own.
    if let Some(target) = spec["targetCPUUtilizationPercentage"].as_i64() {
        let current = status["currentCPUUtilizationPercentage"].as_i64();
        return format!(
            "cpu: {}/{target}%",
            current.map_or_else(|| UNKNOWN.to_string(), |percent| format!("{percent}%"))
        );
    }
    let list: Vec<String> = items(&spec["metrics"])
        .iter()
        .enumerate()
        .map(|(i, metric)| self::metric(metric, &status["currentMetrics"][i]))
        .collect();
    match list.len() {
        0 => NONE.to_string(),
        count if count > SHOWN => format!("{} + {} more...", list[..SHOWN].join(", "), count - SHOWN),
        _ => list.join(", "),
    }
}

fn metric(metric: &Value, status: &Value) -> String {
    let percent = |value: &Value, absent: &str| value.as_i64().map_or_else(|| absent.to_string(), |p| format!("{p}%"));
    let sources = [
        ("External", "external"),
        ("Pods", "pods"),
        ("Object", "object"),
        ("Resource", "resource"),
        ("ContainerResource", "containerResource"),
    ];
    let Some((kind, field)) = sources.into_iter().find(|(kind, _)| metric["type"] == *kind) else {
        return "<unknown type>".to_string();
    };
    let (source, current) = (&metric[field], &status[field]["current"]);
    let target = &source["target"];
    let average =
        || format!("{}/{}", plain_or(&current["averageValue"], UNKNOWN), plain_or(&target["averageValue"], ""));
    match kind {
        "Pods" => average(),
        "External" | "Object" if !target["averageValue"].is_null() => format!("{} (avg)", average()),
        "External" | "Object" => format!("{}/{}", plain_or(&current["value"], UNKNOWN), plain_or(&target["value"], "")),
        _ if !target["averageValue"].is_null() => format!("{}: {}", text(&source["name"]), average()),
        _ => {
            let (now, wanted) =
                (percent(&current["averageUtilization"], UNKNOWN), percent(&target["averageUtilization"], "<auto>"));
            format!("{}: {now}/{wanted}", text(&source["name"]))
        }
    }
}

fn priority_class(object: &Value, now: Timestamp) -> Vec<Value> {
    let default = object["globalDefault"].as_bool().unwrap_or_default();
    vec![
        name(object),
        json!(number(&object["value"])),
        json!(default),
        age(object, now),
        json!(text(&object["preemptionPolicy"])),
    ]
}

fn webhook(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), json!(items(&object["webhooks"]).len()), age(object, now)]
}

fn admission_policy(object: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let kind = &spec["paramKind"];
    let shown = match kind.is_object() {
        true => format!("{}/{}", text(&kind["apiVersion"]), text(&kind["kind"])),
        false => UNSET.to_string(),
    };
    vec![name(object), json!(items(&spec[rules]).len()), json!(shown), age(object, now)]
}

fn policy_binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let reference = &object["spec"]["paramRef"];
    let shown = match text(&reference["name"]) {
        "" if reference["selector"].is_object() => selector(&reference["selector"]),
        "" => UNSET.to_string(),
        name => format!("{}/{name}", text_or(&reference["namespace"], "*")),
    };
    vec![name(object), json!(text(&object["spec"]["policyName"])), json!(shown), age(object, now)]
}

fn flow_schema(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    vec![
        name(object),
        json!(text(&spec["priorityLevelConfiguration"]["name"])),
        json!(number(&spec["matchingPrecedence"])),
        json!(text_or(&spec["distinguisherMethod"]["type"], NONE)),
        age(object, now),
        json!(condition(object, "Dangling").map_or("?", |dangling| text(&dangling["status"]))),
    ]
}

fn priority_level(object: &Value, now: Timestamp) -> Vec<Value> {
    let limited = &object["spec"]["limited"];
    let queuing = &limited["limitResponse"]["queuing"];
    let shown = |value: &Value| value.as_i64().map_or_else(|| json!(NONE), |number| json!(number));
    vec![
        name(object),
        json!(text(&object["spec"]["type"])),
        shown(&limited["nominalConcurrencyShares"]),
        shown(&queuing["queues"]),
        shown(&queuing["handSize"]),
        shown(&queuing["queueLengthLimit"]),
        age(object, now),
    ]
}
