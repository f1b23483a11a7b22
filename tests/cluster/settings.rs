//! What a pod is told: variables, files, limits.

use crate::support::{shared, space::Space};
use std::time::Duration;

const TOLD: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: plain}
data: {ONE: '1', file.txt: words}
---
apiVersion: v1
kind: Secret
metadata: {name: hidden}
stringData: {TWO: '2', key: secret}
---
apiVersion: v1
kind: Pod
metadata: {name: told, labels: {tier: test}, annotations: {note: hello}}
spec:
  restartPolicy: Never
  securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000}
  containers:
  - name: main
    image: busybox:1.36
    command:
    - sh
    - -c
    - |
      echo env $ONE $TWO $PREFIX_ONE $POD $NAMESPACE $NODE $MEMORY $(EXPANDED)-$EXPANDED
      echo address $ADDRESS; hostname -i
      echo files $(cat /plain/file.txt) $(cat /hidden/key) $(cat /all/config/ONE) $(cat /all/secret/key)
      cat /down/labels; echo; cat /down/annotations | grep note; echo
      echo token $(wc -c </all/token/token | awk '{print ($1 > 100)}') $(ls /var/run/secrets/kubernetes.io/serviceaccount | tr '\\n' ' ')
      id
      touch /scratch/file && stat -c %g /scratch/file
      mount | grep -c '/memory type tmpfs'
      mount | grep ' /plain ' | grep -o '(ro,'
      grep search /etc/resolv.conf; grep nameserver /etc/resolv.conf
      echo bye >/dev/termination-log
    env:
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: ADDRESS, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: EXPANDED, value: $(POD)-x}
    envFrom:
    - configMapRef: {name: plain}
    - secretRef: {name: hidden}
    - {prefix: PREFIX_, configMapRef: {name: plain}}
    resources: {limits: {memory: 64Mi, cpu: 100m}}
    volumeMounts:
    - {name: plain, mountPath: /plain}
    - {name: hidden, mountPath: /hidden}
    - {name: down, mountPath: /down}
    - {name: all, mountPath: /all}
    - {name: scratch, mountPath: /scratch}
    - {name: memory, mountPath: /memory}
  volumes:
  - name: plain
    configMap: {name: plain}
  - name: hidden
    secret: {secretName: hidden}
  - name: down
    downwardAPI:
      items:
      - {path: labels, fieldRef: {fieldPath: metadata.labels}}
      - {path: annotations, fieldRef: {fieldPath: metadata.annotations}}
  - name: all
    projected:
      sources:
      - configMap: {name: plain, items: [{key: ONE, path: config/ONE}]}
      - secret: {name: hidden, items: [{key: key, path: secret/key}]}
      - serviceAccountToken: {path: token/token, audience: tests, expirationSeconds: 3600}
  - name: scratch
    emptyDir: {}
  - name: memory
    emptyDir: {medium: Memory}
";

#[test]
fn variables_and_files_are_what_the_manifest_says() {
    let space = Space::new(shared(), "settings");
    space.apply(TOLD);
    let phase =
        space.wait_field("pod/told", "{.status.phase}", Duration::from_secs(60), |p| p == "Succeeded" || p == "Failed");
    let log = space.kubectl(&["logs", "told"]);
    assert_eq!(phase, "Succeeded", "{log}");
    let address = space.field("pod/told", "{.status.podIP}");
    let expected = [
        format!("env 1 2 1 told settings {} 64 told-x-told-x", shared().name),
        format!("address {address}\n{address}"),
        "files words secret 1 secret".to_owned(),
        "tier=\"test\"".to_owned(),
        "note=\"hello\"".to_owned(),
        "token 1 ca.crt namespace token".to_owned(),
        "uid=1000 gid=2000 groups=".to_owned(),
        "3000\n1\n(ro,".to_owned(),
        "search settings.svc.cluster.local svc.cluster.local cluster.local".to_owned(),
        "nameserver 10.43.0.10".to_owned(),
    ];
    for line in &expected {
        assert!(log.contains(line), "{line:?} is missing in\n{log}");
    }
    assert_eq!(space.field("pod/told", "{.status.containerStatuses[0].state.terminated.message}"), "bye\n");
    assert_eq!(space.field("pod/told", "{.status.qosClass}"), "Guaranteed");
}

#[test]
fn a_container_over_its_memory_limit_is_killed() {
    let space = Space::new(shared(), "memory");
    space.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: greedy}
spec:
  restartPolicy: Never
  containers:
  - name: main
    image: busybox:1.36
    command: [sh, -c, 'dd if=/dev/zero of=/dev/null bs=64M count=1']
    resources: {limits: {memory: 16Mi}}
",
    );
    let reason = "{.status.containerStatuses[0].state.terminated.reason}";
    let reason = space.wait_field("pod/greedy", reason, Duration::from_secs(60), |reason| !reason.is_empty());
    assert_eq!(reason, "OOMKilled");
    assert_eq!(space.field("pod/greedy", "{.status.containerStatuses[0].state.terminated.exitCode}"), "137");
}
