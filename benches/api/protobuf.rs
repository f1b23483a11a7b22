//! ConfigMaps as clients in Go send them.

use crate::{
    NAMESPACE,
    connection::{Call, PROTOBUF},
};
use hyper::Method;

const URL: &str = "/api/v1/namespaces";

pub(crate) fn create(name: &str, data: &str) -> Call {
    Call::new(Method::POST, format!("{URL}/{NAMESPACE}/configmaps"), PROTOBUF, config_map(name, data))
}

/// A get of one, or a list with its query.
pub(crate) fn read(rest: &str) -> Call {
    Call::new(Method::GET, format!("{URL}/{NAMESPACE}/configmaps{rest}"), PROTOBUF, "")
}

/// `runtime.Unknown` with a ConfigMap in it, behind Kubernetes' four bytes.
fn config_map(name: &str, data: &str) -> Vec<u8> {
    let kind = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
    let metadata = field(1, name.as_bytes());
    let entry = [field(1, b"key"), field(2, data.as_bytes())].concat();
    let object = [field(1, &metadata), field(2, &entry)].concat();
    [b"k8s\0".to_vec(), field(1, &kind), field(2, &object)].concat()
}

/// A field whose length stands before it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
    out
}
