//! What extends the API server, and the addresses of Services.

use super::*;

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
        let expected = if expected.is_empty() {
            String::new()
        } else {
            format!("metadata.name: Invalid value: {name:?}: {expected}\n")
        };
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
            spec.parentRef: Invalid value: {"Group":"","Resource":"services","Namespace":"b","Name":"other"}: field is immutable
        "#]],
    );
}

#[test]
fn ranges_of_services() {
    let kind = ("networking.k8s.io", "ServiceCIDR");
    for (ranges, expected) in [
        ("[10.0.0.0/24]", expect![[""]]),
        ("[10.0.0.0/24, \"fd00::/64\"]", expect![[""]]),
        (
            "[]",
            expect![[r#"
            spec.cidrs: Required value: at least one CIDR required
        "#]],
        ),
        (
            "[10.0.0.0/24, 10.0.1.0/24]",
            expect![[r#"
            spec.cidrs: Invalid value: ["10.0.0.0/24","10.0.1.0/24"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64
        "#]],
        ),
        (
            "[10.0.0.1/24]",
            expect![[r#"
            spec.cidrs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length
        "#]],
        ),
        (
            "[10.0.0.00/024]",
            expect![[r#"
            spec.cidrs[0]: Invalid value: "10.0.0.00/024": must not have leading 0s in IP or prefix length
        "#]],
        ),
        (
            "[\"FD00::/64\"]",
            expect![[r#"
            spec.cidrs[0]: Invalid value: "FD00::/64": must be in canonical form ("fd00::/64")
        "#]],
        ),
        (
            "[nonsense]",
            expect![[r#"
            spec.cidrs[0]: Invalid value: "nonsense": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)
        "#]],
        ),
        (
            "[10.0.0.0/0, a, b]",
            expect![[r#"
            spec.cidrs: Invalid value: {"cidrs":["10.0.0.0/0","a","b"]}: may only hold up to 2 values
        "#]],
        ),
    ] {
        check(kind.0, kind.1, &format!("spec: {{cidrs: {ranges}}}"), expected);
    }
    check_update(
        kind.0,
        kind.1,
        "spec: {cidrs: [10.0.0.0/24]}",
        "spec: {cidrs: [10.0.0.0/24, \"fd00::/64\"]}",
        expect![[""]],
    );
    check_update(
        kind.0,
        kind.1,
        "spec: {cidrs: [10.0.0.0/24]}",
        "spec: {cidrs: [10.0.1.0/24]}",
        expect![[r#"
        spec.cidrs[0]: Invalid value: "10.0.1.0/24": field is immutable
    "#]],
    );
    check_update(
        kind.0,
        kind.1,
        "spec: {cidrs: [10.0.0.0/24, \"fd00::/64\"]}",
        "spec: {cidrs: [10.0.0.0/24]}",
        expect![[r#"
        spec.cidrs: Invalid value: ["10.0.0.0/24"]: field is immutable
    "#]],
    );
}

#[test]
fn a_claim_asks_for_devices_in_one_way_each() {
    check(
        "resource.k8s.io",
        "ResourceClaim",
        "spec: {devices: {requests: [{name: a, exactly: {deviceClassName: gpu}}, {name: b, firstAvailable: [{name: c, deviceClassName: gpu, count: 2}, {name: d, deviceClassName: gpu, allocationMode: All}]}], constraints: [{requests: [a, b/c], matchAttribute: dra.example.com/numa}], config: [{requests: [b], opaque: {driver: dra.example.com, parameters: {kind: x}}}]}}",
        expect![""],
    );
    check(
        "resource.k8s.io",
        "ResourceClaim",
        "spec: {devices: {requests: [{name: a}, {name: a, exactly: {deviceClassName: '', allocationMode: All, count: 1, tolerations: [{operator: Exists, value: x}]}}, {name: c, exactly: {deviceClassName: gpu, count: -1, selectors: [{cel: {expression: 'device.driver'}}]}}], constraints: [{requests: [z], matchAttribute: numa}, {}], config: [{opaque: {driver: d, parameters: [1]}}]}}",
        expect![[r#"
            spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required
            spec.devices.requests[1].exactly.deviceClassName: Required value
            spec.devices.requests[1].exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'
            spec.devices.requests[1].exactly.tolerations[0].value: Invalid value: "x": must be empty for operator `Exists`
            spec.devices.requests[2].exactly.selectors[0].cel.expression: Invalid value: "device.driver": must evaluate to bool or the unknown type, not string
            spec.devices.requests[2].exactly.count: Invalid value: -1: must be greater than zero
            spec.devices.requests[1]: Duplicate value: "a"
            spec.devices.constraints[0].requests[0]: Invalid value: "z": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
            spec.devices.constraints[0].matchAttribute: Invalid value: "numa": a fully qualified name must be a domain and a name separated by a slash
            spec.devices.constraints[1]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set
            spec.devices.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object
        "#]],
    );
}

#[test]
fn what_a_claim_got_stays_until_it_is_given_back() {
    let claim = |status: &str| {
        yaml(&format!(
            "metadata: {{name: x, namespace: default, uid: u, resourceVersion: '1'}}\nspec: {{devices: {{requests: [{{name: a, exactly: {{deviceClassName: gpu, allocationMode: ExactCount, count: 1}}}}]}}}}\nstatus: {status}"
        ))
    };
    let result = |device: &str| {
        format!("allocation: {{devices: {{results: [{{request: a, driver: d, pool: p, device: {device}}}]}}}}")
    };
    let consumer = "reservedFor: [{resource: pods, name: q, uid: v}]";
    let update = |new: &str, old: &str, expected: Expect| {
        let rules = rules("resource.k8s.io", "ResourceClaim");
        let (mut new, old) = (claim(new), claim(old));
        rules.prepare_status_update(&mut new, &old);
        expected.assert_eq(&text_of(rules.validate_status_update(&new, &old)));
    };
    let one = result("g1");
    update("{allocation: {}}", "{}", expect![""]);
    update(&format!("{{{one}, {consumer}}}"), "{}", expect![""]);
    update(
        &format!("{{{consumer}}}"),
        "{}",
        expect![[r#"
        status.reservedFor: Forbidden: may not be specified when `allocated` is not set
    "#]],
    );
    update(
        &format!("{{{}}}", result("g2")),
        &format!("{{{one}}}"),
        expect![[r#"
        status.allocation: Invalid value: {"devices":{"results":[{"device":"g2","driver":"d","pool":"p","request":"a"}]}}: field is immutable
    "#]],
    );
    update("{}", &format!("{{{one}}}"), expect![""]);
    update(
        &format!("{{{}}}", one.replace("request: a", "request: z")),
        "{}",
        expect![[r#"
        status.allocation.devices.results[0].request: Invalid value: "z": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'
    "#]],
    );
    let device = "devices: [{driver: d, pool: p, device: g1}]";
    update(&format!("{{{one}, {device}}}"), &format!("{{{one}}}"), expect![""]);
    update(&format!("{{{device}}}"), &format!("{{{one}, {device}}}"), expect![""]);
    update(
        &format!("{{{device}}}"),
        "{}",
        expect![[r#"
        status.devices[0]: Invalid value: {"Device":"g1","Driver":"d","Pool":"p","ShareID":""}: must be an allocated device in the claim
    "#]],
    );
}

#[test]
fn a_slice_says_where_its_devices_are() {
    check(
        "resource.k8s.io",
        "ResourceSlice",
        "spec: {driver: d.example.com, pool: {name: p/q, generation: 1, resourceSliceCount: 1}, nodeName: n, devices: [{name: a, attributes: {model: {string: x}, d/version: {version: 1.2.3-rc.1+b}}, capacity: {memory: {value: 1Gi}}, taints: [{key: k, effect: NoSchedule}]}]}",
        expect![""],
    );
    check(
        "resource.k8s.io",
        "ResourceSlice",
        "spec: {driver: '', pool: {name: '', generation: -1, resourceSliceCount: 0}, nodeName: n, allNodes: true, devices: [{name: A, nodeName: n}, {name: b, attributes: {1x: {int: 1, bool: true}, v: {version: '01.2.3'}, w: {}}, capacity: {m: {value: '1', requestPolicy: {default: '1'}}}, taints: [{key: '', effect: x}]}, {name: b}]}",
        expect![[r#"
            spec.driver: Required value
            spec.pool.name: Required value
            spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero
            spec.pool.generation: Invalid value: -1: must be greater than or equal to zero
            spec: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set
            spec.devices[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec
            spec.devices[1].attributes: Invalid value: "1x": a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')
            spec.devices[1].attributes[1x]: Invalid value: {"bool":true,"int":1}: exactly one value must be specified
            spec.devices[1].attributes[v].version: Invalid value: "01.2.3": must be a string compatible with semver.org spec 2.0.0
            spec.devices[1].attributes[w]: Invalid value: "": exactly one value must be specified
            spec.devices[1].capacity[m].requestPolicy: Forbidden: allowMultipleAllocations must be true
            spec.devices[1].taints[0].key: Invalid value: "": name part must be non-empty
            spec.devices[1].taints[0].key: Invalid value: "": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.devices[1].taints[0].effect: Unsupported value: "x": supported values: "NoExecute", "NoSchedule", "None"
            spec.devices[2]: Duplicate value: "b"
        "#]],
    );
    check(
        "resource.k8s.io",
        "ResourceSlice",
        "spec: {driver: d, pool: {name: p, resourceSliceCount: 1}}",
        expect![[r#"
        spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required
    "#]],
    );
}

#[test]
fn a_device_class_selects_by_expressions() {
    check(
        "resource.k8s.io",
        "DeviceClass",
        "spec: {selectors: [{cel: {expression: 'device.driver == \"x\"'}}, {cel: {expression: '1 +'}}, {}], extendedResourceName: cpu}",
        expect![[r#"
            spec.selectors[1].cel.expression: Invalid value: "1 +": compilation failed: ERROR: <input>:1:4: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
             | 1 +
             | ...^
            spec.selectors[2].cel: Required value
            spec.extendedResourceName: Invalid value: "cpu": must be a valid extended resource name
        "#]],
    );
    let every = |inner: &str| format!("device.attributes.all(x, {inner})");
    let costly = every(&every(&every(&every("x.matches(\"a+\")"))));
    check(
        "resource.k8s.io",
        "DeviceClass",
        &format!("spec: {{selectors: [{{cel: {{expression: '{costly}'}}}}]}}"),
        expect![[r#"
            spec.selectors[0].cel.expression: Forbidden: too complex, exceeds cost limit
        "#]],
    );
}

#[test]
fn storage_version_migrations() {
    let kind = ("storagemigration.k8s.io", "StorageVersionMigration");
    check(
        kind.0,
        kind.1,
        "{}",
        expect![[r#"
            spec.resource.resource: Required value: resource is required to be set
        "#]],
    );
    check(
        kind.0,
        kind.1,
        "spec: {resource: {group: -, resource: 2pods}}",
        expect![[r#"
            spec.resource.resource: Invalid value: "2pods": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.resource.group: Invalid value: "-": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        "#]],
    );
    check_update(
        kind.0,
        kind.1,
        "spec: {resource: {group: '', resource: secrets}}",
        "spec: {resource: {group: '', resource: pods}}",
        expect![[r#"
            spec: Invalid value: {"resource":{"group":"","resource":"pods"}}: field is immutable
        "#]],
    );
    let status = |old: &str, new: &str| {
        let object =
            |status: &str| named(yaml(&format!("{{metadata: {{labels: {{a: b}}}}, status: {status}}}")), false);
        let (old, mut new) = (object(old), object(new));
        crate::meta::set(&mut new, "labels", json!({"a": "c"}));
        let rules = rules(kind.0, kind.1);
        rules.prepare_status_update(&mut new, &old);
        assert_eq!(new["metadata"]["labels"], json!({"a": "b"}));
        text_of(rules.validate_status_update(&new, &old))
    };
    let condition = |of: &str, holds: &str| {
        format!("{{type: {of}, status: '{holds}', reason: R, message: '', lastTransitionTime: '2026-01-01T00:00:00Z'}}")
    };
    let with = |conditions: &[String]| format!("{{resourceVersion: '7', conditions: [{}]}}", conditions.join(","));
    let (succeeded, failed) = (condition("Succeeded", "True"), condition("Failed", "True"));
    expect![""].assert_eq(&status("{}", &with(&[condition("Running", "False"), succeeded.clone()])));
    expect![[r#"
        status.resourceVersion: Invalid value: "07": resource version is not well formed: 07
        status.conditions[0].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.conditions[0].status: Unsupported value: "Odd": supported values: "False", "True", "Unknown"
        status.conditions[0].observedGeneration: Invalid value: -1: must be greater than or equal to zero
        status.conditions[0].lastTransitionTime: Required value
        status.conditions[0].reason: Invalid value: "1": a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')
        status.conditions[1].type: Duplicate value: "a b"
        status.conditions[1].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.conditions[1].reason: Required value
    "#]]
    .assert_eq(&status(
        "{}",
        "{resourceVersion: '07', conditions: [{type: a b, status: Odd, observedGeneration: -1, reason: '1'}, \
         {type: a b, status: 'True', lastTransitionTime: '2026-01-01T00:00:00Z'}]}",
    ));
    expect![[r#"
        status.resourceVersion: Invalid value: "": field is immutable
        status.conditions: Invalid value: null: Success condition cannot be set to false once it is true
    "#]]
    .assert_eq(&status(&with(std::slice::from_ref(&succeeded)), "{}"));
    expect![[r#"
        status.conditions: Invalid value: [{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"","reason":"R","status":"True","type":"Succeeded"}]: Failed condition cannot be set to false once it is true
    "#]]
    .assert_eq(&status(&with(std::slice::from_ref(&failed)), &with(std::slice::from_ref(&succeeded))));
    expect![[r#"
        status.conditions: Invalid value: [{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"","reason":"R","status":"True","type":"Succeeded"},{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"","reason":"R","status":"True","type":"Failed"}]: Both success and failed conditions cannot be true at the same time
    "#]]
    .assert_eq(&status("{}", &with(&[succeeded, failed])));
}
