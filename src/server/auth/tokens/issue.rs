//! Making tokens: the answer to `POST .../serviceaccounts/NAME/token`, and what OIDC relying parties read.

use std::sync::Arc;

use jiff::Timestamp;
use mk8s_api::{
    field::{FieldError, Path},
    meta,
    status::{GroupResource, Status},
};
use mk8s_store::{Store, View};
use serde_json::{Value, json};

use super::{Bound, Claims, KubernetesClaims, SigningKey};
use crate::auth::SERVICE_ACCOUNT_PREFIX;

const DEFAULT_EXPIRATION_S: i64 = 3600;
const MIN_EXPIRATION_S: i64 = 600;
const MAX_EXPIRATION_S: i64 = 1 << 32;
/// The lifetime asked for by the token every pod gets. Such tokens live a year for the sake of programs that read the
/// file once; they are refreshed hourly all the same.
const PROJECTED_EXPIRATION_S: i64 = 3607;
const EXTENDED_EXPIRATION_S: i64 = 365 * 24 * 3600;

/// What a token is bound to besides its service account.
#[derive(Debug, Clone, Default)]
pub struct TokenBinding {
    pub pod: Option<Bound>,
    pub node: Option<Bound>,
    pub secret: Option<Bound>,
}

/// Issues service-account tokens.
#[derive(Clone)]
pub struct TokenIssuer {
    store: Store,
    key: Arc<SigningKey>,
    issuer: String,
    audiences: Vec<String>,
}

impl TokenIssuer {
    pub fn new(store: Store, key: Arc<SigningKey>, issuer: &str, audiences: Vec<String>) -> TokenIssuer {
        TokenIssuer { store, key, issuer: issuer.to_string(), audiences }
    }

    /// Answers a TokenRequest for a service account: the request with its `status` filled, and the token's own id.
    pub fn answer(
        &self,
        namespace: &str,
        name: &str,
        request: &Value,
        now: Timestamp,
    ) -> Result<(Value, String), Status> {
        let view = self.store.view();
        matches_path(request, namespace, name)?;
        let account = find(&view, "serviceaccounts", namespace, name)?;
        let uid = meta::uid(&account);
        if !["", uid].contains(&meta::uid(request)) {
            let why = format!(
                "the UID in the token request ({}) does not match the UID of the service account ({uid})",
                meta::uid(request)
            );
            return Err(Status::conflict(&GroupResource::new("authentication.k8s.io", "TokenRequest"), name, why));
        }
        let spec = &request["spec"];
        let expiration_s = expiration(spec)?;
        let audiences = audiences(spec).unwrap_or_else(|| self.audiences.clone());
        let binding = binding(&view, namespace, name, &spec["boundObjectRef"])?;
        let (token, id) = self.token(
            namespace,
            &Bound { name: name.into(), uid: uid.into() },
            binding,
            &audiences,
            expiration_s,
            now,
        )?;

        let mut answer = request.clone();
        answer["apiVersion"] = json!("authentication.k8s.io/v1");
        answer["kind"] = json!("TokenRequest");
        answer["metadata"] =
            json!({"name": name, "namespace": namespace, "uid": uid, "creationTimestamp": meta::format_time(now)});
        answer["spec"]["audiences"] = json!(audiences);
        answer["spec"]["expirationSeconds"] = json!(expiration_s);
        if spec.get("boundObjectRef").is_none() {
            answer["spec"]["boundObjectRef"] = Value::Null;
        }
        let expires = meta::timestamp_from_seconds(now.as_second() + expiration_s);
        answer["status"] = json!({"token": token, "expirationTimestamp": meta::format_time(expires)});
        Ok((answer, id))
    }

    /// A token, and its own id.
    fn token(
        &self,
        namespace: &str,
        account: &Bound,
        binding: TokenBinding,
        audiences: &[String],
        expiration_s: i64,
        now: Timestamp,
    ) -> Result<(String, String), Status> {
        let id = uuid::Uuid::new_v4().to_string();
        let now_s = now.as_second();
        let ours = audiences.iter().all(|audience| self.audiences.contains(audience));
        let extended = expiration_s == PROJECTED_EXPIRATION_S && binding.pod.is_some() && ours;
        let claims = Claims {
            aud: audiences.to_vec(),
            exp: now_s + if extended { EXTENDED_EXPIRATION_S } else { expiration_s },
            iat: now_s,
            iss: self.issuer.clone(),
            jti: id.clone(),
            kubernetes: KubernetesClaims {
                namespace: namespace.to_string(),
                node: binding.node,
                pod: binding.pod,
                secret: binding.secret,
                serviceaccount: account.clone(),
                warnafter: extended.then_some(now_s + expiration_s),
            },
            nbf: now_s,
            sub: format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{}", account.name),
        };
        let token = self.key.sign(&claims);
        let token = token.map_err(|why| Status::internal(format!("failed to generate token: {why}")))?;
        Ok((token, id))
    }

    /// `/.well-known/openid-configuration`; `server`: the `https://host:port` under which clients reach the key set.
    pub fn openid_configuration(&self, server: &str) -> Value {
        json!({
            "issuer": self.issuer,
            "jwks_uri": format!("{server}/openid/v1/jwks"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }

    /// `/openid/v1/jwks`.
    pub fn jwks(&self) -> Value {
        self.key.jwks()
    }
}

/// Name and namespace may be left out of the body, and must otherwise be those of the path.
fn matches_path(request: &Value, namespace: &str, name: &str) -> Result<(), Status> {
    let cases = [("name", meta::name(request), name), ("namespace", meta::namespace(request), namespace)];
    for (field, found, wanted) in cases {
        if !found.is_empty() && found != wanted {
            let detail = format!("must match the service account {field} if specified");
            let error = FieldError::invalid(&Path::new("metadata").child(field), found, detail);
            return Err(Status::invalid("authentication.k8s.io", "TokenRequest", name, vec![error]));
        }
    }
    Ok(())
}

fn expiration(spec: &Value) -> Result<i64, Status> {
    let seconds = spec["expirationSeconds"].as_i64().unwrap_or(DEFAULT_EXPIRATION_S);
    let detail = match seconds {
        ..MIN_EXPIRATION_S => "may not specify a duration less than 10 minutes",
        MIN_EXPIRATION_S..=MAX_EXPIRATION_S => return Ok(seconds),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    let error = FieldError::invalid(&Path::new("spec").child("expirationSeconds"), seconds, detail);
    Err(Status::invalid("authentication.k8s.io", "TokenRequest", "", vec![error]))
}

fn audiences(spec: &Value) -> Option<Vec<String>> {
    let audiences: Vec<String> =
        spec["audiences"].as_array()?.iter().filter_map(|a| a.as_str().map(str::to_string)).collect();
    (!audiences.is_empty()).then_some(audiences)
}

fn binding(view: &View, namespace: &str, account: &str, reference: &Value) -> Result<TokenBinding, Status> {
    if reference.is_null() {
        return Ok(TokenBinding::default());
    }
    let text = |field: &str| reference[field].as_str().unwrap_or_default();
    let (group, version) = meta::group_version(text("apiVersion"));
    let (kind, name) = (text("kind"), text("name"));
    let bound = |object: &Value| Bound { name: name.to_string(), uid: meta::uid(object).to_string() };
    let mut binding = TokenBinding::default();
    let object = match (group, kind) {
        ("", "Pod") => {
            let pod = find(view, "pods", namespace, name)?;
            if pod["spec"]["serviceAccountName"] != account {
                let why = format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                );
                return Err(Status::bad_request(why));
            }
            binding.pod = Some(bound(&pod));
            binding.node = pod["spec"]["nodeName"].as_str().filter(|node| !node.is_empty()).map(|node| Bound {
                name: node.to_string(),
                uid: find(view, "nodes", "", node).map(|node| meta::uid(&node).to_string()).unwrap_or_default(),
            });
            pod
        }
        ("", "Node") => {
            let node = find(view, "nodes", "", name)?;
            binding.node = Some(bound(&node));
            node
        }
        ("", "Secret") => {
            let secret = find(view, "secrets", namespace, name)?;
            binding.secret = Some(bound(&secret));
            secret
        }
        _ => {
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let (asked, found) = (text("uid"), meta::uid(&object));
    if !["", found].contains(&asked) {
        let why = format!(
            "the UID in the bound object reference ({asked}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(&GroupResource::new(group, kind), name, why));
    }
    Ok(binding)
}

fn find(view: &View, plural: &str, namespace: &str, name: &str) -> Result<Value, Status> {
    let slash = if namespace.is_empty() { "" } else { "/" };
    let key = format!("/registry/core/{plural}/{namespace}{slash}{name}");
    let entry = view.get(key.as_bytes()).ok_or_else(|| Status::not_found(&GroupResource::new("", plural), name))?;
    serde_json::from_slice(&entry.value)
        .map_err(|error| Status::internal(format!("stored {key} is unreadable: {error}")))
}
