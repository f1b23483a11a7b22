//! Tokens that come, sign and end, under leaders that die: one signature for each token that is good.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts},
};
use expect_test::expect;
use serde_json::json;

/// Tokens: one that signs, one that has ended, one that does not sign, and a Secret that is no token.
const OBJECTS: &str = "
kind: ConfigMap
metadata: {name: cluster-info, namespace: kube-public}
data: {kubeconfig: x, jws-kubeconfig-gone00: y}
---
kind: Secret
type: bootstrap.kubernetes.io/token
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
data: {token-id: YWJjZGVm, token-secret: MDEyMzQ1Njc4OWFiY2RlZg==, usage-bootstrap-signing: dHJ1ZQ==}
---
kind: Secret
type: bootstrap.kubernetes.io/token
metadata: {name: bootstrap-token-ended1, namespace: kube-system}
data: {token-id: ZW5kZWQx, token-secret: MDEyMzQ1Njc4OWFiY2RlZg==, usage-bootstrap-signing: dHJ1ZQ==, expiration: MjAyNS0wMS0wMVQxMjowMDowMFo=}
---
kind: Secret
type: bootstrap.kubernetes.io/token
metadata: {name: bootstrap-token-silent, namespace: kube-system}
data: {token-id: c2lsZW50, token-secret: MDEyMzQ1Njc4OWFiY2RlZg==}
---
kind: Secret
type: Opaque
metadata: {name: other, namespace: kube-system}
data: {expiration: MjAyNS0wMS0wMVQxMjowMDowMFo=}
";

fn facts(api: &FakeApi) -> String {
    let mut facts = api.census();
    for map in api.all("ConfigMap") {
        let keys: Vec<&String> = map["data"].as_object().into_iter().flatten().map(|(key, _)| key).collect();
        facts += &format!("{keys:?}\n");
    }
    facts
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let scene = |others| Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) };
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
            ConfigMap cluster-info
            Secret bootstrap-token-abcdef
            Secret bootstrap-token-silent
            Secret other
            ["jws-kubeconfig-abcdef", "kubeconfig"]
        "#]],
    );
    // One is withdrawn, and what is signed becomes another.
    let withdrawn: fn(&FakeApi, usize) -> bool = |api, asked| match asked {
        0 => api.change("ConfigMap", |map| map["data"]["kubeconfig"] = json!("z")),
        1 => api.delete("Secret", &json!({}), |secret| secret["metadata"]["name"] == "bootstrap-token-abcdef"),
        _ => false,
    };
    check_facts(
        &scene(withdrawn),
        &expect![[r#"
            ConfigMap cluster-info
            Secret bootstrap-token-silent
            Secret other
            ["kubeconfig"]
        "#]],
    );
}
