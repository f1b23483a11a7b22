//! Admission by expressions: ValidatingAdmissionPolicy, MutatingAdmissionPolicy and their bindings.
//!
//! ```text
//! plugins ─▶ mutating policies ─▶ mutating webhooks ─┬─▶ … ─▶ validating policies ─▶ validating webhooks ─▶ quota
//!    ▲                                               │
//!    └──────── once more, when one changed it ◀──────┘
//! ```
//!
//! Reading order: `read` (policies and bindings, compiled), `source` (all of them, following the store), `matching` (whether a
//! request concerns one), `params`, `inputs` and `authorize` (what expressions see), `conditions`, `run` (expressions within a
//! budget); then `validate` and `mutate`, with `merge` for apply configurations.
//!
//! Invariant: policies are asked in the order of their names, bindings of one in theirs.
//! Invariant: policies never judge policies, so that nobody locks themselves out.
//! Invariant: without a policy that is bound, a request costs one look at the index.

pub(super) mod authorize;
pub(super) mod conditions;
pub(super) mod inputs;
mod matching;
mod merge;
mod mutate;
mod params;
mod read;
mod run;
mod source;
#[cfg(test)]
mod tests;
mod validate;

use mk8s_api::status::Status;
use mk8s_store::{Store, View};
use serde_json::Value;

pub(super) use self::mutate::Round;
use self::source::Source;
use super::Request;
use crate::{auth::Authorization, registry::Presenter};

/// The policies of a cluster.
pub(super) struct Policies {
    source: Source,
    presenter: Presenter,
}

impl Policies {
    /// `presenter` shows parameters of custom kinds.
    pub(super) fn new(store: Store, presenter: Presenter) -> Policies {
        Policies { source: Source::new(store), presenter }
    }

    /// Lets policies change `object`. Says whether one did.
    pub(super) async fn mutate(
        &self,
        request: &Request<'_>,
        object: &mut Value,
        view: &View,
        authorization: &Authorization,
        round: &mut Round,
    ) -> Result<bool, Status> {
        let bound = self.source.bound();
        if bound.mutating.is_empty() || is_policy(request) || object.is_null() {
            return Ok(false);
        }
        let cluster = Cluster { view, authorization, presenter: &self.presenter };
        mutate::mutate(&bound.mutating, request, object, &cluster, round).await
    }

    /// Lets policies refuse `object`, which is null for deletes.
    pub(super) async fn validate(
        &self,
        request: &Request<'_>,
        object: &Value,
        view: &View,
        authorization: &Authorization,
    ) -> Result<(), Status> {
        let bound = self.source.bound();
        if bound.validating.is_empty() || is_policy(request) {
            return Ok(());
        }
        let cluster = Cluster { view, authorization, presenter: &self.presenter };
        validate::validate(&bound.validating, request, object, &cluster).await
    }
}

/// What policies look at beside the request.
struct Cluster<'a> {
    view: &'a View,
    authorization: &'a Authorization,
    presenter: &'a Presenter,
}

fn is_policy(request: &Request<'_>) -> bool {
    const KINDS: [&str; 4] = [
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    ];
    request.group == "admissionregistration.k8s.io" && KINDS.contains(&request.resource)
}
