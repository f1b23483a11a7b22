//! One kind followed as changes in order, for an owner that keeps its own picture (the scheduler's snapshot, the proxy's
//! tables) and so wants no second copy in an informer.
//!
//! A lost watch begins anew with a list; what disappeared meanwhile arrives as a removal, so receivers never see the
//! difference.

use crate::{
    Key,
    informer::{Detail, Mirror, Selection, reflect},
};
use futures::future::BoxFuture;
use kube::{Api, Resource, ResourceExt};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    fmt::Debug,
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
    selection: Selection,
    into: impl Fn(Change<K>) -> T + Send + Sync + 'static,
    sender: mpsc::Sender<T>,
    stop: CancellationToken,
) -> tokio::task::JoinHandle<()>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    T: Send + 'static,
{
    let picture = Mutex::new(Picture { known: HashMap::new(), synced: false, untold: VecDeque::new() });
    let feed = Feed { picture, into, sender };
    tokio::spawn(async move {
        let kind = K::kind(&());
        tokio::select! {
            () = stop.cancelled() => {}
            () = reflect(api, Detail::Whole, selection, feed, &kind) => {}
        }
    })
}

struct Feed<K, T, F> {
    picture: Mutex<Picture<K, T>>,
    into: F,
    sender: mpsc::Sender<T>,
}

struct Picture<K, T> {
    known: HashMap<Key, Arc<K>>,
    synced: bool,
    /// What waits for room in the channel.
    untold: VecDeque<T>,
}

impl<K, T, F> Mirror<K> for Feed<K, T, F>
where
    K: Resource + Clone + Send + Sync + 'static,
    T: Send + 'static,
    F: Fn(Change<K>) -> T + Send + Sync + 'static,
{
    fn apply(&self, object: K) {
        let mut picture = self.picture.lock();
        let key = Key::of(&object);
        if picture.known.get(&key).is_some_and(|old| old.resource_version() == object.resource_version()) {
            return;
        }
        let object = Arc::new(object);
        picture.known.insert(key, object.clone());
        picture.untold.push_back((self.into)(Change::Applied(object)));
    }

    fn remove(&self, key: &Key, last: Option<K>) {
        let mut picture = self.picture.lock();
        let known = picture.known.remove(key);
        if let Some(object) = last.map(Arc::new).or(known) {
            picture.untold.push_back((self.into)(Change::Deleted(object)));
        }
    }

    fn listed(&self, keys: &HashSet<Key>) {
        let gone: Vec<Key> = self.picture.lock().known.keys().filter(|key| !keys.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.remove(key, None));
        let mut picture = self.picture.lock();
        if !std::mem::replace(&mut picture.synced, true) {
            picture.untold.push_back((self.into)(Change::Synced));
        }
    }

    fn settle(&self) -> Option<BoxFuture<'_, bool>> {
        if self.picture.lock().untold.is_empty() {
            return None;
        }
        Some(Box::pin(async {
            loop {
                let Some(next) = self.picture.lock().untold.pop_front() else { return true };
                if self.sender.send(next).await.is_err() {
                    return false;
                }
            }
        }))
    }
}
