use super::plan::{Observed, new_job, plan, started};
use crate::common::fixtures::{noon, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use std::{fmt::Write, sync::Arc};

fn cron(spec: &str, status: &str) -> String {
    format!(
        "kind: CronJob\nmetadata: {{name: c, namespace: n, uid: c, creationTimestamp: \"2026-01-01T11:50:30Z\"}}\nspec:\n  {spec}\n  \
         timeZone: Etc/UTC\n  successfulJobsHistoryLimit: 1\n  failedJobsHistoryLimit: 0\n  \
         jobTemplate: {{metadata: {{labels: {{app: c}}}}, spec: {{template: {{spec: {{containers: [{{name: c}}]}}}}}}}}\nstatus: {{{status}}}\n"
    )
}

fn job(name: &str, start: &str, end: &str) -> String {
    let end = match end {
        "" => String::new(),
        end => format!("completionTime: \"2026-01-01T11:59:00Z\", conditions: [{{type: {end}, status: \"True\"}}]"),
    };
    format!(
        "---\nkind: Job\nmetadata: {{name: {name}, uid: {name}, namespace: n, ownerReferences: [{{apiVersion: batch/v1, kind: CronJob, \
         name: c, uid: c, controller: true}}]}}\nstatus: {{startTime: \"2026-01-01T{start}:00Z\", {end}}}\n"
    )
}

fn check(cron: &str, jobs: &[String], expected: Expect) {
    let observed = Observed { cron: Arc::new(one::<CronJob>(cron)), jobs: shared::<Job>(&jobs.concat()) };
    let plan = plan(noon(), &observed);
    let mut text = String::new();
    for (_, reason, message) in &plan.events {
        writeln!(text, "event {reason}: {message}").expect("text");
    }
    plan.expire.iter().for_each(|job| writeln!(text, "expire {job}").expect("text"));
    plan.replace.iter().for_each(|job| writeln!(text, "replace {job}").expect("text"));
    plan.start.iter().for_each(|at| writeln!(text, "start for {at}").expect("text"));
    let active: Vec<String> = plan.status.active.into_iter().flatten().filter_map(|known| known.name).collect();
    writeln!(text, "active {active:?}").expect("text");
    plan.status.last_successful_time.iter().for_each(|at| writeln!(text, "last success {}", at.0).expect("text"));
    plan.look_again.iter().for_each(|wait| writeln!(text, "look again in {wait:?}").expect("text"));
    expected.assert_eq(&text);
}

#[test]
fn a_time_that_has_come_starts_a_job() {
    check(
        &cron("schedule: \"0 * * * *\"", ""),
        &[],
        expect![[r#"
        start for 2026-01-01T12:00:00Z
        active []
        look again in 3600.1s
    "#]],
    );
    check(
        &cron("schedule: \"5 * * * *\"", ""),
        &[],
        expect![[r#"
        active []
        look again in 300.1s
    "#]],
    );
    check(
        &cron("schedule: \"0 * * * *\"", "lastScheduleTime: \"2026-01-01T12:00:00Z\""),
        &[],
        expect![[r#"
        active []
        look again in 3600.1s
    "#]],
    );
    check(
        &cron("schedule: \"@every 20m\"", "lastScheduleTime: \"2026-01-01T11:45:10Z\""),
        &[],
        expect![[r#"
        active []
        look again in 310.1s
    "#]],
    );
}

#[test]
fn of_missed_times_the_last_is_made_up_for() {
    check(
        &cron("schedule: \"*/2 * * * *\"", ""),
        &[],
        expect![[r#"
        start for 2026-01-01T12:00:00Z
        active []
        look again in 120.1s
    "#]],
    );
    check(
        &cron("schedule: \"* * * * *\"", "lastScheduleTime: \"2025-12-30T12:00:00Z\""),
        &[],
        expect![[r#"
        event TooManyMissedTimes: too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew
        start for 2026-01-01T12:00:00Z
        active []
        look again in 60.1s
    "#]],
    );
    check(
        &cron("schedule: \"59 * * * *\"\n  startingDeadlineSeconds: 30", ""),
        &[],
        expect![[r#"
        active []
        look again in 3540.1s
    "#]],
    );
    check(
        &cron("schedule: \"59 * * * *\"\n  startingDeadlineSeconds: 90", ""),
        &[],
        expect![[r#"
        start for 2026-01-01T11:59:00Z
        active []
        look again in 3540.1s
    "#]],
    );
}

#[test]
fn concurrency_is_a_matter_of_policy() {
    let active = "active: [{name: c-1, namespace: n, uid: c-1}], lastScheduleTime: \"2026-01-01T11:00:00Z\"";
    let running = [job("c-1", "11:00", "")];
    for (policy, expected) in [
        (
            "Allow",
            expect![[r#"
            start for 2026-01-01T12:00:00Z
            active ["c-1"]
            look again in 3600.1s
        "#]],
        ),
        (
            "Forbid",
            expect![[r#"
            event JobAlreadyActive: Not starting job because prior execution is running and concurrency policy is Forbid
            active ["c-1"]
            look again in 3600.1s
        "#]],
        ),
        (
            "Replace",
            expect![[r#"
            replace c-1
            start for 2026-01-01T12:00:00Z
            active ["c-1"]
            look again in 3600.1s
        "#]],
        ),
    ] {
        check(&cron(&format!("schedule: \"0 * * * *\"\n  concurrencyPolicy: {policy}"), active), &running, expected);
    }
}

#[test]
fn jobs_are_followed_to_their_end() {
    let status = "active: [{name: c-1, namespace: n, uid: c-1}, {name: lost, namespace: n, uid: lost}], lastScheduleTime: \"2026-01-01T12:00:00Z\"";
    let jobs = [
        job("c-1", "11:59", "Complete"),
        job("c-0", "11:58", "Complete"),
        job("f-0", "11:57", "Failed"),
        job("unknown", "11:59", ""),
    ];
    check(
        &cron("schedule: \"0 * * * *\"", status),
        &jobs,
        expect![[r#"
        event SawCompletedJob: Saw completed job: c-1, condition: Complete
        event UnexpectedJob: Saw a job that the controller did not create or forgot: unknown
        event MissingJob: Active job went missing: lost
        expire c-0
        expire f-0
        active []
        last success 2026-01-01T11:59:00Z
        look again in 3600.1s
    "#]],
    );
}

#[test]
fn what_never_starts_says_so_or_waits() {
    check(
        &cron("schedule: \"0 * * * *\"\n  suspend: true", ""),
        &[],
        expect![[r#"
        active []
    "#]],
    );
    check(
        &cron("schedule: \"0 0 31 2 *\"", ""),
        &[],
        expect![[r#"
        event InvalidSchedule: invalid schedule: 0 0 31 2 * : time difference between two schedules is less than 1 second
        active []
    "#]],
    );
    check(
        &cron("schedule: \"never\"", ""),
        &[],
        expect![[r#"
        event UnparseableSchedule: unparseable schedule: "never" : expected exactly 5 fields, found 1: [never]
        active []
    "#]],
    );
    check(
        &cron("schedule: \"0 * * * *\"", "").replace("Etc/UTC", "Mars/Base"),
        &[],
        expect![[r#"
        event UnknownTimeZone: invalid timeZone: "Mars/Base": unknown time zone Mars/Base
        active []
    "#]],
    );
    check(
        &cron("schedule: \"TZ=UTC 0 * * * *\"", ""),
        &[],
        expect![[r#"
        event UnsupportedSchedule: CRON_TZ or TZ used in schedule "TZ=UTC 0 * * * *" is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details
        start for 2026-01-01T12:00:00Z
        active []
        look again in 3600.1s
    "#]],
    );
}

#[test]
fn a_job_knows_the_time_it_is_for() {
    let cron: CronJob = one(&cron("schedule: \"0 * * * *\"", "").replace("Etc/UTC", "Asia/Tokyo"));
    let job = new_job(&cron, noon());
    assert_eq!(job.metadata.name.as_deref(), Some("c-29454480"));
    assert_eq!(job.metadata.labels.as_ref().expect("labels")["app"], "c");
    let annotations = job.metadata.annotations.as_ref().expect("annotations");
    assert_eq!(annotations["batch.kubernetes.io/cronjob-scheduled-timestamp"], "2026-01-01T21:00:00+09:00");
    let status = started(Default::default(), &job, noon());
    assert_eq!(status.active.expect("a reference")[0].name, job.metadata.name);
}

/// From whatever moment on, a time is started once: what the plan starts is on record, and is not started again.
mod once {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_is_started_once(every in 1_i64..90, slept in 0_i64..100_000, steps in prop::collection::vec(1_i64..400, 1..20)) {
            let mut cron: CronJob = one(&cron(&format!("schedule: \"@every {every}m\""), ""));
            let mut now = noon() + jiff::SignedDuration::from_mins(slept);
            let mut starts = Vec::new();
            for step in steps {
                let observed = Observed { cron: Arc::new(cron.clone()), jobs: Vec::new() };
                let plan = plan(now, &observed);
                let mut status = plan.status;
                if let Some(at) = plan.start {
                    prop_assert!(at <= now);
                    prop_assert!(starts.last().is_none_or(|last| *last < at), "{at} after {starts:?}");
                    starts.push(at);
                    status.last_schedule_time = Some(Time(at));
                }
                prop_assert!(plan.look_again.is_some_and(|wait| wait.as_secs() <= every as u64 * 60 + 1));
                cron.status = Some(status);
                now += jiff::SignedDuration::from_secs(step * 10);
            }
        }
    }
}
