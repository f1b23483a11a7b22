//! Where objects live in the store: `/registry/<group or "core">/<plural>/[<namespace>/]<name>`.

use bytes::Bytes;
use mk8s_store::Entry;

/// The prefix of all objects of a kind, with the slash at its end.
pub(super) fn kind_prefix(group: &str, plural: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("/registry/{group}/{plural}/")
}

/// The key of one object; `namespace` is empty for cluster-scoped ones.
pub(super) fn object(kind_prefix: &str, namespace: &str, name: &str) -> Bytes {
    let mut key = String::with_capacity(kind_prefix.len() + namespace.len() + name.len() + 1);
    key.push_str(kind_prefix);
    if !namespace.is_empty() {
        key.push_str(namespace);
        key.push('/');
    }
    key.push_str(name);
    Bytes::from(key)
}

/// The prefix of the objects of a namespace, or of all when it is empty.
pub(super) fn scope(kind_prefix: &str, namespace: &str) -> String {
    match namespace {
        "" => kind_prefix.to_string(),
        namespace => format!("{kind_prefix}{namespace}/"),
    }
}

/// The first key after all keys that start with `prefix`.
pub(super) fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // Prefixes end in a slash, whose successor in ASCII is a zero.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Namespace (empty when cluster-scoped) and name of a stored object, read from its key.
pub(super) fn namespace_and_name<'a>(kind_prefix: &str, entry: &'a Entry) -> (&'a str, &'a str) {
    let tail = entry.key.get(kind_prefix.len()..).unwrap_or_default();
    let tail = std::str::from_utf8(tail).unwrap_or_default();
    tail.split_once('/').unwrap_or(("", tail))
}
