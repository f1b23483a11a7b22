//! Pods, and what is written of them alone: ephemeral containers, amounts, the status.

use super::*;

fn pod(fixture: &str) -> Value {
    let mut pod = named(yaml(fixture), true);
    of("", "Pod").default(&mut pod);
    pod
}

#[test]
fn pods_may_change_little() {
    let with = |more: &str| POD.replacen("{spec: {", &format!("{{spec: {{{more}, "), 1);
    let change = |old: &str, new: &str, expected: Expect| check_update("", "Pod", old, new, expected);
    change(&POD.replace("nginx", "nginx:1"), &POD.replace("nginx", "nginx:2"), expect![[""]]);
    change(
        POD,
        &POD.replace("nginx", "''"),
        expect![[r#"
            spec.containers[0].image: Required value
            spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            @@ -27,7 +27,7 @@
                "Lifecycle": null,
                "TerminationMessagePath": "/dev/termination-log",
                "TerminationMessagePolicy": "File",
            -   "ImagePullPolicy": "Always",
            +   "ImagePullPolicy": "IfNotPresent",
                "SecurityContext": null,
                "Stdin": false,
                "StdinOnce": false,

        "#]],
    );
    change(POD, &with("activeDeadlineSeconds: 5"), expect![[""]]);
    change(
        &with("activeDeadlineSeconds: 5"),
        &with("activeDeadlineSeconds: 9"),
        expect![[r#"
        spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value
    "#]],
    );
    change(
        &with("activeDeadlineSeconds: 5"),
        POD,
        expect![[r#"
        spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value
    "#]],
    );
    change(
        POD,
        "{spec: {containers: [{name: c, image: i}, {name: d, image: i}]}}",
        expect![[r#"
        spec.containers: Forbidden: pod updates may not add or remove containers
    "#]],
    );
    change(
        POD,
        &with("nodeName: n"),
        expect![[r#"
            spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
            @@ -42,7 +42,7 @@
              "NodeSelector": null,
              "ServiceAccountName": "",
              "AutomountServiceAccountToken": null,
            - "NodeName": "",
            + "NodeName": "n",
              "SecurityContext": {
               "HostNetwork": false,
               "HostPID": false,

        "#]],
    );
    change(
        &with("tolerations: [{key: a, operator: Exists, effect: NoExecute}]"),
        POD,
        expect![[r#"
        spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds
    "#]],
    );
    change(
        &with("tolerations: [{key: a, operator: Exists, effect: NoExecute}]"),
        &with(
            "tolerations: [{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 4}, {key: b, operator: Exists}]",
        ),
        expect![[""]],
    );
    change(&with("terminationGracePeriodSeconds: -1"), &with("terminationGracePeriodSeconds: 1"), expect![[""]]);
    change(
        POD,
        &POD.replace("{spec", "{metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/c: unconfined, kubernetes.io/config.mirror: m}}, spec"),
        expect![[r#"
            metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "m": must set spec.nodeName if mirror pod annotation is set
            metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: Forbidden: may not add AppArmor annotations
            metadata.annotations[kubernetes.io/config.mirror]: Forbidden: may not add mirror pod annotation
        "#]],
    );
}

#[test]
fn pods_at_a_gate_may_become_pickier() {
    let gated =
        |more: &str| POD.replacen("{spec: {", &format!("{{spec: {{schedulingGates: [{{name: a.b/c}}]{more}, "), 1);
    let change = |old: &str, new: &str, expected: Expect| check_update("", "Pod", old, new, expected);
    change(&gated(""), POD, expect![[""]]);
    change(
        POD,
        &gated(""),
        expect![[r#"
        spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'a.b/c'
    "#]],
    );
    change(&gated(""), &gated(", nodeSelector: {a: b}"), expect![[""]]);
    change(
        &gated(", nodeSelector: {a: b}"),
        &gated(", nodeSelector: {a: c}"),
        expect![[r#"
        spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)
    "#]],
    );
    let affinity = |terms: &str| {
        gated(&format!(
            ", affinity: {{nodeAffinity: {{requiredDuringSchedulingIgnoredDuringExecution: {{nodeSelectorTerms: [{terms}]}}}}}}"
        ))
    };
    let one = "{matchExpressions: [{key: a, operator: Exists}]}";
    let more = "{matchExpressions: [{key: a, operator: Exists}, {key: b, operator: Exists}]}";
    change(&gated(""), &affinity(one), expect![[""]]);
    change(&affinity(one), &affinity(more), expect![[""]]);
    change(
        &affinity(more),
        &affinity(one),
        expect![[r#"
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0]: Invalid value: {"MatchExpressions":[{"Key":"a","Operator":"Exists","Values":null}],"MatchFields":null}: only additions are allowed (no mutations or deletions)
        "#]],
    );
    change(
        &affinity(one),
        &affinity(&format!("{one}, {more}")),
        expect![[r#"
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid value: [{"MatchExpressions":[{"Key":"a","Operator":"Exists","Values":null}],"MatchFields":null},{"MatchExpressions":[{"Key":"a","Operator":"Exists","Values":null},{"Key":"b","Operator":"Exists","Values":null}],"MatchFields":null}]: no additions/deletions to non-empty NodeSelectorTerms list are allowed
        "#]],
    );
    change(
        &affinity(one),
        &gated(""),
        expect![[r#"
        spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Invalid value: []: no additions/deletions to non-empty NodeSelectorTerms list are allowed
    "#]],
    );
    change(
        &gated(", affinity: {podAffinity: {}}"),
        &gated(", affinity: {}"),
        expect![[r#"
        spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)
        @@ -69,10 +69,7 @@
          "SetHostnameAsFQDN": null,
          "Affinity": {
           "NodeAffinity": null,
        -  "PodAffinity": {
        -   "RequiredDuringSchedulingIgnoredDuringExecution": null,
        -   "PreferredDuringSchedulingIgnoredDuringExecution": null
        -  },
        +  "PodAffinity": null,
           "PodAntiAffinity": null
          },
          "SchedulerName": "default-scheduler",

    "#]],
    );
}

#[test]
fn ephemeral_containers_come_and_stay() {
    let change = |old: &str, new: &str, expected: Expect| {
        let (old, mut new) = (pod(old), pod(new));
        crate::rules::prepare_ephemeral_containers(&mut new, &old);
        expected.assert_eq(&text_of(crate::rules::validate_ephemeral_containers(&new, &old)));
        new
    };
    let with = |more: &str| POD.replacen("{spec: {", &format!("{{spec: {{{more}, "), 1);
    let debug = with("ephemeralContainers: [{name: d, image: i}]");
    let new = change(
        POD,
        &debug.replace("nginx", "other").replace("{spec", "{metadata: {labels: {a: b}}, spec"),
        expect![[""]],
    );
    assert_eq!(new["spec"]["containers"][0]["image"], "nginx");
    assert_eq!(new["metadata"].get("labels"), None);
    assert_eq!(new["metadata"]["generation"], 1);
    change(
        &debug,
        POD,
        expect![[r#"
        spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be removed

    "#]],
    );
    change(
        &debug,
        &debug.replace("image: i", "image: j"),
        expect![[r#"
            spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be changed
            @@ -1,6 +1,6 @@
             {
              "Name": "d",
            - "Image": "i",
            + "Image": "j",
              "Command": null,
              "Args": null,
              "WorkingDir": "",

        "#]],
    );
    change(
        &POD.replace("{spec: {", "{metadata: {annotations: {kubernetes.io/config.mirror: m}}, spec: {nodeName: n, "),
        &debug,
        expect![[r#"
        []: Forbidden: static pods do not support ephemeral containers
    "#]],
    );
}

#[test]
fn resizes_change_amounts_only() {
    let change = |old: &str, new: &str, expected: Expect| {
        let (mut old, mut new) = (pod(old), pod(new));
        let class = crate::rules::qos_class(&old["spec"]);
        if old.get("status").is_none() {
            old["status"] = json!({"qosClass": class});
        }
        crate::rules::prepare_resize(&mut new, &old);
        expected.assert_eq(&text_of(crate::rules::validate_resize(&new, &old)));
        new
    };
    let small = "{spec: {containers: [{name: c, image: i, resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi}}}]}}";
    let new = change(small, &small.replace("100m", "200m").replace("image: i", "image: j"), expect![[""]]);
    assert_eq!(new["spec"]["containers"][0]["image"], "i");
    assert_eq!(new["spec"]["containers"][0]["resources"]["requests"]["cpu"], "200m");
    assert_eq!(new["metadata"]["generation"], 1);
    change(
        small,
        &small.replace("cpu: 100m, ", ""),
        expect![[r#"
        spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed
    "#]],
    );
    change(
        small,
        &small.replace(", limits: {memory: 128Mi}", ""),
        expect![[r#"
        spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed
    "#]],
    );
    change(
        small,
        &small.replace("cpu: 100m, ", "cpu: 100m, ephemeral-storage: 1Gi, "),
        expect![[r#"
        spec: Forbidden: only cpu and memory resources are mutable
    "#]],
    );
    change(
        small,
        &small.replace("memory: 64Mi}", "memory: 128Mi}").replace("limits: {", "limits: {cpu: 100m, "),
        expect![[r#"
        spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing
    "#]],
    );
    change(
        small,
        &small.replace("name: c", "name: d"),
        expect![[r#"
        spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize
    "#]],
    );
    change(
        small,
        &small.replace("}]}}", "}, {name: d, image: i}]}}"),
        expect![[r#"
        spec.containers: Forbidden: containers may not be added or removed on resize
    "#]],
    );
    change(
        small,
        &small.replace("image: i, ", "image: i, resizePolicy: [{resourceName: cpu, restartPolicy: NotRequired}], "),
        expect![[r#"
        spec: Forbidden: only cpu and memory resources are mutable
    "#]],
    );
    change(
        &small.replace("{spec: {", "{metadata: {annotations: {kubernetes.io/config.mirror: m}}, spec: {nodeName: n, "),
        small,
        expect![[r#"
        []: Forbidden: static pods cannot be resized
    "#]],
    );
    let init =
        small.replace("{spec: {", "{spec: {initContainers: [{name: x, image: i, resources: {requests: {cpu: 10m}}}], ");
    change(&init, &init.replace("10m", "20m"), expect![[""]]);
    let whole = small.replace("{spec: {", "{spec: {resources: {requests: {cpu: 300m}, limits: {memory: 1Gi}}, ");
    change(&whole, &whole.replace("300m", "400m"), expect![[""]]);
    change(
        &whole,
        small,
        expect![[r#"
        spec.resources: Forbidden: pod-level resources cannot be removed
    "#]],
    );
    change(
        &whole,
        &whole.replace(", limits: {memory: 1Gi}", ""),
        expect![[r#"
            spec.resources.requests: Forbidden: pod-level resource requests cannot be removed
            spec.resources.limits: Forbidden: pod-level resource limits cannot be removed
        "#]],
    );
    let old = small.replace(
        "{spec: {",
        "{status: {qosClass: Burstable, containerStatuses: [{name: c, state: {running: {}}}]}, spec: {",
    );
    change(
        &old,
        &small.replace("100m", "200m"),
        expect![[r#"
        spec: Forbidden: Pod running on node without support for resize
    "#]],
    );
}

#[test]
fn statuses_of_pods() {
    let with = |status: &str| {
        format!(
            "{{spec: {{restartPolicy: OnFailure, containers: [{{name: c, image: i}}], initContainers: [{{name: x, image: i}}]}}, status: {{{status}}}}}"
        )
    };
    let change = |old: &str, new: &str, expected: Expect| check_status("", "Pod", &with(old), &with(new), expected);
    let ended = |field: &str, name: &str, code: u8| {
        format!("{field}: [{{name: {name}, state: {{terminated: {{exitCode: {code}}}}}}}]")
    };
    let running = |field: &str, name: &str| format!("{field}: [{{name: {name}, state: {{running: {{}}}}}}]");
    for (field, name) in [("containerStatuses", "c"), ("initContainerStatuses", "x")] {
        change(&ended(field, name, 1), &running(field, name), expect![[""]]);
    }
    change(
        &ended("containerStatuses", "c", 0),
        &running("containerStatuses", "c"),
        expect![[r#"
        status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state
    "#]],
    );
    change(
        &ended("initContainerStatuses", "x", 0),
        &running("initContainerStatuses", "x"),
        expect![[r#"
        status.initContainerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state
    "#]],
    );
    change(
        &ended("ephemeralContainerStatuses", "e", 1),
        &running("ephemeralContainerStatuses", "e"),
        expect![[r#"
        status.ephemeralContainerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state
    "#]],
    );
    change(
        "",
        "qosClass: Odd, observedGeneration: -1, conditions: [{type: 'a b', observedGeneration: -2}], nominatedNodeName: A_",
        expect![[r#"
        status.conditions[0].observedGeneration: Invalid value: -2: must be a non-negative integer
        status.conditions[0].Type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
        status.nominatedNodeName: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        status.observedGeneration: Invalid value: -1: must be a non-negative integer
        status.qosClass: Invalid value: "Odd": field is immutable
    "#]],
    );
    change(
        "",
        "podIPs: [{ip: 10.0.0.01}, {ip: 10.0.0.2}], hostIP: 10.0.0.1, hostIPs: [{ip: 10.0.0.2}]",
        expect![[r#"
        status.podIPs[0]: Invalid value: "10.0.0.01": must not have leading 0s
        status.podIPs: Invalid value: [{"ip":"10.0.0.01"},{"ip":"10.0.0.2"}]: may specify no more than one IP for each IP family
        status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`
    "#]],
    );
    change("podIPs: [{ip: 10.0.0.01}]", "podIPs: [{ip: 10.0.0.01}]", expect![[""]]);
    change(
        "",
        "resourceClaimStatuses: [{name: a, resourceClaimName: A_}, {name: a}], extendedResourceClaimStatus: {requestMappings: [{containerName: c, resourceName: a.b/c, requestName: r}, {containerName: d, resourceName: a.b/c, requestName: R}]}",
        expect![[r#"
        status.resourceClaimStatuses[0].name: Invalid value: "a": must match the name of an entry in `spec.resourceClaims`
        status.resourceClaimStatuses[0].resourceClaimName: Invalid value: "A_": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')
        status.resourceClaimStatuses[1].name: Invalid value: "a": must match the name of an entry in `spec.resourceClaims`
        status.resourceClaimStatuses[1].name: Duplicate value: "a"
        status.extendedResourceClaimStatus.requestMappings[0].resourceName: Invalid value: "a.b/c": must match the extended resource name of an entry in spec.initContainers.resources.requests or spec.containers.resources.requests
        status.extendedResourceClaimStatus.requestMappings[1].containerName: Invalid value: "d": must match the name of an entry in spec.initContainers.name or spec.containers.name
        status.extendedResourceClaimStatus.requestName: Invalid value: "R": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
        status.extendedResourceClaimStatus.resourceClaimName: Required value
    "#]],
    );
    change(
        "",
        "containerStatuses: [{name: c, user: {linux: {uid: -1, gid: 0, supplementalGroups: [-2]}}, allocatedResourcesStatus: [{name: cpu, resources: [{resourceID: a, health: Odd}, {resourceID: a, health: Healthy, message: ''}]}, {name: 'claim:d'}]}], ephemeralContainerStatuses: [{name: e, allocatedResourcesStatus: [{name: cpu}]}]",
        expect![[r#"
        status.containerStatuses[0].user.linux.uid: Invalid value: -1: must be between 0 and 2147483647, inclusive
        status.containerStatuses[0].user.linux.supplementalGroups[0]: Invalid value: -2: must be between 0 and 2147483647, inclusive
        status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: "cpu": must match one of the container's resource requests
        status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Unsupported value: "Odd": supported values: "Healthy", "Unhealthy", "Unknown"
        status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].message: Required value: must be non-empty if specified
        status.containerStatuses[0].allocatedResourcesStatus[0].resources[1].resourceID: Duplicate value: "a"
        status.containerStatuses[0].allocatedResourcesStatus[1].name: Invalid value: "claim:d": must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty
        status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified in container status
    "#]],
    );
    let bound = "{spec: {nodeName: n, containers: [{name: c, image: i}]}}";
    check_status(
        "",
        "Pod",
        bound,
        "{status: {nominatedNodeName: m}}",
        expect![[r#"
        status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node
    "#]],
    );
}

#[test]
fn what_is_observed_is_not_forgotten() {
    let mut new = json!({"metadata": {}, "status": {"conditions": [{"type": "A"}, {"type": "A", "observedGeneration": 9}, {"type": "B"}]}});
    let old = json!({"metadata": {}, "status": {"observedGeneration": 4, "conditions": [{"type": "A", "observedGeneration": 2}, {"type": "A", "observedGeneration": 3}]}});
    of("", "Pod").prepare_status_update(&mut new, &old);
    let expected = json!({"observedGeneration": 4, "conditions": [{"type": "A", "observedGeneration": 2}, {"type": "A", "observedGeneration": 9}, {"type": "B"}]});
    assert_eq!(new["status"], expected);
}

#[test]
fn label_keys_are_merged_into_selectors() {
    let mut pod = yaml(
        "{metadata: {labels: {a: b, c: d}}, spec: {topologySpreadConstraints: [{labelSelector: {}, matchLabelKeys: [a, x]}, {matchLabelKeys: [a]}], affinity: {podAntiAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {e: f}}, matchLabelKeys: [a], mismatchLabelKeys: [c]}]}}}}",
    );
    of("", "Pod").prepare_create(&mut pod);
    let same = json!({"key": "a", "operator": "In", "values": ["b"]});
    let spread = &pod["spec"]["topologySpreadConstraints"];
    assert_eq!(spread[0]["labelSelector"], json!({"matchExpressions": [same]}));
    assert_eq!(spread[1].get("labelSelector"), None);
    let term = &pod["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0];
    let other = json!({"key": "c", "operator": "NotIn", "values": ["d"]});
    assert_eq!(term["labelSelector"], json!({"matchLabels": {"e": "f"}, "matchExpressions": [same, other]}));
}
