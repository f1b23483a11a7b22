//! Fixtures and the errors they earn, for every kind with rules of its own.

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
    check("", "ConfigMap", "{metadata: {name: Bad_Name, generateName: Bad-, labels: {'a b': c, d: 'e f'}, annotations: {'x y': z}}}", expect![[r#"
        metadata.generateName: Invalid value: "Bad-": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        metadata.labels: Invalid value: "e f": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        metadata.annotations: Invalid value: "x y": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
    "#]]);
    check("", "ConfigMap", "{metadata: {name: '', finalizers: [a b, orphan, foregroundDeletion], ownerReferences: [{apiVersion: '', kind: '', name: '', uid: ''}, {apiVersion: v1, kind: Event, name: e, uid: u}], managedFields: [{operation: Odd, fieldsType: X}]}}", expect![[r#"
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
    "#]]);
    check("", "Namespace", "{metadata: {namespace: n}, spec: {finalizers: [odd]}}", expect![[r#"
        metadata.namespace: Forbidden: not allowed on this type
        spec.finalizers: Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified
    "#]]);
    check_update("", "ConfigMap", "{metadata: {deletionTimestamp: '2024-01-01T00:00:00Z', finalizers: [a/b]}}",
        "{metadata: {name: y, uid: v, finalizers: [a/b, c/d]}}", expect![[r#"
        metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d"}
        metadata.name: Invalid value: "y": field is immutable
        metadata.uid: Invalid value: "v": field is immutable
    "#]]);
    let two = "{metadata: {ownerReferences: [{apiVersion: v1, kind: A, name: a, uid: u, controller: true}, {apiVersion: v1, kind: B, name: b, uid: v, controller: true}]}}";
    check("", "Secret", two, expect![[r#"
        metadata.ownerReferences: Invalid value: [{"apiVersion":"v1","controller":true,"kind":"A","name":"a","uid":"u"},{"apiVersion":"v1","controller":true,"kind":"B","name":"b","uid":"v"}]: Only one reference can have Controller set to true. Found "true" in references for A/a and B/b
    "#]]);
    let big = format!("{{metadata: {{annotations: {{a: {}}}}}}}", "x".repeat(256 * 1024));
    check("", "ConfigMap", &big, expect![[r#"
        metadata.annotations: Too long: may not be more than 262144 bytes
    "#]]);
}

#[test]
fn config_maps() {
    check("", "ConfigMap", "{data: {ok: v, 'a b': v, both: v}, binaryData: {both: AA==}}", expect![[r#"
        data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[both]: Invalid value: "both": duplicate of key present in binaryData
    "#]]);
    let big = format!("{{data: {{a: {}}}}}", "x".repeat(1024 * 1024 + 1));
    check("", "ConfigMap", &big, expect![[r#"
        []: Too long: may not be more than 1048576 bytes
    "#]]);
    check_update("", "ConfigMap", "{immutable: true, data: {a: b}}", "{data: {a: c}, binaryData: {x: AA==}}", expect![[r#"
        immutable: Forbidden: field is immutable when `immutable` is set
        data: Forbidden: field is immutable when `immutable` is set
        binaryData: Forbidden: field is immutable when `immutable` is set
    "#]]);
}

#[test]
fn secrets() {
    let mut secret = json!({"stringData": {"a": "b"}, "data": {"c": "ZA=="}});
    of("", "Secret").default(&mut secret);
    assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "Yg==", "c": "ZA=="}}));
    for (fixture, expected) in [
        ("{type: kubernetes.io/tls}", expect![[r#"
            data[tls.crt]: Required value
            data[tls.key]: Required value
        "#]]),
        ("{type: kubernetes.io/basic-auth}", expect![[r#"
            data[username]: Required value
            data[password]: Required value
        "#]]),
        ("{type: kubernetes.io/ssh-auth}", expect![[r#"
            data[ssh-privatekey]: Required value
        "#]]),
        ("{type: kubernetes.io/dockerconfigjson}", expect![[r#"
            data[.dockerconfigjson]: Required value
        "#]]),
        ("{type: kubernetes.io/dockercfg, data: {.dockercfg: ''}}", expect![[r#"
            data[.dockercfg]: Invalid value: "<secret contents redacted>": unexpected end of JSON input
        "#]]),
        ("{type: kubernetes.io/service-account-token}", expect![[r#"
            metadata.annotations[kubernetes.io/service-account.name]: Required value
        "#]]),
    ] {
        check("", "Secret", fixture, expected);
    }
    check_update("", "Secret", "{type: a/b, immutable: true}", "{type: c/d, data: {a: AA==}}", expect![[r#"
        type: Invalid value: "c/d": field is immutable
        immutable: Forbidden: field is immutable when `immutable` is set
        data: Forbidden: field is immutable when `immutable` is set
    "#]]);
}

#[test]
fn pods_are_completed() {
    let mut pod = yaml("{spec: {hostNetwork: true, serviceAccountName: s, volumes: [{name: v}], containers: [{name: c, image: 'a:1', ports: [{containerPort: 80}], resources: {limits: {cpu: '1'}}, livenessProbe: {httpGet: {port: 80}}}]}}");
    of("", "Pod").default(&mut pod);
    expect![[r#"
        containers:
        - image: a:1
          imagePullPolicy: IfNotPresent
          livenessProbe:
            failureThreshold: 3
            httpGet:
              path: /
              port: 80
              scheme: HTTP
            periodSeconds: 10
            successThreshold: 1
            timeoutSeconds: 1
          name: c
          ports:
          - containerPort: 80
            hostPort: 80
            protocol: TCP
          resources:
            limits:
              cpu: '1'
            requests:
              cpu: '1'
          terminationMessagePath: /dev/termination-log
          terminationMessagePolicy: File
        dnsPolicy: ClusterFirst
        enableServiceLinks: true
        hostNetwork: true
        restartPolicy: Always
        schedulerName: default-scheduler
        securityContext: {}
        serviceAccount: s
        serviceAccountName: s
        terminationGracePeriodSeconds: 30
        volumes:
        - emptyDir: {}
          name: v
    "#]].assert_eq(&serde_yaml::to_string(&pod["spec"]).unwrap());
    of("", "Pod").prepare_create(&mut pod);
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
}

#[test]
fn pods() {
    check("", "Pod", POD, expect![[""]]);
    check("", "Pod", "{spec: {}}", expect![[r#"
        spec.containers: Required value
    "#]]);
    check("", "Pod", "{spec: {restartPolicy: Odd, dnsPolicy: Odd, nodeName: A_, hostname: A.b, activeDeadlineSeconds: 0, containers: [{name: A, image: ' x'}, {name: b, image: ''}, {name: b, image: y, imagePullPolicy: Odd, terminationMessagePolicy: Odd}]}}", expect![[r#"
        spec.containers[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.containers[1].image: Required value
        spec.containers[2].terminationMessagePolicy: Unsupported value: "Odd": supported values: "File", "FallbackToLogsOnError"
        spec.containers[2].imagePullPolicy: Unsupported value: "Odd": supported values: "Always", "IfNotPresent", "Never"
        spec.containers[2].name: Duplicate value: "b"
        spec.restartPolicy: Unsupported value: "Odd": supported values: "Always", "OnFailure", "Never"
        spec.dnsPolicy: Unsupported value: "Odd": supported values: "ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"
        spec.nodeName: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec.hostname: Invalid value: "A.b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive
        spec.containers[0].image: Invalid value: " x": must not have leading or trailing whitespace
    "#]]);
    check("", "Pod", "{spec: {containers: [{name: c, image: i, ports: [{containerPort: 0}, {containerPort: 70000, hostPort: 80, protocol: X, name: A}, {containerPort: 80, name: a}, {containerPort: 81, name: a, hostPort: 80}, {containerPort: 82, hostPort: 80}], resources: {limits: {cpu: 1, odd: 1}, requests: {cpu: 2, memory: -1}}}]}}", expect![[r#"
        spec.containers[0].ports[0].containerPort: Required value
        spec.containers[0].ports[1].name: Invalid value: "A": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
        spec.containers[0].ports[1].name: Invalid value: "A": must contain at least one letter (a-z)
        spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.containers[0].ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
        spec.containers[0].ports[3].name: Duplicate value: "a"
        spec.containers[0].resources.limits[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
        spec.containers[0].resources.limits[odd]: Invalid value: "odd": must be a standard resource for containers
        spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
        spec.containers[0].resources.requests[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
        spec.containers[0].resources.requests[odd]: Invalid value: "odd": must be a standard resource for containers
        spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
        spec.containers[0].ports[4].hostPort: Duplicate value: "TCP//80"
    "#]]);
    check("", "Pod", "{spec: {containers: [{name: c, image: i, env: [{name: ''}, {name: 'a=b'}, {name: c, value: v, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: d, valueFrom: {}}, {name: e, valueFrom: {fieldRef: {fieldPath: spec.odd}}}, {name: f, valueFrom: {fieldRef: {fieldPath: status.phase}}}, {name: g, valueFrom: {resourceFieldRef: {resource: odd}}}, {name: h, valueFrom: {configMapKeyRef: {name: n, key: ''}, secretKeyRef: {name: n, key: 'a b'}}}], envFrom: [{}, {prefix: '=', configMapRef: {name: ''}, secretRef: {name: s}}]}]}}", expect![[r#"
        spec.containers[0].env[0].name: Required value
        spec.containers[0].env[1].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='
        spec.containers[0].env[2].valueFrom: Invalid value: "": may not be specified when `value` is not empty
        spec.containers[0].env[3].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`
        spec.containers[0].env[4].valueFrom.fieldRef.fieldPath: Invalid value: "spec.odd": error converting fieldPath: field label not supported: spec.odd
        spec.containers[0].env[5].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": supported values: "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"
        spec.containers[0].env[6].valueFrom.resourceFieldRef.resource: Unsupported value: "odd": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"
        spec.containers[0].env[7].valueFrom.configMapKeyRef.key: Required value
        spec.containers[0].env[7].valueFrom.secretKeyRef.key: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        spec.containers[0].env[7].valueFrom: Invalid value: "": may not have more than one field specified at a time
        spec.containers[0].envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`
        spec.containers[0].envFrom[1].prefix: Invalid value: "=": a valid environment variable name must consist only of printable ASCII characters other than '='
        spec.containers[0].envFrom[1].configMapRef.name: Required value
        spec.containers[0].envFrom: Invalid value: "": may not have more than one field specified at a time
    "#]]);
    check("", "Pod", "{spec: {volumes: [{name: a, hostPath: {path: ''}}, {name: a, emptyDir: {}, secret: {secretName: s}}, {name: b, configMap: {name: '', defaultMode: 9999, items: [{key: '', path: ../x}]}}, {name: v, emptyDir: {}}, {name: v, emptyDir: {}}, {name: p, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 1}}]}}], containers: [{name: c, image: i, volumeMounts: [{name: odd, mountPath: /a}, {name: v, mountPath: ''}, {name: v, mountPath: /a, subPath: /x, mountPropagation: Bidirectional}]}]}}", expect![[r#"
        spec.volumes[0].hostPath.path: Required value
        spec.volumes[1].secret: Forbidden: may not specify more than 1 volume type
        spec.volumes[2].configMap.name: Required value
        spec.volumes[2].configMap.defaultMode: Invalid value: 9999: must be a number between 0 and 0777 (octal), both inclusive
        spec.volumes[2].configMap.items[0].key: Required value
        spec.volumes[2].configMap.items[0].path: Invalid value: "../x": must not contain '..'
        spec.volumes[4].name: Duplicate value: "v"
        spec.volumes[5].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes
        spec.containers[0].volumeMounts[0].name: Not found: "odd"
        spec.containers[0].volumeMounts[1].mountPath: Required value
        spec.containers[0].volumeMounts[2].mountPath: Invalid value: "/a": must be unique
        spec.containers[0].volumeMounts.subPath: Invalid value: "/x": must be a relative path
        spec.containers[0].volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to privileged containers
        spec.volumes[5].projected.sources[0].serviceAccountToken: Forbidden: must not be specified when serviceAccountName is not set
    "#]]);
    check("", "Pod", "{spec: {initContainers: [{name: i, image: i, readinessProbe: {exec: {command: [a]}}}, {name: c, image: i}], containers: [{name: c, image: i, livenessProbe: {successThreshold: 2, periodSeconds: -1, httpGet: {port: 0, scheme: ftp}}, readinessProbe: {terminationGracePeriodSeconds: 0, exec: {}, tcpSocket: {port: ''}}, startupProbe: {}, lifecycle: {preStop: {sleep: {seconds: 60}}, postStart: {}}}]}}", expect![[r#"
        spec.containers[0].lifecycle.postStart: Required value: must specify a handler type
        spec.containers[0].lifecycle.preStop.sleep: Invalid value: 60: must be non-negative and less than terminationGracePeriodSeconds (30)
        spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive
        spec.containers[0].livenessProbe.httpGet.scheme: Unsupported value: "ftp": supported values: "HTTP", "HTTPS"
        spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0
        spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1
        spec.containers[0].readinessProbe.exec.command: Required value
        spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type
        spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must be greater than 0
        spec.containers[0].readinessProbe.terminationGracePeriodSeconds: Invalid value: 0: must not be set for readinessProbes
        spec.containers[0].startupProbe: Required value: must specify a handler type
        spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always
        spec.initContainers[1].name: Duplicate value: "c"
    "#]]);
    check("", "Pod", "{spec: {nodeSelector: {'a b': c}, tolerations: [{}, {key: a, operator: Exists, value: v, effect: Odd}, {key: a, operator: Odd, tolerationSeconds: 1}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}, podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {labelSelector: {matchExpressions: [{key: a, operator: In}]}, topologyKey: ''}}]}}, topologySpreadConstraints: [{maxSkew: 0, topologyKey: '', whenUnsatisfiable: Odd}], schedulingGates: [{name: a}, {name: a}], nodeName: n, containers: [{name: c, image: i}]}}", expect![[r#"
        spec.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term
        spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: must be in the range 1-100
        spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'
        spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Required value: can not be empty
        spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: "": name part must be non-empty
        spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        spec.schedulingGates[1]: Duplicate value: "a"
        spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero
        spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty
        spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Odd": supported values: "DoNotSchedule", "ScheduleAnyway"
        spec.tolerations[0].operator: Invalid value: "": operator must be Exists when `key` is empty, which means "match all values and all keys"
        spec.tolerations[1].operator: Invalid value: "v": value must be empty when `operator` is 'Exists'
        spec.tolerations[1].effect: Unsupported value: "Odd": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
        spec.tolerations[2].effect: Invalid value: "": effect must be 'NoExecute' when `tolerationSeconds` is set
        spec.tolerations[2].operator: Unsupported value: "Odd": supported values: "Equal", "Exists"
        spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared
    "#]]);
    check("", "Pod", "{spec: {securityContext: {runAsUser: -1, sysctls: [{name: 'A'}], seccompProfile: {type: Localhost}}, dnsPolicy: None, containers: [{name: c, image: i, securityContext: {runAsGroup: 9999999999, privileged: true, allowPrivilegeEscalation: false, procMount: Odd}}]}}", expect![[r#"
        spec.containers[0].securityContext.runAsGroup: Invalid value: 9999999999: must be between 0 and 2147483647, inclusive
        spec.containers[0].securityContext.procMount: Unsupported value: "Odd": supported values: "Default", "Unmasked"
        spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true,"procMount":"Odd","runAsGroup":9999999999}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
        spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
        spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
        spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost
        spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None
    "#]]);
}

#[test]
fn pods_change_little() {
    check_update("", "Pod", POD, "{metadata: {labels: {a: b}}, spec: {activeDeadlineSeconds: 5, tolerations: [{operator: Exists}], containers: [{name: c, image: other}]}}", expect![[""]]);
    check_update("", "Pod", POD, "{spec: {containers: [{name: c, image: nginx}, {name: d, image: x}]}}", expect![[r#"
        spec.containers: Forbidden: pod updates may not add or remove containers
    "#]]);
    check_update("", "Pod", POD, "{spec: {hostname: h, containers: [{name: c, image: nginx}]}}", expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        - hostname: null
        + hostname: "h"

    "#]]);
    check_update("", "Pod", "{spec: {activeDeadlineSeconds: 5, tolerations: [{key: a, operator: Exists}], containers: [{name: c, image: i}]}}", "{spec: {containers: [{name: c, image: i}]}}", expect![[r#"
        spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value
        spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
    "#]]);
    let old = named(yaml("{spec: {containers: [{name: c, image: i}], ephemeralContainers: [{name: e, image: i}]}}"), true);
    let mut new = named(yaml(POD), true);
    of("", "Pod").default(&mut new);
    assert_eq!(
        text_of(super::validate_ephemeral_containers(&new, &old)),
        "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"e\" may not be removed\n\n"
    );
}

#[test]
fn qos() {
    let cases = [
        ("[{}]", "BestEffort"),
        ("[{resources: {requests: {cpu: 1}}}]", "Burstable"),
        ("[{resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1, memory: 1Gi}}}]", "Guaranteed"),
        ("[{resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 1, memory: 1Gi}}}, {}]", "Burstable"),
    ];
    for (containers, class) in cases {
        assert_eq!(super::qos_class(&yaml(&format!("{{containers: {containers}}}"))), class, "{containers}");
    }
}

#[test]
fn services() {
    let mut service = yaml("{spec: {sessionAffinity: ClientIP, ports: [{port: 80}]}}");
    of("", "Service").default(&mut service);
    assert_eq!(service["spec"], json!({"type": "ClusterIP", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}));
    for (fixture, expected) in [
        ("{spec: {}}", expect![[r#"
            spec.ports: Required value
        "#]]),
        ("{metadata: {name: 1a}, spec: {type: Odd, sessionAffinity: Odd, ports: [{port: 0, protocol: X, targetPort: A}, {port: 0, protocol: X}]}}", expect![[r#"
            metadata.name: Invalid value: "1a": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.ports[0].name: Required value
            spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ports[0].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
            spec.ports[0].targetPort: Invalid value: "A": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)
            spec.ports[0].targetPort: Invalid value: "A": must contain at least one letter (a-z)
            spec.ports[1].name: Required value
            spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
            spec.ports[1].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive
            spec.sessionAffinity: Unsupported value: "Odd": supported values: "ClientIP", "None"
            spec.type: Unsupported value: "Odd": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"
            spec.ports[1]: Duplicate value: {"port":0,"protocol":"X"}
        "#]]),
        ("{spec: {type: NodePort, clusterIP: None, clusterIPs: [None], externalIPs: [127.0.0.1, x], externalTrafficPolicy: Odd, ports: [{port: 80}]}}", expect![[r#"
            spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services
            spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.externalTrafficPolicy: Unsupported value: "Odd": supported values: "Cluster", "Local"
        "#]]),
        ("{spec: {type: ExternalName, clusterIPs: [1.2.3.4]}}", expect![[r#"
            spec.clusterIPs: Forbidden: may not be set for ExternalName services
            spec.externalName: Required value
        "#]]),
        ("{spec: {clusterIP: 1.2.3.4, clusterIPs: [1.2.3.5, x, y], ipFamilies: [IPv4, IPv4, Odd], ipFamilyPolicy: Odd, loadBalancerSourceRanges: [x], healthCheckNodePort: 1, externalTrafficPolicy: Local, loadBalancerClass: a/b, allocateLoadBalancerNodePorts: true, sessionAffinity: None, ports: [{port: 80, nodePort: 30000}]}}", expect![[r#"
            spec.clusterIPs: Invalid value: ["1.2.3.5","x","y"]: first value must match `clusterIP`
            spec.ipFamilies[1]: Duplicate value: "IPv4"
            spec.ipFamilies[2]: Unsupported value: "Odd": supported values: "IPv4", "IPv6"
            spec.ipFamilyPolicy: Unsupported value: "Odd": supported values: "PreferDualStack", "RequireDualStack", "SingleStack"
            spec.clusterIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.clusterIPs[2]: Invalid value: "y": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.clusterIPs: Invalid value: ["1.2.3.5","x","y"]: may only hold up to 2 values
            spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'
            spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'
            spec.LoadBalancerSourceRanges[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'
            spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'
            spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services
            spec.healthCheckNodePort: Invalid value: 1: may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'
        "#]]),
    ] {
        check("", "Service", fixture, expected);
    }
    check_update("", "Service", "{spec: {clusterIP: 1.2.3.4, clusterIPs: [1.2.3.4], ports: [{port: 80}]}}",
        "{spec: {clusterIP: 1.2.3.5, clusterIPs: [1.2.3.5], ports: [{port: 80}]}}", expect![[r#"
        spec.clusterIPs[0]: Invalid value: ["1.2.3.5"]: may not change once set
    "#]]);
}

const TEMPLATE: &str = "{metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}";

#[test]
fn workloads() {
    let spec = |rest: &str| format!("{{spec: {{selector: {{matchLabels: {{a: b}}}}, template: {TEMPLATE}{rest}}}}}");
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"] {
        check("apps", kind, &spec(""), expect![[""]]);
    }
    check("apps", "Deployment", "{spec: {replicas: -1, template: {spec: {restartPolicy: Never, containers: []}}}}", expect![[r#"
        spec.replicas: Invalid value: -1: must be greater than or equal to 0
        spec.selector: Required value
        spec.template.metadata.labels: Invalid value: {}: `selector` does not match template `labels`
        spec.template.spec.containers: Required value
        spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
    "#]]);
    check("apps", "Deployment", &spec(", strategy: {type: Recreate, rollingUpdate: {}}, minReadySeconds: 9, progressDeadlineSeconds: 9"), expect![[r#"
        spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'
        spec.progressDeadlineSeconds: Invalid value: 9: must be greater than minReadySeconds
    "#]]);
    check("apps", "Deployment", &spec(", strategy: {rollingUpdate: {maxUnavailable: 0, maxSurge: 0%}}"), expect![[r#"
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0
    "#]]);
    check("apps", "Deployment", &spec(", strategy: {rollingUpdate: {maxUnavailable: 200%, maxSurge: x}}"), expect![[r#"
        spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')
        spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "200%": must not be greater than 100%
    "#]]);
    check("apps", "Deployment", &spec(", strategy: {type: Odd}"), expect![[r#"
        spec.strategy: Unsupported value: {"type":"Odd"}: supported values: "Recreate", "RollingUpdate"
    "#]]);
    check_update("apps", "Deployment", &spec(""), &spec("").replace("a: b", "a: c"), expect![[r#"
        spec.selector: Invalid value: {"matchLabels":{"a":"c"}}: field is immutable
    "#]]);
    check("apps", "DaemonSet", &spec(", updateStrategy: {rollingUpdate: {maxUnavailable: 1, maxSurge: 1}}"), expect![[r#"
        spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero
    "#]]);
    check("apps", "StatefulSet", &spec(", podManagementPolicy: Odd, updateStrategy: {type: OnDelete, rollingUpdate: {}}, serviceName: A, volumeClaimTemplates: [{metadata: {name: v}, spec: {accessModes: [Odd]}}]"), expect![[r#"
        spec.podManagementPolicy: Invalid value: "Odd": must be 'OrderedReady' or 'Parallel'
        spec.updateStrategy.rollingUpdate: Invalid value: {}: only allowed for updateStrategy 'RollingUpdate'
        spec.volumeClaimTemplates[0].spec.accessModes: Unsupported value: "Odd": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
        spec.volumeClaimTemplates[0].spec.resources[storage]: Required value
        spec.serviceName: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
    "#]]);
    check_update("apps", "StatefulSet", &spec(""), &spec(", serviceName: b"), expect![[r#"
        spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden
    "#]]);
    check("", "ReplicationController", &format!("{{spec: {{template: {TEMPLATE}}}}}"), expect![[""]]);
    check("", "ReplicationController", "{spec: {selector: {a: b}}}", expect![[r#"
        spec.template: Required value
    "#]]);
    let mut job = yaml(&format!("{{metadata: {{name: j, namespace: n, uid: u}}, spec: {{template: {}}}}}", TEMPLATE.replace("spec: {", "spec: {restartPolicy: Never, ")));
    of("batch", "Job").default(&mut job);
    of("batch", "Job").prepare_create(&mut job);
    assert_eq!(text_of(of("batch", "Job").validate(&job)), "");
    assert_eq!(job["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}));
    check("batch", "Job", "{spec: {maxFailedIndexes: 1, completionMode: Odd, template: {spec: {containers: [{name: c, image: i}]}}}}", expect![[r#"
        spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified
        spec.completionMode: Unsupported value: "Odd": supported values: "NonIndexed", "Indexed"
        spec.maxFailedIndexes: Invalid value: 1: requires indexed completion mode
        spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"
    "#]]);
    let cron = |schedule: &str| format!("{{spec: {{schedule: '{schedule}', concurrencyPolicy: Odd, jobTemplate: {{spec: {{template: {{spec: {{restartPolicy: Never, containers: [{{name: c, image: i}}]}}}}}}}}}}}}");
    check("batch", "CronJob", &cron("* * *"), expect![[r#"
        spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]
        spec.concurrencyPolicy: Unsupported value: "Odd": supported values: "Allow", "Forbid", "Replace"
    "#]]);
    check("batch", "CronJob", &cron("61 */2 1-5 jan mon,fri").replace("Odd", "Allow"), expect![[r#"
        spec.schedule: Invalid value: "61 */2 1-5 jan mon,fri": end of range (61) above maximum (59): 61
    "#]]);
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
fn nodes_and_namespaces() {
    check("", "Node", "{spec: {podCIDRs: [x, 1.2.3.0/24], taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}, {key: b, value: '-', effect: Odd}]}, status: {capacity: {pods: 100m}}}", expect![[r#"
        metadata.taints[1]: Duplicate value: {"effect":"NoSchedule","key":"a"}: taints must be unique by key and effect pair
        metadata.taints[2].value: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
        metadata.taints[2].effect: Unsupported value: "Odd": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
        status.capacity.pods: Invalid value: "100m": must be an integer
        status.allocatable.pods: Invalid value: "100m": must be an integer
        spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
        spec.podCIDRs: Invalid value: ["x","1.2.3.0/24"]: may specify no more than one CIDR for each IP family
    "#]]);
    check_update("", "Node", "{spec: {podCIDR: 1.2.3.0/24, providerID: a}}", "{spec: {podCIDR: 1.2.4.0/24, providerID: b}}", expect![[r#"
        spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
        spec.providerID: Forbidden: node updates may not change providerID except from "" to valid
    "#]]);
    let mut namespace = yaml("{metadata: {name: n}}");
    of("", "Namespace").default(&mut namespace);
    of("", "Namespace").prepare_create(&mut namespace);
    assert_eq!(namespace, json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}));
}

#[test]
fn endpoints_leases_events() {
    check("", "Endpoints", "{subsets: [{}, {addresses: [{ip: 127.0.0.1, hostname: A, nodeName: B}], ports: [{port: 0}, {port: 1, name: p}]}]}", expect![[r#"
        subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
        subsets[1].addresses[0].hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        subsets[1].addresses[0].nodeName: Invalid value: "B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        subsets[1].ports[0].name: Required value
        subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
    "#]]);
    check("discovery.k8s.io", "EndpointSlice", "{addressType: IPv4, endpoints: [{addresses: []}, {addresses: ['::2', x]}], ports: [{name: a}, {name: a, protocol: X}]}", expect![[r#"
        ports[1].name: Duplicate value: "a"
        ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
        endpoints[0].addresses: Required value: must contain at least 1 address
        endpoints[1].addresses: Invalid value: "::2": must be an IPv4 address
        endpoints[1].addresses[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
    "#]]);
    check_update("discovery.k8s.io", "EndpointSlice", "{addressType: IPv4, endpoints: []}", "{addressType: IPv6, endpoints: []}", expect![[r#"
        addressType: Invalid value: "IPv6": field is immutable
    "#]]);
    check("coordination.k8s.io", "Lease", "{spec: {leaseDurationSeconds: 0, leaseTransitions: -1, preferredHolder: h}}", expect![[r#"
        spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
        spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
        spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined
    "#]]);
    check("", "Event", "{metadata: {name: pod.17a2}, involvedObject: {namespace: other}}", expect![[r#"
        involvedObject.namespace: Invalid value: "other": does not match event.namespace
    "#]]);
    check("events.k8s.io", "Event", "{regarding: {namespace: default}, eventTime: '2024-01-01T00:00:00.000000Z', deprecatedCount: 1, series: {count: 1}}", expect![[r#"
        reportingController: Required value
        reportingController: Invalid value: "": name part must be non-empty
        reportingController: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        reportingInstance: Required value
        action: Required value
        reason: Required value
        series.count: Invalid value: "": should be at least 2
        series.lastObservedTime: Required value
        type: Invalid value: "": has invalid value: 
        count: Invalid value: "": needs to be unset
    "#]]);
}

#[test]
fn roles() {
    const GROUP: &str = "rbac.authorization.k8s.io";
    check(GROUP, "Role", "{metadata: {name: 'system:a'}, rules: [{}, {verbs: [get], nonResourceURLs: [/x], resources: [pods]}]}", expect![[r#"
        rules[0].verbs: Required value: verbs must contain at least one value
        rules[0].apiGroups: Required value: resource rules must supply at least one api group
        rules[0].resources: Required value: resource rules must supply at least one resource
        rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs
        rules[1].nonResourceURLs: Invalid value: ["/x"]: rules cannot apply to both regular resources and non-resource URLs
    "#]]);
    check(GROUP, "ClusterRole", "{metadata: {name: a/b}, aggregationRule: {}}", expect![[r#"
        metadata.name: Invalid value: "a/b": may not contain '/'
        aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil
    "#]]);
    check(GROUP, "ClusterRoleBinding", "{roleRef: {kind: Role, name: ''}, subjects: [{kind: User, name: u}, {kind: ServiceAccount, name: s}, {kind: Odd, name: ''}]}", expect![[r#"
        roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"
        roleRef.name: Required value
        subjects[1].namespace: Required value
        subjects[2].name: Required value
        subjects[2].kind: Unsupported value: "Odd": supported values: "ServiceAccount", "User", "Group"
    "#]]);
    check_update(GROUP, "RoleBinding", "{roleRef: {kind: Role, name: a}}", "{roleRef: {kind: Role, name: b}}", expect![[r#"
        roleRef: Invalid value: {"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"b"}: cannot change roleRef
    "#]]);
}

#[test]
fn the_rest() {
    check("policy", "PodDisruptionBudget", "{spec: {minAvailable: 200%, maxUnavailable: -1, unhealthyPodEvictionPolicy: Odd}}", expect![[r#"
        spec: Invalid value: {"maxUnavailable":-1,"minAvailable":"200%","unhealthyPodEvictionPolicy":"Odd"}: minAvailable and maxUnavailable cannot be both set
        spec.minAvailable: Invalid value: "200%": must not be greater than 100%
        spec.maxUnavailable: Invalid value: -1: must be greater than or equal to 0
        spec.unhealthyPodEvictionPolicy: Unsupported value: "Odd": supported values: "AlwaysAllow", "IfHealthyBudget"
    "#]]);
    check("autoscaling", "HorizontalPodAutoscaler", "{apiVersion: autoscaling/v2, spec: {minReplicas: 3, maxReplicas: 2, scaleTargetRef: {kind: Deployment, name: a/b}, metrics: [{type: Pods}], behavior: {scaleUp: {selectPolicy: Odd, policies: [{type: Odd, value: 0, periodSeconds: 9999}]}}}}", expect![[r#"
        spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`
        spec.scaleTargetRef.name: Invalid value: "a/b": may not contain '/'
        spec.metrics[0].pods: Required value: must populate information for the given metric source
        spec.behavior.scaleUp.selectPolicy: Unsupported value: "Odd": supported values: "Disabled", "Max", "Min"
        spec.behavior.scaleUp.policies[0].type: Unsupported value: "Odd": supported values: "Percent", "Pods"
        spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero
        spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 9999: must be less than or equal to 1800
    "#]]);
    check("networking.k8s.io", "NetworkPolicy", "{spec: {podSelector: {}, policyTypes: [Odd], ingress: [{from: [{}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16, 11.0.0.0/16]}, podSelector: {}}], ports: [{port: 70000, endPort: 1}, {port: a, endPort: 1}, {endPort: 1, protocol: X}]}]}}", expect![[r#"
        spec.ingress[0].ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive
        spec.ingress[0].ports[0].endPort: Invalid value: 70000: must be greater than or equal to `port`
        spec.ingress[0].ports[1].endPort: Invalid value: 1: may not be specified when `port` is non-numeric
        spec.ingress[0].ports[2].protocol: Unsupported value: "X": supported values: "TCP", "UDP", "SCTP"
        spec.ingress[0].ports[2].endPort: Invalid value: 1: may not be specified when `port` is not specified
        spec.ingress[0].from[0]: Required value: must specify a peer
        spec.ingress[0].from[1].ipBlock.except[1]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`
        spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer
        spec.policyTypes[0]: Unsupported value: "Odd": supported values: "Ingress", "Egress"
    "#]]);
    check("networking.k8s.io", "Ingress", "{spec: {rules: [{host: 1.2.3.4, http: {paths: [{path: x, backend: {}}, {path: //x/.., pathType: Prefix, backend: {service: {name: s}}}, {pathType: Odd, backend: {service: {name: s, port: {name: a, number: 1}}}}]}}], tls: [{hosts: ['*.a.b', 'a*']}]}}", expect![[r#"
        spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address
        spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified
        spec.rules[0].http.paths[1].path: Invalid value: "//x/..": must not contain '//'
        spec.rules[0].http.paths[1].path: Invalid value: "//x/..": cannot end with '/..'
        spec.rules[0].http.paths[1].backend: Required value: port name or number is required
        spec.rules[0].http.paths[2].pathType: Unsupported value: "Odd": supported values: "Exact", "ImplementationSpecific", "Prefix"
        spec.rules[0].http.paths[2].backend: Invalid value: "": cannot set both port name & port number
        spec.tls[0].hosts[1]: Invalid value: "a*": a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used for validation is '\*\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]]);
    check("networking.k8s.io", "IngressClass", "{spec: {controller: x, parameters: {kind: K, name: n, namespace: a}}}", expect![[r#"
        spec.controller: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")
        spec.parameters.namespace: Forbidden: `parameters.scope` is set to 'Cluster'
    "#]]);
    check("", "PersistentVolumeClaim", "{spec: {accessModes: [], volumeMode: Odd, resources: {requests: {storage: 0}}}}", expect![[r#"
        spec.accessModes: Required value: at least 1 access mode is required
        spec.resources[storage]: Invalid value: "0": must be greater than zero
        spec.volumeMode: Unsupported value: "Odd": supported values: "Block", "Filesystem"
    "#]]);
    check_update("", "PersistentVolumeClaim", "{spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}}",
        "{spec: {accessModes: [ReadWriteMany], resources: {requests: {storage: 3Gi}}}}", expect![[r#"
        spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims

    "#]]);
    check("", "PersistentVolume", "{spec: {accessModes: [ReadWriteOnce], local: {path: ''}}}", expect![[r#"
        spec.capacity: Required value
        spec.capacity: Unsupported value: null: supported values: "storage"
        spec.local.path: Required value
        spec.nodeAffinity: Required value: Local volume requires node affinity
    "#]]);
    check("storage.k8s.io", "StorageClass", "{reclaimPolicy: Odd}", expect![[r#"
        provisioner: Required value
        reclaimPolicy: Unsupported value: "Odd": supported values: "Delete", "Retain"
    "#]]);
    check_update("storage.k8s.io", "StorageClass", "{provisioner: a/b}", "{provisioner: c/d}", expect![[r#"
        provisioner: Invalid value: "c/d": field is immutable
    "#]]);
    check("scheduling.k8s.io", "PriorityClass", "{metadata: {name: system-x}, value: 1}", expect![[r#"
        metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class
    "#]]);
    check("scheduling.k8s.io", "PriorityClass", "{value: 1000000001, preemptionPolicy: Odd}", expect![[r#"
        value: Forbidden: maximum allowed value of a user defined priority is 1000000000
        preemptionPolicy: Unsupported value: "Odd": supported values: "PreemptLowerPriority", "Never"
    "#]]);
    check("", "ResourceQuota", "{spec: {hard: {odd: 1, pods: 1500m, count/deployments.apps: 2}, scopes: [Odd, BestEffort, NotBestEffort]}}", expect![[r#"
        spec.hard[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
        spec.hard[pods]: Invalid value: "1500m": must be an integer
        spec.scopes: Invalid value: ["Odd","BestEffort","NotBestEffort"]: unsupported scope
        spec.scopes: Invalid value: ["Odd","BestEffort","NotBestEffort"]: conflicting scopes
    "#]]);
    check("", "LimitRange", "{spec: {limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}}, {type: Pod, default: {cpu: 1}}]}}", expect![[r#"
        spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
        spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than default request value 1
        spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod'
    "#]]);
    check("certificates.k8s.io", "CertificateSigningRequest", "{spec: {request: AA==, signerName: x, expirationSeconds: 1, usages: [odd]}}", expect![[r#"
        spec.request: Invalid value: "AA==": PEM block type must be CERTIFICATE REQUEST
        spec.usages[0]: Unsupported value: "odd": supported values: "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping"
        spec.signerName: Invalid value: "x": must be a fully qualified domain and path of the form 'example.com/signer-name'
        spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 600 seconds (10 minutes)
    "#]]);
}

#[test]
fn fields_are_selected() {
    let pod = yaml("{metadata: {name: a, namespace: n}, spec: {nodeName: m}, status: {phase: Running}}");
    let rules = of("", "Pod");
    for (field, value) in [("metadata.name", Some("a")), ("spec.nodeName", Some("m")), ("spec.hostNetwork", Some("false")), ("spec.odd", None)] {
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
    let mut deployment = yaml("{metadata: {name: d}, spec: {replicas: 2, selector: {matchLabels: {a: b}}}, status: {replicas: 1}}");
    let scale = of("apps", "Deployment").scale().unwrap();
    assert_eq!(scale.read(&deployment)["status"], json!({"replicas": 1, "selector": "a=b"}));
    scale.write(&mut deployment, &json!({"spec": {"replicas": 5}}));
    assert_eq!(deployment["spec"]["replicas"], json!(5));
}

const KINDS: &[(&str, &str)] = &[
    ("", "ConfigMap"), ("", "Endpoints"), ("", "Event"), ("", "LimitRange"), ("", "Namespace"), ("", "Node"),
    ("", "PersistentVolume"), ("", "PersistentVolumeClaim"), ("", "Pod"), ("", "PodTemplate"), ("", "ReplicationController"),
    ("", "ResourceQuota"), ("", "Secret"), ("", "Service"), ("", "ServiceAccount"), ("apps", "DaemonSet"), ("apps", "Deployment"),
    ("apps", "ReplicaSet"), ("apps", "StatefulSet"), ("autoscaling", "HorizontalPodAutoscaler"), ("batch", "CronJob"), ("batch", "Job"),
    ("certificates.k8s.io", "CertificateSigningRequest"), ("coordination.k8s.io", "Lease"), ("discovery.k8s.io", "EndpointSlice"),
    ("events.k8s.io", "Event"), ("networking.k8s.io", "Ingress"), ("networking.k8s.io", "IngressClass"),
    ("networking.k8s.io", "NetworkPolicy"), ("policy", "PodDisruptionBudget"), ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "RoleBinding"), ("scheduling.k8s.io", "PriorityClass"), ("storage.k8s.io", "StorageClass"), ("x", "Y"),
];

/// An object whose fields are right in name and wrong in everything else.
fn mangled() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null), any::<bool>().prop_map(Value::from), (-3i64..99999).prop_map(Value::from),
        "[a-zA-Z0-9./:%@é -]{0,8}".prop_map(Value::from), Just(json!({})), Just(json!([])),
    ];
    leaf.prop_recursive(7, 80, 5, |inner| {
        let field = prop::sample::select(vec![
            "metadata", "name", "namespace", "labels", "annotations", "ownerReferences", "finalizers", "spec", "status", "data",
            "stringData", "binaryData", "immutable", "type", "selector", "matchLabels", "matchExpressions", "template", "containers",
            "initContainers", "image", "ports", "env", "valueFrom", "fieldRef", "fieldPath", "resources", "limits", "requests", "volumes",
            "volumeMounts", "configMap", "projected", "sources", "livenessProbe", "httpGet", "port", "affinity", "nodeAffinity",
            "tolerations", "strategy", "rollingUpdate", "maxSurge", "maxUnavailable", "replicas", "rules", "subjects", "roleRef",
            "addresses", "subsets", "endpoints", "taints", "podCIDRs", "clusterIPs", "clusterIP", "schedule", "jobTemplate",
            "ingress", "egress", "from", "ipBlock", "cidr", "except", "hard", "scopes", "metrics", "behavior", "securityContext",
            "ephemeralContainers", "schedulingGates", "conditions", "containerStatuses", "spec",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((field, inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().map(|(key, value)| (key.to_string(), value)).collect())),
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
            let _ = rules.warnings(&object);
            for field in rules.selectable_fields() {
                let _ = rules.selectable(&object, field);
            }
        }
    }
}

#[test]
fn webhook_configurations() {
    let kind = ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration");
    check(
        kind.0,
        kind.1,
        r#"
webhooks:
- name: a.b
  clientConfig: {}
  admissionReviewVersions: [v3]
  rules:
  - {apiGroups: ["*", apps], apiVersions: [""], resources: ["*", pods, "pods/*", pods/status], operations: [CREATE, "*", READ], scope: Some}
- name: a.b.c
  clientConfig: {url: "http://x"}
  sideEffects: Some
  timeoutSeconds: 0
  matchConditions: [{name: c, expression: " "}, {name: c, expression: "true"}]
- name: a.b.c
  clientConfig: {service: {name: s, namespace: n}}
  sideEffects: None
  admissionReviewVersions: [v1]
"#,
        expect![[r#"
            webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots
            webhooks[0].rules[0].operations: Invalid value: ["CREATE","*","READ"]: if '*' is present, must not specify other operations
            webhooks[0].rules[0].operations[2]: Unsupported value: "READ": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE"
            webhooks[0].rules[0].apiGroups: Invalid value: ["*","apps"]: if '*' is present, must not specify other API groups
            webhooks[0].rules[0].apiVersions[0]: Required value
            webhooks[0].rules[0].resources[3]: Invalid value: "pods/status": if 'pods/*' is present, must not specify pods/status
            webhooks[0].rules[0].resources: Invalid value: ["*","pods","pods/*","pods/status"]: if '*' is present, must not specify other resources without subresources
            webhooks[0].rules[0].scope: Unsupported value: "Some": supported values: "*", "Cluster", "Namespaced"
            webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun
            webhooks[0].clientConfig: Required value: exactly one of url or service is required
            webhooks[0].admissionReviewVersions: Invalid value: ["v3"]: must include at least one of v1, v1beta1
            webhooks[1].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"
            webhooks[1].timeoutSeconds: Invalid value: 0: the timeout value must be between 1 and 30 seconds
            webhooks[1].clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]
            webhooks[1].matchConditions[0].expression: Required value
            webhooks[1].matchConditions[1].name: Duplicate value: "c"
            webhooks[1].admissionReviewVersions: Required value: must specify one of v1, v1beta1
            webhooks[2].name: Duplicate value: "a.b.c"
        "#]],
    );
}

#[test]
fn api_services() {
    let kind = ("apiregistration.k8s.io", "APIService");
    check(
        kind.0,
        kind.1,
        "metadata: {name: v1.wrong}\nspec: {group: a.b, version: v1, groupPriorityMinimum: 0, versionPriority: 1001, caBundle: YQ==}",
        expect![[r#"
            metadata.name: Invalid value: "v1.wrong": must be `spec.version+"."+spec.group`: "v1.a.b"
            spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000
            spec.versionPriority: Invalid value: 1001: must be positive and less than 1000
            spec.caBundle: Invalid value: "1 bytes": local APIServices may not have a caBundle
        "#]],
    );
    check(
        kind.0,
        kind.1,
        "metadata: {name: v1.a.b}\nspec: {group: a.b, version: v1, groupPriorityMinimum: 1, versionPriority: 1, service: {name: s}, insecureSkipTLSVerify: true, caBundle: YQ==}",
        expect![[r#"
            spec.service.namespace: Required value
            spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present
        "#]],
    );
}

#[test]
fn addresses() {
    let kind = ("networking.k8s.io", "IPAddress");
    let parent = "spec: {parentRef: {resource: services, name: a, namespace: b}}";
    for (name, expected) in [
        ("10.0.0.1", ""),
        ("fd00::1", ""),
        ("10.0.0", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        ("10.0.0.01", "must not have leading 0s"),
        ("::ffff:10.0.0.1", "must not be an IPv4-mapped IPv6 address"),
        ("FD00::1", "must be in canonical form (\"fd00::1\")"),
    ] {
        let object = named(yaml(&format!("metadata: {{name: \"{name}\"}}\n{parent}")), false);
        let errors = rules(kind.0, kind.1).validate(&object);
        let expected = if expected.is_empty() { String::new() } else { format!("metadata.name: Invalid value: {name:?}: {expected}\n") };
        assert_eq!(text_of(errors), expected);
    }
    check(
        kind.0,
        kind.1,
        "metadata: {name: 10.0.0.1}\nspec: {}",
        expect![[r#"
            spec.parentRef: Required value
        "#]],
    );
    check(
        kind.0,
        kind.1,
        "metadata: {name: 10.0.0.1}\nspec: {parentRef: {group: A, namespace: a/b}}",
        expect![[r#"
            spec.parentRef.group: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            spec.parentRef.resource: Required value
            spec.parentRef.name: Required value
            spec.parentRef.namespace: Invalid value: "a/b": may not contain '/'
        "#]],
    );
    check_update(
        kind.0,
        kind.1,
        &format!("metadata: {{name: 10.0.0.1}}\n{parent}"),
        "metadata: {name: 10.0.0.1}\nspec: {parentRef: {resource: services, name: other, namespace: b}}",
        expect![[r#"
            spec.parentRef: Invalid value: {"name":"other","namespace":"b","resource":"services"}: field is immutable
        "#]],
    );
}

#[test]
fn ranges_of_services() {
    let kind = ("networking.k8s.io", "ServiceCIDR");
    for (ranges, expected) in [
        ("[10.0.0.0/24]", expect![[""]]),
        ("[10.0.0.0/24, \"fd00::/64\"]", expect![[""]]),
        ("[]", expect![[r#"
            spec.cidrs: Required value: at least one CIDR required
        "#]]),
        ("[10.0.0.0/24, 10.0.1.0/24]", expect![[r#"
            spec.cidrs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64
        "#]]),
        ("[10.0.0.1/24]", expect![[r#"
            spec.cidrs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length
        "#]]),
        ("[10.0.0.00/024]", expect![[r#"
            spec.cidrs[0]: Invalid value: "10.0.0.00/024": must not have leading 0s in IP or prefix length
        "#]]),
        ("[\"FD00::/64\"]", expect![[r#"
            spec.cidrs[0]: Invalid value: "FD00::/64": must be in canonical form ("fd00::/64")
        "#]]),
        ("[nonsense]", expect![[r#"
            spec.cidrs[0]: Invalid value: "nonsense": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
        "#]]),
        ("[10.0.0.0/0, a, b]", expect![[r#"
            spec.cidrs: Invalid value: {"cidrs":["10.0.0.0/0","a","b"]}: may only hold up to 2 values
        "#]]),
    ] {
        check(kind.0, kind.1, &format!("spec: {{cidrs: {ranges}}}"), expected);
    }
    check_update(kind.0, kind.1, "spec: {cidrs: [10.0.0.0/24]}", "spec: {cidrs: [10.0.0.0/24, \"fd00::/64\"]}", expect![[""]]);
    check_update(kind.0, kind.1, "spec: {cidrs: [10.0.0.0/24]}", "spec: {cidrs: [10.0.1.0/24]}", expect![[r#"
        spec.cidrs[0]: Invalid value: "10.0.1.0/24": field is immutable
    "#]]);
    check_update(kind.0, kind.1, "spec: {cidrs: [10.0.0.0/24, \"fd00::/64\"]}", "spec: {cidrs: [10.0.0.0/24]}", expect![[r#"
        spec.cidrs: Invalid value: ["10.0.0.0/24"]: field is immutable
    "#]]);
}
