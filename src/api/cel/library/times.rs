//! Times and durations: read, written, taken apart.

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use super::{Function, Outcome};
use crate::cel::error::EvalError;
use crate::cel::value::Value;
use crate::{duration, zones};

pub(super) fn function(name: &str) -> Option<Function> {
    Some(match name {
        "getFullYear" => |args| part(args, |time| time.year().into()),
        "getMonth" => |args| part(args, |time| i64::from(time.month()) - 1),
        "getDayOfYear" => |args| part(args, |time| i64::from(time.day_of_year()) - 1),
        "getDayOfMonth" => |args| part(args, |time| i64::from(time.day()) - 1),
        "getDate" => |args| part(args, |time| time.day().into()),
        "getDayOfWeek" => |args| part(args, |time| time.weekday().to_sunday_zero_offset().into()),
        "getHours" => |args| part_or_total(args, 3_600_000_000_000, |time| time.hour().into()),
        "getMinutes" => |args| part_or_total(args, 60_000_000_000, |time| time.minute().into()),
        "getSeconds" => |args| part_or_total(args, 1_000_000_000, |time| time.second().into()),
        "getMilliseconds" => |args| match &args[0] {
            // Of a duration only what is beyond whole seconds is wanted in cel-go's older days; today it is all of it.
            Value::Duration(nanos) => Ok(Value::Int(nanos / 1_000_000)),
            _ => part(args, |time| time.millisecond().into()),
        },
        _ => return None,
    })
}

fn part<'a>(args: &[Value<'a>], of: fn(civil::DateTime) -> i64) -> Outcome<'a> {
    let zone = match args.get(1) {
        None => TimeZone::UTC,
        Some(Value::String(name)) => zone(name)?,
        Some(_) => return Err(EvalError::overload()),
    };
    match &args[0] {
        Value::Timestamp(time) => Ok(Value::Int(of(zone.to_datetime(*time)))),
        _ => Err(EvalError::overload()),
    }
}

fn part_or_total<'a>(args: &[Value<'a>], unit: i64, of: fn(civil::DateTime) -> i64) -> Outcome<'a> {
    match &args[0] {
        Value::Duration(nanos) => Ok(Value::Int(nanos / unit)),
        _ => part(args, of),
    }
}

/// `America/Phoenix`, `UTC`, or an offset: `-07:00`.
fn zone(name: &str) -> Result<TimeZone, EvalError> {
    let Some((hours, minutes)) = name.split_once(':') else {
        return zones::get(name).map_err(|why| EvalError::other(why.to_string()));
    };
    let offset = || {
        let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
        let signed = if hours < 0 || name.starts_with('-') { -minutes } else { minutes };
        jiff::tz::Offset::from_seconds(hours.checked_mul(3600)?.checked_add(signed.checked_mul(60)?)?).ok()
    };
    offset().map(TimeZone::fixed).ok_or_else(|| EvalError::other(format!("invalid time zone {name}")))
}

/// The years 1 to 9999.
pub(crate) fn in_range(time: Option<Timestamp>) -> Result<Timestamp, EvalError> {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_300_799;
    time.filter(|time| (FIRST..=LAST).contains(&time.as_second())).ok_or_else(|| EvalError::other("timestamp overflow"))
}

/// RFC 3339, strictly.
pub(crate) fn parse_timestamp(text: &str) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let shape = bytes.len() >= 20
        && bytes.is_ascii()
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && bytes[10] == b'T'
        && bytes[13] == b':'
        && bytes[16] == b':'
        && bytes[..4].iter().all(u8::is_ascii_digit);
    let zone = text.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let zone_fine =
        zone == "Z" || (zone.len() == 6 && matches!(zone.as_bytes()[0], b'+' | b'-') && zone.as_bytes()[3] == b':');
    if !shape || !zone_fine {
        return None;
    }
    in_range(text.parse().ok()).ok()
}

/// What the schema format `date-time` allows beside RFC 3339: a space or a small `t` between, a small `z`, no zone.
pub(crate) fn parse_schema_timestamp(text: &str) -> Option<Timestamp> {
    if text.is_empty() {
        return None;
    }
    let mut text = text.to_string();
    if matches!(text.as_bytes().get(10), Some(b't' | b' ')) {
        text.replace_range(10..11, "T");
    }
    let text = text.replace('z', "Z");
    parse_timestamp(&text).or_else(|| parse_timestamp(&format!("{text}Z")))
}

/// `2006-01-02`.
pub(crate) fn parse_date(text: &str) -> Option<Timestamp> {
    let plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, b)| if at == 4 || at == 7 { b == b'-' } else { b.is_ascii_digit() });
    let date: civil::Date = plain.then(|| text.parse().ok())??;
    in_range(TimeZone::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()).ok()
}

/// What the schema format `duration` allows beside Go's: `3 days`, `1 hour`.
pub(crate) fn parse_schema_duration(text: &str) -> Result<i64, String> {
    let trouble = match duration::parse(text) {
        Ok(nanos) => return Ok(nanos),
        Err(trouble) => trouble,
    };
    let (mut total, mut rest, mut found) = (0i64, text.trim(), false);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, tail) = rest.split_at(digits);
        let tail = tail.trim_start();
        let letters = tail.len() - tail.trim_start_matches(|c: char| c.is_alphabetic()).len();
        let (unit, tail) = tail.split_at(letters);
        let unit = match unit.to_lowercase().trim_end_matches('s') {
            "n" | "nano" | "nanosecond" => 1,
            "u" | "µ" | "micro" | "microsecond" => 1_000,
            "m" if unit.eq_ignore_ascii_case("ms") => 1_000_000,
            "milli" | "millisecond" => 1_000_000,
            "" | "sec" | "second" => 1_000_000_000,
            "min" | "minute" | "m" => 60_000_000_000,
            "h" | "hr" | "hour" => 3_600_000_000_000,
            "d" | "day" => 86_400_000_000_000,
            "w" | "week" | "wk" => 604_800_000_000_000i64,
            _ => return Err(trouble),
        };
        let amount = number
            .parse::<i64>()
            .ok()
            .and_then(|number| number.checked_mul(unit))
            .and_then(|nanos| total.checked_add(nanos));
        total = amount.ok_or_else(|| trouble.clone())?;
        found = true;
        rest = tail.trim_start();
    }
    if found { Ok(total) } else { Err(trouble) }
}
