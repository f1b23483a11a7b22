//! Workloads: what runs pods, and how many of them there are.

use super::{
    Need, Seen,
    fields::{self, controller, format_labels, human_duration, int, int_or_text, list, or_none, parse, selector, text},
    page::{Page, line, put},
    place, pod, storage,
};
use crate::remote::with_query;
use anyhow::Result;
use serde_json::Value;

/// The selector of a workload as a query; a ReplicationController has bare labels.
fn query(object: &Value) -> String {
    let own = &object["spec"]["selector"];
    if object["kind"] == "ReplicationController" {
        let labels: Vec<String> = fields::pairs(own).map(|(key, value)| format!("{key}={value}")).collect();
        return labels.join(",");
    }
    selector(own)
}

fn selected(object: &Value, collection: String) -> Need {
    Need::List(with_query(&collection, &[("labelSelector", &query(object))]))
}

pub(super) fn pods(object: &Value) -> Vec<(String, Need)> {
    vec![("pods".to_owned(), selected(object, super::core_list(place(object).0, "pods")))]
}

pub(super) fn replica_sets(deployment: &Value) -> Vec<(String, Need)> {
    let path = format!("/apis/apps/v1/namespaces/{}/replicasets", place(deployment).0);
    vec![("replicasets".to_owned(), selected(deployment, path))]
}

/// Whether `object` has `owner` as its controller.
fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    controller(object).is_some_and(|reference| reference["uid"] == owner["metadata"]["uid"])
}

/// `1 Running / 0 Waiting / 0 Succeeded / 0 Failed`
fn pods_status(seen: &Seen) -> Result<String> {
    let own: Vec<&Value> = seen.list("pods")?.iter().filter(|pod| is_controlled_by(pod, &seen.object)).collect();
    let count = |phase: &str| own.iter().filter(|pod| pod["status"]["phase"] == phase).count();
    Ok(format!(
        "{} Running / {} Waiting / {} Succeeded / {} Failed",
        count("Running"),
        count("Pending"),
        count("Succeeded"),
        count("Failed")
    ))
}

fn controlled_by(object: &Value, page: &mut Page) {
    if let Some(owner) = controller(object) {
        line!(page, 0, "Controlled By:\t{}/{}", text(&owner["kind"]), text(&owner["name"]));
    }
}

fn name_and_namespace(object: &Value, page: &mut Page) {
    let (namespace, name) = place(object);
    line!(page, 0, "Name:\t{name}\nNamespace:\t{namespace}");
}

/// Type, status and reason of conditions.
fn conditions(status: &Value, page: &mut Page) {
    if list(&status["conditions"]).is_empty() {
        return;
    }
    line!(page, 0, "Conditions:\n  Type\tStatus\tReason");
    line!(page, 1, "----\t------\t------");
    for condition in list(&status["conditions"]) {
        let [kind, status, reason] = ["type", "status", "reason"].map(|field| text(&condition[field]));
        line!(page, 1, "{kind} \t{status}\t{reason}");
    }
}

fn replicas(object: &Value, page: &mut Page) {
    let (current, desired) = (int(&object["status"]["replicas"]), int(&object["spec"]["replicas"]));
    line!(page, 0, "Replicas:\t{current} current / {desired} desired");
}

pub(super) fn replication_controller(seen: &Seen, page: &mut Page) -> Result<()> {
    let controller = &seen.object;
    name_and_namespace(controller, page);
    line!(page, 0, "Selector:\t{}", format_labels(&controller["spec"]["selector"]));
    page.marks(controller);
    replicas(controller, page);
    line!(page, 0, "Pods Status:\t{}", pods_status(seen)?);
    pod::template(&controller["spec"]["template"], &seen.clock, page);
    conditions(&controller["status"], page);
    Ok(())
}

pub(super) fn replica_set(seen: &Seen, page: &mut Page) -> Result<()> {
    let set = &seen.object;
    name_and_namespace(set, page);
    line!(page, 0, "Selector:\t{}", fields::format_selector(&set["spec"]["selector"]));
    page.marks(set);
    controlled_by(set, page);
    replicas(set, page);
    match pods_status(seen) {
        Ok(status) => line!(page, 0, "Pods Status:\t{status}"),
        Err(error) => line!(page, 0, "Pods Status:\terror in fetching pods: {error}"),
    }
    pod::template(&set["spec"]["template"], &seen.clock, page);
    conditions(&set["status"], page);
    Ok(())
}

pub(super) fn deployment(seen: &Seen, page: &mut Page) -> Result<()> {
    let deployment = &seen.object;
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    name_and_namespace(deployment, page);
    line!(page, 0, "CreationTimestamp:\t{}", seen.clock.time(&deployment["metadata"]["creationTimestamp"]));
    page.marks(deployment);
    line!(page, 0, "Selector:\t{}", selector(&spec["selector"]));
    line!(
        page,
        0,
        "Replicas:\t{} desired | {} updated | {} total | {} available | {} unavailable",
        int(&spec["replicas"]),
        int(&status["updatedReplicas"]),
        int(&status["replicas"]),
        int(&status["availableReplicas"]),
        int(&status["unavailableReplicas"])
    );
    line!(page, 0, "StrategyType:\t{}", text(&spec["strategy"]["type"]));
    line!(page, 0, "MinReadySeconds:\t{}", int(&spec["minReadySeconds"]));
    let rolling = &spec["strategy"]["rollingUpdate"];
    if !rolling.is_null() {
        let (unavailable, surge) = (int_or_text(&rolling["maxUnavailable"]), int_or_text(&rolling["maxSurge"]));
        line!(page, 0, "RollingUpdateStrategy:\t{unavailable} max unavailable, {surge} max surge");
    }
    pod::template(&spec["template"], &seen.clock, page);
    conditions(status, page);
    let (old, new) = generations(deployment, seen.list("replicasets").unwrap_or_default());
    if !(old.is_empty() && new.is_empty()) {
        line!(page, 0, "OldReplicaSets:\t{}", replica_set_names(&old));
        line!(page, 0, "NewReplicaSet:\t{}", replica_set_names(&new));
    }
    Ok(())
}

/// The replica sets of earlier templates, and the one of the present template.
fn generations<'a>(deployment: &Value, sets: &'a [Value]) -> (Vec<&'a Value>, Vec<&'a Value>) {
    let own: Vec<&Value> = sets.iter().filter(|set| is_controlled_by(set, deployment)).collect();
    let mut by_age = own.clone();
    by_age.sort_by_key(|set| (parse(&set["metadata"]["creationTimestamp"]), place(set).1));
    let wanted = without_hash(&deployment["spec"]["template"]);
    let new = by_age.into_iter().find(|set| without_hash(&set["spec"]["template"]) == wanted);
    let old = own.into_iter().filter(|set| new.is_none_or(|new| set["metadata"]["uid"] != new["metadata"]["uid"]));
    (old.collect(), new.into_iter().collect())
}

/// A template without the label that tells its replica sets apart.
fn without_hash(template: &Value) -> Value {
    let mut template = template.clone();
    if let Some(metadata) = template["metadata"].as_object_mut() {
        metadata.remove("creationTimestamp");
        if let Some(labels) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            labels.remove("pod-template-hash");
        }
    }
    template
}

fn replica_set_names(sets: &[&Value]) -> String {
    let names: Vec<String> = sets
        .iter()
        .map(|set| {
            let (created, wanted) = (int(&set["status"]["replicas"]), int(&set["spec"]["replicas"]));
            format!("{} ({created}/{wanted} replicas created)", place(set).1)
        })
        .collect();
    or_none(&names.join(", ")).to_owned()
}

pub(super) fn stateful_set(seen: &Seen, page: &mut Page) -> Result<()> {
    let set = &seen.object;
    let (spec, status) = (&set["spec"], &set["status"]);
    name_and_namespace(set, page);
    line!(page, 0, "CreationTimestamp:\t{}", seen.clock.time(&set["metadata"]["creationTimestamp"]));
    line!(page, 0, "Selector:\t{}", selector(&spec["selector"]));
    page.marks(set);
    line!(page, 0, "Replicas:\t{} desired | {} total", int(&spec["replicas"]), int(&status["replicas"]));
    line!(page, 0, "Update Strategy:\t{}", text(&spec["updateStrategy"]["type"]));
    let rolling = &spec["updateStrategy"]["rollingUpdate"];
    if let Some(partition) = rolling["partition"].as_i64() {
        line!(page, 1, "Partition:\t{partition}");
        if !rolling["maxUnavailable"].is_null() {
            line!(page, 1, "MaxUnavailable:\t{}", int_or_text(&rolling["maxUnavailable"]));
        }
    }
    line!(page, 0, "Pods Status:\t{}", pods_status(seen)?);
    pod::template(&spec["template"], &seen.clock, page);
    storage::claim_templates(&spec["volumeClaimTemplates"], page);
    Ok(())
}

pub(super) fn daemon_set(seen: &Seen, page: &mut Page) -> Result<()> {
    let set = &seen.object;
    let (spec, status) = (&set["spec"], &set["status"]);
    name_and_namespace(set, page);
    line!(page, 0, "Selector:\t{}", selector(&spec["selector"]));
    line!(page, 0, "Node-Selector:\t{}", format_labels(&spec["template"]["spec"]["nodeSelector"]));
    page.marks(set);
    let counts = [
        ("Desired Number of Nodes Scheduled", "desiredNumberScheduled"),
        ("Current Number of Nodes Scheduled", "currentNumberScheduled"),
        ("Number of Nodes Scheduled with Up-to-date Pods", "updatedNumberScheduled"),
        ("Number of Nodes Scheduled with Available Pods", "numberAvailable"),
        ("Number of Nodes Misscheduled", "numberMisscheduled"),
    ];
    for (title, field) in counts {
        line!(page, 0, "{title}: {}", int(&status[field]));
    }
    line!(page, 0, "Pods Status:\t{}", pods_status(seen)?);
    pod::template(&spec["template"], &seen.clock, page);
    Ok(())
}

pub(super) fn job(seen: &Seen, page: &mut Page) -> Result<()> {
    let (job, clock) = (&seen.object, &seen.clock);
    let (spec, status) = (&job["spec"], &job["status"]);
    name_and_namespace(job, page);
    line!(page, 0, "Selector:\t{}", selector(&spec["selector"]));
    page.marks(job);
    controlled_by(job, page);
    let optional = |title: &str, value: &Value, page: &mut Page| {
        if !value.is_null() {
            line!(page, 0, "{title}:\t{}", fields::go(value));
        }
    };
    optional("Parallelism", &spec["parallelism"], page);
    line!(page, 0, "Completions:\t{}", or_unset(&spec["completions"], ""));
    optional("Completion Mode", &spec["completionMode"], page);
    optional("Suspend", &spec["suspend"], page);
    optional("Backoff Limit", &spec["backoffLimit"], page);
    optional("TTL Seconds After Finished", &spec["ttlSecondsAfterFinished"], page);
    let (start, end) = (&status["startTime"], &status["completionTime"]);
    for (title, time) in [("Start Time", start), ("Completed At", end)] {
        if !time.is_null() {
            line!(page, 0, "{title}:\t{}", clock.time(time));
        }
    }
    if let (Some(start), Some(end)) = (parse(start), parse(end)) {
        line!(page, 0, "Duration:\t{}", human_duration(end.duration_since(start).as_secs_f64()));
    }
    if let Some(seconds) = spec["activeDeadlineSeconds"].as_i64() {
        line!(page, 0, "Active Deadline Seconds:\t{seconds}s");
    }
    let ready = status["ready"].as_i64().map(|ready| format!(" ({ready} Ready)")).unwrap_or_default();
    let [active, succeeded, failed] = ["active", "succeeded", "failed"].map(|field| int(&status[field]));
    line!(page, 0, "Pods Statuses:\t{active} Active{ready} / {succeeded} Succeeded / {failed} Failed");
    if spec["completionMode"] == "Indexed" {
        line!(page, 0, "Completed Indexes:\t{}", capped(text(&status["completedIndexes"]), 50));
    }
    pod::template(&spec["template"], clock, page);
    Ok(())
}

/// Cuts a list of indexes at the first comma after so many characters.
fn capped(indexes: &str, soft: usize) -> String {
    match indexes.get(soft..).and_then(|rest| rest.find(',')) {
        Some(comma) => format!("{}...", &indexes[..=soft + comma]),
        None => or_none(indexes).to_owned(),
    }
}

fn or_unset(value: &Value, unit: &str) -> String {
    value.as_i64().map_or_else(|| "<unset>".to_owned(), |number| format!("{number}{unit}"))
}

pub(super) fn cron_job(seen: &Seen, page: &mut Page) -> Result<()> {
    let (cron, clock) = (&seen.object, &seen.clock);
    let (spec, status) = (&cron["spec"], &cron["status"]);
    page.head(cron);
    line!(page, 0, "Schedule:\t{}", text(&spec["schedule"]));
    line!(page, 0, "Concurrency Policy:\t{}", text(&spec["concurrencyPolicy"]));
    line!(page, 0, "Suspend:\t{}", fields::true_false_unset(&spec["suspend"]));
    line!(page, 0, "Time Zone:\t{}", spec["timeZone"].as_str().unwrap_or("<unset>"));
    line!(page, 0, "Successful Job History Limit:\t{}", or_unset(&spec["successfulJobsHistoryLimit"], ""));
    line!(page, 0, "Failed Job History Limit:\t{}", or_unset(&spec["failedJobsHistoryLimit"], ""));
    line!(page, 0, "Starting Deadline Seconds:\t{}", or_unset(&spec["startingDeadlineSeconds"], "s"));
    let job = &spec["jobTemplate"]["spec"];
    match &job["selector"] {
        Value::Null => line!(page, 0, "Selector:\t<unset>"),
        own => line!(page, 0, "Selector:\t{}", selector(own)),
    }
    line!(page, 0, "Parallelism:\t{}", or_unset(&job["parallelism"], ""));
    line!(page, 0, "Completions:\t{}", or_unset(&job["completions"], ""));
    if let Some(seconds) = job["activeDeadlineSeconds"].as_i64() {
        line!(page, 0, "Active Deadline Seconds:\t{seconds}s");
    }
    pod::template(&job["template"], clock, page);
    match &status["lastScheduleTime"] {
        Value::Null => line!(page, 0, "Last Schedule Time:\t<unset>"),
        time => line!(page, 0, "Last Schedule Time:\t{}", clock.time(time)),
    }
    let active: Vec<&str> = list(&status["active"]).iter().map(|job| text(&job["name"])).collect();
    put!(page, 0, "Active Jobs:\t");
    line!(page, 0, "{}", or_none(&active.join(", ")));
    Ok(())
}
