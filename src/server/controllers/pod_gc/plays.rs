//! Pods that nobody will ever end, ended by leaders that die: each that did not end by itself says that it failed.

use crate::{
    Options,
    common::{
        fake::FakeApi,
        succession::{Scene, check_facts},
    },
};
use expect_test::expect;
use mk8s_api::at::list;

const OBJECTS: &str = "
kind: Node
metadata: {name: there}
---
kind: Pod
metadata: {name: lost, namespace: n, finalizers: [example.com/look]}
spec: {nodeName: gone, containers: []}
status: {phase: Running}
---
kind: Pod
metadata: {name: lost-and-done, namespace: n, finalizers: [example.com/look]}
spec: {nodeName: gone, containers: []}
status: {phase: Succeeded}
---
kind: Pod
metadata: {name: runs, namespace: n}
spec: {nodeName: there, containers: []}
status: {phase: Running}
---
kind: Pod
metadata: {name: never-bound, namespace: n, deletionTimestamp: \"2026-01-01T11:59:00Z\", deletionGracePeriodSeconds: 30}
spec: {containers: []}
---
kind: Pod
metadata: {name: oldest, namespace: n, creationTimestamp: \"2026-01-01T01:00:00Z\"}
spec: {nodeName: there, containers: []}
status: {phase: Failed}
---
kind: Pod
metadata: {name: older, namespace: n, creationTimestamp: \"2026-01-01T02:00:00Z\"}
spec: {nodeName: there, containers: []}
status: {phase: Succeeded}
---
kind: Pod
metadata: {name: evicted, namespace: n, creationTimestamp: \"2026-01-01T04:00:00Z\"}
spec: {nodeName: there, containers: []}
status: {phase: Failed, reason: Evicted}
---
kind: Node
metadata: {name: off}
spec: {taints: [{key: node.kubernetes.io/out-of-service, effect: NoExecute}]}
status: {conditions: [{type: Ready, status: \"Unknown\"}]}
---
kind: Pod
metadata: {name: ends-there, namespace: n, deletionTimestamp: \"2026-01-01T11:59:00Z\", deletionGracePeriodSeconds: 30, finalizers: [example.com/look]}
spec: {nodeName: off, containers: []}
status: {phase: Running}
---
kind: Pod
metadata: {name: stays-there, namespace: n}
spec: {nodeName: off, containers: []}
status: {phase: Running}
---
kind: Pod
metadata: {name: newest, namespace: n, creationTimestamp: \"2026-01-01T03:00:00Z\"}
spec: {nodeName: there, containers: []}
status: {phase: Succeeded}
";

#[test]
fn a_leader_that_dies_changes_nothing() {
    let facts: fn(&FakeApi) -> String = |api| {
        let line = |pod: &serde_json::Value| {
            let conditions = list(&pod["status"], "conditions").iter();
            let reasons: Vec<String> = conditions.map(|one| format!("{} {}", one["reason"], one["message"])).collect();
            let going = !pod["metadata"]["deletionTimestamp"].is_null();
            format!("{} {} going {going} {}\n", pod["metadata"]["name"], pod["status"]["phase"], reasons.join(" "))
        };
        api.all("Pod").iter().map(line).collect()
    };
    let options = Options { terminated_pod_gc_threshold: 4, ..Options::default() };
    let scene = Scene { options, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) };
    check_facts(
        &scene,
        &expect![[r#"
            "ends-there" "Failed" going true 
            "lost" "Failed" going true "DeletionByPodGC" "PodGC: node no longer exists"
            "lost-and-done" "Succeeded" going true 
            "newest" "Succeeded" going false 
            "runs" "Running" going false 
            "stays-there" "Running" going false 
        "#]],
    );
}
