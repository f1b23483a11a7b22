//! `metrics.k8s.io`: what is said about nodes and pods that were measured.

use expect_test::expect;

use super::*;
use crate::usage::Summary;

const API: &str = "/apis/metrics.k8s.io/v1beta1";
const TABLE: (&str, &str) = ("accept", "application/json;as=Table;v=v1;g=meta.k8s.io");

/// A node `n` with the running pods `a` and `b`, of which `a` has been measured twice.
async fn api() -> Api {
    let api = Api::new().await;
    api.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    let (code, made) = api.post("/api/v1/nodes", json!({"metadata": {"name": "n", "labels": {"zone": "z"}}})).await;
    assert_eq!(code, 201, "{made}");
    let mut uids = Vec::new();
    for name in ["a", "b"] {
        let path = "/api/v1/namespaces/default/pods";
        let pod = json!({"metadata": {"name": name, "labels": {"app": name}},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
        let (code, mut made) = api.post(path, pod).await;
        assert_eq!(code, 201, "{made}");
        uids.push(made["metadata"]["uid"].clone());
        made["status"] = json!({"phase": "Running"});
        let (code, done) = api.put(&format!("{path}/{name}/status"), made).await;
        assert_eq!(code, 200, "{done}");
    }
    for (time, cpu) in [("2024-01-01T00:00:00.5Z", 1_000_000_000_u64), ("2024-01-01T00:00:20.5Z", 3_000_000_000)] {
        let figures = |factor: u64| json!({"cpu": {"time": time, "usageCoreNanoSeconds": cpu * factor}, "memory": {"workingSetBytes": (1 << 20) * factor}});
        let mut container = figures(1);
        container["name"] = json!("c");
        let pods =
            [json!({"podRef": {"name": "a", "namespace": "default", "uid": uids[0]}, "containers": [container]})];
        let summary = json!({"node": figures(3), "pods": pods});
        api.router.usage().note("n", &serde_json::from_value::<Summary>(summary).expect("a summary"));
    }
    api
}

/// Without the time of the answer.
fn timeless(mut value: Value) -> String {
    for object in std::iter::once(&mut value["metadata"]).filter(|metadata| metadata.is_object()) {
        for field in ["creationTimestamp", "resourceVersion"] {
            object.as_object_mut().expect("an object").remove(field);
        }
    }
    for item in value.get_mut("items").and_then(Value::as_array_mut).into_iter().flatten() {
        item["metadata"].as_object_mut().expect("metadata").remove("creationTimestamp");
    }
    value.to_string()
}

#[tokio::test]
async fn nodes_and_pods_say_what_they_use() {
    let api = api().await;
    let (code, node) = api.get(&format!("{API}/nodes/n")).await;
    assert_eq!(code, 200, "{node}");
    expect![[r#"{"apiVersion":"metrics.k8s.io/v1beta1","kind":"NodeMetrics","metadata":{"labels":{"zone":"z"},"name":"n"},"timestamp":"2024-01-01T00:00:20Z","usage":{"cpu":"300m","memory":"3Mi"},"window":"20s"}"#]].assert_eq(&timeless(node));
    let (_, pods) = api.get(&format!("{API}/pods")).await;
    expect![[r#"{"apiVersion":"metrics.k8s.io/v1beta1","items":[{"containers":[{"name":"c","usage":{"cpu":"100m","memory":"1Mi"}}],"metadata":{"labels":{"app":"a"},"name":"a","namespace":"default"},"timestamp":"2024-01-01T00:00:20Z","window":"20s"}],"kind":"PodMetricsList","metadata":{}}"#]].assert_eq(&timeless(pods));
    let (_, pod) = api.get(&format!("{API}/namespaces/default/pods/a")).await;
    expect![[r#"{"apiVersion":"metrics.k8s.io/v1beta1","containers":[{"name":"c","usage":{"cpu":"100m","memory":"1Mi"}}],"kind":"PodMetrics","metadata":{"labels":{"app":"a"},"name":"a","namespace":"default"},"timestamp":"2024-01-01T00:00:20Z","window":"20s"}"#]].assert_eq(&timeless(pod));
}

#[tokio::test]
async fn what_is_not_measured_is_not_found() {
    let api = api().await;
    for (path, message) in [
        ("nodes/m", r#"nodes.metrics.k8s.io "m" not found"#),
        ("namespaces/default/pods/b", r#"pods.metrics.k8s.io "default/b" not found"#),
        ("namespaces/default/pods/c", r#"pods.metrics.k8s.io "default/c" not found"#),
    ] {
        let (code, said) = api.get(&format!("{API}/{path}")).await;
        assert_eq!((code, said["message"].as_str()), (404, Some(message)));
    }
    assert_eq!(api.delete(&format!("{API}/nodes/n")).await.0, 405);
    assert_eq!(api.post(&format!("{API}/nodes"), json!({})).await.0, 405);
    assert_eq!(api.get(&format!("{API}/nodes?watch=true")).await.0, 405);
}

#[tokio::test]
async fn selectors_are_those_of_what_is_measured() {
    let api = api().await;
    for (query, expected) in [
        ("namespaces/default/pods?labelSelector=app%3Da", &["a"][..]),
        ("pods?labelSelector=app%3Db", &[]),
        ("pods?fieldSelector=metadata.name%3Da", &["a"]),
        ("pods?fieldSelector=metadata.namespace%3Dother", &[]),
        ("namespaces/other/pods", &[]),
        ("nodes?labelSelector=zone%3Dz", &["n"]),
        ("nodes?labelSelector=zone%3Dy", &[]),
    ] {
        let (code, list) = api.get(&format!("{API}/{query}")).await;
        assert_eq!((code, names(&list).as_slice()), (200, expected), "{query}");
    }
}

#[tokio::test]
async fn other_forms() {
    let api = api().await;
    let (code, table) = api.send("GET", &format!("{API}/namespaces/default/pods"), &[TABLE], Value::Null).await;
    assert_eq!(code, 200, "{table}");
    let columns: Vec<&str> =
        table["columnDefinitions"].as_array().expect("columns").iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(columns, ["Name", "cpu", "memory", "Window"]);
    assert_eq!(table["rows"][0]["cells"], json!(["a", "100m", "1Mi", "20s"]));
    for path in ["nodes", "pods", "nodes/n"] {
        let accept = [("accept", "application/vnd.kubernetes.protobuf")];
        let answer = api.raw("GET", &format!("{API}/{path}"), &accept, Bytes::new()).await;
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/vnd.kubernetes.protobuf");
        let bytes = answer.into_body().collect().await.expect("memory").to_bytes();
        assert!(bytes.starts_with(b"k8s\0") && bytes.windows(4).any(|window| window == b"300m" || window == b"100m"));
    }
}

#[tokio::test]
async fn discovery_tells_of_it() {
    let api = Api::new().await;
    let (_, list) = api.get(API).await;
    let shown: Vec<String> = list["resources"]
        .as_array()
        .expect("resources")
        .iter()
        .map(|one| format!("{} {} {}", one["name"], one["kind"], one["verbs"]))
        .collect();
    expect![[r#"
        "nodes" "NodeMetrics" ["get","list"]
        "pods" "PodMetrics" ["get","list"]"#]]
    .assert_eq(&shown.join("\n"));
    let (_, document) = api.get("/openapi/v3/apis/metrics.k8s.io/v1beta1").await;
    let kind = &document["components"]["schemas"]["io.k8s.metrics.pkg.apis.metrics.v1beta1.PodMetrics"];
    assert_eq!(kind["required"], json!(["timestamp", "window", "containers"]));
}
