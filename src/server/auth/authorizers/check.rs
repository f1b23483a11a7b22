//! From the form to authorizers: everything that is wrong is said, in Kubernetes' words, with its path.

use std::{fs, io, path::Path as FilePath, sync::Arc, time::Duration};

use mk8s_api::{
    field::{FieldError, Path},
    names,
};

use super::{
    ConfigError,
    form::{AuthorizationConfiguration, Authorizer, ConnectionInfo, Nanoseconds, Webhook},
};
use crate::auth::{
    AuthorizerOptions,
    webhook::{Access, AccessWebhookOptions, Conditions, TIMEOUT},
};

/// The kinds that are there, in the order in which they are listed.
const KINDS: [&str; 5] = ["AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook"];

/// The authorizers that a file names, in order. Files that it names are read.
///
/// # Errors
/// What is wrong with it.
pub fn read(text: &str) -> Result<Vec<AuthorizerOptions>, ConfigError> {
    let form = AuthorizationConfiguration::read(text)?;
    let (root, mut errors) = (Path::root(), Vec::new());
    let list = root.child("authorizers");
    if form.authorizers.is_empty() {
        errors.push(FieldError::required(&list, "at least one authorization mode must be defined"));
    }
    let (mut kinds, mut named, mut read) = (Vec::new(), Vec::new(), Vec::new());
    for (index, authorizer) in form.authorizers.iter().enumerate() {
        let (path, kind) = (list.index(index), authorizer.kind.as_str());
        let refused = match kind {
            "" => Some(FieldError::required(&path.child("type"), "")),
            _ if !KINDS.contains(&kind) => Some(FieldError::not_supported(&path.child("type"), kind, &KINDS)),
            _ if kind != "Webhook" && kinds.contains(&kind) => Some(FieldError::duplicate(&path.child("type"), kind)),
            _ => None,
        };
        if let Some(error) = refused {
            errors.push(error);
            continue;
        }
        kinds.push(kind);
        check_name(&authorizer.name, &named, &path.child("name"), &mut errors);
        named.push(authorizer.name.as_str());
        read.extend(options(authorizer, &path, &mut errors));
    }
    if !errors.is_empty() {
        return Err(ConfigError::Invalid(errors));
    }
    check_usual_names(&form)?;
    Ok(read)
}

fn check_name(name: &str, before: &[&str], path: &Path, errors: &mut Vec<FieldError>) {
    if name.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    if before.contains(&name) {
        return errors.push(FieldError::duplicate(path, name));
    }
    let complaints = names::dns1123_subdomain(name);
    if !complaints.is_empty() {
        let why = format!("authorizer name is invalid: {}", complaints.join(", "));
        errors.push(FieldError::invalid(path, name, why));
    }
}

/// Those that are not webhooks have the names that flags give them.
fn check_usual_names(form: &AuthorizationConfiguration) -> Result<(), ConfigError> {
    let others = form.authorizers.iter().filter(|authorizer| authorizer.kind != "Webhook");
    let wrong = others.filter_map(|Authorizer { kind, name, .. }| {
        let expected = kind.to_ascii_lowercase();
        (*name != expected).then(|| format!("expected name {expected} for authorizer {kind} instead of {name}"))
    });
    match crate::auth::aggregate(&wrong.collect::<Vec<_>>()) {
        None => Ok(()),
        Some(wrong) => Err(ConfigError::Names(wrong)),
    }
}

fn options(authorizer: &Authorizer, path: &Path, errors: &mut Vec<FieldError>) -> Option<AuthorizerOptions> {
    let webhook_path = path.child("webhook");
    let options = match (authorizer.kind.as_str(), &authorizer.webhook) {
        ("Webhook", None) => {
            errors.push(FieldError::required(&webhook_path, "required when type=Webhook"));
            return None;
        }
        ("Webhook", Some(webhook)) => {
            let webhook = self::webhook(&authorizer.name, webhook, path, errors)?;
            return Some(AuthorizerOptions::Webhook(Box::new(webhook)));
        }
        ("AlwaysAllow", _) => AuthorizerOptions::AlwaysAllow,
        ("AlwaysDeny", _) => AuthorizerOptions::AlwaysDeny,
        ("Node", _) => AuthorizerOptions::Node,
        _ => AuthorizerOptions::Rbac,
    };
    if authorizer.webhook.is_some() {
        let why = "may only be specified when type=Webhook";
        errors.push(FieldError::invalid(&webhook_path, "non-null", why));
    }
    Some(options)
}

fn webhook(name: &str, form: &Webhook, path: &Path, errors: &mut Vec<FieldError>) -> Option<AccessWebhookOptions> {
    let before = errors.len();
    let timeout = form.timeout;
    if timeout == Nanoseconds(0) {
        errors.push(FieldError::required(&path.child("timeout"), ""));
    } else if timeout.0 < 0 || u128::from(timeout.0.unsigned_abs()) > TIMEOUT.as_nanos() {
        let why = "must be > 0s and <= 30s";
        errors.push(FieldError::invalid(&path.child("timeout"), timeout.to_string(), why));
    }
    let mut ttl = |given: Nanoseconds, default: Duration, cached: Option<bool>, field: &'static str| {
        if given.0 < 0 {
            errors.push(FieldError::invalid(&path.child(field), given.to_string(), "must be > 0s"));
        }
        match (cached, given.0.unsigned_abs()) {
            (Some(false), _) => Duration::ZERO,
            (_, 0) => default,
            (_, nanoseconds) => Duration::from_nanos(nanoseconds),
        }
    };
    let (yes, no) = (form.cache_authorized_requests, form.cache_unauthorized_requests);
    let authorized_ttl = ttl(form.authorized_ttl, Duration::from_secs(300), yes, "authorizedTTL");
    let unauthorized_ttl = ttl(form.unauthorized_ttl, Duration::from_secs(30), no, "unauthorizedTTL");
    let mut one_of = |text: &str, field: &'static str, known: &[&str]| match text {
        "" => errors.push(FieldError::required(&path.child(field), "")),
        _ if !known.contains(&text) => errors.push(FieldError::not_supported(&path.child(field), text, known)),
        _ => {}
    };
    one_of(&form.subject_access_review_version, "subjectAccessReviewVersion", &["v1", "v1beta1"]);
    let of_conditions = form.match_condition_subject_access_review_version.as_str();
    if !of_conditions.is_empty() {
        one_of(of_conditions, "matchConditionSubjectAccessReviewVersion", &["v1"]);
    }
    one_of(&form.failure_policy, "failurePolicy", &["NoOpinion", "Deny"]);
    if of_conditions.is_empty() && !form.match_conditions.is_empty() {
        let path = path.child("matchConditionSubjectAccessReviewVersion");
        errors.push(FieldError::required(&path, "required if match conditions are specified"));
    }
    let access = access(&form.connection_info, &path.child("connectionInfo"), errors);
    let expressions: Vec<&str> = form.match_conditions.iter().map(|condition| condition.expression.as_str()).collect();
    let conditions = Conditions::compile(&expressions, path, errors);
    if errors.len() > before {
        return None;
    }
    Some(AccessWebhookOptions {
        name: name.to_owned(),
        access: access?,
        version: form.subject_access_review_version.parse().ok()?,
        timeout: Duration::from_nanos(timeout.0.unsigned_abs()),
        authorized_ttl,
        unauthorized_ttl,
        denies_on_error: form.failure_policy == "Deny",
        conditions: Arc::new(conditions),
    })
}

fn access(info: &ConnectionInfo, path: &Path, errors: &mut Vec<FieldError>) -> Option<Access> {
    let file_path = path.child("kubeConfigFile");
    let file = info.kube_config_file.as_deref();
    let mut refuse = |file: &str, why: String| errors.push(FieldError::invalid(&file_path, file, why));
    match info.kind.as_str() {
        "" => errors.push(FieldError::required(&path.child("type"), "")),
        "InClusterConfig" => {
            if let Some(file) = file {
                refuse(file, "can only be set when type=KubeConfigFile".into());
            }
            let why = "the server is no pod; use KubeConfigFile";
            errors.push(FieldError::invalid(&path.child("type"), "InClusterConfig", why));
        }
        "KubeConfigFile" => match file {
            None | Some("") => errors.push(FieldError::required(&file_path, "")),
            Some(file) if !FilePath::new(file).is_absolute() => refuse(file, "must be an absolute path".into()),
            Some(file) => match fs::metadata(file) {
                Err(error) => refuse(file, format!("error loading file: {}", told(file, &error))),
                Ok(about) if !about.is_file() => refuse(file, "must be a regular file".into()),
                Ok(_) => match Access::read(FilePath::new(file)) {
                    Ok(access) => return Some(access),
                    Err(why) => refuse(file, why),
                },
            },
        },
        other => {
            let known = ["InClusterConfig", "KubeConfigFile"];
            errors.push(FieldError::not_supported(&path.child("type"), other, &known));
        }
    }
    None
}

fn told(file: &str, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => format!("stat {file}: no such file or directory"),
        _ => format!("stat {file}: {error}"),
    }
}
