//! A server that is only a witness: a vote and the log, so that two servers with data survive the loss of either. It has no
//! data and serves no API.
//!
//! ```text
//! port: mk8s-raft/1, mk8s-cluster/1 ─▶ Cluster (as on every server)
//!       HTTP ─▶ /healthz, /livez, /readyz; /metrics for whoever shows a certificate that may read them;
//!               everything else is told to ask another server
//! ```
//!
//! How it votes and why nothing is lost by it is in the store (`src/store/raft/witness.rs`).

mod memory;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mk8s_api::status::{GroupResource, Status};
use mk8s_store::Store;
use tokio::{net::TcpStream, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    assemble::{listen_on, member_record, pki_options},
    auth::{Peer, Pki},
    cluster::{self, Cluster, Lines, RAFT, Record, Removed, SERVERS, TALK, members::Member},
    http::listener,
    options::ServerOptions,
};

pub use memory::give_back_at_once;

/// What the port speaks, preferred first.
const ALPN: [&[u8]; 4] = [b"h2", b"http/1.1", TALK, RAFT];

/// How long whoever asks for health may stay.
const VISIT: Duration = Duration::from_secs(30);

/// The log is cut when everyone has so many bytes of it, since the last time.
const CUT_BYTES: u64 = 1 << 20;
/// So much of the log is kept for a server that is away. One that is away for longer gets what it lacks from the other.
const KEEP_BYTES: u64 = 64 << 20;

/// Runs a witness until `stop`.
///
/// # Errors
/// Why it cannot begin.
pub async fn run(options: ServerOptions, stop: CancellationToken) -> anyhow::Result<()> {
    let dir = options.server_dir();
    let port = listen_on(SocketAddr::new(options.bind_address, options.https_listen_port)).await?;
    let address = SocketAddr::new(options.node.node_ip, port.local_addr()?.port()).to_string();
    let record = member_record(&options, &address).await?;
    let pki = Arc::new(Pki::load_or_create(pki_options(&options), SystemTime::now())?);
    let (end, removed) = (CancellationToken::new(), Removed::default());
    let lines = Lines::new(record.id, address.clone(), pki.clone(), &record.members, removed.clone(), end.clone());
    let store_options = mk8s_store::Options {
        dir: Some(dir.join("store")),
        identity: Some(record.identity(pki.cluster_name())),
        node_id: record.id,
        founders: Some(Vec::new()),
        witness: true,
        checkpoint_bytes: CUT_BYTES,
        keep_bytes: KEEP_BYTES,
        ..mk8s_store::Options::default()
    };
    let store = Store::open_with(store_options, lines.transport()).await?;
    let me = Member {
        id: record.id,
        name: options.node.node_name.clone(),
        address,
        seals: true,
        witness: true,
        full: false,
    };
    let cluster = Cluster {
        store: store.clone(),
        pki: pki.clone(),
        me,
        lines: lines.clone(),
        remembered: record.members.clone().into(),
        removed,
        remedy: cluster::remedy(record.id, &dir).into(),
        end: end.clone(),
    };
    tracing::info!(id = record.id, "this server is a witness");
    let acceptor = TlsAcceptor::from(Arc::new(pki.server_config(&ALPN)?));
    let mut tasks = JoinSet::new();
    tasks.spawn(lines.clone().doubt(store.clone()));
    tasks.spawn(lines.follow(store.clone()));
    tasks.spawn(memory::leave_out_unused());
    let fresh = stop.clone();
    tasks.spawn(async move { pki.keep_fresh(fresh).await });
    tasks.spawn(say_when_removed(cluster.clone(), record, dir));
    // No connection here is worth waiting for.
    drop(
        listener::accept(port, &stop, |stream, address| connection(stream, address, acceptor.clone(), cluster.clone()))
            .await,
    );
    // While the lines are open, so that it can give the lead away.
    store.close().await;
    end.cancel();
    Ok(())
}

async fn say_when_removed(cluster: Cluster, record: Record, dir: PathBuf) {
    if record.removed {
        cluster.removed.hear();
    }
    cluster.removed.known().await;
    tracing::error!("{}", cluster.remedy);
    if let Err(error) = (Record { removed: true, ..record }).save(&dir) {
        tracing::warn!(%error, "it cannot be written down that this server was removed");
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, acceptor: TlsAcceptor, cluster: Cluster) {
    let Some((stream, peer)) = listener::greet(stream, address, &acceptor, &cluster).await else { return };
    let (_, session) = stream.get_ref();
    let http2 = session.alpn_protocol() == Some(b"h2");
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(&cluster, &peer, request.uri().path());
        async move { Ok::<_, Infallible>(answer) }
    });
    let stream = TokioIo::new(stream);
    let visit = async {
        match http2 {
            true => {
                http2::Builder::new(TokioExecutor::new())
                    .timer(TokioTimer::new())
                    .serve_connection(stream, service)
                    .await
            }
            false => http1::Builder::new().timer(TokioTimer::new()).serve_connection(stream, service).await,
        }
    };
    match timeout(VISIT, visit).await {
        Ok(Ok(())) | Err(_) => {}
        Ok(Err(error)) => tracing::debug!(%error, %address, "connection ended"),
    }
}

/// Groups whose certificates are enough to read the metrics: there are no roles here to ask.
const READERS: [&str; 3] = ["system:masters", "system:monitoring", SERVERS];

fn answer(cluster: &Cluster, peer: &Peer, path: &str) -> Response<Full<Bytes>> {
    let status = match path {
        "/metrics" if peer.user.as_ref().is_some_and(|user| READERS.iter().any(|group| user.in_group(group))) => {
            let mut answer = Response::new(Full::from(cluster.store.metrics_text()));
            answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4"));
            return answer;
        }
        "/metrics" => Status::forbidden(
            &GroupResource::default(),
            "",
            "a witness shows its metrics to client certificates of the groups system:masters and system:monitoring",
        ),
        "/livez" => return Response::new(Full::from("ok")),
        _ if cluster.removed.is_known() => Status::unavailable(cluster.remedy.to_string()),
        "/healthz" | "/readyz" => match cluster.store.leadership().borrow().leader {
            Some(_) => return Response::new(Full::from("ok")),
            None => Status::unavailable("the cluster has no leader, or it cannot be reached"),
        },
        _ => Status::unavailable(cluster.has_no_data()),
    };
    let mut answer = Response::new(Full::from(status.to_json()));
    *answer.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
