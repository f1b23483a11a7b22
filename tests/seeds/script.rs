//! Documents as scripts: Markdown whose fenced blocks are files and commands.
//!
//! ````text
//! ```yaml pod.yaml        a block with a name is a file
//! ```console              commands, each followed by the lines that its output must have, in this order
//! $ kubectl create ...    runs once and succeeds
//! ~ kubectl get ...       is repeated until it succeeds with such output
//! ! kubectl create ...    runs once and fails
//! # words                 a remark
//! NAME 1/1 * Running      `*` stands for anything, blanks for any blanks; other lines may stand between
//! ```
//! ````
//!
//! Text outside of blocks, and blocks of other kinds, are for readers.

/// One thing to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    File { name: String, text: String },
    Run { line: usize, mode: Mode, command: String, expected: Vec<String> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Succeeds,
    Eventually,
    Fails,
}

pub(crate) fn parse(document: &str) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    let mut lines = document.lines().enumerate().map(|(number, text)| (number + 1, text));
    while let Some((start, text)) = lines.next() {
        let Some(header) = text.strip_prefix("```") else { continue };
        let mut block = Vec::new();
        loop {
            let (number, text) = lines.next().ok_or_else(|| format!("the block of line {start} has no end"))?;
            if text == "```" {
                break;
            }
            block.push((number, text));
        }
        match header.split_once(' ') {
            Some((_, name)) => {
                let text = block.iter().flat_map(|(_, text)| [text, "\n"]).collect();
                steps.push(Step::File { name: name.trim().to_owned(), text });
            }
            None if header == "console" => commands(&block, &mut steps)?,
            None => {}
        }
    }
    Ok(steps)
}

fn commands(block: &[(usize, &str)], steps: &mut Vec<Step>) -> Result<(), String> {
    for (line, text) in block.iter().copied() {
        let mode = match text.get(..2) {
            Some("$ ") => Mode::Succeeds,
            Some("~ ") => Mode::Eventually,
            Some("! ") => Mode::Fails,
            Some("# ") => continue,
            _ => {
                match steps.last_mut() {
                    Some(Step::Run { expected, .. }) => expected.push(text.to_owned()),
                    _ => return Err(format!("line {line} is output of no command")),
                }
                continue;
            }
        };
        steps.push(Step::Run { line, mode, command: text[2..].to_owned(), expected: Vec::new() });
    }
    Ok(())
}

/// The first expected line that the output lacks.
pub(crate) fn lacking<'a>(output: &str, expected: &'a [String]) -> Option<&'a str> {
    let mut lines = output.lines();
    expected.iter().find(|pattern| !lines.any(|line| matches(line, pattern))).map(String::as_str)
}

fn matches(line: &str, pattern: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, pattern) = (plain(line), plain(pattern));
    let mut parts = pattern.split('*');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn documents_become_steps() {
    let document = "# Title\n```yaml a.yaml\nkind: Pod\n```\nWords\n```console\n$ kubectl get pod\nNAME\n~ true\n```\n";
    let run = |line, mode, command: &str, expected: &[&str]| Step::Run {
        line,
        mode,
        command: command.to_owned(),
        expected: expected.iter().map(|e| (*e).to_owned()).collect(),
    };
    let file = Step::File { name: "a.yaml".to_owned(), text: "kind: Pod\n".to_owned() };
    let expected =
        vec![file, run(7, Mode::Succeeds, "kubectl get pod", &["NAME"]), run(9, Mode::Eventually, "true", &[])];
    assert_eq!(parse(document), Ok(expected));
    assert!(parse("```console\nno command\n```\n").is_err());
    assert!(parse("```console\n$ true\n").is_err());
}

#[test]
fn patterns_match_lines() {
    for (line, pattern, good) in [
        ("mynginx   1/1     Running   0          3s", "mynginx 1/1 Running 0 *", true),
        ("mynginx   0/1     Running   0          3s", "mynginx 1/1 *", false),
        ("a-b-c", "a-*-c", true),
        ("a-b-c-d", "a-*-c", false),
        ("abab", "*ab", true),
        ("exact", "exact", true),
        ("exact not", "exact", false),
    ] {
        assert_eq!(matches(line, pattern), good, "{line} ~ {pattern}");
    }
}
