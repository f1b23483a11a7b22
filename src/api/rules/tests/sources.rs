//! Sources of volumes that once were built into nodes, and what pods say about Windows, files and huge pages.

use super::*;

fn volume(source: &str, expected: Expect) {
    let spec = format!("{{spec: {{capacity: {{storage: 1Gi}}, accessModes: [ReadWriteOnce], {source}}}}}");
    check("", "PersistentVolume", &spec, expected);
}

fn pod(spec: &str, expected: Expect) {
    check("", "Pod", &format!("{{spec: {{{spec}}}}}"), expected);
}

#[test]
fn sources_of_volumes_are_checked() {
    for (source, expected) in [
        (
            "iscsi: {targetPortal: p, iqn: x, lun: 256, chapAuthSession: true, initiatorName: eui.1}",
            expect![[r#"
            spec.iscsi.iqn: Invalid value: "x": must be valid format
            spec.iscsi.lun: Invalid value: 256: must be between 0 and 255, inclusive
            spec.iscsi.secretRef: Required value
            spec.iscsi.initiatorname: Invalid value: "eui.1": must be valid format
        "#]],
        ),
        (
            "iscsi: {targetPortal: p, iqn: 'iqn.2014-12.com.example:a', secretRef: {}}",
            expect![[r#"
            spec.iscsi.secretRef.name: Required value
        "#]],
        ),
        (
            "fc: {}",
            expect![[r#"
            spec.fc.targetWWNs: Required value: must specify either targetWWNs or wwids, but not both
        "#]],
        ),
        (
            "fc: {targetWWNs: [a], wwids: [b], lun: -1}",
            expect![[r#"
            spec.fc.targetWWNs: Invalid value: ["a"]: targetWWNs and wwids can not be specified simultaneously
            spec.fc.lun: Invalid value: -1: must be between 0 and 255, inclusive
        "#]],
        ),
        (
            "fc: {targetWWNs: [a]}",
            expect![[r#"
            spec.fc.lun: Required value: lun is required if targetWWNs is specified
        "#]],
        ),
        (
            "gcePersistentDisk: {pdName: '', partition: 256}",
            expect![[r#"
            spec.persistentDisk.pdName: Required value
            spec.persistentDisk.partition: Invalid value: 256: must be between 1 and 255, inclusive
        "#]],
        ),
        (
            "glusterfs: {endpoints: '', path: '', endpointsNamespace: ''}",
            expect![[r#"
            spec.glusterfs.endpoints: Required value
            spec.glusterfs.path: Required value
            spec.glusterfs.endpointsNamespace: Invalid value: "": if the endpointnamespace is set, it must be a valid namespace name
        "#]],
        ),
        (
            "flocker: {datasetName: a/b, datasetUUID: u}",
            expect![[r#"
            spec.flocker: Invalid value: "resource": datasetName and datasetUUID can not be specified simultaneously
            spec.flocker.datasetName: Invalid value: "a/b": must not contain '/'
        "#]],
        ),
        (
            "flocker: {}",
            expect![[r#"
            spec.flocker: Required value: one of datasetName and datasetUUID is required
        "#]],
        ),
        (
            "rbd: {image: ''}",
            expect![[r#"
            spec.rbd.monitors: Required value
            spec.rbd.image: Required value
        "#]],
        ),
        (
            "quobyte: {registry: 'a,b:1', volume: ''}",
            expect![[r#"
            spec.quobyte.registry: Invalid value: "a,b:1": must be a host:port pair or multiple pairs separated by commas
            spec.quobyte.volume: Required value
        "#]],
        ),
        (
            "cinder: {volumeID: '', secretRef: {}}",
            expect![[r#"
            spec.cinder.volumeID: Required value
            spec.cinder.secretRef.name: Required value
            spec.cinder.secretRef.namespace: Required value
        "#]],
        ),
        (
            "storageos: {volumeName: A, volumeNamespace: B, secretRef: {name: n}}",
            expect![[r#"
            spec.storageos.volumeName: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.storageos.volumeNamespace: Invalid value: "B": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.storageos.secretRef.namespace: Required value
        "#]],
        ),
        (
            "flexVolume: {driver: '', options: {a.K8s.io/b: c, kubernetes.io: d, x/y: z}}",
            expect![[r#"
            spec.flexVolume.driver: Required value
            spec.flexVolume.options[a.K8s.io/b]: Invalid value: "a.K8s.io/b": kubernetes.io and k8s.io namespaces are reserved
            spec.flexVolume.options[kubernetes.io]: Invalid value: "kubernetes.io": kubernetes.io and k8s.io namespaces are reserved
        "#]],
        ),
        (
            "azureFile: {secretName: '', shareName: '', secretNamespace: ''}",
            expect![[r#"
            spec.azureFile.secretName: Required value
            spec.azureFile.shareName: Required value
            spec.azureFile.secretNamespace: Required value
        "#]],
        ),
        (
            "azureDisk: {diskName: d, diskURI: u, kind: Managed, cachingMode: Odd}",
            expect![[r#"
            spec.azureDisk.cachingMode: Unsupported value: "Odd": supported values: "None", "ReadOnly", "ReadWrite"
            spec.azureDisk.diskURI: Unsupported value: "u": supported values: "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
        "#]],
        ),
        (
            "azureDisk: {diskName: d, diskURI: u, kind: Shared}",
            expect![[r#"
            spec.azureDisk.diskURI: Unsupported value: "u": supported values: "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
        "#]],
        ),
        (
            "scaleIO: {gateway: g, system: s}",
            expect![[r#"
            spec.scaleIO.volumeName: Required value
        "#]],
        ),
        (
            "hostPath: {path: /a}, flexVolume: {driver: d}, csi: {driver: d, volumeHandle: h}",
            expect![[r#"
            spec.csi: Forbidden: may not specify more than 1 volume type
        "#]],
        ),
        (
            "local: {path: a/../b}",
            expect![[r#"
            spec.local.path: Invalid value: "a/../b": must not contain '..'
            spec.nodeAffinity: Required value: Local volume requires node affinity
        "#]],
        ),
    ] {
        volume(source, expected);
    }
    pod(
        "containers: [{name: c, image: i}], volumes: [{name: v, iscsi: {targetPortal: p, iqn: x}}]",
        expect![[r#"
        spec.volumes[0].iscsi.iqn: Invalid value: "x": must be valid format starting with iqn, eui, or naa
    "#]],
    );
}

#[test]
fn windows_has_options_of_its_own() {
    for (spec, expected) in [
        (
            "os: {name: linux}, containers: [{name: c, image: i, securityContext: {windowsOptions: {gmsaCredentialSpec: '', gmsaCredentialSpecName: A_, runAsUserName: 'a\\b\\c'}}}]",
            expect![[r#"
                spec.containers[0].securityContext.windowsOptions.gmsaCredentialSpecName: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                spec.containers[0].securityContext.windowsOptions.gmsaCredentialSpec: Invalid value: "": gmsaCredentialSpec cannot be an empty string
                spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: "a\\b\\c": runAsUserName cannot contain more than one backslash
                spec.containers[0].securityContext.windowsOptions: Forbidden: windows options cannot be set for a linux pod
            "#]],
        ),
        (
            "os: {name: windows}, hostPID: true, securityContext: {fsGroup: 1, windowsOptions: {hostProcess: true, runAsUserName: '. .'}}, containers: [{name: c, image: i, securityContext: {privileged: true, windowsOptions: {hostProcess: false, runAsUserName: '-a-\\b@c'}}}]",
            expect![[r#"
                spec.containers[0].securityContext.windowsOptions.runAsUserName: Invalid value: "-a-\\b@c": runAsUserName's User cannot contain the following characters: "/\:;|=,+*?<>@[]
                spec.securityContext.windowsOptions.runAsUserName: Invalid value: ". .": runAsUserName's User cannot contain only periods or spaces
                spec.containers[0].securityContext.windowsOptions.hostProcess: Invalid value: false: pod hostProcess value must be identical if both are specified, was true
                spec.hostPID: Forbidden: cannot be set for a windows pod
                spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod
                spec.containers[0].securityContext.privileged: Forbidden: cannot be set for a windows pod
            "#]],
        ),
        (
            "os: {name: plan9}, containers: [{name: c, image: i}]",
            expect![[r#"
            spec.os: Unsupported value: "plan9": supported values: "linux", "windows"
        "#]],
        ),
    ] {
        pod(spec, expected);
    }
}

#[test]
fn what_containers_name_is_in_the_pod() {
    for (spec, expected) in [
        (
            "volumes: [{name: v, hostPath: {path: /}}], containers: [{name: c, image: i, env: [{name: A, valueFrom: {fileKeyRef: {volumeName: v, path: ../x, key: 'a=b'}}}, {name: B, valueFrom: {fileKeyRef: {volumeName: w, path: p, key: k}}}]}]",
            expect![[r#"
                spec.containers[0].env[0].valueFrom.fileKeyRef.key: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '='
                spec.containers[0].env[0].valueFrom.fileKeyRef.path: Invalid value: "../x": must not contain '..'
                spec.containers[0].env[0].valueFrom.fileKeyRef.volumeName: Invalid value: "v": referenced volume must be of type emptyDir
                spec.containers[0].env[1].valueFrom.fileKeyRef.volumeName: Not found: "w"
            "#]],
        ),
        (
            "resourceClaims: [{name: a, resourceClaimName: A_}, {name: b}], containers: [{name: c, image: i, resources: {claims: [{name: a, request: r}, {name: a, request: r}, {name: a}, {name: c}]}}]",
            expect![[r#"
                spec.resourceClaims[0].resourceClaimName: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
                spec.resourceClaims[1]: Invalid value: {"Name":"b","ResourceClaimName":null,"ResourceClaimTemplateName":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`
                spec.containers[0].resources.claims[1]: Duplicate value: "a/r"
                spec.containers[0].resources.claims[2]: Duplicate value: "a"
                spec.containers[0].resources.claims[3]: Not found: "c": must be one of the names in pod.spec.resourceClaims: a, b
            "#]],
        ),
        (
            "containers: [{name: c, image: i, resources: {limits: {cpu: 1, hugepages-2Mi: 3Mi}, requests: {cpu: 1, hugepages-2Mi: 3Mi}}}]",
            expect![[r#"
                spec.containers[0].resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
                spec.containers[0].resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of hugepages-2Mi
            "#]],
        ),
        (
            "hostUsers: false, hostIPC: true, containers: [{name: c, image: i}]",
            expect![[r#"
            spec.HostIPC: Forbidden: when `hostUsers` is false
        "#]],
        ),
        (
            "dnsConfig: {searches: [_a.b_c, '-a', .]}, containers: [{name: c, image: i}]",
            expect![[r#"
            spec.dnsConfig.searches[1]: Invalid value: "-a": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*')
        "#]],
        ),
    ] {
        pod(spec, expected);
    }
}

#[test]
fn broken_huge_pages_of_before_are_kept() {
    const BROKEN: &str = "{spec: {containers: [{name: c, image: IMAGE, resources: {limits: {cpu: 1, hugepages-2Mi: 3Mi}, requests: {cpu: 1, hugepages-2Mi: 3Mi}}}]}}";
    check_update("", "Pod", &BROKEN.replace("IMAGE", "'a:1'"), &BROKEN.replace("IMAGE", "'a:2'"), expect![[""]]);
}

#[test]
fn templates_of_claims_have_labels_and_annotations_only() {
    check(
        "resource.k8s.io",
        "ResourceClaimTemplate",
        "{spec: {metadata: {name: n, uid: u, labels: {a: b}}, spec: {devices: {requests: [{name: a, exactly: {deviceClassName: c}}]}}}}",
        expect![[r#"
            spec.metadata.name: Forbidden: cannot be set
            spec.metadata.uID: Forbidden: cannot be set
        "#]],
    );
}

#[test]
fn only_references_of_images_have_the_latest_tag() {
    for (image, policy) in [
        ("nginx", "Always"),
        ("localhost:5000/a/b", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("", "IfNotPresent"),
        ("Bad_Value!", "IfNotPresent"),
        ("UPPER", "IfNotPresent"),
    ] {
        let mut pod = yaml("{spec: {containers: [{name: c}], terminationGracePeriodSeconds: -5}}");
        pod["spec"]["containers"][0]["image"] = image.into();
        of("", "Pod").default(&mut pod);
        assert_eq!(pod["spec"]["containers"][0]["imagePullPolicy"], policy, "{image}");
        assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 1);
    }
}

#[test]
fn a_job_without_labels_has_those_of_its_pods() {
    let rules = rules("batch", "Job");
    let made = |fixture: &str| {
        let mut job = yaml(fixture);
        job["metadata"]["name"] = "j".into();
        rules.default(&mut job);
        job["metadata"]["uid"] = "u".into();
        rules.prepare_create(&mut job);
        job["metadata"]["labels"].to_string()
    };
    expect![[r#"{"a":"b","batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"u","job-name":"j"}"#]]
        .assert_eq(&made("{metadata: {}, spec: {template: {metadata: {labels: {a: b}}, spec: {}}}}"));
    assert_eq!(
        made("{metadata: {labels: {a: b}}, spec: {template: {metadata: {labels: {a: b}}, spec: {}}}}"),
        r#"{"a":"b"}"#
    );
}

#[test]
fn old_ways_of_app_armor_say_what_the_field_says() {
    const KEY: &str = "container.apparmor.security.beta.kubernetes.io";
    for (key, profile, context, expected) in [
        (
            "c",
            "bad",
            "{}",
            expect![[r#"
            metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Invalid value: "bad": invalid AppArmor profile name: "bad"
        "#]],
        ),
        (
            "none",
            "localhost/p",
            "{}",
            expect![[r#"
            metadata.annotations[container.apparmor.security.beta.kubernetes.io/none]: Invalid value: "none": container not found
        "#]],
        ),
        (
            "c",
            "unconfined",
            "{appArmorProfile: {type: RuntimeDefault}}",
            expect![[r#"
            spec.containers[0].securityContext.appArmorProfile.type: Forbidden: apparmor type in annotation and field must match
        "#]],
        ),
        (
            "c",
            "localhost/p",
            "{appArmorProfile: {type: Localhost, localhostProfile: q}}",
            expect![[r#"
            spec.containers[0].securityContext.appArmorProfile.localhostProfile: Forbidden: apparmor profile in annotation and field must match
        "#]],
        ),
        ("c", "localhost/p", "{appArmorProfile: {type: Localhost, localhostProfile: p}}", expect![[""]]),
    ] {
        check(
            "",
            "Pod",
            &format!(
                "{{metadata: {{annotations: {{'{KEY}/{key}': '{profile}'}}}}, spec: {{containers: [{{name: c, image: i, securityContext: {context}}}]}}}}"
            ),
            expected,
        );
    }
}

#[test]
fn configurations_of_registries_are_maps() {
    for (data, expected) in [
        (
            "eA==",
            expect![[r#"
            data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": invalid character 'x' looking for beginning of value
        "#]],
        ),
        (
            "W10=",
            expect![[r#"
            data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array into Go value of type map[string]interface {}
        "#]],
        ),
        ("e30=", expect![[""]]),
        (
            "",
            expect![[r#"
            data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": unexpected end of JSON input
        "#]],
        ),
    ] {
        let secret = format!("{{type: kubernetes.io/dockerconfigjson, data: {{.dockerconfigjson: '{data}'}}}}");
        check("", "Secret", &secret, expected);
    }
}
