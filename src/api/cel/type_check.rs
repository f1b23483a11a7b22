//! Types of a ValidatingAdmissionPolicy's expressions against the kinds it names: mistakes that would only show when a request comes
//! are told in the policy's status.

use std::sync::Arc;

use serde_json::Value as Json;

use super::DeclType;
use super::admission::{Scope, Variable, compile_for};
use crate::{at, kinds, schema};

/// No more kinds are checked for one policy.
const MAX_KINDS: usize = 10;

/// What is wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// `spec.validations[0].expression`
    pub field_ref: String,
    pub warning: String,
}

/// A kind with the types of its objects.
struct Typed {
    /// `apps/v1, Kind=Deployment`
    name: String,
    of: Arc<DeclType>,
}

/// The warnings about a policy. `definitions` are the CustomResourceDefinitions of the cluster.
pub fn warnings(policy: &Json, definitions: &[Json]) -> Vec<Warning> {
    let spec = at::sub(policy, "spec");
    let kinds = kinds_of(spec, definitions);
    let params = at::get(spec, "paramKind");
    let params_of = params.and_then(|kind| {
        let (group, version) = kinds::split_api_version(at::text(kind, "apiVersion"));
        type_of(group, version, at::text(kind, "kind"), definitions)
    });
    let scope = Scope { params: params.is_some(), authorizer: true, mutation: false };
    let mut warnings = Vec::new();
    for (n, validation) in at::list(spec, "validations").iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let expression = at::text(validation, field);
            if expression.is_empty() {
                continue;
            }
            let told: Vec<String> = kinds
                .iter()
                .filter_map(|kind| {
                    let why = check(spec, expression, scope, &kind.of, params_of.as_ref())?;
                    Some(format!("{}: {why}\n", kind.name))
                })
                .collect();
            if !told.is_empty() {
                let field_ref = format!("spec.validations[{n}].{field}");
                warnings.push(Warning { field_ref, warning: told.join("\n") });
            }
        }
    }
    warnings
}

/// Why the expression is wrong for objects of the type, if it is.
fn check(
    spec: &Json,
    expression: &str,
    scope: Scope,
    object: &Arc<DeclType>,
    params: Option<&Arc<DeclType>>,
) -> Option<String> {
    let mut variables: Vec<Variable> = Vec::new();
    for variable in at::list(spec, "variables") {
        let declared = scope.typed_declarations(Some(&variables), Some(object), params);
        let compiled = compile_for(at::text(variable, "expression"), &declared, &[]);
        variables.push(Variable { name: at::text(variable, "name").to_string(), compiled });
    }
    compile_for(expression, &scope.typed_declarations(Some(&variables), Some(object), params), &[]).err()
}

/// The kinds that the policy's rules name plainly.
fn kinds_of(spec: &Json, definitions: &[Json]) -> Vec<Typed> {
    let mut found: Vec<Typed> = Vec::new();
    for rule in at::list(at::sub(spec, "matchConstraints"), "resourceRules") {
        let plain = |field: &str| -> Vec<String> {
            let names: Vec<String> = at::texts(rule, field).map(str::to_string).collect();
            if names.iter().any(|name| name == "*") { Vec::new() } else { names }
        };
        for group in plain("apiGroups") {
            for version in plain("apiVersions") {
                for resource in at::texts(rule, "resources").filter(|name| !name.contains(['*', '/'])) {
                    let Some(kind) = kind_named(&group, &version, resource, definitions) else { continue };
                    let name = format!("{group}/{version}, Kind={kind}");
                    if found.len() < MAX_KINDS
                        && found.iter().all(|known| known.name != name)
                        && let Some(of) = type_of(&group, &version, &kind, definitions)
                    {
                        found.push(Typed { name, of });
                    }
                }
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn kind_named(group: &str, version: &str, resource: &str, definitions: &[Json]) -> Option<String> {
    if let Some(kind) = kinds::find(group, version, resource) {
        return Some(kind.kind.to_string());
    }
    let definition = definitions.iter().find(|definition| {
        let spec = at::sub(definition, "spec");
        at::text(spec, "group") == group && at::text(at::sub(spec, "names"), "plural") == resource
    })?;
    Some(at::text(at::sub(at::sub(definition, "spec"), "names"), "kind").to_string())
}

fn type_of(group: &str, version: &str, kind: &str, definitions: &[Json]) -> Option<Arc<DeclType>> {
    if let Some(schema) = schema::schema_of(group, version, kind) {
        return schema::decl_type(schema.node(), kind).map(Arc::new);
    }
    let definition = definitions.iter().find(|definition| {
        let spec = at::sub(definition, "spec");
        at::text(spec, "group") == group && at::text(at::sub(spec, "names"), "kind") == kind
    })?;
    let versions = at::list(at::sub(definition, "spec"), "versions");
    let served = versions.iter().find(|served| at::text(served, "name") == version)?;
    DeclType::from_schema(at::sub(at::sub(served, "schema"), "openAPIV3Schema"), kind, true).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn mistakes_of_types_are_told() {
        let policy = |validation: Json| {
            json!({"spec": {
                "matchConstraints": {"resourceRules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}]},
                "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
                "validations": [validation],
            }})
        };
        assert_eq!(
            warnings(
                &policy(json!({"expression": "variables.replicas > 1 && object.metadata.labels['a'] == 'b'"})),
                &[]
            ),
            []
        );
        let told = warnings(
            &policy(
                json!({"expression": "object.spec.replicas > '1'", "messageExpression": "'got ' + variables.replicas"}),
            ),
            &[],
        );
        let fields: Vec<&str> = told.iter().map(|warning| warning.field_ref.as_str()).collect();
        assert_eq!(fields, ["spec.validations[0].expression", "spec.validations[0].messageExpression"]);
        assert!(told[0].warning.starts_with("apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'"), "{}", told[0].warning);
        assert!(told[1].warning.contains("found no matching overload for '_+_' applied to '(string, int)'"));
    }
}
