//! Which keys a YAML text sets twice, and on which lines: what Kubernetes says of them names the line.
//!
//! The reader tells no lines but in its errors, so that the text is read once for the number of such keys and once more
//! for each of them, up to where its value begins. Texts with such keys are rare; the work is bounded all the same.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fmt,
};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Key;

/// How many keys are told.
const TOLD: usize = 100;

/// How many bytes may be read for the lines.
const READ: usize = 16 << 20;

/// `line 9: key "foo" already set in map` for each key that is set again, those within its value before it.
/// Nothing for what is no YAML.
pub(super) fn lines(bytes: &[u8]) -> Vec<String> {
    lines_within(bytes, READ)
}

fn lines_within(bytes: &[u8], read: usize) -> Vec<String> {
    let again = Again { wanted: None, met: &Cell::new(0), keys: &RefCell::default() };
    if again.deserialize(serde_yaml::Deserializer::from_slice(bytes)).is_err() {
        return Vec::new();
    }
    let told = (read / bytes.len().max(1)).clamp(1, TOLD);
    let keys = again.keys.take();
    keys.iter()
        .take(told)
        .map(|(nth, key)| format!("line {}: key {key} already set in map", line(bytes, *nth)))
        .collect()
}

/// On which line the value of the nth key that is set again begins.
fn line(bytes: &[u8], nth: usize) -> usize {
    let again = Again { wanted: Some(nth), met: &Cell::new(0), keys: &RefCell::default() };
    let stopped = again.deserialize(serde_yaml::Deserializer::from_slice(bytes)).err();
    stopped.and_then(|error| Some(error.location()?.line())).unwrap_or(1)
}

/// Walks a text, and stops at the value of one key that is set again.
#[derive(Clone, Copy)]
struct Again<'a> {
    wanted: Option<usize>,
    /// How many keys that are set again were met.
    met: &'a Cell<usize>,
    /// Those whose values were read, by their number in the order of the text.
    keys: &'a RefCell<Vec<(usize, String)>>,
}

impl<'de> DeserializeSeed<'de> for Again<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Again<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut known = HashSet::new();
        while let Some(key) = entries.next_key_seed(Key::<true>)? {
            if !known.contains(&key) {
                entries.next_value_seed(self)?;
                known.insert(key);
                continue;
            }
            let nth = self.met.replace(self.met.get() + 1);
            if self.wanted == Some(nth) {
                entries.next_value_seed(Stop)?;
            }
            entries.next_value_seed(self)?;
            self.keys.borrow_mut().push((nth, key));
        }
        Ok(())
    }
}

/// A value that is not read: the error knows where it begins.
struct Stop;

impl<'de> DeserializeSeed<'de> for Stop {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Stop {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing here")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_stand_twice_are_told_by_line() {
        let cases: [(&str, &[&str]); 8] = [
            ("a: 1\nb: 2\n", &[]),
            ("a: 1\na: 2\na: 3\n", &["line 2: key \"a\" already set in map", "line 3: key \"a\" already set in map"]),
            ("\nspec:\n  foo: x\n  l:\n  - 1\n  foo: y\n", &["line 6: key \"foo\" already set in map"]),
            // Where the value begins, not the key; what is inside it comes first.
            (
                "a: 1\na:\n\n  b: 1\n  b: 2\n",
                &["line 5: key \"b\" already set in map", "line 4: key \"a\" already set in map"],
            ),
            (
                "1: a\n1: b\ntrue: c\ntrue: d\n",
                &["line 2: key 1 already set in map", "line 4: key true already set in map"],
            ),
            ("{\"a\": 1,\n \"a\": {}}", &["line 2: key \"a\" already set in map"]),
            ("a: null\na:\n", &["line 2: key \"a\" already set in map"]),
            ("a: [", &[]),
        ];
        for (text, expected) in cases {
            assert_eq!(lines(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn large_texts_are_not_read_for_every_key() {
        let text = format!("a: {}\n{}", "x".repeat(10_000), "a: 1\n".repeat(500));
        assert_eq!(lines_within(text.as_bytes(), 100_000).len(), 7);
    }
}
