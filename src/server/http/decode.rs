//! Request bodies: read within limits, and decoded from JSON or YAML.

use std::time::Duration;

use super::body::RequestBody;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use mk8s_api::{
    decode::{self, Body as Parsed, Media},
    protobuf,
    status::Status,
};

/// The largest body, as Kubernetes has it.
pub const LIMIT: usize = 3 << 20;

/// How much of a refused body is taken before the answer.
const DISCARDED: usize = 64 << 20;
const DISCARD_FOR: Duration = Duration::from_secs(5);

/// How many bytes the aliases of a YAML body may stand for: the size of the body times their number.
const ALIASED: usize = 64 << 20;

const SUPPORTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// Reads a body of at most [`LIMIT`] bytes.
pub async fn read(headers: &HeaderMap, mut body: RequestBody) -> Result<Bytes, Status> {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > LIMIT as u64) {
        discard(body).await;
        return Err(too_large());
    }
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Status::bad_request(format!("the body of the request could not be read: {error}")))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + all.len() + data.len() > LIMIT {
            discard(body).await;
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

/// Takes the rest of a body that is refused, as far as that is bearable: many HTTP/2 clients do not look at an answer
/// that comes while they still send.
async fn discard(mut body: RequestBody) {
    let mut left = DISCARDED;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Whoever sends so slowly does without the answer.
    let _ = tokio::time::timeout(DISCARD_FOR, all).await;
}

fn too_large() -> Status {
    Status::too_large(format!("limit is {LIMIT}"))
}

/// The content type without its parameters, in lower case.
pub fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Parses an object; `kind` is what it should be, for the error's text. What it holds is not looked at.
pub fn object<'b>(headers: &HeaderMap, bytes: &'b [u8], kind: &str) -> Result<Parsed<'b>, Status> {
    let media = match content_type(headers).as_str() {
        "" | "application/json" | "text/json" => Media::Json,
        "application/yaml" | "application/x-yaml" | "text/yaml" => Media::Yaml,
        protobuf::MEDIA_TYPE => {
            let value = protobuf::decode(bytes).map_err(|error| decode::unrecognized(bytes, kind, &error))?;
            return Ok(Parsed::without_doubles(value));
        }
        _ => return Err(Status::unsupported_media_type(&SUPPORTED)),
    };
    parse(media, bytes, kind)
}

/// Parses the YAML of an apply patch, of which JSON is a part, and what clients mostly send.
pub fn yaml<'b>(bytes: &'b [u8], kind: &str) -> Result<Parsed<'b>, Status> {
    let may_be_json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    match may_be_json.then(|| decode::parse(bytes, Media::Json)) {
        Some(Ok(parsed)) => Ok(parsed.as_yaml(bytes)),
        _ => parse(Media::Yaml, bytes, kind),
    }
}

fn parse<'b>(media: Media, bytes: &'b [u8], kind: &str) -> Result<Parsed<'b>, Status> {
    if media == Media::Yaml && aliases(bytes).saturating_mul(bytes.len()) > ALIASED {
        return Err(decode::unrecognized(bytes, kind, &"yaml: document contains excessive aliasing"));
    }
    decode::parse_object(bytes, media, kind)
}

/// Aliases make a small text a huge tree; Kubernetes' own objects have none. What looks like one counts, at the
/// beginning of a word and only if there is an anchor that it could mean.
fn aliases(bytes: &[u8]) -> usize {
    let begins_word = |at: usize| {
        let before = at.checked_sub(1).map(|before| bytes[before]);
        let after = bytes.get(at + 1).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        after
            && before.is_none_or(|byte| byte.is_ascii_whitespace() || matches!(byte, b'[' | b'{' | b',' | b':' | b'-'))
    };
    let count = |mark: u8| (0..bytes.len()).filter(|at| bytes[*at] == mark && begins_word(*at)).count();
    if count(b'&') == 0 { 0 } else { count(b'*') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::Value;

    fn typed(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    #[test]
    fn bodies_are_decoded_by_type() {
        let cases: [(&'static str, &str, Result<Value, u16>); 8] = [
            ("application/json", r#"{"a":1}"#, Ok(serde_json::json!({"a": 1}))),
            ("application/json; charset=utf-8", r#"{"a":1}"#, Ok(serde_json::json!({"a": 1}))),
            ("application/yaml", "a: 1\n", Ok(serde_json::json!({"a": 1}))),
            ("application/json", "{", Err(400)),
            ("application/json", "[]", Err(400)),
            ("text/html", "k8s", Err(415)),
            ("application/vnd.kubernetes.protobuf", "k8s", Err(400)),
            ("application/yaml", "a: [", Err(400)),
        ];
        for (content_type, body, expected) in cases {
            let decoded = object(&typed(content_type), body.as_bytes(), "Pod");
            assert_eq!(decoded.map(|decoded| decoded.value).map_err(|status| status.code), expected, "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(
            object(&typed("application/json"), deep.as_bytes(), "Pod").err().map(|status| status.code),
            Some(400)
        );
        assert_eq!(
            object(&typed("application/yaml"), deep.as_bytes(), "Pod").err().map(|status| status.code),
            Some(400)
        );
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
