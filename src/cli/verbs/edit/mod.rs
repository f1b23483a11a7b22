//! `edit`: objects in the user's editor, and a patch of what was changed there.
//!
//! ```text
//! fetch -> page -> editor -> parse -> patch -> done
//!           ^                  |        |
//!           +---- reasons -----+--------+ (invalid)
//! ```

mod editor;
mod page;

use super::{
    patch::subresource,
    targets::{self, between},
};
use crate::{
    apply::set_last_applied,
    failure::Failure,
    flags::{DryRun, Files, OutputFlag, ValidateFlag},
    printers::{self, Output, drop_managed_fields},
    record::RecordFlag,
    remote::with_query,
    resolve::{Info, Query, files},
    session::Session,
};
use anyhow::{Result, bail};
use page::Reason;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args, Debug)]
pub(crate) struct Edit {
    #[arg(value_name = "TYPE NAME | TYPE/NAME")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    output: OutputFlag,
    /// Print the patch when something was changed.
    #[arg(long)]
    output_patch: bool,
    /// Save the configuration in the object's annotation, for later applies.
    #[arg(long)]
    save_config: bool,
    /// Name of the manager used to track field ownership.
    #[arg(long, value_name = "NAME", default_value = "kubectl-edit", hide_default_value = true)]
    field_manager: String,
    /// Edit this subresource.
    #[arg(long, default_value = "", hide_default_value = true)]
    subresource: String,
    /// End lines as Windows does.
    #[arg(long)]
    windows_line_endings: bool,
    #[command(flatten)]
    validate: ValidateFlag,
    #[command(flatten)]
    record: RecordFlag,
}

/// What became of the patches of one pass.
#[derive(Debug, Default)]
struct Outcome {
    invalid: Vec<Reason>,
    missing: usize,
    failed: usize,
}

impl Edit {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        let output = self.output.parse()?;
        let query = Query { args: &self.args, files: Some(&self.files), bare_types: true, ..Query::default() };
        let found = targets::find(cx, &query).await?;
        let mut infos = subresource(found, cx, &self.subresource).await.whole()?;
        if infos.is_empty() {
            bail!("edit cancelled, no objects found");
        }
        infos.iter_mut().for_each(|info| drop_managed_fields(&mut info.object));
        let json = matches!(output, Output::Json);
        self.session(cx, &infos, json).await
    }

    async fn session(&self, cx: &Session, infos: &[Info], json: bool) -> Result<()> {
        let editor = editor::Editor::of_environment();
        let original = content(infos, json);
        let mut reasons: Vec<Reason> = Vec::new();
        let mut last: Option<(String, PathBuf)> = None;
        loop {
            let body = last.as_ref().map_or_else(|| original.clone(), |(edited, _)| page::stripped(edited));
            let mut text = if json { body } else { page::header(&reasons) + &body };
            if self.windows_line_endings {
                text = text.replace('\n', "\r\n");
            }
            let previous = last.as_ref().map(|(_, file)| file.as_path());
            let (edited, file) =
                editor.edit(&text, if json { ".json" } else { ".yaml" }).map_err(|error| preserved(error, previous))?;
            if let Some((before, old)) = &last {
                if page::same(before, &edited) {
                    return Err(preserved(
                        anyhow::anyhow!("Edit cancelled, no valid changes were saved."),
                        Some(&file),
                    ));
                }
                remove(old);
            }
            if let Some(wrong) = self.wrong(&edited)? {
                let what = infos.first().map(shown).unwrap_or_default();
                crate::errln!("error: {what} is invalid");
                let cause = format!("<nil>: Invalid value: \"The edited file failed validation\": {wrong}");
                reasons = vec![Reason { head: format!("{what} was not valid"), causes: vec![cause] }];
                last = Some((edited, file));
                continue;
            }
            if page::same(&original, &edited) {
                remove(&file);
                crate::errln!("Edit cancelled, no changes made.");
                return Ok(());
            }
            if !page::has_content(&edited) {
                remove(&file);
                crate::errln!("Edit cancelled, saved file was empty.");
                return Ok(());
            }
            let documents = match files::parse(&edited, "edited-file") {
                Ok(documents) => documents,
                Err(error) => {
                    reasons = vec![Reason {
                        head: format!("The edited file had a syntax error: {error}"),
                        causes: Vec::new(),
                    }];
                    last = Some((edited, file));
                    continue;
                }
            };
            let outcome = self.send(cx, infos, documents).await.map_err(|error| preserved(error, Some(&file)))?;
            if outcome.failed > 0 {
                crate::errln!("You can run `kubectl replace -f {}` to try this update again.", file.display());
                return Err(Failure::Exit(1).into());
            }
            if outcome.missing > 0 {
                crate::errln!(
                    "The edits you made on deleted resources have been saved to {:?}",
                    file.display().to_string()
                );
                return Err(Failure::Exit(1).into());
            }
            if outcome.invalid.is_empty() {
                remove(&file);
                return Ok(());
            }
            reasons = outcome.invalid;
            last = Some((edited, file));
        }
    }

    /// Why an edited page cannot be objects at all.
    fn wrong(&self, edited: &str) -> Result<Option<String>> {
        if self.validate.query()? == "Ignore" {
            return Ok(None);
        }
        Ok(match files::value(edited) {
            Err(error) => Some(error.to_string()),
            Ok(Value::Object(object)) => {
                let unset = ["apiVersion", "kind"].into_iter().filter(|field| !object.contains_key(*field));
                let unset: Vec<String> = unset.map(|field| format!("{field} not set")).collect();
                match unset.as_slice() {
                    [] => None,
                    [one] => Some(one.clone()),
                    many => Some(format!("[{}]", many.join(", "))),
                }
            }
            Ok(_) => Some("invalid object to validate".to_owned()),
        })
    }

    async fn send(&self, cx: &Session, infos: &[Info], documents: Vec<files::Document>) -> Result<Outcome> {
        let namespace = cx.namespace().await?;
        let mut outcome = Outcome::default();
        for document in documents {
            let mut edited = document.object;
            let uid = &edited["metadata"]["uid"];
            let Some(info) = infos.iter().find(|info| info.object["metadata"]["uid"] == *uid) else {
                bail!("no original object found for {}", printers::name_of(&edited));
            };
            same_namespace(info, &edited, &namespace)?;
            if self.save_config {
                set_last_applied(&mut edited);
            }
            self.record.apply(&mut edited);
            self.one(cx, info, &edited, &mut outcome).await?;
        }
        Ok(outcome)
    }

    async fn one(&self, cx: &Session, info: &Info, edited: &Value, outcome: &mut Outcome) -> Result<()> {
        if info.object == *edited {
            return self.tell(info, edited, "skipped");
        }
        let (kind, patch) = between(&info.resource, &info.object, edited);
        if ["/apiVersion", "/kind", "/metadata/name"].iter().any(|path| patch.pointer(path).is_some()) {
            bail!("At least one of apiVersion, kind and name was changed");
        }
        if self.output_patch {
            crate::outln!("Patch: {patch}");
        }
        let path =
            if self.subresource.is_empty() { info.path() } else { format!("{}/{}", info.path(), self.subresource) };
        let path =
            with_query(&path, &[("fieldManager", &self.field_manager), ("fieldValidation", self.validate.query()?)]);
        match cx.remote().await?.patch(&path, kind, &patch).await {
            Ok(object) => self.tell(info, &object, "edited"),
            Err(error) => {
                crate::errln!("{}", outcome.note(info, &error));
                Ok(())
            }
        }
    }

    fn tell(&self, info: &Info, object: &Value, done: &str) -> Result<()> {
        let flags = crate::flags::ChangeFlags { output: self.output.clone(), ..Default::default() };
        targets::told(&flags, DryRun::None, info, object, done)
    }
}

impl Outcome {
    /// Remembers a failure; gives the line to print.
    fn note(&mut self, info: &Info, error: &anyhow::Error) -> String {
        let what = shown(info);
        match Failure::reason(error) {
            Some("Invalid") => {
                self.invalid.push(Reason { head: format!("{what} was not valid"), causes: causes(error) });
                format!("error: {what} is invalid")
            }
            Some("NotFound") => {
                self.missing += 1;
                format!("error: {what} could not be found on the server")
            }
            _ => {
                self.failed += 1;
                format!("error: {what} could not be patched: {error:#}")
            }
        }
    }
}

/// `deployments.apps "web"`
fn shown(info: &Info) -> String {
    format!("{} {:?}", info.resource.group_resource(), info.name)
}

fn causes(error: &anyhow::Error) -> Vec<String> {
    let Some(Failure::Api(status)) = error.downcast_ref::<Failure>() else { return Vec::new() };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let causes = status["details"]["causes"].as_array().into_iter().flatten();
    causes.map(|cause| format!("{}: {}", text(&cause["field"]), text(&cause["message"]))).collect()
}

fn content(infos: &[Info], json: bool) -> String {
    let object = match infos {
        [one] => one.object.clone(),
        many => {
            let items: Vec<Value> = many.iter().map(|info| info.object.clone()).collect();
            json!({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {}})
        }
    };
    if json { printers::to_json(&object) } else { printers::yaml::to_yaml(&object) }
}

fn same_namespace(info: &Info, edited: &Value, namespace: &str) -> Result<()> {
    let given = edited["metadata"]["namespace"].as_str().unwrap_or_default();
    if info.resource.namespaced && !given.is_empty() && given != namespace {
        bail!(
            "the namespace from the provided object {given:?} does not match the namespace {namespace:?}. You must pass '--namespace={given}' to perform this operation."
        );
    }
    Ok(())
}

/// A failed edit does not lose the user's work.
fn preserved(error: anyhow::Error, file: Option<&Path>) -> anyhow::Error {
    if let Some(file) = file.filter(|file| file.exists()) {
        crate::errln!("A copy of your changes has been stored to {:?}", file.display().to_string());
    }
    error
}

fn remove(file: &Path) {
    // A leftover in the temporary directory harms nobody.
    let _ = std::fs::remove_file(file);
}
