//! Disruption budgets and priority classes.

use super::{
    Seen,
    fields::{format_labels, format_selector, int, int_or_text, text, truth},
    page::{Page, line},
    place,
};
use anyhow::Result;
use serde_json::Value;

pub(super) fn disruption_budget(seen: &Seen, page: &mut Page) -> Result<()> {
    let budget = &seen.object;
    let (spec, status) = (&budget["spec"], &budget["status"]);
    let (namespace, name) = place(budget);
    line!(page, 0, "Name:\t{name}\nNamespace:\t{namespace}");
    if !spec["minAvailable"].is_null() {
        line!(page, 0, "Min available:\t{}", int_or_text(&spec["minAvailable"]));
    } else if !spec["maxUnavailable"].is_null() {
        line!(page, 0, "Max unavailable:\t{}", int_or_text(&spec["maxUnavailable"]));
    }
    match &spec["selector"] {
        Value::Null => line!(page, 0, "Selector:\t<unset>"),
        selector => line!(page, 0, "Selector:\t{}", format_selector(selector)),
    }
    line!(page, 0, "Status:");
    let counts = [
        ("Allowed disruptions", "disruptionsAllowed"),
        ("Current", "currentHealthy"),
        ("Desired", "desiredHealthy"),
        ("Total", "expectedPods"),
    ];
    for (title, field) in counts {
        line!(page, 2, "{title}:\t{}", int(&status[field]));
    }
    Ok(())
}

pub(super) fn priority_class(seen: &Seen, page: &mut Page) -> Result<()> {
    let class = &seen.object;
    line!(page, 0, "Name:\t{}", place(class).1);
    line!(page, 0, "Value:\t{}", int(&class["value"]));
    line!(page, 0, "GlobalDefault:\t{}", truth(&class["globalDefault"]));
    line!(page, 0, "PreemptionPolicy:\t{}", text(&class["preemptionPolicy"]));
    line!(page, 0, "Description:\t{}", text(&class["description"]));
    line!(page, 0, "Annotations:\t{}", format_labels(&class["metadata"]["annotations"]));
    Ok(())
}
