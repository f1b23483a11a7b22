//! What somebody may do: a SubjectAccessReview.

use std::{sync::Arc, time::Instant};

use mk8s_api::select::{FieldSelector, LabelSelector, Operator};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{AccessWebhookOptions, AskError, Remote, Version, metrics::AccessMetrics};
use crate::{
    auth::{
        Attributes, Decision, Verdict,
        cache::{self, Cache},
    },
    webhook::Client,
};

/// What is longer in its parts is not kept: whoever asks chooses it.
const LONGEST: usize = 10_000;

/// Somebody who knows what others may do.
pub struct AccessWebhook {
    remote: Remote,
    options: AccessWebhookOptions,
    cache: Cache<Status>,
    metrics: Arc<AccessMetrics>,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
struct Status {
    allowed: bool,
    denied: bool,
    reason: String,
}

impl AccessWebhook {
    pub fn new(options: AccessWebhookOptions, client: Client, metrics: Arc<AccessMetrics>) -> AccessWebhook {
        let access = options.access.clone();
        let remote = Remote::new(client, access, "SubjectAccessReview", options.version, options.timeout);
        AccessWebhook { remote, options, cache: Cache::new(), metrics }
    }

    /// What the webhook thinks of a request.
    pub async fn decide(&self, attributes: &Attributes<'_>) -> Verdict {
        match self.concerns(attributes) {
            Ok(true) => {}
            Ok(false) => return Decision::NoOpinion(String::new()).into(),
            Err(error) => return self.undecided(error),
        }
        let spec = spec(attributes, self.options.version);
        let key = cache::key(&spec.to_string());
        if let Some(status) = self.cache.get(&key, Instant::now()) {
            return status.verdict();
        }
        let name = &self.options.name;
        let told = |answer: &Result<Status, AskError>, took| self.metrics.asked(name, answer, took);
        match self.remote.ask(&spec, told).await {
            Ok(status) => {
                if is_short(attributes) {
                    let AccessWebhookOptions { authorized_ttl, unauthorized_ttl, .. } = self.options;
                    let ttl = if status.allowed { authorized_ttl } else { unauthorized_ttl };
                    self.cache.put(key, status.clone(), Instant::now(), ttl);
                }
                status.verdict()
            }
            Err(error) => self.failed(&error),
        }
    }

    /// Whether it is asked about this at all.
    fn concerns(&self, attributes: &Attributes<'_>) -> Result<bool, String> {
        let conditions = &self.options.conditions;
        if conditions.is_empty() {
            return Ok(true);
        }
        let begun = Instant::now();
        let held = conditions.hold(attributes);
        self.metrics.matched(&self.options.name, &held, begun.elapsed());
        held
    }

    fn failed(&self, error: &AskError) -> Verdict {
        tracing::error!(%error, webhook = self.options.name, "failed to make webhook authorizer request");
        if !self.options.denies_on_error {
            self.metrics.failed_open(&self.options.name, error);
        }
        self.undecided(error.to_string())
    }

    fn undecided(&self, error: String) -> Verdict {
        let decision = match self.options.denies_on_error {
            true => Decision::Deny(String::new()),
            false => Decision::NoOpinion(String::new()),
        };
        Verdict { error: Some(error), ..decision.into() }
    }
}

impl Status {
    fn verdict(self) -> Verdict {
        let Status { allowed, denied, reason } = self;
        match (denied, allowed) {
            (true, both) => {
                let error = both.then(|| "webhook subject access review returned both allow and deny response".into());
                Verdict { error, ..Decision::Deny(reason).into() }
            }
            (false, true) => Verdict { reason, ..Decision::Allow.into() },
            (false, false) => Decision::NoOpinion(reason).into(),
        }
    }
}

fn is_short(a: &Attributes<'_>) -> bool {
    let parts = [a.namespace, a.verb, a.group, a.version, a.resource, a.subresource, a.name, a.path];
    let selectors = a.field_selector.map_or(0, str::len) + a.label_selector.map_or(0, str::len);
    parts.map(str::len).iter().sum::<usize>() + selectors < LONGEST
}

/// What is asked. Empty fields are left out, as Kubernetes leaves them out.
fn spec(a: &Attributes<'_>, version: Version) -> Value {
    let said = |fields: &[(&str, &str)]| {
        let said = fields.iter().filter(|(_, text)| !text.is_empty());
        Value::Object(said.map(|(name, text)| ((*name).to_owned(), json!(text))).collect::<Map<_, _>>())
    };
    let mut spec = said(&[("user", &a.user.name), ("uid", &a.user.uid)]);
    if !a.user.groups.is_empty() {
        let groups = if version == Version::V1 { "groups" } else { "group" };
        spec[groups] = json!(a.user.groups);
    }
    if !a.user.extra.is_empty() {
        spec["extra"] = json!(a.user.extra);
    }
    if !a.is_resource {
        spec["nonResourceAttributes"] = said(&[("path", a.path), ("verb", a.verb)]);
        return spec;
    }
    let mut resource = said(&[
        ("namespace", a.namespace),
        ("verb", a.verb),
        ("group", a.group),
        ("version", a.version),
        ("resource", a.resource),
        ("subresource", a.subresource),
        ("name", a.name),
    ]);
    let selectors = [
        ("fieldSelector", a.field_selector.map(fields).unwrap_or_default()),
        ("labelSelector", a.label_selector.map(labels).unwrap_or_default()),
    ];
    for (name, requirements) in selectors {
        if !requirements.is_empty() {
            resource[name] = json!({"requirements": requirements});
        }
    }
    spec["resourceAttributes"] = resource;
    spec
}

/// What cannot be read is left out: it would only narrow what is asked for.
pub(super) fn fields(selector: &str) -> Vec<Value> {
    let selector = FieldSelector::parse(selector).unwrap_or_default();
    let terms = selector.terms().iter().map(|term| {
        let operator = if term.equal { "In" } else { "NotIn" };
        json!({"key": term.field, "operator": operator, "values": [term.value]})
    });
    terms.collect()
}

pub(super) fn labels(selector: &str) -> Vec<Value> {
    let selector = LabelSelector::parse(selector).unwrap_or_else(|_| LabelSelector::everything());
    let requirements = selector.requirements().iter().filter_map(|requirement| {
        let operator = match requirement.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => "In",
            Operator::NotEquals | Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
            Operator::GreaterThan | Operator::LessThan => return None,
        };
        let mut shown = json!({"key": requirement.key, "operator": operator});
        if !requirement.values.is_empty() {
            shown["values"] = json!(requirement.values);
        }
        Some(shown)
    });
    requirements.collect()
}
