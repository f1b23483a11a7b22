//! Devices that are shared, cut out of others, reached one by one or made ready before use, and extended resources.

use super::*;

fn slice(devices: &str, expected: Expect) {
    let pool = "pool: {name: p, resourceSliceCount: 1}";
    check("resource.k8s.io", "ResourceSlice", &format!("spec: {{driver: d, {pool}, {devices}}}"), expected);
}

fn capacity(amount: &str, policy: &str, expected: Expect) {
    let capacity = format!("capacity: {{x: {{value: '{amount}', requestPolicy: {policy}}}}}");
    slice(&format!("allNodes: true, devices: [{{name: a, allowMultipleAllocations: true, {capacity}}}]"), expected);
}

#[test]
fn a_policy_says_which_amounts_can_be_had() {
    capacity("4", "{default: '2', validRange: {min: '2', max: '4', step: '2'}}", expect![""]);
    capacity("4Gi", "{default: 1Gi, validValues: [1Gi, 4Gi]}", expect![""]);
    capacity("4", "{default: '1'}", expect![""]);
    capacity(
        "4",
        "{default: '1', validValues: ['1'], validRange: {min: '1'}}",
        expect![[r#"
            spec.devices[0].capacity[x].requestPolicy: Forbidden: exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time
        "#]],
    );
    capacity(
        "4",
        "{validValues: ['1']}",
        expect![[r#"
            spec.devices[0].capacity[x].requestPolicy.default: Required value: required when validValues is defined
        "#]],
    );
    capacity(
        "4",
        "{validRange: {min: '1'}}",
        expect![[r#"
            spec.devices[0].capacity[x].requestPolicy.default: Required value: required when validRange is defined
        "#]],
    );
    capacity(
        "4",
        "{default: '3', validValues: ['2', '1', '1', '8']}",
        expect![[r#"
            spec.devices[0].capacity[x].requestPolicy.validValues[1]: Invalid value: "1": values must be sorted in ascending order
            spec.devices[0].capacity[x].requestPolicy.validValues[3]: Invalid value: "8": option is larger than capacity value: 4
            spec.devices[0].capacity[x].requestPolicy.validValues[2]: Duplicate value: "1"
            spec.devices[0].capacity[x].requestPolicy.validValues: Invalid value: "3": default value is not valid according to the requestPolicy
        "#]],
    );
    capacity(
        "4",
        "{default: '9', validRange: {min: '5', max: '8', step: '3'}}",
        expect![[r#"
            spec.devices[0].capacity[x].requestPolicy.validRange.min: Invalid value: "5": min is larger than capacity value: 4
            spec.devices[0].capacity[x].requestPolicy.validRange.max: Invalid value: "8": max is larger than capacity value: 4
            spec.devices[0].capacity[x].requestPolicy.validRange.max: Invalid value: "9": default is more than max: 8
            spec.devices[0].capacity[x].requestPolicy.validRange.step: Invalid value: "3": one step 8 is larger than capacity value: 4
            spec.devices[0].capacity[x].requestPolicy.validRange.step: Invalid value: "9": value is not a multiple of a given step (3) from (5)
        "#]],
    );
    capacity(
        "8",
        "{default: '1', validRange: {min: '4', max: '2'}}",
        expect![[r#"
            spec.devices[0].capacity[x].requestPolicy.validRange.min: Invalid value: "1": default is less than min: 4
            spec.devices[0].capacity[x].requestPolicy.validRange.max: Invalid value: "4": min is larger than max: 2
        "#]],
    );
    capacity(
        "8",
        "{default: '1', validRange: {max: '2'}}",
        expect![[r#"
            spec.devices[0].capacity[x].requestPolicy.validRange.min: Required value: required when validRange is defined
        "#]],
    );
}

#[test]
fn devices_are_made_ready_by_conditions_of_both_kinds() {
    let device = |conditions: &str, expected: Expect| {
        slice(&format!("allNodes: true, devices: [{{name: a, {conditions}}}]"), expected);
    };
    device("bindsToNode: true, bindingConditions: [a.b/Ready], bindingFailureConditions: [Failed]", expect![""]);
    device(
        "bindingConditions: [Ready, Ready, '-'], bindingFailureConditions: [Failed, Failed, Ready]",
        expect![[r#"
            spec.devices[0].bindingConditions[2]: Invalid value: "-": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
            spec.devices[0].bindingConditions[1]: Duplicate value: "Ready"
            spec.devices[0].bindingFailureConditions[1]: Duplicate value: "Failed"
            spec.devices[0].bindingFailureConditions[2]: Invalid value: "Ready": bindingFailureConditions must not overlap with bindingConditions
        "#]],
    );
    device(
        "bindingConditions: [a, b, c, d, e]",
        expect![[r#"
            spec.devices[0].bindingConditions: Too many: 5: must have at most 4 items
            spec.devices[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions
        "#]],
    );
    device(
        "bindingFailureConditions: [a]",
        expect![[r#"
            spec.devices[0].bindingConditions: Invalid value: null: bindingConditions are required to use bindingFailureConditions
        "#]],
    );
}

#[test]
fn each_device_says_from_where_it_can_be_reached() {
    let per_device = |devices: &str, expected: Expect| {
        slice(&format!("perDeviceNodeSelection: true, devices: [{devices}]"), expected);
    };
    per_device("{name: a, nodeName: n}, {name: b, allNodes: true}", expect![""]);
    per_device(
        "{name: a}, {name: b, nodeName: n, allNodes: true}, {name: c, nodeName: ''}, {name: d, allNodes: false}",
        expect![[r#"
            spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec
            spec.devices[1]: Invalid value: "{`nodeName`, `allNodes`}": exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec
            spec.devices[2].nodeName: Invalid value: "": must not be empty
            spec.devices[2]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec
            spec.devices[3].allNodes: Invalid value: false: must be either unset or set to true
            spec.devices[3]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec
        "#]],
    );
}

#[test]
fn counters_have_names_and_amounts() {
    let counters = "sharedCounters: [{name: card, counters: {memory: {value: 8Gi}}}]";
    slice(&format!("allNodes: true, {counters}"), expect![""]);
    slice(
        "allNodes: true, devices: [{name: a, consumesCounters: [{counterSet: card, counters: {memory: {value: 4Gi}}}]}]",
        expect![""],
    );
    slice(
        &format!(
            "allNodes: true, {counters}, devices: [{{name: a, consumesCounters: [{{counterSet: '', counters: {{}}}}, {{counterSet: c, counters: {{_: {{value: '1'}}}}}}]}}]"
        ),
        expect![[r#"
            spec: Invalid value: "": only one of `sharedCounters` or `devices` is allowed
            spec.devices[0].consumesCounters[0].counterSet: Required value
            spec.devices[0].consumesCounters[0].counters: Required value
            spec.devices[0].consumesCounters[1].counters: Invalid value: "_": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        "#]],
    );
}

/// Nothing of what a scheduler and drivers write about these devices is lost on its way.
#[test]
fn what_a_claim_gets_of_them_is_kept() {
    let claim = |status: &str| {
        yaml(&format!(
            "apiVersion: resource.k8s.io/v1\nkind: ResourceClaim\nmetadata: {{name: x, namespace: default, uid: u, resourceVersion: '1'}}\nspec: {{devices: {{requests: [{{name: a, exactly: {{deviceClassName: gpu, allocationMode: ExactCount, count: 1, capacity: {{requests: {{memory: 1Gi}}}}}}}}], constraints: [{{distinctAttribute: d/numa}}]}}}}\nstatus: {status}"
        ))
    };
    let update = |status: &str, expected: Expect| {
        let rules = rules("resource.k8s.io", "ResourceClaim");
        let (mut new, old) = (claim(status), claim("{}"));
        rules.prepare_status_update(&mut new, &old);
        expected.assert_eq(&text_of(rules.validate_status_update(&new, &old)));
    };
    let share = "11111111-2222-3333-4444-555555555555";
    let result = |id: &str, further: &str| {
        format!(
            "allocation: {{devices: {{results: [{{request: a, driver: d, pool: p, device: g, shareID: '{id}'{further}}}]}}}}"
        )
    };
    let good = result(
        share,
        ", consumedCapacity: {memory: 1Gi}, bindingConditions: [Ready], bindingFailureConditions: [Failed]",
    );
    let device = |id: &str, further: &str| format!("{{driver: d, pool: p, device: g, shareID: '{id}'{further}}}");
    let ready = "conditions: [{type: Ready, status: 'True', reason: R, message: m, lastTransitionTime: '2026-01-01T00:00:00Z'}]";
    let status =
        device(share, &format!(", {ready}, data: {{x: 1}}, networkData: {{interfaceName: e, ips: [10.0.0.1/8]}}"));
    let whole = format!("{{{good}, devices: [{status}]}}");
    update(&whole, expect![""]);
    let mut pruned = claim(&whole);
    let schema = crate::schema::schema_of("resource.k8s.io", "v1", "ResourceClaim").expect("claims have a schema");
    schema.prune(&mut pruned);
    assert_eq!(pruned, claim(&whole));
    update(
        &format!("{{{}}}", result("x", ", bindingConditions: [Ready]")),
        expect![[r#"
            status.allocation.devices.results[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions
            status.allocation.devices.results[0].shareID: Invalid value: "x": error validating uid: invalid UUID length: 1
        "#]],
    );
    update(
        &format!("{{{}}}", result(&share.replace('1', "A"), "")),
        expect![[r#"
            status.allocation.devices.results[0].shareID: Invalid value: "AAAAAAAA-2222-3333-4444-555555555555": uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal characters
        "#]],
    );
    let other = share.replace('1', "6");
    let wrong = device(
        &other,
        ", conditions: [{type: Ready}], data: [1], networkData: {ips: [10.0.0.1, '::ffff:10.0.0.1/104', 10.0.0.2/8, 10.0.0.2/8]}",
    );
    update(
        &format!("{{{good}, devices: [{wrong}]}}"),
        expect![[r#"
            status.devices[0]: Invalid value: {"Device":"g","Driver":"d","Pool":"p","ShareID":"66666666-2222-3333-4444-555555555555"}: must be an allocated device in the claim
            status.devices[0].conditions[0].status: Unsupported value: "": supported values: "False", "True", "Unknown"
            status.devices[0].conditions[0].lastTransitionTime: Required value
            status.devices[0].conditions[0].reason: Required value
            status.devices[0].data: Invalid value: "<value omitted>": must be a valid JSON object
            status.devices[0].networkData.ips[0]: Invalid value: "10.0.0.1": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)
            status.devices[0].networkData.ips[1]: Invalid value: "::ffff:10.0.0.1/104": must be in canonical form ("10.0.0.1/8")
            status.devices[0].networkData.ips[3]: Duplicate value: "10.0.0.2/8"
        "#]],
    );
    let plain = device(share, "");
    update(
        &format!("{{{good}, devices: [{plain}, {plain}]}}"),
        expect![[r#"
            status.devices[1]: Duplicate value: {"Device":"g","Driver":"d","Pool":"p","ShareID":"11111111-2222-3333-4444-555555555555"}
        "#]],
    );
}

#[test]
fn a_class_stands_behind_an_extended_resource() {
    let class = |resource: &str, expected: Expect| {
        check("resource.k8s.io", "DeviceClass", &format!("spec: {{extendedResourceName: {resource}}}"), expected);
    };
    class("example.com/gpu", expect![""]);
    class(
        "deviceclass.resource.kubernetes.io/gpu",
        expect![[r#"
            spec.extendedResourceName: Invalid value: "deviceclass.resource.kubernetes.io/gpu": must be a valid extended resource name
        "#]],
    );
}
