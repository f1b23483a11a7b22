//! JSON patch (RFC 6902) as Kubernetes' library reads it, in its words.
//!
//! Where the library is wider than the RFC, this is, too: a field that is not there can be replaced, a test for null holds
//! where nothing is, indices below zero count from the end, and a missing `value` is null.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::{JSON_PATCH_MAX_COPIED, JSON_PATCH_MAX_OPERATIONS, PatchError};
use crate::decode::{DEPTH, JsonError, json_type, nests_within};

const MISSING: &str = "missing value";

/// Applies a JSON patch given as its JSON text.
pub fn json_patch(object: &Value, patch: &[u8]) -> Result<Value, PatchError> {
    let operations: Vec<Value> = serde_json::from_slice::<Value>(patch)
        .map_err(|error| PatchError::Malformed(JsonError::new(patch, &error).to_string()))
        .and_then(read)?;
    if operations.len() > JSON_PATCH_MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations(operations.len()));
    }
    let mut patched = Patched { document: object.clone(), copied: 0 };
    for operation in &operations {
        patched.apply(operation)?;
    }
    Ok(patched.document)
}

/// The operations, if each of them is one as far as types go.
fn read(patch: Value) -> Result<Vec<Value>, PatchError> {
    let unfit = |value: &Value, wanted: &str| {
        let found = json_type(value);
        Err(PatchError::Malformed(format!("json: cannot unmarshal {found} into Go {wanted}")))
    };
    let operations = match patch {
        Value::Array(operations) => operations,
        Value::Null => Vec::new(),
        other => return unfit(&other, "value of type []handlers.jsonPatchOp"),
    };
    for operation in &operations {
        match operation {
            Value::Null => {}
            Value::Object(fields) => {
                for name in ["op", "path", "from"] {
                    let Some(value) = fields.get(name).filter(|value| !value.is_string() && !value.is_null()) else {
                        continue;
                    };
                    return unfit(value, &format!("struct field jsonPatchOp.{name} of type string"));
                }
            }
            other => return unfit(other, "value of type handlers.jsonPatchOp"),
        }
    }
    Ok(operations)
}

struct Patched {
    document: Value,
    /// How many bytes were copied.
    copied: usize,
}

/// A path whose last step is left to its container.
struct Place<'a> {
    container: &'a mut Value,
    key: String,
}

fn failed(why: String) -> PatchError {
    PatchError::NotApplicable(why)
}

impl Patched {
    fn apply(&mut self, operation: &Value) -> Result<(), PatchError> {
        let value = || operation.get("value").cloned().unwrap_or_default();
        match text(operation, "op").unwrap_or("unknown") {
            "add" => self.add(operation, value()),
            "remove" => self.remove(operation),
            "replace" => self.replace(operation, value()),
            "move" => self.relocate(operation),
            "test" => self.test(operation, &value()),
            "copy" => self.copy(operation),
            other => Err(failed(format!("Unexpected kind: {other}"))),
        }
    }

    fn add(&mut self, operation: &Value, value: Value) -> Result<(), PatchError> {
        let path =
            text(operation, "path").ok_or_else(|| failed(format!("add operation failed to decode path: {MISSING}")))?;
        shallow("add", path, &value)?;
        let place = self.find(path).ok_or_else(|| {
            failed(format!("add operation does not apply: doc is missing path: \"{path}\": {MISSING}"))
        })?;
        place.add(value).map_err(|why| failed(format!("error in add for path: '{path}': {why}")))
    }

    fn remove(&mut self, operation: &Value) -> Result<(), PatchError> {
        let path = text(operation, "path")
            .ok_or_else(|| failed(format!("remove operation failed to decode path: {MISSING}")))?;
        let place = self.find(path).ok_or_else(|| {
            failed(format!("remove operation does not apply: doc is missing path: \"{path}\": {MISSING}"))
        })?;
        place.remove().map_err(|why| failed(format!("error in remove for path: '{path}': {why}")))
    }

    fn replace(&mut self, operation: &Value, value: Value) -> Result<(), PatchError> {
        let path = path_of("replace", operation)?;
        shallow("replace", path, &value)?;
        if path.is_empty() {
            if !value.is_object() && !value.is_array() {
                return Err(failed("replace operation value must be object or array: %!w(<nil>)".to_owned()));
            }
            self.document = value;
            return Ok(());
        }
        let missing =
            |what: &str| failed(format!("replace operation does not apply: doc is missing {what}: {path}: {MISSING}"));
        let place = self.find(path).ok_or_else(|| missing("path"))?;
        place.get().map_err(|_| missing("key"))?;
        place.set(value).map_err(|why| failed(format!("error in remove for path: '{path}': {why}")))
    }

    fn relocate(&mut self, operation: &Value) -> Result<(), PatchError> {
        let from = from_of("move", operation)?;
        let place = self.find(from).ok_or_else(|| {
            failed(format!("move operation does not apply: doc is missing from path: {from}: {MISSING}"))
        })?;
        let key = place.key.clone();
        let value = place
            .get()
            .map(|value| value.cloned().unwrap_or_default())
            .and_then(|value| place.remove().map(|()| value))
            .map_err(|why| failed(format!("error in move for path: '{key}': {why}")))?;
        let path = path_of("move", operation)?;
        shallow("move", path, &value)?;
        let place = self.find(path).ok_or_else(|| {
            failed(format!("move operation does not apply: doc is missing destination path: {path}: {MISSING}"))
        })?;
        place.add(value).map_err(|why| failed(format!("error in move for path: '{path}': {why}")))
    }

    fn test(&mut self, operation: &Value, wanted: &Value) -> Result<(), PatchError> {
        let path = path_of("test", operation)?;
        let unequal = || PatchError::TestFailed(path.to_owned());
        if path.is_empty() {
            return if self.document == *wanted { Ok(()) } else { Err(unequal()) };
        }
        let place = self
            .find(path)
            .ok_or_else(|| failed(format!("test operation does not apply: is missing path: {path}: {MISSING}")))?;
        let found = place.get().map_err(|why| failed(format!("error in test for path: '{path}': {why}")))?;
        if found.unwrap_or(&Value::Null) == wanted { Ok(()) } else { Err(unequal()) }
    }

    fn copy(&mut self, operation: &Value) -> Result<(), PatchError> {
        let from = from_of("copy", operation)?;
        let place = self.find(from).ok_or_else(|| {
            failed(format!("copy operation does not apply: doc is missing from path: {from}: {MISSING}"))
        })?;
        let value = place.get().map_err(|why| failed(format!("error in copy for from: '{from}': {why}")))?;
        let value = value.cloned().unwrap_or_default();
        let path = text(operation, "path")
            .ok_or_else(|| failed(format!("copy operation failed to decode path: {MISSING}")))?;
        shallow("copy", path, &value)?;
        if self.find(path).is_none() {
            let why = format!("copy operation does not apply: doc is missing destination path: {path}: {MISSING}");
            return Err(failed(why));
        }
        if !value.is_null() {
            self.copied += value.to_string().len();
        }
        if self.copied > JSON_PATCH_MAX_COPIED {
            return Err(PatchError::TooMuchCopied(self.copied));
        }
        let added = self.find(path).map_or(Ok(()), |place| place.add(value));
        added.map_err(|why| failed(format!("error while adding value during copy: {why}")))
    }

    /// Where a path leads, but for its last step. Nothing where a step leads nowhere.
    fn find(&mut self, path: &str) -> Option<Place<'_>> {
        let (before, key) = path.rsplit_once('/')?;
        let steps = before.split_once('/').map(|(_, steps)| steps.split('/'));
        let mut container = &mut self.document;
        for step in steps.into_iter().flatten() {
            container = match container {
                Value::Object(fields) => fields.get_mut(&*unescaped(step))?,
                Value::Array(items) => {
                    let at = index(&unescaped(step), items.len()).ok()?;
                    items.get_mut(at)?
                }
                _ => return None,
            };
        }
        (container.is_object() || container.is_array()).then(|| Place { container, key: unescaped(key).into_owned() })
    }
}

impl Place<'_> {
    fn get(&self) -> Result<Option<&Value>, String> {
        match &*self.container {
            Value::Array(items) => Ok(items.get(index(&self.key, items.len())?)),
            container => Ok(container.get(&self.key)),
        }
    }

    fn set(self, value: Value) -> Result<(), String> {
        match self.container {
            Value::Array(items) => {
                let at = index(&self.key, items.len())?;
                if let Some(item) = items.get_mut(at) {
                    *item = value;
                }
            }
            container => drop(fields(container).insert(self.key, value)),
        }
        Ok(())
    }

    fn add(self, value: Value) -> Result<(), String> {
        match self.container {
            Value::Array(items) if self.key == "-" => items.push(value),
            Value::Array(items) => {
                let at = number(&self.key)
                    .map_err(|why| format!("value was not a proper array index: '{}': {why}", self.key))?;
                // One place more than there are.
                items.insert(within(at, items.len() + 1)?, value);
            }
            container => drop(fields(container).insert(self.key, value)),
        }
        Ok(())
    }

    fn remove(self) -> Result<(), String> {
        match self.container {
            Value::Array(items) => drop(items.remove(index(&self.key, items.len())?)),
            container => match fields(container).remove(&self.key) {
                Some(_) => {}
                None => return Err(format!("Unable to remove nonexistent key: {}: {MISSING}", self.key)),
            },
        }
        Ok(())
    }
}

fn fields(container: &mut Value) -> &mut Map<String, Value> {
    container.as_object_mut().expect("a place is in an object where it is in no list")
}

fn text<'a>(operation: &'a Value, field: &str) -> Option<&'a str> {
    operation.get(field).and_then(Value::as_str)
}

fn path_of<'a>(op: &str, operation: &'a Value) -> Result<&'a str, PatchError> {
    text(operation, "path")
        .ok_or_else(|| failed(format!("{op} operation failed to decode path: operation missing path field: {MISSING}")))
}

fn from_of<'a>(op: &str, operation: &'a Value) -> Result<&'a str, PatchError> {
    text(operation, "from").ok_or_else(|| {
        failed(format!("{op} operation failed to decode from: operation, missing from field: {MISSING}"))
    })
}

/// What would lie too deep to be read again is refused.
fn shallow(op: &str, path: &str, value: &Value) -> Result<(), PatchError> {
    let left = DEPTH.checked_sub(path.matches('/').count());
    match left.is_some_and(|left| nests_within(value, left)) {
        true => Ok(()),
        false => Err(PatchError::TooDeep(op.to_owned())),
    }
}

/// A step of a path, of which `~1` stands for a slash and `~0` for a tilde.
fn unescaped(step: &str) -> Cow<'_, str> {
    match step.contains('~') {
        true => step.replace("~1", "/").replace("~0", "~").into(),
        false => step.into(),
    }
}

/// The place in a list that a step names.
fn index(step: &str, length: usize) -> Result<usize, String> {
    within(number(step)?, length)
}

fn number(step: &str) -> Result<i64, String> {
    step.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why =
            if matches!(error.kind(), PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
        format!("strconv.Atoi: parsing {}: {why}", crate::field::quote(step))
    })
}

/// An index, which counts from the end when it is below zero.
fn within(at: i64, length: usize) -> Result<usize, String> {
    let from_start = if at < 0 { at.checked_add_unsigned(length as u64) } else { Some(at) };
    let found = from_start.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < length);
    found.ok_or_else(|| {
        // Told as it was counted.
        format!("Unable to access invalid index: {at}: invalid index referenced")
    })
}
