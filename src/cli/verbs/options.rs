//! `options`: the flags that every verb takes.

use crate::{flags::Globals, session::Session};
use anyhow::Result;
use clap::{ArgAction, Args};

#[derive(clap::Args, Debug)]
pub(crate) struct Options {}

impl Options {
    pub(crate) async fn run(&self, _: &Session) -> Result<()> {
        crate::say::out(format_args!("{}", text()));
        Ok(())
    }
}

fn text() -> String {
    let command = Globals::augment_args(clap::Command::new("kubectl"));
    let mut flags: Vec<String> = command
        .get_arguments()
        .map(|flag| {
            let default = match flag.get_action() {
                ArgAction::SetTrue => "false",
                ArgAction::Append => "[]",
                _ => "''",
            };
            let short = flag.get_short().map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            (
                flag.get_long().unwrap_or_default().to_owned(),
                format!("{short}--{}={default}:\n\t{help}\n", flag.get_long().unwrap_or_default()),
            )
        })
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_values()
        .collect();
    flags.insert(0, "The following options can be passed to any command:\n".to_owned());
    flags.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_global_flag_is_told() {
        let text = text();
        for line in ["-n, --namespace='':\n\t", "    --as-group=[]:\n\t", "    --insecure-skip-tls-verify=false:\n\t"] {
            assert!(text.contains(line), "{line}");
        }
    }
}
