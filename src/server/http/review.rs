//! Reviews: questions about identities and permissions, answered at once and stored nowhere.

use std::sync::Arc;

use mk8s_api::{
    at,
    field::{FieldError, Path},
    meta,
    status::Status,
};
use serde_json::{Value, json};

use super::dispatch::Asked;
use crate::auth::{Attributes, Decision, User};

/// The review with its status filled.
pub(super) fn answer(asked: &Asked<'_>, mut review: Value) -> Result<Value, Status> {
    let kind = &asked.resource.kind;
    review["kind"] = json!(kind.kind);
    review["apiVersion"] = json!(asked.resource.api_version);
    if !review["metadata"].is_object() {
        review["metadata"] = json!({});
    }
    let spec = review["spec"].clone();
    let status = match kind.kind.as_str() {
        "TokenReview" => token(asked, &spec)?,
        "SubjectAccessReview" => {
            check_access(&spec, true, None)?;
            access(asked, &subject(&spec), &spec)
        }
        "LocalSubjectAccessReview" => {
            check_namespace(asked, &review)?;
            check_access(&spec, true, Some(asked.namespace()))?;
            access(asked, &subject(&spec), &spec)
        }
        "SelfSubjectAccessReview" => {
            check_access(&spec, false, None)?;
            access(asked, asked.user, &spec)
        }
        "SelfSubjectRulesReview" => rules(asked, &spec)?,
        "SelfSubjectReview" => json!({"userInfo": asked.user.to_user_info()}),
        _ => return Err(Status::method_not_allowed()),
    };
    review["status"] = status;
    Ok(review)
}

fn token(asked: &Asked<'_>, spec: &Value) -> Result<Value, Status> {
    let token = spec["token"].as_str().unwrap_or_default();
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences: Vec<String> = texts(&spec["audiences"]);
    Ok(match asked.inner.authentication.review(token, &audiences) {
        Ok((user, audiences)) => {
            let mut status = json!({"authenticated": true, "user": user.to_user_info()});
            if !audiences.is_empty() {
                status["audiences"] = json!(audiences);
            }
            status
        }
        Err(error) => {
            let why = std::error::Error::source(&error)
                .map_or_else(|| error.to_string(), |source| format!("{error}: {source}"));
            json!({"user": {}, "error": why})
        }
    })
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(str::to_string)).collect()
}

/// The user that a SubjectAccessReview is about.
fn subject(spec: &Value) -> User {
    let mut user = User::new(spec["user"].as_str().unwrap_or_default(), texts(&spec["groups"]));
    user.uid = spec["uid"].as_str().unwrap_or_default().to_string();
    user.extra =
        spec["extra"].as_object().into_iter().flatten().map(|(key, values)| (key.clone(), texts(values))).collect();
    user
}

fn check_namespace(asked: &Asked<'_>, review: &Value) -> Result<(), Status> {
    let wanted = asked.namespace();
    match meta::namespace(review) {
        "" => Ok(()),
        said if said == wanted => Ok(()),
        _ => Err(Status::bad_request(format!("spec.resourceAttributes.namespace must match namespace: {wanted}"))),
    }
}

/// What is wrong with a question: `of_somebody`, it names whom it is about; `namespace`, it is about that one only.
fn check_access(spec: &Value, of_somebody: bool, namespace: Option<&str>) -> Result<(), Status> {
    let mut errors = Vec::new();
    let path = Path::new("spec");
    let (resource, other) = (at::get(spec, "resourceAttributes"), at::get(spec, "nonResourceAttributes"));
    let mut refuse = |field: &'static str, value: Value, why: &str| {
        errors.push(FieldError::invalid(&path.child(field), value, why).with_shown("NonResourceAttributes"));
    };
    match (resource, other) {
        (Some(_), Some(other)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            refuse("nonResourceAttributes", other.clone(), why);
        }
        (None, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            refuse("resourceAttributes", Value::Null, why);
        }
        _ => {}
    }
    if of_somebody && at::text(spec, "user").is_empty() && at::list(spec, "groups").is_empty() {
        let why = "at least one of user or group must be specified";
        errors.push(FieldError::invalid(&path.child("user"), "", why));
    }
    if let Some(resource) = resource {
        check_selectors(&mut errors, resource, &path.child("resourceAttributes"));
    }
    if let (Some(namespace), Some(resource)) = (namespace, resource) {
        let said = at::text(resource, "namespace");
        if said != namespace {
            let path = path.child("resourceAttributes").child("namespace");
            errors.push(FieldError::invalid(&path, said, "must match metadata.namespace"));
        }
    }
    if let (Some(_), Some(other)) = (namespace, other) {
        let why = "disallowed on this kind of request";
        let error = FieldError::invalid(&path.child("nonResourceAttributes"), other.clone(), why);
        errors.push(error.with_shown("NonResourceAttributes"));
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid("authorization.k8s.io", "", "", errors)),
    }
}

/// A selector is one text or a list of requirements.
fn check_selectors(errors: &mut Vec<FieldError>, resource: &Value, path: &Path) {
    for field in ["fieldSelector", "labelSelector"] {
        let Some(selector) = at::get(resource, field) else { continue };
        let path = path.child(field);
        let (raw, listed) = (at::text(selector, "rawSelector"), !at::list(selector, "requirements").is_empty());
        if !raw.is_empty() && listed {
            let why = "may not specified at the same time as requirements";
            errors.push(FieldError::invalid(&path.child("rawSelector"), raw, why));
        }
        if raw.is_empty() && !listed {
            let why = format!("when {path} is specified, requirements or rawSelector is required");
            errors.push(FieldError::required(&path.child("requirements"), why));
        }
    }
}

fn access(asked: &Asked<'_>, user: &User, spec: &Value) -> Value {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_string();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if !path.is_null() {
        let (verb, path) = (text(path, "verb"), text(path, "path"));
        return decided(asked, &Attributes::for_path(user, &verb, &path));
    }
    let [namespace, verb, group, version, plural, subresource, name] =
        ["namespace", "verb", "group", "version", "resource", "subresource", "name"].map(|field| text(resource, field));
    let attributes = Attributes {
        namespace: &namespace,
        version: &version,
        subresource: &subresource,
        name: &name,
        ..Attributes::for_resource(user, &verb, &group, &plural)
    };
    decided(asked, &attributes)
}

fn decided(asked: &Asked<'_>, attributes: &Attributes<'_>) -> Value {
    let authorization = &asked.inner.authorization;
    let verdict = authorization.judge(attributes);
    let mut status = json!({"allowed": verdict.decision == Decision::Allow});
    if matches!(verdict.decision, Decision::Deny(_)) {
        status["denied"] = true.into();
    }
    let reason = authorization.reason(attributes, &verdict);
    if let Some(error) = verdict.error {
        status["evaluationError"] = error.into();
    }
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn rules(asked: &Asked<'_>, spec: &Value) -> Result<Value, Status> {
    let namespace = spec["namespace"].as_str().unwrap_or_default();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let user: &Arc<User> = asked.user;
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    let listed = asked.inner.authorization.rules_of(user, namespace);
    if listed.all {
        resources.push(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
        paths.push(json!({"verbs": ["*"], "nonResourceURLs": ["*"]}));
    }
    for rule in listed.rules {
        let rule = serde_json::to_value(rule).map_err(Status::internal)?;
        let list = if rule.get("nonResourceURLs").is_some() { &mut paths } else { &mut resources };
        list.push(rule);
    }
    let mut status = json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": listed.incomplete});
    if let Some(error) = listed.error {
        status["evaluationError"] = error.into();
    }
    Ok(status)
}
