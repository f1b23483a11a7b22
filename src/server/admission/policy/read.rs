//! Policies and bindings, read and compiled once when they change.

use std::sync::Arc;

use mk8s_api::{
    cel::{
        Compiled, Declarations, Type,
        admission::{self, Scope, Variable},
    },
    meta,
};
use serde_json::Value;

use super::{conditions::Condition, matching::Criteria};
use crate::stored::items;

/// A policy with the bindings that put it to use.
#[derive(Debug)]
pub(super) struct Bound<P> {
    pub(super) policy: Arc<Policy<P>>,
    pub(super) bindings: Vec<Arc<Binding>>,
}

#[derive(Debug)]
pub(super) struct Policy<P> {
    pub(super) name: String,
    /// Errors let requests pass.
    pub(super) ignores_failure: bool,
    pub(super) criteria: Criteria,
    pub(super) params: Option<ParamKind>,
    pub(super) conditions: Vec<Condition>,
    pub(super) variables: Vec<Variable>,
    /// The variables that its expressions have.
    pub(super) scope: Scope,
    pub(super) parts: P,
}

#[derive(Debug)]
pub(super) struct ParamKind {
    pub(super) api_version: String,
    pub(super) kind: String,
}

#[derive(Debug)]
pub(super) struct Validating {
    pub(super) validations: Vec<Validation>,
    pub(super) annotations: Vec<Annotation>,
}

#[derive(Debug)]
pub(super) struct Validation {
    pub(super) expression: Expression,
    pub(super) message: String,
    pub(super) message_expression: Option<Expression>,
    pub(super) reason: String,
}

#[derive(Debug)]
pub(super) struct Annotation {
    pub(super) key: String,
    pub(super) value: Expression,
}

#[derive(Debug)]
pub(super) struct Mutating {
    pub(super) mutations: Vec<Mutation>,
    /// Wants another look when the object changed after it.
    pub(super) reinvoke: bool,
}

#[derive(Debug)]
pub(super) struct Mutation {
    pub(super) expression: Expression,
    /// Whether it gives a JSON patch, not an apply configuration.
    pub(super) is_patch: bool,
}

/// An expression, compiled if it can be.
#[derive(Debug)]
pub(super) struct Expression {
    pub(super) source: String,
    pub(super) compiled: Result<Compiled, String>,
    pub(super) scope: Scope,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) params: Option<ParamRef>,
    /// What the binding narrows the policy to.
    pub(super) criteria: Option<Criteria>,
    /// `Deny`, `Warn`, `Audit`.
    pub(super) actions: Vec<String>,
}

#[derive(Debug)]
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Value,
    /// Without parameters the request is refused.
    pub(super) required: bool,
}

impl Expression {
    fn read(source: &str, scope: Scope, declarations: &Declarations, wanted: &[Type]) -> Expression {
        Expression { source: source.to_string(), compiled: admission::compile_for(source, declarations, wanted), scope }
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

/// Declarations of a policy's expressions in a scope.
fn declarations(scope: Scope, variables: &[Variable], always: bool) -> Declarations {
    scope.declarations((always || !variables.is_empty()).then_some(variables))
}

impl<P> Policy<P> {
    fn read(policy: &Value, parts: impl FnOnce(&Value, Scope, &[Variable]) -> P) -> Policy<P> {
        let spec = &policy["spec"];
        let params = spec["paramKind"].is_object().then(|| ParamKind {
            api_version: text(&spec["paramKind"], "apiVersion").to_string(),
            kind: text(&spec["paramKind"], "kind").to_string(),
        });
        let scope = Scope { params: params.is_some(), authorizer: true, mutation: false };
        let sources =
            items(&spec["variables"]).iter().map(|variable| (text(variable, "name"), text(variable, "expression")));
        let variables = admission::compile_variables(sources, scope);
        Policy {
            name: meta::name(policy).to_string(),
            ignores_failure: text(spec, "failurePolicy") == "Ignore",
            criteria: Criteria::read(&spec["matchConstraints"]),
            conditions: items(&spec["matchConditions"])
                .iter()
                .map(|condition| Condition::read(condition, params.is_some()))
                .collect(),
            parts: parts(spec, scope, &variables),
            params,
            variables,
            scope,
        }
    }
}

pub(super) fn validating(policy: &Value) -> Policy<Validating> {
    Policy::read(policy, |spec, scope, variables| {
        let declared = declarations(scope, variables, false);
        let for_messages = Scope { authorizer: false, ..scope };
        let declared_for_messages = declarations(for_messages, variables, false);
        let validations = items(&spec["validations"]).iter().map(|validation| {
            let message_expression = text(validation, "messageExpression");
            Validation {
                expression: Expression::read(text(validation, "expression"), scope, &declared, &[Type::Bool]),
                message: text(validation, "message").trim().to_string(),
                message_expression: (!message_expression.is_empty()).then(|| {
                    Expression::read(message_expression, for_messages, &declared_for_messages, &[Type::String])
                }),
                reason: text(validation, "reason").to_string(),
            }
        });
        let annotations = items(&spec["auditAnnotations"]).iter().map(|annotation| Annotation {
            key: text(annotation, "key").to_string(),
            value: Expression::read(
                text(annotation, "valueExpression").trim(),
                scope,
                &declared,
                &[Type::String, Type::Null],
            ),
        });
        Validating { validations: validations.collect(), annotations: annotations.collect() }
    })
}

pub(super) fn mutating(policy: &Value) -> Policy<Mutating> {
    Policy::read(policy, |spec, scope, variables| {
        let scope = Scope { mutation: true, ..scope };
        let declared = declarations(scope, variables, true);
        let mutations = items(&spec["mutations"]).iter().map(|mutation| {
            let is_patch = text(mutation, "patchType") == "JSONPatch";
            let (source, wanted) = if is_patch {
                (text(&mutation["jsonPatch"], "expression"), Type::list(Type::Struct("JSONPatch".into())))
            } else {
                (text(&mutation["applyConfiguration"], "expression"), Type::Struct("Object".into()))
            };
            Mutation { expression: Expression::read(source.trim(), scope, &declared, &[wanted]), is_patch }
        });
        Mutating { mutations: mutations.collect(), reinvoke: text(spec, "reinvocationPolicy") == "IfNeeded" }
    })
}

pub(super) fn binding(binding: &Value) -> Binding {
    let spec = &binding["spec"];
    let params = &spec["paramRef"];
    Binding {
        name: meta::name(binding).to_string(),
        policy: text(spec, "policyName").to_string(),
        params: params.is_object().then(|| ParamRef {
            name: text(params, "name").to_string(),
            namespace: text(params, "namespace").to_string(),
            selector: params["selector"].clone(),
            required: text(params, "parameterNotFoundAction") == "Deny",
        }),
        criteria: spec["matchResources"].is_object().then(|| Criteria::read(&spec["matchResources"])),
        actions: items(&spec["validationActions"])
            .iter()
            .filter_map(|action| action.as_str().map(str::to_string))
            .collect(),
    }
}
