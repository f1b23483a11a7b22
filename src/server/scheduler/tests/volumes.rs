//! Claims and volumes.

use super::check;
use expect_test::expect;

const NODES: &str = r#"
nodes:
- {metadata: {name: a, labels: {host: a, topology.kubernetes.io/zone: one}}, status: {allocatable: {pods: "110"}}}
- {metadata: {name: b, labels: {host: b, topology.kubernetes.io/zone: two}}, status: {allocatable: {pods: "110"}}}
classes:
- {metadata: {name: late}, provisioner: example.com/disk, volumeBindingMode: WaitForFirstConsumer}
- {metadata: {name: local}, provisioner: kubernetes.io/no-provisioner, volumeBindingMode: WaitForFirstConsumer}
- {metadata: {name: soon}, provisioner: example.com/disk, volumeBindingMode: Immediate}
- {metadata: {name: zonal}, provisioner: example.com/disk, volumeBindingMode: WaitForFirstConsumer, allowedTopologies: [{matchLabelExpressions: [{key: topology.kubernetes.io/zone, values: [two]}]}]}
"#;

const POD: &str = "pod: {metadata: {name: q, namespace: n}, spec: {containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}}\n";

fn claim(class: &str, further: &str, metadata: &str) -> String {
    format!(
        "claims:\n- {{metadata: {{name: c, namespace: n{metadata}}}, spec: {{storageClassName: {class}, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 1Gi}}}}{further}}}}}\n"
    )
}

fn volume(name: &str, size: &str, class: &str, host: &str, further: &str) -> String {
    let affinity = format!(
        "nodeAffinity: {{required: {{nodeSelectorTerms: [{{matchExpressions: [{{key: host, operator: In, values: [{host}]}}]}}]}}}}"
    );
    format!(
        "- {{metadata: {{name: {name}}}, spec: {{capacity: {{storage: {size}}}, storageClassName: {class}, accessModes: [ReadWriteOnce], {affinity}{further}}}, status: {{phase: Available}}}}\n"
    )
}

const BOUND: &str = ", annotations: {pv.kubernetes.io/bind-completed: 'yes'}";
const ALL_NOT_HELPFUL: &str =
    " no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling.";

fn refused(case: &str, reason: &str) {
    let whole = format!("0/2 nodes are available: {reason}.{ALL_NOT_HELPFUL}");
    assert_eq!(super::yaml::<super::Case>(case).decide(&crate::config::default_profile()), whole);
}

#[test]
fn claims_that_cannot_be_used_are_named() {
    refused(&format!("{NODES}{POD}"), "persistentvolumeclaim \"c\" not found");
    refused(&format!("{NODES}{}{POD}", claim("soon", "", "")), "pod has unbound immediate PersistentVolumeClaims");
    refused(
        &format!("{NODES}{}{POD}", claim("late", "", ", deletionTimestamp: '2026-01-01T00:00:00Z'")),
        "persistentvolumeclaim \"c\" is being deleted",
    );
    let ephemeral =
        POD.replace("persistentVolumeClaim: {claimName: c}", "ephemeral: {volumeClaimTemplate: {spec: {}}}");
    refused(
        &format!("{NODES}{ephemeral}"),
        "waiting for ephemeral volume controller to create the persistentvolumeclaim \"q-v\"",
    );
}

#[test]
fn a_bound_volume_says_where() {
    let bound = claim("late", ", volumeName: v", BOUND);
    check(&format!("{NODES}{bound}volumes:\n{}{POD}", volume("v", "1Gi", "late", "b", "")), expect!["b"]);
    refused(
        &format!("{NODES}{bound}volumes:\n{}{POD}", volume("v", "1Gi", "late", "z", "")),
        "2 node(s) didn't match PersistentVolume's node affinity",
    );
    let zone =
        "- {metadata: {name: v, labels: {topology.kubernetes.io/zone: two}}, spec: {capacity: {storage: 1Gi}}}\n";
    check(&format!("{NODES}{bound}volumes:\n{zone}{POD}"), expect!["b"]);
    refused(
        &format!("{NODES}{bound}volumes:\n{}{POD}", zone.replace("zone: two", "zone: three")),
        "2 node(s) had no available volume zone",
    );
}

#[test]
fn an_unbound_claim_takes_a_volume_of_the_node_or_is_provisioned() {
    check(
        &format!("{NODES}{}volumes:\n{}{POD}", claim("local", "", ""), volume("v", "2Gi", "local", "b", "")),
        expect!["b"],
    );
    refused(
        &format!("{NODES}{}volumes:\n{}{POD}", claim("local", "", ""), volume("v", "500Mi", "local", "b", "")),
        "2 node(s) didn't find available persistent volumes to bind",
    );
    let taken = ", claimRef: {namespace: n, name: other}";
    refused(
        &format!("{NODES}{}volumes:\n{}{POD}", claim("local", "", ""), volume("v", "2Gi", "local", "b", taken)),
        "2 node(s) didn't find available persistent volumes to bind",
    );
    check(&format!("{NODES}{}{POD}", claim("late", "", "")), expect!["a"]);
    check(&format!("{NODES}{}{POD}", claim("zonal", "", "")), expect!["b"]);
    check(
        &format!("{NODES}{}{POD}", claim("late", "", ", annotations: {volume.kubernetes.io/selected-node: b}")),
        expect!["b"],
    );
}

#[test]
fn storage_that_is_full_is_not_provisioned_from() {
    let driver = "csiDrivers:\n- {metadata: {name: example.com/disk}, spec: {storageCapacity: true}}\n";
    let capacity = |host: &str, size: &str| {
        format!(
            "- {{metadata: {{name: {host}}}, storageClassName: late, capacity: {size}, nodeTopology: {{matchLabels: {{host: {host}}}}}}}\n"
        )
    };
    check(
        &format!(
            "{NODES}{driver}capacities:\n{}{}{}{POD}",
            capacity("a", "500Mi"),
            capacity("b", "5Gi"),
            claim("late", "", "")
        ),
        expect!["b"],
    );
    refused(
        &format!("{NODES}{driver}capacities:\n{}{}{POD}", capacity("a", "500Mi"), claim("late", "", "")),
        "2 node(s) did not have enough free storage",
    );
}

#[test]
fn what_can_be_used_once_is() {
    let exclusive = claim("late", ", volumeName: v", BOUND).replace("ReadWriteOnce]", "ReadWriteOncePod]");
    let volumes = format!("volumes:\n{}", volume("v", "1Gi", "late", "b", ""));
    let user = "placed:\n- {metadata: {name: p, namespace: n}, spec: {nodeName: a, containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}}\n";
    check(
        &format!("{NODES}{exclusive}{volumes}{user}{POD}"),
        expect![
            "0/2 nodes are available: 2 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ],
    );
    let disk = "volumes: [{name: d, gcePersistentDisk: {pdName: disk}}]";
    let held =
        format!("placed:\n- {{metadata: {{name: p, namespace: n}}, spec: {{nodeName: a, containers: [], {disk}}}}}\n");
    check(
        &format!("{NODES}{held}pod: {{metadata: {{name: q, namespace: n}}, spec: {{containers: [], {disk}}}}}"),
        expect!["b"],
    );
}

#[test]
fn a_driver_attaches_so_many() {
    let limits = "csiNodes:\n- {metadata: {name: a}, spec: {drivers: [{name: example.com/disk, nodeID: a, allocatable: {count: 1}}]}}\n- {metadata: {name: b}, spec: {drivers: [{name: example.com/disk, nodeID: b, allocatable: {count: 0}}]}}\n";
    let claims = format!(
        "{}- {{metadata: {{name: d, namespace: n}}, spec: {{storageClassName: late, resources: {{requests: {{storage: 1Gi}}}}}}}}\n",
        claim("late", "", "")
    );
    check(&format!("{NODES}{limits}{claims}{POD}"), expect!["a"]);
    let user = "placed:\n- {metadata: {name: p, namespace: n}, spec: {nodeName: a, containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: d}}]}}\n";
    check(
        &format!("{NODES}{limits}{claims}{user}{POD}"),
        expect![
            "0/2 nodes are available: 2 node(s) exceed max volume count. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."
        ],
    );
}
