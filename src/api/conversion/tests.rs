use expect_test::{Expect, expect};
use serde_json::json;

use super::*;

fn kind(group: &str, version: &str, plural: &str) -> &'static Kind {
    kinds::find(group, version, plural).expect("a built-in kind")
}

/// Shows the other form, and asserts that the way back leads where it started.
fn round_trip(kind: &Kind, mut object: Value, expected: Expect) {
    settle(&kind.group, &kind.version, &kind.kind, &mut object);
    let before = object.clone();
    to_storage(kind, &mut object);
    expected.assert_eq(&object.to_string());
    from_storage(kind, &mut object);
    assert_eq!(object, before);
}

#[test]
fn events() {
    let kind = kind("events.k8s.io", "v1", "events");
    round_trip(
        kind,
        json!({ "kind": "Event", "metadata": { "name": "e" }, "regarding": { "kind": "Pod" }, "note": "n", "reason": "R",
            "deprecatedCount": 3, "deprecatedFirstTimestamp": "2024-01-02T03:04:05Z", "reportingController": "c" }),
        expect![[
            r#"{"apiVersion":"v1","count":3,"eventTime":null,"firstTimestamp":"2024-01-02T03:04:05Z","involvedObject":{"kind":"Pod"},"kind":"Event","lastTimestamp":null,"message":"n","metadata":{"name":"e"},"reason":"R","reportingComponent":"c","reportingInstance":"","source":{}}"#
        ]],
    );
    assert_eq!(storage_field(kind, "regarding.name"), "involvedObject.name");
    assert_eq!(storage_field(kind, "type"), "type");
}

#[test]
fn autoscalers_of_v1() {
    let kind = kind("autoscaling", "v1", "horizontalpodautoscalers");
    let target = json!({ "kind": "Deployment", "name": "d", "apiVersion": "apps/v1" });
    round_trip(
        kind,
        json!({ "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" },
            "spec": { "scaleTargetRef": target, "maxReplicas": 3, "minReplicas": 1, "targetCPUUtilizationPercentage": 50 } }),
        expect![[
            r#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"h"},"spec":{"maxReplicas":3,"metrics":[{"resource":{"name":"cpu","target":{"averageUtilization":50,"type":"Utilization"}},"type":"Resource"}],"minReplicas":1,"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"d"}},"status":{"currentMetrics":null,"desiredReplicas":0}}"#
        ]],
    );
}

#[test]
fn autoscalers_of_v2_seen_as_v1() {
    let kind = kind("autoscaling", "v1", "horizontalpodautoscalers");
    let mut object = json!({ "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h", "annotations": { "a": "b" } },
        "spec": {
            "scaleTargetRef": { "kind": "Deployment", "name": "d" }, "maxReplicas": 3,
            "metrics": [
                { "type": "Pods", "pods": { "metric": { "name": "q" }, "target": { "type": "AverageValue", "averageValue": "5" } } },
                { "type": "Object", "object": { "describedObject": { "kind": "Service", "name": "s" },
                    "metric": { "name": "r" }, "target": { "type": "Value", "value": "7" } } },
                { "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 60 } } }
            ],
            "behavior": { "scaleDown": { "stabilizationWindowSeconds": 9, "policies": [{ "type": "Pods", "value": 1, "periodSeconds": 2 }] } }
        },
        "status": { "conditions": [{ "type": "AbleToScale", "status": "True" }],
            "currentMetrics": [{ "type": "Resource", "resource": { "name": "cpu", "current": { "averageUtilization": 12, "averageValue": "3m" } } }] }
    });
    settle("autoscaling", "v2", "HorizontalPodAutoscaler", &mut object);
    let stored = object.clone();
    from_storage(kind, &mut object);
    expect![[r#"
        {
          "apiVersion": "autoscaling/v1",
          "kind": "HorizontalPodAutoscaler",
          "metadata": {
            "annotations": {
              "a": "b",
              "autoscaling.alpha.kubernetes.io/behavior": "{\"ScaleDown\":{\"Policies\":[{\"PeriodSeconds\":2,\"Type\":\"Pods\",\"Value\":1}],\"StabilizationWindowSeconds\":9}}",
              "autoscaling.alpha.kubernetes.io/conditions": "[{\"lastTransitionTime\":null,\"status\":\"True\",\"type\":\"AbleToScale\"}]",
              "autoscaling.alpha.kubernetes.io/current-metrics": "[{\"resource\":{\"currentAverageUtilization\":12,\"currentAverageValue\":\"3m\",\"name\":\"cpu\"},\"type\":\"Resource\"}]",
              "autoscaling.alpha.kubernetes.io/metrics": "[{\"pods\":{\"metricName\":\"q\",\"targetAverageValue\":\"5\"},\"type\":\"Pods\"},{\"object\":{\"metricName\":\"r\",\"target\":{\"kind\":\"Service\",\"name\":\"s\"},\"targetValue\":\"7\"},\"type\":\"Object\"}]"
            },
            "name": "h"
          },
          "spec": {
            "maxReplicas": 3,
            "scaleTargetRef": {
              "kind": "Deployment",
              "name": "d"
            },
            "targetCPUUtilizationPercentage": 60
          },
          "status": {
            "currentCPUUtilizationPercentage": 12,
            "currentReplicas": 0,
            "desiredReplicas": 0
          }
        }"#]].assert_eq(&format!("{object:#}"));
    to_storage(kind, &mut object);
    assert_eq!(object, stored);
}

#[test]
fn others_stay() {
    let kind = kind("apps", "v1", "deployments");
    assert!(!is_converted(kind));
    let mut object = json!({ "odd": 1 });
    to_storage(kind, &mut object);
    assert_eq!(object, json!({ "odd": 1 }));
}

#[test]
fn autoscalers_of_v2beta2() {
    let metrics = json!([{ "type": "Resource", "resource": { "name": "cpu", "target": { "type": "Utilization", "averageUtilization": 50 } } }]);
    round_trip(
        kind("autoscaling", "v2beta2", "horizontalpodautoscalers"),
        json!({ "kind": "HorizontalPodAutoscaler", "metadata": { "name": "h" },
            "spec": { "scaleTargetRef": { "kind": "Deployment", "name": "d" }, "minReplicas": 1, "maxReplicas": 10, "metrics": metrics } }),
        expect![[
            r#"{"apiVersion":"autoscaling/v2","kind":"HorizontalPodAutoscaler","metadata":{"name":"h"},"spec":{"maxReplicas":10,"metrics":[{"resource":{"name":"cpu","target":{"averageUtilization":50,"type":"Utilization"}},"type":"Resource"}],"minReplicas":1,"scaleTargetRef":{"kind":"Deployment","name":"d"}},"status":{"currentMetrics":null,"desiredReplicas":0}}"#
        ]],
    );
}
