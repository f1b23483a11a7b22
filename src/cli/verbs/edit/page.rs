//! What the editor shows: a comment, why the last attempt failed, and the objects.

use crate::resolve::files;

const GREETING: &str = "# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
";

/// Why the page is shown again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reason {
    pub(crate) head: String,
    pub(crate) causes: Vec<String>,
}

pub(crate) fn header(reasons: &[Reason]) -> String {
    let mut text = GREETING.to_owned();
    for reason in reasons {
        let colon = if reason.causes.is_empty() { "" } else { ":" };
        text.push_str(&format!("# {}{colon}\n", commented(&reason.head)));
        for cause in &reason.causes {
            text.push_str(&format!("# * {}\n", commented(cause)));
        }
        text.push_str("#\n");
    }
    text
}

/// Every line of a text is a comment.
fn commented(text: &str) -> String {
    let (body, end) = text.strip_suffix('\n').map_or((text, ""), |body| (body, "\n"));
    let lines: Vec<&str> = body.split('\n').collect();
    let rest =
        lines[1..].iter().map(|line| if line.starts_with('#') { format!("\n{line}") } else { format!("\n# {line}") });
    lines[0].to_owned() + &rest.collect::<String>() + end
}

/// The page without its comments.
pub(crate) fn stripped(text: &str) -> String {
    let is_comment = |line: &&str| {
        let line = line.trim();
        line.starts_with('#') && !line.starts_with("#!")
    };
    text.split_inclusive('\n').filter(|line| !is_comment(line)).collect()
}

/// Whether two pages say the same.
pub(crate) fn same(one: &str, other: &str) -> bool {
    match (files::value(one), files::value(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => stripped(one) == stripped(other),
    }
}

/// Whether there is anything but comments.
pub(crate) fn has_content(text: &str) -> bool {
    text.lines().map(str::trim).any(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn the_header_tells_what_was_wrong() {
        let reason = Reason {
            head: "deployments.apps \"web\" was not valid".to_owned(),
            causes: vec!["spec.replicas: Invalid value: -1: too\nsmall".to_owned()],
        };
        expect![[r##"
            # Please edit the object below. Lines beginning with a '#' will be ignored,
            # and an empty file will abort the edit. If an error occurs while saving this file will be
            # reopened with the relevant failures.
            #
            # deployments.apps "web" was not valid:
            # * spec.replicas: Invalid value: -1: too
            # small
            #
        "##]]
        .assert_eq(&header(&[reason]));
    }

    #[test]
    fn comments_do_not_count() {
        assert!(same("# x\na: 1\n", "a:  1"));
        assert!(!same("a: 1", "a: 2"));
        assert!(same("a: [ # x", "a: [ # x"));
        assert!(!has_content("# a\n\n  # b"));
        assert!(has_content("# a\nb"));
        assert_eq!(stripped("# a\nb: |\n  # c\n  d\n"), "b: |\n  d\n");
    }
}
