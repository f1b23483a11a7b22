//! A refusal may come from not knowing yet what another server has answered. So with other servers a refused request is
//! looked at again, once this one knows everything that was answered anywhere.
//!
//! Only refusals cost that; what is taken was right, because the store has the last word on every write.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body::Body as _;
use http_body_util::Full;

use super::{
    body::{RequestBody, request_body},
    decode,
    router::{By, Handled, Inner, handle as handle_once},
};
use crate::audit::Record;

/// How often a request begins anew whose decisions did not hold.
const ATTEMPTS: usize = 10;

/// Answers a request from what is known anywhere.
pub(super) async fn handle(
    inner: &Arc<Inner>,
    parts: Parts,
    body: RequestBody,
    record: &mut Option<Record>,
) -> Handled {
    let store = inner.registry.store();
    if store.is_alone() || !may_be_repeated(&parts, &body) {
        return handle_once(inner, parts, body, record).await;
    }
    let bytes = match body.is_end_stream() {
        true => Bytes::new(),
        false => match decode::read(&parts.headers, body).await {
            Ok(bytes) => bytes,
            Err(status) => return Handled::refused(status),
        },
    };
    let mut looked_again = false;
    for _ in 0..ATTEMPTS {
        let known = store.revision();
        let handled = handle_once(inner, parts.clone(), request_body(Full::new(bytes.clone())), record).await;
        match handled.by {
            By::UsTooLate => {}
            By::Us if !looked_again && is_doubtful(&handled) => {
                looked_again = true;
                match store.barrier().await {
                    Ok(view) if view.revision() > known => {}
                    _ => return handled,
                }
            }
            By::Us | By::Another => return handled,
        }
    }
    handle_once(inner, parts, request_body(Full::new(bytes)), record).await
}

/// Whether its body is small, and nothing but an answer is expected.
fn may_be_repeated(parts: &Parts, body: &RequestBody) -> bool {
    parts.extensions.get::<hyper::upgrade::OnUpgrade>().is_none()
        && body.size_hint().exact().is_some_and(|size| size <= decode::LIMIT as u64)
}

/// Refusals that depend on what is stored.
fn is_doubtful(handled: &Handled) -> bool {
    let code = match &handled.result {
        Ok(response) => response.status().as_u16(),
        Err(status) => status.code,
    };
    matches!(code, 401 | 403 | 404 | 405 | 409 | 422)
}
