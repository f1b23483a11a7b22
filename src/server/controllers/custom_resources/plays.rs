//! Definitions that come and go, under leaders that die: a definition goes after its last object, and others get its names.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts, play},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::json;

const DYING: &str = "
kind: CustomResourceDefinition
metadata: {name: widgets.example.com, deletionTimestamp: \"2026-01-01T11:59:00Z\", finalizers: [customresourcecleanup.apiextensions.k8s.io]}
spec: &spec
  group: example.com
  scope: Namespaced
  names: &names {plural: widgets, singular: widget, kind: Widget, listKind: WidgetList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
status: {acceptedNames: *names, conditions: [{type: NamesAccepted, status: \"True\"}, {type: Established, status: \"True\"}], storedVersions: [v1]}
---
kind: Widget
metadata: {name: a, namespace: m}
---
kind: Widget
metadata: {name: b, namespace: n}
---
kind: Widget
metadata: {name: held, namespace: n, finalizers: [example.com/x]}
";

const WAITING: &str = "
---
kind: CustomResourceDefinition
metadata: {name: gadgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: gadgets, singular: gadget, kind: Widget, listKind: GadgetList}
  versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]
status: {acceptedNames: {plural: \"\", kind: \"\"}, storedVersions: [v1]}
";

fn facts(api: &FakeApi) -> String {
    let mut facts = api.census();
    for definition in api.all("CustomResourceDefinition") {
        for condition in list(&definition["status"], "conditions") {
            facts += &format!("{}={} {}\n", condition["type"], condition["status"], condition["message"]);
        }
    }
    facts
}

fn scene(objects: &str, others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene {
        others,
        holds: |api| match api.has("CustomResourceDefinition", "widgets.example.com") || api.all("Widget").is_empty() {
            true => Ok(()),
            false => Err("the definition is gone before its objects".to_owned()),
        },
        facts,
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), objects)
    }
}

#[test]
fn a_definition_goes_after_its_objects() {
    check_facts(
        &scene(DYING, |_, _| false),
        &expect![[r#"
            CustomResourceDefinition widgets.example.com going, held by ["customresourcecleanup.apiextensions.k8s.io"]
            Widget held going, held by ["example.com/x"]
            "NamesAccepted"="True" null
            "Established"="True" null
            "Terminating"="True" "CustomResource deletion is in progress"
        "#]],
    );
    let freed = |api: &FakeApi, asked| {
        asked == 0 && api.change("Widget", |widget| widget["metadata"]["finalizers"] = json!([]))
    };
    check_facts(&scene(DYING, freed), &expect![[""]]);
    // Its kind is another one's as soon as it is gone.
    check_facts(
        &scene(&[DYING, WAITING].concat(), freed),
        &expect![[r#"
            CustomResourceDefinition gadgets.example.com
            "NamesAccepted"="True" "no conflicts found"
            "Established"="True" "the initial names have been accepted"
        "#]],
    );
}

#[test]
fn very_many_are_deleted_in_pages() {
    let widget = |n: usize| format!("---\nkind: Widget\nmetadata: {{name: w{n:04}, namespace: n}}\n");
    let widgets: String = (0..1200).map(widget).collect();
    let definition = DYING.split("---").next().unwrap_or_default();
    let played = play(&scene(&[definition, &widgets].concat(), |_, _| false), || usize::MAX).expect("it ends");
    assert_eq!(played.story().iter().filter(|line| *line == "delete every Widget").count(), 3);
    assert_eq!(facts(&played), "");
}
