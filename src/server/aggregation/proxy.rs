//! A request handed on to an extension, its body and its answer streamed, its connection joined when it is upgraded.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use hyper::{body::Incoming, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use mk8s_api::status::Status;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Aggregation, Remote};
use crate::{
    auth::User,
    http::{Body, RequestBody, answer},
    relay,
};

/// A request that this server does not serve itself.
pub struct Forwarded<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub user: &'a User,
    pub upgrade: Option<OnUpgrade>,
}

impl Aggregation {
    /// The extension's answer, whatever it is.
    pub async fn forward(
        &self,
        remote: &Remote,
        forwarded: Forwarded<'_>,
        body: RequestBody,
    ) -> Result<Response<Body>, Status> {
        if !remote.available {
            return Ok(refused("service unavailable"));
        }
        let Forwarded { method, uri, headers, user, upgrade } = forwarded;
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = end_to_end(headers);
        introduce(request.headers_mut(), user);
        let wanted = headers.get(header::UPGRADE).filter(|_| upgrade.is_some()).cloned();
        if let Some(protocol) = wanted {
            request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            request.headers_mut().insert(header::UPGRADE, protocol);
        }
        match self.0.client.send(&self.endpoint(remote), request).await {
            Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => Ok(join(response, upgrade)),
            Ok(response) => Ok(relay::pass_on(response)),
            Err(error) => {
                tracing::debug!(service = remote.name, %error, "an extension was not reached");
                Ok(refused(&format!("error trying to reach service: {error}")))
            }
        }
    }
}

fn refused(why: &str) -> Response<Body> {
    answer::text(503, format!("{why}\n"))
}

/// What concerns the extension, without what the caller proved who they are by or wanted to be.
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers {
        let text = name.as_str();
        let ours = text.starts_with("x-remote-") || text.starts_with("impersonate-");
        let dropped = ours
            || relay::HOP_BY_HOP.contains(&text)
            || *name == header::AUTHORIZATION
            || *name == header::HOST
            || *name == header::CONTENT_LENGTH && headers.contains_key(header::TRANSFER_ENCODING);
        if !dropped {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

/// What may stand in a header's name as it is.
const KEY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Says who asks. What cannot stand in a header is left out, which makes the user less, never more.
pub(super) fn introduce(headers: &mut HeaderMap, user: &User) {
    let mut say = |name: &str, value: &str| {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    };
    say("x-remote-user", &user.name);
    if !user.uid.is_empty() {
        say("x-remote-uid", &user.uid);
    }
    for group in &user.groups {
        say("x-remote-group", group);
    }
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", utf8_percent_encode(key, KEY));
        for value in values {
            say(&name.to_ascii_lowercase(), value);
        }
    }
}

/// Both connections become one, in the background.
fn join(mut response: Response<Incoming>, client: Option<OnUpgrade>) -> Response<Body> {
    let Some(client) = client else { return refused("the extension switched protocols unasked") };
    let extension = hyper::upgrade::on(&mut response);
    tokio::spawn(async move {
        let (client, extension) = match tokio::try_join!(client, extension) {
            Ok((client, extension)) => (client, extension),
            Err(error) => return tracing::debug!(%error, "one side did not upgrade"),
        };
        let (mut client, mut extension) = (TokioIo::new(client), TokioIo::new(extension));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut extension).await {
            tracing::debug!(%error, "an upgraded connection broke");
        }
    });
    let (parts, _) = response.into_parts();
    Response::from_parts(parts, Body::empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn extensions_learn_who_asks_and_nothing_of_credentials() {
        let sent = [
            ("authorization", "Bearer secret"),
            ("x-remote-user", "root"),
            ("x-remote-group", "system:masters"),
            ("impersonate-user", "root"),
            ("connection", "close"),
            ("accept", "application/json"),
        ];
        let headers: HeaderMap =
            sent.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
        let mut headers = end_to_end(&headers);
        let extra = BTreeMap::from([("scopes.example.com/x".to_string(), vec!["a".to_string(), "b".to_string()])]);
        introduce(&mut headers, &User { uid: "7".into(), extra, ..User::new("jane", ["dev", "ops"]) });
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        lines.sort();
        let expected = [
            "accept: application/json",
            "x-remote-extra-scopes.example.com%2fx: a",
            "x-remote-extra-scopes.example.com%2fx: b",
            "x-remote-group: dev",
            "x-remote-group: ops",
            "x-remote-uid: 7",
            "x-remote-user: jane",
        ];
        assert_eq!(lines, expected);
    }
}
