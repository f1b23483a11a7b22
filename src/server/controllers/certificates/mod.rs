//! CertificateSigningRequests: those of nodes are approved, what is approved for one of Kubernetes' own signers is signed,
//! and what is old goes.
//!
//! Reading order: [`approve`] (whose requests are approved without asking anybody), [`claim`] (a node's name belongs to one
//! key), [`sign`] (who gets what), [`issue`] (the certificate), [`clean`].
//!
//! Invariant: a request that was approved or denied is never decided again.

mod approve;
mod claim;
mod clean;
mod issue;
#[cfg(test)]
mod plays;
mod sign;

use crate::common::{Context, queue_changes};
use issue::Authority;
use k8s_openapi::api::{
    certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition},
    core::v1::{ConfigMap, Node},
};
use mk8s_client::{Change, Informer, Key, Selection, WorkQueue};
use std::sync::Arc;

pub(crate) async fn run(ctx: Context) {
    let requests: Informer<CertificateSigningRequest> = ctx.informers.all();
    let nodes: Informer<Node> = ctx.informers.all();
    let claims: Informer<ConfigMap> = ctx.informers.select(Selection::labels(claim::LABEL));
    requests.synced().await;
    nodes.synced().await;
    claims.synced().await;
    tokio::join!(
        approve_all(ctx.clone(), requests.clone(), nodes.clone()),
        release_names(ctx.clone(), nodes, claims),
        sign_all(ctx.clone(), requests.clone()),
        clean::run(ctx, requests),
    );
}

async fn approve_all(ctx: Context, requests: Informer<CertificateSigningRequest>, nodes: Informer<Node>) {
    let queue = WorkQueue::new("csrapproving");
    queue_changes(&requests, &queue);
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, requests, nodes) = (ctx.clone(), requests.clone(), nodes.clone());
            async move { approve::approve(&ctx, &requests, &nodes, key).await }
        }
    };
    // One worker: of two that ask for a name the first has it.
    ctx.serve(queue, 1, reconcile).await;
}

/// A name is free again when its node was deleted.
async fn release_names(ctx: Context, nodes: Informer<Node>, claims: Informer<ConfigMap>) {
    let queue = WorkQueue::new("node-names");
    nodes.handle({
        let queue = queue.clone();
        move |change| {
            if let Change::Deleted(node) = change {
                queue.add(Key::of(node.as_ref()));
            }
        }
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, nodes, claims) = (ctx.clone(), nodes.clone(), claims.clone());
            async move { claim::release(&ctx, &nodes, &claims, key).await }
        }
    };
    ctx.serve(queue, 1, reconcile).await;
}

/// Without an authority requests wait for another signer.
async fn sign_all(ctx: Context, requests: Informer<CertificateSigningRequest>) {
    let options = &ctx.options;
    let (Some(certificate), Some(key)) = (&options.cluster_signing_cert_pem, &options.cluster_signing_key_pem) else {
        return;
    };
    let authority = match Authority::new(certificate, key) {
        Ok(authority) => Arc::new(authority),
        Err(error) => return tracing::error!(%error, "no certificates are signed: the authority cannot be used"),
    };
    let queue = WorkQueue::new("csrsigning");
    queue_changes(&requests, &queue);
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, requests, authority) = (ctx.clone(), requests.clone(), authority.clone());
            async move { sign::sign(&ctx, &requests, &authority, key).await }
        }
    };
    ctx.serve(queue, 2, reconcile).await;
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

fn has(request: &CertificateSigningRequest, kind: &str) -> bool {
    conditions(request).iter().any(|condition| condition.type_ == kind)
}

fn is_issued(request: &CertificateSigningRequest) -> bool {
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    certificate.is_some_and(|certificate| !certificate.0.is_empty())
}

fn usages(request: &CertificateSigningRequest) -> &[String] {
    request.spec.usages.as_deref().unwrap_or_default()
}

fn condition(kind: &str, reason: &str, message: impl Into<String>) -> CertificateSigningRequestCondition {
    CertificateSigningRequestCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.into()),
        ..CertificateSigningRequestCondition::default()
    }
}
