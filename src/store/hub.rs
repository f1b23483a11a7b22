//! Who is told of what: the event window and the watchers that are fed from it.
//!
//! ```text
//!              publish                 queue full
//!   following ─────────▶ following ─────────────────▶ behind
//!       ▲                                               │ next(): read the window after the last event delivered
//!       └───────────────────────────────────────────────┘
//! ```
//!
//! Invariant: events reach a watcher once each and in order. Publishing and the last step of catching up hold the same
//! lock, so none falls between them; the lock is never held while somebody waits, nor for more than a part of the window.

use crate::mvcc::{Compacted, Event, Groups, Term, View, Window};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};
use tokio::sync::Notify;

/// Events that wait for a watcher at most; beyond that it reads the window.
const QUEUE: usize = 1024;

/// How many events of the window are looked at under the lock at once.
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
    watchers: Groups<Arc<Subscription>>,
    /// Those who follow only what says a term.
    watchers_of: HashMap<Term, Groups<Arc<Subscription>>>,
    closed: bool,
}

impl State {
    fn all(&self) -> impl Iterator<Item = &Arc<Subscription>> {
        self.watchers.all().chain(self.watchers_of.values().flat_map(Groups::all))
    }

    /// Calls `each` with those who follow what an event is about.
    fn each(&self, event: &Event, mut each: impl FnMut(&[Arc<Subscription>])) {
        self.watchers.each(&event.entry.key, &mut each);
        for watchers in event.terms.each().filter_map(|term| self.watchers_of.get(term)) {
            watchers.each(&event.entry.key, &mut each);
        }
    }
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
    /// Only of those that say it before or after the event.
    term: Option<Term>,
    subscription: Arc<Subscription>,
    /// Everything up to this revision was delivered, or is not of interest.
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
        Self {
            view,
            state: Mutex::new(State {
                window,
                watchers: Groups::default(),
                watchers_of: HashMap::new(),
                closed: false,
            }),
        }
    }

    pub(crate) fn view(&self) -> View {
        self.view.read().clone()
    }

    pub(crate) fn view_at(&self, revision: u64) -> Result<View, Compacted> {
        self.state.lock().window.view_at(revision)
    }

    /// Makes a newer view visible and tells everyone who watches what led to it.
    pub(crate) fn publish(&self, view: View, events: &[Arc<Event>]) {
        let older = std::mem::replace(&mut *self.view.write(), view.clone());
        let mut state = self.state.lock();
        state.window.push(Instant::now(), view, events);
        // By watcher, so that each one is woken once for the batch.
        let mut told: HashMap<*const Subscription, (Arc<Subscription>, Vec<Arc<Event>>)> = HashMap::new();
        for event in events {
            state.each(event, |watchers| {
                for watcher in watchers {
                    let told = told.entry(Arc::as_ptr(watcher)).or_insert_with(|| (watcher.clone(), Vec::new()));
                    told.1.push(event.clone());
                }
            });
        }
        for (watcher, events) in told.into_values() {
            watcher.push(events);
        }
        drop(state);
        // What only the older view held is given back where no lock is held.
        drop(older);
    }

    /// Shows a state that came from another replica; those who watch have missed what led to it.
    pub(crate) fn restart(&self, view: View) {
        *self.view.write() = view.clone();
        let mut state = self.state.lock();
        state.window.restart(view);
        for watcher in state.all() {
            watcher.queue.lock().behind = true;
            watcher.notify.notify_one();
        }
    }

    pub(crate) fn watch(self: &Arc<Self>, prefix: &[u8], term: Option<&str>, after: u64) -> Result<Watcher, Compacted> {
        let mut state = self.state.lock();
        // Fails early when the revision is gone; what came since is read by the first `next`.
        let missed = state.window.after(after)?.next().is_some();
        let (prefix, term) = (Bytes::copy_from_slice(prefix), term.map(Term::from));
        let queue = Queue { behind: missed, closed: state.closed, ..Queue::default() };
        let subscription = Arc::new(Subscription { queue: Mutex::new(queue), notify: Notify::new() });
        let group = match &term {
            Some(term) => state.watchers_of.entry(term.clone()).or_default(),
            None => &mut state.watchers,
        };
        group.add(prefix.clone(), subscription.clone());
        Ok(Watcher { hub: self.clone(), prefix, term, subscription, last: after })
    }

    /// How many watchers there are, and how many of them read the window.
    pub(crate) fn watchers(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.all().count(), state.all().filter(|w| w.queue.lock().behind).count())
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        for watcher in state.all() {
            watcher.queue.lock().closed = true;
            watcher.notify.notify_one();
        }
    }
}

impl Subscription {
    fn push(&self, events: Vec<Arc<Event>>) {
        let mut queue = self.queue.lock();
        if queue.behind {
            return;
        }
        if queue.events.len() + events.len() > QUEUE {
            queue.behind = true;
        } else {
            queue.events.extend(events);
        }
        drop(queue);
        self.notify.notify_one();
    }
}

impl Watcher {
    /// The next events; waits until there are some. Dropping the future loses nothing.
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
        loop {
            let (queued, behind, closed) = {
                let mut queue = self.subscription.queue.lock();
                (std::mem::take(&mut queue.events), queue.behind, queue.closed)
            };
            // A watcher that waits for a revision of the future is not told of those before it.
            let mut events: Vec<_> = queued.into_iter().filter(|event| event.revision > self.last).collect();
            if events.is_empty() && behind {
                events = self.catch_up()?;
            }
            if let Some(newest) = events.last() {
                self.last = newest.revision.max(self.last);
                return Ok(Some(WatchItem::Events(events)));
            }
            if !behind {
                return Ok(closed.then_some(WatchItem::Closed));
            }
        }
    }

    /// A revision up to which everything has been delivered: what a bookmark may say. `None` while events wait.
    pub fn progress(&self) -> Option<u64> {
        let state = self.hub.state.lock();
        let queue = self.subscription.queue.lock();
        (queue.events.is_empty() && !queue.behind).then(|| state.window.newest().revision())
    }

    /// Reads a part of the window; ends being behind when that was its last.
    fn catch_up(&mut self) -> Result<Vec<Arc<Event>>, Compacted> {
        let state = self.hub.state.lock();
        let mut missed = state.window.after(self.last)?;
        let mut events = Vec::new();
        for event in missed.by_ref().take(CATCH_UP) {
            self.last = event.revision;
            let is_said = self.term.as_ref().is_none_or(|term| event.terms.contain(term));
            if is_said && event.entry.key.starts_with(&self.prefix) {
                events.push(event.clone());
            }
        }
        self.subscription.queue.lock().behind = missed.next().is_some();
        Ok(events)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut state = self.hub.state.lock();
        let is_another = |other: &Arc<Subscription>| !Arc::ptr_eq(other, &self.subscription);
        let Some(term) = &self.term else { return state.watchers.retain(&self.prefix, is_another) };
        if let Some(group) = state.watchers_of.get_mut(term) {
            group.retain(&self.prefix, is_another);
            if group.is_empty() {
                state.watchers_of.remove(term);
            }
        }
    }
}
