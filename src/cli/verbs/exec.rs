//! `exec`: a command in a container.

use super::streams::{self, Wishes};
use crate::{resolve, session::Session};
use anyhow::{Result, bail};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

#[derive(clap::Args, Debug)]
pub(crate) struct Exec {
    #[arg(value_name = "POD | TYPE/NAME")]
    target: Option<String>,
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
    /// The container; the first one when left out.
    #[arg(short = 'c', long)]
    container: Option<String>,
    /// Pass stdin to the container.
    #[arg(short = 'i', long)]
    stdin: bool,
    /// Stdin is a TTY.
    #[arg(short = 't', long)]
    tty: bool,
    /// Only print output from the remote session.
    #[arg(short = 'q', long)]
    quiet: bool,
    /// How long to wait until a pod is running; accepted for compatibility.
    #[arg(long, value_name = "DURATION")]
    pod_running_timeout: Option<String>,
}

impl Exec {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let Some(target) = &self.target else { bail!("pod, type/name or --filename must be specified") };
        if self.command.is_empty() {
            bail!("you must specify at least one command for the container");
        }
        let pod = resolve::pod_of(cx, target).await?;
        let phase = pod.object["status"]["phase"].as_str().unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            bail!("cannot exec into a container in a completed pod; current phase is {phase}");
        }
        let container = streams::container_of(&pod.object, self.container.as_deref(), self.quiet)?;
        let wishes = Wishes { stdin: self.stdin, tty: self.tty, quiet: self.quiet }.checked();
        let api: Api<Pod> = Api::namespaced(cx.remote().await?.client.clone(), pod.namespace.as_deref().unwrap_or("default"));
        let process = api.exec(&pod.name, &self.command, &wishes.params(&container)).await.map_err(streams::from_kube)?;
        streams::join(process, wishes).await
    }
}
