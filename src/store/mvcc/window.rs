//! The recent events, for watchers that resume or have fallen behind, and for views of recent revisions.

use super::{Compacted, Entry, Event, View};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Window {
    events: VecDeque<(Instant, Arc<Event>)>,
    /// Views kept now and then, so that an old one is a few steps back from a kept one and not from the newest.
    views: VecDeque<View>,
    /// Events up to this revision are gone.
    floor: u64,
    newest: View,
    limits: WindowLimits,
    /// What the events hold in memory beside the keyspace, about.
    bytes: usize,
}

/// How much is kept; whatever is over any of them goes, the oldest first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowLimits {
    pub(crate) age: Duration,
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// What an event takes beside what it replaced: itself, and its place among the events and in the kept views.
const EVENT_BYTES: usize = 200;

/// What is kept for an event alone. What it brought is the keyspace's, until a later event replaces it.
fn size(event: &Event) -> usize {
    let of = |entry: &Entry| size_of::<Entry>() + entry.key.len() + entry.value.len();
    EVENT_BYTES + event.previous.as_deref().map_or(0, of)
}

/// The newest events, of which watchers are told now: what was made of the others is given back.
const WARM: usize = 1024;

/// How many revisions lie between two kept views.
const VIEW_EVERY: u64 = 1024;

impl Window {
    pub(crate) fn new(newest: View, limits: WindowLimits) -> Self {
        Self { events: VecDeque::new(), views: VecDeque::new(), floor: newest.revision, newest, limits, bytes: 0 }
    }

    /// Begins anew at a view that came from elsewhere: what led to it is not known here.
    pub(crate) fn restart(&mut self, newest: View) {
        *self = Self::new(newest, self.limits);
    }

    pub(crate) fn newest(&self) -> &View {
        &self.newest
    }

    /// Takes the events that led to a newer view.
    pub(crate) fn push(&mut self, now: Instant, view: View, events: &[Arc<Event>]) {
        self.bytes += events.iter().map(|event| size(event)).sum::<usize>();
        self.events.extend(events.iter().map(|event| (now, event.clone())));
        let warm = self.events.len().saturating_sub(WARM);
        self.events.range(warm.saturating_sub(events.len())..warm).for_each(|(_, event)| event.frames.cool());
        let kept = self.views.back().map_or(self.floor, |v| v.revision);
        if view.revision >= kept + VIEW_EVERY {
            self.views.push_back(View { revision: view.revision, root: view.root.past() });
        }
        self.newest = view;
        while let Some((at, event)) = self.events.front() {
            let fits = self.events.len() <= self.limits.count && self.bytes <= self.limits.bytes;
            if fits && now.duration_since(*at) <= self.limits.age {
                break;
            }
            self.floor = event.revision;
            self.bytes -= size(event);
            self.events.pop_front();
        }
        while self.views.front().is_some_and(|v| v.revision < self.floor) {
            self.views.pop_front();
        }
    }

    /// The events after a revision, oldest first.
    pub(crate) fn after(&self, revision: u64) -> Result<impl Iterator<Item = &Arc<Event>>, Compacted> {
        if revision < self.floor {
            return Err(self.compacted(revision));
        }
        let from = self.events.partition_point(|(_, event)| event.revision <= revision);
        Ok(self.events.range(from..).map(|(_, event)| event))
    }

    /// The keyspace as it was at a revision: the next kept view with the events between taken back.
    pub(crate) fn view_at(&self, revision: u64) -> Result<View, Compacted> {
        if revision > self.newest.revision || revision < self.floor {
            return Err(self.compacted(revision));
        }
        let at = self.views.partition_point(|v| v.revision < revision);
        let nearest = self.views.get(at).unwrap_or(&self.newest);
        let mut root = nearest.root.clone();
        let from = self.events.partition_point(|(_, event)| event.revision <= revision);
        let to = self.events.partition_point(|(_, event)| event.revision <= nearest.revision);
        for (_, event) in self.events.range(from..to).rev() {
            match &event.previous {
                Some(previous) => drop(root.insert(previous.clone())),
                None => drop(root.remove(&event.entry.key)),
            };
        }
        Ok(View { revision, root })
    }

    fn compacted(&self, asked: u64) -> Compacted {
        Compacted { asked, oldest: self.floor, newest: self.newest.revision }
    }
}
