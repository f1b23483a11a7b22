//! Selectors of devices: expressions over `device.driver`, `device.attributes` and `device.capacity`, which device classes
//! and claims carry.
//!
//! Attributes and capacities are found by domain and name: `device.attributes["gpu.example.com"].memory`. What is written
//! without a domain has the driver's. A domain of which there is nothing is an empty map, not an error.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};

use serde_json::Value as Json;

use super::error::EvalError;
use super::library::versions;
use super::schema::{DeclType, Kind};
use super::value::{Key, Lazy, Map, Text, Value};
use super::{CompileError, Declarations, Program, Type};
use crate::at;
use crate::quantity::Quantity;

/// What one evaluation may cost, and what it may cost at most by estimate.
pub const COST_LIMIT: u64 = 1_000_000;
/// Bytes of a selector at most.
pub const LENGTH_MAX: usize = 10 * 1024;

/// Why an expression is no selector.
#[derive(Debug, thiserror::Error)]
pub enum SelectorError {
    #[error("compilation failed: {0}")]
    Compile(#[source] CompileError),
    #[error("must evaluate to bool or the unknown type, not {0}")]
    NoBool(Type),
}

/// A compiled selector.
#[derive(Debug)]
pub struct Selector {
    program: Program,
    /// The most it may cost, with a device as large as devices can be.
    pub max_cost: u64,
}

/// A device as selectors see it.
#[derive(Debug, Clone, Copy)]
pub struct Device<'a> {
    pub driver: &'a str,
    /// As in a ResourceSlice: by qualified name, each with one of `bool`, `int`, `string`, `version`.
    pub attributes: &'a Json,
    /// As in a ResourceSlice: by qualified name, each with a `value`.
    pub capacity: &'a Json,
    pub allow_multiple_allocations: bool,
}

/// The type of a device, with the sizes that ResourceSlices allow.
static DEVICE: LazyLock<Arc<DeclType>> = LazyLock::new(|| {
    const DRIVER_MAX: u64 = 63;
    const DOMAIN_MAX: u64 = 63;
    const NAME_MAX: u64 = 32;
    const ATTRIBUTE_MAX: u64 = 64;
    const ENTRIES_MAX: u64 = 32;
    let map = |keys, values| DeclType::of_size(Kind::Map { keys, values: Arc::new(values) }, ENTRIES_MAX);
    let by_domain = |value| map(DOMAIN_MAX, map(NAME_MAX, value));
    let fields = [
        ("driver", DeclType::of_size(Kind::String, DRIVER_MAX)),
        ("allowMultipleAllocations", DeclType::of_size(Kind::Bool, 1)),
        ("attributes", by_domain(DeclType::of_size(Kind::Attribute, ATTRIBUTE_MAX))),
        ("capacity", by_domain(DeclType::new(Kind::Quantity))),
    ];
    let fields = fields.into_iter().map(|(name, field)| (name.into(), Arc::new(field))).collect();
    Arc::new(DeclType::new(Kind::Object { name: "kubernetes.DRADevice".into(), fields }))
});

impl Selector {
    pub fn compile(expression: &str) -> Result<Selector, SelectorError> {
        let declarations = Declarations::new().with_bind().schema_variable("device", &DEVICE);
        let compiled = super::compile(expression, &declarations).map_err(SelectorError::Compile)?;
        match compiled.program.output() {
            Type::Bool | Type::Dyn => Ok(Selector { program: compiled.program, max_cost: compiled.max_cost }),
            other => Err(SelectorError::NoBool(other.clone())),
        }
    }

    /// Whether the device is selected, or why that cannot be told.
    pub fn matches(&self, device: Device<'_>) -> Result<bool, EvalError> {
        let seen = seen(device)?;
        let run = self.program.evaluate_within(&[Some(seen)], COST_LIMIT);
        match run.result? {
            Value::Bool(selected) => Ok(selected),
            other => Err(EvalError::other(format!(
                "CEL result of type {} could not be converted to bool: type conversion error from '{}' to 'bool'",
                other.type_of(),
                other.type_of()
            ))),
        }
    }
}

/// The values of each domain by name.
#[derive(Debug)]
struct Domains<'a>(BTreeMap<&'a str, BTreeMap<Key<'a>, Value<'a>>>);

impl<'a> Lazy<'a> for Domains<'a> {
    fn field(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let values = self.0.get(name).cloned().unwrap_or_default();
        Some(Ok(Value::Map(Map::Owned(Rc::new(values)))))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

fn seen(device: Device<'_>) -> Result<Value<'_>, EvalError> {
    let key = |name: &'static str| Key::String(Text::Borrowed(name));
    let fields = BTreeMap::from([
        (key("driver"), Value::String(Text::Borrowed(device.driver))),
        (key("allowMultipleAllocations"), Value::Bool(device.allow_multiple_allocations)),
        (key("attributes"), domains(device.driver, device.attributes, attribute)?),
        (key("capacity"), domains(device.driver, device.capacity, capacity)?),
    ]);
    Ok(Value::Map(Map::Owned(Rc::new(fields))))
}

fn domains<'a>(
    driver: &'a str,
    all: &'a Json,
    value: fn(&'a str, &'a Json) -> Result<Value<'a>, EvalError>,
) -> Result<Value<'a>, EvalError> {
    let mut domains: BTreeMap<&str, BTreeMap<Key<'a>, Value<'a>>> = BTreeMap::new();
    for (qualified, json) in all.as_object().into_iter().flatten() {
        let (domain, name) = qualified.split_once('/').unwrap_or((driver, qualified));
        domains.entry(domain).or_default().insert(Key::String(Text::Borrowed(name)), value(qualified, json)?);
    }
    Ok(Value::Map(Map::Lazy(Rc::new(Domains(domains)))))
}

fn attribute<'a>(name: &'a str, json: &'a Json) -> Result<Value<'a>, EvalError> {
    if let Some(value) = at::int(json, "int") {
        return Ok(Value::Int(value));
    }
    if let Some(value) = at::flag(json, "bool") {
        return Ok(Value::Bool(value));
    }
    if let Some(value) = at::maybe_text(json, "string") {
        return Ok(Value::String(Text::Borrowed(value)));
    }
    let Some(version) = at::maybe_text(json, "version") else {
        return Err(EvalError::other(format!("attribute {name}: unsupported attribute value")));
    };
    let version = versions::parse(version);
    let version =
        version.map_err(|why| EvalError::other(format!("attribute {name}: parse semantic version: {why}")))?;
    Ok(Value::Version(Rc::new(version)))
}

fn capacity<'a>(name: &'a str, json: &'a Json) -> Result<Value<'a>, EvalError> {
    let quantity = Quantity::from_json(at::sub(json, "value"));
    quantity.map(Value::Quantity).map_err(|why| EvalError::other(format!("capacity {name}: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(expression: &str) -> String {
        let selector = match Selector::compile(expression) {
            Ok(selector) => selector,
            Err(error) => return error.to_string().lines().next().unwrap_or_default().to_owned(),
        };
        let attributes = json!({
            "model": {"string": "a100"}, "index": {"int": 3}, "healthy": {"bool": true},
            "other.example.com/firmware": {"version": "1.10.0"},
        });
        let capacity = json!({"memory": {"value": "40Gi"}});
        let driver = "gpu.example.com";
        let device = Device { driver, attributes: &attributes, capacity: &capacity, allow_multiple_allocations: false };
        selector.matches(device).map_or_else(|error| error.to_string(), |selected| selected.to_string())
    }

    #[test]
    fn costs_are_estimated_with_the_largest_devices() {
        const DOMAIN: &str = "device.attributes['dra.example.com']";
        let nested = ["a", "b", "c", "d", "e", "f", "g"]
            .iter()
            .fold("int('1'.find('[0-9]*')) < 100".to_owned(), |inner, name| {
                format!("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all({name}, {inner})")
            });
        for (expression, expected) in [
            ("'nowhere' in device.attributes".to_owned(), 3),
            ("device.driver == ''".into(), 2),
            ("device.driver == 'dra.example.com'".into(), 4),
            ("device.allowMultipleAllocations == true".into(), 3),
            (format!("{DOMAIN}.name"), 4),
            (format!("{DOMAIN}['name']"), 4),
            (format!("cel.bind(dra, {DOMAIN}, dra.name)"), 15),
            (format!("{DOMAIN}.name > 0"), 5),
            (format!("{DOMAIN}.name == 'fish'"), 5),
            (format!("{DOMAIN}.name.isGreaterThan(semver('0.0.1'))"), 6),
            (format!("{DOMAIN}.services.matches('[^a]?sym')"), 18),
            (format!("{DOMAIN}.services.split('example').size() >= 2"), 19),
            ("device.attributes.exists_one(x, x == 'dra.example.com')".into(), 164),
            (format!("{DOMAIN}.exists_one(x, x == 'services')"), 133),
            ("device.capacity['dra.example.com'].name.isGreaterThan(quantity('1Ki'))".into(), 6),
            ("device.capacity['dra.example.com'].exists_one(x, x == 'memory')".into(), 133),
            (nested, 85_555_551),
        ] {
            assert_eq!(
                Selector::compile(&expression).map(|selector| selector.max_cost).ok(),
                Some(expected),
                "{expression}"
            );
        }
    }

    #[test]
    fn devices_are_told_apart() {
        for (expression, expected) in [
            ("device.driver == 'gpu.example.com'", "true"),
            ("device.attributes['gpu.example.com'].model == 'a100'", "true"),
            ("device.attributes['gpu.example.com'].index > 3", "false"),
            ("device.attributes['gpu.example.com'].healthy", "true"),
            ("device.attributes['other.example.com'].firmware.isGreaterThan(semver('1.9.0'))", "true"),
            ("device.capacity['gpu.example.com'].memory.compareTo(quantity('32Gi')) >= 0", "true"),
            ("'gpu.example.com' in device.attributes", "true"),
            ("'nowhere' in device.attributes", "false"),
            ("'model' in device.attributes['nowhere']", "false"),
            ("has(device.attributes['nowhere'].model)", "false"),
            ("device.attributes['nowhere'].model == 'x'", "no such key: model"),
            ("cel.bind(gpu, device.attributes['gpu.example.com'], gpu.healthy && gpu.index > 3)", "false"),
            ("cel.bind(gpu, device.attributes['gpu.example.com'], gpu.healthy || gpu.index > 3)", "true"),
            (
                "cel.bind(device.driver, 1, true)",
                "compilation failed: ERROR: <input>:1:16: cel.bind() variable names must be simple identifiers",
            ),
            ("device.allowMultipleAllocations", "false"),
            ("device.driver", "must evaluate to bool or the unknown type, not string"),
            ("device.nothing", "compilation failed: ERROR: <input>:1:7: undefined field 'nothing'"),
            (
                "device.attributes['gpu.example.com'].model",
                "CEL result of type string could not be converted to bool: type conversion error from 'string' to 'bool'",
            ),
        ] {
            assert_eq!(check(expression), expected, "{expression}");
        }
    }
}
