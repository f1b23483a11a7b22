//! `completion`: a script that teaches a shell the verbs and flags.

use crate::session::Session;
use anyhow::{Result, bail};
use clap_complete::Shell;

#[derive(clap::Args, Debug)]
pub(crate) struct Completion {
    #[arg(value_name = "SHELL")]
    args: Vec<String>,
}

impl Completion {
    pub(crate) async fn run(&self, _: &Session) -> Result<()> {
        const HELP: &str = "See 'kubectl completion -h' for help and examples";
        let shell = match self.args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => bail!("Shell not specified.\n{HELP}"),
            ["bash"] => Shell::Bash,
            ["zsh"] => Shell::Zsh,
            ["fish"] => Shell::Fish,
            ["powershell"] => Shell::PowerShell,
            [other] => bail!("Unsupported shell type {other:?}.\n{HELP}"),
            _ => bail!("Too many arguments. Expected only the shell type.\n{HELP}"),
        };
        crate::say::out_bytes(&script(shell, &program()));
        Ok(())
    }
}

/// The name this was called by: what the shell is to complete.
fn program() -> String {
    let called = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "kubectl".to_owned())
}

fn script(shell: Shell, program: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut crate::command::command(), program, &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_know_the_verbs() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = String::from_utf8(script(shell, "mk8s")).unwrap();
            assert!(text.contains("api-resources") && text.contains("mk8s"), "{shell}");
        }
    }
}
