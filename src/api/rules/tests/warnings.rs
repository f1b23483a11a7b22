//! Advice about objects that are valid, in Kubernetes' words.

use super::*;

/// What is said of a new object, or of one in the place of another.
fn warned(group: &str, kind: &str, old: Option<&str>, new: &str, expected: Expect) {
    let rules = rules(group, kind);
    let ready = |fixture| {
        let mut object = named(yaml(fixture), rules.scope() == crate::rules::Scope::Namespaced);
        rules.default(&mut object);
        object
    };
    let mut new = ready(new);
    let old = old.map(ready);
    match &old {
        Some(old) => rules.prepare_update(&mut new, old),
        None => rules.prepare_create(&mut new),
    }
    let said: String = rules.warnings(&new, old.as_ref()).iter().map(|line| format!("{line}\n")).collect();
    expected.assert_eq(&said);
}

const ODD: &str = "{metadata: {labels: {a: b}, annotations: {scheduler.alpha.kubernetes.io/critical-pod: '', seccomp.security.alpha.kubernetes.io/pod: x, container.seccomp.security.alpha.kubernetes.io/c: x, container.apparmor.security.beta.kubernetes.io/c: unconfined}}, spec: {
  nodeSelector: {beta.kubernetes.io/os: linux},
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: beta.kubernetes.io/arch, operator: Exists}]}]},
      preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, preference: {matchExpressions: [{key: a, operator: In, values: ['-']}]}}]},
    podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{topologyKey: a}]},
    podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: a}}]}},
  topologySpreadConstraints: [{maxSkew: 1, topologyKey: failure-domain.beta.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule}],
  volumes: [
    {name: g, gitRepo: {repository: r}}, {name: s, storageos: {}}, {name: b, rbd: {image: i, monitors: [m]}},
    {name: e, ephemeral: {volumeClaimTemplate: {spec: {resources: {requests: {storage: 1m}}}}}},
    {name: m, configMap: {name: x, items: [{key: a, path: p}, {key: b, path: p/q}]}},
    {name: p, projected: {sources: [{}, {secret: {name: x, items: [{key: a, path: token}]}}, {serviceAccountToken: {path: token}}]}}],
  hostAliases: [{ip: 10.0.0.01}, {ip: 10.0.0.01}],
  imagePullSecrets: [{name: a}, {name: a}, {}],
  overhead: {memory: 1m},
  terminationGracePeriodSeconds: -1,
  dnsConfig: {nameservers: ['::ffff:1.2.3.4']},
  initContainers: [{name: i, image: i, restartPolicy: Always, ports: [{name: http, containerPort: 80, protocol: TCP}]}],
  containers: [{name: c, image: i, resources: {limits: {memory: 1m}}, env: [{name: A, value: a}, {name: A, value: $(A)b}, {name: A, value: c}],
    ports: [{name: http, containerPort: 80, protocol: TCP}, {containerPort: 80, protocol: TCP, hostPort: 1}, {containerPort: 81, protocol: TCP, hostIP: 1.2.3.4}, {containerPort: 82, protocol: TCP, hostPort: 5}, {containerPort: 82, protocol: TCP, hostPort: 5, hostIP: 1.2.3.4}]}]}}";

#[test]
fn pods_and_templates() {
    warned(
        "",
        "Pod",
        None,
        ODD,
        expect![[r#"
            spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead
            spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead
            spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[0]: - is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')
            spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use "topology.kubernetes.io/zone" instead
            spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod
            metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the "priorityClassName" field instead
            spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+
            spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+
            spec.volumes[2].rbd: deprecated in v1.28, non-functional in v1.31+
            spec.volumes[3].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte value "1m" is invalid, must be an integer
            volume "m" (ConfigMap "x"): overlapping paths: "p/q" with "p"
            volume "p" (Projected) has no sources provided
            volume "p" (Projected): overlapping paths: "token" (ServiceAccountToken) with "token" (Secret "x")
            spec.hostAliases[1].ip: duplicate ip "10.0.0.01"
            spec.imagePullSecrets[1].name: duplicate name "a"
            spec.imagePullSecrets[2].name: invalid empty name ""
            spec.overhead[memory]: fractional byte value "1m" is invalid, must be an integer
            metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the "seccompProfile" field instead
            metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in v1.27+; use the "seccompProfile" field instead
            metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the "appArmorProfile" field instead
            spec.containers[0].resources.limits[memory]: fractional byte value "1m" is invalid, must be an integer
            spec.containers[0].resources.requests[memory]: fractional byte value "1m" is invalid, must be an integer
            spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply
            spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]
            spec.containers[0].ports[1]: overlapping port definition with spec.initContainers[0].ports[0]
            spec.containers[0].ports[1]: overlapping port definition with spec.containers[0].ports[0]
            spec.containers[0].ports[2]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:81 Protocol:TCP HostIP:1.2.3.4}
            spec.containers[0].ports[4]: dangerously ambiguous port definition with spec.containers[0].ports[3]
            spec.containers[0].ports[0]: duplicate port name "http" with spec.initContainers[0].ports[0], services and probes that select ports by name will use spec.initContainers[0].ports[0]
            spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod
            spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod
            spec.dnsConfig.nameservers[0]: non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4"
            spec.hostAliases[0].ip: non-standard IP address "10.0.0.01" is invalid: use "10.0.0.1"
            spec.hostAliases[1].ip: non-standard IP address "10.0.0.01" is invalid: use "10.0.0.1"
        "#]],
    );
    warned("", "Pod", Some(POD), ODD, expect![[""]]);
    warned(
        "",
        "Pod",
        None,
        &POD.replace("{spec", "{metadata: {name: a.b}, spec"),
        expect![[r#"
        metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]
    "#]],
    );
    let deployment = format!("{{spec: {{selector: {{matchLabels: {{a: b}}}}, template: {ODD}}}}}");
    let first = |old: Option<&str>, new: &str| {
        let rules = of("apps", "Deployment");
        let (mut new, old) = (named(yaml(new), true), old.map(|old| named(yaml(old), true)));
        if let Some(old) = &old {
            rules.prepare_update(&mut new, old);
        }
        rules.warnings(&new, old.as_ref()).into_iter().next()
    };
    let said = Some("spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead".to_owned());
    assert_eq!(first(None, &deployment), said);
    assert_eq!(first(Some(&deployment), &deployment), None, "nothing has changed");
    assert_eq!(
        first(Some(&deployment), &deployment.replace("selector: {match", "replicas: 3, selector: {match")),
        said
    );
    for (group, kind) in [
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("", "ReplicationController"),
        ("batch", "Job"),
    ] {
        let said = of(group, kind).warnings(&named(yaml(&deployment), true), None);
        assert!(said.iter().any(|line| line.starts_with("spec.template.spec.nodeSelector[")), "{kind}: {said:?}");
    }
    warned(
        "",
        "PodTemplate",
        None,
        "{template: {spec: {containers: [{name: c, image: i}], terminationGracePeriodSeconds: -1}}}",
        expect![""],
    );
}

#[test]
fn workloads() {
    let cron = "{metadata: {name: a.b}, spec: {schedule: '@daily', jobTemplate: {spec: {completionMode: Indexed, completions: 100001, parallelism: 10001, template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}";
    warned(
        "batch",
        "CronJob",
        None,
        cron,
        expect![[r#"
        metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]
        spec.jobTemplate.spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail
    "#]],
    );
    warned(
        "batch",
        "CronJob",
        Some(cron),
        &cron.replace("@daily", "TZ=UTC 1 * * * *"),
        expect![[r#"
        spec.jobTemplate.spec: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail
        cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details
    "#]],
    );
    let set = format!(
        "{{spec: {{selector: {{matchLabels: {{a: b}}}}, revisionHistoryLimit: -1, volumeClaimTemplates: [{{spec: {{resources: {{limits: {{storage: 1m}}}}}}}}], template: {TEMPLATE}}}}}"
    );
    warned(
        "apps",
        "StatefulSet",
        None,
        &set,
        expect![[r#"
        spec.volumeClaimTemplates[0].resources.limits[storage]: fractional byte value "1m" is invalid, must be an integer
        spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended
    "#]],
    );
    warned(
        "apps",
        "StatefulSet",
        Some(&set),
        &set,
        expect![[r#"
        spec.volumeClaimTemplates[0].Spec.resources.limits[storage]: fractional byte value "1m" is invalid, must be an integer
        spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended
    "#]],
    );
}

#[test]
fn services() {
    warned(
        "",
        "Service",
        None,
        "{metadata: {annotations: {service.kubernetes.io/topology-aware-hints: Auto}}, spec: {clusterIP: None, loadBalancerIP: 1.2.3.04, externalIPs: [1.2.3.04], sessionAffinity: ClientIP, externalName: a, trafficDistribution: PreferClose, loadBalancerSourceRanges: [10.0.0.1/8, '2001:DB8::/32', 010.0.0.0/8], ports: [{port: 1}]}}",
        expect![[r#"
        annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead
        spec.loadBalancerIP is ignored for headless services
        spec.externalIPs is ignored for headless services
        spec.SessionAffinity is ignored for headless services
        spec.externalIPs[0]: non-standard IP address "1.2.3.04" is invalid: use "1.2.3.4"
        spec.loadBalancerIP: non-standard IP address "1.2.3.04" is invalid: use "1.2.3.4"
        spec.loadBalancerSourceRanges[0]: CIDR value "10.0.0.1/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.1/32"?)
        spec.loadBalancerSourceRanges[1]: IPv6 CIDR value "2001:DB8::/32" should be in RFC 5952 canonical format ("2001:db8::/32")
        spec.loadBalancerSourceRanges[2]: non-standard CIDR value "010.0.0.0/8" is invalid: use "10.0.0.0/8"
        spec.externalName is ignored when spec.type is not "ExternalName"
        spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"
    "#]],
    );
    warned(
        "",
        "Service",
        None,
        "{spec: {clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, '2001:DB8::1'], externalIPs: ['::ffff:1.2.3.4']}}",
        expect![[r#"
        spec.clusterIPs[1]: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")
        spec.externalIPs[0]: non-standard IP address "::ffff:1.2.3.4" is invalid: use "1.2.3.4"
        spec.externalIPs is deprecated and may no longer be implemented in some clusters
    "#]],
    );
    warned(
        "",
        "Service",
        None,
        "{spec: {type: ExternalName, externalName: a.b, externalIPs: [8.8.8.8]}}",
        expect![[r#"
        spec.externalIPs is ignored when spec.type is "ExternalName"
    "#]],
    );
    let balanced = yaml("{status: {loadBalancer: {ingress: [{hostname: a}, {ip: 1.2.3.04}]}}}");
    let said = "status.loadBalancer.ingress[1]: non-standard IP address \"1.2.3.04\" is invalid: use \"1.2.3.4\"";
    for (group, kind) in [("", "Service"), ("networking.k8s.io", "Ingress")] {
        assert_eq!(of(group, kind).status_warnings(&balanced), [said]);
    }
}

#[test]
fn other_kinds() {
    warned(
        "networking.k8s.io",
        "Ingress",
        None,
        "{metadata: {annotations: {kubernetes.io/ingress.class: a}}, spec: {}}",
        expect![[r#"
        annotation "kubernetes.io/ingress.class" is deprecated, please use 'spec.ingressClassName' instead
    "#]],
    );
    warned(
        "networking.k8s.io",
        "NetworkPolicy",
        None,
        "{spec: {egress: [{to: [{ipBlock: {cidr: '::ffff:10.0.0.0/104', except: [10.0.0.1/30]}}]}]}}",
        expect![[r#"
        spec.egress[0].to[0].ipBlock.cidr: non-standard CIDR value "::ffff:10.0.0.0/104" is invalid: use "10.0.0.0/8"
        spec.egress[0].to[0].ipBlock.except[0]: CIDR value "10.0.0.1/30" is ambiguous in this context (should be "10.0.0.0/30" or "10.0.0.1/32"?)
    "#]],
    );
    warned(
        "",
        "PersistentVolume",
        None,
        "{metadata: {annotations: {volume.beta.kubernetes.io/storage-class: a, volume.beta.kubernetes.io/mount-options: a}}, spec: {persistentVolumeReclaimPolicy: Recycle, scaleIO: {}, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: beta.kubernetes.io/os, operator: Exists}]}]}}}}",
        expect![[r#"
        metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8; use "storageClassName" attribute instead
        metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use "mountOptions" attribute instead
        spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.
        spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is deprecated since v1.14; use "kubernetes.io/os" instead
        spec.scaleIO: deprecated in v1.16, non-functional in v1.22+
    "#]],
    );
    warned(
        "storage.k8s.io",
        "StorageClass",
        None,
        "{allowedTopologies: [{matchLabelExpressions: [{key: failure-domain.beta.kubernetes.io/zone, values: [a]}]}]}",
        expect![[r#"
        allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; use "topology.kubernetes.io/zone" instead
    "#]],
    );
    warned(
        "storage.k8s.io",
        "CSIStorageCapacity",
        None,
        "{nodeTopology: {matchLabels: {beta.kubernetes.io/os: a}, matchExpressions: [{key: beta.kubernetes.io/arch, operator: Exists}]}}",
        expect![[r#"
        nodeTopology.matchExpressions[0].key: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead
        nodeTopology.matchLabels.beta.kubernetes.io/os: deprecated since v1.14; use "kubernetes.io/os" instead
    "#]],
    );
    warned(
        "storage.k8s.io",
        "CSIDriver",
        Some("{spec: {tokenRequests: [{audience: a}]}}"),
        "{spec: {tokenRequests: [{audience: a}]}}",
        expect![[""]],
    );
    warned(
        "node.k8s.io",
        "RuntimeClass",
        None,
        "{handler: h, scheduling: {nodeSelector: {node-role.kubernetes.io/master: ''}}}",
        expect![[r#"
        scheduling.nodeSelector: use "node-role.kubernetes.io/control-plane" instead
    "#]],
    );
    warned(
        "",
        "Node",
        None,
        "{spec: {externalID: e, podCIDRs: [10.0.0.1/24]}}",
        expect![[r#"
        spec.externalID: this field is deprecated, and is unused by Kubernetes
        spec.podCIDRs[0]: CIDR value "10.0.0.1/24" is ambiguous in this context (should be "10.0.0.0/24" or "10.0.0.1/32"?)
    "#]],
    );
    warned(
        "",
        "Secret",
        None,
        "{type: kubernetes.io/tls, data: {tls.crt: '', tls.key: ''}}",
        expect![[r#"
        tls: failed to find any PEM data in certificate input
    "#]],
    );
    warned(
        "",
        "ServiceAccount",
        None,
        "{metadata: {annotations: {kubernetes.io/enforce-mountable-secrets: 'true'}}}",
        expect![[r#"
        metadata.annotations[kubernetes.io/enforce-mountable-secrets]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets
    "#]],
    );
    warned(
        "",
        "Endpoints",
        None,
        "{subsets: [{addresses: [{ip: 1.2.3.04}], notReadyAddresses: [{ip: '2001:DB8::1'}]}]}",
        expect![[r#"
        subsets[0].addresses[0].ip: non-standard IP address "1.2.3.04" is invalid: use "1.2.3.4"
        subsets[0].notReadyAddresses[0].ip: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format ("2001:db8::1")
    "#]],
    );
    warned(
        "discovery.k8s.io",
        "EndpointSlice",
        None,
        "{addressType: FQDN, endpoints: [{addresses: [a.b]}]}",
        expect![[r#"
        spec.addressType: FQDN endpoints are deprecated
    "#]],
    );
    warned(
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
        None,
        "{metadata: {name: a.static.k8s.io}}",
        expect![[r#"
        metadata.name: names ending with ".static.k8s.io" are reserved for static manifest-based configurations and cannot be managed via the API
    "#]],
    );
}
