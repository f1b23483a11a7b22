//! What is asked of the node: kubelet's paths, served over connections that the agent dialled.
//!
//! Reading order: [`tunnel`] (the connections), [`serve`] (which path is what), [`logs`] over [`crate::logs`], [`exec`],
//! [`attach`] and [`port_forward`] over [`socket`] (WebSockets whose bytes travel in bodies), [`dial`], [`stats`].
//!
//! Invariant: who may ask was decided by the server; nobody else can reach this.

mod attach;
mod channels;
mod dial;
mod exec;
mod logs;
mod network;
mod port_forward;
mod socket;
mod spdy;
mod stats;
mod storage;
mod target;
mod tunnel;

pub use tunnel::run;

use crate::pod::{Pods, facts};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::Incoming;
use k8s_openapi::api::core::v1::Pod;
use mk8s_api::status::Status;
use std::collections::HashMap;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type Answer = Result<Response<Body>, Status>;

fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn text(content_type: &'static str, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(full(text));
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    Ok(answer)
}

fn refuse(status: &Status) -> Response<Body> {
    let mut answer = Response::new(full(status.to_json()));
    *answer.status_mut() = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// A request's parameters; of repeated ones all.
pub(crate) struct Parameters(HashMap<String, Vec<String>>);

impl Parameters {
    fn of(request: &Request<Incoming>) -> Parameters {
        let mut out: HashMap<String, Vec<String>> = HashMap::new();
        for (key, value) in form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
            out.entry(key.into_owned()).or_default().push(value.into_owned());
        }
        Parameters(out)
    }

    fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some("1" | "true" | "True" | "TRUE" | "t" | "T"))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, Status> {
        let parse =
            |text: &str| text.parse().map_err(|_| Status::bad_request(format!("{name}: {text:?} is not a number")));
        self.get(name).map(parse).transpose()
    }
}

/// Answers one request.
async fn serve(pods: Pods, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let parts: Vec<String> = path.trim_matches('/').split('/').map(decode).collect();
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    let parameters = Parameters::of(&request);
    let answer = match (request.method(), parts.as_slice()) {
        (_, ["healthz"]) => text("text/plain; charset=utf-8", "ok"),
        (&Method::GET, ["pods" | "runningpods"]) => list(&pods),
        (&Method::GET, ["configz"]) => text("application/json", "{\"kubeletconfig\":{}}"),
        (&Method::GET, ["stats", "summary"]) => stats::summary(&pods).await,
        (&Method::GET, ["metrics"]) => stats::own(&pods),
        (&Method::GET, ["metrics", "resource"]) => stats::resource(&pods).await,
        (&Method::GET, ["metrics", "cadvisor"]) => stats::cadvisor(&pods).await,
        (method, ["storage", name]) => storage::serve(&pods, name, &method.clone()).await,
        (&Method::GET, ["containerLogs", namespace, pod, container]) => {
            logs::serve(&pods, namespace, pod, container, &parameters).await
        }
        (_, ["exec", namespace, pod, container]) => {
            exec::serve(&pods, namespace, pod, container, &parameters, request).await
        }
        (_, ["attach", namespace, pod, container]) => {
            attach::serve(&pods, namespace, pod, container, &parameters, request).await
        }
        (&Method::POST, ["dial", ip, port]) => dial::serve(&pods, ip, port, request).await,
        (_, ["portForward", namespace, pod]) => port_forward::serve(&pods, namespace, pod, &parameters, request).await,
        _ => Err(Status::failure(404, "NotFound", "404 page not found")),
    };
    answer.unwrap_or_else(|status| refuse(&status))
}

/// A path segment as it was meant.
fn decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let hex = bytes.get(i + 1..i + 3).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match hex.filter(|_| bytes[i] == b'%') {
            Some(byte) => {
                out.push(byte);
                i += 3;
            }
            None => {
                out.push(bytes[i]);
                i += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn list(pods: &Pods) -> Answer {
    let mut items = pods.list();
    items.sort_by(|a, b| (facts::namespace(a), facts::name(a)).cmp(&(facts::namespace(b), facts::name(b))));
    let items: Vec<&Pod> = items.iter().map(AsRef::as_ref).collect();
    text(
        "application/json",
        serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}).to_string(),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn segments_are_decoded() {
        for (raw, plain) in [("a%2Eb", "a.b"), ("a", "a"), ("%", "%"), ("%zz", "%zz"), ("a%2", "a%2")] {
            assert_eq!(super::decode(raw), plain);
        }
    }
}
