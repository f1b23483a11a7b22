//! Budgets reckoned by leaders that die, and spent by evictions at the same time: never are fewer pods well than must be.

use super::plan::{Expected, Observed, plan};
use crate::common::{
    fake::FakeApi,
    fixtures::{noon, one},
    succession::{Scene, check_facts, with_inventory},
};
use expect_test::expect;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use mk8s_api::at::list;
use mk8s_client::pod::Pod;
use proptest::prelude::*;
use serde_json::json;
use std::{collections::BTreeMap, sync::Arc};

const OBJECTS: &str = "
kind: PodDisruptionBudget
metadata: {name: b, namespace: n, generation: 1}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
kind: ReplicaSet
metadata: {name: r, namespace: n, uid: r}
spec: {replicas: 3, selector: {matchLabels: {app: web}}}
---
kind: Pod
metadata: {name: x, namespace: n, uid: x, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: r, controller: true}]}
spec: {nodeName: one, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: \"True\"}, {type: DisruptionTarget, status: \"True\", lastTransitionTime: \"2026-01-01T11:00:00Z\"}]}
---
kind: Pod
metadata: {name: y, namespace: n, uid: y, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: r, controller: true}]}
spec: {nodeName: one, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: \"True\"}]}
---
kind: Pod
metadata: {name: z, namespace: n, uid: z, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: r, controller: true}]}
spec: {nodeName: one, containers: []}
status: {phase: Running, conditions: [{type: Ready, status: \"False\"}]}
";

fn facts(api: &FakeApi) -> String {
    let mut facts = String::new();
    for budget in api.all("PodDisruptionBudget") {
        let status = &budget["status"];
        let condition = &status["conditions"][0];
        facts += &format!(
            "healthy {} of {}, allowed {}, {}={} {} {}\n",
            status["currentHealthy"],
            status["desiredHealthy"],
            status["disruptionsAllowed"],
            condition["type"],
            condition["status"],
            condition["reason"],
            condition["message"]
        );
    }
    for pod in api.all("Pod") {
        let conditions = list(&pod["status"], "conditions").iter();
        let conditions: Vec<String> = conditions.map(|one| format!("{}={}", one["type"], one["status"])).collect();
        facts += &format!("{} {}\n", pod["metadata"]["name"], conditions.join(" "));
    }
    facts
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene { others, facts, ..Scene::new(|ctx| Box::pin(with_inventory(ctx, super::run)), OBJECTS) }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
        healthy 2 of 2, allowed 0, "DisruptionAllowed"="False" "InsufficientPods" ""
        "x" "Ready"="True" "DisruptionTarget"="False"
        "y" "Ready"="True"
        "z" "Ready"="False"
    "#]],
    );
    let well = scene(|api, asked| {
        asked == 0 && api.change("Pod", |pod| pod["status"]["conditions"][0]["status"] = json!("True"))
    });
    check_facts(
        &well,
        &expect![[r#"
        healthy 3 of 2, allowed 1, "DisruptionAllowed"="True" "SufficientPods" ""
        "x" "Ready"="True" "DisruptionTarget"="False"
        "y" "Ready"="True"
        "z" "Ready"="True"
    "#]],
    );
    // Pods whose controller is gone cannot be counted: nothing is allowed, and the condition says why.
    let lost = scene(|api, asked| {
        asked == 0
            && api.delete("ReplicaSet", &json!({}), |_| true)
            && api.change("Pod", |pod| pod["status"]["conditions"][0]["status"] = json!("True"))
    });
    check_facts(
        &lost,
        &expect![[r#"
        healthy 2 of 2, allowed 0, "DisruptionAllowed"="False" "SyncFailed" "found no controllers for pod \"x\""
        "x" "Ready"="True" "DisruptionTarget"="False"
        "y" "Ready"="True"
        "z" "Ready"="True"
    "#]],
    );
}

/// A budget, its pods, and what a controller that lags behind knows of them.
struct Cluster {
    budget: PodDisruptionBudget,
    version: u64,
    pods: BTreeMap<String, Pod>,
    /// What the controller has seen.
    seen: (u64, PodDisruptionBudget, BTreeMap<String, Pod>),
    minimum: i32,
}

impl Cluster {
    fn well(&self) -> i32 {
        self.pods.values().filter(|pod| pod.metadata.deletion_timestamp.is_none()).count() as i32
    }

    /// As the server does it: the budget is asked and written with its version, then the pod is deleted.
    fn evict(&mut self, name: &str) {
        let status = self.budget.status.get_or_insert_default();
        let known = status.disrupted_pods.get_or_insert_default();
        let allowed = status.disruptions_allowed.unwrap_or(0);
        let alive = self.pods.get(name).is_some_and(|pod| pod.metadata.deletion_timestamp.is_none());
        if !alive || allowed <= 0 || status.observed_generation != self.budget.metadata.generation {
            return;
        }
        known.insert(name.to_owned(), Time(noon()));
        status.disruptions_allowed = Some(allowed - 1);
        self.version += 1;
        if let Some(pod) = self.pods.get_mut(name) {
            pod.metadata.deletion_timestamp = Some(Time(noon()));
        }
    }

    fn reconcile(&mut self) {
        let (version, budget, pods) = &self.seen;
        let observed = Observed {
            budget: Arc::new(budget.clone()),
            pods: pods.values().cloned().map(Arc::new).collect(),
            expected: Ok(Expected { pods: pods.len() as i32, ..Expected::default() }),
        };
        let status: Option<PodDisruptionBudgetStatus> = plan(noon(), &observed).status;
        // One that was written meanwhile is a conflict.
        if let Some(status) = status.filter(|_| *version == self.version) {
            self.budget.status = Some(status);
            self.version += 1;
        }
    }
}

proptest! {
    /// Whoever evicts whom, and however late the controller hears of it.
    #[test]
    fn evictions_never_leave_too_few(
        pods in 1_usize..8,
        minimum in 0_i32..6,
        steps in prop::collection::vec((0_u8..6, 0_usize..8), 1..80),
    ) {
        let name = |n: usize| format!("p{n}");
        let pod = |n: usize| one::<Pod>(&format!(
            "kind: Pod\nmetadata: {{name: p{n}, namespace: n}}\nstatus: {{conditions: [{{type: Ready, status: \"True\"}}]}}"
        ));
        let budget: PodDisruptionBudget = one(&format!(
            "kind: PodDisruptionBudget\nmetadata: {{name: b, namespace: n, generation: 1}}\nspec: {{minAvailable: {minimum}}}"
        ));
        let pods: BTreeMap<String, Pod> = (0..pods).map(|n| (name(n), pod(n))).collect();
        let seen = (0, budget.clone(), pods.clone());
        let mut cluster = Cluster { budget, version: 0, pods, seen, minimum };
        let began_with = cluster.well();
        for (step, n) in steps {
            match step {
                0 | 1 => cluster.evict(&name(n)),
                2 => cluster.reconcile(),
                // The controller hears of the budget, or of the pods, or of both.
                3 => (cluster.seen.0, cluster.seen.1) = (cluster.version, cluster.budget.clone()),
                4 => cluster.seen.2.clone_from(&cluster.pods),
                // What was to go is gone.
                _ => cluster.pods.retain(|_, pod| pod.metadata.deletion_timestamp.is_none()),
            }
            prop_assert!(cluster.well() >= cluster.minimum.min(began_with), "{} of {}", cluster.well(), cluster.minimum);
        }
    }
}
