//! Claims of pods and unused claims, and what is done about them.

use super::plan::{self, Need, need, steps};
use crate::common::fixtures::{lines, one, shared};
use expect_test::{Expect, expect};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use mk8s_client::pod::Pod;

fn pod(status: &str) -> Pod {
    one(&format!(
        "kind: Pod\nmetadata: {{name: p, namespace: n, uid: u}}\nspec: {{containers: [], resourceClaims: [{{name: gpu, resourceClaimTemplateName: t}}]}}\nstatus: {status}"
    ))
}

fn said(pod: &Pod, claims: &str, template: &str) -> String {
    let claims = shared::<ResourceClaim>(claims);
    let template: Vec<ResourceClaimTemplate> = crate::common::fixtures::objects(template);
    let claim = &plan::claims(pod)[0];
    let known = claims.iter().find(|claim| claim.metadata.name.as_deref() == Some("known"));
    let own: Vec<_> = claims.iter().filter(|claim| plan::is_for(pod, claim)).cloned().collect();
    match need(pod, claim, known.map(|known| &**known), &own, template.first()) {
        Need::Create(claim) => serde_yaml::to_string(&claim.metadata).expect("metadata is YAML"),
        other => format!("{other:?}"),
    }
}

const OWNED: &str = "ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}]";

#[test]
fn a_claim_is_made_once() {
    let template = "kind: ResourceClaimTemplate\nmetadata: {name: t}\nspec: {metadata: {labels: {a: b}, annotations: {c: d}}, spec: {}}";
    expect![[r#"
        annotations:
          c: d
          resource.kubernetes.io/pod-claim-name: gpu
        generateName: p-gpu-
        labels:
          a: b
        namespace: n
        ownerReferences:
        - apiVersion: v1
          controller: true
          kind: Pod
          name: p
          uid: u
    "#]]
    .assert_eq(&said(&pod("{}"), "", template));
    expect![[r#"NoTemplate("t")"#]].assert_eq(&said(&pod("{}"), "", ""));
    let made = format!(
        "kind: ResourceClaim\nmetadata: {{name: p-gpu-x, {OWNED}, annotations: {{resource.kubernetes.io/pod-claim-name: gpu}}}}\nspec: {{}}"
    );
    expect![[r#"Record("p-gpu-x")"#]].assert_eq(&said(&pod("{}"), &made, template));
    let recorded = pod("{resourceClaimStatuses: [{name: gpu, resourceClaimName: known}]}");
    let known = format!("kind: ResourceClaim\nmetadata: {{name: known, {OWNED}}}\nspec: {{}}");
    expect!["Nothing"].assert_eq(&said(&recorded, &known, template));
    let foreign = known.replace("uid: u", "uid: other");
    expect!["annotations:"].assert_eq(said(&recorded, &foreign, template).lines().next().unwrap_or_default());
    expect!["Nothing"].assert_eq(&said(&pod("{resourceClaimStatuses: [{name: gpu}]}"), "", template));
}

#[test]
fn long_names_keep_something_of_both() {
    let mut long = pod("{}");
    long.metadata.name = Some("p".repeat(60));
    let template = "kind: ResourceClaimTemplate\nmetadata: {name: t}\nspec: {spec: {}}";
    let made = said(&long, "", template);
    let name = made.lines().find(|line| line.starts_with("generateName")).unwrap_or_default().to_owned();
    expect!["generateName: pppppppppppppppppppppppppppppppppppppppppppppppppppp-gp"].assert_eq(&name);
}

fn done(claim: &str, remaining: usize, orphan: bool, expected: Expect) {
    let claim: ResourceClaim = one(&format!("kind: ResourceClaim\n{claim}"));
    let remaining = plan::reserved_for(&claim)[..remaining].to_vec();
    let steps = steps(&claim, remaining, orphan);
    let short = lines(&steps).replace("ResourceClaimConsumerReference ", "");
    expected.assert_eq(&short);
}

#[test]
fn the_last_consumer_gives_the_devices_back() {
    let finalized = "metadata: {name: c, finalizers: [resource.kubernetes.io/delete-protection]}";
    let used =
        "status: {allocation: {}, reservedFor: [{resource: pods, name: a, uid: a}, {resource: pods, name: b, uid: b}]}";
    let claim = format!("{finalized}\nspec: {{}}\n{used}");
    done(&claim, 2, false, expect![""]);
    done(
        &claim,
        1,
        false,
        expect![[r#"
        Status { reserved_for: [{ api_group: None, name: "a", resource: "pods", uid: "a" }], allocated: true }
    "#]],
    );
    done(
        &claim,
        0,
        false,
        expect![[r#"
        Status { reserved_for: [], allocated: false }
        Release
    "#]],
    );
    done(
        &claim,
        0,
        true,
        expect![[r#"
        Status { reserved_for: [], allocated: false }
        Release
        Delete
    "#]],
    );
    let unfinalized = claim.replace(", finalizers: [resource.kubernetes.io/delete-protection]", "");
    done(
        &unfinalized,
        0,
        false,
        expect![[r#"
        Status { reserved_for: [], allocated: true }
    "#]],
    );
}

#[test]
fn a_claim_that_is_deleted_is_let_go() {
    let claim = "metadata: {name: c, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [resource.kubernetes.io/delete-protection]}\nspec: {}\nstatus: ";
    done(
        &format!("{claim}{{allocation: {{}}}}"),
        0,
        false,
        expect![[r#"
        Status { reserved_for: [], allocated: false }
        Release
    "#]],
    );
    done(
        &format!("{claim}{{}}"),
        0,
        false,
        expect![[r#"
        Release
    "#]],
    );
    let used = "{allocation: {}, reservedFor: [{resource: pods, name: a, uid: a}]}";
    done(&format!("{claim}{used}"), 1, false, expect![""]);
}
