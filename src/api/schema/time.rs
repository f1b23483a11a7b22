//! Times as Go reads them: RFC 3339 to the letter, and why a text is none, in Go's words.

use crate::meta;

/// The time that a text says.
pub(super) fn read(text: &str) -> Option<jiff::Timestamp> {
    (text.as_bytes().get(10) == Some(&b'T')).then(|| meta::parse_time(text)).flatten()
}

/// The time that a text says to the microsecond, with all its digits.
pub(super) fn read_micro(text: &str) -> Option<jiff::Timestamp> {
    const DIGITS: usize = 6;
    let fraction = text.get(19..)?.strip_prefix(['.', ','])?;
    let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
    read(text).filter(|_| digits == DIGITS)
}

/// Why a text is no time. `micro`: the form with microseconds is wanted.
pub(super) fn wrong(text: &str, micro: bool) -> String {
    let layout = if micro { "2006-01-02T15:04:05.000000Z07:00" } else { "2006-01-02T15:04:05Z07:00" };
    match walk(text, micro) {
        Wrong::At(rest, wanted) => format!(
            "parsing time {} as {}: cannot parse {} as {}",
            quote(text),
            quote(layout),
            quote(rest),
            quote(wanted)
        ),
        Wrong::OutOfRange(what) => format!("parsing time {}: {what} out of range", quote(text)),
        Wrong::Extra(rest) => format!("parsing time {}: extra text: {}", quote(text), quote(rest)),
    }
}

enum Wrong<'a> {
    /// What is left, and what was wanted there.
    At(&'a str, &'static str),
    OutOfRange(&'static str),
    Extra(&'a str),
}

/// A part of the layout: its text, how many digits it has, and which numbers fit.
const PARTS: [(&str, usize, &str, std::ops::RangeInclusive<u32>, &str); 6] = [
    ("2006", 4, "", 0..=9999, "-"),
    ("01", 2, "month", 1..=12, "-"),
    ("02", 2, "", 0..=99, "T"),
    ("15", 2, "hour", 0..=23, ":"),
    ("04", 2, "minute", 0..=59, ":"),
    ("05", 2, "second", 0..=59, ""),
];

fn walk(text: &str, micro: bool) -> Wrong<'_> {
    let mut rest = text;
    for (layout, digits, name, range, after) in PARTS {
        // Hours may have one digit.
        let digits = if layout == "15" && !two_digits(rest) { 1 } else { digits };
        let Some((number, left)) = number(rest, digits) else { return Wrong::At(rest, layout) };
        if !range.contains(&number) {
            return Wrong::OutOfRange(name);
        }
        rest = match left.strip_prefix(after) {
            Some(left) => left,
            None => return Wrong::At(left, after),
        };
    }
    let fraction = rest.strip_prefix(['.', ',']);
    if micro {
        match fraction.and_then(|rest| number(rest, 6)) {
            Some((_, left)) => rest = left,
            None => return Wrong::At(rest, ".000000"),
        }
    } else if let Some(digits) = fraction.filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
        rest = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    rest = match rest.strip_prefix('Z') {
        Some(left) => left,
        None => match zone(rest) {
            Ok(left) => left,
            Err(wrong) => return wrong,
        },
    };
    if rest.is_empty() { Wrong::OutOfRange("day") } else { Wrong::Extra(rest) }
}

fn zone(text: &str) -> Result<&str, Wrong<'_>> {
    let wrong = || Wrong::At(text, "Z07:00");
    let rest = text.strip_prefix(['+', '-']).ok_or_else(wrong)?;
    let (hours, rest) = number(rest, 2).ok_or_else(wrong)?;
    let (minutes, rest) = rest.strip_prefix(':').and_then(|rest| number(rest, 2)).ok_or_else(wrong)?;
    match (hours, minutes) {
        (25.., _) => Err(Wrong::OutOfRange("time zone offset hour")),
        (_, 61..) => Err(Wrong::OutOfRange("time zone offset minute")),
        _ => Ok(rest),
    }
}

fn two_digits(text: &str) -> bool {
    text.as_bytes().get(1).is_some_and(u8::is_ascii_digit)
}

fn number(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((number, rest))
}

/// As Go's `time` quotes: bytes beyond ASCII one by one.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_as_go_tells_it() {
        for (text, micro, expected) in [
            ("", false, r#"parsing time "" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "2006""#),
            ("2024", true, r#"parsing time "2024" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "" as "-""#),
            (
                "é\"",
                false,
                r#"parsing time "\xc3\xa9\"" as "2006-01-02T15:04:05Z07:00": cannot parse "\xc3\xa9\"" as "2006""#,
            ),
            ("2024-13-01T00:00:00Z", false, r#"parsing time "2024-13-01T00:00:00Z": month out of range"#),
            ("2024-02-30T00:00:00Z", false, r#"parsing time "2024-02-30T00:00:00Z": day out of range"#),
            ("2024-01-01T24:00:00Z", false, r#"parsing time "2024-01-01T24:00:00Z": hour out of range"#),
            ("2024-01-01T00:00:00Zx", false, r#"parsing time "2024-01-01T00:00:00Zx": extra text: "x""#),
            (
                "2024-01-01T00:00:00Zx",
                true,
                r#"parsing time "2024-01-01T00:00:00Zx" as "2006-01-02T15:04:05.000000Z07:00": cannot parse "Zx" as ".000000""#,
            ),
            (
                "2024-01-01 00:00:00Z",
                false,
                r#"parsing time "2024-01-01 00:00:00Z" as "2006-01-02T15:04:05Z07:00": cannot parse " 00:00:00Z" as "T""#,
            ),
            (
                "2024-01-01T00:00:00.5+1",
                false,
                r#"parsing time "2024-01-01T00:00:00.5+1" as "2006-01-02T15:04:05Z07:00": cannot parse "+1" as "Z07:00""#,
            ),
            (
                "2024-01-01T00:00:00+99:00",
                false,
                r#"parsing time "2024-01-01T00:00:00+99:00": time zone offset hour out of range"#,
            ),
        ] {
            assert_eq!(wrong(text, micro), expected);
        }
    }
}
