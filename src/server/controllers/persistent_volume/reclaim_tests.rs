//! Released volumes, and what becomes of them.

use super::{
    plan::{ObservedVolume, plan_volume},
    reclaim::{Recycler, recycler_pod},
    tests::{observed, text},
};
use crate::common::fixtures::one;
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::PersistentVolume;

fn released(policy: &str, source: &str, phase: &str) -> String {
    format!(
        "kind: PersistentVolume\nmetadata: {{name: a}}\nspec: {{capacity: {{storage: 5Gi}}, persistentVolumeReclaimPolicy: {policy}, \
         claimRef: {{namespace: n, name: c, uid: c}}, {source}}}\nstatus: {{phase: {phase}}}\n"
    )
}

fn by(provisioner: &str, volume: &str) -> String {
    volume
        .replace("{name: a}", &format!("{{name: a, annotations: {{pv.kubernetes.io/provisioned-by: {provisioner}}}}}"))
}

fn check(volume: String, expected: Expect) {
    expected.assert_eq(&text(&plan_volume(&observed(&[volume]))));
}

fn check_recycler(recycler: Recycler, phase: &str, expected: Expect) {
    let seen = observed(&[released("Recycle", "nfs: {server: s, path: /x}", phase)]);
    expected.assert_eq(&text(&plan_volume(&ObservedVolume { recycler, ..seen })));
}

const RELEASED: &str = "Volume { phase: \"Released\", message: \"\" }\n";

#[test]
fn what_is_retained_or_deleted_elsewhere_is_released() {
    for volume in [
        released("Retain", "hostPath: {path: /x}", "Bound"),
        released("Delete", "csi: {driver: d, volumeHandle: h}", "Bound"),
        by("example.com/disk", &released("Delete", "local: {path: /x}", "Bound")),
        released("Delete", "awsElasticBlockStore: {volumeID: v}", "Bound")
            .replace("{name: a}", "{name: a, annotations: {pv.kubernetes.io/migrated-to: ebs.csi.aws.com}}"),
    ] {
        assert_eq!(text(&plan_volume(&observed(std::slice::from_ref(&volume)))), RELEASED, "{volume}");
    }
}

#[test]
fn what_nobody_deletes_has_failed() {
    check(
        released("Delete", "local: {path: /x}", "Bound"),
        expect![[r#"
            Volume { phase: "Failed", message: "error getting deleter volume plugin for volume \"a\": no volume plugin matched" }
            event VolumeFailedDelete: error getting deleter volume plugin for volume "a": no volume plugin matched
        "#]],
    );
    check(
        released("Delete", "nfs: {server: s, path: /x}", "Bound"),
        expect![[r#"
            Volume { phase: "Failed", message: "error getting deleter volume plugin for volume \"a\": no deletable volume plugin matched" }
            event VolumeFailedDelete: error getting deleter volume plugin for volume "a": no deletable volume plugin matched
        "#]],
    );
    check(released("Delete", "local: {path: /x}", "Failed"), expect![[""]]);
    check(
        released("Delete", "hostPath: {path: /data}", "Released"),
        expect![[r#"
            Volume { phase: "Failed", message: "host_path deleter only supports /tmp/.+ but received provided /data" }
            event VolumeFailedDelete: host_path deleter only supports /tmp/.+ but received provided /data
        "#]],
    );
    check(
        released("Delete", "hostPath: {path: /tmp/data}", "Bound"),
        expect![[r#"
            Volume { phase: "Released", message: "" }
            Remove
        "#]],
    );
}

#[test]
fn finalizers_say_who_deletes() {
    let ours = by("kubernetes.io/quobyte", &released("Delete", "local: {path: /x}", "Bound"));
    check(
        ours.clone(),
        expect![[r#"
            Mark { finalizers: ["kubernetes.io/pv-controller"], driver: None }
        "#]],
    );
    let with =
        |volume: &str, finalizer: &str| volume.replace("{name: a,", &format!("{{name: a, finalizers: [{finalizer}],"));
    check(
        with(&ours, "kubernetes.io/pv-controller"),
        expect![[r#"
            Volume { phase: "Failed", message: "no volume plugin matched name: kubernetes.io/quobyte" }
            event VolumeFailedDelete: no volume plugin matched name: kubernetes.io/quobyte
        "#]],
    );
    check(
        with(&ours, "kubernetes.io/pv-controller, external-provisioner.volume.kubernetes.io/finalizer"),
        expect![[r#"
            Mark { finalizers: ["kubernetes.io/pv-controller"], driver: None }
        "#]],
    );
    check(
        with(&ours.replace("Policy: Delete", "Policy: Retain"), "kubernetes.io/pv-controller"),
        expect![[r#"
            Mark { finalizers: [], driver: None }
        "#]],
    );
    check(
        with(
            &by("kubernetes.io/aws-ebs", &released("Delete", "local: {path: /x}", "Bound")),
            "kubernetes.io/pv-controller",
        ),
        expect![[r#"
            Mark { finalizers: [], driver: Some("ebs.csi.aws.com") }
        "#]],
    );
    let elsewhere = by("example.com/disk", &released("Delete", "local: {path: /x}", "Released"));
    check(with(&elsewhere, "external-provisioner.volume.kubernetes.io/finalizer"), expect![[""]]);
}

#[test]
fn a_pod_empties_what_is_recycled() {
    check(
        released("Recycle", "local: {path: /x}", "Bound"),
        expect![[r#"
            Volume { phase: "Failed", message: "No recycler plugin found for the volume!" }
            event VolumeFailedRecycle: No recycler plugin found for the volume!
        "#]],
    );
    let seen = observed(&[released("Recycle", "hostPath: {path: /x}", "Bound")]);
    let used = ObservedVolume { users: vec!["n/p".into(), "n/q".into()], ..seen };
    expect![[r#"
        Volume { phase: "Released", message: "" }
        event VolumeFailedRecycle: Volume is used by pods: n/p,n/q
    "#]]
    .assert_eq(&text(&plan_volume(&used)));
    check_recycler(
        Recycler::None,
        "Bound",
        expect![[r#"
            Volume { phase: "Released", message: "" }
            Recycle
        "#]],
    );
    check_recycler(Recycler::None, "Failed", expect![["Recycle\n"]]);
    for recycler in [Recycler::Running, Recycler::Leaving, Recycler::Resting] {
        check_recycler(recycler, "Released", expect![[""]]);
    }
    check_recycler(
        Recycler::Succeeded,
        "Released",
        expect![[r#"
            EndRecycler
            Unbind
            event VolumeRecycled: Volume recycled
        "#]],
    );
}

#[test]
fn a_pod_that_fails_is_told_of() {
    check_recycler(
        Recycler::Other,
        "Released",
        expect![[r#"
            Volume { phase: "Failed", message: "Recycle failed: old recycler pod found, will retry later" }
            EndRecycler
            event VolumeFailedRecycle: Recycle failed: old recycler pod found, will retry later
        "#]],
    );
    check_recycler(
        Recycler::Failed("Pod was active on the node longer than the specified deadline".into()),
        "Released",
        expect![[r#"
            Volume { phase: "Failed", message: "Recycle failed: failed to recycle volume: Pod was active on the node longer than the specified deadline" }
            EndRecycler
            event VolumeFailedRecycle: Recycle failed: failed to recycle volume: Pod was active on the node longer than the specified deadline
        "#]],
    );
    check_recycler(
        Recycler::Gone,
        "Released",
        expect![[r#"
            Volume { phase: "Failed", message: "Recycle failed: failed to recycle volume: recycler pod was deleted" }
            event VolumeFailedRecycle: Recycle failed: failed to recycle volume: recycler pod was deleted
        "#]],
    );
}

#[test]
fn a_pod_that_the_server_refuses_is_told_of_once() {
    let refused = || Recycler::Refused("pods \"recycler-for-a\" is forbidden: exceeded quota".into());
    check_recycler(
        refused(),
        "Released",
        expect![[r#"
            Volume { phase: "Failed", message: "Recycle failed: unexpected error creating recycler pod:  pods \"recycler-for-a\" is forbidden: exceeded quota" }
            event VolumeFailedRecycle: Recycle failed: unexpected error creating recycler pod:  pods "recycler-for-a" is forbidden: exceeded quota
        "#]],
    );
    check_recycler(refused(), "Failed", expect![[""]]);
    check_recycler(Recycler::Failed("x".into()), "Failed", expect![["EndRecycler\n"]]);
    assert!(refused().has_failed() && !Recycler::Running.has_failed());
}

#[test]
fn the_pod_has_time_for_the_size_of_the_volume() {
    let pod = |source: &str| {
        let volume: PersistentVolume = one(&released("Recycle", source, "Released"));
        serde_yaml::to_string(&recycler_pod(&volume).expect("a pod")).expect("YAML")
    };
    expect![[r#"
        apiVersion: v1
        kind: Pod
        metadata:
          name: recycler-for-a
          namespace: default
        spec:
          activeDeadlineSeconds: 150
          containers:
          - args:
            - -c
            - test -e /scrub && find /scrub -mindepth 1 -delete && test -z "$(ls -A /scrub)" || exit 1
            command:
            - /bin/sh
            image: registry.k8s.io/build-image/debian-base:bookworm-v1.0.6
            name: pv-recycler
            volumeMounts:
            - mountPath: /scrub
              name: vol
          restartPolicy: Never
          volumes:
          - hostPath:
              path: /x
            name: vol
    "#]]
    .assert_eq(&pod("hostPath: {path: /x}"));
    let nfs = pod("nfs: {server: s, path: /x}");
    assert!(nfs.contains("activeDeadlineSeconds: 300\n") && nfs.contains("server: s\n"), "{nfs}");
}
