//! What is counted of webhooks, under Kubernetes' names.

use std::{collections::BTreeMap, time::Duration};

use mk8s_api::exposition::{Latencies, counters};
use parking_lot::Mutex;

use super::{call::Failure, hook::Hook};
use crate::admission::Request;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS_S: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

/// In which half of admission a webhook is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Admit,
    Validating,
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Phase::Admit => "admit",
            Phase::Validating => "validating",
        }
    }

    /// What audit annotations of this half begin with.
    pub(super) fn annotation(self) -> &'static str {
        match self {
            Phase::Admit => "mutation.webhook.admission.k8s.io/",
            Phase::Validating => "validating.webhook.admission.k8s.io/",
        }
    }
}

/// Counters by their labels, written as they are shown.
pub(super) struct Metrics(Mutex<Counted>);

struct Counted {
    latencies: Latencies<{ BUCKETS_S.len() }>,
    requests: BTreeMap<String, u64>,
    rejections: BTreeMap<String, u64>,
    failed_open: BTreeMap<String, u64>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics(Mutex::new(Counted {
            latencies: Latencies::new(BUCKETS_S),
            requests: BTreeMap::new(),
            rejections: BTreeMap::new(),
            failed_open: BTreeMap::new(),
        }))
    }
}

impl Metrics {
    /// A webhook was asked. `failure`: it did not let the request through.
    pub(super) fn observe(
        &self,
        phase: Phase,
        hook: &Hook,
        request: &Request<'_>,
        took: Duration,
        failure: Option<&Failure>,
    ) {
        let (error_type, code) = match failure {
            None => ("", 200),
            Some(Failure::Calling { code, .. }) => ("calling_webhook_error", *code),
            Some(Failure::Denied(status)) => ("no_error", status.code),
            Some(Failure::Broken(_)) => ("apiserver_internal_error", 0),
        };
        let tolerated = hook.ignores_failure && matches!(failure, Some(Failure::Calling { .. }));
        let rejected = failure.is_some() && !tolerated;
        let (name, kind, operation) = (&hook.name, phase.word(), request.operation.word());
        let labels = format!("name=\"{name}\",operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\"");
        let counted = &mut *self.0.lock();
        *counted.requests.entry(format!("code=\"{code}\",{labels}")).or_default() += 1;
        counted.latencies.observe(labels, took);
        if rejected {
            let labels = format!(
                "error_type=\"{error_type}\",name=\"{name}\",operation=\"{operation}\",rejection_code=\"{code}\",type=\"{kind}\""
            );
            *counted.rejections.entry(labels).or_default() += 1;
        }
    }

    /// A failure was overlooked, as configured.
    pub(super) fn failed_open(&self, phase: Phase, hook: &Hook) {
        let labels = format!("name=\"{}\",type=\"{}\"", hook.name, phase.word());
        *self.0.lock().failed_open.entry(labels).or_default() += 1;
    }

    pub(super) fn render(&self) -> String {
        let counted = self.0.lock();
        let mut text = String::new();
        let of = [
            (
                "apiserver_admission_webhook_request_total",
                "Webhooks asked, by code and whether they refused.",
                &counted.requests,
            ),
            (
                "apiserver_admission_webhook_rejection_count",
                "Requests refused because of a webhook.",
                &counted.rejections,
            ),
            (
                "apiserver_admission_webhook_fail_open_count",
                "Failures of webhooks that were overlooked.",
                &counted.failed_open,
            ),
        ];
        for (name, help, series) in of {
            counters(&mut text, name, help, series);
        }
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        counted.latencies.render(&mut text, name, "How long webhooks took.");
        text
    }
}
