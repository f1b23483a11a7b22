//! The named schemas of the documents: those build.rs made, those of custom resources, and the lists of all kinds.
//!
//! They are parsed one at a time and dropped when they are written: all of them at once would cost more memory than the
//! rest of the server.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::{
    embedded::{Line, Lines},
    operations::Content,
};
use crate::kinds::{Kind, Verb};

pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const GVK: &str = "x-kubernetes-group-version-kind";

/// All definitions in the form OpenAPI v3 has them, found by name or by kind, and parsed only when they are written.
pub(super) struct Definitions<'a> {
    built_in: &'a Lines,
    custom: &'a Map<String, Value>,
    /// What follows from the kinds: lists; and the kinds everything can be deleted and watched with.
    made: HashMap<String, Value>,
    names: HashMap<[String; 3], String>,
}

impl<'a> Definitions<'a> {
    pub(super) fn new(
        kinds: &[Kind],
        built_in: &'a Lines,
        custom: &'a Map<String, Value>,
        group_versions: &[(&str, &str)],
    ) -> Definitions<'a> {
        let mut definitions = Definitions { built_in, custom, made: HashMap::new(), names: HashMap::new() };
        for line in built_in.iter() {
            definitions.names.extend(line.kinds().map(|kind| (kind, line.name.to_owned())));
        }
        for (name, schema) in custom {
            for gvk in schema[GVK].as_array().into_iter().flatten() {
                let kind = ["group", "version", "kind"].map(|key| gvk[key].as_str().unwrap_or_default().to_owned());
                definitions.names.insert(kind, name.clone());
            }
        }
        let wanted = |kind: &&Kind| kind.has(Verb::List) && group_versions.contains(&(&*kind.group, &*kind.version));
        for kind in kinds.iter().filter(wanted) {
            definitions.add_list(kind);
        }
        definitions.add_common(group_versions);
        definitions
    }

    fn add_list(&mut self, kind: &Kind) {
        let own = [kind.group.clone(), kind.version.clone(), kind.kind.clone()];
        let Some(item) = self.names.get(&own).cloned() else { return };
        let name = match item.rsplit_once('.') {
            Some((package, _)) => format!("{package}.{}", kind.list_kind),
            None => kind.list_kind.clone(),
        };
        let list = json!({
            "description": format!("{} is a list of {}.", kind.list_kind, kind.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": { "type": "string", "description": "The group and version of this representation." },
                "kind": { "type": "string", "description": "The kind of this representation, in CamelCase." },
                "metadata": {
                    "allOf": [{ "$ref": format!("#/components/schemas/{META}ListMeta") }],
                    "default": {},
                    "description": "Standard list metadata.",
                },
                "items": {
                    "type": "array",
                    "items": { "$ref": format!("#/components/schemas/{item}") },
                    "description": format!("The objects of kind {}.", kind.kind),
                },
            },
            GVK: [{ "group": kind.group, "version": kind.version, "kind": kind.list_kind }],
        });
        self.made.insert(name.clone(), list);
        self.names.insert([kind.group.clone(), kind.version.clone(), kind.list_kind.clone()], name);
    }

    /// Delete options and watch events belong to every group version, also to the core group's.
    fn add_common(&mut self, group_versions: &[(&str, &str)]) {
        let mut all = group_versions.to_vec();
        all.push(("", "v1"));
        all.sort_unstable();
        all.dedup();
        for kind in ["DeleteOptions", "WatchEvent"] {
            let name = format!("{META}{kind}");
            if let Some(mut schema) = self.built_in.iter().find(|line| line.name == name).map(Line::schema) {
                schema[GVK] = all
                    .iter()
                    .map(|(group, version)| json!({ "group": group, "version": version, "kind": kind }))
                    .collect();
                self.made.insert(name, schema);
            }
        }
    }

    /// The definition of what a request or answer carries; `None` for text and streams.
    pub(super) fn name(&self, content: &Content) -> Option<String> {
        match content {
            Content::Kind(group, version, kind) => {
                self.names.get(&[group.clone(), version.clone(), kind.clone()]).cloned()
            }
            Content::Meta("Info") => Some("io.k8s.apimachinery.pkg.version.Info".to_owned()),
            Content::Meta(kind) => Some(format!("{META}{kind}")),
            Content::Text | Content::Stream => None,
        }
    }

    pub(super) fn is_custom(&self, name: &str) -> bool {
        self.custom.contains_key(name)
    }

    /// Every definition, one after the other.
    pub(super) fn all(&self) -> impl Iterator<Item = (String, Value)> {
        let own = self.built_in.iter().filter(|line| !self.made.contains_key(line.name));
        let own = own.map(|line| (line.name.to_owned(), line.schema()));
        let more = self.made.iter().chain(self.custom).map(|(name, schema)| (name.clone(), schema.clone()));
        own.chain(more)
    }

    /// The named definitions and those they refer to, one after the other.
    pub(super) fn reachable(&self, names: BTreeSet<String>) -> impl Iterator<Item = (String, Value)> {
        let lines: HashMap<&str, Line<'_>> = self.built_in.iter().map(|line| (line.name, line)).collect();
        let mut wanted: Vec<String> = names.iter().cloned().collect();
        let mut seen = names;
        std::iter::from_fn(move || {
            loop {
                let name = wanted.pop()?;
                let made = self.made.get(&name).or_else(|| self.custom.get(&name)).cloned();
                let Some(schema) = made.or_else(|| lines.get(&*name).map(|line| line.schema())) else { continue };
                let mut found = Vec::new();
                references(&schema, &mut found);
                wanted.extend(found.into_iter().filter(|name| seen.insert(name.clone())));
                return Some((name, schema));
            }
        })
    }
}

/// Collects the names a schema refers to.
fn references(schema: &Value, found: &mut Vec<String>) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(reference) if key == "$ref" => {
                        found.extend(reference.rsplit('/').next().map(str::to_owned));
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// A v3 schema in the words of v2: references stand alone, there are no defaults, no alternatives.
pub(super) fn to_v2(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    if let Some(reference) = map.remove("allOf").and_then(|all| all.get(0)?.get("$ref").cloned()) {
        map.insert("$ref".into(), reference);
    }
    if let Some(Value::String(reference)) = map.get_mut("$ref") {
        *reference = reference.replace("#/components/schemas/", "#/definitions/");
    }
    if map.remove("oneOf").is_some() {
        map.insert("type".into(), json!("string"));
    }
    for keyword in ["default", "anyOf", "not", "nullable"] {
        map.remove(keyword);
    }
    for (key, inner) in map {
        match (key.as_str(), inner) {
            ("properties", Value::Object(properties)) => properties.values_mut().for_each(to_v2),
            ("items" | "additionalProperties", inner) => to_v2(inner),
            _ => {}
        }
    }
}
