//! `apply`: makes the server's objects what the files say.

use crate::{
    apply::{LAST_APPLIED, last_applied, migration, set_last_applied, three_way},
    failure::{Failure, all_or},
    flags::{ChangeFlags, DryRun, Files, ValidateFlag},
    printers::{self, drop_managed_fields},
    record::RecordFlag,
    remote::{APPLY, MERGE, STRATEGIC, with_query},
    resolve::{Info, files},
    session::Session,
};
use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Apply {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    change: ChangeFlags,
    #[command(flatten)]
    validate: ValidateFlag,
    /// Selector (label query): only objects of the files that match.
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Let the server merge and track the fields.
    #[arg(long)]
    server_side: bool,
    /// Take fields from other managers (server side).
    #[arg(long)]
    force_conflicts: bool,
    /// Delete and create anew what cannot be changed.
    #[arg(long)]
    force: bool,
    /// Overwrite conflicting changes; accepted for compatibility.
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    overwrite: String,
    /// Apply everything of the files; accepted for compatibility.
    #[arg(long, hide = true)]
    all: bool,
    #[command(flatten)]
    record: RecordFlag,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// View the latest last-applied-configuration annotations of a resource
    ViewLastApplied {
        args: Vec<String>,
        #[arg(short = 'o', long, default_value = "yaml")]
        output: String,
    },
}

const CONFLICT_HINT: &str = "Please review the fields above--they currently have other managers. Here
are the ways you can resolve this warning:
* If you intend to manage all of these fields, please re-run the apply
  command with the `--force-conflicts` flag.
* If you do not intend to manage all of the fields, please edit your
  manifest to remove references to the fields that should keep their
  current managers.
* You may co-own fields by updating your manifest to match the existing
  value; in this case, you'll become the manager if the other manager(s)
  stop managing the field (remove it from their configuration).
See https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts";

impl Apply {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if let Some(Action::ViewLastApplied { args, output }) = &self.action {
            return view(cx, args, output).await;
        }
        if self.files.filename.is_empty() {
            bail!("must specify one of -f and -k");
        }
        if self.force_conflicts && !self.server_side {
            bail!("--force-conflicts only works with --server-side");
        }
        let dry_run = self.change.dry_run()?;
        if dry_run == DryRun::Client && self.server_side {
            bail!("--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)");
        }
        let output = self.change.output.parse()?;
        let collected = !output.is_table() && !matches!(output, printers::Output::Name);
        let documents = files::documents(&self.files).await?;
        if documents.is_empty() {
            bail!("no objects passed to apply");
        }
        let selector = if self.selector.is_empty() {
            None
        } else {
            Some(mk8s_api::select::LabelSelector::parse(&self.selector).map_err(|error| anyhow!("{error}"))?)
        };
        let mut failures = Vec::new();
        let mut results: Vec<Value> = Vec::new();
        for document in documents {
            let matches =
                selector.as_ref().is_none_or(|selector| selector.matches(&mk8s_api::meta::labels(&document.object)));
            if !matches {
                continue;
            }
            match self.document(cx, document, dry_run, collected).await {
                Ok(object) => results.extend(object),
                Err(error) => failures.push(error),
            }
        }
        if collected && !results.is_empty() {
            if !self.change.output.show_managed_fields {
                results.iter_mut().for_each(drop_managed_fields);
            }
            let whole = if results.len() == 1 {
                results.remove(0)
            } else {
                json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": results})
            };
            crate::say::out(format_args!("{}", printers::object_text(&output, &whole)?));
        }
        all_or(failures)
    }

    /// Applies one object; gives it back when objects are what gets printed.
    async fn document(
        &self,
        cx: &Session,
        document: files::Document,
        dry_run: DryRun,
        collected: bool,
    ) -> Result<Option<Value>> {
        let mut info = files::info(cx, document).await?;
        self.record.apply(&mut info.object);
        if info.name.is_empty() {
            let given = info.object["metadata"]["generateName"].as_str().unwrap_or_default();
            bail!("from {}: cannot use generate name with apply", given);
        }
        let (object, done) = if self.server_side {
            self.server_side(cx, &info, dry_run).await?
        } else {
            self.client_side(cx, &mut info, dry_run).await?
        };
        if collected {
            return Ok(Some(object));
        }
        printers::changed(&self.change, dry_run, &info, &object, done)?;
        Ok(None)
    }

    async fn server_side(&self, cx: &Session, info: &Info, dry_run: DryRun) -> Result<(Value, &'static str)> {
        let force = if self.force_conflicts { "true" } else { "" };
        let path = with_query(
            &info.path(),
            &[
                ("fieldManager", self.change.manager("kubectl")),
                ("force", force),
                ("fieldValidation", self.validate.query()?),
                ("dryRun", dry_run.query()),
            ],
        );
        let applied = match cx.remote().await?.patch(&path, APPLY, &info.object).await {
            Ok(object) => object,
            Err(error) if Failure::is_conflict(&error) => return Err(anyhow!("{error}\n{CONFLICT_HINT}")),
            Err(error) => return Err(error),
        };
        let object = match dry_run {
            DryRun::None => self.migrate(cx, info, &path, applied).await,
            _ => applied,
        };
        Ok((object, "serverside-applied"))
    }

    /// What client-side applies wrote becomes what this manager applied, so that it can be let go of. That it fails is no
    /// failure: the next apply tries again.
    async fn migrate(&self, cx: &Session, info: &Info, path: &str, applied: Value) -> Value {
        let manager = self.change.manager("kubectl");
        let mut object = applied;
        if manager == "kubectl" {
            match migration::keep_annotation(cx, info, &object).await {
                Ok(kept) => object = kept.unwrap_or(object),
                Err(error) => {
                    crate::errln!(
                        "Warning: failed to migrate {LAST_APPLIED} for Server-Side Apply. This is non-fatal and will be retried next time you apply. Error: {error}"
                    );
                    return object;
                }
            }
        }
        match migration::take_over(cx, info, manager, &object).await {
            Ok(false) => return object,
            Ok(true) => {}
            Err(error) => {
                crate::errln!(
                    "Warning: server rejected managed fields migration to Server-Side Apply. This is non-fatal and will be retried next time you apply. Error: {error}"
                );
                return object;
            }
        }
        let again = async { cx.remote().await?.patch(path, APPLY, &info.object).await };
        again.await.unwrap_or_else(|error| {
            crate::errln!("Warning: failed to re-apply configuration after performing Server-Side Apply migration. This is non-fatal and will be retried next time you apply. Error: {error}");
            object
        })
    }

    async fn client_side(&self, cx: &Session, info: &mut Info, dry_run: DryRun) -> Result<(Value, &'static str)> {
        let remote = cx.remote().await?;
        set_last_applied(&mut info.object);
        let manager = self.change.manager("kubectl-client-side-apply");
        let query =
            [("fieldManager", manager), ("fieldValidation", self.validate.query()?), ("dryRun", dry_run.query())];
        let source = info.source.as_deref();
        let current = match remote.get(&info.path()).await {
            Ok(current) => current,
            Err(error) if Failure::is_not_found(&error) => {
                if dry_run == DryRun::Client {
                    return Ok((info.object.clone(), "created"));
                }
                let created = remote.post(&with_query(&info.collection(), &query), &info.object).await;
                return created
                    .map(|object| (object, "created"))
                    .map_err(|error| Failure::from_source(error, "creating", source));
            }
            Err(error) => {
                return Err(match error.downcast::<Failure>() {
                    Ok(Failure::Api(mut status)) => {
                        let message = status["message"].as_str().unwrap_or_default();
                        status["message"] = format!(
                            "error when retrieving current configuration of:\nResource: {:?}, GroupVersionKind: {:?}\nName: {:?}, Namespace: {:?}\nfrom server for: {:?}: {message}",
                            format!("{}, Resource={}", info.resource.api_version(), info.resource.plural),
                            format!("{}, Kind={}", info.resource.api_version(), info.resource.kind),
                            info.name,
                            info.namespace.as_deref().unwrap_or_default(),
                            source.unwrap_or_default(),
                        )
                        .into();
                        Failure::Api(status).into()
                    }
                    Ok(other) => other.into(),
                    Err(other) => other,
                });
            }
        };
        if current["metadata"]["annotations"].get(LAST_APPLIED).is_none() {
            crate::errln!(
                "Warning: resource {}/{} is missing the {LAST_APPLIED} annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically.",
                info.resource.plural,
                info.name
            );
        }
        let mut current = current;
        for attempt in 0..5 {
            let (kind, patch) = make_patch(info, &current);
            if patch.as_object().is_some_and(serde_json::Map::is_empty) {
                return Ok((current, "unchanged"));
            }
            if current["metadata"]["deletionTimestamp"].is_string() {
                crate::errln!("Warning: Detected changes to resource {} which is currently being deleted.", info.name);
            }
            if dry_run == DryRun::Client {
                return Ok((locally(info, current, kind, &patch)?, "configured"));
            }
            match remote.patch(&with_query(&info.path(), &query), kind, &patch).await {
                Ok(object) => return Ok((object, "configured")),
                Err(error)
                    if Failure::is_conflict(&error)
                        && attempt < 4
                        && info.object["metadata"]["resourceVersion"].is_null() =>
                {
                    current = remote.get(&info.path()).await?;
                }
                Err(error) if self.force && matches!(Failure::reason(&error), Some("Conflict" | "Invalid")) => {
                    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background", "gracePeriodSeconds": 0});
                    remote.delete(&info.path(), &options).await?;
                    super::delete::until_gone(
                        remote,
                        info,
                        current["metadata"]["uid"].as_str(),
                        std::time::Duration::ZERO,
                    )
                    .await?;
                    let created = remote.post(&with_query(&info.collection(), &query), &info.object).await;
                    return created
                        .map(|object| (object, "configured"))
                        .map_err(|error| Failure::from_source(error, "creating", source));
                }
                Err(error) => {
                    return Err(match error.downcast::<Failure>() {
                        Ok(Failure::Api(mut status)) if status["reason"] != "Invalid" => {
                            let message = status["message"].as_str().unwrap_or_default();
                            status["message"] = format!("error when applying patch:\n{patch}\nto:\nResource: {:?}, GroupVersionKind: {:?}\nName: {:?}, Namespace: {:?}\nfor: {:?}: error when patching {:?}: {message}",
                                format!("{}, Resource={}", info.resource.api_version(), info.resource.plural),
                                format!("{}, Kind={}", info.resource.api_version(), info.resource.kind),
                                info.name, info.namespace.as_deref().unwrap_or_default(),
                                source.unwrap_or_default(), source.unwrap_or_default()).into();
                            Failure::Api(status).into()
                        }
                        Ok(other) => other.into(),
                        Err(other) => other,
                    });
                }
            }
        }
        bail!("the object kept changing while it was applied; try again")
    }
}

/// The patch and its content type: strategic where the schema is known, a merge patch for custom kinds.
pub(crate) fn make_patch(info: &Info, current: &Value) -> (&'static str, Value) {
    let resource = &info.resource;
    let schema =
        mk8s_api::schema::schema_of(&resource.group, &resource.version, &resource.kind).map(|schema| schema.node());
    let original = last_applied(current).unwrap_or_else(|| json!({}));
    let mut patch = three_way::patch(schema, &original, &info.object, current);
    if let Some(metadata) = patch.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    if let Some(patch) = patch.as_object_mut() {
        patch.remove("status");
        patch.retain(|key, value| !(key == "metadata" && value.as_object().is_some_and(serde_json::Map::is_empty)));
    }
    (if schema.is_some() { STRATEGIC } else { MERGE }, patch)
}

/// The patched object, without the server.
pub(crate) fn locally(info: &Info, current: Value, kind: &str, patch: &Value) -> Result<Value> {
    let resource = &info.resource;
    match mk8s_api::schema::schema_of(&resource.group, &resource.version, &resource.kind) {
        Some(schema) if kind == STRATEGIC => {
            mk8s_api::patch::strategic::apply(schema, current, patch).map_err(|error| anyhow!("{error}"))
        }
        _ => Ok(mk8s_api::patch::merge_patch(current, patch)),
    }
}

async fn view(cx: &Session, args: &[String], output: &str) -> Result<()> {
    let query = crate::resolve::Query { args, ..Default::default() };
    let output = printers::Output::parse(output)?;
    for info in crate::resolve::fetch(cx, &query).await? {
        let Some(config) = last_applied(&info.object) else {
            bail!("no last-applied-configuration annotation found on resource: {}", info.name);
        };
        crate::say::out(format_args!("{}", printers::object_text(&output, &config)?));
    }
    Ok(())
}
