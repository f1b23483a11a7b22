use std::sync::Arc;

use mk8s_store::{Expect, Op, Options, Stamped, Store, Txn};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    assemble::{ApiOptions, router},
    auth::{Attributes, Authorization, Authorizer, Decision, User, tokens::SigningKey},
    registry::ServiceRanges,
};

fn bootstrap(node_ip: &str, manifests_dir: PathBuf) -> Bootstrap {
    Bootstrap {
        node_ip: node_ip.parse().expect("an address"),
        port: 6443,
        others: BTreeSet::new(),
        members: BTreeSet::from([format!("{node_ip}:6443")]),
        service_ip: "10.43.0.1".parse().expect("an address"),
        service_cidr: "10.43.0.0/16".parse().expect("a network"),
        ca_pem: "CA".into(),
        front_proxy_ca_pem: "PROXY CA".into(),
        network: BTreeMap::from([("clusterCIDR", "10.42.0.0/16".to_string())]),
        disabled: vec!["unwanted".into()],
        manifests_dir,
    }
}

async fn server() -> (Store, Client) {
    let store = Store::open(Options::default()).await.expect("a store in memory");
    let options = ApiOptions {
        signing_key: Arc::new(SigningKey::generate().expect("a key")),
        token_issuer: "https://kubernetes.default.svc.cluster.local".into(),
        admin_token: None,
        join_secret: None,
        services: ServiceRanges { addresses: "10.43.0.0/16".parse().expect("a network"), node_ports: 30000..=32767 },
        seats: 600,
        stop: CancellationToken::new(),
    };
    let client = router(&store, options).client(User::control_plane("system:apiserver"));
    (store, client)
}

fn stored(store: &Store, key: &str) -> Value {
    let view = store.view();
    let entry = view.get(format!("/registry/{key}").as_bytes()).unwrap_or_else(|| panic!("{key} is missing"));
    serde_json::from_slice(&entry.value).expect("JSON")
}

#[tokio::test]
async fn a_second_start_changes_only_what_follows_the_server() {
    let dir = tempfile::tempdir().expect("a directory");
    let config_map = |name: &str, value: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, namespace: default}}\ndata: {{a: {value}}}\n"
        )
    };
    std::fs::write(dir.path().join("mine.yaml"), config_map("mine", "one")).expect("written");
    std::fs::write(dir.path().join("unwanted.yaml"), config_map("unwanted", "one")).expect("written");
    std::fs::write(dir.path().join("broken.yaml"), "a: [").expect("written");
    let (store, client) = server().await;
    let first = bootstrap("192.0.2.1", dir.path().to_path_buf());
    run(&client, &first).await.expect("first start");
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        assert_eq!(stored(&store, &format!("core/namespaces/{name}"))["status"]["phase"], "Active");
    }
    assert_eq!(stored(&store, "core/services/default/kubernetes")["spec"]["clusterIP"], "10.43.0.1");
    assert_eq!(stored(&store, "core/configmaps/default/mine")["data"]["a"], "one");
    assert!(store.view().get(b"/registry/core/configmaps/default/unwanted").is_none());
    let count = |prefix: &str| store.view().count(format!("/registry/{prefix}/").as_bytes());
    // Nine more are for machines that join.
    assert_eq!(count("rbac.authorization.k8s.io"), rbac::objects().len() + 9);
    assert_eq!(
        (count("flowcontrol.apiserver.k8s.io/flowschemas"), count("scheduling.k8s.io/priorityclasses")),
        (11, 2)
    );

    let before = store.revision();
    run(&client, &first).await.expect("second start");
    assert_eq!(store.revision(), before, "nothing was written");

    std::fs::write(dir.path().join("mine.yaml"), config_map("mine", "two")).expect("written");
    run(&client, &bootstrap("192.0.2.2", dir.path().to_path_buf())).await.expect("start with another address");
    assert_eq!(
        stored(&store, "discovery.k8s.io/endpointslices/default/kubernetes")["endpoints"][0]["addresses"][0],
        "192.0.2.2"
    );
    let info = stored(&store, "core/configmaps/kube-public/cluster-info")["data"]["kubeconfig"].to_string();
    assert!(
        info.contains("server: https://192.0.2.2:6443") && info.contains("certificate-authority-data: Q0E="),
        "{info}"
    );
    assert_eq!(stored(&store, "core/endpoints/default/kubernetes")["subsets"][0]["addresses"][0]["ip"], "192.0.2.2");
    assert_eq!(stored(&store, "core/configmaps/kube-system/mk8s-servers")["data"]["servers"], "192.0.2.2:6443");
    assert_eq!(stored(&store, "core/configmaps/default/mine")["data"]["a"], "two");
}

#[tokio::test]
async fn the_default_roles_grant_what_upstream_grants() {
    let store = Store::open(Options::default()).await.expect("a store in memory");
    let written = rbac::objects().into_iter().map(|object| {
        let plural = format!("{}s", object["kind"].as_str().expect("a kind").to_lowercase());
        let namespace =
            object["metadata"]["namespace"].as_str().map(|namespace| format!("{namespace}/")).unwrap_or_default();
        let name = object["metadata"]["name"].as_str().expect("a name");
        let key = format!("/registry/rbac.authorization.k8s.io/{plural}/{namespace}{name}").into();
        Op::Put { key, value: Stamped::plain(object.to_string()), expect: Expect::Absent }
    });
    store.commit(Txn { ops: written.collect() }).await.expect("written");
    let authorization = Authorization::new(store);
    let anonymous = User::anonymous();
    let nobody = User::new("ann", ["system:authenticated"]);
    let account = User::new("system:serviceaccount:a:b", ["system:serviceaccounts", "system:authenticated"]);
    let scheduler = User::new("system:kube-scheduler", ["system:authenticated"]);
    let node = User::new("system:node:one", ["system:nodes", "system:authenticated"]);
    let path = |user, path| Attributes::for_path(user, "get", path);
    let cases = [
        (path(&anonymous, "/version"), true),
        (path(&anonymous, "/api"), false),
        (path(&nobody, "/api/v1"), true),
        (path(&nobody, "/openapi/v3"), true),
        (path(&nobody, "/metrics"), false),
        (path(&account, "/openid/v1/jwks"), true),
        (path(&nobody, "/openid/v1/jwks"), false),
        (Attributes::for_resource(&nobody, "create", "authorization.k8s.io", "selfsubjectaccessreviews"), true),
        (Attributes { namespace: "default", ..Attributes::for_resource(&nobody, "list", "", "pods") }, false),
        (Attributes::for_resource(&scheduler, "list", "", "pods"), true),
        (
            Attributes {
                subresource: "binding",
                namespace: "a",
                ..Attributes::for_resource(&scheduler, "create", "", "pods")
            },
            true,
        ),
        (Attributes::for_resource(&scheduler, "create", "", "secrets"), false),
        (Attributes { name: "one", ..Attributes::for_resource(&node, "get", "", "nodes") }, true),
        (Attributes { name: "two", ..Attributes::for_resource(&node, "get", "", "nodes") }, false),
    ];
    for (attributes, allowed) in cases {
        assert_eq!(authorization.authorize(&attributes) == Decision::Allow, allowed, "{attributes:?}");
    }
    // What `admin` aggregates is everything `edit` has, and more.
    let rules = |name: &str| authorization.rbac().rules_of_role("ClusterRole", "", name).expect("there");
    assert!(crate::auth::rbac::rule::missing(&rules("admin"), &rules("edit")).is_empty());
    assert!(crate::auth::rbac::rule::missing(&rules("edit"), &rules("view")).is_empty());
    assert!(!crate::auth::rbac::rule::missing(&rules("edit"), &rules("admin")).is_empty());
}
