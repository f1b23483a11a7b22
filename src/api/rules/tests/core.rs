//! The other kinds of the core group.

use super::*;

#[test]
fn config_maps() {
    check(
        "",
        "ConfigMap",
        "{data: {ok: v, 'a b': v, both: v}, binaryData: {both: AA==}}",
        expect![[r#"
        data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')
        data[both]: Invalid value: "both": duplicate of key present in binaryData
    "#]],
    );
    let big = format!("{{data: {{a: {}}}}}", "x".repeat(1024 * 1024 + 1));
    check(
        "",
        "ConfigMap",
        &big,
        expect![[r#"
        []: Too long: may not be more than 1048576 bytes
    "#]],
    );
    check_update(
        "",
        "ConfigMap",
        "{immutable: true, data: {a: b}}",
        "{data: {a: c}, binaryData: {x: AA==}}",
        expect![[r#"
        immutable: Forbidden: field is immutable when `immutable` is set
        data: Forbidden: field is immutable when `immutable` is set
        binaryData: Forbidden: field is immutable when `immutable` is set
    "#]],
    );
}

#[test]
fn secrets() {
    let mut secret = json!({"stringData": {"a": "b"}, "data": {"c": "ZA=="}});
    of("", "Secret").default(&mut secret);
    assert_eq!(secret, json!({"type": "Opaque", "data": {"a": "Yg==", "c": "ZA=="}}));
    for (fixture, expected) in [
        (
            "{type: kubernetes.io/tls}",
            expect![[r#"
            data[tls.crt]: Required value
            data[tls.key]: Required value
        "#]],
        ),
        (
            "{type: kubernetes.io/basic-auth}",
            expect![[r#"
            data[username]: Required value
            data[password]: Required value
        "#]],
        ),
        (
            "{type: kubernetes.io/ssh-auth}",
            expect![[r#"
            data[ssh-privatekey]: Required value
        "#]],
        ),
        (
            "{type: kubernetes.io/dockerconfigjson}",
            expect![[r#"
            data[.dockerconfigjson]: Required value
        "#]],
        ),
        (
            "{type: kubernetes.io/dockercfg, data: {.dockercfg: ''}}",
            expect![[r#"
            data[.dockercfg]: Invalid value: "<secret contents redacted>": unexpected end of JSON input
        "#]],
        ),
        (
            "{type: kubernetes.io/service-account-token}",
            expect![[r#"
            metadata.annotations[kubernetes.io/service-account.name]: Required value
        "#]],
        ),
    ] {
        check("", "Secret", fixture, expected);
    }
    check_update(
        "",
        "Secret",
        "{type: a/b, immutable: true}",
        "{type: c/d, data: {a: AA==}}",
        expect![[r#"
        type: Invalid value: "c/d": field is immutable
        immutable: Forbidden: field is immutable when `immutable` is set
        data: Forbidden: field is immutable when `immutable` is set
    "#]],
    );
}

#[test]
fn services() {
    let mut service = yaml("{spec: {sessionAffinity: ClientIP, ports: [{port: 80}]}}");
    of("", "Service").default(&mut service);
    assert_eq!(
        service["spec"],
        json!({"type": "ClusterIP", "sessionAffinity": "ClientIP", "internalTrafficPolicy": "Cluster",
        "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}, "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]})
    );
    for (fixture, expected) in [
        (
            "{spec: {}}",
            expect![[r#"
            spec.ports: Required value
        "#]],
        ),
        (
            "{metadata: {name: 1a}, spec: {type: Odd, sessionAffinity: Odd, ports: [{port: 0, protocol: X, targetPort: A}, {port: 0, protocol: X}]}}",
            expect![[r#"
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
                spec.ports[1]: Duplicate value: {"Name":"","Protocol":"X","AppProtocol":null,"Port":0,"TargetPort":0,"NodePort":0}
            "#]],
        ),
        (
            "{spec: {type: NodePort, clusterIP: None, clusterIPs: [None], externalIPs: [127.0.0.1, x], externalTrafficPolicy: Odd, ports: [{port: 80}]}}",
            expect![[r#"
            spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services
            spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
            spec.externalIPs[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
            spec.externalTrafficPolicy: Unsupported value: "Odd": supported values: "Cluster", "Local"
        "#]],
        ),
        (
            "{spec: {type: ExternalName, clusterIPs: [1.2.3.4]}}",
            expect![[r#"
            spec.clusterIPs: Forbidden: may not be set for ExternalName services
            spec.externalName: Required value
        "#]],
        ),
        (
            "{spec: {clusterIP: 1.2.3.4, clusterIPs: [1.2.3.5, x, y], ipFamilies: [IPv4, IPv4, Odd], ipFamilyPolicy: Odd, loadBalancerSourceRanges: [x], healthCheckNodePort: 1, externalTrafficPolicy: Local, loadBalancerClass: a/b, allocateLoadBalancerNodePorts: true, sessionAffinity: None, ports: [{port: 80, nodePort: 30000}]}}",
            expect![[r#"
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
        "#]],
        ),
    ] {
        check("", "Service", fixture, expected);
    }
    check_update(
        "",
        "Service",
        "{spec: {clusterIP: 1.2.3.4, clusterIPs: [1.2.3.4], ports: [{port: 80}]}}",
        "{spec: {clusterIP: 1.2.3.5, clusterIPs: [1.2.3.5], ports: [{port: 80}]}}",
        expect![[r#"
        spec.clusterIPs[0]: Invalid value: ["1.2.3.5"]: may not change once set
    "#]],
    );
}

#[test]
fn nodes_and_namespaces() {
    check(
        "",
        "Node",
        "{spec: {podCIDRs: [x, 1.2.3.0/24], taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}, {key: b, value: '-', effect: Odd}]}, status: {capacity: {pods: 100m}}}",
        expect![[r#"
            metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule","TimeAdded":null}: taints must be unique by key and effect pair
            metadata.taints[2].value: Invalid value: "-": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            metadata.taints[2].effect: Unsupported value: "Odd": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"
            status.capacity.pods: Invalid value: "100m": must be an integer
            status.allocatable.pods: Invalid value: "100m": must be an integer
            spec.podCIDRs[0]: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
            spec.podCIDRs: Invalid value: ["x","1.2.3.0/24"]: may specify no more than one CIDR for each IP family
        "#]],
    );
    check_update(
        "",
        "Node",
        "{spec: {podCIDR: 1.2.3.0/24, providerID: a}}",
        "{spec: {podCIDR: 1.2.4.0/24, providerID: b}}",
        expect![[r#"
        spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid
        spec.providerID: Forbidden: node updates may not change providerID except from "" to valid
    "#]],
    );
    let mut namespace = yaml("{metadata: {name: n}}");
    of("", "Namespace").default(&mut namespace);
    of("", "Namespace").prepare_create(&mut namespace);
    assert_eq!(
        namespace,
        json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
    );
}

#[test]
fn endpoints_leases_events() {
    check(
        "",
        "Endpoints",
        "{subsets: [{}, {addresses: [{ip: 127.0.0.1, hostname: A, nodeName: B}], ports: [{port: 0}, {port: 1, name: p}]}]}",
        expect![[r#"
        subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`
        subsets[1].addresses[0].hostname: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        subsets[1].addresses[0].nodeName: Invalid value: "B": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        subsets[1].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)
        subsets[1].ports[0].name: Required value
        subsets[1].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive
    "#]],
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        "{addressType: IPv4, endpoints: [{addresses: []}, {addresses: ['::2', x]}], ports: [{name: a}, {name: a, protocol: X}]}",
        expect![[r#"
        ports[1].name: Duplicate value: "a"
        ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP"
        endpoints[0].addresses: Required value: must contain at least 1 address
        endpoints[1].addresses: Invalid value: "::2": must be an IPv4 address
        endpoints[1].addresses[1]: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)
    "#]],
    );
    check_update(
        "discovery.k8s.io",
        "EndpointSlice",
        "{addressType: IPv4, endpoints: []}",
        "{addressType: IPv6, endpoints: []}",
        expect![[r#"
        addressType: Invalid value: "IPv6": field is immutable
    "#]],
    );
    check(
        "coordination.k8s.io",
        "Lease",
        "{spec: {leaseDurationSeconds: 0, leaseTransitions: -1, preferredHolder: h}}",
        expect![[r#"
            spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0
            spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0
        "#]],
    );
    check(
        "",
        "Event",
        "{metadata: {name: pod.17a2}, involvedObject: {namespace: other}}",
        expect![[r#"
        involvedObject.namespace: Invalid value: "other": does not match event.namespace
    "#]],
    );
    check(
        "events.k8s.io",
        "Event",
        "{regarding: {namespace: default}, eventTime: '2024-01-01T00:00:00.000000Z', deprecatedCount: 1, series: {count: 1}}",
        expect![[r#"
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
    "#]],
    );
}
