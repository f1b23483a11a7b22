//! Who may ask, and what is said beside the answer.

use super::*;

#[tokio::test]
async fn strangers_are_told_so() {
    let api = Api::new().await;
    let cases = [
        (CONFIG_MAPS, None, 403),
        (CONFIG_MAPS, Some("Bearer wrong"), 401),
        ("/api/v1/namespaces/%ff", Some("Bearer wrong"), 401),
        (CONFIG_MAPS, Some("Bearer secret"), 200),
        ("/livez", None, 200),
        ("/version", None, 200),
        ("/metrics", None, 403),
        ("/apis", None, 403),
    ];
    for (path, authorization, code) in cases {
        let mut request = Request::builder().method(Method::GET).uri(path);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(request_body(Full::new(Bytes::new()))).expect("a valid request");
        let (got, body) = read(api.router.answer(request).await).await;
        assert_eq!(got, code, "{path} {authorization:?}: {body}");
    }
}

#[tokio::test]
async fn a_client_in_the_process_needs_no_socket() {
    let api = Api::new().await;
    let client = api.router.client(User::control_plane("test"));
    let request = Request::get("/api/v1/namespaces/default").body(Vec::new()).expect("a valid request");
    let namespace: Value = client.request(request).await.expect("an answer");
    assert_eq!(namespace["metadata"]["name"], "default");
}

#[tokio::test]
async fn warnings_travel_in_headers() {
    let api = Api::new().await;
    let body = r#"{"metadata":{"name":"w"},"dat":{},"data":{"a":"1","a":"2"}}"#;
    let response = api.raw("POST", CONFIG_MAPS, &[], body).await;
    let warnings: Vec<_> = response
        .headers()
        .get_all(header::WARNING)
        .iter()
        .map(|value| value.to_str().expect("text").to_string())
        .collect();
    assert_eq!(response.status(), 201);
    assert_eq!(warnings, ["299 - \"unknown field \\\"dat\\\"\"", "299 - \"duplicate field \\\"data.a\\\"\""]);
    let (_, stored) = read(response).await;
    assert_eq!((stored["data"].clone(), stored.get("dat")), (json!({"a": "2"}), None));
    let refused = api.raw("POST", CONFIG_MAPS, &[], r#"{"metadata":{"name":"W"},"dat":{}}"#).await;
    let told = "299 - \"unknown field \\\"dat\\\"\"";
    assert_eq!((refused.status().as_u16(), refused.headers()[header::WARNING].to_str().ok()), (422, Some(told)));
    let old = api.raw("GET", "/api/v1/namespaces/default/endpoints/none", &[], "").await;
    let told = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    assert_eq!((old.status().as_u16(), old.headers()[header::WARNING].to_str().ok()), (404, Some(told)));
}

#[tokio::test]
async fn admission_warns_in_headers() {
    let api = Api::new().await;
    let labels = json!({"pod-security.kubernetes.io/warn": "restricted"});
    api.post("/api/v1/namespaces", json!({"metadata": {"name": "strict", "labels": labels}})).await;
    let pod = json!({"spec": {"containers": [{"name": "c", "image": "i"}]}, "metadata": {"labels": {"a": "b"}}});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}});
    let path = "/apis/apps/v1/namespaces/strict/deployments";
    let response = api.raw("POST", path, &[], deployment.to_string()).await;
    let warning = response.headers().get(header::WARNING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    assert!(
        warning.starts_with("299 - \"would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation"),
        "{warning}"
    );
    assert_eq!(response.status(), 201);
}

#[tokio::test]
async fn a_store_that_takes_no_writes_is_not_healthy() {
    let api = Api::new().await;
    assert_eq!(api.get("/livez?verbose").await.1, "[+]ping ok\n[+]log ok\n[+]etcd ok\nlivez check passed\n");
    api.store.close().await;
    let (code, told) = api.get("/livez").await;
    let why = "[-]etcd failed: the store has no leader, or its disk failed\n";
    assert_eq!((code, told), (500, json!(format!("[+]ping ok\n[+]log ok\n{why}livez check failed\n"))));
}
