//! CEL: any text is refused or compiled, any object is judged, and neither takes long, deep stacks or much memory.

use std::time::Duration;

use mk8s_api::cel::{self, Declarations, Type, Value, rules::Rules};
use mk8s_api::field::Path;
use serde_json::json;

use super::Feed;
use crate::{clock, corpus, mutate};

const EXPRESSIONS: [&str; 16] = [
    "self.spec.replicas >= 1 && self.metadata.name.startsWith('a')",
    "self.spec.containers.all(c, !has(c.image) || c.image.matches('^[a-z]+/.*$'))",
    "self.list.map(x, x * 2).filter(y, y > 2).exists_one(z, z == 4)",
    "self.?a.?b.orValue({'k': [1, 2, 3]})['k'][0] == 1",
    "[1, 2, 3].transformMap(i, v, i > 0, v + i).all(k, v, k < v)",
    "quantity('1.5Gi').isGreaterThan(quantity('100M')) ? ip('10.0.0.1').family() == 4 : isURL('http://a/b?c=d')",
    "'%s-%d'.format([dyn('a'), 3]).split('-', 2).join('+').replace('a', 'bb', 1).substring(1) == \"x\"",
    "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') || semver('1.2.3-a.1+b').isLessThan(semver('v2', true))",
    "duration('1h30m') + duration('-1.5s') < timestamp('2023-01-01T00:00:00Z') - timestamp('2022-01-01T00:00:00+01:00')",
    "Object{spec: Object.spec{replicas: 1, ?x: optional.none()}}",
    "JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: dyn([1u, 0x1F])}",
    "sets.contains([1, 2], [2]) && [3, 1, 2].sortBy(x, -x).slice(0, 2).sum() == 5 && lists.range(10).flatten(1).distinct().isSorted()",
    "type(self) == map && dyn(self) != null && b'\\x00\\377' != bytes('é\\u00e9\\U0001F600')",
    "r'\\d+' + '''a'b''' + \"\\t\\\"\" in ['x'] || !!(-(-1) % 7 == 1 / 2)",
    "format.dns1123Label().validate(self.name).optMap(e, e[0]).or(optional.of('')).hasValue()",
    "// a comment\n true ? false ? 1 < 2 : 3u >= 4u : 5.5 != 6e-3",
];

pub(super) fn expressions() -> Feed {
    let corpus: Vec<Vec<u8>> = EXPRESSIONS.iter().map(|text| text.as_bytes().to_vec()).collect();
    let declarations = Declarations::new().variable("self", Type::Dyn).with_mutation();
    Box::new(move |dice| {
        let text = mutate::text(dice, &corpus);
        let before = clock::had_here();
        match cel::compile(&text, &declarations) {
            Err(error) => drop(error.to_string()),
            Ok(compiled) => {
                let object = dice.pick(&corpus::OBJECTS);
                let run = compiled.program.evaluate(&[Some(Value::dynamic(object))]);
                match run.result {
                    Ok(value) => drop(value.to_json()),
                    Err(error) => drop(error.to_string()),
                }
            }
        }
        let took = clock::had_here() - before;
        assert!(took < Duration::from_secs(5), "{text:?} took {took:?}");
    })
}

pub(super) fn rules() -> Feed {
    let schemas = [json!({
        "type": "object",
        "x-kubernetes-validations": [{"rule": "self.spec.replicas > oldSelf.spec.replicas", "messageExpression": "'no ' + self.metadata.name"}],
        "properties": {"spec": {"type": "object", "properties": {
            "replicas": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "reason": "FieldValueForbidden"}]},
            "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "maxItems": 5, "items": {
                "type": "object", "required": ["name"],
                "properties": {"name": {"type": "string", "maxLength": 5}, "port": {"x-kubernetes-int-or-string": true}},
                "x-kubernetes-validations": [{"rule": "self == oldSelf", "optionalOldSelf": true, "fieldPath": ".name"}],
            }},
            "labels": {"type": "object", "additionalProperties": {"type": "string", "format": "duration"}, "x-kubernetes-validations": [{"rule": "self.all(k, self[k] > duration('1s'))"}]},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "enum": ["a", "b"]}, "x-kubernetes-validations": [{"rule": "self == oldSelf"}]},
        }}},
    })];
    let objects = [json!({
        "metadata": {"name": "a"},
        "spec": {"replicas": 2, "ports": [{"name": "a", "port": 80}, {"name": "b", "port": "x"}], "labels": {"a": "1h"}, "set": ["a", "b"]},
    })];
    Box::new(move |dice| {
        let schema = mutate::value(dice, &schemas);
        for error in mk8s_api::cel::rules::check(&schema, &Path::new("openAPIV3Schema")) {
            drop(error.to_string());
        }
        let Some(rules) = Rules::compile(&schema) else { return };
        let (new, old) = (mutate::value(dice, &objects), mutate::value(dice, &objects));
        for error in rules.validate(&Path::root(), &new, Some(&old)).errors {
            drop(error.to_string());
        }
    })
}
