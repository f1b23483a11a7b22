//! Whether a Job is due, which old ones go, and what is reported.

use crate::{common::claims::controller_ref, job::finished};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use mk8s_api::{cron::Schedule, zones};
use mk8s_client::{
    events::EventType,
    kube::{Resource, ResourceExt},
};
use std::{cmp::Ordering, sync::Arc, time::Duration};

/// Looked at a little late, so that the time has surely come.
const SLACK: SignedDuration = SignedDuration::from_millis(100);

/// More missed times than this are worth a warning.
const MANY: i64 = 100;

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

pub(super) struct Observed {
    pub(super) cron: Arc<CronJob>,
    /// Those it controls.
    pub(super) jobs: Vec<Arc<Job>>,
}

/// A reason and a message, with their type.
pub(super) type Report = (EventType, &'static str, String);

pub(super) struct Plan {
    /// Finished Jobs beyond the limits.
    pub(super) expire: Vec<String>,
    /// Jobs that make room for the next one.
    pub(super) replace: Vec<String>,
    /// The time that a Job is due for.
    pub(super) start: Option<Timestamp>,
    pub(super) events: Vec<Report>,
    /// Without what a start adds to it.
    pub(super) status: CronJobStatus,
    pub(super) look_again: Option<Duration>,
}

pub(super) fn plan(now: Timestamp, observed: &Observed) -> Plan {
    let cron = observed.cron.as_ref();
    let mut plan = Plan {
        expire: Vec::new(),
        replace: Vec::new(),
        start: None,
        events: Vec::new(),
        status: cron.status.clone().unwrap_or_default(),
        look_again: None,
    };
    let spec = &cron.spec;
    plan.expire(spec, &observed.jobs);
    plan.look_at(&observed.jobs);
    if cron.metadata.deletion_timestamp.is_none() {
        plan.schedule(now, cron, spec);
    }
    plan
}

impl Plan {
    fn tell(&mut self, kind: EventType, reason: &'static str, message: String) {
        self.events.push((kind, reason, message));
    }

    fn active(&self) -> &[ObjectReference] {
        self.status.active.as_deref().unwrap_or_default()
    }

    /// True when it was there.
    fn forget(&mut self, uid: Option<&str>) -> bool {
        let before = self.active().len();
        if let Some(active) = &mut self.status.active {
            active.retain(|known| known.uid.as_deref() != uid);
        }
        let forgotten = self.active().len() < before;
        self.status.active = self.status.active.take().filter(|active| !active.is_empty());
        forgotten
    }

    /// Of the finished Jobs the oldest beyond the limits.
    fn expire(&mut self, spec: &CronJobSpec, jobs: &[Arc<Job>]) {
        for (kind, limit) in
            [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)]
        {
            let Some(limit) = limit else { continue };
            let mut ended: Vec<&Arc<Job>> =
                jobs.iter().filter(|job| finished(job).is_some_and(|end| end.type_ == kind)).collect();
            ended.sort_by(|one, other| by_start(one, other));
            let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
            let gone = ended[..surplus].iter().filter(|job| job.metadata.deletion_timestamp.is_none());
            self.expire.extend(gone.map(|job| job.name_any()));
        }
    }

    /// What has become of the Jobs that are known and of those that are there.
    fn look_at(&mut self, jobs: &[Arc<Job>]) {
        for job in jobs {
            let uid = job.metadata.uid.as_deref();
            let known = self.active().iter().any(|known| known.uid.as_deref() == uid);
            let Some(end) = finished(job) else {
                if !known {
                    let message = format!("Saw a job that the controller did not create or forgot: {}", job.name_any());
                    self.tell(EventType::Warning, "UnexpectedJob", message);
                }
                continue;
            };
            if self.forget(uid) && !self.expire.contains(&job.name_any()) {
                let message = format!("Saw completed job: {}, condition: {}", job.name_any(), end.type_);
                self.tell(EventType::Normal, "SawCompletedJob", message);
            }
            let completed = job.status.as_ref().and_then(|status| status.completion_time.clone());
            if end.type_ == "Complete" && completed > self.status.last_successful_time {
                self.status.last_successful_time = completed;
            }
        }
        let is_there = |known: &ObjectReference| jobs.iter().any(|job| job.metadata.uid == known.uid);
        let missing: Vec<ObjectReference> = self.active().iter().filter(|known| !is_there(known)).cloned().collect();
        for known in missing {
            self.forget(known.uid.as_deref());
            let message = format!("Active job went missing: {}", known.name.unwrap_or_default());
            self.tell(EventType::Normal, "MissingJob", message);
        }
    }

    fn schedule(&mut self, now: Timestamp, cron: &CronJob, spec: &CronJobSpec) {
        if let Some(zone) = &spec.time_zone
            && let Err(why) = zones::get(zone)
        {
            let message = format!("invalid timeZone: {zone:?}: {why}");
            return self.tell(EventType::Warning, "UnknownTimeZone", message);
        }
        if spec.suspend == Some(true) {
            return;
        }
        if spec.schedule.contains("TZ") {
            let message = format!(
                "CRON_TZ or TZ used in schedule {:?} is not officially supported, see \
                 https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details",
                spec.schedule
            );
            self.tell(EventType::Warning, "UnsupportedSchedule", message);
        }
        let schedule = match schedule_of(spec) {
            Ok(schedule) => schedule,
            Err(why) => {
                let message = format!("unparseable schedule: {:?} : {why}", spec.schedule);
                return self.tell(EventType::Warning, "UnparseableSchedule", message);
            }
        };
        let due = match due(now, cron, &schedule, spec.starting_deadline_seconds) {
            Ok(due) => due,
            Err(why) => {
                let message = format!("invalid schedule: {} : {why}", spec.schedule);
                return self.tell(EventType::Warning, "InvalidSchedule", message);
            }
        };
        let next = |plan: &Plan| {
            let cron = CronJob { status: Some(plan.status.clone()), ..cron.clone() };
            next_in(now, &cron, &schedule)
        };
        self.look_again = next(self);
        let Some(at) = due.last else { return };
        if due.missed > MANY {
            let message =
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.tell(EventType::Warning, "TooManyMissedTimes", message.to_owned());
        }
        if spec.starting_deadline_seconds.is_some_and(|seconds| past(at, seconds) < now) {
            let time = at.to_zoned(TimeZone::UTC).strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
            return self.tell(
                EventType::Warning,
                "MissSchedule",
                format!("Missed scheduled time to start a job: {time}"),
            );
        }
        let name = job_name(cron, at);
        let started = self.active().iter().any(|known| known.name.as_deref() == Some(&name));
        if started || self.status.last_schedule_time == Some(Time(at)) {
            return;
        }
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if !self.active().is_empty() => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                return self.tell(EventType::Normal, "JobAlreadyActive", message.to_owned());
            }
            Some("Replace") => {
                self.replace = self.active().iter().filter_map(|known| known.name.clone()).collect();
            }
            _ => {}
        }
        self.start = Some(at);
        self.status.last_schedule_time = Some(Time(at));
        self.look_again = next(self);
        self.status.last_schedule_time = cron.status.as_ref().and_then(|status| status.last_schedule_time.clone());
    }
}

/// Those that never started are the youngest.
fn by_start(one: &Job, other: &Job) -> Ordering {
    let start = |job: &Job| job.status.as_ref().and_then(|status| status.start_time.clone());
    match (start(one), start(other)) {
        (Some(a), Some(b)) => a.cmp(&b).then_with(|| one.name_any().cmp(&other.name_any())),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => one.name_any().cmp(&other.name_any()),
    }
}

/// In the zone of the spec, or where the server is.
fn schedule_of(spec: &CronJobSpec) -> Result<Schedule, String> {
    let zone = spec.time_zone.as_ref().and_then(|zone| zones::get(zone).ok());
    Schedule::parse(&spec.schedule, zone.unwrap_or_else(TimeZone::system))
}

#[derive(Debug, PartialEq)]
struct Due {
    /// From when on times count.
    since: Timestamp,
    /// The last time that has come.
    last: Option<Timestamp>,
    /// How many have come, assuming that they are evenly spread.
    missed: i64,
}

fn past(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// What has come since the last start, or since the deadline where that is later. Jumps over what was missed: a CronJob
/// that slept for years is not counted through minute by minute.
fn due(now: Timestamp, cron: &CronJob, schedule: &Schedule, deadline: Option<i64>) -> Result<Due, String> {
    let last = cron.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let created = || cron.metadata.creation_timestamp.as_ref();
    let since = last.or_else(created).map_or(now, |time| time.0);
    let window = deadline.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    let since = window.map_or(since, |window| window.max(since));
    let none = || "time difference between two schedules is less than 1 second".to_owned();
    let first = schedule.next(since).ok_or_else(none)?;
    if now < first {
        return Ok(Due { since, last: None, missed: 0 });
    }
    let Some(second) = schedule.next(first).filter(|second| *second <= now) else {
        return Ok(Due { since, last: Some(first), missed: 0 });
    };
    let between = second.duration_since(first).as_secs();
    if between < 1 {
        return Err(none());
    }
    let missed = now.duration_since(first).as_secs() / between + 1;
    let mut last = None;
    let mut time = schedule.next(past(first, (missed - 2) * between));
    while let Some(come) = time.filter(|time| *time <= now) {
        last = Some(come);
        time = schedule.next(come);
    }
    Ok(Due { since, last, missed })
}

fn next_in(now: Timestamp, cron: &CronJob, schedule: &Schedule) -> Option<Duration> {
    let from = match due(now, cron, schedule, None) {
        Err(_) => now,
        Ok(Due { last: Some(last), .. }) => last,
        Ok(Due { since, missed: 0, .. }) => since,
        Ok(_) => now,
    };
    let next = schedule.next(from)?.checked_add(SLACK).ok()?;
    Some(Duration::try_from(next.duration_since(now)).unwrap_or_default())
}

/// When a CronJob whose schedule was changed is to be looked at; what the old schedule missed is not made up for.
pub(super) fn first_look(now: Timestamp, cron: &CronJob) -> Result<Option<Duration>, String> {
    let schedule = schedule_of(&cron.spec)?;
    Ok(next_in(now, cron, &schedule))
}

fn job_name(cron: &CronJob, at: Timestamp) -> String {
    format!("{}-{}", cron.name_any(), at.as_second().div_euclid(60))
}

/// The Job for one time: the same time gives the same name, so that it is started once.
pub(super) fn new_job(cron: &CronJob, at: Timestamp) -> Job {
    let zone = cron.spec.time_zone.as_deref().and_then(|zone| zones::get(zone).ok()).unwrap_or(TimeZone::UTC);
    let template = cron.spec.job_template.clone();
    let meta = template.metadata.unwrap_or_default();
    let local = at.to_zoned(zone);
    let offset = if local.offset().is_zero() { "Z".to_owned() } else { local.strftime("%:z").to_string() };
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(SCHEDULED_AT.to_owned(), format!("{}{offset}", local.strftime("%Y-%m-%dT%H:%M:%S")));
    Job {
        metadata: ObjectMeta {
            name: Some(job_name(cron, at)),
            namespace: cron.namespace(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_ref(cron)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The status with a Job that was started.
pub(super) fn started(mut status: CronJobStatus, job: &Job, at: Timestamp) -> CronJobStatus {
    status.active.get_or_insert_default().push(ObjectReference {
        api_version: Some(Job::api_version(&()).into_owned()),
        kind: Some(Job::kind(&()).into_owned()),
        name: job.metadata.name.clone(),
        namespace: job.metadata.namespace.clone(),
        uid: job.metadata.uid.clone(),
        resource_version: job.metadata.resource_version.clone(),
        field_path: None,
    });
    status.last_schedule_time = Some(Time(at));
    status
}
