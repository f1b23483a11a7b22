//! `exec`: a command in a container.

use super::streams::{self, Redraw, Wishes};
use crate::{
    flags::{Files, duration},
    remote::with_query,
    resolve::{self, Info, Query, pods},
    session::Session,
};
use anyhow::{Result, bail};
use std::time::Duration;

#[derive(clap::Args, Debug)]
pub(crate) struct Exec {
    #[arg(value_name = "POD | TYPE/NAME")]
    target: Vec<String>,
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// The container; the first one when left out.
    #[arg(short = 'c', long)]
    container: Option<String>,
    #[command(flatten)]
    files: Files,
    /// Pass stdin to the container.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Stdin is a TTY.
    #[arg(short = 't', long)]
    tty: bool,
    /// Only print output from the remote session.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// How long to wait until at least one pod is there.
    #[arg(long, value_name = "DURATION", default_value = pods::RUNNING_TIMEOUT, value_parser = duration)]
    pod_running_timeout: Duration,
}

impl Exec {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let from_file = !self.files.filename.is_empty();
        if self.command.is_empty() && self.target.len() + usize::from(from_file) > 1 {
            bail!(
                "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead\nSee 'kubectl exec -h' for help and examples"
            );
        }
        let timeout = self.pod_running_timeout;
        if self.target.is_empty() && !from_file {
            bail!("pod, type/name or --filename must be specified");
        }
        if self.command.is_empty() {
            bail!("you must specify at least one command for the container");
        }
        let object = match self.target.first() {
            Some(target) => pods::named(cx, target).await?,
            None => resolve::one(cx, &Query { files: Some(&self.files), ..Query::default() }).await?,
        };
        let pod = pods::behind(cx, object, timeout).await?;
        let container = container(&pod, self.container.as_deref(), self.quiet)?;
        let wishes = Wishes { stdin: self.stdin, tty: self.tty, quiet: self.quiet }.checked();
        let path = path(&pod, &container, &self.command, wishes);
        streams::join(cx.remote().await?, &path, wishes, Redraw::No, streams::stdin()).await
    }
}

/// The container of a pod in which something can be executed.
pub(crate) fn container(pod: &Info, asked: Option<&str>, quiet: bool) -> Result<String> {
    let phase = pod.object["status"]["phase"].as_str().unwrap_or_default();
    if matches!(phase, "Succeeded" | "Failed") {
        bail!("cannot exec into a container in a completed pod; current phase is {phase}");
    }
    streams::container_of(&pod.object, asked, quiet)
}

/// The path at which a command is executed.
pub(crate) fn path(pod: &Info, container: &str, command: &[String], wishes: Wishes) -> String {
    let path = wishes.query(&format!("{}/exec", pod.path()), container);
    command.iter().fold(path, |path, word| {
        // An empty word is a word, too.
        if word.is_empty() { format!("{path}&command=") } else { with_query(&path, &[("command", word)]) }
    })
}
