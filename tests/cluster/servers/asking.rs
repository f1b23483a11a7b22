//! What one server was told, every other one knows when it is asked.

use super::three;
use crate::support::host::Host;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, Service},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).expect("it is one")
}

fn map(name: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name}}))
}

#[test]
fn every_server_knows_what_another_one_answered() {
    let host = Host::prepare("asking", &[]);
    let servers = three(&host);
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    runtime.block_on(async {
        let clients = [servers[0].client().await, servers[1].client().await, servers[2].client().await];
        objects(&clients).await;
        kinds(&clients).await;
        tokio::join!(addresses(&clients), quotas(&clients), policies(&clients));
    });
}

/// Written at one, changed at the next, deleted at the third, without a pause.
async fn objects(clients: &[Client; 3]) {
    let create = PostParams::default();
    for n in 0..30 {
        let [first, second, third] = [n, n + 1, n + 2].map(|at| clients[at % 3].clone());
        let space = format!("space-{n}");
        let namespace = object::<Namespace>(json!({"metadata": {"name": space}}));
        Api::all(first.clone()).create(&create, &namespace).await.expect("a namespace");
        let maps = |client: &Client| Api::<ConfigMap>::namespaced(client.clone(), &space);
        maps(&second).create(&create, &map("m")).await.expect("the namespace is known at once");
        let again = maps(&third).create(&create, &map("m")).await.expect_err("it is there");
        assert!(matches!(&again, kube::Error::Api(status) if status.code == 409), "{again}");
        let patch = Patch::Merge(json!({"data": {"n": n.to_string()}}));
        maps(&third).patch("m", &PatchParams::default(), &patch).await.expect("the object is known at once");
        assert_eq!(maps(&first).get("m").await.expect("there").data.expect("data")["n"], n.to_string());
        maps(&first).delete("m", &DeleteParams::default()).await.expect("it is deleted");
        let gone = maps(&second).delete("m", &DeleteParams::default()).await.expect_err("it is gone");
        assert!(matches!(&gone, kube::Error::Api(status) if status.code == 404), "{gone}");
    }
}

/// A kind that is defined at one server is one at every other.
async fn kinds(clients: &[Client; 3]) {
    let definition: CustomResourceDefinition = object(json!({
        "metadata": {"name": "boats.example.org"},
        "spec": {
            "group": "example.org", "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "properties": {"sails": {"type": "integer", "maximum": 9}}}}}},
            }],
        },
    }));
    let definitions = |client: &Client| Api::<CustomResourceDefinition>::all(client.clone());
    definitions(&clients[1]).create(&PostParams::default(), &definition).await.expect("a definition");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_established(&definitions(&clients[2]).get("boats.example.org").await.expect("it is there")) {
        assert!(Instant::now() < deadline, "the kind is established");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let boats = ApiResource::from_gvk(&GroupVersionKind::gvk("example.org", "v1", "Boat"));
    for (n, client) in clients.iter().enumerate() {
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), "default", &boats);
        let boat = |sails: u32| -> DynamicObject {
            object(
                json!({"apiVersion": "example.org/v1", "kind": "Boat", "metadata": {"name": format!("boat-{n}")}, "spec": {"sails": sails}}),
            )
        };
        let many = api.create(&PostParams::default(), &boat(10)).await.expect_err("too many sails");
        assert!(matches!(&many, kube::Error::Api(status) if status.code == 422), "{many}");
        api.create(&PostParams::default(), &boat(3)).await.expect("the kind is known");
        for other in clients {
            let api = Api::<DynamicObject>::namespaced_with(other.clone(), "default", &boats);
            assert_eq!(api.get(&format!("boat-{n}")).await.expect("it is there").data["spec"]["sails"], 3);
        }
    }
}

fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// Services made at all servers at once never share an address or a port.
async fn addresses(clients: &[Client; 3]) {
    let make = |n: usize| {
        let api = Api::<Service>::namespaced(clients[n % 3].clone(), "default");
        async move {
            let service: Service = object(
                json!({"metadata": {"name": format!("s{n}")}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}),
            );
            api.create(&PostParams::default(), &service).await.expect("a service")
        }
    };
    let services = futures::future::join_all((0..60).map(make)).await;
    let specs: Vec<_> = services.into_iter().map(|service| service.spec.expect("a spec")).collect();
    let addresses: BTreeSet<_> = specs.iter().map(|spec| spec.cluster_ip.clone()).collect();
    let ports: BTreeSet<_> = specs.iter().map(|spec| spec.ports.as_ref().expect("ports")[0].node_port).collect();
    assert_eq!((addresses.len(), ports.len()), (60, 60));
}

/// A quota holds for all servers together.
async fn quotas(clients: &[Client; 3]) {
    let create = PostParams::default();
    let namespace: Namespace = object(json!({"metadata": {"name": "limited"}}));
    Api::all(clients[0].clone()).create(&create, &namespace).await.expect("a namespace");
    let quota = object(json!({"metadata": {"name": "q"}, "spec": {"hard": {"count/secrets": "10"}}}));
    let quotas = Api::<k8s_openapi::api::core::v1::ResourceQuota>::namespaced(clients[1].clone(), "limited");
    quotas.create(&create, &quota).await.expect("a quota");
    let make = |n: usize| {
        let api = Api::<k8s_openapi::api::core::v1::Secret>::namespaced(clients[n % 3].clone(), "limited");
        async move {
            let secret = object(json!({"metadata": {"name": format!("s{n}")}}));
            api.create(&PostParams::default(), &secret).await
        }
    };
    let outcomes = futures::future::join_all((0..30).map(make)).await;
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert!(matches!(refused, kube::Error::Api(status) if status.message.contains("exceeded quota")), "{refused}");
    }
    let made = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(made <= 10, "{made} were let through");
    // Those that lost a race may have been counted for a moment.
    assert!(made >= 5, "{made} were let through");
}

/// A policy that is made at one server is in force at the others.
async fn policies(clients: &[Client; 3]) {
    let policy = object(json!({
        "metadata": {"name": "no-bad-names"},
        "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["serviceaccounts"]}]},
            "validations": [{"expression": "object.metadata.name != 'bad'", "message": "a bad name"}],
        },
    }));
    let binding = object(
        json!({"metadata": {"name": "no-bad-names"}, "spec": {"policyName": "no-bad-names", "validationActions": ["Deny"]}}),
    );
    use k8s_openapi::api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        core::v1::ServiceAccount,
    };
    Api::<ValidatingAdmissionPolicy>::all(clients[0].clone())
        .create(&PostParams::default(), &policy)
        .await
        .expect("a policy");
    Api::<ValidatingAdmissionPolicyBinding>::all(clients[1].clone())
        .create(&PostParams::default(), &binding)
        .await
        .expect("a binding");
    for client in clients {
        let api = Api::<ServiceAccount>::namespaced(client.clone(), "default");
        // What was seen here is in force here.
        Api::<ValidatingAdmissionPolicyBinding>::all(client.clone()).get("no-bad-names").await.expect("it is there");
        let refused = api.create(&PostParams::default(), &object(json!({"metadata": {"name": "bad"}}))).await;
        let refused = refused.expect_err("it has a bad name");
        assert!(refused.to_string().contains("a bad name"), "{refused}");
    }
}
