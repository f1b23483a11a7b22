//! Bodies of requests and answers.
//!
//! The answer's body knows its length whenever it can, so that HTTP/1.1 needs no chunks; a list copies the stored
//! bytes into large pieces as the socket takes them.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use futures::{Stream, stream::BoxStream};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use mk8s_store::Entry;

use super::gzip::Gzip;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an answer's body broke off.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off")]
pub struct BodyError(#[from] BoxError);

/// A request's body, wherever it comes from.
pub type RequestBody = UnsyncBoxBody<Bytes, BodyError>;

/// Wraps any body as a [`RequestBody`].
pub fn request_body<B>(body: B) -> RequestBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(|error| BodyError(error.into())).boxed_unsync()
}

/// The size of a piece of a list.
const PIECE: usize = 128 << 10;

/// An answer's body.
pub struct Body(Inner);

enum Inner {
    Full(Option<Bytes>),
    List(List),
    Gzip(Box<Gzip>),
    Stream(BoxStream<'static, Result<Bytes, BodyError>>),
}

struct List {
    head: Bytes,
    /// What items begin with and is left out of them but for its brace.
    left_out: String,
    entries: std::vec::IntoIter<Arc<Entry>>,
    tail: &'static [u8],
    remaining: u64,
    first: bool,
}

impl Body {
    pub fn empty() -> Body {
        Body(Inner::Full(None))
    }

    /// Stored objects with commas between them, after `head` and before `tail`. Those that begin with `left_out` begin
    /// with a brace instead.
    pub fn list(head: String, left_out: String, entries: Vec<Arc<Entry>>, tail: &'static [u8]) -> Body {
        let length = |entry: &Entry| match rest(&entry.value, &left_out) {
            Some(rest) => 1 + rest.len(),
            None => entry.value.len(),
        };
        let items: usize = entries.iter().map(|entry| length(entry)).sum();
        let remaining = head.len() + items + entries.len().saturating_sub(1) + tail.len();
        Body(Inner::List(List {
            head: Bytes::from(head),
            left_out,
            entries: entries.into_iter(),
            tail,
            remaining: remaining as u64,
            first: true,
        }))
    }

    pub fn stream(stream: impl Stream<Item = Result<Bytes, BodyError>> + Send + 'static) -> Body {
        Body(Inner::Stream(Box::pin(stream)))
    }

    /// The same bytes, compressed as they are taken.
    pub fn gzip(self) -> Body {
        Body(Inner::Gzip(Box::new(Gzip::new(self))))
    }

    /// How many bytes are to come, if that is known.
    pub fn exact_len(&self) -> Option<u64> {
        match &self.0 {
            Inner::Full(bytes) => Some(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Inner::List(list) => Some(list.remaining),
            Inner::Gzip(_) | Inner::Stream(_) => None,
        }
    }

    /// The next piece, for those who read the body in the process.
    pub async fn next_piece(&mut self) -> Option<Result<Bytes, BodyError>> {
        let frame = self.frame().await?;
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body(Inner::Full(Some(bytes).filter(|bytes| !bytes.is_empty())))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body::from(Bytes::from(bytes))
    }
}

impl From<String> for Body {
    fn from(text: String) -> Body {
        Body::from(Bytes::from(text))
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Body {
        Body::from(Bytes::from_static(text.as_bytes()))
    }
}

/// What follows what is left out, if anything is.
fn rest<'a>(value: &'a [u8], left_out: &str) -> Option<&'a [u8]> {
    value.strip_prefix(left_out.as_bytes()).filter(|_| !left_out.is_empty())
}

impl List {
    /// The next piece, at least `PIECE` bytes long unless it is the last.
    fn next(&mut self) -> Option<Bytes> {
        if self.remaining == 0 {
            return None;
        }
        let capacity = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(PIECE + (8 << 10));
        let mut piece = BytesMut::with_capacity(capacity);
        piece.extend_from_slice(&std::mem::take(&mut self.head));
        while piece.len() < PIECE {
            let Some(entry) = self.entries.next() else {
                piece.extend_from_slice(self.tail);
                break;
            };
            if !std::mem::replace(&mut self.first, false) {
                piece.extend_from_slice(b",");
            }
            match rest(&entry.value, &self.left_out) {
                Some(rest) => {
                    piece.extend_from_slice(b"{");
                    piece.extend_from_slice(rest);
                }
                None => piece.extend_from_slice(&entry.value),
            }
        }
        self.remaining = self.remaining.saturating_sub(piece.len() as u64);
        Some(piece.freeze())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.0 {
            Inner::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::List(list) => Poll::Ready(list.next().map(|bytes| Ok(Frame::data(bytes)))),
            Inner::Gzip(gzip) => gzip.poll(context),
            Inner::Stream(stream) => {
                stream.as_mut().poll_next(context).map(|item| item.map(|bytes| bytes.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exact_len() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.exact_len().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lists_are_as_long_as_they_say() {
        for count in [0usize, 1, 2, 3000] {
            let entry = |n: usize| {
                let value = Bytes::from(format!("{{\"n\":{n},\"x\":\"{}\"}}", "y".repeat(n % 100)));
                Arc::new(Entry { key: Bytes::new(), value, created: 1, modified: 1 })
            };
            let left_out = if count == 2 { "{\"n\":1," } else { "" };
            let body = Body::list("[".into(), left_out.into(), (0..count).map(entry).collect(), b"]\n");
            let length = body.exact_len();
            let bytes = body.collect().await.expect("no errors in memory").to_bytes();
            assert_eq!(length, Some(bytes.len() as u64));
            let list: Vec<serde_json::Value> = serde_json::from_slice(&bytes).expect("a list");
            assert_eq!(list.len(), count);
            assert_eq!(list.iter().filter(|item| item["n"].is_null()).count(), usize::from(count == 2));
        }
    }
}
