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
        let wanted = format!("table {table}");
        Ok(self.list("tables")?.lines().any(|line| line.trim() == wanted))
    }

    fn forward_drops(&self) -> Result<Vec<String>, NftError> {
        Ok(parse_forward_drops(&self.list("chains")?))
    }
}

impl NftProgram {
    fn list(&self, what: &str) -> Result<String, NftError> {
        let output = Command::new(&self.program)
            .args(["list", what])
            .stdin(Stdio::null())
            .output()
            .map_err(|source| NftError::Spawn { program: self.program.clone(), source })?;
        if !output.status.success() {
            return Err(NftError::Refused { message: first_lines(&output.stderr) });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

fn parse_forward_drops(chains: &str) -> Vec<String> {
    let (mut table, mut chain, mut found) = ("", "", Vec::new());
    for line in chains.lines().map(|line| line.trim().trim_end_matches(" {")) {
        if line.starts_with("table ") {
            table = line;
        } else if line.starts_with("chain ") {
            chain = line;
        } else if line.contains("hook forward") && line.contains("policy drop") {
            found.push(format!("{table}, {chain}"));
        }
    }
    found
}

/// nft repeats the failing input after its message; a handful of lines is what a log can use.
fn first_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().take(4).map(|line| line.chars().take(400).collect::<String>()).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_forwarded_packets_are_found() {
        let chains = "table ip mk8s-svc {\n\tchain filter-forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\
                      \t}\n}\ntable ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\
                      \tchain DOCKER {\n\t}\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        assert_eq!(parse_forward_drops(chains), ["table ip filter, chain FORWARD"]);
    }
}
