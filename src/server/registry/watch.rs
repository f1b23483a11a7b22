//! Watching: what a client is shown of the events of a kind.
//!
//! ```text
//! initial state (if asked) -> [bookmark "initial-events-end"] -> events after the root -> bookmarks now and then
//! ```
//!
//! An event's plain frame is made once and shared by all watchers; a watcher with a selector may see another type of
//! change in the same event (an object that comes into its selection was ADDED for it).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use mk8s_api::status::Status;
use mk8s_store::{Compacted, Entry, Event, EventKind, WatchItem, Watcher};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{Registry, Resource, custom::Presenter, encode, keys, list::aside, options::ListOptions, select::Filter};

const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// What is kept of an event once it was made: each has a slot of the event's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    Json = 0,
    DeletedObject = 1,
    Protobuf = 2,
    Metadata = 3,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    Added,
    Modified,
    Deleted,
}

impl ChangeKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ChangeKind::Added => "ADDED",
            ChangeKind::Modified => "MODIFIED",
            ChangeKind::Deleted => "DELETED",
        }
    }
}

/// What a watch delivers.
pub enum Change {
    Object {
        kind: ChangeKind,
        /// The object's JSON, at the version of the event.
        object: Bytes,
        event: Option<Arc<Event>>,
    },
    /// Everything up to this revision has been delivered.
    Bookmark { revision: u64, initial_events_end: bool },
    /// The watch cannot go on; this is why. Nothing comes after it.
    Error(Status),
}

impl Change {
    /// The line of the plain JSON encoding.
    pub fn frame(&self, resource: &Resource) -> Bytes {
        match self {
            Change::Object { .. } => self.cached(Frame::Json, |kind, object| line(kind.as_str(), object)),
            Change::Bookmark { revision, initial_events_end } => {
                let annotations =
                    if *initial_events_end { r#""annotations":{"k8s.io/initial-events-end":"true"},"# } else { "" };
                let (kind, api_version) = (&resource.kind.kind, &resource.api_version);
                let object = format!(
                    r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{{{annotations}"resourceVersion":"{revision}","creationTimestamp":null}}}}"#
                );
                line("BOOKMARK", object.as_bytes())
            }
            Change::Error(status) => line("ERROR", &status.to_json()),
        }
    }

    /// An object's frame, made once for all watchers that see this type of change in the event. Nothing for what is no
    /// object.
    pub fn cached(&self, frame: Frame, make: impl FnOnce(ChangeKind, &Bytes) -> Bytes) -> Bytes {
        match self {
            Change::Object { kind, object, event: Some(event) } if *kind == plain_kind(event) => {
                event.frames.get_or_make(frame as usize, || make(*kind, object))
            }
            Change::Object { object, .. } => self.made(object, make),
            _ => Bytes::new(),
        }
    }

    /// The frame of another form of the object, for this watcher alone.
    pub fn made(&self, object: &Bytes, make: impl FnOnce(ChangeKind, &Bytes) -> Bytes) -> Bytes {
        match self {
            Change::Object { kind, .. } => make(*kind, object),
            _ => Bytes::new(),
        }
    }
}

fn line(kind: &str, object: &[u8]) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + 40);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    Bytes::from(line)
}

/// The type of an event for a watcher that selects nothing.
fn plain_kind(event: &Event) -> ChangeKind {
    match (event.kind, &event.previous) {
        (EventKind::Delete, _) => ChangeKind::Deleted,
        (EventKind::Put, None) => ChangeKind::Added,
        (EventKind::Put, Some(_)) => ChangeKind::Modified,
    }
}

/// A running watch of the objects of one kind.
pub struct Watch {
    watcher: Watcher,
    filter: Filter,
    initial: std::vec::IntoIter<Arc<Entry>>,
    /// The bookmark that ends the initial events is still owed.
    end_of_initial: bool,
    pending: std::vec::IntoIter<Arc<Event>>,
    /// Events up to here are part of what the client has.
    seen: u64,
    bookmarks: Option<Interval>,
    /// Why the watch could not begin, which is still to be said.
    failure: Option<Status>,
    over: bool,
    presenter: Presenter,
}

impl Registry {
    /// Once the options are understood, whatever stands in the way of the watch is an event of it.
    pub async fn watch(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        options: &ListOptions,
    ) -> Result<Watch, Status> {
        let filter = Filter::new(&self.store, resource, options)?;
        let scope = keys::scope(&resource.prefix, namespace);
        let asked = options.resource_version.unwrap_or(0);
        let wants_initial = options.send_initial_events.unwrap_or(asked == 0);
        let mut failure = None;
        let view = match wants_initial && asked > 0 {
            true => self.view_not_older(asked).await.unwrap_or_else(|status| {
                failure = Some(status);
                self.store.view()
            }),
            false => self.store.view(),
        };
        let from = if wants_initial { view.revision() } else { asked };
        let takes_long = filter.takes_long(&view, &scope);
        // A single object has a prefix of its own, which spares it the events of its neighbours.
        let prefix = match filter.single_name().filter(|_| !namespace.is_empty() || !resource.kind.namespaced) {
            Some(name) => format!("{scope}{name}"),
            None => scope.clone(),
        };
        // A version in the future is waited for by leaving out what comes before it.
        let watcher = match filter.watch(&self.store, &prefix, from.min(view.revision())) {
            Ok(watcher) => watcher,
            Err(compacted) => {
                failure = Some(too_old(&compacted));
                filter.watch(&self.store, &prefix, self.store.view().revision()).map_err(|gone| too_old(&gone))?
            }
        };
        let is_single = prefix != scope;
        let (filter, initial) = match wants_initial && failure.is_none() {
            true => {
                let read = move || {
                    let is_wanted = |entry: &&Arc<Entry>| filter.needs_presented() || filter.matches(entry);
                    let initial: Vec<_> = match is_single {
                        true => view.get(prefix.as_bytes()).filter(is_wanted).cloned().into_iter().collect(),
                        false => {
                            let range = filter.range(&view, scope.as_bytes(), &keys::end_of(&scope));
                            range.filter(is_wanted).cloned().collect()
                        }
                    };
                    (filter, initial)
                };
                aside(takes_long && !is_single, read).await
            }
            false => (filter, Vec::new()),
        };
        let mut initial = self.presenter.present(resource, initial).await?;
        if filter.needs_presented() {
            initial.retain(|entry| filter.matches(entry));
        }
        let bookmarks = options.bookmarks.then(|| {
            let mut ticks = tokio::time::interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        Ok(Watch {
            watcher,
            filter,
            initial: initial.into_iter(),
            end_of_initial: options.send_initial_events == Some(true) && options.bookmarks,
            pending: Vec::new().into_iter(),
            seen: from,
            bookmarks,
            failure,
            over: false,
            presenter: self.presenter.clone(),
        })
    }
}

impl Watch {
    /// The next change; `None` when the watch is over.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            if let Some(change) = self.ready() {
                return Some(change);
            }
            if self.over {
                return None;
            }
            let item = match &mut self.bookmarks {
                None => self.watcher.next().await,
                Some(ticks) => tokio::select! {
                    biased;
                    item = self.watcher.next() => item,
                    _ = ticks.tick() => {
                        if let Some(revision) = self.watcher.progress().filter(|revision| *revision >= self.seen) {
                            self.seen = revision;
                            return Some(Change::Bookmark { revision, initial_events_end: false });
                        }
                        continue;
                    }
                },
            };
            match item {
                Ok(WatchItem::Events(events)) => {
                    // Whoever watches objects whose definition changes begins again.
                    if !self.presenter.is_current(self.filter.resource()) {
                        return None;
                    }
                    match self.presenter.present_events(self.filter.resource(), events).await {
                        Ok(events) => self.pending = events.into_iter(),
                        Err(status) => {
                            self.over = true;
                            return Some(Change::Error(status));
                        }
                    }
                }
                Ok(WatchItem::Closed) => return None,
                Err(compacted) => {
                    self.over = true;
                    return Some(Change::Error(too_old(&compacted)));
                }
            }
        }
    }

    /// The next change that needs no waiting.
    pub fn ready(&mut self) -> Option<Change> {
        if self.over {
            return None;
        }
        if let Some(status) = self.failure.take() {
            self.over = true;
            return Some(Change::Error(status));
        }
        if let Some(entry) = self.initial.next() {
            return Some(Change::Object { kind: ChangeKind::Added, object: entry.value.clone(), event: None });
        }
        // An iterator keeps its room to its end.
        self.initial = Vec::new().into_iter();
        if std::mem::take(&mut self.end_of_initial) {
            return Some(Change::Bookmark { revision: self.seen, initial_events_end: true });
        }
        for event in self.pending.by_ref() {
            if event.revision <= self.seen {
                continue;
            }
            self.seen = event.revision;
            if let Some((kind, object)) = shown(&self.filter, &event) {
                return Some(Change::Object { kind, object, event: Some(event) });
            }
        }
        None
    }
}

/// The 410 of a version whose events are gone.
fn too_old(compacted: &Compacted) -> Status {
    Status::expired(format!("too old resource version: {} ({})", compacted.asked, compacted.oldest))
}

/// What an event is for a selection, if it is anything.
fn shown(filter: &Filter, event: &Event) -> Option<(ChangeKind, Bytes)> {
    let kind = if filter.is_everything() {
        plain_kind(event)
    } else {
        let was = event.previous.as_ref().is_some_and(|previous| filter.matches(previous));
        let is = event.kind == EventKind::Put && filter.matches(&event.entry);
        match (was, is) {
            (false, false) => return None,
            (false, true) => ChangeKind::Added,
            (true, true) => ChangeKind::Modified,
            (true, false) => ChangeKind::Deleted,
        }
    };
    let object = match (kind, &event.previous) {
        (ChangeKind::Deleted, Some(last)) => event
            .frames
            .get_or_make(Frame::DeletedObject as usize, || encode::with_version(&last.value, event.revision)),
        _ => event.entry.value.clone(),
    };
    Some((kind, object))
}
