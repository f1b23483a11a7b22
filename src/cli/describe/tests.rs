//! Whole descriptions of given objects.

use super::*;
use crate::printers::tabs;
use expect_test::{Expect, expect};
use jiff::tz::TimeZone;
use serde_json::json;

/// What an object is described with.
#[derive(Default)]
struct With<'a> {
    /// Needs and their answers, as YAML.
    related: &'a [(&'a str, &'a str)],
    /// Events as a YAML list.
    events: Option<&'a str>,
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).expect("a fixture of YAML")
}

fn described(object: &str, with: &With<'_>) -> Result<String> {
    let object = yaml(object);
    let (group, _) = text(&object["apiVersion"]).split_once('/').unwrap_or_default();
    let describer = DESCRIBERS.iter().find(|one| one.group == group && object["kind"] == one.kind);
    let related = with.related.iter().map(|(key, text)| ((*key).to_owned(), Ok(yaml(text)))).collect();
    let now = "2026-01-02T03:04:05Z".parse().expect("a time");
    let events = with.events.map(|events| fields::list(&yaml(events)).to_vec());
    write(describer, &Seen { object, related, events, clock: Clock { now, zone: TimeZone::UTC } })
}

fn check_with(object: &str, with: &With<'_>, expected: &Expect) {
    let text = described(object, with).unwrap_or_else(|error| format!("error: {error}\n"));
    // Trailing spaces are part of the text, but editors eat them.
    let shown: String = text.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    expected.assert_eq(&shown);
}

fn check(object: &str, expected: &Expect) {
    check_with(object, &With::default(), expected);
}

#[test]
fn empty_columns_keep_their_padding() {
    assert_eq!(tabs::align("a\t\tb\nccc\t\td\n", 0, 2), "a      b\nccc    d\n");
}

#[test]
fn a_pod() {
    let object = r#"
apiVersion: v1
kind: Pod
metadata:
  name: web-1
  namespace: n
  labels: {app: web, a: b}
  annotations: {long: "0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789", short: x}
  ownerReferences: [{kind: ReplicaSet, name: web, uid: u, controller: true}]
spec:
  priority: 0
  serviceAccountName: default
  nodeName: node-1
  initContainers:
  - {name: init, image: busybox, command: [sh, -c, "echo a\necho b"]}
  containers:
  - name: main
    image: nginx
    ports: [{containerPort: 80, name: http, protocol: TCP}, {containerPort: 443, hostPort: 8443, protocol: TCP}]
    resources: {requests: {cpu: 100m}, limits: {cpu: "1", memory: 128Mi}}
    livenessProbe: {httpGet: {path: "/healthz", port: http, scheme: HTTP}, timeoutSeconds: 1, periodSeconds: 5, successThreshold: 1, failureThreshold: 3}
    env:
    - {name: PLAIN, value: "two\nlines"}
    - {name: NAME, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: metadata.name}}}
    - {name: CPUS, valueFrom: {resourceFieldRef: {resource: requests.cpu}}}
    - {name: KEY, valueFrom: {secretKeyRef: {name: s, key: k, optional: true}}}
    envFrom: [{configMapRef: {name: cm}}, {secretRef: {name: s}, prefix: P_}]
    volumeMounts: [{name: b, mountPath: /b, subPath: q}, {name: a, mountPath: /a, readOnly: true}]
  volumes:
  - {name: a, configMap: {name: cm}}
  - {name: b, emptyDir: {sizeLimit: 1Gi}}
  - {name: t, projected: {sources: [{serviceAccountToken: {expirationSeconds: 3607}}, {configMap: {name: kube-root-ca.crt}}, {downwardAPI: {}}]}}
  tolerations: [{operator: Exists}, {key: k, value: v, effect: NoSchedule}, {key: l, operator: Exists, effect: NoExecute, tolerationSeconds: 300}]
  topologySpreadConstraints: [{topologyKey: zone, maxSkew: 1, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]
status:
  phase: Running
  qosClass: Burstable
  hostIP: 192.0.2.1
  podIP: 10.42.0.5
  podIPs: [{ip: 10.42.0.5}]
  startTime: "2026-01-02T03:00:00Z"
  conditions: [{type: Ready, status: "True"}]
  containerStatuses:
  - name: main
    containerID: containerd://x
    imageID: sha256:y
    ready: true
    restartCount: 2
    state: {running: {startedAt: "2026-01-02T03:01:00Z"}}
    lastState: {terminated: {exitCode: 137, reason: OOMKilled, startedAt: "2026-01-02T03:00:00Z", finishedAt: "2026-01-02T03:00:30Z"}}
"#;
    let events = r#"
- {type: Warning, reason: BackOff, count: 3, firstTimestamp: "2026-01-02T03:00:00Z", lastTimestamp: "2026-01-02T03:04:00Z", source: {component: kubelet}, message: " back-off ", involvedObject: {fieldPath: "spec.containers{main}"}}
- {type: Normal, reason: Scheduled, eventTime: "2026-01-02T02:04:05.000000Z", reportingComponent: default-scheduler, message: placed}
"#;
    check_with(
        object,
        &With { events: Some(events), ..With::default() },
        &expect![[r#"
        Name:             web-1
        Namespace:        n
        Priority:         0
        Service Account:  default
        Node:             node-1/192.0.2.1
        Start Time:       Fri, 02 Jan 2026 03:00:00 +0000
        Labels:           a=b
                          app=web
        Annotations:      long:
                            0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 0123456789 012345...
                          short: x
        Status:           Running
        IP:               10.42.0.5
        IPs:
          IP:           10.42.0.5
        Controlled By:  ReplicaSet/web
        Init Containers:
          init:
            Image:      busybox
            Port:       <none>
            Host Port:  <none>
            Command:
              sh
              -c
              echo a
              echo b
            Environment:  <none>
            Mounts:       <none>
        Containers:
          main:
            Container ID:   containerd://x
            Image:          nginx
            Image ID:       sha256:y
            Ports:          80/TCP (http), 443/TCP
            Host Ports:     0/TCP (http), 8443/TCP
            State:          Running
              Started:      Fri, 02 Jan 2026 03:01:00 +0000
            Last State:     Terminated
              Reason:       OOMKilled
              Exit Code:    137
              Started:      Fri, 02 Jan 2026 03:00:00 +0000
              Finished:     Fri, 02 Jan 2026 03:00:30 +0000
            Ready:          True
            Restart Count:  2
            Limits:
              cpu:     1
              memory:  128Mi
            Requests:
              cpu:     100m
            Liveness:  http-get http://:http/healthz delay=0s timeout=1s period=5s #success=1 #failure=3
            Environment Variables from:
              cm  ConfigMap                Optional: false
              s   Secret with prefix 'P_'  Optional: false
            Environment:
              PLAIN:  two
                      lines
              NAME:   web-1 (v1:metadata.name)
              CPUS:   1 (requests.cpu)
              KEY:    <set to the key 'k' in secret 's'>  Optional: true
            Mounts:
              /a from a (ro)
              /b from b (rw,path="q")
        Conditions:
          Type    Status
          Ready   True
        Volumes:
          a:
            Type:      ConfigMap (a volume populated by a ConfigMap)
            Name:      cm
            Optional:  false
          b:
            Type:       EmptyDir (a temporary directory that shares a pod's lifetime)
            Medium:
            SizeLimit:  1Gi
          t:
            Type:                     Projected (a volume that contains injected data from multiple sources)
            TokenExpirationSeconds:   3607
            ConfigMapName:            kube-root-ca.crt
            Optional:                 false
            DownwardAPI:              true
        QoS Class:                    Burstable
        Node-Selectors:               <none>
        Tolerations:                  op=Exists
                                      k=v:NoSchedule
                                      l:NoExecute op=Exists for 300s
        Topology Spread Constraints:  zone:DoNotSchedule when max skew 1 is exceeded for selector app=web
        Events:
          Type     Reason     Age                From               Message
          ----     ------     ----               ----               -------
          Normal   Scheduled  60m                default-scheduler  placed
          Warning  BackOff    5s (x3 over 4m5s)  kubelet            spec.containers{main}: back-off
    "#]],
    );
}

#[test]
fn a_node() {
    let object = r#"
apiVersion: v1
kind: Node
metadata: {name: one, creationTimestamp: "2026-01-01T00:00:00Z", labels: {node-role.kubernetes.io/control-plane: ""}}
spec: {podCIDR: 10.42.0.0/24, podCIDRs: [10.42.0.0/24], taints: [{key: b, effect: NoSchedule}, {key: a, value: v, effect: NoExecute}]}
status:
  capacity: {cpu: "4", memory: 8Gi, pods: "110", x.io/gpu: "2"}
  allocatable: {cpu: 3800m, memory: 7Gi, pods: "110", x.io/gpu: "2"}
  conditions: [{type: Ready, status: "True", reason: KubeletReady, message: fine, lastHeartbeatTime: "2026-01-02T03:04:00Z", lastTransitionTime: "2026-01-01T00:00:10Z"}]
  addresses: [{type: InternalIP, address: 192.0.2.1}]
  nodeInfo: {kernelVersion: "6.1", kubeletVersion: v1.36.2}
"#;
    let pods = r#"
items:
- metadata: {name: a, namespace: n, creationTimestamp: "2026-01-02T03:00:05Z"}
  spec: {containers: [{resources: {requests: {cpu: 100m, memory: 70Mi}, limits: {cpu: "1"}}}]}
- metadata: {name: b, namespace: kube-system, creationTimestamp: "2026-01-02T02:00:05Z"}
  spec: {containers: [{}]}
"#;
    let lease = "spec: {holderIdentity: one, renewTime: '2026-01-02T03:04:01.000000Z'}";
    let related = &[("pods", pods), ("lease", lease), ("slices", "items: []")];
    check_with(
        object,
        &With { related, events: Some("[]") },
        &expect![[r#"
        Name:               one
        Roles:              control-plane
        Labels:             node-role.kubernetes.io/control-plane=
        Annotations:        <none>
        CreationTimestamp:  Thu, 01 Jan 2026 00:00:00 +0000
        Taints:             a=v:NoExecute
                            b:NoSchedule
        Unschedulable:      false
        Lease:
          HolderIdentity:  one
          AcquireTime:     <unset>
          RenewTime:       Fri, 02 Jan 2026 03:04:01 +0000
        Conditions:
          Type    Status  LastHeartbeatTime                 LastTransitionTime                Reason         Message
          ----    ------  -----------------                 ------------------                ------         -------
          Ready   True    Fri, 02 Jan 2026 03:04:00 +0000   Thu, 01 Jan 2026 00:00:10 +0000   KubeletReady   fine
        Addresses:
          InternalIP:  192.0.2.1
        Capacity:
          cpu:       4
          memory:    8Gi
          pods:      110
          x.io/gpu:  2
        Allocatable:
          cpu:       3800m
          memory:    7Gi
          pods:      110
          x.io/gpu:  2
        System Info:
          Machine ID:
          System UUID:
          Boot ID:
          Kernel Version:             6.1
          OS Image:
          Operating System:
          Architecture:
          Container Runtime Version:
          Kubelet Version:            v1.36.2
        PodCIDR:                      10.42.0.0/24
        PodCIDRs:                     10.42.0.0/24
        Non-terminated Pods:          (2 in total)
          Namespace                   Name    CPU Requests  CPU Limits  Memory Requests  Memory Limits  Age
          ---------                   ----    ------------  ----------  ---------------  -------------  ---
          n                           a       100m (2%)     1 (26%)     70Mi (0%)        0 (0%)         4m
          kube-system                 b       0 (0%)        0 (0%)      0 (0%)           0 (0%)         64m
        Allocated resources:
          (Total limits may be over 100 percent, i.e., overcommitted.)
          Resource           Requests   Limits
          --------           --------   ------
          cpu                100m (2%)  1 (26%)
          memory             70Mi (0%)  0 (0%)
          ephemeral-storage  0 (0%)     0 (0%)
          x.io/gpu           0          0
        Events:              <none>
    "#]],
    );
}

#[test]
fn a_deployment() {
    let object = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: n, uid: d, creationTimestamp: "2026-01-01T00:00:00Z", annotations: {deployment.kubernetes.io/revision: "2"}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%, maxUnavailable: 1}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: a, image: "img:2"}]}}
status: {replicas: 2, updatedReplicas: 2, availableReplicas: 1, unavailableReplicas: 1, conditions: [{type: Available, status: "True", reason: MinimumReplicasAvailable}]}
"#;
    let set = |name: &str, image: &str| {
        json!({"metadata": {"name": name, "uid": name, "ownerReferences": [{"controller": true, "uid": "d"}]},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": {"app": "web", "pod-template-hash": name}},
                "spec": {"containers": [{"name": "a", "image": image}]}}}, "status": {"replicas": 1}})
    };
    let sets = json!({"items": [set("old", "img:1"), set("new", "img:2")]}).to_string();
    check_with(
        object,
        &With { related: &[("replicasets", &sets)], events: Some("[]") },
        &expect![[r#"
        Name:                   web
        Namespace:              n
        CreationTimestamp:      Thu, 01 Jan 2026 00:00:00 +0000
        Labels:                 <none>
        Annotations:            deployment.kubernetes.io/revision: 2
        Selector:               app=web
        Replicas:               2 desired | 2 updated | 2 total | 1 available | 1 unavailable
        StrategyType:           RollingUpdate
        MinReadySeconds:        0
        RollingUpdateStrategy:  1 max unavailable, 25% max surge
        Pod Template:
          Labels:  app=web
          Containers:
           a:
            Image:         img:2
            Port:          <none>
            Host Port:     <none>
            Environment:   <none>
            Mounts:        <none>
          Volumes:         <none>
          Node-Selectors:  <none>
          Tolerations:     <none>
        Conditions:
          Type           Status  Reason
          ----           ------  ------
          Available      True    MinimumReplicasAvailable
        OldReplicaSets:  old (1/1 replicas created)
        NewReplicaSet:   new (1/1 replicas created)
        Events:          <none>
    "#]],
    );
}

#[test]
fn other_workloads() {
    let pods = r#"items: [{metadata: {ownerReferences: [{controller: true, uid: u}]}, status: {phase: Running}}, {metadata: {}, status: {phase: Failed}}]"#;
    let with = With { related: &[("pods", pods)], ..With::default() };
    let template = "template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}";
    let object = |kind: &str, rest: &str| {
        let group = if matches!(kind, "Job" | "CronJob") { "batch" } else { "apps" };
        format!("apiVersion: {group}/v1\nkind: {kind}\nmetadata: {{name: x, namespace: n, uid: u}}\n{rest}")
    };
    let claims = "volumeClaimTemplates: [{metadata: {name: data}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}]";
    let spec = format!(
        "spec: {{replicas: 1, selector: {{matchLabels: {{a: b}}}}, updateStrategy: {{type: RollingUpdate, rollingUpdate: {{partition: 0}}}}, {template}, {claims}}}"
    );
    check_with(
        &object("StatefulSet", &spec),
        &with,
        &expect![[r#"
        Name:               x
        Namespace:          n
        CreationTimestamp:  Mon, 01 Jan 0001 00:00:00 +0000
        Selector:           a=b
        Labels:             <none>
        Annotations:        <none>
        Replicas:           1 desired | 0 total
        Update Strategy:    RollingUpdate
          Partition:        0
        Pods Status:        1 Running / 0 Waiting / 0 Succeeded / 0 Failed
        Pod Template:
          Labels:  a=b
          Containers:
           c:
            Image:         i
            Port:          <none>
            Host Port:     <none>
            Environment:   <none>
            Mounts:        <none>
          Volumes:         <none>
          Node-Selectors:  <none>
          Tolerations:     <none>
        Volume Claims:
          Name:          data
          StorageClass:
          Labels:        <none>
          Annotations:   <none>
          Capacity:      1Gi
          Access Modes:  [ReadWriteOnce]
    "#]],
    );
    let spec = format!(
        "spec: {{completions: 3, completionMode: Indexed, {template}}}\nstatus: {{active: 1, ready: 0, succeeded: 2, completedIndexes: '0,1', startTime: '2026-01-02T03:00:00Z', completionTime: '2026-01-02T03:03:05Z'}}"
    );
    check(
        &object("Job", &spec),
        &expect![[r#"
        Name:               x
        Namespace:          n
        Selector:
        Labels:             <none>
        Annotations:        <none>
        Completions:        3
        Completion Mode:    Indexed
        Start Time:         Fri, 02 Jan 2026 03:00:00 +0000
        Completed At:       Fri, 02 Jan 2026 03:03:05 +0000
        Duration:           3m5s
        Pods Statuses:      1 Active (0 Ready) / 2 Succeeded / 0 Failed
        Completed Indexes:  0,1
        Pod Template:
          Labels:  a=b
          Containers:
           c:
            Image:         i
            Port:          <none>
            Host Port:     <none>
            Environment:   <none>
            Mounts:        <none>
          Volumes:         <none>
          Node-Selectors:  <none>
          Tolerations:     <none>
    "#]],
    );
    let spec = format!(
        "spec: {{schedule: '* * * * *', suspend: false, jobTemplate: {{spec: {{{template}}}}}}}\nstatus: {{active: [{{name: j1}}, {{name: j2}}]}}"
    );
    check(
        &object("CronJob", &spec),
        &expect![[r#"
        Name:                          x
        Namespace:                     n
        Labels:                        <none>
        Annotations:                   <none>
        Schedule:                      * * * * *
        Concurrency Policy:
        Suspend:                       False
        Time Zone:                     <unset>
        Successful Job History Limit:  <unset>
        Failed Job History Limit:      <unset>
        Starting Deadline Seconds:     <unset>
        Selector:                      <unset>
        Parallelism:                   <unset>
        Completions:                   <unset>
        Pod Template:
          Labels:  a=b
          Containers:
           c:
            Image:           i
            Port:            <none>
            Host Port:       <none>
            Environment:     <none>
            Mounts:          <none>
          Volumes:           <none>
          Node-Selectors:    <none>
          Tolerations:       <none>
        Last Schedule Time:  <unset>
        Active Jobs:         j1, j2
    "#]],
    );
}

#[test]
fn a_service() {
    let object = r#"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: n}
spec:
  type: NodePort
  clusterIP: 10.43.0.9
  clusterIPs: [10.43.0.9]
  ipFamilies: [IPv4]
  ipFamilyPolicy: SingleStack
  selector: {app: web}
  sessionAffinity: None
  internalTrafficPolicy: Cluster
  externalTrafficPolicy: Cluster
  ports: [{name: http, port: 80, targetPort: web, nodePort: 30080, protocol: TCP}, {port: 53, targetPort: 53, protocol: UDP}]
"#;
    let slices = r#"
items:
- ports: [{name: http, port: 8080}]
  endpoints: [{addresses: [10.42.0.1]}, {addresses: [10.42.0.2], conditions: {ready: false}}, {addresses: [10.42.0.3]}, {addresses: ["fd00::4"]}, {addresses: [10.42.0.5]}]
"#;
    check_with(
        object,
        &With { related: &[("slices", slices)], events: Some("[]") },
        &expect![[r#"
        Name:                     web
        Namespace:                n
        Labels:                   <none>
        Annotations:              <none>
        Selector:                 app=web
        Type:                     NodePort
        IP Family Policy:         SingleStack
        IP Families:              IPv4
        IP:                       10.43.0.9
        IPs:                      10.43.0.9
        Port:                     http  80/TCP
        TargetPort:               web/TCP
        NodePort:                 http  30080/TCP
        Endpoints:                10.42.0.1:8080,10.42.0.3:8080,[fd00::4]:8080 + 1 more...
        Port:                     <unset>  53/UDP
        TargetPort:               53/UDP
        Endpoints:
        Session Affinity:         None
        External Traffic Policy:  Cluster
        Internal Traffic Policy:  Cluster
        Events:                   <none>
    "#]],
    );
}

#[test]
fn an_ingress() {
    let object = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: i, namespace: n}
spec:
  tls: [{hosts: [a.io], secretName: s}]
  rules:
  - host: a.io
    http: {paths: [{path: /, backend: {service: {name: web, port: {number: 80}}}}, {path: /r, backend: {resource: {kind: Bucket, name: b}}}]}
status: {loadBalancer: {ingress: [{ip: 192.0.2.7}]}}
"#;
    let related = &[
        ("service web", "spec: {ports: [{port: 80, name: http}]}"),
        ("slices web", "items: [{ports: [{name: http, port: 8080}], endpoints: [{addresses: [10.42.0.1]}]}]"),
    ];
    check_with(
        object,
        &With { related, ..With::default() },
        &expect![[r#"
        Name:             i
        Labels:           <none>
        Namespace:        n
        Address:          192.0.2.7
        Ingress Class:    <none>
        Default backend:  <default>
        TLS:
          s terminates a.io
        Rules:
          Host        Path  Backends
          ----        ----  --------
          a.io
                      /    web:80 (10.42.0.1:8080)
                      /r   APIGroup: <none>, Kind: Bucket, Name: b
        Annotations:  <none>
    "#]],
    );
}

#[test]
fn configuration() {
    check(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: c, namespace: n}, data: {k: v, l: \"two\\nlines\"}, binaryData: {b: AAEC}}",
        &expect![[r#"
        Name:         c
        Namespace:    n
        Labels:       <none>
        Annotations:  <none>

        Data
        ====
        k:
        ----
        v

        l:
        ----
        two
        lines


        BinaryData
        ====
        b: 3 bytes

    "#]],
    );
    check(
        "{apiVersion: v1, kind: Secret, metadata: {name: s, namespace: n}, type: Opaque, data: {k: dg==}}",
        &expect![[r#"
        Name:         s
        Namespace:    n
        Labels:       <none>
        Annotations:  <none>

        Type:  Opaque

        Data
        ====
        k:  1 bytes
    "#]],
    );
    check(
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: s, namespace: n}, imagePullSecrets: [{name: a}, {name: b}]}",
        &expect![[r#"
        Name:                s
        Namespace:           n
        Labels:              <none>
        Annotations:         <none>
        Image pull secrets:  a
                             b
    "#]],
    );
}

#[test]
fn a_namespace() {
    let quotas = "items: [{metadata: {name: q}, spec: {scopes: [BestEffort]}, status: {hard: {pods: '10', requests.cpu: '4'}, used: {pods: '1', requests.cpu: 250m}}}]";
    let ranges = "items: [{spec: {limits: [{type: Container, max: {cpu: '4'}, default: {cpu: 500m, memory: 1Gi}}]}}]";
    let related = &[("resourcequotas", quotas), ("limitranges", ranges)];
    check_with(
        "{apiVersion: v1, kind: Namespace, metadata: {name: n}, status: {phase: Active}}",
        &With { related, ..With::default() },
        &expect![[r#"
        Name:         n
        Labels:       <none>
        Annotations:  <none>
        Status:       Active

        Resource Quotas
          Name:    q
          Scopes:  BestEffort
          * Matches all pods that do not have resource requirements set. These pods have a best effort quality of service.
          Resource      Used  Hard
          --------      ---   ---
          pods          1     10
          requests.cpu  250m  4

        Resource Limits
         Type       Resource  Min  Max  Default Request  Default Limit  Max Limit/Request Ratio
         ----       --------  ---  ---  ---------------  -------------  -----------------------
         Container  cpu       -    4    -                500m           -
         Container  memory    -    -    -                1Gi            -
    "#]],
    );
}

#[test]
fn rights() {
    let role = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: r}
rules:
- {apiGroups: ["", apps], resources: [pods, deployments/scale], verbs: [get]}
- {apiGroups: [""], resources: [pods], verbs: [list, get]}
- {apiGroups: [""], resources: [secrets], resourceNames: [a, b], verbs: [get]}
- {nonResourceURLs: [/healthz], verbs: [get]}
"#;
    check(
        role,
        &expect![[r#"
        Name:         r
        Labels:       <none>
        Annotations:  <none>
        PolicyRule:
          Resources               Non-Resource URLs  Resource Names  Verbs
          ---------               -----------------  --------------  -----
          pods                    []                 []              [get list]
                                  [/healthz]         []              [get]
          deployments/scale       []                 []              [get]
          secrets                 []                 [a]             [get]
          secrets                 []                 [b]             [get]
          deployments.apps/scale  []                 []              [get]
          pods.apps               []                 []              [get]
    "#]],
    );
    let binding = "{apiVersion: rbac.authorization.k8s.io/v1, kind: RoleBinding, metadata: {name: b, namespace: n}, roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: eve}, {kind: ServiceAccount, name: s, namespace: n}]}";
    check(
        binding,
        &expect![[r#"
        Name:         b
        Labels:       <none>
        Annotations:  <none>
        Role:
          Kind:  Role
          Name:  r
        Subjects:
          Kind            Name  Namespace
          ----            ----  ---------
          User            eve
          ServiceAccount  s     n
    "#]],
    );
}

#[test]
fn volumes_and_claims() {
    let volume = "{apiVersion: v1, kind: PersistentVolume, metadata: {name: v, finalizers: [kubernetes.io/pv-protection]}, status: {phase: Bound}, \
        spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], persistentVolumeReclaimPolicy: Retain, claimRef: {namespace: n, name: c}, local: {path: /x}, \
        nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: k, operator: In, values: [a, b]}, {key: l, operator: Exists}]}]}}}}";
    check(
        volume,
        &expect![[r#"
        Name:              v
        Labels:            <none>
        Annotations:       <none>
        Finalizers:        [kubernetes.io/pv-protection]
        StorageClass:
        Status:            Bound
        Claim:             n/c
        Reclaim Policy:    Retain
        Access Modes:      RWO
        Capacity:          1Gi
        Node Affinity:
          Required Terms:
            Term 0:        k in [a, b]
                           l exists
        Message:
        Source:
            Type:  LocalVolume (a persistent volume backed by local storage on a node)
            Path:  /x
    "#]],
    );
    let claim = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c, namespace: n}, status: {phase: Bound, capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce]}, \
        spec: {volumeName: v, storageClassName: s, volumeMode: Filesystem}}";
    let pods = "items: [{metadata: {name: b}, spec: {volumes: [{persistentVolumeClaim: {claimName: c}}]}}, {metadata: {name: a}, spec: {volumes: [{persistentVolumeClaim: {claimName: c}}]}}]";
    check_with(
        claim,
        &With { related: &[("pods", pods)], ..With::default() },
        &expect![[r#"
        Name:          c
        Namespace:     n
        StorageClass:  s
        Status:        Bound
        Volume:        v
        Labels:        <none>
        Annotations:   <none>
        Finalizers:    []
        Capacity:      1Gi
        Access Modes:  RWO
        VolumeMode:    Filesystem
        Used By:       a
                       b
    "#]],
    );
    let class = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: s, annotations: {storageclass.kubernetes.io/is-default-class: 'true'}}, provisioner: p, reclaimPolicy: Delete, volumeBindingMode: Immediate}";
    check(
        class,
        &expect![[r#"
        Name:                  s
        IsDefaultClass:        Yes
        Annotations:           storageclass.kubernetes.io/is-default-class=true
        Provisioner:           p
        Parameters:            <none>
        AllowVolumeExpansion:  <unset>
        MountOptions:          <none>
        ReclaimPolicy:         Delete
        VolumeBindingMode:     Immediate
    "#]],
    );
}

#[test]
fn an_autoscaler() {
    let object = r#"
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: h, namespace: n}
spec:
  scaleTargetRef: {kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 5
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}
  - {type: Pods, pods: {metric: {name: qps}, target: {averageValue: 1k}}}
  behavior: {scaleDown: {stabilizationWindowSeconds: 60, policies: [{type: Pods, value: 1, periodSeconds: 15}]}}
status:
  currentReplicas: 1
  desiredReplicas: 2
  currentMetrics: [{type: Resource, resource: {name: cpu, current: {averageUtilization: 80, averageValue: 80m}}}]
"#;
    check(
        object,
        &expect![[r#"
        Name:                                                  h
        Namespace:                                             n
        Labels:                                                <none>
        Annotations:                                           <none>
        CreationTimestamp:                                     Mon, 01 Jan 0001 00:00:00 +0000
        Reference:                                             Deployment/web
        Metrics:                                               ( current / target )
          resource cpu on pods  (as a percentage of request):  80% (80m) / 50%
          "qps" on pods:                                       <unknown> / 1k
        Min replicas:                                          1
        Max replicas:                                          5
        Behavior:
          Scale Down:
            Stabilization Window: 60 seconds
            Select Policy: Max
            Policies:
              - Type: Pods  Value: 1  Period: 15 seconds
        Deployment pods:    1 current / 2 desired
    "#]],
    );
}

#[test]
fn a_network_policy() {
    let object = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: n, creationTimestamp: "2026-01-01T00:00:00Z"}
spec:
  podSelector: {}
  policyTypes: [Ingress]
  ingress:
  - {ports: [{port: 80}, {port: 90, endPort: 99, protocol: UDP}], from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}, {podSelector: {matchLabels: {a: b}}}]}
  - {}
"#;
    check(
        object,
        &expect![[r#"
        Name:         p
        Namespace:    n
        Created on:   2026-01-01 00:00:00 +0000 UTC
        Labels:       <none>
        Annotations:  <none>
        Spec:
          PodSelector:     <none> (Allowing the specific traffic to all pods in this namespace)
          Allowing ingress traffic:
            To Port: 80/TCP
            To Port Range: 90-99/UDP
            From:
              IPBlock:
                CIDR: 10.0.0.0/8
                Except: 10.1.0.0/16
            From:
              PodSelector: a=b
            ----------
            To Port: <any> (traffic allowed to all ports)
            From: <any> (traffic not restricted by source)
          Not affecting egress traffic
          Policy Types: Ingress
    "#]],
    );
}

#[test]
fn kinds_without_a_describer() {
    let object = "{apiVersion: x.io/v1, kind: Thing, metadata: {name: t, namespace: n, uid: u, managedFields: [{}]}, spec: {podCIDRs: [a, b], items: [{apiURL: u}, {apiURL: v}], on: true, ratio: 1.5, none: null, empty: {}}}";
    check_with(
        object,
        &With { events: Some("[]"), ..With::default() },
        &expect![[r#"
        Name:         t
        Namespace:    n
        Labels:       <none>
        Annotations:  <none>
        API Version:  x.io/v1
        Kind:         Thing
        Metadata:
          UID:  u
        Spec:
          Empty:
          Items:
            API URL:  u
            API URL:  v
          None:       <nil>
          On:         true
          Pod CIDRs:
            a
            b
          Ratio:  1.5
        Events:   <none>
    "#]],
    );
}

#[test]
fn what_cannot_be_read_is_told() {
    let object = "{apiVersion: apps/v1, kind: ReplicaSet, metadata: {name: r, namespace: n}, spec: {replicas: 1, template: {spec: {}}}}";
    let seen = |related| Seen { object: yaml(object), related, events: None, clock: Clock::system() };
    let denied = json!({"reason": "Forbidden", "message": "pods is forbidden"});
    let related: BTreeMap<String, Result<Value>> = [("pods".to_owned(), Err(Failure::Api(denied).into()))].into();
    let describer = |kind: &str| DESCRIBERS.iter().find(|one| one.kind == kind);
    let text = write(describer("ReplicaSet"), &seen(related)).unwrap();
    assert!(text.contains("Pods Status:  error in fetching pods: pods is forbidden\n"), "{text}");
}
