//! From single results to a verdict: thresholds in a row. Pure.

/// What one attempt found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    /// The attempt itself went wrong; it counts for nothing.
    Unknown,
}

#[derive(Debug, Clone)]
pub(super) struct Counter {
    success_threshold: u32,
    failure_threshold: u32,
    last: Option<Outcome>,
    in_a_row: u32,
}

impl Counter {
    pub(super) fn new(success_threshold: u32, failure_threshold: u32) -> Counter {
        Counter {
            success_threshold: success_threshold.max(1),
            failure_threshold: failure_threshold.max(1),
            last: None,
            in_a_row: 0,
        }
    }

    /// A verdict once enough results in a row agree.
    pub(super) fn step(&mut self, outcome: Outcome) -> Option<bool> {
        if outcome == Outcome::Unknown {
            return None;
        }
        if self.last == Some(outcome) {
            self.in_a_row = self.in_a_row.saturating_add(1);
        } else {
            self.last = Some(outcome);
            self.in_a_row = 1;
        }
        let enough = match outcome {
            Outcome::Success => self.success_threshold,
            _ => self.failure_threshold,
        };
        (self.in_a_row >= enough).then_some(outcome == Outcome::Success)
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Outcome::*};

    #[test]
    fn thresholds_count_in_a_row() {
        let cases = [
            ((1, 3), vec![Success], vec![Some(true)]),
            ((1, 3), vec![Failure, Failure, Failure, Success], vec![None, None, Some(false), Some(true)]),
            ((1, 3), vec![Failure, Failure, Success, Failure], vec![None, None, Some(true), None]),
            ((2, 1), vec![Success, Failure, Success, Success], vec![None, Some(false), None, Some(true)]),
            ((1, 2), vec![Failure, Unknown, Failure], vec![None, None, Some(false)]),
        ];
        for ((success, failure), outcomes, expected) in cases {
            let mut counter = Counter::new(success, failure);
            let got: Vec<_> = outcomes.iter().map(|outcome| counter.step(*outcome)).collect();
            assert_eq!(got, expected, "{outcomes:?}");
        }
    }
}
