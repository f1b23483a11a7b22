use super::plan::{fate, used};
use crate::common::fixtures::{noon, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceSlice};
use mk8s_client::{kube::ResourceExt, pod::Pod};

const POD: &str = "
kind: Pod
metadata: {name: p, namespace: n, uid: p}
spec: {nodeName: one, containers: [], resourceClaims: [{name: a, resourceClaimName: a}, {name: b, resourceClaimTemplateName: t}]}
status: {phase: Running, resourceClaimStatuses: [{name: b, resourceClaimName: p-b-1}]}
";

/// A claim with a device of pool `p`, reserved for the pod.
fn claim(name: &str, device: &str, tolerations: &str) -> String {
    format!(
        "
---
kind: ResourceClaim
metadata: {{name: {name}, namespace: n, ownerReferences: [{{apiVersion: v1, kind: Pod, name: p, uid: p, controller: true}}]}}
spec: {{}}
status:
  allocation: {{devices: {{results: [{{request: r, driver: d, pool: p, device: {device}, tolerations: {tolerations}}}]}}}}
  reservedFor: [{{resource: pods, name: p, uid: p}}]
"
    )
}

/// A slice of pool `p`: its devices `{name, taints}`.
fn slice(generation: i64, devices: &str) -> String {
    format!(
        "
---
kind: ResourceSlice
metadata: {{name: s{generation}}}
spec: {{driver: d, pool: {{name: p, generation: {generation}, resourceSliceCount: 1}}, nodeName: one, devices: {devices}}}
"
    )
}

const TAINTED: &str = "[{name: g, taints: [{key: k, value: v, effect: NoExecute, timeAdded: '2026-01-01T11:59:00Z'}]}]";

fn check(yaml: &[String], expected: &Expect) {
    let yaml = yaml.concat();
    let pod: Pod = one(&yaml);
    let known = shared::<ResourceClaim>(&yaml);
    let claims = used(&pod, |name| known.iter().find(|claim| claim.name_any() == name).cloned());
    expected.assert_eq(&format!("{:?}", fate(&pod, &claims, &shared::<ResourceSlice>(&yaml), noon())));
}

#[test]
fn a_taint_that_nobody_tolerates_sends_the_pod_away() {
    let tainted = slice(1, TAINTED);
    let by = |claim: String| [POD.to_owned(), claim, tainted.clone()];
    check(&by(claim("a", "g", "[]")), &expect!["Leave"]);
    check(&by(claim("p-b-1", "g", "[]")), &expect!["Leave"]);
    check(&by(claim("a", "other", "[]")), &expect!["Stay"]);
    // It was made for another pod of the name, or is reserved for another one.
    check(&by(claim("p-b-1", "g", "[]").replace("uid: p, controller", "uid: old, controller")), &expect!["Stay"]);
    check(&by(claim("a", "g", "[]").replace("name: p, uid: p}]", "name: p, uid: old}]")), &expect!["Stay"]);
    check(&by(claim("c", "g", "[]")), &expect!["Stay"]);
    // Neither has a pod without a node begun, nor does one go on that has ended or was told to.
    for (from, to) in [
        ("nodeName: one, ", ""),
        ("phase: Running", "phase: Failed"),
        ("uid: p}", "uid: p, deletionTimestamp: '2026-01-01T12:00:00Z'}"),
    ] {
        check(&[POD.replacen(from, to, 1), claim("a", "g", "[]"), tainted.clone()], &expect!["Stay"]);
    }
    for effect in ["NoSchedule", "None", "Unheard"] {
        let mild = tainted.replace("NoExecute", effect);
        check(&[POD.to_owned(), claim("a", "g", "[]"), mild], &expect!["Stay"]);
    }
}

#[test]
fn tolerations_decide_how_long_it_stays() {
    let with = |tolerations: &str, expected: Expect| {
        check(&[POD.to_owned(), claim("a", "g", tolerations), slice(1, TAINTED)], &expected);
    };
    with("[{key: k, operator: Exists, effect: NoExecute}]", expect!["Stay"]);
    with("[{operator: Exists}]", expect!["Stay"]);
    with("[{key: k, operator: Equal, value: v}]", expect!["Stay"]);
    with("[{key: k, value: v, effect: NoExecute}]", expect!["Stay"]);
    with("[{key: k, operator: Equal, value: w}]", expect!["Leave"]);
    with("[{key: l, operator: Exists}]", expect!["Leave"]);
    with("[{key: k, operator: Exists, effect: NoSchedule}]", expect!["Leave"]);
    with("[{key: k, operator: Unheard, effect: NoExecute}]", expect!["Leave"]);
    with("[{operator: Exists, effect: NoExecute, tolerationSeconds: 90}]", expect!["LeaveIn(30s)"]);
    with("[{operator: Exists, effect: NoExecute, tolerationSeconds: 60}]", expect!["Leave"]);
    with("[{operator: Exists, effect: NoExecute, tolerationSeconds: -1}]", expect!["Leave"]);
    with(
        "[{operator: Exists, effect: NoExecute, tolerationSeconds: 9223372036854775807}]",
        expect!["LeaveIn(251634938400.999999999s)"],
    );
    // Seconds without the effect are not meant.
    with("[{operator: Exists, tolerationSeconds: 1}]", expect!["Stay"]);
    let (short, long) = (
        "{operator: Exists, effect: NoExecute, tolerationSeconds: 70}",
        "{operator: Exists, effect: NoExecute, tolerationSeconds: 600}",
    );
    with(&format!("[{long}, {short}]"), expect!["LeaveIn(10s)"]);
    with(&format!("[{short}, {{operator: Exists, effect: NoExecute}}]"), expect!["Stay"]);
}

#[test]
fn the_first_taint_of_any_device_decides() {
    let both = slice(
        1,
        "[{name: g, taints: [{key: k, effect: NoExecute, timeAdded: '2026-01-01T12:00:00Z'}, {key: l, effect: NoExecute, timeAdded: '2026-01-01T11:59:50Z'}]},
          {name: h, taints: [{key: k, effect: NoExecute, timeAdded: '2026-01-01T11:59:55Z'}]}]",
    );
    let patient = |seconds: u32| format!("[{{operator: Exists, effect: NoExecute, tolerationSeconds: {seconds}}}]");
    let (a, b) = (claim("a", "g", &patient(100)), claim("p-b-1", "h", &patient(20)));
    check(&[POD.to_owned(), a.clone(), both.clone()], &expect!["LeaveIn(90s)"]);
    check(&[POD.to_owned(), a.clone(), b, both.clone()], &expect!["LeaveIn(15s)"]);
    check(&[POD.to_owned(), a, claim("p-b-1", "h", "[]"), both], &expect!["Leave"]);
}

#[test]
fn only_the_newest_slices_of_a_pool_count() {
    let clean = "[{name: g}]";
    let with = |older: &str, newer: &str| [POD.to_owned(), claim("a", "g", "[]"), slice(1, older), slice(2, newer)];
    check(&with(TAINTED, clean), &expect!["Stay"]);
    check(&with(clean, TAINTED), &expect!["Leave"]);
    // A pool of the same name of another driver is another pool.
    let foreign = slice(1, TAINTED).replace("driver: d", "driver: e");
    check(&[POD.to_owned(), claim("a", "g", "[]"), foreign], &expect!["Stay"]);
    check(&[POD.to_owned(), claim("a", "g", "[]")], &expect!["Stay"]);
}
