//! The `continue` of a paged list: which root it reads from, and where it goes on.
//!
//! The text is apiserver's own (`storage.EncodeContinue`), base64 of JSON, so that tools which look into it find what
//! they expect.

use base64::{
    Engine, alphabet,
    engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD},
};
use mk8s_api::{
    decode::{JsonError, json_type},
    status::Status,
};
use serde::Serialize;
use serde_json::Value;

#[derive(Debug, Default, Serialize)]
struct Wire {
    v: String,
    rv: i64,
    start: String,
    /// Ours: how many of the list were on the pages before.
    seen: usize,
}

impl Wire {
    /// What Go's decoder makes of it: what is absent is zero, and the first that is of another type is refused.
    fn read(json: &Value) -> Result<Wire, String> {
        if !matches!(json, Value::Object(_) | Value::Null) {
            return Err(format!(
                "json: cannot unmarshal {} into Go value of type storage.continueToken",
                json_type(json)
            ));
        }
        let given = |field: &str| json.get(field).filter(|value| !value.is_null());
        let mut wire = Wire::default();
        if let Some(v) = given("v") {
            wire.v = v.as_str().ok_or_else(|| mismatch("v", "string", json_type(v)))?.to_owned();
        }
        if let Some(rv) = given("rv") {
            let found = if rv.is_number() { format!("number {rv}") } else { json_type(rv).to_owned() };
            wire.rv = rv.as_i64().ok_or_else(|| mismatch("rv", "int64", &found))?;
        }
        if let Some(start) = given("start") {
            wire.start = start.as_str().ok_or_else(|| mismatch("start", "string", json_type(start)))?.to_owned();
        }
        wire.seen = given("seen").and_then(Value::as_u64).and_then(|seen| usize::try_from(seen).ok()).unwrap_or(0);
        Ok(wire)
    }
}

fn mismatch(field: &str, wanted: &str, found: &str) -> String {
    format!("json: cannot unmarshal {found} into Go struct field continueToken.{field} of type {wanted}")
}

/// Where a paged list goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ContinueToken {
    /// The root of the list; absent once the client agreed to go on with the newest.
    pub(super) revision: Option<u64>,
    /// The first key not yet listed, relative to the prefix of the list.
    pub(super) start: String,
    /// How many of the list were on the pages before.
    pub(super) seen: usize,
}

const FORM: &str = "meta.k8s.io/v1";

impl ContinueToken {
    pub(super) fn encode(&self) -> String {
        let rv = self.revision.and_then(|revision| i64::try_from(revision).ok()).unwrap_or(-1);
        let wire = Wire { v: FORM.to_string(), rv, start: self.start.clone(), seen: self.seen };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&wire).expect("texts and numbers have a JSON form"))
    }

    pub(super) fn decode(token: &str) -> Result<ContinueToken, Status> {
        read(token)
            .map_err(|why| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}")))
    }
}

fn read(token: &str) -> Result<ContinueToken, String> {
    // Bits that are left over at the end are nobody's business in Go.
    const LENIENT: GeneralPurpose =
        GeneralPurpose::new(&alphabet::URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));
    let bytes =
        LENIENT.decode(token).map_err(|_| format!("illegal base64 data at input byte {}", illegal_at(token)))?;
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| JsonError::new(&bytes, &error).to_string())?;
    let Wire { v, rv, start, seen } = Wire::read(&json)?;
    if v != FORM {
        return Err(format!("server does not recognize this encoded version {v}"));
    }
    if rv == 0 {
        return Err("incorrect encoded start resourceVersion (version meta.k8s.io/v1)".into());
    }
    if start.is_empty() {
        return Err("encoded start key empty (version meta.k8s.io/v1)".into());
    }
    let key = start.strip_prefix('/').unwrap_or(&start);
    // Nobody may leave the prefix of the list.
    if !key.is_empty() && key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(start);
    }
    Ok(ContinueToken { revision: u64::try_from(rv).ok(), start: key.to_owned(), seen })
}

/// Where Go finds a fault: at the first character of another alphabet, or at one that is left over at the end.
fn illegal_at(token: &str) -> usize {
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    token.bytes().position(|byte| !is_known(byte)).unwrap_or(token.len().saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_survive_the_way() {
        for revision in [Some(7), None] {
            let token = ContinueToken { revision, start: "default/a\u{0}".into(), seen: 500 };
            assert_eq!(ContinueToken::decode(&token.encode()).expect("readable"), token);
        }
    }

    #[test]
    fn foreign_tokens_are_refused() {
        let foreign = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let cases = [
            ("x".to_owned(), "illegal base64 data at input byte 0"),
            ("abcd%".to_owned(), "illegal base64 data at input byte 4"),
            ("YQ==".to_owned(), "illegal base64 data at input byte 2"),
            ("abd".to_owned(), "invalid character 'i' looking for beginning of value"),
            (URL_SAFE_NO_PAD.encode([0xe9_u8]), "invalid character 'é' looking for beginning of value"),
            (foreign("{"), "unexpected end of JSON input"),
            (foreign("[]"), "json: cannot unmarshal array into Go value of type storage.continueToken"),
            (foreign("null"), "server does not recognize this encoded version "),
            (
                foreign(r#"{"v":1}"#),
                "json: cannot unmarshal number into Go struct field continueToken.v of type string",
            ),
            (
                foreign(r#"{"v":"meta.k8s.io/v1","rv":1.5}"#),
                "json: cannot unmarshal number 1.5 into Go struct field continueToken.rv of type int64",
            ),
            (
                foreign(r#"{"v":"meta.k8s.io/v1","rv":1,"start":[]}"#),
                "json: cannot unmarshal array into Go struct field continueToken.start of type string",
            ),
            (foreign(r#"{"v":"other","rv":1,"start":"a"}"#), "server does not recognize this encoded version other"),
            (
                foreign(r#"{"v":"meta.k8s.io/v1","start":"a"}"#),
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (foreign(r#"{"v":"meta.k8s.io/v1","rv":1}"#), "encoded start key empty (version meta.k8s.io/v1)"),
            (foreign(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets"}"#), "../secrets"),
            (foreign(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"/a//b"}"#), "/a//b"),
            (foreign(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"a/"}"#), "a/"),
        ];
        for (token, expected) in cases {
            let refused = ContinueToken::decode(&token).expect_err(&token);
            let message = format!("invalid continue token: continue key is not valid: {expected}");
            assert_eq!((refused.code, refused.message), (400, message), "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_token_is_read_or_refused(token in ".{0,80}") {
            let _ = ContinueToken::decode(&token);
        }
    }
}
