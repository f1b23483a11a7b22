//! What is written down of requests.

use super::*;
use crate::audit::{Audit, AuditOptions, LogOptions, Policy};

const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, resources: [{group: '', resources: [namespaces]}]}
- {level: None, users: [ann], resources: [{group: '', resources: [configmaps]}], verbs: [list]}
- {level: RequestResponse, omitManagedFields: true, resources: [{group: '', resources: [configmaps]}]}
- {level: Metadata, omitStages: [ResponseStarted]}
";

/// A server that writes to a file, and that file.
async fn audited() -> (Api, tempfile::TempDir) {
    let api = Api::new().await;
    let dir = tempfile::tempdir().expect("a directory");
    let log = LogOptions { path: dir.path().join("audit.log"), max_bytes: 1 << 20, max_backups: 0, max_days: 0 };
    let options = AuditOptions { policy: Policy::parse(POLICY).expect("a policy"), log };
    api.router.audit_to(Audit::open(options).expect("the log opens"));
    (api, dir)
}

async fn events(api: &Api, dir: &tempfile::TempDir) -> Vec<Value> {
    api.router.flush_audit().await;
    let text = std::fs::read_to_string(dir.path().join("audit.log")).expect("the log");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

#[tokio::test]
async fn requests_and_answers_are_written_down() {
    let (api, dir) = audited().await;
    let headers = [("content-type", "application/json"), ("audit-id", "mine"), ("user-agent", "test")];
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    let answered = api.raw("POST", CONFIG_MAPS, &headers, body.to_string()).await;
    assert_eq!(answered.headers()["audit-id"], "mine");
    assert_eq!(read(answered).await.0, 201);
    assert_eq!(api.get("/api/v1/namespaces/default").await.0, 200);
    assert_eq!(api.get("/api/v1/namespaces/default/secrets/x").await.0, 404);
    let events = events(&api, &dir).await;
    assert_eq!(events.len(), 2, "{events:?}");
    let (made, refused) = (&events[0], &events[1]);
    assert_eq!((made["stage"].as_str(), made["level"].as_str()), (Some("ResponseComplete"), Some("RequestResponse")));
    assert_eq!(
        (made["auditID"].as_str(), made["userAgent"].as_str(), made["verb"].as_str()),
        (Some("mine"), Some("test"), Some("create"))
    );
    assert_eq!(made["requestObject"]["data"]["k"], "v");
    assert_eq!(made["responseObject"]["kind"], "ConfigMap");
    assert_eq!(made["responseObject"]["metadata"].get("managedFields"), None);
    assert_eq!(made["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert_eq!(made["objectRef"], json!({"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}));
    assert_eq!(made["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(made["user"]["username"], "admin");
    assert_eq!(refused["responseStatus"]["message"], "secrets \"x\" not found");
    assert_eq!(refused["responseStatus"]["reason"], "NotFound");
    assert_eq!((refused.get("requestObject"), refused.get("responseObject")), (None, None));
}

#[tokio::test]
async fn streams_are_written_down_when_they_begin_and_when_they_end() {
    let (api, dir) = audited().await;
    let mut lines = Lines::new(api.raw("GET", &format!("{CONFIG_MAPS}?watch=1"), &[], "").await);
    api.config_map("a", "1").await;
    assert_eq!(lines.change().await, "ADDED a 1");
    let before = events(&api, &dir).await;
    let stages = |events: &[Value]| -> Vec<String> {
        let watches = events.iter().filter(|event| event["verb"] == "watch");
        watches.filter_map(|event| event["stage"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(stages(&before), ["ResponseStarted"]);
    drop(lines);
    assert_eq!(stages(&events(&api, &dir).await), ["ResponseStarted", "ResponseComplete"]);
}

#[tokio::test]
async fn whom_a_request_acts_as_is_written_down() {
    let (api, dir) = audited().await;
    let headers = [("impersonate-user", "ann"), ("impersonate-uid", "7"), ("impersonate-extra-scope", "view")];
    assert_eq!(api.raw("GET", CONFIG_MAPS, &headers, "").await.status(), 403);
    let events = events(&api, &dir).await;
    // Rules are about those who authenticate, not about those they act as.
    assert_eq!(events[0]["user"]["username"], "admin");
    let acted =
        json!({"username": "ann", "uid": "7", "groups": ["system:authenticated"], "extra": {"scope": ["view"]}});
    assert_eq!(events[0]["impersonatedUser"], acted);
    assert_eq!(events[0]["annotations"]["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn strangers_and_those_who_may_not_act_as_others_are_written_down() {
    let (api, dir) = audited().await;
    let stranger = Request::get(CONFIG_MAPS).header(header::AUTHORIZATION, "Bearer wrong");
    let impostor = Request::get(CONFIG_MAPS)
        .header("impersonate-user", "bob")
        .extension(Caller(Arc::new(User::new("eve", ["g"]))));
    for (request, code) in [(stranger, 401), (impostor, 403)] {
        let request = request.body(request_body(Full::new(Bytes::new()))).expect("a valid request");
        assert_eq!(api.router.answer(request).await.status(), code);
    }
    let [stranger, impostor] = &events(&api, &dir).await[..] else { panic!("an event each") };
    assert_eq!((stranger["stage"].as_str(), &stranger["user"]), (Some("ResponseStarted"), &json!({})));
    let said = json!({"metadata": {}, "message": "Authentication failed, attempted: bearer", "code": 401});
    assert_eq!(stranger["responseStatus"], said);
    assert_eq!(impostor["user"], json!({"username": "eve", "groups": ["g"]}));
    assert_eq!(impostor["responseStatus"]["reason"], "Forbidden");
    assert_eq!(impostor.get("impersonatedUser"), None);
}

#[tokio::test]
async fn deprecated_kinds_and_issued_tokens_are_told() {
    let (api, dir) = audited().await;
    assert_eq!(api.get("/api/v1/namespaces/default/endpoints").await.0, 200);
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    assert_eq!(api.post(accounts, json!({"metadata": {"name": "web"}})).await.0, 201);
    assert_eq!(api.post(&format!("{accounts}/web/token"), json!({"spec": {}})).await.0, 201);
    let events = events(&api, &dir).await;
    assert_eq!(events[0]["annotations"]["k8s.io/deprecated"], "true");
    let id = events[2]["annotations"]["authentication.kubernetes.io/issued-credential-id"].as_str();
    assert!(id.is_some_and(|id| id.starts_with("JTI=")), "{}", events[2]);
}

#[tokio::test]
async fn why_a_request_was_allowed_is_written_down() {
    let (api, dir) = audited().await;
    let reads = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]);
    let role = json!({"metadata": {"name": "reader"}, "rules": reads});
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    assert_eq!(api.post(&format!("{rbac}/roles"), role).await.0, 201);
    let subject = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"});
    for (binding, role) in [("reads", "reader"), ("dangles", "gone")] {
        let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role});
        let binding = json!({"metadata": {"name": binding}, "roleRef": role, "subjects": [subject]});
        assert_eq!(api.post(&format!("{rbac}/rolebindings"), binding).await.0, 201);
    }
    let before = events(&api, &dir).await.len();
    let ann = [("impersonate-user", "ann")];
    assert_eq!(api.raw("GET", CONFIG_MAPS, &ann, "").await.status(), 200);
    assert_eq!(api.raw("GET", &format!("{CONFIG_MAPS}/x"), &ann, "").await.status(), 403);
    assert_eq!(api.get(CONFIG_MAPS).await.0, 200);
    let reasons: Vec<String> = events(&api, &dir).await[before..]
        .iter()
        .map(|event| event["annotations"]["authorization.k8s.io/reason"].as_str().unwrap_or("none").to_owned())
        .collect();
    let expected = [
        r#"RBAC: allowed by RoleBinding "reads/default" of Role "reader" to User "ann""#,
        r#"RBAC: role.rbac.authorization.k8s.io "gone" not found"#,
        "",
    ];
    assert_eq!(reasons, expected);
}
