//! Priority class names become numbers; only one class is the default.

use mk8s_api::{meta, status::Status};
use serde_json::{Value, json};

use super::{
    Context, Operation, Plugin, Request,
    stored::{get, list},
};

pub(super) struct Priority;

const GROUP: &str = "scheduling.k8s.io";

impl Plugin for Priority {
    fn mutate(&self, request: &Request<'_>, pod: &mut Value, context: &Context<'_>) -> Result<(), Status> {
        if !request.whole("", "pods") {
            return Ok(());
        }
        match (request.operation, request.old) {
            (Operation::Create, _) => resolve(request, pod, context),
            (Operation::Update, Some(old)) => {
                keep(pod, old);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn validate(&self, request: &Request<'_>, class: &Value, context: &Context<'_>) -> Result<(), Status> {
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        if !request.whole(GROUP, "priorityclasses") || !written || class["globalDefault"] != true {
            return Ok(());
        }
        let Some(known) = default_class(context) else { return Ok(()) };
        if request.operation == Operation::Update && meta::name(&known) == meta::name(class) {
            return Ok(());
        }
        let why =
            format!("PriorityClass {} is already marked as default. Only one default can exist", meta::name(&known));
        Err(request.forbidden(Some(class), &why))
    }
}

/// A client that does not know the fields leaves them as they were.
fn keep(pod: &mut Value, old: &Value) {
    for field in ["priority", "preemptionPolicy"] {
        if pod["spec"][field].is_null() && !old["spec"][field].is_null() {
            pod["spec"][field] = old["spec"][field].clone();
        }
    }
}

fn resolve(request: &Request<'_>, pod: &mut Value, context: &Context<'_>) -> Result<(), Status> {
    let name = pod["spec"]["priorityClassName"].as_str().unwrap_or_default();
    let class = match name {
        "" => default_class(context).unwrap_or_else(|| json!({"value": 0, "preemptionPolicy": "PreemptLowerPriority"})),
        name => get(context.view, GROUP, "priorityclasses", "", name)
            .ok_or_else(|| request.forbidden(Some(pod), &format!("no PriorityClass with name {name} was found")))?,
    };
    let value = class["value"].as_i64().unwrap_or_default();
    if let Some(given) = pod["spec"]["priority"].as_i64().filter(|given| *given != value) {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {value} from the given PriorityClass name"
        );
        return Err(request.forbidden(Some(pod), &why));
    }
    let policy = class["preemptionPolicy"].as_str().unwrap_or("PreemptLowerPriority");
    if let Some(given) = pod["spec"]["preemptionPolicy"].as_str().filter(|given| *given != policy) {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(request.forbidden(Some(pod), &why));
    }
    if !meta::name(&class).is_empty() {
        pod["spec"]["priorityClassName"] = json!(meta::name(&class));
    }
    pod["spec"]["priority"] = json!(value);
    pod["spec"]["preemptionPolicy"] = json!(policy);
    Ok(())
}

/// The class marked as default; of several, the lowest.
fn default_class(context: &Context<'_>) -> Option<Value> {
    let classes = list(context.view, GROUP, "priorityclasses", "");
    classes.into_iter().filter(|class| class["globalDefault"] == true).min_by_key(|class| class["value"].as_i64())
}
