//! Where a custom kind keeps what its `scale` shows.

use serde_json::{Map, Value};

use crate::{
    at::{self, maybe_text, text},
    field::{FieldError, Path},
};

/// `spec.versions[*].subresources.scale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    spec: String,
    status: String,
    selector: Option<String>,
}

/// A number, or the text that says why there is none.
type Found<T> = Result<Option<T>, String>;

impl ScalePaths {
    pub(super) fn read(scale: &Value) -> ScalePaths {
        let selector = maybe_text(scale, "labelSelectorPath").filter(|path| !path.is_empty());
        ScalePaths {
            spec: text(scale, "specReplicasPath").to_owned(),
            status: text(scale, "statusReplicasPath").to_owned(),
            selector: selector.map(str::to_owned),
        }
    }

    /// The replicas that are wanted; `None` when the object does not say.
    pub fn wanted(&self, object: &Value) -> Found<i64> {
        number(object, &self.spec)
    }

    pub fn present(&self, object: &Value) -> Found<i64> {
        number(object, &self.status)
    }

    /// The selector as text.
    pub fn selector<'a>(&self, object: &'a Value) -> &'a str {
        let found = self.selector.as_ref().and_then(|path| find(object, path).ok()?);
        found.and_then(Value::as_str).unwrap_or_default()
    }

    /// How the path of the wanted replicas is written in the definition.
    pub fn spec_path(&self) -> &str {
        &self.spec
    }

    pub fn set_wanted(&self, object: &mut Value, replicas: i64) {
        let mut place = object;
        let names: Vec<&str> = steps(&self.spec).collect();
        let Some((last, parents)) = names.split_last() else { return };
        for name in parents {
            let Some(below) = at::sub_mut(place, name) else { return };
            place = below;
        }
        at::set(place, last, replicas);
    }

    /// What is wrong with the numbers a scale reads.
    pub(super) fn validate(&self, object: &Value, whole: bool, errors: &mut Vec<FieldError>) {
        if whole {
            replicas(&self.spec, self.wanted(object), errors);
        }
        replicas(&self.status, self.present(object), errors);
        if let Some(path) = &self.selector {
            let wrong = match find(object, path) {
                Ok(None | Some(Value::String(_))) => None,
                Ok(Some(other)) => Some(mistyped(path, other, "string")),
                Err(why) => Some(why),
            };
            errors.extend(wrong.map(|why| FieldError::invalid(&Path::new(path.clone()), "", why)));
        }
    }
}

fn replicas(path: &str, found: Found<i64>, errors: &mut Vec<FieldError>) {
    let field = Path::new(path.to_owned());
    match found {
        Err(why) => errors.push(FieldError::invalid(&field, 0, why)),
        Ok(Some(number)) if number < 0 => {
            errors.push(FieldError::invalid(&field, number, "should be a non-negative integer"));
        }
        Ok(Some(number)) if number > i64::from(i32::MAX) => {
            let detail = format!("should be less than or equal to {}", i32::MAX);
            errors.push(FieldError::invalid(&field, number, detail));
        }
        Ok(_) => {}
    }
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('.').unwrap_or(path).split('.')
}

fn number(object: &Value, path: &str) -> Found<i64> {
    match find(object, path)? {
        None => Ok(None),
        Some(found) => found.as_i64().map(Some).ok_or_else(|| mistyped(path, found, "int64")),
    }
}

fn find<'a>(object: &'a Value, path: &str) -> Result<Option<&'a Value>, String> {
    let mut place = object;
    for (depth, name) in steps(path).enumerate() {
        let Some(fields) = place.as_object() else {
            let above: Vec<&str> = steps(path).take(depth).collect();
            return Err(mistyped(&format!(".{}", above.join(".")), place, "map[string]interface{}"));
        };
        match fields.get(name) {
            Some(below) => place = below,
            None => return Ok(None),
        }
    }
    Ok(Some(place))
}

fn mistyped(path: &str, found: &Value, wanted: &str) -> String {
    let (shown, kind) = match found {
        Value::Null => ("<nil>".to_owned(), "<nil>"),
        Value::Bool(value) => (value.to_string(), "bool"),
        Value::Number(value) if value.is_f64() => (value.to_string(), "float64"),
        Value::Number(value) => (value.to_string(), "int64"),
        Value::String(value) => (value.clone(), "string"),
        Value::Array(items) => (Value::from(items.clone()).to_string(), "[]interface {}"),
        Value::Object(fields) => (Value::from(Map::clone(fields)).to_string(), "map[string]interface {}"),
    };
    format!("{path} accessor error: {shown} is of the type {kind}, expected {wanted}")
}
