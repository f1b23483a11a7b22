//! How fast a target may grow and shrink: what was recommended and done lately, and the rules for it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingRules, HorizontalPodAutoscalerSpec};

/// Without rules a target may shrink only to the most that was recommended in this time.
const DOWN_WINDOW: i32 = 300;

/// Without rules a target may grow to twice its size, or to four.
const UP_FACTOR: i32 = 2;
const UP_MIN: i32 = 4;

/// Of one autoscaler. The longest time that rules may look back is an hour.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Memory {
    recommendations: Vec<(Timestamp, i32)>,
    /// By how much it grew (positive) and shrank.
    changes: Vec<(Timestamp, i32)>,
}

const FORGOTTEN: SignedDuration = SignedDuration::from_hours(1);

fn within(time: Timestamp, seconds: i32, now: Timestamp) -> bool {
    now.duration_since(time) < SignedDuration::from_secs(seconds.into())
}

/// A size, and what was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sized {
    pub(super) replicas: i32,
    pub(super) reason: &'static str,
    pub(super) message: &'static str,
}

fn sized(replicas: i32, reason: &'static str, message: &'static str) -> Sized {
    Sized { replicas, reason, message }
}

const READY: (&str, &str) = ("ReadyForNewScale", "recommended size matches current size");
const DOWN: (&str, &str) = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const UP: (&str, &str) = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);

impl Memory {
    /// The size at which the autoscaler was first seen counts as recommended.
    pub(super) fn begin(&mut self, current: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, current));
        }
    }

    pub(super) fn changed(&mut self, from: i32, to: i32, now: Timestamp) {
        self.changes.push((now, to - from));
    }

    /// What of a recommendation is left when recent ones are considered.
    pub(super) fn stabilize(
        &mut self,
        spec: &HorizontalPodAutoscalerSpec,
        current: i32,
        wanted: i32,
        now: Timestamp,
    ) -> Sized {
        self.recommendations.retain(|(time, _)| now.duration_since(*time) < FORGOTTEN);
        self.changes.retain(|(time, _)| now.duration_since(*time) < FORGOTTEN);
        let known = &self.recommendations;
        let recent =
            |seconds: i32| known.iter().filter(move |(time, _)| within(*time, seconds, now)).map(|(_, size)| *size);
        let behavior = spec.behavior.as_ref();
        let window = |rules: Option<&HPAScalingRules>, default| {
            rules.and_then(|rules| rules.stabilization_window_seconds).unwrap_or(default)
        };
        let down_window = window(behavior.and_then(|behavior| behavior.scale_down.as_ref()), DOWN_WINDOW);
        let lowest_down = recent(down_window).fold(wanted, i32::max);
        let size = match behavior {
            None => lowest_down,
            Some(behavior) => {
                let highest_up = recent(window(behavior.scale_up.as_ref(), 0)).fold(wanted, i32::min);
                current.max(highest_up).min(lowest_down)
            }
        };
        self.recommendations.push((now, wanted));
        let (reason, message) = match () {
            () if size == wanted => READY,
            () if behavior.is_some() && wanted >= current => UP,
            () => DOWN,
        };
        sized(size, reason, message)
    }

    /// What the bounds and the allowed speed leave of a size.
    pub(super) fn limit(&self, spec: &HorizontalPodAutoscalerSpec, current: i32, wanted: i32, now: Timestamp) -> Sized {
        let (min, max) = (spec.min_replicas.unwrap_or(1), spec.max_replicas);
        let Some(behavior) = spec.behavior.as_ref() else {
            let fastest = current.saturating_mul(UP_FACTOR).max(UP_MIN);
            return if wanted < min { too_few(min) } else { from_above(wanted, max, fastest) };
        };
        if wanted > current {
            let fastest = behavior.scale_up.as_ref().map_or(i32::MAX, |rules| self.up_to(rules, current, now));
            from_above(wanted, max, fastest.max(current))
        } else if wanted < current {
            let fastest =
                behavior.scale_down.as_ref().map_or(0, |rules| self.down_to(rules, current, now)).min(current);
            match (wanted < min.max(fastest), min < fastest) {
                (false, _) => in_range(wanted),
                (true, true) => sized(
                    fastest,
                    "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate",
                ),
                (true, false) => too_few(min),
            }
        } else {
            in_range(wanted)
        }
    }

    /// The size at the beginning of a period, before what was done in it.
    fn before(&self, current: i32, seconds: i32, now: Timestamp) -> i32 {
        let recent = self.changes.iter().filter(|(time, _)| within(*time, seconds, now));
        current - recent.map(|(_, change)| change).sum::<i32>()
    }

    fn up_to(&self, rules: &HPAScalingRules, current: i32, now: Timestamp) -> i32 {
        let proposals = rules.policies.iter().flatten().map(|policy| {
            let before = self.before(current, policy.period_seconds, now);
            match policy.type_.as_str() {
                "Percent" => (f64::from(before) * (1.0 + f64::from(policy.value) / 100.0)).ceil() as i32,
                _ => before.saturating_add(policy.value),
            }
        });
        match rules.select_policy.as_deref() {
            Some("Disabled") => current,
            Some("Min") => proposals.min().unwrap_or(i32::MAX),
            _ => proposals.max().unwrap_or(i32::MIN),
        }
    }

    fn down_to(&self, rules: &HPAScalingRules, current: i32, now: Timestamp) -> i32 {
        let proposals = rules.policies.iter().flatten().map(|policy| {
            let before = self.before(current, policy.period_seconds, now);
            match policy.type_.as_str() {
                "Percent" => (f64::from(before) * (1.0 - f64::from(policy.value) / 100.0)) as i32,
                _ => before.saturating_sub(policy.value),
            }
        });
        match rules.select_policy.as_deref() {
            Some("Disabled") => current,
            Some("Min") => proposals.max().unwrap_or(i32::MIN),
            _ => proposals.min().unwrap_or(i32::MAX),
        }
    }
}

fn in_range(wanted: i32) -> Sized {
    sized(wanted, "DesiredWithinRange", "the desired count is within the acceptable range")
}

fn too_few(min: i32) -> Sized {
    sized(min, "TooFewReplicas", "the desired replica count is less than the minimum replica count")
}

fn from_above(wanted: i32, max: i32, fastest: i32) -> Sized {
    if wanted <= max.min(fastest) {
        in_range(wanted)
    } else if max > fastest {
        sized(fastest, "ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
    } else {
        sized(max, "TooManyReplicas", "the desired replica count is more than the maximum replica count")
    }
}
