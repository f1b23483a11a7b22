//! Sets of fields and applied configurations: what is read is written again as it was read, and an apply is answered.

use mk8s_api::{
    apply::{Counted, FieldSet, Managers, Versions, Writer, configuration, write},
    decode::{DEPTH, nests_within},
    kinds, meta,
    schema::{Node, Schema, schema_of},
};
use serde_json::{Value, json};

use super::Feed;
use crate::{
    corpus,
    mutate::{self, Dice},
};

/// One kind in one version.
struct One<'a> {
    api_version: &'a str,
    schema: &'static Schema,
}

impl Versions for One<'_> {
    fn node(&self, api_version: &str) -> Option<Node<'_>> {
        (api_version == self.api_version).then(|| self.schema.node())
    }

    fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        (api_version == self.api_version).then(|| object.clone())
    }
}

pub(super) fn fields() -> Feed {
    let sets = [
        json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:finalizers": {"v:\"x\"": {}}}}),
        json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:ports": {
            "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}, "i:3": {}}}),
    ];
    Box::new(move |dice| {
        let value = mutate::value(dice, &sets);
        let Ok(set) = FieldSet::decode(&value) else { return };
        let text = set.clone().into_value();
        assert_eq!(FieldSet::decode(&text).as_ref(), Ok(&set), "what was written is read");
        let other = FieldSet::decode(&mutate::value(dice, &sets)).unwrap_or_default();
        let (mut both, mut cut) = (set.clone(), set.clone());
        both.unite(&other);
        cut.cut(&other);
        assert!(both.without(&other).shared(&other).is_empty() && set.without(&both).is_empty());
        assert!(cut.shared(&other).is_empty());
        let entry = json!({"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": value});
        let entries = mutate::value(dice, &[json!([entry])]);
        if let Ok(managers) = Managers::decode(entries) {
            let written = managers.encode().unwrap_or_default();
            assert!(Managers::decode(written).is_ok());
        }
    })
}

pub(super) fn applies() -> Feed {
    Box::new(|dice| {
        let object = dice.pick(&corpus::OBJECTS);
        let api_version = meta::api_version(object);
        let (group, version) = kinds::split_api_version(api_version);
        let Some(schema) = schema_of(group, version, meta::kind(object)) else { return };
        let versions = One { api_version, schema };
        let writer = |name: &'static str| Writer {
            name,
            api_version,
            subresource: "",
            now: "2026-01-01T00:00:00Z",
            counted: &Counted::All,
            versions: &versions,
        };
        let zero = json!({});
        let mut live = object.clone();
        schema.prune(&mut live);
        write::create(&writer("maker"), &zero, &mut live);
        for name in ["one", "two", "kubectl"] {
            let configuration = configuration(dice, object);
            let form = |mut object: Value| match schema.decode(&mut object) {
                Ok(_) => Ok(object),
                Err(error) => Err(error.to_string()),
            };
            let applied = configuration::apply(&writer(name), &zero, &live, &configuration, dice.one_in(2), &form);
            let Ok(applied) = applied else { continue };
            let mut next = applied.object.unwrap_or_else(|| live.clone());
            let entries = applied.managers.encode().unwrap_or_default();
            assert!(Managers::decode(entries.clone()).is_ok());
            meta::set(&mut next, "managedFields", entries);
            assert!(nests_within(&next, DEPTH));
            live = next;
        }
    })
}

fn configuration(dice: &mut Dice, object: &Value) -> Value {
    let configuration = mutate::value(dice, std::slice::from_ref(object));
    if nests_within(&configuration, DEPTH) { configuration } else { Value::Null }
}
