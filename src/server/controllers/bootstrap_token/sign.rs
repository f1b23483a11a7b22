//! Signs the ConfigMap `cluster-info` of `kube-public` with each token: a JSON web signature without its content (RFC 7515,
//! appendix F), as kubeadm checks it.

use super::{Life, NAMESPACE, field, is_token, life};
use crate::common::{
    Context, Result,
    failure::{Doing, unless_gone},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{ResourceExt, api::PostParams},
};
use ring::hmac;
use std::{collections::BTreeMap, sync::Arc};

pub(super) const MAP: &str = "cluster-info";
const MAP_NAMESPACE: &str = "kube-public";
const CONTENT: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

pub(super) async fn run(ctx: Context, secrets: Informer<Secret>, maps: Informer<ConfigMap>) {
    let queue = WorkQueue::new("bootstrap_signer_queue");
    let map = Key::new(MAP_NAMESPACE, MAP);
    secrets.handle({
        let (queue, map) = (queue.clone(), map.clone());
        move |change| {
            if change.object().namespace().as_deref() == Some(NAMESPACE) {
                queue.add(map.clone());
            }
        }
    });
    maps.handle({
        let queue = queue.clone();
        move |change| {
            if change.object().namespace().as_deref() == Some(MAP_NAMESPACE) {
                queue.add(map.clone());
            }
        }
    });
    let reconcile = {
        let ctx = ctx.clone();
        move |key| {
            let (ctx, secrets, maps) = (ctx.clone(), secrets.clone(), maps.clone());
            async move { sign(&ctx, &secrets, &maps, key).await }
        }
    };
    ctx.serve(queue, 1, reconcile).await;
}

async fn sign(ctx: &Context, secrets: &Informer<Secret>, maps: &Informer<ConfigMap>, key: Key) -> Result<Outcome> {
    let Some(map) = maps.by_key(&key) else { return Ok(Outcome::Done) };
    let Some(data) = signed(map.data.as_ref(), &secrets.list(), Timestamp::now()) else { return Ok(Outcome::Done) };
    let written = ConfigMap { data: Some(data), ..(*map).clone() };
    let result = ctx.api::<ConfigMap>(&key.namespace).replace(&key.name, &PostParams::default(), &written).await;
    unless_gone(result).doing(format_args!("signing {key}"))?;
    Ok(Outcome::Done)
}

/// The data with the signatures of those tokens that sign, unless it has them.
fn signed(
    data: Option<&BTreeMap<String, String>>,
    secrets: &[Arc<Secret>],
    now: Timestamp,
) -> Option<BTreeMap<String, String>> {
    let data = data?;
    let content = data.get(CONTENT)?;
    let mut wanted = data.clone();
    wanted.retain(|key, _| !key.starts_with(SIGNATURE));
    for secret in secrets.iter().filter(|secret| signs(secret, now)) {
        let id = field(secret, "token-id");
        wanted.insert(format!("{SIGNATURE}{id}"), signature(content, id, field(secret, "token-secret")));
    }
    (wanted != *data).then_some(wanted)
}

fn signs(secret: &Secret, now: Timestamp) -> bool {
    let id = field(secret, "token-id");
    is_token(secret)
        && id.len() == 6
        && id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase())
        && secret.name_any() == format!("bootstrap-token-{id}")
        && !field(secret, "token-secret").is_empty()
        && life(secret, now) != Life::Ended
        && field(secret, "usage-bootstrap-signing") == "true"
}

fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"HS256\",\"kid\":\"{id}\"}}"));
    let signed = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, signed.as_bytes());
    format!("{header}..{}", BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::fixtures::{noon, shared};

    #[test]
    fn signatures_are_those_of_kubeadm() {
        let content = "Hello from the other side. I must have called a thousand times.";
        let cases = [
            (content, "my voice is my passcode", "VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"),
            ("", "my voice is my passcode", "7Ui1ALizW4jXphVUB7xUqC9vLYLL9RZeOFfVLoB7Tgk"),
        ];
        for (content, secret, tag) in cases {
            let expected = format!("eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..{tag}");
            assert_eq!(signature(content, "joshua", secret), expected);
        }
    }

    #[test]
    fn each_token_that_signs_has_one_signature() {
        let secrets: Vec<Arc<Secret>> = shared(
            "{kind: Secret, type: bootstrap.kubernetes.io/token, metadata: {name: bootstrap-token-abcdef, namespace: kube-system}, \
             data: {token-id: YWJjZGVm, token-secret: MDEyMzQ1Njc4OWFiY2RlZg==, usage-bootstrap-signing: dHJ1ZQ==}}\n---\n\
             {kind: Secret, type: bootstrap.kubernetes.io/token, metadata: {name: bootstrap-token-other1, namespace: kube-system}, \
             data: {token-id: b3RoZXIx, token-secret: MDEyMzQ1Njc4OWFiY2RlZg==}}\n",
        );
        let data = BTreeMap::from([
            (CONTENT.to_owned(), "x".to_owned()),
            ("jws-kubeconfig-gone00".to_owned(), "y".to_owned()),
        ]);
        let made = signed(Some(&data), &secrets, noon()).expect("it must change");
        assert_eq!(made.keys().map(String::as_str).collect::<Vec<_>>(), ["jws-kubeconfig-abcdef", "kubeconfig"]);
        assert_eq!(signed(Some(&made), &secrets, noon()), None);
        assert_eq!(signed(None, &secrets, noon()), None);
    }
}
