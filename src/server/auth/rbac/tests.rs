use bytes::Bytes;
use mk8s_store::{Expect, Op, Options, Stamped, Store, Txn};
use serde_json::{Value, json};

use super::*;

async fn store(objects: &[(&str, Value)]) -> Store {
    let store = Store::open(Options::default()).await.expect("a store in memory");
    for (key, object) in objects {
        put(&store, key, object).await;
    }
    store
}

async fn put(store: &Store, key: &str, object: &Value) {
    let key = Bytes::from([PREFIX, key.as_bytes()].concat());
    let value = Stamped { bytes: Bytes::from(object.to_string()), stamp_at: None };
    store.commit(Txn { ops: vec![Op::Put { key, value, expect: Expect::Any }] }).await.expect("written");
}

async fn delete(store: &Store, key: &str) {
    let key = Bytes::from([PREFIX, key.as_bytes()].concat());
    store.commit(Txn { ops: vec![Op::Delete { key, expect: Expect::Any }] }).await.expect("deleted");
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

fn binding(kind: &str, role: &str, subject: Value) -> Value {
    json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": [subject]})
}

#[test]
fn rules_match_as_upstream() {
    let user = User::new("x", Vec::<String>::new());
    // rule, verb, group, resource, subresource, name, allowed
    let cases = [
        (rule(&[""], &["pods"], &["get"]), "get", "", "pods", "", "", true),
        (rule(&[""], &["pods"], &["get"]), "list", "", "pods", "", "", false),
        (rule(&[""], &["pods"], &["get"]), "get", "apps", "pods", "", "", false),
        (rule(&[""], &["pods"], &["get"]), "get", "", "pods", "log", "", false),
        (rule(&[""], &["pods/log"], &["get"]), "get", "", "pods", "log", "", true),
        (rule(&[""], &["pods/log"], &["get"]), "get", "", "pods", "", "", false),
        (rule(&[""], &["*/scale"], &["get"]), "get", "", "replicationcontrollers", "scale", "", true),
        (rule(&[""], &["*/scale"], &["get"]), "get", "", "pods", "", "", false),
        (rule(&["*"], &["*"], &["*"]), "patch", "apps", "deployments", "status", "web", true),
        (
            json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["a"]}),
            "get",
            "",
            "secrets",
            "",
            "a",
            true,
        ),
        (
            json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["a"]}),
            "get",
            "",
            "secrets",
            "",
            "b",
            false,
        ),
        (
            json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"], "resourceNames": ["a"]}),
            "list",
            "",
            "secrets",
            "",
            "",
            false,
        ),
    ];
    for (rule, verb, group, resource, subresource, name, allowed) in cases {
        let attributes = Attributes { subresource, name, ..Attributes::for_resource(&user, verb, group, resource) };
        let rule: Rule = serde_json::from_value(rule).expect("a rule");
        assert_eq!(rule.matches(&attributes), allowed, "{rule:?} {attributes:?}");
    }
    let urls: Rule =
        serde_json::from_value(json!({"nonResourceURLs": ["/api/*", "/version"], "verbs": ["get"]})).expect("a rule");
    for (path, allowed) in
        [("/api/v1", true), ("/api/", true), ("/api", false), ("/version", true), ("/version/", false)]
    {
        assert_eq!(urls.matches(&Attributes::for_path(&user, "get", path)), allowed, "{path}");
    }
}

#[tokio::test]
async fn bindings_reach_users_groups_and_service_accounts() {
    let pods = json!({"rules": [rule(&[""], &["pods"], &["get"])]});
    let store = store(&[
        ("roles/a/reader", pods.clone()),
        ("clusterroles/reader", pods),
        ("rolebindings/a/one", binding("Role", "reader", json!({"kind": "User", "name": "ann"}))),
        ("rolebindings/a/two", binding("ClusterRole", "reader", json!({"kind": "ServiceAccount", "name": "sa"}))),
        (
            "rolebindings/b/three",
            binding("ClusterRole", "reader", json!({"kind": "ServiceAccount", "name": "sa", "namespace": "a"})),
        ),
        ("clusterrolebindings/four", binding("ClusterRole", "reader", json!({"kind": "Group", "name": "ops"}))),
    ])
    .await;
    let rbac = Rbac::new(store);
    let sa = "system:serviceaccount:a:sa";
    let cases = [
        ("ann", "", "a", true),
        ("ann", "", "b", false),
        ("ann", "", "", false),
        (sa, "", "a", true),
        (sa, "", "b", true),
        (sa, "", "c", false),
        ("bob", "ops", "c", true),
        ("bob", "ops", "", true),
        ("bob", "dev", "c", false),
    ];
    for (name, group, namespace, allowed) in cases {
        let user = User::new(name, [group]);
        let attributes = Attributes { namespace, ..Attributes::for_resource(&user, "get", "", "pods") };
        assert_eq!(rbac.authorize(&attributes) == Decision::Allow, allowed, "{name} {group} {namespace}");
    }
    let user = User::new("bob", ["ops"]);
    assert_eq!(
        rbac.explain(&Attributes::for_resource(&user, "get", "", "pods")).expect("allowed"),
        r#"RBAC: allowed by ClusterRoleBinding "four" of ClusterRole "reader" to Group "ops""#
    );
}

#[tokio::test]
async fn writes_are_obeyed_at_once_and_missing_roles_are_told() {
    let store =
        store(&[("rolebindings/a/one", binding("Role", "reader", json!({"kind": "User", "name": "ann"})))]).await;
    let rbac = Rbac::new(store.clone());
    let user = User::new("ann", Vec::<String>::new());
    let attributes = Attributes { namespace: "a", ..Attributes::for_resource(&user, "get", "", "pods") };
    let missing = Decision::NoOpinion(r#"RBAC: role.rbac.authorization.k8s.io "reader" not found"#.into());
    assert_eq!(rbac.authorize(&attributes), missing);
    put(&store, "roles/a/reader", &json!({"rules": [rule(&[""], &["pods"], &["get"])]})).await;
    assert_eq!(rbac.authorize(&attributes), Decision::Allow);
    delete(&store, "rolebindings/a/one").await;
    assert_eq!(rbac.authorize(&attributes), Decision::NoOpinion(String::new()));
}

#[tokio::test]
async fn aggregation_follows_labels() {
    let selecting = |label: &str| json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    let store = store(&[
        ("clusterroles/admin", json!({"aggregationRule": selecting("to-admin"), "rules": null})),
        (
            "clusterroles/edit",
            json!({"metadata": {"labels": {"to-admin": "true"}}, "aggregationRule": selecting("to-edit")}),
        ),
        (
            "clusterroles/a",
            json!({"metadata": {"labels": {"to-edit": "true"}}, "rules": [rule(&[""], &["pods"], &["get"])]}),
        ),
        (
            "clusterroles/b",
            json!({"metadata": {"labels": {"to-admin": "true"}}, "rules": [rule(&[""], &["secrets"], &["get"])]}),
        ),
    ])
    .await;
    let rbac = Rbac::new(store);
    let resources = |name: &str| {
        let rules = rbac.rules_of_role("ClusterRole", "", name).expect("there");
        let mut resources: Vec<String> = rules.iter().flat_map(|rule| rule.resources.clone()).collect();
        resources.sort();
        resources
    };
    assert_eq!(resources("admin"), ["pods", "secrets"]);
    assert_eq!(resources("edit"), ["pods"]);
}

#[test]
fn what_is_not_held_is_listed() {
    let rules = |rules: Value| serde_json::from_value::<Vec<Rule>>(rules).expect("rules");
    let held = rules(json!([rule(&[""], &["pods", "*/scale"], &["get", "list"])]));
    let wanted = rules(json!([
        rule(&["", "apps"], &["pods"], &["get", "watch"]),
        rule(&[""], &["x/scale"], &["get"]),
        {"nonResourceURLs": ["/metrics"], "verbs": ["get"]},
    ]));
    let text = rule::describe(&rule::missing(&held, &wanted));
    let expected = [
        r#"{APIGroups:[""], Resources:["pods"], Verbs:["watch"]}"#,
        r#"{APIGroups:["apps"], Resources:["pods"], Verbs:["get" "watch"]}"#,
        r#"{NonResourceURLs:["/metrics"], Verbs:["get"]}"#,
    ];
    assert_eq!(text, expected.join("\n"));
    assert!(rule::missing(&rules(json!([rule(&["*"], &["*"], &["*"])])), &wanted[..2]).is_empty());
}
