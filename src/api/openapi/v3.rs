//! OpenAPI v3: one document a group version, and an index of them.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use serde_json::{Map, Value, json};

use super::{
    Custom,
    definitions::{Definitions, META},
    embedded,
    operations::{self, Content, Operation, PathItem},
    parameters,
};
use crate::{
    discovery,
    kinds::{Kind, Verb},
};

/// `/openapi/v3`: where the documents are. A document's address changes with its contents, so that clients may keep it
/// for ever.
pub fn v3_index(kinds: &[Kind], custom: &Custom) -> Value {
    let mut paths = Map::new();
    for name in names(kinds) {
        let hash = super::document_etag(&name, kinds, custom);
        let address = format!("/openapi/v3/{name}?hash={hash}");
        paths.insert(name, json!({ "serverRelativeURL": address }));
    }
    json!({ "paths": paths })
}

/// The names of all documents: `api/v1`, `apis/apps/v1`, and the small ones above them.
fn names(kinds: &[Kind]) -> Vec<String> {
    let mut names = vec!["api".to_owned(), "apis".to_owned(), "version".to_owned()];
    names.extend(discovery::versions(kinds, "").into_iter().map(|version| format!("api/{version}")));
    for group in discovery::groups(kinds) {
        names.push(format!("apis/{group}"));
        names.extend(discovery::versions(kinds, group).into_iter().map(|version| format!("apis/{group}/{version}")));
    }
    names
}

/// Writes one document by its name in the index. `None` when there is no such document.
pub fn write_v3(out: &mut dyn Write, kinds: &[Kind], custom: &Custom, name: &str) -> Option<io::Result<()>> {
    if !names(kinds).iter().any(|known| known == name) {
        return None;
    }
    let parts: Vec<&str> = name.split('/').collect();
    let (group, version) = match parts[..] {
        ["api", version] => ("", version),
        ["apis", group, version] => (group, version),
        _ => return Some(write(out, &[], custom, &[], vec![operations::describing(name)?])),
    };
    let items = operations::group_version(kinds, group, version);
    Some(write(out, kinds, custom, &[(group, version)], items))
}

fn write(
    out: &mut dyn Write,
    kinds: &[Kind],
    custom: &Custom,
    group_versions: &[(&str, &str)],
    items: Vec<PathItem>,
) -> io::Result<()> {
    let built_in = embedded::definitions();
    let definitions = Definitions::new(kinds, &built_in, &custom.definitions, group_versions);
    let mut used = BTreeSet::new();
    if !group_versions.is_empty()
        && kinds.iter().any(|kind| kind.has(Verb::Watch) && group_versions.contains(&(&*kind.group, &*kind.version)))
    {
        // What a watch answers with is not said by its operation, but clients look for it.
        used.insert(format!("{META}WatchEvent"));
    }
    let info = json!({ "title": "Kubernetes", "version": super::VERSION });
    write!(out, r#"{{"openapi":"3.0.0","info":{info},"paths":"#)?;
    super::write_object(
        out,
        items.into_iter().map(|item| {
            let written = path(&definitions, &item, &mut used);
            (item.path, written)
        }),
    )?;
    write!(out, r#","components":{{"securitySchemes":{{"BearerToken":{}}},"schemas":"#, super::bearer_token())?;
    super::write_object(out, definitions.reachable(used))?;
    out.write_all(b"}}")
}

fn path(definitions: &Definitions<'_>, item: &PathItem, used: &mut BTreeSet<String>) -> Value {
    let shared = item.shared_query();
    let mut written = Map::new();
    for operation in &item.operations {
        written.insert(operation.method.to_owned(), self::operation(definitions, operation, &shared, used));
    }
    let mut all: Vec<Value> = item
        .path_parameters()
        .into_iter()
        .map(|(name, description)| {
            json!({
                "name": name, "in": "path", "required": true, "description": description,
                "schema": { "type": "string", "uniqueItems": true },
            })
        })
        .chain(shared.iter().filter_map(|name| query(name)))
        .collect();
    all.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    if !all.is_empty() {
        written.insert("parameters".to_owned(), Value::Array(all));
    }
    Value::Object(written)
}

fn query(name: &str) -> Option<Value> {
    let parameter = parameters::query(name)?;
    Some(json!({
        "name": parameter.name, "in": "query", "description": parameter.description,
        "schema": { "type": parameter.of.as_str(), "uniqueItems": true },
    }))
}

fn operation(
    definitions: &Definitions<'_>,
    operation: &Operation,
    shared: &[&str],
    used: &mut BTreeSet<String>,
) -> Value {
    let mut schema = |content: &Content| match definitions.name(content) {
        Some(name) => {
            let reference = json!({ "$ref": format!("#/components/schemas/{name}") });
            used.insert(name);
            reference
        }
        None => json!({ "type": "string" }),
    };
    let contents = |media: &[&str], schema: &Value| -> Map<String, Value> {
        media.iter().map(|media| ((*media).to_owned(), json!({ "schema": schema }))).collect()
    };

    let answer = schema(&operation.answer);
    let mut responses = Map::new();
    for (code, description) in operation.codes {
        let content = contents(&super::answers_in(operation), &answer);
        responses.insert(code.to_string(), json!({ "description": description, "content": content }));
    }
    responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    let mut written = json!({
        "description": operation.description,
        "operationId": operation.id,
        "responses": responses,
        "tags": [operation.tag],
    });
    if let Some((action, [group, version, kind])) = &operation.action {
        written["x-kubernetes-action"] = json!(action);
        written["x-kubernetes-group-version-kind"] = json!({ "group": group, "version": version, "kind": kind });
    }
    let mut own: Vec<&str> = operation.query.iter().filter(|name| !shared.contains(name)).copied().collect();
    own.sort_unstable();
    if !own.is_empty() {
        written["parameters"] = own.into_iter().filter_map(query).collect();
    }
    if let Some((body, required)) = &operation.body {
        let schema = schema(body);
        written["requestBody"] = json!({ "content": contents(&super::taken_in(definitions, operation), &schema) });
        if *required {
            written["requestBody"]["required"] = json!(true);
        }
    }
    written
}
