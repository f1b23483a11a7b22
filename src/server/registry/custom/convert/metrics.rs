//! What is counted of conversions, under Kubernetes' names.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

use parking_lot::Mutex;

use super::FailureType;

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS_S: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];

#[derive(Default)]
pub(super) struct Metrics(Mutex<Counted>);

/// By their labels, written as they are shown.
#[derive(Default)]
struct Counted {
    requests: BTreeMap<String, u64>,
    latencies: BTreeMap<String, Latency>,
}

#[derive(Default)]
struct Latency {
    count: u64,
    sum_s: f64,
    buckets: [u64; BUCKETS_S.len()],
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
        let seconds = took.as_secs_f64();
        let counted = &mut *self.0.lock();
        let request = format!("failure_type=\"{failure_type}\",result=\"{result}\"");
        *counted.requests.entry(request).or_default() += 1;
        let latency = counted.latencies.entry(labels).or_default();
        latency.count += 1;
        latency.sum_s += seconds;
        if let Some(bucket) = BUCKETS_S.iter().position(|bound| seconds <= *bound) {
            latency.buckets[bucket] += 1;
        }
    }

    pub(super) fn render(&self) -> String {
        let counted = self.0.lock();
        let mut text = String::new();
        let name = "apiserver_conversion_webhook_request_total";
        line(&mut text, format_args!("# HELP {name} Calls of conversion webhooks, by what became of them.\n# TYPE {name} counter"));
        for (labels, count) in &counted.requests {
            line(&mut text, format_args!("{name}{{{labels}}} {count}"));
        }
        let name = "apiserver_crd_conversion_webhook_duration_seconds";
        line(&mut text, format_args!("# HELP {name} How long conversion webhooks took.\n# TYPE {name} histogram"));
        for (labels, latency) in &counted.latencies {
            let mut below = 0;
            for (bound, bucket) in BUCKETS_S.iter().zip(latency.buckets) {
                below += bucket;
                line(&mut text, format_args!("{name}_bucket{{{labels},le=\"{bound}\"}} {below}"));
            }
            line(&mut text, format_args!("{name}_bucket{{{labels},le=\"+Inf\"}} {}", latency.count));
            line(&mut text, format_args!("{name}_sum{{{labels}}} {}", latency.sum_s));
            line(&mut text, format_args!("{name}_count{{{labels}}} {}", latency.count));
        }
        text
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes any text");
}
