//! Each namespace has the cluster's CA in a ConfigMap, so that pods can check whom they talk to.

#[cfg(test)]
mod plays;

use crate::common::{
    Context, Result,
    failure::{Doing, already_exists, namespace_terminating, not_found},
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_client::{
    Informer, Key, Outcome, Selection, WorkQueue,
    kube::{ResourceExt, api::PostParams},
};
use std::collections::BTreeMap;

const NAME: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal \
     service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.",
);

pub(crate) async fn run(ctx: Context) {
    let namespaces: Informer<Namespace> = ctx.informers.all();
    // Only these are held here; other ConfigMaps are no one's business.
    let maps: Informer<ConfigMap> = ctx.informers.select(Selection::fields(format!("metadata.name={NAME}")));
    namespaces.synced().await;
    maps.synced().await;
    let queue = WorkQueue::new("root-ca-certificate-publisher");
    namespaces.handle({
        let queue = queue.clone();
        move |change| queue.add(Key::of(change.object().as_ref()))
    });
    maps.handle({
        let queue = queue.clone();
        move |change| queue.add(Key::new("", change.object().namespace().unwrap_or_default()))
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, namespaces, maps) = (ctx.clone(), namespaces.clone(), maps.clone());
            async move { ensure(&ctx, &namespaces, &maps, key).await }
        }
    };
    ctx.serve(queue, 2, reconcile).await;
}

async fn ensure(
    ctx: &Context,
    namespaces: &Informer<Namespace>,
    maps: &Informer<ConfigMap>,
    key: Key,
) -> Result<Outcome> {
    let dying = |namespace: &Namespace| namespace.metadata.deletion_timestamp.is_some();
    if namespaces.get("", &key.name).is_none_or(|namespace| dying(&namespace)) {
        return Ok(Outcome::Done);
    }
    let api = ctx.api::<ConfigMap>(&key.name);
    let current = maps.get(&key.name, NAME);
    let result = match wanted(current.as_deref(), &ctx.options.root_ca_pem) {
        None => return Ok(Outcome::Done),
        Some(map) if current.is_none() => api.create(&PostParams::default(), &map).await,
        Some(map) => api.replace(NAME, &PostParams::default(), &map).await,
    };
    match result {
        Err(error) if !already_exists(&error) && !namespace_terminating(&error) && !not_found(&error) => {
            Err(error).doing(format_args!("publishing the CA in {}", key.name))
        }
        _ => Ok(Outcome::Done),
    }
}

/// What the ConfigMap should be, unless it is.
fn wanted(current: Option<&ConfigMap>, pem: &str) -> Option<ConfigMap> {
    let mut map = current.cloned().unwrap_or_else(|| ConfigMap {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    });
    map.data = Some(BTreeMap::from([(FILE.to_owned(), pem.to_owned())]));
    let described = map.annotations().get(DESCRIPTION.0).is_some_and(|text| !text.is_empty());
    if !described {
        map.annotations_mut().insert(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned());
    }
    (current != Some(&map)).then_some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_written_until_it_is_right() {
        let created = wanted(None, "PEM").expect("it is missing");
        assert_eq!(wanted(Some(&created), "PEM"), None);
        let mut spoiled = created.clone();
        spoiled.data = None;
        assert_eq!(wanted(Some(&spoiled), "PEM"), Some(created.clone()));
        let renewed = wanted(Some(&created), "NEW").expect("another CA");
        assert_eq!(renewed.data.expect("data")[FILE], "NEW");
    }
}
