use super::{
    plan::{ObservedClaim, ObservedVolume, Plan, bound_status, plan_claim, plan_volume},
    reclaim::Recycler,
};
use crate::common::fixtures::{objects, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
use mk8s_client::kube::ResourceExt;
use std::{fmt::Write, sync::Arc};

fn claim(spec: &str, more: &str) -> String {
    format!(
        "kind: PersistentVolumeClaim\nmetadata: {{name: c, namespace: n, uid: c{more}}}\n\
         spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 2Gi}}}}, {spec}}}\nstatus: {{phase: Pending}}\n"
    )
}

fn volume(name: &str, size: &str, more: &str) -> String {
    volume_in(name, size, more, "Available")
}

fn volume_in(name: &str, size: &str, more: &str, phase: &str) -> String {
    format!(
        "---\nkind: PersistentVolume\nmetadata: {{name: {name}, labels: {{disk: {name}}}}}\n\
         spec: {{capacity: {{storage: {size}}}, accessModes: [ReadWriteOnce], {more}}}\nstatus: {{phase: {phase}}}\n"
    )
}

const RESERVED: &str = "claimRef: {namespace: n, name: c, uid: c}";
const WAITING: &str = "---\nkind: StorageClass\nmetadata: {name: slow}\nprovisioner: example.com/disk\nvolumeBindingMode: WaitForFirstConsumer\n";

pub(super) fn text(plan: &Plan) -> String {
    let mut text = String::new();
    plan.actions.iter().for_each(|action| writeln!(text, "{action:?}").expect("text"));
    plan.events.iter().for_each(|(_, reason, message)| writeln!(text, "event {reason}: {message}").expect("text"));
    text
}

fn check(yaml: &[String], default_class: Option<&str>, expected: Expect) {
    let yaml = yaml.concat();
    let claim: Arc<PersistentVolumeClaim> = shared(&yaml).remove(0);
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.clone()).unwrap_or_default();
    let observed = ObservedClaim {
        volumes: shared::<PersistentVolume>(&yaml),
        class: objects::<StorageClass>(&yaml).into_iter().find(|known| known.name_any() == class).map(Arc::new),
        default_class: default_class.map(str::to_owned),
        node: shared::<Node>(&yaml).into_iter().next(),
        unplaced: Vec::new(),
        claim,
    };
    expected.assert_eq(&text(&plan_claim(&observed)));
}

#[test]
fn the_smallest_volume_that_fits_is_taken() {
    let volumes = [
        volume("a", "9Gi", ""),
        volume("b", "3Gi", ""),
        volume("c", "1Gi", ""),
        volume("d", "2Gi", "storageClassName: gold"),
    ];
    check(
        &[claim("storageClassName: \"\"", ""), volumes.concat()],
        None,
        expect![[r#"
        Bind { volume: "b" }
    "#]],
    );
    check(
        &[claim("storageClassName: gold", ""), volumes.concat()],
        None,
        expect![[r#"
        Bind { volume: "d" }
    "#]],
    );
    check(
        &[claim("storageClassName: \"\", selector: {matchLabels: {disk: a}}", ""), volumes.concat()],
        None,
        expect![[r#"
        Bind { volume: "a" }
    "#]],
    );
    check(
        &[claim("volumeMode: Block, storageClassName: \"\"", ""), volumes.concat()],
        None,
        expect![[r#"
        event FailedBinding: no persistent volumes available for this claim and no storage class is set
    "#]],
    );
    let fewer_modes =
        volumes.concat() + &volume("e", "2Gi", "").replace("[ReadWriteOnce]", "[ReadWriteOnce, ReadWriteMany]");
    check(
        &[claim("storageClassName: \"\"", ""), fewer_modes],
        None,
        expect![[r#"
        Bind { volume: "b" }
    "#]],
    );
}

#[test]
fn what_is_reserved_is_for_its_claim() {
    let other = volume("b", "2Gi", "claimRef: {namespace: n, name: other}");
    check(
        &[claim("storageClassName: \"\"", ""), volume("a", "9Gi", RESERVED), other.clone(), volume("d", "2Gi", "")],
        None,
        expect![[r#"
        Bind { volume: "a" }
    "#]],
    );
    check(
        &[claim("storageClassName: \"\"", ""), other.clone()],
        None,
        expect![[r#"
        event FailedBinding: no persistent volumes available for this claim and no storage class is set
    "#]],
    );
    check(
        &[claim("volumeName: b", ""), other],
        None,
        expect![[r#"
        event FailedBinding: volume "b" already bound to a different claim.
    "#]],
    );
    check(
        &[claim("volumeName: d", ""), volume("d", "1Gi", "")],
        None,
        expect![[r#"
        event VolumeMismatch: Cannot bind to requested volume "d": requested PV is too small
    "#]],
    );
    check(
        &[claim("volumeName: d", ""), volume("d", "2Gi", "")],
        None,
        expect![[r#"
        Bind { volume: "d" }
    "#]],
    );
    check(&[claim("volumeName: none", "")], None, expect![[r#""#]]);
}

#[test]
fn classes_provision_and_wait() {
    let now = WAITING.replace("WaitForFirstConsumer", "Immediate");
    check(
        &[claim("storageClassName: slow", ""), now.clone()],
        None,
        expect![[r#"
        Provision { provisioner: "example.com/disk", node: None }
        event ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com/disk' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.
    "#]],
    );
    check(
        &[claim("storageClassName: slow", ""), WAITING.into(), volume("a", "2Gi", "storageClassName: slow")],
        None,
        expect![[r#"
        event WaitForFirstConsumer: waiting for first consumer to be created before binding
    "#]],
    );
    let node = "---\nkind: Node\nmetadata: {name: k, labels: {zone: z}}\n".to_owned();
    check(
        &[claim("storageClassName: slow", ""), WAITING.into(), node.clone()],
        None,
        expect![[r#"
        Provision { provisioner: "example.com/disk", node: Some("k") }
        event ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'example.com/disk' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.
    "#]],
    );
    let near = "storageClassName: slow, nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: zone, operator: In, values: [z]}]}]}}";
    let far = near.replace("[z]", "[y]");
    check(
        &[
            claim("storageClassName: slow", ""),
            WAITING.into(),
            node,
            volume("far", "2Gi", &far),
            volume("near", "3Gi", near),
        ],
        None,
        expect![[r#"
        Bind { volume: "near" }
    "#]],
    );
    check(
        &[claim("storageClassName: none", "")],
        None,
        expect![[r#"
        event ProvisioningFailed: storageclass.storage.k8s.io "none" not found
    "#]],
    );
    check(
        &[claim("storageClassName: slow", ""), now.replace("example.com/disk", "kubernetes.io/no-provisioner")],
        None,
        expect![[r#"
        event ProvisioningFailed: no volume plugin matched name: kubernetes.io/no-provisioner
    "#]],
    );
    check(
        &[claim("volumeMode: Filesystem", ""), now],
        Some("slow"),
        expect![[r#"
        Classify { class: "slow" }
    "#]],
    );
}

#[test]
fn bound_claims_keep_their_volume_or_are_lost() {
    let done = ", annotations: {pv.kubernetes.io/bind-completed: \"yes\"}";
    check(
        &[claim("volumeName: a", done), volume("a", "2Gi", RESERVED)],
        None,
        expect![[r#"
        Bind { volume: "a" }
    "#]],
    );
    check(
        &[claim("volumeName: a", done)],
        None,
        expect![[r#"
        Claim { phase: "Lost" }
        event ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!
    "#]],
    );
    check(
        &[claim("volumeName: a", done), volume("a", "2Gi", "claimRef: {namespace: n, name: x, uid: x}")],
        None,
        expect![[r#"
        Claim { phase: "Lost" }
        event ClaimMisbound: Two claims are bound to the same volume, this one is bound incorrectly
    "#]],
    );
}

pub(super) fn observed(yaml: &[String]) -> ObservedVolume {
    let yaml = yaml.concat();
    let claim = shared::<PersistentVolumeClaim>(&yaml).into_iter().next();
    let volume = shared::<PersistentVolume>(&yaml).remove(0);
    ObservedVolume { volume, claim, users: Vec::new(), recycler: Recycler::None }
}

fn check_volume(yaml: &[String], expected: Expect) {
    let observed = observed(yaml);
    expected.assert_eq(&text(&plan_volume(&observed)));
}

#[test]
fn a_volume_is_what_its_claim_makes_it() {
    check_volume(
        &[volume_in("a", "2Gi", "", "Pending")],
        expect![[r#"
        Volume { phase: "Available", message: "" }
    "#]],
    );
    check_volume(&[volume("a", "2Gi", "claimRef: {namespace: n, name: c}")], expect![[r#""#]]);
    check_volume(
        &[claim("volumeName: a", ""), volume("a", "2Gi", RESERVED)],
        expect![[r#"
        Volume { phase: "Bound", message: "" }
    "#]],
    );
    check_volume(
        &[claim("storageClassName: x", ""), volume("a", "2Gi", RESERVED)],
        expect![[r#"
        WakeClaim
    "#]],
    );
    check_volume(
        &[claim("volumeName: b", ""), volume("a", "2Gi", RESERVED)],
        expect![[r#"
        Unbind
    "#]],
    );
}

#[test]
fn who_waits_for_a_pod_is_told_for_which() {
    let yaml = [claim("storageClassName: slow", ""), WAITING.into()].concat();
    let observed = |unplaced: &[&str]| ObservedClaim {
        claim: shared(&yaml).remove(0),
        volumes: Vec::new(),
        class: shared::<StorageClass>(&yaml).into_iter().next(),
        default_class: None,
        node: None,
        unplaced: unplaced.iter().map(|name| (*name).to_owned()).collect(),
    };
    expect![[r#"
        event WaitForPodScheduled: waiting for pod p to be scheduled
    "#]]
    .assert_eq(&text(&plan_claim(&observed(&["p"]))));
    expect![[r#"
        event WaitForPodScheduled: waiting for pods p,q to be scheduled
    "#]]
    .assert_eq(&text(&plan_claim(&observed(&["p", "q"]))));
}

#[test]
fn drivers_provision_what_kubernetes_once_did() {
    let class = WAITING.replace("WaitForFirstConsumer", "Immediate");
    check(
        &[claim("storageClassName: slow", ""), class.replace("example.com/disk", "kubernetes.io/aws-ebs")],
        None,
        expect![[r#"
            Provision { provisioner: "ebs.csi.aws.com", node: None }
            event ExternalProvisioning: Waiting for a volume to be created either by the external provisioner 'ebs.csi.aws.com' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.
        "#]],
    );
    check(
        &[claim("storageClassName: slow", ""), class.replace("example.com/disk", "kubernetes.io/glusterfs")],
        None,
        expect![[r#"
            event ProvisioningFailed: no volume plugin matched name: kubernetes.io/glusterfs
        "#]],
    );
}

#[test]
fn what_does_not_match_is_said() {
    for (more, expected) in [
        ("volumeAttributesClassName: gold", "volumeAttributesClassName does not match"),
        ("volumeMode: Block", "incompatible volumeMode"),
        ("storageClassName: x", "storageClassName does not match"),
    ] {
        let volume = volume("d", "2Gi", more);
        let plan = plan_claim(&ObservedClaim {
            claim: shared(&claim("volumeName: d", "")).remove(0),
            volumes: shared(&volume),
            class: None,
            default_class: None,
            node: None,
            unplaced: Vec::new(),
        });
        assert_eq!(text(&plan), format!("event VolumeMismatch: Cannot bind to requested volume \"d\": {expected}\n"));
    }
    check(
        &[
            claim("volumeName: d", ""),
            volume("d", "2Gi", "").replace("labels:", "deletionTimestamp: \"2026-01-01T12:00:00Z\", labels:"),
        ],
        None,
        expect![[r#"
            event VolumeMismatch: Cannot bind to requested volume "d": the volume is marked for deletion "d"
        "#]],
    );
    check_volume(
        &[claim("volumeMode: Block", ""), volume("a", "2Gi", RESERVED)],
        expect![[r#"
            WarnClaim { message: "Cannot bind PersistentVolume \"a\" to requested PersistentVolumeClaim due to incompatible volumeMode." }
            event VolumeMismatch: Cannot bind PersistentVolume to requested PersistentVolumeClaim "c" due to incompatible volumeMode.
        "#]],
    );
}

#[test]
fn a_claim_becomes_what_its_volume_is() {
    let status = |claim: &str, volume: &str| {
        let status = bound_status(&shared(claim)[0], &shared(volume)[0]);
        status.map_or_else(|| "nothing".to_owned(), |status| status.to_string())
    };
    let volume = volume("a", "2Gi", "volumeAttributesClassName: gold");
    let pending = claim("", "");
    expect![[r#"{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"2Gi"},"currentVolumeAttributesClassName":"gold","phase":"Bound"}"#]]
        .assert_eq(&status(&pending, &volume));
    let resizing =
        volume.replace("labels:", "annotations: {volume.alpha.kubernetes.io/pre-resize-capacity: 1Gi}, labels:");
    expect![[r#"{"accessModes":["ReadWriteOnce"],"capacity":{"storage":"1Gi"},"currentVolumeAttributesClassName":"gold","phase":"Bound"}"#]]
        .assert_eq(&status(&pending, &resizing));
    let bound =
        pending.replace("phase: Pending", "phase: Bound, accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}");
    expect!["nothing"].assert_eq(&status(&bound, &volume));
    expect![[r#"{"accessModes":["ReadWriteOnce"]}"#]].assert_eq(&status(
        &bound.replace("accessModes: [ReadWriteOnce], capacity: {storage: 1Gi}", "capacity: {storage: 1Gi}"),
        &volume,
    ));
}
