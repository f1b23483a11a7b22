//! Who is noted as the owner of what, on all ways of writing.

use super::*;

const APPLY: [(&str, &str); 1] = [("content-type", "application/apply-patch+yaml")];
const MERGE: [(&str, &str); 1] = [("content-type", "application/merge-patch+json")];
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// `manager operation subresource version fields` of each entry; no subresource is `-`.
fn managers(object: &Value) -> Vec<String> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_string();
    let shown = |entry: &Value| {
        let words = ["manager", "operation", "subresource", "apiVersion"].map(|field| text(&entry[field]));
        format!("{} {}", words.join(" "), entry["fieldsV1"])
    };
    entries.iter().map(shown).collect()
}

fn deployment(spec: Value) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    for (field, value) in spec.as_object().into_iter().flatten() {
        object["spec"][field] = value.clone();
    }
    object
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data})
}

#[tokio::test]
async fn whoever_writes_is_noted() {
    let api = Api::new().await;
    let agent = [("user-agent", "curl/8.0"), ("content-type", "application/json")];
    let (_, made) = api.send("POST", CONFIG_MAPS, &agent, config_map(json!({"k": "1"}))).await;
    assert_eq!(managers(&made), [r#"curl Update - v1 {"f:data":{".":{},"f:k":{}}}"#]);
    assert_eq!(made["metadata"]["managedFields"][0]["fieldsType"], "FieldsV1");
    assert_eq!(made["metadata"]["managedFields"][0]["time"], made["metadata"]["creationTimestamp"]);
    let path = format!("{CONFIG_MAPS}/a");
    let (_, patched) =
        api.send("PATCH", &format!("{path}?fieldManager=m"), &MERGE, json!({"data": {"k": "2", "l": "1"}})).await;
    assert_eq!(
        managers(&patched),
        [r#"curl Update - v1 {"f:data":{}}"#, r#"m Update - v1 {"f:data":{"f:k":{},"f:l":{}}}"#]
    );
    // What changes nothing is no write.
    let (_, same) = api.send("PATCH", &path, &MERGE, json!({"data": {"k": "2"}})).await;
    assert_eq!(same, patched);
    let (_, put) = api.send("PUT", &path, &agent, patched.clone()).await;
    assert_eq!(put, patched);
    // A client that knows nothing of managers does not lose them.
    let (_, put) = api.send("PUT", &path, &agent, config_map(json!({"k": "3"}))).await;
    assert_eq!(managers(&put), [r#"curl Update - v1 {"f:data":{".":{},"f:k":{}}}"#]);
    let (_, nobody) = api.post(CONFIG_MAPS, json!({"metadata": {"name": "b"}, "data": {"k": "1"}})).await;
    assert_eq!(managers(&nobody), [r#"unknown Update - v1 {"f:data":{".":{},"f:k":{}}}"#]);
    let (_, dry) = api
        .post(
            &format!("{CONFIG_MAPS}?dryRun=All&fieldManager=dry"),
            json!({"metadata": {"name": "c"}, "data": {"k": "1"}}),
        )
        .await;
    assert_eq!(managers(&dry), [r#"dry Update - v1 {"f:data":{".":{},"f:k":{}}}"#]);
}

#[tokio::test]
async fn the_parts_of_an_object_have_writers_of_their_own() {
    let api = Api::new().await;
    let (code, made) = api.post(&format!("{DEPLOYMENTS}?fieldManager=maker"), deployment(json!({"replicas": 1}))).await;
    assert_eq!(code, 201, "{made}");
    let path = format!("{DEPLOYMENTS}/d");
    let status = json!({"status": {"replicas": 1}, "spec": {"replicas": 7}, "metadata": {"labels": {"x": "y"}}});
    let (_, with_status) = api.send("PATCH", &format!("{path}/status?fieldManager=loop"), &MERGE, status).await;
    let noted = managers(&with_status);
    assert_eq!(noted.len(), 2, "{noted:?}");
    assert!(noted.contains(&r#"loop Update status apps/v1 {"f:status":{"f:replicas":{}}}"#.to_string()), "{noted:?}");
    // Status in a write of the whole is nobody's.
    let (_, same) = api.send("PATCH", &path, &MERGE, json!({"status": {"replicas": 9}})).await;
    assert_eq!(same, with_status);
    let scale = json!({"spec": {"replicas": 3}});
    let (code, scaled) = api.send("PATCH", &format!("{path}/scale?fieldManager=scaler"), &MERGE, scale).await;
    assert_eq!((code, &scaled["spec"]["replicas"], scaled["metadata"].get("managedFields")), (200, &json!(3), None));
    let (_, object) = api.get(&path).await;
    let noted = managers(&object);
    assert!(noted.contains(&r#"scaler Update scale apps/v1 {"f:spec":{"f:replicas":{}}}"#.to_string()), "{noted:?}");
    let of_maker = noted.iter().find(|line| line.starts_with("maker ")).cloned().unwrap_or_default();
    assert!(!of_maker.contains("f:replicas"), "{of_maker}");
    // Who applies the object now meets the scaler; who applies the scale takes it over.
    let (code, refused) =
        api.send("PATCH", &format!("{path}?fieldManager=one"), &APPLY, deployment(json!({"replicas": 5}))).await;
    assert_eq!(code, 409);
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.contains("\"scaler\" with subresource \"scale\" using apps/v1"), "{message}");
    let scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 5}});
    let (code, refused) = api.send("PATCH", &format!("{path}/scale?fieldManager=one"), &APPLY, scale.clone()).await;
    assert_eq!(
        (code, &refused["message"]),
        (
            409,
            &json!(
                "Apply failed with 1 conflict: conflict with \"scaler\" with subresource \"scale\" using autoscaling/v1: .spec.replicas"
            )
        )
    );
    let (code, scaled) = api.send("PATCH", &format!("{path}/scale?fieldManager=one&force=true"), &APPLY, scale).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(5)), "{scaled}");
    let (_, object) = api.get(&path).await;
    assert!(
        managers(&object).contains(&r#"one Apply scale apps/v1 {"f:spec":{"f:replicas":{}}}"#.to_string()),
        "{object}"
    );
}

#[tokio::test]
async fn plain_writes_and_applies_share_an_object() {
    let api = Api::new().await;
    let path = format!("{CONFIG_MAPS}/a");
    let apply = async |data: Value, query: &str| {
        api.send("PATCH", &format!("{path}?fieldManager=one{query}"), &APPLY, config_map(data)).await
    };
    api.post(&format!("{CONFIG_MAPS}?fieldManager=maker"), config_map(json!({"x": "0", "z": "0"}))).await;
    let (code, refused) = apply(json!({"x": "1"}), "").await;
    assert_eq!(
        (code, &refused["message"], &refused["details"]["causes"]),
        (
            409,
            &json!("Apply failed with 1 conflict: conflict with \"maker\" using v1: .data.x"),
            &json!([{"reason": "FieldManagerConflict", "message": "conflict with \"maker\" using v1", "field": ".data.x"}])
        )
    );
    let (code, forced) = apply(json!({"x": "1", "y": "1"}), "&force=true").await;
    assert_eq!(
        (code, managers(&forced)),
        (
            200,
            vec![
                r#"one Apply - v1 {"f:data":{"f:x":{},"f:y":{}}}"#.to_string(),
                r#"maker Update - v1 {"f:data":{".":{},"f:z":{}}}"#.to_string(),
            ]
        )
    );
    let writer = [("content-type", "application/merge-patch+json"), ("user-agent", "kubectl/v1.36.0 (linux/amd64)")];
    let (code, patched) = api.send("PATCH", &path, &writer, json!({"data": {"x": "2", "y": "1", "z": null}})).await;
    assert_eq!(code, 200);
    let mut noted = managers(&patched);
    noted.sort();
    assert_eq!(
        noted,
        [
            r#"kubectl Update - v1 {"f:data":{"f:x":{}}}"#,
            r#"maker Update - v1 {"f:data":{}}"#,
            r#"one Apply - v1 {"f:data":{"f:y":{}}}"#,
        ]
    );
    // What a plain write took is not pruned by an apply that leaves it out.
    let (code, kept) = apply(json!({"y": "1"}), "").await;
    assert_eq!((code, &kept["data"]), (200, &json!({"x": "2", "y": "1"})), "{kept}");
    for empty in [json!([{}]), json!([])] {
        let patch = json!([{"op": "replace", "path": "/metadata/managedFields", "value": empty}]);
        let (code, cleared) = api.send("PATCH", &path, &[("content-type", "application/json-patch+json")], patch).await;
        assert_eq!((code, managers(&cleared)), (200, vec![]), "{cleared}");
        // Nobody is noted until somebody applies.
        let (_, still) = api.send("PATCH", &path, &writer, json!({"data": {"w": empty.to_string()}})).await;
        assert_eq!(managers(&still), Vec::<String>::new());
        let (_, applied) = apply(json!({"y": "1"}), "").await;
        assert_eq!(
            managers(&applied),
            [
                r#"one Apply - v1 {"f:data":{"f:y":{}}}"#,
                r#"before-first-apply Update - v1 {"f:data":{".":{},"f:w":{},"f:x":{},"f:y":{}}}"#
            ]
        );
    }
}

#[tokio::test]
async fn an_apply_says_what_is_wrong() {
    let api = Api::new().await;
    let typed = "failed to create typed patch object (default/d; apps/v1, Kind=Deployment): ";
    let cases = [
        (deployment(json!({"replica": 1})), 500, format!("{typed}.spec.replica: field not declared in schema")),
        (
            deployment(json!({"replicas": "1"})),
            500,
            format!("{typed}.spec.replicas: expected numeric (int or float), got string"),
        ),
        (json!({"apiVersion": "apps/v1", "kind": "Nothing"}), 400, "invalid object type: apps/v1, Kind=Nothing".into()),
        (json!({"kind": "Deployment"}), 400, "invalid object type: /, Kind=Deployment".into()),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"managedFields": [{}]}}),
            400,
            "metadata.managedFields must be nil".into(),
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "e"}}),
            400,
            "the name of the object (e) does not match the name on the URL (d)".into(),
        ),
        (
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"uid": "u"}}),
            409,
            "Operation cannot be fulfilled on deployments.apps \"d\": uid mismatch: the provided object specified uid u, and no existing object was found".into(),
        ),
    ];
    for (body, code, message) in cases {
        let (got, answer) = api.send("PATCH", &format!("{DEPLOYMENTS}/d?fieldManager=m"), &APPLY, body.clone()).await;
        assert_eq!((got, answer["message"].as_str()), (code, Some(message.as_str())), "{body}");
    }
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: '1', k: '2'}\n";
    let (code, refused) =
        read(api.raw("PATCH", &format!("{CONFIG_MAPS}/a?fieldManager=m&fieldValidation=Strict"), &APPLY, twice).await)
            .await;
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        code == 400
            && message.starts_with("error strict decoding YAML: ")
            && message.contains("key \"k\" already set in map"),
        "{message}"
    );
}

#[tokio::test]
async fn both_versions_of_a_kind_share_their_owners() {
    let api = Api::new().await;
    let at = |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/h");
    let target = json!({"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"});
    let one = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50}});
    let (code, made) = api.send("PATCH", &format!("{}?fieldManager=one", at("v1")), &APPLY, one.clone()).await;
    assert_eq!(code, 201, "{made}");
    let two = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
        "spec": {"maxReplicas": 4, "scaleTargetRef": target}});
    let (code, refused) = api.send("PATCH", &format!("{}?fieldManager=two", at("v2")), &APPLY, two.clone()).await;
    assert_eq!(
        (code, &refused["message"]),
        (409, &json!("Apply failed with 1 conflict: conflict with \"one\": .spec.maxReplicas"))
    );
    let (code, forced) = api.send("PATCH", &format!("{}?fieldManager=two&force=true", at("v2")), &APPLY, two).await;
    assert_eq!(code, 200, "{forced}");
    let noted = managers(&forced);
    assert!(
        noted.iter().any(|line| line.starts_with("one Apply - autoscaling/v1 ") && !line.contains("maxReplicas")),
        "{noted:?}"
    );
    assert!(
        noted.iter().any(|line| line.starts_with("two Apply - autoscaling/v2 ") && line.contains("maxReplicas")),
        "{noted:?}"
    );
}

#[tokio::test]
async fn who_applies_with_kubectl_keeps_its_annotation_up_to_date() {
    let api = Api::new().await;
    const LAST: &str = "kubectl.kubernetes.io/last-applied-configuration";
    let mut first = config_map(json!({"k": "1"}));
    first["metadata"]["annotations"] = json!({LAST: format!("{}\n", config_map(json!({"k": "1"})))});
    api.post(&format!("{CONFIG_MAPS}?fieldManager=kubectl-client-side-apply"), first).await;
    let (code, applied) = api
        .send("PATCH", &format!("{CONFIG_MAPS}/a?fieldManager=kubectl"), &APPLY, config_map(json!({"k": "2"})))
        .await;
    assert_eq!((code, &applied["data"]["k"]), (200, &json!("2")), "{applied}");
    let mut sent = config_map(json!({"k": "2"}));
    sent["metadata"]["namespace"] = json!("default");
    let said: Value = applied["metadata"]["annotations"][LAST]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    assert_eq!(said["data"], sent["data"]);
}

#[tokio::test]
async fn control_loops_are_noted_by_their_programs() {
    let api = Api::new().await;
    let client = api.router.client(User::control_plane("system:kube-controller-manager"));
    let body = config_map(json!({"k": "1"})).to_string().into_bytes();
    let request = Request::post(CONFIG_MAPS).header("content-type", "application/json").body(body).expect("a request");
    let made: Value = client.request(request).await.expect("made");
    assert_eq!(managers(&made), [r#"kube-controller-manager Update - v1 {"f:data":{".":{},"f:k":{}}}"#]);
}
