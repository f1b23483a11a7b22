//! Messages that come in from another server.

use std::{
    io,
    time::{Duration, Instant},
};

use mk8s_store::{Assembly, Whole};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    Cluster, SERVERS, frames,
    lines::{END, HELLO, Hello, MESSAGE, PIECE, REFUSED, REMOVED, WELCOME, WITH_KEYSPACE},
    members,
};
use crate::auth::Peer;

const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether whoever talks was removed.
const LOOK: Duration = Duration::from_secs(1);

/// Takes another server's messages until its connection ends.
pub async fn receive<S: AsyncRead + AsyncWrite + Unpin>(cluster: &Cluster, mut stream: S, peer: &Peer) {
    match talk(cluster, &mut stream, peer).await {
        Ok(()) => {}
        Err(error) => tracing::debug!(%error, address = ?peer.addr, "a line from another server broke"),
    }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(cluster: &Cluster, stream: &mut S, peer: &Peer) -> io::Result<()> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let hello = match timeout(PATIENCE, frames::read(stream, frames::TALK_MAX)).await?? {
        Some((HELLO, hello)) => {
            serde_json::from_slice::<Hello>(&hello).map_err(|_| bad("it begins with no greeting"))?
        }
        _ => return Err(bad("it begins with no greeting")),
    };
    if let Some((kind, why)) = refusal(cluster, &hello, peer) {
        tracing::warn!(from = hello.from, to = hello.to, address = ?peer.addr, why, "messages of another server were refused");
        frames::write(stream, kind, why.as_bytes()).await?;
        return stream.flush().await;
    }
    if let Some(address) = hello.address.as_deref().filter(|address| !address.is_empty() && address.len() <= 300) {
        cluster.heard_from(hello.from, address);
    }
    frames::write(stream, WELCOME, &[]).await?;
    stream.flush().await?;
    let mut whole: Option<(Vec<u8>, Assembly)> = None;
    let mut looked = Instant::now();
    while let Some((kind, bytes)) = frames::read_trusted(stream).await? {
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            if members::was_removed(&cluster.store.view(), hello.from) {
                // It connects again, and hears why.
                return Err(bad("it was removed meanwhile"));
            }
        }
        match (kind, &mut whole) {
            (MESSAGE, None) => cluster.store.deliver(&bytes).map_err(io::Error::other)?,
            (WITH_KEYSPACE, None) => whole = Some((bytes, Assembly::default())),
            // A witness keeps nothing of it.
            (PIECE, Some(_)) if cluster.me.witness => {}
            (PIECE, Some((_, assembly))) => assembly.add(&bytes)?,
            (END, Some(_)) => {
                let (message, assembly) = whole.take().expect("just seen");
                let keyspace = if cluster.me.witness { Whole::default() } else { assembly.finish()? };
                cluster.store.deliver_with(&message, keyspace).map_err(io::Error::other)?;
                frames::write(stream, WELCOME, &[]).await?;
                stream.flush().await?;
            }
            _ => return Err(bad("frames in an order that nobody sends")),
        }
    }
    Ok(())
}

/// Why messages are not taken, if they are not, and as what that is said.
fn refusal(cluster: &Cluster, hello: &Hello, peer: &Peer) -> Option<(u8, String)> {
    if !peer.user.as_ref().is_some_and(|user| user.in_group(SERVERS)) {
        return Some((REFUSED, "the certificate is no server's".to_owned()));
    }
    let me = cluster.me.id;
    if hello.to != me {
        return Some((REFUSED, format!("this is member {me}, not {}: has its address gone to another one?", hello.to)));
    }
    if members::was_removed(&cluster.store.view(), hello.from) {
        let why = "was removed from the cluster: remove its data directory, then it can join again";
        return Some((REMOVED, format!("member {} {why}", hello.from)));
    }
    None
}
