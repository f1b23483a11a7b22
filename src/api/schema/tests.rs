use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn schema(api_version: &str, kind: &str) -> &'static Schema {
    let (group, version) = crate::kinds::split_api_version(api_version);
    schema_of(group, version, kind).expect("a built-in kind")
}

#[test]
fn every_kind_has_a_schema() {
    for kind in crate::kinds::builtin() {
        assert!(schema_of(&kind.group, &kind.version, &kind.kind).is_some(), "{} {}", kind.api_version(), kind.kind);
    }
    for kind in ["Scale", "HorizontalPodAutoscaler"] {
        assert!(schema_of("autoscaling", "v1", kind).is_some());
    }
    assert!(schema_of("policy", "v1", "Eviction").is_some());
    assert!(schema_of("authentication.k8s.io", "v1", "TokenRequest").is_some());
    assert!(definition("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions").is_some());
}

/// Decodes and sets defaults; shows unknown fields or the error, then the object.
fn check(api_version: &str, kind: &str, mut object: Value, expected: Expect) {
    let schema = schema(api_version, kind);
    let shown = match schema.decode(&mut object) {
        Err(error) => error.to_string(),
        Ok(unknown) => {
            schema.default(&mut object);
            let mut errors = Vec::new();
            schema.validate(&object, &Path::default(), &mut errors);
            let mut shown: Vec<String> = unknown.iter().map(|path| format!("unknown {path}")).collect();
            shown.extend(errors.iter().map(ToString::to_string));
            shown.push(serde_json::to_string(&object).expect("values serialize"));
            shown.join("\n")
        }
    };
    expected.assert_eq(&shown);
}

#[test]
fn pods() {
    check(
        "v1",
        "Pod",
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "a", "creationTimestamp": null, "labels": {}, "nope": 1 },
            "spec": {
                "containers": [{
                    "name": "c", "image": "i", "foo": { "bar": 1 },
                    "resources": { "limits": { "cpu": 0.5, "memory": "1024Mi" } },
                    "ports": [{ "containerPort": 80 }],
                    "readinessProbe": { "httpGet": { "port": "web" } },
                    "env": [{ "name": "E", "value": "" }, { "name": "F", "valueFrom": { "resourceFieldRef": { "resource": "limits.cpu" } } }]
                }],
                "terminationGracePeriodSeconds": 0,
                "restartPolicy": "Sometimes",
                "volumes": []
            }
        }),
        expect![[r#"
            unknown metadata.nope
            unknown spec.containers[0].foo
            spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"env":[{"name":"E"},{"name":"F","valueFrom":{"resourceFieldRef":{"divisor":"0","resource":"limits.cpu"}}}],"image":"i","name":"c","ports":[{"containerPort":80,"protocol":"TCP"}],"readinessProbe":{"failureThreshold":3,"httpGet":{"path":"/","port":"web","scheme":"HTTP"},"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1},"resources":{"limits":{"cpu":"500m","memory":"1Gi"}},"terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File"}],"dnsPolicy":"ClusterFirst","restartPolicy":"Sometimes","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":0},"status":{}}"#]],
    );
}

#[test]
fn deployments() {
    check(
        "apps/v1",
        "Deployment",
        json!({ "spec": { "replicas": 0, "paused": false, "template": {}, "strategy": { "type": "" } } }),
        expect![[r#"
            spec.selector: Required value
            {"metadata":{},"spec":{"progressDeadlineSeconds":600,"replicas":0,"revisionHistoryLimit":10,"selector":null,"strategy":{},"template":{"metadata":{},"spec":{"containers":null,"dnsPolicy":"ClusterFirst","restartPolicy":"Always","schedulerName":"default-scheduler","securityContext":{},"terminationGracePeriodSeconds":30}}},"status":{}}"#]],
    );
}

#[test]
fn what_may_be_empty_may_be_left_out() {
    check(
        "storagemigration.k8s.io/v1beta1",
        "StorageVersionMigration",
        json!({ "spec": { "resource": { "resource": "pods" } } }),
        expect![[r#"{"metadata":{},"spec":{"resource":{"group":"","resource":"pods"}},"status":{}}"#]],
    );
}

#[test]
fn canonical_values() {
    check(
        "v1",
        "Event",
        json!({ "firstTimestamp": "2024-01-02T03:04:05.678+01:00", "eventTime": "2024-01-02T03:04:05Z" }),
        expect![[
            r#"parsing time "2024-01-02T03:04:05Z" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Z" as ".000000""#
        ]],
    );
    check(
        "v1",
        "Secret",
        json!({ "data": { "a": "YQ==\n", "b": null } }),
        expect![[r#"{"data":{"a":"YQ==","b":""},"metadata":{},"type":"Opaque"}"#]],
    );
    check(
        "v1",
        "Service",
        json!({ "spec": { "ports": [{ "port": 80 }], "type": "X" } }),
        expect![[r#"
        spec.type: Unsupported value: "X": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
        {"metadata":{},"spec":{"ports":[{"port":80,"protocol":"TCP","targetPort":0}],"sessionAffinity":"None","type":"X"},"status":{"loadBalancer":{}}}"#]],
    );
}

#[test]
fn wrong_types() {
    let errors: &[(&str, &str, Value, Expect)] = &[
        (
            "apps/v1",
            "Deployment",
            json!({ "spec": { "replicas": "3" } }),
            expect!["json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"],
        ),
        (
            "apps/v1",
            "Deployment",
            json!({ "spec": { "replicas": 1.5 } }),
            expect![
                "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
            ],
        ),
        (
            "apps/v1",
            "Deployment",
            json!({ "spec": { "replicas": 3000000000i64 } }),
            expect![
                "json: cannot unmarshal number 3000000000 into Go struct field DeploymentSpec.spec.replicas of type int32"
            ],
        ),
        (
            "apps/v1",
            "Deployment",
            json!({ "spec": { "template": { "spec": { "containers": [{ "name": 1 }] } } } }),
            expect![
                "json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.name of type string"
            ],
        ),
        (
            "v1",
            "Pod",
            json!({ "spec": { "containers": {} } }),
            expect![
                "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"
            ],
        ),
        (
            "v1",
            "Pod",
            json!({ "spec": [] }),
            expect!["json: cannot unmarshal array into Go struct field Pod.spec of type v1.PodSpec"],
        ),
        (
            "v1",
            "Pod",
            json!({ "metadata": { "labels": { "a": 1 } } }),
            expect!["json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"],
        ),
        (
            "v1",
            "Pod",
            json!({ "spec": { "containers": [{ "ports": [{ "protocol": true }] }] } }),
            expect![
                "json: cannot unmarshal bool into Go struct field ContainerPort.spec.containers.ports.protocol of type v1.Protocol"
            ],
        ),
        (
            "v1",
            "Pod",
            json!({ "spec": { "containers": [{ "resources": { "limits": { "cpu": "x" } } }] } }),
            expect!["quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"],
        ),
        (
            "v1",
            "Pod",
            json!({ "metadata": { "deletionTimestamp": "soon" } }),
            expect![[r#"parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#]],
        ),
        (
            "v1",
            "Pod",
            json!({ "metadata": { "deletionTimestamp": "2024-01-02 03:04:05Z" } }),
            expect![[
                r#"parsing time "2024-01-02 03:04:05Z" as "2006-01-02T15:04:05Z07:00": cannot parse " 03:04:05Z" as "T""#
            ]],
        ),
        ("v1", "Secret", json!({ "data": { "a": "a" } }), expect!["illegal base64 data at input byte 0"]),
        (
            "v1",
            "Service",
            json!({ "spec": { "ports": [{ "targetPort": true }] } }),
            expect!["json: cannot unmarshal bool into Go struct field ServicePort.spec.ports.targetPort of type int32"],
        ),
        ("v1", "Pod", json!("text"), expect!["json: cannot unmarshal string into Go value of type v1.Pod"]),
    ];
    for (api_version, kind, object, expected) in errors {
        let error = schema(api_version, kind).decode(&mut object.clone()).expect_err("a wrong type");
        expected.assert_eq(&error.to_string());
    }
}

#[test]
fn patch_marks() {
    let pod = schema("v1", "Pod").node();
    let spec = pod.child("spec").expect("pods have a spec");
    let containers = spec.child("containers").expect("pods have containers");
    assert!(containers.is_list() && containers.merges());
    assert_eq!(containers.merge_key(), Some("name"));
    assert_eq!(containers.list_type(), ListType::Map);
    let ports = containers.items().and_then(|item| item.child("ports")).expect("containers have ports");
    assert_eq!(ports.list_map_keys().collect::<Vec<_>>(), ["containerPort", "protocol"]);
    let volumes = spec.child("volumes").expect("pods have volumes");
    assert!(volumes.merges() && volumes.retains_keys());
    let finalizers = pod.child("metadata").and_then(|meta| meta.child("finalizers")).expect("metadata has finalizers");
    assert!(finalizers.merges() && finalizers.merge_key().is_none());
}

/// Values of any shape, with the names objects have, so that many of them fit somewhere.
fn anything() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "template",
        "containers",
        "ports",
        "name",
        "labels",
        "resources",
        "limits",
        "replicas",
        "selector",
        "volumes",
        "env",
        "value",
        "strategy",
        "livenessProbe",
        "httpGet",
        "port",
        "data",
        "creationTimestamp",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5i64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9=:TZ.-]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(8, 60, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Nothing panics, and what is canonical stays as it is.
    #[test]
    fn canonical_stays_canonical(object in anything()) {
        for (api_version, kind) in [("apps/v1", "Deployment"), ("v1", "Pod"), ("v1", "Service"), ("v1", "Secret")] {
            let schema = schema(api_version, kind);
            let mut once = object.clone();
            if schema.decode(&mut once).is_ok() {
                schema.default(&mut once);
                let mut twice = once.clone();
                prop_assert_eq!(schema.decode(&mut twice), Ok(Vec::new()));
                schema.default(&mut twice);
                prop_assert_eq!(&once, &twice);
                schema.validate(&once, &Path::default(), &mut Vec::new());
            }
        }
    }
}
