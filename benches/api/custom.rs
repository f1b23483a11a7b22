//! Creates of a custom resource whose schema has ten rules in CEL.

use crate::{
    Measure, NAMESPACE, Plan,
    connection::{Call, Connection},
    load,
    target::Target,
};
use serde_json::{Value, json};
use std::time::Duration;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const NAME: &str = "widgets.bench.mk8s.dev";

pub(crate) async fn creates(control: &mut Connection, target: &Target, plan: &Plan) -> anyhow::Result<Measure> {
    control.expect(Call::post(DEFINITIONS, definition().to_string()), &[201, 409]).await?;
    let url = format!("/apis/bench.mk8s.dev/v1/namespaces/{NAMESPACE}/widgets");
    // It is served a moment later.
    while control.expect(Call::get(url.clone()), &[200]).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let run = std::process::id();
    let create = move |worker, n| Call::post(url.clone(), widget(&format!("w-{run}-{worker}-{n}")).to_string());
    let measure = load("create, 10 rules in CEL", target, plan, plan.connections, create).await?;
    control.expect(Call::delete(format!("{DEFINITIONS}/{NAME}")), &[200, 202]).await?;
    Ok(measure)
}

fn definition() -> Value {
    let rules = [
        "self.minReplicas <= self.replicas",
        "self.replicas <= self.maxReplicas",
        "self.name.startsWith('w')",
        "self.name.matches('^[a-z0-9-]+$')",
        "size(self.name) < 40",
        "self.ports.all(p, p > 0 && p < 65536)",
        "self.ports.exists(p, p == 80)",
        "self.labels.all(k, size(k) < 20)",
        "!has(self.paused) || self.paused == false",
        "self.size in ['small', 'large']",
    ];
    let rules: Vec<Value> = rules.iter().map(|rule| json!({"rule": rule, "message": "does not hold"})).collect();
    let integer = json!({"type": "integer"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": NAME},
        "spec": {
            "group": "bench.mk8s.dev", "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object",
                "properties": {"spec": {
                    "type": "object",
                    "required": ["name", "replicas", "minReplicas", "maxReplicas", "ports", "labels", "size"],
                    "properties": {
                        "name": {"type": "string", "maxLength": 60},
                        "size": {"type": "string", "maxLength": 10},
                        "text": {"type": "string", "maxLength": 2000},
                        "paused": {"type": "boolean"},
                        "replicas": integer, "minReplicas": integer, "maxReplicas": integer,
                        "ports": {"type": "array", "maxItems": 10, "items": integer},
                        "labels": {"type": "object", "maxProperties": 10, "additionalProperties": {"type": "string", "maxLength": 20}},
                    },
                    "x-kubernetes-validations": rules,
                }},
            }}}],
        },
    })
}

fn widget(name: &str) -> Value {
    json!({
        "apiVersion": "bench.mk8s.dev/v1", "kind": "Widget", "metadata": {"name": name},
        "spec": {
            "name": "widget", "replicas": 3, "minReplicas": 1, "maxReplicas": 5, "ports": [80, 443],
            "labels": {"a": "b", "c": "d"}, "size": "small", "text": "x".repeat(700),
        },
    })
}
