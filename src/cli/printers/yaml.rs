//! YAML as Go's yaml.v2 writes it: keys sorted, lists not indented, quotes where a plain word would read as something else.

use serde_json::Value;

/// A document, ending in a newline.
pub(crate) fn to_yaml(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => object(map, 0, &mut text),
        Value::Array(items) if !items.is_empty() => array(items, 0, &mut text),
        other => {
            scalar(other, 0, &mut text);
            text.push('\n');
        }
    }
    text
}

fn indent(depth: usize, text: &mut String) {
    text.extend(std::iter::repeat_n(' ', depth));
}

fn object(map: &serde_json::Map<String, Value>, depth: usize, text: &mut String) {
    let mut keys: Vec<&String> = map.keys().collect();
    keys.sort_by(|a, b| natural(a, b));
    for (index, key) in keys.into_iter().enumerate() {
        if index > 0 {
            indent(depth, text);
        }
        string(key, depth, true, text);
        text.push(':');
        match &map[key] {
            Value::Object(inner) if !inner.is_empty() => {
                text.push('\n');
                indent(depth + 2, text);
                object(inner, depth + 2, text);
            }
            Value::Array(items) if !items.is_empty() => {
                text.push('\n');
                indent(depth, text);
                array(items, depth, text);
            }
            other => {
                text.push(' ');
                scalar(other, depth + 2, text);
                text.push('\n');
            }
        }
    }
}

fn array(items: &[Value], depth: usize, text: &mut String) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            indent(depth, text);
        }
        text.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => object(inner, depth + 2, text),
            Value::Array(inner) if !inner.is_empty() => array(inner, depth + 2, text),
            other => {
                scalar(other, depth + 2, text);
                text.push('\n');
            }
        }
    }
}

fn scalar(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::String(word) => string(word, depth, false, text),
        Value::Object(_) => text.push_str("{}"),
        Value::Array(_) => text.push_str("[]"),
        other => text.push_str(&other.to_string()),
    }
}

/// yaml.v2 orders keys with numbers inside by the number (`a2` before `a10`) and letters after other characters.
fn natural(left: &str, right: &str) -> std::cmp::Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    for i in 0..a.len().min(b.len()) {
        if a[i] == b[i] {
            continue;
        }
        let (al, bl) = (a[i].is_alphabetic(), b[i].is_alphabetic());
        if al && bl {
            return a[i].cmp(&b[i]);
        }
        if al != bl {
            return if al { std::cmp::Ordering::Greater } else { std::cmp::Ordering::Less };
        }
        let number = |chars: &[char]| -> (usize, u128) {
            let digits = chars[i..].iter().take_while(|c| c.is_ascii_digit()).take(30);
            let value = digits.clone().fold(0u128, |sum, c| sum * 10 + u128::from(c.to_digit(10).unwrap_or(0)));
            (digits.count(), value)
        };
        let ((a_len, a_value), (b_len, b_value)) = (number(&a), number(&b));
        if a_value != b_value {
            return a_value.cmp(&b_value);
        }
        if a_len != b_len {
            return a_len.cmp(&b_len);
        }
        return a[i].cmp(&b[i]);
    }
    a.len().cmp(&b.len())
}

/// What the characters of a string allow.
struct Shape {
    plain: bool,
    single: bool,
    block: bool,
}

fn shape(word: &str) -> Shape {
    let chars: Vec<char> = word.chars().collect();
    let blank =
        |c: Option<&char>| c.is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'));
    let is_break = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut indicators = word.starts_with("---") || word.starts_with("...");
    let (mut special, mut breaks, mut space_break, mut break_space) = (false, false, false, false);
    let (mut before_space, mut before_break, mut before_blank) = (false, false, true);
    for (i, &c) in chars.iter().enumerate() {
        let after_blank = blank(chars.get(i + 1));
        indicators |= match c {
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`'
                if i == 0 =>
            {
                true
            }
            '?' | '-' if i == 0 => after_blank,
            ':' => after_blank,
            '#' => before_blank,
            _ => false,
        };
        special |= !printable(c);
        if c == ' ' {
            break_space |= before_break;
            (before_space, before_break) = (true, false);
        } else if is_break(c) {
            breaks = true;
            space_break |= before_space;
            (before_space, before_break) = (false, true);
        } else {
            (before_space, before_break) = (false, false);
        }
        before_blank = blank(Some(&c));
    }
    let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
    let edges = edge(chars.first()) || edge(chars.last());
    let wild = space_break || special;
    Shape {
        plain: !(word.is_empty() || indicators || edges || breaks || wild),
        single: !(break_space || wild),
        block: !(wild || chars.last() == Some(&' ')),
    }
}

fn printable(c: char) -> bool {
    matches!(c, '\n' | '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
        || c as u32 > 0xffff
}

fn string(word: &str, depth: usize, key: bool, text: &mut String) {
    let shape = shape(word);
    if word.contains('\n') && !key && shape.block {
        literal(word, depth, text);
    } else if word.contains('\n') || not_a_string(word) {
        double(word, (!key).then_some(depth), text);
    } else if shape.plain {
        folded(word, (!key).then_some(depth), true, text);
    } else if shape.single {
        text.push('\'');
        folded(&word.replace('\'', "''"), (!key).then_some(depth), false, text);
        text.push('\'');
    } else {
        double(word, (!key).then_some(depth), text);
    }
}

/// A line goes on below at the first single space after this column.
const WIDTH: usize = 80;

fn column(text: &str) -> usize {
    text[text.rfind('\n').map_or(0, |at| at + 1)..].chars().count()
}

/// Writes a word, on several lines (indented by `depth`) when it is long; a key has no `depth` and is never broken.
fn folded(word: &str, depth: Option<usize>, edges: bool, text: &mut String) {
    let chars: Vec<char> = word.chars().collect();
    let mut column = column(text);
    for (i, &c) in chars.iter().enumerate() {
        let lone =
            c == ' ' && chars.get(i + 1) != Some(&' ') && i.checked_sub(1).is_none_or(|before| chars[before] != ' ');
        let inside = edges || (i > 0 && i + 1 < chars.len());
        if let Some(depth) = depth.filter(|_| lone && inside && column > WIDTH) {
            text.push('\n');
            indent(depth, text);
            column = depth;
        } else {
            text.push(c);
            column += 1;
        }
    }
}

fn literal(word: &str, depth: usize, text: &mut String) {
    text.push('|');
    if word.starts_with([' ', '\n']) {
        text.push('2');
    }
    let body = word.trim_end_matches('\n');
    match word.len() - body.len() {
        0 => text.push('-'),
        1 if !body.is_empty() => {}
        _ => text.push('+'),
    }
    for line in word.strip_suffix('\n').unwrap_or(word).split('\n') {
        text.push('\n');
        if !line.is_empty() {
            indent(depth, text);
            text.push_str(line);
        }
    }
}

fn double(word: &str, depth: Option<usize>, text: &mut String) {
    text.push('"');
    let mut chars = word.chars().peekable();
    let (mut before, mut first) = (' ', true);
    while let Some(c) = chars.next() {
        let breaks = c == ' ' && before != ' ' && !std::mem::take(&mut first) && chars.peek().is_some();
        before = c;
        if let Some(depth) = depth.filter(|_| breaks && column(text) > WIDTH) {
            text.push('\n');
            indent(depth, text);
            if chars.peek() == Some(&' ') {
                text.push('\\');
            }
            continue;
        }
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            '\0' => text.push_str("\\0"),
            '\u{7}' => text.push_str("\\a"),
            '\u{8}' => text.push_str("\\b"),
            '\u{b}' => text.push_str("\\v"),
            '\u{c}' => text.push_str("\\f"),
            '\u{1b}' => text.push_str("\\e"),
            '\u{85}' => text.push_str("\\N"),
            '\u{2028}' => text.push_str("\\L"),
            '\u{2029}' => text.push_str("\\P"),
            c if printable(c) => text.push(c),
            c if (c as u32) < 0x100 => text.push_str(&format!("\\x{:02X}", c as u32)),
            c => text.push_str(&format!("\\u{:04X}", c as u32)),
        }
    }
    text.push('"');
}

/// Whether a plain word would be read back as null, a boolean, a number or a time.
fn not_a_string(word: &str) -> bool {
    const WORDS: [&str; 39] = [
        "", "~", "null", "Null", "NULL", "<<", "y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON",
        "n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF", ".nan", ".NaN", ".NAN", ".inf",
        ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf",
    ];
    if WORDS.contains(&word) || word == "-.INF" {
        return true;
    }
    if !word.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return false;
    }
    let bare = word.replace('_', "");
    let unsigned = bare.strip_prefix(['+', '-']).unwrap_or(&bare);
    integer(unsigned) || float(unsigned) || sexagesimal(word) || timestamp(word)
}

fn integer(word: &str) -> bool {
    let radix = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    match word.get(..2).map(str::to_ascii_lowercase).as_deref() {
        Some("0x") => radix(&word[2..], 16),
        Some("0b") => radix(&word[2..], 2),
        Some("0o") => radix(&word[2..], 8),
        _ => radix(word, 10),
    }
}

fn float(word: &str) -> bool {
    let (mantissa, exponent) = word.split_once(['e', 'E']).map_or((word, None), |(m, e)| (m, Some(e)));
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    let exponent_fine = exponent.is_none_or(|e| {
        let e = e.strip_prefix(['+', '-']).unwrap_or(e);
        !e.is_empty() && digits(e)
    });
    digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty()) && exponent_fine
}

fn sexagesimal(word: &str) -> bool {
    let word = word.strip_prefix(['+', '-']).unwrap_or(word);
    let mut parts = word.split(':');
    let first = parts.next().unwrap_or_default();
    let rest: Vec<&str> = parts.collect();
    let sixty = |part: &str| {
        let part = part.split('.').next().unwrap_or_default();
        matches!(part.len(), 1 | 2) && part.parse::<u8>().is_ok_and(|n| n < 60)
    };
    first.starts_with(|c: char| c.is_ascii_digit())
        && first.chars().all(|c| c.is_ascii_digit() || c == '_')
        && !rest.is_empty()
        && rest.iter().enumerate().all(|(i, part)| sixty(part) && (i + 1 == rest.len() || !part.contains('.')))
}

fn timestamp(word: &str) -> bool {
    let (date, time) = word.split_once(['T', 't', ' ']).map_or((word, None), |(d, t)| (d, Some(t)));
    let numbers = |text: &str, separator: char, count: usize| {
        let parts: Vec<&str> = text.split(separator).collect();
        parts.len() == count && parts.iter().all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit()))
    };
    let date_fine = date.len() >= 8 && date.as_bytes().get(4) == Some(&b'-') && numbers(date, '-', 3);
    date_fine
        && time.is_none_or(|time| {
            let clock = time.split(['Z', '+', '-', '.']).next().unwrap_or_default();
            numbers(clock, ':', 3)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use serde_json::json;

    #[test]
    fn scalars_are_quoted_as_go_quotes_them() {
        let cases = [
            ("plain", "plain"),
            ("a b", "a b"),
            ("", "\"\""),
            ("true", "\"true\""),
            ("yes", "\"yes\""),
            ("12", "\"12\""),
            ("0x1f", "\"0x1f\""),
            ("1.5", "\"1.5\""),
            ("1e3", "\"1e3\""),
            ("10:30", "\"10:30\""),
            ("1.2.3", "1.2.3"),
            ("100m", "100m"),
            ("10.42.0.1", "10.42.0.1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2024-05-06T07:08:09Z", "\"2024-05-06T07:08:09Z\""),
            ("2024-05-06", "\"2024-05-06\""),
            ("a: b", "'a: b'"),
            ("a:b", "a:b"),
            ("a #b", "'a #b'"),
            ("*", "'*'"),
            ("it's", "it's"),
            ("'x'", "'''x'''"),
            ("- a", "'- a'"),
            ("-a", "-a"),
            ("{}", "'{}'"),
            (" a", "' a'"),
            ("tab\there", "\"tab\\there\""),
            ("é", "é"),
        ];
        for (word, expected) in cases {
            let mut text = String::new();
            scalar(&word.into(), 0, &mut text);
            assert_eq!(text, expected, "{word:?}");
        }
    }

    #[test]
    fn long_lines_are_folded() {
        let long = format!("{} end of it", "word ".repeat(20).trim_end());
        let value = json!({"a": {"plain": long, "single": format!("# {long}"), "double": format!("{long}\u{1b}")}});
        let words = |count: usize| ["word"; 20][..count].join(" ");
        let expected = format!(
            "a:\n  double: \"{}\n    {} end of it\\e\"\n  plain: {}\n    {} end of it\n  single: '# {}\n    {} end of it'\n",
            words(15),
            words(5),
            words(15),
            words(5),
            words(14),
            words(6)
        );
        assert_eq!(to_yaml(&value), expected);
    }

    #[test]
    fn documents_look_like_kubectls() {
        let value = json!({"a": [], "b": {}, "c": null, "list": [{"x": 1, "y": [1, 2]}, "s", [3, [4]]], "n": 1.5,
            "text": "one\ntwo\n", "keep": "one\n\n", "strip": "one\n two", "lead": "  one\ntwo\n", "trail": "one \ntwo",
            "k10": 1, "k9": 2, "K": 3, "deep": {"list": ["a\nb"]}});
        expect![[r#"
            K: 3
            a: []
            b: {}
            c: null
            deep:
              list:
              - |-
                a
                b
            k9: 2
            k10: 1
            keep: |+
              one

            lead: |2
                one
              two
            list:
            - x: 1
              "y":
              - 1
              - 2
            - s
            - - 3
              - - 4
            "n": 1.5
            strip: |-
              one
               two
            text: |
              one
              two
            trail: "one \ntwo"
        "#]]
        .assert_eq(&to_yaml(&value));
    }
}
