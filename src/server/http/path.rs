//! What a path names: a resource of the API, or something beside it.
//!
//! The shape follows apiserver's `RequestInfo`. Segments are percent-decoded one by one, after splitting, so an escaped
//! slash never makes a new segment.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// A path under `/api/VERSION` or `/apis/GROUP/VERSION` that goes on to a resource. Empty texts: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourcePath<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub namespace: Cow<'a, str>,
    /// The plural.
    pub resource: Cow<'a, str>,
    pub name: Cow<'a, str>,
    pub subresource: Cow<'a, str>,
    /// What follows the subresource, undecoded and without the slash between: the path for a proxied backend.
    pub rest: Option<&'a str>,
    /// The legacy form `/api/v1/watch/...`.
    pub watch: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route<'a> {
    Resource(ResourcePath<'a>),
    /// `/healthz`, `/api`, `/apis/apps/v1`, ...: not about one resource.
    Other(&'a str),
}

/// Subresources of a namespace, which otherwise would read as resources in it.
const NAMESPACE_SUBRESOURCES: [&str; 2] = ["status", "finalize"];

/// Reads a path. `None`: it is not valid text once decoded.
pub fn parse(path: &str) -> Option<Route<'_>> {
    let mut segments = Segments { rest: path.trim_start_matches('/') };
    let (group, version) = match segments.next() {
        Some("api") => ("", segments.next()),
        Some("apis") => match segments.next() {
            Some(group) => (group, segments.next()),
            None => return Some(Route::Other(path)),
        },
        _ => return Some(Route::Other(path)),
    };
    let Some(version) = version else { return Some(Route::Other(path)) };
    let Some(mut first) = segments.next() else { return Some(Route::Other(path)) };
    let mut found = ResourcePath { group, version, ..ResourcePath::default() };
    if first == "watch" {
        found.watch = true;
        match segments.next() {
            Some(next) => first = next,
            None => return Some(Route::Other(path)),
        }
    }
    found.resource = decode(first)?;
    if first == "namespaces"
        && let Some(namespace) = segments.next()
    {
        found.namespace = decode(namespace)?;
        match segments.next() {
            None => {
                found.name = found.namespace.clone();
                return Some(Route::Resource(found));
            }
            Some(next) if NAMESPACE_SUBRESOURCES.contains(&next) => {
                found.name = found.namespace.clone();
                found.subresource = Cow::Borrowed(next);
                found.rest = segments.tail();
                return Some(Route::Resource(found));
            }
            Some(resource) => found.resource = decode(resource)?,
        }
    }
    if let Some(name) = segments.next() {
        found.name = decode(name)?;
    }
    if let Some(subresource) = segments.next() {
        found.subresource = decode(subresource)?;
        found.rest = segments.tail();
    }
    Some(Route::Resource(found))
}

/// The non-empty segments of a path.
struct Segments<'a> {
    rest: &'a str,
}

impl<'a> Segments<'a> {
    fn next(&mut self) -> Option<&'a str> {
        while !self.rest.is_empty() {
            let (segment, rest) = match self.rest.split_once('/') {
                Some((segment, rest)) => (segment, rest),
                None => (self.rest, ""),
            };
            let ended_with_slash = rest.is_empty() && self.rest.ends_with('/');
            self.rest = if ended_with_slash { "/" } else { rest };
            if ended_with_slash && segment.is_empty() {
                self.rest = "";
            }
            if !segment.is_empty() {
                return Some(segment);
            }
        }
        None
    }

    /// Everything not yet taken; `Some("")` when the path ends in a slash.
    fn tail(&self) -> Option<&'a str> {
        match self.rest {
            "" => None,
            "/" => Some(""),
            rest => Some(rest),
        }
    }
}

fn decode(segment: &str) -> Option<Cow<'_, str>> {
    if !segment.contains('%') {
        return Some(Cow::Borrowed(segment));
    }
    percent_decode_str(segment).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn resource(path: &str) -> String {
        match parse(path) {
            Some(Route::Resource(r)) => format!(
                "{}|{}|{}|{}|{}|{}|{:?}{}",
                r.group,
                r.version,
                r.namespace,
                r.resource,
                r.name,
                r.subresource,
                r.rest,
                if r.watch { "|watch" } else { "" }
            ),
            Some(Route::Other(path)) => format!("other {path}"),
            None => "unreadable".into(),
        }
    }

    #[test]
    fn paths_are_read_as_request_info_does() {
        let cases = [
            ("/api/v1/pods", "|v1||pods|||None"),
            ("/api/v1/namespaces/a/pods", "|v1|a|pods|||None"),
            ("/api/v1/namespaces/a/pods/", "|v1|a|pods|||None"),
            ("/api/v1/namespaces/a/pods/p", "|v1|a|pods|p||None"),
            ("/api/v1/namespaces/a/pods/p/log", "|v1|a|pods|p|log|None"),
            ("/api/v1/namespaces/a/services/s:80/proxy/x/y", "|v1|a|services|s:80|proxy|Some(\"x/y\")"),
            ("/api/v1/namespaces/a/services/s:80/proxy/", "|v1|a|services|s:80|proxy|Some(\"\")"),
            ("/api/v1/namespaces/a/services/s:80/proxy", "|v1|a|services|s:80|proxy|None"),
            ("/api/v1/namespaces", "|v1||namespaces|||None"),
            ("/api/v1/namespaces/a", "|v1|a|namespaces|a||None"),
            ("/api/v1/namespaces/a/finalize", "|v1|a|namespaces|a|finalize|None"),
            ("/api/v1/watch/namespaces/a/pods", "|v1|a|pods|||None|watch"),
            ("/apis/apps/v1/deployments", "apps|v1||deployments|||None"),
            ("/apis/apps/v1/namespaces/a/deployments/d/scale", "apps|v1|a|deployments|d|scale|None"),
            (
                "/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode",
                "rbac.authorization.k8s.io|v1||clusterroles|system:node||None",
            ),
            ("/apis/g/v1/things/a%2Fb", "g|v1||things|a/b||None"),
            ("/apis/g/v1/things/%ff", "unreadable"),
            ("/api", "other /api"),
            ("/apis/", "other /apis/"),
            ("/apis/apps", "other /apis/apps"),
            ("/apis/apps/v1", "other /apis/apps/v1"),
            ("/healthz", "other /healthz"),
            ("/", "other /"),
        ];
        for (path, expected) in cases {
            assert_eq!(resource(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_read_or_refused(path in "(/[a-z%0-9:./~\u{e9}]{0,12}){0,9}") {
            let _ = parse(&path);
            let _ = parse(&format!("/api/v1{path}"));
            let _ = parse(&format!("/apis/g{path}"));
        }
    }
}
