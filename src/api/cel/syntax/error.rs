//! What is wrong with an expression, shown with the line it is on and a mark under the place, as cel-go shows it.

use std::fmt::{self, Display};

/// More problems than this are counted, not told.
const MAX_TOLD: usize = 100;
/// Lines longer than this are not shown.
const MAX_LINE: usize = 16_384;

/// The problems of one expression in the order of their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    source: String,
    /// Byte offset and text.
    list: Vec<(u32, String)>,
}

impl Problems {
    pub(crate) fn new(source: &str) -> Problems {
        Problems { source: source.to_string(), list: Vec::new() }
    }

    pub(crate) fn one(source: &str, at: u32, text: impl Into<String>) -> Problems {
        let mut problems = Problems::new(source);
        problems.add(at, text);
        problems
    }

    pub(crate) fn add(&mut self, at: u32, text: impl Into<String>) {
        self.list.push((at, text.into()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl std::error::Error for Problems {}

impl Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<_> = self.list.iter().collect();
        sorted.sort_by_key(|(at, _)| *at);
        for (n, (at, text)) in sorted.iter().take(MAX_TOLD).enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            self.show(f, *at as usize, text)?;
        }
        if sorted.len() > MAX_TOLD {
            write!(f, "\n{} more errors were truncated", sorted.len() - MAX_TOLD)?;
        }
        Ok(())
    }
}

impl Problems {
    fn show(&self, f: &mut fmt::Formatter<'_>, at: usize, text: &str) -> fmt::Result {
        let before = &self.source[..at.min(self.source.len())];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.source[line_start..].split('\n').next().unwrap_or_default();
        let column = before[line_start..].chars().count();
        let number = before.matches('\n').count() + 1;
        write!(f, "ERROR: <input>:{number}:{}: {text}", column + 1)?;
        if line.chars().count() > MAX_LINE {
            return Ok(());
        }
        write!(f, "\n | {}\n | ", line.replace('\t', " "))?;
        let wide = |c: char| c.len_utf8() > 1;
        for c in line.chars().take(column) {
            f.write_str(if wide(c) { "\u{ff0e}" } else { "." })?;
        }
        f.write_str(if line.chars().nth(column).is_some_and(wide) { "\u{ff3e}" } else { "^" })
    }
}
