//! Paths here and there, as text: what is in a container is no business of this machine's file system.

use anyhow::{Result, bail};

/// `[[namespace/]pod:]path`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) namespace: Option<String>,
    pub(super) pod: Option<String>,
    pub(super) path: String,
}

impl Place {
    pub(super) fn parse(text: &str) -> Result<Place> {
        const WRONG: &str = "filespec must match the canonical format: [[namespace/]pod:]file/path";
        let Some((pod, path)) = text.split_once(':') else {
            return Ok(Place { namespace: None, pod: None, path: without_trailing_slash(text).to_owned() });
        };
        if pod.is_empty() {
            bail!(WRONG);
        }
        let path = without_trailing_slash(path).replace('\\', "/");
        let filled = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        match pod.split('/').collect::<Vec<_>>().as_slice() {
            [pod] => Ok(Place { namespace: None, pod: filled(pod), path }),
            [namespace, pod] => Ok(Place { namespace: filled(namespace), pod: filled(pod), path }),
            _ => bail!(WRONG),
        }
    }
}

fn without_trailing_slash(path: &str) -> &str {
    match path.strip_suffix('/') {
        Some(stripped) if !stripped.is_empty() => stripped,
        _ => path,
    }
}

/// The shortest path of the same meaning; `.` for none.
pub(super) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

pub(super) fn join(base: &str, more: &str) -> String {
    match (base.is_empty(), more.is_empty()) {
        (true, true) => String::new(),
        (true, false) => clean(more),
        (false, true) => clean(base),
        (false, false) => clean(&format!("{base}/{more}")),
    }
}

/// Everything but the last element.
pub(super) fn parent(path: &str) -> String {
    match path.rfind('/') {
        Some(at) => clean(&path[..=at]),
        None => ".".to_owned(),
    }
}

/// The last element.
pub(super) fn base(path: &str) -> &str {
    let path = path.trim_end_matches('/');
    match path.rsplit('/').next() {
        Some("") | None => "/",
        Some(last) => last,
    }
}

/// What `tar` calls the files of a path: not rooted, and never above the root.
pub(super) fn in_archive(path: &str) -> String {
    let cleaned = clean(path.trim_start_matches(['/', '\\']));
    without_shortcuts(&cleaned).to_owned()
}

fn without_shortcuts(path: &str) -> &str {
    let mut path = path;
    while let Some(rest) = path.strip_prefix("../") {
        path = rest;
    }
    if path == "." || path == ".." {
        return "";
    }
    path.strip_prefix('/').unwrap_or(path)
}

/// Whether `path` is `base` or below it. Both are clean.
pub(super) fn is_within(base: &str, path: &str) -> bool {
    let base = clean(base);
    let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    match base.as_str() {
        "/" => path.starts_with('/'),
        "." => !path.starts_with('/') && path != ".." && !path.starts_with("../"),
        base => path == base || below(base),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_parsed() {
        let shown = |text: &str| match Place::parse(text) {
            Ok(Place { namespace, pod, path }) => {
                format!("{} {} {path}", namespace.unwrap_or("-".into()), pod.unwrap_or("-".into()))
            }
            Err(error) => error.to_string().split(' ').take(2).collect::<Vec<_>>().join(" "),
        };
        let cases = [
            ("/tmp/a", "- - /tmp/a"),
            ("/tmp/a/", "- - /tmp/a"),
            ("/", "- - /"),
            ("p:/a", "- p /a"),
            ("n/p:a\\b", "n p a/b"),
            ("p:", "- p "),
            (":x", "filespec must"),
            ("a/b/c:x", "filespec must"),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_are_taken_apart() {
        let cleaned =
            [("", "."), ("/", "/"), ("a//b/./c/..", "a/b"), ("/../a", "/a"), ("../a", "../a"), ("a/../..", "..")];
        for (path, expected) in cleaned {
            assert_eq!(clean(path), expected, "{path}");
        }
        for (path, dir, last) in
            [("/a/b", "/a", "b"), ("a", ".", "a"), ("/a", "/", "a"), ("/", "/", "/"), ("..", ".", "..")]
        {
            assert_eq!((parent(path).as_str(), base(path)), (dir, last), "{path}");
        }
        for (path, expected) in [("/tmp/x", "tmp/x"), ("./x", "x"), ("../../x", "x"), ("/", ""), ("..", ""), (".", "")]
        {
            assert_eq!(in_archive(path), expected, "{path}");
        }
    }

    #[test]
    fn nothing_outside_the_destination_is_within_it() {
        let cases = [
            ("/tmp/a", "/tmp/a", true),
            ("/tmp/a", "/tmp/a/b", true),
            ("/tmp/a", "/tmp/ab", false),
            ("/tmp/a", "/tmp", false),
            (".", "a", true),
            (".", "../a", false),
            ("a", "../a", false),
            ("/", "/etc", true),
        ];
        for (base, path, expected) in cases {
            assert_eq!(is_within(base, path), expected, "{base} {path}");
        }
    }
}
