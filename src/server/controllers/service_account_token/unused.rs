//! Tokens that the cluster made by itself for accounts, as it did before 1.24, and that nobody has used for a year: they are
//! refused from then on, and deleted after another year.
//!
//! What Kubernetes' `pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go` does. Whoever checks tokens notes
//! on a Secret when its token was used; since when that is noted stands in a ConfigMap of `kube-system`.

use super::{INVALID_SINCE, LAST_USED, plan::is_for};
use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
};
use jiff::{Timestamp, ToSpan, civil::Date, tz::TimeZone};
use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Secret, ServiceAccount};
use mk8s_client::{
    Informer,
    kube::{
        ResourceExt,
        api::{DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions},
    },
};
use serde_json::json;
use std::{collections::BTreeMap, time::Duration};

const LOOK_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
const AGAIN_AFTER: Duration = Duration::from_secs(60);

const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const SINCE: &str = "since";

pub(super) async fn run(ctx: Context, secrets: Informer<Secret>, accounts: Informer<ServiceAccount>) {
    let mut clock = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return,
            _ = clock.tick() => {}
        }
        if let Err(failure) = look(&ctx, &secrets, &accounts, Timestamp::now()).await {
            tracing::warn!(%failure, "unused tokens of ServiceAccounts are looked for again in a minute");
            clock.reset_after(AGAIN_AFTER);
        }
    }
}

async fn look(
    ctx: &Context,
    secrets: &Informer<Secret>,
    accounts: &Informer<ServiceAccount>,
    now: Timestamp,
) -> Result<()> {
    let today = day(now);
    if tracked_since(ctx, today).await?.tomorrow().is_ok_and(|since| since > year_before(today)) {
        return Ok(());
    }
    for secret in secrets.list() {
        let account = accounts.list_in(&secret.namespace().unwrap_or_default());
        let account = account.iter().find(|account| is_for(&secret, account));
        let Some(action) = account.and_then(|account| plan(&secret, account, now)) else { continue };
        if !is_mounted(ctx, &secret).await? {
            carry_out(ctx, &secret, action).await?;
        }
    }
    Ok(())
}

/// Since when the use of tokens is noted; from today on if nobody has said.
async fn tracked_since(ctx: &Context, today: Date) -> Result<Date> {
    let api = ctx.api::<ConfigMap>("kube-system");
    let doing = || format!("noting in ConfigMap kube-system/{TRACKING} since when the use of tokens is noted");
    let known = api.get_opt(TRACKING).await.doing(doing())?;
    let said = known.as_ref().and_then(|known| known.data.as_ref()?.get(SINCE)?.parse::<Date>().ok());
    if let Some(since) = said {
        return Ok(since);
    }
    let data = Some(BTreeMap::from([(SINCE.to_owned(), today.to_string())]));
    match known {
        Some(known) => {
            let written = api.replace(TRACKING, &PostParams::default(), &ConfigMap { data, ..known }).await;
            unless_gone(written).doing(doing())?;
        }
        None => {
            let metadata = ObjectMeta { name: Some(TRACKING.to_owned()), ..ObjectMeta::default() };
            let new = ConfigMap { metadata, data, ..ConfigMap::default() };
            api.create(&PostParams::default(), &new).await.doing(doing())?;
        }
    }
    Ok(today)
}

#[derive(Debug, PartialEq, Eq)]
enum Action {
    /// It is refused from this day on.
    Mark(Date),
    Delete,
}

/// `account`: the one that the Secret is for.
fn plan(secret: &Secret, account: &ServiceAccount, now: Timestamp) -> Option<Action> {
    let created = secret.metadata.creation_timestamp.as_ref()?.0;
    let today = day(now);
    let long_ago = year_before(today);
    // What an account does not list was made by hand, and whoever made it may need it any day.
    let lists = |account: &ServiceAccount| {
        let listed = account.secrets.iter().flatten();
        listed.filter_map(|reference| reference.name.as_deref()).any(|name| name == secret.name_any())
    };
    if day(created) >= long_ago || secret.metadata.deletion_timestamp.is_some() || !lists(account) {
        return None;
    }
    if let Some(last_used) = secret.labels().get(LAST_USED) {
        let last_used: Date = last_used.parse().ok()?;
        if last_used >= long_ago {
            return None;
        }
    }
    match secret.labels().get(INVALID_SINCE).and_then(|since| since.parse::<Date>().ok()) {
        None => Some(Action::Mark(today)),
        Some(since) if since < long_ago => Some(Action::Delete),
        Some(_) => None,
    }
}

fn day(of: Timestamp) -> Date {
    of.to_zoned(TimeZone::UTC).date()
}

fn year_before(day: Date) -> Date {
    day.saturating_sub(365.days())
}

async fn carry_out(ctx: &Context, secret: &Secret, action: Action) -> Result<()> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let api = ctx.api::<Secret>(&namespace);
    match action {
        Action::Mark(today) => {
            let marked = json!({"metadata": {"uid": secret.uid(), "labels": {INVALID_SINCE: today.to_string()}}});
            let written = api.patch(&name, &PatchParams::default(), &Patch::Merge(marked)).await;
            unless_gone(written).doing(format_args!("refusing the unused token of Secret {namespace}/{name}"))?;
        }
        Action::Delete => {
            // Whoever uses it now changes it.
            let preconditions = Some(Preconditions { uid: None, resource_version: secret.resource_version() });
            let written = api.delete(&name, &DeleteParams { preconditions, ..DeleteParams::default() }).await;
            unless_gone(written).doing(format_args!("deleting the unused token of Secret {namespace}/{name}"))?;
        }
    }
    Ok(())
}

/// Whether a pod has the Secret in a volume or in its environment.
async fn is_mounted(ctx: &Context, secret: &Secret) -> Result<bool> {
    let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
    let pods = ctx.api::<Pod>(&namespace).list(&ListParams::default()).await;
    let pods = pods.doing(format_args!("listing the pods of namespace {namespace}"))?;
    Ok(pods.items.iter().filter_map(|pod| pod.spec.as_ref()).any(|spec| uses(spec, &name)))
}

fn uses(spec: &PodSpec, secret: &str) -> bool {
    let is_it = |name: Option<&String>| name.is_some_and(|name| name == secret);
    let by_volume = spec.volumes.iter().flatten().any(|volume| {
        let projected = volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten());
        let csi = volume.csi.as_ref().and_then(|csi| csi.node_publish_secret_ref.as_ref());
        is_it(volume.secret.as_ref().and_then(|source| source.secret_name.as_ref()))
            || is_it(csi.map(|reference| &reference.name))
            || projected.filter_map(|source| source.secret.as_ref()).any(|source| is_it(Some(&source.name)))
    });
    let by_environment = |container: &Container| {
        let keys = container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()?.secret_key_ref.as_ref());
        let whole = container.env_from.iter().flatten().filter_map(|from| from.secret_ref.as_ref());
        keys.map(|key| &key.name).chain(whole.map(|whole| &whole.name)).any(|name| is_it(Some(name)))
    };
    by_volume || spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(by_environment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{noon, one};

    #[test]
    fn only_what_the_cluster_made_and_nobody_used_for_a_year_is_refused_and_goes() {
        let account: ServiceAccount =
            one("{kind: ServiceAccount, metadata: {name: web, namespace: shop}, secrets: [{name: web-token}]}");
        let mark = Some(Action::Mark("2026-01-01".parse().expect("a day")));
        let table = [
            ("web-token", "2020-05-01", "", mark),
            ("web-token", "2025-05-01", "", None),
            ("by-hand", "2020-05-01", "", None),
            ("web-token", "2020-05-01", "legacy-token-last-used: '2025-02-01'", None),
            ("web-token", "2020-05-01", "legacy-token-last-used: soon", None),
            ("web-token", "2020-05-01", "legacy-token-last-used: '2024-12-31'", Some(Action::Mark(day(noon())))),
            ("web-token", "2020-05-01", "legacy-token-invalid-since: soon", Some(Action::Mark(day(noon())))),
            ("web-token", "2020-05-01", "legacy-token-invalid-since: '2025-02-01'", None),
            ("web-token", "2020-05-01", "legacy-token-invalid-since: '2024-12-31'", Some(Action::Delete)),
        ];
        for (name, created, label, expected) in table {
            let labels = if label.is_empty() { String::new() } else { format!("kubernetes.io/{label}") };
            let secret: Secret = one(&format!(
                "{{kind: Secret, metadata: {{name: {name}, namespace: shop, creationTimestamp: '{created}T00:00:00Z', \
                   labels: {{{labels}}}}}}}"
            ));
            assert_eq!(plan(&secret, &account, noon()), expected, "{name} {created} {label}");
        }
    }

    #[test]
    fn pods_use_secrets_in_volumes_and_variables() {
        let table = [
            ("volumes: [{name: v, secret: {secretName: t}}]", true),
            ("volumes: [{name: v, projected: {sources: [{configMap: {name: t}}, {secret: {name: t}}]}}]", true),
            ("volumes: [{name: v, csi: {driver: d, nodePublishSecretRef: {name: t}}}]", true),
            ("containers: [{name: c, env: [{name: E, valueFrom: {secretKeyRef: {name: t, key: token}}}]}]", true),
            ("initContainers: [{name: c, envFrom: [{secretRef: {name: t}}]}]", true),
            ("volumes: [{name: t, secret: {secretName: other}}]", false),
            ("containers: [{name: t, envFrom: [{configMapRef: {name: t}}]}]", false),
        ];
        for (spec, expected) in table {
            let containers = if spec.starts_with("containers") { "" } else { "containers: [], " };
            let pod: Pod = serde_yaml::from_str(&format!("{{metadata: {{name: p}}, spec: {{{containers}{spec}}}}}"))
                .expect("a pod");
            assert_eq!(uses(&pod.spec.expect("a spec"), "t"), expected, "{spec}");
        }
    }
}
