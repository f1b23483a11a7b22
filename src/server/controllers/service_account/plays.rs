//! The account that each namespace has, made by leaders that die, and made again.

use crate::common::succession::{Scene, check};
use expect_test::expect;
use serde_json::json;

const OBJECTS: &str = "
kind: Namespace
metadata: {name: a}
---
kind: Namespace
metadata: {name: going, deletionTimestamp: \"2026-01-01T11:00:00Z\"}
---
kind: ServiceAccount
metadata: {name: other, namespace: a}
";

#[test]
fn a_leader_that_dies_changes_nothing() {
    let scene = Scene {
        others: |api, asked| {
            if asked == 0 {
                api.add(json!({"kind": "Namespace", "metadata": {"name": "b"}}));
                api.delete("ServiceAccount", &json!({}), |_| true);
            }
            asked == 0
        },
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS)
    };
    check(
        &scene,
        &expect![[r#"
        create ServiceAccount default
        create ServiceAccount default
        create ServiceAccount default
    "#]],
        &expect![[r#"
        Namespace a
        Namespace b
        Namespace going going, held by []
        ServiceAccount default
        ServiceAccount default
    "#]],
    );
}
