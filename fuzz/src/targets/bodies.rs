//! Request bodies: read or refused with a 400; what was read is an object of its kind, and reading it again changes nothing.

use http::{HeaderMap, HeaderValue, header};
use jiff::Timestamp;
use mk8s_api::{
    conversion,
    decode::{self, DEPTH, FieldValidation, Target, nests_within},
    kinds::{self, Kind},
    meta,
    protobuf::{self, ProtobufError},
    rules, schema,
};
use mk8s_server::{
    admission::read_review,
    http::decode::{object, yaml as apply_body},
    registry::read_conversion,
    table,
};
use serde_json::{Value, json};

use super::Feed;
use crate::{
    corpus,
    mutate::{self, Dice},
};

fn typed(content_type: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
}

fn kind_of(object: &Value) -> Option<&'static Kind> {
    let (group, version) = kinds::split_api_version(meta::api_version(object));
    kinds::find_kind(group, version, meta::kind(object))
}

fn read(headers: &HeaderMap, bytes: &[u8]) -> Option<Value> {
    match object(headers, bytes, "Pod") {
        Ok(body) => {
            assert!(body.value.is_object() && nests_within(&body.value, DEPTH));
            Some(body.value)
        }
        Err(status) => {
            assert_eq!(status.code, 400, "{status}");
            None
        }
    }
}

pub(super) fn json() -> Feed {
    let headers = typed("application/json");
    Box::new(move |dice| drop(read(&headers, &mutate::bytes(dice, &corpus::JSON)).inspect(write)))
}

pub(super) fn yaml() -> Feed {
    let headers = typed("application/yaml");
    Box::new(move |dice| {
        let bytes = mutate::bytes(dice, &corpus::YAML);
        let _ = apply_body(&bytes, "Pod");
        drop(read(&headers, &bytes).inspect(write));
    })
}

/// Objects whose values are wrong go all the way of a write.
pub(super) fn objects() -> Feed {
    Box::new(|dice| {
        let object = mutate::value(dice, &corpus::OBJECTS);
        write(&object);
        if let Some(kind) = kind_of(&object).filter(|_| dice.one_in(3)) {
            update(kind, &object, dice.pick(&corpus::OBJECTS));
        }
    })
}

/// Whatever JSON is stored can be had in protobuf, and that can be read.
pub(super) fn encoded() -> Feed {
    Box::new(|dice| {
        let object = mutate::value(dice, &corpus::OBJECTS);
        if !object.is_object() {
            return;
        }
        let kind = kind_of(&object).unwrap_or_else(|| dice.pick(kinds::builtin()));
        let Some(encoder) = protobuf::Encoder::of(&kind.api_version(), &kind.kind) else { return };
        let stored = object.to_string();
        let Ok(bytes) = encoder.object(stored.as_bytes()) else {
            assert!(!nests_within(&object, DEPTH), "{stored}");
            return;
        };
        let read = protobuf::decode(&bytes);
        assert!(read.is_ok() || matches!(read, Err(ProtobufError::Wire | ProtobufError::Depth)), "{read:?} {stored}");
        drop(encoder.event("ADDED", stored.as_bytes()));
        drop(encoder.list(&kind.api_version(), &kind.list_kind, b"{}", [stored.as_bytes()].into_iter(), 0));
    })
}

/// Decodes, defaults, prepares, validates, converts and prints.
fn write(object: &Value) {
    let Some(kind) = kind_of(object) else { return };
    let Some(mut written) = conform(kind, object.clone()) else { return };
    let again = conform(kind, written.clone());
    assert_eq!(again.as_ref(), Some(&written), "reading changes what was read");
    let rules = rules::of(&kind.group, &kind.kind);
    rules.prepare_create(&mut written);
    let errors = rules.validate(&written);
    errors.iter().for_each(|error| assert!(!error.to_string().is_empty()));
    let _ = rules.warnings(&written, None);
    rules.selectable_fields().for_each(|field| drop(rules.selectable(&written, field)));
    if let Some(scale) = rules.scale() {
        let read = scale.read(&written);
        scale.write(&mut written, &read);
    }
    conversion::to_storage(kind, &mut written);
    assert!(nests_within(&written, DEPTH + 10));
    conversion::from_storage(kind, &mut written);
    let now = Timestamp::UNIX_EPOCH;
    drop(table::render(&kind.group, &kind.kind, std::slice::from_ref(&written), table::Include::Object, now));
}

fn conform(kind: &Kind, object: Value) -> Option<Value> {
    let schema = schema::schema_of(&kind.group, &kind.version, &kind.kind)?;
    let target = Target { group: &kind.group, version: &kind.version, kind: &kind.kind, schema };
    let mut object = decode::value(object, decode::Doubles::default(), target, FieldValidation::Warn).ok()?.object;
    schema.default(&mut object);
    rules::of(&kind.group, &kind.kind).default(&mut object);
    let mut errors = Vec::new();
    schema.validate(&object, &mk8s_api::field::Path::root(), &mut errors);
    Some(object)
}

/// The object replaces another one of its kind, as a whole and as to its status.
fn update(kind: &Kind, new: &Value, old: &Value) {
    let rules = rules::of(&kind.group, &kind.kind);
    let (Some(new), Some(mut old)) = (conform(kind, new.clone()), retyped(kind, old)) else { return };
    rules.prepare_create(&mut old);
    let mut whole = new.clone();
    rules.prepare_update(&mut whole, &old);
    drop(rules.validate_update(&whole, &old));
    drop(rules.warnings(&whole, Some(&old)));
    let mut status = new;
    rules.prepare_status_update(&mut status, &old);
    drop(rules.validate_status_update(&status, &old));
    drop(rules.status_warnings(&status));
}

fn retyped(kind: &Kind, object: &Value) -> Option<Value> {
    let mut object = object.clone();
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.clone().into();
    conform(kind, object)
}

/// Envelopes of known kinds around random fields, and random changes of those.
pub(super) fn protobuf() -> Feed {
    let headers = typed("application/vnd.kubernetes.protobuf");
    Box::new(move |dice| {
        let kind = dice.pick(kinds::builtin());
        let mut meta = Vec::new();
        field(&mut meta, 1, kind.api_version().as_bytes());
        field(&mut meta, 2, kind.kind.as_bytes());
        let mut body = b"k8s\0".to_vec();
        field(&mut body, 1, &meta);
        field(&mut body, 2, &message(dice, 0));
        if dice.one_in(3) {
            body = mutate::bytes(dice, &[body]);
        }
        drop(read(&headers, &body).inspect(write));
    })
}

fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

/// Fields with low numbers, as most are.
fn message(dice: &mut Dice, depth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    // Rarely a very deep one.
    let deepest = if dice.one_in(50) { 150 } else { 8 };
    let count = if depth < 8 { dice.below(6) } else { 1 };
    for _ in 0..count {
        let number = dice.below(22) as u64 + 1;
        match dice.below(6) {
            0 => {
                varint(&mut out, number << 3);
                varint(&mut out, *dice.pick(&[0, 1, 2, 80, 1 << 31, u64::MAX]));
            }
            1 => {
                varint(&mut out, number << 3 | 1);
                out.extend_from_slice(&[0xff; 8]);
            }
            2 => field(&mut out, number, dice.pick(&["a", "default", "1Gi", "", "{\"a\":[1]}", "\u{e9}"]).as_bytes()),
            _ if depth < deepest => field(&mut out, number, &message(dice, depth + 1)),
            _ => {}
        }
    }
    out
}

/// What webhooks answer: understood or refused.
pub(super) fn reviews() -> Feed {
    let answers = [
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {
            "uid": "uid", "allowed": true, "patchType": "JSONPatch", "warnings": ["w"], "auditAnnotations": {"a": "b"},
            "patch": "W3sib3AiOiJhZGQiLCJwYXRoIjoiL21ldGFkYXRhL2xhYmVscyIsInZhbHVlIjp7ImEiOiJiIn19XQ=="}}),
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": {
            "uid": "uid", "allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": "no", "details": {
                "name": "n", "causes": [{"field": "a", "message": "b"}], "retryAfterSeconds": 1}}}}),
        json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": {
            "uid": "uid", "result": {"status": "Success"}, "convertedObjects": [
                {"apiVersion": "a.b/v2", "kind": "K", "metadata": {"name": "n", "labels": {"a": "c"}, "annotations": {"d": "e"}}}]}}),
        json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "response": {
            "uid": "uid", "result": {"status": "Failure", "message": "no"}}}),
    ];
    let texts: Vec<Vec<u8>> = answers.iter().map(|answer| answer.to_string().into_bytes()).collect();
    Box::new(move |dice| {
        let document = match dice.one_in(2) {
            true => mutate::bytes(dice, &texts),
            false => mutate::value(dice, &answers).to_string().into_bytes(),
        };
        let _ = read_review(&document) + read_conversion(&document);
    })
}
