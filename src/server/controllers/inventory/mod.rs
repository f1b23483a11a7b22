//! What there is, of every kind: names, owners and finalizers, and nothing else.
//!
//! Controllers that care for objects of any kind (garbage collection, namespaces, quotas) share one watch per kind here.
//! Kinds come from discovery, and discovery is asked again when a custom resource definition or an aggregated API changes.
//!
//! Invariant: a record is told before its kind counts as synced.

mod kinds;
mod record;

pub(crate) use kinds::{ApiKind, Kinds, discover};
pub(crate) use record::{Change, FOREGROUND, ORPHAN, Record};

use crate::common::Context;
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use mk8s_client::{
    Key,
    informer::{Detail, Mirror, Selection, reflect},
    kube::{
        Api, Client, ResourceExt,
        core::{DynamicObject, PartialObjectMeta},
    },
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

type Handler = Box<dyn Fn(&Change) + Send + Sync>;

/// Cheap to clone; all clones are the same.
#[derive(Clone)]
pub(crate) struct Inventory {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    kinds: RwLock<Kinds>,
    followed: Mutex<HashMap<Arc<ApiKind>, Arc<Followed>>>,
    handlers: Mutex<Vec<Handler>>,
    synced: watch::Sender<bool>,
}

/// One kind's records, by name.
struct Followed {
    kind: Arc<ApiKind>,
    records: Mutex<HashMap<Key, Arc<Record>>>,
    /// How many there are in each namespace.
    counts: Mutex<HashMap<String, usize>>,
    synced: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Inventory {
    pub(crate) fn new(client: Client) -> Inventory {
        let (synced, _) = watch::channel(false);
        let shared =
            Shared { client, kinds: RwLock::default(), followed: Mutex::default(), handlers: Mutex::default(), synced };
        Inventory { shared: Arc::new(shared) }
    }

    /// The kinds that are served, as far as discovery knows.
    pub(crate) fn kinds(&self) -> Kinds {
        self.shared.kinds.read().clone()
    }

    /// How many objects of a kind a namespace holds, as far as is known.
    pub(crate) fn count(&self, kind: &Arc<ApiKind>, namespace: &str) -> usize {
        let followed = self.shared.followed.lock().get(kind).cloned();
        followed.and_then(|followed| followed.counts.lock().get(namespace).copied()).unwrap_or_default()
    }

    /// Calls back for each change. All handlers must be there before the inventory runs.
    pub(crate) fn handle(&self, handler: impl Fn(&Change) + Send + Sync + 'static) {
        self.shared.handlers.lock().push(Box::new(handler));
    }

    /// Returns once all kinds of the first discovery have been listed.
    pub(crate) async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // An error says that the inventory is gone, which cannot be while `self` is held.
        let _ = synced.wait_for(|synced| *synced).await;
    }

    /// Follows all kinds until the stop.
    pub(crate) async fn run(self, ctx: Context) {
        let changed = Arc::new(Notify::new());
        let definitions = ctx.informers.all::<CustomResourceDefinition>();
        let services = ctx.informers.all::<APIService>();
        definitions.handle({
            let changed = changed.clone();
            move |_| changed.notify_one()
        });
        services.handle({
            let changed = changed.clone();
            move |_| changed.notify_one()
        });
        let mut backoff = Duration::from_millis(50);
        loop {
            match discover(&self.shared.client).await {
                Ok(kinds) => {
                    backoff = Duration::from_millis(50);
                    self.follow(&ctx.stop, kinds);
                    if !*self.shared.synced.borrow() {
                        self.wait_for_all(&ctx.stop).await;
                        self.shared.synced.send_replace(true);
                    }
                    tokio::select! {
                        () = ctx.stop.cancelled() => return,
                        () = changed.notified() => {}
                    }
                }
                Err(error) => {
                    tracing::debug!(%error, "discovery failed, trying again");
                    tokio::select! {
                        () = ctx.stop.cancelled() => return,
                        () = tokio::time::sleep(backoff) => {}
                    }
                    backoff = (backoff * 2).min(Duration::from_secs(10));
                }
            }
        }
    }

    async fn wait_for_all(&self, stop: &CancellationToken) {
        let followed: Vec<_> = self.shared.followed.lock().values().cloned().collect();
        for kind in followed {
            let mut synced = kind.synced.subscribe();
            tokio::select! {
                () = stop.cancelled() => return,
                _ = synced.wait_for(|synced| *synced) => {}
            }
        }
    }

    /// Starts what is new and ends what is gone.
    fn follow(&self, stop: &CancellationToken, kinds: Kinds) {
        let mut followed = self.shared.followed.lock();
        let wanted: HashSet<Arc<ApiKind>> = kinds.all().filter(|kind| kind.is_followed()).cloned().collect();
        followed.retain(|kind, known| {
            let kept = wanted.contains(kind);
            if !kept {
                known.stop.cancel();
                let keys: Vec<Key> = known.records.lock().keys().cloned().collect();
                keys.iter().for_each(|key| self.shared.removed(known, key));
            }
            kept
        });
        for kind in wanted {
            followed.entry(kind.clone()).or_insert_with(|| self.start(stop, kind));
        }
        *self.shared.kinds.write() = kinds;
    }

    fn start(&self, stop: &CancellationToken, kind: Arc<ApiKind>) -> Arc<Followed> {
        let (synced, _) = watch::channel(false);
        let stop = stop.child_token();
        let followed = Arc::new(Followed {
            kind,
            records: Mutex::default(),
            counts: Mutex::default(),
            synced,
            stop: stop.clone(),
        });
        let mirror = KindMirror { shared: self.shared.clone(), followed: followed.clone() };
        let resource = followed.kind.resource();
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::all_with(self.shared.client.clone(), &resource);
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = reflect(api, Detail::Metadata, Selection::default(), mirror, &resource.plural) => {}
            }
        });
        followed
    }
}

impl Shared {
    fn tell(&self, change: Change) {
        self.handlers.lock().iter().for_each(|handler| handler(&change));
    }

    fn removed(&self, followed: &Followed, key: &Key) {
        let record = followed.records.lock().remove(key);
        if let Some(record) = record {
            let mut counts = followed.counts.lock();
            match counts.get_mut(&key.namespace) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(counts.remove(&key.namespace)),
            }
            drop(counts);
            self.tell(Change::Removed(record));
        }
    }
}

struct KindMirror {
    shared: Arc<Shared>,
    followed: Arc<Followed>,
}

impl Mirror<PartialObjectMeta<DynamicObject>> for KindMirror {
    fn apply(&self, object: PartialObjectMeta<DynamicObject>) {
        let Some(record) = Record::of(&self.followed.kind, &object.metadata) else { return };
        let record = Arc::new(record);
        let old = self.followed.records.lock().insert(record.key.clone(), record.clone());
        if old.is_none() {
            *self.followed.counts.lock().entry(record.key.namespace.clone()).or_default() += 1;
        }
        match old {
            // The name belongs to another object now: the one before is gone.
            Some(old) if old.uid != record.uid => self.shared.tell(Change::Removed(old)),
            _ => {}
        }
        self.shared.tell(Change::Applied(record));
    }

    fn remove(&self, key: &Key, last: Option<PartialObjectMeta<DynamicObject>>) {
        let current = self.followed.records.lock().get(key).map(|record| record.uid.clone());
        if last.is_none_or(|last| last.uid() == current) {
            self.shared.removed(&self.followed, key);
        }
    }

    fn listed(&self, keys: &HashSet<Key>) {
        let gone: Vec<Key> = self.followed.records.lock().keys().filter(|key| !keys.contains(*key)).cloned().collect();
        gone.iter().for_each(|key| self.shared.removed(&self.followed, key));
        self.followed.synced.send_replace(true);
    }
}
