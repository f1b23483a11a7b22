//! Claims that a token does not carry: it says where they are, and what is shown there is a token of those who keep them,
//! with keys of their own. Only groups are looked for so, and only where a claim names them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{
    OidcError,
    check::{Compiled, Source},
    form::Issuer,
    keys::Keys,
    provider,
};
use crate::webhook::Client;

/// How long keys count.
const GOOD: Duration = Duration::from_secs(3600);
/// How soon they are asked for again where there were none, or not the one that a token names.
const AGAIN: Duration = Duration::from_secs(10);
/// So many issuers' keys are kept.
const ISSUERS: usize = 64;

/// Where a claim is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) claim: &'a str,
    pub(super) url: String,
    /// What is shown there; empty: nothing.
    pub(super) access_token: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Keeper {
    endpoint: Option<String>,
    access_token: Option<String>,
}

/// Where the groups are, when the token has them elsewhere.
pub(super) fn place<'a>(issuer: &'a Compiled, claims: &Map<String, Value>) -> Result<Option<Place<'a>>, OidcError> {
    // What these say must fit, whether anybody needs it or not.
    let names: BTreeMap<String, String> = part(claims, "_claim_names")?;
    let mut keepers: BTreeMap<String, Keeper> = part(claims, "_claim_sources")?;
    if let Some(absent) = names.values().find(|name| !keepers.contains_key(*name)) {
        return Err(OidcError::Elsewhere(format!("there is no source {absent:?}")));
    }
    let Some(Source::Claim { claim, .. }) = &issuer.groups else { return Ok(None) };
    if claims.contains_key(claim) {
        return Ok(None);
    }
    let keeper = names.get(claim).and_then(|name| keepers.remove(name)).unwrap_or_default();
    // A source without a place carries the claim itself, and is not read.
    let url = keeper.endpoint.filter(|url| !url.is_empty());
    Ok(url.map(|url| Place { claim, url, access_token: keeper.access_token.unwrap_or_default() }))
}

fn part<T: DeserializeOwned + Default>(claims: &Map<String, Value>, claim: &str) -> Result<T, OidcError> {
    let Some(value) = claims.get(claim) else { return Ok(T::default()) };
    let read: Result<Option<T>, _> = serde_json::from_value(value.clone());
    read.map(Option::unwrap_or_default).map_err(|error| OidcError::Elsewhere(format!("{claim} is unreadable: {error}")))
}

/// Keys of those who keep claims, by issuer.
#[derive(Debug, Default)]
pub(super) struct Keepers(Mutex<HashMap<String, Known>>);

#[derive(Debug, Clone)]
struct Known {
    since: Instant,
    keys: Result<Arc<Keys>, OidcError>,
}

impl Keepers {
    /// The keys of an issuer; `again`: those that are known are not enough.
    pub(super) async fn keys(&self, client: &Client, issuer: &Issuer, again: bool) -> Result<Arc<Keys>, OidcError> {
        let known = self.0.lock().get(&issuer.url).cloned();
        if let Some(Known { since, keys }) = known {
            let lasts = if again || keys.is_err() { AGAIN } else { GOOD };
            if since.elapsed() < lasts {
                return keys;
            }
        }
        let keys = provider::fetch_keys(client, issuer).await.map(Arc::new);
        let mut all = self.0.lock();
        if all.len() >= ISSUERS && !all.contains_key(&issuer.url) {
            all.clear();
        }
        all.insert(issuer.url.clone(), Known { since: Instant::now(), keys: keys.clone() });
        keys
    }
}
