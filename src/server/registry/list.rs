//! Reading: one object, or many from one consistent root.

use std::{sync::Arc, time::Duration};

use mk8s_api::status::{Cause, Status};
use mk8s_store::{Entry, View};

use super::{
    Registry, Resource, VersionMatch, continue_token::ContinueToken, encode, keys, options::ListOptions, select::Filter,
};

/// How long a read waits for a version that this server has not seen yet.
const WAIT_FOR_VERSION: Duration = Duration::from_secs(3);

/// Objects of one kind, as they were at one revision.
#[derive(Debug)]
pub struct List {
    pub revision: u64,
    pub entries: Vec<Arc<Entry>>,
    pub continue_token: Option<String>,
    pub remaining: Option<usize>,
}

impl Registry {
    /// One stored object.
    pub async fn get(
        &self,
        resource: &Arc<Resource>,
        namespace: &str,
        name: &str,
        version: Option<u64>,
    ) -> Result<Arc<Entry>, Status> {
        let view = match version {
            None => self.newest().await?,
            Some(0) => self.store.view(),
            Some(version) => self.view_not_older(version).await?,
        };
        match view.get(&keys::object(&resource.prefix, namespace, name)) {
            Some(entry) => self.presenter.present_one(resource, entry.clone()).await,
            None => Err(Status::not_found(&resource.group_resource, name)),
        }
    }

    pub async fn list(&self, resource: &Arc<Resource>, namespace: &str, options: &ListOptions) -> Result<List, Status> {
        let filter = Filter::new(&self.store, resource, options)?;
        let single = filter.single_name().filter(|_| !namespace.is_empty() || !resource.kind.namespaced);
        // Of one object there is no other page.
        let token = options.continue_token.as_deref().filter(|_| single.is_none());
        let token = token.map(ContinueToken::decode).transpose()?;
        let prefix = keys::scope(&resource.prefix, namespace);
        let view = self.root_of(options, token.as_ref()).await?;
        if let Some(name) = single {
            let entry = view.get(&keys::object(&resource.prefix, namespace, name)).cloned();
            let entries = self.presenter.present(resource, entry.into_iter().collect()).await?;
            let entries = entries.into_iter().filter(|entry| filter.matches(entry)).collect();
            return Ok(List { revision: view.revision(), entries, continue_token: None, remaining: None });
        }
        let limit = options.limit;
        if filter.needs_presented() {
            // Fields are looked at in the form of the version that was asked for.
            let start = start_of(&prefix, token.as_ref());
            let range = view.range(start.as_bytes(), &keys::end_of(&prefix));
            let entries = self.presenter.present(resource, range.cloned().collect()).await?;
            return Ok(page(&view, &prefix, token.as_ref(), limit, &filter, entries.iter()));
        }
        let takes_long = filter.takes_long(&view, &prefix);
        let read = move || {
            let start = start_of(&prefix, token.as_ref());
            let range = filter.range(&view, start.as_bytes(), &keys::end_of(&prefix));
            page(&view, &prefix, token.as_ref(), limit, &filter, range)
        };
        let mut list = aside(takes_long, read).await;
        list.entries = self.presenter.present(resource, list.entries).await?;
        Ok(list)
    }

    /// The root a list reads: of its token, of its version, or the newest.
    async fn root_of(&self, options: &ListOptions, token: Option<&ContinueToken>) -> Result<View, Status> {
        if let Some(token) = token {
            if options.resource_version.is_some_and(|version| version != 0) {
                return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
            }
            return match token.revision {
                None => Ok(self.store.view()),
                Some(revision) => {
                    // Another server may have given the token, which knew more than this one yet.
                    self.view_not_older(revision).await?;
                    self.store.view_at(revision).map_err(|_| too_old_to_continue(token))
                }
            };
        }
        match (options.resource_version, options.version_match) {
            (None, _) => self.newest().await,
            (Some(0), _) => Ok(self.store.view()),
            (Some(version), Some(VersionMatch::Exact)) => self.exact(version).await,
            (Some(version), None) if options.limit > 0 => self.exact(version).await,
            (Some(version), _) => self.view_not_older(version).await,
        }
    }

    async fn exact(&self, version: u64) -> Result<View, Status> {
        let newest = self.view_not_older(version).await?;
        if newest.revision() == version {
            return Ok(newest);
        }
        self.store
            .view_at(version)
            .map_err(|_| Status::expired("The resourceVersion for the provided list is too old."))
    }

    /// A root with everything that any server has answered so far.
    async fn newest(&self) -> Result<View, Status> {
        self.store.fresh().await.map_err(|error| Status::unavailable(error.to_string()))
    }

    /// The newest root, once it is at least at `version`.
    pub(super) async fn view_not_older(&self, version: u64) -> Result<View, Status> {
        let view = self.store.view();
        if view.revision() >= version {
            return Ok(view);
        }
        let deadline = tokio::time::Instant::now() + WAIT_FOR_VERSION;
        // Any write moves the revision, so the watch of everything is what tells that it has grown.
        let mut changes = self.store.watch(b"/", view.revision()).map_err(|_| too_large(version, view.revision()))?;
        loop {
            let view = self.store.view();
            if view.revision() >= version {
                return Ok(view);
            }
            match tokio::time::timeout_at(deadline, changes.next()).await {
                Ok(Ok(mk8s_store::WatchItem::Events(_))) => {}
                _ => return Err(too_large(version, view.revision())),
            }
        }
    }
}

/// Does what takes long where it holds up nobody else.
pub async fn aside<T: Send + 'static>(takes_long: bool, work: impl FnOnce() -> T + Send + 'static) -> T {
    match takes_long {
        true => tokio::task::spawn_blocking(work).await.expect("no work panics"),
        false => work(),
    }
}

/// The first key of a page.
fn start_of(prefix: &str, token: Option<&ContinueToken>) -> String {
    format!("{prefix}{}", token.map_or("", |token| &token.start))
}

fn page<'v>(
    view: &View,
    prefix: &str,
    token: Option<&ContinueToken>,
    limit: usize,
    filter: &Filter,
    mut range: impl Iterator<Item = &'v Arc<Entry>>,
) -> List {
    let seen = token.map_or(0, |token| token.seen);
    let mut list = List { revision: view.revision(), entries: Vec::new(), continue_token: None, remaining: None };
    if limit == 0 {
        list.entries = match filter.is_everything() {
            true => range.cloned().collect(),
            false => range.filter(|entry| filter.matches(entry)).cloned().collect(),
        };
        return list;
    }
    while list.entries.len() < limit {
        let Some(entry) = range.next() else { return list };
        if filter.matches(entry) {
            list.entries.push(entry.clone());
        }
    }
    let Some(next) = range.next() else { return list };
    let start = String::from_utf8_lossy(next.key.get(prefix.len()..).unwrap_or_default()).into_owned();
    let newest = token.is_some_and(|token| token.revision.is_none());
    let seen = seen.saturating_add(list.entries.len());
    if filter.is_everything() {
        // Whoever goes on with the newest root has seen pages of another one.
        let remaining =
            if newest { 1 + range.count() } else { view.count(prefix.as_bytes()).saturating_sub(seen).max(1) };
        list.remaining = Some(remaining);
    }
    let revision = (!newest).then_some(view.revision());
    list.continue_token = Some(ContinueToken { revision, start, seen }.encode());
    list
}

/// The 410 of a token whose root is gone: it carries another token, for those to whom an inconsistent rest will do.
fn too_old_to_continue(token: &ContinueToken) -> Status {
    let mut status = Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    status.list_continue = Some(ContinueToken { revision: None, ..token.clone() }.encode());
    status
}

/// The 504 of a version that lies in the future.
fn too_large(version: u64, current: u64) -> Status {
    let mut status = Status::timeout(format!("Too large resource version: {version}, current: {current}"), 1);
    let cause = Cause {
        reason: "ResourceVersionTooLarge".into(),
        message: "Too large resource version".into(),
        ..Cause::default()
    };
    status.details.get_or_insert_default().causes.push(cause);
    status
}

impl List {
    /// What stands before the items in the list's JSON.
    pub fn head(&self, kind: &str, api_version: &str) -> String {
        let mut head =
            format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{}", self.metadata());
        head.push_str(",\"items\":[");
        head
    }

    /// `ListMeta`.
    pub fn metadata(&self) -> serde_json::Value {
        let mut metadata = serde_json::json!({"resourceVersion": self.revision.to_string()});
        if let Some(token) = &self.continue_token {
            metadata["continue"] = token.as_str().into();
        }
        if let Some(remaining) = self.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        metadata
    }

    pub fn decode(&self) -> Vec<serde_json::Value> {
        self.entries.iter().map(|entry| encode::decode(&entry.value)).collect()
    }
}
