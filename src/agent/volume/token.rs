//! Service account tokens bound to a pod: asked for once, renewed when four fifths of their time are over.

use crate::pod::facts;
use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection},
};
use kube::{Api, Client, api::PostParams};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

const DEFAULT_SECONDS: i64 = 3600;
/// A token older than this is renewed whatever its lifetime is.
const AGE_MAX_SECONDS: i64 = 24 * 3600;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Wanted {
    pub pod_uid: String,
    pub pod_name: String,
    pub namespace: String,
    pub account: String,
    pub audience: String,
    pub seconds: i64,
}

impl Wanted {
    pub(super) fn of(pod: &Pod, from: &ServiceAccountTokenProjection) -> Wanted {
        Wanted {
            pod_uid: facts::uid(pod).to_owned(),
            pod_name: facts::name(pod).to_owned(),
            namespace: facts::namespace(pod).to_owned(),
            account: facts::spec(pod).service_account_name.clone().unwrap_or_else(|| "default".to_owned()),
            audience: from.audience.clone().unwrap_or_default(),
            seconds: from.expiration_seconds.unwrap_or(DEFAULT_SECONDS),
        }
    }
}

struct Held {
    token: String,
    renew: Timestamp,
    expires: Timestamp,
}

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct Tokens(Arc<Mutex<HashMap<Wanted, Held>>>);

impl Tokens {
    /// A token that is still good for a while. `Err` in the words of a FailedMount event.
    pub async fn get(&self, client: &Client, wanted: &Wanted) -> Result<String, String> {
        let now = Timestamp::now();
        let known = self.0.lock().get(wanted).map(|held| (held.token.clone(), held.renew > now, held.expires > now));
        if let Some((token, true, _)) = known {
            return Ok(token);
        }
        match request(client, wanted).await {
            Ok((token, expires)) => {
                let life = expires.duration_since(now).as_secs();
                let renew = now + jiff::SignedDuration::from_secs((life * 4 / 5).min(AGE_MAX_SECONDS));
                self.0.lock().insert(wanted.clone(), Held { token: token.clone(), renew, expires });
                Ok(token)
            }
            // The old one serves while the server cannot be asked.
            Err(error) => match known {
                Some((token, _, true)) => {
                    tracing::warn!(namespace = wanted.namespace, account = wanted.account, %error, "a token cannot be renewed");
                    Ok(token)
                }
                _ => Err(format!("failed to fetch token: {error}")),
            },
        }
    }

    /// When a pod's next token has to be renewed.
    pub fn next_renewal(&self, pod_uid: &str) -> Option<Timestamp> {
        self.0.lock().iter().filter(|(wanted, _)| wanted.pod_uid == pod_uid).map(|(_, held)| held.renew).min()
    }

    pub fn forget(&self, pod_uid: &str) {
        self.0.lock().retain(|wanted, _| wanted.pod_uid != pod_uid);
    }
}

async fn request(client: &Client, wanted: &Wanted) -> Result<(String, Timestamp), String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &wanted.namespace);
    let ask = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: (!wanted.audience.is_empty()).then(|| vec![wanted.audience.clone()]),
            expiration_seconds: Some(wanted.seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(wanted.pod_name.clone()),
                uid: Some(wanted.pod_uid.clone()),
            }),
        }),
        ..TokenRequest::default()
    };
    let answer = accounts.create_token_request(&wanted.account, &PostParams::default(), &ask).await;
    let status = answer.map_err(|error| error.to_string())?.status.ok_or("the server gave no token")?;
    let token = status.token.ok_or("the server gave no token")?;
    let expires = status.expiration_timestamp.ok_or("the server gave a token without end")?;
    Ok((token, expires.0))
}

/// A name for a version of files, by the time.
pub(super) fn stamp() -> String {
    Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S.%9f").to_string()
}
