//! `patch`: changes fields by a JSON, merge or strategic merge patch.

use super::targets;
use crate::{
    failure::{Failure, all_or},
    flags::{ChangeFlags, DryRun, Files},
    record::RecordFlag,
    remote::{JSON, JSON_PATCH, MERGE, STRATEGIC, with_query},
    resolve::{Info, Query, files},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use http::Method;
use serde_json::Value;

#[derive(clap::Args, Debug)]
pub(crate) struct Patch {
    #[arg(value_name = "TYPE NAME | TYPE/NAME")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// The patch, in JSON or YAML.
    #[arg(short = 'p', long, allow_hyphen_values = true, default_value = "", hide_default_value = true)]
    patch: String,
    /// A file with the patch.
    #[arg(long, value_name = "FILE", default_value = "", hide_default_value = true)]
    patch_file: String,
    /// json, merge or strategic.
    #[arg(long = "type", value_name = "TYPE", default_value = "strategic")]
    kind: String,
    /// Do not contact the server; work on the files only.
    #[arg(long)]
    local: bool,
    /// Patch this subresource.
    #[arg(long, default_value = "", hide_default_value = true)]
    subresource: String,
    #[command(flatten)]
    record: RecordFlag,
    #[command(flatten)]
    change: ChangeFlags,
}

impl Patch {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let dry_run = self.change.dry_run()?;
        let kind = self.check(dry_run)?;
        let patch = self.content()?;
        let targets = if self.local {
            targets::local(&self.files).await?
        } else if !self.files.filename.is_empty() && self.args.is_empty() {
            // What the server has is not asked for: an object of a file is always said to be patched.
            targets::Targets { infos: files::infos(cx, &self.files).await?, ..Default::default() }
        } else {
            let query = Query { args: &self.args, files: Some(&self.files), ..Query::default() };
            subresource(targets::find(cx, &query).await?, cx, &self.subresource).await
        };
        if targets.infos.is_empty() && targets.failures.is_empty() {
            bail!("no objects passed to patch");
        }
        let mut failures = targets.failures;
        for info in &targets.infos {
            if let Err(error) = self.one(cx, info, kind, &patch, dry_run).await {
                failures.push(error);
            }
        }
        all_or(failures)
    }

    fn check(&self, dry_run: DryRun) -> Result<&'static str> {
        match (self.patch.is_empty(), self.patch_file.is_empty()) {
            (false, false) => bail!("cannot specify --patch and --patch-file together"),
            (true, true) => bail!("must specify --patch or --patch-file containing the contents of the patch"),
            _ => {}
        }
        if self.local && !self.args.is_empty() {
            bail!("cannot specify --local and server resources");
        }
        if self.local && dry_run == DryRun::Server {
            bail!("cannot specify --local and --dry-run=server - did you mean --dry-run=client?");
        }
        match self.kind.to_lowercase().as_str() {
            "json" => Ok(JSON_PATCH),
            "merge" => Ok(MERGE),
            "strategic" | "" => Ok(STRATEGIC),
            _ => bail!("--type must be one of [json merge strategic], not {:?}", self.kind),
        }
    }

    /// The patch as JSON; what looks like JSON is the server's to judge.
    fn content(&self) -> Result<Vec<u8>> {
        let text = if self.patch_file.is_empty() {
            self.patch.clone()
        } else {
            std::fs::read_to_string(&self.patch_file).map_err(|error| {
                anyhow!("unable to read patch file: open {}: {}", self.patch_file, super::targets::go_error(&error))
            })?
        };
        if text.trim_start().starts_with('{') {
            return Ok(text.into_bytes());
        }
        let patch = files::value(&text).map_err(|error| anyhow!("unable to parse {:?}: {error}", self.patch))?;
        Ok(patch.to_string().into_bytes())
    }

    async fn one(&self, cx: &Session, info: &Info, kind: &str, patch: &[u8], dry_run: DryRun) -> Result<()> {
        if self.local || dry_run == DryRun::Client {
            let object = locally(info, kind, patch)?;
            let done = operation(&info.object, &object);
            return targets::told(&self.change, DryRun::None, info, &object, done);
        }
        let remote = cx.remote().await?;
        let path =
            if self.subresource.is_empty() { info.path() } else { format!("{}/{}", info.path(), self.subresource) };
        let path =
            with_query(&path, &[("fieldManager", self.change.manager("kubectl-patch")), ("dryRun", dry_run.query())]);
        let answer = remote.bytes(Method::PATCH, &path, JSON, Some((kind, patch.to_vec()))).await;
        let mut object: Value = serde_json::from_slice(&answer.map_err(|error| unsupported(error, kind, info))?)?;
        let done = operation(&info.object, &object);
        if let Some(cause) = self.record.patch(&object) {
            object = remote.patch(&path, MERGE, &cause).await.unwrap_or(object);
        }
        // kubectl says nothing of dry runs here.
        targets::told(&self.change, DryRun::None, info, &object, done)
    }
}

/// The objects as one of their subresources shows them.
pub(crate) async fn subresource(mut targets: targets::Targets, cx: &Session, name: &str) -> targets::Targets {
    if name.is_empty() {
        return targets;
    }
    for mut info in std::mem::take(&mut targets.infos) {
        let read = match cx.remote().await {
            Ok(remote) => remote.get(&format!("{}/{name}", info.path())).await,
            Err(error) => Err(error),
        };
        match read {
            Ok(object) => {
                info.object = object;
                targets.infos.push(info);
            }
            Err(error) => targets.failures.push(error),
        }
    }
    targets
}

fn operation(old: &Value, new: &Value) -> &'static str {
    if old == new { "patched (no change)" } else { "patched" }
}

fn unsupported(error: anyhow::Error, kind: &str, info: &Info) -> anyhow::Error {
    if Failure::reason(&error) != Some("UnsupportedMediaType") {
        return error;
    }
    let resource = &info.resource;
    anyhow!("{kind} is not supported by {}, Kind={}: {error}", resource.api_version(), resource.kind)
}

/// The patched object, worked out here.
fn locally(info: &Info, kind: &str, patch: &[u8]) -> Result<Value> {
    if kind == JSON_PATCH {
        return Ok(mk8s_api::patch::json_patch(&info.object, patch)?);
    }
    let patch = &serde_json::from_slice(patch)?;
    match kind {
        MERGE => Ok(mk8s_api::patch::merge_patch(info.object.clone(), patch)),
        _ => {
            let resource = &info.resource;
            let schema =
                mk8s_api::schema::schema_of(&resource.group, &resource.version, &resource.kind).ok_or_else(|| {
                    anyhow!(
                        "strategic merge patch is not supported for {}, Kind={} locally, try --type merge",
                        resource.api_version(),
                        resource.kind
                    )
                })?;
            Ok(mk8s_api::patch::strategic::apply(schema, info.object.clone(), patch)?)
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
        patch: Patch,
    }

    #[test]
    fn flags_are_checked() {
        let cases = [
            ("x po a -p {}", Ok(STRATEGIC)),
            ("x po a -p {} --type=JSON", Ok(JSON_PATCH)),
            ("x po a -p {} --type merge", Ok(MERGE)),
            ("x po a -p {} --type=y", Err("--type must be one of [json merge strategic], not \"y\"")),
            ("x po a", Err("must specify --patch or --patch-file containing the contents of the patch")),
            ("x po a -p {} --patch-file=f", Err("cannot specify --patch and --patch-file together")),
            ("x po a -p {} --local", Err("cannot specify --local and server resources")),
        ];
        for (text, expected) in cases {
            let line = Line::parse_from(text.split(' '));
            assert_eq!(
                line.patch.check(DryRun::None).map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{text}"
            );
        }
    }

    #[test]
    fn yaml_patches_are_read() {
        let line = Line::parse_from(["x", "po", "a", "-p", "spec:\n unschedulable: true"]);
        assert_eq!(line.patch.content().unwrap(), br#"{"spec":{"unschedulable":true}}"#);
    }
}
