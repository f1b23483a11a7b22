//! Custom resources: which kinds there are beside the built-in ones, at every moment.
//!
//! ```text
//! store ──events of definitions──▶ Known ──rebuild──▶ Table (swapped whole) ◀──load── requests
//! ```
//!
//! Nobody waits for a table: a request takes the current one, and brings it up to date when nobody else does so at that
//! moment. Only a request for a kind that the table has not got waits for the newest.
//!
//! Reading order: [`Customs`], `table` (what a table holds), `present` (stored objects in the form of a version),
//! `convert` (one version from another).
//!
//! Invariant: requests for built-in kinds do not come here.
//! Invariant: the store tells of a definition before its write is answered, so a table made afterwards has it.

mod convert;
mod present;
mod table;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use mk8s_api::{
    at::sub,
    crd::{Definition, DefinitionVersion, definition},
    meta,
};
use mk8s_store::{Event, EventKind, Store, View};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use self::{convert::Converter, table::Served};
use super::{Resource, encode};
use crate::{
    auth::follow::{Follow, Follower},
    webhook::Client,
};

pub use convert::read_answer as read_conversion;
pub(crate) use present::Presenter;
pub use table::Table;

const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

/// The custom kinds of a server.
pub(crate) struct Customs {
    known: Mutex<(Follower, Known)>,
    table: ArcSwap<Table>,
    converter: Arc<Converter>,
}

/// One custom kind in one version.
pub(crate) struct CustomKind {
    pub(crate) definition: Arc<Definition>,
    pub(crate) version: Arc<DefinitionVersion>,
    /// The revision at which the definition took its form: what was written later has this form.
    pub(crate) since: u64,
    /// What the text of an object begins with that is stored in this version.
    pub(crate) head: String,
    /// The definition has another form now, or is gone.
    pub(crate) replaced: CancellationToken,
    pub(super) converter: Arc<Converter>,
}

impl Customs {
    pub(super) fn new(store: &Store, backends: Client) -> Customs {
        let follower = Follower::new(store.clone(), PREFIX.as_bytes());
        let converter = Arc::new(Converter::new(backends));
        Customs {
            known: Mutex::new((follower, Known::new(converter.clone()))),
            table: ArcSwap::from_pointee(Table::new(0, &[])),
            converter,
        }
    }

    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        if let Some(mut known) = self.known.try_lock() {
            self.catch_up(&mut known);
        }
        let found = self.table.load().find(group, version, plural);
        found.or_else(|| self.newest().find(group, version, plural))
    }

    /// The table with everything that is in the store.
    pub(crate) fn newest(&self) -> Arc<Table> {
        self.catch_up(&mut self.known.lock());
        self.table.load_full()
    }

    fn catch_up(&self, known: &mut (Follower, Known)) {
        let (follower, definitions) = known;
        follower.catch_up(definitions);
        if std::mem::take(&mut definitions.changed) {
            definitions.generation += 1;
            let served: Vec<&Served> = definitions.served.values().collect();
            self.table.store(Arc::new(Table::new(definitions.generation, &served)));
        }
    }
}

/// The definitions that are served, by name.
struct Known {
    converter: Arc<Converter>,
    served: BTreeMap<String, Served>,
    generation: u64,
    changed: bool,
}

impl Follow for Known {
    fn rebuild(&mut self, view: &View) {
        let entries = view.range(PREFIX.as_bytes(), &super::keys::end_of(PREFIX));
        let mut before = std::mem::take(&mut self.served);
        for entry in entries {
            let object = encode::decode(&entry.value);
            let old = before.remove(meta::name(&object));
            self.learn(&object, old, entry.modified);
        }
        before.values().for_each(|gone| gone.replaced.cancel());
        self.changed = true;
    }

    fn apply(&mut self, event: &Event) {
        let object = encode::decode(&event.entry.value);
        let old = self.served.remove(meta::name(&object));
        match event.kind {
            EventKind::Put => self.learn(&object, old, event.revision),
            EventKind::Delete => {
                self.changed |= old.is_some();
                old.iter().for_each(|gone| gone.replaced.cancel());
            }
        }
    }
}

impl Known {
    fn new(converter: Arc<Converter>) -> Known {
        Known { converter, served: BTreeMap::new(), generation: 0, changed: false }
    }

    fn learn(&mut self, object: &Value, old: Option<Served>, revision: u64) {
        let form = form_of(object);
        if let Some(same) = old.as_ref().filter(|old| old.form == form) {
            self.served.insert(same.definition.name.clone(), same.clone());
            return;
        }
        let keeps_spec = old.as_ref().filter(|old| old.form["spec"] == form["spec"] && old.form["uid"] == form["uid"]);
        let since = keeps_spec.map_or(revision, |old| old.since);
        self.changed |= old.is_some();
        if let Some(old) = &old
            && keeps_spec.is_none()
        {
            old.replaced.cancel();
        }
        let Some(definition) = Definition::read(object) else {
            old.iter().for_each(|gone| gone.replaced.cancel());
            return;
        };
        self.changed = true;
        let replaced = keeps_spec.map_or_else(CancellationToken::new, |old| old.replaced.clone());
        let name = definition.name.clone();
        self.served.insert(name, Served::new(Arc::new(definition), form, since, replaced, &self.converter));
    }
}

/// What of a definition decides how its objects are served.
fn form_of(object: &Value) -> Value {
    json!({
        "uid": meta::uid(object),
        "spec": object.get("spec"),
        "names": sub(sub(object, "status"), "acceptedNames"),
        "established": definition::is_true(object, "Established"),
        "terminating": definition::is_true(object, "Terminating"),
    })
}
