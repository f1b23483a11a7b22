//! ReplicaSets and ReplicationControllers whose pods die, are taken and are given away, kept by leaders that die: there are
//! as many pods as wanted, and in the end no more.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check, check_facts, play},
};
use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;

fn objects(kind: &str, replicas: i32, more: &str) -> String {
    let selector = if kind == "ReplicaSet" { "matchLabels: {app: web}" } else { "app: web" };
    format!(
        "---\nkind: {kind}\nmetadata: {{name: web, namespace: n, uid: web}}\nspec:\n  replicas: {replicas}\n  selector: {{{selector}}}\n  \
         template: {{metadata: {{labels: {{app: web}}}}, spec: {{containers: [{{name: c}}]}}}}\n{more}"
    )
}

/// A pod of no one, and one that was taken and is not selected any more.
const STRANGERS: &str = "---
kind: Pod
metadata: {name: stray, namespace: n, uid: stray, labels: {app: web}}
spec: {nodeName: one, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: \"True\"}]}
---
kind: Pod
metadata: {name: released, namespace: n, uid: released, labels: {app: other}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: web, uid: web, controller: true}]}
spec: {nodeName: one, containers: []}
---
kind: Pod
metadata: {name: foreign, namespace: n, uid: foreign, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: else, uid: else, controller: true}]}
spec: {nodeName: one, containers: []}
";

fn facts(api: &FakeApi) -> String {
    let mut facts = String::new();
    for kind in ["ReplicaSet", "ReplicationController"] {
        for set in api.all(kind) {
            facts += &format!("{kind} {}\n", set["status"]);
        }
    }
    let owned = |pod: &serde_json::Value| pod["metadata"]["ownerReferences"][0]["name"] == "web";
    let pods = api.all("Pod");
    let others: Vec<String> =
        pods.iter().filter(|pod| !owned(pod)).map(|pod| pod["metadata"]["name"].to_string()).collect();
    format!("{facts}{} pods, and {}\n", pods.iter().filter(|pod| owned(pod)).count(), others.join(" "))
}

/// Kubelets start what waits and end what goes.
fn kubelets(api: &FakeApi) -> bool {
    let started = api.change("Pod", |pod| {
        if pod["status"]["phase"] == "Pending" {
            pod["spec"]["nodeName"] = json!("one");
            pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        }
    });
    started | api.end_pods()
}

fn set(objects: String) -> Scene {
    Scene { others: |api, _| kubelets(api), facts, ..Scene::new(|ctx| Box::pin(super::run_replica_sets(ctx)), objects) }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    check(
        &set(objects("ReplicaSet", 3, "")),
        &expect![[r#"
        create Pod web-
        create Pod web-
        create Pod web-
        update status of ReplicaSet web
        update status of ReplicaSet web: Conflict
        update status of ReplicaSet web
        update status of ReplicaSet web
    "#]],
        &expect![[r#"
        ReplicaSet {"availableReplicas":3,"fullyLabeledReplicas":3,"observedGeneration":1,"readyReplicas":3,"replicas":3,"terminatingReplicas":0}
        3 pods, and 
    "#]],
    );
    let controller = Scene {
        leader: |ctx| Box::pin(super::run_replication_controllers(ctx)),
        ..set(objects("ReplicationController", 2, ""))
    };
    check(
        &controller,
        &expect![[r#"
        create Pod web-
        create Pod web-
        update status of ReplicationController web
        update status of ReplicationController web: Conflict
        update status of ReplicationController web
        update status of ReplicationController web
    "#]],
        &expect![[r#"
        ReplicationController {"availableReplicas":2,"fullyLabeledReplicas":2,"observedGeneration":1,"readyReplicas":2,"replicas":2}
        2 pods, and 
    "#]],
    );
}

#[test]
fn pods_of_others_stay_theirs() {
    check_facts(
        &set(objects("ReplicaSet", 2, STRANGERS)),
        &expect![[r#"
        ReplicaSet {"availableReplicas":2,"fullyLabeledReplicas":2,"observedGeneration":1,"readyReplicas":2,"replicas":2,"terminatingReplicas":0}
        2 pods, and "foreign" "released"
    "#]],
    );
}

#[test]
fn two_sets_with_one_selector_do_not_fight() {
    let second = objects("ReplicaSet", 2, "").replace("name: web, ", "name: also, ").replace("uid: web", "uid: also");
    let both = set(objects("ReplicaSet", 1, &[STRANGERS, &second].concat()));
    let count = |api: &FakeApi| {
        let statuses = api.all("ReplicaSet").into_iter().map(|set| format!("{}\n", set["status"]["readyReplicas"]));
        statuses.collect::<String>()
    };
    check_facts(
        &Scene { facts: count, ..both },
        &expect![[r#"
        2
        1
    "#]],
    );
}

#[test]
fn fewer_are_wanted_and_pods_die() {
    let scene = Scene {
        others: |api, asked| {
            let less = asked == 2 && api.change("ReplicaSet", |set| set["spec"]["replicas"] = json!(1));
            let failed = asked == 4 && api.change("Pod", |pod| pod["status"]["phase"] = json!("Failed"));
            kubelets(api) | less | failed || asked < 4
        },
        ..set(objects("ReplicaSet", 4, ""))
    };
    check_facts(
        &Scene { facts: |api| api.all("ReplicaSet")[0]["status"].to_string(), ..scene },
        &expect![[
            r#"{"availableReplicas":1,"fullyLabeledReplicas":1,"observedGeneration":1,"readyReplicas":1,"replicas":1,"terminatingReplicas":0}"#
        ]],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whoever dies when: there are as many pods as wanted, and never more than a leader's last words made too many.
    #[test]
    fn there_are_as_many_as_wanted(replicas in 0_i32..9, lives in prop::collection::vec(1_usize..4, 0..8)) {
        let mut lives = lives.into_iter();
        let played = play(&set(objects("ReplicaSet", replicas, "")), || lives.next().unwrap_or(usize::MAX));
        let played = played.map_err(TestCaseError::fail)?;
        prop_assert_eq!(played.all("Pod").len(), replicas as usize, "{:?}", played.story());
        let created = played.story().iter().filter(|line| line.starts_with("create Pod")).count();
        prop_assert_eq!(created, replicas as usize, "{:?}", played.story());
    }
}
