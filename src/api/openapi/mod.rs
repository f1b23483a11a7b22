//! The documents that describe the API to clients, made from kinds and schemas when they are asked for.
//!
//! `operations` knows what can be asked of a kind, `definitions` what is sent; `v2` and `v3` write both down. The documents
//! are large and rarely wanted, so [`Documents`] keeps only their compressed bytes.

mod definitions;
pub(crate) mod embedded;
mod operations;
mod parameters;
mod v2;
mod v3;

use std::{
    collections::HashMap,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, Value, json};

use self::{
    definitions::Definitions,
    operations::{Content, Operation},
};
pub use self::{
    v2::write_v2,
    v3::{v3_index, write_v3},
};
use crate::kinds::Kind;

/// The version of the API described, as `/version` tells it too.
const VERSION: &str = "v1.36.0";

/// Tells contents apart: equal for equal kinds and definitions of the same build.
pub fn etag(kinds: &[Kind], custom: &Map<String, Value>) -> String {
    // FNV-1a: stable across processes, and nobody gains from a collision.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut feed = |text: &str| {
        for byte in text.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    feed(env!("CARGO_PKG_VERSION"));
    for kind in kinds {
        for part in [&kind.group, &kind.version, &kind.plural, &kind.kind] {
            feed(part);
        }
        feed(&format!("{:?}{:?}", kind.verbs, kind.subresources));
    }
    for (name, definition) in custom {
        feed(name);
        feed(&definition.to_string());
    }
    format!("{hash:016X}")
}

/// Finished documents, compressed. They are made once per contents; while one is made, others wait for it.
#[derive(Debug, Default)]
pub struct Documents {
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    etag: String,
    gzipped: HashMap<String, Bytes>,
}

impl Documents {
    /// `/openapi/v2` as gzipped JSON.
    pub fn v2(&self, kinds: &[Kind], custom: &Map<String, Value>) -> Bytes {
        self.get("v2", kinds, custom, |out| Some(write_v2(out, kinds, custom))).unwrap_or_default()
    }

    /// `/openapi/v3/NAME` as gzipped JSON; `None` when there is no such document.
    pub fn v3(&self, kinds: &[Kind], custom: &Map<String, Value>, name: &str) -> Option<Bytes> {
        self.get(name, kinds, custom, |out| write_v3(out, kinds, custom, name))
    }

    fn get(
        &self,
        name: &str,
        kinds: &[Kind],
        custom: &Map<String, Value>,
        write: impl FnOnce(&mut dyn Write) -> Option<io::Result<()>>,
    ) -> Option<Bytes> {
        let etag = etag(kinds, custom);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.etag != etag {
            *made = Made { etag, gzipped: HashMap::new() };
        }
        if let Some(known) = made.gzipped.get(name) {
            return Some(known.clone());
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let written = write(&mut gzip)?;
        let document: Bytes = written.and_then(|()| gzip.finish()).expect("memory takes every write").into();
        made.gzipped.insert(name.to_owned(), document.clone());
        Some(document)
    }
}

/// Writes the members of a JSON object one by one.
fn write_object(out: &mut dyn Write, members: impl Iterator<Item = (String, Value)>) -> io::Result<()> {
    out.write_all(b"{")?;
    for (at, (name, value)) in members.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        write!(out, "{comma}{}:{value}", Value::from(name))?;
    }
    out.write_all(b"}")
}

fn bearer_token() -> Value {
    json!({ "type": "apiKey", "name": "authorization", "in": "header", "description": "Bearer Token authentication" })
}

/// The encodings an answer may have.
fn answers_in(operation: &Operation) -> Vec<&'static str> {
    match operation.answer {
        Content::Stream => vec!["*/*"],
        Content::Text => vec!["text/plain", "application/json", "application/yaml"],
        Content::Meta("Info") => vec!["application/json"],
        _ if operation.watchable => vec!["application/json", "application/yaml", "application/json;stream=watch"],
        _ => vec!["application/json", "application/yaml"],
    }
}

/// The encodings a body may have. Custom resources have no strategic merge: nothing tells how their lists merge.
fn taken_in(definitions: &Definitions<'_>, operation: &Operation) -> Vec<&'static str> {
    let Some((Content::Meta("Patch"), _)) = operation.body else { return vec!["*/*"] };
    let mut kinds = vec!["application/json-patch+json", "application/merge-patch+json"];
    if !definitions.name(&operation.answer).is_some_and(|name| definitions.is_custom(&name)) {
        kinds.push("application/strategic-merge-patch+json");
    }
    kinds.push("application/apply-patch+yaml");
    kinds
}

#[cfg(test)]
mod tests;
