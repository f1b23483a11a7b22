//! What is counted of providers and of their file, under Kubernetes' names.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mk8s_api::exposition::{Latencies, counters, header, line};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Upper bounds of the latency buckets, in seconds.
const BUCKETS_S: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

pub(super) struct Metrics {
    /// The server, as a hash.
    server: String,
    counted: Mutex<Counted>,
}

struct Counted {
    latencies: Latencies<{ BUCKETS_S.len() }>,
    /// When keys were fetched last, well or not.
    fetched: BTreeMap<String, u64>,
    /// By issuer, the hash of its keys.
    key_sets: BTreeMap<String, String>,
    reloads: BTreeMap<String, u64>,
    reloaded: BTreeMap<String, u64>,
    /// The hash of the file that is obeyed.
    config: Option<String>,
}

impl Metrics {
    pub(super) fn new(server: &str, file: Option<&str>) -> Metrics {
        let (fetched, key_sets, reloads, reloaded) = Default::default();
        let (latencies, config) = (Latencies::new(BUCKETS_S), file.map(hash));
        let counted = Counted { latencies, fetched, key_sets, reloads, reloaded, config };
        Metrics { server: hash(server), counted: Mutex::new(counted) }
    }

    /// A token of this issuer was looked at.
    pub(super) fn read(&self, issuer: &str, good: bool, took: Duration) {
        let result = if good { "success" } else { "failure" };
        let labels = format!("result=\"{result}\",jwt_issuer_hash=\"{}\"", hash(issuer));
        self.counted.lock().latencies.observe(labels, took);
    }

    /// The keys of this issuer came, or did not.
    pub(super) fn fetched(&self, issuer: &str, keys: Option<&[u8]>) {
        let (issuer, server) = (hash(issuer), &self.server);
        let result = if keys.is_some() { "success" } else { "failure" };
        let labels = format!("jwt_issuer_hash=\"{issuer}\",apiserver_id_hash=\"{server}\"");
        let counted = &mut *self.counted.lock();
        counted.fetched.insert(format!("result=\"{result}\",{labels}"), now_s());
        if let Some(keys) = keys {
            counted.key_sets.insert(labels, hash(keys));
        }
    }

    /// A file was read again: it is obeyed, with these issuers, or was no good.
    pub(super) fn reloaded(&self, file: Option<(&str, &[&str])>) {
        let status = if file.is_some() { "success" } else { "failure" };
        let labels = format!("status=\"{status}\",apiserver_id_hash=\"{}\"", self.server);
        let counted = &mut *self.counted.lock();
        *counted.reloads.entry(labels.clone()).or_default() += 1;
        counted.reloaded.insert(labels, now_s());
        if let Some((text, issuers)) = file {
            counted.config = Some(hash(text));
            let issuers: Vec<String> = issuers.iter().map(|issuer| hash(issuer)).collect();
            let is_there = |labels: &String| issuers.iter().any(|issuer| labels.contains(issuer));
            counted.key_sets.retain(|labels, _| is_there(labels));
            counted.fetched.retain(|labels, _| is_there(labels));
        }
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
        let name = "apiserver_authentication_config_controller_automatic_reloads_total";
        counters(&mut text, name, "How often the authentication configuration was read again.", &counted.reloads);
        let name = "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds";
        gauges(&mut text, name, "When it was read again last.", &counted.reloaded);
        if let Some(config) = &counted.config {
            let labels = format!("apiserver_id_hash=\"{}\",hash=\"{config}\"", self.server);
            let name = "apiserver_authentication_config_controller_last_config_info";
            gauges(&mut text, name, "The authentication configuration, as a hash.", &BTreeMap::from([(labels, 1)]));
        }
        text
    }
}

fn gauges(text: &mut String, name: &str, help: &str, series: &BTreeMap<String, u64>) {
    header(text, name, "gauge", help);
    for (labels, value) in series {
        line(text, format_args!("{name}{{{labels}}} {value}"));
    }
}

fn hash(text: impl AsRef<[u8]>) -> String {
    let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
