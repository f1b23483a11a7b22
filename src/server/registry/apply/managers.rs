//! Who wants which fields of an object: `metadata.managedFields`.

use mk8s_api::{meta, schema::Node};
use serde_json::{Value, json};

use super::{
    Conflict,
    fields::{Element, Fields, is_atomic},
    managed_fields, merge,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) api_version: String,
    pub(super) subresource: String,
    pub(super) time: String,
    pub(super) fields: Fields,
}

/// All that applied, and entries of other operations as they are.
#[derive(Debug, Default)]
pub(super) struct Managers {
    applied: Vec<Manager>,
    other: Vec<Value>,
}

impl Manager {
    fn read(entry: &Value) -> Option<Manager> {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_string();
        (entry["operation"] == "Apply").then(|| Manager {
            name: text("manager"),
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            time: text("time"),
            fields: Fields::from_json(&entry["fieldsV1"]),
        })
    }

    pub(super) fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.name,
            "operation": "Apply",
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
        self.name == other.name && self.subresource == other.subresource
    }

    /// As messages name it.
    fn shown(&self) -> String {
        let subresource = if self.subresource.is_empty() {
            String::new()
        } else {
            format!(" with subresource {:?}", self.subresource)
        };
        format!("{:?}{subresource} using {}", self.name, self.api_version)
    }
}

impl Managers {
    pub(super) fn read(object: &Value) -> Managers {
        let mut managers = Managers::default();
        for entry in meta::metadata(object).get("managedFields").and_then(Value::as_array).into_iter().flatten() {
            match Manager::read(entry) {
                Some(manager) => managers.applied.push(manager),
                None => managers.other.push(entry.clone()),
            }
        }
        managers
    }

    pub(super) fn write(&self, object: &mut Value) {
        let mut all = managed_fields(&self.applied).unwrap_or_else(|| json!([]));
        if let Some(list) = all.as_array_mut() {
            list.extend(self.other.iter().cloned());
        }
        meta::set(object, "managedFields", all);
    }

    pub(super) fn with(mut self, manager: Manager) -> Managers {
        if !manager.fields.below.is_empty() {
            self.applied.push(manager);
        }
        self.applied.sort_by(|a, b| (&a.name, &a.subresource).cmp(&(&b.name, &b.subresource)));
        self
    }

    /// Takes out what a manager wanted until now.
    pub(super) fn take(&mut self, manager: &Manager) -> Option<Manager> {
        let at = self.applied.iter().position(|known| known.is_same(manager))?;
        Some(self.applied.remove(at))
    }

    pub(super) fn fields(&self) -> impl Iterator<Item = &Fields> {
        self.applied.iter().map(|manager| &manager.fields)
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
        for (at, manager) in self.applied.iter().enumerate() {
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
            self.applied[conflict.at].fields.remove(&conflict.path);
        }
        self.applied.retain(|manager| !manager.fields.below.is_empty());
    }

    /// The same, with the old times for managers whose fields did not change, so that nothing changes when nothing did.
    pub(super) fn keeping_times(mut self, live: &Value, _object: &Value) -> Managers {
        let before = Managers::read(live);
        for manager in &mut self.applied {
            if let Some(old) = before.applied.iter().find(|old| old.is_same(manager) && old.fields == manager.fields) {
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
