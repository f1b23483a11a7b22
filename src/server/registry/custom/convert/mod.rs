//! Objects from one version of a definition into another: by their `apiVersion` alone, or by the definition's webhook.
//!
//! Reading order: [`Converter`], `review` (what is asked and answered; pure), `metrics`.
//!
//! Invariant: of the metadata, a webhook changes labels and annotations and nothing else.

mod metrics;
mod review;

use std::time::{Duration, Instant};

use mk8s_api::{
    crd::{Conversion, Definition},
    meta,
    status::Status,
};
use serde_json::Value;

use self::{metrics::Metrics, review::Bad};
use crate::webhook::{Client, Endpoint};

pub use review::read_answer;

/// How long a webhook may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// How many objects are sent at once.
const OBJECTS: usize = 500;

/// At what a conversion failed, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FailureType {
    Call,
    MalformedResponse,
    PartialResponse,
    InvalidObject,
}

impl FailureType {
    fn word(self) -> &'static str {
        match self {
            FailureType::Call => "conversion_webhook_call_failure",
            FailureType::MalformedResponse => "conversion_webhook_malformed_response_failure",
            FailureType::PartialResponse => "conversion_webhook_partial_response_failure",
            FailureType::InvalidObject => "conversion_webhook_invalid_converted_object_failure",
        }
    }
}

/// Converts the objects of all definitions.
pub(in crate::registry) struct Converter {
    backends: Client,
    metrics: Metrics,
}

impl Converter {
    pub(super) fn new(backends: Client) -> Converter {
        Converter { backends, metrics: Metrics::default() }
    }

    pub(super) fn metrics_text(&self) -> String {
        self.metrics.render()
    }

    /// The objects in a version; they may be of several. Where only the `apiVersion` changes, it is left to the caller.
    pub(in crate::registry) async fn convert(
        &self,
        definition: &Definition,
        mut objects: Vec<Value>,
        api_version: &str,
    ) -> Result<Vec<Value>, Status> {
        let others = || objects.iter().filter(|object| meta::api_version(object) != api_version);
        if let Some(stranger) = others().find(|object| !has_version(definition, meta::api_version(object))) {
            let from = meta::api_version(stranger);
            return Err(failed(format!("request to convert CR from an invalid group/version: {from}")));
        }
        let Conversion::Webhook(webhook) = &definition.conversion else { return Ok(objects) };
        let mut wanted: Vec<&mut Value> =
            objects.iter_mut().filter(|object| meta::api_version(object) != api_version).collect();
        for some in wanted.chunks_mut(OBJECTS) {
            self.ask(definition, webhook, some, api_version).await?;
        }
        Ok(objects)
    }

    /// Has the webhook convert objects, in their places.
    async fn ask(
        &self,
        definition: &Definition,
        webhook: &Value,
        objects: &mut [&mut Value],
        api_version: &str,
    ) -> Result<(), Status> {
        let Some(first) = objects.first() else { return Ok(()) };
        let from = meta::api_version(first).to_owned();
        let what = review::kind_text(&from, definition.kind());
        let started = Instant::now();
        let answered = self.exchange(webhook, objects, api_version).await;
        let outcome = answered.and_then(|answers| take(objects, answers, api_version));
        let failure = outcome.as_ref().err().map(|(failure, _)| *failure);
        self.metrics.observe(&definition.name, version_of(&from), version_of(api_version), started.elapsed(), failure);
        outcome.map_err(|(failure, why)| {
            failed(match failure {
                FailureType::Call | FailureType::MalformedResponse => {
                    format!("conversion webhook for {what} failed: {why}")
                }
                FailureType::PartialResponse | FailureType::InvalidObject => {
                    format!("conversion webhook for {what} returned {why}")
                }
            })
        })
    }

    async fn exchange(&self, webhook: &Value, objects: &[&mut Value], api_version: &str) -> Result<Vec<Value>, Bad> {
        let call = |why: String| (FailureType::Call, why);
        let spoken = webhook["conversionReviewVersions"].as_array().map_or(&[][..], Vec::as_slice);
        let version = review::Version::of(spoken);
        let version = version.ok_or_else(|| call("no supported conversion review versions".to_owned()))?;
        let endpoint = Endpoint::of_client_config(&webhook["clientConfig"]);
        let endpoint =
            endpoint.ok_or_else(|| call("webhook configuration must have either service or URL".to_owned()))?;
        let uid = uuid::Uuid::new_v4().to_string();
        let shown: Vec<&Value> = objects.iter().map(|object| &**object).collect();
        let question = review::question(version, &uid, &shown, api_version);
        let answered = self.backends.post(&endpoint, question.into(), TIMEOUT).await;
        let document = answered.map_err(|error| call(error.to_string()))?;
        review::answer(version, &uid, &document)
    }
}

/// Puts what a webhook answered in the places of what it was asked for.
fn take(objects: &mut [&mut Value], answers: Vec<Value>, api_version: &str) -> Result<(), Bad> {
    if answers.len() != objects.len() {
        let why = format!("{} objects, expected {}", answers.len(), objects.len());
        return Err((FailureType::PartialResponse, why));
    }
    for (index, (object, answer)) in objects.iter_mut().zip(answers).enumerate() {
        let accepted = review::accept(object, answer, api_version);
        **object = accepted
            .map_err(|why| (FailureType::InvalidObject, format!("invalid converted object at index {index}: {why}")))?;
    }
    Ok(())
}

fn has_version(definition: &Definition, api_version: &str) -> bool {
    definition.versions.iter().any(|version| version.api_version == api_version)
}

fn version_of(api_version: &str) -> &str {
    api_version.rsplit('/').next().unwrap_or_default()
}

/// What clients are told: the words alone, without a reason.
fn failed(why: String) -> Status {
    Status::failure(500, "", why)
}
