//! HorizontalPodAutoscalers.

use super::{
    Seen,
    fields::{int, list, quantity, text},
    page::{Page, line, put},
};
use anyhow::Result;
use serde_json::Value;

pub(super) fn write(seen: &Seen, page: &mut Page) -> Result<()> {
    let scaler = &seen.object;
    let (spec, status) = (&scaler["spec"], &scaler["status"]);
    let target = &spec["scaleTargetRef"];
    page.head(scaler);
    line!(page, 0, "CreationTimestamp:\t{}", seen.clock.time(&scaler["metadata"]["creationTimestamp"]));
    line!(page, 0, "Reference:\t{}/{}", text(&target["kind"]), text(&target["name"]));
    line!(page, 0, "Metrics:\t( current / target )");
    for (index, metric) in list(&spec["metrics"]).iter().enumerate() {
        let current = list(&status["currentMetrics"]).get(index).unwrap_or(&Value::Null);
        self::metric(metric, current, page);
    }
    let least = spec["minReplicas"].as_i64().map_or_else(|| "<unset>".to_owned(), |count| count.to_string());
    line!(page, 0, "Min replicas:\t{least}");
    line!(page, 0, "Max replicas:\t{}", int(&spec["maxReplicas"]));
    let behavior = &spec["behavior"];
    if !behavior.is_null() {
        line!(page, 0, "Behavior:");
        direction("Scale Up", &behavior["scaleUp"], page);
        direction("Scale Down", &behavior["scaleDown"], page);
    }
    let (current, desired) = (int(&status["currentReplicas"]), int(&status["desiredReplicas"]));
    line!(page, 0, "{} pods:\t{current} current / {desired} desired", text(&target["kind"]));
    let conditions = list(&status["conditions"]);
    if !conditions.is_empty() {
        line!(page, 0, "Conditions:");
        line!(page, 1, "Type\tStatus\tReason\tMessage");
        line!(page, 1, "----\t------\t------\t-------");
    }
    for condition in conditions {
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
        line!(page, 1, "{kind}\t{status}\t{reason}\t{message}");
    }
    Ok(())
}

/// A quantity that was measured, when anything was.
fn measured(current: &Value, field: &str) -> String {
    if current.is_null() { "<unknown>".to_owned() } else { quantity(&current["current"][field]) }
}

fn metric(metric: &Value, current: &Value, page: &mut Page) {
    let kind = text(&metric["type"]);
    let field = format!("{}{}", kind.get(..1).unwrap_or_default().to_lowercase(), kind.get(1..).unwrap_or_default());
    let (source, current) = (&metric[&field], &current[&field]);
    let (name, target) = (text(&source["metric"]["name"]), &source["target"]);
    let (average, value) = (quantity(&target["averageValue"]), quantity(&target["value"]));
    match kind {
        "External" if !target["averageValue"].is_null() => {
            let known = !current["current"]["averageValue"].is_null();
            let now = if known { measured(current, "averageValue") } else { "<unknown>".to_owned() };
            line!(page, 1, "{name:?} (target average value):\t{now} / {average}");
        }
        "External" => line!(page, 1, "{name:?} (target value):\t{} / {value}", measured(current, "value")),
        "Pods" => line!(page, 1, "{name:?} on pods:\t{} / {average}", measured(current, "averageValue")),
        "Object" => {
            let object = &source["describedObject"];
            put!(page, 1, "\"{name}\" on {}/{} ", text(&object["kind"]), text(&object["name"]));
            if target["type"] == "AverageValue" {
                line!(page, 0, "(target average value):\t{} / {average}", measured(current, "averageValue"));
            } else {
                line!(page, 0, "(target value):\t{} / {value}", measured(current, "value"));
            }
        }
        "Resource" => {
            put!(page, 1, "resource {} on pods", text(&source["name"]));
            usage(target, current, page);
        }
        "ContainerResource" => {
            let container = text(&source["container"]);
            put!(page, 1, "resource {} of container \"{container}\" on pods", text(&source["name"]));
            usage(target, current, page);
        }
        other => line!(page, 1, "<unknown metric type {other:?}>"),
    }
}

/// The end of the line of a resource metric.
fn usage(target: &Value, current: &Value, page: &mut Page) {
    if !target["averageValue"].is_null() {
        line!(page, 0, ":\t{} / {}", measured(current, "averageValue"), quantity(&target["averageValue"]));
        return;
    }
    let now = match current["current"]["averageUtilization"].as_i64() {
        Some(percent) => format!("{percent}% ({})", measured(current, "averageValue")),
        None => "<unknown>".to_owned(),
    };
    let wanted =
        target["averageUtilization"].as_i64().map_or_else(|| "<auto>".to_owned(), |percent| format!("{percent}%"));
    line!(page, 1, "(as a percentage of request):\t{now} / {wanted}");
}

fn direction(title: &str, rules: &Value, page: &mut Page) {
    if rules.is_null() {
        return;
    }
    line!(page, 1, "{title}:");
    if let Some(seconds) = rules["stabilizationWindowSeconds"].as_i64() {
        line!(page, 2, "Stabilization Window: {seconds} seconds");
    }
    let policies = list(&rules["policies"]);
    if !policies.is_empty() {
        line!(page, 2, "Select Policy: {}", rules["selectPolicy"].as_str().unwrap_or("Max"));
        line!(page, 2, "Policies:");
    }
    for policy in policies {
        let (value, period) = (int(&policy["value"]), int(&policy["periodSeconds"]));
        line!(page, 3, "- Type: {}\tValue: {value}\tPeriod: {period} seconds", text(&policy["type"]));
    }
}
