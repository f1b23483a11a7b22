//! Request bodies: read within limits, and decoded from JSON or YAML.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use mk8s_api::status::Status;
use serde_json::Value;

use super::body::RequestBody;

/// The largest body, as Kubernetes has it.
pub const LIMIT: usize = 3 << 20;

const SUPPORTED: [&str; 2] = ["application/json", "application/yaml"];

/// Reads a body of at most [`LIMIT`] bytes.
pub async fn read(headers: &HeaderMap, mut body: RequestBody) -> Result<Bytes, Status> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > LIMIT as u64) {
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(format!("the body of the request could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > LIMIT {
            return Err(too_large());
        }
        if first.is_empty() && all.is_empty() {
            // Most bodies are one piece, which needs no copy.
            first = data;
            continue;
        }
        if !first.is_empty() {
            all.extend_from_slice(&std::mem::take(&mut first));
        }
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

fn too_large() -> Status {
    Status::too_large(format!("limit is {LIMIT}"))
}

/// The content type without its parameters, in lower case.
pub fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Decodes an object; `kind` is what it should be, for the error's text.
pub fn object(headers: &HeaderMap, bytes: &[u8], kind: &str) -> Result<Value, Status> {
    let value = match content_type(headers).as_str() {
        "" | "application/json" | "text/json" => json(bytes, kind)?,
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(bytes, kind)?,
        _ => return Err(Status::unsupported_media_type(&SUPPORTED)),
    };
    match value {
        Value::Object(_) => Ok(value),
        _ => Err(unrecognized(kind, "json: cannot unmarshal into Go value of type struct { APIVersion string; Kind string }")),
    }
}

fn json(bytes: &[u8], kind: &str) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(|error| unrecognized(kind, &format!("json parse error: {error}")))
}

/// Decodes YAML into what JSON can say: keys are texts, numbers stay numbers.
pub fn yaml(bytes: &[u8], kind: &str) -> Result<Value, Status> {
    let text = std::str::from_utf8(bytes).map_err(|error| unrecognized(kind, &format!("yaml: {error}")))?;
    // Anchors that repeat each other can make a small text a huge tree; Kubernetes' own objects have none.
    if text.matches('*').count() > 1000 && text.contains('&') {
        return Err(unrecognized(kind, "yaml: document contains excessive aliasing"));
    }
    serde_yaml::from_str(text).map_err(|error| unrecognized(kind, &format!("yaml: {error}")))
}

fn unrecognized(kind: &str, why: &str) -> Status {
    Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): couldn't get version/kind; {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn typed(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[test]
    fn bodies_are_decoded_by_type() {
        let cases: [(&'static str, &str, Result<Value, u16>); 7] = [
            ("application/json", r#"{"a":1}"#, Ok(serde_json::json!({"a": 1}))),
            ("application/json; charset=utf-8", r#"{"a":1}"#, Ok(serde_json::json!({"a": 1}))),
            ("application/yaml", "a: 1\n", Ok(serde_json::json!({"a": 1}))),
            ("application/json", "{", Err(400)),
            ("application/json", "[]", Err(400)),
            ("application/vnd.kubernetes.protobuf", "k8s", Err(415)),
            ("application/yaml", "a: [", Err(400)),
        ];
        for (content_type, body, expected) in cases {
            assert_eq!(object(&typed(content_type), body.as_bytes(), "Pod").map_err(|status| status.code), expected, "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(object(&typed("application/json"), deep.as_bytes(), "Pod").map_err(|status| status.code), Err(400));
        assert_eq!(object(&typed("application/yaml"), deep.as_bytes(), "Pod").map_err(|status| status.code), Err(400));
    }

    proptest! {
        #[test]
        fn any_body_is_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "[a-z:&* {}\\[\\]\"\n-]{0,200}") {
            for content_type in ["application/json", "application/yaml"] {
                let _ = object(&typed(content_type), &bytes, "Pod");
                let _ = object(&typed(content_type), text.as_bytes(), "Pod");
            }
        }
    }
}
