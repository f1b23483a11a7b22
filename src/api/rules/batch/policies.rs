//! When a job's failed pods count, when some of its indexes are enough, when pods are replaced, and by whom.

use std::collections::BTreeSet;

use serde_json::Value;

use super::at::{get, has, int, list, maybe_text, sub, text};
use super::check::{Errors, invalid_each, label_key, member, non_negative};
use super::{FieldError, Path, names};

/// Rules of a policy, and patterns of one rule.
const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;

/// Which controller manages the job.
pub(super) fn check_managed_by(errors: &mut Errors, manager: &str, path: &Path) {
    const MAX_BYTES: usize = 63;
    if manager.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else {
        match manager.split_once('/') {
            Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
                invalid_each(errors, names::dns1123_subdomain(domain), || path.clone(), domain);
                check_http_path(errors, rest, path);
            }
            _ => {
                let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
                errors.push(FieldError::invalid(path, manager, why));
            }
        }
    }
    if manager.len() > MAX_BYTES {
        errors.push(FieldError::too_long(path, MAX_BYTES));
    }
}

fn check_http_path(errors: &mut Errors, rest: &str, path: &Path) {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !rest.bytes().all(is_part) {
        let why = names::pattern_message("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]);
        errors.push(FieldError::invalid(path, rest, why));
    }
}

/// `podFailurePolicy`.
pub(super) fn check_failures(errors: &mut Errors, spec: &Value, path: &Path) {
    let path = path.child("rules");
    let rules = list(sub(spec, "podFailurePolicy"), "rules");
    if rules.len() > MAX_RULES {
        errors.push(FieldError::too_many(&path, rules.len(), MAX_RULES));
    }
    let pods = sub(sub(spec, "template"), "spec");
    let containers: BTreeSet<&str> = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|field| list(pods, field))
        .map(|container| text(container, "name"))
        .collect();
    for (n, rule) in rules.iter().enumerate() {
        check_failure(errors, rule, has(spec, "backoffLimitPerIndex"), &containers, &path.index(n));
    }
}

fn check_failure(errors: &mut Errors, rule: &Value, per_index: bool, containers: &BTreeSet<&str>, path: &Path) {
    const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
    let action_path = path.child("action");
    match text(rule, "action") {
        "" => errors.push(FieldError::required(&action_path, valid_values(ACTIONS))),
        "FailIndex" if !per_index => {
            let why = "requires the backoffLimitPerIndex to be set";
            errors.push(FieldError::invalid(&action_path, "FailIndex", why));
        }
        action => member(errors, action, ACTIONS, &action_path),
    }
    let codes = get(rule, "onExitCodes");
    if let Some(codes) = codes {
        check_exit_codes(errors, codes, containers, &path.child("onExitCodes"));
    }
    let conditions = list(rule, "onPodConditions");
    check_conditions(errors, conditions, &path.child("onPodConditions"));
    let why = match (codes.is_some(), !conditions.is_empty()) {
        (true, true) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (false, false) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return,
    };
    errors.push(FieldError::invalid(path, "", why).without_value());
}

fn valid_values(values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
    format!("valid values: [{}]", quoted.join(" "))
}

fn check_conditions(errors: &mut Errors, conditions: &[Value], path: &Path) {
    const STATES: &[&str] = &["False", "True", "Unknown"];
    if conditions.len() > MAX_RULES {
        errors.push(FieldError::too_many(path, conditions.len(), MAX_RULES));
    }
    for (n, condition) in conditions.iter().enumerate() {
        let path = path.index(n);
        label_key(errors, text(condition, "type"), || path.child("type"));
        match text(condition, "status") {
            "" => errors.push(FieldError::required(&path.child("status"), valid_values(STATES))),
            state => member(errors, state, STATES, &path.child("status")),
        }
    }
}

fn check_exit_codes(errors: &mut Errors, codes: &Value, containers: &BTreeSet<&str>, path: &Path) {
    const OPERATORS: &[&str] = &["In", "NotIn"];
    let operator = text(codes, "operator");
    match operator {
        "" => errors.push(FieldError::required(&path.child("operator"), valid_values(OPERATORS))),
        operator => member(errors, operator, OPERATORS, &path.child("operator")),
    }
    if let Some(container) = maybe_text(codes, "containerName").filter(|name| !containers.contains(name)) {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.push(FieldError::invalid(&path.child("containerName"), container, why));
    }
    let (values, path) = (list(codes, "values"), path.child("values"));
    if values.is_empty() {
        errors.push(FieldError::invalid(&path, sub(codes, "values").clone(), "at least one value is required"));
    } else if values.len() > MAX_EXIT_CODES {
        errors.push(FieldError::too_many(&path, values.len(), MAX_EXIT_CODES));
    }
    // An absent number is zero.
    let values: Vec<i64> = values.iter().map(|value| value.as_i64().unwrap_or(0)).collect();
    let mut seen = BTreeSet::new();
    for (n, value) in values.iter().enumerate() {
        if operator == "In" && *value == 0 {
            errors.push(FieldError::invalid(&path.index(n), *value, "must not be 0 for the In operator"));
        }
        if !seen.insert(*value) {
            errors.push(FieldError::duplicate(&path.index(n), *value));
        }
    }
    if !values.is_sorted() {
        errors.push(FieldError::invalid(&path, values, "must be ordered"));
    }
}

/// `successPolicy` of a job that counts its indexes.
pub(super) fn check_successes(errors: &mut Errors, spec: &Value, path: &Path) {
    let path = path.child("rules");
    let rules = list(sub(spec, "successPolicy"), "rules");
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.push(FieldError::required(&path, why));
    }
    if rules.len() > MAX_RULES {
        errors.push(FieldError::too_many(&path, rules.len(), MAX_RULES));
    }
    // Whoever leaves the number out is told so elsewhere.
    let Some(completions) = int(spec, "completions") else { return };
    for (n, rule) in rules.iter().enumerate() {
        check_success(errors, rule, completions, &path.index(n));
    }
}

fn check_success(errors: &mut Errors, rule: &Value, completions: i64, path: &Path) {
    const MAX_BYTES: usize = 64 * 1024;
    let (indexes, count) = (maybe_text(rule, "succeededIndexes"), int(rule, "succeededCount"));
    if indexes.is_none() && count.is_none() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        errors.push(FieldError::required(path, why));
    }
    let mut total = 0;
    if let Some(indexes) = indexes {
        let path = path.child("succeededIndexes");
        if indexes.len() > MAX_BYTES {
            errors.push(FieldError::too_long(&path, MAX_BYTES));
        }
        match count_indexes(indexes, completions) {
            Ok(counted) => total = counted,
            Err(why) => {
                errors.push(FieldError::invalid(&path, indexes, format!("error parsing succeededIndexes: {why}")));
            }
        }
    }
    let Some(count) = count else { return };
    let path = path.child("succeededCount");
    non_negative(errors, Some(count), || path.clone());
    if count > completions {
        let why = format!("must be less than or equal to {completions} (the number of specified completions)");
        errors.push(FieldError::invalid(&path, count, why));
    }
    if indexes.is_some() && count > total {
        let why = format!(
            "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
        );
        errors.push(FieldError::invalid(&path, count, why));
    }
}

/// How many indexes a text such as `0,2-4` has, all of them below `completions`.
pub(super) fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    let unordered = |last, next| format!("non-increasing order, previous: {last}, current: {next}");
    let (mut last, mut total) = (None, 0);
    for interval in text.split(',') {
        let (from, to) = read_interval(interval, completions)?;
        if let Some(last) = last.filter(|last| *last >= from) {
            return Err(unordered(last, from));
        }
        if let Some(to) = to.filter(|to| from >= *to) {
            return Err(unordered(from, to));
        }
        let to = to.unwrap_or(from);
        total += to - from + 1;
        last = Some(to);
    }
    Ok(total)
}

pub(super) fn read_interval(interval: &str, completions: i64) -> Result<(i64, Option<i64>), String> {
    let index = |part: &str| {
        let quoted = crate::field::quote(part);
        let number: i64 = part.parse().map_err(|_| format!("cannot convert string to integer for index: {quoted}"))?;
        (number < completions).then_some(number).ok_or_else(|| format!("too large index: {quoted}"))
    };
    let mut parts = interval.split('-');
    let (from, to) = (parts.next().unwrap_or(""), parts.next());
    if parts.next().is_some() {
        return Err(format!(
            "the fragment {} violates the requirement that an index interval can have at most two parts separated by '-'",
            crate::field::quote(interval)
        ));
    }
    Ok((index(from)?, to.map(index).transpose()?))
}
