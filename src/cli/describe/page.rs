//! The text of a description: indented lines whose tabs become columns.

use crate::printers::tabs;
use serde_json::Value;
use std::fmt::Arguments;

/// The annotation `apply` keeps for itself; nobody wants to read it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An annotation longer than this gets lines of its own, each cut there.
const ANNOTATION_MAX: usize = 140;

/// A description as it grows. Columns are laid out over everything since the last `flush`.
#[derive(Default)]
pub(super) struct Page {
    done: String,
    open: String,
    indent: usize,
}

impl Page {
    /// Adds text behind two spaces a level. Escape sequences of terminals are made harmless.
    pub(super) fn put(&mut self, level: usize, text: Arguments<'_>) {
        self.open.extend(std::iter::repeat_n("  ", level + self.indent));
        self.open.push_str(&text.to_string().replace('\u{1b}', "^[").replace('\r', "\\r"));
    }

    pub(super) fn line(&mut self, level: usize, text: Arguments<'_>) {
        self.put(level, text);
        self.open.push('\n');
    }

    /// Ends the columns; what follows is laid out on its own.
    pub(super) fn flush(&mut self) {
        self.done.push_str(&tabs::align(&std::mem::take(&mut self.open), 0, 2));
    }

    /// Writes further in; every piece of text gets the indentation, also within a line.
    pub(super) fn nested(&mut self, levels: usize, write: impl FnOnce(&mut Page)) {
        self.indent += levels;
        write(self);
        self.indent -= levels;
    }

    pub(super) fn finish(mut self) -> String {
        self.flush();
        self.done
    }

    /// The text with its tabs as they are.
    pub(super) fn raw(self) -> String {
        self.done + &self.open
    }

    /// `Title:` and one line each of what there is, `<none>` when there is nothing.
    pub(super) fn each(&mut self, level: usize, title: &str, lines: &[String]) {
        self.put(level, format_args!("{title}:\t"));
        if lines.is_empty() {
            self.line(0, format_args!("<none>"));
        }
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                self.put(level, format_args!(""));
                self.put(0, format_args!("\t"));
            }
            self.line(0, format_args!("{line}"));
        }
    }

    /// Labels or anything like them, sorted.
    pub(super) fn labels(&mut self, level: usize, title: &str, labels: &Value) {
        let lines: Vec<String> = super::fields::pairs(labels).map(|(key, value)| format!("{key}={value}")).collect();
        self.each(level, title, &lines);
    }

    /// Annotations: short ones on their line, long ones below their key.
    pub(super) fn annotations(&mut self, level: usize, title: &str, annotations: &Value) {
        self.put(level, format_args!("{title}:\t"));
        let shown: Vec<_> = super::fields::pairs(annotations).filter(|(key, _)| *key != LAST_APPLIED).collect();
        if shown.is_empty() {
            self.line(0, format_args!("<none>"));
        }
        for (index, (key, value)) in shown.into_iter().enumerate() {
            if index > 0 {
                self.put(0, format_args!("\t"));
            }
            let value = value.strip_suffix('\n').unwrap_or(value);
            if key.len() + value.len() + 2 > ANNOTATION_MAX || value.contains('\n') {
                self.line(0, format_args!("{key}:"));
                for line in value.split('\n') {
                    self.line(0, format_args!("\t  {}", shortened(line, ANNOTATION_MAX - 2)));
                }
            } else {
                self.line(0, format_args!("{key}: {value}"));
            }
        }
    }

    /// The first lines of most descriptions.
    pub(super) fn head(&mut self, object: &Value) {
        let metadata = &object["metadata"];
        self.line(0, format_args!("Name:\t{}", super::fields::text(&metadata["name"])));
        self.line(0, format_args!("Namespace:\t{}", super::fields::text(&metadata["namespace"])));
        self.marks(object);
    }

    /// The first lines for an object without a namespace.
    pub(super) fn cluster_head(&mut self, object: &Value) {
        self.line(0, format_args!("Name:\t{}", super::fields::text(&object["metadata"]["name"])));
        self.marks(object);
    }

    pub(super) fn marks(&mut self, object: &Value) {
        self.labels(0, "Labels", &object["metadata"]["labels"]);
        self.annotations(0, "Annotations", &object["metadata"]["annotations"]);
    }
}

/// Cuts a text after so many bytes, at a character's end.
pub(super) fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}...", &text[..end])
}

/// Adds a line to a page: `line!(page, 1, "Type:\t{}", kind)`.
macro_rules! line {
    ($page:expr, $level:expr, $($text:tt)*) => { $page.line($level, format_args!($($text)*)) };
}

/// Adds text without ending the line.
macro_rules! put {
    ($page:expr, $level:expr, $($text:tt)*) => { $page.put($level, format_args!($($text)*)) };
}

pub(super) use {line, put};
