//! Others who know who somebody is, or what they may do: asked over HTTPS with a TokenReview or a SubjectAccessReview.
//!
//! ```text
//! token that nobody here knows ─▶ cache ─▶ one question for all who wait ─▶ TokenReview ─▶ user   (authenticate)
//! its turn in the chain        ─▶ cache ─▶ SubjectAccessReview ─▶ yes, no, no opinion              (authorize)
//! ```
//!
//! Reading order: [`kubeconfig`] (where they are), [`Remote`] (one of them), [`authenticate`], [`authorize`],
//! `conditions` (what it is not asked about), `metrics`.
//!
//! Invariant: whoever does not answer, or answers what cannot be read, knows nobody and allows nothing.
//! Invariant: caches are bounded, and hold no tokens.

mod authenticate;
mod authorize;
mod conditions;
mod kubeconfig;
mod metrics;
#[cfg(test)]
mod tests;

use std::{
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::runtime::{Handle, RuntimeFlavor};

pub use authenticate::{TokenWebhook, Unknown};
pub use authorize::AccessWebhook;
pub use conditions::Conditions;
pub use kubeconfig::{Access, Credentials};
pub use metrics::AccessMetrics;

use crate::webhook::{CallError, Client};

/// How long one answer may take.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest answer that is read.
const ANSWER: usize = 1 << 20;
/// How often somebody is asked who is overloaded or breaks off, and how long the first pause is.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// The version of the reviews that are sent and expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    V1,
    V1beta1,
}

impl Version {
    fn text(self) -> &'static str {
        match self {
            Version::V1 => "v1",
            Version::V1beta1 => "v1beta1",
        }
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        match text {
            "v1" => Ok(Version::V1),
            "v1beta1" => Ok(Version::V1beta1),
            _ => Err("it is no version of reviews, use v1 or v1beta1".to_owned()),
        }
    }
}

/// The token webhook, as the flags describe it.
#[derive(Debug, Clone)]
pub struct TokenWebhookOptions {
    pub access: Access,
    pub version: Version,
    pub cache_ttl: Duration,
}

/// An authorization webhook, as flags or a file describe it.
#[derive(Debug, Clone)]
pub struct AccessWebhookOptions {
    /// What metrics call it.
    pub name: String,
    pub access: Access,
    pub version: Version,
    pub timeout: Duration,
    /// 0: what it allows is not kept.
    pub authorized_ttl: Duration,
    /// 0: what it does not allow is not kept.
    pub unauthorized_ttl: Duration,
    /// Whether no answer is a refusal that nobody after it can change.
    pub denies_on_error: bool,
    /// Which requests it is asked about.
    pub conditions: Arc<Conditions>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("the webhook's answer cannot be read: {0}")]
    Unreadable(String),
    #[error("the webhook's token cannot be read from {path}: {why}")]
    Token { path: String, why: String },
}

impl AskError {
    /// The code that metrics count.
    fn code(&self) -> String {
        match self {
            AskError::Call(CallError::Refused(status)) => status.code.to_string(),
            // An answer of the right code that says nothing.
            AskError::Unreadable(_) => "200".to_owned(),
            _ => "<error>".to_owned(),
        }
    }

    fn is_timeout(&self) -> bool {
        match self {
            AskError::Call(CallError::Timeout { .. }) => true,
            AskError::Call(CallError::Refused(status)) => status.code == 504,
            AskError::Call(CallError::Transport { why, .. }) => why.contains("timeout"),
            _ => false,
        }
    }

    /// Whether the same question may be answered when it is asked again, as Kubernetes judges it.
    fn is_passing(&self) -> bool {
        match self {
            AskError::Call(CallError::Refused(status)) => {
                let passing = ["InternalError", "Timeout", "TooManyRequests"];
                passing.contains(&status.reason.as_ref()) || status.retry_after_seconds().is_some()
            }
            AskError::Call(CallError::Transport { why, .. }) => why.to_lowercase().contains("connection reset"),
            _ => false,
        }
    }
}

/// Somebody who is asked.
struct Remote {
    client: Client,
    access: Access,
    /// `TokenReview` or `SubjectAccessReview`.
    kind: &'static str,
    api_version: String,
    timeout: Duration,
    /// Before it is asked a second time.
    pause: Duration,
}

/// What is read of the answer.
#[derive(Deserialize)]
struct Review<S> {
    #[serde(default)]
    kind: String,
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    status: Option<S>,
}

impl Remote {
    fn new(client: Client, access: Access, kind: &'static str, version: Version, timeout: Duration) -> Remote {
        let group = if kind == "TokenReview" { "authentication" } else { "authorization" };
        Remote {
            client,
            access,
            kind,
            api_version: format!("{group}.k8s.io/{}", version.text()),
            timeout,
            pause: PAUSE,
        }
    }

    /// Asks, again when that may help. `told` hears of each attempt.
    async fn ask<S: DeserializeOwned + Default>(
        &self,
        spec: &Value,
        mut told: impl FnMut(&Result<S, AskError>, Duration),
    ) -> Result<S, AskError> {
        let metadata = json!({"creationTimestamp": null});
        let review = json!({"kind": self.kind, "apiVersion": self.api_version, "metadata": metadata, "spec": spec});
        let review = review.to_string();
        let mut pause = self.pause;
        let mut attempt = 1;
        loop {
            let begun = Instant::now();
            let answer = self.ask_once(&review).await;
            told(&answer, begun.elapsed());
            match answer {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                    // So that those who were turned away together do not come back together.
                    tokio::time::sleep(pause.mul_f64(1.0 + 0.2 * rand::random::<f64>())).await;
                    pause = pause * 3 / 2;
                    attempt += 1;
                }
                answer => return answer,
            }
        }
    }

    async fn ask_once<S: DeserializeOwned + Default>(&self, review: &str) -> Result<S, AskError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(concat!("mk8s/", env!("CARGO_PKG_VERSION"))));
        if let Some(authorization) = self.access.credentials.header().await? {
            headers.insert(header::AUTHORIZATION, authorization);
        }
        let document = review.to_owned().into();
        let call = self.client.post_with(&self.access.endpoint, headers, document, ANSWER, self.timeout);
        let answer = call.await?;
        let answer: Review<S> =
            serde_json::from_slice(&answer).map_err(|error| AskError::Unreadable(error.to_string()))?;
        let is = |said: &str, expected: &str| said.is_empty() || said == expected;
        if !is(&answer.kind, self.kind) || !is(&answer.api_version, &self.api_version) {
            let (kind, version) = (answer.kind, answer.api_version);
            let expected = format!("{} of {}", self.kind, self.api_version);
            return Err(AskError::Unreadable(format!("it is a {kind:?} of {version:?}, and should be a {expected}")));
        }
        Ok(answer.status.unwrap_or_default())
    }
}

/// Waits for an answer where waiting is not possible: the thread's other work goes on elsewhere meanwhile. `None` where
/// there is no other thread.
pub(super) fn wait<T>(answer: impl Future<Output = T>) -> Option<T> {
    let here = Handle::try_current().ok().filter(|here| here.runtime_flavor() == RuntimeFlavor::MultiThread)?;
    Some(tokio::task::block_in_place(|| here.block_on(answer)))
}
