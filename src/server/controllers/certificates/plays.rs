//! Requests of nodes, approved and signed by leaders that die: each has one certificate, and the name belongs to its key.

use crate::{
    Options,
    common::{
        fake::FakeApi,
        succession::{Scene, check_facts},
    },
};
use base64::{Engine, prelude::BASE64_STANDARD};
use expect_test::expect;
use mk8s_api::at::list;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};

fn request(name: &str, node: &str, user: &str) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
    params.distinguished_name.push(DnType::CommonName, format!("system:node:{node}"));
    let key = KeyPair::generate().expect("a key");
    let pem = params.serialize_request(&key).and_then(|request| request.pem()).expect("a request");
    format!(
        "---\nkind: CertificateSigningRequest\nmetadata: {{name: {name}, creationTimestamp: \"2999-01-01T00:00:00Z\"}}\nspec: {{signerName: kubernetes.io/kube-apiserver-client-kubelet, \
         username: \"{user}\", usages: [digital signature, client auth], request: {}}}\n",
        BASE64_STANDARD.encode(pem)
    )
}

fn facts(api: &FakeApi) -> String {
    let mut facts = String::new();
    for request in api.all("CertificateSigningRequest") {
        let conditions = list(&request["status"], "conditions").iter();
        let conditions: Vec<String> = conditions.map(|one| format!("{} {}", one["type"], one["reason"])).collect();
        let signed = request["status"]["certificate"].is_string();
        facts += &format!("{} {} signed {signed}\n", request["metadata"]["name"], conditions.join(" "));
    }
    let names = api.all("ConfigMap").into_iter().map(|map| format!("{} is held\n", map["data"]["node"]));
    facts + &names.collect::<String>()
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("an authority");
    let objects = [
        request("first", "a", "system:bootstrap:abcdef"),
        request("taken", "a", "system:bootstrap:abcdef"),
        request("itself", "b", "system:node:b"),
    ];
    let scene = Scene {
        options: Options {
            cluster_signing_cert_pem: Some(authority.pem()),
            cluster_signing_key_pem: Some(key.serialize_pem()),
            ..Options::default()
        },
        facts,
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), objects.concat())
    };
    check_facts(
        &scene,
        &expect![[r#"
            "first" "Approved" "AutoApproved" signed true
            "itself" "Approved" "AutoApproved" signed true
            "taken" "Approved" "AutoApproved" signed true
            "a" is held
            "b" is held
        "#]],
    );
}
