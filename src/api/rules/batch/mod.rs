//! Job and CronJob: pods that end, once or again and again.

mod policies;
mod status;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::at::{
    self, default, default_pointer, flag, get, has, int, keep, map_mut, maybe_text, set, sub, sub_mut, text,
};
use super::check::{self, Errors, immutable, immutable_struct, member, non_negative, word};
use super::{GENERIC, Generation, Rules, Scope, features, pod, template};
use crate::cron::Schedule;
use crate::field::{FieldError, Path};
use crate::meta;
use crate::names;
use crate::select::LabelSelector;
use crate::zones;

const UID_LABEL: &str = "batch.kubernetes.io/controller-uid";
const NAME_LABEL: &str = "batch.kubernetes.io/job-name";

pub(super) static JOB: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    default: default_job,
    prepare_create: |job| {
        generate_selector(job);
        default_labels(job);
    },
    validate: |job, errors| validate_job(job, true, errors),
    validate_update: Some(validate_job_update),
    validate_status_update: |new, old, errors| status::validate_update(new, old, errors),
    warnings: |job, old| {
        let mut said = super::meta::name_in_pods(job, old);
        if old.is_none_or(|old| meta::generation(old) != meta::generation(job)) {
            said.extend(advice(sub(job, "spec"), &Path::new("spec")));
        }
        said
    },
    gated: features::TEMPLATE,
    selectable: &[("status.successful", |job| int(sub(job, "status"), "succeeded").unwrap_or(0).to_string())],
    ..GENERIC
};

fn default_job(job: &mut Value) {
    // A new job gets them once its pods have all of theirs.
    if !meta::uid(job).is_empty() {
        default_labels(job);
    }
    if let Some(spec) = sub_mut(job, "spec") {
        default_job_spec(spec);
        if !has(spec, "completions") && !has(spec, "parallelism") {
            set(spec, "completions", 1);
        }
        default_pointer(spec, "parallelism", 1);
        let limit = if has(spec, "backoffLimitPerIndex") { i32::MAX } else { 6 };
        default_pointer(spec, "backoffLimit", limit);
        default_pointer(spec, "completionMode", "NonIndexed");
        default_pointer(spec, "suspend", false);
        let replacement = if has(spec, "podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
        default_pointer(spec, "podReplacementPolicy", replacement);
        default_pointer(spec, "manualSelector", false);
    }
    template::set_defaults(job);
}

/// A job without labels has those of its pods.
fn default_labels(job: &mut Value) {
    let labels = meta::labels(sub(sub(job, "spec"), "template")).clone();
    if !labels.is_empty() && meta::labels(job).is_empty() {
        meta::set(job, "labels", Value::Object(labels));
    }
}

fn default_job_spec(spec: &mut Value) {
    if let Some(policy) = super::at::get_mut(spec, "podFailurePolicy") {
        for rule in super::at::items_mut(policy, "rules") {
            for condition in super::at::items_mut(rule, "onPodConditions") {
                default(condition, "status", "True");
            }
        }
    }
}

/// Labels that only this job's pods have, and a selector of them, unless the selector was made by hand.
fn generate_selector(job: &mut Value) {
    let (name, uid) = (meta::name(job).to_string(), meta::uid(job).to_string());
    let Some(spec) = sub_mut(job, "spec") else { return };
    if flag(spec, "manualSelector") == Some(true) {
        return;
    }
    if let Some(labels) = sub_mut(spec, "template")
        .and_then(|pods| sub_mut(pods, "metadata"))
        .and_then(|metadata| map_mut(metadata, "labels"))
    {
        for (key, value) in [("job-name", &name), (NAME_LABEL, &name), ("controller-uid", &uid), (UID_LABEL, &uid)] {
            labels.entry(key).or_insert_with(|| Value::String(value.clone()));
        }
    }
    if let Some(labels) = sub_mut(spec, "selector").and_then(|selector| map_mut(selector, "matchLabels")) {
        labels.entry(UID_LABEL).or_insert(Value::String(uid));
    }
}

/// Advice about the specification of a job, or of the jobs of a CronJob.
fn advice(spec: &Value, path: &Path) -> Vec<String> {
    const MAX_PARALLEL: i64 = 10_000;
    let is_indexed = text(spec, "completionMode") == "Indexed";
    let number = |field| int(spec, field).unwrap_or(0);
    let many = is_indexed && number("completions") > MAX_INDEXES && number("parallelism") > MAX_PARALLEL;
    let why = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail";
    let mut said: Vec<String> = many.then(|| format!("{path}: {why}")).into_iter().collect();
    said.extend(pod::of_template(sub(spec, "template"), &path.child("template")));
    said
}

/// Labels and selector that were made for the job, unless it was to have others. Jobs of old had no labels with a domain.
fn check_generated(errors: &mut Errors, job: &Value, with_domain: bool) {
    let spec = sub(job, "spec");
    if flag(spec, "manualSelector") == Some(true) || !has(spec, "selector") {
        return;
    }
    let (name, uid) = (meta::name(job), meta::uid(job));
    if uid.is_empty() {
        errors.push(FieldError::required(&Path::new("metadata").child("uid"), ""));
    }
    let mut expected = vec![("controller-uid", uid), ("job-name", name)];
    if with_domain {
        expected.extend([(UID_LABEL, uid), (NAME_LABEL, name)]);
    }
    let template = sub(spec, "template");
    let path = Path::new("spec").child("template").child("metadata").child("labels");
    for (key, value) in &expected {
        let (path, why) = (path.key(*key), format!("must be '{value}'"));
        match meta::labels(template).get(*key).and_then(Value::as_str) {
            None => errors.push(FieldError::required(&path, why)),
            Some(found) if found != *value => {
                errors.push(FieldError::invalid(&path, template::shown_labels(template), why));
            }
            Some(_) => {}
        }
    }
    let expected: serde_json::Map<String, Value> =
        expected.into_iter().map(|(key, value)| (key.to_owned(), Value::from(value))).collect();
    if LabelSelector::from_json(sub(spec, "selector")).is_ok_and(|selector| !selector.matches(&expected)) {
        let why = "`selector` not auto-generated";
        errors.push(FieldError::invalid(&Path::new("spec").child("selector"), sub(spec, "selector").clone(), why));
    }
}

fn validate_job(job: &Value, with_domain: bool, errors: &mut Errors) {
    let (spec, path) = (sub(job, "spec"), Path::new("spec"));
    check_generated(errors, job, with_domain);
    check_job(errors, spec, &path);
    let selector_path = path.child("selector");
    match get(spec, "selector") {
        None => errors.push(FieldError::required(&selector_path, "")),
        Some(selector) => check::label_selector(errors, selector, &selector_path),
    }
    if let Ok(selector) = LabelSelector::from_json(sub(spec, "selector")) {
        let pods = sub(spec, "template");
        if !selector.matches(meta::labels(pods)) {
            errors.push(FieldError::invalid(
                &path.child("template").child("metadata").child("labels"),
                template::shown_labels(pods),
                "`selector` does not match template `labels`",
            ));
        }
    }
    if let (true, Some(completions)) =
        (text(spec, "completionMode") == "Indexed", int(spec, "completions").filter(|n| *n > 0))
    {
        let host = format!("{}-{}", meta::name(job), completions - 1);
        if !names::dns1123_label(&host).is_empty() {
            errors.push(FieldError::invalid(
                &Path::new("metadata").child("name"),
                meta::name(job),
                format!("will not able to create pod with invalid DNS label: {host}"),
            ));
        }
    }
}

const MAX_INDEXES: i64 = 100_000;

fn check_job(errors: &mut Errors, spec: &Value, path: &Path) {
    for field in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        non_negative(errors, int(spec, field), || path.child(field));
    }
    if has(spec, "maxFailedIndexes") && !has(spec, "backoffLimitPerIndex") {
        errors.push(FieldError::required(&path.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"));
    }
    if let Some(manager) = maybe_text(spec, "managedBy") {
        policies::check_managed_by(errors, manager, &path.child("managedBy"));
    }
    let mode = maybe_text(spec, "completionMode").unwrap_or("NonIndexed");
    member(errors, mode, &["NonIndexed", "Indexed"], &path.child("completionMode"));
    if mode == "Indexed" {
        check_indexed(errors, spec, path);
    } else if mode == "NonIndexed" {
        for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(number) = int(spec, field) {
                errors.push(FieldError::invalid(&path.child(field), number, "requires indexed completion mode"));
            }
        }
    }
    if has(spec, "podFailurePolicy") {
        policies::check_failures(errors, spec, &path.child("podFailurePolicy"));
    }
    if let Some(policy) = get(spec, "successPolicy") {
        let policy_path = path.child("successPolicy");
        match mode {
            "Indexed" => policies::check_successes(errors, spec, &policy_path),
            _ => errors.push(
                FieldError::invalid(&policy_path, policy.clone(), "requires indexed completion mode")
                    .with_shown("SuccessPolicy"),
            ),
        }
    }
    if let Some(replacement) = maybe_text(spec, "podReplacementPolicy") {
        let allowed: &[&str] =
            if has(spec, "podFailurePolicy") { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
        member(errors, replacement, allowed, &path.child("podReplacementPolicy"));
    }
    let pods_path = path.child("template");
    template::check_template(errors, sub(spec, "template"), &pods_path);
    let policy = text(sub(sub(spec, "template"), "spec"), "restartPolicy");
    let policy_path = pods_path.child("spec").child("restartPolicy");
    match policy {
        "" | "Always" => {
            errors.push(FieldError::required(&policy_path, "valid values: \"OnFailure\", \"Never\""));
        }
        "Never" => {}
        "OnFailure" => {
            if has(spec, "podFailurePolicy") {
                errors.push(FieldError::invalid(
                    &policy_path,
                    policy,
                    "only \"Never\" is supported when podFailurePolicy is specified",
                ));
            }
        }
        other => errors.push(FieldError::not_supported(&policy_path, other, &["OnFailure", "Never"])),
    }
}

fn check_indexed(errors: &mut Errors, spec: &Value, path: &Path) {
    let completions = int(spec, "completions");
    if completions.is_none() {
        errors.push(FieldError::required(&path.child("completions"), "when completion mode is Indexed"));
    }
    if let Some(parallel) = int(spec, "parallelism").filter(|n| *n > MAX_INDEXES) {
        errors.push(FieldError::invalid(
            &path.child("parallelism"),
            parallel,
            format!("must be less than or equal to {MAX_INDEXES} when completion mode is Indexed"),
        ));
    }
    if let Some(failed) = int(spec, "maxFailedIndexes") {
        let failed_path = path.child("maxFailedIndexes");
        if completions.is_some_and(|completions| failed > completions) {
            errors.push(FieldError::invalid(&failed_path, failed, "must be less than or equal to completions"));
        }
        if failed > MAX_INDEXES {
            errors.push(FieldError::invalid(
                &failed_path,
                failed,
                format!("must be less than or equal to {MAX_INDEXES}"),
            ));
        }
    }
    if completions.is_some_and(|completions| completions > MAX_INDEXES) && has(spec, "backoffLimitPerIndex") {
        check_many(errors, spec, path);
    }
}

/// Very many indexes, each with its own limit.
fn check_many(errors: &mut Errors, spec: &Value, path: &Path) {
    const MAX: i64 = 10_000;
    if !has(spec, "maxFailedIndexes") {
        let why = format!("must be specified when completions is above {MAX_INDEXES}");
        errors.push(FieldError::required(&path.child("maxFailedIndexes"), why));
    }
    for field in ["parallelism", "maxFailedIndexes"] {
        if let Some(number) = int(spec, field).filter(|number| *number > MAX) {
            let why = format!(
                "must be less than or equal to {MAX} when completions are above {MAX_INDEXES} and used with backoff limit per index"
            );
            errors.push(FieldError::invalid(&path.child(field), number, why));
        }
    }
}

fn validate_job_update(new: &Value, old: &Value, errors: &mut Errors) {
    let labels = meta::labels(sub(sub(old, "spec"), "template"));
    validate_job(new, [UID_LABEL, NAME_LABEL].iter().all(|key| labels.contains_key(*key)), errors);
    let (spec, old_spec, path) = (sub(new, "spec"), sub(old, "spec"), Path::new("spec"));
    let completions = int(spec, "completions");
    if text(spec, "completionMode") != "Indexed" {
        immutable(errors, get(spec, "completions"), get(old_spec, "completions"), &path.child("completions"));
    } else if completions.is_some()
        && completions != int(old_spec, "completions")
        && completions != int(spec, "parallelism")
    {
        errors.push(FieldError::invalid(
            &path.child("completions"),
            completions.unwrap_or(0),
            "can only be modified in tandem with spec.parallelism",
        ));
    }
    immutable(errors, get(spec, "selector"), get(old_spec, "selector"), &path.child("selector"));
    check_template_kept(errors, new, old, &path.child("template"));
    for (field, name) in [
        ("completionMode", ""),
        ("podFailurePolicy", "PodFailurePolicy"),
        ("backoffLimitPerIndex", ""),
        ("managedBy", ""),
        ("successPolicy", "SuccessPolicy"),
    ] {
        let (now, before) = (get(spec, field), get(old_spec, field));
        match name {
            "" => immutable(errors, now, before, &path.child(field)),
            name => immutable_struct(errors, now, before, name, &path.child(field)),
        }
    }
}

/// The template stays. While a job is suspended and has no pods, it may still be chosen where they go and what they get.
fn check_template_kept(errors: &mut Errors, new: &Value, old: &Value, path: &Path) {
    let (pods, mut old_pods) = (sub(sub(new, "spec"), "template"), sub(sub(old, "spec"), "template").clone());
    let (old_spec, old_status) = (sub(old, "spec"), sub(old, "status"));
    let is_suspended =
        |condition: &Value| text(condition, "type") == "Suspended" && text(condition, "status") == "True";
    let suspended = flag(old_spec, "suspend") == Some(true);
    let idle = suspended
        && int(old_status, "active").unwrap_or(0) == 0
        && (!has(old_status, "startTime") || at::list(old_status, "conditions").iter().any(is_suspended));
    if !idle {
        return immutable_struct(errors, Some(pods), Some(&old_pods), "PodTemplateSpec", path);
    }
    let spec = sub(pods, "spec");
    if let Some(old_spec) = sub_mut(&mut old_pods, "spec") {
        for field in ["nodeSelector", "tolerations", "schedulingGates"] {
            keep(old_spec, spec, field);
        }
        let affinity = get(spec, "affinity");
        match (affinity, at::get_mut(old_spec, "affinity")) {
            (Some(affinity), Some(old_affinity)) => keep(old_affinity, affinity, "nodeAffinity"),
            (Some(affinity), None) => {
                let node = get(affinity, "nodeAffinity").cloned().unwrap_or_default();
                set(old_spec, "affinity", json!({"nodeAffinity": node}));
            }
            (None, Some(old_affinity)) => {
                at::remove(old_affinity, "nodeAffinity");
                if old_affinity.as_object().is_some_and(serde_json::Map::is_empty) {
                    at::remove(old_spec, "affinity");
                }
            }
            (None, None) => {}
        }
        for field in ["containers", "initContainers"] {
            let containers = at::list(spec, field);
            let old_containers = at::items_mut(old_spec, field);
            if containers.len() == old_containers.len() {
                for (old, new) in old_containers.iter_mut().zip(containers) {
                    if text(old, "name") == text(new, "name") {
                        keep(old, new, "resources");
                    }
                }
            }
        }
    }
    immutable_struct(errors, Some(spec), Some(sub(&old_pods, "spec")), "PodSpec", &path.child("spec"));
}

pub(super) static CRON_JOB: Rules = Rules {
    scope: Scope::Namespaced,
    generation: Generation::Spec,
    has_status: true,
    default: default_cron_job,
    validate: |job, errors| {
        validate_cron_job(job, None, errors);
        let name = meta::name(job);
        if name.len() > 52 {
            let path = Path::new("metadata").child("name");
            errors.push(FieldError::invalid(&path, name, "must be no more than 52 characters"));
        }
    },
    validate_update: Some(|new, old, errors| validate_cron_job(new, Some(old), errors)),
    warnings: |job, old| {
        let mut said = super::meta::name_in_pods(job, old);
        let spec = sub(job, "spec");
        if old.is_none_or(|old| meta::generation(old) != meta::generation(job)) {
            let path = Path::new("spec").child("jobTemplate").child("spec");
            said.extend(advice(sub(sub(spec, "jobTemplate"), "spec"), &path));
        }
        if old.is_some() && text(spec, "schedule").contains("TZ") {
            said.push("cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details".to_owned());
        }
        said
    },
    gated: features::CRON_JOB,
    ..GENERIC
};

fn default_cron_job(job: &mut Value) {
    let Some(spec) = sub_mut(job, "spec") else { return };
    default(spec, "concurrencyPolicy", "Allow");
    default_pointer(spec, "suspend", false);
    default_pointer(spec, "successfulJobsHistoryLimit", 3);
    default_pointer(spec, "failedJobsHistoryLimit", 1);
    if let Some(job) = sub_mut(spec, "jobTemplate").and_then(|job| sub_mut(job, "spec")) {
        default_job_spec(job);
        if let Some(pods) = sub_mut(job, "template") {
            pod::default_template(pods);
        }
    }
}

/// What is wrong with the name of a time zone.
fn wrong_zone(zone: &str) -> Vec<String> {
    if zone.is_empty() {
        return vec!["timeZone must be nil or non-empty string".to_owned()];
    }
    let is_part = |part: &str| {
        (1..=14).contains(&part.len())
            && !matches!(part, "." | "..")
            && !part.starts_with('-')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_+".contains(&byte))
    };
    if !zone.split('/').all(is_part) {
        return vec![format!("unknown time zone {zone}")];
    }
    let mut wrong = vec![];
    if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        wrong.push(why.to_owned());
    }
    wrong.extend(zones::get(zone).err().map(|why| why.to_string()));
    wrong
}

/// What stood in an object before is not found fault with again.
fn validate_cron_job(job: &Value, old: Option<&Value>, errors: &mut Errors) {
    let (spec, path) = (sub(job, "spec"), Path::new("spec"));
    let old = old.map(|old| sub(old, "spec"));
    let zone = maybe_text(spec, "timeZone");
    let schedule = text(spec, "schedule");
    let schedule_path = path.child("schedule");
    if schedule.is_empty() {
        errors.push(FieldError::required(&schedule_path, ""));
    } else {
        if let Err(why) = Schedule::parse(schedule, TimeZone::UTC) {
            errors.push(FieldError::invalid(&schedule_path, schedule, why));
        }
        let had_zone = old.is_some_and(|old| text(old, "schedule").contains("TZ"));
        let wrong = match schedule.contains("TZ") {
            true if !had_zone => Some("cannot use TZ or CRON_TZ in schedule, use timeZone field instead"),
            true if zone.is_some() => Some("cannot use both timeZone field and TZ or CRON_TZ in schedule"),
            _ => None,
        };
        errors.extend(wrong.map(|why| FieldError::invalid(&schedule_path, schedule, why)));
    }
    non_negative(errors, int(spec, "startingDeadlineSeconds"), || path.child("startingDeadlineSeconds"));
    if let Some(zone) = zone.filter(|_| old.is_none_or(|old| maybe_text(old, "timeZone") != zone)) {
        let zone_path = path.child("timeZone");
        errors.extend(wrong_zone(zone).into_iter().map(|why| FieldError::invalid(&zone_path, zone, why)));
    }
    const POLICIES: &[&str] = &["Allow", "Forbid", "Replace"];
    word(errors, text(spec, "concurrencyPolicy"), POLICIES, &path.child("concurrencyPolicy"));
    let template_path = path.child("jobTemplate").child("spec");
    let template = sub(sub(spec, "jobTemplate"), "spec");
    check_job(errors, template, &template_path);
    if let Some(selector) = get(template, "selector") {
        errors.push(FieldError::invalid(
            &template_path.child("selector"),
            selector.clone(),
            "`selector` will be auto-generated",
        ));
    }
    if flag(template, "manualSelector") == Some(true) {
        errors.push(FieldError::not_supported(&template_path.child("manualSelector"), true, &["nil", "false"]));
    }
    for field in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        non_negative(errors, int(spec, field), || path.child(field));
    }
}
