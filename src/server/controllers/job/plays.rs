//! A Job and its pods, some of which fail, played to the end: each counts once, and the finalizer of none stays.

use super::{
    plan::{Action, Observed, plan},
    pod::new_pod,
};
use crate::common::{
    fixtures::{noon, one},
    interruption::{self, Pods, World, Write, write},
};
use expect_test::expect;
use k8s_openapi::api::batch::v1::Job;
use mk8s_client::kube::ResourceExt;
use std::sync::Arc;

#[derive(Clone)]
struct Work {
    job: Job,
    pods: Pods,
    /// How many pods have ended well and badly.
    ended: (i32, i32),
}

impl World for Work {
    fn writes(&self) -> Vec<Write<Work>> {
        let plan = plan(noon(), &Observed { job: Arc::new(self.job.clone()), pods: self.pods.all() });
        let (mut writes, mut after) = (vec![], vec![]);
        for action in plan.actions {
            match action {
                Action::Create { count, indexes } => {
                    for n in 0..count {
                        let pod = new_pod(&self.job, indexes.get(n));
                        let index = indexes.get(n).map(|index| index.index);
                        writes.push(write(format!("start {index:?}"), move |world: &mut Work| world.pods.create(&pod)));
                    }
                }
                Action::Delete { pods } => {
                    for name in pods {
                        writes.push(write("stop", move |world: &mut Work| {
                            world.end(&name, false);
                            world.pods.delete(&name);
                        }));
                    }
                }
                Action::Discard { pods } => {
                    for name in pods {
                        let same = name.clone();
                        writes.push(write("let go", move |world: &mut Work| world.strip(&same)));
                        writes.push(write("discard", move |world: &mut Work| world.pods.delete(&name)));
                    }
                }
                Action::Strip { pods } => {
                    after.extend(
                        pods.into_iter().map(|name| write("let go", move |world: &mut Work| world.strip(&name))),
                    );
                }
                Action::Release { .. } | Action::Adopt { .. } => unreachable!("all pods are the Job's"),
            }
        }
        writes
            .extend(plan.status.map(|status| write("status", move |world: &mut Work| world.job.status = Some(status))));
        writes.extend(after);
        writes
    }

    /// Kubelets start pods and end those that run: the first pod of index 1 badly. Ended pods that nobody holds are deleted.
    fn others(&mut self) -> bool {
        let gone: Vec<String> = (self.pods.by_name.values())
            .filter(|pod| crate::common::pods::is_finished(pod) && pod.finalizers().is_empty())
            .map(ResourceExt::name_any)
            .collect();
        let running: Vec<String> = (self.pods.by_name.values())
            .filter(|pod| crate::common::pods::phase(pod) == "Running")
            .map(ResourceExt::name_any)
            .collect();
        gone.iter().for_each(|name| self.pods.delete(name));
        for name in &running {
            let fails = self.ended.1 == 0
                && self.pods.by_name[name]
                    .annotations()
                    .get("batch.kubernetes.io/job-completion-index")
                    .is_some_and(|index| index == "1");
            self.end(name, !fails);
        }
        self.pods.start_all() || !running.is_empty() || !gone.is_empty()
    }

    fn holds(&self) -> Result<(), String> {
        let status = self.job.status.clone().unwrap_or_default();
        let counted = (status.succeeded.unwrap_or_default(), status.failed.unwrap_or_default());
        match counted.0 <= self.ended.0 && counted.1 <= self.ended.1 {
            true => Ok(()),
            false => Err(format!("{counted:?} are counted, {:?} have ended", self.ended)),
        }
    }

    fn facts(&self) -> String {
        let status = self.job.status.clone().unwrap_or_default();
        let held = self.pods.by_name.values().filter(|pod| !pod.finalizers().is_empty()).count();
        let conditions = status.conditions.into_iter().flatten().map(|one| format!("{}={}", one.type_, one.status));
        format!(
            "succeeded {:?} failed {:?} completed {:?} held {held}\n{:?}\n",
            status.succeeded,
            status.failed,
            status.completed_indexes,
            conditions.collect::<Vec<_>>()
        )
    }
}

impl Work {
    fn end(&mut self, name: &str, well: bool) {
        let Some(pod) = self.pods.by_name.get_mut(name) else { return };
        let status = pod.status.get_or_insert_default();
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            return;
        }
        status.phase = Some(if well { "Succeeded" } else { "Failed" }.into());
        *(if well { &mut self.ended.0 } else { &mut self.ended.1 }) += 1;
    }

    fn strip(&mut self, name: &str) {
        let Some(pod) = self.pods.by_name.get_mut(name) else { return };
        pod.metadata.finalizers = None;
        if pod.metadata.deletion_timestamp.is_some() {
            self.pods.by_name.remove(name);
        }
    }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let job = one(
        "kind: Job\nmetadata: {name: j, namespace: n, uid: j}\nspec:\n  template: {spec: {containers: [{name: c}]}}\n  \
         completions: 3\n  parallelism: 2\n  completionMode: Indexed\n  backoffLimit: 5\n",
    );
    let world = Work { job, pods: Pods::default(), ended: (0, 0) };
    interruption::check(
        &world,
        &expect![[r#"
        start Some(0)
        start Some(1)
        status
        status
        start Some(1)
        start Some(2)
        status
        let go
        let go
        status
        status
        let go
        let go
    "#]],
        &expect![[r#"
        succeeded Some(3) failed Some(1) completed Some("0-2") held 0
        ["SuccessCriteriaMet=True", "Complete=True"]
    "#]],
    );
}
