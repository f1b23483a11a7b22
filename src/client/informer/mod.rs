//! What a process knows of the cluster: one list and watch per kind and selection, decoded once, shared by all.
//!
//! ```text
//! list ──▶ Store ──▶ handlers (in order, never waiting) ──▶ work queues
//!   │        ▲                      └──▶ subscriptions (bounded; a slow one is resynced)
//!   ▼        │
//! watch ─────┘   lost: resumed from the last resourceVersion; too old: listed again, differences become changes
//! ```
//!
//! A store may lag behind the server. Who needs the truth asks the server; who decides from a store must be content to
//! decide again when it moves.

mod places;
mod reflect;
mod store;
mod subscription;
#[cfg(test)]
mod tests;

pub use reflect::{Detail, Followed, Mirror, reflect};
pub use store::Lookup;
pub use subscription::{Notice, Subscription};

use crate::Key;
use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use std::{
    any::{Any, TypeId},
    collections::{HashMap, HashSet},
    fmt::Debug,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use store::Store;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// A typed kind that can be followed.
pub trait Kind: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}

impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static> Kind for K {}

/// Which objects of a kind; by default all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Selection {
    /// A label selector as in `kubectl -l`.
    pub labels: Option<String>,
    /// A field selector as `spec.nodeName=n1`.
    pub fields: Option<String>,
}

impl Selection {
    pub fn fields(fields: impl Into<String>) -> Selection {
        Selection { fields: Some(fields.into()), ..Selection::default() }
    }

    pub fn labels(labels: impl Into<String>) -> Selection {
        Selection { labels: Some(labels.into()), ..Selection::default() }
    }
}

/// One difference between what the store held and what it holds.
#[derive(Debug)]
pub enum Change<K> {
    Added(Arc<K>),
    Updated { old: Arc<K>, new: Arc<K> },
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The newest version known: of a deleted object its last.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Change::Added(new) | Change::Updated { new, .. } | Change::Deleted(new) => new,
        }
    }

    pub fn old(&self) -> Option<&Arc<K>> {
        match self {
            Change::Added(_) => None,
            Change::Updated { old, .. } | Change::Deleted(old) => Some(old),
        }
    }
}

// Not derived: shared objects are cloned by reference, whatever `K` is.
impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        match self {
            Change::Added(new) => Change::Added(new.clone()),
            Change::Updated { old, new } => Change::Updated { old: old.clone(), new: new.clone() },
            Change::Deleted(old) => Change::Deleted(old.clone()),
        }
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// All informers of a process. Cheap to clone; ends with the token it was made with.
#[derive(Clone)]
pub struct Informers {
    shared: Arc<Shared>,
}

/// The type, the namespace when it is only one, and the selection.
type Identity = (TypeId, Option<String>, Selection);

struct Shared {
    client: Client,
    stop: CancellationToken,
    tasks: TaskTracker,
    running: Mutex<HashMap<Identity, Arc<dyn Any + Send + Sync>>>,
}

impl Informers {
    pub fn new(client: Client, stop: CancellationToken) -> Informers {
        let shared = Shared { client, stop, tasks: TaskTracker::new(), running: Mutex::default() };
        Informers { shared: Arc::new(shared) }
    }

    pub fn client(&self) -> &Client {
        &self.shared.client
    }

    /// The informer of all objects of a kind.
    pub fn all<K: Kind>(&self) -> Informer<K> {
        self.select(Selection::default())
    }

    /// The informer of a selection over all namespaces; started when it is asked for the first time.
    pub fn select<K: Kind>(&self, selection: Selection) -> Informer<K> {
        self.start(None, selection, |client| Api::all(client))
    }

    /// The same within one namespace.
    pub fn select_in<K: Kind + Resource<Scope = NamespaceResourceScope>>(
        &self,
        namespace: &str,
        selection: Selection,
    ) -> Informer<K> {
        self.start(Some(namespace), selection, |client| Api::namespaced(client, namespace))
    }

    fn start<K: Kind>(
        &self,
        namespace: Option<&str>,
        selection: Selection,
        api: impl FnOnce(Client) -> Api<K>,
    ) -> Informer<K> {
        let mut running = self.shared.running.lock();
        let identity = (TypeId::of::<K>(), namespace.map(str::to_owned), selection.clone());
        let known = running.entry(identity).or_insert_with(|| {
            let informer = Informer::<K>::idle();
            let (api, mirror) = (api(self.shared.client.clone()), informer.clone());
            let stop = self.shared.stop.clone();
            self.shared.tasks.spawn(async move {
                let kind = K::kind(&());
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = reflect(api, Detail::Whole, selection, mirror, &kind) => {}
                }
            });
            Arc::new(informer)
        });
        known.downcast_ref::<Informer<K>>().expect("the map's key holds the type").clone()
    }

    /// Returns once all watches have ended, after the token was cancelled.
    pub async fn stopped(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }
}

/// What is known of one selection of one kind. Cheap to clone.
pub struct Informer<K> {
    inner: Arc<Inner<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Informer { inner: self.inner.clone() }
    }
}

struct Inner<K> {
    store: RwLock<Store<K>>,
    /// Held while a change is applied and told, so that handlers see changes in the store's order.
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
    /// Every change up to this version is in the store.
    seen: AtomicU64,
}

impl<K: Kind> Informer<K> {
    fn idle() -> Informer<K> {
        let (synced, _) = watch::channel(false);
        let seen = AtomicU64::new(0);
        Informer { inner: Arc::new(Inner { store: RwLock::default(), handlers: Mutex::default(), synced, seen }) }
    }

    /// An informer that nothing feeds but `apply` and `remove`: for tests of what reads one.
    pub fn fixed(objects: impl IntoIterator<Item = K>) -> Informer<K> {
        let informer = Informer::idle();
        for object in objects {
            informer.apply(object);
        }
        informer.inner.synced.send_replace(true);
        informer
    }

    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.inner.store.read().get(namespace, name).cloned()
    }

    pub fn by_key(&self, key: &Key) -> Option<Arc<K>> {
        self.get(&key.namespace, &key.name)
    }

    /// Everything, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.inner.store.read().list()
    }

    /// Everything in a namespace, by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.inner.store.read().list_in(namespace)
    }

    /// What a predicate holds for, in a namespace, by name.
    pub fn select_in(&self, namespace: &str, wanted: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.inner.store.read().select_in(namespace, wanted)
    }

    pub fn len(&self) -> usize {
        self.inner.store.read().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Objects one of whose owners has this uid.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.inner.store.read().owned_by(uid)
    }

    /// Keeps an index from now on. Asking again under the same name changes nothing.
    pub fn index(&self, name: &'static str, terms: fn(&K) -> Vec<String>) {
        self.inner.store.write().add_index(name, terms);
    }

    /// Objects that an index files under a term.
    ///
    /// Panics when there is no index of that name: a mistake of the caller that its first test shows.
    pub fn indexed(&self, name: &'static str, term: &str) -> Vec<Arc<K>> {
        self.inner.store.read().indexed(name, term)
    }

    /// Many lookups under one read lock.
    pub fn read<R>(&self, look: impl FnOnce(&dyn Lookup<K>) -> R) -> R {
        look(&*self.inner.store.read())
    }

    /// Calls back for each change, in order, first for what exists already as additions.
    ///
    /// The handler runs between the watch and the store's next change: it must not wait and must not register handlers.
    pub fn handle(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.inner.handlers.lock();
        let existing = self.list();
        for object in existing {
            handler(&Change::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// Changes as notices to wait for, first what exists as additions. One that falls `capacity` behind is resynced.
    pub fn subscribe(&self, capacity: usize) -> Subscription<K> {
        subscription::subscribe(self, capacity)
    }

    /// Returns once the first list is in the store.
    pub async fn synced(&self) {
        let mut synced = self.inner.synced.subscribe();
        // An error says that the informer is gone, which cannot be while `self` is held.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    pub fn is_synced(&self) -> bool {
        *self.inner.synced.borrow()
    }

    /// Puts a newer version in the store. Reflection does it; tests may.
    pub fn apply(&self, object: K) {
        let handlers = self.inner.handlers.lock();
        let change = self.inner.store.write().apply(object);
        if let Some(change) = change {
            handlers.iter().for_each(|handler| handler(&change));
        }
    }

    /// Takes an object out of the store; `last` is its last version where known.
    pub fn remove(&self, key: &Key, last: Option<K>) {
        let handlers = self.inner.handlers.lock();
        let change = self.inner.store.write().remove(key, last);
        if let Some(change) = change {
            handlers.iter().for_each(|handler| handler(&change));
        }
    }

    /// Every change up to this resourceVersion is in the store: who remembers the version of an own write knows whether
    /// the store has it. 0 before the first list.
    pub fn seen(&self) -> u64 {
        self.inner.seen.load(Ordering::Acquire)
    }
}

impl<K: Kind> Mirror<K> for Informer<K> {
    fn apply(&self, object: K) {
        Informer::apply(self, object);
    }

    fn remove(&self, key: &Key, last: Option<K>) {
        Informer::remove(self, key, last);
    }

    fn listed(&self, keys: &HashSet<Key>) {
        let gone = self.inner.store.read().keys_not_in(keys);
        for key in gone {
            Informer::remove(self, &key, None);
        }
        self.inner.synced.send_replace(true);
    }

    fn seen(&self, version: &str) {
        if let Ok(version) = version.parse() {
            self.inner.seen.fetch_max(version, Ordering::AcqRel);
        }
    }
}
