//! Lists and watches.

use super::*;
use crate::registry::BY_NODE;
use mk8s_store::Index;

#[tokio::test]
async fn lists_are_paged_from_one_root() {
    let api = Api::new().await;
    for n in 0..7 {
        api.config_map(&format!("c{n}"), "1").await;
    }
    let (_, first) = api.get(&format!("{CONFIG_MAPS}?limit=3")).await;
    assert_eq!((names(&first), &first["metadata"]["remainingItemCount"]), (vec!["c0", "c1", "c2"], &json!(4)));
    api.delete(&format!("{CONFIG_MAPS}/c4")).await;
    api.config_map("c9", "1").await;
    let token = first["metadata"]["continue"].as_str().expect("more to come").to_string();
    let (_, second) = api.get(&format!("{CONFIG_MAPS}?limit=3&continue={token}")).await;
    assert_eq!(
        (names(&second), &second["metadata"]["resourceVersion"]),
        (vec!["c3", "c4", "c5"], &first["metadata"]["resourceVersion"])
    );
    let token = second["metadata"]["continue"].as_str().expect("more to come").to_string();
    let (_, third) = api.get(&format!("{CONFIG_MAPS}?limit=3&continue={token}")).await;
    assert_eq!((names(&third), third["metadata"].get("continue")), (vec!["c6"], None));
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let (_, exact) = api.get(&format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=Exact")).await;
    assert_eq!(names(&exact).len(), 7);
    let (_, newest) =
        api.get(&format!("{CONFIG_MAPS}?resourceVersion={version}&resourceVersionMatch=NotOlderThan")).await;
    assert_eq!(names(&newest), ["c0", "c1", "c2", "c3", "c5", "c6", "c9"]);
}

#[tokio::test]
async fn lists_are_selected() {
    let api = Api::new().await;
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "1")] {
        api.config_map(name, value).await;
    }
    let cases = [
        ("labelSelector=v%3D1", vec!["a", "c"]),
        ("labelSelector=v!%3D1", vec!["b"]),
        ("labelSelector=v%20in%20(1,2)&limit=2", vec!["a", "b"]),
        ("fieldSelector=metadata.name%3Db", vec!["b"]),
        ("fieldSelector=metadata.name!%3Db", vec!["a", "c"]),
        ("fieldSelector=metadata.name%3Db&labelSelector=v%3D1", vec![]),
        ("fieldSelector=metadata.namespace%3Ddefault", vec!["a", "b", "c"]),
    ];
    for (query, expected) in cases {
        for path in [CONFIG_MAPS, "/api/v1/configmaps"] {
            let (code, list) = api.get(&format!("{path}?{query}")).await;
            assert_eq!((code, names(&list)), (200, expected.clone()), "{path}?{query}");
        }
    }
}

/// What a client sees of the pods of nodes: listed, paged and watched.
async fn seen_of_nodes(index: Option<Index>) -> Vec<String> {
    const PODS: &str = "/api/v1/namespaces/default/pods";
    let api =
        Api::over(Store::open(mk8s_store::Options { index, ..Default::default() }).await.expect("memory opens")).await;
    let other = api.post("/api/v1/namespaces", json!({"metadata": {"name": "another"}})).await;
    assert_eq!(other.0, 201, "{}", other.1);
    for namespace in ["default", "another"] {
        let accounts = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        assert_eq!(api.post(&accounts, json!({"metadata": {"name": "default"}})).await.0, 201);
    }
    let pod = |name: &str, node: &str| {
        let labels = json!({"app": name[..1]});
        let spec = json!({"nodeName": node, "containers": [{"name": "c", "image": "i"}]});
        json!({"metadata": {"name": name, "labels": labels}, "spec": spec})
    };
    for (namespace, name, node) in
        [("default", "a1", "n1"), ("default", "a2", "n2"), ("default", "b1", "n1"), ("another", "a3", "n1")]
    {
        let made = api.post(&format!("/api/v1/namespaces/{namespace}/pods"), pod(name, node)).await;
        assert_eq!(made.0, 201, "{}", made.1);
    }
    let waiting = json!({"metadata": {"name": "c1"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(api.post(PODS, waiting).await.0, 201);
    let mut seen = Vec::new();
    for selector in [
        "fieldSelector=spec.nodeName%3Dn1",
        "fieldSelector=spec.nodeName%3Dn1,metadata.name!%3Da1",
        "fieldSelector=spec.nodeName%3Dn1&labelSelector=app%3Da",
        "fieldSelector=spec.nodeName%3Dn1,spec.nodeName%3Dn2",
        "fieldSelector=spec.nodeName!%3Dn1",
        "fieldSelector=spec.nodeName%3D",
        "fieldSelector=spec.nodeName%3Dnone",
    ] {
        for path in [PODS, "/api/v1/pods"] {
            let (_, whole) = api.get(&format!("{path}?{selector}")).await;
            let (_, page) = api.get(&format!("{path}?{selector}&limit=1")).await;
            let token = page["metadata"]["continue"].as_str().unwrap_or_default();
            let rest = match token {
                "" => json!({"items": []}),
                token => api.get(&format!("{path}?{selector}&limit=9&continue={token}")).await.1,
            };
            let paged = [names(&page), names(&rest)].concat();
            assert_eq!(names(&whole), paged, "{path}?{selector}");
            seen.push(names(&whole).join(" "));
        }
    }
    let watch = |query: &str| format!("{PODS}?watch=1&{query}");
    let mut first = Lines::new(api.raw("GET", &watch("fieldSelector=spec.nodeName%3Dn1"), &[], "").await);
    let mut third = Lines::new(api.raw("GET", &watch("fieldSelector=spec.nodeName%3Dn3"), &[], "").await);
    let binding = json!({"metadata": {"name": "c1"}, "target": {"name": "n3"}});
    assert_eq!(api.post(&format!("{PODS}/c1/binding"), binding).await.0, 201);
    let merge = [("content-type", "application/merge-patch+json")];
    api.send("PATCH", &format!("{PODS}/c1"), &merge, json!({"metadata": {"labels": {"v": "1"}}})).await;
    for name in ["b1", "c1"] {
        api.send("DELETE", &format!("{PODS}/{name}"), &[], json!({"gracePeriodSeconds": 0})).await;
    }
    for lines in [&mut first, &mut third] {
        for _ in 0..4 {
            seen.push(lines.change().await);
        }
    }
    seen
}

#[tokio::test]
async fn the_pods_of_a_node_are_found_with_an_index_as_without() {
    let found = seen_of_nodes(Some(BY_NODE)).await;
    assert_eq!(found, seen_of_nodes(None).await);
    let expected = [
        "a1 b1",
        "a3 a1 b1",
        "b1",
        "a3 b1",
        "a1",
        "a3 a1",
        "",
        "",
        "a2 c1",
        "a2 c1",
        "c1",
        "c1",
        "",
        "",
        "ADDED a1 -",
        "ADDED b1 -",
        "MODIFIED b1 -",
        "DELETED b1 -",
        "ADDED c1 -",
        "MODIFIED c1 -",
        "MODIFIED c1 -",
        "DELETED c1 -",
    ];
    assert_eq!(found, expected);
}

#[tokio::test]
async fn watches_show_what_happens() {
    let api = Api::new().await;
    let first = api.config_map("a", "1").await;
    let version = first["metadata"]["resourceVersion"].as_str().expect("a version");
    let mut all =
        Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"), &[], "").await);
    let mut from_zero = Lines::new(api.raw("GET", "/api/v1/configmaps?watch=true", &[], "").await);
    let mut selected = Lines::new(
        api.raw("GET", &format!("{CONFIG_MAPS}?watch=1&labelSelector=v%3D2&resourceVersion={version}"), &[], "").await,
    );
    let mut single = Lines::new(
        api.raw(
            "GET",
            &format!("{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Da&resourceVersion={version}"),
            &[],
            "",
        )
        .await,
    );
    let merge = [("content-type", "application/merge-patch+json")];
    let patch = |v: &str| json!({"metadata": {"labels": {"v": v}}, "data": {"k": v}});
    api.config_map("ab", "2").await;
    api.send("PATCH", &format!("{CONFIG_MAPS}/a"), &merge, patch("2")).await;
    api.send("PATCH", &format!("{CONFIG_MAPS}/a"), &merge, patch("3")).await;
    api.delete(&format!("{CONFIG_MAPS}/a")).await;
    for expected in ["ADDED ab 2", "MODIFIED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(all.change().await, expected);
    }
    for expected in ["ADDED a 1", "ADDED ab 2", "MODIFIED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(from_zero.change().await, expected);
    }
    for expected in ["ADDED ab 2", "ADDED a 2", "DELETED a 2"] {
        assert_eq!(selected.change().await, expected);
    }
    for expected in ["MODIFIED a 2", "MODIFIED a 3", "DELETED a 3"] {
        assert_eq!(single.change().await, expected);
    }
}

#[tokio::test]
async fn a_deleted_object_shows_the_version_of_its_deletion() {
    let api = Api::new().await;
    let made = api.config_map("a", "1").await;
    let version: u64 = made["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).expect("a version");
    let mut lines =
        Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?watch=1&resourceVersion={version}"), &[], "").await);
    api.delete(&format!("{CONFIG_MAPS}/a")).await;
    let event = lines.next().await.expect("a change");
    assert_eq!(event["object"]["metadata"]["resourceVersion"], json!((version + 1).to_string()));
}

#[tokio::test]
async fn a_streamed_list_ends_with_a_bookmark() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut lines = Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?{query}"), &[], "").await);
    assert_eq!(lines.change().await, "ADDED a 1");
    let bookmark = lines.next().await.expect("a bookmark");
    assert_eq!((&bookmark["type"], &bookmark["object"]["kind"]), (&json!("BOOKMARK"), &json!("ConfigMap")));
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    api.config_map("b", "2").await;
    assert_eq!(lines.change().await, "ADDED b 2");
}

#[tokio::test]
async fn watches_end() {
    let api = Api::new().await;
    let mut over = Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?watch=1&timeoutSeconds=0"), &[], "").await);
    assert_eq!(over.next().await, None);
}

#[tokio::test]
async fn other_forms_of_an_answer() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let accept = |value: &'static str| [("accept", value)];
    let (_, table) = api
        .send("GET", CONFIG_MAPS, &accept("application/json;as=Table;v=v1;g=meta.k8s.io,application/json"), Value::Null)
        .await;
    assert_eq!((&table["kind"], &table["rows"][0]["cells"][0]), (&json!("Table"), &json!("a")));
    let (_, metadata) = api
        .send(
            "GET",
            CONFIG_MAPS,
            &accept("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
            Value::Null,
        )
        .await;
    assert_eq!((&metadata["kind"], metadata["items"][0].get("data")), (&json!("PartialObjectMetadataList"), None));
    let (_, yaml) = api.send("GET", &format!("{CONFIG_MAPS}/a"), &accept("application/yaml"), Value::Null).await;
    assert!(yaml.as_str().is_some_and(|text| text.starts_with("apiVersion: v1\n")), "{yaml}");
    let yaml = "metadata:\n  name: y\ndata:\n  k: v\n";
    let (code, made) = read(api.raw("POST", CONFIG_MAPS, &[("content-type", "application/yaml")], yaml).await).await;
    assert_eq!((code, &made["data"]["k"]), (201, &json!("v")));
}
