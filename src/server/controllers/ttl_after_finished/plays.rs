//! Jobs that have had their time, deleted by leaders that die: those, and no others.

use crate::common::succession::{Scene, check};
use expect_test::expect;

const OBJECTS: &str = "
kind: Job
metadata: {name: over, namespace: n}
spec: {template: {}, ttlSecondsAfterFinished: 5}
status: {conditions: [{type: Complete, status: \"True\", lastTransitionTime: \"2026-01-01T11:00:00Z\"}]}
---
kind: Job
metadata: {name: failed, namespace: n}
spec: {template: {}, ttlSecondsAfterFinished: 0}
status: {conditions: [{type: Failed, status: \"True\", lastTransitionTime: \"2026-01-01T11:00:00Z\"}]}
---
kind: Job
metadata: {name: runs, namespace: n}
spec: {template: {}, ttlSecondsAfterFinished: 0}
---
kind: Job
metadata: {name: later, namespace: n}
spec: {template: {}, ttlSecondsAfterFinished: 2000000000}
status: {conditions: [{type: Complete, status: \"True\", lastTransitionTime: \"2026-01-01T11:00:00Z\"}]}
---
kind: Job
metadata: {name: kept, namespace: n}
spec: {template: {}}
status: {conditions: [{type: Complete, status: \"True\", lastTransitionTime: \"2026-01-01T11:00:00Z\"}]}
";

#[test]
fn a_leader_that_dies_changes_nothing() {
    check(
        &Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS),
        &expect![[r#"
        delete Job failed (foreground)
        delete Job over (foreground)
    "#]],
        &expect![[r#"
        Job failed going, held by ["foregroundDeletion"]
        Job kept
        Job later
        Job over going, held by ["foregroundDeletion"]
        Job runs
    "#]],
    );
}
