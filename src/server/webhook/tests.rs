//! A small HTTPS server to call, and what calling it is like.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, request::Parts};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use mk8s_store::Store;
use parking_lot::Mutex;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::{CallError, Client, Endpoint};
use crate::relay::Relay;

type Handler = dyn Fn(&Parts, Bytes) -> (u16, Vec<u8>) + Send + Sync;

/// A server on loopback that shows a certificate of its own. It ends with the value.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    /// What trusts it, as a `caBundle`.
    pub(crate) ca_bundle: String,
    connections: Arc<Mutex<usize>>,
    _tasks: JoinSet<()>,
}

impl Backend {
    /// `handler` makes code and body of a request's path and body.
    pub(crate) async fn start(handler: impl Fn(&str, Bytes) -> (u16, Vec<u8>) + Send + Sync + 'static) -> Backend {
        let path = |head: &Parts| head.uri.path_and_query().map_or("/", |path| path.as_str()).to_string();
        Backend::start_with(move |head, body| handler(&path(head), body)).await
    }

    /// As [`Backend::start`], with all of the request's head.
    pub(crate) async fn start_with(
        handler: impl Fn(&Parts, Bytes) -> (u16, Vec<u8>) + Send + Sync + 'static,
    ) -> Backend {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string(), "127.0.0.1".to_string()])
            .expect("a certificate");
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a server");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let handler: Arc<Handler> = Arc::new(handler);
        let connections = Arc::new(Mutex::new(0));
        let counted = connections.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                *counted.lock() += 1;
                let (acceptor, handler) = (acceptor.clone(), handler.clone());
                serving.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let handler = handler.clone();
                        async move {
                            let (head, body) = request.into_parts();
                            let body = body.collect().await.expect("a body").to_bytes();
                            let (code, body) = handler(&head, body);
                            let mut response = Response::new(Full::new(Bytes::from(body)));
                            *response.status_mut() = http::StatusCode::from_u16(code).expect("a code");
                            Ok::<_, Infallible>(response)
                        }
                    });
                    let served =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A client that goes away is no concern of the test.
                    let _ = served.await;
                });
            }
        });
        let ca_bundle = STANDARD.encode(made.cert.pem());
        Backend { address, ca_bundle, connections, _tasks: tasks }
    }

    /// A webhook: `respond` makes the fields of the response from the request of a review.
    pub(crate) async fn review(respond: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Backend {
        Backend::start(move |_, body| {
            let mut review: Value = serde_json::from_slice(&body).expect("a review");
            let mut response = respond(&review["request"]);
            response["uid"] = review["request"]["uid"].clone();
            review["response"] = response;
            (200, review.to_string().into_bytes())
        })
        .await
    }

    /// A `clientConfig` that leads here.
    pub(crate) fn client_config(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.ca_bundle})
    }
}

async fn client() -> Client {
    Client::new(Store::open(mk8s_store::Options::default()).await.expect("memory opens"), Relay::default())
}

async fn post(client: &Client, config: &Value) -> Result<Bytes, CallError> {
    let endpoint = Endpoint::of_client_config(config).expect("a place");
    client.post(&endpoint, Bytes::from_static(b"hello"), Duration::from_secs(10)).await
}

#[tokio::test]
async fn connections_are_kept() {
    let backend = Backend::start(|path, body| (200, [path.as_bytes(), b" ", &body].concat())).await;
    let client = client().await;
    for _ in 0..3 {
        let answer = post(&client, &backend.client_config("/x")).await.expect("answered");
        assert_eq!(answer, "/x?timeout=10s hello");
    }
    assert_eq!(*backend.connections.lock(), 1);
}

#[tokio::test]
async fn failures_are_told_in_the_usual_words() {
    let backend = Backend::start(|_, _| (302, Vec::new())).await;
    let strangers = Backend::start(|_, _| (200, Vec::new())).await;
    let client = client().await;
    let nobody = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address")
    };
    let mut distrusted = backend.client_config("/");
    distrusted["caBundle"] = json!(strangers.ca_bundle);
    let mut unreadable = backend.client_config("/");
    unreadable["caBundle"] = json!(STANDARD.encode("no certificate"));
    let cases = [
        (
            backend.client_config("/"),
            "the server responded with the status code 302 but did not return more information".to_string(),
        ),
        (
            json!({"url": format!("https://{nobody}/"), "caBundle": backend.ca_bundle}),
            format!("Post \"https://{nobody}/?timeout=10s\": dial tcp {nobody}: connect: connection refused"),
        ),
        (
            json!({"service": {"namespace": "n", "name": "s", "port": 443}, "caBundle": backend.ca_bundle}),
            "Post \"https://s.n.svc:443/?timeout=10s\": service \"s\" not found".to_string(),
        ),
        (
            distrusted,
            format!(
                "Post \"https://{}/?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
                backend.address
            ),
        ),
        (unreadable, "unable to load root certificates: unable to parse bytes as PEM block".to_string()),
    ];
    for (config, expected) in cases {
        let error = post(&client, &config).await.expect_err("refused");
        assert_eq!(error.to_string(), expected);
    }
}

#[tokio::test]
async fn a_slow_backend_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let endpoint =
        Endpoint::of_client_config(&json!({"url": format!("https://{address}/"), "caBundle": ""})).expect("a place");
    let endpoint = Endpoint { insecure: true, ..endpoint };
    let error = client().await.post(&endpoint, Bytes::new(), Duration::from_millis(20)).await.expect_err("no answer");
    assert_eq!(error.to_string(), format!("Post \"https://{address}/?timeout=0s\": context deadline exceeded"));
}
