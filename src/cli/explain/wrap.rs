//! Lines no longer than a limit, as mitchellh/go-wordwrap breaks them.

/// Breaks at white space; words longer than the limit stay whole.
pub(super) fn wrapped(limit: usize, text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut column = 0;
    let (mut word, mut space) = (String::new(), String::new());
    let (mut word_len, mut space_len) = (0, 0);
    for c in text.chars() {
        if c == '\n' {
            if word.is_empty() {
                if column + space_len <= limit {
                    out.push_str(&space);
                }
            } else {
                out.push_str(&space);
                out.push_str(&word);
            }
            (word_len, space_len, column) = (0, 0, 0);
            word.clear();
            space.clear();
            out.push(c);
        } else if c.is_whitespace() && c != '\u{a0}' {
            if space.is_empty() || !word.is_empty() {
                column += space_len + word_len;
                out.push_str(&space);
                out.push_str(&word);
                (word_len, space_len) = (0, 0);
                word.clear();
                space.clear();
            }
            space.push(c);
            space_len += 1;
        } else {
            word.push(c);
            word_len += 1;
            if column + word_len + space_len > limit && word_len < limit {
                out.push('\n');
                column = 0;
                space.clear();
                space_len = 0;
            }
        }
    }
    if !word.is_empty() || column + space_len <= limit {
        out.push_str(&space);
        out.push_str(&word);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces() {
        let cases = [
            (5, "ab cd ef", "ab cd\nef"),
            (5, "abcdefgh ij", "abcdefgh\nij"),
            (5, "a\n\nb  c", "a\n\nb  c"),
            (3, "ab   ", "ab"),
        ];
        for (limit, text, expected) in cases {
            assert_eq!(wrapped(limit, text), expected, "{text:?}");
        }
    }
}
