//! A work queue with client-go's semantics: a key waits at most once, is worked on by one worker at a time, and comes
//! again if it was added meanwhile. Failures come back later and later.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    future::Future,
    hash::Hash,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// The first retry of a failed key comes after this, each further one after twice as long.
const RETRY_FIRST: Duration = Duration::from_millis(5);
const RETRY_LAST: Duration = Duration::from_secs(1000);

/// See the module. Cheap to clone.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    notify: Notify,
}

struct State<T> {
    ready: VecDeque<T>,
    /// Waiting in `ready`, or to be put there when its worker is done.
    dirty: HashSet<T>,
    processing: HashSet<T>,
    delayed: BTreeMap<(Instant, u64), T>,
    sequence: u64,
    failures: HashMap<T, u32>,
}

impl<T: Clone + Eq + Hash> Default for WorkQueue<T> {
    fn default() -> Self {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            delayed: BTreeMap::new(),
            sequence: 0,
            failures: HashMap::new(),
        };
        Self { shared: Arc::new(Shared { state: Mutex::new(state), notify: Notify::new() }) }
    }
}

impl<T: Clone + Eq + Hash> WorkQueue<T> {
    /// Adds a key, unless it waits already.
    pub fn add(&self, key: T) {
        self.lock().add(key);
        self.shared.notify.notify_one();
    }

    /// Adds a key when some time has passed.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.lock();
        state.sequence += 1;
        let at = (Instant::now() + delay, state.sequence);
        state.delayed.insert(at, key);
        drop(state);
        self.shared.notify.notify_one();
    }

    /// Adds a key that has failed, later with each failure.
    pub fn retry(&self, key: T) {
        let failures = {
            let mut state = self.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures += 1;
            *failures
        };
        let delay = RETRY_FIRST.saturating_mul(1 << (failures - 1).min(24)).min(RETRY_LAST);
        self.add_after(key, delay);
    }

    /// The key is well: its next failure is a first one.
    pub fn forget(&self, key: &T) {
        self.lock().failures.remove(key);
    }

    /// The next key; it stays with the caller until [`WorkQueue::done`].
    pub async fn next(&self) -> T {
        loop {
            let wake = {
                let mut state = self.lock();
                state.release(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.dirty.remove(&key);
                    state.processing.insert(key.clone());
                    if !state.ready.is_empty() {
                        self.shared.notify.notify_one();
                    }
                    return key;
                }
                state.delayed.keys().next().map(|(at, _)| *at)
            };
            match wake {
                Some(at) => drop(tokio::time::timeout_at(at, self.shared.notify.notified()).await),
                None => self.shared.notify.notified().await,
            }
        }
    }

    /// The caller is done with a key; it comes again if it was added meanwhile.
    pub fn done(&self, key: &T) {
        let mut state = self.lock();
        state.processing.remove(key);
        if state.dirty.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.shared.notify.notify_one();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lock().ready.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone + Eq + Hash> State<T> {
    fn add(&mut self, key: T) {
        if self.dirty.insert(key.clone()) && !self.processing.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn release(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.add(key);
        }
    }
}

/// What a reconcile asks for when it went well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing to do until something changes.
    Wait,
    /// Look again after this long, whatever happens.
    After(Duration),
}

/// Works on a queue's keys with several workers until `stop`. An error or a panic is logged under `name`, and the key
/// comes again later.
pub async fn run_workers<T, F, Fut, E>(
    name: &'static str,
    queue: WorkQueue<T>,
    workers: usize,
    stop: CancellationToken,
    reconcile: F,
) where
    T: Clone + Eq + Hash + std::fmt::Display + Send + Sync + 'static,
    F: Fn(T) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Next, E>> + Send,
    E: std::fmt::Display + Send,
{
    let mut set = JoinSet::new();
    for _ in 0..workers {
        let (queue, stop, reconcile) = (queue.clone(), stop.clone(), reconcile.clone());
        set.spawn(async move {
            loop {
                let key = tokio::select! {
                    () = stop.cancelled() => return,
                    key = queue.next() => key,
                };
                match AssertUnwindSafe(reconcile(key.clone())).catch_unwind().await {
                    Ok(Ok(next)) => {
                        queue.forget(&key);
                        if let Next::After(delay) = next {
                            queue.add_after(key.clone(), delay);
                        }
                    }
                    Ok(Err(error)) => {
                        tracing::debug!(controller = name, %key, %error, "reconcile failed, trying again");
                        queue.retry(key.clone());
                    }
                    Err(_) => {
                        tracing::error!(controller = name, %key, "reconcile panicked, trying again later");
                        queue.retry(key.clone());
                    }
                }
                queue.done(&key);
            }
        });
    }
    while set.join_next().await.is_some() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_is_worked_on_once_at_a_time() {
        let queue = WorkQueue::default();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert_eq!(queue.next().await, "b");
        assert!(queue.is_empty(), "a is being worked on");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
        queue.done(&"a");
        queue.done(&"b");
        assert!(queue.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_come_back_later_and_later() {
        let queue = WorkQueue::default();
        let begun = Instant::now();
        let mut delays = Vec::new();
        for _ in 0..4 {
            let before = begun.elapsed();
            queue.retry("a");
            assert_eq!(queue.next().await, "a");
            queue.done(&"a");
            delays.push((begun.elapsed() - before).as_millis());
        }
        assert_eq!(delays, [5, 10, 20, 40]);
        queue.forget(&"a");
        let before = begun.elapsed();
        queue.retry("a");
        queue.next().await;
        assert_eq!((begun.elapsed() - before).as_millis(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_delay_is_served_first() {
        let queue = WorkQueue::default();
        queue.add_after("late", Duration::from_secs(5));
        queue.add_after("soon", Duration::from_secs(1));
        assert_eq!((queue.next().await, queue.next().await), ("soon", "late"));
    }

    #[tokio::test]
    async fn a_panic_is_caught_and_the_key_comes_again() {
        let queue = WorkQueue::default();
        let stop = CancellationToken::new();
        let tries = Arc::new(std::sync::atomic::AtomicU32::new(0));
        queue.add("a".to_owned());
        let (count, end) = (tries.clone(), stop.clone());
        run_workers("test", queue, 2, stop, move |_| {
            let (count, end) = (count.clone(), end.clone());
            async move {
                if count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                    panic!("once");
                }
                end.cancel();
                Ok::<_, String>(Next::Wait)
            }
        })
        .await;
        assert_eq!(tries.load(std::sync::atomic::Ordering::SeqCst), 2);
    }
}
