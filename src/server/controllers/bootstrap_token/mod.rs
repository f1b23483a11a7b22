//! Bootstrap tokens: those that have ended are removed, and the others sign what anybody may know of the cluster, so that
//! who holds one can tell whether it is true.
//!
//! Reading order: [`Token`] (what stands in the Secret), [`sign`], [`clean`].

mod clean;
#[cfg(test)]
mod plays;
mod sign;

use crate::common::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use mk8s_client::{Informer, Selection, kube::ResourceExt};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";

pub(crate) async fn run(ctx: Context) {
    // Only these are held here; other Secrets are no one's business.
    let secrets: Informer<Secret> = ctx.informers.select(Selection::fields(format!("type={TYPE}")));
    let maps: Informer<ConfigMap> = ctx.informers.select(Selection::fields(format!("metadata.name={}", sign::MAP)));
    secrets.synced().await;
    maps.synced().await;
    tokio::join!(clean::run(ctx.clone(), secrets.clone()), sign::run(ctx, secrets, maps));
}

/// How long a token is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Unlimited,
    Until(Timestamp),
    /// Its end is past, or cannot be read.
    Ended,
}

fn field<'a>(secret: &'a Secret, name: &str) -> &'a str {
    let value = secret.data.as_ref().and_then(|data| data.get(name));
    value.and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
}

fn life(secret: &Secret, now: Timestamp) -> Life {
    match field(secret, "expiration") {
        "" => Life::Unlimited,
        text => match text.parse::<Timestamp>() {
            Ok(end) if end > now => Life::Until(end),
            _ => Life::Ended,
        },
    }
}

fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE) && secret.namespace().as_deref() == Some(NAMESPACE)
}
