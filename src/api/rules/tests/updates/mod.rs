//! What may change and what may not, in Kubernetes' words.

use super::*;

mod jobs;
mod pods;

/// A change of a status.
fn check_status(group: &str, kind: &str, old: &str, new: &str, expected: Expect) {
    let rules = rules(group, kind);
    let ready = |fixture| {
        let mut object = named(yaml(fixture), rules.scope() == crate::rules::Scope::Namespaced);
        rules.default(&mut object);
        object
    };
    let (old, mut new) = (ready(old), ready(new));
    rules.prepare_status_update(&mut new, &old);
    expected.assert_eq(&text_of(rules.validate_status_update(&new, &old)));
}

#[test]
fn finalizers_of_kubernetes_are_known() {
    check_update(
        "",
        "ConfigMap",
        "{}",
        "{metadata: {finalizers: [odd, a.io/b]}}",
        expect![[r#"
        metadata.finalizers[0]: Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified
    "#]],
    );
    check_update(
        "",
        "Pod",
        POD,
        &POD.replace("{spec", "{metadata: {finalizers: [odd]}, spec"),
        expect![[r#"
        metadata.finalizers[0]: Invalid value: "odd": name is neither a standard finalizer name nor is it fully qualified
    "#]],
    );
}

/// The API servers of definitions and of aggregation leave the names of finalizers to who puts them there.
#[test]
fn finalizers_of_extensions_are_anybodys() {
    for (group, kind) in [
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("apiregistration.k8s.io", "APIService"),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"),
    ] {
        let held = named(yaml("{metadata: {finalizers: [customresourcecleanup.apiextensions.k8s.io]}}"), false);
        let rules = rules(group, kind);
        for errors in
            [rules.validate(&held), rules.validate_update(&held, &held), rules.validate_status_update(&held, &held)]
        {
            let said = text_of(errors);
            assert!(!said.contains("finalizer"), "{kind}: {said}");
        }
    }
}

#[test]
fn claims_and_volumes() {
    let claim = "{spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}, status: {phase: Bound, capacity: {storage: 1Gi}}}";
    let with = |more: &str| claim.replacen("spec: {", &format!("spec: {{{more}, "), 1);
    let change = |old: &str, new: &str, expected: Expect| check_update("", "PersistentVolumeClaim", old, new, expected);
    change(claim, &claim.replace("storage: 1Gi}}}", "storage: 2Gi}}}"), expect![[""]]);
    change(
        &claim.replace("storage: 1Gi}}}", "storage: 2Gi}}}"),
        claim,
        expect![[r#"
        spec.resources.requests.storage: Forbidden: field can not be less than status.capacity
    "#]],
    );
    change(claim, &with("volumeName: v"), expect![[""]]);
    change(
        &with("volumeName: v"),
        &with("volumeName: w"),
        expect![[r#"
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            @@ -9,7 +9,7 @@
                "storage": "1Gi"
               }
              },
            - "VolumeName": "v",
            + "VolumeName": "w",
              "StorageClassName": null,
              "VolumeMode": "Filesystem",
              "DataSource": null,

        "#]],
    );
    change(claim, &with("storageClassName: c"), expect![[""]]);
    change(
        &with("storageClassName: c"),
        &with("storageClassName: d"),
        expect![[r#"
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            @@ -10,7 +10,7 @@
               }
              },
              "VolumeName": "",
            - "StorageClassName": "c",
            + "StorageClassName": "d",
              "VolumeMode": "Filesystem",
              "DataSource": null,
              "DataSourceRef": null,

        "#]],
    );
    let annotated = |claim: &str| {
        claim.replacen("{spec", "{metadata: {annotations: {volume.beta.kubernetes.io/storage-class: c}}, spec", 1)
    };
    change(&annotated(claim), &with("storageClassName: c"), expect![[""]]);
    change(
        &annotated(claim),
        claim,
        expect![[r#"
        metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: "": field is immutable
    "#]],
    );
    change(
        &annotated(claim),
        &with("storageClassName: d"),
        expect![[r#"
            metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: "": field is immutable
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            @@ -10,7 +10,7 @@
               }
              },
              "VolumeName": "",
            - "StorageClassName": null,
            + "StorageClassName": "d",
              "VolumeMode": "Filesystem",
              "DataSource": null,
              "DataSourceRef": null,

        "#]],
    );
    change(
        claim,
        &with("volumeMode: Block"),
        expect![[r#"
            spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims
            @@ -11,7 +11,7 @@
              },
              "VolumeName": "",
              "StorageClassName": null,
            - "VolumeMode": "Filesystem",
            + "VolumeMode": "Block",
              "DataSource": null,
              "DataSourceRef": null,
              "VolumeAttributesClassName": null

            volumeMode: Invalid value: "Block": field is immutable
        "#]],
    );
    let current =
        with("volumeAttributesClassName: a").replace("status: {", "status: {currentVolumeAttributesClassName: a, ");
    change(
        &current,
        claim,
        expect![[r#"
        spec.volumeAttributesClassName: Forbidden: update to nil is forbidden when status.currentVolumeAttributesClassName is not nil
    "#]],
    );
    change(
        &current,
        &with("volumeAttributesClassName: ''"),
        expect![[r#"
        spec.volumeAttributesClassName: Forbidden: update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil
    "#]],
    );
    change(&current, &with("volumeAttributesClassName: b"), expect![[""]]);
    check_status(
        "",
        "PersistentVolumeClaim",
        "{spec: {}}",
        "{status: {capacity: {storage: '-1'}, allocatedResources: {cpu: 1, a b: 1, storage: '-1'}, allocatedResourceStatuses: {storage: Odd, cpu: NodeResizePending}}}",
        expect![[r#"
        Spec.accessModes: Required value
        status.capacity[storage]: Invalid value: "-1": must be a valid resource quantity
        status.allocatedResourceStatuses: Unsupported value: "cpu": supported values: "storage"
        status.allocatedResourceStatuses: Unsupported value: "storage": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"
        status.allocatedResources: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.allocatedResources: Unsupported value: "cpu": supported values: "storage"
        status.allocatedResources[storage]: Invalid value: "-1": must be a valid resource quantity
    "#]],
    );
    let volume = "{spec: {accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}, csi: {driver: d.e, volumeHandle: h}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: beta.kubernetes.io/os, operator: In, values: [linux]}]}]}}, volumeAttributesClassName: a}}";
    let change = |old: &str, new: &str, expected: Expect| check_update("", "PersistentVolume", old, new, expected);
    change(volume, &volume.replace("beta.kubernetes.io/os", "kubernetes.io/os"), expect![[""]]);
    change(
        volume,
        &volume.replace("linux", "windows"),
        expect![[r#"
            nodeAffinity: Invalid value: {"Required":{"NodeSelectorTerms":[{"MatchExpressions":[{"Key":"beta.kubernetes.io/os","Operator":"In","Values":["windows"]}],"MatchFields":null}]}}: field is immutable, except for updating from beta label to GA
        "#]],
    );
    change(
        volume,
        &volume.replace(", volumeAttributesClassName: a", ""),
        expect![[r#"
        spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden
    "#]],
    );
    let secret =
        volume.replace("volumeHandle: h", "volumeHandle: h, controllerExpandSecretRef: {name: s, namespace: n}");
    change(volume, &secret, expect![[""]]);
    change(
        &secret,
        volume,
        expect![[r#"
            spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation
            @@ -29,10 +29,7 @@
               "ControllerPublishSecretRef": null,
               "NodeStageSecretRef": null,
               "NodePublishSecretRef": null,
            -  "ControllerExpandSecretRef": {
            -   "Name": "s",
            -   "Namespace": "n"
            -  },
            +  "ControllerExpandSecretRef": null,
               "NodeExpandSecretRef": null
              }
             }

        "#]],
    );
}

#[test]
fn classes_and_their_like() {
    let class = "{provisioner: p, allowedTopologies: [{matchLabelExpressions: [{key: a, values: [b]}]}]}";
    check_update(
        "storage.k8s.io",
        "StorageClass",
        class,
        "{provisioner: q, reclaimPolicy: Retain, volumeBindingMode: WaitForFirstConsumer, parameters: {a: b}, allowedTopologies: [{matchLabelExpressions: [{key: a}]}]}",
        expect![[r#"
        allowedTopologies[0].matchLabelExpressions[0].values: Required value
        parameters: Invalid value: {"a":"b"}: field is immutable
        provisioner: Invalid value: "q": field is immutable
        reclaimPolicy: Invalid value: "Retain": field is immutable
        volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable
    "#]],
    );
    check_update(
        "storage.k8s.io",
        "CSIStorageCapacity",
        "{storageClassName: a, nodeTopology: {}}",
        "{storageClassName: A_, nodeTopology: {matchLabels: {a: b}}, capacity: '-1'}",
        expect![[r#"
        storageClassName: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        capacity: Invalid value: "-1": must be greater than or equal to 0
        nodeTopology: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable
        storageClassName: Invalid value: "A_": field is immutable
    "#]],
    );
    check_update(
        "networking.k8s.io",
        "IPAddress",
        "{metadata: {name: 10.0.0.1}, spec: {parentRef: {resource: services, name: a}}}",
        "{metadata: {name: 10.0.0.1}, spec: {parentRef: {resource: services}}}",
        expect![[r#"
            spec.parentRef.name: Required value
            spec.parentRef: Invalid value: {"Group":"","Resource":"services","Namespace":"","Name":""}: field is immutable
        "#]],
    );
    check_update(
        "coordination.k8s.io",
        "Lease",
        "{spec: {}}",
        "{spec: {strategy: Odd, preferredHolder: h, leaseDurationSeconds: 0}}",
        expect![[r#"
        spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
    "#]],
    );
}

#[test]
fn nodes() {
    let change = |old: &str, new: &str, expected: Expect| check_update("", "Node", old, new, expected);
    change(
        "{spec: {podCIDRs: [10.0.0.0/24], providerID: p, externalID: e}}",
        "{spec: {podCIDRs: [10.0.1.0/24, 10.0.2.1/24], providerID: q, taints: [{key: a, effect: Odd}]}}",
        expect![[r#"
            metadata.taints[0].effect: Unsupported value: "Odd": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec.podCIDRs[1]: Invalid value: "10.0.2.1/24": must not have bits set beyond the prefix length
            spec.podCIDRs: Invalid value: ["10.0.1.0/24","10.0.2.1/24"]: may specify no more than one CIDR for each IP family
            metadata.taints[0].effect: Unsupported value: "Odd": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
            spec.providerID: Forbidden: node updates may not change providerID except from "" to valid
            spec.externalID: Forbidden: may not be updated
        "#]],
    );
    let mut new = named(json!({"spec": {"configSource": {"configMap": {}}}}), false);
    let old = named(json!({"spec": {}}), false);
    of("", "Node").prepare_update(&mut new, &old);
    assert_eq!(new["spec"], json!({}));
    check_status(
        "",
        "Node",
        "{spec: {}}",
        "{status: {addresses: [{type: a, address: b}, {type: a, address: b}], declaredFeatures: [b, a, a]}}",
        expect![[r#"
        status.declaredFeatures[1]: Invalid value: "a": list must be sorted alphabetically
        status.declaredFeatures[2]: Duplicate value: "a"
        status.addresses[1]: Duplicate value: {"address":"b","type":"a"}
    "#]],
    );
}

#[test]
fn services_and_policies() {
    let change = |old: &str, new: &str, expected: Expect| check_update("", "Service", old, new, expected);
    let service = "{spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, ports: [{port: 80}]}}";
    change(
        service,
        &service.replace("10.0.0.1", "10.0.0.2"),
        expect![[r#"
        spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set
    "#]],
    );
    change(
        service,
        "{spec: {type: ExternalName, externalName: a.b, clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack, ports: [{port: 80}]}}",
        expect![[""]],
    );
    change(
        service,
        "{spec: {type: ExternalName, externalName: a.b, clusterIP: 10.0.0.2, clusterIPs: [10.0.0.2], ports: [{port: 80}]}}",
        expect![[r#"
        spec.clusterIPs: Forbidden: may not be set for ExternalName services
    "#]],
    );
    change(
        service,
        &service.replace("clusterIP:", "externalIPs: [10.0.0.01], clusterIP:"),
        expect![[r#"
        spec.externalIPs[0]: Invalid value: "10.0.0.01": must not have leading 0s
    "#]],
    );
    let sloppy = service.replace("clusterIP:", "externalIPs: [8.8.8.08], clusterIP:");
    change(&sloppy, &sloppy, expect![[""]]);
    change(service, &service.replace("{spec", "{metadata: {annotations: {service.kubernetes.io/topology-mode: Auto, service.kubernetes.io/topology-aware-hints: Disabled}}, spec"), expect![[r#"
        metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: "Auto": must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified
    "#]]);
    let policy = |range: &str| {
        format!(
            "{{spec: {{podSelector: {{}}, ingress: [{{from: [{{ipBlock: {{cidr: {range}, except: [10.0.0.1/30]}}}}]}}]}}}}"
        )
    };
    check_update("networking.k8s.io", "NetworkPolicy", &policy("10.0.0.1/24"), &policy("10.0.0.1/24"), expect![[""]]);
    check_update(
        "networking.k8s.io",
        "NetworkPolicy",
        &policy("10.0.0.0/24"),
        &policy("10.0.0.2/24"),
        expect![[r#"
        spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.2/24": must not have bits set beyond the prefix length
    "#]],
    );
    let ingress = "{spec: {defaultBackend: {service: {name: s, port: {number: 1}}}, tls: [{secretName: A_}]}}";
    check_update("networking.k8s.io", "Ingress", ingress, ingress, expect![[""]]);
    check_update(
        "networking.k8s.io",
        "Ingress",
        &ingress.replace("A_", "a"),
        ingress,
        expect![[r#"
        spec.tls[0].secretName: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
    check_status(
        "networking.k8s.io",
        "Ingress",
        ingress,
        "{status: {loadBalancer: {ingress: [{ip: 1.2.3.04, hostname: 1.2.3.4}, {hostname: A_}]}}}",
        expect![[r#"
        status.loadBalancer.ingress[0].ip: Invalid value: "1.2.3.04": must not have leading 0s
        status.loadBalancer.ingress[0].hostname: Invalid value: "1.2.3.4": must be a DNS name, not an IP address
        status.loadBalancer.ingress[1].hostname: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
    "#]],
    );
}

#[test]
fn statuses_of_other_kinds() {
    check_status(
        "",
        "ResourceQuota",
        "{spec: {}}",
        "{status: {hard: {cpu: '-1', odd: 1}, used: {pods: 1m}}}",
        expect![[r#"
        status.hard[cpu]: Invalid value: "-1": must be greater than or equal to 0
        status.hard[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
        status.hard[odd]: Invalid value: "odd": must be a standard resource for quota
        status.used[pods]: Invalid value: "1m": must be an integer
    "#]],
    );
    check_status(
        "policy",
        "PodDisruptionBudget",
        "{spec: {}}",
        "{status: {expectedPods: -1, conditions: [{type: A, status: Odd, lastTransitionTime: '2026-01-01T00:00:00Z', reason: R}]}}",
        expect![[r#"
        status.conditions[0].status: Unsupported value: "Odd": supported values: "False", "True", "Unknown"
        status.expectedPods: Invalid value: -1: must be greater than or equal to 0
    "#]],
    );
    check_status(
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        "{spec: {}}",
        "{status: {typeChecking: {expressionWarnings: [{}]}, conditions: [{type: A}]}}",
        expect![[r#"
        status.typeChecking.expressionWarnings[0].warning: Required value
        status.typeChecking.expressionWarnings[0].fieldRef: Required value
        status.conditions[0].status: Unsupported value: "": supported values: "False", "True", "Unknown"
        status.conditions[0].lastTransitionTime: Required value
        status.conditions[0].reason: Required value
    "#]],
    );
    let mut new = named(yaml("{metadata: {labels: {a: b}}, status: {}}"), false);
    let old = named(yaml("{spec: {}}"), false);
    for (group, kind) in [
        ("flowcontrol.apiserver.k8s.io", "FlowSchema"),
        ("storage.k8s.io", "VolumeAttachment"),
        ("networking.k8s.io", "ServiceCIDR"),
        ("resource.k8s.io", "ResourceClaim"),
    ] {
        let mut new = new.clone();
        of(group, kind).prepare_status_update(&mut new, &old);
        assert_eq!(new["metadata"].get("labels"), None, "{kind}");
    }
    of("", "ServiceAccount").prepare_update(&mut new, &old);
    let mut account = json!({"metadata": {}, "secrets": [{"name": "s", "namespace": "n", "uid": "u"}, {"kind": "k"}]});
    of("", "ServiceAccount").prepare_update(&mut account, &old);
    assert_eq!(account["secrets"], json!([{"name": "s"}, {}]));
}
