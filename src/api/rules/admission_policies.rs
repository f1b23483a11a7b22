//! ValidatingAdmissionPolicy, MutatingAdmissionPolicy and their bindings: expressions are compiled when they are written.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::at::{get, list, maybe_text, same, sub, text, texts};
use super::check::{self, Errors, invalid_each, label_selector, member, required};
use super::webhooks::{check_conditions, check_rule, reserved_name};
use super::{GENERIC, Generation, Rules, Scope};
use crate::cel::admission::{self, Variable};
use crate::cel::{self, Declarations, Type};
use crate::field::{FieldError, Path};
use crate::{meta, names};

pub(super) static VALIDATING: Rules = Rules {
    scope: Scope::Cluster,
    known_finalizers: false,
    generation: Generation::Spec,
    has_status: true,
    validate: |policy, errors| check_validating(errors, policy, true),
    validate_update: Some(|new, old, errors| check_validating(errors, new, conditions_changed(new, old))),
    prepare_status_update: check::keep_metadata,
    validate_status_update: |new, _, errors| check_status(errors, sub(new, "status"), &Path::new("status")),
    warnings: reserved_name,
    ..GENERIC
};

pub(super) static MUTATING: Rules = Rules {
    has_status: false,
    validate: |policy, errors| check_mutating(errors, policy, true),
    validate_update: Some(|new, old, errors| check_mutating(errors, new, conditions_changed(new, old))),
    ..VALIDATING
};

pub(super) static VALIDATING_BINDING: Rules = Rules {
    scope: Scope::Cluster,
    known_finalizers: false,
    generation: Generation::Spec,
    warnings: reserved_name,
    validate: |binding, errors| {
        check_binding(errors, binding);
        check_actions(errors, binding);
    },
    ..GENERIC
};

pub(super) static MUTATING_BINDING: Rules = Rules {
    validate: |binding, errors| {
        check_binding(errors, binding);
        let path = Path::new("spec").child("matchResources");
        check_operations(errors, sub(sub(binding, "spec"), "matchResources"), &path);
    },
    ..VALIDATING_BINDING
};

const MAX_AUDIT_ANNOTATIONS: usize = 20;
const MAX_VALUE_EXPRESSION: usize = 5 * 1024;

/// Conditions that an update leaves alone are not looked at again, if all else about matching stays too.
fn conditions_changed(new: &Value, old: &Value) -> bool {
    let of = |policy| sub(sub(policy, "spec"), "matchConditions");
    let params = |policy| sub(sub(policy, "spec"), "paramKind");
    !same(of(new), of(old)) || !same(params(new), params(old))
}

/// What the check of a policy's types found, and its conditions.
fn check_status(errors: &mut Errors, status: &Value, path: &Path) {
    let warnings = path.child("typeChecking").child("expressionWarnings");
    for (n, warning) in list(sub(status, "typeChecking"), "expressionWarnings").iter().enumerate() {
        let path = warnings.index(n);
        required(errors, text(warning, "warning"), &path.child("warning"));
        required(errors, text(warning, "fieldRef"), &path.child("fieldRef"));
    }
    check::conditions(errors, list(status, "conditions"), &path.child("conditions"));
}

fn has_newlines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

/// The part that both kinds of policies have. What expressions are compiled with comes back.
fn check_policy(errors: &mut Errors, policy: &Value, conditions: bool, path: &Path) -> Vec<Variable> {
    let spec = sub(policy, "spec");
    let failure = text(spec, "failurePolicy");
    if failure.is_empty() {
        errors.push(FieldError::required(&path.child("failurePolicy"), ""));
    } else {
        member(errors, failure, &["Fail", "Ignore"], &path.child("failurePolicy"));
    }
    let params = get(spec, "paramKind");
    if let Some(kind) = params {
        check_param_kind(errors, kind, &path.child("paramKind"));
    }
    let at = path.child("matchConstraints");
    match get(spec, "matchConstraints") {
        None => errors.push(FieldError::required(&at, "")),
        Some(constraints) => {
            check_match(errors, constraints, &at);
            if list(constraints, "resourceRules").is_empty() {
                errors.push(FieldError::required(&at.child("resourceRules"), ""));
            }
        }
    }
    if conditions {
        check_conditions(errors, list(spec, "matchConditions"), params.is_some(), &path.child("matchConditions"));
    }
    check_variables(errors, list(spec, "variables"), params.is_some(), path)
}

fn check_variables(errors: &mut Errors, variables: &[Value], params: bool, path: &Path) -> Vec<Variable> {
    let scope = admission::Scope { params, authorizer: true, mutation: false };
    let mut compiled: Vec<Variable> = Vec::new();
    for (n, variable) in variables.iter().enumerate() {
        let path = path.child("variables").index(n);
        let (name, expression) = (text(variable, "name"), text(variable, "expression"));
        if name.trim().is_empty() {
            errors.push(FieldError::required(&path.child("name"), "name is not specified"));
        } else if !names::c_identifier(name).is_empty() || cel::is_reserved(name) {
            errors.push(FieldError::invalid(&path.child("name"), name, "must be a valid CEL identifier"));
        }
        if expression.trim().is_empty() {
            errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
            continue;
        }
        let result = admission::compile_for(expression, &scope.declarations(Some(&compiled)), &[]);
        if let Err(why) = &result {
            errors.push(FieldError::invalid(&path.child("expression"), expression, why.as_str()));
        }
        compiled.push(Variable { name: name.to_string(), compiled: result });
    }
    compiled
}

/// The declarations of an expression of the policy.
fn declarations(policy: &Value, variables: &[Variable], scope: admission::Scope) -> Declarations {
    let params = get(sub(policy, "spec"), "paramKind").is_some();
    admission::Scope { params, ..scope }.declarations((!variables.is_empty()).then_some(variables))
}

fn check_expression(errors: &mut Errors, source: &str, declarations: &Declarations, wanted: &[Type], path: &Path) {
    if let Err(why) = admission::compile_for(source, declarations, wanted) {
        errors.push(FieldError::invalid(path, source, why));
    }
}

fn check_validating(errors: &mut Errors, policy: &Value, conditions: bool) {
    let (spec, path) = (sub(policy, "spec"), Path::new("spec"));
    let variables = check_policy(errors, policy, conditions, &path);
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        for field in ["validations", "auditAnnotations"] {
            let why = "validations or auditAnnotations must contain at least one item";
            errors.push(FieldError::required(&path.child(field), why));
        }
        return;
    }
    let scope = admission::Scope { authorizer: true, ..admission::Scope::default() };
    let declared = declarations(policy, &variables, scope);
    let for_messages = declarations(policy, &variables, admission::Scope::default());
    for (n, validation) in validations.iter().enumerate() {
        check_validation(errors, validation, &declared, &for_messages, &path.child("validations").index(n));
    }
    if annotations.len() > MAX_AUDIT_ANNOTATIONS {
        let why = format!("must not have more than {MAX_AUDIT_ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid(&path.child("auditAnnotations"), json!(annotations), why));
    }
    let mut keys = BTreeSet::new();
    for (n, annotation) in annotations.iter().enumerate() {
        let path = path.child("auditAnnotations").index(n);
        check_annotation(errors, annotation, meta::name(policy), &declared, &path);
        if !keys.insert(text(annotation, "key")) {
            errors.push(FieldError::duplicate(&path.child("key"), text(annotation, "key")));
        }
    }
}

fn check_validation(
    errors: &mut Errors,
    validation: &Value,
    declared: &Declarations,
    for_messages: &Declarations,
    path: &Path,
) {
    let expression = text(validation, "expression");
    if expression.trim().is_empty() {
        errors.push(FieldError::required(&path.child("expression"), "expression is not specified"));
    } else {
        check_expression(errors, expression, declared, &[Type::Bool], &path.child("expression"));
    }
    let by_expression = text(validation, "messageExpression");
    if !by_expression.is_empty() {
        let at = path.child("messageExpression");
        if by_expression.trim().is_empty() {
            errors.push(FieldError::invalid(&at, by_expression, "must be non-empty if specified"));
        } else {
            check_expression(errors, by_expression, for_messages, &[Type::String], &at);
        }
    }
    let message = text(validation, "message");
    if !message.is_empty() && message.trim().is_empty() {
        errors.push(FieldError::invalid(&path.child("message"), message, "must be non-empty if specified"));
    } else if has_newlines(message.trim()) {
        errors.push(FieldError::invalid(&path.child("message"), message, "must not contain line breaks"));
    }
    if let Some(reason) = maybe_text(validation, "reason") {
        let allowed = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
        member(errors, reason, &allowed, &path.child("reason"));
    }
}

fn check_annotation(errors: &mut Errors, annotation: &Value, policy: &str, declared: &Declarations, path: &Path) {
    let key = text(annotation, "key");
    if policy.is_empty() {
        errors.push(FieldError::invalid(&path.child("key"), key, "requires metadata.name be non-empty"));
    } else {
        let whole = format!("{policy}/{key}");
        invalid_each(errors, names::qualified_name(&whole), || path.child("key"), &whole);
    }
    let (expression, at) = (text(annotation, "valueExpression"), path.child("valueExpression"));
    let trimmed = expression.trim();
    if trimmed.is_empty() {
        errors.push(FieldError::required(&at, "valueExpression is not specified"));
    } else if trimmed.len() > MAX_VALUE_EXPRESSION {
        errors.push(FieldError::required(&at, format!("must not exceed {MAX_VALUE_EXPRESSION} bytes in length")));
    } else {
        check_expression(errors, trimmed, declared, &[Type::String, Type::Null], &at);
    }
}

fn check_mutating(errors: &mut Errors, policy: &Value, conditions: bool) {
    let (spec, path) = (sub(policy, "spec"), Path::new("spec"));
    let variables = check_policy(errors, policy, conditions, &path);
    check_operations(errors, sub(spec, "matchConstraints"), &path.child("matchConstraints"));
    let mutations = list(spec, "mutations");
    if mutations.is_empty() {
        errors.push(FieldError::required(&path.child("mutations"), "mutations must contain at least one item"));
    }
    let scope = admission::Scope { authorizer: true, mutation: true, ..admission::Scope::default() };
    // Variables are declared even where there are none.
    let params = get(spec, "paramKind").is_some();
    let declared = admission::Scope { params, ..scope }.declarations(Some(&variables));
    for (n, mutation) in mutations.iter().enumerate() {
        check_mutation(errors, mutation, &declared, &path.child("mutations").index(n));
    }
    let policy = text(spec, "reinvocationPolicy");
    if policy.is_empty() {
        errors.push(FieldError::required(&path.child("reinvocationPolicy"), ""));
    } else {
        member(errors, policy, &["IfNeeded", "Never"], &path.child("reinvocationPolicy"));
    }
}

fn check_mutation(errors: &mut Errors, mutation: &Value, declared: &Declarations, path: &Path) {
    let kind = text(mutation, "patchType");
    let (field, other) = match kind {
        "" => return errors.push(FieldError::required(&path.child("patchType"), "")),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        _ => return member(errors, kind, &["ApplyConfiguration", "JSONPatch"], &path.child("patchType")),
    };
    match get(mutation, field) {
        None => {
            errors.push(FieldError::required(&path.child(field), format!("must be specified when patchType is {kind}")))
        }
        Some(patch) => {
            let (expression, at) = (text(patch, "expression").trim(), path.child(field).child("expression"));
            if expression.is_empty() {
                errors.push(FieldError::required(&at, ""));
            } else {
                check_expression(errors, expression, declared, &[mutation_type(kind)], &at);
            }
        }
    }
    if get(mutation, other).is_some() {
        let why = format!("must not be specified when patchType is {kind}");
        errors.push(FieldError::invalid(&path.child(other), format!("{{{other}}}"), why));
    }
}

/// What an expression of the patch type gives.
fn mutation_type(kind: &str) -> Type {
    match kind {
        "JSONPatch" => Type::list(Type::Struct("JSONPatch".into())),
        _ => Type::Struct("Object".into()),
    }
}

fn check_operations(errors: &mut Errors, constraints: &Value, path: &Path) {
    for operation in list(constraints, "resourceRules").iter().flat_map(|rule| texts(rule, "operations")) {
        member(
            errors,
            operation,
            &["*", "CONNECT", "CREATE", "UPDATE"],
            &path.child("resourceRules").child("operations"),
        );
    }
}

fn check_param_kind(errors: &mut Errors, kind: &Value, path: &Path) {
    let (api_version, name) = (text(kind, "apiVersion"), text(kind, "kind"));
    let at = path.child("apiVersion");
    if api_version.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if api_version.matches('/').count() > 1 {
        errors.push(FieldError::invalid(&at, api_version, format!("unexpected GroupVersion string: {api_version}")));
    } else {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if !group.is_empty() {
            let wrong = names::dns1123_subdomain(group);
            if !wrong.is_empty() {
                errors.push(FieldError::invalid(&at, group, wrong.join(",")));
            }
        }
        let wrong = names::dns1035_label(version);
        if version.is_empty() {
            errors.push(FieldError::invalid(&at, api_version, "version must be specified"));
        } else if !wrong.is_empty() {
            errors.push(FieldError::invalid(&at, version, wrong.join(",")));
        }
    }
    let wrong = names::dns1035_label(&name.to_lowercase());
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("kind"), ""));
    } else if !wrong.is_empty() {
        let why = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
        errors.push(FieldError::invalid(&path.child("kind"), name, why));
    }
}

fn check_match(errors: &mut Errors, constraints: &Value, path: &Path) {
    let policy = text(constraints, "matchPolicy");
    if policy.is_empty() {
        errors.push(FieldError::required(&path.child("matchPolicy"), ""));
    } else {
        member(errors, policy, &["Equivalent", "Exact"], &path.child("matchPolicy"));
    }
    for field in ["namespaceSelector", "objectSelector"] {
        match get(constraints, field) {
            None => errors.push(FieldError::required(&path.child(field), "")),
            Some(selector) => label_selector(errors, selector, &path.child(field)),
        }
    }
    for field in ["resourceRules", "excludeResourceRules"] {
        for (n, rule) in list(constraints, field).iter().enumerate() {
            let path = path.child(field).index(n);
            let mut seen = BTreeSet::new();
            for (n, name) in texts(rule, "resourceNames").enumerate() {
                let at = path.child("resourceNames").index(n);
                invalid_each(errors, names::path_segment(name), || at.clone(), name);
                if !seen.insert(name) {
                    errors.push(FieldError::duplicate(&at, name));
                }
            }
            check_rule(errors, rule, &path);
        }
    }
}

fn check_binding(errors: &mut Errors, binding: &Value) {
    let (spec, path) = (sub(binding, "spec"), Path::new("spec"));
    let policy = text(spec, "policyName");
    if policy.is_empty() {
        errors.push(FieldError::required(&path.child("policyName"), ""));
    } else {
        invalid_each(errors, names::dns1123_subdomain(policy), || path.child("policyName"), policy);
    }
    if let Some(params) = get(spec, "paramRef") {
        check_param_ref(errors, params, &path.child("paramRef"));
    }
    if let Some(resources) = get(spec, "matchResources") {
        check_match(errors, resources, &path.child("matchResources"));
    }
}

fn check_param_ref(errors: &mut Errors, params: &Value, path: &Path) {
    let (name, selector) = (text(params, "name"), get(params, "selector"));
    let exclusive = "name and selector are mutually exclusive";
    if !name.is_empty() {
        invalid_each(errors, names::path_segment(name), || path.child("name"), name);
        if selector.is_some() {
            errors.push(FieldError::forbidden(&path.child("name"), exclusive));
        }
    }
    if let Some(selector) = selector {
        label_selector(errors, selector, &path.child("selector"));
        if !name.is_empty() {
            errors.push(FieldError::forbidden(&path.child("selector"), exclusive));
        }
    }
    if name.is_empty() && selector.is_none() {
        errors.push(FieldError::required(path, "one of name or selector must be specified"));
    }
    let (action, at) = (text(params, "parameterNotFoundAction"), path.child("parameterNotFoundAction"));
    if action.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        member(errors, action, &["Deny", "Allow"], &at);
    }
}

fn check_actions(errors: &mut Errors, binding: &Value) {
    let (spec, path) = (sub(binding, "spec"), Path::new("spec").child("validationActions"));
    let mut seen = BTreeSet::new();
    for (n, action) in texts(spec, "validationActions").enumerate() {
        member(errors, action, &["Audit", "Deny", "Warn"], &path.index(n));
        if !seen.insert(action) {
            errors.push(FieldError::duplicate(&path.index(n), action));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(FieldError::invalid(&path, sub(spec, "validationActions").clone(), why));
    }
    if seen.is_empty() {
        errors.push(FieldError::required(&path, "at least one validation action is required"));
    }
}

/// A match condition's expression: `params` where the policy has some.
pub(super) fn check_condition_expression(errors: &mut Errors, expression: &str, params: bool, path: &Path) {
    let scope = admission::Scope { params, authorizer: true, mutation: false };
    check_expression(errors, expression, &scope.declarations(None), &[cel::Type::Bool], path);
}
