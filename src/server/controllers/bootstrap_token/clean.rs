//! Removes tokens when they end.

use super::{Life, is_token, life};
use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
    queue_changes,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        ResourceExt,
        api::{DeleteParams, Preconditions},
    },
};
use std::time::Duration;

pub(super) async fn run(ctx: Context, secrets: Informer<Secret>) {
    let queue = WorkQueue::new("token_cleaner");
    queue_changes(&secrets, &queue);
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, secrets) = (ctx.clone(), secrets.clone());
            async move { clean(&ctx, &secrets, key).await }
        }
    };
    ctx.serve(queue, 1, reconcile).await;
}

async fn clean(ctx: &Context, secrets: &Informer<Secret>, key: Key) -> Result<Outcome> {
    let Some(secret) = secrets.by_key(&key).filter(|secret| is_token(secret)) else { return Ok(Outcome::Done) };
    let now = Timestamp::now();
    match life(&secret, now) {
        Life::Unlimited => Ok(Outcome::Done),
        Life::Until(end) => Ok(Outcome::After(Duration::try_from(end.duration_since(now)).unwrap_or_default())),
        Life::Ended => {
            let only = Preconditions { uid: secret.uid(), resource_version: None };
            let delete = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
            let deleted = ctx.api::<Secret>(&key.namespace).delete(&key.name, &delete).await;
            unless_gone(deleted).doing(format_args!("removing the ended bootstrap token {key}"))?;
            Ok(Outcome::Done)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{noon, one};

    #[test]
    fn tokens_end() {
        // base64 of 2026-01-01T13:00:00Z, 2026-01-01T12:00:00Z and "soon".
        let cases = [
            ("{}", Life::Unlimited),
            (
                "{expiration: MjAyNi0wMS0wMVQxMzowMDowMFo=}",
                Life::Until("2026-01-01T13:00:00Z".parse().expect("a time")),
            ),
            ("{expiration: MjAyNi0wMS0wMVQxMjowMDowMFo=}", Life::Ended),
            ("{expiration: c29vbg==}", Life::Ended),
        ];
        for (data, expected) in cases {
            let secret: Secret = one(&format!("{{kind: Secret, metadata: {{name: a}}, data: {data}}}"));
            assert_eq!(life(&secret, noon()), expected, "{data}");
        }
    }
}
