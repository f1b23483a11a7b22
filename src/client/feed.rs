//! One kind followed as changes in order, for an owner that keeps its own picture (the scheduler's snapshot, the proxy's
//! tables) and so wants no second copy in an informer.
//!
//! A lost watch begins anew with a list; what disappeared meanwhile arrives as a removal, so receivers never see the
//! difference.

use futures::{Stream, StreamExt};
use kube::{
    Api, Resource, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// One change of one object of a kind.
#[derive(Debug, Clone)]
pub enum Change<K> {
    /// It is new, or it is a newer version.
    Applied(Arc<K>),
    /// It is gone; this is its last known version.
    Deleted(Arc<K>),
    /// Everything that existed at the start has been delivered. Comes once.
    Synced,
}

/// Follows a kind until `stop`, or until the receiver is gone. A full channel holds back the watch; nothing is lost.
pub fn follow<K, T>(
    api: Api<K>,
    selector: watcher::Config,
    into: impl Fn(Change<K>) -> T + Send + Sync + 'static,
    sender: mpsc::Sender<T>,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<()>
where
    K: Resource + Clone + DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
    T: Send + 'static,
{
    let events = watcher(api, selector).default_backoff();
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            // An error here says that the receiver is gone: nobody follows any more.
            _ = deliver(events, into, &sender) => {}
        }
    })
}

async fn deliver<K, T>(
    events: impl Stream<Item = Result<watcher::Event<K>, watcher::Error>>,
    into: impl Fn(Change<K>) -> T,
    sender: &mpsc::Sender<T>,
) -> Result<(), mpsc::error::SendError<T>>
where
    K: ResourceExt,
{
    let mut events = std::pin::pin!(events);
    let mut known: HashMap<(Option<String>, String), Arc<K>> = HashMap::new();
    let mut listed: Option<HashSet<(Option<String>, String)>> = None;
    let mut synced = false;
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Init) => listed = Some(HashSet::new()),
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                let key = (object.namespace(), object.name_any());
                if let Some(listed) = &mut listed {
                    listed.insert(key.clone());
                }
                let seen = known.get(&key).is_some_and(|old| old.resource_version() == object.resource_version());
                if !seen {
                    let object = Arc::new(object);
                    known.insert(key, object.clone());
                    sender.send(into(Change::Applied(object))).await?;
                }
            }
            Ok(watcher::Event::InitDone) => {
                let listed = listed.take().unwrap_or_default();
                let gone: Vec<_> = known.keys().filter(|key| !listed.contains(*key)).cloned().collect();
                for key in gone {
                    if let Some(object) = known.remove(&key) {
                        sender.send(into(Change::Deleted(object))).await?;
                    }
                }
                if !std::mem::replace(&mut synced, true) {
                    sender.send(into(Change::Synced)).await?;
                }
            }
            Ok(watcher::Event::Delete(object)) => {
                known.remove(&(object.namespace(), object.name_any()));
                sender.send(into(Change::Deleted(Arc::new(object)))).await?;
            }
            Err(error) => {
                tracing::warn!(kind = std::any::type_name::<K>(), %error, "watch failed, trying again");
            }
        }
    }
    Ok(())
}
