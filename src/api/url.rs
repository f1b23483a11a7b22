//! URLs of servers, taken apart as Go's `net/url` does, so that what is wrong with one is said as Kubernetes says it.

use crate::field::quote;

/// The parts of a URL that are checked.
#[derive(Debug, Default, PartialEq)]
pub struct Url<'a> {
    /// In lower case.
    pub scheme: String,
    pub user: Option<&'a str>,
    pub host: &'a str,
    pub query: &'a str,
    pub fragment: &'a str,
}

/// Splits a URL as Go does, as far as one that leads to a server goes.
///
/// # Errors
/// In Go's words.
pub fn split(url: &str) -> Result<Url<'_>, String> {
    let refused = |why: &str| Err(format!("parse {}: {why}", quote(url)));
    if url.chars().any(|c| c.is_ascii_control()) {
        return refused("net/url: invalid control character in URL");
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (scheme, rest) = match rest.find(':') {
        Some(0) => return refused("missing protocol scheme"),
        Some(end) if rest.starts_with(|c: char| c.is_ascii_alphabetic()) && is_scheme(&rest[..end]) => {
            (rest[..end].to_ascii_lowercase(), &rest[end + 1..])
        }
        Some(end) if !rest[..end].contains('/') => return refused("first path segment in URL cannot contain colon"),
        _ => (String::new(), rest),
    };
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let Some(rest) = rest.strip_prefix("//") else {
        return Ok(Url { scheme, query, fragment, ..Url::default() });
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    if host.contains(' ') {
        return refused("invalid character \" \" in host name");
    }
    let port = if host.starts_with('[') {
        host.rsplit_once("]").map_or("", |(_, port)| port)
    } else {
        host.find(':').map_or("", |at| &host[at..])
    };
    if !port.is_empty()
        && !port.strip_prefix(':').is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return refused(&format!("invalid port {} after host", quote(port)));
    }
    Ok(Url { scheme, user, host, query, fragment })
}

fn is_scheme(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let shown = |url| match split(url) {
            Ok(Url { scheme, user, host, query, fragment }) => format!("{scheme} {user:?} {host} {query} {fragment}"),
            Err(why) => why,
        };
        let cases = [
            ("HTTPS://u:p@a.b:1/c?d#e", "https Some(\"u:p\") a.b:1 d e"),
            ("https://[::1]:8/x", "https None [::1]:8  "),
            ("a.b/c", " None   "),
            (":", "parse \":\": missing protocol scheme"),
            ("1:2", "parse \"1:2\": first path segment in URL cannot contain colon"),
            ("https://a:b", "parse \"https://a:b\": invalid port \":b\" after host"),
            ("https://a b", "parse \"https://a b\": invalid character \" \" in host name"),
            ("https://a\n", "parse \"https://a\\n\": net/url: invalid control character in URL"),
        ];
        for (url, expected) in cases {
            assert_eq!(shown(url), expected, "{url}");
        }
    }
}
