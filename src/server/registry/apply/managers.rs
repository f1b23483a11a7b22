//! Who wants which fields of an object: `metadata.managedFields`.

use mk8s_api::{meta, schema::Node};
use serde_json::{Value, json};

use super::{
    Conflict,
    fields::{Element, Fields, is_atomic},
    merge,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    /// It says what it wants; otherwise it only wrote.
    pub(super) applies: bool,
    pub(super) fields: Fields,
}

/// Whoever applied or wrote.
#[derive(Debug, Default)]
pub(super) struct Managers(Vec<Manager>);

/// How many that only wrote are told apart; the oldest of more become one, of this name.
const WRITERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

impl Manager {
    fn read(entry: &Value) -> Option<Manager> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_string();
        let applies = entry["operation"] == "Apply";
        (applies || entry["operation"] == "Update").then(|| Manager {
            name: text("manager"),
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            applies,
            fields: Fields::from_json(&entry["fieldsV1"]),
        })
    }

    pub(super) fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": if self.applies { "Apply" } else { "Update" },
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": self.fields.to_json(),
        });
        if !self.subresource.is_empty() {
            entry["subresource"] = json!(self.subresource);
        }
        entry
    }

    fn is_same(&self, other: &Manager) -> bool {
        (self.applies, &self.name, &self.subresource) == (other.applies, &other.name, &other.subresource)
            && (self.applies || self.api_version == other.api_version)
    }

    /// As messages name it.
    fn shown(&self) -> String {
        let subresource = if self.subresource.is_empty() {
            String::new()
        } else {
            format!(" with subresource {:?}", self.subresource)
        };
        let time = if self.applies || self.time.is_empty() { String::new() } else { format!(" at {}", self.time) };
        format!("{:?}{subresource} using {}{time}", self.name, self.api_version)
    }
}

impl Managers {
    pub(super) fn read(object: &Value) -> Managers {
        let entries = meta::metadata(object).get("managedFields").and_then(Value::as_array);
        Managers(entries.into_iter().flatten().filter_map(Manager::read).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn write(&self, object: &mut Value) {
        match self.0.as_slice() {
            [] => meta::remove(object, "managedFields"),
            all => meta::set(object, "managedFields", all.iter().map(Manager::to_json).collect::<Vec<_>>()),
        }
    }

    pub(super) fn with(mut self, manager: Manager) -> Managers {
        if !manager.fields.below.is_empty() {
            self.0.push(manager);
        }
        self.cap();
        // Those that apply come first.
        self.0.sort_by(|a, b| {
            b.applies.cmp(&a.applies).then_with(|| (&a.time, &a.name, &a.subresource).cmp(&(&b.time, &b.name, &b.subresource)))
        });
        self
    }

    /// Makes one of the oldest writers, when there are too many.
    fn cap(&mut self) {
        let mut writers: Vec<usize> = (0..self.0.len()).filter(|at| !self.0[*at].applies).collect();
        let Some(surplus) = writers.len().checked_sub(WRITERS).filter(|surplus| *surplus > 0) else { return };
        writers.sort_by(|a, b| self.0[*a].time.cmp(&self.0[*b].time));
        let mut oldest: Vec<usize> = writers.into_iter().take(surplus + 1).collect();
        oldest.sort_unstable();
        let Some(first) = oldest.first().copied() else { return };
        for at in oldest.into_iter().skip(1).rev() {
            let gone = self.0.remove(at);
            let kept = &mut self.0[first];
            kept.fields.add(gone.fields);
            kept.time = std::cmp::max(std::mem::take(&mut kept.time), gone.time);
        }
        self.0[first].name = ANCIENT.into();
        self.0[first].subresource.clear();
    }

    /// A plain write has `changed` some fields and `removed` others: whoever else had them loses them.
    pub(super) fn written(mut self, mut writer: Manager, changed: &Fields, removed: &Fields) -> Managers {
        if let Some(known) = self.take(&writer) {
            writer.fields = known.fields;
        }
        for manager in self.0.iter_mut().chain([&mut writer]) {
            manager.fields.subtract(removed);
            manager.fields.subtract(changed);
        }
        self.0.retain(|manager| !manager.fields.below.is_empty());
        writer.fields.add(changed.clone());
        self.with(writer)
    }

    /// Takes out what a manager wanted until now.
    pub(super) fn take(&mut self, manager: &Manager) -> Option<Manager> {
        let at = self.0.iter().position(|known| known.is_same(manager))?;
        Some(self.0.remove(at))
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &Fields> {
        self.0.iter().map(|manager| &manager.fields)
    }

    /// The fields wanted here that another manager has given another value.
    pub(super) fn conflicts(
        &self,
        node: Node<'_>,
        wanted: &Fields,
        live: &Value,
        configuration: &Value,
    ) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        for (at, manager) in self.0.iter().enumerate() {
            let mut path = Vec::new();
            let mut found = Vec::new();
            collide(node, wanted, &manager.fields, Some(live), Some(configuration), &mut path, &mut found);
            conflicts.extend(found.into_iter().map(|path| Conflict { at, manager: manager.shown(), path }));
        }
        conflicts
    }

    /// The managers lose the fields in conflict.
    pub(super) fn give_up(&mut self, conflicts: &[Conflict]) {
        for conflict in conflicts {
            self.0[conflict.at].fields.remove(&conflict.path);
        }
        self.0.retain(|manager| !manager.fields.below.is_empty());
    }

    /// The same, with the old times for managers whose fields did not change, so that nothing changes when nothing did.
    pub(super) fn keeping_times(mut self, live: &Value, _object: &Value) -> Managers {
        let before = Managers::read(live);
        for manager in &mut self.0 {
            if let Some(old) = before.0.iter().find(|old| old.is_same(manager) && old.fields == manager.fields) {
                manager.time.clone_from(&old.time);
            }
        }
        self
    }
}

/// Walks two sets side by side and notes where both have a member whose value differs.
fn collide(
    node: Node<'_>,
    wanted: &Fields,
    held: &Fields,
    live: Option<&Value>,
    configuration: Option<&Value>,
    path: &mut Vec<Element>,
    found: &mut Vec<Vec<Element>>,
) {
    let whole = configuration.is_some_and(|value| is_atomic(node, value));
    if wanted.here && held.here && whole && live != configuration {
        found.push(path.clone());
        return;
    }
    for (element, wanted) in &wanted.below {
        let Some(held) = held.below.get(element) else { continue };
        let child = merge::child(node, element);
        let (live, configuration) =
            (live.and_then(|v| merge::at(node, v, element)), configuration.and_then(|v| merge::at(node, v, element)));
        path.push(element.clone());
        match child {
            Some(child) => collide(child, wanted, held, live, configuration, path, found),
            None if live != configuration => found.push(path.clone()),
            None => {}
        }
        path.pop();
    }
}
