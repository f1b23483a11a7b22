//! Patches, and managers of fields.

use super::*;

#[tokio::test]
async fn patches_of_all_kinds() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let path = format!("{CONFIG_MAPS}/a");
    let cases = [
        ("application/merge-patch+json", json!({"data": {"m": "1"}})),
        ("application/strategic-merge-patch+json", json!({"data": {"s": "1", "k": null}})),
        ("application/json-patch+json", json!([{"op": "add", "path": "/data/j", "value": "1"}])),
    ];
    for (content_type, body) in cases {
        let (code, answer) = api.send("PATCH", &path, &[("content-type", content_type)], body).await;
        assert_eq!(code, 200, "{answer}");
    }
    let (_, patched) = api.get(&path).await;
    assert_eq!(patched["data"], json!({"m": "1", "s": "1", "j": "1"}));
    let stale = json!({"metadata": {"resourceVersion": "1"}, "data": {"x": "y"}});
    let (code, _) = api.send("PATCH", &path, &[("content-type", "application/merge-patch+json")], stale).await;
    assert_eq!(code, 409);
    let failing = json!([{"op": "test", "path": "/data/j", "value": "2"}]);
    let (code, _) = api.send("PATCH", &path, &[("content-type", "application/json-patch+json")], failing).await;
    assert_eq!(code, 422);
}

#[tokio::test]
async fn managers_apply_what_they_want() {
    let api = Api::new().await;
    let apply = async |manager: &str, data: Value| {
        let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data});
        let (path, force) = manager.split_once('!').map_or((manager, ""), |(name, _)| (name, "&force=true"));
        let path = format!("{CONFIG_MAPS}/a?fieldManager={path}{force}");
        api.send("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], body).await
    };
    let (code, made) = apply("one", json!({"x": "1", "y": "1"})).await;
    assert_eq!(
        (code, &made["metadata"]["managedFields"][0]["fieldsV1"]),
        (201, &json!({"f:data": {"f:x": {}, "f:y": {}}})),
        "{made}"
    );
    let (code, same) = apply("one", json!({"x": "1", "y": "1"})).await;
    assert_eq!((code, &same["metadata"]["resourceVersion"]), (200, &made["metadata"]["resourceVersion"]));
    let (code, joined) = apply("two", json!({"x": "1", "z": "1"})).await;
    assert_eq!((code, &joined["data"]), (200, &json!({"x": "1", "y": "1", "z": "1"})));
    let (code, refused) = apply("two", json!({"x": "2", "z": "1"})).await;
    assert_eq!(
        (code, &refused["message"]),
        (409, &json!("Apply failed with 1 conflict: conflict with \"one\": .data.x"))
    );
    let (code, forced) = apply("two!", json!({"x": "2"})).await;
    assert_eq!((code, &forced["data"]), (200, &json!({"x": "2", "y": "1"})), "{forced}");
    let (_, left) = apply("one", json!({})).await;
    assert_eq!(left["data"], json!({"x": "2"}));
    let nobody = api
        .send(
            "PATCH",
            &format!("{CONFIG_MAPS}/a"),
            &[("content-type", "application/apply-patch+yaml")],
            json!({"apiVersion": "v1", "kind": "ConfigMap"}),
        )
        .await;
    assert_eq!(nobody.0, 422);
}

#[tokio::test]
async fn applied_texts_of_a_secret_become_its_data() {
    let api = Api::new().await;
    let path = "/api/v1/namespaces/default/secrets/a?fieldManager=one";
    for (text, code, data) in [("hello", 201, "aGVsbG8="), ("there", 200, "dGhlcmU=")] {
        let body = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "stringData": {"k": text}});
        let (answered, secret) =
            api.send("PATCH", path, &[("content-type", "application/apply-patch+yaml")], body).await;
        assert_eq!((answered, &secret["data"]), (code, &json!({"k": data})), "{secret}");
    }
}

#[tokio::test]
async fn racing_patches_all_take_place() {
    let api = Arc::new(Api::new().await);
    api.config_map("a", "1").await;
    let patches = (0..20).map(|n| {
        let api = api.clone();
        async move {
            let body = json!({"data": {format!("k{n}"): "x"}});
            api.send("PATCH", &format!("{CONFIG_MAPS}/a"), &[("content-type", "application/merge-patch+json")], body)
                .await
                .0
        }
    });
    assert!(futures::future::join_all(patches).await.into_iter().all(|code| code == 200));
    let (_, patched) = api.get(&format!("{CONFIG_MAPS}/a")).await;
    assert_eq!(patched["data"].as_object().map(serde_json::Map::len), Some(21));
}
