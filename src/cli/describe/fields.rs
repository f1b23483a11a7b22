//! Fields of untyped objects as Go's types would have them: a missing text is empty, a missing number zero.

use jiff::{Timestamp, tz::TimeZone};
use mk8s_api::quantity::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

pub(crate) fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or_default()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(crate) fn words(value: &Value) -> Vec<&str> {
    list(value).iter().map(text).collect()
}

/// The entries of a map of texts, sorted by key.
pub(crate) fn pairs(value: &Value) -> impl Iterator<Item = (&str, &str)> {
    let sorted: BTreeMap<&str, &str> =
        value.as_object().into_iter().flatten().map(|(key, value)| (key.as_str(), text(value))).collect();
    sorted.into_iter()
}

/// The keys of a map, sorted.
pub(crate) fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    keys
}

/// A number or a word: `80`, `http`, `25%`.
pub(crate) fn int_or_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => int(other).to_string(),
    }
}

/// A quantity in its canonical form; a missing one is `0`.
pub(crate) fn quantity(value: &Value) -> String {
    match Quantity::from_json(value) {
        Ok(quantity) => quantity.to_string(),
        Err(_) => text(value).to_owned(),
    }
}

/// Go's `%v`.
pub(crate) fn go(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(go).collect::<Vec<_>>().join(" ")),
        Value::Object(_) => {
            let entries: Vec<String> =
                keys(value).into_iter().map(|key| format!("{key}:{}", go(&value[key]))).collect();
            format!("map[{}]", entries.join(" "))
        }
        // Go reads numbers of untyped objects as int64 or float64.
        Value::Number(number) => match number.as_f64() {
            Some(float) if !number.is_i64() && !number.is_u64() => go_float(float),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}

/// `%v` of a float64: exponents below 1e-4 and from 1e21.
fn go_float(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        return format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    number.to_string()
}

/// Go's `%v` of a list of texts, also of a missing one.
pub(crate) fn go_list<T: AsRef<str>>(items: &[T]) -> String {
    format!("[{}]", items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(" "))
}

pub(crate) fn or_none(text: &str) -> &str {
    if text.is_empty() { "<none>" } else { text }
}

/// `True`, `False`, `<unset>`.
pub(crate) fn true_false_unset(value: &Value) -> &'static str {
    match value.as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => "<unset>",
    }
}

/// `a=b,c=d`, `<none>`.
pub(crate) fn format_labels(labels: &Value) -> String {
    let all: Vec<String> = pairs(labels).map(|(key, value)| format!("{key}={value}")).collect();
    or_none(&all.join(",")).to_owned()
}

/// A LabelSelector as the server would be asked for it: sorted requirements; empty when it selects everything.
pub(crate) fn selector(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> =
        pairs(&selector["matchLabels"]).map(|(key, value)| (key.to_owned(), format!("{key}={value}"))).collect();
    for expression in list(&selector["matchExpressions"]) {
        let key = text(&expression["key"]);
        let mut values = words(&expression["values"]);
        values.sort_unstable();
        let values = values.join(",");
        let part = match text(&expression["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key.to_owned(), part));
    }
    parts.sort_by(|(a, _), (b, _)| a.cmp(b));
    parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(",")
}

/// The same for the eye: `<none>` when empty.
pub(crate) fn format_selector(value: &Value) -> String {
    or_none(&selector(value)).to_owned()
}

/// `ReplicaSet/x`, the controller an object belongs to.
pub(crate) fn controller(object: &Value) -> Option<&Value> {
    list(&object["metadata"]["ownerReferences"]).iter().find(|owner| truth(&owner["controller"]))
}

/// When it is, and in which zone times are told.
#[derive(Clone)]
pub(crate) struct Clock {
    pub(crate) now: Timestamp,
    pub(crate) zone: TimeZone,
}

impl Clock {
    pub(crate) fn system() -> Clock {
        Clock { now: Timestamp::now(), zone: TimeZone::system() }
    }

    /// `Mon, 02 Jan 2006 15:04:05 -0700`; a missing time is Go's zero time.
    pub(crate) fn time(&self, value: &Value) -> String {
        match parse(value) {
            Some(time) => time.to_zoned(self.zone.clone()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
            None => "Mon, 01 Jan 0001 00:00:00 +0000".to_owned(),
        }
    }

    /// `2006-01-02 15:04:05 -0700 MST`.
    pub(crate) fn go_time(&self, value: &Value) -> String {
        match parse(value) {
            Some(time) => time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %z %Z").to_string(),
            None => "0001-01-01 00:00:00 +0000 UTC".to_owned(),
        }
    }

    /// How long ago: `5m3s`.
    pub(crate) fn age(&self, value: &Value) -> String {
        match parse(value) {
            Some(time) => human_duration(self.now.duration_since(time).as_secs_f64()),
            None => "<unknown>".to_owned(),
        }
    }
}

pub(crate) fn parse(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Two or three figures of a duration.
pub(crate) fn human_duration(seconds: f64) -> String {
    let seconds = seconds as i64;
    if seconds < -1 {
        return "<invalid>".to_owned();
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    let days = hours / 24;
    match seconds {
        ..0 => "0s".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => two(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => two(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 192 => two(days, "d", hours % 24, "h"),
        _ if hours < 24 * 365 * 2 => format!("{days}d"),
        _ if hours < 24 * 365 * 8 => two(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn durations_are_human() {
        let cases = [
            (-5.0, "<invalid>"),
            (-0.5, "0s"),
            (119.9, "119s"),
            (120.0, "2m"),
            (185.0, "3m5s"),
            (601.0, "10m"),
            (10_799.0, "179m"),
            (10_800.0, "3h"),
            (11_000.0, "3h3m"),
            (86_400.0, "24h"),
            (200_000.0, "2d7h"),
            (864_000.0, "10d"),
            (70_000_000.0, "2y80d"),
            (400_000_000.0, "12y"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(human_duration(seconds), expected, "{seconds}");
        }
    }

    #[test]
    fn values_print_as_in_go() {
        assert_eq!(
            go(&json!({"b": [1, "x", null], "a": true, "c": 1e-7, "d": 2.5})),
            "map[a:true b:[1 x <nil>] c:1e-07 d:2.5]"
        );
    }

    #[test]
    fn selectors_are_sorted() {
        let value = json!({"matchLabels": {"z": "1", "b": "2"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["y", "x"]}, {"key": "a", "operator": "DoesNotExist"}]});
        assert_eq!(selector(&value), "!a,b=2,c in (x,y),z=1");
        assert_eq!(format_selector(&Value::Null), "<none>");
    }
}
