//! Workers of a queue: the edge where a reconciler's errors and panics end.

use super::{Item, WorkQueue};
use futures::FutureExt;
use std::{
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};
use tokio::task::JoinSet;

/// What follows a reconcile that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing, until something changes.
    Done,
    /// Another look after this time, though nothing changed.
    After(Duration),
    /// Another look with the item's growing delay, as after a failure, but without one being reported.
    Again,
}

/// Totals since the start.
#[derive(Debug, Default)]
pub struct WorkerCounts {
    pub reconciles: AtomicU64,
    pub errors: AtomicU64,
    pub panics: AtomicU64,
}

/// Runs `workers` workers until the queue is shut down and empty. `reconcile` is given each key by one worker at a time;
/// its errors are logged and tried again with growing delays, its panics too.
pub async fn run_workers<T, R, F, E>(queue: WorkQueue<T>, workers: usize, reconcile: R)
where
    T: Item + Sync + fmt::Display,
    R: Fn(T) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Outcome, E>> + Send + 'static,
    E: fmt::Display + Send + 'static,
{
    let mut running = JoinSet::new();
    for _ in 0..workers.max(1) {
        running.spawn(work(queue.clone(), reconcile.clone()));
    }
    while running.join_next().await.is_some() {}
}

async fn work<T, R, F, E>(queue: WorkQueue<T>, reconcile: R)
where
    T: Item + fmt::Display,
    R: Fn(T) -> F,
    F: Future<Output = Result<Outcome, E>>,
    E: fmt::Display,
{
    while let Some(item) = queue.get().await {
        let counts = queue.counts();
        counts.reconciles.fetch_add(1, Ordering::Relaxed);
        // Called inside the future, so that a panic before its first await is caught as well.
        let attempt = AssertUnwindSafe(async { reconcile(item.clone()).await }).catch_unwind().await;
        match attempt {
            Ok(Ok(Outcome::Done)) => queue.forget(&item),
            Ok(Ok(Outcome::After(delay))) => {
                queue.forget(&item);
                queue.add_after(item.clone(), delay);
            }
            Ok(Ok(Outcome::Again)) => queue.add_rate_limited(item.clone()),
            Ok(Err(error)) => {
                counts.errors.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(queue = queue.name(), key = %item, %error, "reconcile failed, trying again");
                queue.add_rate_limited(item.clone());
            }
            Err(panic) => {
                counts.panics.fetch_add(1, Ordering::Relaxed);
                let panic = message(panic.as_ref());
                tracing::error!(queue = queue.name(), key = %item, panic, "reconcile panicked, trying again");
                queue.add_rate_limited(item.clone());
            }
        }
        queue.done(&item);
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("of an unknown kind")
}
