//! JSON with indentation, for those who read it themselves: `?pretty=true`, and the programs people fetch pages with.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, Uri, header};
use http_body_util::BodyExt;

use super::{body::Body, query::Query};

/// User agents that get it without asking.
const PEOPLE: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// Answers that are another program's, or of a form of their own.
const OTHERS: [&str; 6] = [".well-known", "log", "metrics", "openapi", "openid", "proxy"];

/// Whether the answer is to be indented.
pub fn is_wanted(uri: &Uri, headers: &HeaderMap) -> bool {
    let asked = match uri.query().filter(|query| query.contains("pretty")) {
        Some(query) => Query::parse(Some(query))
            .get("pretty")
            .map(|value| matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")),
        None => None,
    };
    let person = || {
        let agent = headers.get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        PEOPLE.iter().any(|program| agent.starts_with(program))
    };
    asked.unwrap_or_else(person) && !uri.path().split('/').any(|part| OTHERS.contains(&part))
}

/// Indents a JSON body that is known to end.
pub async fn print(response: Response<Body>) -> Response<Body> {
    let is_json =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|of| of.as_bytes().starts_with(b"application/json"));
    if !is_json || response.body().exact_len().is_none() || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let text = match body.collect().await {
        Ok(body) => indent(&body.to_bytes()),
        Err(_) => Bytes::new(),
    };
    if parts.headers.contains_key(header::CONTENT_LENGTH) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
    }
    Response::from_parts(parts, text.into())
}

/// Two spaces a level, as Go's `json.Indent` does it.
fn indent(json: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped, mut opened) = (0usize, false, false, false);
    for byte in json {
        if in_text {
            out.push(*byte);
            in_text = escaped || *byte != b'"';
            escaped = !escaped && *byte == b'\\';
            continue;
        }
        if byte.is_ascii_whitespace() {
            continue;
        }
        if opened && !matches!(byte, b'}' | b']') {
            depth += 1;
            line(&mut out, depth);
            opened = false;
        }
        match byte {
            b'"' => in_text = true,
            b'}' | b']' if opened => opened = false,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
            }
            _ => {}
        }
        out.push(*byte);
        match byte {
            b'{' | b'[' => opened = true,
            b',' => line(&mut out, depth),
            b':' => out.push(b' '),
            _ => {}
        }
    }
    out.into()
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn json_is_indented_as_go_does_it() {
        let cases = [
            json!({"a": 1, "b": [1, "x:{\",\\"], "c": {}, "d": [], "e": {"f": null}}),
            json!([]),
            json!("text"),
            json!([[1], {"a": [{}]}]),
        ];
        for value in cases {
            let expected = serde_json::to_string_pretty(&value).expect("JSON");
            assert_eq!(indent(value.to_string().as_bytes()), expected.as_bytes());
            assert_eq!(serde_json::from_slice::<Value>(&indent(expected.as_bytes())).expect("JSON"), value);
        }
    }

    #[test]
    fn people_and_those_who_ask_get_it() {
        let cases = [
            ("/api/v1/pods", "curl/7.88", true),
            ("/api/v1/pods?pretty=false", "curl/7.88", false),
            ("/api/v1/pods?pretty=true", "kubectl/v1.36", true),
            ("/api/v1/pods?pretty=", "kubectl/v1.36", false),
            ("/api/v1/pods", "kubectl/v1.36", false),
            ("/api/v1/namespaces/a/pods/p/proxy/x", "curl/7.88", false),
        ];
        for (uri, agent, expected) in cases {
            let headers = HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))]);
            assert_eq!(is_wanted(&uri.parse().expect("a URI"), &headers), expected, "{uri} {agent}");
        }
    }
}
