//! Objects as stored bytes: JSON that knows where its own resourceVersion stands.
//!
//! The revision of a write is known only when it is applied, so the encoder leaves the place of
//! `metadata.resourceVersion` empty and says where it is; the store fills it in.

use std::collections::BTreeMap;

use bytes::Bytes;
use mk8s_store::Stamped;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

const VERSION: &str = "resourceVersion";
const TYPE: [&str; 2] = ["kind", "apiVersion"];

/// How the stored objects of a kind begin.
pub fn type_prefix(kind: &str, api_version: &str) -> String {
    format!(r#"{{"kind":"{kind}","apiVersion":"{api_version}","#)
}

/// Encodes an object for the store: its type first, so that lists can leave it out. Whatever resourceVersion it holds is
/// left out.
pub(super) fn encode(object: &Value) -> Stamped {
    let mut out = Vec::with_capacity(1024);
    let mut stamp_at = None;
    let empty = Map::new();
    let fields = object.as_object().unwrap_or(&empty);
    out.push(b'{');
    let mut first = true;
    for (key, value) in TYPE.iter().filter_map(|key| fields.get_key_value(*key)) {
        begin(&mut out, &mut first, key);
        append(&mut out, value);
    }
    for (key, value) in fields.iter().filter(|(key, _)| !TYPE.contains(&key.as_str())) {
        begin(&mut out, &mut first, key);
        match (key.as_str(), value) {
            ("metadata", Value::Object(metadata)) => stamp_at = Some(encode_metadata(&mut out, metadata)),
            _ => append(&mut out, value),
        }
    }
    out.push(b'}');
    Stamped { bytes: Bytes::from(out), stamp_at: stamp_at.and_then(|at| u32::try_from(at).ok()) }
}

/// Writes metadata with an empty resourceVersion in its alphabetical place; the offset between its quotes.
fn encode_metadata(out: &mut Vec<u8>, metadata: &Map<String, Value>) -> usize {
    out.push(b'{');
    let mut first = true;
    let mut stamp_at = None;
    for (key, value) in metadata {
        if stamp_at.is_none() && key.as_str() >= VERSION {
            stamp_at = Some(place_for_version(out, &mut first));
        }
        if key != VERSION {
            begin(out, &mut first, key);
            append(out, value);
        }
    }
    let at = stamp_at.unwrap_or_else(|| place_for_version(out, &mut first));
    out.push(b'}');
    at
}

fn place_for_version(out: &mut Vec<u8>, first: &mut bool) -> usize {
    begin(out, first, VERSION);
    out.extend_from_slice(b"\"\"");
    out.len() - 1
}

fn begin(out: &mut Vec<u8>, first: &mut bool, key: &str) {
    if !std::mem::replace(first, false) {
        out.push(b',');
    }
    serde_json::to_writer(&mut *out, key).expect("a vector takes any bytes");
    out.push(b':');
}

fn append(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("a JSON value always has a text");
}

#[derive(Deserialize)]
struct RawObject<'a> {
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawVersion<'a> {
    #[serde(borrow, rename = "resourceVersion")]
    version: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct RawLabels {
    labels: Option<BTreeMap<String, String>>,
}

/// The same bytes under another resourceVersion: a deleted object is shown at the revision of its deletion.
pub(super) fn with_version(bytes: &Bytes, revision: u64) -> Bytes {
    let Some((start, end)) = version_range(bytes) else { return bytes.clone() };
    let mut out = Vec::with_capacity(bytes.len() + 8);
    out.extend_from_slice(&bytes[..start]);
    out.push(b'"');
    out.extend_from_slice(revision.to_string().as_bytes());
    out.push(b'"');
    out.extend_from_slice(&bytes[end..]);
    Bytes::from(out)
}

/// Where the value of `metadata.resourceVersion` stands, quotes included.
fn version_range(bytes: &[u8]) -> Option<(usize, usize)> {
    let object: RawObject<'_> = serde_json::from_slice(bytes).ok()?;
    let metadata: RawVersion<'_> = serde_json::from_str(object.metadata?.get()).ok()?;
    let version = metadata.version?.get();
    let start = (version.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
    Some((start, start + version.len()))
}

/// Only the labels, without decoding the rest.
pub(crate) fn labels(bytes: &[u8]) -> BTreeMap<String, String> {
    let object: Option<RawObject<'_>> = serde_json::from_slice(bytes).ok();
    let metadata = object.and_then(|object| object.metadata);
    let labels = metadata.and_then(|metadata| serde_json::from_str::<RawLabels>(metadata.get()).ok());
    labels.and_then(|labels| labels.labels).unwrap_or_default()
}

/// The text of an object's metadata.
pub fn metadata_text(object: &[u8]) -> Option<&str> {
    let object: RawObject<'_> = serde_json::from_slice(object).ok()?;
    object.metadata.map(RawValue::get)
}

/// Decodes stored bytes.
pub fn decode(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("only encoded objects are stored")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn stamped(object: &Value, revision: u64) -> Bytes {
        let Stamped { bytes, stamp_at } = encode(object);
        let Some(at) = stamp_at else { return bytes };
        let mut out = bytes[..at as usize].to_vec();
        out.extend_from_slice(revision.to_string().as_bytes());
        out.extend_from_slice(&bytes[at as usize..]);
        Bytes::from(out)
    }

    #[test]
    fn the_version_has_its_place() {
        let cases = [
            (json!({"metadata": {"name": "a"}}), r#"{"metadata":{"name":"a","resourceVersion":"7"}}"#),
            (json!({"metadata": {}}), r#"{"metadata":{"resourceVersion":"7"}}"#),
            (
                json!({"a": 1, "apiVersion": "v1", "kind": "Pod", "metadata": {}}),
                r#"{"kind":"Pod","apiVersion":"v1","a":1,"metadata":{"resourceVersion":"7"}}"#,
            ),
            (
                json!({"a": 1, "metadata": {"name": "a", "resourceVersion": "3", "uid": "u"}, "spec": {}}),
                r#"{"a":1,"metadata":{"name":"a","resourceVersion":"7","uid":"u"},"spec":{}}"#,
            ),
        ];
        for (object, expected) in cases {
            let bytes = stamped(&object, 7);
            assert_eq!(String::from_utf8_lossy(&bytes), expected);
            assert_eq!(decode(&with_version(&bytes, 1234))["metadata"]["resourceVersion"], json!("1234"));
        }
    }

    #[test]
    fn labels_are_found() {
        let bytes = br#"{"data":{"metadata":"x"},"metadata":{"labels":{"a":"b"}}}"#;
        assert_eq!(labels(bytes), BTreeMap::from([("a".to_string(), "b".to_string())]));
        assert!(labels(b"{}").is_empty());
    }

    proptest! {
        #[test]
        fn encoding_keeps_the_object(name in ".{0,20}", data in proptest::collection::btree_map(".{0,8}", ".{0,20}", 0..5)) {
            let object = json!({"data": data, "metadata": {"name": name, "labels": data}});
            let bytes = stamped(&object, 42);
            let mut expected = object;
            expected["metadata"]["resourceVersion"] = json!("42");
            prop_assert_eq!(decode(&bytes), expected);
        }
    }
}
