//! From a bearer token to a user.
//!
//! A signature is checked once; what a token is bound to is looked up on every use, in memory: a revision that did not
//! change needs no second look at the object. So a deleted pod's token is refused at once, without a time to live.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use mk8s_api::meta;
use mk8s_store::{Store, View};
use parking_lot::RwLock;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    Bound, Claims, SigningKey, TokenError, Use, key,
    legacy::{self, LegacyClaims, LegacyToken},
};
use crate::auth::{AUTHENTICATED, SERVICE_ACCOUNT_PREFIX, User};

/// Seconds by which clocks may differ, and by which things outlive their deletion.
const LEEWAY_S: i64 = 60;
/// More tokens than this are not remembered.
const REMEMBERED: usize = 8192;

/// Authenticates tokens of this cluster.
pub struct TokenReader {
    store: Store,
    key: Arc<SigningKey>,
    issuer: String,
    audiences: Vec<String>,
    known: RwLock<HashMap<String, Known>>,
    /// Who notes that a Secret's token is used.
    uses: OnceLock<mpsc::Sender<Use>>,
}

#[derive(Clone)]
enum Known {
    Bound(Arc<BoundToken>),
    Legacy(Arc<LegacyToken>),
}

struct BoundToken {
    claims: Claims,
    user: Arc<User>,
    bound: Vec<BoundObject>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Payload {
    Bound(Box<Claims>),
    Legacy(LegacyClaims),
}

struct BoundObject {
    key: String,
    uid: String,
    what: String,
    /// The revision of the object that was seen and found good; 0 when none was.
    seen: AtomicU64,
}

impl TokenReader {
    /// `audiences`: what this API server calls itself.
    pub fn new(store: Store, key: Arc<SigningKey>, issuer: &str, audiences: Vec<String>) -> TokenReader {
        let (known, uses) = (RwLock::default(), OnceLock::new());
        TokenReader { store, key, issuer: issuer.to_string(), audiences, known, uses }
    }

    /// Uses of Secrets' tokens are told from now on; those that find the channel full are not.
    pub fn tell_uses(&self, uses: mpsc::Sender<Use>) {
        // It is said once.
        let _ = self.uses.set(uses);
    }

    /// The user of a token meant for this API server.
    pub fn read(&self, token: &str) -> Result<Arc<User>, TokenError> {
        self.read_for(token, &self.audiences).map(|(user, _)| user)
    }

    /// The user of a token, and those of `audiences` it is meant for. No audiences: this API server's.
    pub fn read_for(&self, token: &str, audiences: &[String]) -> Result<(Arc<User>, Vec<String>), TokenError> {
        self.read_at(
            token,
            audiences,
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64),
        )
    }

    /// Those of `wanted` that are this API server; all that it is when none are wanted.
    pub fn own_audiences(&self, wanted: &[String]) -> Vec<String> {
        let own = |audience: &&String| wanted.is_empty() || wanted.contains(audience);
        self.audiences.iter().filter(own).cloned().collect()
    }

    pub(super) fn read_at(
        &self,
        token: &str,
        audiences: &[String],
        now_s: i64,
    ) -> Result<(Arc<User>, Vec<String>), TokenError> {
        let known = self.known(token)?;
        let audiences_found = match &known {
            Known::Bound(token) => {
                token.check_time(now_s)?;
                &token.claims.aud
            }
            Known::Legacy(_) => &self.audiences,
        };
        let wanted = if audiences.is_empty() { &self.audiences } else { audiences };
        let meant: Vec<String> = wanted.iter().filter(|a| audiences_found.contains(a)).cloned().collect();
        if meant.is_empty() {
            return Err(TokenError::Audience { found: audiences_found.clone(), wanted: wanted.to_vec() });
        }
        let view = self.store.view();
        let user = match &known {
            Known::Bound(token) => {
                token.bound.iter().try_for_each(|object| object.check(&view, now_s))?;
                &token.user
            }
            Known::Legacy(legacy) => {
                legacy.check(token, &view, now_s, |used| self.tell(used))?;
                &legacy.user
            }
        };
        Ok((user.clone(), meant))
    }

    fn tell(&self, used: Use) {
        if let Some(Err(error)) = self.uses.get().map(|uses| uses.try_send(used)) {
            tracing::debug!(%error, "it is not noted that the token of a Secret is used");
        }
    }

    fn known(&self, token: &str) -> Result<Known, TokenError> {
        if let Some(known) = self.known.read().get(token) {
            return Ok(known.clone());
        }
        let issuer = key::issuer(token)?;
        if issuer != self.issuer && issuer != legacy::ISSUER {
            return Err(TokenError::NotOurs);
        }
        let known = match self.key.verify(token)? {
            Payload::Bound(claims) if claims.iss == self.issuer => Known::Bound(Arc::new(BoundToken::new(*claims))),
            Payload::Legacy(claims) if claims.iss == legacy::ISSUER => {
                Known::Legacy(Arc::new(LegacyToken::new(claims)?))
            }
            _ => return Err(TokenError::NotOurs),
        };
        let mut all = self.known.write();
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(token.to_string(), known.clone());
        Ok(known)
    }
}

impl BoundToken {
    fn new(claims: Claims) -> BoundToken {
        BoundToken { user: Arc::new(user_of(&claims)), bound: bound_objects(&claims), claims }
    }

    fn check_time(&self, now_s: i64) -> Result<(), TokenError> {
        if now_s > self.claims.exp + LEEWAY_S {
            return Err(TokenError::Expired);
        }
        if now_s < self.claims.nbf - LEEWAY_S {
            return Err(TokenError::NotYet);
        }
        Ok(())
    }
}

impl BoundObject {
    fn check(&self, view: &View, now_s: i64) -> Result<(), TokenError> {
        let gone = || TokenError::Invalidated(self.what.clone());
        let entry = view.get(self.key.as_bytes()).ok_or_else(gone)?;
        if self.seen.load(Ordering::Relaxed) == entry.modified {
            return Ok(());
        }
        let object: Value = serde_json::from_slice(&entry.value).map_err(|_| gone())?;
        if meta::uid(&object) != self.uid {
            return Err(gone());
        }
        match meta::deletion_timestamp(&object).and_then(meta::parse_time) {
            Some(deleted) if deleted.as_second() < now_s - LEEWAY_S => Err(gone()),
            // Good for now only: look again next time.
            Some(_) => Ok(()),
            None => {
                self.seen.store(entry.modified, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

fn bound_objects(claims: &Claims) -> Vec<BoundObject> {
    let k = &claims.kubernetes;
    let object = |kind: &str, plural: &str, namespace: &str, bound: &Bound| BoundObject {
        key: format!("/registry/core/{plural}/{namespace}{}", bound.name),
        uid: bound.uid.clone(),
        what: format!("{kind} {namespace}{}", bound.name),
        seen: AtomicU64::new(0),
    };
    let namespace = format!("{}/", k.namespace);
    let mut bound = vec![object("service account", "serviceaccounts", &namespace, &k.serviceaccount)];
    bound.extend(k.secret.iter().map(|secret| object("secret", "secrets", &namespace, secret)));
    match (&k.pod, &k.node) {
        // A pod's token tells its node, and does not depend on it.
        (Some(pod), _) => bound.push(object("pod", "pods", &namespace, pod)),
        (None, Some(node)) => bound.push(object("node", "nodes", "", node)),
        (None, None) => {}
    }
    bound
}

fn user_of(claims: &Claims) -> User {
    let k = &claims.kubernetes;
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_string()]);
        }
    };
    if let Some(pod) = &k.pod {
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    if let Some(node) = &k.node {
        add("node-name", &node.name);
        add("node-uid", &node.uid);
    }
    if !claims.jti.is_empty() {
        add("credential-id", &format!("JTI={}", claims.jti));
    }
    User {
        name: format!("{SERVICE_ACCOUNT_PREFIX}{}:{}", k.namespace, k.serviceaccount.name),
        uid: k.serviceaccount.uid.clone(),
        groups: vec![
            "system:serviceaccounts".to_string(),
            format!("system:serviceaccounts:{}", k.namespace),
            AUTHENTICATED.to_string(),
        ],
        extra,
    }
}
