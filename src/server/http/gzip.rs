//! Compression of large answers, piece by piece.

use std::{
    io::Write,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body as _, Frame};

use super::body::{Body, BodyError, BoxError};

/// Smaller answers are not worth the time.
const AT_LEAST: u64 = 128 << 10;

pub(super) struct Gzip {
    /// `None` once it was read to its end.
    inner: Option<Body>,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl Gzip {
    pub(super) fn new(inner: Body) -> Gzip {
        Gzip { inner: Some(inner), encoder: Some(GzEncoder::new(Vec::new(), Compression::fast())) }
    }

    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            let Some(encoder) = &mut self.encoder else { return Poll::Ready(None) };
            let piece = match &mut self.inner {
                Some(inner) => ready!(Pin::new(inner).poll_frame(context)),
                None => None,
            };
            match piece {
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    if let Err(error) = encoder.write_all(&bytes) {
                        return Poll::Ready(Some(Err(broken(error))));
                    }
                    let done = std::mem::take(encoder.get_mut());
                    if !done.is_empty() {
                        return Poll::Ready(Some(Ok(Frame::data(Bytes::from(done)))));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    self.inner = None;
                    let rest = self.encoder.take().map(GzEncoder::finish);
                    return Poll::Ready(
                        rest.map(|rest| rest.map(|bytes| Frame::data(Bytes::from(bytes))).map_err(broken)),
                    );
                }
            }
        }
    }
}

fn broken(error: std::io::Error) -> BodyError {
    BodyError::from(BoxError::from(error))
}

/// Compresses an answer that is long enough for a client that wants it.
pub fn compress(request: &HeaderMap, response: Response<Body>) -> Response<Body> {
    let long = response.body().exact_len().is_some_and(|length| length >= AT_LEAST);
    if !long || !accepts(request) || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, body.gzip())
}

fn accepts(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    encodings.flat_map(|value| value.split(',')).any(|encoding| {
        let (name, parameters) = encoding.split_once(';').unwrap_or((encoding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && !matches!(parameters.trim(), "q=0" | "q=0.0")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::Read;

    #[tokio::test]
    async fn long_answers_are_compressed_for_those_who_want_it() {
        let cases = [
            (200_000, Some("gzip, deflate"), true),
            (200_000, Some("gzip;q=0"), false),
            (200_000, None, false),
            (1000, Some("gzip"), false),
        ];
        for (length, encoding, compressed) in cases {
            let mut headers = HeaderMap::new();
            if let Some(encoding) = encoding {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(encoding));
            }
            let response = compress(&headers, Response::new(Body::from(vec![b'x'; length])));
            assert_eq!(response.headers().contains_key(header::CONTENT_ENCODING), compressed);
            let bytes = response.into_body().collect().await.expect("no errors in memory").to_bytes();
            let mut plain = Vec::new();
            match compressed {
                true => flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("gzip"),
                false => bytes.as_ref().read_to_end(&mut plain).expect("memory"),
            };
            assert_eq!(plain.len(), length);
        }
    }
}
