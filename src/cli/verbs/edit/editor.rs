//! The user's editor on a temporary file.

use anyhow::{Context, Result, anyhow, bail};
use std::{ffi::OsString, io::Write, path::PathBuf, process::Command};

/// What runs, and whether its last word is a line for the shell.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Editor {
    words: Vec<String>,
    shell: bool,
}

impl Editor {
    /// Of `KUBE_EDITOR` or `EDITOR`, or vi.
    pub(crate) fn of_environment() -> Editor {
        let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        let command = set("KUBE_EDITOR").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
        Editor::of(command, set("SHELL").unwrap_or_else(|| "/bin/bash".to_owned()))
    }

    fn of(command: String, shell: String) -> Editor {
        if !command.contains(' ') {
            return Editor { words: vec![command], shell: false };
        }
        if !command.contains(['"', '\'', '\\']) {
            return Editor { words: command.split(' ').map(str::to_owned).collect(), shell: false };
        }
        Editor { words: vec![shell, "-c".to_owned(), command], shell: true }
    }

    /// Lets the user edit `text`; what it became, and the file it is in, which is left behind.
    pub(crate) fn edit(&self, text: &str, suffix: &str) -> Result<(String, PathBuf)> {
        let mut file = tempfile::Builder::new()
            .prefix("kubectl-edit-")
            .suffix(suffix)
            .rand_bytes(10)
            .tempfile()
            .context("cannot make a temporary file")?;
        file.write_all(text.as_bytes()).context("cannot write the temporary file")?;
        let (_, path) = file.keep().context("cannot keep the temporary file")?;
        self.launch(&path)?;
        let edited = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((edited, path))
    }

    fn launch(&self, path: &std::path::Path) -> Result<()> {
        let shown = self.words.join(" ");
        let mut words: Vec<OsString> = self.words.iter().map(OsString::from).collect();
        match words.last_mut() {
            Some(line) if self.shell => line.push(format!(" {:?}", path.display().to_string())),
            _ => words.push(path.into()),
        }
        let status = Command::new(&words[0]).args(&words[1..]).status().map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => anyhow!("unable to launch the editor {shown:?}"),
            _ => anyhow!("there was a problem with the editor {shown:?}"),
        })?;
        if !status.success() {
            bail!("there was a problem with the editor {shown:?}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn editors_with_quotes_go_through_the_shell() {
        let of = |command: &str| Editor::of(command.to_owned(), "/bin/sh".to_owned());
        assert_eq!(of("nano"), Editor { words: vec!["nano".into()], shell: false });
        assert_eq!(of("code -w"), Editor { words: vec!["code".into(), "-w".into()], shell: false });
        assert_eq!(
            of("sed -i 's/a/b/'"),
            Editor { words: vec!["/bin/sh".into(), "-c".into(), "sed -i 's/a/b/'".into()], shell: true }
        );
    }

    #[test]
    fn the_file_comes_back_edited() {
        let editor = Editor::of("sed -i 's/a/b/'".to_owned(), "/bin/sh".to_owned());
        let (text, path) = editor.edit("a\n", ".yaml").unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(text, "b\n");
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with("kubectl-edit-"));
        let missing = Editor::of("/no/such/editor".to_owned(), String::new());
        assert_eq!(missing.edit("", "").unwrap_err().to_string(), "unable to launch the editor \"/no/such/editor\"");
    }
}
