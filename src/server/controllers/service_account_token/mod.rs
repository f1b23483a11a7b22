//! Secrets of the type `kubernetes.io/service-account-token` get a token of the ServiceAccount that they name, and go when
//! it goes.
//!
//! What Kubernetes' `pkg/controller/serviceaccount/tokens_controller.go` does. Reading order: [`plan`] (what a Secret
//! needs), [`fill`], [`references`] (what accounts say of Secrets that are gone), [`unused`].

mod fill;
mod plan;
#[cfg(test)]
mod plays;
mod references;
#[cfg(test)]
mod tests;
mod unused;

use crate::common::Context;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use mk8s_client::{Informer, Selection};

/// On which day the token of a Secret was last used; whoever checks tokens writes it.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
/// From which day on the token of a Secret is refused.
pub const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

const TYPE: &str = "kubernetes.io/service-account-token";

pub(crate) async fn run(ctx: Context) {
    let Some(signer) = ctx.options.token_signer.clone() else { return };
    // Only these are held here; other Secrets are no one's business.
    let secrets: Informer<Secret> = ctx.informers.select(Selection::fields(format!("type={TYPE}")));
    let accounts: Informer<ServiceAccount> = ctx.informers.all();
    secrets.synced().await;
    accounts.synced().await;
    tokio::join!(
        fill::run(ctx.clone(), signer, secrets.clone(), accounts.clone()),
        references::run(ctx.clone(), secrets.clone(), accounts.clone()),
        unused::run(ctx, secrets, accounts)
    );
}
