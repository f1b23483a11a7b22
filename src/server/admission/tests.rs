use bytes::Bytes;
use mk8s_store::{Expect, Op, Stamped, Txn};
use serde_json::json;

use super::*;
use crate::relay::Relay;

struct Fixture {
    store: Store,
    admission: Admission,
}

/// A store with two namespaces, the default account in one, and what `objects` adds (keys without `/registry/`).
async fn fixture(objects: &[(&str, Value)]) -> Fixture {
    let store = Store::open(mk8s_store::Options::default()).await.expect("a store in memory");
    let client = Client::new(store.clone(), Relay::default());
    let presenter = crate::registry::Resources::new(&store, client.clone()).presenter();
    let authorization = Authorization::new(store.clone());
    let fixture = Fixture { admission: Admission::new(store.clone(), authorization, client, presenter), store };
    fixture.put("core/namespaces/a", json!({"metadata": {"name": "a"}, "status": {"phase": "Active"}})).await;
    fixture
        .put("core/namespaces/gone", json!({"metadata": {"name": "gone", "deletionTimestamp": "2026-01-01T00:00:00Z"}}))
        .await;
    fixture.put("core/serviceaccounts/a/default", json!({"metadata": {"name": "default"}})).await;
    for (key, object) in objects {
        fixture.put(key, object.clone()).await;
    }
    fixture
}

impl Fixture {
    async fn put(&self, key: &str, object: Value) {
        let key = Bytes::from(format!("/registry/{key}"));
        let value = Stamped { bytes: Bytes::from(object.to_string()), stamp_at: None };
        self.store.commit(Txn { ops: vec![Op::Put { key, value, expect: Expect::Any }] }).await.expect("written");
    }

    /// Both halves, as a write goes through them.
    async fn admit(&self, request: &Request<'_>, object: &Value) -> Result<Value, String> {
        let mut object = object.clone();
        self.admission.mutate(request, &mut object).await.map_err(|status| status.message)?;
        self.admission.validate(request, &object).await.map_err(|status| status.message)?;
        Ok(object)
    }

    async fn create(&self, resource: &str, object: &Value) -> Result<Value, String> {
        self.admit(&request(resource, &admin()), object).await
    }
}

fn admin() -> User {
    User::new("system:admin", ["system:masters"])
}

/// A create in namespace `a`.
fn request<'a>(resource: &'a str, user: &'a User) -> Request<'a> {
    Request {
        operation: Operation::Create,
        group: "",
        version: "v1",
        kind: "",
        kind_version: ("", "v1"),
        resource,
        subresource: "",
        namespace: "a",
        name: "x",
        user,
        old: None,
        dry_run: false,
        options: Options::None,
        target: None,
        notes: Box::leak(Box::default()),
    }
}

fn pod(spec: Value) -> Value {
    let mut pod = json!({"metadata": {"name": "x", "namespace": "a"}, "spec": {"containers": [{"name": "c"}]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        pod["spec"][field] = value.clone();
    }
    pod
}

#[tokio::test]
async fn namespaces_must_be_there_and_stay() {
    let f = fixture(&[]).await;
    let admin = admin();
    let config_map = json!({"metadata": {"name": "x"}});
    let gone = "unable to create new content in namespace gone because it is being terminated";
    let cases = [
        (Operation::Create, "configmaps", "a", "x", None),
        (Operation::Create, "configmaps", "none", "x", Some(r#"namespaces "none" not found"#.to_string())),
        (Operation::Create, "configmaps", "gone", "x", Some(format!(r#"configmaps "x" is forbidden: {gone}"#))),
        (Operation::Update, "configmaps", "gone", "x", None),
        (Operation::Delete, "configmaps", "none", "x", None),
        (
            Operation::Delete,
            "namespaces",
            "",
            "default",
            Some(r#"namespaces "default" is forbidden: this namespace may not be deleted"#.into()),
        ),
        (Operation::Delete, "namespaces", "", "a", None),
    ];
    for (operation, resource, namespace, name, refusal) in cases {
        let request = Request { operation, namespace, name, ..request(resource, &admin) };
        assert_eq!(f.admit(&request, &config_map).await.err(), refusal, "{operation:?} {resource} {namespace}");
    }
}

#[tokio::test]
async fn pods_are_labelled_with_the_place_of_their_node() {
    let place = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"});
    let mut labels = place.clone();
    labels["kubernetes.io/hostname"] = json!("one");
    let f = fixture(&[
        ("core/nodes/one", json!({"metadata": {"name": "one", "labels": labels}})),
        ("core/nodes/two", json!({"metadata": {"name": "two"}})),
    ])
    .await;
    let admin = admin();
    let binding = |node: &str| json!({"metadata": {"name": "x"}, "target": {"kind": "Node", "name": node}});
    let request = Request { subresource: "binding", ..request("pods", &admin) };
    let bound = f.admit(&request, &binding("one")).await.expect("admitted");
    assert_eq!(bound["metadata"]["labels"], place);
    for node in ["two", "nowhere"] {
        let bound = f.admit(&request, &binding(node)).await.expect("admitted");
        assert_eq!(bound, binding(node), "nothing is known of its place");
    }
    let mut placed = pod(json!({"nodeName": "one"}));
    placed["metadata"]["labels"] = json!({"app": "a", "topology.kubernetes.io/zone": "another"});
    let placed = f.create("pods", &placed).await.expect("admitted");
    let labels = &placed["metadata"]["labels"];
    assert_eq!((&labels["app"], &labels["topology.kubernetes.io/zone"]), (&json!("a"), &json!("z")));
    let waiting = f.create("pods", &pod(json!({}))).await.expect("admitted");
    assert_eq!(waiting["metadata"].get("labels"), None);
}

#[tokio::test]
async fn pods_get_account_token_tolerations_and_priority() {
    let f = fixture(&[]).await;
    let admitted = f.create("pods", &pod(json!({"initContainers": [{"name": "i"}]}))).await.expect("admitted");
    let spec = &admitted["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["serviceAccount"], "default");
    let volume = spec["volumes"][0]["name"].as_str().expect("a volume");
    assert!(volume.starts_with("kube-api-access-") && volume.len() == "kube-api-access-".len() + 5, "{volume}");
    let mount =
        json!([{"name": volume, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}]);
    assert_eq!(spec["containers"][0]["volumeMounts"], mount);
    assert_eq!(spec["initContainers"][0]["volumeMounts"], mount);
    let projected = &spec["volumes"][0]["projected"];
    assert_eq!(projected["sources"][0], json!({"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}));
    assert_eq!(projected["defaultMode"], 420);
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
    let lost =
        |taint: &str| json!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    assert_eq!(
        spec["tolerations"],
        json!([lost("node.kubernetes.io/not-ready"), lost("node.kubernetes.io/unreachable")])
    );

    let plain = f.create("pods", &pod(json!({}))).await.expect("admitted");
    assert_eq!(plain["spec"].get("initContainers"), None, "nothing is added but what is meant");

    let again = f.create("pods", &admitted).await.expect("admitted again");
    assert_eq!(again, admitted, "what is complete stays as it is");
}

#[tokio::test]
async fn accounts_decide_about_tokens_and_pull_secrets() {
    let quiet = json!({"metadata": {"name": "quiet"}, "automountServiceAccountToken": false, "imagePullSecrets": [{"name": "pull"}]});
    let strict =
        json!({"metadata": {"name": "strict", "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}});
    let f = fixture(&[("core/serviceaccounts/a/quiet", quiet), ("core/serviceaccounts/a/strict", strict)]).await;
    let admitted = f.create("pods", &pod(json!({"serviceAccountName": "quiet"}))).await.expect("admitted");
    assert!(admitted["spec"]["volumes"].is_null());
    assert_eq!(admitted["spec"]["imagePullSecrets"], json!([{"name": "pull"}]));
    let wanted = f
        .create("pods", &pod(json!({"serviceAccountName": "quiet", "automountServiceAccountToken": true})))
        .await
        .expect("admitted");
    assert!(wanted["spec"]["volumes"].is_array());

    let refused = f.create("pods", &pod(json!({"serviceAccountName": "none"}))).await.expect_err("no such account");
    assert_eq!(
        refused,
        r#"pods "x" is forbidden: error looking up service account a/none: serviceaccount "none" not found"#
    );
    let secret = json!({"serviceAccountName": "strict", "volumes": [{"name": "v", "secret": {"secretName": "s"}}]});
    let refused = f.create("pods", &pod(secret)).await.expect_err("not listed");
    assert!(refused.ends_with(r#"volume with secret.secretName="s" is not allowed because service account strict does not reference that secret"#), "{refused}");
}

#[tokio::test]
async fn a_pod_waits_for_the_default_account_of_a_new_namespace() {
    let f = fixture(&[("core/namespaces/new", json!({"metadata": {"name": "new"}}))]).await;
    let admin = admin();
    let create = Request { namespace: "new", ..request("pods", &admin) };
    let object = pod(json!({}));
    let (admitted, ()) = tokio::join!(
        f.admit(&create, &object),
        f.put("core/serviceaccounts/new/default", json!({"metadata": {"name": "default"}}))
    );
    assert_eq!(admitted.expect("the account came")["spec"]["serviceAccountName"], "default");
}

#[tokio::test]
async fn priorities_come_from_classes() {
    let class = |name: &str, value: i64, default: bool| json!({"metadata": {"name": name}, "value": value, "globalDefault": default});
    let key = |name: &str| format!("scheduling.k8s.io/priorityclasses/{name}");
    let f = fixture(&[(&key("high"), class("high", 100, false)), (&key("usual"), class("usual", 7, true))]).await;
    let of = |admitted: Value| (admitted["spec"]["priorityClassName"].clone(), admitted["spec"]["priority"].clone());
    let high = f.create("pods", &pod(json!({"priorityClassName": "high"}))).await.expect("admitted");
    assert_eq!(of(high), (json!("high"), json!(100)));
    let usual = f.create("pods", &pod(json!({}))).await.expect("admitted");
    assert_eq!(of(usual), (json!("usual"), json!(7)));
    let none = f.create("pods", &pod(json!({"priorityClassName": "none"}))).await.expect_err("refused");
    assert_eq!(none, r#"pods "x" is forbidden: no PriorityClass with name none was found"#);
    let given = f.create("pods", &pod(json!({"priority": 3}))).await.expect_err("refused");
    assert!(given.contains("the integer value of priority (3) must not be provided in pod spec"), "{given}");

    let admin = admin();
    let second = Request { group: "scheduling.k8s.io", namespace: "", ..request("priorityclasses", &admin) };
    let refused = f.admit(&second, &class("other", 1, true)).await.expect_err("refused");
    assert!(
        refused.ends_with("PriorityClass usual is already marked as default. Only one default can exist"),
        "{refused}"
    );
}

#[tokio::test]
async fn limit_ranges_default_and_bound() {
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [
        {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}, "min": {"cpu": "50m"},
         "maxLimitRequestRatio": {"cpu": "10"}},
        {"type": "Pod", "max": {"cpu": "2"}},
        {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}},
    ]}});
    let f = fixture(&[("core/limitranges/a/r", range)]).await;
    let container = |requests: &str, limits: &str| {
        pod(
            json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": requests}, "limits": {"cpu": limits}}}]}),
        )
    };
    let defaulted = f.create("pods", &pod(json!({}))).await.expect("admitted");
    assert_eq!(
        defaulted["spec"]["containers"][0]["resources"],
        json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m"}})
    );
    assert_eq!(
        defaulted["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    );
    let cases = [
        (container("500m", "2"), "maximum cpu usage per Container is 1, but limit is 2"),
        (container("10m", "100m"), "minimum cpu usage per Container is 50m, but request is 10m"),
        (container("50m", "1"), "cpu max limit to request ratio per Container is 10, but provided ratio is 20.000000"),
    ];
    for (pod, message) in cases {
        let refused = f.create("pods", &pod).await.expect_err(message);
        assert!(refused.contains(message), "{refused}");
    }
    let claim = json!({"metadata": {"name": "x"}, "spec": {"resources": {"requests": {"storage": "500Mi"}}}});
    let refused = f.create("persistentvolumeclaims", &claim).await.expect_err("too small");
    assert!(
        refused.ends_with("minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"),
        "{refused}"
    );
}

#[tokio::test]
async fn quotas_count_what_is_stored_and_what_is_on_its_way() {
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "2", "requests.cpu": "1", "count/secrets": "0"}}});
    let f =
        fixture(&[("core/resourcequotas/a/q", quota), ("core/configmaps/a/one", json!({"metadata": {"name": "one"}}))])
            .await;
    let admin = admin();
    let named = |name: &'static str| Request { name, ..request("configmaps", &admin) };
    f.admit(&named("two"), &json!({"metadata": {"name": "two"}})).await.expect("room for one more");
    let refused =
        f.admit(&named("three"), &json!({"metadata": {"name": "three"}})).await.expect_err("two is on its way");
    assert_eq!(
        refused,
        r#"configmaps "three" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=2, limited: configmaps=2"#
    );
    let dry = Request { dry_run: true, ..named("four") };
    f.admit(&dry, &json!({"metadata": {"name": "four"}})).await.expect("a dry run counts nothing");

    let unstated = f.create("pods", &pod(json!({}))).await.expect_err("no request stated");
    assert_eq!(unstated, r#"pods "x" is forbidden: failed quota: q: must specify requests.cpu for: c"#);
    let asking = |cpu: &str| pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}));
    let refused = f.create("pods", &asking("1500m")).await.expect_err("too much");
    assert!(
        refused.ends_with(
            "exceeded quota: q, requested: requests.cpu=1500m, used: requests.cpu=0, limited: requests.cpu=1"
        ),
        "{refused}"
    );
    f.create("pods", &asking("900m")).await.expect("fits");
    let refused = f.create("secrets", &json!({"metadata": {"name": "x"}})).await.expect_err("none allowed");
    assert!(refused.contains("requested: count/secrets=1"), "{refused}");
}

#[tokio::test]
async fn pods_and_claims_share_quotas_of_extended_resources() {
    let class = json!({"metadata": {"name": "gpu"}, "spec": {"extendedResourceName": "example.com/gpu"}});
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.example.com/gpu": "3"}}});
    let asking =
        |gpus: &str| pod(json!({"containers": [{"name": "c", "resources": {"requests": {"example.com/gpu": gpus}}}]}));
    let mut running = asking("2");
    running["metadata"] = json!({"name": "p", "namespace": "a", "uid": "u"});
    let f = fixture(&[
        ("resource.k8s.io/deviceclasses/gpu", class),
        ("core/resourcequotas/a/q", quota),
        ("core/pods/a/p", running),
    ])
    .await;
    let admin = admin();
    let named = |name: &'static str| Request { group: "resource.k8s.io", name, ..request("resourceclaims", &admin) };
    let claim = |name: &str, count: i64| {
        let wanted = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": count});
        json!({"metadata": {"name": name, "namespace": "a"}, "spec": {"devices": {"requests": [{"name": "r", "exactly": wanted}]}}})
    };
    let refused = f.admit(&named("x"), &claim("x", 2)).await.expect_err("the pod has two of three");
    assert_eq!(
        refused,
        r#"resourceclaims.resource.k8s.io "x" is forbidden: exceeded quota: q, requested: requests.example.com/gpu=2, used: requests.example.com/gpu=2, limited: requests.example.com/gpu=3"#
    );
    let mut made = claim("made", 2);
    made["metadata"]["annotations"] = json!({"resource.kubernetes.io/extended-resource-claim": "true"});
    made["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": true}]);
    f.admit(&named("made"), &made).await.expect("its pod is charged already");
    f.put("resource.k8s.io/resourceclaims/a/made", made).await;
    f.admit(&named("x"), &claim("x", 1)).await.expect("room for one more");
    let refused = f.create("pods", &asking("1")).await.expect_err("a claim of the same name is on its way");
    assert!(
        refused.ends_with(
            "exceeded quota: q, requested: requests.example.com/gpu=1, used: requests.example.com/gpu=3, limited: requests.example.com/gpu=3"
        ),
        "{refused}"
    );
    f.create("pods", &pod(json!({}))).await.expect("asks for none");
}

#[tokio::test]
async fn agents_write_their_own_only() {
    let here = json!({"metadata": {"name": "x", "uid": "u1"}, "spec": {"nodeName": "one"}});
    let f = fixture(&[
        ("core/pods/a/x", here.clone()),
        ("core/nodes/one", json!({"metadata": {"name": "one", "uid": "n1"}})),
    ])
    .await;
    let one = User::new("system:node:one", ["system:nodes"]);
    let two = User::new("system:node:two", ["system:nodes"]);
    let node = |labels: Value| json!({"metadata": {"name": "one", "labels": labels}});
    let mirror = |owner: Value| json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "h"}, "ownerReferences": [owner]}, "spec": {"nodeName": "one"}});
    let owner = |uid: &str| json!({"apiVersion": "v1", "kind": "Node", "name": "one", "uid": uid, "controller": true});
    let token =
        |uid: &str| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": uid}}});
    let lease =
        |user, namespace, name| Request { group: "coordination.k8s.io", namespace, name, ..request("leases", user) };
    let cluster = |user| Request { namespace: "", name: "one", ..request("nodes", user) };
    let status = |user| Request {
        operation: Operation::Update,
        subresource: "status",
        old: Some(&here),
        ..request("pods", user)
    };
    let tokens = |user| Request { subresource: "token", ..request("serviceaccounts", user) };
    let old_node = node(json!({"kubernetes.io/os": "linux"}));
    let cases: Vec<(Request<'_>, Value, &str)> = vec![
        (cluster(&one), node(json!({"kubernetes.io/os": "linux", "mine": "x", "node.kubernetes.io/any": "y"})), ""),
        (cluster(&two), node(json!({})), r#"node "two" is not allowed to modify node "one""#),
        (
            cluster(&one),
            node(json!({"node-role.kubernetes.io/x": ""})),
            "is not allowed to set the following labels: node-role.kubernetes.io/x",
        ),
        (
            Request { operation: Operation::Update, old: Some(&old_node), ..cluster(&one) },
            json!({"metadata": {"name": "one", "labels": {"kubernetes.io/os": "linux"}}, "spec": {"taints": [{"key": "k"}]}}),
            "is not allowed to modify taints",
        ),
        (request("pods", &one), pod(json!({"serviceAccountName": "default"})), "can only create mirror pods"),
        (request("pods", &one), mirror(owner("n1")), ""),
        (request("pods", &one), mirror(owner("n2")), "UID mismatch"),
        (status(&one), here.clone(), ""),
        (status(&two), here.clone(), "can only update pod status for pods with spec.nodeName set to itself"),
        (tokens(&one), token("u1"), ""),
        (tokens(&one), token("u2"), "does not match the UID in record"),
        (tokens(&two), token("u1"), "node requested token bound to a pod scheduled on a different node"),
        (tokens(&one), json!({"spec": {}}), "node requested token not bound to a pod"),
        (lease(&one, "kube-node-lease", "one"), json!({"metadata": {"name": "one"}}), ""),
        (
            lease(&one, "kube-node-lease", "two"),
            json!({"metadata": {"name": "two"}}),
            "same name as the requesting node",
        ),
    ];
    f.put("core/namespaces/kube-node-lease", json!({"metadata": {"name": "kube-node-lease"}})).await;
    let sources = json!([{"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]);
    f.put(
        "core/pods/a/x",
        json!({"metadata": {"name": "x", "uid": "u1"}, "spec": {"nodeName": "one", "volumes": sources}}),
    )
    .await;
    for (request, object, refusal) in cases {
        let result = f.admission.validate(&request, &object).await.map_err(|status| status.message);
        match refusal {
            "" => assert_eq!(result, Ok(()), "{request:?}"),
            refusal => {
                assert!(result.as_ref().is_err_and(|message| message.contains(refusal)), "{result:?}: {refusal}")
            }
        }
    }
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_have() {
    let rbac = |plural: &str, name: &str| format!("rbac.authorization.k8s.io/{plural}/{name}");
    let rules = |verbs: &[&str]| json!([{"apiGroups": [""], "resources": ["pods"], "verbs": verbs}]);
    let bound =
        json!({"roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "User", "name": "ann"}]});
    let f = fixture(&[
        (&rbac("clusterroles", "reader"), json!({"rules": rules(&["get"])})),
        (&rbac("clusterroles", "writer"), json!({"rules": rules(&["update"])})),
        (&rbac("clusterrolebindings", "b"), bound),
    ])
    .await;
    let ann = User::new("ann", ["system:authenticated"]);
    let write = |resource| Request { group: "rbac.authorization.k8s.io", ..request(resource, &ann) };
    let binding = |role: &str| json!({"metadata": {"name": "x"}, "roleRef": {"kind": "ClusterRole", "name": role}});
    f.admit(&write("roles"), &json!({"metadata": {"name": "x"}, "rules": rules(&["get"])})).await.expect("she has it");
    f.admit(&write("rolebindings"), &binding("reader")).await.expect("she has it");
    for (resource, object) in [
        ("roles", json!({"metadata": {"name": "x"}, "rules": rules(&["update"])})),
        ("rolebindings", binding("writer")),
    ] {
        let refused = f.admit(&write(resource), &object).await.expect_err("she has it not");
        let expected = format!(
            "{resource}.rbac.authorization.k8s.io \"x\" is forbidden: user \"ann\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"update\"]}}"
        );
        assert_eq!(refused, expected);
    }
}

/// An update of a claim's status.
fn claim_status<'a>(user: &'a User, old: &'a Value, options: Options<'a>) -> Request<'a> {
    Request {
        operation: Operation::Update,
        group: "resource.k8s.io",
        kind: "ResourceClaim",
        subresource: "status",
        old: Some(old),
        options,
        ..request("resourceclaims", user)
    }
}

#[tokio::test]
async fn the_status_of_a_claim_has_several_owners() {
    let rbac = |plural: &str, name: &str| format!("rbac.authorization.k8s.io/{plural}/{name}");
    let role = |of: &str, verb: &str| {
        let resource = format!("resourceclaims/{of}");
        json!({"rules": [{"apiGroups": ["resource.k8s.io"], "resources": [resource], "verbs": [verb]}]})
    };
    let bound =
        |role: &str, subject: Value| json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": [subject]});
    let account = json!({"kind": "ServiceAccount", "namespace": "a", "name": "driver"});
    let f = fixture(&[
        (&rbac("clusterroles", "binder"), role("binding", "update")),
        (&rbac("clusterroles", "driver"), role("driver", "associated-node:update")),
        (&rbac("clusterrolebindings", "b"), bound("binder", json!({"kind": "User", "name": "ann"}))),
        (&rbac("clusterrolebindings", "d"), bound("driver", account)),
    ])
    .await;
    let ann = User::new("ann", ["system:authenticated"]);
    let mut driver = User::new("system:serviceaccount:a:driver", ["system:serviceaccounts"]);
    driver.extra.insert("authentication.kubernetes.io/node-name".into(), vec!["n".into()]);
    let claim = |status: Value| json!({"metadata": {"name": "x"}, "status": status});
    let allocation = |node: &str| {
        let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
        json!({"nodeSelector": {"nodeSelectorTerms": [{"matchFields": [field]}]}})
    };
    let devices = json!([{"driver": "d", "pool": "p", "device": "g"}]);
    let (free, here, there) = (
        claim(json!({})),
        claim(json!({"allocation": allocation("n")})),
        claim(json!({"allocation": allocation("m")})),
    );
    let told = |node: &str| claim(json!({"allocation": allocation(node), "devices": devices}));
    f.admit(&claim_status(&ann, &free, Options::None), &here).await.expect("she binds");
    f.admit(&claim_status(&driver, &here, Options::None), &told("n")).await.expect("it is on the node");
    f.admit(&claim_status(&driver, &told("n"), Options::None), &told("n")).await.expect("nothing is new");
    f.admit(&claim_status(&ann, &told("n"), Options::None), &free).await.expect("devices go with their allocation");
    let patch = WriteOptions { is_patch: true, ..WriteOptions::default() };
    let cases = [
        (
            claim_status(&driver, &free, Options::None),
            here.clone(),
            "status.allocation: Forbidden: changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"update\" permission: resourceclaims.resource.k8s.io is forbidden: User \"system:serviceaccount:a:driver\" cannot update resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope",
        ),
        (
            claim_status(&ann, &free, Options::Write(&patch)),
            here.clone(),
            "status.allocation: Forbidden: changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"patch\" permission: resourceclaims.resource.k8s.io is forbidden: User \"ann\" cannot patch resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope",
        ),
        (
            claim_status(&driver, &there, Options::None),
            told("m"),
            "status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:update]\" permission: resourceclaims.resource.k8s.io \"d\" is forbidden: User \"system:serviceaccount:a:driver\" cannot arbitrary-node:update resource \"resourceclaims/driver\" in API group \"resource.k8s.io\" in the namespace \"a\"",
        ),
        (
            claim_status(&driver, &here, Options::Write(&patch)),
            told("n"),
            "status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[associated-node:patch arbitrary-node:patch]\" permission: resourceclaims.resource.k8s.io \"d\" is forbidden: User \"system:serviceaccount:a:driver\" cannot associated-node:patch resource \"resourceclaims/driver\" in API group \"resource.k8s.io\" in the namespace \"a\"",
        ),
    ];
    for (request, new, expected) in cases {
        let refused = f.admit(&request, &new).await.expect_err(expected);
        assert_eq!(refused, format!("ResourceClaim.resource.k8s.io \"x\" is invalid: {expected}"));
    }
}

#[tokio::test]
async fn classes_taints_and_finalizers_are_filled_in() {
    let class = |name: &str, at: &str, key: &str| json!({"metadata": {"name": name, "creationTimestamp": at, "annotations": {key: "true"}}});
    let storage = "storageclass.kubernetes.io/is-default-class";
    let f = fixture(&[
        ("storage.k8s.io/storageclasses/old", class("old", "2025-01-01T00:00:00Z", storage)),
        ("storage.k8s.io/storageclasses/new", class("new", "2026-01-01T00:00:00Z", storage)),
        (
            "networking.k8s.io/ingressclasses/web",
            class("web", "2026-01-01T00:00:00Z", "ingressclass.kubernetes.io/is-default-class"),
        ),
    ])
    .await;
    let empty = json!({"metadata": {"name": "x"}});
    let claim = f.create("persistentvolumeclaims", &empty).await.expect("admitted");
    assert_eq!(claim["spec"]["storageClassName"], "new");
    assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let none = json!({"metadata": {"name": "x"}, "spec": {"storageClassName": ""}});
    assert_eq!(f.create("persistentvolumeclaims", &none).await.expect("admitted")["spec"]["storageClassName"], "");
    let admin = admin();
    let ingress = Request { group: "networking.k8s.io", ..request("ingresses", &admin) };
    assert_eq!(f.admit(&ingress, &empty).await.expect("admitted")["spec"]["ingressClassName"], "web");
    let node = Request { namespace: "", ..request("nodes", &admin) };
    assert_eq!(
        f.admit(&node, &empty).await.expect("admitted")["spec"]["taints"],
        json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}])
    );
}

#[tokio::test]
async fn claims_grow_where_their_class_lets_them() {
    let class = |name: &str, grows: bool| json!({"metadata": {"name": name}, "allowVolumeExpansion": grows});
    let f = fixture(&[
        ("storage.k8s.io/storageclasses/grows", class("grows", true)),
        ("storage.k8s.io/storageclasses/stays", class("stays", false)),
    ])
    .await;
    let claim = |class: &str, size: &str, phase: &str| {
        json!({"metadata": {"name": "x"}, "spec": {"storageClassName": class, "resources": {"requests": {"storage": size}}},
            "status": {"phase": phase}})
    };
    let unbound = "Only bound persistent volume claims can be expanded";
    let class = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
    let admin = admin();
    for (name, before, after, phase, why) in [
        ("grows", "1Gi", "2Gi", "Bound", None),
        ("grows", "2Gi", "1Gi", "Pending", None),
        ("stays", "1Gi", "1024Mi", "Bound", None),
        ("grows", "1Gi", "2Gi", "Pending", Some(unbound)),
        ("stays", "1Gi", "2Gi", "Bound", Some(class)),
        ("none", "1Gi", "2Gi", "Bound", Some(class)),
        ("", "1Gi", "2Gi", "Bound", Some(class)),
    ] {
        let (old, new) = (claim(name, before, phase), claim(name, after, phase));
        let update =
            Request { operation: Operation::Update, old: Some(&old), ..request("persistentvolumeclaims", &admin) };
        let refusal = why.map(|why| format!("persistentvolumeclaims \"x\" is forbidden: {why}"));
        assert_eq!(f.admit(&update, &new).await.err(), refusal, "{name} {before} {after} {phase}");
        let status = Request { subresource: "status", ..update };
        assert_eq!(f.admit(&status, &new).await.err(), None, "{name} {before} {after} {phase}");
    }
}

#[tokio::test]
async fn runtime_classes_bring_overhead_and_nodes() {
    let class = json!({"metadata": {"name": "vm"}, "overhead": {"podFixed": {"memory": "64Mi"}},
        "scheduling": {"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm"}]}});
    let f = fixture(&[("node.k8s.io/runtimeclasses/vm", class)]).await;
    let admitted =
        f.create("pods", &pod(json!({"runtimeClassName": "vm", "nodeSelector": {"a": "b"}}))).await.expect("admitted");
    assert_eq!(admitted["spec"]["overhead"], json!({"memory": "64Mi"}));
    assert_eq!(admitted["spec"]["nodeSelector"], json!({"a": "b", "vm": "yes"}));
    let cases = [
        (json!({"runtimeClassName": "none"}), r#"pod rejected: RuntimeClass "none" not found"#),
        (
            json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
            "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes",
        ),
        (json!({"overhead": {"cpu": "1"}}), "Pod Overhead set without corresponding RuntimeClass"),
    ];
    for (spec, message) in cases {
        let refused = f.create("pods", &pod(spec)).await.expect_err(message);
        assert!(refused.contains(message), "{refused}");
    }
}

#[tokio::test]
async fn namespaces_ask_for_pod_security() {
    let labels =
        json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"});
    let f = fixture(&[("core/namespaces/a", json!({"metadata": {"name": "a", "labels": labels}}))]).await;
    let refused = f.create("pods", &pod(json!({"hostNetwork": true}))).await.expect_err("refused");
    assert_eq!(
        refused,
        r#"pods "x" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)"#
    );
    f.create("pods", &pod(json!({}))).await.expect("baseline");
    let admin = admin();
    let deployment = Request { group: "apps", ..request("deployments", &admin) };
    let template = json!({"spec": {"template": {"spec": {"hostNetwork": true, "containers": [{"name": "c"}]}}}});
    f.admit(&deployment, &template).await.expect("templates are not refused");
    let warnings = deployment.notes.take_warnings();
    let expected = r#"would violate PodSecurity "restricted:latest": host namespaces (hostNetwork=true), allowPrivilegeEscalation != false"#;
    assert!(warnings[0].starts_with(expected), "{warnings:?}");
}

#[tokio::test]
async fn the_audit_log_hears_of_pod_security() {
    let label = |mode: &str| format!("pod-security.kubernetes.io/{mode}");
    let namespace = |name: &str, labels: Value| json!({"metadata": {"name": name, "labels": labels}});
    let f = fixture(&[
        ("core/namespaces/a", namespace("a", json!({label("audit"): "baseline", label("audit-version"): "v1.30"}))),
        ("core/namespaces/wrong", namespace("wrong", json!({label("audit-version"): "1.30"}))),
        ("core/serviceaccounts/wrong/default", json!({"metadata": {"name": "default"}})),
        ("core/namespaces/plain", namespace("plain", json!({}))),
        ("core/serviceaccounts/plain/default", json!({"metadata": {"name": "default"}})),
    ])
    .await;
    let admin = admin();
    let enforced = (label("enforce-policy"), "privileged:latest".to_owned());
    let violated = (
        label("audit-violations"),
        r#"would violate PodSecurity "baseline:v1.30": host namespaces (hostPID=true)"#.to_owned(),
    );
    let error = (
        label("error"),
        r#"Failed to parse policy: metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: "1.30": must be "latest" or "v1.x""#.to_owned(),
    );
    let cases = [
        ("a", json!({"hostPID": true}), vec![enforced.clone(), violated]),
        ("a", json!({}), vec![enforced.clone()]),
        ("wrong", json!({}), vec![error, enforced.clone()]),
        ("plain", json!({"hostPID": true}), vec![enforced]),
    ];
    for (namespace, spec, expected) in cases {
        let request = Request { namespace, ..request("pods", &admin) };
        f.admit(&request, &pod(spec)).await.expect("nothing is enforced");
        let told: Vec<(String, String)> = request
            .notes
            .take_annotations()
            .into_iter()
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect();
        assert_eq!(told, expected, "{namespace}");
    }
}

#[tokio::test]
async fn pods_that_were_there_are_let_be() {
    let labels = json!({"pod-security.kubernetes.io/enforce": "baseline"});
    let f = fixture(&[("core/namespaces/a", json!({"metadata": {"name": "a", "labels": labels}}))]).await;
    let admin = admin();
    let running = |image: &str, more: Value| {
        let mut spec = json!({"hostNetwork": true, "containers": [{"name": "c", "image": image}]});
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        pod(spec)
    };
    let old = running("a", json!({"schedulingGates": [{"name": "g"}]}));
    let added = json!({"ephemeralContainers": [{"name": "e", "image": "a"}]});
    let cases = [
        ("", running("a", json!({})), true),
        ("", running("b", json!({})), false),
        ("ephemeralcontainers", running("a", added), false),
        ("status", running("b", json!({})), true),
    ];
    for (subresource, new, is_allowed) in cases {
        let request = Request { operation: Operation::Update, subresource, old: Some(&old), ..request("pods", &admin) };
        assert_eq!(f.admission.validate(&request, &new).await.is_ok(), is_allowed, "{subresource} {new}");
    }
}

#[tokio::test]
async fn namespaces_are_told_which_pods_do_not_fit() {
    let owned = |name: &str, uid: &str| {
        let mut pod = pod(json!({"hostPID": true}));
        pod["metadata"] =
            json!({"name": name, "namespace": "a", "ownerReferences": [{"uid": uid, "controller": true}]});
        pod
    };
    let f = fixture(&[
        ("core/pods/a/b-1", owned("b-1", "b")),
        ("core/pods/a/b-2", owned("b-2", "b")),
        ("core/pods/a/a-1", owned("a-1", "a")),
        ("core/pods/a/good", pod(json!({}))),
        ("core/pods/a/port", pod(json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}))),
    ])
    .await;
    let admin = admin();
    let namespace = |labels: Value| {
        let labels = labels.as_object().expect("labels").iter();
        let labels: serde_json::Map<String, Value> =
            labels.map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value.clone())).collect();
        json!({"metadata": {"name": "a", "labels": labels}})
    };
    let wrong = r#"Namespace "a" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "x": must be one of privileged, baseline, restricted"#;
    let there = [
        r#"existing pods in namespace "a" violate the new PodSecurity enforce level "baseline:latest""#,
        "a-1 (and 2 other pods): host namespaces",
        "x: hostPort",
    ];
    let cases = [
        (None, json!({"enforce": "x"}), Err(wrong)),
        (None, json!({"enforce": "baseline"}), Ok(&[][..])),
        (Some(json!({})), json!({"enforce": "x"}), Err(wrong)),
        (Some(json!({"enforce": "x"})), json!({"enforce": "x"}), Ok(&[])),
        (Some(json!({})), json!({"enforce": "baseline"}), Ok(&there)),
        (Some(json!({"enforce": "restricted"})), json!({"enforce": "baseline"}), Ok(&[])),
        (Some(json!({"enforce": "baseline"})), json!({"enforce": "baseline", "warn": "restricted"}), Ok(&[])),
    ];
    for (old, new, expected) in cases {
        let old = old.map(namespace);
        let operation = if old.is_some() { Operation::Update } else { Operation::Create };
        let request = Request { operation, name: "a", old: old.as_ref(), ..request("namespaces", &admin) };
        let said = f.admission.validate(&request, &namespace(new.clone())).await;
        let said = said.map(|()| request.notes.take_warnings()).map_err(|status| status.message);
        let expected = expected.map(|all| all.iter().map(ToString::to_string).collect()).map_err(str::to_owned);
        assert_eq!(said, expected, "{old:?} {new}");
    }
}

#[test]
fn managers_that_cannot_be_read_are_taken_back() {
    let admin = User::new("admin", ["system:masters"]);
    let entry = |operation: &str| json!([{"manager": "m", "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}}]);
    let object = |managers: &Value| json!({"metadata": {"name": "x", "managedFields": managers}});
    let (good, other, bad) = (entry("Update"), entry("Apply"), entry("Steal"));
    let bare = json!({"metadata": {"name": "x"}});
    let cases = [
        (object(&good), object(&good), object(&good), false),
        (object(&good), object(&other), object(&other), false),
        (object(&good), bare.clone(), bare.clone(), false),
        (object(&good), object(&bad), object(&good), true),
        (bare.clone(), object(&bad), bare.clone(), true),
    ];
    for (before, after, expected, is_told) in cases {
        let request = request("configmaps", &admin);
        let mut kept = after.clone();
        managers::keep_readable(&request, &before, &mut kept);
        assert_eq!(kept, expected, "{after}");
        let warnings = request.notes.take_warnings();
        assert_eq!(warnings.len(), usize::from(is_told), "{warnings:?}");
        assert!(
            warnings.iter().all(|warning| warning.ends_with("operation must be `Apply` or `Update`")),
            "{warnings:?}"
        );
    }
}
