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
        assert_eq!(describe(level, &pod).unwrap_or_default(), expected, "{level:?} {pod}");
    }
}
