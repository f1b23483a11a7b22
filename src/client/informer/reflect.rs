//! Keeps an informer's store like the server's: list, then watch from there, for ever.
//!
//! ```text
//!          ┌────────── 410 Gone ───────────┐
//!          ▼                               │
//!        List ──ok──▶ Watch(version) ──end, error──▶ Watch(last version seen)
//!          └─error: wait, again             └─ after an error: wait first
//! ```
//!
//! All kinds go through the same code: only [`Decoder`] knows types. The machinery would otherwise stand in the executable
//! once for each of some fifty kinds.

use super::Selection;
use crate::Key;
use futures::{AsyncBufReadExt, StreamExt, future::BoxFuture};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, WatchParams},
    core::{ListMeta, Request, Status},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use std::{collections::HashSet, fmt::Debug, marker::PhantomData, time::Duration};
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
    /// Nobody wants to know more.
    Unwanted,
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
    /// What must end before more is applied, if anything; false when nothing more is wanted at all.
    fn settle(&self) -> Option<BoxFuture<'_, bool>> {
        None
    }
}

/// How much of each object is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    Whole,
    /// `PartialObjectMetadata`: of kinds of which only names, labels and owners matter.
    Metadata,
}

/// Keeps a mirror like the server's state until it is dropped, or until the mirror wants no more. `what` names it in logs.
pub async fn reflect<K: Followed>(
    api: Api<K>,
    detail: Detail,
    selection: Selection,
    mirror: impl Mirror<K>,
    what: &str,
) {
    let request = Request::new(api.resource_url());
    let decoder = Decoder { mirror, kind: PhantomData };
    let reflection = Reflection { client: api.into_client(), request, detail, selection, mirror: &decoder, what };
    reflection.run().await;
}

/// A mirror that takes text.
trait Sink: Send + Sync {
    /// Applies a page of a list and notes what was on it.
    fn page(&self, text: &str, listed: &mut HashSet<Key>) -> serde_json::Result<ListMeta>;
    /// Applies an object and returns its version.
    fn apply(&self, text: &str) -> serde_json::Result<Option<String>>;
    fn remove(&self, text: &str) -> serde_json::Result<Option<String>>;
    fn listed(&self, keys: &HashSet<Key>);
    fn seen(&self, version: &str);
    fn settle(&self) -> Option<BoxFuture<'_, bool>>;
}

struct Decoder<K, M> {
    mirror: M,
    kind: PhantomData<fn(K)>,
}

#[derive(Deserialize)]
#[serde(bound = "K: DeserializeOwned")]
struct Page<K> {
    #[serde(default)]
    metadata: ListMeta,
    items: Vec<K>,
}

impl<K: Followed, M: Mirror<K>> Sink for Decoder<K, M> {
    fn page(&self, text: &str, listed: &mut HashSet<Key>) -> serde_json::Result<ListMeta> {
        let page: Page<K> = serde_json::from_str(text)?;
        for object in page.items {
            listed.insert(Key::of(&object));
            self.mirror.apply(stripped(object));
        }
        Ok(page.metadata)
    }

    fn apply(&self, text: &str) -> serde_json::Result<Option<String>> {
        let object: K = serde_json::from_str(text)?;
        let version = object.resource_version();
        self.mirror.apply(stripped(object));
        Ok(version)
    }

    fn remove(&self, text: &str) -> serde_json::Result<Option<String>> {
        let object: K = serde_json::from_str(text)?;
        let version = object.resource_version();
        self.mirror.remove(&Key::of(&object), Some(stripped(object)));
        Ok(version)
    }

    fn listed(&self, keys: &HashSet<Key>) {
        self.mirror.listed(keys);
    }

    fn seen(&self, version: &str) {
        self.mirror.seen(version);
    }

    fn settle(&self) -> Option<BoxFuture<'_, bool>> {
        self.mirror.settle()
    }
}

/// Without what nothing in a control loop reads and every update would carry along.
fn stripped<K: Followed>(mut object: K) -> K {
    object.meta_mut().managed_fields = None;
    object
}

/// An event of a watch, its object still text.
#[derive(Deserialize)]
struct Event<'t> {
    #[serde(rename = "type")]
    kind: &'t str,
    #[serde(borrow)]
    object: &'t RawValue,
}

/// What of a bookmark matters.
#[derive(Deserialize)]
struct Bookmark {
    metadata: BookmarkMeta,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
}

struct Reflection<'r> {
    client: Client,
    request: Request,
    detail: Detail,
    selection: Selection,
    mirror: &'r dyn Sink,
    what: &'r str,
}

impl Reflection<'_> {
    async fn run(&self) {
        let mut backoff = BACKOFF_MIN;
        let mut next = Next::List;
        loop {
            let started = Instant::now();
            // Whether what just ended may be followed at once.
            let (step, healthy) = match next {
                Next::List => match self.list().await {
                    Ok(Some(version)) => (Next::Watch(version), true),
                    Ok(None) => return,
                    Err(error) => {
                        tracing::debug!(what = self.what, %error, "list failed, trying again");
                        (Next::List, false)
                    }
                },
                Next::Watch(mut version) => match self.watch(&mut version).await {
                    // A watch that ends at once is no better than an error: without a pause it would spin.
                    Ok(End::Closed) => (Next::Watch(version), started.elapsed() > BACKOFF_MIN),
                    Ok(End::Expired) => (Next::List, started.elapsed() > BACKOFF_MIN),
                    Ok(End::Unwanted) => return,
                    Err(error) => {
                        tracing::debug!(what = self.what, %error, "watch failed, trying again");
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

    /// Waits for the mirror; false when it wants no more.
    async fn settled(&self) -> bool {
        match self.mirror.settle() {
            Some(settling) => settling.await,
            None => true,
        }
    }

    /// Brings the mirror to the server's state and says which version that is; nothing when no one wants to know.
    async fn list(&self) -> kube::Result<Option<String>> {
        let mut listed = HashSet::new();
        let mut params = ListParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            limit: Some(PAGE),
            ..ListParams::default()
        };
        loop {
            let request = match self.detail {
                Detail::Whole => self.request.list(&params),
                Detail::Metadata => self.request.list_metadata(&params),
            };
            let text = self.client.request_text(request.map_err(kube::Error::BuildRequest)?).await?;
            let page = self.mirror.page(&text, &mut listed).map_err(kube::Error::SerdeError)?;
            if !self.settled().await {
                return Ok(None);
            }
            params.continue_token = page.continue_.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                let version = page.resource_version.unwrap_or_default();
                self.mirror.listed(&listed);
                self.mirror.seen(&version);
                return Ok(self.settled().await.then_some(version));
            }
        }
    }

    /// Applies changes until the watch ends; `version` is always the last one seen.
    async fn watch(&self, version: &mut String) -> kube::Result<End> {
        let params = WatchParams {
            label_selector: self.selection.labels.clone(),
            field_selector: self.selection.fields.clone(),
            timeout: Some(WATCH_SECONDS),
            ..WatchParams::default()
        };
        let request = match self.detail {
            Detail::Whole => self.request.watch(&params, version),
            Detail::Metadata => self.request.watch_metadata(&params, version),
        };
        let lines = match self.client.request_stream(request.map_err(kube::Error::BuildRequest)?).await {
            Ok(stream) => stream.lines(),
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(End::Expired),
            Err(error) => return Err(error),
        };
        let mut lines = std::pin::pin!(lines);
        while let Ok(Some(line)) = timeout(SILENCE_MAX, lines.next()).await {
            let line = line.map_err(kube::Error::ReadEvents)?;
            match self.on_event(&line, version) {
                Ok(None) => {}
                Ok(Some(status)) if status.code == 410 => return Ok(End::Expired),
                Ok(Some(status)) => return Err(kube::Error::Api(Box::new(status))),
                // One object that cannot be read must not hide all others; a list would not read it either.
                Err(error) => {
                    tracing::warn!(what = self.what, %error, "an object in a watch cannot be read, left out");
                }
            }
            if !self.settled().await {
                return Ok(End::Unwanted);
            }
        }
        Ok(End::Closed)
    }

    /// Applies one line of a watch; an error that the server tells is returned.
    fn on_event(&self, line: &str, version: &mut String) -> serde_json::Result<Option<Status>> {
        let event: Event<'_> = serde_json::from_str(line)?;
        let text = event.object.get();
        let new = match event.kind {
            "ADDED" | "MODIFIED" => self.mirror.apply(text)?,
            "DELETED" => self.mirror.remove(text)?,
            "BOOKMARK" => Some(serde_json::from_str::<Bookmark>(text)?.metadata.resource_version),
            "ERROR" => return serde_json::from_str(text).map(Some),
            // What later servers may tell.
            _ => None,
        };
        if let Some(new) = new.filter(|new| !new.is_empty()) {
            *version = new;
            self.mirror.seen(version);
        }
        Ok(None)
    }
}
