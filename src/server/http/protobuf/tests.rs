//! Bodies as client-go writes them, and bodies nobody writes.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Writes messages the way client-go does.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = varint(u64::from(number) << 3 | 2);
    out.extend(varint(bytes.len() as u64));
    out.extend_from_slice(bytes);
    out
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
    out
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

fn body(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [MAGIC.to_vec(), field(1, &type_meta), field(2, message)].concat()
}

fn metadata(name: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(8, &[])].concat())
}

#[test]
fn objects_are_what_their_json_would_be() {
    let entry = |key: &str, value: &[u8]| [field(1, key.as_bytes()), field(2, value)].concat();
    let probe = [
        field(
            1,
            &field(2, &[field(1, b"/"), field(2, &[number(1, 0), number(2, 80), field(3, b"")].concat())].concat()),
        ),
        number(2, 5),
    ]
    .concat();
    let container =
        [field(1, b"c"), field(10, &probe), field(8, &field(1, &entry("cpu", &field(1, b"100m"))))].concat();
    let volume = [field(1, b"v"), field(2, &field(19, &field(1, &field(1, b"cm"))))].concat();
    let cases = [
        (
            body(
                "v1",
                "ConfigMap",
                &[metadata("a"), field(2, &entry("k", b"v")), field(3, &entry("b", &[0, 255]))].concat(),
            ),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "creationTimestamp": null}, "data": {"k": "v"}, "binaryData": {"b": "AP8="}}),
        ),
        (
            body("v1", "Pod", &[metadata("p"), field(2, &[field(1, &volume), field(2, &container)].concat())].concat()),
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "creationTimestamp": null}, "spec": {
                "volumes": [{"name": "v", "configMap": {"name": "cm"}}],
                "containers": [{"name": "c", "livenessProbe": {"httpGet": {"path": "/", "port": 80}, "initialDelaySeconds": 5}, "resources": {"limits": {"cpu": "100m"}}}]}}),
        ),
        (
            body("v1", "DeleteOptions", &number(1, 30)),
            json!({"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 30}),
        ),
    ];
    for (bytes, expected) in cases {
        assert_eq!(decode(&bytes), Ok(expected));
    }
}

#[test]
fn what_is_no_such_body_is_refused() {
    let cases = [
        (b"{}".to_vec(), ProtobufError::Magic),
        (body("v1", "Nothing", &[]), ProtobufError::Unknown { api_version: "v1".into(), kind: "Nothing".into() }),
        (body("v1", "Pod", &[0x0a, 0x7f]), ProtobufError::Wire),
        (body("v1", "Pod", &[0x0b]), ProtobufError::Wire),
        (body("v1", "ConfigMap", &field(1, &field(1, &[0xff]))), ProtobufError::Text),
    ];
    for (bytes, error) in cases {
        assert_eq!(decode(&bytes), Err(error));
    }
}

#[test]
fn every_kind_has_its_message() {
    for kind in mk8s_api::kinds::builtin() {
        assert!(
            TABLE.kinds.contains_key(&(kind.api_version(), kind.kind.clone())),
            "{} {}",
            kind.api_version(),
            kind.kind
        );
    }
}

proptest! {
    #[test]
    fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
        let _ = decode(&[MAGIC, &bytes].concat());
        if bytes.len() < 100 {
            let _ = decode(&body("v1", "Pod", &bytes));
            let _ = decode(&body("apps/v1", "Deployment", &bytes));
        }
    }
}
