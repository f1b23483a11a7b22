//! What the store counts, and how it says so: under etcd's names, so that existing dashboards work.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Counters since the store was opened.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Transactions that took place.
    pub commits: AtomicU64,
    /// Transactions that failed by an expectation.
    pub conflicts: AtomicU64,
    pub puts: AtomicU64,
    pub deletes: AtomicU64,
    /// Batches proposed: what waited at the same time shares one.
    pub batches: AtomicU64,
    /// Transactions that wait to be decided; as of the last proposal.
    pub pending: AtomicU64,
    /// Appends to the log, each with one fsync.
    pub syncs: AtomicU64,
    /// Microseconds that they took.
    pub sync_micros: AtomicU64,
    /// How long each of them took.
    pub sync_durations: Histogram,
    /// How long applying each batch took.
    pub apply_durations: Histogram,
    /// Bytes appended to the log.
    pub log_bytes: AtomicU64,
    /// Checkpoints of the keyspace, each followed by a cut of the log.
    pub checkpoints: AtomicU64,
    /// How often this replica became the leader.
    pub elections_won: AtomicU64,
    /// Keys now.
    pub keys: AtomicU64,
    /// Values sealed, opened, and found to be none that can be opened.
    pub sealed: AtomicU64,
    pub opened: AtomicU64,
    pub unopened: AtomicU64,
    /// Whether writes are refused because the disk has no room.
    pub disk_full: AtomicBool,
}

/// What is not counted as it happens, but asked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauges {
    pub(crate) revision: u64,
    pub(crate) used_bytes: u64,
    pub(crate) watchers: usize,
    pub(crate) slow_watchers: usize,
    pub(crate) has_leader: bool,
    pub(crate) is_leader: bool,
}

/// How long something took, in buckets that double from a thirty-second of a millisecond.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; Self::BUCKETS],
    count: AtomicU64,
    sum_us: AtomicU64,
}

impl Histogram {
    const BUCKETS: usize = 18;
    const FIRST_US: u64 = 32;

    pub(crate) fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (us.div_ceil(Self::FIRST_US)).max(1).next_power_of_two().trailing_zeros() as usize;
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.count.fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub fn count(&self) -> u64 {
        self.count.load(Relaxed)
    }

    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.load(Relaxed))
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        header(text, name, "histogram", help);
        let mut below = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            below += bucket.load(Relaxed);
            let bound = Duration::from_micros(Self::FIRST_US << at).as_secs_f64();
            line(text, &format!("{name}_bucket{{le=\"{bound}\"}}"), below);
        }
        line(text, &format!("{name}_bucket{{le=\"+Inf\"}}"), self.count());
        line(text, &format!("{name}_sum"), self.sum().as_secs_f64());
        line(text, &format!("{name}_count"), self.count());
    }
}

impl Metrics {
    pub(crate) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Relaxed);
    }

    pub(crate) fn sealed(&self) {
        Self::add(&self.sealed, 1);
    }

    pub(crate) fn opened(&self, well: bool) {
        Self::add(if well { &self.opened } else { &self.unopened }, 1);
    }

    pub(crate) fn synced(&self, took: Duration) {
        Self::add(&self.syncs, 1);
        Self::add(&self.sync_micros, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        self.sync_durations.observe(took);
    }

    /// All of it in Prometheus' text format.
    pub(crate) fn text(&self, gauges: Gauges) -> String {
        let mut text = String::new();
        let committed = self.commits.load(Relaxed) + self.conflicts.load(Relaxed);
        let counters = [
            ("etcd_server_proposals_committed_total", committed, "Transactions that were decided."),
            (
                "etcd_server_proposals_failed_total",
                self.conflicts.load(Relaxed),
                "Transactions that failed by an expectation.",
            ),
            (
                "etcd_server_leader_changes_seen_total",
                self.elections_won.load(Relaxed),
                "How often this replica became the leader.",
            ),
            ("etcd_mvcc_put_total", self.puts.load(Relaxed), "Keys put."),
            ("etcd_mvcc_delete_total", self.deletes.load(Relaxed), "Keys deleted."),
            ("etcd_mvcc_txn_total", committed, "Transactions applied."),
            ("etcd_disk_wal_write_bytes_total", self.log_bytes.load(Relaxed), "Bytes appended to the log."),
            ("mk8s_store_batches_total", self.batches.load(Relaxed), "Batches of transactions that shared an fsync."),
            ("mk8s_store_checkpoints_total", self.checkpoints.load(Relaxed), "Checkpoints of the keyspace."),
        ];
        for (name, value, help) in counters {
            header(&mut text, name, "counter", help);
            line(&mut text, name, value);
        }
        let name = "apiserver_storage_transformation_operations_total";
        header(&mut text, name, "counter", "Values sealed on their way to the disk and opened when they come back.");
        for (way, status, count) in [
            ("to_storage", "OK", &self.sealed),
            ("from_storage", "OK", &self.opened),
            ("from_storage", "Internal", &self.unopened),
        ] {
            let labels =
                format!("status=\"{status}\",transformation_type=\"{way}\",transformer_prefix=\"mk8s:enc:v1:\"");
            line(&mut text, &format!("{name}{{{labels}}}"), count.load(Relaxed));
        }
        let gauges = [
            ("etcd_server_has_leader", u64::from(gauges.has_leader), "Whether a leader is known."),
            ("etcd_server_is_leader", u64::from(gauges.is_leader), "Whether this replica leads."),
            ("etcd_server_proposals_pending", self.pending.load(Relaxed), "Transactions that wait to be decided."),
            ("etcd_debugging_mvcc_keys_total", self.keys.load(Relaxed), "Keys."),
            ("etcd_debugging_mvcc_current_revision", gauges.revision, "The newest revision."),
            ("etcd_debugging_mvcc_watcher_total", gauges.watchers as u64, "Watchers."),
            (
                "etcd_debugging_mvcc_slow_watcher_total",
                gauges.slow_watchers as u64,
                "Watchers that read the event window.",
            ),
            ("etcd_mvcc_db_total_size_in_bytes", gauges.used_bytes, "Bytes on the disk."),
            (
                "mk8s_store_disk_full",
                u64::from(self.disk_full.load(Relaxed)),
                "Whether this server takes no writes because its disk has no room.",
            ),
        ];
        for (name, value, help) in gauges {
            header(&mut text, name, "gauge", help);
            line(&mut text, name, value);
        }
        self.sync_durations.write(
            &mut text,
            "etcd_disk_wal_fsync_duration_seconds",
            "How long appends to the log took, with their fsync.",
        );
        self.apply_durations.write(&mut text, "etcd_server_apply_duration_seconds", "How long applying a batch took.");
        text
    }
}

fn header(text: &mut String, name: &str, kind: &str, help: &str) {
    writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes all");
}

fn line(text: &mut String, name: &str, value: impl std::fmt::Display) {
    writeln!(text, "{name} {value}").expect("a string takes all");
}
