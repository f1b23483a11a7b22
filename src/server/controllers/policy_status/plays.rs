//! Policies whose types are looked at by leaders that die: once a generation, whoever does it.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts, play},
};
use expect_test::expect;
use mk8s_api::at::list;
use serde_json::json;

const OBJECTS: &str = "
kind: ValidatingAdmissionPolicy
metadata: {name: good}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}
  validations: [{expression: object.spec.hostNetwork == true}]
---
kind: ValidatingAdmissionPolicy
metadata: {name: wrong}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [\"\"], apiVersions: [v1], resources: [pods]}]}
  validations: [{expression: object.spec.hostNetwork == 'yes'}]
---
kind: ValidatingAdmissionPolicy
metadata: {name: known}
spec: {matchConstraints: {resourceRules: []}, validations: [{expression: object.spec == 'yes'}]}
status: {observedGeneration: 1}
";

fn facts(api: &FakeApi) -> String {
    let line = |policy: &serde_json::Value| {
        let (name, status) = (&policy["metadata"]["name"], &policy["status"]);
        let warnings = list(&status["typeChecking"], "expressionWarnings").len();
        format!("{name} looked at: {}, {warnings} warnings\n", status["observedGeneration"])
    };
    api.all("ValidatingAdmissionPolicy").iter().map(line).collect()
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let changed: fn(&FakeApi, usize) -> bool = |api, asked| {
        asked == 0
            && api.change("ValidatingAdmissionPolicy", |policy| {
                if policy["metadata"]["name"] == "good" {
                    policy["metadata"]["generation"] = json!(2);
                }
            })
    };
    let scene = Scene { others: changed, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) };
    check_facts(
        &scene,
        &expect![[r#"
            "good" looked at: 2, 0 warnings
            "known" looked at: 1, 0 warnings
            "wrong" looked at: 1, 1 warnings
        "#]],
    );
    let played = play(&scene, || usize::MAX).expect("it ends");
    assert_eq!(played.story().len(), 3, "each once: {:?}", played.story());
}
