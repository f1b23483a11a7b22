//! Configuration files that are read again when they change.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mk8s_api::exposition::{counters, header, line};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// How often a file is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// A file, and what is known of it.
pub(super) struct ConfigFile {
    path: PathBuf,
    /// The text that needs not be looked at again, good or not.
    seen: String,
    /// It was said that it cannot be read.
    unread: bool,
}

impl ConfigFile {
    /// `seen`: what was read of it at the start.
    pub(super) fn new((path, seen): (PathBuf, String)) -> ConfigFile {
        ConfigFile { path, seen, unread: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The text that was not seen; or why there is none, once.
    pub(super) async fn look(&mut self) -> Option<Result<String, String>> {
        match tokio::fs::read_to_string(&self.path).await {
            Ok(text) => {
                self.unread = false;
                (text != self.seen).then_some(Ok(text))
            }
            Err(_) if self.unread => None,
            Err(error) => {
                self.unread = true;
                Some(Err(format!("it cannot be read: {error}")))
            }
        }
    }

    /// The text is obeyed, or will never be good.
    pub(super) fn seen(&mut self, text: String) {
        self.seen = text;
    }
}

/// What is counted of a file: how often it was read again, when, and its hash.
pub(super) struct Reloads {
    names: [&'static str; 3],
    /// The server, as a hash.
    server: String,
    counted: Mutex<Counted>,
}

struct Counted {
    total: BTreeMap<String, u64>,
    last: BTreeMap<String, u64>,
    config: Option<String>,
}

impl Reloads {
    /// `names`: of the three metrics; `file`: the text that is obeyed at the start.
    pub(super) fn new(names: [&'static str; 3], server: &str, file: Option<&str>) -> Reloads {
        let (total, last) = Default::default();
        Reloads { names, server: hash(server), counted: Mutex::new(Counted { total, last, config: file.map(hash) }) }
    }

    /// The server, as metrics show it.
    pub(super) fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn failed(&self) {
        self.count("failure");
    }

    pub(super) fn succeeded(&self, text: &str) {
        self.count("success");
        self.counted.lock().config = Some(hash(text));
    }

    fn count(&self, status: &str) {
        let labels = format!("status=\"{status}\",apiserver_id_hash=\"{}\"", self.server);
        let counted = &mut *self.counted.lock();
        *counted.total.entry(labels.clone()).or_default() += 1;
        counted.last.insert(labels, now_s());
    }

    pub(super) fn text(&self) -> String {
        let Counted { total, last, config } = &*self.counted.lock();
        let [total_name, last_name, info_name] = self.names;
        let mut text = String::new();
        counters(&mut text, total_name, "How often the configuration was read again.", total);
        gauges(&mut text, last_name, "When the configuration was read again last.", last);
        if let Some(config) = config {
            let labels = format!("apiserver_id_hash=\"{}\",hash=\"{config}\"", self.server);
            gauges(
                &mut text,
                info_name,
                "The configuration that is obeyed, as a hash.",
                &BTreeMap::from([(labels, 1)]),
            );
        }
        text
    }
}

pub(super) fn gauges(text: &mut String, name: &str, help: &str, series: &BTreeMap<String, u64>) {
    header(text, name, "gauge", help);
    for (labels, value) in series {
        line(text, format_args!("{name}{{{labels}}} {value}"));
    }
}

pub(super) fn hash(text: impl AsRef<[u8]>) -> String {
    let hash: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hash}")
}

pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
