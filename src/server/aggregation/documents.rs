//! Discovery and OpenAPI of all together: this server's documents with what extensions serve put in.
//!
//! A merged document is kept until this server's own document or what is known of extensions changes.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use mk8s_api::status::Status;
use parking_lot::RwLock;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Aggregation, Remote, merge};
use crate::http::{Body, answer};

/// Merged documents by path and form, with what they were made from.
#[derive(Default)]
pub(super) struct Documents(RwLock<HashMap<String, (String, Arc<Document>)>>);

struct Document {
    bytes: Bytes,
    etag: HeaderValue,
    content_type: HeaderValue,
}

impl Aggregation {
    /// The extension that a path without a resource is for: the discovery or the OpenAPI of its version.
    pub fn remote_of_path(&self, path: &str) -> Option<Arc<Remote>> {
        let rest = path.strip_prefix("/openapi/v3").unwrap_or(path).strip_prefix("/apis/")?;
        let (group, version) = rest.split_once('/')?;
        self.remote(group, version)
    }

    /// Whether extensions have a say in what stands at a path.
    pub fn concerns(&self, path: &str) -> bool {
        let described = matches!(path, "" | "/apis" | "/openapi/v2" | "/openapi/v3")
            || path.strip_prefix("/apis/").is_some_and(|group| !group.is_empty() && !group.contains('/'));
        described && !self.remotes().is_empty()
    }

    /// The document at a path, made from this server's own. `local` answers a request with the headers it is given.
    pub async fn document(
        &self,
        path: &str,
        headers: &HeaderMap,
        local: impl FnOnce(&HeaderMap) -> Result<Response<Body>, Status>,
    ) -> Result<Response<Body>, Status> {
        // Asked anew and as it is: conditions and encodings are for the merged document.
        let mut plain = headers.clone();
        plain.remove(header::IF_NONE_MATCH);
        plain.remove(header::ACCEPT_ENCODING);
        let own = match local(&plain) {
            Ok(response) => Some(response),
            Err(status) if status.is_not_found() => None,
            Err(status) => return Err(status),
        };
        let is_json = |response: &Response<Body>| {
            let kind = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            kind.is_some_and(|kind| kind.starts_with("application/json"))
        };
        let own = match own {
            Some(response) if !is_json(&response) => return Ok(response),
            own => own,
        };
        let (remotes, generation) = (self.remotes(), self.0.found.read().generation);
        let content_type = own.as_ref().and_then(|own| own.headers().get(header::CONTENT_TYPE).cloned());
        let content_type = content_type.unwrap_or(HeaderValue::from_static("application/json"));
        let etag = own.as_ref().and_then(|own| own.headers().get(header::ETAG)).map_or(&b""[..], HeaderValue::as_bytes);
        let made_from = format!("{} {generation} {}", String::from_utf8_lossy(etag), shown(&remotes));
        let id = format!("{path} {}", String::from_utf8_lossy(content_type.as_bytes()));
        let known = self.0.documents.0.read().get(&id).filter(|(of, _)| *of == made_from).map(|(_, made)| made.clone());
        let document = match known {
            Some(known) => known,
            None => {
                let own = match own {
                    Some(own) => Some(read(own).await?),
                    None => None,
                };
                let merged = self.merge(path, own, &remotes).ok_or_else(Status::resource_not_found)?;
                let made = Arc::new(Document::new(&merged, content_type)?);
                self.0.documents.0.write().insert(id, (made_from, made.clone()));
                made
            }
        };
        Ok(document.answer(headers))
    }

    fn merge(&self, path: &str, own: Option<Value>, remotes: &[Arc<Remote>]) -> Option<Value> {
        if let Some(group) = path.strip_prefix("/apis/") {
            return merge::group(own, group, remotes);
        }
        let mut document = own?;
        let found = self.0.found.read();
        match path {
            "/apis" if document["kind"] == "APIGroupDiscoveryList" => merge::aggregated(&mut document, remotes, &found),
            "/apis" => merge::groups(&mut document, remotes),
            "/openapi/v2" => merge::openapi_v2(&mut document, remotes, &found),
            "/openapi/v3" => merge::openapi_v3(&mut document, remotes, &found),
            _ => merge::paths(&mut document, remotes),
        }
        Some(document)
    }
}

/// What of the extensions' places a document depends on.
fn shown(remotes: &[Arc<Remote>]) -> String {
    let one = |remote: &Arc<Remote>| format!("{}:{}:{}", remote.name, remote.group_priority, remote.version_priority);
    remotes.iter().map(one).collect::<Vec<_>>().join(",")
}

async fn read(response: Response<Body>) -> Result<Value, Status> {
    let body = response.into_body().collect().await.map_err(Status::internal)?;
    serde_json::from_slice(&body.to_bytes()).map_err(Status::internal)
}

impl Document {
    fn new(value: &Value, content_type: HeaderValue) -> Result<Document, Status> {
        let bytes = serde_json::to_vec(value).map_err(Status::internal)?;
        let hash: String = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02X}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).map_err(Status::internal)?;
        Ok(Document { bytes: bytes.into(), etag, content_type })
    }

    fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| *known == self.etag);
        let mut response = match known {
            true => Response::new(Body::empty()),
            false => answer::json_bytes(200, self.bytes.clone()),
        };
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert(header::CONTENT_TYPE, self.content_type.clone());
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        }
        response.headers_mut().insert(header::ETAG, self.etag.clone());
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        response
    }
}
