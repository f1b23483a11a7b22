//! Which containers of a pod are meant by a name with `*` in it.

use serde_json::Value;

/// The containers of a pod spec (`field` is `containers` or `initContainers`) whose name matches.
pub(super) fn select<'a>(spec: &'a mut Value, field: &str, pattern: &str) -> Vec<&'a mut Value> {
    let containers = spec.get_mut(field).and_then(Value::as_array_mut);
    containers
        .into_iter()
        .flatten()
        .filter(|container| matches(container["name"].as_str().unwrap_or_default(), pattern))
        .collect()
}

/// The wildcard is as kubectl has it: pieces are looked for one after the other, and the last must end the name.
fn matches(name: &str, pattern: &str) -> bool {
    if pattern == "*" {
        return true;
    }
    if !pattern.contains('*') {
        return name == pattern;
    }
    let pieces: Vec<&str> = pattern.split('*').collect();
    let mut from = 0;
    for (index, piece) in pieces.iter().enumerate().filter(|(_, piece)| !piece.is_empty()) {
        let Some(found) = name.get(from..).and_then(|rest| rest.find(piece)).filter(|found| *found >= from) else {
            return false;
        };
        if index == pieces.len() - 1 && name.len() != piece.len() + found {
            return false;
        }
        from = found;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        let cases = [
            ("web", "*", true),
            ("web", "web", true),
            ("web", "we", false),
            ("web", "w*", true),
            ("web", "*b", true),
            ("web", "*e", false),
            ("web", "x*", false),
        ];
        for (name, pattern, expected) in cases {
            assert_eq!(matches(name, pattern), expected, "{name} {pattern}");
        }
    }
}
