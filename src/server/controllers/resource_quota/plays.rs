//! What is used of quotas, reckoned by leaders that die while objects come and go.

use crate::common::{
    fake::FakeApi,
    succession::{Scene, check_facts, with_inventory},
};
use expect_test::expect;
use serde_json::json;

const OBJECTS: &str = "
kind: ResourceQuota
metadata: {name: q, namespace: n}
spec: {hard: {pods: \"3\", requests.cpu: \"1\", count/widgets.example.com: \"2\", count/configmaps: \"1\", services: \"1\"}}
---
kind: ResourceQuota
metadata: {name: ending, namespace: n}
spec: {hard: {pods: \"1\"}, scopes: [Terminating]}
---
kind: Pod
metadata: {name: a, namespace: n}
spec: {containers: [{name: c, resources: {requests: {cpu: 300m}}}]}
---
kind: Pod
metadata: {name: b, namespace: n}
spec: {activeDeadlineSeconds: 5, containers: [{name: c, resources: {requests: {cpu: 300m}}}]}
---
kind: Widget
metadata: {name: w, namespace: n}
---
kind: ConfigMap
";

fn facts(api: &FakeApi) -> String {
    let quotas = api.all("ResourceQuota");
    quotas.iter().map(|quota| format!("{} of {}\n", quota["status"]["used"], quota["status"]["hard"])).collect()
}

#[test]
fn a_leader_that_dies_changes_nothing() {
    let scene = Scene {
        others: |api, asked| match asked {
            0 => {
                api.add(json!({"kind": "Widget", "metadata": {"name": "v", "namespace": "n"}}));
                api.add(json!({"kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}}));
                api.delete("Pod", &json!({"gracePeriodSeconds": 0}), |pod| pod["metadata"]["name"] == "a")
            }
            1 => api.change("Pod", |pod| pod["status"]["phase"] = json!("Failed")),
            2 => api.change("ResourceQuota", |quota| quota["spec"]["hard"]["pods"] = json!("7")),
            _ => false,
        },
        facts,
        ..Scene::new(|ctx| Box::pin(with_inventory(ctx, super::prepare)), OBJECTS)
    };
    check_facts(
        &scene,
        &expect![[r#"
        {"pods":"0"} of {"pods":"7"}
        {"count/configmaps":"1","count/widgets.example.com":"2","pods":"0","requests.cpu":"0","services":"0"} of {"count/configmaps":"1","count/widgets.example.com":"2","pods":"7","requests.cpu":"1","services":"1"}
    "#]],
    );
}

const DEVICES: &str = "
kind: ResourceQuota
metadata: {name: q, namespace: n}
spec: {hard: {requests.example.com/gpu: \"9\", requests.deviceclass.resource.kubernetes.io/gpu: \"9\"}}
---
kind: ResourceQuota
metadata: {name: other, namespace: n}
spec: {hard: {gpu.deviceclass.resource.k8s.io/devices: \"9\"}}
---
kind: DeviceClass
metadata: {name: gpu}
spec: {}
---
kind: Pod
metadata: {name: p, namespace: n, uid: u}
spec: {containers: [{name: c, resources: {requests: {example.com/gpu: \"2\"}}}]}
---
kind: ResourceClaim
metadata:
  name: made
  namespace: n
  annotations: {resource.kubernetes.io/extended-resource-claim: \"true\"}
  ownerReferences: [{apiVersion: v1, kind: Pod, name: p, uid: u, controller: true}]
spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu, allocationMode: ExactCount, count: 1}}]}}
---
kind: ResourceClaim
metadata: {name: own, namespace: n}
spec: {devices: {requests: [{name: r, exactly: {deviceClassName: gpu, allocationMode: ExactCount, count: 4}}]}}
";

#[test]
fn a_class_says_late_what_it_stands_behind() {
    let scene = Scene {
        others: |api, asked| {
            asked == 0
                && api.change("DeviceClass", |class| class["spec"] = json!({"extendedResourceName": "example.com/gpu"}))
        },
        facts,
        ..Scene::new(|ctx| Box::pin(with_inventory(ctx, super::prepare)), DEVICES)
    };
    // The pod counts for two, the claim that was made for it for nothing more, and the other one for four.
    check_facts(
        &scene,
        &expect![[r#"
        {"gpu.deviceclass.resource.k8s.io/devices":"5"} of {"gpu.deviceclass.resource.k8s.io/devices":"9"}
        {"requests.deviceclass.resource.kubernetes.io/gpu":"5","requests.example.com/gpu":"6"} of {"requests.deviceclass.resource.kubernetes.io/gpu":"9","requests.example.com/gpu":"9"}
    "#]],
    );
}
