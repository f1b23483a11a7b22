//! What single kinds do.

use super::*;

#[tokio::test]
async fn events_are_seen_through_both_of_their_groups() {
    let api = Api::new().await;
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R", "message": "M", "type": "Normal"});
    let (code, made) = api.post("/api/v1/namespaces/default/events", event).await;
    assert_eq!(code, 201, "{made}");
    let (_, list) = api.get("/apis/events.k8s.io/v1/namespaces/default/events").await;
    let shown = &list["items"][0];
    assert_eq!(
        (&list["apiVersion"], &shown["note"], &shown["regarding"]["name"]),
        (&json!("events.k8s.io/v1"), &json!("M"), &json!("p"))
    );
    let (_, selected) = api.get("/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp").await;
    assert_eq!(names(&selected), ["e"]);
}

#[tokio::test]
async fn services_get_addresses() {
    let api = Api::new().await;
    let services = "/api/v1/namespaces/default/services";
    let service = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec});
    let ports = json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]);
    let (code, made) =
        api.post(services, service("a", json!({"type": "NodePort", "ports": ports, "selector": {"a": "b"}}))).await;
    assert_eq!(code, 201, "{made}");
    let ip = made["spec"]["clusterIP"].as_str().unwrap_or_default().to_string();
    assert!(ip.starts_with("10.43."), "{made}");
    let (code, refused) = api.post(services, service("b", json!({"clusterIP": ip, "ports": ports}))).await;
    assert_eq!(code, 422, "{refused}");
    let (code, _) = api.post(&format!("{services}?dryRun=All"), service("c", json!({"ports": ports}))).await;
    assert_eq!(code, 201);
    api.delete(&format!("{services}/a")).await;
    let (code, again) = api.post(services, service("b", json!({"clusterIP": ip, "ports": ports}))).await;
    assert_eq!(code, 201, "{again}");
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let api = Api::new().await;
    let put = |name: &str, finalizers: Value| json!({"metadata": {"name": name}, "spec": {"finalizers": finalizers}});
    let (code, made) = api.post("/api/v1/namespaces", put("x", json!(["kubernetes"]))).await;
    assert_eq!(code, 201, "{made}");
    let (code, marked) = api.delete("/api/v1/namespaces/x").await;
    assert_eq!((code, &marked["status"]["phase"]), (200, &json!("Terminating")), "{marked}");
    let (code, again) = api.delete("/api/v1/namespaces/x").await;
    assert_eq!((code, &again["metadata"]["resourceVersion"]), (200, &marked["metadata"]["resourceVersion"]));
    let (code, gone) = api.put("/api/v1/namespaces/x/finalize", put("x", json!([]))).await;
    assert_eq!(code, 200, "{gone}");
    assert_eq!(api.get("/api/v1/namespaces/x").await.0, 404);
}

#[tokio::test]
async fn autoscalers_are_written_and_read_in_both_versions() {
    let api = Api::new().await;
    let (old, new) = (
        "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    );
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let (_, before) = api.get(new).await;
    let version = before["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut seen_old = Lines::new(api.raw("GET", &format!("{old}?watch=1&resourceVersion={version}"), &[], "").await);
    let mut seen_new = Lines::new(api.raw("GET", &format!("{new}?watch=1&resourceVersion={version}"), &[], "").await);
    let spec = json!({"scaleTargetRef": target, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50});
    let (code, made) = api.post(old, json!({"metadata": {"name": "h"}, "spec": spec})).await;
    assert_eq!((code, &made["apiVersion"]), (201, &json!("autoscaling/v1")), "{made}");
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 50);
    let (_, shown) = api.get(&format!("{new}/h")).await;
    let cpu = |percent| json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}]);
    assert_eq!((&shown["apiVersion"], &shown["spec"]["metrics"]), (&json!("autoscaling/v2"), &cpu(50)));
    // A metric that the old version has no field for travels in an annotation of it.
    let metrics = json!([cpu(50)[0], {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "5"}}}]);
    let merge = [("content-type", "application/merge-patch+json")];
    let (code, both) = api.send("PATCH", &format!("{new}/h"), &merge, json!({"spec": {"metrics": metrics}})).await;
    assert_eq!((code, both["spec"]["metrics"].as_array().map(Vec::len)), (200, Some(2)), "{both}");
    let (code, dry) =
        api.send("PATCH", &format!("{old}/h?dryRun=All"), &merge, json!({"spec": {"maxReplicas": 9}})).await;
    assert_eq!((code, &dry["spec"]["maxReplicas"]), (200, &json!(9)), "{dry}");
    assert!(dry["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"].is_string(), "{dry}");
    let (code, patched) =
        api.send("PATCH", &format!("{old}/h"), &merge, json!({"spec": {"targetCPUUtilizationPercentage": 70}})).await;
    assert_eq!((code, &patched["apiVersion"]), (200, &json!("autoscaling/v1")), "{patched}");
    let (_, list) = api.get(new).await;
    let shown = list["items"][0]["spec"]["metrics"].as_array().cloned().unwrap_or_default();
    assert!(shown.contains(&metrics[1]) && shown.contains(&cpu(70)[0]), "{shown:?}");
    let (code, put) = api.put(&format!("{old}/h"), patched).await;
    assert_eq!(code, 200, "{put}");
    assert_eq!(api.get(&format!("{new}/h")).await.1["spec"]["metrics"], json!(shown));
    api.delete(&format!("{old}/h")).await;
    for (lines, api_version) in [(&mut seen_old, "autoscaling/v1"), (&mut seen_new, "autoscaling/v2")] {
        for kind in ["ADDED", "MODIFIED", "MODIFIED", "DELETED"] {
            let event = lines.next().await.expect("a change");
            assert_eq!(
                (&event["type"], &event["object"]["apiVersion"]),
                (&json!(kind), &json!(api_version)),
                "{event}"
            );
        }
    }
}

#[tokio::test]
async fn events_of_the_newer_group_are_stored_as_core_events() {
    let api = Api::new().await;
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({"metadata": {"name": "e"}, "eventTime": "2026-01-01T00:00:00.000000Z", "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "R", "action": "A", "note": "N", "type": "Normal", "reportingController": "example.com/c", "reportingInstance": "c-1"});
    let (code, dry) = api.post(&format!("{path}?dryRun=All"), event.clone()).await;
    assert_eq!((code, &dry["note"], &dry["regarding"]["name"]), (201, &json!("N"), &json!("p")), "{dry}");
    let (code, made) = api.post(path, event).await;
    assert_eq!((code, &made["apiVersion"], &made["note"]), (201, &json!("events.k8s.io/v1"), &json!("N")), "{made}");
    let core = "/api/v1/namespaces/default/events";
    let (_, shown) = api.get(&format!("{core}/e")).await;
    assert_eq!(
        (&shown["apiVersion"], &shown["message"], &shown["involvedObject"]["name"], &shown["reportingComponent"]),
        (&json!("v1"), &json!("N"), &json!("p"), &json!("example.com/c"))
    );
    for (path, field) in [(path, "regarding.name"), (path, "reportingController"), (core, "involvedObject.name")] {
        let value = if field == "reportingController" { "example.com/c" } else { "p" };
        let (code, list) = api.get(&format!("{path}?fieldSelector={field}%3D{value}")).await;
        assert_eq!((code, names(&list)), (200, vec!["e"]), "{field}");
    }
    let merge = [("content-type", "application/merge-patch+json")];
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}});
    let (code, patched) = api.send("PATCH", &format!("{path}/e"), &merge, series).await;
    assert_eq!((code, &patched["series"]["count"], &patched["note"]), (200, &json!(2), &json!("N")), "{patched}");
    let (code, _) = api.send("PATCH", &format!("{path}/e"), &merge, json!({"note": "M"})).await;
    assert_eq!(code, 422);
}
