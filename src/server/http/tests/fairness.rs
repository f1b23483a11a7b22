//! Priority and fairness on the way of a request.

use super::*;

const FLOW: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";

#[tokio::test]
async fn answers_say_how_their_requests_were_classified() {
    let api = Api::new().await;
    let stop = CancellationToken::new();
    let level = json!({"metadata": {"name": "l"}, "spec": {"type": "Limited", "limited": {
        "nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}}});
    let (code, level) = api.post(&format!("{FLOW}/prioritylevelconfigurations"), level).await;
    assert_eq!(code, 201, "{level}");
    let schema = json!({"metadata": {"name": "s"}, "spec": {"matchingPrecedence": 10, "priorityLevelConfiguration": {"name": "l"},
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "noxu"}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}]}});
    let (code, schema) = api.post(&format!("{FLOW}/flowschemas"), schema).await;
    assert_eq!(code, 201, "{schema}");
    let following = tokio::spawn(crate::flow::follow(api.router.flow(), api.store.clone(), stop.clone()));
    let headers = [("impersonate-user", "noxu")];
    let uid = |response: &Response<Body>, name: &str| {
        response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    // The objects are followed by a task, so the first requests may come too early.
    let labelled = loop {
        let response = api.raw("GET", "/version", &headers, "").await;
        if !uid(&response, "x-kubernetes-pf-flowschema-uid").is_empty() {
            break response;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(uid(&labelled, "x-kubernetes-pf-flowschema-uid"), schema["metadata"]["uid"].as_str().unwrap_or("none"));
    assert_eq!(
        uid(&labelled, "x-kubernetes-pf-prioritylevel-uid"),
        level["metadata"]["uid"].as_str().unwrap_or("none")
    );
    stop.cancel();
    following.await.expect("no panic");
}

#[tokio::test]
async fn mandatory_objects_are_what_they_are() {
    let api = Api::new().await;
    let spec =
        json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 7, "limitResponse": {"type": "Reject"}}});
    let (code, refused) = api
        .post(&format!("{FLOW}/prioritylevelconfigurations"), json!({"metadata": {"name": "catch-all"}, "spec": spec}))
        .await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(message.ends_with("spec of 'catch-all' must equal the fixed value"), "{message}");
    for object in crate::bootstrap::flow_control() {
        let plural = if object["kind"] == "FlowSchema" { "flowschemas" } else { "prioritylevelconfigurations" };
        let (code, made) = api.post(&format!("{FLOW}/{plural}"), object.clone()).await;
        assert_eq!(code, 201, "{made}");
        assert_eq!(crate::bootstrap::mended(&made, &object), None, "it stays as it is made");
    }
}
