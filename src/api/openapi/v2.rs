//! OpenAPI v2: everything in one document.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{
    Custom,
    definitions::{Definitions, to_v2},
    embedded,
    operations::{self, Content, Operation, PathItem},
    parameters,
};
use crate::{crd::publish::restrict_to_v2, discovery, kinds::Kind};

/// Writes `/openapi/v2`. `custom` are the definitions of kinds that are not built in.
pub fn write_v2(out: &mut dyn Write, kinds: &[Kind], custom: &Custom) -> io::Result<()> {
    let mut group_versions: Vec<(&str, &str)> = kinds.iter().map(|kind| (&*kind.group, &*kind.version)).collect();
    group_versions.sort_unstable();
    group_versions.dedup();
    let built_in = embedded::definitions();
    let definitions = Definitions::new(kinds, &built_in, &custom.definitions, &group_versions);

    let small = ["api", "apis", "version"].iter().filter_map(|name| operations::describing(name));
    let groups = discovery::groups(kinds);
    let groups = groups.iter().filter_map(|group| operations::describing(&format!("apis/{group}")));
    let large = group_versions.iter().flat_map(|(group, version)| operations::group_version(kinds, group, version));
    let items = small.chain(groups).chain(large);

    let info = json!({ "title": "Kubernetes", "version": super::VERSION });
    write!(out, r#"{{"swagger":"2.0","info":{info},"paths":"#)?;
    super::write_object(
        out,
        items.map(|item| {
            let written = path(&definitions, &item);
            (item.path, written)
        }),
    )?;
    out.write_all(br#","definitions":"#)?;
    super::write_object(
        out,
        definitions.all().map(|(name, mut schema)| {
            if definitions.is_custom(&name) {
                restrict_to_v2(&mut schema);
            }
            to_v2(&mut schema);
            (name, schema)
        }),
    )?;
    let token = super::bearer_token();
    write!(out, r#","securityDefinitions":{{"BearerToken":{token}}},"security":[{{"BearerToken":[]}}]}}"#)
}

fn path(definitions: &Definitions<'_>, item: &PathItem) -> Value {
    let shared = item.shared_query();
    let mut written = Map::new();
    for operation in &item.operations {
        written.insert(operation.method.to_owned(), self::operation(definitions, operation, &shared));
    }
    let mut all: Vec<Value> = item
        .path_parameters()
        .into_iter()
        .map(|(name, description)| {
            json!({
                "name": name, "in": "path", "required": true, "description": description,
                "type": "string", "uniqueItems": true,
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
        "type": parameter.of.as_str(), "uniqueItems": true,
    }))
}

fn operation(definitions: &Definitions<'_>, operation: &Operation, shared: &[&str]) -> Value {
    let schema = |content: &Content| match definitions.name(content) {
        Some(name) => json!({ "$ref": format!("#/definitions/{name}") }),
        None => json!({ "type": "string" }),
    };
    let answer = schema(&operation.answer);
    let mut responses = Map::new();
    for (code, description) in operation.codes {
        responses.insert(code.to_string(), json!({ "description": description, "schema": answer }));
    }
    responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));

    let mut all = Vec::new();
    if let Some((body, required)) = &operation.body {
        let mut parameter = json!({ "name": "body", "in": "body", "schema": schema(body) });
        if *required {
            parameter["required"] = json!(true);
        }
        all.push(parameter);
    }
    let mut own: Vec<&str> = operation.query.iter().filter(|name| !shared.contains(name)).copied().collect();
    own.sort_unstable();
    all.extend(own.into_iter().filter_map(query));

    let mut written = json!({
        "description": operation.description,
        "operationId": operation.id,
        "consumes": super::taken_in(definitions, operation),
        "produces": super::answers_in(operation),
        "responses": responses,
        "schemes": ["https"],
        "tags": [operation.tag],
    });
    if let Some((action, [group, version, kind])) = &operation.action {
        written["x-kubernetes-action"] = json!(action);
        written["x-kubernetes-group-version-kind"] = json!({ "group": group, "version": version, "kind": kind });
    }
    if !all.is_empty() {
        written["parameters"] = Value::Array(all);
    }
    written
}
