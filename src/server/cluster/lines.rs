//! Messages that go out: one connection to each other server, and one more while a keyspace is sent.
//!
//! ```text
//! store's thread ─▶ queue (bounded) ─▶ line ─▶ connection ─▶ the other's `incoming`
//!                                        └ no connection: dropped, raft hears that the peer is unreachable
//! ```

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use mk8s_store::{PeerMessage, Store, Transport};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Handle,
    sync::mpsc,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::{RAFT, Removed, frames, members, talk};
use crate::auth::{Pki, pki::Role};

pub(super) const HELLO: u8 = 0;
pub(super) const WELCOME: u8 = 1;
pub(super) const REFUSED: u8 = 2;
pub(super) const MESSAGE: u8 = 3;
/// A message that a keyspace comes with: pieces follow, and the end, which is answered by a welcome.
pub(super) const WITH_KEYSPACE: u8 = 4;
pub(super) const PIECE: u8 = 5;
pub(super) const END: u8 = 6;
/// A refusal of whoever was removed.
pub(super) const REMOVED: u8 = 7;

/// The first frame of a connection.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Where `from` is, for who has no record of that.
    #[serde(default)]
    pub(super) address: Option<String>,
}

/// What waits for one peer at most.
const QUEUE_BYTES: usize = 32 << 20;
const QUEUE: usize = 8192;
/// How much is written at once.
const BURST: usize = 256 << 10;
/// A peer that takes nothing for so long is given up.
const STUCK: Duration = Duration::from_secs(5);
/// How often a server looks whether it is a member.
const DOUBT: Duration = Duration::from_secs(2);
const RETRY: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(1000)];

/// The way to the other servers. Cheap to clone.
#[derive(Clone)]
pub struct Lines(Arc<Shared>);

struct Shared {
    me: u64,
    /// Where this server is.
    address: String,
    pki: Arc<Pki>,
    addresses: Mutex<BTreeMap<u64, String>>,
    store: OnceLock<Store>,
    runtime: Handle,
    removed: Removed,
    stop: CancellationToken,
}

impl Lines {
    /// `removed` is told when another server says so.
    pub fn new(
        me: u64,
        address: String,
        pki: Arc<Pki>,
        known: &[members::Member],
        removed: Removed,
        stop: CancellationToken,
    ) -> Lines {
        let addresses = known.iter().map(|member| (member.id, member.address.clone())).collect();
        let shared = Shared {
            me,
            address,
            pki,
            addresses: Mutex::new(addresses),
            store: OnceLock::new(),
            runtime: Handle::current(),
            removed,
            stop,
        };
        Lines(Arc::new(shared))
    }

    /// What the store sends with.
    pub fn transport(&self) -> Box<dyn Transport> {
        Box::new(Outgoing { shared: self.0.clone(), lines: HashMap::new() })
    }

    /// Where a member is, as far as it is known here.
    pub(super) fn address_of(&self, id: u64) -> Option<String> {
        self.0.addresses.lock().get(&id).cloned()
    }

    /// Another server says where it is.
    pub(super) fn hear_of(&self, id: u64, address: &str) {
        self.0.addresses.lock().insert(id, address.to_owned());
    }

    /// The store that hears how it went; and from now on it says where the others are.
    pub async fn follow(self, store: Store) {
        let stop = self.0.stop.clone();
        self.0.store.get_or_init(|| store.clone());
        loop {
            let view = store.view();
            for member in members::all(&view).into_values() {
                self.0.addresses.lock().insert(member.id, member.address);
            }
            store.know_witnesses(members::witnesses(&view));
            let Ok(mut watch) = store.watch(members::PREFIX.as_bytes(), view.revision()) else { continue };
            match stop.run_until_cancelled(watch.next()).await {
                None | Some(Ok(mk8s_store::WatchItem::Closed)) => return,
                Some(_) => {}
            }
        }
    }
}

impl Lines {
    /// A server that has taken part in its own removal has nothing to say any more. So it asks.
    pub async fn doubt(self, store: Store) {
        let asked = async {
            loop {
                tokio::time::sleep(DOUBT).await;
                let members = store.members().await.unwrap_or_default();
                if members.is_empty() || members.iter().any(|member| member.id == self.0.me) {
                    continue;
                }
                for member in members {
                    if let Err(error) = self.0.connect(member.id).await {
                        tracing::debug!(peer = member.id, %error, "asked whether this server was removed");
                    }
                }
            }
        };
        tokio::select! {
            () = asked => {}
            () = self.0.removed.known() => {}
            () = self.0.stop.cancelled() => {}
        }
    }
}

/// Each peer's queue, owned by the store's thread.
struct Outgoing {
    shared: Arc<Shared>,
    lines: HashMap<u64, Queue>,
}

struct Queue {
    sender: mpsc::Sender<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

impl Transport for Outgoing {
    fn send(&mut self, message: PeerMessage) {
        if message.keyspace.is_some() {
            let shared = self.shared.clone();
            self.shared.runtime.spawn(async move { shared.send_keyspace(message).await });
            return;
        }
        let PeerMessage { to, bytes, .. } = message;
        let queue = self.lines.entry(to).or_insert_with(|| Queue::open(&self.shared, to));
        if queue.push(bytes).is_err() {
            self.shared.unreachable(to);
        }
    }
}

impl Queue {
    fn open(shared: &Arc<Shared>, to: u64) -> Queue {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let bytes = Arc::new(AtomicUsize::new(0));
        let line = Line { shared: shared.clone(), to, receiver, bytes: bytes.clone() };
        let stop = shared.stop.clone();
        shared.runtime.spawn(async move { stop.run_until_cancelled(line.run()).await });
        Queue { sender, bytes }
    }

    fn push(&self, message: Vec<u8>) -> Result<(), ()> {
        let size = message.len();
        if self.bytes.load(Relaxed) + size > QUEUE_BYTES {
            return Err(());
        }
        self.bytes.fetch_add(size, Relaxed);
        self.sender.try_send(message).map_err(|_| {
            self.bytes.fetch_sub(size, Relaxed);
        })
    }
}

/// One peer's line.
struct Line {
    shared: Arc<Shared>,
    to: u64,
    receiver: mpsc::Receiver<Vec<u8>>,
    bytes: Arc<AtomicUsize>,
}

impl Line {
    async fn run(mut self) {
        let mut wait = RETRY[0];
        loop {
            // Nothing is said to a peer that nobody wants to say anything to.
            let Some(first) = self.receiver.recv().await else { return };
            match self.shared.connect(self.to).await {
                Ok(stream) => {
                    wait = RETRY[0];
                    if let Err(error) = self.talk(stream, first).await {
                        tracing::debug!(peer = self.to, %error, "the line to another server broke");
                    }
                }
                Err(error) => {
                    self.taken(first.len());
                    tracing::debug!(peer = self.to, error = %format!("{:#}", anyhow::Error::new(error)), "another server cannot be reached");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY[1]);
                }
            }
            while let Ok(message) = self.receiver.try_recv() {
                self.taken(message.len());
            }
            self.shared.unreachable(self.to);
        }
    }

    fn taken(&self, size: usize) {
        self.bytes.fetch_sub(size, Relaxed);
    }

    async fn talk(&mut self, stream: TlsStream<TcpStream>, first: Vec<u8>) -> io::Result<()> {
        let (mut from, mut to) = tokio::io::split(stream);
        let mut next = Some(first);
        let mut burst = Vec::with_capacity(BURST);
        loop {
            while let Some(message) = next.take() {
                self.taken(message.len());
                frames::write(&mut burst, MESSAGE, &message).await?;
                if burst.len() < BURST {
                    next = self.receiver.try_recv().ok();
                }
            }
            let write = async {
                to.write_all(&burst).await?;
                to.flush().await
            };
            timeout(STUCK, write).await??;
            burst.clear();
            let mut nothing = [0];
            next = tokio::select! {
                message = self.receiver.recv() => message,
                // Nothing is ever said this way, so this is the end.
                ended = from.read(&mut nothing) => return ended.and_then(|_| Err(io::ErrorKind::UnexpectedEof.into())),
            };
            if next.is_none() {
                return Ok(());
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum LineError {
    #[error("member {0} has no known address")]
    Unknown(u64),
    #[error(transparent)]
    Talk(#[from] talk::TalkError),
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("refused: {0}")]
    Refused(String),
    #[error("no answer")]
    Silent,
}

impl Shared {
    fn unreachable(&self, peer: u64) {
        if let Some(store) = self.store.get() {
            store.unreachable(peer);
        }
    }

    async fn connect(&self, to: u64) -> Result<TlsStream<TcpStream>, LineError> {
        let address = self.addresses.lock().get(&to).cloned().ok_or(LineError::Unknown(to))?;
        let tls = talk::to_server(self.pki.ca_pem(), Some(&self.pki.leaf(Role::Peer)), RAFT)?;
        let mut stream = talk::connect(&address, tls).await?;
        let hello = serde_json::to_vec(&Hello { from: self.me, to, address: Some(self.address.clone()) })
            .expect("numbers become JSON");
        let greeting = async {
            frames::write(&mut stream, HELLO, &hello).await?;
            stream.flush().await?;
            frames::read(&mut stream, frames::TALK_MAX).await
        };
        match timeout(STUCK, greeting).await.map_err(|_| LineError::Silent)?? {
            Some((WELCOME, _)) => Ok(stream),
            Some((kind @ (REFUSED | REMOVED), why)) => {
                if kind == REMOVED {
                    self.removed.hear();
                }
                let why = String::from_utf8_lossy(&why).into_owned();
                tracing::warn!(peer = to, address, why, "another server does not take our messages");
                tokio::time::sleep(RETRY[1]).await;
                Err(LineError::Refused(why))
            }
            _ => Err(LineError::Silent),
        }
    }

    async fn send_keyspace(&self, message: PeerMessage) {
        let to = message.to;
        let sent = self.stop.run_until_cancelled(self.try_send_keyspace(message)).await;
        let arrived = matches!(sent, Some(Ok(())));
        if let Some(Err(error)) = sent {
            tracing::info!(peer = to, error = %format!("{:#}", anyhow::Error::new(error)), "the keyspace did not arrive; it is sent again");
            tokio::time::sleep(RETRY[1]).await;
        }
        if let Some(store) = self.store.get() {
            store.snapshot_sent(to, arrived);
        }
    }

    async fn try_send_keyspace(&self, message: PeerMessage) -> Result<(), LineError> {
        let mut stream = self.connect(message.to).await?;
        frames::write(&mut stream, WITH_KEYSPACE, &message.bytes).await?;
        for piece in message.keyspace.into_iter().flatten() {
            timeout(STUCK, frames::write(&mut stream, PIECE, &piece)).await.map_err(|_| LineError::Silent)??;
        }
        frames::write(&mut stream, END, &[]).await?;
        stream.flush().await?;
        match timeout(STUCK * 12, frames::read(&mut stream, frames::TALK_MAX))
            .await
            .map_err(|_| LineError::Silent)??
        {
            Some((WELCOME, _)) => Ok(()),
            _ => Err(LineError::Silent),
        }
    }
}
