//! What the scheduler counts, under Kubernetes' names.
//!
//! Whoever decides, queues or carries out counts here as it goes: atomics, and short locks where labels are many. The
//! counts outlive the loss of leadership.

use crate::config::Configured;
use mk8s_api::exposition::{self, header, line};
use std::{
    array,
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// How an attempt to place a pod ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    Scheduled,
    Unschedulable,
    Error,
}

impl Attempt {
    const WORDS: [&str; 3] = ["scheduled", "unschedulable", "error"];
}

/// Where a pod waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Waits {
    Active,
    Backoff,
    Unschedulable,
    Gated,
}

impl Waits {
    const WORDS: [&str; 4] = ["active", "backoff", "unschedulable", "gated"];

    fn word(self) -> &'static str {
        Self::WORDS[self as usize]
    }
}

/// At which point of a cycle a plugin was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    PreFilter,
    Filter,
    PreScore,
    Score,
}

/// How much there is in the snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    pub nodes: usize,
    pub pods: usize,
    pub assumed: usize,
    /// As [`Waits`] orders them.
    pub waiting: [usize; 4],
}

/// Counts of values up to bounds that grow by a factor; values are kept in millionths.
#[derive(Debug)]
struct Histogram<const BOUNDS: usize> {
    first: f64,
    factor: f64,
    buckets: [AtomicU64; BOUNDS],
    count: AtomicU64,
    sum: AtomicU64,
}

impl<const BOUNDS: usize> Histogram<BOUNDS> {
    fn new(first: f64, factor: f64) -> Self {
        let buckets = array::from_fn(|_| AtomicU64::new(0));
        Self { first, factor, buckets, count: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn bounds(&self) -> impl Iterator<Item = f64> {
        let factor = self.factor;
        std::iter::successors(Some(self.first), move |bound| Some(bound * factor)).take(BOUNDS)
    }

    fn observe(&self, value: f64) {
        if let Some(bucket) = self.bounds().position(|bound| value <= bound) {
            self.buckets[bucket].fetch_add(1, Relaxed);
        }
        self.count.fetch_add(1, Relaxed);
        self.sum.fetch_add((value * 1e6) as u64, Relaxed);
    }

    /// Its lines; none when nothing was observed.
    fn render(&self, text: &mut String, name: &str, labels: &str) {
        let count = self.count.load(Relaxed);
        if count == 0 {
            return;
        }
        let buckets = self.bounds().zip(self.buckets.iter().map(|bucket| bucket.load(Relaxed)));
        exposition::histogram(text, name, labels, buckets, count, self.sum.load(Relaxed) as f64 / 1e6);
    }
}

/// From how many attempts on they are counted together.
const MANY_ATTEMPTS: usize = 15;

type PluginTimes = BTreeMap<(&'static str, Point, bool), Histogram<20>>;

/// See the module.
#[derive(Debug)]
pub struct Metrics {
    /// By profile, then by [`Attempt`].
    attempts: Vec<(String, [Histogram<15>; 3])>,
    algorithm: Histogram<15>,
    preemptions: AtomicU64,
    victims: Histogram<7>,
    attempts_of_scheduled: Histogram<5>,
    /// By the number of attempts; those of many together come last.
    until_scheduled: [Histogram<20>; MANY_ATTEMPTS],
    sizes: Mutex<Sizes>,
    incoming: Mutex<BTreeMap<(Waits, &'static str), u64>>,
    plugins: Mutex<PluginTimes>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::for_profiles(Vec::new())
    }
}

impl Metrics {
    pub fn new(configured: &Configured) -> Self {
        Self::for_profiles(configured.profiles.iter().map(|profile| profile.scheduler_name.clone()).collect())
    }

    fn for_profiles(names: Vec<String>) -> Self {
        let seconds = || Histogram::new(0.001, 2.0);
        Self {
            attempts: names.into_iter().map(|name| (name, array::from_fn(|_| seconds()))).collect(),
            algorithm: seconds(),
            preemptions: AtomicU64::new(0),
            victims: Histogram::new(1.0, 2.0),
            attempts_of_scheduled: Histogram::new(1.0, 2.0),
            until_scheduled: array::from_fn(|_| Histogram::new(0.01, 2.0)),
            sizes: Mutex::default(),
            incoming: Mutex::default(),
            plugins: Mutex::default(),
        }
    }

    /// An attempt of a profile ended, its binding included.
    pub fn attempted(&self, profile: &str, attempt: Attempt, took: Duration) {
        if let Some((_, by_attempt)) = self.attempts.iter().find(|(name, _)| name == profile) {
            by_attempt[attempt as usize].observe(took.as_secs_f64());
        }
    }

    /// A cycle found a node.
    pub fn decided(&self, took: Duration) {
        self.algorithm.observe(took.as_secs_f64());
    }

    /// A pod is bound, so many attempts and so long after the first one began.
    pub fn scheduled(&self, attempts: usize, took: Duration) {
        self.attempts_of_scheduled.observe(attempts as f64);
        let which = attempts.clamp(1, MANY_ATTEMPTS) - 1;
        self.until_scheduled[which].observe(took.as_secs_f64());
    }

    /// Room was looked for by eviction.
    pub fn preempts(&self) {
        self.preemptions.fetch_add(1, Relaxed);
    }

    pub fn evicts(&self, victims: usize) {
        self.victims.observe(victims as f64);
    }

    pub fn are(&self, sizes: Sizes) {
        *self.sizes.lock().unwrap_or_else(PoisonError::into_inner) = sizes;
    }

    /// A pod begins to wait there because of an event.
    pub fn waits(&self, place: Waits, event: &'static str) {
        *self.incoming.lock().unwrap_or_else(PoisonError::into_inner).entry((place, event)).or_default() += 1;
    }

    /// A plugin of a sampled cycle was asked.
    pub fn plugin(&self, name: &'static str, point: Point, accepts: bool, took: Duration) {
        let mut plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let times = plugins.entry((name, point, accepts)).or_insert_with(|| Histogram::new(0.000_01, 1.5));
        times.observe(took.as_secs_f64());
    }

    /// Its part of the text of `/metrics`.
    pub fn render(&self) -> String {
        let text = &mut String::new();
        header(text, "scheduler_schedule_attempts_total", "counter", "Attempts to place pods, by how they ended.");
        self.each_attempt(|labels, histogram| {
            let count = histogram.count.load(Relaxed);
            line(text, format_args!("scheduler_schedule_attempts_total{{{labels}}} {count}"));
        });
        let name = "scheduler_scheduling_attempt_duration_seconds";
        header(text, name, "histogram", "How long attempts took, binding included.");
        self.each_attempt(|labels, histogram| histogram.render(text, name, labels));
        let name = "scheduler_scheduling_algorithm_duration_seconds";
        header(text, name, "histogram", "How long it took to choose a node.");
        self.algorithm.render(text, name, "");
        let name = "scheduler_pod_scheduling_attempts";
        header(text, name, "histogram", "Attempts that pods needed until they were bound.");
        self.attempts_of_scheduled.render(text, name, "");
        let name = "scheduler_pod_scheduling_sli_duration_seconds";
        header(text, name, "histogram", "From the first attempt until the pod was bound.");
        for (which, histogram) in self.until_scheduled.iter().enumerate() {
            let more = if which + 1 == MANY_ATTEMPTS { "+" } else { "" };
            histogram.render(text, name, &format!("attempts=\"{}{more}\"", which + 1));
        }
        header(text, "scheduler_preemption_attempts_total", "counter", "Attempts to make room by eviction.");
        line(text, format_args!("scheduler_preemption_attempts_total {}", self.preemptions.load(Relaxed)));
        header(text, "scheduler_preemption_victims", "histogram", "Pods chosen to be evicted for another.");
        self.victims.render(text, "scheduler_preemption_victims", "");
        self.render_sizes(text);
        let name = "scheduler_plugin_execution_duration_seconds";
        header(text, name, "histogram", "How long plugins took, in a sample of cycles.");
        for ((plugin, point, accepts), times) in self.plugins.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let status = if *accepts { "Success" } else { "Unschedulable" };
            let labels = format!("extension_point=\"{point:?}\",plugin=\"{plugin}\",status=\"{status}\"");
            times.render(text, name, &labels);
        }
        std::mem::take(text)
    }

    fn each_attempt(&self, mut show: impl FnMut(&str, &Histogram<15>)) {
        for (profile, by_attempt) in &self.attempts {
            for (word, histogram) in Attempt::WORDS.iter().zip(by_attempt) {
                if histogram.count.load(Relaxed) > 0 {
                    show(&format!("profile=\"{profile}\",result=\"{word}\""), histogram);
                }
            }
        }
    }

    fn render_sizes(&self, text: &mut String) {
        let sizes = *self.sizes.lock().unwrap_or_else(PoisonError::into_inner);
        header(text, "scheduler_pending_pods", "gauge", "Pods that wait, by where.");
        for (word, pods) in Waits::WORDS.iter().zip(sizes.waiting) {
            line(text, format_args!("scheduler_pending_pods{{queue=\"{word}\"}} {pods}"));
        }
        header(text, "scheduler_cache_size", "gauge", "Nodes, pods on them, and pods on their way there.");
        for (word, size) in [("assumed_pods", sizes.assumed), ("nodes", sizes.nodes), ("pods", sizes.pods)] {
            line(text, format_args!("scheduler_cache_size{{type=\"{word}\"}} {size}"));
        }
        header(text, "scheduler_queue_incoming_pods_total", "counter", "Pods that began to wait, by where and why.");
        for ((place, event), count) in self.incoming.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let labels = format_args!("event=\"{event}\",queue=\"{}\"", place.word());
            line(text, format_args!("scheduler_queue_incoming_pods_total{{{labels}}} {count}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_shown() {
        let metrics = Metrics::new(&Configured::default());
        metrics.attempted("default-scheduler", Attempt::Scheduled, Duration::from_millis(3));
        metrics.attempted("somebody-else", Attempt::Scheduled, Duration::from_millis(3));
        metrics.scheduled(1, Duration::from_millis(15));
        metrics.scheduled(99, Duration::from_millis(15));
        metrics.preempts();
        metrics.evicts(3);
        metrics.waits(Waits::Active, "UnschedulablePodAdd");
        metrics.are(Sizes { nodes: 1, pods: 2, assumed: 3, waiting: [4, 5, 6, 7] });
        metrics.plugin("NodePorts", Point::Filter, false, Duration::from_micros(12));
        let text = metrics.render();
        for expected in [
            "scheduler_schedule_attempts_total{profile=\"default-scheduler\",result=\"scheduled\"} 1",
            "scheduler_scheduling_attempt_duration_seconds_bucket{profile=\"default-scheduler\",result=\"scheduled\",le=\"0.002\"} 0",
            "scheduler_scheduling_attempt_duration_seconds_bucket{profile=\"default-scheduler\",result=\"scheduled\",le=\"0.004\"} 1",
            "scheduler_scheduling_attempt_duration_seconds_sum{profile=\"default-scheduler\",result=\"scheduled\"} 0.003",
            "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"1\"} 1",
            "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"15+\"} 1",
            "scheduler_preemption_attempts_total 1",
            "scheduler_preemption_victims_bucket{le=\"4\"} 1",
            "scheduler_preemption_victims_count 1",
            "scheduler_pending_pods{queue=\"gated\"} 7",
            "scheduler_cache_size{type=\"assumed_pods\"} 3",
            "scheduler_queue_incoming_pods_total{event=\"UnschedulablePodAdd\",queue=\"active\"} 1",
            "scheduler_plugin_execution_duration_seconds_count{extension_point=\"Filter\",plugin=\"NodePorts\",status=\"Unschedulable\"} 1",
        ] {
            assert!(text.lines().any(|line| line == expected), "{expected}\n{text}");
        }
        assert!(!text.contains("somebody-else"), "only profiles are counted");
    }
}
