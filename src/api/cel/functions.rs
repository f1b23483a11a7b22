//! Which functions and operators there are, read from `functions.txt`: for the checker. What they do is in `library`, what they
//! cost in `estimate` and `eval::charge`.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use super::types::Type;

#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) id: &'static str,
    pub(crate) member: bool,
    /// The receiver first.
    pub(crate) params: Vec<Type>,
    pub(crate) result: Type,
    /// The parameters' names that occur in it.
    pub(crate) generic: Vec<&'static str>,
}

static TABLE: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut table: HashMap<&'static str, Vec<Overload>> = HashMap::new();
    for line in include_str!("functions.txt").lines().filter(|line| !line.starts_with('#')) {
        let (line, words) = line.split_once(" $ ").unwrap_or((line, "$"));
        for word in words.split(' ') {
            let line: &'static str = if word == "$" { line } else { line.replace('$', word).leak() };
            let mut parts = line.split(' ');
            let mut next = || parts.next().expect("the table has three columns");
            let (name, id, signature) = (next(), next(), next());
            table.entry(name).or_default().push(overload(id, signature));
        }
    }
    table
});

/// The overloads of a function.
pub(crate) fn overloads(name: &str) -> Option<&'static [Overload]> {
    TABLE.get(name).map(Vec::as_slice)
}

/// Reads `list(A).(A)int`.
fn overload(id: &'static str, signature: &'static str) -> Overload {
    let (receiver, rest) = match signature.split_once(".(") {
        Some((receiver, rest)) => (Some(receiver), rest),
        None => (None, signature.strip_prefix('(').expect("a list of parameters")),
    };
    let mut close = 0;
    let mut depth = 1;
    while depth > 0 {
        depth += match rest.as_bytes()[close] {
            b'(' => 1,
            b')' => -1,
            _ => 0,
        };
        close += 1;
    }
    let mut params: Vec<Type> = receiver.map(|receiver| types(receiver).remove(0)).into_iter().collect();
    params.extend(types(&rest[..close - 1]));
    let result = types(&rest[close..]).remove(0);
    let generic = ["A", "B", "K", "V", "T"]
        .into_iter()
        .filter(|name| mentions(&result, name) || params.iter().any(|t| mentions(t, name)));
    Overload { id, member: receiver.is_some(), generic: generic.collect(), params, result }
}

fn mentions(t: &Type, param: &str) -> bool {
    match t {
        Type::Param(name) => &**name == param,
        Type::List(item) => mentions(item, param),
        Type::Map(key, value) => mentions(key, param) || mentions(value, param),
        Type::Opaque(_, params) => params.iter().any(|t| mentions(t, param)),
        Type::Type(Some(inner)) => mentions(inner, param),
        _ => false,
    }
}

/// Types with commas between them.
fn types(text: &'static str) -> Vec<Type> {
    let mut found = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, b) in text.bytes().chain([b',']).enumerate() {
        match b {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b',' if depth == 0 && at > start => {
                found.push(one_type(&text[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn one_type(text: &'static str) -> Type {
    if let Some((name, rest)) = text.split_once('(') {
        let mut params = types(rest.strip_suffix(')').expect("closed brackets"));
        return match name {
            "list" => Type::list(params.remove(0)),
            "map" => Type::map(params.remove(0), params.remove(0)),
            "type" => Type::Type(Some(Arc::new(params.remove(0)))),
            _ => Type::Opaque(name.into(), params),
        };
    }
    match text {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        _ if text.len() == 1 => Type::Param(text.into()),
        _ if text.starts_with("net.") => Type::Opaque(text.into(), Vec::new()),
        _ => Type::Struct(text.into()),
    }
}
