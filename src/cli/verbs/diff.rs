//! `diff`: what `apply` would change, shown by a program such as diff(1).

use super::apply::make_patch;
use crate::{
    apply::LAST_APPLIED,
    failure::{Failure, tell},
    flags::Files,
    printers::{drop_managed_fields, yaml},
    remote::{APPLY, Remote, with_query},
    resolve::{Info, files},
    session::Session,
};
use anyhow::{Context, Result, anyhow, bail};
use mk8s_api::{meta, select::LabelSelector};
use serde_json::{Value, json};
use std::{path::Path, process::Command};

#[derive(clap::Args, Debug)]
pub(crate) struct Diff {
    #[arg(hide = true)]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Let the server merge and track the fields.
    #[arg(long)]
    server_side: bool,
    /// Take fields from other managers (server side).
    #[arg(long)]
    force_conflicts: bool,
    /// Name of the manager used to track field ownership.
    #[arg(long, value_name = "NAME")]
    field_manager: Option<String>,
    /// Include the managedFields.
    #[arg(long)]
    show_managed_fields: bool,
    /// Do not mask the values of secrets.
    #[arg(long)]
    show_secrets: bool,
    /// Selector (label query): only objects of the files that match.
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Accepted for compatibility: objects to work on at the same time.
    #[arg(long, default_value_t = 1, hide_default_value = true)]
    concurrency: u32,
}

/// An object that keeps changing is shown without a lock at the last attempt.
const ATTEMPTS: u32 = 4;

impl Diff {
    /// Ends with 0 when nothing differs, 1 when something does and 2 when it cannot be known.
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        match self.differs(cx).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(Failure::Exit(1).into()),
            Err(error) => {
                let (message, code) = tell(&error);
                crate::errln!("{message}");
                Err(Failure::Exit(code.saturating_add(1)).into())
            }
        }
    }

    async fn differs(&self, cx: &Session) -> Result<bool> {
        if !self.args.is_empty() {
            bail!("Unexpected args: [{}]\nSee 'kubectl diff -h' for help and examples", self.args.join(" "));
        }
        if self.files.filename.is_empty() {
            bail!("must specify one of -f and -k");
        }
        if self.force_conflicts && !self.server_side {
            bail!("--force-conflicts only works with --server-side");
        }
        let selector = LabelSelector::parse(&self.selector).map_err(|error| anyhow!("{error}"))?;
        let directory =
            |prefix| tempfile::Builder::new().prefix(prefix).tempdir().context("cannot make a temporary directory");
        let (live, merged) = (directory("LIVE-")?, directory("MERGED-")?);
        for document in files::documents(&self.files).await? {
            if !selector.matches(&meta::labels(&document.object)) {
                continue;
            }
            let mut info = files::info(cx, document).await?;
            if !self.server_side {
                without_last_applied(&mut info.object);
            }
            let (now, then) = self.states(cx.remote().await?, &info).await?;
            write(live.path(), &info, now.as_ref())?;
            write(merged.path(), &info, Some(&then))?;
        }
        compare(live.path(), merged.path())
    }

    /// The object as it is and as it would be.
    async fn states(&self, remote: &Remote, info: &Info) -> Result<(Option<Value>, Value)> {
        let mut attempt = 1;
        let (mut now, mut then) = loop {
            let now = match remote.get(&info.path()).await {
                Ok(now) => Some(now),
                Err(error) if Failure::is_not_found(&error) => None,
                Err(error) => return Err(error),
            };
            match self.merged(remote, info, now.as_ref(), attempt < ATTEMPTS).await {
                Err(error) if Failure::is_conflict(&error) && attempt < ATTEMPTS => attempt += 1,
                then => break (now, then?),
            }
        };
        if now.as_ref().is_some_and(|now| now["metadata"]["deletionTimestamp"].is_string()) {
            crate::errln!("Warning: Detected changes to resource {} which is currently being deleted.", info.name);
        }
        if !self.show_managed_fields {
            now.iter_mut().for_each(drop_managed_fields);
            drop_managed_fields(&mut then);
        }
        if !self.show_secrets && info.resource.kind == "Secret" && info.resource.version == "v1" {
            mask(now.as_mut(), &mut then);
        }
        Ok((now, then))
    }

    async fn merged(&self, remote: &Remote, info: &Info, now: Option<&Value>, locked: bool) -> Result<Value> {
        let default = if self.server_side { "kubectl" } else { "kubectl-client-side-apply" };
        let query = [("dryRun", "All"), ("fieldManager", self.field_manager.as_deref().unwrap_or(default))];
        let path = with_query(&info.path(), &query);
        if self.server_side {
            let force = if self.force_conflicts { "true" } else { "" };
            return remote.patch(&with_query(&path, &[("force", force)]), APPLY, &info.object).await;
        }
        let Some(now) = now else {
            return remote.post(&with_query(&info.collection(), &query), &info.object).await;
        };
        let (kind, mut patch) = make_patch(info, now);
        if super::targets::is_empty(&patch) {
            return Ok(now.clone());
        }
        if locked {
            patch["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"].clone();
        }
        remote.patch(&path, kind, &patch).await
    }
}

/// The object as `apply` compares it, but for the annotation it writes.
fn without_last_applied(object: &mut Value) {
    if !object["metadata"]["annotations"].is_object() {
        object["metadata"]["annotations"] = json!({});
    }
    if let Some(annotations) = object["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
}

/// Values of a secret become stars; those that differ still do.
fn mask(mut now: Option<&mut Value>, then: &mut Value) {
    let mut none = serde_json::Map::new();
    let old = now.as_mut().and_then(|now| now.get_mut("data")).and_then(Value::as_object_mut).unwrap_or(&mut none);
    let mut nothing = serde_json::Map::new();
    let new = then.get_mut("data").and_then(Value::as_object_mut).unwrap_or(&mut nothing);
    for (key, before) in old.iter_mut() {
        let (mut masked, mut after) = ("***", "***");
        if let Some(value) = new.get_mut(key) {
            if value != before {
                (masked, after) = ("*** (before)", "*** (after)");
            }
            *value = after.into();
        }
        *before = masked.into();
    }
    for (_, value) in new.iter_mut().filter(|(key, _)| !old.contains_key(*key)) {
        *value = "***".into();
    }
}

/// One file an object, named after its type and place.
fn write(directory: &Path, info: &Info, object: Option<&Value>) -> Result<()> {
    let resource = &info.resource;
    let group = if resource.group.is_empty() { String::new() } else { format!("{}.", resource.group) };
    let namespace = info.namespace.as_deref().unwrap_or_default();
    let name = format!("{group}{}.{}.{namespace}.{}", resource.version, resource.kind, info.name);
    let text = object.map(yaml::to_yaml).unwrap_or_default();
    std::fs::write(directory.join(&name), text).with_context(|| format!("cannot write {name}"))
}

/// The program and the arguments before the directories.
fn program(external: Option<&str>) -> (String, Vec<String>, Vec<String>) {
    let Some(line) = external.filter(|line| !line.is_empty()) else {
        return ("diff".to_owned(), vec!["-u".to_owned(), "-N".to_owned()], Vec::new());
    };
    let mut words = line.split(' ').map(str::to_owned);
    let name = words.next().unwrap_or_default();
    let is_plain =
        |word: &String| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '=');
    (name, Vec::new(), words.filter(is_plain).collect())
}

fn compare(live: &Path, merged: &Path) -> Result<bool> {
    let external = std::env::var("KUBECTL_EXTERNAL_DIFF").ok();
    let (name, before, after) = program(external.as_deref());
    let status = Command::new(&name).args(before).arg(live).arg(merged).args(after).status();
    match status.map(|status| status.code()) {
        Ok(Some(0)) => Ok(false),
        Ok(Some(1)) => Ok(true),
        Ok(Some(code)) => bail!("failed to run {name:?}: exit status {code}"),
        Ok(None) => bail!("failed to run {name:?}: it was killed"),
        Err(_) => bail!("failed to run {name:?}: executable file not found in $PATH"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let mut now = json!({"data": {"same": "a", "other": "b", "gone": "c"}});
        let mut then = json!({"data": {"same": "a", "other": "x", "new": "d"}});
        mask(Some(&mut now), &mut then);
        assert_eq!(now, json!({"data": {"same": "***", "other": "*** (before)", "gone": "***"}}));
        assert_eq!(then, json!({"data": {"same": "***", "other": "*** (after)", "new": "***"}}));
        let mut then = json!({"data": {"new": "d"}});
        mask(None, &mut then);
        assert_eq!(then, json!({"data": {"new": "***"}}));
    }

    #[test]
    fn the_program_may_be_another() {
        let words = |list: &[&str]| list.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(program(None), ("diff".to_owned(), words(&["-u", "-N"]), words(&[])));
        assert_eq!(program(Some("colordiff -N -u /etc;x")), ("colordiff".to_owned(), words(&[]), words(&["-N", "-u"])));
    }
}
