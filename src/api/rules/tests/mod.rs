//! Fixtures and the errors they earn, for every kind with rules of its own.

mod amounts;
mod core;
mod devices;
mod extension;
mod pods;
mod sources;
mod storage;
mod updates;
mod warnings;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Rules, of};
use crate::schema::schema_of;

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn rules(group: &str, kind: &str) -> &'static Rules {
    of(group, kind)
}

fn named(mut object: Value, namespaced: bool) -> Value {
    let metadata = crate::meta::metadata_mut(&mut object).unwrap();
    metadata.entry("name").or_insert("x".into());
    metadata.entry("resourceVersion").or_insert("1".into());
    metadata.entry("uid").or_insert("u".into());
    if namespaced {
        metadata.entry("namespace").or_insert("default".into());
    }
    object
}

fn text_of(errors: Vec<crate::field::FieldError>) -> String {
    errors.iter().map(|error| format!("{error}\n")).collect()
}

/// Defaults and validates a new object.
fn check(group: &str, kind: &str, fixture: &str, expected: Expect) {
    let rules = rules(group, kind);
    let mut object = named(yaml(fixture), rules.scope() == super::Scope::Namespaced);
    if let Some(schema) = schema_of(group, "v1", kind) {
        schema.default(&mut object);
    }
    rules.default(&mut object);
    let once = object.clone();
    rules.default(&mut object);
    assert_eq!(once, object, "defaults are idempotent");
    rules.prepare_create(&mut object);
    expected.assert_eq(&text_of(rules.validate(&object)));
}

/// Validates the change from one object to another.
fn check_update(group: &str, kind: &str, old: &str, new: &str, expected: Expect) {
    let rules = rules(group, kind);
    let ready = |fixture| {
        let mut object = named(yaml(fixture), rules.scope() == super::Scope::Namespaced);
        rules.default(&mut object);
        object
    };
    let (old, mut new) = (ready(old), ready(new));
    rules.prepare_update(&mut new, &old);
    expected.assert_eq(&text_of(rules.validate_update(&new, &old)));
}

const POD: &str = "{spec: {containers: [{name: c, image: nginx}]}}";

#[test]
fn metadata() {
    check(
        "",
        "ConfigMap",
        "{metadata: {name: Bad_Name, generateName: Bad-, labels: {'a b': c, d: 'e f'}, annotations: {'x y': z}}}",
        expect![[r#"
        metadata.generateName: Invalid value: "Bad-": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        metadata.labels: Invalid value: "e f": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        metadata.annotations: Invalid value: "x y": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
    "#]],
    );
    check(
        "",
        "ConfigMap",
        "{metadata: {name: '', finalizers: [a b, orphan, foregroundDeletion], ownerReferences: [{apiVersion: '', kind: '', name: '', uid: ''}, {apiVersion: v1, kind: Event, name: e, uid: u}], managedFields: [{operation: Odd, fieldsType: X}]}}",
        expect![[r#"
            metadata.name: Required value: name or generateName is required
            metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty
            metadata.ownerReferences.kind: Invalid value: "": must not be empty
            metadata.ownerReferences.name: Invalid value: "": must not be empty
            metadata.ownerReferences.uid: Invalid value: "": must not be empty
            metadata.ownerReferences: Invalid value: {"apiVersion":"v1","kind":"Event","name":"e","uid":"u"}: /v1, Kind=Event is disallowed from being an owner
            metadata.finalizers: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            metadata.finalizers: Invalid value: ["a b","orphan","foregroundDeletion"]: finalizer orphan and foregroundDeletion cannot be both set
            metadata.managedFields[0].operation: Invalid value: "Odd": must be `Apply` or `Update`
            metadata.managedFields[0].fieldsType: Invalid value: "X": must be `FieldsV1`
            metadata.finalizers[0]: Invalid value: "a b": name is neither a standard finalizer name nor is it fully qualified
        "#]],
    );
    check(
        "",
        "Namespace",
        "{metadata: {namespace: n}, spec: {finalizers: [odd]}}",
        expect![[r#"
        metadata.namespace: Forbidden: not allowed on this type
        spec.finalizers: Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified
    "#]],
    );
    check_update(
        "",
        "ConfigMap",
        "{metadata: {deletionTimestamp: '2024-01-01T00:00:00Z', finalizers: [a/b]}}",
        "{metadata: {name: y, uid: v, finalizers: [a/b, c/d]}}",
        expect![[r#"
        metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d"}
        metadata.name: Invalid value: "y": field is immutable
        metadata.uid: Invalid value: "v": field is immutable
    "#]],
    );
    let two = "{metadata: {ownerReferences: [{apiVersion: v1, kind: A, name: a, uid: u, controller: true}, {apiVersion: v1, kind: B, name: b, uid: v, controller: true}]}}";
    check(
        "",
        "Secret",
        two,
        expect![[r#"
        metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","controller":true,"kind":"A","name":"a","uid":"u"},{"apiVersion":"v1","controller":true,"kind":"B","name":"b","uid":"v"}]: Only one reference can have Controller set to true. Found "true" in references for A/a and B/b
    "#]],
    );
    let big = format!("{{metadata: {{annotations: {{a: {}}}}}}}", "x".repeat(256 * 1024));
    check(
        "",
        "ConfigMap",
        &big,
        expect![[r#"
        metadata.annotations: Too long: may not be more than 262144 bytes
    "#]],
    );
}

const TEMPLATE: &str = "{metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}";

#[test]
fn workloads() {
    let spec = |rest: &str| format!("{{spec: {{selector: {{matchLabels: {{a: b}}}}, template: {TEMPLATE}{rest}}}}}");
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"] {
        check("apps", kind, &spec(""), expect![[""]]);
    }
    check(
        "apps",
        "Deployment",
        "{spec: {replicas: -1, template: {spec: {restartPolicy: Never, containers: []}}}}",
        expect![[r#"
            spec.replicas: Invalid value: -1: must be greater than or equal to 0
            spec.selector: Required value
            spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`
            spec.template.spec.containers: Required value
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
        "#]],
    );
    check(
        "apps",
        "Deployment",
        &spec(", strategy: {type: Recreate, rollingUpdate: {}}, minReadySeconds: 9, progressDeadlineSeconds: 9"),
        expect![[r#"
        spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
        spec.progressDeadlineSeconds: Invalid value: 9: must be greater than minReadySeconds
    "#]],
    );
    check(
        "apps",
        "Deployment",
        &spec(", strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 0%}}"),
        expect![[r#"
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0
    "#]],
    );
    check(
        "apps",
        "Deployment",
        &spec(", strategy: {rollingUpdate: {maxUnavailable: 200%, maxSurge: x}}"),
        expect![[r#"
        spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "200%": must not be greater than 100%
    "#]],
    );
    check(
        "apps",
        "Deployment",
        &spec(", strategy: {type: Odd}"),
        expect![[r#"
            spec.strategy: Unsupported value: {"Type":"Odd","RollingUpdate":null}: supported values: "Recreate", "RollingUpdate"
        "#]],
    );
    check_update(
        "apps",
        "Deployment",
        &spec(""),
        &spec("").replace("a: b", "a: c"),
        expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable
    "#]],
    );
    check(
        "apps",
        "DaemonSet",
        &spec(", updateStrategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: 1}}"),
        expect![[r#"
        spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero
    "#]],
    );
    check(
        "apps",
        "StatefulSet",
        &spec(
            ", podManagementPolicy: Odd, updateStrategy: {type: OnDelete, rollingUpdate: {}}, serviceName: A, volumeClaimTemplates: [{metadata: {name: v}, spec: {accessModes: [Odd]}}]",
        ),
        expect![[r#"
        spec.podManagementPolicy: Invalid value: "Odd": must be 'OrderedReady' or 'Parallel'
        spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'
        spec.volumeClaimTemplates[0].spec.accessModes: Unsupported value: "Odd": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.volumeClaimTemplates[0].spec.resources[storage]: Required value
        spec.serviceName: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]],
    );
    check_update(
        "apps",
        "StatefulSet",
        &spec(""),
        &spec(", serviceName: b"),
        expect![[r#"
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]],
    );
    check("", "ReplicationController", &format!("{{spec: {{template: {TEMPLATE}}}}}"), expect![[""]]);
    check(
        "",
        "ReplicationController",
        "{spec: {selector: {a: b}}}",
        expect![[r#"
        spec.template: Required value
    "#]],
    );
    let mut job = yaml(&format!(
        "{{metadata: {{name: j, namespace: n, uid: u}}, spec: {{template: {}}}}}",
        TEMPLATE.replace("spec: {", "spec: {restartPolicy: Never, ")
    ));
    of("batch", "Job").default(&mut job);
    of("batch", "Job").prepare_create(&mut job);
    assert_eq!(text_of(of("batch", "Job").validate(&job)), "");
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    check(
        "batch",
        "Job",
        "{spec: {maxFailedIndexes: 1, completionMode: Odd, template: {spec: {containers: [{name: c, image: i}]}}}}",
        expect![[r#"
            spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
            spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed"
            spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
        "#]],
    );
    let cron = |schedule: &str| {
        format!(
            "{{spec: {{schedule: '{schedule}', concurrencyPolicy: Odd, jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: c, image: i}}]}}}}}}}}}}}}"
        )
    };
    check(
        "batch",
        "CronJob",
        &cron("* * *"),
        expect![[r#"
        spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]
        spec.concurrencyPolicy: Unsupported value: "Odd": supported values: "Allow", "Forbid", "Replace"
    "#]],
    );
    check(
        "batch",
        "CronJob",
        &cron("61 */2 1-5 jan mon,fri").replace("Odd", "Allow"),
        expect![[r#"
        spec.schedule: Invalid value: "61 */2 1-5 jan mon,fri": end of range (61) above maximum (59): 61
    "#]],
    );
    let zone = |schedule: &str, zone: &str| {
        cron(schedule).replace("Odd", "Allow").replacen("spec: {", &format!("spec: {{timeZone: '{zone}', "), 1)
    };
    let zones =
        ["Europe/Berlin", "", "Local", "local", "Mars/Base", "europe/berlin", "../UTC", "-a/b", "Etc/TooLongForAZone"];
    let told: Vec<String> = zones
        .iter()
        .map(|name| {
            let rules = rules("batch", "CronJob");
            let mut object = named(yaml(&zone("@daily", name)), true);
            rules.default(&mut object);
            text_of(rules.validate(&object))
        })
        .collect();
    expect![[r#"
        spec.timeZone: Invalid value: "": timeZone must be nil or non-empty string
        spec.timeZone: Invalid value: "Local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones
        spec.timeZone: Invalid value: "local": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones
        spec.timeZone: Invalid value: "local": unknown time zone local
        spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base
        spec.timeZone: Invalid value: "europe/berlin": unknown time zone europe/berlin
        spec.timeZone: Invalid value: "../UTC": unknown time zone ../UTC
        spec.timeZone: Invalid value: "-a/b": unknown time zone -a/b
        spec.timeZone: Invalid value: "Etc/TooLongForAZone": unknown time zone Etc/TooLongForAZone
    "#]]
    .assert_eq(&told.concat());
    let (mars, venus) = (zone("@daily", "Mars/Base"), zone("@daily", "Venus/Base"));
    check_update("batch", "CronJob", &mars, &mars, expect![""]);
    check_update(
        "batch",
        "CronJob",
        &mars,
        &venus,
        expect![[r#"
        spec.timeZone: Invalid value: "Venus/Base": unknown time zone Venus/Base
    "#]],
    );
    let (old, both) = (cron("TZ=UTC 1 * * * *").replace("Odd", "Allow"), zone("TZ=UTC 1 * * * *", "UTC"));
    check_update("batch", "CronJob", &old, &old, expect![""]);
    check_update(
        "batch",
        "CronJob",
        &old,
        &both,
        expect![[r#"
        spec.schedule: Invalid value: "TZ=UTC 1 * * * *": cannot use both timeZone field and TZ or CRON_TZ in schedule
    "#]],
    );
    check_update(
        "batch",
        "CronJob",
        &zone("1 * * * *", "UTC"),
        &both,
        expect![[r#"
        spec.schedule: Invalid value: "TZ=UTC 1 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead
    "#]],
    );
}

#[test]
fn generations_count_changes_of_the_specification() {
    let rules = of("apps", "Deployment");
    let old = named(json!({"metadata": {"generation": 3}, "spec": {"replicas": 1}, "status": {"replicas": 1}}), true);
    let mut same = old.clone();
    same["metadata"]["labels"] = json!({"a": "b"});
    same["status"] = json!({"replicas": 9});
    rules.prepare_update(&mut same, &old);
    assert_eq!((&same["metadata"]["generation"], &same["status"]["replicas"]), (&json!(3), &json!(1)));
    let mut scaled = old.clone();
    scaled["spec"]["replicas"] = json!(2);
    rules.prepare_update(&mut scaled, &old);
    assert_eq!(scaled["metadata"]["generation"], json!(4));
    let mut status = old.clone();
    status["spec"]["replicas"] = json!(7);
    status["status"]["replicas"] = json!(2);
    rules.prepare_status_update(&mut status, &old);
    assert_eq!((&status["spec"]["replicas"], &status["status"]["replicas"]), (&json!(1), &json!(2)));
}

#[test]
fn roles() {
    const GROUP: &str = "rbac.authorization.k8s.io";
    check(
        GROUP,
        "Role",
        "{metadata: {name: 'system:a'}, rules: [{}, {verbs: [get], nonResourceURLs: [/x], resources: [pods]}]}",
        expect![[r#"
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[0].apiGroups: Required value: resource rules must supply at least one api group
        rules[0].resources: Required value: resource rules must supply at least one resource
        rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs
        rules[1].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and non-resource URLs
    "#]],
    );
    check(
        GROUP,
        "ClusterRole",
        "{metadata: {name: a/b}, aggregationRule: {}}",
        expect![[r#"
        metadata.name: Invalid value: "a/b": may not contain '/'
        aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil
    "#]],
    );
    check(
        GROUP,
        "ClusterRoleBinding",
        "{roleRef: {kind: Role, name: ''}, subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s}, {kind: Odd, name: ''}]}",
        expect![[r#"
        roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"
        roleRef.name: Required value
        subjects[1].namespace: Required value
        subjects[2].name: Required value
        subjects[2].kind: Unsupported value: "Odd": supported values: "ServiceAccount", "User", "Group"
    "#]],
    );
    check_update(
        GROUP,
        "RoleBinding",
        "{roleRef: {kind: Role, name: a}}",
        "{roleRef: {kind: Role, name: b}}",
        expect![[r#"
            roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"b"}: cannot change roleRef
        "#]],
    );
}

#[test]
fn the_rest() {
    check(
        "policy",
        "PodDisruptionBudget",
        "{spec: {minAvailable: 200%, maxUnavailable: -1, unhealthyPodEvictionPolicy: Odd}}",
        expect![[r#"
            spec: Invalid value: {"MinAvailable":"200%","Selector":null,"MaxUnavailable":-1,"UnhealthyPodEvictionPolicy":"Odd"}: minAvailable and maxUnavailable cannot be both set
            spec.minAvailable: Invalid value: "200%": must not be greater than 100%
            spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
            spec.unhealthyPodEvictionPolicy: Unsupported value: "Odd": supported values: "AlwaysAllow", "IfHealthyBudget"
        "#]],
    );
    check(
        "autoscaling",
        "HorizontalPodAutoscaler",
        "{apiVersion: autoscaling/v2, spec: {minReplicas: 3, maxReplicas: 2, scaleTargetRef: {kind: Deployment, name: a/b}, metrics: [{type: Pods}], behavior: {scaleUp: {selectPolicy: Odd, policies: [{type: Odd, value: 0, periodSeconds: 9999}]}}}}",
        expect![[r#"
            spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`
            spec.scaleTargetRef.name: Invalid value: "a/b": may not contain '/'
            spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group
            spec.metrics[0].pods: Required value: must populate information for the given metric source
            spec.behavior.scaleUp.selectPolicy: Unsupported value: "Odd": supported values: "Disabled", "Max", "Min"
            spec.behavior.scaleUp.policies[0].type: Unsupported value: "Odd": supported values: "Percent", "Pods"
            spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
            spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 9999: must be less than or equal to 1800
        "#]],
    );
    check(
        "networking.k8s.io",
        "NetworkPolicy",
        "{spec: {podSelector: {}, policyTypes: [Odd], ingress: [{from: [{}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16]}, podSelector: {}}], ports: [{port: 70000, endPort: 1}, {port: a, endPort: 1}, {endPort: 1, protocol: X}]}]}}",
        expect![[r#"
        spec.ingress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.ingress[0].ports[0].endPort: Invalid value: 70000: must be greater than or equal to `port`
        spec.ingress[0].ports[1].endPort: Invalid value: 1: may not be specified when `port` is non-numeric
        spec.ingress[0].ports[2].protocol: Unsupported value: "X": supported values: "TCP", "UDP", "SCTP"
        spec.ingress[0].ports[2].endPort: Invalid value: 1: may not be specified when `port` is not specified
        spec.ingress[0].from[0]: Required value: must specify a peer
        spec.ingress[0].from[1].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
        spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
        spec.policyTypes[0]: Unsupported value: "Odd": supported values: "Ingress", "Egress"
    "#]],
    );
    check(
        "networking.k8s.io",
        "Ingress",
        "{spec: {rules: [{host: 1.2.3.4, http: {paths: [{path: x, backend: {}}, {path: //x/.., pathType: Prefix, backend: {service: {name: s}}}, {pathType: Odd, backend: {service: {name: s, port: {name: a, number: 1}}}}]}}], tls: [{hosts: ['*.a.b', 'a*']}]}}",
        expect![[r#"
        spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address
        spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified
        spec.rules[0].http.paths[1].path: Invalid value: "//x/..": must not contain '//'
        spec.rules[0].http.paths[1].path: Invalid value: "//x/..": cannot end with '/..'
        spec.rules[0].http.paths[1].backend: Required value: port name or number is required
        spec.rules[0].http.paths[2].pathType: Unsupported value: "Odd": supported values: "Exact", "ImplementationSpecific", "Prefix"
        spec.rules[0].http.paths[2].backend: Invalid value: "": cannot set both port name & port number
        spec.tls[0].hosts[1]: Invalid value: "a*": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
    check(
        "networking.k8s.io",
        "IngressClass",
        "{spec: {controller: x, parameters: {kind: K, name: n, namespace: a}}}",
        expect![[r#"
        spec.controller: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")
        spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'
    "#]],
    );
    check(
        "",
        "PersistentVolumeClaim",
        "{spec: {accessModes: [], volumeMode: Odd, resources: {requests: {storage: 0}}}}",
        expect![[r#"
        spec.accessModes: Required value: at least 1 access mode is required
        spec.resources[storage]: Invalid value: "0": must be greater than zero
        spec.volumeMode: Unsupported value: "Odd": supported values: "Block", "Filesystem"
    "#]],
    );
    check_update(
        "",
        "PersistentVolumeClaim",
        "{spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}}",
        "{spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 3Gi}}}}",
        expect![[r#"
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            @@ -1,12 +1,12 @@
             {
              "AccessModes": [
            -  "ReadWriteOnce"
            +  "ReadWriteMany"
              ],
              "Selector": null,
              "Resources": {
               "Limits": null,
               "Requests": {
            -   "storage": "2Gi"
            +   "storage": "3Gi"
               }
              },
              "VolumeName": "",

        "#]],
    );
    check(
        "",
        "PersistentVolume",
        "{spec: {accessModes: [ReadWriteOnce], local: {path: ''}}}",
        expect![[r#"
        spec.capacity: Required value
        spec.capacity: Unsupported value: null: supported values: "storage"
        spec.local.path: Required value
        spec.nodeAffinity: Required value: Local volume requires node affinity
    "#]],
    );
    check(
        "storage.k8s.io",
        "StorageClass",
        "{reclaimPolicy: Odd}",
        expect![[r#"
        provisioner: Required value
        reclaimPolicy: Unsupported value: "Odd": supported values: "Delete", "Retain"
    "#]],
    );
    check_update(
        "storage.k8s.io",
        "StorageClass",
        "{provisioner: a/b}",
        "{provisioner: c/d}",
        expect![[r#"
        provisioner: Invalid value: "c/d": field is immutable
    "#]],
    );
    check(
        "scheduling.k8s.io",
        "PriorityClass",
        "{metadata: {name: system-x}, value: 1}",
        expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class
    "#]],
    );
    check(
        "scheduling.k8s.io",
        "PriorityClass",
        "{value: 1000000001, preemptionPolicy: Odd}",
        expect![[r#"
        value: Forbidden: maximum allowed value of a user defined priority is 1000000000
        preemptionPolicy: Unsupported value: "Odd": supported values: "PreemptLowerPriority", "Never"
    "#]],
    );
    check(
        "",
        "ResourceQuota",
        "{spec: {hard: {odd: 1, pods: 1500m, count/deployments.apps: 2}, scopes: [Odd, BestEffort, NotBestEffort]}}",
        expect![[r#"
            spec.hard[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
            spec.hard[odd]: Invalid value: "odd": must be a standard resource for quota
            spec.hard[pods]: Invalid value: "1500m": must be an integer
            spec.scopes: Invalid value: ["Odd","BestEffort","NotBestEffort"]: unsupported scope
            spec.scopes: Invalid value: ["Odd","BestEffort","NotBestEffort"]: conflicting scopes
        "#]],
    );
    check(
        "",
        "LimitRange",
        "{spec: {limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}}, {type: Pod, default: {cpu: 1}}]}}",
        expect![[r#"
            spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
            spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value 1
            spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1
            spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod'
        "#]],
    );
    check(
        "certificates.k8s.io",
        "CertificateSigningRequest",
        "{spec: {request: AA==, signerName: x, expirationSeconds: 1, usages: [odd]}}",
        expect![[r#"
        spec.request: Invalid value: "AA==": PEM block type must be CERTIFICATE REQUEST
        spec.usages[0]: Unsupported value: "odd": supported values: "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping"
        spec.signerName: Invalid value: "x": must be a fully qualified domain and path of the form 'example.com/signer-name'
        spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 600 seconds (10 minutes)
    "#]],
    );
}

#[test]
fn fields_are_selected() {
    let pod = yaml("{metadata: {name: a, namespace: n}, spec: {nodeName: m}, status: {phase: Running}}");
    let rules = of("", "Pod");
    for (field, value) in [
        ("metadata.name", Some("a")),
        ("spec.nodeName", Some("m")),
        ("spec.hostNetwork", Some("false")),
        ("spec.odd", None),
    ] {
        assert_eq!(rules.selectable(&pod, field).as_deref(), value, "{field}");
    }
    assert_eq!(rules.check_selectable("spec.odd"), Err("field label not supported: spec.odd".into()));
    assert_eq!(
        of("apps", "Deployment").check_selectable("x"),
        Err("\"x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"".into())
    );
}

#[test]
fn scales() {
    let mut deployment =
        yaml("{metadata: {name: d}, spec: {replicas: 2, selector: {matchLabels: {a: b}}}, status: {replicas: 1}}");
    let scale = of("apps", "Deployment").scale().unwrap();
    assert_eq!(scale.read(&deployment)["status"], json!({"replicas": 1, "selector": "a=b"}));
    scale.write(&mut deployment, &json!({"spec": {"replicas": 5}}));
    assert_eq!(deployment["spec"]["replicas"], json!(5));
}

const KINDS: &[(&str, &str)] = &[
    ("", "ConfigMap"),
    ("", "Endpoints"),
    ("", "Event"),
    ("", "LimitRange"),
    ("", "Namespace"),
    ("", "Node"),
    ("", "PersistentVolume"),
    ("", "PersistentVolumeClaim"),
    ("", "Pod"),
    ("", "PodTemplate"),
    ("", "ReplicationController"),
    ("", "ResourceQuota"),
    ("", "Secret"),
    ("", "Service"),
    ("", "ServiceAccount"),
    ("apps", "DaemonSet"),
    ("apps", "Deployment"),
    ("apps", "ReplicaSet"),
    ("apps", "StatefulSet"),
    ("autoscaling", "HorizontalPodAutoscaler"),
    ("batch", "CronJob"),
    ("batch", "Job"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
    ("coordination.k8s.io", "Lease"),
    ("discovery.k8s.io", "EndpointSlice"),
    ("events.k8s.io", "Event"),
    ("networking.k8s.io", "Ingress"),
    ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"),
    ("policy", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "RoleBinding"),
    ("scheduling.k8s.io", "PriorityClass"),
    ("storage.k8s.io", "StorageClass"),
    ("x", "Y"),
];

/// An object whose fields are right in name and wrong in everything else.
fn mangled() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..99999).prop_map(Value::from),
        "[a-zA-Z0-9./:%@é -]{0,8}".prop_map(Value::from),
        Just(json!({})),
        Just(json!([])),
    ];
    leaf.prop_recursive(7, 80, 5, |inner| {
        let field = prop::sample::select(vec![
            "metadata",
            "name",
            "namespace",
            "labels",
            "annotations",
            "ownerReferences",
            "finalizers",
            "spec",
            "status",
            "data",
            "stringData",
            "binaryData",
            "immutable",
            "type",
            "selector",
            "matchLabels",
            "matchExpressions",
            "template",
            "containers",
            "initContainers",
            "image",
            "ports",
            "env",
            "valueFrom",
            "fieldRef",
            "fieldPath",
            "resources",
            "limits",
            "requests",
            "volumes",
            "volumeMounts",
            "configMap",
            "projected",
            "sources",
            "livenessProbe",
            "httpGet",
            "port",
            "affinity",
            "nodeAffinity",
            "tolerations",
            "strategy",
            "rollingUpdate",
            "maxSurge",
            "maxUnavailable",
            "replicas",
            "rules",
            "subjects",
            "roleRef",
            "addresses",
            "subsets",
            "endpoints",
            "taints",
            "podCIDRs",
            "clusterIPs",
            "clusterIP",
            "schedule",
            "jobTemplate",
            "ingress",
            "egress",
            "from",
            "ipBlock",
            "cidr",
            "except",
            "hard",
            "scopes",
            "metrics",
            "behavior",
            "securityContext",
            "ephemeralContainers",
            "schedulingGates",
            "conditions",
            "containerStatuses",
            "spec",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field, inner), 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(key, value)| (key.to_string(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn nothing_panics_and_defaults_settle(new in mangled(), old in mangled()) {
        for (group, kind) in KINDS {
            let rules = of(group, kind);
            let mut object = new.clone();
            rules.default(&mut object);
            let once = object.clone();
            rules.default(&mut object);
            prop_assert_eq!(&once, &object);
            rules.prepare_create(&mut object);
            let _ = rules.validate(&object);
            let mut update = once.clone();
            rules.prepare_update(&mut update, &old);
            let _ = rules.validate_update(&update, &old);
            rules.prepare_status_update(&mut update, &old);
            let _ = rules.validate_status_update(&update, &old);
            let _ = rules.warnings(&object, Some(&old));
            let _ = rules.warnings(&object, None);
            let _ = rules.status_warnings(&object);
            for field in rules.selectable_fields() {
                let _ = rules.selectable(&object, field);
            }
        }
    }
}
