//! One object: created when missing, mended when it must follow this server.

use http::{Method, Request};
use kube::Client;
use mk8s_api::{kinds, meta};
use serde::Deserialize;
use serde_json::{Value, json};

use super::BootstrapError;
use crate::auth::rbac::rule::{Rule, missing};

const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const FLOW_AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

/// Creates `wanted` when it is missing; otherwise brings it up to date as far as that is ours to do.
pub(crate) async fn ensure(client: &Client, wanted: &Value) -> Result<(), BootstrapError> {
    let Some(found) = get(client, wanted).await? else { return create(client, wanted).await };
    match mended(&found, wanted) {
        Some(object) => send(client, Method::PUT, wanted, true, &object).await.map(drop),
        None => Ok(()),
    }
}

/// Creates `wanted`, or merges it into what is there.
pub(super) async fn apply(client: &Client, wanted: &Value) -> Result<(), BootstrapError> {
    match get(client, wanted).await? {
        None => create(client, wanted).await,
        Some(_) => send(client, Method::PATCH, wanted, true, wanted).await.map(drop),
    }
}

async fn get(client: &Client, wanted: &Value) -> Result<Option<Value>, BootstrapError> {
    match send(client, Method::GET, wanted, true, &Value::Null).await {
        Ok(found) => Ok(Some(found)),
        Err(error) if has_code(&error, 404) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn create(client: &Client, wanted: &Value) -> Result<(), BootstrapError> {
    match send(client, Method::POST, wanted, false, wanted).await {
        Err(error) if has_code(&error, 409) => Ok(()),
        sent => sent.map(drop),
    }
}

fn has_code(error: &BootstrapError, code: u16) -> bool {
    matches!(error, BootstrapError::Object { source: kube::Error::Api(status), .. } if status.code == code)
}

async fn send(
    client: &Client,
    method: Method,
    object: &Value,
    named: bool,
    body: &Value,
) -> Result<Value, BootstrapError> {
    let (kind, name) = (meta::kind(object).to_string(), full_name(object));
    let path =
        path(object, named).ok_or_else(|| BootstrapError::UnknownKind { kind: kind.clone(), name: name.clone() })?;
    let content_type = if method == Method::PATCH { "application/merge-patch+json" } else { "application/json" };
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let request = Request::builder().method(method).uri(path).header("content-type", content_type).body(body);
    let request = request.map_err(kube::Error::HttpError);
    let sent = match request {
        Ok(request) => client.request::<Value>(request).await,
        Err(error) => Err(error),
    };
    sent.map_err(|source| BootstrapError::Object { kind, name, source })
}

fn full_name(object: &Value) -> String {
    match meta::namespace(object) {
        "" => meta::name(object).to_string(),
        namespace => format!("{namespace}/{}", meta::name(object)),
    }
}

fn path(object: &Value, named: bool) -> Option<String> {
    let api_version = meta::api_version(object);
    let (group, version) = kinds::split_api_version(api_version);
    let kind = kinds::find_kind(group, version, meta::kind(object))?;
    let root = if group.is_empty() { "/api" } else { "/apis" };
    let namespace = match (kind.namespaced, meta::namespace(object)) {
        (false, _) => String::new(),
        (true, "") => "/namespaces/default".to_string(),
        (true, namespace) => format!("/namespaces/{namespace}"),
    };
    let name = if named { format!("/{}", meta::name(object)) } else { String::new() };
    Some(format!("{root}/{api_version}{namespace}/{}{name}", kind.plural))
}

/// The stored object with what must follow this server; `None` when it does already.
pub(crate) fn mended(found: &Value, wanted: &Value) -> Option<Value> {
    let fields: &[&str] = match (meta::kind(wanted), meta::name(wanted)) {
        ("ClusterRole" | "Role", _) => return with_missing_rules(found, wanted),
        ("EndpointSlice", "kubernetes") => &["endpoints", "ports"],
        ("Endpoints", "kubernetes") => &["subsets"],
        ("ConfigMap", "extension-apiserver-authentication" | "mk8s-network" | "mk8s-servers") => &["data"],
        ("ConfigMap", "cluster-info") => return with_own_data(found, wanted),
        ("APIService", _) | ("FlowSchema", "exempt" | "catch-all") | ("PriorityLevelConfiguration", "catch-all") => {
            &["spec"]
        }
        ("FlowSchema" | "PriorityLevelConfiguration", _)
            if meta::annotation(found, FLOW_AUTO_UPDATE) == Some("true") =>
        {
            &["spec"]
        }
        _ => return None,
    };
    let mut object = found.clone();
    for field in fields {
        object[*field] = wanted[*field].clone();
    }
    (object != *found).then_some(object)
}

/// Signatures that others have put beside it stay.
fn with_own_data(found: &Value, wanted: &Value) -> Option<Value> {
    let mut object = found.clone();
    for (key, value) in wanted["data"].as_object().into_iter().flatten() {
        object["data"][key] = value.clone();
    }
    (object != *found).then_some(object)
}

fn with_missing_rules(found: &Value, wanted: &Value) -> Option<Value> {
    if meta::annotation(found, AUTO_UPDATE) != Some("true") || wanted.get("aggregationRule").is_some() {
        return None;
    }
    let rules = |role: &Value| Vec::<Rule>::deserialize(&role["rules"]).unwrap_or_default();
    let (held, wanted) = (rules(found), rules(wanted));
    let lacking: Vec<Rule> =
        wanted.into_iter().filter(|rule| !missing(&held, std::slice::from_ref(rule)).is_empty()).collect();
    if lacking.is_empty() {
        return None;
    }
    let mut object = found.clone();
    object["rules"] = json!([held, lacking].concat());
    Some(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_follow_kinds() {
        let object = |api_version: &str, kind: &str, namespace: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x", "namespace": namespace}});
        let cases = [
            (object("v1", "ConfigMap", "a"), true, Some("/api/v1/namespaces/a/configmaps/x")),
            (object("v1", "ConfigMap", ""), false, Some("/api/v1/namespaces/default/configmaps")),
            (object("v1", "Namespace", ""), true, Some("/api/v1/namespaces/x")),
            (object("apps/v1", "Deployment", "a"), false, Some("/apis/apps/v1/namespaces/a/deployments")),
            (object("apps/v1", "Nothing", "a"), false, None),
        ];
        for (object, named, expected) in cases {
            assert_eq!(path(&object, named).as_deref(), expected);
        }
    }

    #[test]
    fn roles_get_rules_they_lack_and_keep_their_own() {
        let role = |auto: &str, resources: &[&str]| {
            let rules: Vec<Value> =
                resources.iter().map(|r| json!({"apiGroups": [""], "resources": [r], "verbs": ["get"]})).collect();
            json!({"kind": "ClusterRole", "metadata": {"name": "x", "annotations": {AUTO_UPDATE: auto}}, "rules": rules})
        };
        let wanted = role("true", &["pods", "nodes"]);
        assert_eq!(mended(&role("true", &["pods", "own"]), &wanted), Some(role("true", &["pods", "own", "nodes"])));
        assert_eq!(mended(&role("true", &["pods", "nodes", "own"]), &wanted), None);
        assert_eq!(mended(&role("false", &[]), &wanted), None);
    }

    #[test]
    fn addresses_follow_the_server() {
        let slice = |ip: &str| json!({"kind": "EndpointSlice", "metadata": {"name": "kubernetes"}, "endpoints": [{"addresses": [ip]}], "ports": null});
        assert_eq!(mended(&slice("192.0.2.1"), &slice("192.0.2.2")), Some(slice("192.0.2.2")));
        assert_eq!(mended(&slice("192.0.2.1"), &slice("192.0.2.1")), None);
        assert_eq!(mended(&json!({"kind": "Service", "a": 1}), &json!({"kind": "Service", "a": 2})), None);
    }
}
