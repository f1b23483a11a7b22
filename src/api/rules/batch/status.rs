//! What the status of a job may become: whoever manages it, its clients can rely on it. A rule about a part of the
//! status that was broken before is not held against who changes another part.

use std::collections::BTreeSet;

use serde_json::Value;

use super::at::{flag, get, has, int, list, map, maybe_text, same, sub, text};
use super::check::{Errors, IMMUTABLE, non_negative};
use super::policies::{count_indexes, read_interval};
use super::{FieldError, Path};

/// One version of a job.
#[derive(Clone, Copy)]
struct Job<'a> {
    spec: &'a Value,
    status: &'a Value,
}

impl<'a> Job<'a> {
    fn of(job: &'a Value) -> Job<'a> {
        Job { spec: sub(job, "spec"), status: sub(job, "status") }
    }

    fn is(&self, condition: &str, state: &str) -> bool {
        let conditions = list(self.status, "conditions");
        conditions.iter().any(|one| text(one, "type") == condition && text(one, "status") == state)
    }

    fn holds(&self, condition: &str) -> bool {
        self.is(condition, "True")
    }

    fn is_finished(&self) -> bool {
        self.holds("Complete") || self.holds("Failed")
    }

    fn is_indexed(&self) -> bool {
        text(self.spec, "completionMode") == "Indexed"
    }

    fn count(&self, field: &str) -> i64 {
        int(self.status, field).unwrap_or(0)
    }
}

pub(super) fn validate_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (Job::of(new), Job::of(old));
    let path = Path::new("status");
    check_counts(errors, new, &path);
    check_uncounted(errors, new, &path.child("uncountedTerminatedPods"));
    check_end(errors, new, old, &path);
    check_indexes(errors, new, old, &path);
    check_conditions(errors, new, &path.child("conditions"));
    check_transition(errors, new, old, &path);
}

/// Whether a field of the status is another one than before.
fn changed(new: Job<'_>, old: Job<'_>, field: &str) -> bool {
    !same(sub(new.status, field), sub(old.status, field))
}

fn check_counts(errors: &mut Errors, job: Job<'_>, path: &Path) {
    for field in ["active", "succeeded", "failed", "ready", "terminating"] {
        non_negative(errors, int(job.status, field), || path.child(field));
    }
}

fn check_uncounted(errors: &mut Errors, job: Job<'_>, path: &Path) {
    let mut seen = BTreeSet::new();
    for field in ["succeeded", "failed"] {
        for (n, uid) in list(sub(job.status, "uncountedTerminatedPods"), field).iter().enumerate() {
            let (uid, path) = (uid.as_str().unwrap_or(""), path.child(field).index(n));
            if uid.is_empty() {
                errors.push(FieldError::invalid(&path, uid, "must not be empty"));
            } else if !seen.insert(uid) {
                errors.push(FieldError::duplicate(&path, uid));
            }
        }
    }
}

fn refuse_conditions(errors: &mut Errors, path: &Path, why: impl Into<String>) {
    errors.push(FieldError::invalid(path, Value::Null, why).without_value());
}

/// What must and must not be in the status of a job that is over.
fn check_end(errors: &mut Errors, new: Job<'_>, old: Job<'_>, path: &Path) {
    let differs = |condition: &str| new.holds(condition) != old.holds(condition);
    let (complete, failed) = (new.holds("Complete"), new.holds("Failed"));
    let conditions = path.child("conditions");
    if complete && failed && (differs("Complete") || differs("Failed")) {
        refuse_conditions(errors, &conditions, "cannot set Complete=True and Failed=true conditions");
    }
    if complete && new.holds("FailureTarget") && (differs("Complete") || differs("FailureTarget")) {
        refuse_conditions(errors, &conditions, "cannot set Complete=True and FailureTarget=true conditions");
    }
    let ended = get(new.status, "completionTime");
    let time_path = path.child("completionTime");
    if differs("Complete") || changed(new, old, "completionTime") {
        match ended {
            Some(time) if !complete => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.push(FieldError::invalid(&time_path, time.clone(), why));
            }
            None if complete => {
                errors.push(FieldError::required(&time_path, "completionTime is required for Complete jobs"));
            }
            _ => {}
        }
    }
    if (changed(new, old, "startTime") || changed(new, old, "completionTime"))
        && let (Some(start), Some(end)) =
            (maybe_text(new.status, "startTime"), maybe_text(new.status, "completionTime"))
        && let (Ok(from), Ok(to)) = (start.parse::<jiff::Timestamp>(), end.parse::<jiff::Timestamp>())
        && to < from
    {
        errors.push(FieldError::invalid(&time_path, end, "must be equal to or after `startTime`"));
    }
    if failed && !new.holds("FailureTarget") && (differs("Failed") || changed(new, old, "failedIndexes")) {
        let why = "cannot set Failed=True condition without the FailureTarget=true condition";
        refuse_conditions(errors, &conditions, why);
    }
    if complete && !new.holds("SuccessCriteriaMet") && (differs("Complete") || differs("SuccessCriteriaMet")) {
        let why = "cannot set Complete=True condition without the SuccessCriteriaMet=true condition";
        refuse_conditions(errors, &conditions, why);
    }
    check_rest(errors, new, old, path);
}

/// Nothing of a finished job is left over.
fn check_rest(errors: &mut Errors, new: Job<'_>, old: Job<'_>, path: &Path) {
    let (finished, ends) = (new.is_finished(), new.is_finished() != old.is_finished());
    if finished && new.count("active") > 0 && (ends || changed(new, old, "active")) {
        let why = "active>0 is invalid for finished job";
        errors.push(FieldError::invalid(&path.child("active"), new.count("active"), why));
    }
    let never_ran = flag(new.spec, "suspend") == Some(true) && int(new.spec, "completions") == Some(0);
    if finished && !has(new.status, "startTime") && (ends || changed(new, old, "startTime")) && !never_ran {
        errors.push(FieldError::required(&path.child("startTime"), "startTime is required for finished job"));
    }
    let uncounted = sub(new.status, "uncountedTerminatedPods");
    let counted =
        map(new.status, "uncountedTerminatedPods").values().all(|list| list.as_array().is_none_or(Vec::is_empty));
    if finished && !counted && (ends || changed(new, old, "uncountedTerminatedPods")) {
        let why = "must be empty for finished job";
        errors.push(FieldError::invalid(&path.child("uncountedTerminatedPods"), uncounted.clone(), why));
    }
    if finished && new.count("terminating") > 0 && (ends || changed(new, old, "terminating")) {
        let why = "terminating>0 is invalid for finished job";
        errors.push(FieldError::invalid(&path.child("terminating"), new.count("terminating"), why));
    }
    if new.count("ready") > new.count("active") && (changed(new, old, "ready") || changed(new, old, "active")) {
        let why = "cannot set more ready pods than active";
        errors.push(FieldError::invalid(&path.child("ready"), new.count("ready"), why));
    }
}

fn check_indexes(errors: &mut Errors, new: Job<'_>, old: Job<'_>, path: &Path) {
    let (done, failed) = (text(new.status, "completedIndexes"), maybe_text(new.status, "failedIndexes"));
    let (done_path, failed_path) = (path.child("completedIndexes"), path.child("failedIndexes"));
    let (done_changed, failed_changed) = (changed(new, old, "completedIndexes"), changed(new, old, "failedIndexes"));
    let completions = int(new.spec, "completions");
    let per_index = has(new.spec, "backoffLimitPerIndex");
    if let Some(Err(why)) = completions.filter(|_| done_changed).map(|all| count_indexes(done, all)) {
        errors.push(FieldError::invalid(&done_path, done, format!("error parsing completedIndexes: {why}")));
    }
    if let Some(failed) = failed.filter(|_| failed_changed && per_index)
        && let Some(Err(why)) = completions.map(|all| count_indexes(failed, all))
    {
        errors.push(FieldError::invalid(&failed_path, failed, format!("error parsing failedIndexes: {why}")));
    }
    if done_changed && !done.is_empty() && !new.is_indexed() {
        let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
        errors.push(FieldError::invalid(&done_path, done, why));
    }
    let Some(failed) = failed else { return };
    if failed_changed && !per_index {
        let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        errors.push(FieldError::invalid(&failed_path, failed, why));
    }
    if let Some(both) = completions
        .filter(|_| failed_changed || done_changed)
        .and_then(|all| first_in_both(&intervals(done, all), &intervals(failed, all)))
    {
        let why = format!("failedIndexes and completedIndexes overlap at index: {both}");
        errors.push(FieldError::invalid(&failed_path, failed, why));
    }
}

/// The intervals that can be read.
fn intervals(indexes: &str, completions: i64) -> Vec<(i64, i64)> {
    let read = |interval| read_interval(interval, completions).ok().map(|(from, to)| (from, to.unwrap_or(from)));
    indexes.split(',').filter_map(read).collect()
}

/// The first index that is in intervals of both lists, which are in order.
fn first_in_both(done: &[(i64, i64)], failed: &[(i64, i64)]) -> Option<i64> {
    let (mut done, mut failed) = (done.iter().peekable(), failed.iter().peekable());
    while let (Some((done_from, done_to)), Some((failed_from, failed_to))) = (done.peek(), failed.peek()) {
        if done_from <= failed_to && failed_from <= done_to {
            return Some(*done_from.max(failed_from));
        }
        if done_from <= failed_from {
            done.next();
        } else {
            failed.next();
        }
    }
    None
}

fn check_conditions(errors: &mut Errors, job: Job<'_>, path: &Path) {
    let met = job.holds("SuccessCriteriaMet");
    if met && job.holds("Failed") {
        refuse_conditions(errors, path, "cannot set SuccessCriteriaMet=True and Failed=true conditions");
    }
    if met && job.holds("FailureTarget") {
        refuse_conditions(errors, path, "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions");
    }
    if has(job.spec, "successPolicy") && !met && job.holds("Complete") {
        let why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        refuse_conditions(errors, path, why);
    }
}

/// What is over stays over, and counts only grow.
fn check_transition(errors: &mut Errors, new: Job<'_>, old: Job<'_>, path: &Path) {
    let conditions = path.child("conditions");
    for condition in ["Failed", "Complete", "FailureTarget"] {
        if old.holds(condition) && !new.holds(condition) {
            let why = format!("cannot disable the terminal {condition}=True condition");
            refuse_conditions(errors, &conditions, why);
        }
    }
    // A job with as many pods as completions may be made smaller.
    let scales = new.is_indexed() && int(new.spec, "completions") == int(new.spec, "parallelism");
    for field in ["failed", "succeeded"] {
        if new.count(field) < old.count(field) && (field == "failed" || !scales) {
            let why = format!("cannot decrease the {field} counter");
            errors.push(FieldError::invalid(&path.child(field), new.count(field), why));
        }
    }
    let time = |job: Job<'_>, field: &str| get(job.status, field).cloned();
    if let (Some(now), Some(before)) = (time(new, "completionTime"), time(old, "completionTime"))
        && now != before
    {
        errors.push(FieldError::invalid(&path.child("completionTime"), now, IMMUTABLE));
    }
    let resumes = old.holds("Suspended") && new.is("Suspended", "False");
    if changed(new, old, "startTime")
        && !resumes
        && has(old.status, "startTime")
        && flag(new.spec, "suspend") != Some(true)
    {
        let now = time(new, "startTime").unwrap_or_default();
        let why = "field is immutable for unsuspended job once set";
        errors.push(FieldError::invalid(&path.child("startTime"), now, why));
    }
    let met = "SuccessCriteriaMet";
    if old.holds(met) && !new.holds(met) {
        refuse_conditions(errors, &conditions, "cannot disable the SuccessCriteriaMet=True condition");
    }
    if old.holds("Complete") && !old.holds(met) && new.holds(met) {
        let why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        refuse_conditions(errors, &conditions, why);
    }
}
