//! Pods.

use super::*;

#[test]
fn pods_are_completed() {
    let mut pod = yaml(
        "{spec: {hostNetwork: true, serviceAccountName: s, volumes: [{name: v}], containers: [{name: c, image: 'a:1', ports: [{containerPort: 80}], resources: {limits: {cpu: '1'}}, livenessProbe: {httpGet: {port: 80}}}]}}",
    );
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
    "#]]
    .assert_eq(&serde_yaml::to_string(&pod["spec"]).unwrap());
    of("", "Pod").prepare_create(&mut pod);
    assert_eq!(pod["status"], json!({"phase": "Pending", "qosClass": "Burstable"}));
}

#[test]
fn pods() {
    check("", "Pod", POD, expect![[""]]);
    check(
        "",
        "Pod",
        "{spec: {}}",
        expect![[r#"
        spec.containers: Required value
    "#]],
    );
    check(
        "",
        "Pod",
        "{spec: {restartPolicy: Odd, dnsPolicy: Odd, nodeName: A_, hostname: A.b, activeDeadlineSeconds: 0, containers: [{name: A, image: ' x'}, {name: b, image: ''}, {name: b, image: y, imagePullPolicy: Odd, terminationMessagePolicy: Odd}]}}",
        expect![[r#"
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
    "#]],
    );
    check(
        "",
        "Pod",
        "{spec: {containers: [{name: c, image: i, ports: [{containerPort: 0}, {containerPort: 70000, hostPort: 80, protocol: X, name: A}, {containerPort: 80, name: a}, {containerPort: 81, name: a, hostPort: 80}, {containerPort: 82, hostPort: 80}], resources: {limits: {cpu: 1, odd: 1}, requests: {cpu: 2, memory: -1}}}]}}",
        expect![[r#"
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
    "#]],
    );
    check(
        "",
        "Pod",
        "{spec: {containers: [{name: c, image: i, env: [{name: ''}, {name: 'a=b'}, {name: c, value: v, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: d, valueFrom: {}}, {name: e, valueFrom: {fieldRef: {fieldPath: spec.odd}}}, {name: f, valueFrom: {fieldRef: {fieldPath: status.phase}}}, {name: g, valueFrom: {resourceFieldRef: {resource: odd}}}, {name: h, valueFrom: {configMapKeyRef: {name: n, key: ''}, secretKeyRef: {name: n, key: 'a b'}}}], envFrom: [{}, {prefix: '=', configMapRef: {name: ''}, secretRef: {name: s}}]}]}}",
        expect![[r#"
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
    "#]],
    );
    check(
        "",
        "Pod",
        "{spec: {volumes: [{name: a, hostPath: {path: ''}}, {name: a, emptyDir: {}, secret: {secretName: s}}, {name: b, configMap: {name: '', defaultMode: 9999, items: [{key: '', path: ../x}]}}, {name: v, emptyDir: {}}, {name: v, emptyDir: {}}, {name: p, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 1}}]}}], containers: [{name: c, image: i, volumeMounts: [{name: odd, mountPath: /a}, {name: v, mountPath: ''}, {name: v, mountPath: /a, subPath: /x, mountPropagation: Bidirectional}]}]}}",
        expect![[r#"
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
    "#]],
    );
    check(
        "",
        "Pod",
        "{spec: {initContainers: [{name: i, image: i, readinessProbe: {exec: {command: [a]}}}, {name: c, image: i}], containers: [{name: c, image: i, livenessProbe: {successThreshold: 2, periodSeconds: -1, httpGet: {port: 0, scheme: ftp}}, readinessProbe: {terminationGracePeriodSeconds: 0, exec: {}, tcpSocket: {port: ''}}, startupProbe: {}, lifecycle: {preStop: {sleep: {seconds: 60}}, postStart: {}}}]}}",
        expect![[r#"
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
    "#]],
    );
    check(
        "",
        "Pod",
        "{spec: {nodeSelector: {'a b': c}, tolerations: [{}, {key: a, operator: Exists, value: v, effect: Odd}, {key: a, operator: Odd, tolerationSeconds: 1}], affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: []}}, podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 0, podAffinityTerm: {labelSelector: {matchExpressions: [{key: a, operator: In}]}, topologyKey: ''}}]}}, topologySpreadConstraints: [{maxSkew: 0, topologyKey: '', whenUnsatisfiable: Odd}], schedulingGates: [{name: a}, {name: a}], nodeName: n, containers: [{name: c, image: i}]}}",
        expect![[r#"
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
    "#]],
    );
    check(
        "",
        "Pod",
        "{spec: {securityContext: {runAsUser: -1, sysctls: [{name: 'A'}], seccompProfile: {type: Localhost}}, dnsPolicy: None, containers: [{name: c, image: i, securityContext: {runAsGroup: 9999999999, privileged: true, allowPrivilegeEscalation: false, procMount: Odd}}]}}",
        expect![[r#"
            spec.containers[0].securityContext.runAsGroup: Invalid value: 9999999999: must be between 0 and 2147483647, inclusive
            spec.containers[0].securityContext.procMount: Unsupported value: "Odd": supported values: "Default", "Unmasked"
            spec.containers[0].securityContext: Invalid value: {"Capabilities":null,"Privileged":true,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":9999999999,"RunAsNonRoot":null,"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":"Odd","SeccompProfile":null,"AppArmorProfile":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true
            spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
            spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$
            spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost
            spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None
        "#]],
    );
}

#[test]
fn pods_change_little() {
    check_update(
        "",
        "Pod",
        POD,
        "{metadata: {labels: {a: b}}, spec: {activeDeadlineSeconds: 5, tolerations: [{operator: Exists}], containers: [{name: c, image: other}]}}",
        expect![[""]],
    );
    check_update(
        "",
        "Pod",
        POD,
        "{spec: {containers: [{name: c, image: nginx}, {name: d, image: x}]}}",
        expect![[r#"
        spec.containers: Forbidden: pod updates may not add or remove containers
    "#]],
    );
    check_update(
        "",
        "Pod",
        POD,
        "{spec: {hostname: h, containers: [{name: c, image: nginx}]}}",
        expect![[r#"
            spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            @@ -64,7 +64,7 @@
               "SELinuxChangePolicy": null
              },
              "ImagePullSecrets": null,
            - "Hostname": "",
            + "Hostname": "h",
              "Subdomain": "",
              "SetHostnameAsFQDN": null,
              "Affinity": null,

        "#]],
    );
    check_update(
        "",
        "Pod",
        "{spec: {activeDeadlineSeconds: 5, tolerations: [{key: a, operator: Exists}], containers: [{name: c, image: i}]}}",
        "{spec: {containers: [{name: c, image: i}]}}",
        expect![[r#"
        spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value
        spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
    "#]],
    );
    let old =
        named(yaml("{spec: {containers: [{name: c, image: i}], ephemeralContainers: [{name: e, image: i}]}}"), true);
    let mut new = named(yaml(POD), true);
    of("", "Pod").default(&mut new);
    assert_eq!(
        text_of(crate::rules::validate_ephemeral_containers(&new, &old)),
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
        assert_eq!(crate::rules::qos_class(&yaml(&format!("{{containers: {containers}}}"))), class, "{containers}");
    }
}

#[test]
fn amounts_of_pods_as_a_whole() {
    let pod = |resources: &str, container: &str| {
        format!(
            "{{spec: {{resources: {{{resources}}}, containers: [{{name: c, image: i, resources: {{{container}}}}}, {{name: d, image: i, resources: {{requests: {{cpu: 100m}}}}}}]}}}}"
        )
    };
    let completed = |resources: &str, container: &str| {
        let mut pod = yaml(&pod(resources, container));
        of("", "Pod").default(&mut pod);
        of("", "Pod").prepare_create(&mut pod);
        (pod["spec"]["resources"].to_string(), pod["status"]["qosClass"].to_string())
    };
    let burstable = "\"Burstable\"".to_owned();
    let cpu = r#"{"requests":{"cpu":"1"}}"#.to_owned();
    assert_eq!(completed("requests: {cpu: '1'}", "requests: {cpu: 100m}"), (cpu, burstable.clone()));
    // What containers ask for, or else the limits.
    let both = r#"{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"300m","memory":"1Gi"}}"#.to_owned();
    assert_eq!(completed("limits: {cpu: '2', memory: 1Gi}", "requests: {cpu: 200m}"), (both, burstable));
    let same = r#"{"limits":{"cpu":"2","memory":"1Gi"},"requests":{"cpu":"2","memory":"1Gi"}}"#.to_owned();
    let guaranteed = "\"Guaranteed\"".to_owned();
    assert_eq!(completed("limits: {cpu: '2', memory: 1Gi}, requests: {cpu: '2'}", ""), (same, guaranteed));
    let (huge, _) = completed("requests: {cpu: '1'}", "limits: {hugepages-2Mi: 4Mi, cpu: 100m}");
    assert_eq!(huge, r#"{"limits":{"hugepages-2Mi":"4Mi"},"requests":{"cpu":"1","hugepages-2Mi":"4Mi"}}"#);
    let refused =
        |resources: &str, container: &str, expected: Expect| check("", "Pod", &pod(resources, container), expected);
    refused(
        "requests: {cpu: 150m}, limits: {cpu: '1'}",
        "requests: {cpu: 100m}, limits: {cpu: '2'}",
        expect![[r#"
        spec.resources.requests[cpu]: Invalid value: "150m": must be greater than or equal to aggregate container requests of 200m
        spec.resources.containers[0][cpu].limits: Invalid value: "2": must be less than or equal to pod limits of 1
    "#]],
    );
    refused(
        "requests: {cpu: '2', a.b/c: 1, storage: 1}, limits: {cpu: '1', memory: '-1'}, claims: [{name: c}]",
        "",
        expect![[r#"
            spec.resources.claims: Forbidden: claims may not be set for Resources at pod-level
            spec.resources.limits[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.resources.requests[a.b/c]: Unsupported value: "a.b/c": supported values: "cpu", "hugepages-", "memory"
            spec.resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0
            spec.resources.requests[storage]: Unsupported value: "storage": supported values: "cpu", "hugepages-", "memory"
            spec.resources.limits: Required value: Limit must be set for non overcommitable resources
            spec.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1
            spec.resources.claims[0]: Not found: "c": must be one of the names in pod.spec.resourceClaims which is empty
        "#]],
    );
    refused(
        "limits: {hugepages-2Mi: 2Mi, cpu: '1'}",
        "limits: {hugepages-2Mi: 4Mi, cpu: 100m}",
        expect![[r#"
        spec.resources.requests[hugepages-2Mi]: Invalid value: "2Mi": must be greater than or equal to aggregate container requests of 4Mi
        spec.resources.limits[hugepages-2Mi]: Invalid value: "2Mi": must be greater than or equal to aggregate container limits of 4Mi
        spec.resources.containers[0][hugepages-2Mi].limits: Invalid value: "4Mi": must be less than or equal to pod limits of 2Mi
    "#]],
    );
    check(
        "",
        "Pod",
        "{spec: {os: {name: windows}, resources: {requests: {cpu: 1}}, containers: [{name: c, image: i}]}}",
        expect![[r#"
            spec.resources: Forbidden: may not be set for a windows pod
        "#]],
    );
}
