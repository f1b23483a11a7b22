//! Fills Secrets, and deletes those whose account does not exist.

use super::plan::{Action, account_name, filled, is_for, plan};
use crate::{
    SecretToken, TokenSigner,
    common::{
        Context, Failure, Result,
        failure::{Doing, unless_gone},
        queue_changes,
    },
};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use mk8s_api::names::dns1123_subdomain;
use mk8s_client::{
    Change, Informer, Key, Outcome, WorkQueue,
    kube::{
        ResourceExt,
        api::{DeleteParams, PostParams, Preconditions},
    },
};
use std::sync::Arc;

/// Secrets by `NAMESPACE/ACCOUNT`.
const BY_ACCOUNT: &str = "service-account";

pub(super) async fn run(
    ctx: Context,
    signer: Arc<dyn TokenSigner>,
    secrets: Informer<Secret>,
    accounts: Informer<ServiceAccount>,
) {
    secrets.index(BY_ACCOUNT, |secret| {
        vec![Key::new(secret.namespace().unwrap_or_default(), account_name(secret)).to_string()]
    });
    let queue = WorkQueue::new("serviceaccount_tokens_secret");
    queue_changes(&secrets, &queue);
    accounts.handle({
        let (queue, secrets) = (queue.clone(), secrets.clone());
        move |change| {
            if let Change::Deleted(account) = change {
                let held = secrets.indexed(BY_ACCOUNT, &Key::of(account.as_ref()).to_string());
                held.iter().for_each(|secret| queue.add(Key::of(secret.as_ref())));
            }
        }
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, signer, secrets, accounts) = (ctx.clone(), signer.clone(), secrets.clone(), accounts.clone());
            async move { settle(&ctx, signer.as_ref(), &secrets, &accounts, key).await }
        }
    };
    ctx.serve(queue, 5, reconcile).await;
}

async fn settle(
    ctx: &Context,
    signer: &dyn TokenSigner,
    secrets: &Informer<Secret>,
    accounts: &Informer<ServiceAccount>,
    key: Key,
) -> Result<Outcome> {
    let named = |secret: &Arc<Secret>| !account_name(secret).is_empty();
    let Some(secret) = secrets.by_key(&key).filter(named) else { return Ok(Outcome::Done) };
    let account = account_of(ctx, accounts, &secret).await?;
    let ca = &ctx.options.root_ca_pem;
    let api = ctx.api::<Secret>(&key.namespace);
    match (plan(&secret, account.as_deref(), ca), account) {
        (Some(Action::Fill(missing)), Some(account)) => {
            let token = || token(signer, &secret, &account).map_err(Failure::Other);
            let filled = filled(&secret, &account, missing, ca, token)?;
            let written = api.replace(&key.name, &PostParams::default(), &filled).await;
            unless_gone(written).doing(format_args!("populating the service account token {key}"))?;
        }
        (Some(_), _) => {
            let only = Preconditions { uid: secret.uid(), resource_version: None };
            let delete = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
            let deleted = api.delete(&key.name, &delete).await;
            unless_gone(deleted).doing(format_args!("deleting the service account token {key}"))?;
        }
        (None, _) => {}
    }
    Ok(Outcome::Done)
}

/// The account that the Secret is for: as it was seen, or, as it may be newer than that, as it is.
async fn account_of(
    ctx: &Context,
    accounts: &Informer<ServiceAccount>,
    secret: &Secret,
) -> Result<Option<Arc<ServiceAccount>>> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), account_name(secret));
    let seen = accounts.get(&namespace, name).filter(|account| is_for(secret, account));
    // A name that none can have is not asked for: it would become a part of the path.
    if seen.is_some() || !dns1123_subdomain(name).is_empty() {
        return Ok(seen);
    }
    let live = ctx.api::<ServiceAccount>(&namespace).get_opt(name).await;
    let live = live.doing(format_args!("looking for ServiceAccount {namespace}/{name}"))?;
    Ok(live.filter(|account| is_for(secret, account)).map(Arc::new))
}

fn token(signer: &dyn TokenSigner, secret: &Secret, account: &ServiceAccount) -> Result<String, String> {
    signer.sign_secret_token(SecretToken {
        namespace: secret.metadata.namespace.as_deref().unwrap_or_default(),
        secret: secret.metadata.name.as_deref().unwrap_or_default(),
        account: account.metadata.name.as_deref().unwrap_or_default(),
        account_uid: account.metadata.uid.as_deref().unwrap_or_default(),
    })
}
