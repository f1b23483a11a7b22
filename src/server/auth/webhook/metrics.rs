//! What is counted of those who are asked, under Kubernetes' names.

use std::{collections::BTreeMap, time::Duration};

use mk8s_api::exposition::{Latencies, counters};
use parking_lot::Mutex;

use super::AskError;

/// Upper bounds of the latency buckets, in seconds: Prometheus' own.
const BUCKETS_S: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Of match conditions.
const CONDITIONS_S: [f64; 7] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];

type Durations = Latencies<{ BUCKETS_S.len() }>;

/// Of the token webhook.
pub(super) struct TokenMetrics(Mutex<Tokens>);

struct Tokens {
    requests: BTreeMap<String, u64>,
    durations: Durations,
    /// By whether the cache knew.
    looked_up: BTreeMap<String, u64>,
    fetched: BTreeMap<String, u64>,
}

impl TokenMetrics {
    pub(super) fn new() -> TokenMetrics {
        let (requests, looked_up, fetched) = Default::default();
        TokenMetrics(Mutex::new(Tokens { requests, durations: Latencies::new(BUCKETS_S), looked_up, fetched }))
    }

    pub(super) fn asked(&self, code: &str, took: Duration) {
        let counted = &mut *self.0.lock();
        let labels = format!("code=\"{code}\"");
        *counted.requests.entry(labels.clone()).or_default() += 1;
        counted.durations.observe(labels, took);
    }

    pub(super) fn looked_up(&self, hit: bool) {
        let status = if hit { "hit" } else { "miss" };
        *self.0.lock().looked_up.entry(format!("status=\"{status}\"")).or_default() += 1;
    }

    pub(super) fn fetched(&self, ok: bool) {
        let status = if ok { "ok" } else { "error" };
        *self.0.lock().fetched.entry(format!("status=\"{status}\"")).or_default() += 1;
    }

    pub(super) fn text(&self) -> String {
        let counted = &*self.0.lock();
        let mut text = String::new();
        let total = "apiserver_delegated_authn_request_total";
        counters(&mut text, total, "Questions to the token webhook.", &counted.requests);
        let duration = "apiserver_delegated_authn_request_duration_seconds";
        counted.durations.render(&mut text, duration, "How long an answer of the token webhook took.");
        let total = "authentication_token_cache_request_total";
        counters(&mut text, total, "Tokens looked up among the token webhook's answers.", &counted.looked_up);
        let total = "authentication_token_cache_fetch_total";
        counters(&mut text, total, "Tokens that the token webhook was asked about.", &counted.fetched);
        text
    }
}

/// Of all authorization webhooks.
pub struct AccessMetrics(Mutex<Accesses>);

struct Accesses {
    evaluations: BTreeMap<String, u64>,
    durations: Durations,
    failed_open: BTreeMap<String, u64>,
    matched: Latencies<{ CONDITIONS_S.len() }>,
    excluded: BTreeMap<String, u64>,
    unmatched: BTreeMap<String, u64>,
}

impl Default for AccessMetrics {
    fn default() -> AccessMetrics {
        let (evaluations, failed_open, excluded, unmatched) = Default::default();
        let (durations, matched) = (Latencies::new(BUCKETS_S), Latencies::new(CONDITIONS_S));
        AccessMetrics(Mutex::new(Accesses { evaluations, durations, failed_open, matched, excluded, unmatched }))
    }
}

impl AccessMetrics {
    pub(super) fn asked<S>(&self, name: &str, answer: &Result<S, AskError>, took: Duration) {
        let result = answer.as_ref().map_or_else(result, |_| "success");
        let labels = labels(name, result);
        let counted = &mut *self.0.lock();
        *counted.evaluations.entry(labels.clone()).or_default() += 1;
        counted.durations.observe(labels, took);
    }

    /// Nobody answered, and that was not taken for a no.
    pub(super) fn failed_open(&self, name: &str, error: &AskError) {
        *self.0.lock().failed_open.entry(labels(name, result(error))).or_default() += 1;
    }

    /// Conditions were looked at.
    pub(super) fn matched(&self, name: &str, held: &Result<bool, String>, took: Duration) {
        let labels = format!("type=\"Webhook\",name=\"{name}\"");
        let counted = &mut *self.0.lock();
        counted.matched.observe(labels.clone(), took);
        match held {
            Ok(true) => {}
            Ok(false) => *counted.excluded.entry(labels).or_default() += 1,
            Err(_) => *counted.unmatched.entry(labels).or_default() += 1,
        }
    }

    pub(in crate::auth) fn text(&self) -> String {
        let counted = &*self.0.lock();
        let mut text = String::new();
        let seconds = "apiserver_authorization_match_condition_evaluation_seconds";
        counted.matched.render(&mut text, seconds, "How long match conditions of a webhook were looked at.");
        let total = "apiserver_authorization_match_condition_exclusions_total";
        counters(
            &mut text,
            total,
            "Requests that a webhook was not asked about for its conditions.",
            &counted.excluded,
        );
        let total = "apiserver_authorization_match_condition_evaluation_errors_total";
        counters(&mut text, total, "Requests for which conditions could not be evaluated.", &counted.unmatched);
        let total = "apiserver_authorization_webhook_evaluations_total";
        counters(&mut text, total, "Questions to authorization webhooks.", &counted.evaluations);
        let duration = "apiserver_authorization_webhook_duration_seconds";
        counted.durations.render(&mut text, duration, "How long an answer of an authorization webhook took.");
        let total = "apiserver_authorization_webhook_evaluations_fail_open_total";
        counters(
            &mut text,
            total,
            "Requests that a webhook had no opinion of because it failed.",
            &counted.failed_open,
        );
        text
    }
}

fn result(error: &AskError) -> &'static str {
    if error.is_timeout() { "timeout" } else { "error" }
}

fn labels(name: &str, result: &str) -> String {
    format!("name=\"{name}\",result=\"{result}\"")
}
