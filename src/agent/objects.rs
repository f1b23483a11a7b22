//! ConfigMaps and Secrets that pods of this node refer to: each watched by name while someone needs it.
//!
//! The Node authorizer lets an agent see exactly these, and only one by one.

use crate::waker::Waker;
use k8s_openapi::{
    NamespaceResourceScope,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client, Resource};
use mk8s_client::{
    Selection,
    feed::{self, Change},
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long the first answer of the server is waited for.
const FIRST_ANSWER: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
enum State<K> {
    Unknown,
    Absent,
    Present(Arc<K>),
}

/// One object by name. The watch ends when the last holder drops it.
pub struct Watched<K> {
    state: watch::Receiver<State<K>>,
    wakers: Arc<Mutex<Vec<crate::waker::WeakWaker>>>,
    _stop: DropGuard,
}

impl<K> Watched<K> {
    /// The newest known version; `None` when there is none. `Err` while the server has not answered.
    pub async fn get(&self) -> Result<Option<Arc<K>>, ()> {
        let mut state = self.state.clone();
        let known = tokio::time::timeout(FIRST_ANSWER, state.wait_for(|state| !matches!(state, State::Unknown))).await;
        match known.map_err(drop)?.as_deref() {
            Ok(State::Present(object)) => Ok(Some(object.clone())),
            Ok(_) => Ok(None),
            Err(_) => Err(()),
        }
    }

    /// Without waiting.
    pub fn current(&self) -> Option<Arc<K>> {
        match &*self.state.borrow() {
            State::Present(object) => Some(object.clone()),
            _ => None,
        }
    }

    pub fn wake_on_change(&self, waker: &Waker) {
        self.wakers.lock().push(waker.weak());
    }
}

/// By namespace and name.
type Live<K> = HashMap<(String, String), Weak<Watched<K>>>;

struct Kind<K> {
    client: Client,
    live: Mutex<Live<K>>,
}

impl<K> Kind<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Debug
        + Send
        + Sync
        + 'static,
{
    fn watch(&self, namespace: &str, name: &str) -> Arc<Watched<K>> {
        let mut live = self.live.lock();
        live.retain(|_, watched| watched.strong_count() > 0);
        let key = (namespace.to_owned(), name.to_owned());
        if let Some(known) = live.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        let watched = Arc::new(self.start(namespace, name));
        live.insert(key, Arc::downgrade(&watched));
        watched
    }

    fn start(&self, namespace: &str, name: &str) -> Watched<K> {
        let stop = CancellationToken::new();
        let (sender, mut changes) = mpsc::channel(16);
        let api = Api::namespaced(self.client.clone(), namespace);
        let selector = Selection::fields(format!("metadata.name={name}"));
        feed::follow(api, selector, |change| change, sender, stop.clone());
        let (publish, state) = watch::channel(State::Unknown);
        let wakers: Arc<Mutex<Vec<crate::waker::WeakWaker>>> = Arc::default();
        let told = wakers.clone();
        tokio::spawn(async move {
            while let Some(change) = changes.recv().await {
                publish.send_modify(|state| match change {
                    Change::Applied(object) => *state = State::Present(object),
                    Change::Deleted(_) => *state = State::Absent,
                    Change::Synced if matches!(state, State::Unknown) => *state = State::Absent,
                    Change::Synced => {}
                });
                told.lock().retain(crate::waker::WeakWaker::wake);
            }
        });
        Watched { state, wakers, _stop: stop.drop_guard() }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Objects {
    config_maps: Arc<Kind<ConfigMap>>,
    secrets: Arc<Kind<Secret>>,
}

impl Objects {
    pub fn new(client: &Client) -> Objects {
        Objects {
            config_maps: Arc::new(Kind { client: client.clone(), live: Mutex::default() }),
            secrets: Arc::new(Kind { client: client.clone(), live: Mutex::default() }),
        }
    }
}

/// What one pod holds: each object it has asked for, until it ends.
pub struct Leases {
    objects: Objects,
    namespace: String,
    waker: Waker,
    config_maps: Mutex<HashMap<String, Arc<Watched<ConfigMap>>>>,
    secrets: Mutex<HashMap<String, Arc<Watched<Secret>>>>,
}

impl Leases {
    pub fn new(objects: &Objects, namespace: &str, waker: &Waker) -> Leases {
        Leases {
            objects: objects.clone(),
            namespace: namespace.to_owned(),
            waker: waker.clone(),
            config_maps: Mutex::default(),
            secrets: Mutex::default(),
        }
    }

    pub fn config_map(&self, name: &str) -> Arc<Watched<ConfigMap>> {
        let mut held = self.config_maps.lock();
        let new = || {
            let watched = self.objects.config_maps.watch(&self.namespace, name);
            watched.wake_on_change(&self.waker);
            watched
        };
        held.entry(name.to_owned()).or_insert_with(new).clone()
    }

    pub fn secret(&self, name: &str) -> Arc<Watched<Secret>> {
        let mut held = self.secrets.lock();
        let new = || {
            let watched = self.objects.secrets.watch(&self.namespace, name);
            watched.wake_on_change(&self.waker);
            watched
        };
        held.entry(name.to_owned()).or_insert_with(new).clone()
    }

    pub fn release(&self) {
        self.config_maps.lock().clear();
        self.secrets.lock().clear();
    }
}
