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
    for kind in crate::kinds::builtin() {
        assert!(TABLE.kind(&kind.api_version(), &kind.kind).is_some(), "{} {}", kind.api_version(), kind.kind);
    }
}

/// An object of every shape the table has, as it comes back.
#[test]
fn what_is_written_is_what_was_read() {
    let cases = [
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"a": "b", "long": "x".repeat(300)},
            "managedFields": [{"manager": "m", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:x": {}}}}]},
            "spec": {"terminationGracePeriodSeconds": 0, "nodeSelector": {"k": "v"}, "volumes": [{"name": "v", "emptyDir": {}}, {"name": "c", "configMap": {"name": "cm", "optional": true}}],
                "containers": [{"name": "c", "args": ["", "-x"], "resources": {"limits": {"cpu": "100m"}},
                    "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "initialDelaySeconds": 5},
                    "readinessProbe": {"tcpSocket": {"port": 8080}}}]}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "binaryData": {"b": "AP8="}, "immutable": false}),
        json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {}, "spec": {"renewTime": "2026-01-02T03:04:05.123456Z", "leaseDurationSeconds": -1}}),
        json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {}, "spec": {"extra": {"a": ["b", "c"], "none": []}, "request": "eA=="}}),
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {}, "spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
            "$ref": "x", "default": {"a": [1]}, "enum": ["a", 1, null], "maximum": 1.5, "minimum": -3.0, "x-kubernetes-preserve-unknown-fields": true,
            "items": {"type": "string"}, "additionalProperties": false, "additionalItems": {"type": "object"},
            "properties": {"p": {"items": [{"type": "string"}], "additionalProperties": true}}, "dependencies": {"d": ["x", "y"]}}}}]}}),
        json!({"apiVersion": "v1", "kind": "Status", "metadata": {"continue": "c", "remainingItemCount": 7}, "code": 404, "details": {"causes": [{"field": "f"}], "retryAfterSeconds": 3}}),
        json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "a", "generation": i64::MAX}}),
    ];
    for object in cases {
        let encoder = Encoder::of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()).unwrap();
        let bytes = encoder.object(object.to_string().as_bytes()).unwrap();
        assert_eq!(decode(&bytes), Ok(object));
    }
}

#[test]
fn values_of_wrong_types_are_left_out() {
    let encoder = Encoder::of("v1", "Pod").unwrap();
    let odd = json!({"metadata": {"name": 1, "labels": ["a"], "creationTimestamp": "soon", "generation": "x", "finalizers": {"a": 1}},
        "spec": ["x", {}], "status": {"phase": {"a": []}, "podIPs": [null, {"ip": "1.2.3.4"}]}, "more": [[{}]]});
    let read = decode(&encoder.object(odd.to_string().as_bytes()).unwrap()).unwrap();
    assert_eq!(
        read,
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {}, "status": {"podIPs": [{}, {"ip": "1.2.3.4"}]}})
    );
    assert!(encoder.object(b"{\"metadata\":").is_err());
}

/// The frame's length, the event's type, and the object in it.
#[test]
fn events_are_framed_by_their_length() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a".repeat(200)}});
    let encoder = Encoder::of("v1", "ConfigMap").unwrap();
    let frame = encoder.event("ADDED", object.to_string().as_bytes()).unwrap();
    let (length, event) = frame.split_at(4);
    assert_eq!(length, u32::try_from(event.len()).unwrap().to_be_bytes());
    let mut reader = Reader(event);
    assert_eq!(reader.field(), Ok(Some((1, Wire::Bytes(b"ADDED")))));
    let Ok(Some((2, Wire::Bytes(raw)))) = reader.field() else { panic!("no object") };
    let Ok(Some((1, Wire::Bytes(raw)))) = Reader(raw).field() else { panic!("no bytes") };
    assert_eq!((decode(raw), reader.field()), (Ok(object), Ok(None)));
}

#[test]
fn lists_hold_their_items_and_metadata() {
    let encoder = Encoder::of("v1", "ConfigMap").unwrap();
    let items: [&[u8]; 2] = [br#"{"metadata":{"name":"a"}}"#, br#"{"metadata":{"name":"b"}}"#];
    let list = encoder.list("v1", "ConfigMapList", br#"{"resourceVersion":"7"}"#, items.into_iter(), 0).unwrap();
    expect_test::expect![[r#""k8s\0\n\u{13}\n\u{2}v1\u{12}\rConfigMapList\u{12}\u{13}\n\u{3}\u{12}\u{1}7\u{12}\u{5}\n\u{3}\n\u{1}a\u{12}\u{5}\n\u{3}\n\u{1}b\u{1a}\0\"\0""#]]
        .assert_eq(&format!("{:?}", String::from_utf8_lossy(&list)));
}

/// Any JSON of a few levels.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9:.TZ=-]{0,12}".prop_map(Value::from),
    ];
    let names = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("status"),
        Just("name"),
        Just("labels"),
        Just("items"),
        Just("containers"),
        Just("volumes"),
        Just("resources"),
        Just("limits"),
        Just("finalizers"),
        Just("creationTimestamp"),
        Just("versions"),
        Just("schema"),
        Just("openAPIV3Schema"),
        Just("properties"),
        Just("default"),
        Just("enum"),
        Just("additionalProperties"),
        Just("required"),
        Just("data"),
        Just("other"),
    ];
    leaf.prop_recursive(6, 64, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(names.clone().prop_map(str::to_string), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn any_object_is_written(object in any_json(), kind in 0..3usize) {
        let (api_version, kind) = [("v1", "Pod"), ("apiextensions.k8s.io/v1", "CustomResourceDefinition"), ("v1", "Secret")][kind];
        let encoder = Encoder::of(api_version, kind).unwrap();
        if let Ok(bytes) = encoder.object(object.to_string().as_bytes()) {
            let read = decode(&bytes);
            prop_assert!(read.is_ok() || matches!(read, Err(ProtobufError::Wire)), "{:?}", read);
        }
    }

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
