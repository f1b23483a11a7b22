//! Keeping something derived from a part of the store fresh, without a task: whoever asks first applies what happened.
//!
//! The store tells watchers before it answers a write, so an index read after a write was answered contains it.

use mk8s_store::{Event, Store, View, WatchItem, Watcher};

/// Something computed from all keys under a prefix.
pub(crate) trait Follow {
    /// Forgets all and reads the view.
    fn rebuild(&mut self, view: &View);
    /// Applies one change.
    fn apply(&mut self, event: &Event);
}

/// The position of a [`Follow`] in the store's history.
pub(crate) struct Follower {
    store: Store,
    prefix: &'static [u8],
    watcher: Option<Watcher>,
}

impl Follower {
    pub(crate) fn new(store: Store, prefix: &'static [u8]) -> Follower {
        Follower { store, prefix, watcher: None }
    }

    /// One that is never told of anything, as one is for a moment that others read the store in.
    #[cfg(test)]
    pub(crate) fn deaf(store: Store, prefix: &'static [u8]) -> Follower {
        let watcher = store.watch(b"/nothing/", store.view().revision()).ok();
        Follower { store, prefix, watcher }
    }

    pub(crate) fn view(&self) -> View {
        self.store.view()
    }

    /// Brings `target` up to date. Says whether it changed.
    pub(crate) fn catch_up(&mut self, target: &mut impl Follow) -> bool {
        let Some(watcher) = &mut self.watcher else { return self.restart(target) };
        let mut changed = false;
        loop {
            match watcher.try_next() {
                Ok(Some(WatchItem::Events(events))) => {
                    changed = true;
                    events.iter().for_each(|event| target.apply(event));
                }
                Ok(Some(WatchItem::Closed) | None) => return changed,
                Err(_) => return self.restart(target),
            }
        }
    }

    /// Reads everything anew, and watches from there. When even that revision is gone already, the next call tries again.
    fn restart(&mut self, target: &mut impl Follow) -> bool {
        let view = self.store.view();
        target.rebuild(&view);
        self.watcher = self.store.watch(self.prefix, view.revision()).ok();
        true
    }
}
