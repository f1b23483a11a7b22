//! The `continue` of a paged list: which root it reads from, and where it goes on.
//!
//! The text is apiserver's own (`storage.EncodeContinue`), base64 of JSON, so that tools which look into it find what
//! they expect.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mk8s_api::status::Status;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Wire {
    v: String,
    rv: i64,
    start: String,
    /// Ours: how many of the list were on the pages before.
    #[serde(default)]
    seen: usize,
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
        let bad = |why: &str| Status::bad_request(format!("invalid continue token: continue key is not valid: {why}"));
        let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).map_err(|error| bad(&error.to_string()))?;
        let wire: Wire = serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))?;
        if wire.v != FORM {
            return Err(bad(&format!("server does not recognize this encoded version {}", wire.v)));
        }
        if wire.rv == 0 {
            return Err(bad("incorrect encoded start resourceVersion (version meta.k8s.io/v1)"));
        }
        if wire.start.is_empty() {
            return Err(bad("encoded start key empty (version meta.k8s.io/v1)"));
        }
        if wire.start.split('/').any(|part| matches!(part, "." | "..")) || wire.start.contains("//") {
            return Err(bad(&wire.start));
        }
        Ok(ContinueToken { revision: u64::try_from(wire.rv).ok(), start: wire.start, seen: wire.seen })
    }
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
            "%%%".to_string(),
            foreign("x"),
            foreign(r#"{"v":"other","rv":1,"start":"a"}"#),
            foreign(r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a"}"#),
            foreign(r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#),
            foreign(r#"{"v":"meta.k8s.io/v1","rv":1,"start":"../secrets"}"#),
        ];
        for token in cases {
            assert_eq!(ContinueToken::decode(&token).map_err(|status| status.code), Err(400), "{token}");
        }
    }

    proptest! {
        #[test]
        fn any_token_is_read_or_refused(token in ".{0,80}") {
            let _ = ContinueToken::decode(&token);
        }
    }
}
