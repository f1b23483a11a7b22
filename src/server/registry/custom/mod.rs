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
//! Invariant: the store tells of a definition before its write is answered, so a table made afterwards has it. Others may
//! read the definition in the store a moment before it is told of: who finds no kind in the newest table looks there.

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
        found
            .or_else(|| self.newest().find(group, version, plural))
            .or_else(|| self.as_stored(group, plural)?.find(group, version, plural))
    }

    /// A table made of what the store holds, if it holds a definition of this kind that was not told of yet.
    fn as_stored(&self, group: &str, plural: &str) -> Option<Arc<Table>> {
        let known = &mut *self.known.lock();
        let view = known.0.view();
        let entry = view.get(format!("{PREFIX}{plural}.{group}").as_bytes())?;
        if entry.modified <= known.1.seen {
            return None;
        }
        known.1.rebuild(&view);
        self.make_table(&mut known.1);
        Some(self.table.load_full())
    }

    /// The table with everything that is in the store.
    pub(crate) fn newest(&self) -> Arc<Table> {
        self.catch_up(&mut self.known.lock());
        self.table.load_full()
    }

    fn catch_up(&self, known: &mut (Follower, Known)) {
        let (follower, definitions) = known;
        follower.catch_up(definitions);
        self.make_table(definitions);
    }

    fn make_table(&self, definitions: &mut Known) {
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
    /// The revision that was read when all was read last: what is told of it later is known already.
    read: u64,
    /// The last revision of which something is known.
    seen: u64,
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
        self.read = view.revision();
        self.seen = self.read;
    }

    fn apply(&mut self, event: &Event) {
        if event.revision <= self.read {
            return;
        }
        self.seen = event.revision;
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
        Known { converter, served: BTreeMap::new(), generation: 0, changed: false, read: 0, seen: 0 }
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

#[cfg(test)]
mod tests {
    use mk8s_store::{Expect, Op, Stamped, Txn};

    use super::*;

    async fn define(store: &Store, served: &str) {
        let established =
            json!([{"type": "Established", "status": "True"}, {"type": "NamesAccepted", "status": "True"}]);
        let names = json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"});
        let schema = json!({"openAPIV3Schema": {"type": "object"}});
        let object = json!({
            "metadata": {"name": "things.example.com", "uid": "u"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": names,
                "versions": [{"name": served, "served": true, "storage": true, "schema": schema}],
            },
            "status": {"conditions": established, "acceptedNames": names, "storedVersions": [served]},
        });
        let key = format!("{PREFIX}things.example.com").into_bytes().into();
        let put = Op::Put { key, value: Stamped::plain(object.to_string()), expect: Expect::Any };
        store.commit(Txn::one(put)).await.expect("memory takes it");
    }

    #[tokio::test]
    async fn a_definition_is_found_before_it_is_told_of() {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let customs = Customs::new(&store, Client::new(store.clone(), crate::relay::Relay::default()));
        let found = |version: &str| customs.find("example.com", version, "things").is_some();
        assert!(!found("v1"));
        customs.known.lock().0 = Follower::deaf(store.clone(), PREFIX.as_bytes());
        define(&store, "v1").await;
        assert!(found("v1"), "its first version");
        assert!(!found("v2"));
        define(&store, "v2").await;
        assert!(found("v2"), "another version");
        let revision = customs.known.lock().1.read;
        assert!(!found("v3"));
        assert_eq!(customs.known.lock().1.read, revision, "what is known is not read again");
    }

    #[tokio::test]
    async fn what_was_read_already_is_not_told_anew() {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let customs = Customs::new(&store, Client::new(store.clone(), crate::relay::Relay::default()));
        assert!(customs.find("example.com", "v1", "things").is_none());
        define(&store, "v1").await;
        define(&store, "v2").await;
        customs.known.lock().1.rebuild(&store.view());
        customs.newest();
        assert!(customs.find("example.com", "v2", "things").is_some());
        assert!(customs.find("example.com", "v1", "things").is_none());
    }
}
