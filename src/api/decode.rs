//! Request bodies: bytes in JSON or YAML become an object of the expected kind, or the error Kubernetes would answer.
//!
//! Duplicate keys are found while reading (the last one wins, as in Go), unknown fields and wrong types by the schema.

use std::{cell::RefCell, collections::HashMap, fmt};

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::{
    crd::DefinitionVersion,
    field::{FieldError, Path, quote},
    kinds,
    schema::{DecodeError, Schema},
    status::Status,
};

mod json_error;
mod yaml_doubles;

pub use json_error::{JsonError, json_type};

/// How deeply objects may nest. Readers of JSON stop somewhat later (lists and watch events wrap objects), so what is
/// within this can be read by all of them.
pub const DEPTH: usize = 100;

/// A typed object of JSON that is there already. By way of text: whoever follows a kind decodes text, and another way to
/// decode would put every type into the executable once more.
///
/// # Errors
/// What of it is not of the type.
pub fn typed<T: DeserializeOwned>(value: &Value) -> serde_json::Result<T> {
    serde_json::from_str(&value.to_string())
}

/// Whether a value nests at most so many levels.
pub fn nests_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(list) => levels > 0 && list.iter().all(|item| nests_within(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|field| nests_within(field, levels - 1)),
        _ => true,
    }
}

/// The encodings of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    Json,
    Yaml,
}

impl Media {
    /// From a `Content-Type`; none at all means JSON.
    pub fn from_content_type(value: &str) -> Option<Media> {
        match value.split(';').next().unwrap_or_default().trim() {
            "" | "application/json" => Some(Media::Json),
            "application/yaml" => Some(Media::Yaml),
            _ => None,
        }
    }
}

/// What is done about unknown and duplicate fields: the `fieldValidation` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

impl FieldValidation {
    pub fn parse(value: &str) -> Option<FieldValidation> {
        match value {
            "" | "Warn" => Some(FieldValidation::Warn),
            "Ignore" => Some(FieldValidation::Ignore),
            "Strict" => Some(FieldValidation::Strict),
            _ => None,
        }
    }
}

/// The kind a body must be of.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    pub schema: &'a Schema,
}

/// An object in canonical form.
#[derive(Clone, Debug)]
pub struct Decoded {
    pub object: Value,
    /// `unknown field "spec.foo"`, for `Warning` headers; empty unless asked for.
    pub warnings: Vec<String>,
}

/// Decodes a body as an object of the target's kind.
/// `apiVersion` and `kind` may be missing; when they are there, they must be the target's.
pub fn object(bytes: &[u8], media: Media, target: Target<'_>, validation: FieldValidation) -> Result<Decoded, Status> {
    let body = parse_object(bytes, media, target.kind)?;
    let (object, doubles) = body.into_parts();
    value(object, doubles, target, validation)
}

/// Parses a body that must hold an object, which `kind` names for the error's text. What the object holds is not looked at.
pub fn parse_object<'b>(bytes: &'b [u8], media: Media, kind: &str) -> Result<Body<'b>, Status> {
    let body = parse(bytes, media).map_err(|error| unrecognized(bytes, kind, &error))?;
    if body.value.is_object() {
        return Ok(body);
    }
    let found = json_type(&body.value);
    let wanted = "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
    let why = format_args!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type {wanted}"
    );
    Err(unrecognized(bytes, kind, &why))
}

/// The 400 of a body that cannot be read.
pub fn unrecognized(bytes: &[u8], kind: &str, why: &dyn fmt::Display) -> Status {
    let summary = summary(bytes);
    Status::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {why} ({summary})"))
}

/// Like [`object`] for a body that was parsed already.
pub fn value<'b>(
    mut object: Value,
    doubles: impl Into<Doubles<'b>>,
    target: Target<'_>,
    validation: FieldValidation,
) -> Result<Decoded, Status> {
    let unknown = fields(&mut object, target).map_err(|refusal| refusal.status(target))?;
    let complaints = doubles.into().with_unknown(unknown);
    judged(object, complaints, validation).map_err(|refusal| refusal.status(target))
}

/// Keys that stand twice in a body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Doubles<'b> {
    paths: Vec<String>,
    /// The text, where complaints follow its order: JSON.
    text: &'b [u8],
    /// What is said of those of a YAML text: `line 9: key "foo" already set in map`.
    lines: Vec<String>,
}

impl From<Vec<String>> for Doubles<'_> {
    fn from(paths: Vec<String>) -> Self {
        Doubles { paths, ..Doubles::default() }
    }
}

/// What the complaint about all keys of a YAML text that stand twice begins with; a line for each of them follows.
const YAML_ERRORS: &str = "yaml: unmarshal errors:";

impl Doubles<'_> {
    /// What the reader of YAML says of keys that stand twice, if any do.
    pub fn in_yaml(&self) -> Option<String> {
        let lines = self.lines.iter().map(|line| format!("\n  {line}"));
        (!self.lines.is_empty()).then(|| std::iter::once(YAML_ERRORS.to_owned()).chain(lines).collect())
    }

    /// The lines of [`Doubles::in_yaml`].
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The complaints about keys that stand twice.
    pub fn complaints(&self) -> Vec<String> {
        self.in_yaml().map_or_else(|| duplicate_fields(&self.paths), |all| vec![all])
    }

    /// The complaints about keys that stand twice and about those that mean nothing, where they stand in the text.
    fn with_unknown(self, unknown: Vec<String>) -> Vec<String> {
        // Of one there is no order, and several are seldom: the text is read once more for them.
        let order = if self.paths.len() + unknown.len() > 1 { order_of(self.text) } else { Vec::new() };
        if order.is_empty() {
            return self.complaints().into_iter().chain(unknown_fields(&unknown)).collect();
        }
        let Doubles { mut paths, .. } = self;
        // Of what means nothing it does not matter how often it stands there.
        paths.retain(|path| !unknown.contains(path));
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, path) in order.iter().enumerate() {
            places.entry(path).or_default().push(at);
        }
        let place =
            |path: &str, nth: usize| places.get(path).and_then(|places| places.get(nth)).copied().unwrap_or(usize::MAX);
        let twice = paths.iter().zip(duplicate_fields(&paths)).map(|(path, said)| (place(path, 1), said));
        let unknown = unknown.iter().zip(unknown_fields(&unknown)).map(|(path, said)| (place(path, 0), said));
        let mut all: Vec<(usize, String)> = twice.chain(unknown).collect();
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, said)| said).collect()
    }
}

fn unknown_fields(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| format!("unknown field {}", quote(path))).collect()
}

/// `duplicate field "data.a"` for each of the paths.
pub fn duplicate_fields(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| format!("duplicate field {}", quote(path))).collect()
}

/// Why a parsed object is not one of its kind.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It says that it is of another kind.
    #[error(transparent)]
    Kind(Status),
    #[error(transparent)]
    Type(#[from] DecodeError),
    /// There were complaints, and validation is strict.
    #[error("strict decoding error: {0}")]
    Strict(String),
}

impl Refusal {
    /// The answer when the object is a request's body.
    pub fn status(self, target: Target<'_>) -> Status {
        let Target { version, kind, .. } = target;
        match self {
            Refusal::Kind(status) => status,
            why => Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}")),
        }
    }
}

/// Like [`value`], with the reason for a refusal; `complaints` are told before those about unknown fields.
pub fn check(
    mut object: Value,
    mut complaints: Vec<String>,
    target: Target<'_>,
    validation: FieldValidation,
) -> Result<Decoded, Refusal> {
    let unknown = fields(&mut object, target)?;
    complaints.extend(unknown_fields(&unknown));
    judged(object, complaints, validation)
}

/// Brings an object of the target's kind into its form; the paths of fields that mean nothing.
fn fields(object: &mut Value, target: Target<'_>) -> Result<Vec<String>, Refusal> {
    name(object, target).map_err(Refusal::Kind)?;
    Ok(target.schema.decode(object)?)
}

/// What becomes of an object about which there are complaints.
fn judged(object: Value, mut complaints: Vec<String>, validation: FieldValidation) -> Result<Decoded, Refusal> {
    complaints.truncate(100);
    match validation {
        FieldValidation::Strict if !complaints.is_empty() => Err(Refusal::Strict(complaints.join(", "))),
        FieldValidation::Warn => {
            let warnings = complaints.into_iter().flat_map(each_line);
            Ok(Decoded { object, warnings: warnings.collect() })
        }
        FieldValidation::Strict | FieldValidation::Ignore => Ok(Decoded { object, warnings: Vec::new() }),
    }
}

/// A warning is one line: the complaint about a YAML text has several.
fn each_line(complaint: String) -> Vec<String> {
    match complaint.strip_prefix(YAML_ERRORS) {
        Some(lines) => lines.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect(),
        None => vec![complaint],
    }
}

/// As [`check`] for an object of a kind that is not built in.
pub fn custom(
    mut object: Value,
    mut complaints: Vec<String>,
    target: Target<'_>,
    version: &DefinitionVersion,
    validation: FieldValidation,
) -> Result<Decoded, Refusal> {
    name_custom(&object, target).map_err(Refusal::Kind)?;
    without_points(&mut object);
    let unknown = version.receive(&mut object)?;
    complaints.extend(unknown_fields(&unknown));
    judged(object, complaints, validation)
}

/// The integer that a number is, where it is written with a fraction of nothing.
pub(crate) fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9.2e18).then_some(number as i64)
}

/// Whole numbers are written without a point, as Go does, which stores `1.0` as `1`.
fn without_points(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().and_then(whole) {
                *number = whole.into();
            }
        }
        Value::Array(items) => items.iter_mut().for_each(without_points),
        Value::Object(fields) => fields.values_mut().for_each(without_points),
        _ => {}
    }
}

/// A custom object says what it is.
fn name_custom(object: &Value, target: Target<'_>) -> Result<(), Status> {
    let wanted = kinds::api_version(target.group, target.version);
    let given = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (given("apiVersion"), given("kind"));
    if kind.is_empty() {
        let text = object.to_string();
        let why = format!("Object 'Kind' is missing in '{text}'");
        return Err(unrecognized(text.as_bytes(), target.kind, &why));
    }
    if api_version != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        )));
    }
    if kind != target.kind {
        let error = FieldError::invalid(&Path::new("kind"), kind, format!("must be {}", target.kind));
        let name = crate::meta::name(object);
        return Err(Status::invalid(target.group, target.kind, name, vec![error]));
    }
    Ok(())
}

/// Checks `apiVersion` and `kind`, and writes them where they are missing.
fn name(object: &mut Value, target: Target<'_>) -> Result<(), Status> {
    let wanted = kinds::api_version(target.group, target.version);
    let Some(map) = object.as_object_mut() else { return Ok(()) };
    let given = |map: &Map<String, Value>, field: &str| -> String {
        map.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (api_version, kind) = (given(map, "apiVersion"), given(map, "kind"));
    if !kind.is_empty() && kind != target.kind {
        let (group, version) = kinds::split_api_version(if api_version.is_empty() { &wanted } else { &api_version });
        let (expected, known) = (target.kind, kinds::find_kind(group, version, &kind));
        let why = match known {
            Some(_) => format!("converting ({version}.{kind}) to ({expected}): unknown conversion"),
            None => {
                let api_version = kinds::api_version(group, version);
                format!("no kind \"{kind}\" is registered for version \"{api_version}\"")
            }
        };
        return Err(Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {expected}: {why}"
        )));
    }
    if !api_version.is_empty() && api_version != wanted {
        return Err(Status::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        )));
    }
    for (field, given, wanted) in [("apiVersion", api_version, &*wanted), ("kind", kind, target.kind)] {
        // What is there but no string is left for the schema to refuse.
        if given.is_empty() && map.get(field).is_none_or(|value| value.is_null() || value == "") {
            map.insert(field.to_owned(), Value::from(wanted));
        }
    }
    Ok(())
}

/// What errors show of a body nobody understood.
fn summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let head = &bytes[..bytes.len().min(SHOWN)];
    let dots = if bytes.len() > SHOWN { " ..." } else { "" };
    match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{dots}", String::from_utf8_lossy(head)),
        Some(_) => {
            let hex: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{dots}")
        }
    }
}

/// A parsed body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Body<'b> {
    pub value: Value,
    /// Paths of keys that stand twice in one object.
    pub duplicates: Vec<String>,
    /// What it was read from, if that is JSON.
    text: &'b [u8],
    /// What is said of keys that stand twice in a YAML text.
    lines: Vec<String>,
}

impl<'b> Body<'b> {
    /// A body in which no key can stand twice.
    pub fn without_doubles(value: Value) -> Body<'b> {
        Body { value, ..Body::default() }
    }

    /// The value, and its keys that stand twice.
    pub fn into_parts(self) -> (Value, Doubles<'b>) {
        (self.value, Doubles { paths: self.duplicates, text: self.text, lines: self.lines })
    }

    /// The same read from a JSON text where any YAML would do: what is wrong with it is told as of YAML.
    pub fn as_yaml(self, bytes: &[u8]) -> Body<'b> {
        let lines = if self.duplicates.is_empty() { Vec::new() } else { yaml_doubles::lines(bytes) };
        Body { lines, text: &[], ..self }
    }
}

/// How many keys are put into the order of the text.
const ORDERED: usize = 10_000;

/// Bytes that are neither JSON nor YAML, or nested more than [`DEPTH`] levels.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("couldn't get version/kind; json parse error: {0}")]
    Json(JsonError),
    #[error("yaml: {0}")]
    Yaml(#[source] serde_yaml::Error),
}

impl ParseError {
    /// Without what was looked for.
    pub fn reason(&self) -> String {
        match self {
            ParseError::Json(error) => error.to_string(),
            ParseError::Yaml(_) => self.to_string(),
        }
    }
}

/// Reads a body as it is, whatever it contains.
pub fn parse(bytes: &[u8], media: Media) -> Result<Body<'_>, ParseError> {
    let duplicates = RefCell::new(Vec::new());
    let seed = Seed { at: &At::Root, levels: DEPTH, duplicates: &duplicates, order: None };
    let value = match media {
        Media::Json => {
            let mut reader = serde_json::Deserializer::from_slice(bytes);
            let value = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
            value.map_err(|error| ParseError::Json(JsonError::new(bytes, &error)))?
        }
        Media::Yaml => seed.deserialize(serde_yaml::Deserializer::from_slice(bytes)).map_err(ParseError::Yaml)?,
    };
    let body = Body { value, duplicates: duplicates.into_inner(), text: bytes, lines: Vec::new() };
    Ok(if media == Media::Yaml { body.as_yaml(bytes) } else { body })
}

/// The paths of the keys of a JSON text, in its order.
fn order_of(text: &[u8]) -> Vec<String> {
    let (duplicates, order) = (RefCell::default(), RefCell::default());
    let seed = Seed { at: &At::Root, levels: DEPTH, duplicates: &duplicates, order: Some(&order) };
    // It could be read before. Where there is no text, there is no order.
    let _ = seed.deserialize(&mut serde_json::Deserializer::from_slice(text));
    order.into_inner()
}

enum At<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            At::Root => Ok(()),
            At::Key(At::Root, key) => f.write_str(key),
            At::Key(parent, key) => write!(f, "{parent}.{key}"),
            At::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Reads a [`Value`] and notes the keys that come twice.
#[derive(Clone, Copy)]
struct Seed<'a> {
    at: &'a At<'a>,
    /// How many more may follow.
    levels: usize,
    duplicates: &'a RefCell<Vec<String>>,
    order: Option<&'a RefCell<Vec<String>>>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("not a number JSON knows"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        let levels = self.deeper()?;
        loop {
            let at = At::Index(self.at, list.len());
            match items.next_element_seed(Seed { at: &at, levels, ..self })? {
                Some(item) => list.push(item),
                None => return Ok(Value::Array(list)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        let levels = self.deeper()?;
        while let Some(key) = entries.next_key_seed(Key::<false>)? {
            let at = At::Key(self.at, &key);
            if let Some(mut order) = self.order.map(RefCell::borrow_mut)
                && order.len() < ORDERED
            {
                order.push(at.to_string());
            }
            let value = entries.next_value_seed(Seed { at: &at, levels, ..self })?;
            if map.contains_key(&key) {
                self.note(at.to_string());
            }
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

impl Seed<'_> {
    fn deeper<E: Error>(&self) -> Result<usize, E> {
        self.levels.checked_sub(1).ok_or_else(|| E::custom(format_args!("exceeded max depth of {DEPTH}")))
    }

    fn note(&self, path: String) {
        let mut duplicates = self.duplicates.borrow_mut();
        if duplicates.len() < 100 && !duplicates.contains(&path) {
            duplicates.push(path);
        }
    }
}

/// A key: YAML also has numbers and booleans there. With `QUOTED`, text stands in quotes, which tells it from those.
struct Key<const QUOTED: bool>;

impl<'de, const QUOTED: bool> DeserializeSeed<'de> for Key<QUOTED> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<const QUOTED: bool> Visitor<'_> for Key<QUOTED> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<String, E> {
        Ok(if QUOTED { quote(key) } else { key.to_owned() })
    }

    fn visit_string<E: Error>(self, key: String) -> Result<String, E> {
        Ok(if QUOTED { quote(&key) } else { key })
    }

    fn visit_bool<E: Error>(self, key: bool) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_i64<E: Error>(self, key: i64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_u64<E: Error>(self, key: u64) -> Result<String, E> {
        Ok(key.to_string())
    }

    fn visit_f64<E: Error>(self, key: f64) -> Result<String, E> {
        Ok(key.to_string())
    }
}

#[cfg(test)]
mod tests;
