//! `get`: objects as tables, documents or single values, once or as they change.

use crate::{
    failure::{Failure, all_or},
    flags::{Files, OutputFlag},
    printers::{self, Output, drop_managed_fields, jsonpath::Template, table},
    remote::{JSON, TABLE, with_query},
    resolve::{self, Info, Query, Wanted, discovery::Resource},
    session::Session,
};
use anyhow::{Result, bail};
use serde_json::{Value, json};
use std::sync::Arc;

#[derive(clap::Args, Debug)]
pub(crate) struct Get {
    #[arg(value_name = "TYPE[.VERSION][.GROUP] [NAME | -l label] | TYPE/NAME")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    output: OutputFlag,
    /// List the objects of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Selector (label query), e.g. -l key1=value1,key2=value2.
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Selector (field query), e.g. --field-selector key1=value1.
    #[arg(long, default_value = "", hide_default_value = true)]
    field_selector: String,
    /// After listing the objects, watch for changes.
    #[arg(short = 'w', long)]
    watch: bool,
    /// Watch for changes without listing first.
    #[arg(long)]
    watch_only: bool,
    /// Print watch events instead of bare objects (json, yaml).
    #[arg(long)]
    output_watch_events: bool,
    /// Sort by this field, e.g. .metadata.name.
    #[arg(long, value_name = "JSONPATH")]
    sort_by: Option<String>,
    /// Show all labels as the last column.
    #[arg(long)]
    show_labels: bool,
    /// Show the type before names.
    #[arg(long)]
    show_kind: bool,
    /// Do not print headers.
    #[arg(long)]
    no_headers: bool,
    /// Labels to show as columns.
    #[arg(short = 'L', long, value_delimiter = ',')]
    label_columns: Vec<String>,
    /// A missing object is not an error.
    #[arg(long)]
    ignore_not_found: bool,
    /// A path to request from the server as it is.
    #[arg(long, value_name = "URI")]
    raw: Option<String>,
    /// Read this subresource (status, scale).
    #[arg(long)]
    subresource: Option<String>,
    /// Page size of lists; accepted for compatibility.
    #[arg(long, default_value_t = 500)]
    chunk_size: i64,
    /// Let the server make the table; accepted for compatibility.
    #[arg(long, default_value = "true", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    server_print: String,
}

impl Get {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if let Some(raw) = &self.raw {
            if !self.args.is_empty() || !self.files.filename.is_empty() {
                bail!("arguments may not be passed when --raw is specified");
            }
            let bytes = cx.remote().await?.bytes(http::Method::GET, raw, JSON, None).await?;
            crate::say::out_bytes(&bytes);
            return Ok(());
        }
        if self.args.is_empty() && self.files.filename.is_empty() {
            return Err(Failure::Worded(
                "You must specify the type of resource to get. Use \"kubectl api-resources\" for a complete list of supported resources.\n\nerror: Required resource not specified.\nUse \"kubectl explain <resource>\" for a detailed description of that resource (e.g. kubectl explain pods).\nSee 'kubectl get -h' for help and examples".to_owned(),
            )
            .into());
        }
        let output = self.output.parse()?;
        let query = Query {
            args: &self.args,
            files: Some(&self.files),
            selector: &self.selector,
            field_selector: &self.field_selector,
            all_namespaces: self.all_namespaces,
            bare_types: true,
            ..Query::default()
        };
        let wanted = resolve::wanted(cx, &query).await?;
        if self.watch || self.watch_only {
            return self.watch(cx, &query, wanted, &output).await;
        }
        if output.is_table() {
            self.tables(cx, &query, wanted, &output).await
        } else {
            self.documents(cx, &query, wanted, &output).await
        }
    }

    fn object_path(&self, info: &Info) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", info.path()),
            None => info.path(),
        }
    }

    fn is_ignored(&self, error: &anyhow::Error) -> bool {
        self.ignore_not_found && Failure::is_not_found(error)
    }

    fn options(&self, output: &Output, resource: &Resource, kinds: bool) -> table::TableOptions {
        table::TableOptions {
            wide: matches!(output, Output::Wide),
            headers: !self.no_headers,
            namespaces: self.all_namespaces && resource.namespaced,
            labels: self.show_labels,
            label_columns: self.label_columns.clone(),
            prefix: (kinds || self.show_kind).then(|| format!("{}/", resource.label())),
        }
    }

    async fn tables(&self, cx: &Session, query: &Query<'_>, wanted: Wanted, output: &Output) -> Result<()> {
        let remote = cx.remote().await?;
        let include = if self.sort_by.is_some() { "Object" } else { "" };
        let mut failures = Vec::new();
        let mut tables: Vec<(Arc<Resource>, Value)> = Vec::new();
        let mut all_namespaced = !self.all_namespaces;
        let kinds = match wanted {
            Wanted::Named(infos) => {
                let kinds = infos.iter().any(|info| info.resource != infos[0].resource);
                for info in infos {
                    all_namespaced &= info.resource.namespaced;
                    match remote
                        .get_as(&with_query(&self.object_path(&info), &[("includeObject", include)]), TABLE)
                        .await
                    {
                        Ok(table) => append(&mut tables, info.resource, table),
                        Err(error) if self.is_ignored(&error) => {}
                        Err(error) => failures.push(error),
                    }
                }
                kinds
            }
            Wanted::Types(resources) => {
                let kinds = resources.len() > 1;
                for resource in resources {
                    all_namespaced &= resource.namespaced;
                    let path = resolve::list_path(cx, &resource, query).await?;
                    match list_table(cx, &path, include).await {
                        Ok(table) => tables.push((resource, table)),
                        Err(error) if self.is_ignored(&error) => {}
                        Err(error) => failures.push(error),
                    }
                }
                kinds
            }
        };
        let sort = self.sort_by.as_deref().map(Template::relaxed).transpose()?;
        let mut printed = false;
        for (resource, mut table) in tables {
            let Some(rows) = table["rows"].as_array_mut().filter(|rows| !rows.is_empty()) else { continue };
            if let Some(sort) = &sort {
                table::sort_by(rows, sort, |row| &row["object"])?;
            }
            if printed && !self.no_headers {
                crate::outln!();
            }
            let lines = table::lines(&table, &self.options(output, &resource, kinds));
            crate::say::out(format_args!("{}", table::layout(&lines)));
            printed = true;
        }
        if !printed && !self.ignore_not_found && failures.is_empty() {
            if all_namespaced {
                crate::errln!("No resources found in {} namespace.", cx.namespace().await?);
            } else {
                crate::errln!("No resources found");
            }
        }
        all_or(failures)
    }

    async fn documents(&self, cx: &Session, query: &Query<'_>, wanted: Wanted, output: &Output) -> Result<()> {
        let remote = cx.remote().await?;
        let mut failures = Vec::new();
        let mut objects: Vec<Value> = Vec::new();
        let single = matches!(&wanted, Wanted::Named(infos) if infos.len() == 1);
        match wanted {
            Wanted::Named(infos) => {
                for info in infos {
                    match remote.get(&self.object_path(&info)).await {
                        Ok(object) => objects.push(object),
                        Err(error) if self.is_ignored(&error) => {}
                        Err(error) => failures.push(error),
                    }
                }
            }
            Wanted::Types(resources) => {
                for resource in resources {
                    let path = resolve::list_path(cx, &resource, query).await?;
                    match remote.list(&path).await {
                        Ok(list) => objects.extend(resolve::items(&resource, list).into_iter().map(|info| info.object)),
                        Err(error) if self.is_ignored(&error) => {}
                        Err(error) => failures.push(error),
                    }
                }
            }
        }
        if let Some(sort) = &self.sort_by {
            table::sort_by(&mut objects, &Template::relaxed(sort)?, |object| object)?;
        }
        if !self.output.show_managed_fields {
            objects.iter_mut().for_each(drop_managed_fields);
        }
        self.print_documents(objects, single, output)?;
        all_or(failures)
    }

    fn print_documents(&self, mut objects: Vec<Value>, single: bool, output: &Output) -> Result<()> {
        match output {
            Output::Name => {
                for object in &objects {
                    crate::outln!("{}", printers::name_of(object));
                }
            }
            Output::Columns(columns) => {
                crate::say::out(format_args!("{}", columns.text(&objects, !self.no_headers)?));
            }
            other if single => {
                if let Some(object) = objects.pop() {
                    crate::say::out(format_args!("{}", printers::object_text(other, &object)?));
                }
            }
            other => {
                let list =
                    json!({"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": objects});
                crate::say::out(format_args!("{}", printers::object_text(other, &list)?));
            }
        }
        Ok(())
    }

    async fn watch(&self, cx: &Session, query: &Query<'_>, wanted: Wanted, output: &Output) -> Result<()> {
        let remote = cx.remote().await?;
        let (resource, path) = match wanted {
            Wanted::Types(mut resources) if resources.len() == 1 => {
                let resource = resources.remove(0);
                let path = resolve::list_path(cx, &resource, query).await?;
                (resource, path)
            }
            Wanted::Named(mut infos) if infos.len() == 1 => {
                let info = infos.remove(0);
                remote.get(&info.path()).await?;
                let only = format!("metadata.name={}", info.name);
                (info.resource.clone(), with_query(&info.collection(), &[("fieldSelector", &only)]))
            }
            _ => bail!("you may only specify a single resource type"),
        };
        let mut printer = WatchPrinter {
            get: self,
            output,
            resource: &resource,
            headers: !self.no_headers,
            widths: Vec::new(),
            columns: Value::Null,
        };
        let mut version = String::new();
        loop {
            if version.is_empty() {
                let accept = if output.is_table() { TABLE } else { JSON };
                let list = remote.get_as(&path, accept).await?;
                version = list["metadata"]["resourceVersion"].as_str().unwrap_or("0").to_owned();
                if !self.watch_only {
                    printer.list(list)?;
                }
            }
            let watch =
                with_query(&path, &[("watch", "true"), ("allowWatchBookmarks", "true"), ("resourceVersion", &version)]);
            let accept = if output.is_table() { TABLE } else { JSON };
            let mut events = remote.watch(&watch, accept).await?;
            loop {
                match events.next().await {
                    Ok(Some((kind, object))) => {
                        if let Some(newer) = version_of(&object) {
                            version = newer.to_owned();
                        }
                        if kind != "BOOKMARK" {
                            printer.event(&kind, object)?;
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

fn version_of(object: &Value) -> Option<&str> {
    let own = object["metadata"]["resourceVersion"].as_str();
    let row = object["rows"][0]["object"]["metadata"]["resourceVersion"].as_str();
    row.or(own).filter(|version| !version.is_empty())
}

/// Adds the rows of a single object's table to the table of its type.
fn append(tables: &mut Vec<(Arc<Resource>, Value)>, resource: Arc<Resource>, mut table: Value) {
    if let Some((last, all)) = tables.last_mut()
        && *last == resource
        && let (Some(all), Some(rows)) = (all["rows"].as_array_mut(), table["rows"].as_array_mut())
    {
        all.append(rows);
        return;
    }
    tables.push((resource, table));
}

/// A whole list as one table, page by page.
async fn list_table(cx: &Session, path: &str, include: &str) -> Result<Value> {
    let remote = cx.remote().await?;
    let page = |token: &str| with_query(path, &[("limit", "500"), ("includeObject", include), ("continue", token)]);
    let mut table = remote.get_as(&page(""), TABLE).await?;
    while let Some(token) = table["metadata"]["continue"].as_str().filter(|token| !token.is_empty()) {
        let mut next = remote.get_as(&page(token), TABLE).await?;
        if let (Some(all), Some(rows)) = (table["rows"].as_array_mut(), next["rows"].as_array_mut()) {
            all.append(rows);
        }
        table["metadata"] = next["metadata"].take();
    }
    Ok(table)
}

/// Prints what a watch delivers; columns keep the widths they once had.
struct WatchPrinter<'a> {
    get: &'a Get,
    output: &'a Output,
    resource: &'a Arc<Resource>,
    headers: bool,
    widths: Vec<usize>,
    columns: Value,
}

impl WatchPrinter<'_> {
    fn list(&mut self, mut list: Value) -> Result<()> {
        if self.output.is_table() {
            return self.rows(list);
        }
        if let Value::Array(items) = list["items"].take() {
            for item in items {
                self.document("ADDED", resolve::info_of(self.resource, item).object)?;
            }
        }
        Ok(())
    }

    fn event(&mut self, kind: &str, object: Value) -> Result<()> {
        if self.output.is_table() { self.rows(object) } else { self.document(kind, object) }
    }

    fn document(&mut self, kind: &str, mut object: Value) -> Result<()> {
        if !self.get.output.show_managed_fields {
            drop_managed_fields(&mut object);
        }
        let value = if self.get.output_watch_events { json!({"type": kind, "object": object}) } else { object };
        let text = match self.output {
            Output::Columns(columns) => columns.text(&[value], std::mem::take(&mut self.headers))?,
            Output::Yaml => format!("---\n{}", printers::object_text(self.output, &value)?),
            other => printers::object_text(other, &value)?,
        };
        crate::say::out(format_args!("{text}"));
        Ok(())
    }

    fn rows(&mut self, mut table: Value) -> Result<()> {
        if table["rows"].as_array().is_none_or(Vec::is_empty) {
            return Ok(());
        }
        if table["columnDefinitions"].as_array().is_none_or(Vec::is_empty) {
            table["columnDefinitions"] = self.columns.clone();
        } else {
            self.columns = table["columnDefinitions"].clone();
        }
        let mut options = self.get.options(self.output, self.resource, false);
        options.headers = std::mem::take(&mut self.headers);
        let lines = table::lines(&table, &options);
        for line in &lines {
            for (index, cell) in line.split('\t').enumerate() {
                let width = (cell.chars().count() + 3).max(6);
                match self.widths.get_mut(index) {
                    Some(known) => *known = width.max(*known),
                    None => self.widths.push(width),
                }
            }
        }
        for line in &lines {
            let cells: Vec<&str> = line.split('\t').collect();
            let mut text = String::new();
            for (index, cell) in cells.iter().enumerate() {
                if index + 1 == cells.len() {
                    text.push_str(cell);
                } else {
                    text.push_str(&format!("{cell:<width$}", width = self.widths[index]));
                }
            }
            crate::outln!("{text}");
        }
        Ok(())
    }
}
