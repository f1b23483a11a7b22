//! Where in an object something is wrong, and what is wrong there.
//!
//! A [`Path`] is cheap to extend (one shared node a step) and is only turned into text when an error is made,
//! because nearly all objects are valid. [`FieldError`] words itself as apimachinery's `field.Error` does, since
//! clients and tests compare these texts.

use std::borrow::Cow;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use serde_json::Value;

/// The place of a field in an object: `spec.containers[0].name`, `metadata.labels[a/b]`.
#[derive(Clone, Debug, Default)]
pub struct Path(Option<Arc<Step>>);

#[derive(Debug)]
struct Step {
    parent: Path,
    kind: StepKind,
}

#[derive(Debug)]
enum StepKind {
    Child(Cow<'static, str>),
    Index(usize),
    Key(String),
}

impl Path {
    /// The root of an object; displayed as the empty text.
    pub const fn root() -> Path {
        Path(None)
    }

    /// A path of one field.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Path {
        Path::root().child(name)
    }

    /// The named field below this path.
    pub fn child(&self, name: impl Into<Cow<'static, str>>) -> Path {
        self.step(StepKind::Child(name.into()))
    }

    /// The element of a list at this path.
    pub fn index(&self, index: usize) -> Path {
        self.step(StepKind::Index(index))
    }

    /// The entry of a map at this path.
    pub fn key(&self, key: impl Into<String>) -> Path {
        self.step(StepKind::Key(key.into()))
    }

    pub fn is_root(&self) -> bool {
        self.0.is_none()
    }

    fn step(&self, kind: StepKind) -> Path {
        Path(Some(Arc::new(Step { parent: self.clone(), kind })))
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut steps = Vec::new();
        let mut at = self;
        while let Some(step) = &at.0 {
            steps.push(step);
            at = &step.parent;
        }
        for (depth, step) in steps.iter().rev().enumerate() {
            match &step.kind {
                // A field without a name, which is how upstream speaks of the whole object.
                StepKind::Child(name) if name.is_empty() => f.write_str("[]")?,
                StepKind::Child(name) => {
                    if depth > 0 {
                        f.write_char('.')?;
                    }
                    f.write_str(name)?;
                }
                StepKind::Index(index) => write!(f, "[{index}]")?,
                StepKind::Key(key) => write!(f, "[{key}]")?,
            }
        }
        Ok(())
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooMany,
    TooFew,
    TooShort,
    TypeInvalid,
    Internal,
}

impl FieldErrorKind {
    /// The `reason` of a cause in a Status.
    pub const fn reason(self) -> &'static str {
        match self {
            FieldErrorKind::NotFound => "FieldValueNotFound",
            FieldErrorKind::Required => "FieldValueRequired",
            FieldErrorKind::Duplicate => "FieldValueDuplicate",
            FieldErrorKind::Invalid => "FieldValueInvalid",
            FieldErrorKind::NotSupported => "FieldValueNotSupported",
            FieldErrorKind::Forbidden => "FieldValueForbidden",
            FieldErrorKind::TooLong => "FieldValueTooLong",
            FieldErrorKind::TooMany => "FieldValueTooMany",
            FieldErrorKind::TooFew => "FieldValueTooFew",
            FieldErrorKind::TooShort => "FieldValueTooShort",
            FieldErrorKind::TypeInvalid => "FieldValueTypeInvalid",
            FieldErrorKind::Internal => "InternalError",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            FieldErrorKind::NotFound => "Not found",
            FieldErrorKind::Required => "Required value",
            FieldErrorKind::Duplicate => "Duplicate value",
            FieldErrorKind::Invalid | FieldErrorKind::TypeInvalid => "Invalid value",
            FieldErrorKind::NotSupported => "Unsupported value",
            FieldErrorKind::Forbidden => "Forbidden",
            FieldErrorKind::TooLong => "Too long",
            FieldErrorKind::TooMany => "Too many",
            FieldErrorKind::TooFew => "Too few",
            FieldErrorKind::TooShort => "Too short",
            FieldErrorKind::Internal => "Internal error",
        }
    }

    const fn shows_value(self) -> bool {
        matches!(
            self,
            FieldErrorKind::Invalid
                | FieldErrorKind::TypeInvalid
                | FieldErrorKind::NotSupported
                | FieldErrorKind::NotFound
                | FieldErrorKind::Duplicate
                | FieldErrorKind::TooMany
                | FieldErrorKind::TooFew
        )
    }
}

/// One thing that is wrong with one field of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldError {
    pub kind: FieldErrorKind,
    /// The field's path as text.
    pub field: String,
    /// The value found there; `Null` for a count that is not told.
    pub value: Value,
    /// What was expected, possibly empty.
    pub detail: String,
    /// The value is not told: it is large, or says nothing.
    omitted: bool,
    /// How the value is told, where that is not its JSON.
    shown: Option<String>,
}

impl FieldError {
    fn new(kind: FieldErrorKind, path: &Path, value: Value, detail: impl Into<String>) -> FieldError {
        let field = if path.is_root() { "<nil>".to_string() } else { path.to_string() };
        FieldError { kind, field, value, detail: detail.into(), omitted: false, shown: None }
    }

    pub fn required(path: &Path, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Required, path, Value::String(String::new()), detail)
    }

    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Invalid, path, value.into(), detail)
    }

    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::TypeInvalid, path, value.into(), detail)
    }

    /// The value is none of `supported`, which are told in the order given.
    pub fn not_supported<S: AsRef<str>>(path: &Path, value: impl Into<Value>, supported: &[S]) -> FieldError {
        let mut detail = String::new();
        for (n, item) in supported.iter().enumerate() {
            detail.push_str(if n == 0 { "supported values: " } else { ", " });
            detail.push_str(&quote(item.as_ref()));
        }
        FieldError::new(FieldErrorKind::NotSupported, path, value.into(), detail)
    }

    pub fn forbidden(path: &Path, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Forbidden, path, Value::String(String::new()), detail)
    }

    pub fn duplicate(path: &Path, value: impl Into<Value>) -> FieldError {
        FieldError::new(FieldErrorKind::Duplicate, path, value.into(), "")
    }

    pub fn not_found(path: &Path, value: impl Into<Value>) -> FieldError {
        FieldError::new(FieldErrorKind::NotFound, path, value.into(), "")
    }

    /// More than `max` bytes. The value itself is left out: it is long.
    pub fn too_long(path: &Path, max: usize) -> FieldError {
        let unit = if max == 1 { "byte" } else { "bytes" };
        FieldError::new(
            FieldErrorKind::TooLong,
            path,
            Value::String("<value omitted>".into()),
            format!("may not be more than {max} {unit}"),
        )
    }

    /// More than `max` characters.
    pub fn too_long_characters(path: &Path, max: usize) -> FieldError {
        let unit = if max == 1 { "character" } else { "characters" };
        FieldError::new(
            FieldErrorKind::TooLong,
            path,
            Value::String("<value omitted>".into()),
            format!("may not be more than {max} {unit}"),
        )
    }

    pub fn too_many(path: &Path, found: usize, max: usize) -> FieldError {
        let unit = if max == 1 { "item" } else { "items" };
        FieldError::new(FieldErrorKind::TooMany, path, Value::from(found), format!("must have at most {max} {unit}"))
    }

    pub fn internal(path: &Path, detail: impl Into<String>) -> FieldError {
        FieldError::new(FieldErrorKind::Internal, path, Value::Null, detail)
    }

    /// The error without its value.
    pub fn without_value(mut self) -> FieldError {
        self.value = Value::Null;
        self.omitted = true;
        self
    }

    /// The error of a value that is one of Go's internal structs, which is shown as [`crate::golang`] says.
    pub fn with_shown(mut self, name: &str) -> FieldError {
        if !self.value.is_null() {
            self.shown = Some(crate::golang::compact(name, &self.value));
        }
        self
    }

    /// The text without the field's path, as a Status cause carries it.
    pub fn body(&self) -> String {
        let mut text = self.kind.words().to_string();
        let told = !(self.value.is_null() && matches!(self.kind, FieldErrorKind::TooMany | FieldErrorKind::TooFew));
        if self.kind.shows_value() && told && !self.omitted {
            text.push_str(": ");
            match (&self.shown, &self.value) {
                (Some(shown), _) => text.push_str(shown),
                (None, Value::String(value)) => text.push_str(&quote(value)),
                (None, other) => text.push_str(&crate::golang::tagged(other)),
            }
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// Several errors as one text: one alone as it is, more in brackets, repeated ones once.
pub fn aggregate<E: ToString>(errors: &[E]) -> String {
    let mut texts: Vec<String> = Vec::with_capacity(errors.len());
    for error in errors {
        let text = error.to_string();
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    if texts.len() == 1 { texts.remove(0) } else { format!("[{}]", texts.join(", ")) }
}

/// Quotes a text as Go's `%q` does.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control() || ('\u{e000}'..='\u{f8ff}').contains(&c) => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn paths_read_as_kubernetes_prints_them() {
        let spec = Path::new("spec");
        assert_eq!(spec.child("containers").index(0).child("name").to_string(), "spec.containers[0].name");
        assert_eq!(Path::new("metadata").child("labels").key("a/b").to_string(), "metadata.labels[a/b]");
        assert_eq!(Path::root().index(3).to_string(), "[3]");
    }

    #[test]
    fn errors_word_themselves_by_kind() {
        let at = Path::new("spec").child("x");
        let cases = [
            (FieldError::required(&at, ""), "spec.x: Required value"),
            (FieldError::required(&at, "why"), "spec.x: Required value: why"),
            (FieldError::invalid(&at, "y\"", "detail"), "spec.x: Invalid value: \"y\\\"\": detail"),
            (FieldError::invalid(&at, 3, "detail"), "spec.x: Invalid value: 3: detail"),
            (FieldError::invalid(&at, json!({"a": [1]}), "d"), "spec.x: Invalid value: {\"a\":[1]}: d"),
            (FieldError::invalid(&at, Value::Null, "d"), "spec.x: Invalid value: null: d"),
            (
                FieldError::not_supported(&at, "z", &["a", "b"]),
                "spec.x: Unsupported value: \"z\": supported values: \"a\", \"b\"",
            ),
            (FieldError::forbidden(&at, "no"), "spec.x: Forbidden: no"),
            (FieldError::duplicate(&at, "d"), "spec.x: Duplicate value: \"d\""),
            (FieldError::too_long(&at, 1), "spec.x: Too long: may not be more than 1 byte"),
            (FieldError::too_many(&at, 5, 3), "spec.x: Too many: 5: must have at most 3 items"),
            (FieldError::not_found(&at, "v"), "spec.x: Not found: \"v\""),
            (FieldError::internal(&at, "broke"), "spec.x: Internal error: broke"),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn aggregates_drop_repeats() {
        let one = FieldError::required(&Path::new("a"), "");
        let two = FieldError::required(&Path::new("b"), "");
        assert_eq!(aggregate(&[one.clone(), one.clone()]), "a: Required value");
        assert_eq!(aggregate(&[one, two]), "[a: Required value, b: Required value]");
    }
}
