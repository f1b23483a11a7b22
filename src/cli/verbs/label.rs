//! `label`: sets, replaces and removes labels.

use super::{
    pairs::{self, Changes},
    targets::{self, Targets},
};
use crate::{
    failure::all_or,
    flags::{ChangeFlags, DryRun, Files},
    record::RecordFlag,
    remote::{MERGE, with_query},
    resolve::{Info, Query},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use mk8s_api::names;
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
pub(crate) struct Label {
    #[command(flatten)]
    keys: KeyFlags,
}

/// What `label` and `annotate` have in common.
#[derive(clap::Args, Debug)]
pub(crate) struct KeyFlags {
    #[arg(value_name = "TYPE NAME KEY=VALUE KEY-")]
    pub(crate) args: Vec<String>,
    #[command(flatten)]
    pub(crate) files: Files,
    /// Replace values that are there already.
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Display what the objects have.
    #[arg(long)]
    pub(crate) list: bool,
    /// Do not contact the server; work on the files only.
    #[arg(long)]
    pub(crate) local: bool,
    /// Selector (field query).
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) field_selector: String,
    /// All objects of the types in the namespace.
    #[arg(long)]
    pub(crate) all: bool,
    /// In all namespaces.
    #[arg(short = 'A', long)]
    pub(crate) all_namespaces: bool,
    /// Only succeed when this is the object's resource version.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) resource_version: String,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    pub(crate) selector: String,
    #[command(flatten)]
    pub(crate) record: RecordFlag,
    #[command(flatten)]
    pub(crate) change: ChangeFlags,
}

impl KeyFlags {
    /// What kubectl refuses before it asks the server. `example` is the file its messages name.
    pub(crate) fn check(&self, objects: &[String], dry_run: DryRun, example: &str) -> Result<()> {
        if self.list && self.change.output.output.is_some() {
            bail!("--list and --output may not be specified together");
        }
        if self.all && !self.selector.is_empty() {
            bail!("cannot set --all and --selector at the same time");
        }
        if self.all && !self.field_selector.is_empty() {
            bail!("cannot set --all and --field-selector at the same time");
        }
        let no_files = self.files.filename.is_empty();
        if !self.local {
            if objects.is_empty() && no_files {
                bail!("one or more resources must be specified as <resource> <name> or <resource>/<name>");
            }
            return Ok(());
        }
        if dry_run == DryRun::Server {
            bail!("cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
        }
        if !objects.is_empty() {
            bail!(
                "can only use local files by -f {example}.yaml or --filename={example}.json when --local=true is set"
            );
        }
        if no_files {
            bail!("one or more files must be specified as -f {example}.yaml or --filename={example}.json");
        }
        Ok(())
    }

    pub(crate) async fn targets(&self, cx: &Session, objects: &[String]) -> Result<Targets> {
        let targets = if self.local {
            targets::local(&self.files).await?
        } else {
            let query = Query {
                args: objects,
                files: Some(&self.files),
                selector: &self.selector,
                field_selector: &self.field_selector,
                all_namespaces: self.all_namespaces,
                all: self.all,
                bare_types: false,
            };
            targets::find(cx, &query).await?
        };
        if !targets.single && !self.resource_version.is_empty() {
            bail!("--resource-version may only be used with a single resource");
        }
        Ok(targets)
    }

    /// Whether the change stays on this side.
    pub(crate) fn stays_here(&self, dry_run: DryRun) -> bool {
        dry_run == DryRun::Client || self.local || self.list
    }

    /// The merge patch of a change; a wanted resource version is always part of it.
    pub(crate) fn patch(&self, old: &Value, new: &Value) -> Value {
        let mut patch = targets::merge_between(old, new);
        if !self.resource_version.is_empty() {
            patch["metadata"]["resourceVersion"] = self.resource_version.clone().into();
        }
        patch
    }

    pub(crate) async fn send(
        &self,
        cx: &Session,
        info: &Info,
        patch: &Value,
        manager: &str,
        dry_run: DryRun,
    ) -> Result<Value> {
        let path =
            with_query(&info.path(), &[("fieldManager", self.change.manager(manager)), ("dryRun", dry_run.query())]);
        cx.remote().await?.patch(&path, MERGE, patch).await
    }
}

/// Prints the entries of `--list`.
pub(crate) fn list(info: &Info, single: bool, what: &str, map: &Value) {
    let indent = if single { "" } else { " " };
    if !single {
        crate::outln!("Listing {what} for {}.{}/{}:", info.resource.kind, info.resource.group, info.name);
    }
    for (key, value) in map.as_object().into_iter().flatten() {
        crate::outln!("{indent}{key}={}", value.as_str().unwrap_or_default());
    }
}

/// Sets and removes keys of `metadata.FIELD`; says whether something was added and whether something was removed.
pub(crate) fn change(object: &mut Value, field: &str, changes: &Changes) -> (bool, bool) {
    if !object["metadata"][field].is_object() {
        if changes.set.is_empty() {
            return (false, false);
        }
        object["metadata"][field] = json!({});
    }
    let mut touched = (false, false);
    let Some(map) = object["metadata"][field].as_object_mut() else { return touched };
    for (key, value) in &changes.set {
        touched.0 |= map.insert(key.clone(), value.clone().into()).is_none_or(|old| old != value.as_str());
    }
    for key in &changes.remove {
        touched.1 |= map.remove(key).is_some();
    }
    touched
}

impl Label {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let keys = &self.keys;
        let dry_run = keys.change.dry_run()?;
        let (objects, pairs) = pairs::split(&keys.args, "label")?;
        let changes = parse(&pairs)?;
        keys.check(&objects, dry_run, "pod")?;
        if changes.is_empty() && !keys.list {
            bail!("at least one label update is required");
        }
        let targets = keys.targets(cx, &objects).await?;
        let mut failures = targets.failures;
        for info in &targets.infos {
            if let Err(error) = self.one(cx, info, &changes, dry_run, targets.single).await {
                failures.push(error);
            }
        }
        all_or(failures)
    }

    async fn one(&self, cx: &Session, info: &Info, changes: &Changes, dry_run: DryRun, single: bool) -> Result<()> {
        let keys = &self.keys;
        let mut object = info.object.clone();
        if !keys.stays_here(dry_run) {
            for key in changes.remove.iter().filter(|key| info.object["metadata"]["labels"].get(key.as_str()).is_none())
            {
                crate::outln!("label {key:?} not found.");
            }
        }
        if !keys.overwrite {
            no_overwrite(&info.object, changes)?;
        }
        let touched = change(&mut object, "labels", changes);
        if keys.list {
            list(info, single, "labels", &object["metadata"]["labels"]);
            return Ok(());
        }
        if !keys.stays_here(dry_run) {
            keys.record.apply(&mut object);
            if touched != (false, false) {
                keys.send(cx, info, &keys.patch(&info.object, &object), "kubectl-label", dry_run).await?;
            }
        }
        targets::told(&keys.change, dry_run, info, &object, done(touched))
    }
}

fn done(touched: (bool, bool)) -> &'static str {
    match touched {
        (true, true) => "modified",
        (true, false) => "labeled",
        (false, true) => "unlabeled",
        (false, false) => "not labeled",
    }
}

fn no_overwrite(object: &Value, changes: &Changes) -> Result<()> {
    let clashes = changes.set.iter().filter_map(|(key, value)| {
        let now = object["metadata"]["labels"][key].as_str().filter(|now| now != value)?;
        Some(anyhow!("'{key}' already has a value ({now}), and --overwrite is false"))
    });
    all_or(clashes.collect())
}

fn parse(pairs: &[String]) -> Result<Changes> {
    let mut changes = Changes::default();
    for pair in pairs {
        match pair.split_once('=') {
            Some((_, value)) if value.contains('=') => bail!("invalid label spec: {pair}"),
            Some((key, value)) => {
                let wrong = names::label_value(value);
                if !wrong.is_empty() {
                    bail!("invalid label value: {pair:?}: {}", wrong.join(";"));
                }
                changes.set(key, value);
            }
            None => changes.remove.push(pair.trim_end_matches('-').to_owned()),
        }
    }
    if changes.remove.iter().any(|key| changes.sets(key)) {
        bail!("can not both modify and remove a label in the same command");
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(text: &str) -> Result<Changes> {
        let pairs: Vec<String> = text.split(' ').map(str::to_owned).collect();
        parse(&pairs)
    }

    #[test]
    fn labels_change_and_say_so() {
        let cases = [
            ("a=2", "labeled", json!({"a": "2", "b": "2"})),
            ("c=3 b-", "modified", json!({"a": "1", "c": "3"})),
            ("b-", "unlabeled", json!({"a": "1"})),
            ("a=1 z-", "not labeled", json!({"a": "1", "b": "2"})),
        ];
        for (text, expected, labels) in cases {
            let mut object = json!({"metadata": {"labels": {"a": "1", "b": "2"}}});
            let touched = change(&mut object, "labels", &changes(text).unwrap());
            assert_eq!((done(touched), &object["metadata"]["labels"]), (expected, &labels), "{text}");
        }
    }

    #[test]
    fn wrong_labels_are_refused() {
        let cases = [
            ("a=b=c", "invalid label spec: a=b=c"),
            ("a=1 a-", "can not both modify and remove a label in the same command"),
        ];
        for (text, expected) in cases {
            assert_eq!(changes(text).unwrap_err().to_string(), expected);
        }
        let object = json!({"metadata": {"labels": {"a": "1"}}});
        let message = no_overwrite(&object, &changes("a=2").unwrap()).unwrap_err().to_string();
        assert_eq!(message, "'a' already has a value (1), and --overwrite is false");
    }
}
