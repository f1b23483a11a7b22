//! What the server counts, under Kubernetes' names.
//!
//! A series is found under a read lock and counted with atomics; it is made once, so requests do not wait for each
//! other here.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use mk8s_api::exposition::{self, header, line};
use parking_lot::RwLock;

/// Upper bounds of the latency buckets, in microseconds.
const BUCKETS_US: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000, 60_000_000];

#[derive(Debug, Default)]
struct Series {
    count: AtomicU64,
    sum_us: AtomicU64,
    buckets: [AtomicU64; BUCKETS_US.len()],
}

/// One series for each code that was answered.
type ByCode = HashMap<u16, Arc<Series>>;

type Key = (&'static str, String, u16);

/// The server's metrics.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: RwLock<HashMap<&'static str, HashMap<String, ByCode>>>,
    watches: AtomicI64,
    in_flight: AtomicI64,
    panics: AtomicU64,
}

impl Metrics {
    /// A request was answered.
    pub fn answered(&self, verb: &'static str, resource: &str, code: u16, took: Duration) {
        let found = self.requests.read().get(verb).and_then(|r| r.get(resource)?.get(&code).cloned());
        let series = found.unwrap_or_else(|| self.make((verb, resource.to_string(), code)));
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        series.count.fetch_add(1, Relaxed);
        series.sum_us.fetch_add(us, Relaxed);
        if let Some(bucket) = BUCKETS_US.iter().position(|bound| us <= *bound) {
            series.buckets[bucket].fetch_add(1, Relaxed);
        }
    }

    fn make(&self, (verb, resource, code): Key) -> Arc<Series> {
        self.requests.write().entry(verb).or_default().entry(resource).or_default().entry(code).or_default().clone()
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
        let mut all: Vec<_> = requests
            .iter()
            .flat_map(|(verb, resources)| {
                resources.iter().flat_map(move |(resource, codes)| {
                    codes.iter().map(move |(code, series)| (*verb, resource, *code, series))
                })
            })
            .collect();
        all.sort_by_key(|(verb, resource, code, _)| (*verb, *resource, *code));
        let mut text = String::new();
        header(&mut text, "apiserver_request_total", "counter", "Requests answered, by verb, resource and code.");
        for (verb, resource, code, series) in &all {
            let count = series.count.load(Relaxed);
            line(
                &mut text,
                format_args!(
                    "apiserver_request_total{{code=\"{code}\",resource=\"{resource}\",verb=\"{verb}\"}} {count}"
                ),
            );
        }
        header(&mut text, "apiserver_request_duration_seconds", "histogram", "How long requests took.");
        for (verb, resource, code, series) in &all {
            let labels = format!("code=\"{code}\",resource=\"{resource}\",verb=\"{verb}\"");
            let seconds = |us: u64| Duration::from_micros(us).as_secs_f64();
            let buckets = BUCKETS_US.iter().zip(&series.buckets).map(|(us, count)| (seconds(*us), count.load(Relaxed)));
            let (count, sum_s) = (series.count.load(Relaxed), seconds(series.sum_us.load(Relaxed)));
            exposition::histogram(&mut text, "apiserver_request_duration_seconds", &labels, buckets, count, sum_s);
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
        metrics.answered("GET", "pods", 200, Duration::from_micros(700));
        metrics.answered("GET", "pods", 200, Duration::from_micros(100));
        let guard = metrics.begin();
        let text = metrics.render();
        drop(guard);
        for expected in [
            "apiserver_request_total{code=\"200\",resource=\"pods\",verb=\"GET\"} 2",
            "apiserver_request_duration_seconds_bucket{code=\"200\",resource=\"pods\",verb=\"GET\",le=\"0.0005\"} 1",
            "apiserver_request_duration_seconds_bucket{code=\"200\",resource=\"pods\",verb=\"GET\",le=\"0.001\"} 2",
            "apiserver_current_inflight_requests 1",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected}\n{text}");
        }
    }
}
