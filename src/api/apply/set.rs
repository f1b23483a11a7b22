//! Sets of fields, held in the very form in which `managedFields` shows them (`FieldsV1`).
//!
//! ```text
//! {"f:spec": {"f:containers": {"k:{\"name\":\"a\"}": {".": {}, "f:image": {}}}, "f:finalizers": {"v:\"x\"": {}}}}
//! ```
//!
//! A place is a member when nothing is below it (`{}`) or when it says so (`"."`). Keeping this form means that a write
//! neither parses what is stored nor encodes what it made.
//!
//! Invariant: no place is empty of members, and a `"."` never stands alone.

use serde_json::{Map, Value};

/// The mark of a place that is a member beside what is below it.
const SELF: &str = ".";

/// What is below one place, by the texts of the steps.
pub(super) type Places = Map<String, Value>;

/// A set of fields of one object.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldSet(pub(super) Places);

/// Why a text is not a set of fields.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    #[error("a set of fields must be a map, {0} is none")]
    NoMap(String),
    #[error("{0:?} is no step to a field: it must begin with f:, k:, v: or i:")]
    Step(String),
    #[error("{0:?} does not hold JSON of its kind")]
    Json(String),
}

pub(super) fn places(value: &Value) -> Option<&Places> {
    value.as_object()
}

/// Whether the place itself is a member of the set.
pub(super) fn is_member(place: &Value) -> bool {
    place.as_object().is_some_and(|below| below.is_empty() || below.contains_key(SELF))
}

/// What is below a place, without the mark of its own membership.
pub(super) fn below(place: &Value) -> impl Iterator<Item = (&String, &Value)> {
    place.as_object().into_iter().flatten().filter(|(step, _)| *step != SELF)
}

pub(super) fn has_below(place: &Value) -> bool {
    below(place).next().is_some()
}

/// A place that is a member, over what is below it.
pub(super) fn member(mut below: Places) -> Value {
    if !below.is_empty() {
        below.insert(SELF.to_owned(), Value::Object(Map::new()));
    }
    Value::Object(below)
}

/// A place with nothing below.
pub(super) fn leaf() -> Value {
    Value::Object(Map::new())
}

/// A place that is a member or not, over what is below; `None` when it holds no member at all.
fn place(is_member: bool, below: Places) -> Option<Value> {
    match (is_member, below.is_empty()) {
        (true, _) => Some(member(below)),
        (false, false) => Some(Value::Object(below)),
        (false, true) => None,
    }
}

fn without_self(place: &Value) -> Places {
    below(place).map(|(step, value)| (step.clone(), value.clone())).collect()
}

impl FieldSet {
    /// What `fieldsV1` says, its steps brought into the form in which they are compared. Steps of unknown kinds are left
    /// out, as a later version may know them.
    pub fn decode(value: &Value) -> Result<FieldSet, SetError> {
        match value {
            Value::Null => Ok(FieldSet::default()),
            Value::Object(map) => Ok(FieldSet(normal(map)?)),
            other => Err(SetError::NoMap(other.to_string())),
        }
    }

    /// A set that is stored, and so in its form already.
    pub(super) fn of_stored(value: Value) -> FieldSet {
        match value {
            Value::Object(map) => FieldSet(map),
            _ => FieldSet::default(),
        }
    }

    /// `fieldsV1`.
    pub fn into_value(self) -> Value {
        Value::Object(self.0)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All members of both.
    pub fn unite(&mut self, other: &FieldSet) {
        unite(&mut self.0, &other.0);
    }

    /// Takes the members of the other out. A place that goes takes nothing along that is below it.
    pub fn subtract(&mut self, other: &FieldSet) {
        subtract(&mut self.0, &other.0);
    }

    /// As [`FieldSet::subtract`], but whatever is below a place goes with it.
    pub fn cut(&mut self, other: &FieldSet) {
        cut(&mut self.0, &other.0);
    }

    /// The members of both.
    pub fn shared(&self, other: &FieldSet) -> FieldSet {
        FieldSet(shared(&self.0, &other.0))
    }

    /// The members that the other has not.
    pub fn without(&self, other: &FieldSet) -> FieldSet {
        let mut left = self.clone();
        left.subtract(other);
        left
    }

    /// Whether the field at the end of these steps is a member.
    pub fn has(&self, steps: &[&str]) -> bool {
        let Some((last, first)) = steps.split_last() else { return false };
        let mut at = Some(&self.0);
        for step in first {
            at = at.and_then(|below| below.get(*step)).and_then(places);
        }
        at.and_then(|below| below.get(*last)).is_some_and(is_member)
    }

    /// A set of one field.
    pub fn one(steps: &[&str]) -> FieldSet {
        let Some((first, rest)) = steps.split_first() else { return FieldSet::default() };
        let place =
            rest.iter().rev().fold(leaf(), |below, step| Value::Object(Map::from_iter([((*step).to_owned(), below)])));
        FieldSet(Map::from_iter([((*first).to_owned(), place)]))
    }

    /// The members, parents before what is below them, as lists of steps.
    pub fn members(&self) -> Vec<Vec<&str>> {
        let mut all = Vec::new();
        list(&self.0, &mut Vec::new(), &mut all);
        all
    }
}

fn list<'a>(at: &'a Places, path: &mut Vec<&'a str>, all: &mut Vec<Vec<&'a str>>) {
    let steps = || at.iter().filter(|(step, _)| *step != SELF);
    for (step, place) in steps() {
        if is_member(place) {
            path.push(step);
            all.push(path.clone());
            path.pop();
        }
    }
    for (step, place) in steps() {
        if let Some(below) = places(place) {
            path.push(step);
            list(below, path, all);
            path.pop();
        }
    }
}

fn normal(map: &Places) -> Result<Places, SetError> {
    let mut all = Map::new();
    for (step, value) in map {
        if step == SELF {
            continue;
        }
        let Some(step) = normal_step(step)? else { continue };
        let below = match value {
            Value::Object(map) => map,
            Value::Null => &Map::new(),
            other => return Err(SetError::NoMap(other.to_string())),
        };
        let inner = normal(below)?;
        let is_member = inner.is_empty() || below.contains_key(SELF);
        let Some(place) = place(is_member, inner) else { continue };
        match all.get_mut(&step) {
            None => drop(all.insert(step, place)),
            Some(known) => unite_place(known, &place),
        }
    }
    Ok(all)
}

/// A step in the form in which it is compared: JSON with sorted keys and no blanks. `None`: of a kind that is not known.
fn normal_step(step: &str) -> Result<Option<String>, SetError> {
    let (Some(kind), Some(rest)) = (step.get(..2), step.get(2..)) else { return Err(SetError::Step(step.to_owned())) };
    let json = || serde_json::from_str::<Value>(rest).map_err(|_| SetError::Json(step.to_owned()));
    match kind {
        "f:" => Ok(Some(step.to_owned())),
        "i:" if rest.parse::<i64>().is_ok() => Ok(Some(step.to_owned())),
        "i:" => Err(SetError::Json(step.to_owned())),
        "v:" => Ok(Some(format!("v:{}", json()?))),
        "k:" => match json()? {
            value @ Value::Object(_) => Ok(Some(format!("k:{value}"))),
            _ => Err(SetError::Json(step.to_owned())),
        },
        other if other.ends_with(':') => Ok(None),
        _ => Err(SetError::Step(step.to_owned())),
    }
}

pub(super) fn unite(mine: &mut Places, theirs: &Places) {
    for (step, place) in theirs.iter().filter(|(step, _)| *step != SELF) {
        match mine.get_mut(step) {
            None => drop(mine.insert(step.clone(), place.clone())),
            Some(known) => unite_place(known, place),
        }
    }
}

fn unite_place(mine: &mut Value, theirs: &Value) {
    let is_member = is_member(mine) || is_member(theirs);
    let (Value::Object(below), Value::Object(other)) = (mine, theirs) else { return };
    unite(below, other);
    if is_member && !below.is_empty() {
        below.insert(SELF.to_owned(), leaf());
    }
}

/// Takes the mark of membership off a place; whether anything is left of it.
fn resign(place: &mut Value) -> bool {
    let Value::Object(below) = place else { return false };
    below.remove(SELF);
    !below.is_empty()
}

fn subtract(mine: &mut Places, theirs: &Places) {
    for (step, other) in theirs.iter().filter(|(step, _)| *step != SELF) {
        let Some(place) = mine.get_mut(step) else { continue };
        let stays = is_member(place) && !is_member(other);
        if let (Value::Object(below), Value::Object(other)) = (&mut *place, other)
            && !below.is_empty()
        {
            subtract(below, other);
        }
        let left = if stays { close(place) } else { resign(place) };
        if !left {
            mine.remove(step);
        }
    }
}

/// A `"."` that stands alone goes, which is what says that the place is a member.
fn close(place: &mut Value) -> bool {
    if let Value::Object(below) = place
        && below.len() == 1
    {
        below.remove(SELF);
    }
    true
}

fn cut(mine: &mut Places, theirs: &Places) {
    for (step, other) in theirs.iter().filter(|(step, _)| *step != SELF) {
        if is_member(other) {
            mine.remove(step);
            continue;
        }
        let Some(place) = mine.get_mut(step) else { continue };
        let stays = is_member(place);
        if let (Value::Object(below), Value::Object(other)) = (&mut *place, other)
            && !below.is_empty()
        {
            cut(below, other);
        }
        let left = if stays { close(place) } else { resign(place) };
        if !left {
            mine.remove(step);
        }
    }
}

fn shared(mine: &Places, theirs: &Places) -> Places {
    let both = mine.iter().filter(|(step, _)| *step != SELF).filter_map(|(step, a)| {
        let b = theirs.get(step)?;
        let below = match (a, b) {
            (Value::Object(a), Value::Object(b)) => shared(a, b),
            _ => Map::new(),
        };
        Some((step.clone(), place(is_member(a) && is_member(b), below)?))
    });
    both.collect()
}

/// Says of a place that it is a member, whatever it was.
pub(super) fn enlist(place: &Value) -> Value {
    member(without_self(place))
}
