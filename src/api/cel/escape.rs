//! Property names as identifiers: `a-b` is written `a__dash__b`, `namespace` is `__namespace__`. The rules are Kubernetes'.

use std::borrow::Cow;

/// Values and operators of the language that look like names.
const WORDS: [&str; 4] = ["true", "false", "null", "in"];

/// What the language keeps for later: no names of variables or functions.
pub(super) const KEPT: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether a word is no name in the language.
pub(crate) fn is_reserved(word: &str) -> bool {
    WORDS.contains(&word) || KEPT.contains(&word)
}

/// The identifier of a property, where there is one.
pub(crate) fn escape(name: &str) -> Option<Cow<'_, str>> {
    if name.is_empty() || name.as_bytes()[0].is_ascii_digit() {
        return None;
    }
    if is_reserved(name) {
        return Some(format!("__{name}__").into());
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/')) {
        return None;
    }
    if !name.contains(['-', '.', '/']) && !name.contains("__") {
        return Some(name.into());
    }
    let escaped = name.replace("__", "\0").replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__");
    Some(escaped.replace('\0', "__underscores__").into())
}

/// The property of an identifier; nothing when it has an escape that is none.
pub(crate) fn unescape(ident: &str) -> Option<Cow<'_, str>> {
    if !ident.contains("__") {
        return Some(ident.into());
    }
    let mut out = String::with_capacity(ident.len());
    let mut rest = ident;
    while let Some(start) = rest.find("__") {
        let inner = &rest[start + 2..];
        // An escape holds no underscore.
        let end = inner.find('_').filter(|end| *end > 0 && inner[*end..].starts_with("__"));
        let Some(end) = end else {
            out.push_str(&rest[..start + 1]);
            rest = &rest[start + 1..];
            continue;
        };
        out.push_str(&rest[..start]);
        match &inner[..end] {
            "underscores" => out.push_str("__"),
            "dot" => out.push('.'),
            "dash" => out.push('-'),
            "slash" => out.push('/'),
            word if is_reserved(word) && word.len() + 4 == ident.len() => out.push_str(word),
            _ => return None,
        }
        rest = &inner[end + 2..];
    }
    out.push_str(rest);
    Some(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_there_and_back() {
        for (name, ident) in [
            ("plain", "plain"),
            ("a-b", "a__dash__b"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("a__b", "a__underscores__b"),
            ("a___b", "a__underscores___b"),
            ("a____b", "a__underscores____underscores__b"),
            ("namespace", "__namespace__"),
            ("_a_", "_a_"),
        ] {
            assert_eq!(escape(name).as_deref(), Some(ident));
            assert_eq!(unescape(ident).as_deref(), Some(name), "{ident}");
        }
        assert_eq!(escape("1a"), None);
        assert_eq!(escape("a$"), None);
        assert_eq!(unescape("a__other__b"), None);
    }
}
