//! Which servers there are, and which of them is asked.
//!
//! ```text
//! given: --join, or the server of this process ─┐
//! told by the cluster, kept in a file ──────────┴─▶ Choice ─▶ order ─▶ dial: one after the other until one answers
//!                                  tunnels open and closed ─▲
//! ```
//!
//! Reading order: [`Servers`], `choice` (pure), `dial` (connections), [`follow`] (what the cluster tells).
//!
//! Invariant: what was given is never forgotten; what the cluster told last is known after a restart without it.

mod choice;
mod dial;
mod follow;

pub(crate) use dial::Connector;
pub use dial::open;
pub use follow::{KEY, NAME, ask, follow};

use crate::connect::ConnectError;
use choice::Choice;
use parking_lot::Mutex;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::sync::watch;

/// The most servers that are believed.
const SERVERS_MAX: usize = 100;

/// The servers of a cluster as a client of it sees them. Clones are the same.
#[derive(Clone)]
pub struct Servers(Arc<Shared>);

struct Shared {
    choice: Mutex<Choice>,
    addresses: watch::Sender<Vec<String>>,
    file: Option<PathBuf>,
}

impl Servers {
    /// Those that are found by one address, as `https://127.0.0.1:6443`.
    ///
    /// # Errors
    /// [`ConnectError::Address`].
    pub fn of(url: &str) -> Result<Servers, ConnectError> {
        Ok(Servers::new(Choice::new(&authority(url)?, None), None))
    }

    /// As [`Servers::of`]; what the cluster tells is kept in `file`, and what it told before is read from there.
    ///
    /// # Errors
    /// [`ConnectError::Address`].
    pub fn kept_in(url: &str, file: &Path) -> Result<Servers, ConnectError> {
        Ok(Servers::new(Choice::new(&authority(url)?, None), Some(file)))
    }

    /// As [`Servers::kept_in`] for the node beside a server: that is asked first. The others know it as `own`, `host:port`.
    ///
    /// # Errors
    /// [`ConnectError::Address`].
    pub fn beside(url: &str, own: &str, file: &Path) -> Result<Servers, ConnectError> {
        Ok(Servers::new(Choice::new(&authority(url)?, Some(own)), Some(file)))
    }

    fn new(mut choice: Choice, file: Option<&Path>) -> Servers {
        if let Some(file) = file {
            choice.learn(remembered(file));
        }
        let (addresses, _) = watch::channel(choice.addresses());
        Servers(Arc::new(Shared { choice: Mutex::new(choice), addresses, file: file.map(Path::to_owned) }))
    }

    /// Takes over what the cluster tells: `host:port` of each of its servers.
    pub fn learn(&self, told: Vec<String>) {
        let told: Vec<String> = told.into_iter().filter(|address| is_address(address)).take(SERVERS_MAX).collect();
        if told.is_empty() {
            return;
        }
        let addresses = {
            let mut choice = self.0.choice.lock();
            if !choice.learn(told.clone()) {
                return;
            }
            choice.addresses()
        };
        tracing::info!(servers = told.join(" "), "the servers of the cluster");
        self.0.addresses.send_replace(addresses);
        if let Some(Err(error)) = self.0.file.as_deref().map(|file| remember(file, &told)) {
            tracing::warn!(%error, "the servers' addresses cannot be kept for the next start");
        }
    }

    /// `host:port` of everyone there is.
    pub fn addresses(&self) -> watch::Receiver<Vec<String>> {
        self.0.addresses.subscribe()
    }

    /// Notes that a tunnel to a server carries.
    pub fn tunnel_open(&self, address: &str) {
        self.0.choice.lock().tunnel_open(address, &mut rand::rng());
    }

    pub fn tunnel_closed(&self, address: &str) {
        self.0.choice.lock().tunnel_closed(address);
    }

    /// Turns to another server: the one that is asked answers late or not as it should.
    pub fn leave(&self) {
        let left = self.0.choice.lock().leave(Instant::now());
        if let Some((server, wait)) = left {
            let seconds = wait.as_secs();
            tracing::info!(server, seconds, "this server answers and cannot help; others are asked for so long");
        }
    }

    fn order(&self) -> Vec<String> {
        self.0.choice.lock().order(Instant::now(), &mut rand::rng())
    }

    fn reached(&self, address: &str) {
        self.0.choice.lock().reached(address);
    }

    fn missed(&self, address: &str) {
        self.0.choice.lock().missed(address, Instant::now());
    }

    /// Requests of the same turn may share a connection.
    pub(crate) fn turn(&self) -> u64 {
        self.0.choice.lock().turn(Instant::now())
    }
}

fn remembered(file: &Path) -> Vec<String> {
    let text = fs::read(file).unwrap_or_default();
    let known: Vec<String> = serde_json::from_slice(&text).unwrap_or_default();
    known.into_iter().filter(|address| is_address(address)).take(SERVERS_MAX).collect()
}

/// The file is there whole or not at all.
fn remember(file: &Path, told: &[String]) -> io::Result<()> {
    let fresh = file.with_extension("new");
    if let Some(dir) = file.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&fresh, serde_json::to_vec(told).expect("strings become JSON"))?;
    fs::rename(&fresh, file)
}

fn is_address(text: &str) -> bool {
    let port =
        text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).and_then(|(_, port)| port.parse::<u16>().ok());
    text.len() <= 300 && port.is_some_and(|port| port > 0)
}

/// `host:port` of `https://host:port`.
fn authority(url: &str) -> Result<String, ConnectError> {
    let wrong = || ConnectError::Address { server: url.to_owned() };
    let uri: http::Uri = url.parse().map_err(|_| wrong())?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    Ok(format!("{host}:{}", uri.port_u16().unwrap_or(6443)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_addressed() {
        let cases = [
            ("https://10.0.0.1:6443", Some("10.0.0.1:6443")),
            ("https://[fd00::1]:1", Some("[fd00::1]:1")),
            ("https://a", Some("a:6443")),
            ("", None),
            ("not a url", None),
        ];
        for (text, expected) in cases {
            assert_eq!(authority(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_was_told_is_known_after_a_restart() {
        let dir = std::env::temp_dir().join(format!("mk8s-servers-{}", std::process::id()));
        let file = dir.join("servers.json");
        let addresses = |servers: &Servers| servers.addresses().borrow().clone();
        let servers = Servers::kept_in("https://a:1", &file).expect("an address");
        servers.learn(vec!["b:1".into(), "nonsense".into(), ":1".into(), "c:0".into()]);
        servers.learn(Vec::new());
        assert_eq!(addresses(&servers), ["a:1", "b:1"]);
        assert_eq!(addresses(&Servers::kept_in("https://a:1", &file).expect("an address")), ["a:1", "b:1"]);
        fs::write(&file, "{").expect("written");
        assert_eq!(addresses(&Servers::kept_in("https://a:1", &file).expect("an address")), ["a:1"]);
        fs::remove_dir_all(dir).expect("removed");
    }
}
