//! The real door: the `nft` program, which reads a transaction on its standard input.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Nft, NftError, Table, Transaction};

/// Runs `nft -f -` in the caller's network namespace.
#[derive(Debug, Clone)]
pub struct NftProgram {
    program: String,
}

impl Default for NftProgram {
    fn default() -> Self {
        Self { program: "nft".to_owned() }
    }
}

impl Nft for NftProgram {
    fn apply(&self, transaction: &Transaction) -> Result<(), NftError> {
        if transaction.is_empty() {
            return Ok(());
        }
        let spawn_error = |source| NftError::Spawn { program: self.program.clone(), source };
        let mut child = Command::new(&self.program)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(spawn_error)?;
        let mut stdin = child.stdin.take().expect("stdin was asked to be a pipe");
        // nft parses before it writes diagnostics, so the whole input fits through before its stderr can fill. A broken
        // pipe means that it stopped reading; its exit status then says why.
        let written = stdin.write_all(transaction.to_string().as_bytes());
        drop(stdin);
        let output = child.wait_with_output().map_err(spawn_error)?;
        if !output.status.success() {
            return Err(NftError::Refused { message: first_lines(&output.stderr) });
        }
        written.map_err(spawn_error)
    }

    fn has_table(&self, table: &Table) -> Result<bool, NftError> {
        let output = Command::new(&self.program)
            .args(["list", "tables"])
            .stdin(Stdio::null())
            .output()
            .map_err(|source| NftError::Spawn { program: self.program.clone(), source })?;
        if !output.status.success() {
            return Err(NftError::Refused { message: first_lines(&output.stderr) });
        }
        let wanted = format!("table {table}");
        Ok(String::from_utf8_lossy(&output.stdout).lines().any(|line| line.trim() == wanted))
    }
}

/// nft repeats the failing input after its message; a handful of lines is what a log can use.
fn first_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().take(4).map(|line| line.chars().take(400).collect::<String>()).collect::<Vec<_>>().join(" | ")
}
