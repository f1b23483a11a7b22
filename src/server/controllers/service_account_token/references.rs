//! Takes Secrets that are gone out of their account's list.

use super::plan::{account_name, account_uid};
use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use mk8s_client::{
    Change, Informer, Key, Outcome, WorkQueue,
    kube::{ResourceExt, api::PostParams},
};
use std::fmt;

/// A Secret that is gone, and the account that it was for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Removed {
    secret: String,
    account: Key,
    /// Empty when any account of the name is meant.
    account_uid: String,
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.secret, self.account)
    }
}

pub(super) async fn run(ctx: Context, secrets: Informer<Secret>, accounts: Informer<ServiceAccount>) {
    let queue = WorkQueue::new("serviceaccount_tokens_service");
    secrets.handle({
        let queue = queue.clone();
        move |change| {
            if let Change::Deleted(secret) = change {
                queue.add(Removed {
                    secret: secret.name_any(),
                    account: Key::new(secret.namespace().unwrap_or_default(), account_name(secret)),
                    account_uid: account_uid(secret).to_owned(),
                });
            }
        }
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |removed| {
            let (ctx, accounts) = (ctx.clone(), accounts.clone());
            async move { forget(&ctx, &accounts, removed).await }
        }
    };
    ctx.serve(queue, 5, reconcile).await;
}

async fn forget(ctx: &Context, accounts: &Informer<ServiceAccount>, removed: Removed) -> Result<Outcome> {
    let Removed { secret, account: key, account_uid } = &removed;
    let meant = |account: &ServiceAccount| account_uid.is_empty() || account.uid().as_ref() == Some(account_uid);
    if !accounts.by_key(key).is_some_and(|account| meant(&account)) {
        return Ok(Outcome::Done);
    }
    let api = ctx.api::<ServiceAccount>(&key.namespace);
    let live = api.get_opt(&key.name).await.doing(format_args!("reading ServiceAccount {key}"))?;
    let Some(account) = live.filter(meant).and_then(|account| without(account, secret)) else {
        return Ok(Outcome::Done);
    };
    let written = api.replace(&key.name, &PostParams::default(), &account).await;
    unless_gone(written).doing(format_args!("removing the reference to Secret {removed}"))?;
    Ok(Outcome::Done)
}

/// The account without a Secret in its list, unless it has none.
fn without(mut account: ServiceAccount, secret: &str) -> Option<ServiceAccount> {
    let mut references = account.secrets.take()?;
    let before = references.len();
    references.retain(|reference| reference.name.as_deref() != Some(secret));
    let changed = references.len() != before;
    account.secrets = (!references.is_empty()).then_some(references);
    changed.then_some(account)
}
