//! Reviews: questions about identities and permissions, answered at once and stored nowhere.

use std::sync::Arc;

use mk8s_api::{meta, status::Status};
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
        "SubjectAccessReview" => access(asked, &subject(&spec)?, &spec)?,
        "LocalSubjectAccessReview" => {
            check_namespace(asked, &review, &spec)?;
            access(asked, &subject(&spec)?, &spec)?
        }
        "SelfSubjectAccessReview" => access(asked, asked.user, &spec)?,
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
fn subject(spec: &Value) -> Result<User, Status> {
    let name = spec["user"].as_str().unwrap_or_default();
    let groups = texts(&spec["groups"]);
    if name.is_empty() && groups.is_empty() {
        return Err(Status::bad_request("spec.user: Invalid value: at least one of user or group must be specified"));
    }
    let mut user = User::new(name, groups);
    user.uid = spec["uid"].as_str().unwrap_or_default().to_string();
    user.extra =
        spec["extra"].as_object().into_iter().flatten().map(|(key, values)| (key.clone(), texts(values))).collect();
    Ok(user)
}

fn check_namespace(asked: &Asked<'_>, review: &Value, spec: &Value) -> Result<(), Status> {
    let wanted = asked.namespace();
    let said = [meta::namespace(review), spec["resourceAttributes"]["namespace"].as_str().unwrap_or_default()];
    if said.iter().any(|namespace| !namespace.is_empty() && *namespace != wanted) {
        return Err(Status::bad_request(format!("spec.resourceAttributes.namespace must match namespace: {wanted}")));
    }
    Ok(())
}

fn access(asked: &Asked<'_>, user: &User, spec: &Value) -> Result<Value, Status> {
    let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_string();
    let (resource, path) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    if resource.is_null() == path.is_null() {
        return Err(Status::bad_request(
            "spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    }
    if !path.is_null() {
        let (verb, path) = (text(path, "verb"), text(path, "path"));
        return Ok(decided(asked, &Attributes::for_path(user, &verb, &path)));
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
    Ok(decided(asked, &attributes))
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
