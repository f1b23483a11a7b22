use super::plan::{Observed, plan_claim, plan_volume, volume_for};
use crate::common::fixtures::{objects, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume},
    storage::v1::StorageClass,
};

const CLASS: &str = "---\nkind: StorageClass\nmetadata: {name: local-path}\nprovisioner: mk8s.io/local-path\n\
                     reclaimPolicy: Delete\nvolumeBindingMode: WaitForFirstConsumer\n";
const NODE: &str = "---\nkind: Node\nmetadata: {name: one, labels: {kubernetes.io/hostname: host-one}}\n";
const ASKED: &str = "volume.kubernetes.io/storage-provisioner: mk8s.io/local-path";
const CHOSEN: &str = "volume.kubernetes.io/selected-node: one";

fn claim(annotations: &[&str], spec: &str) -> String {
    format!(
        "kind: PersistentVolumeClaim\nmetadata: {{name: data, namespace: n, uid: u-1, resourceVersion: \"7\", annotations: {{{}}}}}\n\
         spec: {{storageClassName: local-path, resources: {{requests: {{storage: 2Gi}}}}, {spec}}}\n",
        annotations.join(", ")
    )
}

fn observed(yaml: &str) -> Observed {
    Observed {
        claim: shared(yaml).remove(0),
        class: shared::<StorageClass>(yaml).into_iter().next(),
        node: shared::<Node>(yaml).into_iter().next(),
        provisioned: !objects::<PersistentVolume>(yaml).is_empty(),
    }
}

fn check(claim: &str, others: &[&str], expected: Expect) {
    let yaml = format!("{claim}{}", others.concat());
    expected.assert_eq(&format!("{:?}", plan_claim(&observed(&yaml))));
}

const ONCE: &str = "accessModes: [ReadWriteOnce]";

#[test]
fn claims_with_a_node_get_a_folder() {
    check(
        &claim(&[ASKED, CHOSEN], ONCE),
        &[CLASS, NODE],
        expect![[r#"Provision { node: "one", folder: "pvc-u-1_n_data" }"#]],
    );
    check(&claim(&[ASKED], ONCE), &[CLASS], expect!["Nothing"]);
    check(&claim(&[CHOSEN], ONCE), &[CLASS, NODE], expect!["Nothing"]);
    check(
        &claim(&["volume.kubernetes.io/storage-provisioner: example.com/other", CHOSEN], ONCE),
        &[CLASS, NODE],
        expect!["Nothing"],
    );
    check(&claim(&[ASKED, CHOSEN], "accessModes: [ReadWriteOnce], volumeName: v"), &[CLASS, NODE], expect!["Nothing"]);
    let made = "---\nkind: PersistentVolume\nmetadata: {name: pvc-u-1}\n";
    check(&claim(&[ASKED, CHOSEN], ONCE), &[CLASS, NODE, made], expect!["Nothing"]);
    check(
        &claim(&[ASKED, CHOSEN], ONCE),
        &[CLASS],
        expect![[r#"Reschedule { why: "failed to get target node: node \"one\" not found" }"#]],
    );
}

#[test]
fn what_a_folder_cannot_be_is_refused() {
    check(
        &claim(&[ASKED, CHOSEN], "accessModes: [ReadWriteMany]"),
        &[CLASS, NODE],
        expect![[
            r#"Refuse { why: "NodePath only supports ReadWriteOnce and ReadWriteOncePod (1.22+) access modes" }"#
        ]],
    );
    check(
        &claim(&[ASKED, CHOSEN], "volumeMode: Block"),
        &[CLASS, NODE],
        expect![[r#"Refuse { why: "local-path volumes are folders: volumeMode Block is not supported" }"#]],
    );
    check(
        &claim(&[ASKED, CHOSEN], "selector: {}"),
        &[CLASS, NODE],
        expect![[r#"Refuse { why: "claim.Spec.Selector is not supported" }"#]],
    );
    let at_once = CLASS.replace("WaitForFirstConsumer", "Immediate");
    check(
        &claim(&[ASKED], ONCE),
        &[&at_once],
        expect![[r#"Refuse { why: "configuration error, no node was specified" }"#]],
    );
}

#[test]
fn a_volume_is_for_its_claim_on_its_node() {
    let yaml = [&claim(&[ASKED, CHOSEN], ONCE), CLASS, NODE].concat();
    let volume = volume_for(&observed(&yaml), "/data/storage/pvc-u-1_n_data").expect("all is known");
    expect![[r#"
        apiVersion: v1
        kind: PersistentVolume
        metadata:
          annotations:
            mk8s.io/node: one
            pv.kubernetes.io/provisioned-by: mk8s.io/local-path
          finalizers:
          - external-provisioner.volume.kubernetes.io/finalizer
          name: pvc-u-1
        spec:
          accessModes:
          - ReadWriteOnce
          capacity:
            storage: 2Gi
          claimRef:
            apiVersion: v1
            kind: PersistentVolumeClaim
            name: data
            namespace: n
            resourceVersion: '7'
            uid: u-1
          local:
            path: /data/storage/pvc-u-1_n_data
          nodeAffinity:
            required:
              nodeSelectorTerms:
              - matchExpressions:
                - key: kubernetes.io/hostname
                  operator: In
                  values:
                  - host-one
          persistentVolumeReclaimPolicy: Delete
          storageClassName: local-path
    "#]]
    .assert_eq(&serde_yaml::to_string(&volume).expect("YAML"));
}

#[test]
fn released_volumes_go_with_their_folder() {
    let volume = |policy: &str, phase: &str, more: &str| -> PersistentVolume {
        one(&format!(
            "kind: PersistentVolume\nmetadata: {{name: pvc-u-1, {more} finalizers: [external-provisioner.volume.kubernetes.io/finalizer], \
             annotations: {{pv.kubernetes.io/provisioned-by: mk8s.io/local-path, mk8s.io/node: one}}}}\n\
             spec: {{persistentVolumeReclaimPolicy: {policy}, local: {{path: /x/pvc-u-1_n_data}}}}\nstatus: {{phase: {phase}}}\n"
        ))
    };
    let leaving = "deletionTimestamp: \"2026-01-01T11:00:00Z\",";
    for (policy, phase, more, expected) in [
        ("Delete", "Bound", "", "Nothing"),
        ("Delete", "Released", "", r#"Delete { node: "one", folder: "pvc-u-1_n_data" }"#),
        // The volume was deleted before its claim.
        ("Delete", "Released", leaving, r#"Delete { node: "one", folder: "pvc-u-1_n_data" }"#),
        ("Delete", "Bound", leaving, "Nothing"),
        ("Retain", "Released", "", "Nothing"),
        ("Retain", "Released", leaving, "LetGo"),
    ] {
        assert_eq!(format!("{:?}", plan_volume(&volume(policy, phase, more))), expected, "{policy} {phase} {more}");
    }
    let mut foreign = volume("Delete", "Released", "");
    foreign.metadata.annotations = None;
    assert_eq!(format!("{:?}", plan_volume(&foreign)), "Nothing");
}
