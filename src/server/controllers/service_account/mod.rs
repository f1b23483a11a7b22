//! Each namespace has a ServiceAccount named `default`, which pods use that name no other.

#[cfg(test)]
mod plays;

use crate::common::{
    Context, Result,
    failure::{Doing, already_exists, namespace_terminating, not_found},
};
use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::{
    Change, Informer, Key, Outcome, WorkQueue,
    kube::{ResourceExt, api::PostParams},
};

const NAME: &str = "default";

pub(crate) async fn run(ctx: Context) {
    let namespaces: Informer<Namespace> = ctx.informers.all();
    let accounts: Informer<ServiceAccount> = ctx.informers.all();
    namespaces.synced().await;
    accounts.synced().await;
    let queue = WorkQueue::new("serviceaccount");
    namespaces.handle({
        let queue = queue.clone();
        move |change| queue.add(Key::of(change.object().as_ref()))
    });
    accounts.handle({
        let queue = queue.clone();
        move |change| {
            if let Change::Deleted(account) = change
                && account.name_any() == NAME
            {
                queue.add(Key::new("", account.namespace().unwrap_or_default()));
            }
        }
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, namespaces, accounts) = (ctx.clone(), namespaces.clone(), accounts.clone());
            async move { ensure(&ctx, &namespaces, &accounts, key).await }
        }
    };
    ctx.serve(queue, 2, reconcile).await;
}

async fn ensure(
    ctx: &Context,
    namespaces: &Informer<Namespace>,
    accounts: &Informer<ServiceAccount>,
    key: Key,
) -> Result<Outcome> {
    let dying = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
    let wanted = namespaces.get("", &key.name).is_some_and(|namespace| !dying(&namespace));
    if !wanted || accounts.get(&key.name, NAME).is_some() {
        return Ok(Outcome::Done);
    }
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    match ctx.api::<ServiceAccount>(&key.name).create(&PostParams::default(), &account).await {
        Err(error) if !already_exists(&error) && !namespace_terminating(&error) && !not_found(&error) => {
            Err(error).doing(format_args!("creating the default ServiceAccount of {}", key.name))
        }
        _ => Ok(Outcome::Done),
    }
}
