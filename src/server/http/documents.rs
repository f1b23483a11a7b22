//! Discovery and OpenAPI: documents made once from the table of kinds, with ETags for clients that keep them.

use std::{collections::HashMap, io::Read, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mk8s_api::{
    discovery,
    kinds::{self, Kind},
    openapi,
    status::Status,
};
use parking_lot::RwLock;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::{
    answer,
    body::Body,
    negotiate::{self, Encoding},
};

/// The documents of one set of kinds.
#[derive(Default)]
pub struct Documents {
    openapi: openapi::Documents,
    /// Small documents and their ETags, by what tells them apart.
    made: RwLock<HashMap<String, Option<Arc<Document>>>>,
}

struct Document {
    bytes: Bytes,
    etag: HeaderValue,
    content_type: HeaderValue,
}

/// What browsers and old tools are told of paths that are not in the API's tree.
const OTHER_PATHS: [&str; 9] = [
    "/.well-known/openid-configuration",
    "/healthz",
    "/livez",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/version",
];

impl Documents {
    fn kinds(&self) -> &'static [Kind] {
        kinds::builtin()
    }

    /// Whether a path names a document.
    pub fn exists(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        path.is_empty() || OTHER_PATHS.contains(&path) || self.plain(path, "").is_some()
    }

    /// The document at a path without a slash at its end.
    pub fn answer(&self, path: &str, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        if let Some(name) = path.strip_prefix("/openapi/") {
            return self.openapi(name, headers);
        }
        let (encoding, aggregated) = negotiate::of_document(headers, matches!(path, "/api" | "/apis"))?;
        // The core group's document names the address under which the client came.
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host_of_id = if path == "/api" { host } else { "" };
        let id = format!("{path}|{aggregated}|{encoding:?}|{host_of_id}");
        let document = self.make(
            &id,
            || match (path, aggregated) {
                ("/api", true) => Some(discovery::aggregated_core(self.kinds())),
                ("/apis", true) => Some(discovery::aggregated_groups(self.kinds())),
                _ => self.plain(path, host),
            },
            encoding,
            aggregated,
        );
        let document = document.ok_or_else(Status::resource_not_found)?;
        let mut response = document.answer(headers);
        if matches!(path, "/api" | "/apis") {
            response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        }
        Ok(response)
    }

    fn make(
        &self,
        id: &str,
        make: impl FnOnce() -> Option<Value>,
        encoding: Encoding,
        aggregated: bool,
    ) -> Option<Arc<Document>> {
        if let Some(known) = self.made.read().get(id) {
            return known.clone();
        }
        let document = Arc::new(Document::new(&make()?, encoding, aggregated));
        let mut made = self.made.write();
        // Ids carry what clients say about the host, so they are not kept without end.
        if made.len() > 1024 {
            made.clear();
        }
        made.insert(id.to_string(), Some(document.clone()));
        Some(document)
    }

    fn plain(&self, path: &str, host: &str) -> Option<Value> {
        let kinds = self.kinds();
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match parts[..] {
            [""] => Some(json!({"paths": self.paths()})),
            ["api"] => Some(discovery::api_versions(kinds, host)),
            ["api", version] => discovery::api_resource_list(kinds, "", version),
            ["apis"] => Some(discovery::api_group_list(kinds)),
            ["apis", group] => discovery::api_group(kinds, group),
            ["apis", group, version] if !group.is_empty() => discovery::api_resource_list(kinds, group, version),
            _ => None,
        }
    }

    fn paths(&self) -> Vec<String> {
        let kinds = self.kinds();
        let mut paths: Vec<String> = OTHER_PATHS.iter().map(ToString::to_string).collect();
        paths.extend(["/api".to_string(), "/api/v1".to_string(), "/apis".to_string()]);
        for group in discovery::groups(kinds) {
            paths.push(format!("/apis/{group}"));
            paths.extend(
                discovery::versions(kinds, group).into_iter().map(|version| format!("/apis/{group}/{version}")),
            );
        }
        paths.sort();
        paths
    }

    fn openapi(&self, name: &str, headers: &HeaderMap) -> Result<Response<Body>, Status> {
        let (kinds, custom) = (self.kinds(), Map::new());
        accepts_json(headers)?;
        let gzipped = match name {
            "v2" => self.openapi.v2(kinds, &custom),
            "v3" => {
                let index = self.make("openapi/v3", || Some(openapi::v3_index(kinds, &custom)), Encoding::Json, false);
                return index.map(|index| index.answer(headers)).ok_or_else(Status::resource_not_found);
            }
            name => {
                let document = name.strip_prefix("v3/").and_then(|name| self.openapi.v3(kinds, &custom, name));
                document.ok_or_else(Status::resource_not_found)?
            }
        };
        let etag =
            HeaderValue::from_str(&format!("\"{}\"", openapi::etag(kinds, &custom))).map_err(Status::internal)?;
        if matches(headers, &etag) {
            return Ok(not_modified(&etag));
        }
        let mut response = match accepts_gzip(headers) {
            true => answer::json_bytes(200, gzipped),
            false => answer::json_bytes(200, unzip(&gzipped)?),
        };
        let sent = response.headers_mut();
        if accepts_gzip(headers) {
            sent.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        sent.insert(header::ETAG, etag);
        sent.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
        Ok(response)
    }
}

impl Document {
    fn new(value: &Value, encoding: Encoding, aggregated: bool) -> Document {
        let bytes = answer::text_of(encoding, value).unwrap_or_default();
        let hash: String = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02X}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).expect("hex digits are a header's text");
        let content_type = match aggregated {
            true => format!("{};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", encoding.media_type()),
            false => encoding.media_type().to_owned(),
        };
        let content_type = HeaderValue::from_str(&content_type).expect("media types are a header's text");
        Document { bytes, etag, content_type }
    }

    fn answer(&self, headers: &HeaderMap) -> Response<Body> {
        if matches(headers, &self.etag) {
            return not_modified(&self.etag);
        }
        let mut response = answer::json_bytes(200, self.bytes.clone());
        let sent = response.headers_mut();
        sent.insert(header::CONTENT_TYPE, self.content_type.clone());
        sent.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
        sent.insert(header::ETAG, self.etag.clone());
        response
    }
}

fn matches(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    headers.get(header::IF_NONE_MATCH).is_some_and(|known| known == etag)
}

fn not_modified(etag: &HeaderValue) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response.headers_mut().insert(header::ETAG, etag.clone());
    response
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"))
}

fn accepts_json(headers: &HeaderMap) -> Result<(), Status> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("*/*");
    let json = |range: &str| {
        matches!(range.split(';').next().unwrap_or_default().trim(), "*/*" | "application/*" | "application/json")
    };
    match accept.split(',').any(json) {
        true => Ok(()),
        false => Err(Status::not_acceptable(&["application/json"])),
    }
}

fn unzip(gzipped: &[u8]) -> Result<Vec<u8>, Status> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(gzipped).read_to_end(&mut plain).map_err(Status::internal)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found_by_path() {
        let documents = Documents::default();
        let cases = [
            ("", 200),
            ("/api", 200),
            ("/api/v1", 200),
            ("/apis", 200),
            ("/apis/apps", 200),
            ("/apis/apps/v1", 200),
            ("/apis/none", 404),
            ("/api/v9", 404),
            ("/nothing", 404),
        ];
        for (path, code) in cases {
            let got = documents
                .answer(path, &HeaderMap::new())
                .map_or_else(|status| status.code, |response| response.status().as_u16());
            assert_eq!(got, code, "{path}");
        }
    }

    #[test]
    fn known_documents_are_not_sent_again() {
        let documents = Documents::default();
        let first = documents.answer("/apis", &HeaderMap::new()).expect("a document");
        let etag = first.headers()[header::ETAG].clone();
        let again =
            documents.answer("/apis", &HeaderMap::from_iter([(header::IF_NONE_MATCH, etag)])).expect("a document");
        assert_eq!(again.status(), 304);
    }
}
