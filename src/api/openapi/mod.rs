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

/// The definitions of kinds that are not built in: v3 schemas by their names.
#[derive(Clone, Debug, Default)]
pub struct Custom {
    definitions: Map<String, Value>,
    /// By group and version, what tells their definitions from others.
    digests: HashMap<(String, String), u64>,
}

impl Custom {
    pub fn new(definitions: Map<String, Value>) -> Custom {
        let mut digests = HashMap::new();
        for (name, definition) in &definitions {
            let gvk = &definition["x-kubernetes-group-version-kind"][0];
            let text = |field: &str| gvk[field].as_str().unwrap_or_default().to_owned();
            let digest = digests.entry((text("group"), text("version"))).or_insert_with(|| Digest::default().0);
            let mut more = Digest(*digest);
            more.feed(name);
            more.feed(&definition.to_string());
            *digest = more.0;
        }
        Custom { definitions, digests }
    }
}

/// FNV-1a: stable across processes, and nobody gains from a collision.
struct Digest(u64);

impl Default for Digest {
    fn default() -> Digest {
        Digest(0xcbf2_9ce4_8422_2325)
    }
}

impl Digest {
    fn feed(&mut self, text: &str) {
        for byte in text.bytes().chain([0]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The properties every object has, as the built-in definitions tell them.
pub fn common_properties() -> Map<String, Value> {
    const NAMES: [&str; 3] = ["apiVersion", "kind", "metadata"];
    let lines = embedded::definitions();
    let any = lines.iter().find(|line| line.name.ends_with(".ConfigMap"));
    let properties = any.map(|line| line.schema()["properties"].take());
    let Some(Value::Object(properties)) = properties else { return crate::crd::publish::plain_common() };
    properties.into_iter().filter(|(name, _)| NAMES.contains(&name.as_str())).collect()
}

/// The version of the API described, as `/version` tells it too.
const VERSION: &str = "v1.36.0";

/// Tells contents apart: equal for equal kinds and definitions of the same build.
pub fn etag(kinds: &[Kind], custom: &Custom) -> String {
    etag_of(kinds.iter(), custom.digests.iter())
}

/// The same for one document of v3, which only changes with its own group version; those above it change with any.
pub fn document_etag(name: &str, kinds: &[Kind], custom: &Custom) -> String {
    let parts: Vec<&str> = name.split('/').collect();
    let (group, version) = match parts[..] {
        ["api", version] => ("", version),
        ["apis", group, version] => (group, version),
        _ => return etag(kinds, custom),
    };
    let of_document = |known_group: &str, known_version: &str| known_group == group && known_version == version;
    etag_of(
        kinds.iter().filter(|kind| of_document(&kind.group, &kind.version)),
        custom.digests.iter().filter(|((group, version), _)| of_document(group, version)),
    )
}

fn etag_of<'a>(
    kinds: impl Iterator<Item = &'a Kind>,
    custom: impl Iterator<Item = (&'a (String, String), &'a u64)>,
) -> String {
    let mut digest = Digest::default();
    digest.feed(env!("CARGO_PKG_VERSION"));
    for kind in kinds {
        for part in [&kind.group, &kind.version, &kind.plural, &kind.kind] {
            digest.feed(part);
        }
        digest.feed(&format!("{:?}{:?}", kind.verbs, kind.subresources));
    }
    let mut all: Vec<_> = custom.collect();
    all.sort();
    for ((group, version), of_version) in all {
        digest.feed(group);
        digest.feed(version);
        digest.feed(&of_version.to_string());
    }
    format!("{:016X}", digest.0)
}

/// How many documents are kept.
const DOCUMENTS: usize = 1024;

/// Finished documents, compressed. They are made once per contents; while one is made, others wait for it.
#[derive(Debug, Default)]
pub struct Documents {
    made: Mutex<Made>,
}

/// Documents by name, with what tells their contents apart.
#[derive(Debug, Default)]
struct Made {
    gzipped: HashMap<String, (String, Bytes)>,
}

impl Documents {
    /// `/openapi/v2` as gzipped JSON.
    pub fn v2(&self, kinds: &[Kind], custom: &Custom) -> Bytes {
        self.get("v2", kinds, custom, |out| Some(write_v2(out, kinds, custom))).unwrap_or_default()
    }

    /// `/openapi/v3/NAME` as gzipped JSON; `None` when there is no such document.
    pub fn v3(&self, kinds: &[Kind], custom: &Custom, name: &str) -> Option<Bytes> {
        self.get(name, kinds, custom, |out| write_v3(out, kinds, custom, name))
    }

    fn get(
        &self,
        name: &str,
        kinds: &[Kind],
        custom: &Custom,
        write: impl FnOnce(&mut dyn Write) -> Option<io::Result<()>>,
    ) -> Option<Bytes> {
        let etag = document_etag(name, kinds, custom);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, known)) = made.gzipped.get(name).filter(|(known, _)| *known == etag) {
            return Some(known.clone());
        }
        let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
        let written = write(&mut gzip)?;
        let document: Bytes = written.and_then(|()| gzip.finish()).expect("memory takes every write").into();
        if made.gzipped.len() >= DOCUMENTS {
            // Documents of group versions that are gone.
            made.gzipped.clear();
        }
        made.gzipped.insert(name.to_owned(), (etag, document.clone()));
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
