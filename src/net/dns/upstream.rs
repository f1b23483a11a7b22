//! Asking the host's resolvers.
//!
//! Servers are asked in order, each for two seconds at most. A question that is being asked already waits for the same
//! answer: that saves work, and it ends a loop (a host resolver that forwards to us) at the first timeout instead of
//! multiplying queries.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use hickory_proto::op::{Edns, Message, Query};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::answer::UDP_PAYLOAD;
use super::cache::Cache;

const ATTEMPT: Duration = Duration::from_secs(2);

type Asked = Shared<BoxFuture<'static, Option<Arc<Message>>>>;

/// The resolvers of a `resolv.conf`, read again when it changes.
#[derive(Debug)]
pub struct Upstream {
    resolv_conf: PathBuf,
    /// Our own address, which must not be asked.
    own: IpAddr,
    servers: Mutex<(Option<SystemTime>, Arc<[SocketAddr]>)>,
    cache: Arc<Mutex<Cache>>,
    asked: Mutex<HashMap<Query, Asked>>,
}

impl Upstream {
    pub fn new(resolv_conf: PathBuf, own: IpAddr) -> Self {
        Self {
            resolv_conf,
            own,
            servers: Mutex::new((None, Arc::from([]))),
            cache: Arc::default(),
            asked: Mutex::new(HashMap::new()),
        }
    }

    /// What upstream answers; `None` if nobody does.
    pub(super) async fn ask(&self, question: &Query) -> Option<Arc<Message>> {
        if let Some(response) = self.cache.lock().get(question, Instant::now()) {
            return Some(Arc::new(response));
        }
        let answer = {
            let mut asked = self.asked.lock();
            asked.retain(|_, answer| answer.peek().is_none());
            let ask = || {
                let (servers, cache, question) = (self.servers(), self.cache.clone(), question.clone());
                async move {
                    let response = ask_all(&servers, &question).await?;
                    cache.lock().put(question, &response, Instant::now());
                    Some(Arc::new(response))
                }
                .boxed()
                .shared()
            };
            asked.entry(question.clone()).or_insert_with(ask).clone()
        };
        answer.await
    }

    fn servers(&self) -> Arc<[SocketAddr]> {
        let changed = std::fs::metadata(&self.resolv_conf).and_then(|meta| meta.modified()).ok();
        let mut servers = self.servers.lock();
        if servers.0.is_none() || servers.0 != changed {
            let text = std::fs::read_to_string(&self.resolv_conf).unwrap_or_default();
            *servers = (changed, parse_resolv_conf(&text, self.own).into());
        }
        servers.1.clone()
    }
}

/// The `nameserver` lines, without ourselves.
fn parse_resolv_conf(text: &str, own: IpAddr) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some("nameserver"), Some(address)) = (words.next(), words.next()) else { continue };
        // A link-local address may carry its link's name.
        let address = address.split('%').next().unwrap_or(address);
        if let Ok(address) = address.parse::<IpAddr>()
            && address != own
        {
            servers.push(SocketAddr::new(address, 53));
        }
    }
    servers
}

async fn ask_all(servers: &[SocketAddr], question: &Query) -> Option<Message> {
    for server in servers {
        let mut query = Message::query();
        query.metadata.id = rand::random();
        query.metadata.recursion_desired = true;
        query.add_query(question.clone());
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        query.set_edns(edns);
        match timeout(ATTEMPT, ask_one(*server, &query)).await {
            Ok(Ok(response)) => return Some(response),
            Ok(Err(error)) => tracing::debug!(%server, %error, "upstream resolver failed"),
            Err(_) => tracing::debug!(%server, "upstream resolver does not answer"),
        }
    }
    None
}

async fn ask_one(server: SocketAddr, query: &Message) -> std::io::Result<Message> {
    let bytes = query.to_vec().map_err(std::io::Error::other)?;
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&bytes).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match Message::from_vec(&buffer[..length]) {
            Ok(response) if answers(&response, query) && response.metadata.truncation => {
                return ask_over_tcp(server, query, &bytes).await;
            }
            Ok(response) if answers(&response, query) => return Ok(response),
            // Forged or late: the right one may still come.
            _ => {}
        }
    }
}

async fn ask_over_tcp(server: SocketAddr, query: &Message, bytes: &[u8]) -> std::io::Result<Message> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(bytes.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut buffer).await?;
    let response = Message::from_vec(&buffer).map_err(std::io::Error::other)?;
    if answers(&response, query) { Ok(response) } else { Err(std::io::Error::other("answer to another question")) }
}

fn answers(response: &Message, query: &Message) -> bool {
    response.metadata.id == query.metadata.id && response.queries == query.queries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_are_read_without_ourselves() {
        let text = "# by hand\nsearch example.org\nnameserver 192.0.2.53\nnameserver 10.43.0.10\n nameserver fe80::1%eth0\n\
                    nameserver nonsense\nnameserver\noptions ndots:1\n";
        let servers = parse_resolv_conf(text, "10.43.0.10".parse().unwrap());
        let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.53:53", "[fe80::1]:53"]);
    }
}
