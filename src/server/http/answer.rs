//! From what the registry says to what is sent: objects, lists, tables, watches, Statuses.
//!
//! The whole object as JSON is what is stored, so it is sent as it is; every other form decodes first.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use mk8s_api::status::Status;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    body::{Body, BodyError},
    metrics,
    negotiate::{Encoding, Form, View},
};
use crate::{
    registry::{Change, ChangeKind, List, Resource, Stored, Watch, decode},
    table::{self, Include},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache, private");

/// Lines of a watch that are sent together at most.
const BATCH: usize = 64 << 10;

/// How the objects of one answer are shown.
#[derive(Clone)]
pub struct Shown {
    pub resource: Arc<Resource>,
    pub form: Form,
    pub include: Include,
}

fn respond(code: u16, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type);
    headers.insert(header::CACHE_CONTROL, NO_CACHE);
    response
}

/// JSON bytes.
pub fn json_bytes(code: u16, bytes: impl Into<Body>) -> Response<Body> {
    respond(code, JSON, bytes.into())
}

/// Plain text.
pub fn text(code: u16, text: impl Into<Body>) -> Response<Body> {
    respond(code, HeaderValue::from_static("text/plain; charset=utf-8"), text.into())
}

/// A Status, with the header that tells when to come back.
pub fn status(status: &Status) -> Response<Body> {
    let mut response = json_bytes(status.code, status.to_json());
    if let Some(seconds) = status.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A value in the encoding asked for.
pub fn value(code: u16, encoding: Encoding, value: &Value) -> Response<Body> {
    match encoding {
        Encoding::Json => json_bytes(code, serde_json::to_vec(value).expect("a JSON value always has a text")),
        Encoding::Yaml => match serde_yaml::to_string(value) {
            Ok(text) => respond(code, YAML, text.into()),
            Err(error) => status(&Status::internal(error)),
        },
    }
}

/// How many characters all warnings may have before each is cut, and what is left of it then.
const WARNINGS: usize = 4096;
const CUT_WARNING: usize = 256;

/// Adds `Warning` headers: each text once, and shortened when all of them would be too much for a header.
pub fn warn(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    let total: usize = warnings.iter().map(|warning| warning.chars().count()).sum();
    let length = if total > WARNINGS { CUT_WARNING } else { WARNINGS };
    let mut left = WARNINGS;
    for (at, warning) in warnings.iter().enumerate() {
        if left == 0 {
            break;
        }
        if warning.is_empty() || warnings[..at].contains(warning) {
            continue;
        }
        let cut: String = warning.chars().take(length).map(|c| if c.is_control() { ' ' } else { c }).collect();
        left = left.saturating_sub(cut.chars().count());
        let quoted = cut.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

impl Shown {
    /// One object.
    pub fn object(&self, code: u16, stored: &Stored) -> Response<Body> {
        match (stored, self.form) {
            (Stored::Entry(entry), Form { encoding: Encoding::Json, view: View::Whole })
                if !self.resource.is_converted() =>
            {
                json_bytes(code, entry.value.clone())
            }
            _ => {
                let object = stored.served(&self.resource);
                value(code, self.form.encoding, &self.reshape(object))
            }
        }
    }

    fn reshape(&self, object: Value) -> Value {
        match self.form.view {
            View::Whole => object,
            View::Metadata | View::MetadataList => metadata_of(&object),
            View::Table => {
                let version = object["metadata"]["resourceVersion"].clone();
                self.table(std::slice::from_ref(&object), json!({"resourceVersion": version}))
            }
        }
    }

    fn table(&self, objects: &[Value], metadata: Value) -> Value {
        let mut table =
            table::render(&self.resource.kind.group, &self.resource.kind.kind, objects, self.include, Timestamp::now());
        table["metadata"] = metadata;
        table
    }

    /// Many objects.
    pub fn list(&self, list: List) -> Response<Body> {
        let whole = matches!(self.form, Form { encoding: Encoding::Json, view: View::Whole });
        if whole && !self.resource.is_converted() {
            let head = list.head(&self.resource.kind.list_kind, &self.resource.api_version);
            return json_bytes(200, Body::list(head, list.entries, b"]}\n"));
        }
        let objects: Vec<Value> = list.decode().into_iter().map(|object| self.resource.to_served(object)).collect();
        let answer = match self.form.view {
            View::Table => self.table(&objects, list.metadata()),
            View::Whole => json!({
                "kind": self.resource.kind.list_kind,
                "apiVersion": self.resource.api_version,
                "metadata": list.metadata(),
                "items": objects,
            }),
            View::Metadata | View::MetadataList => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": list.metadata(),
                "items": objects.iter().map(metadata_of).collect::<Vec<_>>(),
            }),
        };
        value(200, self.form.encoding, &answer)
    }

    /// A watch, until it ends, `timeout` is over or the server stops.
    pub fn watch(
        self,
        watch: Watch,
        timeout: Duration,
        stop: CancellationToken,
        counted: metrics::Watching,
    ) -> Response<Body> {
        let deadline = Instant::now() + timeout;
        let state = Watching { shown: self, watch, deadline: deadline.into(), stop, first: true, _counted: counted };
        let stream = futures::stream::unfold(state, |mut state| async move {
            let piece = state.next().await?;
            Some((Ok::<Bytes, BodyError>(piece), state))
        });
        json_bytes(200, Body::stream(stream))
    }
}

struct Watching {
    shown: Shown,
    watch: Watch,
    deadline: tokio::time::Instant,
    stop: CancellationToken,
    /// No object was shown yet; a table's columns go with the first.
    first: bool,
    _counted: metrics::Watching,
}

impl Watching {
    async fn next(&mut self) -> Option<Bytes> {
        let change = match self.watch.ready() {
            Some(change) => change,
            None => tokio::select! {
                biased;
                change = self.watch.next() => change?,
                () = tokio::time::sleep_until(self.deadline) => return None,
                () = self.stop.cancelled() => return None,
            },
        };
        let first = self.frame(&change);
        let Some(second) = self.watch.ready() else { return Some(first) };
        let mut batch = BytesMut::from(&first[..]);
        batch.extend_from_slice(&self.frame(&second));
        while batch.len() < BATCH {
            let Some(change) = self.watch.ready() else { break };
            batch.extend_from_slice(&self.frame(&change));
        }
        Some(batch.freeze())
    }

    fn frame(&mut self, change: &Change) -> Bytes {
        let resource = &self.shown.resource;
        let whole = self.shown.form.view == View::Whole;
        match change {
            _ if whole && !resource.is_converted() => change.frame(resource),
            Change::Error(_) => change.frame(resource),
            Change::Bookmark { .. } if whole => change.frame(resource),
            Change::Object { kind, object, .. } => {
                let object = resource.to_served(decode(object));
                self.line(*kind, object)
            }
            Change::Bookmark { revision, initial_events_end } => self.bookmark(*revision, *initial_events_end),
        }
    }

    fn line(&mut self, kind: ChangeKind, object: Value) -> Bytes {
        let mut shown = self.shown.reshape(object);
        if self.shown.form.view == View::Table && !std::mem::replace(&mut self.first, false) {
            shown["columnDefinitions"] = Value::Null;
        }
        line(kind.as_str(), &shown)
    }

    fn bookmark(&self, revision: u64, initial_events_end: bool) -> Bytes {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let shown = match self.shown.form.view {
            View::Table => {
                let object =
                    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata});
                json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": revision.to_string()},
                    "columnDefinitions": null, "rows": [{"cells": [], "object": object}]})
            }
            _ => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}),
        };
        line("BOOKMARK", &shown)
    }
}

fn line(kind: &str, object: &Value) -> Bytes {
    let mut line = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
    serde_json::to_writer(&mut line, object).expect("a vector takes any bytes");
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}

/// `PartialObjectMetadata` of an object.
fn metadata_of(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}
