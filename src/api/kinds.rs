//! The table of built-in kinds: what exists, under which names, and what can be done with it.
//!
//! The table is text (`kinds.txt`), read once. Custom resources make their own [`Kind`]s and join the same slices, so
//! whatever is derived from kinds (discovery, OpenAPI, routes) takes `&[Kind]`.

use std::{fmt, sync::LazyLock};

use crate::status::GroupResource;

/// What may be done with a resource, in discovery's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    Create,
    Delete,
    DeleteCollection,
    Get,
    List,
    Patch,
    Update,
    Watch,
}

impl Verb {
    pub fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }

    fn from_letter(letter: char) -> Verb {
        match letter {
            'c' => Verb::Create,
            'd' => Verb::Delete,
            'x' => Verb::DeleteCollection,
            'g' => Verb::Get,
            'l' => Verb::List,
            'p' => Verb::Patch,
            'u' => Verb::Update,
            'w' => Verb::Watch,
            _ => unreachable!("kinds.txt uses only these letters; a test reads all of it"),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One resource of one group version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// `""` for the core group.
    pub group: String,
    pub version: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub namespaced: bool,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    /// Sorted by their words, as discovery prints them.
    pub verbs: Vec<Verb>,
    pub subresources: Vec<Subresource>,
    /// The group whose keys hold the objects: another one than `group` only for `events.k8s.io`, whose events are core's.
    pub storage_group: String,
    /// The version objects are stored in (of `storage_group`).
    pub storage_version: String,
    /// What discovery prints for clients that migrate storage; `None` for what is not stored.
    pub storage_version_hash: Option<String>,
    /// A deletion that is done at once answers with the object; for most kinds it is a `Status`.
    pub delete_returns_object: bool,
    /// Answered by code and kept nowhere: reviews, `Binding`, `ComponentStatus`, metrics.
    pub is_virtual: bool,
}

/// A path below an object: `status`, `scale`, `log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subresource {
    pub name: String,
    /// Group, version and kind of what is sent and answered.
    pub group: String,
    pub version: String,
    pub kind: String,
    pub verbs: Vec<Verb>,
}

impl Kind {
    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource { group: self.group.clone(), resource: self.plural.clone() }
    }

    pub fn has(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// What clients are told who still use a kind that has been replaced.
    pub fn deprecation(&self) -> Option<&'static str> {
        match (self.group.as_str(), self.version.as_str(), self.kind.as_str()) {
            ("", "v1", "ComponentStatus") => Some("v1 ComponentStatus is deprecated in v1.19+"),
            ("", "v1", "Endpoints") => {
                Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
            }
            ("autoscaling", "v2beta2", "HorizontalPodAutoscaler") => Some(
                "autoscaling/v2beta2 HorizontalPodAutoscaler is deprecated in v1.23+, unavailable in v1.26+; use autoscaling/v2 HorizontalPodAutoscaler",
            ),
            _ => None,
        }
    }

    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

/// `group/version`, or the version alone for the core group.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The inverse of [`api_version`]: group and version.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

static BUILTIN: LazyLock<Vec<Kind>> = LazyLock::new(|| parse(include_str!("kinds.txt")));

/// All built-in kinds, group after group in the order discovery lists them, the preferred version of a group first.
pub fn builtin() -> &'static [Kind] {
    &BUILTIN
}

/// The built-in kind behind `/apis/GROUP/VERSION/PLURAL`.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    builtin().iter().find(|kind| kind.plural == plural && kind.group == group && kind.version == version)
}

/// The built-in kind an object names by `apiVersion` and `kind`.
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    builtin().iter().find(|known| known.kind == kind && known.group == group && known.version == version)
}

fn parse(table: &str) -> Vec<Kind> {
    let mut kinds: Vec<Kind> = Vec::new();
    let (mut group, mut version) = ("", "");
    for line in table.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(section) = line.strip_prefix('[') {
            (group, version) = split_api_version(section.trim_end_matches(']'));
        } else if let Some(row) = line.trim_start().strip_prefix('/') {
            let parent = kinds.last_mut().expect("kinds.txt names a resource before its subresources");
            parent.subresources.push(parse_subresource(row, group, version));
        } else {
            kinds.push(parse_kind(line, group, version));
        }
    }
    kinds
}

fn parse_kind(row: &str, group: &str, version: &str) -> Kind {
    let mut words = row.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (plural, kind, singular, scope, verbs) = (word(), word(), word(), word(), word());
    let (mut short_names, mut categories, mut hash, mut echo) = (Vec::new(), Vec::new(), None, false);
    let list = |names: &str| names.split(',').map(str::to_owned).collect();
    for option in words {
        match option.split_once('=') {
            Some(("short", names)) => short_names = list(names),
            Some(("in", names)) => categories = list(names),
            None => echo = option == "echo",
            _ => hash = option.strip_prefix("hash=").map(str::to_owned),
        }
    }
    let (storage_group, storage_version) = match group {
        "autoscaling" => (group, "v2"),
        "events.k8s.io" => ("", "v1"),
        _ => (group, version),
    };
    Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        plural: plural.to_owned(),
        singular: if singular == "-" { kind.to_lowercase() } else { singular.to_owned() },
        namespaced: scope == "N",
        short_names,
        categories,
        verbs: verbs.chars().map(Verb::from_letter).collect(),
        subresources: Vec::new(),
        storage_group: storage_group.to_owned(),
        storage_version: storage_version.to_owned(),
        delete_returns_object: echo,
        is_virtual: hash.is_none(),
        storage_version_hash: hash,
    }
}

fn parse_subresource(row: &str, group: &str, version: &str) -> Subresource {
    let mut words = row.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (name, kind, verbs) = (word(), word(), word());
    let ((group, version), kind) = match kind.split_once(':') {
        Some((api_version, kind)) => (split_api_version(api_version), kind),
        None => ((group, version), kind),
    };
    Subresource {
        name: name.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: verbs.chars().map(Verb::from_letter).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_reads() {
        assert_eq!(builtin().len(), 72);
        let deployment = find("apps", "v1", "deployments").expect("deployments are built in");
        assert_eq!(deployment.api_version(), "apps/v1");
        assert_eq!(deployment.list_kind, "DeploymentList");
        assert_eq!(deployment.short_names, ["deploy"]);
        let scale = deployment.subresource("scale").expect("deployments scale");
        assert_eq!((scale.group.as_str(), scale.kind.as_str()), ("autoscaling", "Scale"));
        assert_eq!(find_kind("", "v1", "Endpoints").map(|kind| kind.singular.as_str()), Some("endpoints"));
        assert!(find("", "v1", "bindings").is_some_and(|kind| kind.is_virtual && kind.verbs == [Verb::Create]));
    }

    #[test]
    fn names_are_unique_in_a_group_version() {
        let mut seen = std::collections::BTreeSet::new();
        for kind in builtin() {
            assert!(seen.insert((&kind.group, &kind.version, &kind.plural)), "{kind:?}");
        }
    }
}
