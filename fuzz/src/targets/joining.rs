//! What machines send that join: requests for certificates and join tokens; and what an agent says on its tunnel.

use base64::{Engine, prelude::BASE64_STANDARD};
use mk8s_api::signing_request::SigningRequest;
use mk8s_client::JoinToken;
use mk8s_server::relay::Relay;
use tokio::{io::AsyncWriteExt, runtime::Builder};
use tokio_util::sync::CancellationToken;

use super::Feed;
use crate::mutate;

/// A request of a node with names of every kind.
const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIIBNTCB3QIBADAvMRUwEwYDVQQKDAxzeXN0ZW06bm9kZXMxFjAUBgNVBAMMDXN5
c3RlbTpub2RlOmEwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAS5Y1u5S0cnoyKN
DLEWEDur0tB+VF1hDCTlPkq6Rfj7f7QogfLbhFCwpUkVZ8NoZqY/XQQM0LOEmjaB
M3xf+CnioEwwSgYJKoZIhvcNAQkOMT0wOzA5BgNVHREEMjAwgg1hLmV4YW1wbGUu
Y29thwQKAAABgQ1hQGV4YW1wbGUuY29thgpzcGlmZmU6Ly9hMAoGCCqGSM49BAMC
A0cAMEQCIDzHYSw9T7v+WSpXvG/YW1mltjwqtHAV0kStjh0IsH2oAiA/cUazkEPQ
V0XNAwj2gh87v9E65Rlp626QliJz9cV96Q==
-----END CERTIFICATE REQUEST-----
";

/// Whatever is no request is refused; what is one has a subject and a key.
pub(super) fn signing_requests() -> Feed {
    let lines: String = REQUEST.lines().filter(|line| !line.starts_with('-')).collect();
    let good = vec![BASE64_STANDARD.decode(lines).expect("base64")];
    assert!(SigningRequest::parse(REQUEST.as_bytes()).is_ok());
    Box::new(move |dice| {
        let body = BASE64_STANDARD.encode(mutate::bytes(dice, &good));
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
        if let Ok(request) = SigningRequest::parse(pem.as_bytes()) {
            assert!(!request.subject_der.is_empty() && !request.public_key_der.is_empty());
        }
    })
}

/// A token that is read is written as it was read.
pub(super) fn tokens() -> Feed {
    let hash = "0123456789abcdef".repeat(4);
    let good = ["node:abcdef.0123456789abcdef", "abcdef.0123456789abcdef", "server:secret"];
    let good: Vec<Vec<u8>> = good.iter().map(|rest| format!("K10{hash}::{rest}").into_bytes()).collect();
    Box::new(move |dice| {
        let bytes = mutate::bytes(dice, &good);
        if let Ok(token) = JoinToken::parse(Some(&String::from_utf8_lossy(&bytes))) {
            assert_eq!(JoinToken::parse(Some(&token.to_string())), Ok(token));
        }
    })
}

/// An agent that speaks nonsense loses its tunnel and nothing else.
pub(super) fn tunnel() -> Feed {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime for one thread can be made");
    // Settings, their acknowledgement, a ping, a window, an end; and headers of an answer nobody asked for.
    let frames: [&[u8]; 6] = [
        b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64",
        b"\0\0\0\x04\x01\0\0\0\0",
        b"\0\0\x08\x06\0\0\0\0\0abcdefgh",
        b"\0\0\x04\x08\0\0\0\0\0\0\x0f\0\0",
        b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0",
        b"\0\0\x01\x01\x04\0\0\0\x01\x88",
    ];
    let mut good: Vec<Vec<u8>> = frames.iter().map(|frame| [frames[0], frame].concat()).collect();
    good.push(frames.concat());
    Box::new(move |dice| {
        let bytes = mutate::bytes(dice, &good);
        runtime.block_on(async {
            let relay = Relay::default();
            let (server, mut agent) = tokio::io::duplex(1 << 16);
            let said = async {
                // The server may have gone already.
                drop(agent.write_all(&bytes).await);
                drop(agent);
            };
            tokio::join!(relay.carry("node", server, CancellationToken::new()), said);
            assert!(!relay.reaches("node"), "the tunnel has ended");
        });
    })
}
