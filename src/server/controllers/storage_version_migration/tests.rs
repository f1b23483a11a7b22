use super::plan::{self, Step, Target, definition_at_begin, definition_at_end, is_due, plan, target};
use crate::{
    common::fixtures::{lines, noon, one, shared},
    inventory::ApiKind,
};
use expect_test::{Expect, expect};
use jiff::ToSpan;
use k8s_openapi::{
    api::storagemigration::v1beta1::StorageVersionMigration,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use std::sync::Arc;

fn migration(name: &str, created: &str, status: &str) -> String {
    format!(
        "---\napiVersion: storagemigration.k8s.io/v1beta1\nkind: StorageVersionMigration\nmetadata: {{name: {name}, \
         creationTimestamp: 2026-01-01T{created}Z}}\nspec: {{resource: {{group: example.org, resource: toys}}}}\n\
         status: {status}\n"
    )
}

fn conditions(of: &[(&str, &str)], version: &str) -> String {
    let condition = |(of, holds): &(&str, &str)| {
        format!("{{type: {of}, status: '{holds}', reason: R, message: '', lastTransitionTime: 2026-01-01T11:00:00Z}}")
    };
    let all: Vec<String> = of.iter().map(condition).collect();
    format!("{{resourceVersion: '{version}', conditions: [{}]}}", all.join(", "))
}

fn check(fixture: &[String], expected: Expect) {
    expected.assert_eq(&lines(&plan(&shared(&fixture.concat()))));
}

#[test]
fn the_oldest_begins() {
    check(&[], expect![[""]]);
    check(
        &[
            migration("c", "10:00:00", "{}"),
            migration("b", "09:00:00", "{}"),
            migration("a", "10:00:00", "{}"),
            migration("done", "08:00:00", &conditions(&[("Running", "False"), ("Succeeded", "True")], "7")),
        ],
        expect![[r#"
            Begin { name: "b" }
        "#]],
    );
    check(
        &[migration("b", "10:00:00", "{}"), migration("a", "10:00:00", "{}")],
        expect![[r#"
            Begin { name: "a" }
        "#]],
    );
}

#[test]
fn only_one_runs() {
    let running = |version: &str| conditions(&[("Running", "True")], version);
    check(
        &[migration("a", "08:00:00", "{}"), migration("b", "09:00:00", &running(""))],
        expect![[r#"
            Mark { name: "b" }
        "#]],
    );
    check(
        &[migration("a", "08:00:00", "{}"), migration("b", "09:00:00", &running("17"))],
        expect![[r#"
            Rewrite { name: "b", up_to: "17" }
        "#]],
    );
}

#[test]
fn the_next_begins_when_one_is_over() {
    for (how, expected) in [
        (
            "Succeeded",
            expect![[r#"
            End { name: "b", succeeded: true }
            Begin { name: "a" }
        "#]],
        ),
        (
            "Failed",
            expect![[r#"
            End { name: "b", succeeded: false }
            Begin { name: "a" }
        "#]],
        ),
    ] {
        let over = conditions(&[("Running", "True"), (how, "True")], "17");
        check(&[migration("a", "10:00:00", "{}"), migration("b", "09:00:00", &over)], expected);
    }
}

#[test]
fn a_resource_may_come_within_a_minute() {
    let created = one::<StorageVersionMigration>(&migration("a", "12:00:00", "{}"));
    let kind = Arc::new(ApiKind::example("example.org", "Toy", true));
    for (kind, seconds, expected) in [
        (None, 59, Target::Awaited),
        (None, 60, Target::Impossible("resource does not exist in discovery".to_owned())),
        (
            Some(&kind),
            0,
            Target::Impossible(
                r#"resource "example.org/v1, Resource=toys" does not support discovery operations: [update patch list]"#
                    .to_owned(),
            ),
        ),
    ] {
        assert_eq!(target(&created, kind, noon() + seconds.seconds()), expected);
    }
    let kind = Arc::new(ApiKind::example("example.org", "Toy", true).with_verbs(&["list", "patch", "update", "watch"]));
    assert_eq!(target(&created, Some(&kind), noon()), Target::Found(kind.clone()));
}

#[test]
fn what_is_newer_was_written_in_the_new_version() {
    for (version, due) in [("9", true), ("10", true), ("11", false), ("100000000000000000000000", false)] {
        assert_eq!(is_due(version, "10"), Ok(due), "{version}");
    }
    assert_eq!(is_due("x", "10"), Err("resource version is not well formed: x".to_owned()));
}

/// Steps are made and written until none is left.
#[test]
fn conditions_follow_each_other() {
    let mut now = one::<StorageVersionMigration>(&migration("a", "12:00:00", "{}"));
    let mut steps = vec![];
    while let [step] = &plan(&[Arc::new(now.clone())])[..] {
        steps.push(step.clone());
        now = match step {
            Step::Begin { .. } => plan::with(&now, plan::RUNNING, "The migration is running", noon()),
            Step::Mark { .. } => plan::marked(&now, "17"),
            Step::Rewrite { .. } => plan::with(&now, plan::SUCCEEDED, "", noon() + 1.second()),
            Step::End { .. } => plan::ended(&now, noon() + 2.seconds()),
        };
    }
    expect![[r#"
        Begin { name: "a" }
        Mark { name: "a" }
        Rewrite { name: "a", up_to: "17" }
        End { name: "a", succeeded: true }
    "#]]
    .assert_eq(&lines(&steps));
    expect![[r#"
        conditions:
        - lastTransitionTime: 2026-01-01T12:00:02Z
          message: Migration completed
          reason: MigrationCompleted
          status: 'False'
          type: Running
        - lastTransitionTime: 2026-01-01T12:00:01Z
          message: ''
          reason: StorageVersionMigrationSucceeded
          status: 'True'
          type: Succeeded
        resourceVersion: '17'
    "#]]
    .assert_eq(&serde_yaml::to_string(&now.status).expect("YAML"));
    assert_eq!(plan::with(&now, plan::SUCCEEDED, "again", noon()), now, "a condition is set once");
}

fn definition(generation: i64, begun_at: i64) -> CustomResourceDefinition {
    one(&format!(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {{name: toys.example.org, \
         resourceVersion: '5', generation: {generation}}}\nspec:\n  group: example.org\n  scope: Namespaced\n  names: \
         {{kind: Toy, plural: toys}}\n  versions: [{{name: v1, served: true, storage: false}}, {{name: v2, served: true, \
         storage: true}}]\nstatus:\n  acceptedNames: {{kind: Toy, plural: toys}}\n  storedVersions: [v1, v2]\n  \
         conditions: [{{type: StorageMigrating, status: 'True', observedGeneration: {begun_at}}}]\n"
    ))
}

fn told(applied: &serde_json::Value) -> String {
    let (condition, stored) = (&applied["status"]["conditions"][0], &applied["status"]["storedVersions"]);
    format!(
        "{} {} {} {}: {} stored {stored}",
        applied["metadata"]["resourceVersion"],
        condition["status"],
        condition["observedGeneration"],
        condition["reason"],
        condition["message"]
    )
}

#[test]
fn definitions_hear_of_their_migrations() {
    let same = definition(2, 2);
    expect![[r#""5" "True" 2 "MigrationRunning": "Migration a is running" stored null"#]]
        .assert_eq(&told(&definition_at_begin(&same, "a", noon())));
    expect![[r#""5" "False" 2 "MigrationSucceeded": "The migration has succeeded and the stored versions have been updated" stored ["v2"]"#]]
        .assert_eq(&told(&definition_at_end(&same, true, noon())));
    expect![[r#""5" "False" 2 "MigrationFailed": "The migration has failed" stored null"#]]
        .assert_eq(&told(&definition_at_end(&same, false, noon())));
    expect![[r#""5" "False" 3 "MigrationSucceeded": "The migration has succeeded but the stored versions have not been updated due to a generation mismatch" stored null"#]]
        .assert_eq(&told(&definition_at_end(&definition(3, 2), true, noon())));
}
