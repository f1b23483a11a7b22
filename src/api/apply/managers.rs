//! Who owns which fields of an object: the entries of `metadata.managedFields`.

use std::collections::{HashMap, hash_map::Entry};

use serde_json::{Map, Value, json};

use super::set::{FieldSet, SetError};

/// How a manager came to own fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// It said what it wants.
    Apply,
    /// It only wrote.
    Update,
}

impl Operation {
    fn as_str(self) -> &'static str {
        match self {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        }
    }
}

/// What tells managers apart. Whoever applies is the same in every version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    pub name: String,
    pub operation: Operation,
    /// Empty for those that apply.
    pub version: String,
    pub subresource: String,
}

/// One manager and what it owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Manager {
    pub name: String,
    pub operation: Operation,
    pub subresource: String,
    /// The version of the kind in whose terms the fields are.
    pub api_version: String,
    /// As it is written; absent when the manager never changed anything.
    pub time: Option<String>,
    pub fields: FieldSet,
}

/// All managers of an object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Managers(pub(super) Vec<Manager>);

/// Why a list of entries cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagersError {
    #[error("managedFields must be a list of maps")]
    Form,
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    NoVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoType(usize),
    #[error("invalid fieldsType {kind:?} in managed fields entry {at}")]
    Type { kind: String, at: usize },
    #[error("error decoding set of managed fields entry {at}")]
    Set { at: usize, source: SetError },
}

/// How many that only wrote are told apart; the oldest of more become one.
const WRITERS: usize = 10;
const ANCIENT: &str = "ancient-changes";

impl Manager {
    pub fn id(&self) -> Id {
        Id {
            name: self.name.clone(),
            operation: self.operation,
            version: if self.operation == Operation::Apply { String::new() } else { self.api_version.clone() },
            subresource: self.subresource.clone(),
        }
    }

    pub(super) fn is(&self, other: &Manager) -> bool {
        self.operation == other.operation
            && self.name == other.name
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    fn decode(at: usize, entry: Value, trusted: bool) -> Result<Manager, ManagersError> {
        let Value::Object(mut entry) = entry else { return Err(ManagersError::Form) };
        let mut text = |field: &str| match entry.get_mut(field).map(Value::take) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let operation = match text("operation").as_str() {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err(ManagersError::Operation),
        };
        let (api_version, name, subresource) = (text("apiVersion"), text("manager"), text("subresource"));
        let (time, kind) = (text("time"), text("fieldsType"));
        if api_version.is_empty() {
            return Err(ManagersError::NoVersion);
        }
        match kind.as_str() {
            "FieldsV1" => {}
            "" => return Err(ManagersError::NoType(at)),
            _ => return Err(ManagersError::Type { kind, at }),
        }
        let fields = entry.remove("fieldsV1").unwrap_or_default();
        let fields = match trusted {
            true => FieldSet::of_stored(fields),
            false => FieldSet::decode(&fields).map_err(|source| ManagersError::Set { at, source })?,
        };
        let time = (!time.is_empty()).then_some(time);
        Ok(Manager { name, operation, subresource, api_version, time, fields })
    }

    fn encode(self) -> Value {
        let mut entry = Map::new();
        let mut put = |field: &str, value: Value| drop(entry.insert(field.to_owned(), value));
        put("apiVersion", Value::String(self.api_version));
        put("fieldsType", Value::from("FieldsV1"));
        put("fieldsV1", self.fields.into_value());
        if !self.name.is_empty() {
            put("manager", Value::String(self.name));
        }
        put("operation", Value::from(self.operation.as_str()));
        if !self.subresource.is_empty() {
            put("subresource", Value::String(self.subresource));
        }
        if let Some(time) = self.time {
            put("time", Value::String(time));
        }
        Value::Object(entry)
    }
}

impl Managers {
    /// Entries as a client sent them.
    pub fn decode(entries: Value) -> Result<Managers, ManagersError> {
        Managers::read(entries, false)
    }

    /// Entries as they are stored.
    pub(super) fn of_stored(entries: Value) -> Managers {
        Managers::read(entries, true).unwrap_or_default()
    }

    fn read(entries: Value, trusted: bool) -> Result<Managers, ManagersError> {
        let list = match entries {
            Value::Null => return Ok(Managers::default()),
            Value::Array(list) => list,
            _ => return Err(ManagersError::Form),
        };
        let mut managers = Vec::with_capacity(list.len() + 1);
        let mut places: HashMap<Id, usize> = HashMap::new();
        for (at, entry) in list.into_iter().enumerate() {
            let manager = Manager::decode(at, entry, trusted)?;
            if trusted {
                managers.push(manager);
                continue;
            }
            // Of entries for one manager the last counts.
            match places.entry(manager.id()) {
                Entry::Occupied(known) => managers[*known.get()] = manager,
                Entry::Vacant(new) => {
                    new.insert(managers.len());
                    managers.push(manager);
                }
            }
        }
        Ok(Managers(managers))
    }

    /// The entries in their order; `None` when there are none.
    pub fn encode(mut self) -> Option<Value> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by(|a, b| {
            let (first, second) = ((a.operation, &a.time, &a.name), (b.operation, &b.time, &b.name));
            first.cmp(&second).then_with(|| (&a.api_version, &a.subresource).cmp(&(&b.api_version, &b.subresource)))
        });
        Some(Value::Array(self.0.into_iter().map(Manager::encode).collect()))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Manager> {
        self.0.iter()
    }

    pub(super) fn find(&self, wanted: &Manager) -> Option<usize> {
        self.0.iter().position(|known| known.is(wanted))
    }

    /// Takes out those that own nothing.
    pub(super) fn drop_empty(&mut self) {
        self.0.retain(|manager| !manager.fields.is_empty());
    }

    /// Makes one of the oldest writers of each version, as long as there are too many.
    pub(super) fn cap(&mut self) {
        let mut oldest: Vec<usize> =
            (0..self.0.len()).filter(|at| self.0[*at].operation == Operation::Update).collect();
        let mut count = oldest.len();
        if count <= WRITERS {
            return;
        }
        oldest.sort_by_cached_key(|at| (self.0[*at].time.clone(), self.0[*at].id()));
        let is_ancient = |manager: &Manager| manager.name == ANCIENT && manager.subresource.is_empty();
        // By version: the first seen, and the one that takes in the others.
        let mut first: HashMap<String, usize> = HashMap::new();
        let mut bucket: HashMap<String, usize> = oldest
            .iter()
            .filter(|at| is_ancient(&self.0[**at]))
            .map(|at| (self.0[*at].api_version.clone(), *at))
            .collect();
        for at in oldest {
            if count <= WRITERS {
                break;
            }
            let version = self.0[at].api_version.clone();
            let Some(known) = first.get(&version).copied() else {
                first.insert(version, at);
                continue;
            };
            let into = *bucket.entry(version).or_insert(known);
            if into == at {
                continue;
            }
            let fields = std::mem::take(&mut self.0[at].fields);
            let time = self.0[at].time.clone();
            let bucket = &mut self.0[into];
            bucket.name = ANCIENT.into();
            bucket.subresource = String::new();
            bucket.fields.unite(&fields);
            bucket.time = time;
            count -= 1;
        }
        self.drop_empty();
    }
}

/// Whether a client asks for the managers to be forgotten: an empty list, or one empty entry.
pub fn is_reset(entries: &Value) -> bool {
    match entries {
        Value::Array(list) => match list.as_slice() {
            [] => true,
            [one] => *one == json!({}),
            _ => false,
        },
        _ => false,
    }
}
