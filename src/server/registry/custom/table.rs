//! All kinds at one moment: the built-in ones and those of the definitions.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use base64::Engine;
use mk8s_api::{
    crd::{Definition, publish},
    kinds::{self, Kind, Verb},
    openapi,
};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::{super::type_prefix, CustomKind, Resource, convert::Converter};

/// A definition and the resources it makes.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) definition: Arc<Definition>,
    pub(super) form: Value,
    pub(super) since: u64,
    pub(super) replaced: CancellationToken,
    resources: Vec<Arc<Resource>>,
}

impl Served {
    pub(super) fn new(
        definition: Arc<Definition>,
        form: Value,
        since: u64,
        replaced: CancellationToken,
        converter: &Arc<Converter>,
    ) -> Served {
        let hash = hash(&definition);
        let served = definition.versions.iter().filter(|version| version.served);
        let resources = served.map(|version| {
            let mut kind = definition.kind_of(version);
            kind.storage_version_hash = Some(hash.clone());
            let custom = CustomKind {
                definition: definition.clone(),
                version: version.clone(),
                since,
                head: type_prefix(&kind.kind, &version.api_version),
                replaced: replaced.clone(),
                converter: converter.clone(),
            };
            Arc::new(Resource::custom(kind, custom))
        });
        Served { resources: resources.collect(), definition, form, since, replaced }
    }
}

/// What clients that migrate storage compare.
fn hash(definition: &Definition) -> String {
    let kind = format!("{}/{}, Kind={}", definition.group, definition.storage_version, definition.kind());
    let digest = Sha256::digest(kind.as_bytes());
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

/// By group, version and plural.
type Found = HashMap<String, HashMap<String, HashMap<String, Arc<Resource>>>>;

/// The kinds of one moment.
pub struct Table {
    /// Tells tables apart.
    pub generation: u64,
    /// As discovery tells them: the built-in kinds first.
    pub kinds: Vec<Kind>,
    found: Found,
    definitions: Vec<Arc<Definition>>,
    published: OnceLock<openapi::Custom>,
}

impl Table {
    pub(super) fn new(generation: u64, served: &[&Served]) -> Table {
        let mut found = Found::new();
        let mut custom = Vec::new();
        for resource in served.iter().flat_map(|served| &served.resources) {
            let kind = &resource.kind;
            let versions = found.entry(kind.group.clone()).or_default();
            versions.entry(kind.version.clone()).or_default().insert(kind.plural.clone(), resource.clone());
            let mut shown = (**kind).clone();
            if resource.is_terminating() {
                shown.verbs.retain(|verb| !matches!(verb, Verb::Create | Verb::Patch | Verb::Update));
            }
            custom.push(shown);
        }
        custom.sort_by_cached_key(|kind| (kind.group.clone(), priority(&kind.version), kind.plural.clone()));
        let mut kinds = kinds::builtin().to_vec();
        kinds.append(&mut custom);
        let definitions = served.iter().map(|served| served.definition.clone()).collect();
        Table { generation, kinds, found, definitions, published: OnceLock::new() }
    }

    /// The kinds of a server in which nothing is defined.
    #[cfg(test)]
    pub(crate) fn built_in() -> Table {
        Table::new(0, &[])
    }

    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        self.found.get(group)?.get(version)?.get(plural).cloned()
    }

    pub(super) fn find_kind(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.found.get(group)?.get(version)?.values().find(|resource| resource.kind.kind == kind).cloned()
    }

    /// The definitions of the custom kinds for OpenAPI, made when they are first asked for.
    pub fn published(&self) -> &openapi::Custom {
        self.published.get_or_init(|| {
            let common = openapi::common_properties();
            let mut all = Map::new();
            for definition in &self.definitions {
                for version in definition.versions.iter().filter(|version| version.served) {
                    let name = publish::name(&definition.group, &version.name, definition.kind());
                    all.insert(name, publish::schema(definition, version, &common));
                }
            }
            openapi::Custom::new(all)
        })
    }
}

/// The order of versions, the most stable and newest first: v2, v1, v1beta1, v1alpha1, then all others by name.
fn priority(version: &str) -> (u8, Reverse<u8>, Reverse<u64>, Reverse<u64>, String) {
    let other = || (1, Reverse(0), Reverse(0), Reverse(0), version.to_owned());
    let Some(rest) = version.strip_prefix('v') else { return other() };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (major, suffix) = rest.split_at(digits);
    let Ok(major) = major.parse::<u64>() else { return other() };
    let (stability, minor) = match suffix {
        "" => return (0, Reverse(2), Reverse(major), Reverse(0), String::new()),
        beta if beta.starts_with("beta") => (1, &beta[4..]),
        alpha if alpha.starts_with("alpha") => (0, &alpha[5..]),
        _ => return other(),
    };
    match minor.parse::<u64>() {
        Ok(minor) => (0, Reverse(stability), Reverse(major), Reverse(minor), String::new()),
        Err(_) => other(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_an_order() {
        let mut versions =
            ["v1alpha1", "foo1", "v10", "v2", "v11beta2", "v3beta1", "v12alpha1", "v1", "v11alpha2", "foo10"];
        versions.sort_by_key(|version| priority(version));
        let order = ["v10", "v2", "v1", "v11beta2", "v3beta1", "v12alpha1", "v11alpha2", "v1alpha1", "foo1", "foo10"];
        assert_eq!(versions, order);
    }
}
