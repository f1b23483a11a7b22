//! These definitions, therefore this status.

use super::plan::{CLEANUP, Ending, ended, planned};
use crate::common::fixtures::{noon, one};
use expect_test::{Expect, expect};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

fn definition(names: &str, status: &str) -> CustomResourceDefinition {
    one(&format!(
        "kind: CustomResourceDefinition\nmetadata: {{name: x}}\nspec:\n  group: example.com\n  scope: Namespaced\n  names: {{{names}}}\n  versions: [{{name: v1, served: true, storage: true, schema: {{openAPIV3Schema: {{type: object}}}}}}]\nstatus: {status}"
    ))
}

fn show(definition: Option<CustomResourceDefinition>) -> String {
    let Some(definition) = definition else { return "as it is".into() };
    let status = definition.status.unwrap_or_default();
    let mut lines = Vec::new();
    if let Some(names) = &status.accepted_names {
        lines.push(format!("{} {} {:?}", names.plural, names.kind, names.short_names.as_deref().unwrap_or_default()));
    }
    for condition in status.conditions.iter().flatten() {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        lines.push(format!(
            "{}={} {}: {}",
            condition.type_,
            condition.status,
            text(&condition.reason),
            text(&condition.message)
        ));
    }
    lines.join("\n")
}

fn check(definition: &CustomResourceDefinition, others: &[&CustomResourceDefinition], expected: Expect) {
    expected.assert_eq(&show(planned(definition, others, noon())));
}

const TABS: &str = "plural: tabs, singular: tab, kind: Tab, listKind: TabList, shortNames: [tb]";

#[test]
fn free_names_are_accepted() {
    let new = definition(TABS, "{storedVersions: [v1]}");
    check(
        &new,
        &[],
        expect![[r#"
        tabs Tab ["tb"]
        NamesAccepted=True NoConflicts: no conflicts found
        Established=True InitialNamesAccepted: the initial names have been accepted"#]],
    );
    let done = planned(&new, &[], noon()).expect("a status");
    check(&done, &[], expect!["as it is"]);
}

#[test]
fn taken_names_are_waited_for() {
    let other = planned(&definition(TABS, "{}"), &[], noon()).expect("a status");
    let same = definition("plural: taps, singular: tap, kind: Tab, listKind: TapList, shortNames: [tb]", "{}");
    check(
        &same,
        &[&other],
        expect![[r#"
        taps  []
        NamesAccepted=False KindConflict: "Tab" is already in use
        Established=False NotAccepted: not all names are accepted"#]],
    );
    let waits = planned(&same, &[&other], noon()).expect("a status");
    check(
        &waits,
        &[],
        expect![[r#"
        taps Tab ["tb"]
        NamesAccepted=True NoConflicts: no conflicts found
        Established=True InitialNamesAccepted: the initial names have been accepted"#]],
    );
}

#[test]
fn an_end_is_told_step_by_step() {
    let mut dying = planned(&definition(TABS, "{}"), &[], noon()).expect("a status");
    dying.metadata.finalizers = Some(vec![CLEANUP.to_owned()]);
    let table = [
        (
            Ending::InProgress,
            "Terminating=True InstanceDeletionInProgress: CustomResource deletion is in progress",
            true,
        ),
        (Ending::Failed("no".into()), "Terminating=True InstanceDeletionFailed: could not issue all deletes: no", true),
        (Ending::Completed, "Terminating=False InstanceDeletionCompleted: removed all instances", false),
        (Ending::NeverEstablished, "Terminating=False NeverEstablished: resource was never established", false),
    ];
    for (ending, expected, stays) in table {
        let told = ended(&dying, &ending, noon()).expect("a change");
        assert_eq!(
            told.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == CLEANUP),
            stays,
            "{ending:?}"
        );
        assert_eq!(ended(&told, &ending, noon()), None);
        assert!(show(Some(told)).ends_with(expected), "{ending:?}");
    }
}
