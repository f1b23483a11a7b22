//! The objects a changing verb works on, from the server or, with `--local`, only from files; and the patch between two
//! states of one.

use crate::{
    apply::three_way,
    failure::{Failure, all_or},
    flags::{ChangeFlags, DryRun, Files},
    printers::{self, Output},
    remote::{MERGE, STRATEGIC},
    resolve::{self, Info, Query, Wanted, discovery::Resource, files},
    session::Session,
};
use anyhow::{Result, bail};
use serde_json::Value;

/// Objects, and what went wrong with others; the work goes on with those that were found.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    pub(crate) infos: Vec<Info>,
    pub(crate) failures: Vec<anyhow::Error>,
    /// Whether the arguments can only mean one object.
    pub(crate) single: bool,
}

impl Targets {
    /// All of them, or why not.
    pub(crate) fn whole(self) -> Result<Vec<Info>> {
        all_or(self.failures)?;
        Ok(self.infos)
    }
}

/// The objects of a query as the server has them now.
pub(crate) async fn find(cx: &Session, query: &Query<'_>) -> Result<Targets> {
    let mut targets = Targets::default();
    match resolve::wanted(cx, query).await? {
        Wanted::Named(infos) => {
            targets.single = infos.len() == 1;
            for mut info in infos {
                match latest(cx, &info).await {
                    Ok(object) => {
                        info.object = object;
                        targets.infos.push(info);
                    }
                    Err(error) => targets.failures.push(error),
                }
            }
        }
        Wanted::Types(resources) => {
            let remote = cx.remote().await?;
            for resource in resources {
                match remote.list(&resolve::list_path(cx, &resource, query).await?).await {
                    Ok(list) => targets.infos.extend(resolve::items(&resource, list)),
                    Err(error) => targets.failures.push(error),
                }
            }
        }
    }
    Ok(targets)
}

async fn latest(cx: &Session, info: &Info) -> Result<Value> {
    if info.name.is_empty() {
        bail!("resource name may not be empty");
    }
    cx.remote().await?.get(&info.path()).await
}

/// The objects of files as they stand there; no server is asked.
pub(crate) async fn local(files: &Files) -> Result<Targets> {
    let infos: Vec<Info> = files::documents(files).await?.into_iter().map(untyped).collect();
    Ok(Targets { single: infos.len() == 1, infos, failures: Vec::new() })
}

fn untyped(document: files::Document) -> Info {
    let object = document.object;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let api_version = text(&object["apiVersion"]);
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let kind = text(&object["kind"]);
    let resource = Resource {
        group: group.to_owned(),
        version: version.to_owned(),
        plural: kind.to_lowercase(),
        singular: kind.to_lowercase(),
        kind,
        namespaced: true,
        ..Resource::default()
    };
    let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
    Info {
        resource: resource.into(),
        namespace,
        name: text(&object["metadata"]["name"]),
        object,
        source: Some(document.source),
    }
}

/// What `--local` says about arguments that only a server can understand.
pub(crate) const LOCAL_ONLY: &str = "error: you must specify resources by --filename when --local is set.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'";

pub(crate) fn refuse_local(args: &[String]) -> Result<()> {
    if args.is_empty() { Ok(()) } else { Err(Failure::Worded(LOCAL_ONLY.to_owned()).into()) }
}

/// The patch from one state to another and its content type: strategic where the schema is known.
pub(crate) fn between(resource: &Resource, old: &Value, new: &Value) -> (&'static str, Value) {
    let schema =
        mk8s_api::schema::schema_of(&resource.group, &resource.version, &resource.kind).map(|schema| schema.node());
    let patch = three_way::patch(schema, old, new, old);
    (if schema.is_some() { STRATEGIC } else { MERGE }, patch)
}

/// The JSON merge patch from one state to another.
pub(crate) fn merge_between(old: &Value, new: &Value) -> Value {
    three_way::patch(None, old, new, old)
}

pub(crate) fn is_empty(patch: &Value) -> bool {
    patch.as_object().is_none_or(serde_json::Map::is_empty)
}

/// The end of a change for verbs whose documents are not set apart by `---`.
pub(crate) fn told(flags: &ChangeFlags, dry_run: DryRun, info: &Info, object: &Value, done: &str) -> Result<()> {
    let output = flags.output.parse()?;
    if !matches!(output, Output::Yaml) {
        // The object says what it is; of a subresource that is not what was asked for.
        let name = printers::name_of(object);
        let label = name.rsplit_once('/').map_or(name.as_str(), |(label, _)| label);
        return printers::changed_as(flags, dry_run, label, object, &info.name, done);
    }
    let mut object = object.clone();
    if !flags.output.show_managed_fields {
        printers::drop_managed_fields(&mut object);
    }
    crate::say::out(format_args!("{}", printers::object_text(&output, &object)?));
    Ok(())
}

/// The text of a failed system call as Go words it.
pub(crate) fn go_error(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split_once(" (os error").map_or(text.as_str(), |(text, _)| text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_between_states() {
        let old = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "l": [1]});
        let new = json!({"metadata": {"labels": {"a": "1", "c": "3"}}, "l": [1]});
        assert_eq!(merge_between(&old, &new), json!({"metadata": {"labels": {"b": null, "c": "3"}}}));
        assert!(is_empty(&merge_between(&old, &old)));
    }

    #[test]
    fn local_objects_know_their_label() {
        let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}});
        assert_eq!(untyped(files::Document { object, source: "f".into() }).display(), "deployment.apps/x");
    }
}
