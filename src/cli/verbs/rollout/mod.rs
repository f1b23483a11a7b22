//! `rollout`: the present and the past of deployments, daemon sets and stateful sets.

mod change;
mod history;
mod revisions;
mod status;
mod undo;

use super::targets::{self, Targets};
use crate::{
    flags::Files,
    resolve::{Info, Query},
    session::Session,
};
use anyhow::{Result, bail};

#[derive(clap::Args, Debug)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// View rollout history
    History(history::History),
    /// Mark the provided resource as paused
    Pause(change::Pause),
    /// Restart a resource
    Restart(change::Restart),
    /// Resume a paused resource
    Resume(change::Resume),
    /// Show the status of the rollout
    Status(status::Status),
    /// Undo a previous rollout
    Undo(undo::Undo),
}

impl Rollout {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        match &self.action {
            Action::History(history) => history.run(cx).await,
            Action::Pause(pause) => pause.run(cx).await,
            Action::Restart(restart) => restart.run(cx).await,
            Action::Resume(resume) => resume.run(cx).await,
            Action::Status(status) => status.run(cx).await,
            Action::Undo(undo) => undo.run(cx).await,
        }
    }
}

/// Which workloads.
#[derive(clap::Args, Debug)]
struct Workloads {
    #[arg(value_name = "TYPE NAME | TYPE/NAME")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
}

impl Workloads {
    fn check(&self) -> Result<()> {
        if self.args.is_empty() && self.files.filename.is_empty() {
            bail!("required resource not specified");
        }
        Ok(())
    }

    async fn find(&self, cx: &Session) -> Result<Targets> {
        let query = Query {
            args: &self.args,
            files: Some(&self.files),
            selector: &self.selector,
            bare_types: true,
            ..Query::default()
        };
        targets::find(cx, &query).await
    }
}

async fn tell_nothing_found(cx: &Session) -> Result<()> {
    crate::errln!("No resources found in {} namespace.", cx.namespace().await?);
    Ok(())
}

/// The kinds that have a history.
fn has_history(info: &Info) -> bool {
    info.resource.group == "apps" && matches!(info.resource.kind.as_str(), "Deployment" | "DaemonSet" | "StatefulSet")
}

/// The kinds that make pods and have no history.
fn makes_pods(info: &Info) -> bool {
    let resource = &info.resource;
    matches!(
        (resource.group.as_str(), resource.kind.as_str()),
        ("", "Pod" | "ReplicationController") | ("apps", "ReplicaSet") | ("batch", "Job" | "CronJob")
    )
}

/// `Deployment.apps`, as kinds are written in messages.
fn group_kind(info: &Info) -> String {
    let resource = &info.resource;
    if resource.group.is_empty() { resource.kind.clone() } else { format!("{}.{}", resource.kind, resource.group) }
}
