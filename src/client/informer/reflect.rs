//! Keeps an informer's store like the server's: list, then watch from there, for ever.
//!
//! ```text
//!          ┌───────────── 410 ─────────────┐
//!          ▼                               │
//!        List ──ok──▶ Watch(version) ──end, error──▶ Watch(last version seen)
//!          └─error: wait, again             └─ after an error: wait first
//! ```

use super::{Informer, Kind, Selection};
use crate::Key;
use futures::TryStreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, WatchEvent, WatchParams},
};
use std::{collections::HashSet, time::Duration};
use tokio::time::{Instant, sleep};

/// Objects asked for at once: one page is decoded while little else is held.
const PAGE: u32 = 500;

/// The server ends a watch after this; resuming it costs one request.
const WATCH_SECONDS: u32 = 290;

/// A server that says nothing for this long after it should have ended the watch is gone.
const SILENCE_MAX: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 10);

const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// `Api::namespaced` asks at compile time for a namespaced kind, which a generic informer does not know.
pub(super) fn namespaced<K: Kind>(client: Client, namespace: &str) -> Api<K> {
    let resource = kube::core::ApiResource::erase::<K>(&());
    let _ = resource;
    Api::all_in(client, namespace)
}

enum State {
    List,
    Watch { version: String },
}

pub(super) async fn run<K: Kind>(api: Api<K>, selection: Selection, informer: Informer<K>) {
    let mut backoff = BACKOFF_MIN;
    let mut state = State::List;
    loop {
        let started = Instant::now();
        let (next, error) = match state {
            State::List => match list(&api, &selection, &informer).await {
                Ok(version) => (State::Watch { version }, None),
                Err(error) => (State::List, Some(error)),
            },
            State::Watch { mut version } => match watch(&api, &selection, &informer, &mut version).await {
                Ok(End::Closed) => (State::Watch { version }, None),
                Ok(End::Expired) => (State::List, None),
                Err(error) => (State::Watch { version }, Some(error)),
            },
        };
        let relisted = matches!((&state_kind(&next), error.is_none()), (Kindof::Watch, true));
        state = next;
        // A watch that ends at once is no better than an error: without a pause it would spin.
        let hasty = error.is_none() && started.elapsed() < BACKOFF_MIN && !relisted;
        if let Some(error) = &error {
            tracing::debug!(kind = %K::kind(&()), %error, "list or watch failed, trying again");
        }
        if error.is_some() || hasty {
            sleep(backoff + jitter(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        } else {
            backoff = BACKOFF_MIN;
        }
    }
}
