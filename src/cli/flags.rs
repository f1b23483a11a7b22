//! Flags that many verbs share.

use crate::printers::Output;
use anyhow::{Result, anyhow};
use clap::Args;
use mk8s_api::duration;
use std::{path::PathBuf, time::Duration};

/// Flags every verb takes, before or after it.
#[derive(Args, Debug, Clone, Default)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// Path to the kubeconfig file to use for CLI requests.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The name of the kubeconfig context to use.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// The name of the kubeconfig cluster to use.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// The name of the kubeconfig user to use.
    #[arg(long, global = true, value_name = "NAME", action = clap::ArgAction::Append)]
    pub(crate) user: Vec<String>,
    /// The address and port of the Kubernetes API server.
    #[arg(short = 's', long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The namespace scope for this request.
    #[arg(short = 'n', long, global = true, value_name = "NAMESPACE")]
    pub(crate) namespace: Option<String>,
    /// Username to impersonate for the operation.
    #[arg(long = "as", global = true, value_name = "USER")]
    pub(crate) impersonate: Option<String>,
    /// Group to impersonate; may be repeated.
    #[arg(long, global = true, value_name = "GROUP", action = clap::ArgAction::Append)]
    pub(crate) as_group: Vec<String>,
    /// UID to impersonate for the operation.
    #[arg(long, global = true, value_name = "UID")]
    pub(crate) as_uid: Option<String>,
    /// Bearer token for authentication to the API server.
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// Path to a certificate file of the certificate authority.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) certificate_authority: Option<String>,
    /// Path to a client certificate file for TLS.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_certificate: Option<String>,
    /// Path to a client key file for TLS.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_key: Option<String>,
    /// Server name to use for server certificate validation.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tls_server_name: Option<String>,
    /// Do not check the server's certificate. This makes HTTPS insecure.
    #[arg(long, global = true)]
    pub(crate) insecure_skip_tls_verify: bool,
    /// How long to wait for a single request; 0 waits for ever.
    #[arg(long, global = true, value_name = "DURATION")]
    pub(crate) request_timeout: Option<String>,
    /// Log level; accepted for compatibility.
    #[arg(short = 'v', long = "v", global = true, value_name = "LEVEL")]
    pub(crate) verbosity: Option<u8>,
}

impl Globals {
    pub(crate) fn timeout(&self) -> Result<Option<Duration>> {
        match self.request_timeout.as_deref() {
            None | Some("0") => Ok(None),
            Some(text) => duration(text).map(Some),
        }
    }
}

/// A duration as Go writes it (`1h2m3.5s`, `500ms`); a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let nanoseconds = duration::parse(text).map_err(|why| anyhow!(why))?;
    let nanoseconds = u64::try_from(nanoseconds).map_err(|_| anyhow!("time: invalid duration {text:?}"))?;
    Ok(Duration::from_nanos(nanoseconds))
}

/// `-f`, `-R`, `-k`.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Files {
    /// Filename, directory, or URL to files that contain the resources; - is standard input.
    #[arg(short = 'f', long = "filename", value_delimiter = ',', value_name = "FILE")]
    pub(crate) filename: Vec<String>,
    /// Process the directories of -f recursively.
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
}

/// `-o` of verbs that print an object or `kind/name VERBed`.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct OutputFlag {
    /// Output format: json, yaml, name, jsonpath=..., jsonpath-file=..., custom-columns=..., custom-columns-file=..., wide.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    pub(crate) output: Option<String>,
    /// Keep the managedFields when printing objects in JSON or YAML.
    #[arg(long)]
    pub(crate) show_managed_fields: bool,
}

impl OutputFlag {
    pub(crate) fn parse(&self) -> Result<Output> {
        Output::parse(self.output.as_deref().unwrap_or_default())
    }
}

/// Where a change stops.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum DryRun {
    #[default]
    None,
    Client,
    Server,
}

impl DryRun {
    pub(crate) fn query(self) -> &'static str {
        if self == DryRun::Server { "All" } else { "" }
    }

    pub(crate) fn suffix(self) -> &'static str {
        match self {
            DryRun::None => "",
            DryRun::Client => " (dry run)",
            DryRun::Server => " (server dry run)",
        }
    }
}

/// `--dry-run`, `--field-manager`, `-o`: what every changing verb takes.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct ChangeFlags {
    /// none, client (only print the object that would be sent), or server (submit without persisting).
    #[arg(long, value_name = "STRATEGY", num_args = 0..=1, require_equals = true, default_missing_value = "unchanged")]
    pub(crate) dry_run: Option<String>,
    /// Name of the manager used to track field ownership.
    #[arg(long, value_name = "NAME")]
    pub(crate) field_manager: Option<String>,
    #[command(flatten)]
    pub(crate) output: OutputFlag,
}

impl ChangeFlags {
    pub(crate) fn dry_run(&self) -> Result<DryRun> {
        match self.dry_run.as_deref() {
            None | Some("none" | "false") => Ok(DryRun::None),
            Some("client") => Ok(DryRun::Client),
            Some("true") => {
                crate::errln!(
                    "W --dry-run=true is deprecated (boolean value) and can be replaced with --dry-run=client."
                );
                Ok(DryRun::Client)
            }
            Some("unchanged") => {
                crate::errln!("W --dry-run is deprecated and can be replaced with --dry-run=client.");
                Ok(DryRun::Client)
            }
            Some("server") => Ok(DryRun::Server),
            Some(other) => {
                Err(anyhow!("Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."))
            }
        }
    }

    pub(crate) fn manager<'a>(&'a self, default: &'a str) -> &'a str {
        self.field_manager.as_deref().unwrap_or(default)
    }
}

/// `--validate` of verbs that send whole objects.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct ValidateFlag {
    /// strict (or true), warn, ignore (or false): what the server does with unknown or duplicate fields.
    #[arg(long, value_name = "MODE", num_args = 0..=1, require_equals = true, default_missing_value = "strict")]
    pub(crate) validate: Option<String>,
}

impl ValidateFlag {
    pub(crate) fn query(&self) -> Result<&'static str> {
        match self.validate.as_deref() {
            None | Some("strict" | "true") => Ok("Strict"),
            Some("warn") => Ok("Warn"),
            Some("ignore" | "false") => Ok("Ignore"),
            Some(other) => Err(anyhow!(
                "invalid - validate option {other:?}; must be one of: strict (or true), warn, ignore (or false)"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [("5", 5000), ("1m30s", 90_000), ("1h", 3_600_000), ("250ms", 250), ("1.5s", 1500)];
        for (text, ms) in cases {
            assert_eq!(duration(text).unwrap().as_millis(), ms, "{text}");
        }
        for text in ["", "x", "5y", "s", "-1s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
