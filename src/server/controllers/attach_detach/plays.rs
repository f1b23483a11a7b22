//! A volume that moves with its pod from node to node, under leaders that die: no two nodes have it at once.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check, check_facts},
};
use expect_test::expect;
use mk8s_api::at::{list, text};
use serde_json::{Value, json};

const OBJECTS: &str = "
kind: Node
metadata: {name: one, annotations: {volumes.kubernetes.io/controller-managed-attach-detach: \"true\"}}
status: {conditions: [{type: Ready, status: \"True\"}]}
---
kind: Node
metadata: {name: two, annotations: {volumes.kubernetes.io/controller-managed-attach-detach: \"true\"}}
status: {conditions: [{type: Ready, status: \"True\"}]}
---
kind: PersistentVolumeClaim
metadata: {name: c, namespace: n, uid: c}
spec: {volumeName: pv}
status: {phase: Bound}
---
kind: PersistentVolume
metadata: {name: pv}
spec: {accessModes: [ReadWriteOnce], claimRef: {namespace: n, name: c, uid: c}, csi: {driver: d, volumeHandle: h}}
---
kind: Pod
metadata: {name: p, namespace: n, uid: p}
spec: {nodeName: one, containers: [], volumes: [{name: v, persistentVolumeClaim: {claimName: c}}]}
---
kind: VolumeAttachment
";

const VOLUME: &str = "kubernetes.io/csi/d^h";
const FINALIZER: &str = "external-attacher/d";

/// Who attaches, and the kubelets: whether there was anything to do.
fn others(api: &FakeApi) -> bool {
    let attached = api.change("VolumeAttachment", |attachment| {
        let leaving = attachment["metadata"]["deletionTimestamp"].is_string();
        attachment["metadata"]["finalizers"] = if leaving { json!([]) } else { json!([FINALIZER]) };
        attachment["status"] = json!({"attached": !leaving});
    });
    let used: Vec<String> = api.all("Pod").iter().map(|pod| text(&pod["spec"], "nodeName").to_owned()).collect();
    let mounted = api.change("Node", |node| {
        let told = list(&node["status"], "volumesAttached").iter().any(|volume| volume["name"] == VOLUME);
        let uses = used.contains(&text(&node["metadata"], "name").to_owned());
        let mounted = list(&node["status"], "volumesInUse").iter().any(|volume| volume == VOLUME);
        node["status"]["volumesInUse"] = if uses && (told || mounted) { json!([VOLUME]) } else { json!([]) };
    });
    attached | mounted
}

fn facts(api: &FakeApi) -> String {
    let mut facts = String::new();
    for attachment in api.all("VolumeAttachment") {
        let (spec, status) = (&attachment["spec"], &attachment["status"]);
        let volume = &spec["source"]["persistentVolumeName"];
        facts += &format!("{volume} on {} by {}: {}\n", spec["nodeName"], spec["attacher"], status["attached"]);
    }
    for node in api.all("Node") {
        let status = &node["status"];
        let (attached, in_use) = (list(status, "volumesAttached"), list(status, "volumesInUse"));
        facts += &format!("{} has {attached:?} and uses {in_use:?}\n", node["metadata"]["name"]);
    }
    facts
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene {
        others,
        holds: |api| match api.all("VolumeAttachment").len() {
            0 | 1 => Ok(()),
            _ => Err("two nodes have the volume".to_owned()),
        },
        facts,
        ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS)
    }
}

#[test]
fn a_pod_gets_its_volume() {
    check(
        &scene(|api, _| others(api)),
        &expect![[r#"
        create VolumeAttachment csi-87c4096d37c81c631fa33a39da251c4f0d79e024bbb12adb09195bf51323bfd9
        patch status of Node one volumesAttached
    "#]],
        &expect![[r#"
        "pv" on "one" by "d": true
        "one" has [Object {"devicePath": String(""), "name": String("kubernetes.io/csi/d^h")}] and uses [String("kubernetes.io/csi/d^h")]
        "two" has [] and uses []
    "#]],
    );
}

/// The pod ends, and another one takes its place on the other node while the first still runs.
fn moved(api: &FakeApi, asked: usize) -> bool {
    let next = |name: &str, node: &str| {
        let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
        json!({"kind": "Pod", "metadata": {"name": name, "namespace": "n", "uid": name},
            "spec": {"nodeName": node, "containers": [], "volumes": volumes}})
    };
    let user = match asked {
        4 => {
            api.add(next("q", "two"));
            true
        }
        6 => api.delete("Pod", &json!({"gracePeriodSeconds": 0}), |pod: &Value| pod["metadata"]["name"] == "p"),
        _ => asked < 7,
    };
    others(api) | user
}

#[test]
fn a_volume_follows_its_pod() {
    check_facts(
        &scene(moved),
        &expect![[r#"
        "pv" on "two" by "d": true
        "one" has [] and uses []
        "two" has [Object {"devicePath": String(""), "name": String("kubernetes.io/csi/d^h")}] and uses [String("kubernetes.io/csi/d^h")]
    "#]],
    );
    let said =
        crate::common::succession::play(&scene(moved), || usize::MAX).unwrap_or_else(|why| panic!("{why}")).said();
    expect![[r#"
        Normal SuccessfulAttachVolume Pod p: AttachVolume.Attach succeeded for volume "pv" 
        Normal SuccessfulAttachVolume Pod q: AttachVolume.Attach succeeded for volume "pv" 
        Warning FailedAttachVolume Pod p: AttachVolume.Attach failed for volume "pv" : timed out waiting for external-attacher of d CSI driver to attach volume h
        Warning FailedAttachVolume Pod q: AttachVolume.Attach failed for volume "pv" : timed out waiting for external-attacher of d CSI driver to attach volume h
        Warning FailedAttachVolume Pod q: Multi-Attach error for volume "pv" Volume is already used by pod(s) p
    "#]].assert_eq(&said);
}

#[test]
fn a_node_that_is_off_loses_its_volumes() {
    let off = scene(|api, asked| match asked {
        0..4 => others(api) | true,
        4 => {
            api.delete("Pod", &json!({"gracePeriodSeconds": 0}), |_| true)
                | api.change("Node", |node| {
                    node["spec"]["taints"] =
                        json!([{"key": "node.kubernetes.io/out-of-service", "effect": "NoExecute"}]);
                })
        }
        // The kubelet is off, too.
        _ => api.change("VolumeAttachment", |attachment| {
            if attachment["metadata"]["deletionTimestamp"].is_string() {
                attachment["metadata"]["finalizers"] = json!([]);
            }
        }),
    });
    check_facts(
        &off,
        &expect![[r#"
        "one" has [] and uses [String("kubernetes.io/csi/d^h")]
        "two" has [] and uses []
    "#]],
    );
}
