//! `mk8s secrets-encrypt`: what an administrator on a server's machine asks, and the change of the key.

use anyhow::bail;
use clap::{Args, Subcommand};

use crate::cluster::{
    Access,
    talk::{self, Answer, EncryptionStatus, Question},
};

/// The flags of `mk8s secrets-encrypt`.
#[derive(Debug, Args)]
pub struct SecretsEncryptArgs {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    access: Access,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Whether Secrets are encrypted at rest, which kinds are, and with which key
    Status,
    /// Make a new key, and write everything anew with it, on every server
    Rotate,
}

/// Carries the command out; gives the lines to print.
///
/// # Errors
/// What is wrong, and what to do.
pub async fn command(arguments: SecretsEncryptArgs) -> anyhow::Result<Vec<String>> {
    let SecretsEncryptArgs { verb, access } = arguments;
    let (address, tls) = access.to_server()?;
    let question = match verb {
        Verb::Status => Question::Encryption,
        Verb::Rotate => Question::RotateEncryption,
    };
    match (talk::ask(&address, tls, &question).await?, verb) {
        (Answer::Encryption(status), Verb::Status) => Ok(lines(&status)),
        (Answer::Encryption(status), Verb::Rotate) => Ok(vec![rotated(&status)]),
        (Answer::Refused { why } | Answer::Later { why }, _) => bail!(why),
        _ => bail!("{} answers something else than was asked: is it of another version?", access.server()),
    }
}

fn rotated(status: &EncryptionStatus) -> String {
    let key = status.key.as_deref().unwrap_or_default();
    match status.rewriting {
        false => format!("rotated: the key is {key} now; {} objects were written anew with it", status.objects),
        true => format!("rotated: the key is {key} now; {} objects are being written anew with it", status.objects),
    }
}

fn lines(status: &EncryptionStatus) -> Vec<String> {
    let EncryptionStatus { key, resources, objects, rewriting } = status;
    let state = match (key, resources.is_empty()) {
        (Some(_), false) => "Enabled",
        (None, false) => "Enabled, and waits for a key",
        (_, true) => "Disabled",
    };
    let mut lines = vec![format!("Encryption Status: {state}")];
    if !resources.is_empty() {
        lines.push(format!("Resources: {} ({objects} objects)", resources.join(", ")));
    }
    let stage = if *rewriting { "rewriting this server's files" } else { "finished" };
    lines.push(format!("Current Rotation Stage: {stage}"));
    if let Some(key) = key {
        lines.extend([String::new(), "Active   Key Type   Name".into(), format!(" *       AES-GCM    {key}")]);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn a_status_names_the_key_and_the_kinds() {
        let status = EncryptionStatus {
            key: Some("aesgcm-20260101T000000Z-0123abcd".into()),
            resources: vec!["secrets".into(), "*.example.com".into()],
            objects: 12,
            rewriting: false,
        };
        expect![[r"
            Encryption Status: Enabled
            Resources: secrets, *.example.com (12 objects)
            Current Rotation Stage: finished

            Active   Key Type   Name
             *       AES-GCM    aesgcm-20260101T000000Z-0123abcd"]]
        .assert_eq(&lines(&status).join("\n"));
        let off = EncryptionStatus { key: None, resources: Vec::new(), objects: 0, rewriting: true };
        expect![[r"
            Encryption Status: Disabled
            Current Rotation Stage: rewriting this server's files"]]
        .assert_eq(&lines(&off).join("\n"));
    }
}
