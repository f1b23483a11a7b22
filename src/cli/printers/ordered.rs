//! JSON whose fields come in an order of their own: as Go writes its structs, not by the alphabet.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Value, ser::PrettyFormatter};

/// A value, and the order of the fields of all objects inside. Others follow by name.
struct Ordered<'a> {
    value: &'a Value,
    order: &'a [&'a str],
}

impl Serialize for Ordered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = |value| Ordered { value, order: self.order };
        match self.value {
            Value::Object(map) => {
                let rank =
                    |field: &str| self.order.iter().position(|known| *known == field).unwrap_or(self.order.len());
                let mut fields: Vec<_> = map.iter().collect();
                fields.sort_by_key(|(field, _)| (rank(field), *field));
                let mut object = serializer.serialize_map(Some(fields.len()))?;
                for (field, value) in fields {
                    object.serialize_entry(field, &inner(value))?;
                }
                object.end()
            }
            Value::Array(items) => {
                let mut array = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    array.serialize_element(&inner(item))?;
                }
                array.end()
            }
            scalar => scalar.serialize(serializer),
        }
    }
}

/// Indented JSON with `<>&` escaped, ending in a newline.
pub(crate) fn to_json(value: &Value, order: &[&str], indent: &str) -> String {
    let mut bytes = Vec::new();
    let mut writer =
        serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(indent.as_bytes()));
    Ordered { value, order }.serialize(&mut writer).expect("a JSON value can always be written to memory");
    let text = String::from_utf8(bytes).expect("serde_json writes UTF-8");
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_fields_come_first() {
        let value = json!({"a": 1, "kind": "K", "z": [{"b": "<", "name": "n"}], "name": {}});
        let expected = "{\n \"name\": {},\n \"kind\": \"K\",\n \"a\": 1,\n \"z\": [\n  {\n   \"name\": \"n\",\n   \"b\": \"\\u003c\"\n  }\n ]\n}\n";
        assert_eq!(to_json(&value, &["name", "kind"], " "), expected);
    }
}
