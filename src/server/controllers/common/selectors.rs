//! Label selectors of typed objects.

use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use mk8s_api::select::LabelSelector;
use std::collections::BTreeMap;

pub(crate) type Labels = BTreeMap<String, String>;

/// Absent selects nothing, empty everything; `None` when it cannot be understood.
pub(crate) fn compile(selector: Option<&meta::LabelSelector>) -> Option<LabelSelector> {
    let json = serde_json::to_value(selector).ok()?;
    LabelSelector::from_json(&json).ok()
}

/// Whether an object has all of these labels.
pub(crate) fn has_all(labels: Option<&Labels>, wanted: &Labels) -> bool {
    let has = |(key, value): (&String, &String)| labels.and_then(|labels| labels.get(key)) == Some(value);
    wanted.iter().all(has)
}
