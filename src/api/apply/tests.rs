//! Field sets, walks and applies over the schemas of built-in kinds.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{
    compare::{compare, forget_address},
    configuration::{self, ApplyError},
    merge::merge,
    *,
};
use crate::schema::{Node, Schema, schema_of};

mod custom;

fn deployment() -> &'static Schema {
    schema_of("apps", "v1", "Deployment").expect("a built-in kind")
}

fn node() -> Node<'static> {
    deployment().node()
}

fn containers(list: Value) -> Value {
    json!({"spec": {"template": {"spec": {"containers": list}}}})
}

/// Deployments in one version.
struct Deployments;

impl Versions for Deployments {
    fn node(&self, api_version: &str) -> Option<Node<'_>> {
        (api_version == "apps/v1").then(node)
    }

    fn convert(&self, object: &Value, api_version: &str) -> Option<Value> {
        (api_version == "apps/v1").then(|| object.clone())
    }
}

fn writer<'a>(name: &'a str, now: &'a str) -> Writer<'a> {
    Writer { name, api_version: "apps/v1", subresource: "", now, counted: &Counted::All, versions: &Deployments }
}

fn zero() -> Value {
    let mut zero = json!({});
    deployment().prune(&mut zero);
    zero
}

/// A server that keeps one Deployment.
struct Kept {
    object: Option<Value>,
}

impl Kept {
    fn new() -> Kept {
        Kept { object: None }
    }

    fn form(mut object: Value) -> Result<Value, String> {
        deployment().decode(&mut object).map_err(|error| error.to_string())?;
        Ok(object)
    }

    fn apply(&mut self, manager: &str, force: bool, configuration: Value) -> Result<(), ApplyError> {
        self.apply_at(manager, "2026-01-01T00:00:00Z", force, configuration)
    }

    fn apply_at(&mut self, manager: &str, now: &str, force: bool, configuration: Value) -> Result<(), ApplyError> {
        let writer = writer(manager, now);
        let (mut object, managers) = match &self.object {
            None => (
                Kept::form(configuration.clone()).map_err(ApplyError::Form)?,
                configuration::create(&writer, &configuration)?,
            ),
            Some(live) => {
                let applied = configuration::apply(&writer, &zero(), live, &configuration, force, &Kept::form)?;
                (applied.object.unwrap_or_else(|| live.clone()), applied.managers)
            }
        };
        let entries = managers.encode().unwrap_or_default();
        object["metadata"]["managedFields"] = entries;
        self.object = Some(object);
        Ok(())
    }

    fn update(&mut self, manager: &str, change: impl FnOnce(&mut Value)) {
        let old = self.object.clone().unwrap_or_else(zero);
        let mut new = old.clone();
        change(&mut new);
        let new_form = Kept::form(new).expect("a deployment");
        let mut new = new_form;
        let writer = writer(manager, "2026-01-02T00:00:00Z");
        match self.object {
            None => write::create(&writer, &old, &mut new),
            Some(_) => write::update(&writer, &old, &mut new),
        }
        self.object = Some(new);
    }

    /// `manager operation fields` of each entry.
    fn managers(&self) -> Vec<String> {
        let object = self.object.as_ref().expect("something was written");
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        entries.iter().map(|e| format!("{} {} {}", text(&e["manager"]), text(&e["operation"]), e["fieldsV1"])).collect()
    }

    fn at(&self, pointer: &str) -> Value {
        self.object.as_ref().and_then(|object| object.pointer(pointer)).cloned().unwrap_or_default()
    }
}

#[test]
fn a_configuration_owns_what_it_says() {
    let cases = [
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b"}, "finalizers": ["x"]}}),
            json!({"f:metadata": {"f:finalizers": {"v:\"x\"": {}}, "f:labels": {"f:a": {}}}}),
        ),
        (json!({"metadata": {"name": "d"}}), json!({})),
        (json!({"metadata": {"labels": {}}}), json!({"f:metadata": {"f:labels": {}}})),
        // A selector is one value, a strategy is not.
        (
            json!({"spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "strategy": {"type": "Recreate"}}}),
            json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:strategy": {"f:type": {}}}}),
        ),
        (
            containers(
                json!([{"name": "c", "image": "i", "ports": [{"containerPort": 80}], "command": ["a", "b"], "args": []}]),
            ),
            json!({"f:spec": {"f:template": {"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {
                ".": {}, "f:args": {}, "f:command": {}, "f:image": {}, "f:name": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}}),
        ),
        // A list without items is nobody's.
        (containers(json!([])), json!({})),
        // A null is owned.
        (json!({"spec": {"replicas": null}}), json!({"f:spec": {"f:replicas": {}}})),
    ];
    for (object, expected) in cases {
        let mut fields = extract::fields(node(), &object);
        forget_address(&mut fields);
        assert_eq!(fields.into_value(), expected, "{object}");
    }
}

#[test]
fn states_are_compared_by_keys() {
    let list = |items: Value| json!({"f:spec": {"f:template": {"f:spec": {"f:containers": items}}}});
    let old = containers(json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]));
    let new = containers(json!([{"name": "a", "image": "2", "args": ["x"]}, {"name": "c", "image": "1"}]));
    let found = compare(node(), &old, &new);
    assert_eq!(
        found.changed.into_value(),
        list(
            json!({"k:{\"name\":\"a\"}": {"f:image": {}}, "k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}}})
        )
    );
    assert_eq!(found.removed.into_value(), list(json!({"k:{\"name\":\"b\"}": {".": {}, "f:image": {}, "f:name": {}}})));
    let turned = containers(json!([{"name": "b", "image": "1"}, {"name": "a", "image": "1", "args": ["x"]}]));
    assert!(compare(node(), &old, &turned).is_empty(), "the order of items is nobody's");
    let twice = containers(json!([{"name": "a", "image": "1"}, {"name": "a", "image": "1"}]));
    assert_eq!(compare(node(), &zero(), &twice).changed.into_value(), list(json!({"k:{\"name\":\"a\"}": {}})));
    assert!(compare(node(), &twice, &twice).is_empty());
}

#[test]
fn a_new_object_is_noted_as_upstream_notes_it() {
    let mut kept = Kept::new();
    kept.update("kubectl-create", |object| {
        *object = json!({"metadata": {"name": "d", "labels": {"app": "d"}}, "spec": {"replicas": 1,
            "selector": {"matchLabels": {"app": "d"}}, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
            "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    });
    assert_eq!(
        kept.managers(),
        [concat!(
            r#"kubectl-create Update {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"#,
            r#""f:spec":{"f:replicas":{},"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}},"f:type":{}},"#,
            r#""f:template":{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"#,
            r#""f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{},"f:name":{},"f:resources":{}}}}}}}"#
        )]
    );
}

#[test]
fn items_are_merged_in_the_configurations_order() {
    let names = |names: &[&str]| Value::Array(names.iter().map(|name| json!({"name": name})).collect());
    let cases: [(&[&str], &[&str], &[&str]); 7] = [
        (&["a", "b"], &["b", "c"], &["a", "b", "c"]),
        (&["a", "b", "c"], &["c", "a"], &["b", "c", "a"]),
        (&["a", "b", "c", "d"], &["d", "b"], &["a", "c", "d", "b"]),
        (&[], &["a"], &["a"]),
        (&["a"], &[], &["a"]),
        (&["a", "b"], &["x", "a", "y", "b", "z"], &["x", "a", "y", "b", "z"]),
        (&["a", "b", "c"], &["x", "b"], &["a", "x", "b", "c"]),
    ];
    for (live, wanted, expected) in cases {
        let merged = merge(node(), &containers(names(live)), &containers(names(wanted)));
        assert_eq!(merged, containers(names(expected)), "{live:?} {wanted:?}");
    }
    let live = containers(json!([{"name": "a", "image": "1", "tty": true, "args": ["x", "y"]}]));
    let wanted = containers(json!([{"name": "a", "image": "2", "args": ["z"]}]));
    let expected = containers(json!([{"name": "a", "image": "2", "tty": true, "args": ["z"]}]));
    assert_eq!(merge(node(), &live, &wanted), expected);
}

#[test]
fn what_is_let_go_is_pruned_unless_somebody_has_it() {
    let mut kept = Kept::new();
    let configuration = |labels: Value, images: &[&str]| {
        let list = images.iter().map(|name| json!({"name": name, "image": "i", "env": [{"name": "E", "value": "v"}]}));
        let mut object = containers(list.collect());
        object["metadata"] = json!({"name": "d", "labels": labels});
        object
    };
    kept.apply("one", false, configuration(json!({"a": "1", "b": "1"}), &["x", "y"])).expect("made");
    let mut shared = containers(json!([{"name": "y"}]));
    shared["metadata"]["labels"] = json!({"b": "1"});
    kept.apply("two", false, shared).expect("no conflict");
    kept.update("writer", |object| object["spec"]["template"]["spec"]["containers"][1]["tty"] = json!(true));
    kept.apply("one", false, configuration(json!({"c": "1"}), &["x"])).expect("applied");
    assert_eq!(kept.at("/metadata/labels"), json!({"b": "1", "c": "1"}));
    // The item that another has stays, without what only this manager had.
    assert_eq!(kept.at("/spec/template/spec/containers/1"), json!({"name": "y", "resources": {}, "tty": true}));
    kept.apply("two", false, json!({"metadata": {"labels": {"b": "1"}}})).expect("applied");
    // A field in an item is no hold on the item.
    assert_eq!(kept.at("/spec/template/spec/containers/1"), Value::Null);
    kept.apply("one", false, json!({})).expect("applied");
    assert_eq!(kept.at("/metadata/labels"), json!({"b": "1"}));
}

#[test]
fn conflicts_name_owners_and_fields() {
    let mut kept = Kept::new();
    kept.apply("one", false, json!({"spec": {"replicas": 1, "paused": true}})).expect("made");
    kept.update("writer", |object| object["spec"]["minReadySeconds"] = json!(3));
    let refused = |kept: &mut Kept, configuration: Value| match kept.apply("two", false, configuration) {
        Err(ApplyError::Conflicts(conflicts)) => refusal(&conflicts),
        other => panic!("{other:?}"),
    };
    let status = refused(&mut kept, json!({"spec": {"replicas": 2}}));
    assert_eq!(
        (status.code, status.message.as_str()),
        (409, "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas")
    );
    let status = refused(&mut kept, json!({"spec": {"replicas": 2, "minReadySeconds": 4}}));
    assert_eq!(
        status.message,
        "Apply failed with 2 conflicts: conflicts with \"one\":\n- .spec.replicas\nconflicts with \"writer\" using apps/v1:\n- .spec.minReadySeconds"
    );
    kept.apply("two", false, json!({"spec": {"replicas": 1}})).expect("the same value is shared");
    kept.apply("two", true, json!({"spec": {"replicas": 2}})).expect("forced");
    assert_eq!(
        kept.managers(),
        [
            r#"one Apply {"f:spec":{"f:paused":{}}}"#,
            r#"two Apply {"f:spec":{"f:replicas":{}}}"#,
            r#"writer Update {"f:spec":{"f:minReadySeconds":{}}}"#
        ]
    );
}

#[test]
fn what_merging_clients_applied_may_be_taken_over() {
    let last = |replicas: u32| {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}}).to_string()
    };
    let configuration =
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replicas": 5}});
    for (said, taken) in [(last(3), true), (last(4), false), ("{".into(), false)] {
        let mut kept = Kept::new();
        kept.update("kubectl-client-side-apply", |object| {
            *object = json!({"metadata": {"name": "d", "annotations": {configuration::LAST_APPLIED: said}}, "spec": {"replicas": 3}});
        });
        assert!(kept.apply("other", false, configuration.clone()).is_err());
        assert_eq!(kept.apply("kubectl", false, configuration.clone()).is_ok(), taken, "{said}");
        if taken {
            assert_eq!(kept.at("/spec/replicas"), json!(5));
            let renewed = kept
                .object
                .as_ref()
                .and_then(|o| crate::meta::annotation(o, configuration::LAST_APPLIED).map(str::to_owned));
            assert_eq!(renewed, Some(format!("{configuration}\n")));
        }
    }
}

#[test]
fn times_move_with_changes_only() {
    let mut kept = Kept::new();
    let times = |kept: &Kept| -> Vec<String> {
        let entries = kept.at("/metadata/managedFields");
        entries
            .as_array()
            .into_iter()
            .flatten()
            .map(|e| format!("{}@{}", e["manager"].as_str().unwrap_or("-"), e["time"].as_str().unwrap_or("-")))
            .collect()
    };
    kept.apply_at("one", "2026-01-01T00:00:00Z", false, json!({"spec": {"replicas": 1}})).expect("made");
    kept.apply_at("one", "2026-01-02T00:00:00Z", false, json!({"spec": {"replicas": 1}})).expect("the same");
    assert_eq!(times(&kept), ["one@2026-01-01T00:00:00Z"]);
    kept.apply_at("two", "2026-01-03T00:00:00Z", false, json!({"spec": {"replicas": 1}})).expect("the same");
    assert_eq!(times(&kept), ["two@-", "one@2026-01-01T00:00:00Z"]);
    kept.apply_at("two", "2026-01-04T00:00:00Z", true, json!({"spec": {"replicas": 2}})).expect("forced");
    assert_eq!(times(&kept), ["two@2026-01-04T00:00:00Z"]);
}

#[test]
fn the_oldest_writers_become_one() {
    let mut kept = Kept::new();
    for n in 10..23 {
        kept.update(&format!("w{n}"), |object| object["metadata"]["labels"][format!("x{n}")] = json!("v"));
    }
    let names: Vec<String> =
        kept.managers().iter().map(|line| line.split(' ').next().unwrap_or("").to_owned()).collect();
    assert_eq!(names, ["ancient-changes", "w14", "w15", "w16", "w17", "w18", "w19", "w20", "w21", "w22"]);
    let first = &kept.at("/metadata/managedFields/0/fieldsV1/f:metadata/f:labels");
    assert_eq!(first, &json!({".": {}, "f:x10": {}, "f:x11": {}, "f:x12": {}, "f:x13": {}}));
}

#[test]
fn clients_may_write_the_entries() {
    let entry = |fields: Value| json!([{"manager": "m", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields}]);
    let spec = json!({"f:spec": {"f:replicas": {}}});
    let cases = [
        (entry(spec.clone()), vec![format!("m Update {spec}")]),
        // What cannot be understood is passed over: what was known stays.
        (json!([{"manager": "m"}]), vec![format!("one Apply {spec}")]),
        (entry(json!("x")), vec![format!("one Apply {spec}")]),
        (entry(json!({"x": {}})), vec![format!("one Apply {spec}")]),
        (json!([]), vec![]),
        (json!([{}]), vec![]),
        // Steps come into their form; those of kinds to come are left out.
        (
            entry(json!({"f:spec": {"k:{\"b\": 1, \"a\": 2}": {".": {}}, "z:later": {}, "f:replicas": {".": {}}}})),
            vec![r#"m Update {"f:spec":{"f:replicas":{},"k:{\"a\":2,\"b\":1}":{}}}"#.to_owned()],
        ),
    ];
    for (entries, expected) in cases {
        let mut kept = Kept::new();
        kept.apply("one", false, json!({"spec": {"replicas": 1}})).expect("made");
        let old = kept.object.clone().expect("made");
        let mut new = old.clone();
        new["metadata"]["managedFields"] = entries.clone();
        write::update(&writer("w", "T"), &old, &mut new);
        kept.object = Some(new);
        assert_eq!(kept.managers(), expected, "{entries}");
    }
}

#[test]
fn what_does_not_fit_is_told_in_one_answer() {
    let cases = [
        (json!({"spec": {"replica": 1}}), ".spec.replica: field not declared in schema"),
        (json!({"spec": {"replicas": "1"}}), ".spec.replicas: expected numeric (int or float), got string"),
        (json!({"spec": 3}), ".spec: expected map, got &{3}"),
        (containers(json!({})), ".spec.template.spec.containers: expected list, got &{map[]}"),
        (
            containers(json!([{"name": "a"}, {"name": "a"}])),
            ".spec.template.spec.containers: duplicate entries for key [name=\"a\"]",
        ),
        (
            containers(json!([{"name": "a", "image": 1, "foo": 2}])),
            "errors:\n  .spec.template.spec.containers[name=\"a\"].foo: field not declared in schema\n",
        ),
    ];
    for (configuration, expected) in cases.iter().take(5) {
        assert_eq!(
            configuration::create(&writer("m", "T"), configuration).map(|_| ()),
            Err(ApplyError::Type((*expected).to_owned())),
        );
    }
    assert!(configuration::create(&writer("m", "T"), &cases[5].0).is_err());
}

#[test]
fn ways_of_writing_leave_fields_alone() {
    let set = || {
        FieldSet::decode(&json!({"f:metadata": {"f:labels": {"f:a": {}}, "f:ownerReferences": {"k:{\"uid\":\"u\"}": {}}},
            "f:spec": {"f:ephemeralContainers": {".": {}, "k:{\"name\":\"e\"}": {".": {}, "f:image": {}}},
                "f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:resources": {"f:limits": {}}}}}, "f:status": {"f:phase": {}}}))
        .expect("a set")
    };
    let cases = [
        (counted("", "Pod", "", true), json!({"without": ["f:status"]})),
        (
            counted("", "Pod", "status", true),
            json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:status": {"f:phase": {}}}),
        ),
        (
            counted("", "Pod", "ephemeralcontainers", true),
            json!({"f:spec": {"f:ephemeralContainers": {".": {}, "k:{\"name\":\"e\"}": {".": {}, "f:image": {}}}}}),
        ),
        (
            counted("", "Pod", "resize", true),
            json!({"f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:resources": {"f:limits": {}}}}}}),
        ),
        (counted("apiregistration.k8s.io", "APIService", "status", true), json!({"f:status": {"f:phase": {}}})),
        (counted_custom("status", true), json!({"f:status": {"f:phase": {}}})),
        (counted_custom("", true), json!({"without": ["f:status"]})),
    ];
    for (counted, expected) in cases {
        let mut kept = set();
        counted.keep(&mut kept);
        if expected.get("without").is_some() {
            assert!(!kept.has(&["f:status", "f:phase"]) && kept.has(&["f:metadata", "f:labels", "f:a"]));
        } else {
            assert_eq!(kept.into_value(), expected);
        }
    }
}

#[test]
fn what_became_one_value_is_owned_as_one() {
    let set = FieldSet::decode(
        &json!({"f:spec": {"f:selector": {".": {}, "f:matchLabels": {".": {}, "f:a": {}}}, "f:replicas": {}}}),
    )
    .expect("a set");
    let today = reconcile::reconcile(node(), &set).map(FieldSet::into_value);
    assert_eq!(today, Some(json!({"f:spec": {"f:selector": {}, "f:replicas": {}}})));
    assert_eq!(
        reconcile::reconcile(node(), &FieldSet::decode(&json!({"f:spec": {"f:selector": {}}})).expect("a set")),
        None
    );
}

#[test]
fn owners_of_a_scale_are_owners_of_the_replicas() {
    let replicas = ["f:spec", "f:replicas"];
    let entry = |name: &str, operation: &str, version: &str, fields: Value| json!({"manager": name, "operation": operation, "apiVersion": version, "fieldsType": "FieldsV1", "fieldsV1": fields});
    let both = json!({"f:spec": {"f:replicas": {}, "f:paused": {}}});
    let parent = Managers::decode(json!([
        entry("a", "Apply", "apps/v1", both.clone()),
        entry("b", "Update", "apps/v1", json!({"f:spec": {"f:paused": {}}}))
    ]))
    .expect("entries");
    let scale = scale::of_parent(&parent, &replicas);
    assert_eq!(
        scale.clone().encode(),
        Some(json!([entry("a", "Apply", "autoscaling/v1", json!({"f:spec": {"f:replicas": {}}}))]))
    );
    let stolen =
        Managers::decode(json!([entry("c", "Update", "autoscaling/v1", json!({"f:spec": {"f:replicas": {}}}))]))
            .expect("entries");
    let shown = |managers: Managers| -> BTreeSet<String> {
        managers.iter().map(|m| format!("{} {} {}", m.name, m.api_version, m.fields.clone().into_value())).collect()
    };
    assert_eq!(
        shown(scale::to_parent(parent.clone(), stolen, &replicas, "apps/v1")),
        BTreeSet::from([
            r#"a apps/v1 {"f:spec":{"f:paused":{}}}"#.to_owned(),
            r#"b apps/v1 {"f:spec":{"f:paused":{}}}"#.to_owned(),
            r#"c apps/v1 {"f:spec":{"f:replicas":{}}}"#.to_owned(),
        ])
    );
    assert_eq!(shown(scale::to_parent(parent.clone(), scale, &replicas, "apps/v1")), shown(parent));
}

#[test]
fn what_was_written_becomes_what_was_applied() {
    let entry = |name: &str, operation: &str, fields: Value| json!({"manager": name, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
    let annotated = json!({"f:metadata": {"f:annotations": {".": {}, (format!("f:{}", configuration::LAST_APPLIED)): {}}}, "f:spec": {"f:paused": {}}});
    let object = |entries: Value| json!({"metadata": {"resourceVersion": "7", "managedFields": entries}});
    let written = entry("kubectl-client-side-apply", "Update", annotated.clone());
    let one = object(json!([written]));
    let owners = upgrade::annotation_owners(&one, Operation::Update);
    assert_eq!(owners, ["kubectl-client-side-apply"]);
    let patch = |entries: Value| {
        Some(json!([
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"},
        ]))
    };
    assert_eq!(upgrade::patch(&one, &owners, "kubectl"), patch(json!([entry("kubectl", "Apply", annotated.clone())])));
    let both = object(json!([entry("kubectl", "Apply", json!({"f:spec": {"f:replicas": {}}})), written]));
    let mut united = annotated;
    united["f:spec"]["f:replicas"] = json!({});
    assert_eq!(upgrade::patch(&both, &owners, "kubectl"), patch(json!([entry("kubectl", "Apply", united)])));
    let done = object(json!([entry("kubectl", "Apply", json!({"f:spec": {"f:replicas": {}}}))]));
    assert_eq!(upgrade::patch(&done, &owners, "kubectl"), None);
}

fn set() -> impl Strategy<Value = Value> {
    let step = prop_oneof!["f:[a-c]", "k:\\{\"n\":[0-2]\\}", "v:[0-2]"];
    let leaf = Just(json!({})).boxed();
    leaf.prop_recursive(3, 24, 4, move |inner| {
        (proptest::collection::btree_map(step.clone(), inner, 1..4), any::<bool>()).prop_map(|(map, own)| {
            let mut map: Map<String, Value> = map.into_iter().collect();
            if own {
                map.insert(".".into(), json!({}));
            }
            Value::Object(map)
        })
    })
}

fn members(set: &FieldSet) -> BTreeSet<Vec<String>> {
    set.members().into_iter().map(|path| path.into_iter().map(str::to_owned).collect()).collect()
}

fn configuration() -> impl Strategy<Value = Value> {
    let labels = proptest::collection::btree_map("[a-c]", "[xy]", 0..3);
    let env = proptest::collection::btree_map("[A-C]", "[xy]", 0..3);
    let list = proptest::collection::btree_map("[a-c]", (env, proptest::option::of("[xy]"), 0..2_u8), 0..3);
    (labels, list, proptest::option::of(0..3_i32)).prop_map(|(labels, list, replicas)| {
        type Parts = (std::collections::BTreeMap<String, String>, Option<String>, u8);
        let container = |(name, (env, image, args)): (String, Parts)| {
            let mut container = json!({"name": name});
            if !env.is_empty() {
                container["env"] = env.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
            }
            if let Some(image) = image {
                container["image"] = json!(image);
            }
            if args > 0 {
                container["args"] = json!(["a", "b"]);
            }
            container
        };
        let mut object = containers(list.into_iter().map(container).collect());
        object["metadata"] = json!({"name": "d"});
        if !labels.is_empty() {
            object["metadata"]["labels"] = json!(labels);
        }
        if let Some(replicas) = replicas {
            object["spec"]["replicas"] = json!(replicas);
        }
        object
    })
}

/// Only what a set has of an object, as an extraction for a manager gives it.
fn extracted(node: Option<Node<'_>>, value: &Value, place: &Value) -> Value {
    let Some(below) = place.as_object().filter(|below| below.keys().any(|step| step != ".")) else {
        return value.clone();
    };
    match value {
        Value::Object(fields) => {
            let kept = fields.iter().filter_map(|(name, value)| {
                Some((
                    name.clone(),
                    extracted(node.and_then(|n| n.child(name)), value, below.get(&format!("f:{name}"))?),
                ))
            });
            Value::Object(kept.collect())
        }
        Value::Array(list) => {
            let kind = node.map(step::items);
            let kept = list.iter().filter_map(|item| {
                let step = kind?.step(item).ok()?;
                Some(extracted(node.and_then(Node::items), item, below.get(&step)?))
            });
            Value::Array(kept.collect())
        }
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn sets_round_trip(value in set()) {
        let set = FieldSet::decode(&value).expect("a set");
        let text = set.clone().into_value();
        prop_assert_eq!(FieldSet::decode(&text).expect("a set"), set.clone());
        let mut rebuilt = FieldSet::default();
        for path in set.members() {
            rebuilt.unite(&FieldSet::one(&path));
        }
        prop_assert_eq!(rebuilt, set);
    }

    #[test]
    fn sets_are_sets(a in set(), b in set()) {
        let (a, b) = (FieldSet::decode(&a).expect("a set"), FieldSet::decode(&b).expect("a set"));
        let (in_a, in_b) = (members(&a), members(&b));
        let mut both = a.clone();
        both.unite(&b);
        prop_assert_eq!(members(&both), in_a.union(&in_b).cloned().collect::<BTreeSet<_>>());
        prop_assert_eq!(members(&a.shared(&b)), in_a.intersection(&in_b).cloned().collect::<BTreeSet<_>>());
        prop_assert_eq!(members(&a.without(&b)), in_a.difference(&in_b).cloned().collect::<BTreeSet<_>>());
        let mut cut = a.clone();
        cut.cut(&b);
        let left = in_a.iter().filter(|path| !in_b.iter().any(|other| path.starts_with(other))).cloned();
        prop_assert_eq!(members(&cut), left.collect::<BTreeSet<_>>());
        for set in [both, a.shared(&b), a.without(&b), cut] {
            prop_assert_eq!(FieldSet::decode(&set.clone().into_value()).expect("a set"), set, "in its form");
        }
    }

    #[test]
    fn applying_what_was_extracted_changes_nothing(first in configuration(), second in configuration(), third in configuration()) {
        let mut kept = Kept::new();
        kept.apply("one", true, first).expect("made");
        kept.apply("two", true, second).expect("forced");
        kept.update("writer", |object| *object = merge(node(), object, &third));
        let before = kept.object.clone().expect("made");
        for name in ["one", "two"] {
            let entries = before["metadata"]["managedFields"].clone();
            let entry = entries.as_array().into_iter().flatten().find(|entry| entry["manager"] == name).cloned();
            let Some(entry) = entry else { continue };
            let configuration = extracted(Some(node()), &before, &entry["fieldsV1"]);
            kept.apply(name, false, configuration).expect("nobody wants it differently");
            prop_assert_eq!(kept.object.clone().expect("made"), before.clone(), "{}", name);
        }
    }

    #[test]
    fn nobody_owns_what_is_not_there(all in proptest::collection::vec((0..3_u8, any::<bool>(), configuration()), 1..6)) {
        let mut kept = Kept::new();
        for (name, writes, configuration) in all {
            let name = format!("m{name}");
            if writes {
                kept.update(&name, |object| {
                    let managers = object["metadata"]["managedFields"].clone();
                    *object = configuration;
                    object["metadata"]["managedFields"] = managers;
                });
            } else {
                kept.apply(&name, true, configuration).expect("forced");
            }
            let object = kept.object.clone().expect("made");
            let there = members(&compare(node(), &json!({}), &object).changed);
            for entry in object["metadata"]["managedFields"].as_array().into_iter().flatten() {
                let owned = members(&FieldSet::decode(&entry["fieldsV1"]).expect("a set"));
                prop_assert!(owned.iter().all(|path| there.contains(path)), "{owned:?} in {there:?}");
            }
        }
    }

    #[test]
    fn any_entries_are_read_or_refused(text in "[\\[{\"a-z:.,}\\] ]{0,60}", value in set()) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let _ = (FieldSet::decode(&value), Managers::decode(value.clone()), is_reset(&value));
        }
        let _ = FieldSet::decode(&value);
    }
}
