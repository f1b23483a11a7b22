//! Sets of completion indexes, and their text form: `0,2-4,7`.

/// Runs of indexes, in order, never adjacent: a Job may have a hundred thousand indexes and few runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Indexes {
    runs: Vec<(i32, i32)>,
}

impl Indexes {
    /// Parts that are no numbers, or beyond `completions`, are left out.
    pub(super) fn parse(text: &str, completions: i32) -> Indexes {
        let mut indexes = Indexes::default();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                indexes.insert_run(first.max(0), last.min(completions.saturating_sub(1)));
            }
        }
        indexes
    }

    pub(super) fn insert(&mut self, index: i32) {
        self.insert_run(index, index);
    }

    fn insert_run(&mut self, first: i32, last: i32) {
        if first > last {
            return;
        }
        // All runs that touch the new one become one with it.
        let from = self.runs.partition_point(|run| run.1.saturating_add(1) < first);
        let to = self.runs.partition_point(|run| run.0 <= last.saturating_add(1));
        let touched = &self.runs[from..to.max(from)];
        let first = touched.first().map_or(first, |run| run.0.min(first));
        let last = touched.last().map_or(last, |run| run.1.max(last));
        self.runs.splice(from..to.max(from), [(first, last)]);
    }

    pub(super) fn contains(&self, index: i32) -> bool {
        let at = self.runs.partition_point(|run| run.1 < index);
        self.runs.get(at).is_some_and(|run| run.0 <= index)
    }

    pub(super) fn len(&self) -> i32 {
        self.runs.iter().map(|run| run.1 - run.0 + 1).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// How many of these are in the other set, too.
    pub(super) fn shared_with(&self, other: &Indexes) -> i32 {
        let overlap = |one: &(i32, i32), two: &(i32, i32)| (one.1.min(two.1) - one.0.max(two.0) + 1).max(0);
        self.runs.iter().map(|one| other.runs.iter().map(|two| overlap(one, two)).sum::<i32>()).sum()
    }
}

/// Three and more in a row are written as a range, two with a comma.
impl std::fmt::Display for Indexes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (n, (first, last)) in self.runs.iter().enumerate() {
            let comma = if n > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn texts_and_sets_agree() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8,10"] {
            assert_eq!(Indexes::parse(text, 11).to_string(), text);
        }
        assert_eq!(Indexes::parse("0-99,x,5-3,-1", 3).to_string(), "0-2");
        assert_eq!(Indexes::parse("0-99", 0).to_string(), "");
    }

    #[test]
    fn sets_overlap() {
        let (one, two) = (Indexes::parse("0-5,8", 20), Indexes::parse("4-9", 20));
        assert_eq!((one.shared_with(&two), two.shared_with(&one)), (3, 3));
    }

    proptest! {
        #[test]
        fn it_is_a_set(wanted in prop::collection::vec(0_i32..40, 0..40)) {
            let set: BTreeSet<i32> = wanted.iter().copied().collect();
            let mut indexes = Indexes::default();
            wanted.iter().for_each(|index| indexes.insert(*index));
            prop_assert_eq!(indexes.len() as usize, set.len());
            prop_assert!((0..41).all(|index| indexes.contains(index) == set.contains(&index)));
            prop_assert_eq!(Indexes::parse(&indexes.to_string(), 100), indexes);
        }
    }
}
