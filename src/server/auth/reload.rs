//! Configuration files that are read again when they change.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mk8s_api::exposition::{counters, header, line};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// How often a file is looked at.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// A file, and what is known of it.
pub(super) struct ConfigFile {
    words: Words,
    path: PathBuf,
    /// The text that needs not be looked at again, good or not.
    seen: String,
    /// It was said that it cannot be read.
    unread: bool,
}

/// What the log says of a file.
pub(super) struct Words {
    pub(super) renewed: &'static str,
    pub(super) failed: &'static str,
}

/// Why a text is not obeyed.
pub(super) enum Unfit {
    /// It will not become good by itself.
    Bad(String),
    /// It may be good later.
    NotYet(String),
}

impl ConfigFile {
    /// `seen`: what was read of it at the start.
    pub(super) fn new((path, seen): (PathBuf, String), words: Words) -> ConfigFile {
        ConfigFile { words, path, seen, unread: false }
    }

    /// What `read` makes of the file, if it is another one and good.
    pub(super) async fn renew<N>(
        &mut self,
        reloads: Option<&Reloads>,
        read: impl AsyncFnOnce(&str) -> Result<N, Unfit>,
    ) -> Option<N> {
        let renewed = match self.look().await? {
            Err(why) => Err(why),
            Ok(text) => match read(&text).await {
                Err(Unfit::NotYet(why)) => Err(why),
                Err(Unfit::Bad(why)) => {
                    self.seen = text;
                    Err(why)
                }
                Ok(new) => {
                    self.seen = text;
                    Ok(new)
                }
            },
        };
        let (Words { renewed: done, failed }, path) = (&self.words, self.path.display());
        match renewed {
            Ok(new) => {
                reloads.iter().for_each(|reloads| reloads.succeeded(&self.seen));
                tracing::info!(%path, "{done}");
                Some(new)
            }
            Err(error) => {
                reloads.iter().for_each(|reloads| reloads.failed());
                tracing::error!(%path, error, "{failed}, the one before it stays");
                None
            }
        }
    }

    /// The text that was not seen; or why there is none, once.
    async fn look(&mut self) -> Option<Result<String, String>> {
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

    fn failed(&self) {
        self.count("failure");
    }

    fn succeeded(&self, text: &str) {
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
