//! What counts and bounds: quotas, limit ranges, runtime classes, autoscalers, the policies of jobs.

use super::*;

#[test]
fn quotas() {
    for (fixture, expected) in [
        (
            "{spec: {hard: {odd: 1, storage: 1, hugepages-2Mi: 2Mi, count/x: 1, a.b/c: 1, requests.storage: -1, pods: 1m}}}",
            expect![[r#"
            spec.hard[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
            spec.hard[odd]: Invalid value: "odd": must be a standard resource for quota
            spec.hard[pods]: Invalid value: "1m": must be an integer
            spec.hard[requests.storage]: Invalid value: "-1": must be greater than or equal to 0
            spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota
        "#]],
        ),
        (
            "{spec: {hard: {secrets: 1, pods: 1}, scopes: [BestEffort, NotBestEffort, Odd]}}",
            expect![[r#"
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope applied to resource
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: unsupported scope
            spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Odd"]: conflicting scopes
        "#]],
        ),
        (
            "{spec: {hard: {secrets: 1}, scopeSelector: {matchExpressions: [{scopeName: PriorityClass, operator: In}, {scopeName: Terminating, operator: DoesNotExist, values: [a]}, {scopeName: Odd, operator: Odd}]}}}",
            expect![[r#"
                spec.scopeSelector.matchExpressions: Invalid value: {"MatchExpressions":[{"Operator":"In","ScopeName":"PriorityClass","Values":null},{"Operator":"DoesNotExist","ScopeName":"Terminating","Values":["a"]},{"Operator":"Odd","ScopeName":"Odd","Values":null}]}: unsupported scope applied to resource
                spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector
                spec.scopeSelector.matchExpressions: Invalid value: {"MatchExpressions":[{"Operator":"In","ScopeName":"PriorityClass","Values":null},{"Operator":"DoesNotExist","ScopeName":"Terminating","Values":["a"]},{"Operator":"Odd","ScopeName":"Odd","Values":null}]}: unsupported scope applied to resource
                spec.scopeSelector.matchExpressions.operator: Invalid value: "DoesNotExist": must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity
                spec.scopeSelector.matchExpressions.values: Invalid value: ["a"]: must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector
                spec.scopeSelector.matchExpressions.scopeName: Invalid value: "Odd": unsupported scope
                spec.scopeSelector.matchExpressions.operator: Invalid value: "Odd": not a valid selector operator
            "#]],
        ),
    ] {
        check("", "ResourceQuota", fixture, expected);
    }
}

#[test]
fn limits() {
    for (fixture, expected) in [
        (
            "{spec: {limits: [{type: Odd}, {type: Pod, default: {cpu: 1}, max: {storage: 1, odd: 1}}, {type: a/b}]}}",
            expect![[r#"
            spec.limits[0].type: Invalid value: "Odd": must be a standard limit type or fully qualified
            spec.limits[1].max[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
            spec.limits[1].max[odd]: Invalid value: "odd": must be a standard resource for containers
            spec.limits[1].max[storage]: Invalid value: "storage": must be a standard resource for containers
            spec.limits[1].default: Forbidden: may not be specified when `type` is 'Pod'
        "#]],
        ),
        (
            "{spec: {limits: [{type: Container, min: {cpu: 2}, max: {cpu: 1}, default: {cpu: 3}, defaultRequest: {cpu: 4}, maxLimitRequestRatio: {cpu: 500m, memory: 1}}]}}",
            expect![[r#"
                spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1
                spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than max value 1
                spec.limits[0].defaultRequest[cpu]: Invalid value: "4": default request value 4 is greater than default limit value 3
                spec.limits[0].default[cpu]: Invalid value: "1": default value 3 is greater than max value 1
                spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1
            "#]],
        ),
        (
            "{spec: {limits: [{type: Container, min: {cpu: 500m}, max: {cpu: 1}, default: {hugepages-2Mi: 2Mi}, defaultRequest: {hugepages-2Mi: 1Mi}, maxLimitRequestRatio: {cpu: 3}}]}}",
            expect![[r#"
                spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "3": ratio 3 is greater than max/min = 2.000000
                spec.limits[0].defaultRequest[hugepages-2Mi]: Invalid value: "1Mi": default value 2Mi must equal to defaultRequest value 1Mi in hugepages-2Mi
            "#]],
        ),
    ] {
        check("", "LimitRange", fixture, expected);
    }
    let mut nameless = yaml("{metadata: {uid: u}}");
    of("", "LimitRange").prepare_create(&mut nameless);
    assert_eq!(crate::meta::name(&nameless), "u");
}

#[test]
fn runtime_classes() {
    for (fixture, expected) in [
        (
            "{}",
            expect![[r#"
            handler: Required value
        "#]],
        ),
        (
            "{handler: A, overhead: {podFixed: {odd: 1, cpu: -1}}}",
            expect![[r#"
            handler: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            overhead.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0
            overhead.limits[odd]: Invalid value: "odd": must be a standard resource type or fully qualified
            overhead.limits[odd]: Invalid value: "odd": must be a standard resource for containers
        "#]],
        ),
        (
            "{handler: a, scheduling: {nodeSelector: {'a b': 'c d'}, tolerations: [{key: k, operator: Exists}, {key: k, operator: Exists, tolerationSeconds: 1}]}}",
            expect![[r#"
                scheduling.nodeSelector: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                scheduling.nodeSelector: Invalid value: "c d": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
                scheduling.tolerations[1].effect: Invalid value: "": effect must be 'NoExecute' when `tolerationSeconds` is set
                scheduling.tolerations[1]: Duplicate value: {"Key":"k","Operator":"Exists","Value":"","Effect":"","TolerationSeconds":1}
            "#]],
        ),
    ] {
        check("node.k8s.io", "RuntimeClass", fixture, expected);
    }
    check_update(
        "node.k8s.io",
        "RuntimeClass",
        "{handler: a}",
        "{handler: b}",
        expect![[r#"
        handler: Invalid value: "b": field is immutable
    "#]],
    );
    check_update(
        "apps",
        "ControllerRevision",
        "{revision: 1, data: {a: b}}",
        "{revision: -1, data: {a: c}}",
        expect![[r#"
            revision: Invalid value: -1: must be greater than or equal to 0
            data: Invalid value: {"a":"c"}: field is immutable
        "#]],
    );
    check(
        "apps",
        "ControllerRevision",
        "{data: [1]}",
        expect![[r#"
        data: Required value: data must be a valid JSON object
    "#]],
    );
}

#[test]
fn autoscalers() {
    const REST: &str = "scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}, maxReplicas: 3";
    for (metrics, expected) in [
        (
            "[{}]",
            expect![[r#"
            spec.metrics[0].type: Required value: must specify a metric source type
            spec.metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            spec.metrics[0].type: Unsupported value: "": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
        "#]],
        ),
        (
            "[{type: Odd, pods: {metric: {name: a/b}, target: {}}}]",
            expect![[r#"
            spec.metrics[0].type: Unsupported value: "Odd": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
            spec.metrics[0].pods.metric.name: Invalid value: "a/b": may not contain '/'
            spec.metrics[0].pods.target.type: Required value: must specify a metric target type
            spec.metrics[0].pods.target.type: Invalid value: "": must be either Utilization, Value, or AverageValue
            spec.metrics[0].pods.target.averageValue: Required value: must specify a positive target averageValue
            spec.metrics[0].type: Unsupported value: "Odd": supported values: "ContainerResource", "External", "Object", "Pods", "Resource"
        "#]],
        ),
        (
            "[{type: Resource, resource: {target: {type: Utilization, averageUtilization: 0, averageValue: 1}}}]",
            expect![[r#"
            spec.metrics[0].resource.name: Required value: must specify a resource name
            spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0
            spec.metrics[0].resource.target.averageValue: Forbidden: may not set both a target raw value and a target utilization
        "#]],
        ),
        (
            "[{type: ContainerResource, containerResource: {name: odd, container: A, target: {type: Odd}}}]",
            expect![[r#"
            spec.metrics[0].containerResource.name: Invalid value: "odd": must be a standard resource type or fully qualified
            spec.metrics[0].containerResource.name: Invalid value: "odd": must be a standard resource for containers
            spec.metrics[0].containerResource.container: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')
            spec.metrics[0].containerResource.target.type: Invalid value: "Odd": must be either Utilization, Value, or AverageValue
            spec.metrics[0].containerResource.target.averageUtilization: Required value: must set either a target raw value or a target utilization
        "#]],
        ),
        (
            "[{type: External, external: {metric: {name: m}, target: {type: Value, value: 0, averageValue: 1}}, pods: {}}]",
            expect![[r#"
                spec.metrics[0].external.target.value: Invalid value: "0": must be positive
                spec.metrics[0].external.target.value: Forbidden: may not set both a target value for metric and a per-pod target
                spec.metrics[0].pods: Forbidden: must populate the given metric source only
            "#]],
        ),
        (
            "[{type: Object, object: {describedObject: {kind: a/b, apiVersion: a/b/c}, metric: {}, target: {type: Value}}}]",
            expect![[r#"
            spec.metrics[0].object.describedObject.kind: Invalid value: "a/b": may not contain '/'
            spec.metrics[0].object.describedObject.name: Required value
            spec.metrics[0].object.describedObject.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c
            spec.metrics[0].object.metric.name: Required value: must specify a metric name
            spec.metrics[0].object.target.averageValue: Required value: must set either a target value or averageValue
        "#]],
        ),
    ] {
        let fixture = format!("{{spec: {{{REST}, metrics: {metrics}}}}}");
        check("autoscaling", "HorizontalPodAutoscaler", &fixture, expected);
    }
    let mut old = yaml(&format!("{{apiVersion: autoscaling/v1, spec: {{{REST}}}}}"));
    of("autoscaling", "HorizontalPodAutoscaler").default(&mut old);
    assert_eq!(old["spec"]["targetCPUUtilizationPercentage"], 80);
    old["spec"]["targetCPUUtilizationPercentage"] = json!(0);
    let errors = of("autoscaling", "HorizontalPodAutoscaler").validate(&named(old, true));
    expect![[r#"
        spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0
    "#]]
    .assert_eq(&text_of(errors));
}

#[test]
fn policies_of_jobs() {
    const PODS: &str = "template: {spec: {restartPolicy: Never, containers: [{name: c, image: i, terminationMessagePolicy: File, imagePullPolicy: Always}]}}";
    for (rest, expected) in [
        (
            "managedBy: a",
            expect![[r#"
            spec.managedBy: Invalid value: "a": must be a domain-prefixed path (such as "acme.io/foo")
        "#]],
        ),
        (
            "managedBy: 'a.io/b c'",
            expect![[r#"
            spec.managedBy: Invalid value: "b c": Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')
        "#]],
        ),
        (
            "podReplacementPolicy: Odd",
            expect![[r#"
            spec.podReplacementPolicy: Unsupported value: "Odd": supported values: "Failed", "TerminatingOrFailed"
        "#]],
        ),
        (
            "podReplacementPolicy: TerminatingOrFailed, podFailurePolicy: {rules: [{}]}",
            expect![[r#"
            spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]
            spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required
            spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"
        "#]],
        ),
        (
            "podFailurePolicy: {rules: [{action: FailIndex, onExitCodes: {containerName: x, values: [2, 1, 1, 0], operator: In}, onPodConditions: [{type: 'a b', status: Odd}]}]}",
            expect![[r#"
                spec.podFailurePolicy.rules[0].action: Invalid value: "FailIndex": requires the backoffLimitPerIndex to be set
                spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "x": must be one of the container or initContainer names in the pod template
                spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 1
                spec.podFailurePolicy.rules[0].onExitCodes.values[3]: Invalid value: 0: must not be 0 for the In operator
                spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,1,0]: must be ordered
                spec.podFailurePolicy.rules[0].onPodConditions[0].type: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')
                spec.podFailurePolicy.rules[0].onPodConditions[0].status: Unsupported value: "Odd": supported values: "False", "True", "Unknown"
                spec.podFailurePolicy.rules[0]: Invalid value: specifying both OnExitCodes and OnPodConditions is not supported
            "#]],
        ),
        (
            "podFailurePolicy: {rules: [{action: Ignore, onExitCodes: {}}]}",
            expect![[r#"
            spec.podFailurePolicy.rules[0].onExitCodes.operator: Required value: valid values: ["In" "NotIn"]
            spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: null: at least one value is required
        "#]],
        ),
        (
            "successPolicy: {rules: [{succeededCount: 1}]}",
            expect![[r#"
                spec.successPolicy: Invalid value: {"Rules":[{"SucceededIndexes":null,"SucceededCount":1}]}: requires indexed completion mode
            "#]],
        ),
        (
            "completionMode: Indexed, successPolicy: {}",
            expect![[r#"
            spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified
        "#]],
        ),
        (
            "completionMode: Indexed, completions: 5, successPolicy: {rules: [{}, {succeededIndexes: '0,2-4', succeededCount: 5}, {succeededIndexes: '1-1'}, {succeededIndexes: '3,1'}, {succeededIndexes: '5'}, {succeededIndexes: '1-2-3'}, {succeededIndexes: 'x', succeededCount: 6}]}",
            expect![[r#"
                spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified
                spec.successPolicy.rules[1].succeededCount: Invalid value: 5: must be less than or equal to 4 (the number of indexes in the specified succeededIndexes field)
                spec.successPolicy.rules[2].succeededIndexes: Invalid value: "1-1": error parsing succeededIndexes: non-increasing order, previous: 1, current: 1
                spec.successPolicy.rules[3].succeededIndexes: Invalid value: "3,1": error parsing succeededIndexes: non-increasing order, previous: 3, current: 1
                spec.successPolicy.rules[4].succeededIndexes: Invalid value: "5": error parsing succeededIndexes: too large index: "5"
                spec.successPolicy.rules[5].succeededIndexes: Invalid value: "1-2-3": error parsing succeededIndexes: the fragment "1-2-3" violates the requirement that an index interval can have at most two parts separated by '-'
                spec.successPolicy.rules[6].succeededIndexes: Invalid value: "x": error parsing succeededIndexes: cannot convert string to integer for index: "x"
                spec.successPolicy.rules[6].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)
                spec.successPolicy.rules[6].succeededCount: Invalid value: 6: must be less than or equal to 0 (the number of indexes in the specified succeededIndexes field)
            "#]],
        ),
        (
            "completionMode: Indexed, completions: 100001, parallelism: 10001, backoffLimitPerIndex: 1",
            expect![[r#"
            spec.maxFailedIndexes: Required value: must be specified when completions is above 100000
            spec.parallelism: Invalid value: 10001: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index
        "#]],
        ),
    ] {
        check("batch", "Job", &format!("{{spec: {{{rest}, {PODS}}}}}"), expected);
    }
}

#[test]
fn daemons_number_their_templates() {
    const KEY: &str = "deprecated.daemonset.template.generation";
    let daemons = of("apps", "DaemonSet");
    let mut first = yaml("{metadata: {name: d}, spec: {template: {metadata: {labels: {a: b}}}}}");
    daemons.prepare_create(&mut first);
    assert_eq!(first["metadata"]["annotations"][KEY], "1");
    let mut second = first.clone();
    second["metadata"]["annotations"] = json!({});
    daemons.prepare_update(&mut second, &first);
    assert_eq!(second["metadata"]["annotations"][KEY], "1", "the template is the same");
    second["spec"]["template"]["metadata"]["labels"]["a"] = json!("c");
    daemons.prepare_update(&mut second, &first);
    assert_eq!(second["metadata"]["annotations"][KEY], "2");
}
