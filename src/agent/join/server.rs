//! What a server shows to anybody: which CA the cluster has, what time it is there, and which tokens it knows by their ids.

use super::failure::JoinError;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{Request, header::DATE};
use http_body_util::{BodyExt, Limited};
use jiff::{SignedDuration, Timestamp};
use kube::client::Body;
use mk8s_client::{JoinToken, connect};
use serde_json::Value;
use std::time::Duration;

const PATH: &str = "/api/v1/namespaces/kube-public/configmaps/cluster-info";
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const ANSWER_MAX: usize = 1 << 20;
/// Certificates are good from a while before they were made; clocks that differ by more than this need setting.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(5);

/// Nothing of this is to be believed before the CA was compared with a token.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) ca_pem: String,
    /// Ids of tokens that have signed this.
    tokens: Vec<String>,
    /// The server's time.
    at: Option<Timestamp>,
}

/// Asks a server what it shows.
pub(super) async fn look(server: &str) -> Result<Shown, JoinError> {
    let client = connect::client_of_anyone(server, "kubelet")?;
    let no_answer = |why: String| JoinError::NoAnswer { server: server.to_owned(), why };
    let request = Request::get(PATH).body(Body::empty()).map_err(|error| no_answer(error.to_string()))?;
    let asked = async {
        let answer = client.send(request).await.map_err(|error| JoinError::of(server, error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| no_answer(error.to_string()))?;
        Ok::<_, JoinError>((head, body.to_bytes()))
    };
    let silent = |_| JoinError::Silent { server: server.to_owned(), seconds: ANSWER_WITHIN.as_secs() };
    let (head, body) = tokio::time::timeout(ANSWER_WITHIN, asked).await.map_err(silent)??;
    if !head.status.is_success() {
        // While a server starts there is nothing to show yet.
        return Err(no_answer(format!("{} for {PATH}", head.status)));
    }
    let at = head.headers.get(DATE).and_then(|date| jiff::fmt::rfc2822::parse(date.to_str().ok()?).ok());
    let map = serde_json::from_slice(&body).map_err(|error| no_answer(error.to_string()))?;
    let (ca_pem, tokens) = read(&map).ok_or_else(|| no_answer("the ConfigMap cluster-info names no CA".into()))?;
    Ok(Shown { ca_pem, tokens, at: at.map(|at| at.timestamp()) })
}

fn read(map: &Value) -> Option<(String, Vec<String>)> {
    let data = map["data"].as_object()?;
    let config: Value = serde_yaml::from_str(data.get("kubeconfig")?.as_str()?).ok()?;
    let ca = config["clusters"][0]["cluster"]["certificate-authority-data"].as_str()?;
    let ca_pem = String::from_utf8(BASE64_STANDARD.decode(ca).ok()?).ok()?;
    let tokens = data.keys().filter_map(|key| key.strip_prefix("jws-kubeconfig-")).map(str::to_owned).collect();
    Some((ca_pem, tokens))
}

impl Shown {
    pub(super) fn check_clock(&self, now: Timestamp) -> Result<(), JoinError> {
        match self.at.map(|at| now.duration_since(at)) {
            Some(ahead) if ahead.abs() > SKEW_MAX => Err(JoinError::Clock { ahead }),
            _ => Ok(()),
        }
    }

    /// A refusal with the reason, as far as it can be seen from here.
    pub(super) fn explain(&self, error: JoinError, token: &JoinToken, server: &str) -> JoinError {
        if !matches!(error, JoinError::Token { .. }) {
            return error;
        }
        let why = match token.secret.split_once('.') {
            Some((id, _)) if self.tokens.iter().any(|known| known == id) => "the part behind the dot is wrong",
            Some(_) => "it has ended or was deleted",
            None => "it is wrong: that of <data-dir>/server/token was changed, or another cluster's was taken",
        };
        JoinError::Token { server: server.to_owned(), why }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_shown_is_read() {
        let ca = BASE64_STANDARD.encode("PEM");
        let kubeconfig = format!("clusters:\n- cluster: {{certificate-authority-data: {ca}, server: 'https://a'}}\n");
        let map = json!({"data": {"kubeconfig": kubeconfig, "jws-kubeconfig-abcdef": "x..y"}});
        assert_eq!(read(&map), Some(("PEM".into(), vec!["abcdef".into()])));
        for bad in [json!({}), json!({"data": {"kubeconfig": "{}"}}), json!({"data": {"kubeconfig": 1}}), json!([])] {
            assert_eq!(read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn refusals_say_which_part_is_wrong() {
        let shown = Shown { ca_pem: "PEM".into(), tokens: vec!["abcdef".into()], at: None };
        let explain = |secret: &str| {
            let token = JoinToken::of("PEM", "node", secret);
            let error = JoinError::Token { server: "a".into(), why: "" };
            shown.explain(error, &token, "a").to_string()
        };
        assert!(explain("abcdef.1").contains("the part behind the dot is wrong"));
        assert!(explain("bbbbbb.1").contains("it has ended or was deleted"));
        assert!(explain("secret").contains("<data-dir>/server/token"));
    }

    #[test]
    fn clocks_may_differ_a_little() {
        let at: Timestamp = "2026-01-01T12:00:00Z".parse().expect("a time");
        let shown = Shown { ca_pem: String::new(), tokens: vec![], at: Some(at) };
        assert!(shown.check_clock(at + SignedDuration::from_secs(60)).is_ok());
        assert!(matches!(shown.check_clock(at - SignedDuration::from_hours(1)), Err(JoinError::Clock { .. })));
    }
}
