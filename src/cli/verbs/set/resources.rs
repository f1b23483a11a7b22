//! `set resources`

use super::{ALL_AND_SELECTOR, SetFlags, containers, pod_spec};
use crate::{failure::all_or, record::RecordFlag, session::Session};
use anyhow::{Result, anyhow, bail};
use mk8s_api::quantity::Quantity;
use serde_json::{Map, Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Resources {
    #[arg(value_name = "TYPE NAME | TYPE/NAME")]
    args: Vec<String>,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// The containers to change, may use wildcards.
    #[arg(short = 'c', long, default_value = "*")]
    containers: String,
    /// Limits, for example 'cpu=100m,memory=256Mi'.
    #[arg(long, default_value = "", hide_default_value = true)]
    limits: String,
    /// Requests, for example 'cpu=100m,memory=256Mi'.
    #[arg(long, default_value = "", hide_default_value = true)]
    requests: String,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    flags: SetFlags,
}

impl Resources {
    pub(super) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.flags.change.dry_run()?;
        let infos = self.flags.infos(cx, &self.args, &self.selector).await?;
        self.flags.check_local(dry_run)?;
        if self.flags.all && !self.selector.is_empty() {
            bail!(ALL_AND_SELECTOR);
        }
        if self.limits.is_empty() && self.requests.is_empty() {
            bail!("you must specify an update to requests or limits (in the form of --requests/--limits)");
        }
        let (limits, requests) = (list(&self.limits)?, list(&self.requests)?);
        let mut missing = Vec::new();
        let failed = "failed to patch resources update to pod template";
        let failures = self
            .flags
            .change(cx, &infos, "resource requirements updated", failed, |info, object| {
                if !set_resources(pod_spec(info, object)?, &self.containers, &limits, &requests) {
                    missing.push(anyhow!("error: unable to find container named {}", self.containers));
                    return Ok(());
                }
                self.record.apply(object);
                Ok(())
            })
            .await;
        all_or(missing.into_iter().chain(failures).collect())
    }
}

/// `cpu=1,memory=1Gi`
pub(super) fn list(text: &str) -> Result<Map<String, Value>> {
    if text.is_empty() {
        return Ok(Map::new());
    }
    let pair = |statement: &str| match statement.split_once('=') {
        Some((name, amount)) if !amount.contains('=') => {
            let amount = Quantity::parse(amount).map_err(|error| anyhow!("{error}"))?;
            Ok((name.to_owned(), amount.to_string().into()))
        }
        _ => bail!("Invalid argument syntax {statement}, expected <resource>=<value>"),
    };
    text.split(',').map(pair).collect()
}

/// Whether there was a container to change.
pub(super) fn set_resources(
    spec: &mut Value,
    pattern: &str,
    limits: &Map<String, Value>,
    requests: &Map<String, Value>,
) -> bool {
    let mut found = false;
    for field in ["containers", "initContainers"] {
        for container in containers::select(spec, field, pattern) {
            found = true;
            for (name, amounts) in [("limits", limits), ("requests", requests)] {
                if amounts.is_empty() {
                    continue;
                }
                if !container["resources"][name].is_object() {
                    container["resources"][name] = json!({});
                }
                for (resource, amount) in amounts {
                    container["resources"][name][resource] = amount.clone();
                }
            }
        }
    }
    found
}
