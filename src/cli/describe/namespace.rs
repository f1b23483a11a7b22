//! Namespaces and what limits them: quotas and limit ranges.

use super::{
    Need, Seen, core_list,
    fields::{keys, list, quantity, text, words},
    page::{Page, line},
    place,
};
use crate::failure::Failure;
use anyhow::Result;
use mk8s_api::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeSet;

pub(super) fn needs(namespace: &Value) -> Vec<(String, Need)> {
    let name = place(namespace).1;
    let list = |plural: &str| (plural.to_owned(), Need::List(core_list(name, plural)));
    vec![list("resourcequotas"), list("limitranges")]
}

pub(super) fn write(seen: &Seen, page: &mut Page) -> Result<()> {
    let namespace = &seen.object;
    page.cluster_head(namespace);
    line!(page, 0, "Status:\t{}", text(&namespace["status"]["phase"]));
    let conditions = list(&namespace["status"]["conditions"]);
    if !conditions.is_empty() {
        line!(page, 0, "Conditions:");
        line!(page, 1, "Type\tStatus\tLastTransitionTime\tReason\tMessage");
        line!(page, 1, "----\t------\t------------------\t------\t-------");
    }
    for condition in conditions {
        let time = seen.clock.time(&condition["lastTransitionTime"]);
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|field| text(&condition[field]));
        line!(page, 1, "{kind}\t{status}\t{time}\t{reason}\t{message}");
    }
    if let Some(quotas) = served(seen, "resourcequotas")? {
        line!(page, 0, "");
        all_quotas(quotas, page);
    }
    if let Some(ranges) = served(seen, "limitranges")? {
        line!(page, 0, "");
        all_ranges(ranges, page);
    }
    Ok(())
}

/// A list; nothing when the server does not know its type.
fn served<'a>(seen: &'a Seen, key: &str) -> Result<Option<&'a [Value]>> {
    match seen.list(key) {
        Ok(found) => Ok(Some(found)),
        Err(error) if Failure::is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn sorted_scopes(quota: &Value) -> Vec<&str> {
    let mut scopes = words(&quota["spec"]["scopes"]);
    scopes.sort_unstable();
    scopes
}

fn scope_help(scope: &str) -> Option<&'static str> {
    Some(match scope {
        "Terminating" => {
            "Matches all pods that have an active deadline. These pods have a limited lifespan on a node before being actively terminated by the system."
        }
        "NotTerminating" => {
            "Matches all pods that do not have an active deadline. These pods usually include long running pods whose container command is not expected to terminate."
        }
        "BestEffort" => {
            "Matches all pods that do not have resource requirements set. These pods have a best effort quality of service."
        }
        "NotBestEffort" => {
            "Matches all pods that have at least one resource requirement set. These pods have a burstable or guaranteed quality of service."
        }
        _ => return None,
    })
}

fn all_quotas(quotas: &[Value], page: &mut Page) {
    if quotas.is_empty() {
        line!(page, 0, "No resource quota.");
        return;
    }
    let mut quotas: Vec<&Value> = quotas.iter().collect();
    quotas.sort_by_key(|quota| place(quota).1);
    line!(page, 0, "Resource Quotas");
    for quota in quotas {
        line!(page, 1, "Name:\t{}", place(quota).1);
        let scopes = sorted_scopes(quota);
        if !scopes.is_empty() {
            line!(page, 1, "Scopes:\t{}", scopes.join(", "));
        }
        for help in scopes.into_iter().filter_map(scope_help) {
            line!(page, 1, "* {help}");
        }
        line!(page, 1, "Resource\tUsed\tHard");
        line!(page, 1, "--------\t---\t---");
        let (hard, used) = (&quota["status"]["hard"], &quota["status"]["used"]);
        for resource in keys(hard) {
            line!(page, 1, "{resource}\t{}\t{}", quantity(&used[resource]), quantity(&hard[resource]));
        }
    }
}

pub(super) fn quota(seen: &Seen, page: &mut Page) -> Result<()> {
    let quota = &seen.object;
    let (namespace, name) = place(quota);
    line!(page, 0, "Name:\t{name}\nNamespace:\t{namespace}");
    let scopes = sorted_scopes(quota);
    if !scopes.is_empty() {
        line!(page, 0, "Scopes:\t{}", scopes.join(", "));
    }
    for help in scopes.into_iter().filter_map(scope_help) {
        line!(page, 0, " * {help}");
    }
    line!(page, 0, "Resource\tUsed\tHard");
    line!(page, 0, "--------\t----\t----");
    let (hard, used) = (&quota["status"]["hard"], &quota["status"]["used"]);
    for resource in keys(hard) {
        line!(page, 0, "{resource}\t{}\t{}", like(&used[resource], &hard[resource]), quantity(&hard[resource]));
    }
    Ok(())
}

/// A quantity with the kind of suffix the other one has.
fn like(amount: &Value, other: &Value) -> String {
    match (Quantity::from_json(amount), Quantity::from_json(other)) {
        (Ok(amount), Ok(other)) if amount.format() != other.format() => {
            Quantity::from_units(amount.value(), other.format()).to_string()
        }
        _ => quantity(amount),
    }
}

fn all_ranges(ranges: &[Value], page: &mut Page) {
    if ranges.is_empty() {
        line!(page, 0, "No LimitRange resource.");
        return;
    }
    line!(
        page,
        0,
        "Resource Limits\n Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio"
    );
    line!(page, 0, " ----\t--------\t---\t---\t---------------\t-------------\t-----------------------");
    for range in ranges {
        limits(range, " ", page);
    }
}

pub(super) fn limit_range(seen: &Seen, page: &mut Page) -> Result<()> {
    let (namespace, name) = place(&seen.object);
    line!(page, 0, "Name:\t{name}\nNamespace:\t{namespace}");
    line!(page, 0, "Type\tResource\tMin\tMax\tDefault Request\tDefault Limit\tMax Limit/Request Ratio");
    line!(page, 0, "----\t--------\t---\t---\t---------------\t-------------\t-----------------------");
    limits(&seen.object, "", page);
    Ok(())
}

fn limits(range: &Value, prefix: &str, page: &mut Page) {
    const FIELDS: [&str; 5] = ["min", "max", "defaultRequest", "default", "maxLimitRequestRatio"];
    for item in list(&range["spec"]["limits"]) {
        let resources: BTreeSet<&str> = FIELDS.iter().flat_map(|field| keys(&item[*field])).collect();
        for resource in resources {
            let cells = FIELDS.map(|field| match &item[field][resource] {
                Value::Null => "-".to_owned(),
                amount => quantity(amount),
            });
            line!(page, 0, "{prefix}{}\t{resource}\t{}", text(&item["type"]), cells.join("\t"));
        }
    }
}
