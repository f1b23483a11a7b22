//! Policies on requests, over a store in memory.

use bytes::Bytes;
use mk8s_api::status::Status;
use mk8s_store::{Expect, Op, Stamped, Store, Txn};
use serde_json::{Value, json};

use super::{Policies, Round};
use crate::{
    admission::{Operation, Options, Request},
    auth::{Authorization, User},
    registry::Resources,
    relay::Relay,
    webhook::Client,
};

struct Fixture {
    store: Store,
    authorization: Authorization,
    policies: Policies,
}

/// A store with a namespace and some objects (keys without `/registry/`).
async fn fixture(objects: &[(&str, Value)]) -> Fixture {
    let store = Store::open(mk8s_store::Options::default()).await.expect("a store in memory");
    let backends = Client::new(store.clone(), Relay::default());
    let policies = Policies::new(store.clone(), Resources::new(&store, backends).presenter());
    let fixture = Fixture { authorization: Authorization::new(store.clone()), policies, store };
    fixture.put("core/namespaces/a", json!({"metadata": {"name": "a", "labels": {"team": "x"}}})).await;
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

    async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        self.policies.validate(request, object, &self.store.view(), &self.authorization).await
    }

    async fn mutate(&self, object: &Value) -> Result<Value, Status> {
        let (user, mut object) = (user(), object.clone());
        let request = deployments(&user);
        self.policies
            .mutate(&request, &mut object, &self.store.view(), &self.authorization, &mut Round::default())
            .await?;
        Ok(object)
    }
}

fn user() -> User {
    User::new("jane", ["system:masters"])
}

fn deployments(user: &User) -> Request<'_> {
    Request {
        operation: Operation::Create,
        group: "apps",
        version: "v1",
        kind: "Deployment",
        kind_version: ("apps", "v1"),
        resource: "deployments",
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

fn matching() -> Value {
    json!({
        "matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {},
        "resourceRules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "scope": "*"}],
    })
}

const POLICY: &str = "admissionregistration.k8s.io/validatingadmissionpolicies/p";
const BINDING: &str = "admissionregistration.k8s.io/validatingadmissionpolicybindings/b";

fn policy(spec: Value) -> Value {
    let mut policy =
        json!({"metadata": {"name": "p"}, "spec": {"failurePolicy": "Fail", "matchConstraints": matching()}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        policy["spec"][field] = value.clone();
    }
    policy
}

fn binding(spec: Value) -> Value {
    let mut binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Deny"]}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        binding["spec"][field] = value.clone();
    }
    binding
}

fn deployment(replicas: i64) -> Value {
    json!({"metadata": {"name": "x", "labels": {"app": "x"}}, "spec": {"replicas": replicas, "template": {"spec": {"containers": [{"name": "c"}]}}}})
}

#[tokio::test]
async fn expressions_decide() {
    let user = user();
    let max = json!({"metadata": {"name": "max", "namespace": "a"}, "data": {"max": "5"}});
    let with_params = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "object.spec.replicas <= int(params.data.max)"}]});
    let cases = [
        (
            json!({"validations": [{"expression": "object.spec.replicas > 1"}]}),
            json!({}),
            Some("failed expression: object.spec.replicas > 1"),
        ),
        (json!({"validations": [{"expression": "object.spec.replicas == 1"}]}), json!({}), None),
        (json!({"validations": [{"expression": "false", "message": " no "}]}), json!({}), Some("no")),
        (
            json!({"validations": [{"expression": "false", "messageExpression": "'got ' + string(object.spec.replicas)"}]}),
            json!({}),
            Some("got 1"),
        ),
        (
            json!({"variables": [{"name": "n", "expression": "object.spec.replicas"}], "validations": [{"expression": "variables.n % 2 == 0"}]}),
            json!({}),
            Some("failed expression: variables.n % 2 == 0"),
        ),
        (
            json!({"validations": [{"expression": "object.spec.nothing == 1"}]}),
            json!({}),
            Some("expression 'object.spec.nothing == 1' resulted in error: no such key: nothing"),
        ),
        (
            json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.spec.nothing == 1"}]}),
            json!({}),
            None,
        ),
        (
            json!({"matchConditions": [{"name": "c", "expression": "request.userInfo.username != 'jane'"}], "validations": [{"expression": "false"}]}),
            json!({}),
            None,
        ),
        (
            json!({"validations": [{"expression": "false"}]}),
            json!({"matchResources": {"namespaceSelector": {"matchLabels": {"team": "y"}}, "objectSelector": {}}}),
            None,
        ),
        (
            json!({"validations": [{"expression": "namespaceObject.metadata.labels['team'] == 'y'"}]}),
            json!({}),
            Some("failed expression: namespaceObject.metadata.labels['team'] == 'y'"),
        ),
        (
            json!({"validations": [{"expression": "authorizer.group('').resource('pods').namespace('a').check('get').allowed()"}]}),
            json!({}),
            None,
        ),
        (with_params.clone(), json!({"paramRef": {"name": "max", "parameterNotFoundAction": "Deny"}}), None),
        (with_params.clone(), json!({"paramRef": {"name": "none", "parameterNotFoundAction": "Allow"}}), None),
        (
            with_params.clone(),
            json!({"paramRef": {"name": "none", "parameterNotFoundAction": "Deny"}}),
            Some("failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"),
        ),
        (json!({"validations": [{"expression": "false"}]}), json!({"validationActions": ["Audit"]}), None),
    ];
    for (policy_spec, binding_spec, refusal) in cases {
        let f = fixture(&[
            (POLICY, policy(policy_spec.clone())),
            (BINDING, binding(binding_spec)),
            ("core/configmaps/a/max", max.clone()),
        ])
        .await;
        let found = f.validate(&deployments(&user), &deployment(1)).await;
        let expected = refusal.map(|why| {
            format!("deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {why}")
        });
        assert_eq!(found.as_ref().err().map(|status| status.message.clone()), expected, "{policy_spec}");
        if let Err(status) = found {
            assert_eq!((status.code, &*status.reason), (422, "Invalid"));
        }
    }
}

#[tokio::test]
async fn warnings_and_reasons_are_told() {
    let user = user();
    let refusing = policy(json!({"validations": [{"expression": "false", "message": "no", "reason": "Forbidden"}]}));
    let f = fixture(&[(POLICY, refusing.clone()), (BINDING, binding(json!({})))]).await;
    let status = f.validate(&deployments(&user), &deployment(1)).await.expect_err("refused");
    assert_eq!((status.code, &*status.reason), (403, "Forbidden"));
    // The index follows the store.
    f.put(BINDING, binding(json!({"validationActions": ["Warn"]}))).await;
    let request = deployments(&user);
    f.validate(&request, &deployment(1)).await.expect("only warned");
    assert_eq!(
        request.notes.take_warnings(),
        ["Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': no"]
    );
    let other = Request { resource: "statefulsets", kind: "StatefulSet", ..deployments(&user) };
    f.validate(&other, &deployment(1)).await.expect("none of its business");
}

#[tokio::test]
async fn parameters_of_a_kind_that_nobody_serves_refuse() {
    let user = user();
    let spec = json!({"paramKind": {"apiVersion": "x.y/v1", "kind": "Foo"}, "validations": [{"expression": "true"}]});
    let by_name = binding(json!({"paramRef": {"name": "a", "parameterNotFoundAction": "Deny"}}));
    let f = fixture(&[(POLICY, policy(spec)), (BINDING, by_name)]).await;
    let status = f.validate(&deployments(&user), &deployment(1)).await.expect_err("refused");
    assert_eq!(
        status.message,
        "deployments.apps \"x\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'x.y/v1, Kind=Foo'"
    );
}

#[tokio::test]
async fn mutations_change_the_object() {
    let mutating = |mutation: Value| {
        let mut policy = policy(json!({"reinvocationPolicy": "Never", "mutations": [mutation]}));
        policy["spec"]["variables"] =
            json!([{"name": "team", "expression": "namespaceObject.metadata.labels['team']"}]);
        policy
    };
    let f = |policy: Value| async move {
        fixture(&[
            ("admissionregistration.k8s.io/mutatingadmissionpolicies/p", policy),
            ("admissionregistration.k8s.io/mutatingadmissionpolicybindings/b", binding(json!({}))),
        ])
        .await
    };
    let apply =
        |expression: &str| json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}});
    let patch = |expression: &str| json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}});

    let merged = f(mutating(apply(
        "Object{metadata: Object.metadata{labels: {'team': variables.team}}, spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'c', image: 'i'}, Object.spec.template.spec.containers{name: 'side'}]}}}}",
    )))
    .await
    .mutate(&deployment(1)).await
    .expect("mutated");
    assert_eq!(merged["metadata"]["labels"], json!({"app": "x", "team": "x"}));
    assert_eq!(
        merged["spec"]["template"]["spec"]["containers"],
        json!([{"name": "c", "image": "i"}, {"name": "side"}])
    );
    assert_eq!(merged["spec"]["replicas"], 1);

    let patched =
        f(mutating(patch("[JSONPatch{op: 'replace', path: '/spec/replicas', value: object.spec.replicas + 1}]")))
            .await
            .mutate(&deployment(1))
            .await
            .expect("mutated");
    assert_eq!(patched["spec"]["replicas"], 2);

    let tested = f(mutating(patch(
        "[JSONPatch{op: 'test', path: '/spec/replicas', value: 7}, JSONPatch{op: 'remove', path: '/spec'}]",
    )))
    .await
    .mutate(&deployment(1))
    .await
    .expect("left alone");
    assert_eq!(tested, deployment(1));

    let wrong = f(mutating(apply("Object{spec: Object.status{replicas: 2}}")))
        .await
        .mutate(&deployment(1))
        .await
        .expect_err("refused");
    assert_eq!(
        wrong.message,
        "policy 'p' with binding 'b' denied request: type mismatch: unexpected type name \"Object.status\", expected \"Object.spec\", which matches field name path from root Object type"
    );
    let unknown = f(mutating(apply("Object{spec: Object.spec{replica: 2}}")))
        .await
        .mutate(&deployment(1))
        .await
        .expect_err("refused");
    assert_eq!(
        unknown.message,
        "policy 'p' with binding 'b' denied request: error applying patch: failed to convert patch object to typed object: .spec.replica: field not declared in schema"
    );
    let atomic = f(mutating(apply("Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{tolerations: [{'key': 'x'}]}}}}")))
        .await
        .mutate(&deployment(1)).await
        .expect_err("refused");
    assert!(
        atomic.message.contains("may not mutate atomic arrays, maps or structs: .spec.template.spec.tolerations"),
        "{}",
        atomic.message
    );
}
