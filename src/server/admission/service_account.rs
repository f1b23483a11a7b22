//! Every pod runs as a service account: the default one when it names none, with its token mounted unless somebody declines.

use std::time::Duration;

use mk8s_api::{meta, names, status::Status};
use mk8s_store::Store;
use serde_json::{Value, json};

use super::{
    Context, Plugin, Request,
    stored::{self, items, items_mut},
};

pub(super) struct ServiceAccount;

pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
const TOKEN_DIR: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";
/// How long a pod waits for the default account of a namespace that was just made.
const PATIENCE: Duration = Duration::from_secs(2);

/// Waits until the namespace's default account is there, if that is the one a new pod needs.
pub(super) async fn await_default(store: &Store, request: &Request<'_>, pod: &Value) {
    let named = pod["spec"]["serviceAccountName"].as_str().unwrap_or_default();
    if !request.creates("", "pods") || !["", "default"].contains(&named) || meta::annotation(pod, MIRROR).is_some() {
        return;
    }
    let key = format!("/registry/core/serviceaccounts/{}/default", request.namespace);
    let view = store.view();
    let namespace = format!("/registry/core/namespaces/{}", request.namespace);
    if view.get(key.as_bytes()).is_some() || view.get(namespace.as_bytes()).is_none() {
        return;
    }
    if let Ok(mut created) = store.watch(key.as_bytes(), view.revision()) {
        // Whether it came or not, the plugin looks again.
        let _ = tokio::time::timeout(PATIENCE, created.next()).await;
    }
}

impl Plugin for ServiceAccount {
    fn mutate(&self, request: &Request<'_>, pod: &mut Value, context: &Context<'_>) -> Result<(), Status> {
        if !request.creates("", "pods") || meta::annotation(pod, MIRROR).is_some() {
            return Ok(());
        }
        if pod["spec"]["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
            pod["spec"]["serviceAccountName"] = json!("default");
        }
        // The field's former name, kept equal for old clients.
        pod["spec"]["serviceAccount"] = pod["spec"]["serviceAccountName"].clone();
        let account = account_of(request, pod, context)?;
        if wants_token(&account, pod) {
            mount_token(pod);
        }
        let secrets = &account["imagePullSecrets"];
        if items(&pod["spec"]["imagePullSecrets"]).is_empty() && !items(secrets).is_empty() {
            pod["spec"]["imagePullSecrets"] =
                items(secrets).iter().map(|secret| json!({"name": secret["name"]})).collect();
        }
        Ok(())
    }

    fn validate(&self, request: &Request<'_>, pod: &Value, context: &Context<'_>) -> Result<(), Status> {
        if !request.creates("", "pods") {
            return Ok(());
        }
        if meta::annotation(pod, MIRROR).is_some() {
            return mirror_refusal(pod).map_or(Ok(()), |why| Err(request.forbidden(Some(pod), why)));
        }
        let account = account_of(request, pod, context)?;
        match meta::annotation(&account, ENFORCE_MOUNTABLE) {
            Some("true" | "1" | "t" | "T" | "TRUE" | "True") => {
                unmountable(&account, pod).map_or(Ok(()), |why| Err(request.forbidden(Some(pod), &why)))
            }
            _ => Ok(()),
        }
    }
}

fn account_of(request: &Request<'_>, pod: &Value, context: &Context<'_>) -> Result<Value, Status> {
    let (namespace, name) = (request.namespace, pod["spec"]["serviceAccountName"].as_str().unwrap_or_default());
    stored::get(context.view, "", "serviceaccounts", namespace, name).ok_or_else(|| {
        let why = format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        request.forbidden(Some(pod), &why)
    })
}

/// The pod's wish wins over the account's.
fn wants_token(account: &Value, pod: &Value) -> bool {
    let wish = pod["spec"]["automountServiceAccountToken"]
        .as_bool()
        .or_else(|| account["automountServiceAccountToken"].as_bool());
    wish.unwrap_or(true)
}

fn mount_token(pod: &mut Value) {
    let volumes = items(&pod["spec"]["volumes"]);
    let is_token = |volume: &Value| volume["name"].as_str().is_some_and(|name| name.starts_with("kube-api-access-"));
    let known =
        volumes.iter().find(|volume| is_token(volume)).and_then(|volume| volume["name"].as_str().map(str::to_string));
    let present = known.is_some();
    let name = known.unwrap_or_else(|| {
        loop {
            let name = names::generate("kube-api-access-", rand::random());
            if !volumes.iter().any(|volume| volume["name"] == name.as_str()) {
                break name;
            }
        }
    });
    let mut mounted = false;
    for field in ["initContainers", "containers"] {
        for container in items_mut(&mut pod["spec"], field) {
            if items(&container["volumeMounts"]).iter().any(|mount| mount["mountPath"] == TOKEN_DIR) {
                continue;
            }
            let mount = json!({"name": name, "readOnly": true, "mountPath": TOKEN_DIR});
            match container["volumeMounts"].as_array_mut() {
                Some(mounts) => mounts.push(mount),
                None => container["volumeMounts"] = json!([mount]),
            }
            mounted = true;
        }
    }
    if mounted && !present {
        match pod["spec"]["volumes"].as_array_mut() {
            Some(volumes) => volumes.push(token_volume(&name)),
            None => pod["spec"]["volumes"] = json!([token_volume(&name)]),
        }
    }
}

fn token_volume(name: &str) -> Value {
    json!({"name": name, "projected": {"defaultMode": 0o644, "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
    ]}})
}

fn mirror_refusal(pod: &Value) -> Option<&'static str> {
    let spec = &pod["spec"];
    if !spec["serviceAccountName"].as_str().unwrap_or_default().is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    let volumes = items(&spec["volumes"]);
    let secret_env = |container: &Value| {
        items(&container["env"]).iter().any(|env| env["valueFrom"]["secretKeyRef"].is_object())
            || items(&container["envFrom"]).iter().any(|source| source["secretRef"].is_object())
    };
    let uses_secret = !items(&spec["imagePullSecrets"]).is_empty()
        || volumes.iter().any(|volume| volume["secret"].is_object())
        || volumes
            .iter()
            .flat_map(|volume| items(&volume["projected"]["sources"]))
            .any(|source| source["secret"].is_object())
        || items(&spec["containers"]).iter().chain(items(&spec["initContainers"])).any(secret_env);
    if uses_secret {
        return Some("a mirror pod may not reference secrets");
    }
    let projects_token = volumes
        .iter()
        .flat_map(|volume| items(&volume["projected"]["sources"]))
        .any(|s| s["serviceAccountToken"].is_object());
    projects_token.then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

/// What an account that lists its secrets does not list.
fn unmountable(account: &Value, pod: &Value) -> Option<String> {
    let (spec, of) = (&pod["spec"], meta::name(account));
    let lists = |field: &str, secret: &Value| items(&account[field]).iter().any(|known| known["name"] == *secret);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    for volume in items(&spec["volumes"]).iter().filter(|volume| volume["secret"].is_object()) {
        let secret = &volume["secret"]["secretName"];
        if !lists("secrets", secret) {
            let secret = text(secret);
            return Some(format!(
                "volume with secret.secretName=\"{secret}\" is not allowed because service account {of} does not reference that secret"
            ));
        }
    }
    for (field, words) in [("initContainers", "init container"), ("containers", "container")] {
        for container in items(&spec[field]) {
            let name = text(&container["name"]);
            for env in items(&container["env"]).iter().filter(|env| env["valueFrom"]["secretKeyRef"].is_object()) {
                let secret = &env["valueFrom"]["secretKeyRef"]["name"];
                if !lists("secrets", secret) {
                    let (env, secret) = (text(&env["name"]), text(secret));
                    return Some(format!(
                        "{words} {name} with envVar {env} referencing secret.secretName=\"{secret}\" is not allowed because service account {of} does not reference that secret"
                    ));
                }
            }
            for source in items(&container["envFrom"]).iter().filter(|source| source["secretRef"].is_object()) {
                let secret = &source["secretRef"]["name"];
                if !lists("secrets", secret) {
                    let secret = text(secret);
                    return Some(format!(
                        "{words} {name} with envFrom referencing secret.secretName=\"{secret}\" is not allowed because service account {of} does not reference that secret"
                    ));
                }
            }
        }
    }
    let unlisted = items(&spec["imagePullSecrets"])
        .iter()
        .enumerate()
        .find(|(_, secret)| !lists("imagePullSecrets", &secret["name"]));
    unlisted.map(|(index, secret)| {
        let secret = text(&secret["name"]);
        format!("imagePullSecrets[{index}].name=\"{secret}\" is not allowed because service account {of} does not reference that imagePullSecret")
    })
}
