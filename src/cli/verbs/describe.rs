//! `describe`: everything about an object in words, also what others say about it.

use crate::{
    describe,
    failure::{Failure, all_or, tell},
    flags::Files,
    resolve::{self, Info, Query, Wanted},
    session::Session,
};
use anyhow::{Result, bail};
use std::collections::HashSet;

#[derive(clap::Args, Debug)]
pub(crate) struct Describe {
    #[arg(value_name = "TYPE [NAME_PREFIX | -l label] | TYPE/NAME")]
    args: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Describe the objects of all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Selector (label query).
    #[arg(short = 'l', long, default_value = "", hide_default_value = true)]
    selector: String,
    /// Show the events of the objects; by default when there is one object.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    show_events: Option<bool>,
    /// Page size of lists; accepted for compatibility.
    #[arg(long, default_value_t = 500, hide_default_value = true)]
    chunk_size: i64,
}

impl Describe {
    pub(crate) async fn run(&self, cx: &Session) -> Result<()> {
        if self.args.is_empty() && self.files.filename.is_empty() {
            bail!(
                "You must specify the type of resource to describe. Use \"kubectl api-resources\" for a complete list of supported resources."
            );
        }
        let query = Query {
            args: &self.args,
            files: Some(&self.files),
            selector: &self.selector,
            all_namespaces: self.all_namespaces,
            bare_types: true,
            ..Query::default()
        };
        let (infos, mut failures) = self.found(cx, &query).await?;
        let show_events = self.show_events.unwrap_or(infos.len() <= 1 && failures.is_empty());
        if self.args.len() == 2 && failures.len() == 1 && Failure::is_not_found(&failures[0]) {
            return self.by_prefix(cx, failures.remove(0), show_events).await;
        }
        if infos.is_empty() && failures.is_empty() {
            match self.all_namespaces {
                true => crate::errln!("No resources found"),
                false => crate::errln!("No resources found in {} namespace.", cx.namespace().await?),
            }
        }
        self.print(cx, &infos, show_events, &mut failures).await?;
        let mut seen = HashSet::new();
        failures.retain(|failure| seen.insert(tell(failure).0));
        all_or(failures)
    }

    /// What is asked for, and what of it could not be found.
    async fn found(&self, cx: &Session, query: &Query<'_>) -> Result<(Vec<Info>, Vec<anyhow::Error>)> {
        let (mut infos, mut failures) = (Vec::new(), Vec::new());
        let remote = cx.remote().await?;
        match resolve::wanted(cx, query).await? {
            Wanted::Named(named) => {
                for info in named {
                    // What a file names is looked for when it is described.
                    let known = if info.source.is_some() { Ok(()) } else { remote.get(&info.path()).await.map(drop) };
                    match known {
                        Ok(()) => infos.push(info),
                        Err(error) => failures.push(error),
                    }
                }
            }
            Wanted::Types(resources) => {
                for resource in resources {
                    match remote.list(&resolve::list_path(cx, &resource, query).await?).await {
                        Ok(list) => infos.extend(resolve::items(&resource, list)),
                        Err(error) => failures.push(error),
                    }
                }
            }
        }
        Ok((infos, failures))
    }

    async fn print(&self, cx: &Session, infos: &[Info], events: bool, failures: &mut Vec<anyhow::Error>) -> Result<()> {
        let mut first = true;
        for info in infos {
            match text(cx, info, events).await {
                Ok(text) if std::mem::take(&mut first) => crate::say::out(format_args!("{text}")),
                Ok(text) => crate::say::out(format_args!("\n\n{text}")),
                Err(error) => failures.push(error),
            }
        }
        Ok(())
    }

    /// `describe pods web` also means every pod whose name begins so.
    async fn by_prefix(&self, cx: &Session, not_found: anyhow::Error, events: bool) -> Result<()> {
        let [kind, prefix] = [&self.args[0], &self.args[1]];
        let resource = cx.mapper().await?.find(kind)?;
        let path = resource.path(Some(&cx.namespace().await?));
        let all = resolve::items(&resource, cx.remote().await?.list(&path).await?);
        let matching: Vec<Info> = all.into_iter().filter(|info| info.name.starts_with(prefix.as_str())).collect();
        if matching.is_empty() {
            return Err(not_found);
        }
        for info in &matching {
            crate::outln!("{}", text(cx, info, events).await?);
        }
        Ok(())
    }
}

async fn text(cx: &Session, info: &Info, events: bool) -> Result<String> {
    describe::describe(cx.remote().await?, &info.resource, info.namespace.as_deref(), &info.name, events).await
}
