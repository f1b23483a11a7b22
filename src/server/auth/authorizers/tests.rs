//! Files with and without faults, conditions, and files that change.

use std::path::Path;

use expect_test::{Expect, expect};
use mk8s_store::Store;
use serde_json::json;

use super::{
    follow::{Followed, renew},
    *,
};
use crate::{
    auth::{Attributes, Authorization, AuthorizerOptions, Decision, User},
    relay::Relay,
    webhook::{Client, tests::Backend},
};

fn file(authorizers: &str) -> String {
    format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers:\n{authorizers}")
}

/// A webhook by the kubeconfig, with `more` fields.
fn webhook(kubeconfig: &Path, more: &str) -> String {
    let path = kubeconfig.display();
    format!(
        "- type: Webhook\n  name: hook\n  webhook:\n    timeout: 3s\n    subjectAccessReviewVersion: v1\n    \
         matchConditionSubjectAccessReviewVersion: v1\n    failurePolicy: NoOpinion\n    \
         connectionInfo: {{type: KubeConfigFile, kubeConfigFile: '{path}'}}\n{more}"
    )
}

fn kubeconfig(dir: &Path, server: &str, ca_bundle: &str) -> std::path::PathBuf {
    let path = dir.join("kubeconfig");
    let text = json!({
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": server, "certificate-authority-data": ca_bundle}}],
    });
    std::fs::write(&path, text.to_string()).expect("written");
    path
}

fn complaints(text: &str) -> String {
    match read(text) {
        Ok(authorizers) => authorizers.iter().map(AuthorizerOptions::kind).collect::<Vec<_>>().join(" "),
        Err(ConfigError::Invalid(errors)) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Err(error) => error.to_string(),
    }
}

fn check(authorizers: &str, expected: Expect) {
    expected.assert_eq(&complaints(&file(authorizers)));
}

#[test]
fn authorizers_are_checked() {
    check(
        "- {type: Node, name: node}\n- {type: RBAC, name: rbac}\n- {type: AlwaysDeny, name: alwaysdeny}\n",
        expect!["Node RBAC AlwaysDeny"],
    );
    check("", expect!["authorizers: Required value: at least one authorization mode must be defined"]);
    check(
        "- {}\n- {type: ABAC, name: abac}\n- {type: Node}\n- {type: Node, name: a}\n- {type: RBAC, name: B}\n",
        expect![[r#"
            authorizers[0].type: Required value
            authorizers[1].type: Unsupported value: "ABAC": supported values: "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"
            authorizers[2].name: Required value
            authorizers[3].type: Duplicate value: "Node"
            authorizers[4].name: Invalid value: "B": authorizer name is invalid: a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#]],
    );
    check(
        "- {type: RBAC, name: n}\n- {type: Node, name: n}\n- {type: Webhook, name: w}\n- {type: AlwaysAllow, name: a, webhook: {}}\n",
        expect![[r#"
            authorizers[1].name: Duplicate value: "n"
            authorizers[2].webhook: Required value: required when type=Webhook
            authorizers[3].webhook: Invalid value: "non-null": may only be specified when type=Webhook"#]],
    );
    check(
        "- {type: RBAC, name: roles}\n- {type: Node, name: nodes}\n",
        expect![
            "[expected name rbac for authorizer RBAC instead of roles, expected name node for authorizer Node instead of nodes]"
        ],
    );
    check(
        "- {type: Webhook, name: w, webhook: {}}\n",
        expect![[r#"
        authorizers[0].timeout: Required value
        authorizers[0].subjectAccessReviewVersion: Required value
        authorizers[0].failurePolicy: Required value
        authorizers[0].connectionInfo.type: Required value"#]],
    );
    let bad = "{timeout: 61.5s, authorizedTTL: -1h0m1s, unauthorizedTTL: -5ms, subjectAccessReviewVersion: v2, \
               matchConditionSubjectAccessReviewVersion: v1beta1, failurePolicy: Allow, connectionInfo: {type: KubeConfigFile, kubeConfigFile: a}, \
               matchConditions: [{expression: ' '}, {expression: 'request.user'}, {expression: 'request.user == 1'}, {expression: 'true'}, {expression: 'true'}]}";
    check(
        &format!("- {{type: Webhook, name: w, webhook: {bad}}}\n"),
        expect![[r#"
        authorizers[0].timeout: Invalid value: "1m1.5s": must be > 0s and <= 30s
        authorizers[0].authorizedTTL: Invalid value: "-1h0m1s": must be > 0s
        authorizers[0].unauthorizedTTL: Invalid value: "-5ms": must be > 0s
        authorizers[0].subjectAccessReviewVersion: Unsupported value: "v2": supported values: "v1", "v1beta1"
        authorizers[0].matchConditionSubjectAccessReviewVersion: Unsupported value: "v1beta1": supported values: "v1"
        authorizers[0].failurePolicy: Unsupported value: "Allow": supported values: "NoOpinion", "Deny"
        authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "a": must be an absolute path
        authorizers[0].matchConditions[0].expression: Required value
        authorizers[0].matchConditions[1].expression: Invalid value: "request.user": must evaluate to bool but got string
        authorizers[0].matchConditions[2].expression: Invalid value: "request.user == 1": compilation failed: ERROR: <input>:1:14: found no matching overload for '_==_' applied to '(string, int)'
         | request.user == 1
         | .............^
        authorizers[0].matchConditions[4].expression: Duplicate value: "true""#]],
    );
    let places = [
        "{type: KubeConfigFile}",
        "{type: KubeConfigFile, kubeConfigFile: /nowhere}",
        "{type: KubeConfigFile, kubeConfigFile: /}",
        "{type: InClusterConfig, kubeConfigFile: /a}",
        "{type: Telepathy}",
    ];
    let said = places.map(|place| {
        let webhook = format!("{{timeout: 1s, subjectAccessReviewVersion: v1, failurePolicy: Deny, connectionInfo: {place}, matchConditions: [{{expression: 'true'}}]}}");
        complaints(&file(&format!("- {{type: Webhook, name: w, webhook: {webhook}}}\n")))
    });
    expect![[r#"
        authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified
        authorizers[0].connectionInfo.kubeConfigFile: Required value

        authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified
        authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "/nowhere": error loading file: stat /nowhere: no such file or directory

        authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified
        authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "/": must be a regular file

        authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified
        authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "/a": can only be set when type=KubeConfigFile
        authorizers[0].connectionInfo.type: Invalid value: "InClusterConfig": the server is no pod; use KubeConfigFile

        authorizers[0].matchConditionSubjectAccessReviewVersion: Required value: required if match conditions are specified
        authorizers[0].connectionInfo.type: Unsupported value: "Telepathy": supported values: "InClusterConfig", "KubeConfigFile""#]].assert_eq(&said.join("\n\n"));
    for (text, expected) in [
        ("", "empty config data"),
        ("kind: AuthorizationConfiguration\n", "is no AuthorizationConfiguration of apiserver.config.k8s.io/v1"),
        (&file("- {typ: Node}\n"), "unknown field `typ`"),
        (&file("- {type: Webhook, webhook: {timeout: 5}}\n"), "time: missing unit in duration \"5\""),
        (&file("- {type: Webhook, webhook: {timeout: 5x}}\n"), "time: unknown unit \"x\""),
    ] {
        let why = complaints(text);
        assert!(why.contains(expected), "{why}, not {expected}");
    }
}

#[test]
fn webhooks_are_as_the_file_says() {
    let dir = tempfile::tempdir().expect("a directory");
    let kubeconfig = kubeconfig(dir.path(), "https://a/b", "");
    let of = |more: &str| match read(&file(&webhook(&kubeconfig, more))).expect(more).remove(0) {
        AuthorizerOptions::Webhook(webhook) => {
            (webhook.name, webhook.timeout, webhook.authorized_ttl, webhook.unauthorized_ttl, webhook.denies_on_error)
        }
        other => panic!("{other:?}"),
    };
    let s = std::time::Duration::from_secs;
    assert_eq!(of(""), ("hook".into(), s(3), s(300), s(30), false));
    let cached = "    authorizedTTL: 1m\n    unauthorizedTTL: 2s\n    cacheAuthorizedRequests: false\n";
    assert_eq!(of(cached), ("hook".into(), s(3), s(0), s(2), false));
}

#[tokio::test]
async fn conditions_say_what_a_webhook_is_asked_about() {
    let backend = Backend::start(|_, _| (200, json!({"status": {"allowed": true}}).to_string().into_bytes())).await;
    let dir = tempfile::tempdir().expect("a directory");
    let kubeconfig = kubeconfig(dir.path(), &format!("https://{}/ask", backend.address), &backend.ca_bundle);
    let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
    let client = Client::new(store.clone(), Relay::default());
    let authorization = Authorization::new(store);
    let ann = User::new("ann", ["dev"]);
    let pods = Attributes { namespace: "n", ..Attributes::for_resource(&ann, "list", "", "pods") };
    let pods = Attributes { label_selector: Some("a=b,c"), ..pods };
    let path = Attributes::for_path(&ann, "get", "/x");
    let no_opinion = Decision::NoOpinion(String::new());
    let cases = [
        ("request.user == 'ann' && 'dev' in request.groups", Decision::Allow, Decision::Allow, None),
        ("has(request.resourceAttributes)", Decision::Allow, no_opinion.clone(), None),
        ("request.?resourceAttributes.namespace.orValue('') == 'n'", Decision::Allow, no_opinion.clone(), None),
        ("request.user != 'ann'", no_opinion.clone(), no_opinion.clone(), None),
        ("!has(request.extra.a) && request.uid == ''", Decision::Allow, Decision::Allow, None),
        (
            "has(request.resourceAttributes) ? request.resourceAttributes.labelSelector.requirements.exists(r, r.key == 'c' && \
             r.operator == 'Exists' && size(r.values) == 0) && request.resourceAttributes.subresource == '' : true",
            Decision::Allow,
            Decision::Allow,
            None,
        ),
        (
            "request.resourceAttributes.verb == 'list'",
            Decision::Allow,
            no_opinion.clone(),
            Some(
                "cel evaluation error: expression 'request.resourceAttributes.verb == 'list'' resulted in error: no such key: resourceAttributes",
            ),
        ),
    ];
    for (condition, of_pods, of_path, error) in cases {
        let more = format!("    matchConditions: [{{expression: {}}}]\n", json!(condition));
        authorization.ask(read(&file(&webhook(&kubeconfig, &more))).expect(condition), &client);
        assert_eq!(authorization.decide(&pods).await.decision, of_pods, "{condition}");
        let verdict = authorization.decide(&path).await;
        assert_eq!((verdict.decision, verdict.error.as_deref()), (of_path, error), "{condition}");
    }
    let denying =
        webhook(&kubeconfig, "    matchConditions: [{expression: 'request.resourceAttributes.verb == \"list\"'}]\n");
    let denying = denying.replace("NoOpinion", "Deny");
    authorization.ask(read(&file(&denying)).expect("good"), &client);
    assert_eq!(authorization.decide(&path).await.decision, Decision::Deny(String::new()));
    let metrics = authorization.metrics_text();
    let labels = "{type=\"Webhook\",name=\"hook\"}";
    for (name, count) in [("exclusions_total", 4), ("evaluation_errors_total", 2), ("evaluation_seconds_count", 15)] {
        let line = format!("apiserver_authorization_match_condition_{name}{labels} {count}");
        assert!(metrics.contains(&line), "{line}: {metrics}");
    }
}

#[tokio::test]
async fn a_file_that_changes_is_obeyed_when_it_is_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("authorization.yaml");
    let write = |text: &str| std::fs::write(&path, text).expect("written");
    let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
    let client = Client::new(store.clone(), Relay::default());
    let authorization = Authorization::new(store);
    let ann = User::new("ann", ["dev"]);
    let path_of_ann = Attributes::for_path(&ann, "get", "/x");
    let first = file("- {type: RBAC, name: rbac}\n");
    write(&first);
    let authorizers = read(&first).expect("good");
    let mut followed = Followed::new((path.clone(), first.clone()), &authorizers);
    authorization.obey_file("server", &first);
    authorization.ask(authorizers, &client);
    assert!(!renew(&mut followed, &authorization, &client).await, "nothing changed");
    write(&file("- {type: RBAC, name: rbac}\n- {type: AlwaysAllow, name: alwaysallow}\n"));
    assert!(renew(&mut followed, &authorization, &client).await);
    assert_eq!(authorization.judge(&path_of_ann).decision, Decision::Allow);
    let bad = [
        "- {type: AlwaysDeny, name: alwaysdeny}\n",
        "- {type: RBAC, name: rbac}\n- {type: Node, name: node}\n",
        "- {type: RBAC, name: roles}\n",
        "{}",
    ];
    for bad in bad {
        write(&file(bad));
        assert!(!renew(&mut followed, &authorization, &client).await, "{bad}");
        assert!(!renew(&mut followed, &authorization, &client).await, "{bad}, again");
    }
    std::fs::remove_file(&path).expect("removed");
    assert!(!renew(&mut followed, &authorization, &client).await);
    assert_eq!(authorization.judge(&path_of_ann).decision, Decision::Allow, "the one before stays");
    write(&first);
    assert!(renew(&mut followed, &authorization, &client).await);
    assert_eq!(authorization.judge(&path_of_ann).decision, Decision::NoOpinion(String::new()));
    let metrics = authorization.metrics_text();
    let total = "apiserver_authorization_config_controller_automatic_reloads_total";
    let lines = metrics.lines().filter(|line| line.starts_with(total)).map(|line| line.rsplit(' ').next());
    assert_eq!(lines.collect::<Vec<_>>(), [Some("5"), Some("2")], "failures, successes: {metrics}");
}
