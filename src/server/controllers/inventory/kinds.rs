//! The kinds that a server serves.

use mk8s_client::kube::{
    self, Client, Discovery,
    discovery::{ApiCapabilities, ApiResource, Scope, verbs},
};
use std::{collections::HashMap, sync::Arc};

/// One kind, in the version that its server prefers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ApiKind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) namespaced: bool,
    verbs: Vec<String>,
}

impl ApiKind {
    fn of(resource: ApiResource, capabilities: &ApiCapabilities) -> ApiKind {
        let mut verbs = capabilities.operations.clone();
        verbs.sort();
        ApiKind {
            group: resource.group,
            version: resource.version,
            kind: resource.kind,
            plural: resource.plural,
            namespaced: capabilities.scope == Scope::Namespaced,
            verbs,
        }
    }

    pub(crate) fn supports(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    pub(crate) fn resource(&self) -> ApiResource {
        let api_version = match self.group.as_str() {
            "" => self.version.clone(),
            group => format!("{group}/{}", self.version),
        };
        ApiResource {
            group: self.group.clone(),
            version: self.version.clone(),
            api_version,
            kind: self.kind.clone(),
            plural: self.plural.clone(),
        }
    }

    /// Events come and go too often, and no one depends on them.
    pub(super) fn is_followed(&self) -> bool {
        let wanted = [verbs::LIST, verbs::WATCH, verbs::DELETE];
        wanted.iter().all(|verb| self.supports(verb)) && self.kind != "Event"
    }
}

/// All kinds, found by group and kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kinds {
    by_name: Arc<HashMap<(String, String), Arc<ApiKind>>>,
}

impl Kinds {
    pub(crate) fn new(kinds: impl IntoIterator<Item = ApiKind>) -> Kinds {
        let named = |kind: ApiKind| ((kind.group.clone(), kind.kind.clone()), Arc::new(kind));
        Kinds { by_name: Arc::new(kinds.into_iter().map(named).collect()) }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ApiKind>> {
        self.by_name.values()
    }

    /// The kind that an owner reference means, whatever its version.
    pub(crate) fn find(&self, api_version: &str, kind: &str) -> Option<&Arc<ApiKind>> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.by_name.get(&(group.to_owned(), kind.to_owned()))
    }
}

pub(crate) async fn discover(client: &Client) -> kube::Result<Kinds> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let resources = discovery.groups().flat_map(|group| group.resources_by_stability());
    Ok(Kinds::new(resources.map(|(resource, capabilities)| ApiKind::of(resource, &capabilities))))
}

#[cfg(test)]
impl ApiKind {
    pub(crate) fn example(group: &str, kind: &str, namespaced: bool) -> ApiKind {
        ApiKind {
            group: group.to_owned(),
            version: "v1".to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
            namespaced,
            verbs: vec!["delete".to_owned(), "list".to_owned(), "watch".to_owned()],
        }
    }

    pub(crate) fn with_verbs(self, verbs: &[&str]) -> ApiKind {
        ApiKind { verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(), ..self }
    }
}
