//! `--record`: the command line of a change, kept in the object it changed. Deprecated, and still what fills the CHANGE-CAUSE
//! column of `rollout history`.

use clap::{ArgMatches, Command, parser::ValueSource};
use serde_json::{Value, json};
use std::ffi::OsString;

/// The annotation `rollout history` shows.
pub(crate) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct RecordFlag {
    /// Record the command in the object's annotations (deprecated).
    #[arg(long, hide = true)]
    record: bool,
}

impl RecordFlag {
    /// Writes the cause into the object when that was asked for.
    pub(crate) fn apply(&self, object: &mut Value) {
        if self.record {
            annotate(object, &cause());
        }
    }

    /// The merge patch that writes the cause into an object which has been changed by other means.
    pub(crate) fn patch(&self, object: &Value) -> Option<Value> {
        let cause = self.record.then(cause)?;
        (object["metadata"]["annotations"][CHANGE_CAUSE] != cause.as_str())
            .then(|| json!({"metadata": {"annotations": {CHANGE_CAUSE: cause}}}))
    }
}

fn annotate(object: &mut Value, cause: &str) {
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][CHANGE_CAUSE] = cause.into();
}

/// Flags that will go, and what to say when one is given.
const DEPRECATED: [(&str, &str); 2] = [
    ("record", "Flag --record has been deprecated, --record will be removed in the future"),
    (
        "cpu_percent",
        "Flag --cpu-percent has been deprecated, Use --cpu with percentage or resource quantity format (e.g., '70%' for utilization or '500m' for milliCPU).",
    ),
];

/// Says that given flags will go, in the order they were given.
pub(crate) fn announce(matches: &ArgMatches) {
    let mut matches = matches;
    while let Some((_, inner)) = matches.subcommand() {
        matches = inner;
    }
    let given =
        |name: &str| matches.ids().any(|id| id == name) && matches.value_source(name) == Some(ValueSource::CommandLine);
    let mut said: Vec<(Option<usize>, &str)> =
        DEPRECATED.iter().filter(|(name, _)| given(name)).map(|(name, text)| (matches.index_of(name), *text)).collect();
    said.sort_unstable();
    said.iter().for_each(|(_, text)| crate::errln!("{text}"));
}

fn cause() -> String {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let words: Vec<String> = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let skipped = if words.get(1).is_some_and(|word| word == "kubectl") { 2 } else { 1 };
    command_line(&crate::command::command(), words.get(skipped..).unwrap_or_default())
}

/// The words, then the flags under their long names.
fn command_line(command: &Command, argv: &[String]) -> String {
    let mut text = String::from("kubectl");
    let mut flags = String::new();
    let mut words = argv.iter();
    // The flags of a verb are also looked up in the verbs above it, where the global ones are.
    let mut chain = vec![command];
    while let Some(word) = words.next() {
        let mut push = |name: &str, value: &str| {
            let value = if matches!(name, "token" | "password") { "CLASSIFIED" } else { value };
            flags.push_str(&format!(" --{name}={value}"));
        };
        if word == "--" {
            words.by_ref().for_each(|rest| text.push_str(&format!(" {rest}")));
        } else if let Some(long) = word.strip_prefix("--") {
            match long.split_once('=') {
                Some((name, value)) => push(name, value),
                None if takes_value(&chain, |arg| arg.get_long() == Some(long)) => {
                    push(long, words.next().map(String::as_str).unwrap_or_default());
                }
                None => push(long, missing(&chain, long)),
            }
        } else if word.starts_with('-') && word.len() > 1 {
            let mut letters = word[1..].chars();
            while let Some(letter) = letters.next() {
                let Some(long) = long_of(&chain, letter) else { continue };
                if !takes_value(&chain, |arg| arg.get_short() == Some(letter)) {
                    push(&long, "true");
                    continue;
                }
                let rest = letters.as_str();
                let value = if rest.is_empty() {
                    words.next().map(String::as_str).unwrap_or_default()
                } else {
                    rest.trim_start_matches('=')
                };
                push(&long, value);
                break;
            }
        } else {
            text.push_str(&format!(" {word}"));
            if let Some(sub) = chain.last().and_then(|last| last.find_subcommand(word)) {
                chain.push(sub);
            }
        }
    }
    text + &flags
}

fn args<'a>(chain: &'a [&Command]) -> impl Iterator<Item = &'a clap::Arg> {
    chain.iter().rev().flat_map(|command| command.get_arguments())
}

/// Whether the flag is followed by its value in another word.
fn takes_value(chain: &[&Command], wanted: impl Fn(&clap::Arg) -> bool) -> bool {
    args(chain)
        .find(|arg| wanted(arg))
        .is_some_and(|arg| arg.get_action().takes_values() && !arg.is_require_equals_set())
}

fn long_of(chain: &[&Command], letter: char) -> Option<String> {
    args(chain).find(|arg| arg.get_short() == Some(letter)).and_then(|arg| arg.get_long()).map(str::to_owned)
}

/// The value of a flag given without one.
fn missing<'a>(chain: &[&Command], long: &str) -> &'a str {
    let string_like = args(chain)
        .find(|arg| arg.get_long() == Some(long))
        .is_some_and(|_| matches!(long, "dry-run" | "cascade" | "validate"));
    match long {
        "cascade" if string_like => "background",
        "validate" if string_like => "strict",
        "dry-run" if string_like => "unchanged",
        _ => "true",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_have_words_first_and_long_flags_after() {
        let cases = [
            ("set image deploy/web web=x:1 --record", "kubectl set image deploy/web web=x:1 --record=true"),
            (
                "--record set image deploy/web -n a web=x:1",
                "kubectl set image deploy/web web=x:1 --record=true --namespace=a",
            ),
            ("apply -f x.yaml --record=true", "kubectl apply --filename=x.yaml --record=true"),
            ("apply -fx.yaml --kubeconfig k", "kubectl apply --filename=x.yaml --kubeconfig=k"),
            (
                "scale deploy web --replicas 3 --token=secret",
                "kubectl scale deploy web --replicas=3 --token=CLASSIFIED",
            ),
            ("run x --image=y --record -- sleep 5", "kubectl run x sleep 5 --image=y --record=true"),
        ];
        for (line, expected) in cases {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(command_line(&crate::command::command(), &words), expected, "{line}");
        }
    }

    #[test]
    fn objects_get_the_annotation() {
        let mut object = json!({"metadata": {"name": "x"}});
        annotate(&mut object, "kubectl x");
        assert_eq!(object["metadata"]["annotations"], json!({CHANGE_CAUSE: "kubectl x"}));
        assert!(RecordFlag::default().patch(&object).is_none());
    }
}
