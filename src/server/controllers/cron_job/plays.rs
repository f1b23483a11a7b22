//! A CronJob and its Jobs, played for some minutes: each time gets one Job, whoever dies.

use super::plan::{Observed, new_job, plan, started};
use crate::common::{
    fixtures::{noon, one},
    interruption::{self, World, Write, write},
};
use expect_test::expect;
use jiff::{Timestamp, ToSpan};
use k8s_openapi::{
    api::batch::v1::{CronJob, Job, JobCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use mk8s_client::kube::ResourceExt;
use std::{collections::BTreeMap, sync::Arc};

#[derive(Clone)]
struct Cron {
    cron: CronJob,
    jobs: BTreeMap<String, Job>,
    now: Timestamp,
    /// Every Job that ever was.
    begun: Vec<String>,
}

fn cron(spec: &str) -> Cron {
    let cron = one(&format!(
        "kind: CronJob\nmetadata: {{name: c, namespace: n, uid: c, creationTimestamp: \"2026-01-01T11:59:30Z\"}}\nspec:\n  \
         schedule: \"* * * * *\"\n  timeZone: Etc/UTC\n  successfulJobsHistoryLimit: 1\n  {spec}\n  jobTemplate: {{spec: \
         {{template: {{spec: {{containers: [{{name: c}}]}}}}}}}}\n"
    ));
    Cron { cron, jobs: BTreeMap::new(), now: noon() - 20.seconds(), begun: vec![] }
}

impl World for Cron {
    fn writes(&self) -> Vec<Write<Cron>> {
        let observed =
            Observed { cron: Arc::new(self.cron.clone()), jobs: self.jobs.values().cloned().map(Arc::new).collect() };
        let plan = plan(self.now, &observed);
        let mut writes = vec![];
        let mut status = plan.status;
        for name in plan.expire.into_iter().chain(plan.replace) {
            let uid = self.jobs[&name].metadata.uid.clone();
            if let Some(active) = &mut status.active {
                active.retain(|known| known.uid != uid);
            }
            status.active = status.active.filter(|active| !active.is_empty());
            writes.push(write(format!("delete {name}"), move |world: &mut Cron| drop(world.jobs.remove(&name))));
        }
        if let Some(at) = plan.start {
            let mut job = new_job(&self.cron, at);
            let name = job.name_any();
            job.metadata.uid = Some(name.clone());
            status = started(status, self.jobs.get(&name).unwrap_or(&job), at);
            writes.push(write(format!("create {name}"), move |world: &mut Cron| {
                if !world.jobs.contains_key(&name) {
                    world.begun.push(name.clone());
                    world.jobs.insert(name, job);
                }
            }));
        }
        if self.cron.status.as_ref() != Some(&status) {
            writes.push(write("status", move |world: &mut Cron| world.cron.status = Some(status)));
        }
        writes
    }

    /// Ten seconds pass; a Job takes forty.
    fn others(&mut self) -> bool {
        if self.now > noon() + 4.minutes() {
            return false;
        }
        self.now += 10.seconds();
        for (name, job) in &mut self.jobs {
            let minute: i64 = name.rsplit_once('-').and_then(|(_, minute)| minute.parse().ok()).expect("a minute");
            let end = Timestamp::from_second(minute * 60 + 40).expect("a time");
            let status = job.status.get_or_insert_default();
            if self.now >= end && status.conditions.is_none() {
                status.completion_time = Some(Time(end));
                status.conditions = Some(vec![JobCondition {
                    type_: "Complete".into(),
                    status: "True".into(),
                    ..JobCondition::default()
                }]);
            }
        }
        true
    }

    fn holds(&self) -> Result<(), String> {
        let mut begun = self.begun.clone();
        begun.sort();
        begun.dedup();
        if begun.len() == self.begun.len() { Ok(()) } else { Err(format!("a time has two Jobs: {:?}", self.begun)) }
    }

    fn facts(&self) -> String {
        let status = self.cron.status.clone().unwrap_or_default();
        let active: Vec<_> =
            status.active.iter().flatten().map(|known| known.name.clone().unwrap_or_default()).collect();
        let times = (status.last_schedule_time.map(|time| time.0), status.last_successful_time.map(|time| time.0));
        format!("begun {:?}\nleft {:?}\nactive {active:?} {times:?}\n", self.begun, self.jobs.keys())
    }
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    interruption::check(
        &cron("concurrencyPolicy: Forbid"),
        &expect![[r#"
        status
        create c-29454480
        status
        status
        create c-29454481
        status
        delete c-29454480
        status
        create c-29454482
        status
        delete c-29454481
        status
        create c-29454483
        status
        delete c-29454482
        status
        create c-29454484
        status
    "#]],
        &expect![[r#"
        begun ["c-29454480", "c-29454481", "c-29454482", "c-29454483", "c-29454484"]
        left ["c-29454483", "c-29454484"]
        active ["c-29454484"] (Some(2026-01-01T12:04:00Z), Some(2026-01-01T12:03:40Z))
    "#]],
    );
}
