//! The API as JSON values over paths: requests, Status errors, warnings.
//!
//! The verbs work on any kind, also on ones nobody compiled in, so nothing here is typed.

use crate::failure::Failure;
use anyhow::{Context, Result};
use bytes::Bytes;
use futures::TryStreamExt;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use std::{collections::HashSet, sync::Mutex};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, Lines};
use tokio_util::io::StreamReader;

pub(crate) const JSON: &str = "application/json";
pub(crate) const TABLE: &str =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
pub(crate) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(crate) const MERGE: &str = "application/merge-patch+json";
pub(crate) const JSON_PATCH: &str = "application/json-patch+json";
pub(crate) const APPLY: &str = "application/apply-patch+yaml";

/// One API server.
pub(crate) struct Remote {
    pub(crate) client: kube::Client,
    /// `host:port`, for messages.
    pub(crate) host: String,
    /// `https://host:port`, for messages.
    pub(crate) url: String,
    warned: Mutex<HashSet<String>>,
}

impl Remote {
    pub(crate) fn new(client: kube::Client, url: &http::Uri) -> Remote {
        let host = url.authority().map(ToString::to_string).unwrap_or_else(|| url.to_string());
        let url = url.to_string().trim_end_matches('/').to_owned();
        Remote { client, host, url, warned: Mutex::default() }
    }

    /// Sends a request and gives back the answer when it is a good one.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        content: Option<(&str, Vec<u8>)>,
    ) -> Result<Response<Body>> {
        let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
        let body = match content {
            Some((kind, bytes)) => {
                request = request.header(header::CONTENT_TYPE, kind);
                Body::from(bytes)
            }
            None => Body::empty(),
        };
        let request = request.body(body).with_context(|| format!("the path {path:?} is not a valid one"))?;
        let response = self.client.send(request).await.map_err(|error| self.unreachable(&error))?;
        self.warn(&response);
        if response.status().is_success() {
            return Ok(response);
        }
        let code = response.status();
        let bytes = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        Err(Failure::Api(status_of(code, &bytes)).into())
    }

    async fn json(&self, method: Method, path: &str, accept: &str, content: Option<(&str, Vec<u8>)>) -> Result<Value> {
        let bytes = self.bytes(method, path, accept, content).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("the answer to {path} is not JSON"))
    }

    pub(crate) async fn bytes(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        content: Option<(&str, Vec<u8>)>,
    ) -> Result<Bytes> {
        let response = self.send(method, path, accept, content).await?;
        Ok(response.into_body().collect().await.map_err(|error| self.unreachable(&error))?.to_bytes())
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.json(Method::GET, path, JSON, None).await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Result<Value> {
        self.json(Method::GET, path, accept, None).await
    }

    pub(crate) async fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.json(Method::POST, path, JSON, Some((JSON, object.to_string().into_bytes()))).await
    }

    pub(crate) async fn put(&self, path: &str, object: &Value) -> Result<Value> {
        self.json(Method::PUT, path, JSON, Some((JSON, object.to_string().into_bytes()))).await
    }

    pub(crate) async fn patch(&self, path: &str, kind: &str, patch: &Value) -> Result<Value> {
        self.json(Method::PATCH, path, JSON, Some((kind, patch.to_string().into_bytes()))).await
    }

    pub(crate) async fn delete(&self, path: &str, options: &Value) -> Result<Value> {
        self.json(Method::DELETE, path, JSON, Some((JSON, options.to_string().into_bytes()))).await
    }

    /// Lists everything at `path`, in pages when the server makes them.
    pub(crate) async fn list(&self, path: &str) -> Result<Value> {
        let mut list = self.get(&with_query(path, &[("limit", "500")])).await?;
        while let Some(token) = list["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
            let mut page = self.get(&with_query(path, &[("limit", "500"), ("continue", token)])).await?;
            let metadata = page["metadata"].take();
            if let (Some(all), Value::Array(more)) = (list["items"].as_array_mut(), page["items"].take()) {
                all.extend(more);
            }
            list["metadata"] = metadata;
        }
        Ok(list)
    }

    /// A long answer, read as it comes.
    pub(crate) async fn stream(&self, path: &str, accept: &str) -> Result<impl AsyncBufRead + Send + Unpin + use<>> {
        let response = self.send(Method::GET, path, accept, None).await?;
        let chunks = response.into_body().into_data_stream().map_err(std::io::Error::other);
        Ok(StreamReader::new(chunks))
    }

    /// The events of a watch.
    pub(crate) async fn watch(&self, path: &str, accept: &str) -> Result<Events> {
        let reader: Box<dyn AsyncBufRead + Send + Unpin> = Box::new(self.stream(path, accept).await?);
        Ok(Events { lines: reader.lines() })
    }

    /// Every warning of the server is shown once.
    fn warn(&self, response: &Response<Body>) {
        for value in response.headers().get_all(header::WARNING) {
            let Some(text) = value.to_str().ok().and_then(warning_text) else { continue };
            let new = self.warned.lock().map(|mut warned| warned.insert(text.clone())).unwrap_or(true);
            if new {
                crate::errln!("Warning: {text}");
            }
        }
    }

    pub(crate) fn unreachable(&self, error: &dyn std::error::Error) -> anyhow::Error {
        let mut innermost = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            innermost = cause.to_string();
            source = cause.source();
        }
        let lower = innermost.to_lowercase();
        if lower.contains("connection refused") {
            Failure::Refused(self.host.clone()).into()
        } else {
            Failure::Unreachable(innermost).into()
        }
    }
}

/// A watch: one JSON document a line.
pub(crate) struct Events {
    lines: Lines<Box<dyn AsyncBufRead + Send + Unpin>>,
}

impl Events {
    /// The next change and its object; nothing when the server ended the watch.
    pub(crate) async fn next(&mut self) -> Result<Option<(String, Value)>> {
        let Some(line) = self.lines.next_line().await.context("watch closed")? else { return Ok(None) };
        let mut event: Value = serde_json::from_str(&line).context("an event of the watch is not JSON")?;
        let object = event["object"].take();
        match event["type"].as_str().unwrap_or_default() {
            "ERROR" => Err(Failure::Api(object).into()),
            kind => Ok(Some((kind.to_owned(), object))),
        }
    }
}

/// The Status of an answer; one is made up when the server (or a proxy before it) sent none.
fn status_of(code: StatusCode, bytes: &[u8]) -> Value {
    if let Ok(status) = serde_json::from_slice::<Value>(bytes)
        && status["kind"] == "Status"
    {
        return status;
    }
    let text = String::from_utf8_lossy(bytes);
    let (reason, message) = match code {
        StatusCode::UNAUTHORIZED => ("Unauthorized", "Unauthorized".to_owned()),
        StatusCode::FORBIDDEN => ("Forbidden", format!("forbidden: {}", text.trim())),
        StatusCode::NOT_FOUND => ("NotFound", "the server could not find the requested resource".to_owned()),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("MethodNotAllowed", "the server does not allow this method on the requested resource".to_owned())
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            ("ServiceUnavailable", "the server is currently unable to handle the request".to_owned())
        }
        _ => ("", text.trim().to_owned()),
    };
    json!({"kind": "Status", "code": code.as_u16(), "reason": reason, "message": message})
}

/// The text of `299 - "text"`, with the escapes of a quoted string undone.
fn warning_text(header: &str) -> Option<String> {
    let quoted = header.split_once('"')?.1;
    let mut text = String::new();
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.extend(chars.next()),
            '"' => break,
            c => text.push(c),
        }
    }
    Some(text)
}

/// Adds query parameters to a path; those with an empty value are left out.
pub(crate) fn with_query(path: &str, pairs: &[(&str, &str)]) -> String {
    let mut text = path.to_owned();
    for (name, value) in pairs.iter().filter(|(_, value)| !value.is_empty()) {
        text.push(if text.contains('?') { '&' } else { '?' });
        text.push_str(name);
        text.push('=');
        text.push_str(&escape(value));
    }
    text
}

/// Escapes a value for a query or a path segment.
pub(crate) fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(byte as char),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped_and_empty_ones_left_out() {
        assert_eq!(
            with_query("/api", &[("a", "x=1,y in (z)"), ("b", ""), ("c", "2")]),
            "/api?a=x%3D1%2Cy%20in%20%28z%29&c=2"
        );
    }

    #[test]
    fn warnings_are_unquoted() {
        assert_eq!(warning_text(r#"299 - "unknown field \"spec.x\"""#).as_deref(), Some(r#"unknown field "spec.x""#));
        assert_eq!(warning_text("299 - none"), None);
    }

    #[test]
    fn answers_without_status_get_one() {
        assert_eq!(status_of(StatusCode::NOT_FOUND, b"404 page not found")["reason"], "NotFound");
        assert_eq!(status_of(StatusCode::CONFLICT, br#"{"kind":"Status","reason":"Conflict"}"#)["reason"], "Conflict");
    }
}
