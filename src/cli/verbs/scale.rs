//! `scale`: a new number of replicas, through the scale subresource.

use crate::{
    failure::all_or,
    flags::{ChangeFlags, DryRun, Files, duration},
    printers,
    record::RecordFlag,
    remote::{MERGE, with_query},
    resolve::{self, Info, Query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::json;
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub(crate) struct Scale {
    #[arg(value_name = "TYPE NAME | TYPE/NAME")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// The new desired number of replicas.
    #[arg(long, allow_hyphen_values = true)]
    replicas: Option<i64>,
    /// Precondition for the current size; -1 is none.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, hide_default_value = true)]
    current_replicas: i64,
    /// Precondition for the resource version.
    #[arg(long)]
    resource_version: Option<String>,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Scale all objects of the types in the namespace.
    #[arg(long)]
    all: bool,
    /// How long to wait for the size to be reached; 0 does not wait.
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Scale {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let Some(replicas) = self.replicas.filter(|replicas| *replicas >= 0) else {
            bail!("The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0");
        };
        if self.current_replicas < -1 {
            bail!("The --current-replicas must specify an integer of -1 or greater");
        }
        let query = Query {
            args: &self.args,
            files: Some(&self.files),
            selector: &self.selector,
            all: self.all,
            ..Query::default()
        };
        let infos = resolve::fetch(cx, &query).await?;
        if infos.is_empty() {
            bail!("no objects passed to scale");
        }
        if self.resource_version.is_some() && infos.len() > 1 {
            bail!("cannot use --resource-version with multiple resources");
        }
        let mut failures = Vec::new();
        for info in &infos {
            if let Err(error) = self.one(cx, info, replicas).await {
                failures.push(error);
            }
        }
        all_or(failures)
    }

    async fn one(&self, cx: &Session, info: &Info, replicas: i64) -> Result<()> {
        let remote = cx.remote().await?;
        let dry_run = self.change.dry_run()?;
        let path = format!("{}/scale", info.path());
        let mut patch = json!({"spec": {"replicas": replicas}});
        if let Some(version) = &self.resource_version {
            patch["metadata"] = json!({"resourceVersion": version});
        }
        if self.current_replicas >= 0 {
            let scale = remote.get(&path).await?;
            let now = scale["spec"]["replicas"].as_i64().unwrap_or(0);
            if now != self.current_replicas {
                return Err(anyhow!("Expected replicas to be {}, was {now}", self.current_replicas));
            }
            patch["metadata"]["resourceVersion"] = scale["metadata"]["resourceVersion"].clone();
        }
        if dry_run != DryRun::Client {
            let manager = self.change.manager("kubectl");
            let path = with_query(&path, &[("fieldManager", manager), ("dryRun", dry_run.query())]);
            remote.patch(&path, MERGE, &patch).await?;
        }
        if dry_run == DryRun::None
            && let Some(cause) = self.record.patch(&info.object)
        {
            // As in kubectl the scale has happened even when its cause cannot be written down.
            let _ = remote.patch(&info.path(), MERGE, &cause).await;
        }
        let timeout = duration(&self.timeout)?;
        if !timeout.is_zero() && dry_run == DryRun::None {
            tokio::time::timeout(timeout, self.reached(cx, info, replicas))
                .await
                .map_err(|_| anyhow!("timed out waiting for the condition"))??;
        }
        let object =
            if self.change.output.output.is_some() { remote.get(&info.path()).await? } else { info.object.clone() };
        printers::changed(&self.change, dry_run, info, &object, "scaled")
    }

    /// The size is reached when the status shows it; kubectl asks every second too.
    async fn reached(&self, cx: &Session, info: &Info, replicas: i64) -> Result<()> {
        let remote = cx.remote().await?;
        loop {
            let object = remote.get(&info.path()).await?;
            let seen = object["status"]["observedGeneration"].as_i64() >= object["metadata"]["generation"].as_i64();
            if seen && object["status"]["replicas"].as_i64().unwrap_or(0) == replicas {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
