//! `delete`, and the wait until what was deleted is gone.

use crate::{
    failure::{Failure, all_or},
    flags::{DryRun, Files, duration},
    remote::{Remote, with_query},
    resolve::{self, Info, Query},
    session::Session,
};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::{io::Write, time::Duration};

#[derive(clap::Args, Debug)]
pub(crate) struct Delete {
    #[arg(value_name = "TYPE NAME | TYPE/NAME | TYPE -l label")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Selector (label query) of the objects to delete.
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Selector (field query) of the objects to delete.
    #[arg(long, default_value = "", hide_default_value = true)]
    field_selector: String,
    /// Delete all objects of the types, in the namespace.
    #[arg(long)]
    all: bool,
    /// Delete across all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Seconds to terminate gracefully; negative is ignored.
    #[arg(long, default_value_t = -1, allow_hyphen_values = true, hide_default_value = true)]
    grace_period: i64,
    /// Signal for immediate shutdown (same as --grace-period=1).
    #[arg(long)]
    now: bool,
    /// Remove objects from the API at once and bypass graceful deletion.
    #[arg(long)]
    force: bool,
    /// A missing object is a successful delete.
    #[arg(long)]
    ignore_not_found: bool,
    /// Wait for the objects to be gone before returning.
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_default_value = true)]
    wait: String,
    /// How long to wait; 0 is for ever.
    #[arg(long, default_value = "0s", hide_default_value = true)]
    timeout: String,
    /// background, orphan or foreground.
    #[arg(long, default_value = "background", num_args = 0..=1, require_equals = true, default_missing_value = "background")]
    cascade: String,
    /// none, client or server.
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "unchanged", value_name = "STRATEGY")]
    dry_run: Option<String>,
    /// Output mode: name.
    #[arg(short = 'o', long, value_name = "FORMAT")]
    output: Option<String>,
    /// Ask before deleting.
    #[arg(short = 'i', long)]
    interactive: bool,
    /// A path to delete on the server as it is.
    #[arg(long, value_name = "URI")]
    raw: Option<String>,
}

impl Delete {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let remote = cx.remote().await?;
        if let Some(raw) = &self.raw {
            crate::say::out_bytes(&remote.bytes(http::Method::DELETE, raw, crate::remote::JSON, None).await?);
            return Ok(());
        }
        let grace = self.grace()?;
        let flags = crate::flags::ChangeFlags { dry_run: self.dry_run.clone(), ..Default::default() };
        let dry_run = flags.dry_run()?;
        let policy = match self.cascade.as_str() {
            "background" | "true" => "Background",
            "orphan" | "false" => "Orphan",
            "foreground" => "Foreground",
            other => bail!("invalid cascade value ({other}). Must be \"background\", \"foreground\", or \"orphan\""),
        };
        if !matches!(self.output.as_deref(), None | Some("" | "name")) {
            bail!(
                "unexpected -o output mode: {}. We only support '-o name'",
                self.output.as_deref().unwrap_or_default()
            );
        }
        let bulk = self.all || !self.selector.is_empty() || !self.field_selector.is_empty();
        let mut failures = Vec::new();
        let infos = self.targets(cx, bulk, &mut failures).await?;
        if self.interactive && !confirmed(&infos) {
            crate::outln!("deletion is cancelled");
            return Ok(());
        }
        if grace == Some(0) && self.force {
            crate::errln!(
                "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely."
            );
        }
        let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        if let Some(grace) = grace {
            options["gracePeriodSeconds"] = grace.into();
        }
        let mut deleted: Vec<(&Info, Option<String>)> = Vec::new();
        let mut found = 0;
        for info in &infos {
            let uid = if dry_run == DryRun::Client {
                remote.get(&info.path()).await.map(|object| uid_of(&object))
            } else {
                let path = with_query(&info.path(), &[("dryRun", dry_run.query())]);
                remote.delete(&path, &options).await.map(|answer| uid_of(&answer))
            };
            match uid {
                Ok(uid) => {
                    found += 1;
                    self.print(info, grace, dry_run);
                    deleted.push((info, uid));
                }
                Err(error) if (self.ignore_not_found || bulk) && Failure::is_not_found(&error) => {}
                Err(error) => failures.push(Failure::from_source(error, "deleting", info.source.as_deref())),
            }
        }
        if found == 0 && failures.is_empty() {
            crate::outln!("No resources found");
        }
        if self.wait != "false" && dry_run == DryRun::None {
            let timeout = duration(&self.timeout)?;
            for (info, uid) in deleted {
                if let Err(error) = until_gone(remote, info, uid.as_deref(), timeout).await {
                    failures.push(error);
                }
            }
        }
        all_or(failures)
    }

    fn grace(&self) -> Result<Option<i64>> {
        let mut grace = self.grace_period;
        if self.now {
            if grace != -1 {
                bail!("--now and --grace-period cannot be specified together");
            }
            grace = 1;
        }
        if self.all && !self.selector.is_empty() {
            bail!("cannot set --all and --selector at the same time");
        }
        if self.all && !self.field_selector.is_empty() {
            bail!("cannot set --all and --field-selector at the same time");
        }
        if grace > 0 && self.force {
            bail!("--force and --grace-period greater than 0 cannot be specified together");
        }
        if grace == 0 && !self.force {
            grace = 1;
        }
        if self.force && grace < 0 {
            grace = 0;
        }
        Ok((grace >= 0).then_some(grace))
    }

    async fn targets(&self, cx: &Session, bulk: bool, failures: &mut Vec<anyhow::Error>) -> Result<Vec<Info>> {
        let query = Query {
            args: &self.args,
            files: Some(&self.files),
            selector: &self.selector,
            field_selector: &self.field_selector,
            all_namespaces: self.all_namespaces,
            all: self.all,
            bare_types: false,
        };
        match resolve::wanted(cx, &query).await? {
            resolve::Wanted::Named(infos) => Ok(infos),
            resolve::Wanted::Types(resources) => {
                let mut infos = Vec::new();
                for resource in resources {
                    let path = resolve::list_path(cx, &resource, &query).await?;
                    match cx.remote().await?.list(&path).await {
                        Ok(list) => infos.extend(resolve::items(&resource, list)),
                        Err(error) if bulk && Failure::is_not_found(&error) => {}
                        Err(error) => failures.push(error),
                    }
                }
                Ok(infos)
            }
        }
    }

    fn print(&self, info: &Info, grace: Option<i64>, dry_run: DryRun) {
        if self.output.as_deref() == Some("name") {
            crate::outln!("{}", info.display());
            return;
        }
        let done = if grace == Some(0) { "force deleted" } else { "deleted" };
        let place = match info.namespace.as_deref() {
            Some(namespace) => format!(" from {namespace} namespace"),
            None => String::new(),
        };
        crate::outln!("{} {:?} {done}{place}{}", info.resource.label(), info.name, dry_run.suffix());
    }
}

fn confirmed(infos: &[Info]) -> bool {
    crate::outln!("You are about to delete the following {} resource(s):", infos.len());
    for info in infos {
        crate::outln!("{}", info.display());
    }
    crate::say::out(format_args!("Do you want to continue? (y/N): "));
    let mut answer = String::new();
    let _ = std::io::stdout().flush();
    std::io::stdin().read_line(&mut answer).is_ok() && answer.trim().eq_ignore_ascii_case("y")
}

/// A delete answers with the object, or with a Status that names it.
fn uid_of(answer: &Value) -> Option<String> {
    let object = answer["metadata"]["uid"].as_str();
    object.or(answer["details"]["uid"].as_str()).map(str::to_owned)
}

/// Waits until the object (with this uid) no longer exists. No timeout means a week.
pub(crate) async fn until_gone(remote: &Remote, info: &Info, uid: Option<&str>, timeout: Duration) -> Result<()> {
    let timeout = if timeout.is_zero() { Duration::from_secs(168 * 3600) } else { timeout };
    match tokio::time::timeout(timeout, gone(remote, info, uid)).await {
        Ok(result) => result,
        Err(_) => bail!("timed out waiting for the condition on {}/{}", info.resource.plural, info.name),
    }
}

async fn gone(remote: &Remote, info: &Info, uid: Option<&str>) -> Result<()> {
    let only = format!("metadata.name={}", info.name);
    let path = with_query(&info.collection(), &[("fieldSelector", &only)]);
    loop {
        let list = match remote.get(&path).await {
            Ok(list) => list,
            // Who may delete but not list cannot wait; that is no failure.
            Err(error) if matches!(Failure::reason(&error), Some("Forbidden" | "MethodNotAllowed" | "NotFound")) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let here = list["items"].as_array().into_iter().flatten();
        let same = |object: &Value| uid.is_none_or(|uid| object["metadata"]["uid"] == uid);
        if !here.into_iter().any(same) {
            return Ok(());
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0");
        let mut events = match remote
            .watch(&with_query(&path, &[("watch", "true"), ("resourceVersion", version)]), crate::remote::JSON)
            .await
        {
            Ok(events) => events,
            Err(error) if matches!(Failure::reason(&error), Some("Forbidden" | "MethodNotAllowed")) => return Ok(()),
            Err(error) => return Err(error),
        };
        loop {
            match events.next().await {
                Ok(Some((kind, _))) if kind == "DELETED" => return Ok(()),
                Ok(Some((_, object))) if !same(&object) => return Ok(()),
                Ok(Some(_)) => {}
                // An ended watch is begun anew.
                Ok(None) | Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        delete: Delete,
    }

    #[test]
    fn grace_periods() {
        let cases = [
            ("x po a", Some(None)),
            ("x po a --now", Some(Some(1))),
            ("x po a --force", Some(Some(0))),
            ("x po a --grace-period=0", Some(Some(1))),
            ("x po a --grace-period 0 --force", Some(Some(0))),
            ("x po a --grace-period=-1", Some(None)),
            ("x po a --grace-period=5 --force", None),
            ("x po --all -l a=b", None),
        ];
        for (text, expected) in cases {
            let line = Line::parse_from(text.split(' '));
            assert_eq!(line.delete.grace().ok(), expected, "{text}");
        }
    }
}
