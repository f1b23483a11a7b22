//! What is counted of conversions, under Kubernetes' names.

use std::{collections::BTreeMap, time::Duration};

use mk8s_api::exposition::{Latencies, counters};
use parking_lot::Mutex;

use super::FailureType;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS_S: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];

pub(super) struct Metrics(Mutex<Counted>);

/// By their labels, written as they are shown.
struct Counted {
    requests: BTreeMap<String, u64>,
    latencies: Latencies<{ BUCKETS_S.len() }>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics(Mutex::new(Counted { requests: BTreeMap::new(), latencies: Latencies::new(BUCKETS_S) }))
    }
}

impl Metrics {
    pub(super) fn observe(&self, name: &str, from: &str, to: &str, took: Duration, failure: Option<FailureType>) {
        let (result, failure_type) = match failure {
            None => ("success", ""),
            Some(failure) => ("failure", failure.word()),
        };
        let succeeded = failure.is_none();
        let labels =
            format!("crd_name=\"{name}\",from_version=\"{from}\",to_version=\"{to}\",succeeded=\"{succeeded}\"");
        let counted = &mut *self.0.lock();
        let request = format!("failure_type=\"{failure_type}\",result=\"{result}\"");
        *counted.requests.entry(request).or_default() += 1;
        counted.latencies.observe(labels, took);
    }

    pub(super) fn render(&self) -> String {
        let counted = self.0.lock();
        let mut text = String::new();
        let (name, help) =
            ("apiserver_conversion_webhook_request_total", "Calls of conversion webhooks, by what became of them.");
        counters(&mut text, name, help, &counted.requests);
        let (name, help) = ("apiserver_crd_conversion_webhook_duration_seconds", "How long conversion webhooks took.");
        counted.latencies.render(&mut text, name, help);
        text
    }
}
