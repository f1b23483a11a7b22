//! Nodes with pods that use volumes, and what becomes of the attachments.

use super::{
    plan::{Observed, Plan, Wanted, plan},
    wanted::{Storage, attachment_name, is_ours, is_shared, unique_name, wanted},
};
use crate::common::{
    fixtures::{lines, noon, objects, shared},
    pods,
};
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    core::v1::{Node, PersistentVolume, PersistentVolumeClaim},
    storage::v1::{CSIDriver, VolumeAttachment},
};
use mk8s_client::{Key, kube::ResourceExt, pod::Pod};
use std::{collections::BTreeMap, sync::Arc};

const NODE: &str = "---\nkind: Node\nmetadata: {name: one, annotations: {volumes.kubernetes.io/controller-managed-attach-detach: \"true\"}}\n";
const READY: &str = "conditions: [{type: Ready, status: \"True\"}]";

fn node(spec: &str, status: &str) -> String {
    format!("{NODE}spec: {{{spec}}}\nstatus: {{{status}}}\n")
}

fn pod(name: &str, node: &str) -> String {
    format!(
        "---\nkind: Pod\nmetadata: {{name: {name}, namespace: n, uid: {name}}}\nspec: {{nodeName: {node}, containers: [], volumes: \
         [{{name: v, persistentVolumeClaim: {{claimName: c}}}}]}}\nstatus: {{phase: Running}}\n"
    )
}

/// A claim `c` with a volume `pv` of the driver `d`, which calls it `h`.
fn bound(mode: &str) -> String {
    format!(
        "---\nkind: PersistentVolumeClaim\nmetadata: {{name: c, namespace: n, uid: c}}\nspec: {{volumeName: pv}}\nstatus: {{phase: \
         Bound}}\n---\nkind: PersistentVolume\nmetadata: {{name: pv}}\nspec: {{accessModes: [{mode}], claimRef: {{namespace: n, \
         name: c, uid: c}}, csi: {{driver: d, volumeHandle: h}}}}\n"
    )
}

fn attachment(node: &str, more: &str) -> String {
    let name = attachment_name("kubernetes.io/csi/d^h", node).expect("a name");
    let made = if more.contains("creationTimestamp") { "" } else { ", creationTimestamp: \"2026-01-01T12:00:00Z\"" };
    let (meta, status) = more.split_once('|').unwrap_or(("", more));
    format!(
        "---\nkind: VolumeAttachment\nmetadata: {{name: {name}{made}{meta}}}\nspec: {{attacher: d, nodeName: {node}, source: \
         {{persistentVolumeName: pv}}}}\nstatus: {{{status}}}\n"
    )
}

struct Fixtures(String);

impl Storage for Fixtures {
    fn claim(&self, key: &Key) -> Option<Arc<PersistentVolumeClaim>> {
        shared::<PersistentVolumeClaim>(&self.0).into_iter().find(|claim| Key::of(claim.as_ref()) == *key)
    }

    fn volume(&self, name: &str) -> Option<Arc<PersistentVolume>> {
        shared::<PersistentVolume>(&self.0).into_iter().find(|volume| volume.name_any() == name)
    }

    fn driver(&self, name: &str) -> Option<Arc<CSIDriver>> {
        shared::<CSIDriver>(&self.0).into_iter().find(|driver| driver.name_any() == name)
    }
}

fn observed(yaml: &[String]) -> Observed {
    let fixtures = Fixtures(yaml.concat());
    let yaml = &fixtures.0;
    let on = |node: &str| {
        let mut pods = shared::<Pod>(yaml);
        pods.retain(|pod| pods::node(pod) == node);
        pods
    };
    let (attachments, others): (Vec<_>, Vec<_>) =
        shared::<VolumeAttachment>(yaml).into_iter().partition(|attachment| attachment.spec.node_name == "one");
    let elsewhere = |volume: &PersistentVolume| match is_shared(volume) {
        true => Vec::new(),
        false => others.iter().map(|attachment| (attachment.clone(), on(&attachment.spec.node_name))).collect(),
    };
    let uses = wanted(on("one"), &fixtures).into_iter();
    Observed {
        name: "one".to_owned(),
        node: shared::<Node>(yaml).into_iter().next(),
        in_use_at_last: None,
        wanted: uses.map(|used| Wanted { elsewhere: elsewhere(&used.volume), used }).collect(),
        attachments,
        unwanted_since: BTreeMap::new(),
        told: BTreeMap::new(),
    }
}

/// Names of attachments are shortened.
fn text(plan: &Plan) -> String {
    let mut text = lines(&plan.actions);
    for said in &plan.events {
        text += &format!("event for {}: {} {}\n", said.pod.name_any(), said.reason, said.message);
    }
    if let Some(wait) = plan.look_again {
        text += &format!("again in {} s\n", wait.as_secs());
    }
    for node in ["one", "two"] {
        let name = attachment_name("kubernetes.io/csi/d^h", node).expect("a name");
        text = text.replace(&name, &format!("csi-{node}"));
    }
    text
}

fn later(seconds: i64) -> Timestamp {
    noon() + SignedDuration::from_secs(seconds)
}

fn check(yaml: &[String], expected: Expect) {
    expected.assert_eq(&text(&plan(later(30), &observed(yaml))));
}

#[test]
fn attachments_are_named_after_what_they_attach() {
    expect!["csi-3f4cac1e1eab7461cd97c9834a4511f7847c2bf1348df2dc5e2867a25c9691cd"]
        .assert_eq(&attachment_name("kubernetes.io/csi/ebs.csi.aws.com^vol-1", "one").expect("a name"));
    assert_eq!(attachment_name("kubernetes.io/iscsi/x^y", "one"), None);
    assert!(is_ours(&attachment_name("kubernetes.io/csi/d^h", "n").expect("a name")));
    assert!(!is_ours("csi-by-hand"));
    let volumes = objects::<PersistentVolume>(&bound("ReadWriteOnce"));
    assert_eq!(unique_name(&volumes[0]).as_deref(), Some("kubernetes.io/csi/d^h"));
}

#[test]
fn a_volume_comes_to_the_node_of_its_pod() {
    let start = [node("", READY), pod("p", "one"), bound("ReadWriteOnce")];
    check(
        &start,
        expect![[r#"
        Attach { attachment: "csi-one", driver: "d", volume: "pv" }
    "#]],
    );
    let with = |status: &str| [start.concat(), attachment("one", status)];
    check(
        &with("attached: false"),
        expect![[r#"
        again in 90 s
    "#]],
    );
    check(
        &with("attached: true"),
        expect![[r#"
        Report { volumes: ["kubernetes.io/csi/d^h"] }
        event for p: SuccessfulAttachVolume AttachVolume.Attach succeeded for volume "pv" 
    "#]],
    );
    let told = node("", "volumesAttached: [{name: \"kubernetes.io/csi/d^h\", devicePath: \"\"}]");
    check(&[told, pod("p", "one"), bound("ReadWriteOnce"), attachment("one", "attached: true")], expect![[""]]);
}

#[test]
fn what_fails_is_told_once() {
    let failed = "attached: false, attachError: {message: \"rpc error: no such disk\", time: \"2026-01-01T12:00:01Z\"}";
    let yaml = [node("", READY), pod("p", "one"), pod("q", "one"), bound("ReadWriteOnce"), attachment("one", failed)];
    let mut seen = observed(&yaml);
    let first = plan(later(30), &seen);
    expect![[r#"
        event for p: FailedAttachVolume AttachVolume.Attach failed for volume "pv" : rpc error: no such disk
        event for q: FailedAttachVolume AttachVolume.Attach failed for volume "pv" : rpc error: no such disk
    "#]]
    .assert_eq(&text(&first));
    seen.told = first.told;
    expect![[""]].assert_eq(&text(&plan(later(31), &seen)));
    let again = observed(&[yaml[..4].concat(), attachment("one", &failed.replace("01Z", "02Z"))]);
    assert_eq!(plan(later(32), &Observed { told: seen.told, ..again }).events.len(), 2, "it was tried again");
}

#[test]
fn an_attacher_that_says_nothing_is_late() {
    let mut seen =
        observed(&[node("", READY), pod("p", "one"), bound("ReadWriteOnce"), attachment("one", "attached: false")]);
    let late = plan(later(130), &seen);
    expect![[r#"
        event for p: FailedAttachVolume AttachVolume.Attach failed for volume "pv" : timed out waiting for external-attacher of d CSI driver to attach volume h
        again in 110 s
    "#]]
    .assert_eq(&text(&late));
    seen.told = late.told;
    expect![[r#"
        again in 100 s
    "#]]
    .assert_eq(&text(&plan(later(140), &seen)));
    assert_eq!(plan(later(240), &seen).events.len(), 1, "it is said again after two minutes");
    let leaving = ", deletionTimestamp: \"2026-01-01T12:00:00Z\"|attached: true, detachError: {message: busy}";
    check(
        &[node("", READY), pod("p", "one"), bound("ReadWriteOnce"), attachment("one", leaving)],
        expect![[r#"
            event for p: FailedAttachVolume AttachVolume.Attach failed for volume "pv" : volume attachment is being deleted
            again in 90 s
        "#]],
    );
}

#[test]
fn a_volume_of_one_node_waits_for_the_other() {
    let start = [node("", READY), pod("p", "one"), bound("ReadWriteOnce")].concat();
    let mut seen = observed(&[start.clone(), pod("q", "two"), attachment("two", "attached: true")]);
    let first = plan(later(30), &seen);
    expect![[r#"
        event for p: FailedAttachVolume Multi-Attach error for volume "pv" Volume is already used by pod(s) q
    "#]]
    .assert_eq(&text(&first));
    seen.told = first.told;
    expect![[""]].assert_eq(&text(&plan(later(31), &seen)));
    let far = pod("q", "two").replace("namespace: n", "namespace: m");
    check(
        &[start.clone(), pod("r", "two"), far.clone(), attachment("two", "attached: true")],
        expect![[r#"
            event for p: FailedAttachVolume Multi-Attach error for volume "pv" Volume is already used by pod(s) r and 1 pod(s) in different namespaces
        "#]],
    );
    check(
        &[start.clone(), far, attachment("two", "attached: true")],
        expect![[r#"
            event for p: FailedAttachVolume Multi-Attach error for volume "pv" Volume is already used by 1 pod(s) in different namespaces
        "#]],
    );
    check(
        &[start.clone(), attachment("two", "attached: true")],
        expect![[r#"
            event for p: FailedAttachVolume Multi-Attach error for volume "pv" Volume is already exclusively attached to one node and can't be attached to another
        "#]],
    );
    let leaving = ", deletionTimestamp: \"2026-01-01T12:00:00Z\"|attached: true";
    check(
        &[start.clone(), attachment("two", leaving)],
        expect![[r#"
        again in 90 s
    "#]],
    );
    check(
        &[start.clone(), attachment("two", "attached: false, attachError: {message: no}")],
        expect![[r#"
        Attach { attachment: "csi-one", driver: "d", volume: "pv" }
    "#]],
    );
    check(
        &[start.replace("ReadWriteOnce", "ReadWriteMany"), attachment("two", "attached: true")],
        expect![[r#"
            Attach { attachment: "csi-one", driver: "d", volume: "pv" }
        "#]],
    );
}

#[test]
fn what_nobody_wants_goes_when_the_node_has_let_go() {
    let attached = "volumesAttached: [{name: \"kubernetes.io/csi/d^h\", devicePath: \"\"}]";
    let gone =
        |spec: &str, status: &str| [node(spec, status), bound("ReadWriteOnce"), attachment("one", "attached: true")];
    check(
        &gone("", &format!("{READY}, {attached}")),
        expect![[r#"
            Report { volumes: [] }
            Detach { attachment: "csi-one", checked: true }
        "#]],
    );
    let in_use = format!("{attached}, volumesInUse: [\"kubernetes.io/csi/d^h\"]");
    check(
        &gone("", &format!("{READY}, {in_use}")),
        expect![[r#"
        again in 360 s
    "#]],
    );
    let expired = |yaml: &[String]| {
        let seen = observed(yaml);
        let unwanted_since = plan(later(0), &seen).unwanted_since;
        text(&plan(later(361), &Observed { unwanted_since, ..seen }))
    };
    expect![[""]].assert_eq(&expired(&gone("", &format!("{READY}, {in_use}"))));
    expect![[r#"
        Report { volumes: [] }
        Detach { attachment: "csi-one", checked: false }
    "#]]
    .assert_eq(&expired(&gone("", &in_use)));
    check(
        &gone("taints: [{key: node.kubernetes.io/out-of-service, effect: NoExecute}]", &in_use),
        expect![[r#"
            Report { volumes: [] }
            Detach { attachment: "csi-one", checked: false }
        "#]],
    );
    let leaving = ", deletionTimestamp: \"2026-01-01T12:00:00Z\"|attached: true";
    check(&[node("", READY), attachment("one", leaving)], expect![[""]]);
}

#[test]
fn a_node_that_is_gone_is_waited_for_unless_it_was_seen_to_let_go() {
    let mut seen = observed(&[bound("ReadWriteOnce"), attachment("one", "attached: true")]);
    expect![[r#"
        again in 360 s
    "#]]
    .assert_eq(&text(&plan(later(30), &seen)));
    seen.in_use_at_last = Some(vec![]);
    expect![[r#"
        Detach { attachment: "csi-one", checked: true }
    "#]]
    .assert_eq(&text(&plan(later(30), &seen)));
    check(&[bound("ReadWriteOnce"), pod("p", "one"), attachment("one", "attached: true")], expect![[""]]);
    check(&[bound("ReadWriteOnce"), pod("p", "one")], expect![[""]]);
}

#[test]
fn others_attachments_are_left_alone() {
    let foreign = attachment("one", "attached: true").replace("name: csi-", "name: by-hand-");
    check(&[node("", READY), foreign], expect![[""]]);
    let other = "volumesAttached: [{name: kubernetes.io/iscsi/x, devicePath: \"\"}, {name: \"kubernetes.io/csi/d^old\", devicePath: \"\"}]";
    check(
        &[node("", other)],
        expect![[r#"
        Report { volumes: ["kubernetes.io/iscsi/x"] }
    "#]],
    );
}

#[test]
fn only_volumes_that_somebody_attaches_are_wanted() {
    let driver = |required: &str| format!("---\nkind: CSIDriver\nmetadata: {{name: d}}\nspec: {{{required}}}\n");
    let attach = || {
        expect![[r#"
            Attach { attachment: "csi-one", driver: "d", volume: "pv" }
        "#]]
    };
    let start = || [node("", READY), pod("p", "one"), bound("ReadWriteOnce")].concat();
    let nothing = || expect![[""]];
    check(&[start(), driver("attachRequired: true")], attach());
    check(&[start(), driver("")], attach());
    check(&[start(), driver("attachRequired: false")], nothing());
    for (from, to) in [
        ("csi: {driver: d, volumeHandle: h}", "hostPath: {path: /x}"),
        ("phase: Bound", "phase: Pending"),
        ("name: c, uid: c}", "name: c, uid: other}"),
        ("status: {phase: Running}", "status: {phase: Succeeded}"),
        ("volumes.kubernetes.io/controller-managed-attach-detach", "a"),
    ] {
        assert!(start().contains(from), "{from}");
        check(&[start().replace(from, to)], nothing());
    }
}
