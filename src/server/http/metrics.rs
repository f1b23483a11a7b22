//! What the server counts, under Kubernetes' names.
//!
//! A series is found under a read lock and counted with atomics; it is made once, so requests do not wait for each
//! other here.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mk8s_api::exposition::{self, header, line};
use parking_lot::RwLock;

/// Upper bounds of the latency buckets, in microseconds: Kubernetes' own, and some below them.
const BUCKETS_US: [u64; 27] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 200_000, 400_000, 600_000, 800_000, 1_000_000,
    1_250_000, 1_500_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000, 6_000_000, 8_000_000, 10_000_000, 15_000_000,
    20_000_000, 30_000_000, 45_000_000, 60_000_000,
];

/// What is counted of the requests of one verb and one [`Subject`].
#[derive(Debug, Default)]
struct Series {
    sum_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS_US.len()],
    /// How many were answered with each code.
    codes: RwLock<BTreeMap<u16, AtomicU64>>,
}

impl Series {
    fn count(&self, code: u16, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Relaxed);
        if let Some(bucket) = BUCKETS_US.iter().position(|bound| us <= *bound) {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        if let Some(count) = self.codes.read().get(&code) {
            count.fetch_add(1, Relaxed);
            return;
        }
        self.codes.write().entry(code).or_default().fetch_add(1, Relaxed);
    }
}

/// What requests are counted by beside verb and code. All of it is known to the server: what clients make up is not
/// counted by name, or anybody could fill the memory with it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    /// `resource`, `namespace` or `cluster`: whether one object is asked for, those of a namespace, or all.
    pub scope: &'static str,
    /// `All` when nothing is to be written.
    pub dry_run: &'static str,
}

impl Subject<'_> {
    /// As labels of metrics.
    pub fn labels(&self) -> String {
        let Subject { group, version, resource, subresource, scope, dry_run } = self;
        format!(
            r#"component="apiserver",dry_run="{dry_run}",group="{group}",resource="{resource}",scope="{scope}",subresource="{subresource}",version="{version}""#
        )
    }
}

/// The server's metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    /// By verb, then by labels.
    requests: RwLock<HashMap<&'static str, HashMap<String, Arc<Series>>>>,
    /// Labels of what was asked for that is deprecated.
    deprecated: RwLock<BTreeSet<String>>,
    watches: AtomicI64,
    in_flight: AtomicI64,
    panics: AtomicU64,
}

impl Metrics {
    /// A request was answered. `labels` are those of its [`Subject`]; empty where it has none.
    pub fn answered(&self, verb: &'static str, labels: &str, code: u16, took: Duration) {
        let found = self.requests.read().get(verb).and_then(|by_labels| by_labels.get(labels).cloned());
        found.unwrap_or_else(|| self.make(verb, labels)).count(code, took);
    }

    fn make(&self, verb: &'static str, labels: &str) -> Arc<Series> {
        self.requests.write().entry(verb).or_default().entry(labels.to_owned()).or_default().clone()
    }

    /// Something deprecated was asked for.
    pub fn deprecated(&self, subject: &Subject<'_>) {
        let Subject { group, version, resource, subresource, .. } = subject;
        let labels = format!(
            r#"group="{group}",removed_release="",resource="{resource}",subresource="{subresource}",version="{version}""#
        );
        if !self.deprecated.read().contains(&labels) {
            self.deprecated.write().insert(labels);
        }
    }

    pub fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// Counts a request while the guard lives.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    /// The text of `/metrics`: requests, sorted, and what the store counts.
    pub fn render(&self) -> String {
        let requests = self.requests.read();
        let mut all: Vec<(String, &Series)> = Vec::new();
        for (verb, by_labels) in requests.iter() {
            for (labels, series) in by_labels {
                let comma = if labels.is_empty() { "" } else { "," };
                all.push((format!("{labels}{comma}verb=\"{verb}\""), series));
            }
        }
        all.sort_by(|one, other| one.0.cmp(&other.0));
        let mut text = String::new();
        header(&mut text, "apiserver_request_total", "counter", "Requests answered.");
        for (labels, series) in &all {
            for (code, count) in series.codes.read().iter() {
                let count = count.load(Relaxed);
                line(&mut text, format_args!("apiserver_request_total{{code=\"{code}\",{labels}}} {count}"));
            }
        }
        header(&mut text, "apiserver_request_duration_seconds", "histogram", "How long requests took.");
        for (labels, series) in &all {
            let seconds = |us: u64| Duration::from_micros(us).as_secs_f64();
            let buckets = BUCKETS_US.iter().zip(&series.buckets).map(|(us, count)| (seconds(*us), count.load(Relaxed)));
            let count = series.codes.read().values().map(|count| count.load(Relaxed)).sum();
            let sum_s = seconds(series.sum_us.load(Relaxed));
            exposition::histogram(&mut text, "apiserver_request_duration_seconds", labels, buckets, count, sum_s);
        }
        let help = "Deprecated APIs that were asked for.";
        header(&mut text, "apiserver_requested_deprecated_apis", "gauge", help);
        for labels in self.deprecated.read().iter() {
            line(&mut text, format_args!("apiserver_requested_deprecated_apis{{{labels}}} 1"));
        }
        header(&mut text, "apiserver_current_inflight_requests", "gauge", "Requests under way.");
        line(&mut text, format_args!("apiserver_current_inflight_requests {}", self.in_flight.load(Relaxed)));
        header(&mut text, "apiserver_longrunning_requests", "gauge", "Watches under way.");
        line(
            &mut text,
            format_args!("apiserver_longrunning_requests{{verb=\"WATCH\"}} {}", self.watches.load(Relaxed)),
        );
        header(&mut text, "apiserver_request_panics_total", "counter", "Requests whose handler panicked.");
        line(&mut text, format_args!("apiserver_request_panics_total {}", self.panics.load(Relaxed)));
        text
    }

    /// Counts a watch while the guard lives.
    pub fn watching(self: &Arc<Self>) -> Watching {
        self.watches.fetch_add(1, Relaxed);
        Watching(self.clone())
    }
}

/// A request under way.
pub struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}

/// A watch under way.
pub struct Watching(Arc<Metrics>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted() {
        let metrics = Arc::new(Metrics::default());
        let pods = Subject {
            group: "",
            version: "v1",
            resource: "pods",
            subresource: "status",
            scope: "resource",
            dry_run: "All",
        };
        for (code, us) in [(200, 700), (200, 100), (409, 100)] {
            metrics.answered("PUT", &pods.labels(), code, Duration::from_micros(us));
        }
        metrics.answered("OTHER", "", 200, Duration::from_micros(1));
        metrics.deprecated(&Subject { resource: "endpoints", subresource: "", ..pods });
        let guard = metrics.begin();
        let text = metrics.render();
        drop(guard);
        let subject = r#"component="apiserver",dry_run="All",group="",resource="pods",scope="resource",subresource="status",version="v1",verb="PUT""#;
        for expected in [
            format!("apiserver_request_total{{code=\"200\",{subject}}} 2"),
            format!("apiserver_request_total{{code=\"409\",{subject}}} 1"),
            "apiserver_request_total{code=\"200\",verb=\"OTHER\"} 1".to_owned(),
            format!("apiserver_request_duration_seconds_bucket{{{subject},le=\"0.0005\"}} 2"),
            format!("apiserver_request_duration_seconds_bucket{{{subject},le=\"0.001\"}} 3"),
            format!("apiserver_request_duration_seconds_count{{{subject}}} 3"),
            r#"apiserver_requested_deprecated_apis{group="",removed_release="",resource="endpoints",subresource="",version="v1"} 1"#.to_owned(),
            "apiserver_current_inflight_requests 1".to_owned(),
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected}\n{text}");
        }
    }
}
