//! Tokens that are filled, and that go with their accounts, by leaders that die.

use crate::{
    Options, SecretToken, TokenSigner,
    common::{
        fake::FakeApi,
        succession::{Scene, check_facts},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use expect_test::expect;
use serde_json::json;
use std::sync::Arc;

/// Accounts: one that stays, one that goes. Secrets: one for each, one whose account was another of the name, one whose
/// account never was, one that names what no account is called, and one that is no token.
const OBJECTS: &str = "
kind: ServiceAccount
metadata: {name: web, namespace: shop, uid: u1}
secrets: [{name: web}, {name: docker}]
---
kind: ServiceAccount
metadata: {name: going, namespace: shop, uid: u2}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: going, namespace: shop, annotations: {kubernetes.io/service-account.name: going}}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: former
  namespace: shop
  annotations: {kubernetes.io/service-account.name: web, kubernetes.io/service-account.uid: u0}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: nobody, namespace: shop, annotations: {kubernetes.io/service-account.name: nobody}}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: path, namespace: shop, annotations: {kubernetes.io/service-account.name: ../serviceaccounts/web}}
---
kind: Secret
type: Opaque
metadata: {name: docker, namespace: shop, annotations: {kubernetes.io/service-account.name: web}}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: web, namespace: shop, annotations: {kubernetes.io/service-account.name: web}}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata: {name: web-2, namespace: shop, annotations: {kubernetes.io/service-account.name: web}}
";

/// Whom a token is for, instead of a token.
#[derive(Debug)]
struct Plainly;

impl TokenSigner for Plainly {
    fn sign_secret_token(&self, token: SecretToken<'_>) -> Result<String, String> {
        let SecretToken { namespace, secret, account, account_uid } = token;
        Ok(format!("{namespace}/{account} ({account_uid}) in {secret}"))
    }
}

fn facts(api: &FakeApi) -> String {
    let mut facts = api.census();
    for secret in api.all("Secret") {
        let fields = secret["data"].as_object().into_iter().flatten();
        for (key, value) in fields {
            let value = BASE64_STANDARD.decode(value.as_str().expect("text")).expect("base64");
            facts += &format!("{}: {key}={}\n", secret["metadata"]["name"], String::from_utf8_lossy(&value));
        }
    }
    let lists = api.all("ServiceAccount").into_iter().map(|account| format!("{}\n", account["secrets"]));
    facts + &lists.collect::<String>()
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let scene = Scene {
        options: Options { root_ca_pem: "CA".into(), token_signer: Some(Arc::new(Plainly)), ..Options::default() },
        others: |api, asked| match asked {
            0 => api.delete("ServiceAccount", &json!({}), |account| account["metadata"]["name"] == "going"),
            1 => api.delete("Secret", &json!({}), |secret| secret["metadata"]["name"] == "web"),
            _ => false,
        },
        facts,
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS)
    };
    check_facts(
        &scene,
        &expect![[r#"
        ConfigMap kube-apiserver-legacy-service-account-token-tracking
        Secret docker
        Secret web-2
        ServiceAccount web
        "web-2": ca.crt=CA
        "web-2": namespace=shop
        "web-2": token=shop/web (u1) in web-2
        [{"name":"docker"}]
    "#]],
    );
}

/// Listed by their account and older than the note on since when their use is noted: one that nobody used, one that is
/// refused for long, and one that a pod has.
const UNUSED: &str = "
kind: ServiceAccount
metadata: {name: web, namespace: shop, uid: u1}
secrets: [{name: unused}, {name: refused}, {name: mounted}]
---
kind: ConfigMap
metadata: {name: kube-apiserver-legacy-service-account-token-tracking, namespace: kube-system}
data: {since: '2020-01-01'}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: unused
  namespace: shop
  creationTimestamp: '2020-05-01T00:00:00Z'
  annotations: {kubernetes.io/service-account.name: web, kubernetes.io/service-account.uid: u1}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: refused
  namespace: shop
  creationTimestamp: '2020-05-01T00:00:00Z'
  labels: {kubernetes.io/legacy-token-invalid-since: '2021-05-01'}
  annotations: {kubernetes.io/service-account.name: web, kubernetes.io/service-account.uid: u1}
---
kind: Secret
type: kubernetes.io/service-account-token
metadata:
  name: mounted
  namespace: shop
  creationTimestamp: '2020-05-01T00:00:00Z'
  annotations: {kubernetes.io/service-account.name: web, kubernetes.io/service-account.uid: u1}
---
kind: Pod
metadata: {name: p, namespace: shop}
spec: {containers: [], volumes: [{name: token, secret: {secretName: mounted}}]}
";

#[test]
fn leaders_that_die_refuse_and_delete_what_nobody_uses() {
    let facts = |api: &FakeApi| {
        let label = |secret: &serde_json::Value| {
            let refused = &secret["metadata"]["labels"]["kubernetes.io/legacy-token-invalid-since"];
            format!("{}: {}\n", secret["metadata"]["name"], if refused.is_null() { "taken" } else { "refused" })
        };
        let mut facts: Vec<String> = api.all("Secret").iter().map(label).collect();
        facts.sort();
        facts.concat()
    };
    let scene = Scene {
        options: Options { root_ca_pem: "CA".into(), token_signer: Some(Arc::new(Plainly)), ..Options::default() },
        facts,
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), UNUSED)
    };
    check_facts(
        &scene,
        &expect![[r#"
            "mounted": taken
            "unused": refused
        "#]],
    );
}
