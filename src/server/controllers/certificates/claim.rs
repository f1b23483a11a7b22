//! A node's name belongs to the key of the first who asked for it, until the Node is deleted: a ConfigMap per name in
//! `kube-system` holds the key's fingerprint.
//!
//! The key never leaves its machine, so knowing a token is not enough to become a node that is there already.

use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Node},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use mk8s_api::signing_request::SigningRequest;
use mk8s_client::{
    Informer, Key, Outcome,
    kube::{
        ResourceExt,
        api::{DeleteParams, PostParams},
    },
};
use sha2::{Digest, Sha256};

pub(super) const LABEL: &str = "mk8s.io/node-key";
const NAMESPACE: &str = "kube-system";
const FIELD: &str = "publicKey";

/// Whoever asked for a name and has not made a Node of it after so long has lost it.
const UNUSED_MINUTES: i64 = 10;

/// What becomes of a name when a key asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Claim {
    /// It is this key's already.
    Held,
    /// It was nobody's.
    Taken,
    /// It was another's, who does not use it.
    TakenOver,
    /// Why not.
    Refused(String),
}

fn decide(name: &str, asked: &str, held: Option<&ConfigMap>, node: Option<&Node>, now: Timestamp) -> Claim {
    let registered = node
        .and_then(|node| node.status.as_ref()?.node_info.as_ref())
        .is_some_and(|info| !info.kubelet_version.is_empty());
    let refused = || {
        Claim::Refused(format!(
            "the node name {name:?} belongs to another machine: choose another one with --node-name; or, if that machine is \
             gone or was installed anew, run \"kubectl delete node {name}\" and join again"
        ))
    };
    let Some(held) = held else { return if registered { refused() } else { Claim::Taken } };
    if held.data.as_ref().and_then(|data| data.get(FIELD)).is_some_and(|key| key == asked) {
        return Claim::Held;
    }
    let since = held.metadata.creation_timestamp.as_ref().map_or(now, |created| created.0);
    let unused = node.is_none() && now.duration_since(since) > jiff::SignedDuration::from_mins(UNUSED_MINUTES);
    if unused { Claim::TakenOver } else { refused() }
}

/// Asks for a name with the key of a request.
pub(super) async fn claim(ctx: &Context, nodes: &Informer<Node>, name: &str, asked: &SigningRequest) -> Result<Claim> {
    let fingerprint = fingerprint(asked);
    let held = held(ctx, name).await?;
    let node = nodes.get("", name);
    let claim = decide(name, &fingerprint, held.as_ref(), node.as_deref(), Timestamp::now());
    match claim {
        Claim::Taken | Claim::TakenOver => hold(ctx, held, name, &fingerprint).await?,
        Claim::Held | Claim::Refused(_) => {}
    }
    Ok(claim)
}

/// The node itself asks, perhaps with a new key: its name goes with it.
pub(super) async fn keep(ctx: &Context, name: &str, asked: &SigningRequest) -> Result<()> {
    let held = held(ctx, name).await?;
    hold(ctx, held, name, &fingerprint(asked)).await
}

/// Frees the name of a node that is gone.
pub(super) async fn release(
    ctx: &Context,
    nodes: &Informer<Node>,
    claims: &Informer<ConfigMap>,
    key: Key,
) -> Result<Outcome> {
    let map = map_name(&key.name);
    if nodes.get("", &key.name).is_none() && claims.get(NAMESPACE, &map).is_some() {
        let deleted = ctx.api::<ConfigMap>(NAMESPACE).delete(&map, &DeleteParams::default()).await;
        unless_gone(deleted).doing(format_args!("freeing the node name {}", key.name))?;
    }
    Ok(Outcome::Done)
}

async fn held(ctx: &Context, name: &str) -> Result<Option<ConfigMap>> {
    let found = ctx.api::<ConfigMap>(NAMESPACE).get_opt(&map_name(name)).await;
    found.doing(format_args!("looking up who holds the node name {name}"))
}

async fn hold(ctx: &Context, held: Option<ConfigMap>, name: &str, fingerprint: &str) -> Result<()> {
    let api = ctx.api::<ConfigMap>(NAMESPACE);
    let written = match held {
        None => api.create(&PostParams::default(), &map(name, fingerprint)).await,
        Some(held) if held.data.as_ref().and_then(|data| data.get(FIELD)).is_some_and(|key| key == fingerprint) => {
            return Ok(());
        }
        Some(held) => {
            let mut map = map(name, fingerprint);
            map.metadata.resource_version = held.resource_version();
            api.replace(&map_name(name), &PostParams::default(), &map).await
        }
    };
    written.map(drop).doing(format_args!("noting who holds the node name {name}"))
}

fn map_name(node: &str) -> String {
    format!("{node}.node-key")
}

fn map(node: &str, fingerprint: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(map_name(node)),
            namespace: Some(NAMESPACE.to_owned()),
            labels: Some([(LABEL.to_owned(), "true".to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([("node".to_owned(), node.to_owned()), (FIELD.to_owned(), fingerprint.to_owned())].into()),
        ..ConfigMap::default()
    }
}

fn fingerprint(asked: &SigningRequest) -> String {
    let hash = Sha256::digest(&asked.public_key_der);
    hash.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{noon, one};
    use jiff::ToSpan;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    #[test]
    fn a_name_belongs_to_one_key() {
        let registered: Node = one(
            "{kind: Node, metadata: {name: a}, status: {nodeInfo: {kubeletVersion: v1, architecture: '', bootID: '', containerRuntimeVersion: '', kernelVersion: '', kubeProxyVersion: '', machineID: '', operatingSystem: '', osImage: '', systemUUID: ''}}}",
        );
        let prepared: Node = one("{kind: Node, metadata: {name: a}}");
        let held = |key: &str, minutes: i64| {
            let mut map = map("a", key);
            map.metadata.creation_timestamp = Some(Time(noon() - minutes.minutes()));
            map
        };
        let (mine, others, stale) = (held("mine", 60), held("another", 1), held("another", 60));
        let check = |held, node| match decide("a", "mine", held, node, noon()) {
            Claim::Refused(why) => {
                assert!(why.starts_with("the node name \"a\" belongs to another machine"), "{why}");
                "refused"
            }
            Claim::Held => "held",
            Claim::Taken => "taken",
            Claim::TakenOver => "taken over",
        };
        assert_eq!(check(None, None), "taken");
        assert_eq!(check(None, Some(&prepared)), "taken");
        assert_eq!(check(None, Some(&registered)), "refused");
        assert_eq!(check(Some(&mine), Some(&registered)), "held");
        assert_eq!(check(Some(&others), None), "refused");
        assert_eq!(check(Some(&stale), None), "taken over");
        assert_eq!(check(Some(&stale), Some(&registered)), "refused");
    }
}
