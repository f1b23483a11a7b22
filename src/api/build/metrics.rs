//! The types of `metrics.k8s.io`, which k8s-openapi does not have.

use serde_json::{Value, json};

use crate::overlay::Definitions;

const PACKAGE: &str = "io.k8s.metrics.pkg.apis.metrics.v1beta1";

pub(crate) fn definitions() -> Definitions {
    let node = [("usage", usage("What the node uses, by resource. Memory is the working set."))];
    let containers = json!({
        "description": "What each container used, all in the same interval.",
        "type": "array",
        "items": { "$ref": format!("#/components/schemas/{PACKAGE}.ContainerMetrics") },
        "x-kubernetes-list-type": "atomic",
    });
    let container = json!({
        "description": "What a container uses.",
        "type": "object",
        "required": ["name", "usage"],
        "properties": {
            "name": { "description": "The container's name, as in the pod.", "type": "string" },
            "usage": usage("What the container uses, by resource. Memory is the working set."),
        },
    });
    let all = [
        ("ContainerMetrics", container),
        ("NodeMetrics", measured("NodeMetrics", "What a node uses.", node)),
        ("PodMetrics", measured("PodMetrics", "What a pod's containers use.", [("containers", containers)])),
    ];
    all.into_iter().map(|(kind, schema)| (format!("{PACKAGE}.{kind}"), schema)).collect()
}

fn usage(description: &str) -> Value {
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": { "$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity" },
    })
}

fn reference(name: &str, description: &str) -> Value {
    let name = format!("#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.{name}");
    json!({ "description": description, "allOf": [{ "$ref": name }] })
}

/// A kind that says when it was measured, and what.
fn measured<const N: usize>(kind: &str, description: &str, what: [(&str, Value); N]) -> Value {
    let mut schema = json!({
        "description": description,
        "type": "object",
        "required": ["timestamp", "window"],
        "properties": {
            "apiVersion": { "description": "The group and version of this representation.", "type": "string" },
            "kind": { "description": "The kind of this representation, in CamelCase.", "type": "string" },
            "metadata": reference("ObjectMeta", "Standard object metadata."),
            "timestamp": reference("Time", "The end of the interval in which it was measured."),
            "window": { "description": "How long that interval was.", "type": "string" },
        },
        "x-kubernetes-group-version-kind": [{ "group": "metrics.k8s.io", "version": "v1beta1", "kind": kind }],
    });
    for (field, of) in what {
        schema["required"].as_array_mut().expect("just made").push(json!(field));
        schema["properties"][field] = of;
    }
    schema
}
