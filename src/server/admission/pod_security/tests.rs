use serde_json::json;

use super::*;

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "x", "annotations": {}}, "spec": spec})
}

#[test]
fn violations_are_worded_as_upstream() {
    let context = |security: Value| pod(json!({"containers": [{"name": "c", "securityContext": security}]}));
    let hardened = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}],
        "volumes": [{"name": "v", "emptyDir": {}}],
    });
    let plain = concat!(
        r#"allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), "#,
        r#"unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), "#,
        r#"runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), "#,
        r#"seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#,
    );
    let cases = [
        (Level::Privileged, context(json!({"privileged": true})), ""),
        (Level::Baseline, pod(json!({"containers": [{"name": "c"}]})), ""),
        (Level::Restricted, pod(json!({"containers": [{"name": "c"}]})), plain),
        (Level::Restricted, pod(hardened), ""),
        (
            Level::Baseline,
            context(json!({"privileged": true})),
            r#"privileged (container "c" must not set securityContext.privileged=true)"#,
        ),
        (
            Level::Baseline,
            pod(json!({"hostNetwork": true, "hostPID": true})),
            "host namespaces (hostNetwork=true, hostPID=true)",
        ),
        (
            Level::Baseline,
            pod(
                json!({"containers": [{"name": "a", "ports": [{"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 443}]}]}),
            ),
            r#"hostPort (containers "a", "b" use hostPorts 443, 80)"#,
        ),
        (
            Level::Baseline,
            context(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}})),
            r#"non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)"#,
        ),
        (
            Level::Baseline,
            pod(
                json!({"volumes": [{"name": "h", "hostPath": {"path": "/"}}], "securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}),
            ),
            r#"hostPath volumes (volume "h"), forbidden sysctls (kernel.msgmax)"#,
        ),
        (
            Level::Restricted,
            pod(json!({"volumes": [{"name": "h", "hostPath": {"path": "/"}}], "securityContext": {"runAsUser": 0}})),
            r#"restricted volume types (volume "h" uses restricted volume type "hostPath"), runAsUser=0 (pod must not set runAsUser=0)"#,
        ),
        (
            Level::Baseline,
            context(json!({"seccompProfile": {"type": "Unconfined"}})),
            r#"seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")"#,
        ),
        (
            Level::Baseline,
            context(json!({"seLinuxOptions": {"type": "spc_t", "user": "u"}})),
            r#"seLinuxOptions (container "c" set forbidden securityContext.seLinuxOptions: type "spc_t"; user may not be set)"#,
        ),
    ];
    for (level, pod, expected) in cases {
        assert_eq!(told(level, Version::Latest, &pod), expected, "{level:?} {pod}");
    }
}

fn told(level: Level, version: Version, pod: &Value) -> String {
    described(&violations(Policy { level, version }, pod)).unwrap_or_default()
}

#[test]
fn standards_are_those_of_a_version() {
    let sysctl = |name: &str| pod(json!({"securityContext": {"sysctls": [{"name": name}]}}));
    let context = |more: Value| {
        let mut spec = json!({"containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]});
        spec.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        pod(spec)
    };
    let unmasked = r#"procMount (container "c" must not set securityContext.procMount to "Unmasked")"#;
    let mut annotated = pod(json!({"containers": [{"name": "c"}]}));
    annotated["metadata"]["annotations"] = json!({"seccomp.security.alpha.kubernetes.io/pod": "unconfined"});
    let cases = [
        (Level::Baseline, 31, sysctl("net.ipv4.tcp_rmem"), "forbidden sysctls (net.ipv4.tcp_rmem)"),
        (Level::Baseline, 32, sysctl("net.ipv4.tcp_rmem"), ""),
        (
            Level::Baseline,
            26,
            sysctl("net.ipv4.ip_local_reserved_ports"),
            "forbidden sysctls (net.ipv4.ip_local_reserved_ports)",
        ),
        (Level::Baseline, 27, sysctl("net.ipv4.ip_local_reserved_ports"), ""),
        (
            Level::Baseline,
            18,
            annotated.clone(),
            r#"seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod="unconfined")"#,
        ),
        (Level::Baseline, 19, annotated, ""),
        (Level::Baseline, 34, context(json!({"hostUsers": false})), unmasked),
        (Level::Baseline, 35, context(json!({"hostUsers": false})), ""),
        (Level::Baseline, 99, context(json!({})), unmasked),
        (Level::Restricted, 7, context(json!({"securityContext": {"runAsNonRoot": true}})), unmasked),
        (
            Level::Restricted,
            24,
            context(json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}})),
            concat!(
                r#"procMount (container "c" must not set securityContext.procMount to "Unmasked"), "#,
                r#"allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), "#,
                r#"unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), "#,
                r#"seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")"#,
            ),
        ),
        (
            Level::Restricted,
            25,
            context(json!({"os": {"name": "windows"}, "securityContext": {"runAsNonRoot": true}})),
            unmasked,
        ),
        // Under the stricter level this is not forgiven.
        (Level::Restricted, 35, context(json!({"os": {"name": "windows"}, "hostUsers": false})), unmasked),
    ];
    for (level, minor, pod, expected) in cases {
        assert_eq!(told(level, Version::Minor(minor), &pod), expected, "{level:?} v1.{minor} {pod}");
    }
}

#[test]
fn checks_are_told_by_their_names() {
    for checks in [&baseline::CHECKS[..], &restricted::CHECKS[..]] {
        assert!(checks.is_sorted_by_key(|check| check.id));
        assert!(checks.iter().all(|check| check.forms.is_sorted_by_key(|(since, _)| *since)));
    }
    let replaced = restricted::CHECKS.iter().map(|check| check.instead_of).filter(|id| !id.is_empty());
    for id in replaced {
        assert!(baseline::CHECKS.iter().any(|check| check.id == id), "{id}");
    }
}

#[test]
fn labels_are_read() {
    let policies = |labels: Value| {
        let labels = labels.as_object().expect("labels").iter();
        let labels: serde_json::Map<String, Value> =
            labels.map(|(key, value)| (format!("pod-security.kubernetes.io/{key}"), value.clone())).collect();
        let (Policies { enforce, audit, warn }, errors) = Policies::of(&json!({"metadata": {"labels": labels}}));
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        (format!("{enforce} {audit} {warn}"), errors.join("; "))
    };
    let wrong_level = |mode: &str| {
        format!(
            r#"metadata.labels[pod-security.kubernetes.io/{mode}]: Invalid value: "x": must be one of privileged, baseline, restricted"#
        )
    };
    let wrong_version = |value: &str| {
        format!(
            r#"metadata.labels[pod-security.kubernetes.io/enforce-version]: Invalid value: "{value}": must be "latest" or "v1.x""#
        )
    };
    let cases = [
        (json!({}), "privileged:latest privileged:latest privileged:latest", String::new()),
        (json!({"enforce": "baseline"}), "baseline:latest privileged:latest baseline:latest", String::new()),
        (
            json!({"enforce": "baseline", "enforce-version": "v1.30", "warn-version": "v1.31"}),
            "baseline:v1.30 privileged:latest baseline:v1.31",
            String::new(),
        ),
        (
            json!({"enforce": "baseline", "audit": "restricted", "audit-version": "v1.0", "warn": "privileged"}),
            "baseline:latest restricted:v1.0 privileged:latest",
            String::new(),
        ),
        (json!({"enforce": "x"}), "restricted:latest privileged:latest privileged:latest", wrong_level("enforce")),
        (json!({"warn": "x"}), "privileged:latest privileged:latest privileged:latest", wrong_level("warn")),
        (
            json!({"enforce-version": "v1.01"}),
            "privileged:latest privileged:latest privileged:latest",
            wrong_version("v1.01"),
        ),
        (
            json!({"enforce-version": "v1.+1"}),
            "privileged:latest privileged:latest privileged:latest",
            wrong_version("v1.+1"),
        ),
    ];
    for (labels, expected, errors) in cases {
        assert_eq!(policies(labels.clone()), (expected.to_owned(), errors), "{labels}");
    }
}
