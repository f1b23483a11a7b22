//! Named formats: `format.dns1123Label().validate(name)` tells what is wrong with a text, if anything.

use super::{Function, times, urls};
use crate::cel::error::EvalError;
use crate::cel::value::Value;
use crate::names;

#[derive(Debug)]
pub struct Format {
    pub(crate) name: &'static str,
    /// The length of the pattern that upstream counts costs by.
    pub(crate) pattern_size: u64,
    validate: fn(&str) -> Vec<String>,
}

static FORMATS: [Format; 13] = [
    Format { name: "dns1123Label", pattern_size: 30, validate: names::dns1123_label },
    Format { name: "dns1123Subdomain", pattern_size: 60, validate: names::dns1123_subdomain },
    Format { name: "dns1035Label", pattern_size: 30, validate: names::dns1035_label },
    Format { name: "qualifiedName", pattern_size: 60, validate: names::qualified_name },
    Format { name: "dns1123LabelPrefix", pattern_size: 30, validate: |text| names::dns1123_label(&masked(text)) },
    Format {
        name: "dns1123SubdomainPrefix",
        pattern_size: 60,
        validate: |text| names::dns1123_subdomain(&masked(text)),
    },
    Format { name: "dns1035LabelPrefix", pattern_size: 30, validate: |text| names::dns1035_label(&masked(text)) },
    Format { name: "labelValue", pattern_size: 40, validate: names::label_value },
    Format { name: "uri", pattern_size: 1000, validate: |text| urls::parse_request(text).err().into_iter().collect() },
    Format { name: "uuid", pattern_size: 70, validate: |text| unless(is_uuid(text), "does not match the UUID format") },
    Format { name: "byte", pattern_size: 80, validate: |text| unless(is_base64(text), "invalid base64") },
    Format {
        name: "date",
        pattern_size: 300,
        validate: |text| unless(times::parse_date(text).is_some(), "invalid date"),
    },
    Format {
        name: "datetime",
        pattern_size: 300,
        validate: |text| unless(times::parse_schema_timestamp(text).is_some(), "invalid datetime"),
    },
];

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "format.named" => |args| match &args[0] {
            Value::String(name) => Ok(named(name).map_or(Value::NONE, |format| Value::some(Value::Format(format)))),
            _ => Err(EvalError::overload()),
        },
        "validate" => |args| match args {
            [Value::Format(format), Value::String(text)] => {
                let errors = (format.validate)(text);
                Ok(if errors.is_empty() {
                    Value::NONE
                } else {
                    Value::some(Value::list(errors.into_iter().map(Value::text).collect()))
                })
            }
            _ => Err(EvalError::overload()),
        },
        _ => return None,
    })
}

/// The format with the name: `format.NAME()`.
pub(crate) fn named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.name == name)
}

/// A prefix of a name may end in a dash.
fn masked(text: &str) -> String {
    match text.strip_suffix('-') {
        Some(rest) if text.len() > 1 => format!("{rest}a"),
        _ => text.to_string(),
    }
}

fn unless(fine: bool, trouble: &str) -> Vec<String> {
    if fine { Vec::new() } else { vec![trouble.to_string()] }
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let hex = groups.iter().all(|group| group.bytes().all(|b| b.is_ascii_hexdigit()));
    hex && (lengths == [8, 4, 4, 4, 12] || lengths == [32])
}

fn is_base64(text: &str) -> bool {
    !text.is_empty() && base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).is_ok()
}
