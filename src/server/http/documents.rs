//! Discovery and OpenAPI: documents made once from a table of kinds, with ETags for clients that keep them.

use std::{
    collections::HashMap,
    io::{Read, Write},
    sync::Arc,
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use mk8s_api::{discovery, kinds::Kind, openapi, protobuf, status::Status};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    answer,
    body::Body,
    negotiate::{self, Encoding},
    query::Query,
};
use crate::registry::Table;

/// Documents that were made of a table of kinds.
#[derive(Default)]
pub struct Documents {
    openapi: openapi::Documents,
    made: RwLock<Made>,
    /// OpenAPI documents in protobuf, with the hash of what they were made of. While one is made, others wait for it.
    protobufs: Mutex<HashMap<String, (String, Bytes)>>,
}

/// Small documents and their ETags, by what tells them apart.
#[derive(Default)]
struct Made {
    /// The table they are made of.
    generation: u64,
    documents: HashMap<String, Option<Arc<Document>>>,
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
    /// Whether a path names a document.
    pub fn exists(&self, path: &str, table: &Table) -> bool {
        let path = path.trim_end_matches('/');
        path.is_empty() || OTHER_PATHS.contains(&path) || plain(table, path, "").is_some()
    }

    /// The document at a path without a slash at its end.
    pub fn answer(
        &self,
        path: &str,
        query: &Query,
        headers: &HeaderMap,
        table: &Table,
    ) -> Result<Response<Body>, Status> {
        if let Some(name) = path.strip_prefix("/openapi/") {
            return self.openapi(name, query.get("hash"), headers, table);
        }
        let (encoding, aggregated) = negotiate::of_document(headers, matches!(path, "/api" | "/apis"))?;
        // The core group's document names the address under which the client came.
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let host_of_id = if path == "/api" { host } else { "" };
        let id = format!("{path}|{aggregated}|{encoding:?}|{host_of_id}");
        let document = self.make(
            table,
            &id,
            || match (path, aggregated) {
                ("/api", true) => Some(discovery::aggregated_core(&table.kinds)),
                ("/apis", true) => Some(discovery::aggregated_groups(&table.kinds)),
                _ => plain(table, path, host),
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
        table: &Table,
        id: &str,
        make: impl FnOnce() -> Option<Value>,
        encoding: Encoding,
        aggregated: bool,
    ) -> Option<Arc<Document>> {
        {
            let made = self.made.read();
            let known = made.documents.get(id).filter(|_| made.generation == table.generation);
            if let Some(known) = known {
                return known.clone();
            }
        }
        let document = Arc::new(Document::new(&make()?, encoding, aggregated)?);
        let mut made = self.made.write();
        // Ids carry what clients say about the host, so they are not kept without end.
        if made.documents.len() > 1024 || made.generation < table.generation {
            *made = Made { generation: table.generation, documents: HashMap::new() };
        }
        if made.generation == table.generation {
            made.documents.insert(id.to_string(), Some(document.clone()));
        }
        Some(document)
    }

    fn openapi(
        &self,
        name: &str,
        asked_hash: Option<&str>,
        headers: &HeaderMap,
        table: &Table,
    ) -> Result<Response<Body>, Status> {
        let (kinds, custom) = (&table.kinds, table.published());
        if name == "v3" {
            let index = || Some(openapi::v3_index(kinds, custom));
            let index = self.make(table, "openapi/v3", index, Encoding::Json, false);
            return index.map(|index| index.answer(headers)).ok_or_else(Status::resource_not_found);
        }
        let version = if name == "v2" { 2 } else { 3 };
        let gzipped = match name {
            "v2" => self.openapi.v2(kinds, custom),
            name => {
                let document = name.strip_prefix("v3/").and_then(|name| self.openapi.v3(kinds, custom, name));
                document.ok_or_else(Status::resource_not_found)?
            }
        };
        let hash = openapi::document_etag(name.strip_prefix("v3/").unwrap_or(name), kinds, custom);
        if let Some(other) = asked_hash.filter(|asked| *asked != hash && version == 3) {
            tracing::debug!(other, "an old address of an OpenAPI document");
            return Ok(moved(&format!("/openapi/{name}?hash={hash}")));
        }
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).map_err(Status::internal)?;
        let encoding = openapi_encoding(headers, version)?;
        let mut response = match (matches(headers, &etag), encoding) {
            (true, _) => not_modified(&etag),
            (false, OpenApiEncoding::Json) => compressed(headers, gzipped)?,
            (false, OpenApiEncoding::Protobuf) => {
                let mut response = compressed(headers, self.protobuf(name, &hash, version, &gzipped)?)?;
                let kind = format!("application/com.github.proto-openapi.spec.v{version}.v1.0+protobuf");
                response
                    .headers_mut()
                    .insert(header::CONTENT_TYPE, HeaderValue::from_str(&kind).map_err(Status::internal)?);
                response
            }
        };
        let sent = response.headers_mut();
        sent.insert(header::ETAG, etag);
        sent.insert(header::VARY, HeaderValue::from_static("Accept-Encoding, Accept"));
        // An address with the right hash never means anything else.
        if version == 3 && asked_hash.is_some() {
            sent.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        Ok(response)
    }

    /// A document in protobuf, compressed, made of its JSON.
    fn protobuf(&self, name: &str, hash: &str, version: u8, gzipped: &[u8]) -> Result<Bytes, Status> {
        let mut made = self.protobufs.lock();
        match made.get(name) {
            Some((of, bytes)) if of == hash => return Ok(bytes.clone()),
            _ => {}
        }
        let message = protobuf::openapi(version, &unzip(gzipped)?).map_err(Status::internal)?;
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let written = gzip.write_all(&message).and_then(|()| gzip.finish());
        let bytes = Bytes::from(written.map_err(Status::internal)?);
        made.insert(name.to_owned(), (hash.to_owned(), bytes.clone()));
        Ok(bytes)
    }
}

fn plain(table: &Table, path: &str, host: &str) -> Option<Value> {
    let kinds = &table.kinds;
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts[..] {
        [""] => Some(json!({"paths": paths(kinds)})),
        ["api"] => Some(discovery::api_versions(kinds, host)),
        ["api", version] => discovery::api_resource_list(kinds, "", version),
        ["apis"] => Some(discovery::api_group_list(kinds)),
        ["apis", group] => discovery::api_group(kinds, group),
        ["apis", group, version] if !group.is_empty() => discovery::api_resource_list(kinds, group, version),
        _ => None,
    }
}

fn paths(kinds: &[Kind]) -> Vec<String> {
    let mut paths: Vec<String> = OTHER_PATHS.iter().map(ToString::to_string).collect();
    paths.extend(["/api".to_string(), "/api/v1".to_string(), "/apis".to_string()]);
    for group in discovery::groups(kinds) {
        paths.push(format!("/apis/{group}"));
        paths.extend(discovery::versions(kinds, group).into_iter().map(|version| format!("/apis/{group}/{version}")));
    }
    paths.sort();
    paths
}

impl Document {
    /// `None` for what has no such encoding.
    fn new(value: &Value, encoding: Encoding, aggregated: bool) -> Option<Document> {
        let bytes = answer::text_of(encoding, value).ok()?;
        let hash: String = Sha256::digest(&bytes).iter().take(16).map(|byte| format!("{byte:02X}")).collect();
        let etag = HeaderValue::from_str(&format!("\"{hash}\"")).expect("hex digits are a header's text");
        let content_type = match aggregated {
            true => format!("{};g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList", encoding.media_type()),
            false => encoding.media_type().to_owned(),
        };
        let content_type = HeaderValue::from_str(&content_type).expect("media types are a header's text");
        Some(Document { bytes, etag, content_type })
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenApiEncoding {
    Json,
    Protobuf,
}

/// The first media range that there is a form of the document for. The names with an `@` are old.
fn openapi_encoding(headers: &HeaderMap, version: u8) -> Result<OpenApiEncoding, Status> {
    let protobuf = format!("com.github.proto-openapi.spec.v{version}");
    negotiate::first_of(headers, |kind, sub| match (kind, sub) {
        ("*" | "application", "*" | "json") => Some(OpenApiEncoding::Json),
        ("*" | "application", sub) => {
            let rest = sub.strip_prefix(&protobuf)?;
            matches!(rest, ".v1.0+protobuf" | "@v1.0+protobuf").then_some(OpenApiEncoding::Protobuf)
        }
        _ => None,
    })
    .ok_or_else(|| {
        let protobuf = format!("application/{protobuf}.v1.0+protobuf");
        Status::not_acceptable(&["application/json", &protobuf])
    })
}

/// A gzipped body for those who take it, or what it was made of.
fn compressed(headers: &HeaderMap, gzipped: Bytes) -> Result<Response<Body>, Status> {
    if !accepts_gzip(headers) {
        return Ok(answer::json_bytes(200, unzip(&gzipped)?));
    }
    let mut response = answer::json_bytes(200, gzipped);
    response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Ok(response)
}

fn moved(to: &str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
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
        let (documents, table) = (Documents::default(), Table::built_in());
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
                .answer(path, &Query::parse(None), &HeaderMap::new(), &table)
                .map_or_else(|status| status.code, |response| response.status().as_u16());
            assert_eq!(got, code, "{path}");
        }
    }

    #[test]
    fn known_documents_are_not_sent_again() {
        let (documents, table) = (Documents::default(), Table::built_in());
        let first = documents.answer("/apis", &Query::parse(None), &HeaderMap::new(), &table).expect("a document");
        let etag = first.headers()[header::ETAG].clone();
        let known = HeaderMap::from_iter([(header::IF_NONE_MATCH, etag)]);
        let again = documents.answer("/apis", &Query::parse(None), &known, &table).expect("a document");
        assert_eq!(again.status(), 304);
    }
}
