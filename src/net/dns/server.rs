//! The sockets: UDP and TCP on the cluster's DNS address.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::RecordType;
use parking_lot::RwLock;
use rand::seq::SliceRandom;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer::{Outcome, UDP_PAYLOAD, answer, fail, response_to};
use super::upstream::Upstream;
use super::zone::Zone;

const PORT: u16 = 53;
const TCP_IDLE: Duration = Duration::from_secs(10);
const MAX_TCP_CONNECTIONS: usize = 256;
/// Queries that wait for upstream at a time; more are answered with a failure.
const MAX_FORWARDED: usize = 1024;
/// An alias may lead to an alias of ours; longer chains are loops.
const MAX_ALIASES: usize = 8;

/// Why the server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("cannot listen on {address} ({transport})")]
    Listen {
        address: SocketAddr,
        transport: &'static str,
        #[source]
        source: io::Error,
    },
}

/// Answers queries from a zone and from upstream.
#[derive(Debug)]
pub struct Server {
    zone: Arc<RwLock<Zone>>,
    upstream: Upstream,
    forwarded: Semaphore,
}

impl Server {
    pub fn new(zone: Arc<RwLock<Zone>>, upstream: Upstream) -> Self {
        Self { zone, upstream, forwarded: Semaphore::new(MAX_FORWARDED) }
    }

    /// Serves `address` until `stop`.
    pub async fn run(self: Arc<Self>, address: IpAddr, stop: CancellationToken) -> Result<(), ServerError> {
        let address = SocketAddr::new(address, PORT);
        let failed = |transport| move |source| ServerError::Listen { address, transport, source };
        let udp = Arc::new(UdpSocket::bind(address).await.map_err(failed("UDP"))?);
        let tcp = TcpListener::bind(address).await.map_err(failed("TCP"))?;
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.clone().serve_udp(udp, &stop) => {}
            () = self.serve_tcp(tcp, &stop) => {}
        }
        Ok(())
    }

    async fn serve_udp(self: Arc<Self>, socket: Arc<UdpSocket>, stop: &CancellationToken) {
        let mut buffer = vec![0; 4096];
        loop {
            let (length, client) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                // A client that is gone answers with an ICMP error; that is no reason to stop.
                Err(error) => {
                    tracing::debug!(%error, "receiving a DNS query failed");
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let Some(query) = parse(&buffer[..length]) else { continue };
            let limit = usize::from(query.edns.as_ref().map_or(512, |edns| edns.max_payload().clamp(512, UDP_PAYLOAD)));
            // Ours are answered in place, without a task; the lock is held for as long as that takes.
            let outcome = answer(&self.zone.read(), &query);
            if let Outcome::Answer(response) = outcome {
                send(&socket, client, response, limit).await;
                continue;
            }
            let (server, socket, stop) = (self.clone(), socket.clone(), stop.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    response = server.resolve(&query, outcome) => send(&socket, client, response, limit).await,
                }
            });
        }
    }

    async fn serve_tcp(self: Arc<Self>, listener: TcpListener, stop: &CancellationToken) {
        let places = Arc::new(Semaphore::new(MAX_TCP_CONNECTIONS));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (server, stop) = (self.clone(), stop.clone());
                    tokio::spawn(async move {
                        tokio::select! {
                            () = stop.cancelled() => {}
                            // The client hung up, or was silent for too long.
                            _ = server.serve_stream(stream) => {}
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accepting a DNS connection failed");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn serve_stream(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let length = timeout(TCP_IDLE, stream.read_u16()).await??;
            let mut buffer = vec![0; usize::from(length)];
            timeout(TCP_IDLE, stream.read_exact(&mut buffer)).await??;
            let Some(query) = parse(&buffer) else { return Ok(()) };
            let outcome = answer(&self.zone.read(), &query);
            let response = self.resolve(&query, outcome).await;
            let bytes = encode(response, usize::from(u16::MAX));
            let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
            timeout(TCP_IDLE, stream.write_all(&[&length.to_be_bytes(), &bytes[..]].concat())).await??;
        }
    }

    /// Follows what `answer` left open.
    async fn resolve(&self, query: &Message, outcome: Outcome) -> Message {
        let (mut response, mut question) = match outcome {
            Outcome::Answer(response) => return response,
            Outcome::Forward => (None, query.queries[0].clone()),
            Outcome::Alias { response, query } => (Some(response), query),
        };
        for _ in 0..MAX_ALIASES {
            let mut next = Message::query();
            next.add_query(question.clone());
            let next = if response.is_some() { answer(&self.zone.read(), &next) } else { Outcome::Forward };
            let (found, alias) = match next {
                Outcome::Answer(found) => (Some(found), None),
                Outcome::Alias { response: found, query } => (Some(found), Some(query)),
                Outcome::Forward => (self.forward(&question).await, None),
            };
            let answered = response.is_some();
            let merged = response.get_or_insert_with(|| response_to(query));
            match found {
                Some(found) => merge(merged, found),
                // An alias whose target nobody can tell is still an answer.
                None if answered => {}
                None => fail(merged, ResponseCode::ServFail),
            }
            match alias {
                Some(alias) => question = alias,
                None => break,
            }
        }
        response.unwrap_or_else(|| response_to(query))
    }

    async fn forward(&self, question: &hickory_proto::op::Query) -> Option<Message> {
        let _place = self.forwarded.try_acquire().ok()?;
        let response = self.upstream.ask(question).await?;
        Some(Message::clone(&response))
    }
}

/// A query, or nothing: what is no query gets no answer, lest two servers talk to each other for ever.
fn parse(bytes: &[u8]) -> Option<Message> {
    let query = Message::from_vec(bytes).ok()?;
    (query.metadata.message_type == MessageType::Query).then_some(query)
}

fn merge(response: &mut Message, found: Message) {
    if response.answers.is_empty() {
        response.metadata.authoritative = found.metadata.authoritative;
    }
    fail(response, found.metadata.response_code);
    response.add_answers(found.answers);
    response.add_authorities(found.authorities);
    response.add_additionals(found.additionals.into_iter().filter(|record| record.record_type() != RecordType::OPT));
}

async fn send(socket: &UdpSocket, client: SocketAddr, response: Message, limit: usize) {
    let bytes = encode(response, limit);
    if let Err(error) = socket.send_to(&bytes, client).await {
        tracing::debug!(%client, %error, "sending a DNS response failed");
    }
}

/// The response in at most `limit` bytes: first without extras, then with fewer answers and the mark that says so. The order
/// of several addresses is shuffled, so that clients that take the first one spread.
fn encode(mut response: Message, limit: usize) -> Vec<u8> {
    let addresses = |kind| matches!(kind, RecordType::A | RecordType::AAAA);
    if response.answers.len() > 1 && response.answers.iter().all(|record| addresses(record.record_type())) {
        response.answers.shuffle(&mut rand::rng());
    }
    loop {
        let bytes = response.to_vec().unwrap_or_default();
        if bytes.len() <= limit && !bytes.is_empty() {
            return bytes;
        }
        if !response.additionals.is_empty() {
            response.additionals.clear();
        } else if response.answers.is_empty() && response.authorities.is_empty() {
            return bytes;
        } else {
            response.metadata.truncation = true;
            response.authorities.clear();
            let excess = response.answers.len().div_ceil(8);
            response.answers.truncate(response.answers.len() - excess);
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{OpCode, Query};
    use hickory_proto::rr::rdata::A;
    use hickory_proto::rr::{Name, RData, Record};

    use super::*;

    #[test]
    fn large_responses_are_cut_and_marked() {
        let name = Name::from_ascii("web.default.svc.cluster.local.").unwrap();
        let mut response = Message::response(7, OpCode::Query);
        response.add_query(Query::query(name.clone(), RecordType::A));
        for host in 0..100 {
            response.add_answer(Record::from_rdata(name.clone(), 5, RData::A(A::new(10, 42, 0, host))));
        }
        let cut = encode(response.clone(), 512);
        let parsed = Message::from_vec(&cut).unwrap();
        assert!(
            cut.len() <= 512 && parsed.metadata.truncation && parsed.answers.len() > 20,
            "{}",
            parsed.answers.len()
        );
        let whole = Message::from_vec(&encode(response, 65535)).unwrap();
        assert!(!whole.metadata.truncation && whole.answers.len() == 100);
    }

    #[test]
    fn only_queries_are_answered() {
        assert!(parse(b"").is_none());
        assert!(parse(&[0; 11]).is_none());
        assert!(parse(&Message::response(1, OpCode::Query).to_vec().unwrap()).is_none());
        assert!(parse(&Message::query().to_vec().unwrap()).is_some());
    }
}
