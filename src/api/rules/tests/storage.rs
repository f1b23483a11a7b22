//! Claims, volumes, their classes and drivers.

use super::*;

fn each<const N: usize>(group: &str, kind: &str, cases: [(&str, Expect); N]) {
    for (fixture, expected) in cases {
        check(group, kind, fixture, expected);
    }
}

#[test]
fn classes() {
    each(
        "storage.k8s.io",
        "StorageClass",
        [
            (
                "{provisioner: 'A/b/c', reclaimPolicy: Recycle, volumeBindingMode: Odd, parameters: {'': x}}",
                expect![[r#"
                provisioner: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')
                parameters: Invalid value: "": field can not be empty.
                reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"
                volumeBindingMode: Unsupported value: "Odd": supported values: "Immediate", "WaitForFirstConsumer"
            "#]],
            ),
            (
                "{provisioner: a/b, allowedTopologies: [{matchLabelExpressions: [{key: k, values: [v, v]}, {key: k, values: []}, {key: 'a b', values: [x]}]}]}",
                expect![[r#"
                    allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "v"
                    allowedTopologies[0].matchLabelExpressions[1].values: Required value
                    allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "k"
                    allowedTopologies[0].matchLabelExpressions[2].key: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                "#]],
            ),
            (
                "{provisioner: a/b, allowedTopologies: [{matchLabelExpressions: [{key: k, values: [a, b]}]}, {matchLabelExpressions: [{key: k, values: [b, a]}]}, {}]}",
                expect![[r#"
                    allowedTopologies[1].matchLabelExpressions: Duplicate value: ""
                    allowedTopologies[2].matchLabelExpressions: Duplicate value: ""
                    allowedTopologies[2].matchLabelExpressions: Duplicate value: ""
                    allowedTopologies[2].matchLabelExpressions: Duplicate value: ""
                "#]],
            ),
        ],
    );
    each(
        "storage.k8s.io",
        "VolumeAttributesClass",
        [
            (
                "{driverName: 'a b'}",
                expect![[r#"
            driverName: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            parameters: Required value: must contain at least one key/value pair
        "#]],
            ),
            ("{driverName: a.io, parameters: {a: b}}", expect![[""]]),
        ],
    );
    check_update(
        "storage.k8s.io",
        "VolumeAttributesClass",
        "{driverName: a.io, parameters: {a: b}}",
        "{driverName: b.io, parameters: {a: c}}",
        expect![[r#"
            driverName: Forbidden: updates to driverName are forbidden.
            parameters: Forbidden: updates to parameters are forbidden.
        "#]],
    );
}

#[test]
fn drivers() {
    each(
        "storage.k8s.io",
        "CSIDriver",
        [
            (
                "{}",
                expect![[r#"
                spec.attachedRequired: Required value
                spec.podInfoOnMount: Required value
                spec.storageCapacity: Required value
            "#]],
            ),
            (
                "{spec: {volumeLifecycleModes: [Odd], fsGroupPolicy: Odd, nodeAllocatableUpdatePeriodSeconds: 9}}",
                expect![[r#"
                spec.fsGroupPolicy: Unsupported value: "Odd": supported values: "File", "None", "ReadWriteOnceWithFSType"
                spec.volumeLifecycleModes: Unsupported value: "Odd": supported values: "Persistent", "Ephemeral"
                spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds
            "#]],
            ),
            (
                "{spec: {tokenRequests: [{audience: a, expirationSeconds: 599}, {audience: a}, {audience: '', expirationSeconds: 4294967297}]}}",
                expect![[r#"
                    spec.tokenRequests[0].expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes
                    spec.tokenRequests[1].audience: Duplicate value: "a"
                    spec.tokenRequests[2].expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds
                "#]],
            ),
            (
                "{spec: {serviceAccountTokenInSecrets: false}}",
                expect![[r#"
                spec.serviceAccountTokenInSecrets: Invalid value: false: serviceAccountTokenInSecrets is set but no tokenRequests are specified
            "#]],
            ),
        ],
    );
    check_update(
        "storage.k8s.io",
        "CSIDriver",
        "{spec: {attachRequired: true, podInfoOnMount: true, storageCapacity: true, volumeLifecycleModes: [Persistent]}}",
        "{spec: {attachRequired: false, podInfoOnMount: true, storageCapacity: true, volumeLifecycleModes: [Ephemeral]}}",
        expect![[r#"
            spec.attachedRequired: Invalid value: false: field is immutable
            spec.volumeLifecycleModes: Invalid value: ["Ephemeral"]: field is immutable
        "#]],
    );
    let mut driver = yaml(
        "{metadata: {generation: 3}, spec: {tokenRequests: [{audience: a}], preventPodSchedulingIfMissing: true}}",
    );
    let drivers = of("storage.k8s.io", "CSIDriver");
    assert_eq!(drivers.warnings(&driver, None).len(), 1);
    let old = driver.clone();
    drivers.prepare_create(&mut driver);
    assert_eq!(driver["spec"], json!({"tokenRequests": [{"audience": "a"}]}), "a feature that is off");
    drivers.prepare_update(&mut driver, &old);
    assert_eq!(driver["metadata"]["generation"], 4);
    each(
        "storage.k8s.io",
        "CSINode",
        [
            ("{spec: {drivers: []}}", expect![[""]]),
            (
                "{spec: {drivers: [{name: a.io, nodeID: n, topologyKeys: [k, k, ''], allocatable: {count: -1}}, {name: a.io, nodeID: ''}, {name: 'A B', nodeID: n}]}}",
                expect![[r#"
                    spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0
                    spec.drivers[0]: Duplicate value: "k"
                    spec.drivers[0]: Required value
                    spec.drivers[0]: Invalid value: "": name part must be non-empty
                    spec.drivers[0]: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                    spec.drivers[1].nodeID: Required value
                    spec.drivers[1].name: Duplicate value: "a.io"
                    spec.drivers[2].name: Invalid value: "A B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                "#]],
            ),
        ],
    );
    check_update(
        "storage.k8s.io",
        "CSINode",
        "{spec: {drivers: [{name: a.io, nodeID: n, allocatable: {count: 1}}]}}",
        "{spec: {drivers: [{name: a.io, nodeID: n, allocatable: {count: 2}}]}}",
        expect![[""]],
    );
    each(
        "storage.k8s.io",
        "CSIStorageCapacity",
        [
            ("{storageClassName: s, capacity: 1Gi}", expect![[""]]),
            (
                "{nodeTopology: {matchLabels: {'a b': c}}, capacity: '-1'}",
                expect![[r#"
                nodeTopology.matchLabels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                storageClassName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                capacity: Invalid value: "-1": must be greater than or equal to 0
            "#]],
            ),
        ],
    );
}

#[test]
fn attachments() {
    each(
        "storage.k8s.io",
        "VolumeAttachment",
        [
            ("{spec: {attacher: a.io, nodeName: n, source: {persistentVolumeName: v}}}", expect![[""]]),
            (
                "{spec: {source: {persistentVolumeName: ''}}}",
                expect![[r#"
                spec.attacher: Required value
                spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName
                spec.nodeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                spec.source.persistentVolumeName: Invalid value: "": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
            "#]],
            ),
            (
                "{spec: {attacher: a.io, nodeName: n, source: {}}}",
                expect![[r#"
                spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName
            "#]],
            ),
            (
                "{spec: {attacher: a.io, nodeName: n, source: {persistentVolumeName: v, inlineVolumeSpec: {}}}}",
                expect![[r#"
                spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName
            "#]],
            ),
            (
                "{spec: {attacher: a.io, nodeName: n, source: {inlineVolumeSpec: {capacity: {storage: 1}, claimRef: {}, storageClassName: s, volumeMode: Block, nodeAffinity: {}, persistentVolumeReclaimPolicy: Delete}}}}",
                expect![[r#"
                    spec.source.inlineVolumeSpec.claimRef: Forbidden: may not be specified in the context of inline volumes
                    spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes
                    spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes
                    spec.source.inlineVolumeSpec.accessModes: Required value
                    spec.source.inlineVolumeSpec.persistentVolumeReclaimPolicy: Forbidden: may only be Retain in the context of inline volumes
                    spec.source.inlineVolumeSpec.nodeAffinity: Forbidden: may not be specified in the context of inline volumes
                    spec.source.inlineVolumeSpec: Required value: must specify a volume type
                    spec.source.inlineVolumeSpec.storageClassName: Forbidden: may not be specified in the context of inline volumes
                    spec.source.inlineVolumeSpec.volumeMode: Forbidden: may not specify volumeMode other than Filesystem in the context of inline volumes
                "#]],
            ),
        ],
    );
    check_update(
        "storage.k8s.io",
        "VolumeAttachment",
        "{spec: {attacher: a.io, nodeName: n, source: {persistentVolumeName: v}}}",
        "{spec: {attacher: a.io, nodeName: m, source: {persistentVolumeName: v}}}",
        expect![[r#"
            spec: Invalid value: {"attacher":"a.io","nodeName":"m","source":{"persistentVolumeName":"v"}}: field is immutable
        "#]],
    );
}

#[test]
fn volumes() {
    each(
        "",
        "PersistentVolume",
        [
            (
                "{spec: {capacity: {storage: -1}, accessModes: [ReadWriteOnce], nfs: {server: s, path: /p}}}",
                expect![[r#"
                spec.capacity[storage]: Invalid value: "-1": must be a valid resource quantity
                spec.capacity[storage]: Invalid value: "-1": must be greater than zero
            "#]],
            ),
            (
                "{spec: {capacity: {}, accessModes: [Odd, ReadWriteOncePod, ReadWriteOnce], volumeAttributesClassName: '', hostPath: {path: //.}, persistentVolumeReclaimPolicy: Recycle}}",
                expect![[r#"
                    spec.accessModes: Unsupported value: "Odd": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"
                    spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes
                    spec.capacity: Required value
                    spec.capacity: Unsupported value: {}: supported values: "storage"
                    spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'
                    spec.volumeAttributesClassName: Required value: an empty string is disallowed
                    spec.csi: Required value: has to be specified when using volumeAttributesClassName
                "#]],
            ),
            (
                "{spec: {capacity: {storage: 1}, accessModes: [ReadWriteOnce], volumeAttributesClassName: A, csi: {driver: d, volumeHandle: h, nodeStageSecretRef: {}, nodePublishSecretRef: {}, controllerExpandSecretRef: {name: A, namespace: a.b}}}}",
                expect![[r#"
                    spec.csi.controllerExpandSecretRef.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                    spec.csi.controllerExpandSecretRef.namespace: Invalid value: "a.b": must not contain dots
                    spec.csi.nodePublishSecretRef.name: Required value
                    spec.csi.nodePublishSecretRef.namespace: Required value
                    spec.volumeAttributesClassName: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                "#]],
            ),
        ],
    );
    let mut new = yaml("{status: {phase: Bound}}");
    let old = yaml("{status: {phase: Available, lastPhaseTransitionTime: '2024-01-01T00:00:00Z'}}");
    crate::rules::stamp_phase(&mut new, &old, "2025-01-01T00:00:00Z");
    assert_eq!(new["status"]["lastPhaseTransitionTime"], "2025-01-01T00:00:00Z", "another phase");
    let mut same = yaml("{status: {phase: Available}}");
    crate::rules::stamp_phase(&mut same, &old, "2025-01-01T00:00:00Z");
    assert_eq!(same["status"], old["status"], "the same phase");
}

#[test]
fn sources_of_claims() {
    const REST: &str = "accessModes: [ReadWriteOnce], resources: {requests: {storage: 1}}";
    let claims = of("", "PersistentVolumeClaim");
    let settled = |sources: &str| {
        let mut claim = yaml(&format!("{{spec: {{{REST}, {sources}}}}}"));
        claims.prepare_create(&mut claim);
        (claim["spec"]["dataSource"].clone(), claim["spec"]["dataSourceRef"].clone())
    };
    let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
    let (source, reference) = settled("dataSource: {apiGroup: snapshot.storage.k8s.io, kind: VolumeSnapshot, name: s}");
    assert_eq!((&source, &reference), (&snapshot, &snapshot), "the older field fills the newer one");
    let (source, reference) = settled("dataSourceRef: {apiGroup: a.io, kind: Populator, name: p}");
    assert_eq!((&source, &source["kind"]), (&reference, &json!("Populator")), "and the other way round");
    let nothing = (Value::Null, Value::Null);
    assert_eq!(
        settled("dataSource: {apiGroup: a.io, kind: Populator, name: p}"),
        nothing,
        "not by the older field alone"
    );
    assert_eq!(settled("dataSourceRef: {kind: PersistentVolumeClaim, name: c, namespace: other}"), nothing);
    let fixture = format!(
        "{{spec: {{{REST}, dataSource: {{kind: Odd, name: ''}}, dataSourceRef: {{apiGroup: A, kind: Odd, name: n}}}}}}"
    );
    check(
        "",
        "PersistentVolumeClaim",
        &fixture,
        expect![[r#"
        spec.dataSource.name: Required value
        spec.dataSource: Invalid value: "Odd": must be 'PersistentVolumeClaim' when referencing the default apiGroup
        spec.dataSourceRef.apiGroup: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        spec: Invalid value: {}: must match dataSourceRef
    "#]],
    );
    let stored = format!("{{spec: {{{REST}, dataSourceRef: {{kind: PersistentVolumeClaim, name: c}}}}}}");
    check_update("", "PersistentVolumeClaim", &stored, &stored, expect![[""]]);
}
