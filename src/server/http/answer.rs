//! From what the registry says to what is sent: objects, lists, tables, watches, Statuses.
//!
//! The whole object as JSON is what is stored, so it is sent as it is; protobuf and bare metadata are made of its text in
//! one walk; every other form decodes first.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Response, StatusCode, header};
use jiff::Timestamp;
use mk8s_api::{
    kinds,
    protobuf::{self, EncodeError, Encoder},
    status::Status,
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    body::{Body, BodyError},
    metrics,
    negotiate::{Encoding, Form, MetaVersion, View},
};
use crate::{
    registry::{Change, ChangeKind, Frame, List, Resource, Stored, Watch, decode, metadata_text, type_prefix},
    table::{self, Include},
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const YAML: HeaderValue = HeaderValue::from_static("application/yaml");
const PROTOBUF: HeaderValue = HeaderValue::from_static(protobuf::MEDIA_TYPE);
const PROTOBUF_STREAM: HeaderValue = HeaderValue::from_static("application/vnd.kubernetes.protobuf;stream=watch");
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
pub fn status(encoding: Encoding, status: &Status) -> Response<Body> {
    let mut response = match encoding {
        Encoding::Json => json_bytes(status.code, status.to_json()),
        other => value(status.code, other, &status.to_value()),
    };
    if let Some(seconds) = status.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    warn(response, &status.warnings)
}

/// A value in the encoding asked for.
pub fn value(code: u16, encoding: Encoding, value: &Value) -> Response<Body> {
    let content_type = match encoding {
        Encoding::Json => JSON,
        Encoding::Yaml => YAML,
        Encoding::Protobuf => PROTOBUF,
    };
    match text_of(encoding, value) {
        Ok(bytes) => respond(code, content_type, bytes.into()),
        Err(refused) => status(Encoding::Json, &refused),
    }
}

/// The bytes of a value in an encoding.
pub(super) fn text_of(encoding: Encoding, value: &Value) -> Result<Bytes, Status> {
    match encoding {
        Encoding::Json => Ok(to_json(value).into()),
        Encoding::Yaml => serde_yaml::to_string(value).map(Bytes::from).map_err(Status::internal),
        Encoding::Protobuf => {
            let text = |key: &str| value[key].as_str().unwrap_or_default();
            // Discovery's old documents do not say their version.
            let api_version = Some(text("apiVersion")).filter(|version| !version.is_empty()).unwrap_or("v1");
            let encoder = Encoder::of(api_version, text("kind"))
                .ok_or_else(|| Status::not_acceptable(&["application/json", "application/yaml"]))?;
            encoder.object(&to_json(value)).map_err(Status::internal)
        }
    }
}

fn to_json(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value always has a text")
}

/// A protobuf body.
fn encoded(code: u16, body: Result<Bytes, EncodeError>) -> Response<Body> {
    match body {
        Ok(bytes) => respond(code, PROTOBUF, bytes.into()),
        Err(error) => {
            tracing::error!(%error, "a stored object is no JSON that protobuf can be made of");
            status(Encoding::Json, &Status::internal(error))
        }
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
        match self.form {
            Form { view: View::MetadataList, .. } => self.refuse_list(),
            Form { encoding: Encoding::Json, view: View::Whole, .. } => json_bytes(code, self.text(stored)),
            Form { encoding: Encoding::Json, view: View::Metadata, .. } => {
                json_bytes(code, self.partial(&self.text(stored)))
            }
            Form { encoding: Encoding::Protobuf, .. } => match self.encoder() {
                Ok(encoder) => encoded(code, encoder.object(&self.text(stored))),
                Err(refused) => status(Encoding::Json, &refused),
            },
            _ => value(code, self.form.encoding, &self.reshape(stored.served(&self.resource))),
        }
    }

    /// What is said instead of an object.
    pub fn status(&self, said: &Status) -> Response<Body> {
        status(self.form.encoding, said)
    }

    /// The object's JSON as this version has it.
    fn text(&self, stored: &Stored) -> Bytes {
        match stored {
            Stored::Entry(entry) if !self.resource.is_converted() => entry.value.clone(),
            _ => to_json(&stored.served(&self.resource)).into(),
        }
    }

    fn served_text(&self, object: &Bytes) -> Bytes {
        match self.resource.is_converted() {
            false => object.clone(),
            true => to_json(&self.resource.to_served(decode(object))).into(),
        }
    }

    /// `PartialObjectMetadata` of an object's JSON.
    fn partial(&self, object: &[u8]) -> Vec<u8> {
        let version = self.form.meta.as_str();
        let metadata = metadata_text(object).unwrap_or("{}");
        format!(r#"{{"kind":"PartialObjectMetadata","apiVersion":"{version}","metadata":{metadata}}}"#).into_bytes()
    }

    /// `PartialObjectMetadataList` as JSON.
    fn metadata_list(&self, list: &List) -> Vec<u8> {
        let mut out = list.head("PartialObjectMetadataList", self.form.meta.as_str()).into_bytes();
        for (at, entry) in list.entries.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&self.partial(&self.served_text(&entry.value)));
        }
        out.extend_from_slice(b"]}\n");
        out
    }

    /// How the objects of this answer become protobuf.
    fn encoder(&self) -> Result<Encoder, Status> {
        let encoder = match self.form.view {
            View::Whole => Encoder::of(&self.resource.api_version, &self.resource.kind.kind),
            _ => Encoder::of(self.form.meta.as_str(), "PartialObjectMetadata"),
        };
        encoder.ok_or_else(|| Status::not_acceptable(&["application/json", "application/yaml"]))
    }

    /// The 406 of a list's form for what is no list.
    fn refuse_list(&self) -> Response<Body> {
        let why = "you requested PartialObjectMetadataList, but the requested object is not a list";
        self.status(&Status::failure(
            406,
            "NotAcceptable",
            format!("{why} ({})", self.go_type(&self.resource.kind.kind)),
        ))
    }

    /// The 406 of an object's form for a list.
    fn refuse_object(&self) -> Response<Body> {
        let why = "you requested PartialObjectMetadata, but the requested object is a list";
        let list = self.go_type(&self.resource.kind.list_kind);
        self.status(&Status::failure(406, "NotAcceptable", format!("{why} ({list})")))
    }

    /// Clients see the name of apiserver's own type in these two refusals.
    fn go_type(&self, kind: &str) -> String {
        match self.resource.kind.group.split('.').next().unwrap_or_default() {
            "" => format!("*core.{kind}"),
            package => format!("*{package}.{kind}"),
        }
    }

    fn reshape(&self, object: Value) -> Value {
        match self.form.view {
            View::Whole => object,
            View::Metadata | View::MetadataList => self.metadata_of(&object),
            View::Table => {
                let version = object["metadata"]["resourceVersion"].clone();
                self.table(std::slice::from_ref(&object), json!({"resourceVersion": version}))
            }
        }
    }

    /// `PartialObjectMetadata` of an object.
    fn metadata_of(&self, object: &Value) -> Value {
        json!({"kind": "PartialObjectMetadata", "apiVersion": self.form.meta.as_str(), "metadata": object["metadata"]})
    }

    fn table(&self, objects: &[Value], metadata: Value) -> Value {
        let (kind, now) = (&self.resource.kind, Timestamp::now());
        let mut table = match self.resource.printer() {
            Some(printer) => table::render_with(printer, objects, self.include, now),
            None => table::render(&kind.group, &kind.kind, objects, self.include, now),
        };
        table["metadata"] = metadata;
        if self.form.meta != MetaVersion::V1 {
            let version = self.form.meta.as_str();
            table["apiVersion"] = version.into();
            let rows = table["rows"].as_array_mut().into_iter().flatten();
            for row in rows.filter(|row| row["object"]["kind"] == "PartialObjectMetadata") {
                row["object"]["apiVersion"] = version.into();
            }
        }
        table
    }

    /// Whether what is stored is sent, and nothing is made of it.
    pub fn sends_stored(&self) -> bool {
        self.form.encoding == Encoding::Json && self.form.view == View::Whole && !self.resource.is_converted()
    }

    /// Many objects.
    pub fn list(&self, list: List) -> Response<Body> {
        if self.sends_stored() {
            let head = list.head(&self.resource.kind.list_kind, &self.resource.api_version);
            return json_bytes(200, Body::list(head, self.left_out(), list.entries, b"]}\n"));
        }
        match (self.form.encoding, self.form.view) {
            (_, View::Metadata) => return self.refuse_object(),
            (Encoding::Protobuf, _) => return self.protobuf_list(&list),
            (Encoding::Json, View::MetadataList) => return json_bytes(200, self.metadata_list(&list)),
            _ => {}
        }
        let objects: Vec<Value> = list.decode().into_iter().map(|object| self.resource.to_served(object)).collect();
        let answer = match self.form.view {
            View::Table => self.table(&objects, list.metadata()),
            View::Whole => json!({
                "kind": self.resource.kind.list_kind,
                "apiVersion": self.resource.api_version,
                "metadata": list.metadata(),
                "items": objects.into_iter().map(|object| self.item(object)).collect::<Vec<_>>(),
            }),
            View::Metadata | View::MetadataList => json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": self.form.meta.as_str(),
                "metadata": list.metadata(),
                "items": objects.iter().map(|object| self.metadata_of(object)).collect::<Vec<_>>(),
            }),
        };
        value(200, self.form.encoding, &answer)
    }

    /// What items of a list begin with and do not say again: built-in kinds leave their type to the list.
    fn left_out(&self) -> String {
        let kind = &self.resource.kind;
        match kinds::find_kind(&kind.group, &kind.version, &kind.kind) {
            Some(_) => type_prefix(&kind.kind, &self.resource.api_version),
            None => String::new(),
        }
    }

    fn item(&self, mut object: Value) -> Value {
        if let Some(fields) = object.as_object_mut().filter(|_| !self.left_out().is_empty()) {
            fields.remove("kind");
            fields.remove("apiVersion");
        }
        object
    }

    fn protobuf_list(&self, list: &List) -> Response<Body> {
        let encoder = match self.encoder() {
            Ok(encoder) => encoder,
            Err(refused) => return status(Encoding::Json, &refused),
        };
        let (api_version, kind) = match self.form.view {
            View::Whole => (self.resource.api_version.as_str(), self.resource.kind.list_kind.as_str()),
            _ => (self.form.meta.as_str(), "PartialObjectMetadataList"),
        };
        let texts: Vec<Bytes> = list.entries.iter().map(|entry| self.served_text(&entry.value)).collect();
        let size = texts.iter().map(Bytes::len).sum();
        let items = texts.iter().map(Bytes::as_ref);
        encoded(200, encoder.list(api_version, kind, &to_json(&list.metadata()), items, size))
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
        let encoder = match self.form.encoding {
            Encoding::Protobuf => match self.encoder() {
                Ok(encoder) => Some(encoder),
                Err(refused) => return status(Encoding::Json, &refused),
            },
            _ => None,
        };
        let content_type = if encoder.is_some() { PROTOBUF_STREAM } else { JSON };
        let state =
            Watching { shown: self, encoder, watch, deadline: deadline.into(), stop, first: true, _counted: counted };
        let stream = futures::stream::unfold(state, |mut state| async move {
            let piece = state.next().await?;
            Some((Ok::<Bytes, BodyError>(piece), state))
        });
        respond(200, content_type, Body::stream(stream))
    }
}

struct Watching {
    shown: Shown,
    /// For watches in protobuf.
    encoder: Option<Encoder>,
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
        if let Some(encoder) = &self.encoder {
            return self.shown.protobuf_frame(encoder, change);
        }
        let resource = &self.shown.resource;
        let plain = !resource.is_converted();
        match (change, self.shown.form.view) {
            (Change::Error(_), _) | (Change::Bookmark { .. }, View::Whole) => change.frame(resource),
            (_, View::Whole) if plain => change.frame(resource),
            (Change::Object { object, .. }, View::Metadata | View::MetadataList) => {
                let make = |kind: ChangeKind, object: &Bytes| line(kind.as_str(), &self.shown.partial(object));
                match (plain, self.shown.form.meta) {
                    (true, MetaVersion::V1) => change.cached(Frame::Metadata, make),
                    _ => change.made(&self.shown.served_text(object), make),
                }
            }
            (Change::Object { kind, object, .. }, _) => {
                let object = resource.to_served(decode(object));
                self.line(*kind, object)
            }
            (Change::Bookmark { revision, initial_events_end }, _) => {
                line("BOOKMARK", &to_json(&self.shown.bookmark(*revision, *initial_events_end)))
            }
        }
    }

    fn line(&mut self, kind: ChangeKind, object: Value) -> Bytes {
        let mut shown = self.shown.reshape(object);
        if self.shown.form.view == View::Table && !std::mem::replace(&mut self.first, false) {
            shown["columnDefinitions"] = Value::Null;
        }
        line(kind.as_str(), &to_json(&shown))
    }
}

impl Shown {
    fn protobuf_frame(&self, encoder: &Encoder, change: &Change) -> Bytes {
        let event = |encoder: &Encoder, kind: &str, object: &[u8]| {
            encoder.event(kind, object).unwrap_or_else(|error| {
                tracing::error!(%error, "a stored object is no JSON that protobuf can be made of");
                Bytes::new()
            })
        };
        let make = |kind: ChangeKind, object: &Bytes| event(encoder, kind.as_str(), object);
        match (change, self.form.view) {
            (Change::Object { .. }, View::Whole) if !self.resource.is_converted() => {
                change.cached(Frame::Protobuf, make)
            }
            (Change::Object { object, .. }, _) => change.made(&self.served_text(object), make),
            (Change::Bookmark { revision, initial_events_end }, _) => {
                event(encoder, "BOOKMARK", &to_json(&self.bookmark(*revision, *initial_events_end)))
            }
            (Change::Error(status), _) => match Encoder::of("v1", "Status") {
                Some(encoder) => event(&encoder, "ERROR", &status.to_json()),
                None => Bytes::new(),
            },
        }
    }

    /// A bookmark's object, in the forms that are not the stored one.
    fn bookmark(&self, revision: u64, initial_events_end: bool) -> Value {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let version = self.form.meta.as_str();
        let object = json!({"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": metadata});
        match self.form.view {
            View::Table => {
                json!({"kind": "Table", "apiVersion": version, "metadata": {"resourceVersion": revision.to_string()},
                    "columnDefinitions": null, "rows": [{"cells": [], "object": object}]})
            }
            _ => object,
        }
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}
