//! `set`: one field of existing objects. A subcommand says how an object changes; what is the same for all is here.

mod containers;
mod env;
mod image;
mod resolve_env;
mod resources;
mod selector;
mod service_account;
mod subject;
mod typed;

use super::targets::{self, between, is_empty};
use crate::{
    failure::all_or,
    flags::{ChangeFlags, DryRun, Files},
    printers,
    remote::with_query,
    resolve::{Info, Query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Set {
    #[command(subcommand)]
    field: Field,
}

#[derive(clap::Subcommand, Debug)]
enum Field {
    /// Update the image of a pod template
    Image(image::Image),
    /// Update environment variables on a pod template
    Env(env::Env),
    /// Update resource requests/limits on objects with pod templates
    Resources(resources::Resources),
    /// Update the service account of a resource
    #[command(name = "serviceaccount", alias = "sa")]
    ServiceAccount(service_account::ServiceAccount),
    /// Set the selector on a resource
    Selector(selector::Selector),
    /// Update the user, group, or service account in a role binding or cluster role binding
    Subject(subject::Subject),
}

impl Set {
    /// `--user` means a subject here, not a kubeconfig user.
    pub(crate) fn take_users(&mut self, users: &mut Vec<String>) {
        if let Field::Subject(subject) = &mut self.field {
            subject.users = std::mem::take(users);
        }
    }

    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        match &self.field {
            Field::Image(image) => image.run(cx).await,
            Field::Env(env) => env.run(cx).await,
            Field::Resources(resources) => resources.run(cx).await,
            Field::ServiceAccount(account) => account.run(cx).await,
            Field::Selector(selector) => selector.run(cx).await,
            Field::Subject(subject) => subject.run(cx).await,
        }
    }
}

/// The flags of every subcommand.
#[derive(clap::Args, Debug)]
struct SetFlags {
    #[command(flatten)]
    files: Files,
    /// All objects of the types in the namespace.
    #[arg(long)]
    all: bool,
    /// Do not contact the server; work on the files only.
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    change: ChangeFlags,
}

const ALL_AND_SELECTOR: &str = "cannot set --all and --selector at the same time";
const LOCAL_AND_SERVER: &str = "cannot specify --local and --dry-run=server - did you mean --dry-run=client?";
const NO_OBJECTS: &str = "one or more resources must be specified as <resource> <name> or <resource>/<name>";

impl SetFlags {
    fn check_local(&self, dry_run: DryRun) -> Result<()> {
        if self.local && dry_run == DryRun::Server {
            bail!(LOCAL_AND_SERVER);
        }
        Ok(())
    }

    async fn infos(&self, cx: &Session, args: &[String], selector: &str) -> Result<Vec<Info>> {
        if self.local {
            targets::refuse_local(args)?;
            let mut infos = targets::local(&self.files).await?.whole()?;
            infos.iter_mut().for_each(|info| typed::complete(&mut info.object));
            return Ok(infos);
        }
        let query = Query { args, files: Some(&self.files), selector, all: self.all, ..Query::default() };
        targets::find(cx, &query).await?.whole()
    }

    /// Changes objects with `mutate`; those it leaves as they are are passed over. `failed` begins the message about a
    /// patch the server refuses.
    async fn change(
        &self,
        cx: &Session,
        infos: &[Info],
        done: &str,
        failed: &str,
        mut mutate: impl FnMut(&Info, &mut Value) -> Result<()>,
    ) -> Vec<anyhow::Error> {
        let mut failures = Vec::new();
        for info in infos {
            let mut object = info.object.clone();
            if let Err(error) = mutate(info, &mut object) {
                failures.push(anyhow!("error: {}/{} {error:#}\n", info.resource.plural, info.name));
                continue;
            }
            failures.extend(self.send(cx, info, object, done, failed).await.err());
        }
        failures
    }

    async fn send(&self, cx: &Session, info: &Info, object: Value, done: &str, failed: &str) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        let (kind, patch) = between(&info.resource, &info.object, &object);
        // A service account is told of also when it was there already.
        if is_empty(&patch) && done != service_account::DONE {
            return Ok(());
        }
        if self.local || dry_run == DryRun::Client {
            return printers::changed(&self.change, dry_run, info, &object, done);
        }
        let path = with_query(
            &info.path(),
            &[("fieldManager", self.change.manager("kubectl-set")), ("dryRun", dry_run.query())],
        );
        let patched = cx.remote().await?.patch(&path, kind, &patch).await;
        let object = patched.map_err(|error| if failed.is_empty() { error } else { anyhow!("{failed} {error:#}") })?;
        printers::changed(&self.change, dry_run, info, &object, done)
    }
}

/// The pod spec an object is made of.
fn pod_spec<'a>(info: &Info, object: &'a mut Value) -> Result<&'a mut Value> {
    let path = match info.resource.kind.as_str() {
        "Pod" => "/spec",
        "ReplicationController" | "Deployment" | "DaemonSet" | "ReplicaSet" | "StatefulSet" | "Job" => {
            "/spec/template/spec"
        }
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        kind => bail!("the object is not a pod or does not have a pod template: *{}.{kind}", info.resource.version),
    };
    if info.resource.kind == "ReplicationController" && object.pointer(path).is_none() {
        object["spec"]["template"] = json!({"spec": {}});
    }
    object.pointer_mut(path).ok_or_else(|| anyhow!("the object has no pod spec"))
}

/// Several complaints about the flags at once.
fn complain(complaints: Vec<&str>) -> Result<()> {
    all_or(complaints.into_iter().map(|text| anyhow!("{text}")).collect())
}

#[cfg(test)]
mod tests;
