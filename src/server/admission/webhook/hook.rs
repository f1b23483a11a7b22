//! A webhook as it is configured, read once when its configuration changes.

use std::{sync::Arc, time::Duration};

use mk8s_api::{meta, select::LabelSelector};
use serde_json::Value;

use crate::{admission::policy::conditions, stored::items, webhook::Endpoint};

/// One webhook of a configuration.
#[derive(Debug)]
pub(super) struct Hook {
    /// Tells webhooks apart within one request: configuration, name, and which of that name.
    pub(super) id: Arc<str>,
    pub(super) configuration: String,
    pub(super) name: String,
    /// `None`: the configuration names no place, and every call fails.
    pub(super) endpoint: Option<Endpoint>,
    pub(super) rules: Vec<Rule>,
    /// Other versions of a resource that a rule names count as well.
    pub(super) equivalent: bool,
    /// A selector that cannot be read is an error for the requests it concerns.
    pub(super) namespaces: Result<LabelSelector, String>,
    pub(super) objects: Result<LabelSelector, String>,
    pub(super) conditions: Vec<Condition>,
    pub(super) ignores_failure: bool,
    /// Wants to be asked again when the object changed after it was asked.
    pub(super) reinvoke: bool,
    pub(super) side_effects: SideEffects,
    pub(super) timeout: Duration,
    /// The first version of AdmissionReview that both sides know.
    pub(super) review: Option<ReviewVersion>,
}

/// What a webhook says about what it does besides answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SideEffects {
    /// None, or none when the request is a dry run.
    NoneOnDryRun,
    Some,
    Unsaid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReviewVersion {
    V1,
    V1Beta1,
}

impl ReviewVersion {
    pub(super) fn api_version(self) -> &'static str {
        match self {
            ReviewVersion::V1 => "admission.k8s.io/v1",
            ReviewVersion::V1Beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// What a webhook wants to be asked about; each list may hold `*`.
#[derive(Debug)]
pub(in crate::admission) struct Rule {
    pub(in crate::admission) operations: Vec<String>,
    pub(in crate::admission) groups: Vec<String>,
    pub(in crate::admission) versions: Vec<String>,
    /// `pods`, `pods/*`, `*/scale`, ...
    pub(in crate::admission) resources: Vec<String>,
    pub(in crate::admission) scope: Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::admission) enum Scope {
    All,
    Cluster,
    Namespaced,
}

/// An expression that must hold for a request.
pub(super) type Condition = conditions::Condition;

/// The webhooks of one configuration, in their order.
pub(super) fn of_configuration(configuration: &Value) -> Vec<Arc<Hook>> {
    let name = meta::name(configuration);
    items(&configuration["webhooks"])
        .iter()
        .enumerate()
        .map(|(index, hook)| Arc::new(Hook::read(name, index, hook)))
        .collect()
}

impl Hook {
    fn read(configuration: &str, index: usize, hook: &Value) -> Hook {
        let text = |field: &str| hook[field].as_str().unwrap_or_default();
        let name = text("name").to_string();
        Hook {
            id: format!("{configuration}/{name}/{index}").into(),
            configuration: configuration.to_string(),
            endpoint: Endpoint::of_client_config(&hook["clientConfig"]),
            rules: items(&hook["rules"]).iter().map(Rule::read).collect(),
            equivalent: text("matchPolicy") == "Equivalent",
            namespaces: selector(&hook["namespaceSelector"]),
            objects: selector(&hook["objectSelector"]),
            conditions: items(&hook["matchConditions"])
                .iter()
                .map(|condition| Condition::read(condition, false))
                .collect(),
            ignores_failure: text("failurePolicy") == "Ignore",
            reinvoke: text("reinvocationPolicy") == "IfNeeded",
            side_effects: match text("sideEffects") {
                "None" | "NoneOnDryRun" => SideEffects::NoneOnDryRun,
                "" => SideEffects::Unsaid,
                _ => SideEffects::Some,
            },
            timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(10)),
            review: items(&hook["admissionReviewVersions"]).iter().find_map(|version| match version.as_str()? {
                "v1" => Some(ReviewVersion::V1),
                "v1beta1" => Some(ReviewVersion::V1Beta1),
                _ => None,
            }),
            name,
        }
    }
}

impl Rule {
    pub(in crate::admission) fn read(rule: &Value) -> Rule {
        let texts =
            |field: &str| items(&rule[field]).iter().filter_map(|one| one.as_str().map(str::to_string)).collect();
        Rule {
            operations: texts("operations"),
            groups: texts("apiGroups"),
            versions: texts("apiVersions"),
            resources: texts("resources"),
            scope: match rule["scope"].as_str() {
                Some("Cluster") => Scope::Cluster,
                Some("Namespaced") => Scope::Namespaced,
                _ => Scope::All,
            },
        }
    }
}

/// An absent selector selects nothing upstream, too; defaults make it empty, which selects all.
pub(in crate::admission) fn selector(selector: &Value) -> Result<LabelSelector, String> {
    match selector {
        Value::Null => Ok(LabelSelector::nothing()),
        selector => LabelSelector::from_json(selector).map_err(|error| error.to_string()),
    }
}
