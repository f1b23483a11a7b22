//! From a document to one that is nearly right: by bytes, and by structure.

use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::{Map, Value, json};

/// The longest input, so that a minute is many inputs.
const LONGEST: usize = 64 << 10;

/// What parsers trip over.
const WORDS: &[&str] = &[
    "null",
    "true",
    "-1",
    "0",
    "1e309",
    "9223372036854775808",
    "-9223372036854775809",
    "1.5",
    "\"\"",
    "{}",
    "[]",
    "[[",
    "]]",
    "{\"",
    "\":",
    "$patch",
    "$retainKeys",
    "$setElementOrder/containers",
    "$deleteFromPrimitiveList/finalizers",
    "delete",
    "replace",
    "merge",
    "metadata",
    "spec",
    "status",
    "name",
    "~0",
    "~1",
    "/-",
    "/0",
    "..",
    "%",
    "%ff",
    "\u{0}",
    "\\ud800",
    "\u{feff}",
    "\u{e9}",
    "\u{1F980}",
    "100m",
    "1Ei",
    "0x1f",
    "*",
    "&a ",
    "*a",
    "!!binary",
    "---\n",
    "?",
    ": ",
    "- ",
    "\t",
    "\r\n",
    "!=",
    "==",
    " in (",
    " notin (",
    ",",
    "!",
    "@",
    "?(",
    "[-1:]",
    "[0:0:0]",
    "{end}",
    "{range",
    "'",
    "\"",
    "`",
];

/// Values where others are expected.
fn odd_values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(true),
        json!(0),
        json!(-1),
        json!(65536),
        json!(2_147_483_648_i64),
        json!(i64::MAX),
        json!(u64::MAX),
        json!(1.5),
        json!(1e300),
        json!(""),
        json!("x"),
        json!("\u{0}\u{e9}\u{1F980}"),
        json!("x".repeat(300)),
        json!("-100Ei"),
        json!("1e-30"),
        json!("99999999999999999999999999"),
        json!("25:61"),
        json!("2024-02-30T25:00:00Z"),
        json!("*/0 * * * *"),
        json!("::ffff:1.2.3.4/129"),
        json!("$(A)$$(B)$("),
        json!("../../etc"),
        json!([]),
        json!([null]),
        json!([[]]),
        json!({}),
        json!({"": null}),
        json!({"$patch": "delete"}),
        json!({"$patch": 7, "$retainKeys": [1, null]}),
    ]
}

/// The randomness of one input.
pub struct Dice(StdRng);

impl Dice {
    /// The same for the same three.
    pub fn new(target: &str, seed: u64, number: u64) -> Dice {
        let name = target
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Dice(StdRng::seed_from_u64(name ^ seed.rotate_left(32) ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Less than `end`, which is not zero.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end.max(1))
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn bytes(&mut self, at_most: usize) -> Vec<u8> {
        let count = self.below(at_most) + 1;
        (0..count).map(|_| self.0.random()).collect()
    }
}

/// A document with some bytes changed.
pub fn bytes(dice: &mut Dice, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = dice.pick(corpus).clone();
    for _ in 0..=dice.below(6) {
        change(dice, &mut input, corpus);
        input.truncate(LONGEST);
    }
    input
}

/// The same for what is text.
pub fn text(dice: &mut Dice, corpus: &[Vec<u8>]) -> String {
    String::from_utf8_lossy(&bytes(dice, corpus)).into_owned()
}

fn change(dice: &mut Dice, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
    let at = dice.below(input.len() + 1);
    let end = (at + dice.below(24)).min(input.len());
    match dice.below(10) {
        0 if at < input.len() => input[at] ^= 1 << dice.below(8),
        1 if at < input.len() => input[at] = dice.bytes(1)[0],
        2 => drop(input.splice(at..at, dice.bytes(8))),
        3 => drop(input.drain(at..end)),
        4 | 5 => drop(input.splice(at..at, dice.pick(WORDS).bytes())),
        6 => drop(input.splice(at..end, dice.pick(WORDS).bytes())),
        7 => {
            // A piece again and again: what recurses, recurses.
            let piece = input[at..end].to_vec();
            let times = 1 << dice.below(12);
            let room = LONGEST.saturating_sub(input.len()) / piece.len().max(1);
            input.splice(at..at, piece.repeat(times.min(room)));
        }
        8 => {
            let other = dice.pick(corpus);
            let from = dice.below(other.len() + 1);
            let to = (from + dice.below(200)).min(other.len());
            input.splice(at..end, other[from..to].iter().copied());
        }
        _ => input.truncate(at),
    }
}

/// A document with some of its values changed.
pub fn value(dice: &mut Dice, corpus: &[Value]) -> Value {
    let mut document = dice.pick(corpus).clone();
    for _ in 0..=dice.below(5) {
        let other = dice.pick(corpus).clone();
        mutate_value(dice, &mut document, &other);
    }
    document
}

/// Walks down to some value and changes it.
fn mutate_value(dice: &mut Dice, value: &mut Value, other: &Value) {
    let stops = dice.one_in(5);
    match value {
        Value::Object(map) if !map.is_empty() && !stops => {
            let at = dice.below(map.len());
            let Some(key) = map.keys().nth(at).cloned() else { return };
            match dice.below(14) {
                0 => drop(map.remove(&key)),
                1 => drop(map.insert(dice.pick(WORDS).to_string(), dice.pick(&odd_values()).clone())),
                2 => rename(dice, map, &key),
                3 => take_over(dice, map, other),
                _ => map.get_mut(&key).into_iter().for_each(|inner| mutate_value(dice, inner, other)),
            }
        }
        Value::Array(list) if !list.is_empty() && !stops => {
            let at = dice.below(list.len());
            match dice.below(10) {
                0 => drop(list.remove(at)),
                1 => list.insert(at, list[at].clone()),
                2 => list.push(dice.pick(&odd_values()).clone()),
                3 => list.reverse(),
                _ => mutate_value(dice, &mut list[at], other),
            }
        }
        Value::String(text) if !dice.one_in(3) => {
            let mut bytes = std::mem::take(text).into_bytes();
            change(dice, &mut bytes, &[b"abc-def.g/h:1".to_vec()]);
            bytes.truncate(4096);
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        Value::Number(number) if !dice.one_in(3) => {
            let changed = number.as_i64().unwrap_or(0).wrapping_mul(dice.below(5) as i64 - 2).wrapping_sub(1);
            *value = json!(changed);
        }
        other => *other = dice.pick(&odd_values()).clone(),
    }
}

fn rename(dice: &mut Dice, map: &mut Map<String, Value>, key: &str) {
    let Some(value) = map.remove(key) else { return };
    let new = if dice.one_in(2) { dice.pick(WORDS).to_string() } else { format!("{key}{}", dice.pick(WORDS)) };
    map.insert(new, value);
}

/// A field of another document.
fn take_over(dice: &mut Dice, map: &mut Map<String, Value>, other: &Value) {
    let Some(from) = other.as_object().filter(|from| !from.is_empty()) else { return };
    let at = dice.below(from.len());
    map.extend(from.iter().nth(at).map(|(key, value)| (key.clone(), value.clone())));
}
