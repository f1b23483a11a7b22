//! Who has a token: a TokenReview.

use std::{
    collections::{BTreeMap, HashMap},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use super::{AskError, Remote, TIMEOUT, TokenWebhookOptions, metrics::TokenMetrics};
use crate::{
    auth::{
        ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User,
        cache::{self, Cache, Key},
    },
    webhook::Client,
};

/// How long one question may take with all its attempts: several requests may wait for it.
const LOOK_UP: Duration = Duration::from_secs(30);

/// A user, and which audiences the token is for.
type Known = (Arc<User>, Vec<String>);
type LookUp = Shared<BoxFuture<'static, Result<Known, Unknown>>>;

/// Why a token is nobody's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unknown {
    #[error("the webhook does not know the token")]
    Nobody,
    /// In the webhook's words, or why it says nothing. Asked again, it may say something else.
    #[error("{0}")]
    Said(String),
}

/// Somebody who knows tokens. Cheap to clone.
#[derive(Clone)]
pub struct TokenWebhook(Arc<Inner>);

struct Inner {
    remote: Remote,
    cache_ttl: Duration,
    /// What tokens are for that say nothing of it.
    audiences: Vec<String>,
    cache: Cache<Result<Known, Unknown>>,
    /// What is being asked: who asks the same meanwhile waits for the same answer.
    under_way: Mutex<HashMap<Key, LookUp>>,
    metrics: TokenMetrics,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    user: Info,
    audiences: Option<Vec<String>>,
    error: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Info {
    username: String,
    uid: String,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Vec<String>>>,
}

impl TokenWebhook {
    pub fn new(options: TokenWebhookOptions, audiences: Vec<String>, client: Client) -> TokenWebhook {
        let TokenWebhookOptions { access, version, cache_ttl } = options;
        TokenWebhook(Arc::new(Inner {
            remote: Remote::new(client, access, "TokenReview", version, TIMEOUT),
            cache_ttl,
            audiences,
            cache: Cache::new(),
            under_way: Mutex::default(),
            metrics: TokenMetrics::new(),
        }))
    }

    /// The user of a token that is for one of `wanted`, or, when none are named, for this cluster.
    pub async fn read(&self, token: &str, wanted: &[String]) -> Result<Known, Unknown> {
        let wanted = if wanted.is_empty() { &self.0.audiences } else { wanted };
        let key = cache::key(&json!([token, wanted]).to_string());
        let known = self.0.cache.get(&key, Instant::now());
        self.0.metrics.looked_up(known.is_some());
        match known {
            Some(known) => known,
            None => self.look_up(key, token, wanted).await,
        }
    }

    fn look_up(&self, key: Key, token: &str, wanted: &[String]) -> LookUp {
        let begin = || {
            let (inner, token, wanted) = (self.0.clone(), token.to_owned(), wanted.to_vec());
            // Whoever asked first may go away; the others still wait.
            let asked = tokio::spawn(async move {
                let read = AssertUnwindSafe(inner.read(key, &token, &wanted)).catch_unwind().await;
                inner.under_way.lock().remove(&key);
                read.unwrap_or_else(|_| Err(Unknown::Said("asking the webhook panicked".into())))
            });
            asked.map(|read| read.unwrap_or_else(|error| Err(Unknown::Said(error.to_string())))).boxed().shared()
        };
        self.0.under_way.lock().entry(key).or_insert_with(begin).clone()
    }

    pub(in crate::auth) fn metrics_text(&self) -> String {
        self.0.metrics.text()
    }
}

impl Inner {
    /// Asks, and keeps what was answered.
    async fn read(&self, key: Key, token: &str, wanted: &[String]) -> Result<Known, Unknown> {
        let spec = json!({"token": token, "audiences": wanted});
        let told = |answer: &Result<Status, AskError>, took| {
            let code = answer.as_ref().map_or_else(AskError::code, |_| "200".to_owned());
            self.metrics.asked(&code, took);
        };
        let asked = tokio::time::timeout(LOOK_UP, self.remote.ask(&spec, told)).await;
        let answered = asked
            .unwrap_or_else(|_| Err(AskError::Unreadable("no answer in time".into())))
            .inspect_err(|error| tracing::error!(%error, "failed to make webhook authenticator request"))
            .map_err(|error| Unknown::Said(error.to_string()));
        let known = answered.and_then(|status| self.known(status, wanted));
        self.metrics.fetched(!matches!(known, Err(Unknown::Said(_))));
        if !matches!(known, Err(Unknown::Said(_))) {
            self.cache.put(key, known.clone(), Instant::now(), self.cache_ttl);
        }
        known
    }

    fn known(&self, status: Status, wanted: &[String]) -> Result<Known, Unknown> {
        let Status { authenticated, user, audiences, error } = status;
        let given = audiences.filter(|audiences| !audiences.is_empty());
        let given = given.as_ref().unwrap_or(&self.audiences);
        let both: Vec<String> = wanted.iter().filter(|audience| given.contains(audience)).cloned().collect();
        if both.is_empty() {
            return Err(Unknown::Nobody);
        }
        if !authenticated {
            return Err(if error.is_empty() { Unknown::Nobody } else { Unknown::Said(error) });
        }
        let Info { username, uid, groups, extra } = user;
        if username.is_empty() {
            return Err(Unknown::Said("the webhook knows the token, and names no user".into()));
        }
        let mut user =
            User { name: username, uid, groups: groups.unwrap_or_default(), extra: extra.unwrap_or_default() };
        if user.name != ANONYMOUS && !user.in_group(AUTHENTICATED) && !user.in_group(UNAUTHENTICATED) {
            user.groups.push(AUTHENTICATED.to_owned());
        }
        Ok((Arc::new(user), both))
    }
}
