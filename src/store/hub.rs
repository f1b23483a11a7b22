//! Who is told of what: the event window and the watchers that are fed from it.
//!
//! ```text
//!              publish                 queue full
//!   following ─────────▶ following ─────────────────▶ behind
//!       ▲                                               │ next(): read the window after the last event delivered
//!       └───────────────────────────────────────────────┘
//! ```
//!
//! Invariant: events reach a watcher once each and in order. Publishing and catching up hold the same lock, so none
//! falls between them; the lock is never held while somebody waits.

use crate::mvcc::{Compacted, Event, View, Window};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Instant,
};
use tokio::sync::Notify;

/// Events that wait for a watcher at most; beyond that it reads the window.
const QUEUE: usize = 1024;

/// How many events a watcher takes from the window at once.
const CATCH_UP: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    /// The newest view by itself, so that readers do not wait for watchers.
    view: RwLock<View>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    window: Window,
    /// By prefix: most events concern few of them.
    watchers: HashMap<Bytes, Vec<Weak<Subscription>>>,
    closed: bool,
}

#[derive(Debug)]
struct Subscription {
    queue: Mutex<Queue>,
    notify: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    behind: bool,
    closed: bool,
}

/// Events of the keys under a prefix, from a revision on.
#[derive(Debug)]
pub struct Watcher {
    hub: Arc<Hub>,
    prefix: Bytes,
    subscription: Arc<Subscription>,
    /// The last revision that was delivered or is known to hold nothing for this watcher.
    last: u64,
}

/// What a watcher delivers.
#[derive(Debug, Clone)]
pub enum WatchItem {
    /// One or more events, oldest first.
    Events(Vec<Arc<Event>>),
    /// The store is closing; nothing comes after this.
    Closed,
}

impl Hub {
    pub(crate) fn new(window: Window) -> Self {
        let view = RwLock::new(window.newest().clone());
        Self { view, state: Mutex::new(State { window, watchers: HashMap::new(), closed: false }) }
    }

    pub(crate) fn view(&self) -> View {
        self.view.read().clone()
    }

    pub(crate) fn view_at(&self, revision: u64) -> Result<View, Compacted> {
        self.state.lock().window.view_at(revision)
    }

    /// Makes a newer view visible and tells everyone who watches what led to it.
    pub(crate) fn publish(&self, view: View, events: &[Arc<Event>]) {
        *self.view.write() = view.clone();
        let mut state = self.state.lock();
        state.window.push(Instant::now(), view, events);
        state.watchers.retain(|prefix, watchers| {
            let matching: Vec<&Arc<Event>> = events.iter().filter(|e| e.entry.key.starts_with(prefix)).collect();
            if matching.is_empty() {
                return true;
            }
            watchers.retain(|watcher| {
                let Some(watcher) = watcher.upgrade() else { return false };
                watcher.push(&matching);
                true
            });
            !watchers.is_empty()
        });
    }

    pub(crate) fn watch(self: &Arc<Self>, prefix: &[u8], after: u64) -> Result<Watcher, Compacted> {
        let mut state = self.state.lock();
        // Fails early when the revision is gone; what came since is read by the first `next`.
        let missed = state.window.after(after)?.next().is_some();
        let prefix = Bytes::copy_from_slice(prefix);
        let queue = Queue { behind: missed, closed: state.closed, ..Queue::default() };
        let subscription = Arc::new(Subscription { queue: Mutex::new(queue), notify: Notify::new() });
        let watchers = state.watchers.entry(prefix.clone()).or_default();
        watchers.retain(|w| w.strong_count() > 0);
        watchers.push(Arc::downgrade(&subscription));
        Ok(Watcher { hub: self.clone(), prefix, subscription, last: after })
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for watcher in state.watchers.values().flatten().filter_map(Weak::upgrade) {
            watcher.queue.lock().closed = true;
            watcher.notify.notify_one();
        }
    }
}

impl Subscription {
    fn push(&self, events: &[&Arc<Event>]) {
        let mut queue = self.queue.lock();
        if queue.behind {
            return;
        }
        if queue.events.len() + events.len() > QUEUE {
            queue.behind = true;
        } else {
            queue.events.extend(events.iter().map(|e| (*e).clone()));
        }
        drop(queue);
        self.notify.notify_one();
    }
}

impl Watcher {
    /// The next events; waits until there are some.
    ///
    /// # Errors
    /// [`Compacted`] when this watcher was so slow that events it has not seen are gone.
    pub async fn next(&mut self) -> Result<WatchItem, Compacted> {
        loop {
            if let Some(item) = self.try_next()? {
                return Ok(item);
            }
            self.subscription.notify.notified().await;
        }
    }

    /// The next events, if there are any now.
    ///
    /// # Errors
    /// As [`Watcher::next`].
    pub fn try_next(&mut self) -> Result<Option<WatchItem>, Compacted> {
        let behind = {
            let mut queue = self.subscription.queue.lock();
            if !queue.events.is_empty() {
                let events: Vec<_> = queue.events.drain(..).collect();
                self.last = events.last().map_or(self.last, |e| e.revision);
                return Ok(Some(WatchItem::Events(events)));
            }
            if queue.closed && !queue.behind {
                return Ok(Some(WatchItem::Closed));
            }
            queue.behind
        };
        if behind { self.catch_up() } else { Ok(None) }
    }

    /// A revision up to which everything has been delivered: what a bookmark may say. `None` while events wait.
    pub fn progress(&self) -> Option<u64> {
        let state = self.hub.state.lock();
        let queue = self.subscription.queue.lock();
        (queue.events.is_empty() && !queue.behind).then(|| state.window.newest().revision())
    }

    fn catch_up(&mut self) -> Result<Option<WatchItem>, Compacted> {
        let state = self.hub.state.lock();
        let mut events = Vec::new();
        let mut reached = self.last;
        let mut more = false;
        for event in state.window.after(self.last)? {
            if event.entry.key.starts_with(&self.prefix) {
                if events.len() == CATCH_UP {
                    more = true;
                    break;
                }
                events.push(event.clone());
            }
            reached = event.revision;
        }
        self.last = reached;
        self.subscription.queue.lock().behind = more;
        Ok((!events.is_empty()).then_some(WatchItem::Events(events)))
    }
}
