//! Through a tunnel to a pretended agent: logs, refusals, and the bytes of a WebSocket.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mk8s_store::Store;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio_util::sync::CancellationToken;

use crate::{
    assemble::{ApiOptions, router},
    auth::{User, tokens::SigningKey},
    http::{Body, Router, body::request_body, router::Caller},
    registry::ServiceRanges,
};

/// An agent that answers logs with the request's path, refuses attach, echoes what exec sends, and has a pod at port 80.
async fn agent(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let uri = request.uri().to_string();
    let mut response = Response::new(Body::from(uri.clone()));
    if uri.contains("/attach/") {
        let status = json!({"kind": "Status", "status": "Failure", "reason": "NotFound", "message": "no such container", "code": 404});
        response = Response::new(Body::from(status.to_string()));
        *response.status_mut() = StatusCode::NOT_FOUND;
    }
    if let Some(address) = uri.strip_prefix("http://node/dial/") {
        let Some(ip) = address.strip_suffix("/80") else {
            let mut refused = Response::new(Body::from("dial tcp 10.42.0.9:81: connect: connection refused"));
            *refused.status_mut() = StatusCode::BAD_GATEWAY;
            return Ok(refused);
        };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{ip}", ip.len());
        let mut body = request.into_body();
        let asked = async move {
            body.frame().await.expect("a request").expect("the tunnel holds");
            Ok(Bytes::from(answer))
        };
        return Ok(Response::new(Body::stream(futures::stream::once(asked))));
    }
    if uri.contains("/exec/") {
        let (parts, body) = request.into_parts();
        let protocol = match parts.headers["x-mk8s-upgrade"].to_str() {
            Ok("websocket") => "sec-websocket-protocol",
            way => {
                assert_eq!(way.ok(), Some("spdy"));
                "x-stream-protocol-version"
            }
        };
        let offered = parts.headers[protocol].to_str().expect("text").to_string();
        let chosen = offered.split(',').next().expect("one at least").trim().to_string();
        let first = futures::stream::once(async move { Ok(Bytes::from(format!("{uri}\n"))) });
        let echo = futures::StreamExt::map(body.into_data_stream(), |piece| Ok(piece.expect("the tunnel holds")));
        response = Response::new(Body::stream(futures::StreamExt::chain(first, echo)));
        response.headers_mut().insert(protocol, chosen.parse().expect("a header"));
    }
    Ok(response)
}

struct Cluster {
    router: Router,
    stop: CancellationToken,
}

impl Cluster {
    async fn new() -> Cluster {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let stop = CancellationToken::new();
        let options = ApiOptions {
            signing_key: Arc::new(SigningKey::generate().expect("a key")),
            token_issuer: "https://kubernetes.default.svc".into(),
            admin_token: None,
            join_secret: None,
            services: ServiceRanges::default(),
            seats: 600,
            stop: stop.clone(),
        };
        let cluster = Cluster { router: router(&store, options), stop };
        // Written past the API: what a pod must be is not what is tested here.
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "d"},
            "spec": {"nodeName": "n", "containers": [{"name": "c"}]}, "status": {"podIP": "10.42.0.9"}});
        let put = mk8s_store::Op::Put {
            key: Bytes::from_static(b"/registry/core/pods/d/p"),
            value: mk8s_store::Stamped::plain(pod.to_string()),
            expect: mk8s_store::Expect::Absent,
        };
        store.commit(mk8s_store::Txn::one(put)).await.expect("memory takes it");
        cluster
    }

    /// Opens a tunnel and waits until it carries.
    async fn connect(&self, node: &'static str) {
        self.connect_until(node, self.stop.clone());
        while !self.router.relay().reaches(node) {
            tokio::task::yield_now().await;
        }
    }

    fn connect_until(&self, node: &'static str, stop: CancellationToken) -> tokio::task::JoinHandle<()> {
        let (server_end, agent_end) = tokio::io::duplex(1 << 16);
        let relay = self.router.relay().clone();
        let carried = tokio::spawn(async move { relay.carry(node, server_end, stop).await });
        tokio::spawn(
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(agent_end), service_fn(agent)),
        );
        carried
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let mut request = Request::get(path).body(request_body(Full::new(Bytes::new()))).expect("a valid request");
        request.extensions_mut().insert(admin());
        let response = self.router.answer(request).await;
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("the tunnel holds").to_bytes();
        (code, String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The client's end of an HTTP/1.1 connection.
    fn dial(&self) -> DuplexStream {
        let (client, server) = tokio::io::duplex(1 << 16);
        let router = self.router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let router = router.clone();
            async move {
                let mut request = request.map(request_body);
                request.extensions_mut().insert(admin());
                Ok::<_, Infallible>(router.answer(request).await)
            }
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service).with_upgrades());
        client
    }
}

fn admin() -> Caller {
    Caller(Arc::new(User::control_plane("admin")))
}

async fn read_until(stream: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        text.push(char::from(stream.read_u8().await.expect("more to come")));
    }
    text
}

#[tokio::test]
async fn logs_come_through_the_tunnel() {
    let cluster = Cluster::new().await;
    let (code, text) = cluster.get("/api/v1/namespaces/d/pods/p/log").await;
    assert_eq!(code, 500);
    assert!(text.contains("no tunnel to node"), "{text}");
    cluster.connect("n").await;
    let cases = [
        (
            "/api/v1/namespaces/d/pods/p/log?tailLines=5&follow=true",
            200,
            "http://node/containerLogs/d/p/c?follow=true&tailLines=5",
        ),
        ("/api/v1/namespaces/d/pods/p/log?container=x", 400, "container x is not valid for pod p"),
        ("/api/v1/namespaces/d/pods/p/log?tailLines=-1", 422, "tailLines: Invalid value: -1"),
        ("/api/v1/namespaces/d/pods/q/log", 404, "pods \\\"q\\\" not found"),
        ("/api/v1/namespaces/d/pods/p/exec?command=sh", 400, "Upgrade request required"),
        ("/api/v1/nodes/n/proxy/stats/summary?x=y", 200, "http://node/stats/summary?x=y"),
        ("/api/v1/nodes/m/proxy/", 500, "no tunnel to node"),
    ];
    for (path, code, expected) in cases {
        let (got, text) = cluster.get(path).await;
        assert_eq!(got, code, "{path}: {text}");
        assert!(text.contains(expected), "{path}: {text}");
    }
}

#[tokio::test]
async fn a_server_without_a_node_reaches_pods_through_theirs() {
    let cluster = Cluster::new().await;
    cluster.router.relay().go_through_nodes();
    let (code, text) = cluster.get("/api/v1/namespaces/d/pods/p:80/proxy/").await;
    assert!(code == 503 && text.contains("no tunnel to node"), "{text}");
    cluster.connect("n").await;
    assert_eq!(cluster.get("/api/v1/namespaces/d/pods/p:80/proxy/x").await, (200, "10.42.0.9".into()));
    let (code, text) = cluster.get("/api/v1/namespaces/d/pods/p:81/proxy/").await;
    let why = "error trying to reach service: dial tcp 10.42.0.9:81: connect: connection refused";
    assert!(code == 503 && text.contains(why), "{text}");
    assert_eq!(cluster.get("/api/v1/namespaces/d/pods/p:99999/proxy/").await.0, 400);
}

#[tokio::test]
async fn a_second_tunnel_of_a_node_may_go_again() {
    let cluster = Cluster::new().await;
    cluster.connect("n").await;
    let stop = CancellationToken::new();
    let second = cluster.connect_until("n", stop.clone());
    for _ in 0..3 {
        assert_eq!(cluster.get("/api/v1/nodes/n/proxy/x").await, (200, "http://node/x".into()));
    }
    stop.cancel();
    second.await.expect("it ends");
    assert_eq!(cluster.get("/api/v1/nodes/n/proxy/x").await, (200, "http://node/x".into()));
}

#[tokio::test]
async fn a_websocket_is_spliced() {
    let cluster = Cluster::new().await;
    cluster.connect("n").await;
    let mut client = cluster.dial();
    let handshake = |path: &str| {
        format!(
            "GET /api/v1/namespaces/d/pods/p/{path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
        )
    };
    client
        .write_all(handshake("exec?command=sh&command=-c&stdin=true&stdout=1&stderr=false").as_bytes())
        .await
        .expect("open");
    let answer = read_until(&mut client, "\r\n\r\n").await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    assert!(answer.contains("sec-websocket-protocol: v5.channel.k8s.io\r\n"), "{answer}");
    assert_eq!(read_until(&mut client, "\n").await, "http://node/exec/d/p/c?command=sh&command=-c&input=1&output=1\n");
    client.write_all(b"raw bytes\n").await.expect("open");
    assert_eq!(read_until(&mut client, "\n").await, "raw bytes\n");
    let mut refused = cluster.dial();
    refused.write_all(handshake("attach").as_bytes()).await.expect("open");
    let answer = read_until(&mut refused, "404}").await;
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
    assert!(answer.contains("no such container"), "{answer}");
}

#[tokio::test]
async fn spdy_is_passed_through() {
    let cluster = Cluster::new().await;
    cluster.connect("n").await;
    let mut client = cluster.dial();
    let handshake = "POST /api/v1/namespaces/d/pods/p/exec?command=sh&stdout=true HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: Upgrade\r\n\
         Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nX-Stream-Protocol-Version: channel.k8s.io\r\n\r\n";
    client.write_all(handshake.as_bytes()).await.expect("open");
    let answer = read_until(&mut client, "\r\n\r\n").await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    assert!(answer.contains("upgrade: spdy/3.1\r\n"), "{answer}");
    assert!(answer.contains("x-stream-protocol-version: v4.channel.k8s.io\r\n"), "{answer}");
    assert_eq!(read_until(&mut client, "\n").await, "http://node/exec/d/p/c?command=sh&output=1\n");
    client.write_all(b"raw bytes\n").await.expect("open");
    assert_eq!(read_until(&mut client, "\n").await, "raw bytes\n");
}
