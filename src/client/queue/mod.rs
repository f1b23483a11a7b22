//! Which keys need work. The semantics are those of client-go's rate limiting work queue.
//!
//! ```text
//! add ──▶ dirty + queue ──get──▶ processing ──done──▶ (dirty meanwhile? queue : gone)
//! add_after ──▶ waiting ──due──▶ add
//! ```
//!
//! A key is in the queue at most once, is processed by one worker at a time, and is never lost when it is added while it
//! is processed.

mod limit;
#[cfg(test)]
mod tests;
mod workers;

pub use limit::Backoff;
pub use workers::{Outcome, WorkerCounts, run_workers};

use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    hash::Hash,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// What a queue's items must be.
pub trait Item: Clone + Eq + Hash + Ord + Send + 'static {}

impl<T: Clone + Eq + Hash + Ord + Send + 'static> Item for T {}

/// Cheap to clone; all clones are the same queue.
pub struct WorkQueue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for WorkQueue<T> {
    fn clone(&self) -> Self {
        WorkQueue { shared: self.shared.clone() }
    }
}

struct Shared<T> {
    name: &'static str,
    state: Mutex<State<T>>,
    changed: Notify,
    backoff: Backoff,
    counts: WorkerCounts,
}

struct State<T> {
    queue: VecDeque<T>,
    dirty: HashSet<T>,
    processing: HashSet<T>,
    waiting: BinaryHeap<Reverse<(Instant, T)>>,
    /// When each waiting item is due; entries of the heap that say otherwise are stale.
    due: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
    shut_down: bool,
}

impl<T: Item> State<T> {
    /// True when a worker should wake up.
    fn add(&mut self, item: T) -> bool {
        if self.shut_down || !self.dirty.insert(item.clone()) || self.processing.contains(&item) {
            return false;
        }
        self.queue.push_back(item);
        true
    }

    /// Moves what is due into the queue; how many there were, and when the next one is.
    fn release(&mut self, now: Instant) -> (usize, Option<Instant>) {
        let mut released = 0;
        while let Some(Reverse((at, _))) = self.waiting.peek() {
            if *at > now {
                return (released, Some(*at));
            }
            if let Some(Reverse((at, item))) = self.waiting.pop()
                && self.due.get(&item) == Some(&at)
            {
                self.due.remove(&item);
                released += usize::from(self.add(item));
            }
        }
        (released, None)
    }
}

impl<T: Item> WorkQueue<T> {
    pub fn new(name: &'static str) -> WorkQueue<T> {
        WorkQueue::with_backoff(name, Backoff::default())
    }

    pub fn with_backoff(name: &'static str, backoff: Backoff) -> WorkQueue<T> {
        let state = State {
            queue: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashSet::new(),
            waiting: BinaryHeap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            shut_down: false,
        };
        let shared =
            Shared { name, state: Mutex::new(state), changed: Notify::new(), backoff, counts: WorkerCounts::default() };
        WorkQueue { shared: Arc::new(shared) }
    }

    pub fn name(&self) -> &'static str {
        self.shared.name
    }

    /// What its workers did so far.
    pub fn counts(&self) -> &WorkerCounts {
        &self.shared.counts
    }

    pub fn add(&self, item: T) {
        if self.shared.state.lock().add(item) {
            self.shared.changed.notify_one();
        }
    }

    /// Adds the item once the delay is over. Of several delays the shortest counts.
    pub fn add_after(&self, item: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(item);
        }
        let at = Instant::now() + delay;
        let mut state = self.shared.state.lock();
        if state.shut_down || state.due.get(&item).is_some_and(|known| *known <= at) {
            return;
        }
        state.due.insert(item.clone(), at);
        state.waiting.push(Reverse((at, item)));
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Adds the item after a delay that doubles with each call until it is forgotten.
    pub fn add_rate_limited(&self, item: T) {
        let failures = {
            let mut state = self.shared.state.lock();
            let failures = state.failures.entry(item.clone()).or_default();
            *failures += 1;
            *failures
        };
        self.add_after(item, self.shared.backoff.delay(failures - 1));
    }

    pub fn requeues(&self, item: &T) -> u32 {
        self.shared.state.lock().failures.get(item).copied().unwrap_or_default()
    }

    /// The next failure of this item counts as its first.
    pub fn forget(&self, item: &T) {
        self.shared.state.lock().failures.remove(item);
    }

    /// The next item to work on; [`WorkQueue::done`] must follow. `None` once the queue is shut down and empty.
    pub async fn get(&self) -> Option<T> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            // Before the look, so that what is added after the look wakes this worker.
            changed.as_mut().enable();
            let next_due = {
                let mut state = self.shared.state.lock();
                let (released, next_due) = state.release(Instant::now());
                for _ in 1..released {
                    self.shared.changed.notify_one();
                }
                if let Some(item) = state.queue.pop_front() {
                    state.dirty.remove(&item);
                    state.processing.insert(item.clone());
                    // This worker may have used up a wake-up that was meant for what is still queued or waiting.
                    if !state.queue.is_empty() || next_due.is_some() {
                        self.shared.changed.notify_one();
                    }
                    return Some(item);
                }
                if state.shut_down {
                    return None;
                }
                next_due
            };
            match next_due {
                Some(at) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
                None => changed.await,
            }
        }
    }

    /// Ends the work on an item; it is queued again if it was added meanwhile.
    pub fn done(&self, item: &T) {
        let mut state = self.shared.state.lock();
        if state.processing.remove(item) && state.dirty.contains(item) {
            state.queue.push_back(item.clone());
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Items that are queued, without those that wait for their time.
    pub fn len(&self) -> usize {
        self.shared.state.lock().queue.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Nothing is added any more; what is queued is still given out.
    pub fn shut_down(&self) {
        self.shared.state.lock().shut_down = true;
        self.shared.changed.notify_waiters();
    }
}
