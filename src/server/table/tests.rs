use expect_test::{Expect, expect};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    Include, printer_of, render,
    text::{duration, shortened},
};

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().expect("a time")
}

/// Renders YAML documents of one kind as `kubectl get -o wide` would lay them out, columns apart by two spaces.
fn check(yaml: &str, expected: Expect) {
    let objects: Vec<Value> = serde_yaml::Deserializer::from_str(yaml)
        .map(|document| serde::Deserialize::deserialize(document).expect("YAML"))
        .collect();
    let api_version = objects[0]["apiVersion"].as_str().expect("apiVersion");
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let table = render(group, objects[0]["kind"].as_str().expect("kind"), &objects, Include::None, now());
    let plain = |cell: &Value| cell.as_str().map_or_else(|| cell.to_string(), str::to_string);
    let head = table["columnDefinitions"]
        .as_array()
        .expect("columns")
        .iter()
        .map(|c| plain(&c["name"]).to_uppercase())
        .collect::<Vec<_>>();
    let mut lines = vec![head];
    for row in table["rows"].as_array().expect("rows") {
        lines.push(row["cells"].as_array().expect("cells").iter().map(plain).collect());
    }
    let columns = lines[0].len();
    assert!(lines.iter().all(|line| line.len() == columns), "as many cells as columns: {lines:?}");
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let text: Vec<String> = lines
        .iter()
        .map(|line| {
            line.iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}  "))
                .collect::<String>()
                .trim_end()
                .to_string()
        })
        .collect();
    expected.assert_eq(&(text.join("\n") + "\n"));
}

#[test]
fn ages_have_two_or_three_figures() {
    let (s, m, h, d) = (1000, 60_000, 3_600_000, 86_400_000);
    let cases = [
        (-2 * s, "<invalid>"),
        (-s, "0s"),
        (0, "0s"),
        (119 * s, "119s"),
        (120 * s, "2m"),
        (9 * m + 59 * s, "9m59s"),
        (10 * m + 30 * s, "10m"),
        (179 * m, "179m"),
        (3 * h, "3h"),
        (7 * h + 59 * m, "7h59m"),
        (8 * h + 5 * m, "8h"),
        (47 * h, "47h"),
        (2 * d, "2d"),
        (7 * d + 5 * h, "7d5h"),
        (8 * d + 5 * h, "8d"),
        (729 * d, "729d"),
        (2 * 365 * d, "2y"),
        (3 * 365 * d + 10 * d, "3y10d"),
        (8 * 365 * d + 10 * d, "8y"),
    ];
    for (millis, expected) in cases {
        assert_eq!(duration(millis), expected, "{millis} ms");
    }
}

#[test]
fn long_lists_are_cut() {
    let list = |n: usize| (0..n).map(|i| i.to_string()).collect::<Vec<_>>();
    assert_eq!(shortened(&list(0), 3), "<none>");
    assert_eq!(shortened(&list(3), 3), "0,1,2");
    assert_eq!(shortened(&list(5), 3), "0,1,2 + 2 more...");
}

#[test]
fn every_printer_fills_its_columns_whatever_it_is_given() {
    let strange =
        [json!(null), json!({}), json!([]), json!({"metadata": 1, "spec": "x", "status": [1], "data": 3, "rules": {}})];
    for kind in mk8s_api::kinds::builtin() {
        let printer = printer_of(&kind.group, &kind.kind);
        for object in &strange {
            assert_eq!(printer.cells(object, now()).len(), printer.columns().len(), "{} {object}", kind.kind);
        }
    }
}

#[test]
fn rows_carry_what_was_asked_for() {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "y"}});
    let row = |include| render("", "ConfigMap", std::slice::from_ref(&object), include, now())["rows"][0].clone();
    assert_eq!(row(Include::None), json!({"cells": ["a", 1, "<unknown>"]}));
    assert_eq!(row(Include::Object)["object"], object);
    let partial = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": {"name": "a"}});
    assert_eq!(row(Include::Metadata)["object"], partial);
}

#[test]
fn pods() {
    check(
        r#"
apiVersion: v1
kind: Pod
metadata: {name: running, creationTimestamp: "2026-01-01T11:57:30Z"}
spec: {nodeName: one, containers: [{name: a}, {name: b}], readinessGates: [{conditionType: x}]}
status:
  phase: Running
  podIPs: [{ip: 10.42.0.7}]
  conditions: [{type: x, status: "True"}]
  containerStatuses:
  - {name: a, ready: true, restartCount: 2, state: {running: {}}, lastState: {terminated: {finishedAt: "2026-01-01T11:59:00Z"}}}
  - {name: b, ready: false, restartCount: 1, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: {finishedAt: "2026-01-01T11:58:00Z"}}}
---
metadata: {name: init, creationTimestamp: "2026-01-01T11:00:00Z"}
spec: {containers: [{name: a}], initContainers: [{name: i}, {name: j}]}
status:
  phase: Pending
  initContainerStatuses: [{name: i, state: {terminated: {exitCode: 0}}}, {name: j, state: {running: {}}}]
  containerStatuses: [{name: a, state: {waiting: {reason: PodInitializing}}}]
---
metadata: {name: init-failed}
spec: {containers: [{name: a}], initContainers: [{name: i}]}
status: {phase: Pending, initContainerStatuses: [{name: i, restartCount: 3, state: {terminated: {exitCode: 2}}}]}
---
metadata: {name: init-pull}
spec: {containers: [{name: a}], initContainers: [{name: i}]}
status: {phase: Pending, initContainerStatuses: [{name: i, state: {waiting: {reason: ErrImagePull}}}]}
---
metadata: {name: sidecar}
spec: {containers: [{name: a}], initContainers: [{name: s, restartPolicy: Always}]}
status:
  phase: Running
  conditions: [{type: Initialized, status: "True"}, {type: Ready, status: "True"}]
  initContainerStatuses: [{name: s, started: true, ready: true, restartCount: 1, state: {running: {}}}]
  containerStatuses: [{name: a, ready: true, restartCount: 0, state: {running: {}}}]
---
metadata: {name: leaving, deletionTimestamp: "2026-01-01T11:59:59Z"}
spec: {containers: [{name: a}]}
status: {phase: Running, containerStatuses: [{name: a, ready: true, state: {running: {}}}]}
---
metadata: {name: lost, deletionTimestamp: "2026-01-01T11:59:59Z"}
spec: {containers: [{name: a}]}
status: {phase: Running, reason: NodeLost}
---
metadata: {name: done}
spec: {containers: [{name: a}]}
status: {phase: Succeeded, containerStatuses: [{name: a, state: {terminated: {reason: Completed, exitCode: 0}}}]}
---
metadata: {name: half-done}
spec: {containers: [{name: a}, {name: b}]}
status: {phase: Running, containerStatuses: [{name: a, state: {terminated: {reason: Completed, exitCode: 0}}}, {name: b, ready: true, state: {running: {}}}]}
---
metadata: {name: killed}
spec: {containers: [{name: a}]}
status: {phase: Failed, containerStatuses: [{name: a, state: {terminated: {signal: 9, exitCode: 137}}}]}
---
metadata: {name: evicted}
spec: {containers: [{name: a}]}
status: {phase: Failed, reason: Evicted}
---
metadata: {name: gated}
spec: {containers: [{name: a}]}
status: {phase: Pending, conditions: [{type: PodScheduled, reason: SchedulingGated}]}
"#,
        expect![[r#"
            NAME         READY  STATUS             RESTARTS     AGE        IP         NODE    NOMINATED NODE  READINESS GATES
            running      1/2    CrashLoopBackOff   3 (60s ago)  2m30s      10.42.0.7  one     <none>          1/1
            init         0/1    Init:1/2           0            60m        <none>     <none>  <none>          <none>
            init-failed  0/1    Init:ExitCode:2    3            <unknown>  <none>     <none>  <none>          <none>
            init-pull    0/1    Init:ErrImagePull  0            <unknown>  <none>     <none>  <none>          <none>
            sidecar      2/2    Running            1            <unknown>  <none>     <none>  <none>          <none>
            leaving      1/1    Terminating        0            <unknown>  <none>     <none>  <none>          <none>
            lost         0/1    Unknown            0            <unknown>  <none>     <none>  <none>          <none>
            done         0/1    Completed          0            <unknown>  <none>     <none>  <none>          <none>
            half-done    1/2    NotReady           0            <unknown>  <none>     <none>  <none>          <none>
            killed       0/1    Signal:9           0            <unknown>  <none>     <none>  <none>          <none>
            evicted      0/1    Evicted            0            <unknown>  <none>     <none>  <none>          <none>
            gated        0/1    SchedulingGated    0            <unknown>  <none>     <none>  <none>          <none>
        "#]],
    );
}

#[test]
fn nodes() {
    check(
        r#"
apiVersion: v1
kind: Node
metadata:
  name: one
  creationTimestamp: "2025-12-20T12:00:00Z"
  labels: {node-role.kubernetes.io/control-plane: "", node-role.kubernetes.io/etcd: "", kubernetes.io/role: extra}
status:
  conditions: [{type: Ready, status: "True"}]
  addresses: [{type: Hostname, address: one}, {type: InternalIP, address: 192.0.2.1}]
  nodeInfo: {kubeletVersion: v1.36.0, osImage: Debian GNU/Linux 12, kernelVersion: 6.1.0, architecture: amd64, containerRuntimeVersion: "containerd://2.1"}
---
metadata: {name: two}
spec: {unschedulable: true}
status: {conditions: [{type: Ready, status: Unknown}], addresses: [{type: ExternalIP, address: 203.0.113.9}]}
---
metadata: {name: three}
"#,
        expect![[r#"
            NAME   STATUS                       ROLES                     AGE        VERSION  INTERNAL-IP  EXTERNAL-IP  OS-IMAGE             KERNEL-VERSION  CONTAINER-RUNTIME
            one    Ready                        control-plane,etcd,extra  12d        v1.36.0  192.0.2.1    <none>       Debian GNU/Linux 12  6.1.0 (amd64)   containerd://2.1
            two    NotReady,SchedulingDisabled  <none>                    <unknown>           <none>       203.0.113.9  <unknown>            <unknown>       <unknown>
            three  Unknown                      <none>                    <unknown>           <none>       <none>       <unknown>            <unknown>       <unknown>
        "#]],
    );
}

#[test]
fn services() {
    check(
        r#"
apiVersion: v1
kind: Service
metadata: {name: web, creationTimestamp: "2026-01-01T10:00:00Z"}
spec: {type: NodePort, clusterIP: 10.43.0.5, clusterIPs: [10.43.0.5], selector: {app: web, tier: front}, ports: [{port: 80, nodePort: 30080, protocol: TCP}, {port: 53, protocol: UDP}]}
---
metadata: {name: headless}
spec: {type: ClusterIP, clusterIPs: [None]}
---
metadata: {name: pending}
spec: {type: LoadBalancer, clusterIPs: [10.43.0.6], ports: [{port: 80, protocol: TCP}]}
---
metadata: {name: balanced}
spec: {type: LoadBalancer, clusterIPs: [10.43.0.7], externalIPs: [198.51.100.1]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.2}, {hostname: a.example.com}]}}
---
metadata: {name: elsewhere}
spec: {type: ExternalName, externalName: db.example.com}
"#,
        expect![[r#"
            NAME       TYPE          CLUSTER-IP  EXTERNAL-IP                             PORT(S)              AGE        SELECTOR
            web        NodePort      10.43.0.5   <none>                                  80:30080/TCP,53/UDP  120m       app=web,tier=front
            headless   ClusterIP     None        <none>                                  <none>               <unknown>  <none>
            pending    LoadBalancer  10.43.0.6   <pending>                               80/TCP               <unknown>  <none>
            balanced   LoadBalancer  10.43.0.7   203.0.113.2,a.example.com,198.51.100.1  <none>               <unknown>  <none>
            elsewhere  ExternalName  <none>      db.example.com                          <none>               <unknown>  <none>
        "#]],
    );
    check(
        r#"
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x, creationTimestamp: "2026-01-01T10:00:00Z"}
addressType: IPv4
ports: [{port: 80}, {name: any}]
endpoints: [{addresses: [10.42.0.1]}, {addresses: [10.42.0.2]}, {addresses: [10.42.0.3]}, {addresses: [10.42.0.4]}]
---
metadata: {name: empty}
addressType: IPv4
"#,
        expect![[r#"
            NAME   ADDRESSTYPE  PORTS    ENDPOINTS                                  AGE
            web-x  IPv4         80,any   10.42.0.1,10.42.0.2,10.42.0.3 + 1 more...  120m
            empty  IPv4         <unset>  <unset>                                    <unknown>
        "#]],
    );
    check(
        r#"
apiVersion: v1
kind: Endpoints
metadata: {name: web, creationTimestamp: "2026-01-01T10:00:00Z"}
subsets: [{addresses: [{ip: 10.42.0.1}, {ip: 10.42.0.2}], ports: [{port: 80}, {port: 443}]}]
---
metadata: {name: none}
---
metadata: {name: unready}
subsets: [{notReadyAddresses: [{ip: 10.42.0.1}], ports: [{port: 80}]}]
"#,
        expect![[r#"
            NAME     ENDPOINTS                                            AGE
            web      10.42.0.1:80,10.42.0.2:80,10.42.0.1:443 + 1 more...  120m
            none     <none>                                               <unknown>
            unready                                                       <unknown>
        "#]],
    );
}

#[test]
fn workloads() {
    check(
        r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, creationTimestamp: "2026-01-01T11:59:50Z"}
spec: {replicas: 3, selector: {matchLabels: {app: web}}, template: {spec: {containers: [{name: a, image: hello:1}, {name: b, image: busybox}]}}}
status: {readyReplicas: 2, updatedReplicas: 3, availableReplicas: 2}
---
metadata: {name: new, creationTimestamp: "2026-01-01T12:00:00Z"}
spec: {replicas: 1, selector: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}, template: {spec: {containers: [{name: a, image: hello:1}]}}}
"#,
        expect![[r#"
            NAME  READY  UP-TO-DATE  AVAILABLE  AGE  CONTAINERS  IMAGES           SELECTOR
            web   2/3    3           2          10s  a,b         hello:1,busybox  app=web
            new   0/1    0           0          0s   a           hello:1          app in (a,b)
        "#]],
    );
    check(
        r#"
apiVersion: apps/v1
kind: ReplicaSet
metadata: {name: web-1, creationTimestamp: "2026-01-01T11:00:00Z"}
spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {spec: {containers: [{name: a, image: hello:1}]}}}
status: {replicas: 2, readyReplicas: 1}
"#,
        expect![[r#"
            NAME   DESIRED  CURRENT  READY  AGE  CONTAINERS  IMAGES   SELECTOR
            web-1  2        2        1      60m  a           hello:1  app=web
        "#]],
    );
    check(
        r#"
apiVersion: batch/v1
kind: Job
metadata: {name: sum, creationTimestamp: "2026-01-01T11:00:00Z"}
spec: {completions: 3, parallelism: 2, selector: {matchLabels: {job: sum}}, template: {spec: {containers: [{name: a, image: x}]}}}
status: {succeeded: 3, startTime: "2026-01-01T11:00:00Z", completionTime: "2026-01-01T11:03:20Z", conditions: [{type: Complete, status: "True"}]}
---
metadata: {name: going}
spec: {parallelism: 4}
status: {startTime: "2026-01-01T11:59:00Z"}
"#,
        expect![[r#"
            NAME   STATUS    COMPLETIONS  DURATION  AGE        CONTAINERS  IMAGES  SELECTOR
            sum    Complete  3/3          3m20s     60m        a           x       job=sum
            going  Running   0/1 of 4     60s       <unknown>                      <none>
        "#]],
    );
}

#[test]
fn configuration_and_events() {
    check(
        r#"
apiVersion: v1
kind: Event
metadata: {name: web.1}
type: Warning
reason: Failed
message: " oh no "
count: 4
firstTimestamp: "2026-01-01T11:00:00Z"
lastTimestamp: "2026-01-01T11:59:30Z"
involvedObject: {kind: Pod, name: web, fieldPath: "spec.containers{a}"}
source: {component: kubelet, host: one}
---
metadata: {name: web.2}
type: Normal
reason: Scheduled
message: Successfully assigned
eventTime: "2026-01-01T11:59:00.123456Z"
involvedObject: {kind: Pod, name: web}
reportingComponent: default-scheduler
---
metadata: {name: web.3}
eventTime: "2026-01-01T11:00:00.000000Z"
series: {count: 7, lastObservedTime: "2026-01-01T11:59:55.000000Z"}
involvedObject: {kind: Node, name: one}
"#,
        expect![[r#"
            LAST SEEN  TYPE     REASON     OBJECT    SUBOBJECT           SOURCE             MESSAGE                FIRST SEEN  COUNT  NAME
            30s        Warning  Failed     pod/web   spec.containers{a}  kubelet, one       oh no                  60m         4      web.1
            59s        Normal   Scheduled  pod/web                       default-scheduler  Successfully assigned  59s         1      web.2
            5s                             node/one                                                                60m         7      web.3
        "#]],
    );
    check(
        r#"
apiVersion: v1
kind: Secret
metadata: {name: s, creationTimestamp: "2026-01-01T11:00:00Z"}
type: Opaque
data: {a: eA==, b: eQ==}
"#,
        expect![[r#"
            NAME  TYPE    DATA  AGE
            s     Opaque  2     60m
        "#]],
    );
    check(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: r, creationTimestamp: "2026-01-01T11:00:00Z"}
roleRef: {kind: Role, name: reader}
subjects: [{kind: User, name: ann}, {kind: Group, name: dev}, {kind: Group, name: ops}, {kind: ServiceAccount, namespace: a, name: sa}]
"#,
        expect![[r#"
            NAME  ROLE         AGE  USERS  GROUPS    SERVICEACCOUNTS
            r     Role/reader  60m  ann    dev, ops  a/sa
        "#]],
    );
    check(
        r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: plain, creationTimestamp: "2026-01-01T11:00:00Z"}
"#,
        expect![[r#"
            NAME   CREATED AT
            plain  2026-01-01T11:00:00Z
        "#]],
    );
}

#[test]
fn storage_and_networking() {
    check(
        r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, creationTimestamp: "2026-01-01T11:00:00Z"}
spec: {volumeName: pv-1, storageClassName: fast, volumeMode: Filesystem}
status: {phase: Bound, accessModes: [ReadWriteOnce, ReadOnlyMany], capacity: {storage: 1Gi}}
---
metadata: {name: waiting, deletionTimestamp: "2026-01-01T11:00:00Z"}
status: {phase: Pending}
"#,
        expect![[r#"
            NAME     STATUS       VOLUME  CAPACITY  ACCESS MODES  STORAGECLASS  VOLUMEATTRIBUTESCLASS  AGE        VOLUMEMODE
            data     Bound        pv-1    1Gi       RWO,ROX       fast          <unset>                60m        Filesystem
            waiting  Terminating                                                <unset>                <unknown>  <unset>
        "#]],
    );
    check(
        r#"
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast, creationTimestamp: "2026-01-01T11:00:00Z", annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
provisioner: example.com/disk
"#,
        expect![[r#"
            NAME            PROVISIONER       RECLAIMPOLICY  VOLUMEBINDINGMODE  ALLOWVOLUMEEXPANSION  AGE
            fast (default)  example.com/disk  Delete         Immediate          false                 60m
        "#]],
    );
    check(
        r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, creationTimestamp: "2026-01-01T11:00:00Z"}
spec: {ingressClassName: nginx, tls: [{}], rules: [{host: a}, {host: b}, {host: c}, {host: d}, {host: e}]}
status: {loadBalancer: {ingress: [{ip: 203.0.113.2}]}}
---
metadata: {name: any}
"#,
        expect![[r#"
            NAME  CLASS   HOSTS              ADDRESS      PORTS    AGE
            web   nginx   a,b,c + 2 more...  203.0.113.2  80, 443  60m
            any   <none>  *                               80       <unknown>
        "#]],
    );
    check(
        r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, creationTimestamp: "2026-01-01T11:00:00Z"}
spec:
  scaleTargetRef: {kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 5
  metrics: [{type: Resource, resource: {name: cpu, target: {averageUtilization: 80}}}, {type: Pods, pods: {target: {averageValue: "10"}}}, {type: Pods, pods: {target: {averageValue: "1"}}}]
status: {currentReplicas: 2, currentMetrics: [{type: Resource, resource: {current: {averageUtilization: 42}}}]}
"#,
        expect![[r#"
            NAME  REFERENCE       TARGETS                                 MINPODS  MAXPODS  REPLICAS  AGE
            web   Deployment/web  cpu: 42%/80%, <unknown>/10 + 1 more...  1        5        2         60m
        "#]],
    );
}
