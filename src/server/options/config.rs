//! The configuration file: YAML whose keys are the names of the flags.

use std::path::{Path, PathBuf};

use serde_yaml::Value;

use super::{OptionsError, ServerArgs};

const DEFAULT: &str = "/etc/mk8s/config.yaml";

/// The file that was asked for, or the usual one if it is there.
pub(super) fn read(path: Option<&str>) -> Result<Option<(PathBuf, String)>, OptionsError> {
    let wanted = Path::new(path.unwrap_or(DEFAULT)).to_path_buf();
    match std::fs::read_to_string(&wanted) {
        Ok(text) => Ok(Some((wanted, text))),
        Err(error) if path.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OptionsError::Config { path: wanted, why: format!("cannot be read: {error}") }),
    }
}

pub(super) enum Setting<'a> {
    One(&'a mut Option<String>),
    Many(&'a mut Vec<String>),
}

pub(super) fn settings(args: &mut ServerArgs) -> Vec<(&'static str, Setting<'_>)> {
    use Setting::{Many, One};
    let mut settings = args.node.settings();
    settings.extend([
        ("bind-address", One(&mut args.bind_address)),
        ("https-listen-port", One(&mut args.https_listen_port)),
        ("cluster-cidr", One(&mut args.cluster_cidr)),
        ("service-cidr", One(&mut args.service_cidr)),
        ("cluster-dns", One(&mut args.cluster_dns)),
        ("cluster-domain", One(&mut args.cluster_domain)),
        ("service-node-port-range", One(&mut args.service_node_port_range)),
        ("tls-san", Many(&mut args.tls_san)),
        ("token", One(&mut args.token)),
        ("join", One(&mut args.join)),
        ("write-kubeconfig", One(&mut args.write_kubeconfig)),
        ("write-kubeconfig-mode", One(&mut args.write_kubeconfig_mode)),
        ("disable", Many(&mut args.disable)),
        ("disable-agent", One(&mut args.disable_agent)),
        ("witness", One(&mut args.witness)),
        ("kube-scheduler-config", One(&mut args.kube_scheduler_config)),
        ("secrets-encryption", One(&mut args.secrets_encryption)),
        ("secrets-encryption-resources", Many(&mut args.secrets_encryption_resources)),
        ("snapshot-schedule", One(&mut args.snapshot_schedule)),
        ("snapshot-retention", One(&mut args.snapshot_retention)),
        ("overlay", One(&mut args.overlay)),
        ("max-requests-inflight", One(&mut args.max_requests_inflight)),
        ("max-mutating-requests-inflight", One(&mut args.max_mutating_requests_inflight)),
        ("event-ttl", One(&mut args.event_ttl)),
        ("authentication-config", One(&mut args.authentication_config)),
        ("anonymous-auth", One(&mut args.anonymous_auth)),
        ("oidc-issuer-url", One(&mut args.oidc_issuer_url)),
        ("oidc-client-id", One(&mut args.oidc_client_id)),
        ("oidc-username-claim", One(&mut args.oidc_username_claim)),
        ("oidc-username-prefix", One(&mut args.oidc_username_prefix)),
        ("oidc-groups-claim", One(&mut args.oidc_groups_claim)),
        ("oidc-groups-prefix", One(&mut args.oidc_groups_prefix)),
        ("oidc-required-claim", Many(&mut args.oidc_required_claim)),
        ("oidc-signing-algs", Many(&mut args.oidc_signing_algs)),
        ("oidc-ca-file", One(&mut args.oidc_ca_file)),
        ("authentication-token-webhook-config-file", One(&mut args.authentication_token_webhook_config_file)),
        ("authentication-token-webhook-version", One(&mut args.authentication_token_webhook_version)),
        ("authentication-token-webhook-cache-ttl", One(&mut args.authentication_token_webhook_cache_ttl)),
        ("authorization-config", One(&mut args.authorization_config)),
        ("authorization-mode", Many(&mut args.authorization_mode)),
        ("authorization-webhook-config-file", One(&mut args.authorization_webhook_config_file)),
        ("authorization-webhook-version", One(&mut args.authorization_webhook_version)),
        ("authorization-webhook-cache-authorized-ttl", One(&mut args.authorization_webhook_cache_authorized_ttl)),
        ("authorization-webhook-cache-unauthorized-ttl", One(&mut args.authorization_webhook_cache_unauthorized_ttl)),
        ("audit-policy-file", One(&mut args.audit_policy_file)),
        ("audit-log-path", One(&mut args.audit_log_path)),
        ("audit-log-maxage", One(&mut args.audit_log_maxage)),
        ("audit-log-maxbackup", One(&mut args.audit_log_maxbackup)),
        ("audit-log-maxsize", One(&mut args.audit_log_maxsize)),
    ]);
    settings
}

/// Fills what neither a flag nor the environment has set.
pub(super) fn fill(mut known: Vec<(&'static str, Setting<'_>)>, path: &Path, text: &str) -> Result<(), OptionsError> {
    let wrong = |why: String| OptionsError::Config { path: path.to_path_buf(), why };
    let document: Value = serde_yaml::from_str(text).map_err(|error| wrong(format!("is not YAML: {error}")))?;
    let mapping = match document {
        Value::Null => return Ok(()),
        Value::Mapping(mapping) => mapping,
        _ => return Err(wrong("is not a list of `key: value` lines".to_string())),
    };
    for (key, value) in mapping {
        let Some(key) = key.as_str().map(|key| key.trim_start_matches("--").to_string()) else {
            return Err(wrong(format!("key {key:?} is not text")));
        };
        let Some((_, setting)) = known.iter_mut().find(|(name, _)| *name == key) else {
            let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
            return Err(wrong(format!("unknown key {key:?}{}", suggestion(&key, &names))));
        };
        match setting {
            Setting::One(slot) => {
                let text = scalar(&value)
                    .ok_or_else(|| wrong(format!("{key}: one value is expected, found {}", describe(&value))))?;
                slot.get_or_insert(text);
            }
            Setting::Many(slot) => {
                let texts = list(&value)
                    .ok_or_else(|| wrong(format!("{key}: a list of values is expected, found {}", describe(&value))))?;
                if slot.is_empty() {
                    **slot = texts;
                }
            }
        }
    }
    Ok(())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// A list, or one text with commas as on the command line.
fn list(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Sequence(items) => items.iter().map(scalar).collect(),
        other => scalar(other).map(|text| text.split(',').map(|item| item.trim().to_string()).collect()),
    }
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        _ => "something else",
    }
}

/// The known key most like the unknown one, if one is alike at all.
fn suggestion(key: &str, names: &[&str]) -> String {
    let plain = |text: &str| text.replace(['_', '-'], "").to_ascii_lowercase();
    let alike = names.iter().map(|name| (distance(&plain(key), &plain(name)), name)).min();
    match alike {
        Some((0..=3, name)) => format!("; did you mean {name}?"),
        _ => format!("; known keys are {}", names.join(", ")),
    }
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
