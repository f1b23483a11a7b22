//! Pods that ask for devices, and their claims, made and let go by leaders that die: a pod has one claim for each wish.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts},
};
use expect_test::expect;
use mk8s_api::at::{list, text};
use serde_json::json;

const OBJECTS: &str = "
kind: ResourceClaimTemplate
metadata: {name: t, namespace: n}
spec: {spec: {devices: {requests: []}}}
---
kind: Pod
metadata: {name: p, namespace: n, uid: p}
spec: {containers: [], resourceClaims: [{name: gpu, resourceClaimTemplateName: t}, {name: net, resourceClaimTemplateName: t}, {name: own, resourceClaimName: given}]}
---
kind: ResourceClaim
metadata: {name: given, namespace: n, uid: given, finalizers: [resource.kubernetes.io/delete-protection]}
spec: {}
status: {allocation: {}, reservedFor: [{resource: pods, name: p, uid: p}, {resource: pods, name: gone, uid: gone}]}
";

/// What each claim is for; names are made up.
fn facts(api: &FakeApi) -> String {
    let mut lines = Vec::new();
    for claim in api.all("ResourceClaim") {
        let status = &claim["status"];
        let users: Vec<&str> = list(status, "reservedFor").iter().map(|user| text(user, "name")).collect();
        let purpose = &claim["metadata"]["annotations"]["resource.kubernetes.io/pod-claim-name"];
        let allocated = !status["allocation"].is_null();
        lines.push(format!(
            "claim for {purpose}: allocated {allocated}, used by {users:?}, {}\n",
            claim["metadata"]["finalizers"]
        ));
    }
    for pod in api.all("Pod") {
        for status in list(&pod["status"], "resourceClaimStatuses") {
            let known = api.has("ResourceClaim", text(status, "resourceClaimName"));
            lines.push(format!("pod knows {}: {known}\n", status["name"]));
        }
    }
    lines.sort();
    lines.concat()
}

fn scene(others: fn(&FakeApi, usize) -> bool) -> Scene {
    Scene { others, facts, ..Scene::new(|ctx| Box::pin(super::run(ctx)), OBJECTS) }
}

/// The scheduler gives every claim to the pod, and binds it.
fn schedule(api: &FakeApi) -> bool {
    api.change("ResourceClaim", |claim| {
        claim["status"] = json!({"allocation": {}, "reservedFor": [{"resource": "pods", "name": "p", "uid": "p"}]});
        claim["metadata"]["finalizers"] = json!(["resource.kubernetes.io/delete-protection"]);
    }) | api.change("Pod", |pod| pod["spec"]["nodeName"] = json!("one"))
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    check_facts(
        &scene(|_, _| false),
        &expect![[r#"
        claim for "gpu": allocated false, used by [], null
        claim for "net": allocated false, used by [], null
        claim for null: allocated true, used by ["p"], ["resource.kubernetes.io/delete-protection"]
        pod knows "gpu": true
        pod knows "net": true
    "#]],
    );
    let ended = scene(|api, asked| match asked {
        0 => schedule(api),
        1 => api.change("Pod", |pod| pod["status"]["phase"] = json!("Succeeded")),
        // Whether its finalizer is there while nothing is allocated depends on who died when; it holds nobody.
        2 => api.delete("ResourceClaim", &json!({}), |claim| claim["metadata"]["name"] == "given"),
        _ => false,
    });
    check_facts(
        &ended,
        &expect![[r#"
            pod knows "gpu": false
            pod knows "net": false
        "#]],
    );
    let gone = scene(|api, asked| match asked {
        0 => schedule(api),
        1 => api.delete("Pod", &json!({"gracePeriodSeconds": 0}), |_| true),
        2 => api.delete("ResourceClaim", &json!({}), |_| true),
        _ => false,
    });
    check_facts(&gone, &expect![[""]]);
}

#[test]
fn a_template_that_comes_late_is_waited_for() {
    let late = scene(|api, asked| {
        if asked == 0 {
            let template = json!({"kind": "ResourceClaimTemplate", "metadata": {"name": "later", "namespace": "n"}, "spec": {"spec": {}}});
            api.add(template);
        }
        asked == 0
    });
    let objects = OBJECTS.replace("resourceClaimTemplateName: t}", "resourceClaimTemplateName: later}");
    check_facts(
        &Scene { objects, ..late },
        &expect![[r#"
        claim for "gpu": allocated false, used by [], null
        claim for "net": allocated false, used by [], null
        claim for null: allocated true, used by ["p"], ["resource.kubernetes.io/delete-protection"]
        pod knows "gpu": true
        pod knows "net": true
    "#]],
    );
}

/// The scheduler makes it, and only the pod's status says so.
#[test]
fn a_claim_for_extended_resources_goes_with_its_pod() {
    const OBJECTS: &str = "
kind: Pod
metadata: {name: p, namespace: n, uid: p}
spec: {nodeName: one, containers: [{name: c}]}
status: {extendedResourceClaimStatus: {resourceClaimName: special, requestMappings: [{containerName: c, resourceName: example.com/gpu, requestName: r}]}}
---
kind: ResourceClaim
metadata: {name: special, namespace: n, uid: special, finalizers: [resource.kubernetes.io/delete-protection], annotations: {resource.kubernetes.io/extended-resource-claim: 'true'}, ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: p, controller: true}]}
spec: {}
status: {allocation: {}, reservedFor: [{resource: pods, name: p, uid: p}]}
";
    let runs = Scene { objects: OBJECTS.to_owned(), ..scene(|_, _| false) };
    check_facts(
        &runs,
        &expect![[r#"
            claim for null: allocated true, used by ["p"], ["resource.kubernetes.io/delete-protection"]
        "#]],
    );
    let ended = scene(|api, asked| asked == 0 && api.change("Pod", |pod| pod["status"]["phase"] = json!("Succeeded")));
    check_facts(&Scene { objects: OBJECTS.to_owned(), ..ended }, &expect![[""]]);
}
