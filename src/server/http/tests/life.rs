//! One object through its verbs, and the words of what is refused.

use super::*;

#[tokio::test]
async fn an_object_lives() {
    let api = Api::new().await;
    let made = api.config_map("a", "1").await;
    assert_eq!(
        (&made["kind"], &made["apiVersion"], &made["metadata"]["namespace"]),
        (&json!("ConfigMap"), &json!("v1"), &json!("default"))
    );
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(api.get(&path).await, (200, made.clone()));
    let mut changed = made.clone();
    changed["data"]["k"] = json!("2");
    let (code, updated) = api.put(&path, changed.clone()).await;
    assert_eq!(
        (code, &updated["data"]["k"], &updated["metadata"]["uid"]),
        (200, &json!("2"), &made["metadata"]["uid"])
    );
    let (code, status) = api.put(&path, changed).await;
    assert_eq!(code, 409);
    assert_eq!(
        status["message"],
        "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again"
    );
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps"}));
    let (code, status) = api.delete(&path).await;
    assert_eq!(
        (code, &status["status"], &status["details"]["uid"]),
        (200, &json!("Success"), &made["metadata"]["uid"])
    );
    assert_eq!(api.get(&path).await.0, 404);
}

#[tokio::test]
async fn refusals_have_kubernetes_codes_and_words() {
    let api = Api::new().await;
    api.config_map("a", "1").await;
    let json_type = ("content-type", "application/json");
    let long = "x".repeat((3 << 20) + 1);
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: Vec<Refusal<'_>> = vec![
        ("GET", format!("{CONFIG_MAPS}/none"), vec![], String::new(), 404, "configmaps \"none\" not found"),
        (
            "GET",
            "/api/v1/nothings".into(),
            vec![],
            String::new(),
            404,
            "the server could not find the requested resource",
        ),
        (
            "GET",
            "/apis/none/v1/x".into(),
            vec![],
            String::new(),
            404,
            "the server could not find the requested resource",
        ),
        (
            "GET",
            "/api/v1/namespaces/default/nodes".into(),
            vec![],
            String::new(),
            404,
            "the server could not find the requested resource",
        ),
        (
            "POST",
            "/api/v1/configmaps".into(),
            vec![json_type],
            "{}".into(),
            405,
            "the server does not allow this method on the requested resource",
        ),
        (
            "TRACE",
            CONFIG_MAPS.into(),
            vec![],
            String::new(),
            405,
            "the server does not allow this method on the requested resource",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"metadata":{"name":"a"}}"#.into(),
            409,
            "configmaps \"a\" already exists",
        ),
        ("POST", CONFIG_MAPS.into(), vec![json_type], "{".into(), 400, "json parse error"),
        ("POST", CONFIG_MAPS.into(), vec![json_type], deep, 400, "exceeded max depth"),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            "[]".into(),
            400,
            "the object provided is unrecognized (must be of type ConfigMap)",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![("content-type", "text/html")],
            "{}".into(),
            415,
            "the body of the request was in an unknown format",
        ),
        ("GET", CONFIG_MAPS.into(), vec![("accept", "text/html")], String::new(), 406, "406: Not Acceptable"),
        ("POST", CONFIG_MAPS.into(), vec![json_type], long, 413, "Request entity too large: limit is 3145728"),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"kind":"Pod","apiVersion":"v1"}"#.into(),
            400,
            "cannot be handled as a ConfigMap",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"apiVersion":"v2"}"#.into(),
            400,
            "the API version in the data (v2) does not match the expected API version (v1)",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"data":{"a":1},"metadata":{"name":"b"}}"#.into(),
            400,
            "cannot unmarshal number into Go struct field ConfigMap.data of type string",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"metadata":{"name":"b","namespace":"other"}}"#.into(),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"metadata":{}}"#.into(),
            422,
            "name or generateName is required",
        ),
        (
            "POST",
            CONFIG_MAPS.into(),
            vec![json_type],
            r#"{"metadata":{"name":"B"}}"#.into(),
            422,
            "metadata.name: Invalid value: \"B\"",
        ),
        (
            "POST",
            format!("{CONFIG_MAPS}?fieldValidation=Strict"),
            vec![json_type],
            r#"{"metadata":{"name":"b"},"dat":{}}"#.into(),
            400,
            "strict decoding error: unknown field \"dat\"",
        ),
        (
            "POST",
            format!("{CONFIG_MAPS}?fieldValidation=Strict"),
            vec![json_type],
            r#"{"metadata":{"name":"b"},"data":{"a":"1","a":"2"}}"#.into(),
            400,
            "strict decoding error: duplicate field \"data.a\"",
        ),
        ("POST", format!("{CONFIG_MAPS}?dryRun=Maybe"), vec![json_type], "{}".into(), 422, "dryRun: Unsupported value"),
        (
            "PUT",
            format!("{CONFIG_MAPS}/a"),
            vec![json_type],
            r#"{"metadata":{"name":"b"}}"#.into(),
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            "PUT",
            format!("{CONFIG_MAPS}/none"),
            vec![json_type],
            r#"{"metadata":{"name":"none"}}"#.into(),
            404,
            "configmaps \"none\" not found",
        ),
        (
            "PUT",
            format!("{CONFIG_MAPS}/a"),
            vec![json_type],
            r#"{"metadata":{"name":"a","uid":"x"}}"#.into(),
            409,
            "Precondition failed: UID in precondition: x",
        ),
        ("PATCH", format!("{CONFIG_MAPS}/a"), vec![json_type], "{}".into(), 415, "415: Unsupported Media Type"),
        (
            "PATCH",
            format!("{CONFIG_MAPS}/a"),
            vec![("content-type", "application/merge-patch+json")],
            "[".into(),
            400,
            "",
        ),
        (
            "DELETE",
            format!("{CONFIG_MAPS}/a"),
            vec![json_type],
            r#"{"preconditions":{"uid":"x"}}"#.into(),
            409,
            "the UID in the precondition (x) does not match the UID in record",
        ),
        (
            "DELETE",
            format!("{CONFIG_MAPS}/a?propagationPolicy=Sideways"),
            vec![],
            String::new(),
            422,
            "propagationPolicy",
        ),
        ("GET", format!("{CONFIG_MAPS}?continue=abc"), vec![], String::new(), 400, "continue"),
        ("GET", format!("{CONFIG_MAPS}?fieldSelector=spec.x%3Dy"), vec![], String::new(), 400, "field selector"),
        (
            "GET",
            format!("{CONFIG_MAPS}?resourceVersion=999999999"),
            vec![],
            String::new(),
            504,
            "Too large resource version: 999999999",
        ),
        ("GET", "/nowhere".into(), vec![], String::new(), 404, "the server could not find the requested resource"),
        ("POST", "/apis".into(), vec![], String::new(), 405, "the server does not allow this method"),
    ];
    for (method, path, headers, body, code, words) in cases {
        let shown = format!("{method} {path} {}", &body[..body.len().min(80)]);
        let (got, status) = read(api.raw(method, &path, &headers, body).await).await;
        assert_eq!(got, code, "{shown}: {status}");
        assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")), "{shown}");
        let message = status["message"].as_str().unwrap_or_default();
        assert!(message.contains(words), "{shown}: {message}");
    }
}

#[tokio::test]
async fn generated_names_and_dry_runs() {
    let api = Api::new().await;
    let (code, made) = api.post(CONFIG_MAPS, json!({"metadata": {"generateName": "x-"}})).await;
    let name = made["metadata"]["name"].as_str().unwrap_or_default();
    assert_eq!((code, name.len()), (201, 7), "{made}");
    let (code, dry) = api.post(&format!("{CONFIG_MAPS}?dryRun=All"), json!({"metadata": {"name": "dry"}})).await;
    assert_eq!((code, &dry["metadata"]["name"]), (201, &json!("dry")));
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/dry")).await.0, 404);
    assert_eq!(api.delete(&format!("{CONFIG_MAPS}/{name}?dryRun=All")).await.0, 200);
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/{name}")).await.0, 200);
}

#[tokio::test]
async fn finalizers_hold_an_object() {
    let api = Api::new().await;
    let path = format!("{CONFIG_MAPS}/f");
    api.post(CONFIG_MAPS, json!({"metadata": {"name": "f", "finalizers": ["example.com/x"]}})).await;
    let (code, marked) = api.delete(&path).await;
    assert_eq!((code, marked["metadata"]["deletionTimestamp"].is_string()), (200, true), "{marked}");
    let (code, freed) = api
        .send(
            "PATCH",
            &path,
            &[("content-type", "application/merge-patch+json")],
            json!({"metadata": {"finalizers": null}}),
        )
        .await;
    assert_eq!(code, 200, "{freed}");
    assert_eq!(api.get(&path).await.0, 404);
    api.config_map("o", "1").await;
    let (_, orphaning) = api.delete(&format!("{CONFIG_MAPS}/o?propagationPolicy=Orphan")).await;
    assert_eq!(orphaning["metadata"]["finalizers"], json!(["orphan"]));
}

#[tokio::test]
async fn collections_are_deleted() {
    let api = Api::new().await;
    for (name, value) in [("a", "1"), ("b", "2"), ("c", "1")] {
        api.config_map(name, value).await;
    }
    let (code, list) = api.delete(&format!("{CONFIG_MAPS}?labelSelector=v%3D1")).await;
    assert_eq!((code, names(&list)), (200, vec!["a", "c"]));
    let (_, left) = api.get(CONFIG_MAPS).await;
    assert_eq!(names(&left), ["b"]);
}

#[tokio::test]
async fn deletes_answer_as_their_kinds_do() {
    let api = Api::new().await;
    let cases = [
        ("/api/v1/namespaces/default/configmaps", json!({"metadata": {"name": "x"}}), "Status"),
        ("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "x"}}), "ServiceAccount"),
        (
            "/apis/storage.k8s.io/v1/storageclasses",
            json!({"metadata": {"name": "x"}, "provisioner": "example.com/p"}),
            "StorageClass",
        ),
        ("/api/v1/nodes", json!({"metadata": {"name": "x"}}), "Status"),
    ];
    for (path, object, kind) in cases {
        let (code, made) = api.post(path, object).await;
        assert_eq!(code, 201, "{made}");
        let (code, gone) = api.delete(&format!("{path}/x")).await;
        assert_eq!((code, &gone["kind"]), (200, &json!(kind)), "{gone}");
    }
}
