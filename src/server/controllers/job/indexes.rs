//! Sets of completion indexes in their text form: `0,2-4,7`.

use std::collections::BTreeSet;

/// Parts that are no numbers, or beyond `completions`, are left out.
pub(super) fn parse(text: &str, completions: i32) -> BTreeSet<i32> {
    let mut indexes = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
            indexes.extend((first.max(0)..=last.min(completions - 1)).take_while(|index| *index < completions));
        }
    }
    indexes
}

/// Three and more in a row are written as a range, two with a comma.
pub(super) fn format(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for index in indexes {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *index => *last = *index,
            _ => runs.push((*index, *index)),
        }
    }
    let text = |(first, last): (i32, i32)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    };
    runs.into_iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_sets_agree() {
        for text in ["", "0", "0,1", "0-2", "1,3-5,7,8,10"] {
            assert_eq!(format(&parse(text, 11)), text);
        }
        assert_eq!(format(&parse("0-99,x,5-3,-1", 3)), "0-2");
    }
}
