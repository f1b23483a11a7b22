use super::plan::{Step, steps};
use crate::common::fixtures::{one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use mk8s_client::{kube::ResourceExt, pod::Pod};

const POD: &str = "
kind: Pod
metadata: {name: p, namespace: n, uid: u}
spec:
  containers: []
  volumes:
  - {name: named, persistentVolumeClaim: {claimName: c}}
  - name: own
    ephemeral:
      volumeClaimTemplate:
        metadata: {labels: {a: b}, annotations: {c: d}}
        spec: {accessModes: [ReadWriteOnce], storageClassName: fast, resources: {requests: {storage: 1Gi}}}
";

fn check(pod: &str, claims: &str, expected: Expect) {
    let pod: Pod = one(pod);
    let claims = shared::<PersistentVolumeClaim>(claims);
    let known = |name: &str| claims.iter().find(|claim| claim.name_any() == name).cloned();
    let said = steps(&pod, known).into_iter().map(|(volume, step)| match step {
        Step::Create(claim) => format!("{volume}:\n{}", serde_yaml::to_string(&claim).expect("YAML")),
        Step::Refuse(why) => format!("{volume}: {why}\n"),
    });
    expected.assert_eq(&said.collect::<String>());
}

#[test]
fn a_claim_is_made_of_the_template_once() {
    check(
        POD,
        "",
        expect![[r#"
        own:
        apiVersion: v1
        kind: PersistentVolumeClaim
        metadata:
          annotations:
            c: d
          labels:
            a: b
          name: p-own
          namespace: n
          ownerReferences:
          - apiVersion: v1
            blockOwnerDeletion: true
            controller: true
            kind: Pod
            name: p
            uid: u
        spec:
          accessModes:
          - ReadWriteOnce
          resources:
            requests:
              storage: 1Gi
          storageClassName: fast
    "#]],
    );
    let claim = |owner: &str| {
        format!(
            "kind: PersistentVolumeClaim\nmetadata: {{name: p-own, namespace: n, ownerReferences: [{{apiVersion: v1, kind: Pod, \
             name: p, uid: {owner}, controller: true}}]}}"
        )
    };
    check(POD, &claim("u"), expect![[""]]);
    check(
        POD,
        &claim("other"),
        expect![[r#"
        own: PVC n/p-own was not created for pod n/p (pod is not owner)
    "#]],
    );
    check(&POD.replace("uid: u}", "uid: u, deletionTimestamp: \"2026-01-01T12:00:00Z\"}"), "", expect![[""]]);
}
