//! What all control loops share.

pub(crate) mod backends;
pub(crate) mod batch;
pub(crate) mod claims;
pub(crate) mod emptying;
pub(crate) mod failure;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
pub(crate) mod fixtures;
pub(crate) mod history;
#[cfg(test)]
pub(crate) mod interruption;
pub(crate) mod own_writes;
pub(crate) mod owners;
pub(crate) mod pods;
pub(crate) mod selectors;
pub(crate) mod slices;
#[cfg(test)]
pub(crate) mod succession;
pub(crate) mod updates;
pub(crate) mod volumes;

pub(crate) use failure::{Failure, Result};

use crate::Options;
use mk8s_client::{
    EventRecorder, Informer, Informers, Key, Kind, Outcome, WorkQueue,
    kube::{Api, Client, Resource, core::NamespaceResourceScope},
    run_workers,
};
use std::{future::Future, sync::Arc};
use tokio_util::sync::CancellationToken;

/// What every control loop is given.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    pub(crate) events: EventRecorder,
    pub(crate) options: Arc<Options>,
    pub(crate) stop: CancellationToken,
}

impl Context {
    pub(crate) fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Works a queue off until the stop. A conflict means that a newer version is on its way: tried again without a word.
    pub(crate) async fn serve<T, R, F>(&self, queue: WorkQueue<T>, workers: usize, reconcile: R)
    where
        T: mk8s_client::queue::Item + Sync + std::fmt::Display,
        R: Fn(T) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<Outcome>> + Send + 'static,
    {
        let forgiving = move |key: T| {
            let attempt = reconcile(key);
            async move {
                match attempt.await {
                    Err(failure) if failure.is_conflict() => Ok(Outcome::Again),
                    other => other,
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = run_workers(queue, workers, forgiving) => {}
        }
    }
}

/// Each change of an object queues its key.
pub(crate) fn queue_changes<K: Kind>(informer: &Informer<K>, queue: &WorkQueue<Key>) {
    let queue = queue.clone();
    informer.handle(move |change| queue.add(Key::of(change.object().as_ref())));
}
