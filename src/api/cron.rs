//! Schedules of CronJobs: five fields, a word such as `@daily`, or `@every` with a duration.
//!
//! What is accepted, the words of errors and the times that follow are those of the cron library that Kubernetes uses,
//! also where clocks are put forward or back: a time that a day does not have is skipped.

use jiff::{SignedDuration, Span, Timestamp, Zoned, civil, tz::TimeZone};

use crate::{duration, zones};

/// When something is due again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    when: When,
    zone: TimeZone,
}

#[derive(Debug, Clone, PartialEq)]
enum When {
    Every(i64),
    At(Box<Fields>),
}

/// For each field a bit per value.
#[derive(Debug, Clone, PartialEq)]
struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// A star in one of the fields for days: then both must hold, otherwise one is enough.
    any_day: bool,
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const BOUNDS: [(u32, u32, &[&str]); 5] = [(0, 59, &[]), (0, 23, &[]), (1, 31, &[]), (1, 12, MONTHS), (0, 6, DAYS)];

/// A schedule without a time within this many years has none.
const YEARS: i16 = 5;

impl Schedule {
    /// `TZ=` or `CRON_TZ=` in front of a schedule names its time zone; without it `zone` is meant.
    pub fn parse(text: &str, zone: TimeZone) -> Result<Schedule, String> {
        if text.is_empty() {
            return Err("empty spec string".to_owned());
        }
        let Some(rest) = text.strip_prefix("TZ=").or(text.strip_prefix("CRON_TZ=")) else {
            return Ok(Schedule { when: When::parse(text)?, zone });
        };
        let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        let zone = zones::get(name).map_err(|why| format!("provided bad location {name}: {why}"))?;
        Ok(Schedule { when: When::parse(rest.trim())?, zone })
    }

    /// The first time after this one; `None` when there is none in the next years.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let second = Timestamp::from_second(after.as_second()).ok()?;
        match &self.when {
            When::Every(seconds) => second.checked_add(SignedDuration::from_secs(*seconds)).ok(),
            When::At(fields) => {
                let first = second.checked_add(SignedDuration::from_secs(1)).ok()?;
                fields.first_from(first.to_zoned(self.zone.clone()))
            }
        }
    }
}

impl When {
    fn parse(text: &str) -> Result<When, String> {
        let Some(word) = text.strip_prefix('@') else {
            return Fields::parse(text).map(|fields| When::At(Box::new(fields)));
        };
        let fields = match word {
            "yearly" | "annually" => "0 0 1 1 *",
            "monthly" => "0 0 1 * *",
            "weekly" => "0 0 * * 0",
            "daily" | "midnight" => "0 0 * * *",
            "hourly" => "0 * * * *",
            _ => {
                let Some(every) = word.strip_prefix("every ") else {
                    return Err(format!("unrecognized descriptor: {text}"));
                };
                let nanoseconds =
                    duration::parse(every).map_err(|why| format!("failed to parse duration {text}: {why}"))?;
                return Ok(When::Every((nanoseconds / 1_000_000_000).max(1)));
            }
        };
        Fields::parse(fields).map(|fields| When::At(Box::new(fields)))
    }
}

impl Fields {
    fn parse(text: &str) -> Result<Fields, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let Ok([minutes, hours, days, months, weekdays]) = <[&str; 5]>::try_from(fields.as_slice()) else {
            return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
        };
        let read = |text: &str, field: usize| {
            let mut bits = Bits::default();
            for part in text.split(',').filter(|part| !part.is_empty()) {
                bits.add(part, BOUNDS[field])?;
            }
            Ok::<Bits, String>(bits)
        };
        let (minutes, hours, days) = (read(minutes, 0)?, read(hours, 1)?, read(days, 2)?);
        let (months, weekdays) = (read(months, 3)?, read(weekdays, 4)?);
        Ok(Fields {
            minutes: minutes.set,
            hours: hours.set,
            days: days.set,
            months: months.set,
            weekdays: weekdays.set,
            any_day: days.star || weekdays.star,
        })
    }

    /// The first time that is not before `time`. Whole months, days and hours are passed over until each field holds.
    fn first_from(&self, mut time: Zoned) -> Option<Timestamp> {
        let last_year = time.year().checked_add(YEARS)?;
        // What is smaller than the first unit that was passed over starts at its beginning.
        let mut passed = false;
        'again: loop {
            if time.year() > last_year {
                return None;
            }
            while !holds(self.months, time.month()) {
                let first = if passed { time.datetime() } else { time.date().first_of_month().at(0, 0, 0, 0) };
                passed = true;
                time = local(first.checked_add(Span::new().months(1)).ok()?, &time)?;
                if time.month() == 1 {
                    continue 'again;
                }
            }
            while !self.is_on(time.date()) {
                let midnight = if passed { time.datetime() } else { time.date().at(0, 0, 0, 0) };
                passed = true;
                time = local(midnight.checked_add(Span::new().days(1)).ok()?, &time)?;
                // A day without a midnight.
                match i64::from(time.hour()) {
                    0 => {}
                    late if late > 12 => time = later(&time, (24 - late) * 3600)?,
                    early => {
                        let midnight = later(&time, -early * 3600)?;
                        if midnight.date() == time.date() {
                            time = midnight;
                        }
                    }
                }
                if time.day() == 1 {
                    continue 'again;
                }
            }
            while !holds(self.hours, time.hour()) {
                let into = if passed { 0 } else { i64::from(time.minute()) * 60 + i64::from(time.second()) };
                passed = true;
                time = later(&time, 3600 - into)?;
                if time.hour() == 0 {
                    continue 'again;
                }
            }
            while !holds(self.minutes, time.minute()) {
                let into = if passed { 0 } else { i64::from(time.second()) };
                passed = true;
                time = later(&time, 60 - into)?;
                if time.minute() == 0 {
                    continue 'again;
                }
            }
            if time.second() != 0 {
                passed = true;
                time = later(&time, 60 - i64::from(time.second()))?;
                // Another minute, which may not be one of those wanted.
                continue 'again;
            }
            return Some(time.timestamp());
        }
    }

    fn is_on(&self, date: civil::Date) -> bool {
        let (day, weekday) =
            (holds(self.days, date.day()), holds(self.weekdays, date.weekday().to_sunday_zero_offset()));
        if self.any_day { day && weekday } else { day || weekday }
    }
}

fn holds(bits: u64, value: i8) -> bool {
    u32::try_from(value).is_ok_and(|value| bits >> value & 1 == 1)
}

fn local(time: civil::DateTime, like: &Zoned) -> Option<Zoned> {
    time.to_zoned(like.time_zone().clone()).ok()
}

fn later(time: &Zoned, seconds: i64) -> Option<Zoned> {
    time.checked_add(SignedDuration::from_secs(seconds)).ok()
}

#[derive(Default)]
struct Bits {
    set: u64,
    star: bool,
}

impl Bits {
    /// `5`, `*`, `1-5`, `*/2`, `10-20/5`, `5/10` (from 5 on), and names.
    fn add(&mut self, part: &str, (low, high, words): (u32, u32, &[&str])) -> Result<(), String> {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        if step.is_some_and(|step| step.contains('/')) {
            return Err(format!("too many slashes: {part}"));
        }
        let is_star = matches!(range, "*" | "?");
        let (start, end) = match range {
            _ if is_star => (low, high),
            range => match range.split_once('-') {
                Some((_, end)) if end.contains('-') => return Err(format!("too many hyphens: {part}")),
                Some((start, end)) => (number(start, words, low)?, number(end, words, low)?),
                None => {
                    let start = number(range, words, low)?;
                    (start, if step.is_some() { high } else { start })
                }
            },
        };
        let step = step.map_or(Ok(1), |step| number(step, &[], 0))?;
        self.star |= is_star && step <= 1;
        if start < low {
            return Err(format!("beginning of range ({start}) below minimum ({low}): {part}"));
        }
        if end > high {
            return Err(format!("end of range ({end}) above maximum ({high}): {part}"));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {part}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {part}"));
        }
        let mut value = start;
        while value <= end {
            self.set |= 1 << value;
            value = value.saturating_add(step);
        }
        Ok(())
    }
}

fn number(text: &str, words: &[&str], first: u32) -> Result<u32, String> {
    if let Some(n) = words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(n as u32 + first);
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"));
    }
    let number: i64 = text
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: value out of range"))?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> TimeZone {
        zones::get(name).expect("a zone")
    }

    fn next(schedule: &str, zone_name: &str, after: &str) -> String {
        let schedule = Schedule::parse(schedule, zone(zone_name)).expect("a schedule");
        let after: Timestamp = after.parse().expect("a time");
        schedule.next(after).map_or("never".into(), |time| time.to_string())
    }

    #[test]
    fn times_follow_from_schedules() {
        let table = [
            ("*/15 * * * *", "2026-07-09T14:45:00Z", "2026-07-09T15:00:00Z"),
            ("*/15 * * * *", "2026-07-09T14:59:59.5Z", "2026-07-09T15:00:00Z"),
            ("20-35/15 * * * *", "2026-07-09T15:45:00Z", "2026-07-09T16:20:00Z"),
            ("5/10 * * * *", "2026-07-09T15:06:00Z", "2026-07-09T15:15:00Z"),
            ("0 0 * * *", "2026-12-31T23:59:40Z", "2027-01-01T00:00:00Z"),
            ("0 0 29 feb ?", "2026-03-01T00:00:00Z", "2028-02-29T00:00:00Z"),
            ("30 4 1,15 * fri", "2026-07-09T00:00:00Z", "2026-07-10T04:30:00Z"),
            ("30 4 1,15 * *", "2026-07-09T00:00:00Z", "2026-07-15T04:30:00Z"),
            ("30 4 */2 * fri", "2026-07-09T05:00:00Z", "2026-07-10T04:30:00Z"),
            ("30 8 * SEP Mon-Wed", "2026-09-02T08:30:00Z", "2026-09-07T08:30:00Z"),
            ("0 0 31 feb *", "2026-01-01T00:00:00Z", "never"),
            ("@hourly", "2026-07-09T14:45:00Z", "2026-07-09T15:00:00Z"),
            ("@weekly", "2026-07-09T14:45:00Z", "2026-07-12T00:00:00Z"),
            ("@monthly", "2026-07-09T14:45:00Z", "2026-08-01T00:00:00Z"),
            ("@yearly", "2026-07-09T14:45:00Z", "2027-01-01T00:00:00Z"),
            ("@every 1h30m", "2026-07-09T14:45:10.7Z", "2026-07-09T16:15:10Z"),
            ("@every 5ms", "2026-07-09T14:45:10Z", "2026-07-09T14:45:11Z"),
            ("TZ=Asia/Tokyo 0 9 * * *", "2026-07-09T14:45:10Z", "2026-07-10T00:00:00Z"),
        ];
        for (schedule, after, expected) in table {
            assert_eq!(next(schedule, "UTC", after), expected, "{schedule} after {after}");
        }
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        // New York skips 02:00 to 03:00 on 2012-03-11 and has 01:00 to 02:00 twice on 2012-11-04.
        let table = [
            ("0 0 * * *", "2012-03-11T04:59:00Z", "2012-03-11T05:00:00Z"),
            ("30 2 11 mar ?", "2012-03-11T05:00:00Z", "2013-03-11T06:30:00Z"),
            ("0 * * * *", "2012-03-11T06:00:00Z", "2012-03-11T07:00:00Z"),
            ("30 1 * * *", "2012-11-04T04:00:00Z", "2012-11-04T05:30:00Z"),
            ("30 1 * * *", "2012-11-04T05:30:00Z", "2012-11-04T06:30:00Z"),
        ];
        for (schedule, after, expected) in table {
            assert_eq!(next(schedule, "America/New_York", after), expected, "{schedule} after {after}");
        }
        // Sao Paulo had no midnight on 2018-11-04.
        assert_eq!(next("30 * 4 11 *", "America/Sao_Paulo", "2018-11-02T12:00:00Z"), "2018-11-04T03:30:00Z");
        assert_eq!(next("0 12 5 11 *", "America/Sao_Paulo", "2018-11-03T12:00:00Z"), "2018-11-05T14:00:00Z");
    }

    #[test]
    fn what_is_no_schedule_says_why() {
        let table = [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("61 * * * *", "end of range (61) above maximum (59): 61"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@often", "unrecognized descriptor: @often"),
            ("@every x", "failed to parse duration @every x: time: invalid duration \"x\""),
            ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
            ("TZ=Mars/Base * * * * *", "provided bad location Mars/Base: unknown time zone Mars/Base"),
        ];
        for (schedule, expected) in table {
            assert_eq!(Schedule::parse(schedule, TimeZone::UTC), Err(expected.to_owned()), "{schedule}");
        }
    }
}
