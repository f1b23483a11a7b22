//! Durations as Go writes them: `1h30m0s`, `1.5s`, `250ms`. In nanoseconds, negative ones too.

use std::time::Duration;

use crate::field::quote;

const MICROSECOND: u64 = 1_000;
const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Reads a duration, as Go's `time.ParseDuration`.
///
/// # Errors
/// In Go's words.
pub fn parse(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let number = rest.len() - rest.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit()).len();
        let (digits, tail) = rest.split_at(number);
        let unit = tail.len() - tail.trim_start_matches(|c: char| c != '.' && !c.is_ascii_digit()).len();
        let (unit, tail) = tail.split_at(unit);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let size: i128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => MICROSECOND.into(),
            "ms" => MILLISECOND.into(),
            "s" => SECOND.into(),
            "m" => (60 * SECOND).into(),
            "h" => (3600 * SECOND).into(),
            "" => return Err(format!("time: missing unit in duration {}", quote(text))),
            other => return Err(format!("time: unknown unit {} in duration {}", quote(other), quote(text))),
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse::<u64>().map_err(|_| invalid())?.into() };
        // Digits beyond a billionth of a billionth do not matter.
        let fraction = &fraction[..fraction.len().min(18)];
        let part = if fraction.is_empty() {
            0
        } else {
            fraction.parse::<i128>().map_err(|_| invalid())? * size / 10i128.pow(fraction.len() as u32)
        };
        let amount = whole.checked_mul(size).and_then(|whole| whole.checked_add(part));
        total = amount.and_then(|amount| total.checked_add(amount)).ok_or_else(invalid)?;
        rest = tail;
    }
    i64::try_from(if negative { -total } else { total }).map_err(|_| invalid())
}

/// Writes a duration, as Go's `Duration.String`.
pub fn text(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let nanoseconds = nanoseconds.unsigned_abs();
    let (unit, size) = match nanoseconds {
        0 => return "0s".to_owned(),
        SECOND.. => ("s", SECOND),
        MILLISECOND.. => ("ms", MILLISECOND),
        MICROSECOND.. => ("µs", MICROSECOND),
        _ => ("ns", 1),
    };
    let (whole, fraction) = (nanoseconds / size, fraction(nanoseconds % size, size));
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, _) => format!("{sign}{whole}{fraction}{unit}"),
        _ if size < SECOND => format!("{sign}{whole}{fraction}{unit}"),
        (0, minutes, seconds) => format!("{sign}{minutes}m{seconds}{fraction}s"),
        (hours, minutes, seconds) => format!("{sign}{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

/// As [`text`].
pub fn text_of(duration: Duration) -> String {
    text(i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
}

/// Writes a duration in seconds alone, as protobuf's JSON does: `90.5s`.
pub fn seconds(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let nanoseconds = nanoseconds.unsigned_abs();
    format!("{sign}{}{}s", nanoseconds / SECOND, fraction(nanoseconds % SECOND, SECOND))
}

/// What is behind the point: as many digits as the unit has, without what says nothing.
fn fraction(part: u64, size: u64) -> String {
    match part {
        0 => String::new(),
        part => format!(".{}", (size + part).to_string()[1..].trim_end_matches('0')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let cases = [
            (0, "0s", "0s"),
            (7, "7ns", "0.000000007s"),
            (1_500, "1.5µs", "0.0000015s"),
            (250_000_000, "250ms", "0.25s"),
            (85_040_000, "85.04ms", "0.08504s"),
            (1_500_000_000, "1.5s", "1.5s"),
            (90_000_000_000, "1m30s", "90s"),
            (3_600_000_000_000, "1h0m0s", "3600s"),
            (-5_400_250_000_000, "-1h30m0.25s", "-5400.25s"),
            (i64::MAX, "2562047h47m16.854775807s", "9223372036.854775807s"),
        ];
        for (nanoseconds, go, protobuf) in cases {
            assert_eq!((text(nanoseconds), seconds(nanoseconds)), (go.to_owned(), protobuf.to_owned()));
            assert_eq!((parse(go), parse(protobuf)), (Ok(nanoseconds), Ok(nanoseconds)), "{go}");
        }
        assert_eq!(text(i64::MIN), "-2562047h47m16.854775808s");
    }

    #[test]
    fn durations_are_gos() {
        let cases =
            [(5_000, "5s"), (90_000, "1m30s"), (3_600_000, "1h0m0s"), (250, "250ms"), (1_500, "1.5s"), (0, "0s")];
        for (ms, expected) in cases {
            assert_eq!(text_of(Duration::from_millis(ms)), expected);
        }
        assert_eq!(text_of(Duration::MAX), text(i64::MAX));
    }

    #[test]
    fn what_is_no_duration_is_refused_in_gos_words() {
        let cases = [
            ("", "time: invalid duration \"\""),
            ("x", "time: invalid duration \"x\""),
            (".s", "time: invalid duration \".s\""),
            ("1.2.3s", "time: invalid duration \"1.2.3s\""),
            ("5", "time: missing unit in duration \"5\""),
            ("5y", "time: unknown unit \"y\" in duration \"5y\""),
            ("9999999h", "time: invalid duration \"9999999h\""),
        ];
        for (given, why) in cases {
            assert_eq!(parse(given), Err(why.to_owned()));
        }
        assert_eq!(
            (parse("+1.5h"), parse("1h2m3s4ms5us6ns"), parse("-.5s")),
            (Ok(5_400_000_000_000), Ok(3_723_004_005_006), Ok(-500_000_000))
        );
    }
}
