//! The real door: the `nft` program, which reads a transaction on its standard input and tells what is there in JSON.

use std::io::Write;
use std::process::{Command, Stdio};

use nftables::helper::{self, NftablesError};
use nftables::schema::{NfListObject, NfObject};
use nftables::types::{NfChainPolicy, NfFamily, NfHook};

use super::{Family, Nft, NftError, Table, Transaction};

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
        let family = match table.family {
            Family::V4 => NfFamily::IP,
            Family::V6 => NfFamily::IP6,
        };
        let listed = self.list(&["list", "tables"])?;
        Ok(listed.iter().any(|object| {
            matches!(object, NfObject::ListObject(NfListObject::Table(found)) if found.family == family && found.name == table.name)
        }))
    }

    fn forward_drops(&self) -> Result<Vec<String>, NftError> {
        let mut found = Vec::new();
        for family in ["ip", "inet"] {
            found.extend(dropping_forwards(family, &self.list(&["list", "chains", family])?));
        }
        Ok(found)
    }
}

impl NftProgram {
    /// What nft tells in JSON.
    fn list(&self, arguments: &[&str]) -> Result<Vec<NfObject<'static>>, NftError> {
        helper::get_current_ruleset_with_args(Some(&self.program), arguments)
            .map(|listed| listed.objects.into_owned())
            .map_err(|error| match error {
                NftablesError::NftExecution { inner, .. } => {
                    NftError::Spawn { program: self.program.clone(), source: inner }
                }
                NftablesError::NftFailed { stderr, .. } => {
                    NftError::Refused { message: first_lines(stderr.as_bytes()) }
                }
                other => NftError::Refused { message: other.to_string() },
            })
    }
}

fn dropping_forwards(family: &str, listed: &[NfObject<'_>]) -> Vec<String> {
    let chains = listed.iter().filter_map(|object| match object {
        NfObject::ListObject(NfListObject::Chain(chain)) => Some(chain),
        _ => None,
    });
    chains
        .filter(|chain| chain.hook == Some(NfHook::Forward) && chain.policy == Some(NfChainPolicy::Drop))
        .map(|chain| format!("table {family} {}, chain {}", chain.table, chain.name))
        .collect()
}

/// nft repeats the failing input after its message; a handful of lines is what a log can use.
fn first_lines(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    text.lines().take(4).map(|line| line.chars().take(400).collect::<String>()).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use nftables::schema::Nftables;

    use super::*;

    #[test]
    fn chains_that_drop_forwarded_packets_are_found() {
        let listed = r#"{"nftables": [
            {"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
            {"chain": {"family": "ip", "table": "mk8s-svc", "name": "filter-forward", "handle": 1, "type": "filter", "hook": "forward", "prio": 0, "policy": "accept"}},
            {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
            {"chain": {"family": "ip", "table": "filter", "name": "DOCKER", "handle": 2}},
            {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 3, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}}
        ]}"#;
        let listed: Nftables<'_> = serde_json::from_str(listed).expect("nft's JSON");
        assert_eq!(dropping_forwards("ip", &listed.objects), ["table ip filter, chain FORWARD"]);
    }

    #[test]
    fn a_program_that_is_missing_is_named() {
        let nft = NftProgram { program: "/nowhere/nft".to_owned() };
        let error = nft.has_table(&Table::new(Family::V4, "a")).expect_err("there is none");
        assert_eq!(error.to_string(), "cannot run /nowhere/nft: is nftables installed?");
    }
}
