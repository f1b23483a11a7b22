//! Admission webhooks, called over TLS.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use expect_test::expect;
use http::header;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::{Api, CONFIG_MAPS, read};
use crate::webhook::tests::Backend;

const HOOKS: &str = "/apis/admissionregistration.k8s.io/v1";

fn all_config_maps() -> Value {
    json!([{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["*"]}])
}

impl Api {
    /// Configures one webhook; `more` says what is not as usual.
    async fn hook(&self, kind: &str, name: &str, client: Value, more: Value) -> Value {
        let mut hook = json!({"name": format!("{name}.example.com"), "clientConfig": client, "rules": all_config_maps(),
            "sideEffects": "None", "admissionReviewVersions": ["v1"]});
        for (field, value) in more.as_object().into_iter().flatten() {
            hook[field] = value.clone();
        }
        let configuration = json!({"metadata": {"name": name}, "webhooks": [hook]});
        let (code, made) = self.post(&format!("{HOOKS}/{kind}webhookconfigurations"), configuration).await;
        assert_eq!(code, 201, "{made}");
        made
    }
}

fn patch(operations: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

/// Sets a key to how often it was set already.
fn counting(key: &'static str) -> impl Fn(&Value) -> Value + Send + Sync {
    move |request| {
        let count = request["object"]["data"][key].as_str().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        patch(json!([{"op": "add", "path": format!("/data/{key}"), "value": (count + 1).to_string()}]))
    }
}

#[tokio::test]
async fn configurations_have_defaults_and_generations() {
    let api = Api::new().await;
    let made = api.hook("mutating", "a", json!({"service": {"namespace": "n", "name": "s"}}), json!({})).await;
    expect![[r#"
        {
          "admissionReviewVersions": [
            "v1"
          ],
          "clientConfig": {
            "service": {
              "name": "s",
              "namespace": "n",
              "port": 443
            }
          },
          "failurePolicy": "Fail",
          "matchPolicy": "Equivalent",
          "name": "a.example.com",
          "namespaceSelector": {},
          "objectSelector": {},
          "reinvocationPolicy": "Never",
          "rules": [
            {
              "apiGroups": [
                ""
              ],
              "apiVersions": [
                "v1"
              ],
              "operations": [
                "*"
              ],
              "resources": [
                "configmaps"
              ],
              "scope": "*"
            }
          ],
          "sideEffects": "None",
          "timeoutSeconds": 10
        }"#]]
    .assert_eq(&format!("{:#}", made["webhooks"][0]));
    assert_eq!(made["metadata"]["generation"], 1);
    let path = format!("{HOOKS}/mutatingwebhookconfigurations/a");
    let mut changed = made.clone();
    changed["webhooks"][0]["timeoutSeconds"] = json!(5);
    let (code, changed) = api.put(&path, changed).await;
    assert_eq!((code, &changed["metadata"]["generation"]), (200, &json!(2)));
    let mut wrong = changed.clone();
    wrong["webhooks"][0]["sideEffects"] = json!("Some");
    wrong["webhooks"][0]["timeoutSeconds"] = json!(31);
    let (code, status) = api.put(&path, wrong).await;
    assert_eq!(code, 422);
    assert_eq!(
        status["message"],
        "MutatingWebhookConfiguration.admissionregistration.k8s.io \"a\" is invalid: [webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\", webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds]"
    );
}

#[tokio::test]
async fn webhooks_mutate_in_order_and_again_when_needed() {
    let api = Api::new().await;
    let first = Backend::review(counting("first")).await;
    let second = Backend::review(counting("second")).await;
    let never = Backend::review(counting("never")).await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    api.hook("mutating", "b", second.client_config("/"), again.clone()).await;
    api.hook("mutating", "a", first.client_config("/"), again).await;
    api.hook("mutating", "c", never.client_config("/"), json!({})).await;
    let (code, made) = api.post(CONFIG_MAPS, json!({"metadata": {"name": "x"}, "data": {"k": "v"}})).await;
    assert_eq!(code, 201, "{made}");
    // The first two are asked once more, because a later one changed what they saw.
    assert_eq!(made["data"], json!({"k": "v", "first": "2", "second": "2", "never": "1"}));
}

#[tokio::test]
async fn webhooks_deny_with_their_words() {
    let api = Api::new().await;
    let backend = Backend::review(|request| {
        let denied = request["object"]["data"]["k"] == "no" || request["operation"] == "DELETE";
        json!({"allowed": !denied, "warnings": ["careful"], "status": {"code": 403, "reason": "Forbidden", "message": "not this one"}})
    })
    .await;
    let made = api.config_map("before", "1").await;
    api.hook("validating", "a", backend.client_config("/"), json!({})).await;
    let refusal = "admission webhook \"a.example.com\" denied the request: not this one";
    let response =
        api.raw("POST", CONFIG_MAPS, &[], json!({"metadata": {"name": "x"}, "data": {"k": "no"}}).to_string()).await;
    assert_eq!(response.headers()[header::WARNING], "299 - \"careful\"");
    let (code, status) = read(response).await;
    assert_eq!((code, &status["message"], &status["reason"]), (403, &json!(refusal), &json!("Forbidden")));
    assert_eq!(api.post(CONFIG_MAPS, json!({"metadata": {"name": "x"}, "data": {"k": "yes"}})).await.0, 201);
    let mut changed = made;
    changed["data"]["k"] = json!("no");
    let path = format!("{CONFIG_MAPS}/before");
    assert_eq!(api.put(&path, changed).await.0, 403);
    let merge = [("content-type", "application/merge-patch+json")];
    assert_eq!(api.send("PATCH", &path, &merge, json!({"data": {"k": "no"}})).await.0, 403);
    assert_eq!(api.delete(&path).await.1["message"], refusal);
    assert_eq!(api.delete(CONFIG_MAPS).await.0, 403);
    assert_eq!(api.get(&path).await.0, 200);
    // Who configures webhooks can always do so.
    assert_eq!(api.delete(&format!("{HOOKS}/validatingwebhookconfigurations/a")).await.0, 200);
    assert_eq!(api.delete(&path).await.0, 200);
}

#[tokio::test]
async fn failures_are_tolerated_where_it_says_so() {
    let api = Api::new().await;
    let broken = Backend::start(|_, _| (500, b"boom".to_vec())).await;
    let object = |name: &str| json!({"metadata": {"name": name}});
    api.hook("validating", "a", broken.client_config("/p"), json!({"failurePolicy": "Ignore"})).await;
    assert_eq!(api.post(CONFIG_MAPS, object("x")).await.0, 201);
    api.hook("validating", "b", broken.client_config("/p"), json!({})).await;
    let (code, status) = api.post(CONFIG_MAPS, object("y")).await;
    assert_eq!(
        (code, &status["message"]),
        (
            500,
            &json!(
                "Internal error occurred: failed calling webhook \"b.example.com\": failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding"
            )
        )
    );
    let (_, metrics) = read(api.raw("GET", "/metrics", &[], "").await).await;
    let metrics = metrics.as_str().unwrap_or_default();
    assert!(
        metrics.contains("apiserver_admission_webhook_fail_open_count{name=\"a.example.com\",type=\"validating\"} 2"),
        "{metrics}"
    );
    assert!(metrics.contains(
        "error_type=\"calling_webhook_error\",name=\"b.example.com\",operation=\"CREATE\",rejection_code=\"500\""
    ));
}

#[tokio::test]
async fn selectors_choose_what_webhooks_see() {
    let api = Api::new().await;
    let backend = Backend::review(|_| json!({"allowed": false})).await;
    let (code, _) = api.post("/api/v1/namespaces", json!({"metadata": {"name": "marked", "labels": {"m": "1"}}})).await;
    assert_eq!(code, 201);
    let more = json!({"namespaceSelector": {"matchLabels": {"m": "1"}}, "objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]}});
    api.hook("validating", "a", backend.client_config("/"), more).await;
    let marked = "/api/v1/namespaces/marked/configmaps";
    let cases = [
        (CONFIG_MAPS, json!({"metadata": {"name": "x"}}), 201),
        (marked, json!({"metadata": {"name": "x"}}), 400),
        (marked, json!({"metadata": {"name": "x", "labels": {"skip": "1"}}}), 201),
    ];
    for (path, object, expected) in cases {
        let (code, answer) = api.post(path, object).await;
        assert_eq!(code, expected, "{answer}");
    }
}

/// What webhooks are asked, in short.
fn seen() -> (Arc<Mutex<Vec<String>>>, impl Fn(&Value) -> Value + Send + Sync) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let into = seen.clone();
    let note = move |request: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let version =
            |of: &Value, name: &str| format!("{}/{}/{}", text(&of["group"]), text(&of["version"]), text(&of[name]));
        into.lock().push(format!(
            "{} {} {} {} ns={} name={} object={} old={} options={} dryRun={}",
            text(&request["operation"]),
            version(&request["kind"], "kind"),
            version(&request["resource"], "resource"),
            text(&request["subResource"]),
            text(&request["namespace"]),
            if text(&request["name"]).starts_with("p-") { "p-*".to_string() } else { text(&request["name"]) },
            text(&request["object"]["kind"]),
            text(&request["oldObject"]["kind"]),
            text(&request["options"]["kind"]),
            request["dryRun"],
        ));
        json!({"allowed": true})
    };
    (seen, note)
}

#[tokio::test]
async fn every_operation_is_reviewed_as_what_it_is() {
    let api = Api::new().await;
    let (seen, note) = seen();
    let backend = Backend::review(note).await;
    let pods = "/api/v1/namespaces/default/pods";
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let made = api.post("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    assert_eq!(made.0, 201, "{}", made.1);
    let everything =
        json!({"rules": [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"], "operations": ["*"]}]});
    api.hook("validating", "a", backend.client_config("/"), everything).await;
    let container = json!({"name": "c", "image": "i"});
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}});
    let deployment =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let merge = [("content-type", "application/merge-patch+json")];
    let pod = json!({"metadata": {"generateName": "p-"}, "spec": {"containers": [container]}});
    let requests = [
        ("POST", pods.to_string(), json!({"metadata": {"name": "p"}, "spec": {"containers": [container]}}), 201),
        ("POST", format!("{pods}?dryRun=All"), pod, 201),
        ("POST", format!("{pods}/p/binding"), json!({"metadata": {"name": "p"}, "target": {"name": "n"}}), 201),
        ("PATCH", format!("{pods}/p/status"), json!({"status": {"phase": "Running"}}), 200),
        ("POST", format!("{pods}/p/exec?command=ls&stdout=1"), Value::Null, 400),
        (
            "POST",
            format!("{pods}/p/eviction"),
            json!({"metadata": {"name": "p"}, "deleteOptions": {"gracePeriodSeconds": 0}}),
            201,
        ),
        ("POST", deployments.to_string(), deployment, 201),
        ("PATCH", format!("{deployments}/d/scale"), json!({"spec": {"replicas": 2}}), 200),
        ("DELETE", format!("{deployments}/d"), Value::Null, 200),
        ("POST", "/api/v1/namespaces".to_string(), json!({"metadata": {"name": "other"}}), 201),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token".to_string(), json!({}), 201),
        (
            "POST",
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews".to_string(),
            json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}}),
            201,
        ),
    ];
    for (method, path, body, expected) in requests {
        let headers: &[(&str, &str)] = if method == "PATCH" { &merge } else { &[] };
        let (code, answer) = api.send(method, &path, headers, body).await;
        assert_eq!(code, expected, "{method} {path}: {answer}");
    }
    expect![[r#"
        CREATE /v1/Pod /v1/pods  ns=default name=p object=Pod old= options=CreateOptions dryRun=false
        CREATE /v1/Pod /v1/pods  ns=default name=p-* object=Pod old= options=CreateOptions dryRun=true
        CREATE /v1/Binding /v1/pods binding ns=default name=p object=Binding old= options=CreateOptions dryRun=false
        UPDATE /v1/Pod /v1/pods status ns=default name=p object=Pod old=Pod options=UpdateOptions dryRun=false
        CONNECT /v1/PodExecOptions /v1/pods exec ns=default name=p object=PodExecOptions old= options= dryRun=false
        CREATE policy/v1/Eviction /v1/pods eviction ns=default name=p object=Eviction old= options=CreateOptions dryRun=false
        CREATE apps/v1/Deployment apps/v1/deployments  ns=default name=d object=Deployment old= options=CreateOptions dryRun=false
        UPDATE autoscaling/v1/Scale apps/v1/deployments scale ns=default name=d object=Scale old=Scale options=UpdateOptions dryRun=false
        DELETE apps/v1/Deployment apps/v1/deployments  ns=default name=d object= old=Deployment options=DeleteOptions dryRun=false
        CREATE /v1/Namespace /v1/namespaces  ns=other name=other object=Namespace old= options=CreateOptions dryRun=false
        CREATE authentication.k8s.io/v1/TokenRequest /v1/serviceaccounts token ns=default name=default object=TokenRequest old= options=CreateOptions dryRun=false
        CREATE authorization.k8s.io/v1/SelfSubjectAccessReview authorization.k8s.io/v1/selfsubjectaccessreviews  ns= name= object=SelfSubjectAccessReview old= options=CreateOptions dryRun=false"#]].assert_eq(&seen.lock().join("\n"));
}

#[tokio::test]
async fn other_versions_are_converted_for_webhooks() {
    let api = Api::new().await;
    let objects: Arc<Mutex<Vec<Value>>> = Arc::default();
    let into = objects.clone();
    let backend = Backend::review(move |request| {
        into.lock().push(request.clone());
        patch(json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 7}]))
    })
    .await;
    let rules = json!([{"apiGroups": ["autoscaling"], "apiVersions": ["v2"], "resources": ["horizontalpodautoscalers"], "operations": ["CREATE"]}]);
    api.hook("mutating", "a", backend.client_config("/"), json!({"rules": rules})).await;
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}});
    let (code, made) = api.post("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", scaler).await;
    assert_eq!((code, &made["apiVersion"]), (201, &json!("autoscaling/v1")), "{made}");
    assert_eq!(
        (&made["spec"]["maxReplicas"], &made["spec"]["targetCPUUtilizationPercentage"]),
        (&json!(7), &json!(50))
    );
    let request = objects.lock()[0].clone();
    assert_eq!(request["object"]["apiVersion"], "autoscaling/v2");
    assert_eq!((&request["resource"]["version"], &request["requestResource"]["version"]), (&json!("v2"), &json!("v1")));
}
