//! Workloads that end.

use jiff::Timestamp;
use mk8s_api::meta;
use serde_json::{Value, json};

use super::{
    columns::{Declared, Printer},
    text::{NONE, age, between, containers, is_true, items, name, number, selector, since, text, text_or},
};

pub(super) fn printers() -> Declared {
    let cron = "Name|Schedule|Timezone|Suspend:boolean|Active:integer|Last Schedule|Age|+Containers|+Images|+Selector";
    vec![
        ("batch", "Job", Printer::of("Name|Status|Completions|Duration|Age|+Containers|+Images|+Selector", job)),
        ("batch", "CronJob", Printer::of(cron, cron_job)),
    ]
}

fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let succeeded = number(&status["succeeded"]);
    let completions = match (spec["completions"].as_i64(), number(&spec["parallelism"])) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        (None, _) => format!("{succeeded}/1"),
    };
    let [names, images] = containers(&spec["template"]["spec"]);
    vec![
        name(object),
        json!(job_status(object)),
        json!(completions),
        json!(between(&status["startTime"], &status["completionTime"], now)),
        age(object, now),
        names,
        images,
        json!(selector(&spec["selector"])),
    ]
}

fn job_status(job: &Value) -> &'static str {
    match () {
        () if is_true(job, "Complete") => "Complete",
        () if is_true(job, "Failed") => "Failed",
        () if meta::is_deleting(job) => "Terminating",
        () if is_true(job, "Suspended") => "Suspended",
        () if is_true(job, "FailureTarget") => "FailureTarget",
        () if is_true(job, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    }
}

fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let last = &object["status"]["lastScheduleTime"];
    let suspend = spec["suspend"]
        .as_bool()
        .map_or_else(|| "<unset>".to_string(), |b| if b { "True".into() } else { "False".into() });
    let [names, images] = containers(&spec["jobTemplate"]["spec"]["template"]["spec"]);
    vec![
        name(object),
        json!(text(&spec["schedule"])),
        json!(text_or(&spec["timeZone"], NONE)),
        json!(suspend),
        json!(items(&object["status"]["active"]).len()),
        json!(if last.is_null() { NONE.to_string() } else { since(last, now) }),
        age(object, now),
        names,
        images,
        json!(selector(&spec["jobTemplate"]["spec"]["selector"])),
    ]
}
