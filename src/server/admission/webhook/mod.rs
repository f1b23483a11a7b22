//! Admission by others: MutatingWebhookConfiguration and ValidatingWebhookConfiguration.
//!
//! ```text
//! plugins ─▶ mutating webhooks, one after the other ─┬─▶ validation ─▶ validating webhooks, all at once ─▶ quota
//!    ▲                                               │
//!    └──────── once more, when one changed it ◀──────┘
//! ```
//!
//! Reading order: `hook` (a webhook as it is configured), `source` (all of them, following the store), `rules` (whether
//! a request concerns one) with `conditions`, `review` (question and answer), `call` (asking one), then [`Webhooks`] (asking all).
//!
//! Invariant: configurations are asked in the order of their names, the webhooks of one in theirs.
//! Invariant: what configures admission is never sent to webhooks, so that nobody locks themselves out.
//! Invariant: without a webhook that matches, an object is neither copied nor encoded.

mod call;
mod conditions;
pub(super) mod hook;
mod metrics;
mod review;
pub(super) mod rules;
mod source;

pub use review::read_answer;

use std::{collections::HashSet, sync::Arc, time::Instant};

use futures::{StreamExt, stream::FuturesUnordered};
use mk8s_api::status::Status;
use mk8s_store::{Store, View};
use serde_json::Value;

use self::{
    call::{Answer, Failure},
    hook::Hook,
    metrics::Phase,
    rules::Asked,
    source::Source,
};
use super::Request;
use crate::{auth::Authorization, webhook::Client};

/// The webhooks of a cluster.
pub(super) struct Webhooks {
    mutating: Source,
    validating: Source,
    client: Client,
    authorization: Authorization,
    metrics: metrics::Metrics,
}

/// What the first round of mutation leaves for the second.
#[derive(Default)]
pub(super) struct Round {
    /// Whether this is the second round, in which only webhooks are asked that were asked before.
    again: bool,
    /// Webhooks that want to be asked again and have been asked since the last change.
    asked: HashSet<Arc<str>>,
    /// Webhooks to ask again, because the object changed after they saw it.
    due: HashSet<Arc<str>>,
    /// The object as the webhooks left it.
    left: Option<Value>,
}

impl Round {
    /// The second round. `object` is what the plugins have made of it meanwhile.
    pub(super) fn again(mut self, object: &Value) -> Round {
        self.again = true;
        if self.left.as_ref().is_some_and(|left| left != object) {
            self.changed();
        }
        self
    }

    fn changed(&mut self) {
        self.due.extend(self.asked.drain());
    }
}

impl Webhooks {
    pub(super) fn new(store: Store, client: Client, authorization: Authorization) -> Webhooks {
        Webhooks {
            mutating: Source::new(store.clone(), source::MUTATING),
            validating: Source::new(store, source::VALIDATING),
            client,
            authorization,
            metrics: metrics::Metrics::default(),
        }
    }

    /// What was counted, in the text form of metrics.
    pub(super) fn metrics_text(&self) -> String {
        self.metrics.render()
    }

    /// Lets webhooks complete or refuse `object`, which is null for deletes. Says whether one of them changed it.
    pub(super) async fn mutate(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        view: &View,
        round: &mut Round,
    ) -> Result<bool, Status> {
        let hooks = self.mutating.hooks();
        if hooks.is_empty() || rules::is_exempt(request) {
            return Ok(false);
        }
        let mut any = false;
        for (index, hook) in hooks.iter().enumerate() {
            let Some(asked) = rules::matches(hook, request, object, view, &self.authorization).await? else { continue };
            if round.again && !round.due.contains(&hook.id) {
                continue;
            }
            let started = Instant::now();
            let outcome = call::ask(&self.client, hook, &asked, request, object, true).await;
            let outcome = match outcome {
                Ok(answer) => call::apply(hook, &asked, request, object, &answer).await,
                Err(failure) => Err(failure),
            };
            self.metrics.observe(Phase::Admit, hook, request, started.elapsed(), outcome.as_ref().err());
            if let Ok(true) = outcome {
                any = true;
                round.changed();
            }
            if hook.reinvoke {
                round.asked.insert(hook.id.clone());
            }
            let changed = matches!(outcome, Ok(true));
            request.notes.annotate(
                format!("mutation.webhook.admission.k8s.io/round_{}_index_{index}", u8::from(round.again)),
                serde_json::json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed})
                    .to_string(),
            );
            if let Err(failure) = outcome {
                self.settle(Phase::Admit, hook, index, u8::from(round.again), request, failure)?;
            }
        }
        if !round.again {
            round.left = any.then(|| object.clone());
        }
        Ok(any)
    }

    /// Lets webhooks refuse `object`, which is null for deletes.
    pub(super) async fn validate(&self, request: &Request<'_>, object: &Value, view: &View) -> Result<(), Status> {
        let hooks = self.validating.hooks();
        if hooks.is_empty() || rules::is_exempt(request) {
            return Ok(());
        }
        let mut relevant: Vec<(&Arc<Hook>, Asked)> = Vec::new();
        for hook in hooks.iter() {
            if let Some(asked) = rules::matches(hook, request, object, view, &self.authorization).await? {
                relevant.push((hook, asked));
            }
        }
        let mut calls: FuturesUnordered<_> = relevant
            .iter()
            .enumerate()
            .map(|(index, (hook, asked))| async move {
                let started = Instant::now();
                let outcome: Result<Answer, Failure> =
                    call::ask(&self.client, hook, asked, request, object, false).await;
                self.metrics.observe(Phase::Validating, hook, request, started.elapsed(), outcome.as_ref().err());
                match outcome {
                    Ok(_) => Ok(()),
                    Err(failure) => self.settle(Phase::Validating, hook, index, 0, request, failure),
                }
            })
            .collect();
        let mut refusal = Ok(());
        while let Some(outcome) = calls.next().await {
            // The first refusal counts; the others are heard, so that each webhook is asked to the end.
            if refusal.is_ok() {
                refusal = outcome;
            }
        }
        refusal
    }

    /// What a failure means: nothing when the webhook may fail, otherwise the refusal.
    fn settle(
        &self,
        phase: Phase,
        hook: &Hook,
        index: usize,
        round: u8,
        request: &Request<'_>,
        failure: Failure,
    ) -> Result<(), Status> {
        match failure {
            Failure::Calling { why, .. } if hook.ignores_failure => {
                tracing::warn!(webhook = hook.name, why, "failed calling webhook, failing open");
                self.metrics.failed_open(phase, hook);
                let key = format!("failed-open.{}round_{round}_index_{index}", phase.annotation());
                request.notes.annotate(key, hook.name.clone());
                Ok(())
            }
            Failure::Calling { why, .. } => {
                tracing::warn!(webhook = hook.name, why, "failed calling webhook, failing closed");
                Err(Status::internal(format!("failed calling webhook {:?}: {why}", hook.name)))
            }
            Failure::Denied(status) | Failure::Broken(status) => Err(*status),
        }
    }
}
