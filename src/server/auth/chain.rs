//! The authorizers that are asked, in order: the first to allow or deny wins, silence of all is a no.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use mk8s_api::{exposition::counters, field};
use parking_lot::Mutex;

use super::{
    Decision,
    webhook::{AccessMetrics, AccessWebhook, AccessWebhookOptions},
};
use crate::webhook::Client;

/// An authorizer, as flags or a file name it.
#[derive(Debug, Clone)]
pub enum AuthorizerOptions {
    AlwaysAllow,
    AlwaysDeny,
    Node,
    Rbac,
    Webhook(Box<AccessWebhookOptions>),
}

impl AuthorizerOptions {
    /// What is asked when nothing else is said.
    pub fn usual() -> Vec<AuthorizerOptions> {
        vec![AuthorizerOptions::Node, AuthorizerOptions::Rbac]
    }

    /// Kubernetes' word for its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            AuthorizerOptions::AlwaysAllow => "AlwaysAllow",
            AuthorizerOptions::AlwaysDeny => "AlwaysDeny",
            AuthorizerOptions::Node => "Node",
            AuthorizerOptions::Rbac => "RBAC",
            AuthorizerOptions::Webhook(_) => "Webhook",
        }
    }
}

/// What authorizers think of a request, and what went wrong when they were asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub decision: Decision,
    /// Why it was allowed, if who allowed it said so.
    pub reason: String,
    pub error: Option<String>,
}

impl From<Decision> for Verdict {
    fn from(decision: Decision) -> Verdict {
        Verdict { decision, reason: String::new(), error: None }
    }
}

/// What is counted of the file that names them.
pub(super) const FILE: [&str; 3] = [
    "apiserver_authorization_config_controller_automatic_reloads_total",
    "apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds",
    "apiserver_authorization_config_controller_last_config_info",
];

/// Those who are asked, in order.
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
}

pub(super) struct Link {
    pub(super) who: Who,
    decided: Arc<Decided>,
}

pub(super) enum Who {
    AlwaysAllow,
    AlwaysDeny,
    Node,
    Rbac,
    Webhook(Box<AccessWebhook>),
}

/// How often an authorizer has decided.
#[derive(Default)]
struct Decided {
    allowed: AtomicU64,
    denied: AtomicU64,
}

/// What is counted of all chains.
#[derive(Default)]
pub(super) struct Counted {
    /// By kind and name, which a new chain may share with the one before.
    decided: Mutex<BTreeMap<(&'static str, String), Arc<Decided>>>,
    webhooks: Arc<AccessMetrics>,
}

impl Chain {
    pub(super) fn new(options: Vec<AuthorizerOptions>, client: Option<&Client>, counted: &Counted) -> Chain {
        let link = |options: AuthorizerOptions| {
            let kind = options.kind();
            let name = match &options {
                AuthorizerOptions::Webhook(webhook) => webhook.name.clone(),
                _ => kind.to_ascii_lowercase(),
            };
            let who = match options {
                AuthorizerOptions::AlwaysAllow => Who::AlwaysAllow,
                AuthorizerOptions::AlwaysDeny => Who::AlwaysDeny,
                AuthorizerOptions::Node => Who::Node,
                AuthorizerOptions::Rbac => Who::Rbac,
                AuthorizerOptions::Webhook(options) => {
                    Who::Webhook(Box::new(AccessWebhook::new(*options, client?.clone(), counted.webhooks.clone())))
                }
            };
            Some(Link { who, decided: counted.decided.lock().entry((kind, name)).or_default().clone() })
        };
        Chain { links: options.into_iter().filter_map(link).collect() }
    }
}

/// What was heard of those who had no opinion.
#[derive(Default)]
pub(super) struct Heard {
    reasons: Vec<String>,
    errors: Vec<String>,
}

impl Heard {
    /// The end of it, when it is one.
    pub(super) fn hear(&mut self, link: &Link, verdict: Verdict) -> Option<Verdict> {
        match verdict {
            Verdict { decision: Decision::NoOpinion(reason), error, .. } => {
                self.reasons.extend(Some(reason).filter(|reason| !reason.is_empty()));
                self.errors.extend(error);
                return None;
            }
            Verdict { decision: Decision::Allow, .. } => &link.decided.allowed,
            Verdict { decision: Decision::Deny(_), .. } => &link.decided.denied,
        }
        .fetch_add(1, Relaxed);
        Some(verdict)
    }

    /// Nobody allowed or denied it.
    pub(super) fn silence(self) -> Verdict {
        Verdict { error: aggregate(&self.errors), ..Decision::NoOpinion(self.reasons.join("\n")).into() }
    }
}

/// Several errors in one text, if there are any.
pub(super) fn aggregate(errors: &[String]) -> Option<String> {
    (!errors.is_empty()).then(|| field::aggregate(errors))
}

impl Counted {
    pub(super) fn text(&self) -> String {
        let mut series = BTreeMap::new();
        for ((kind, name), decided) in &*self.decided.lock() {
            for (decision, count) in [("allowed", &decided.allowed), ("denied", &decided.denied)] {
                let count = count.load(Relaxed);
                if count > 0 {
                    series.insert(format!("type=\"{kind}\",name=\"{name}\",decision=\"{decision}\""), count);
                }
            }
        }
        let mut text = String::new();
        let total = "apiserver_authorization_decisions_total";
        counters(&mut text, total, "Requests that an authorizer allowed or denied.", &series);
        text + &self.webhooks.text()
    }
}
