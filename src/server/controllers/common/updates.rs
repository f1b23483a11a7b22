//! Small comparisons and times that all status code needs.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::{apis::meta::v1::Time, util::intstr::IntOrString};
use std::time::Duration;

/// Times in the API have no fractions of a second; what is compared with one must have none either.
pub(crate) fn whole_second(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// How long until `at + after`; zero when that is over.
pub(crate) fn until(at: Timestamp, after: SignedDuration, now: Timestamp) -> Duration {
    let left = at.saturating_add(after).map(|due| due.duration_since(now)).unwrap_or(SignedDuration::ZERO);
    Duration::try_from(left).unwrap_or_default()
}

/// Zero is left out of a status, as Kubernetes does.
pub(crate) fn positive(number: i32) -> Option<i32> {
    (number != 0).then_some(number)
}

/// A number, or a percentage of `total`; what is neither counts as 0.
pub(crate) fn scaled(value: &IntOrString, total: i32, round_up: bool) -> i32 {
    let text = match value {
        IntOrString::Int(number) => return *number,
        IntOrString::String(text) => text,
    };
    let Some(percent) = text.strip_suffix('%').and_then(|percent| percent.parse::<i64>().ok()) else { return 0 };
    let hundredths = percent.saturating_mul(i64::from(total));
    let whole = if round_up { hundredths.saturating_add(99) / 100 } else { hundredths / 100 };
    i32::try_from(whole).unwrap_or(i32::MAX)
}
