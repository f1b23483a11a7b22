//! What goes on beside requests: keys are fetched, and the file is read again when it has changed.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    AuthenticationConfiguration, OidcOptions, Providers, Set, check, form::Anonymous, metrics::Metrics,
    provider::Provider,
};
use crate::{
    auth::reload::{ConfigFile, LOOK, Unfit, Words},
    webhook::Client,
};

/// How often keys are fetched.
const REFRESH: Duration = Duration::from_secs(3600);
/// How soon after they could not be fetched, or after a token named one that is not known.
const AGAIN: Duration = Duration::from_secs(10);
/// How long new providers may take to show their keys.
const READY: Duration = Duration::from_secs(60);

const WORDS: Words =
    Words { renewed: "reloaded authentication config", failed: "failed to load authentication config" };

/// The file, and what may be in it.
pub(super) struct Followed {
    file: ConfigFile,
    allowed: Allowed,
}

struct Allowed {
    /// What was said of anonymous requests at the start, which stays.
    anonymous: Option<Anonymous>,
    taken: Vec<String>,
    signing_algs: Vec<String>,
}

impl Followed {
    pub(super) fn new(options: OidcOptions) -> Option<Followed> {
        let OidcOptions { configuration, signing_algs, file, taken } = options;
        let file = ConfigFile::new(file?, WORDS);
        Some(Followed { file, allowed: Allowed { anonymous: configuration.anonymous, taken, signing_algs } })
    }
}

impl Allowed {
    fn read(&self, text: &str) -> Result<Vec<Arc<Provider>>, String> {
        let form = AuthenticationConfiguration::read(text).map_err(|error| error.to_string())?;
        let compiled = check::compile(&form, &self.taken).map_err(|error| error.to_string())?;
        if form.anonymous != self.anonymous {
            return Err("anonymous: Forbidden: changed from initial configuration file".to_owned());
        }
        let provider = |compiled| Arc::new(Provider::new(compiled, &self.signing_algs));
        Ok(compiled.into_iter().map(provider).collect())
    }
}

/// Keeps the keys of providers, and the providers themselves where a file says which they are, until `stop`.
pub async fn keep(providers: Arc<Providers>, options: OidcOptions, client: Client, stop: CancellationToken) {
    // There is one that asks.
    let _ = providers.client.set(client.clone());
    let mut keeping = keep_keys(&providers, &client);
    let Some(mut followed) = Followed::new(options) else { return stop.cancelled().await };
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        if let Some(true) = stop.run_until_cancelled(renew(&mut followed, &providers, &client)).await {
            // The keys of those who are gone are fetched no more.
            keeping = keep_keys(&providers, &client);
        }
    }
    drop(keeping);
}

/// Obeys the file, if it is another one and good. Whether that changed anything.
pub(super) async fn renew(followed: &mut Followed, providers: &Providers, client: &Client) -> bool {
    let Followed { file, allowed } = followed;
    let read = async |text: &str| {
        let new = allowed.read(text).map_err(Unfit::Bad)?;
        // Those who are not there yet may come.
        ready(&new, client, &providers.metrics).await.map_err(Unfit::NotYet)?;
        Ok(new)
    };
    let Some(new) = file.renew(Some(&providers.metrics.file), read).await else { return false };
    let issuers: Vec<&str> = new.iter().map(|provider| provider.url()).collect();
    providers.metrics.keep(&issuers);
    providers.current.store(Arc::new(Set::new(new)));
    true
}

/// Waits until all have shown their keys.
async fn ready(providers: &[Arc<Provider>], client: &Client, metrics: &Metrics) -> Result<(), String> {
    let last = parking_lot::Mutex::new(String::new());
    let fetched = async {
        for provider in providers {
            while let Err(error) = provider.fetch(client, metrics).await {
                *last.lock() = format!("authenticator for issuer {:?} is not healthy: {error}", provider.url());
                tokio::time::sleep(AGAIN).await;
            }
        }
    };
    let fetched = tokio::time::timeout(READY, fetched).await;
    fetched.map_err(|_| last.into_inner())
}

/// Keeps the keys of the current providers, as long as what is returned is held.
fn keep_keys(providers: &Arc<Providers>, client: &Client) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for provider in &providers.current.load().providers {
        tasks.spawn(keep_keys_of(provider.clone(), providers.clone(), client.clone()));
    }
    tasks
}

async fn keep_keys_of(provider: Arc<Provider>, providers: Arc<Providers>, client: Client) {
    let mut known = provider.keys.load().is_some();
    loop {
        let pause = match known {
            true => REFRESH,
            false => match provider.fetch(&client, &providers.metrics).await {
                Ok(()) => REFRESH,
                Err(error) => {
                    let issuer = provider.url();
                    tracing::error!(%error, issuer, "the keys of the OpenID provider are not fetched");
                    AGAIN
                }
            },
        };
        known = false;
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Not more often than that, whatever tokens are sent.
            () = async { provider.stale.notified().await; tokio::time::sleep(AGAIN).await } => {}
        }
    }
}
