//! What is counted of providers and of their file, under Kubernetes' names.

use std::{collections::BTreeMap, time::Duration};

use mk8s_api::exposition::Latencies;
use parking_lot::Mutex;

use crate::auth::reload::{Reloads, gauges, hash, now_s};

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS_S: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

const FILE: [&str; 3] = [
    "apiserver_authentication_config_controller_automatic_reloads_total",
    "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds",
    "apiserver_authentication_config_controller_last_config_info",
];

pub(super) struct Metrics {
    pub(super) file: Reloads,
    counted: Mutex<Counted>,
}

struct Counted {
    latencies: Latencies<{ BUCKETS_S.len() }>,
    /// When keys were fetched last, well or not.
    fetched: BTreeMap<String, u64>,
    /// By issuer, the hash of its keys.
    key_sets: BTreeMap<String, String>,
}

impl Metrics {
    pub(super) fn new(server: &str, file: Option<&str>) -> Metrics {
        let (fetched, key_sets) = Default::default();
        let counted = Counted { latencies: Latencies::new(BUCKETS_S), fetched, key_sets };
        Metrics { file: Reloads::new(FILE, server, file), counted: Mutex::new(counted) }
    }

    /// A token of this issuer was looked at.
    pub(super) fn read(&self, issuer: &str, good: bool, took: Duration) {
        let result = if good { "success" } else { "failure" };
        let labels = format!("result=\"{result}\",jwt_issuer_hash=\"{}\"", hash(issuer));
        self.counted.lock().latencies.observe(labels, took);
    }

    /// The keys of this issuer came, or did not.
    pub(super) fn fetched(&self, issuer: &str, keys: Option<&[u8]>) {
        let result = if keys.is_some() { "success" } else { "failure" };
        let labels = format!("jwt_issuer_hash=\"{}\",apiserver_id_hash=\"{}\"", hash(issuer), self.file.server());
        let counted = &mut *self.counted.lock();
        counted.fetched.insert(format!("result=\"{result}\",{labels}"), now_s());
        if let Some(keys) = keys {
            counted.key_sets.insert(labels, hash(keys));
        }
    }

    /// There are only these issuers from now on.
    pub(super) fn keep(&self, issuers: &[&str]) {
        let issuers: Vec<String> = issuers.iter().map(hash).collect();
        let is_there = |labels: &String| issuers.iter().any(|issuer| labels.contains(issuer));
        let counted = &mut *self.counted.lock();
        counted.key_sets.retain(|labels, _| is_there(labels));
        counted.fetched.retain(|labels, _| is_there(labels));
    }

    pub(super) fn text(&self) -> String {
        let counted = &*self.counted.lock();
        let mut text = String::new();
        let name = "apiserver_authentication_jwt_authenticator_latency_seconds";
        counted.latencies.render(&mut text, name, "How long tokens of OpenID providers were looked at.");
        let name = "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds";
        gauges(&mut text, name, "When the keys of a provider were fetched last.", &counted.fetched);
        let name = "apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info";
        let sets = counted.key_sets.iter().map(|(labels, hash)| (format!("{labels},hash=\"{hash}\""), 1)).collect();
        gauges(&mut text, name, "The keys of a provider, as a hash.", &sets);
        text + &self.file.text()
    }
}
