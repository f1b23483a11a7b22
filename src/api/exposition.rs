//! Prometheus' text format: what `/metrics` is written with.

use std::{collections::BTreeMap, fmt::Write, time::Duration};

/// What comes before the series of a metric.
pub fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    line(text, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}"));
}

pub fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a String takes any text");
}

/// Counters by their labels, written as they are shown.
pub fn counters(text: &mut String, name: &str, help: &str, series: &BTreeMap<String, u64>) {
    header(text, name, "counter", help);
    for (labels, count) in series {
        line(text, format_args!("{name}{{{labels}}} {count}"));
    }
}

/// One series of a histogram. `buckets` are upper bounds, rising, and how many values fell into each.
pub fn histogram(
    text: &mut String,
    name: &str,
    labels: &str,
    buckets: impl Iterator<Item = (f64, u64)>,
    count: u64,
    sum: f64,
) {
    let (comma, braced) = if labels.is_empty() { ("", String::new()) } else { (",", format!("{{{labels}}}")) };
    let mut below = 0;
    for (bound, bucket) in buckets {
        below += bucket;
        line(text, format_args!("{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {below}"));
    }
    line(text, format_args!("{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"));
    line(text, format_args!("{name}_sum{braced} {sum}"));
    line(text, format_args!("{name}_count{braced} {count}"));
}

/// How long something took, by labels, written as they are shown.
pub struct Latencies<const N: usize> {
    bounds_s: [f64; N],
    series: BTreeMap<String, Latency<N>>,
}

struct Latency<const N: usize> {
    count: u64,
    sum_s: f64,
    buckets: [u64; N],
}

impl<const N: usize> Latencies<N> {
    /// `bounds_s`: upper bounds of the buckets in seconds, rising.
    pub fn new(bounds_s: [f64; N]) -> Latencies<N> {
        Latencies { bounds_s, series: BTreeMap::new() }
    }

    pub fn observe(&mut self, labels: String, took: Duration) {
        let empty = || Latency { count: 0, sum_s: 0.0, buckets: [0; N] };
        let seconds = took.as_secs_f64();
        let latency = self.series.entry(labels).or_insert_with(empty);
        latency.count += 1;
        latency.sum_s += seconds;
        if let Some(bucket) = self.bounds_s.iter().position(|bound| seconds <= *bound) {
            latency.buckets[bucket] += 1;
        }
    }

    pub fn render(&self, text: &mut String, name: &str, help: &str) {
        header(text, name, "histogram", help);
        for (labels, latency) in &self.series {
            let buckets = self.bounds_s.into_iter().zip(latency.buckets);
            histogram(text, name, labels, buckets, latency.count, latency.sum_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn buckets_hold_what_is_below_their_bound() {
        let mut latencies = Latencies::new([0.5, 2.0]);
        for seconds in [0.25, 0.5, 1.0, 3.0] {
            latencies.observe("a=\"b\"".to_owned(), Duration::from_secs_f64(seconds));
        }
        let mut text = String::new();
        latencies.render(&mut text, "took_seconds", "How long.");
        expect![[r#"
            # HELP took_seconds How long.
            # TYPE took_seconds histogram
            took_seconds_bucket{a="b",le="0.5"} 2
            took_seconds_bucket{a="b",le="2"} 3
            took_seconds_bucket{a="b",le="+Inf"} 4
            took_seconds_sum{a="b"} 4.75
            took_seconds_count{a="b"} 4
        "#]]
        .assert_eq(&text);
    }
}
