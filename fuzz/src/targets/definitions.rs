//! Definitions of custom resources: judged whatever they say, and so are their objects.

use mk8s_api::{
    crd::{Structural, conform, non_structural, validate},
    decode::{DEPTH, nests_within},
    field::Path,
    rules, schema,
};
use serde_json::{Value, json};

use super::Feed;
use crate::mutate;

fn schemas() -> Vec<Value> {
    vec![
        json!({"type": "object", "properties": {
            "spec": {"type": "object", "required": ["a"], "properties": {
                "a": {"type": "string", "pattern": "^[a-z]+$", "default": "x", "maxLength": 5, "format": "date-time"},
                "b": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "c": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                    "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}},
                "d": {"type": "object", "additionalProperties": {"type": "number", "nullable": true, "multipleOf": 0.1}},
                "e": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
            }},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }}),
        json!({"type": "object", "oneOf": [{"required": ["a"]}, {"not": {"required": ["b"]}}], "minProperties": 1}),
    ]
}

fn objects() -> Vec<Value> {
    vec![json!({
        "apiVersion": "g.io/v1", "kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}},
        "spec": {"a": "x", "b": 1, "c": [{"k": "1"}, {"k": "2"}], "d": {"x": 0.3, "y": null},
            "e": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"x": [1]}}},
        "status": {"x": {"y": []}},
    })]
}

pub(super) fn definitions() -> Feed {
    let (schemas, objects) = (schemas(), objects());
    Box::new(move |dice| {
        let schema = mutate::value(dice, &schemas);
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "ks.g.io"},
            "spec": {"group": "g.io", "scope": "Cluster", "names": {"plural": "ks", "kind": "K"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]},
        });
        if !nests_within(&definition, DEPTH) {
            return;
        }
        let rules = rules::of("apiextensions.k8s.io", "CustomResourceDefinition");
        let _ = (rules.validate(&definition), rules.warnings(&definition, None), non_structural(&definition));
        let _ = schema::of_custom(&schema);
        let Ok(structural) = Structural::read(&schema) else { return };
        let mut object = mutate::value(dice, &objects);
        if !nests_within(&object, DEPTH) || conform::received(&structural, &mut object).is_err() {
            return;
        }
        let mut again = object.clone();
        conform::stored(&structural, &mut again);
        let _ = validate::value(&structural, &object, Some(&again), &Path::root());
    })
}
