//! Keeps an informer's store like the server's: list, then watch from there, for ever.
//!
//! ```text
//!          ┌────────── 410 Gone ───────────┐
//!          ▼                               │
//!        List ──ok──▶ Watch(version) ──end, error──▶ Watch(last version seen)
//!          └─error: wait, again             └─ after an error: wait first
//! ```

use super::Selection;
use crate::Key;
use futures::StreamExt;
use kube::{
    Api, Resource, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use std::{collections::HashSet, fmt::Debug, time::Duration};
use tokio::time::{Instant, sleep, timeout};

/// Objects asked for at once: one page is decoded while little else is held.
const PAGE: u32 = 500;

/// The server ends a watch after this; resuming it costs one request.
const WATCH_SECONDS: u32 = 290;

/// A server that has not ended the watch by then is gone.
const SILENCE_MAX: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

enum Next {
    List,
    Watch(String),
}

enum End {
    Closed,
    Expired,
}

/// What can be decoded and followed; unlike [`super::Kind`] its type may be known only at run time.
pub trait Followed: Resource + Clone + DeserializeOwned + Debug + Send + 'static {}

impl<K: Resource + Clone + DeserializeOwned + Debug + Send + 'static> Followed for K {}

/// Where the server's state is mirrored.
pub trait Mirror<K>: Send + Sync + 'static {
    /// There is this object, in this version.
    fn apply(&self, object: K);
    /// There is no such object any more; `last` is its last version where known.
    fn remove(&self, key: &Key, last: Option<K>);
    /// There are no other objects than these.
    fn listed(&self, keys: &HashSet<Key>);
    /// All changes up to this version have been applied.
    fn seen(&self, _version: &str) {}
}

/// Keeps a mirror like the server's state until it is dropped. `what` names it in logs.
pub async fn reflect<K: Followed>(api: Api<K>, selection: Selection, mirror: impl Mirror<K>, what: &str) {
    let mut backoff = BACKOFF_MIN;
    let mut next = Next::List;
    loop {
        let started = Instant::now();
        // Whether what just ended may be followed at once.
        let (step, healthy) = match next {
            Next::List => match list(&api, &selection, &mirror).await {
                Ok(version) => (Next::Watch(version), true),
                Err(error) => {
                    tracing::debug!(what, %error, "list failed, trying again");
                    (Next::List, false)
                }
            },
            Next::Watch(mut version) => match watch(&api, &selection, &mirror, &mut version, what).await {
                // A watch that ends at once is no better than an error: without a pause it would spin.
                Ok(End::Closed) => (Next::Watch(version), started.elapsed() > BACKOFF_MIN),
                Ok(End::Expired) => (Next::List, started.elapsed() > BACKOFF_MIN),
                Err(error) => {
                    tracing::debug!(what, %error, "watch failed, trying again");
                    (Next::Watch(version), false)
                }
            },
        };
        next = step;
        if healthy {
            backoff = BACKOFF_MIN;
        } else {
            sleep(backoff.mul_f64(1.0 + rand::random::<f64>() / 2.0)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

/// Brings the store to the server's state and says which version that is.
async fn list<K: Followed>(api: &Api<K>, selection: &Selection, mirror: &impl Mirror<K>) -> kube::Result<String> {
    let mut listed = HashSet::new();
    let mut params = ListParams {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        limit: Some(PAGE),
        ..ListParams::default()
    };
    loop {
        let page = api.list(&params).await?;
        for object in page.items {
            listed.insert(Key::of(&object));
            mirror.apply(stripped(object));
        }
        params.continue_token = page.metadata.continue_.filter(|token| !token.is_empty());
        if params.continue_token.is_none() {
            let version = page.metadata.resource_version.unwrap_or_default();
            mirror.listed(&listed);
            mirror.seen(&version);
            return Ok(version);
        }
    }
}

/// Applies changes until the watch ends; `version` is always the last one seen.
async fn watch<K: Followed>(
    api: &Api<K>,
    selection: &Selection,
    mirror: &impl Mirror<K>,
    version: &mut String,
    what: &str,
) -> kube::Result<End> {
    let params = WatchParams {
        label_selector: selection.labels.clone(),
        field_selector: selection.fields.clone(),
        timeout: Some(WATCH_SECONDS),
        ..WatchParams::default()
    };
    let mut events = match api.watch(&params, version).await {
        Ok(events) => events.boxed(),
        Err(kube::Error::Api(status)) if status.code == 410 => return Ok(End::Expired),
        Err(error) => return Err(error),
    };
    while let Ok(Some(event)) = timeout(SILENCE_MAX, events.next()).await {
        match event {
            Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                remember(version, &object);
                mirror.apply(stripped(object));
                mirror.seen(version);
            }
            Ok(WatchEvent::Deleted(object)) => {
                remember(version, &object);
                mirror.remove(&Key::of(&object), Some(stripped(object)));
                mirror.seen(version);
            }
            Ok(WatchEvent::Bookmark(bookmark)) => {
                *version = bookmark.metadata.resource_version;
                mirror.seen(version);
            }
            Ok(WatchEvent::Error(status)) if status.code == 410 => return Ok(End::Expired),
            Ok(WatchEvent::Error(status)) => return Err(kube::Error::Api(status)),
            // One object that cannot be read must not hide all others; a list would not read it either.
            Err(kube::Error::SerdeError(error)) => {
                tracing::warn!(what, %error, "an object in a watch cannot be read, left out");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(End::Closed)
}

/// Without what nothing in a control loop reads and every update would carry along.
fn stripped<K: Followed>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

fn remember<K: Followed>(version: &mut String, object: &K) {
    if let Some(new) = object.resource_version().filter(|new| !new.is_empty()) {
        *version = new;
    }
}
