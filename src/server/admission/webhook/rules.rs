//! Whether a request concerns a webhook, and as which version of its resource.
//!
//! Rules are looked at first, because they cost nothing; then the selectors, then the conditions. That is not
//! upstream's order, but nobody can tell: an error of a selector counts only for requests that a rule matches.

use std::sync::Arc;

use mk8s_api::{
    conversion,
    crd::DefinitionVersion,
    kinds::{self, Kind},
    meta,
    schema::{self, Schema},
    select::LabelSelector,
    status::{GroupResource, Status},
};
use mk8s_store::View;
use serde_json::Value;

use super::hook::{Hook, Rule, Scope};
use crate::{
    admission::{Operation, Request},
    auth::Authorization,
    stored,
};

const GROUP: &str = "admissionregistration.k8s.io";
const EXEMPT: [&str; 6] = [
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
];

/// What configures admission is not itself admitted by webhooks.
pub(in crate::admission) fn is_exempt(request: &Request<'_>) -> bool {
    request.group == GROUP && EXEMPT.contains(&request.kind)
}

/// As what a webhook is asked about a request.
#[derive(Debug)]
pub(in crate::admission) struct Asked {
    pub(in crate::admission) group: String,
    pub(in crate::admission) version: String,
    /// Group, version and name of the kind that is sent.
    pub(in crate::admission) kind: (String, String, String),
    /// The request in another version than it came in.
    pub(in crate::admission) other: Option<Other>,
}

/// Objects in another version.
#[derive(Debug)]
pub(in crate::admission) struct Other {
    pub(in crate::admission) version: Version,
    pub(in crate::admission) object: Value,
    pub(in crate::admission) old: Option<Value>,
}

/// Another version in which the objects of a request are served.
#[derive(Debug, Clone)]
pub(in crate::admission) enum Version {
    BuiltIn { own: &'static Kind, kind: &'static Kind },
    Custom(Arc<DefinitionVersion>),
}

impl Version {
    /// All of them.
    fn all(request: &Request<'_>) -> Vec<Version> {
        let Some(own) = kinds::find(request.group, request.version, request.resource) else {
            let custom = request.target.into_iter().flat_map(|resource| resource.other_versions());
            return custom.map(|version| Version::Custom(version.clone())).collect();
        };
        let same = |kind: &&Kind| {
            kind.storage_group == own.storage_group
                && kind.plural == own.plural
                && kind.kind == own.kind
                && (&kind.group, &kind.version) != (&own.group, &own.version)
                && !kind.is_virtual
        };
        kinds::builtin().iter().filter(same).map(|kind| Version::BuiltIn { own, kind }).collect()
    }

    /// The first one that is wanted.
    pub(in crate::admission) fn find(
        request: &Request<'_>,
        mut wanted: impl FnMut(&Place<'_>) -> bool,
    ) -> Option<Version> {
        let own = Place::of(request);
        Version::all(request).into_iter().find(|other| {
            let (group, version) = other.group_version(request);
            wanted(&Place { group, version, ..own })
        })
    }

    fn group_version<'a>(&'a self, request: &Request<'a>) -> (&'a str, &'a str) {
        match self {
            Version::BuiltIn { kind, .. } => (&kind.group, &kind.version),
            Version::Custom(version) => (request.group, &version.name),
        }
    }

    /// What is known of the fields of its objects.
    pub(in crate::admission) fn schema(&self) -> Option<&Schema> {
        match self {
            Version::BuiltIn { kind, .. } => schema::schema_of(&kind.group, &kind.version, &kind.kind),
            Version::Custom(version) => Some(&version.fields),
        }
    }

    /// An object of the request's version in this one.
    pub(in crate::admission) async fn of_own(&self, request: &Request<'_>, object: Value) -> Result<Value, Status> {
        match self {
            Version::BuiltIn { own, kind } => Ok(convert(own, kind, object)),
            Version::Custom(version) => in_version(request, object, &version.api_version).await,
        }
    }

    /// An object of this version in the request's.
    pub(in crate::admission) async fn to_own(&self, request: &Request<'_>, object: Value) -> Result<Value, Status> {
        match self {
            Version::BuiltIn { own, kind } => Ok(convert(kind, own, object)),
            Version::Custom(_) => {
                let own = format!("{}/{}", request.group, request.version);
                in_version(request, object, &own).await
            }
        }
    }
}

async fn in_version(request: &Request<'_>, object: Value, api_version: &str) -> Result<Value, Status> {
    match request.target {
        Some(resource) => {
            resource.in_version(object, api_version).await.map_err(|status| Status::internal(status.message))
        }
        None => Ok(object),
    }
}

/// The namespace of a request as webhooks know it: a namespace is in itself.
pub(in crate::admission) fn namespace<'a>(request: &Request<'a>) -> &'a str {
    if request.namespace.is_empty() && request.is("", "namespaces") { request.name } else { request.namespace }
}

/// How the webhook is asked; `None` when the request is none of its business.
pub(super) async fn matches(
    hook: &Hook,
    request: &Request<'_>,
    object: &Value,
    view: &View,
    authorization: &Authorization,
) -> Result<Option<Asked>, Status> {
    let matches = |place: &Place<'_>| hook.rules.iter().any(|rule| rule_matches(rule, place));
    let version = match matches(&Place::of(request)) {
        true => None,
        false if hook.equivalent => match Version::find(request, matches) {
            Some(version) => Some(version),
            None => return Ok(None),
        },
        false => return Ok(None),
    };
    if !namespace_selected(&hook.namespaces, request, object, view)?
        || !object_selected(&hook.objects, request, object)?
    {
        return Ok(None);
    }
    let asked = asked(request, object, version).await?;
    let (seen, old) = match &asked.other {
        Some(other) => (&other.object, other.old.as_ref()),
        None => (object, request.old),
    };
    Ok(super::conditions::hold(hook, request, &asked, seen, old, authorization)?.then_some(asked))
}

/// What of a request rules look at.
#[derive(Clone, Copy)]
pub(in crate::admission) struct Place<'a> {
    pub(in crate::admission) operation: Operation,
    pub(in crate::admission) group: &'a str,
    pub(in crate::admission) version: &'a str,
    pub(in crate::admission) resource: &'a str,
    pub(in crate::admission) subresource: &'a str,
    pub(in crate::admission) namespaced: bool,
}

impl<'a> Place<'a> {
    pub(in crate::admission) fn of(request: &Request<'a>) -> Place<'a> {
        Place {
            operation: request.operation,
            group: request.group,
            version: request.version,
            resource: request.resource,
            subresource: request.subresource,
            namespaced: !request.namespace.is_empty() && !request.is("", "namespaces"),
        }
    }
}

pub(in crate::admission) fn rule_matches(rule: &Rule, place: &Place<'_>) -> bool {
    let named = |names: &[String], name: &str| names.iter().any(|known| known == "*" || known == name);
    let in_scope = match rule.scope {
        Scope::All => true,
        Scope::Cluster => !place.namespaced,
        Scope::Namespaced => place.namespaced,
    };
    in_scope
        && named(&rule.operations, place.operation.word())
        && named(&rule.groups, place.group)
        && named(&rule.versions, place.version)
        && rule.resources.iter().any(|resource| {
            let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
            (resource == "*" || resource == place.resource) && (subresource == "*" || subresource == place.subresource)
        })
}

/// The request as it is asked about, in another version where one is given.
pub(in crate::admission) async fn asked(
    request: &Request<'_>,
    object: &Value,
    version: Option<Version>,
) -> Result<Asked, Status> {
    let (kind_group, kind_version) = request.kind_version;
    let sent = (kind_group.to_owned(), kind_version.to_owned(), request.kind.to_owned());
    let Some(version) = version else {
        let (group, version) = (request.group.to_owned(), request.version.to_owned());
        return Ok(Asked { group, version, kind: sent, other: None });
    };
    let (group, name) = version.group_version(request);
    let (group, name) = (group.to_owned(), name.to_owned());
    // What is sent to a subresource may be of a kind that is the same for all versions.
    if (kind_group, kind_version) != (request.group, request.version) {
        return Ok(Asked { group, version: name, kind: sent, other: None });
    }
    let old = match request.old {
        Some(old) => Some(version.of_own(request, old.clone()).await?),
        None => None,
    };
    let object = version.of_own(request, object.clone()).await?;
    let sent = (group.clone(), name.clone(), request.kind.to_owned());
    Ok(Asked { group, version: name, kind: sent, other: Some(Other { version, object, old }) })
}

/// An object in another version, by way of the one it is stored in.
fn convert(from: &Kind, to: &Kind, mut object: Value) -> Value {
    if object.is_object() {
        conversion::to_storage(from, &mut object);
        conversion::from_storage(to, &mut object);
        object["apiVersion"] = to.api_version().into();
    }
    object
}

/// A selector, or why it is none.
pub(in crate::admission) type Selector = Result<LabelSelector, String>;

pub(in crate::admission) fn namespace_selected(
    selector: &Selector,
    request: &Request<'_>,
    object: &Value,
    view: &View,
) -> Result<bool, Status> {
    let name = namespace(request);
    let is_namespace = request.resource == "namespaces";
    if name.is_empty() && !is_namespace {
        return Ok(true);
    }
    let selector = selector.as_ref().map_err(Status::internal)?;
    if selector.is_everything() {
        return Ok(true);
    }
    let written = is_namespace
        && request.subresource.is_empty()
        && matches!(request.operation, Operation::Create | Operation::Update);
    if written {
        return Ok(selector.matches(meta::labels(object)));
    }
    let missing = || Status::not_found(&GroupResource::new("", "namespaces"), name);
    let namespace = stored::get(view, "", "namespaces", "", name).ok_or_else(missing)?;
    Ok(selector.matches(meta::labels(&namespace)))
}

/// The object as it will be, or as it was, carries the labels.
pub(in crate::admission) fn object_selected(
    selector: &Selector,
    request: &Request<'_>,
    object: &Value,
) -> Result<bool, Status> {
    let selector = selector.as_ref().map_err(Status::internal)?;
    let selects = |object: &Value| object.get("metadata").is_some() && selector.matches(meta::labels(object));
    Ok(selector.is_everything() || selects(object) || request.old.is_some_and(selects))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rule(text: &str) -> Rule {
        let parts: Vec<Vec<String>> = text
            .split(' ')
            .map(|part| part.split(',').map(|word| if word == "core" { "" } else { word }.to_string()).collect())
            .collect();
        let scope = match parts[4][0].as_str() {
            "Cluster" => Scope::Cluster,
            "Namespaced" => Scope::Namespaced,
            _ => Scope::All,
        };
        Rule {
            operations: parts[0].clone(),
            groups: parts[1].clone(),
            versions: parts[2].clone(),
            resources: parts[3].clone(),
            scope,
        }
    }

    #[test]
    fn rules_match_as_upstream_has_it() {
        let pod = Place {
            operation: Operation::Create,
            group: "",
            version: "v1",
            resource: "pods",
            subresource: "",
            namespaced: true,
        };
        let status = Place { subresource: "status", ..pod };
        let node = Place { resource: "nodes", namespaced: false, ..pod };
        let cases = [
            ("* * * * *", pod, true),
            ("* * * * *", status, false),
            ("* * * */* *", status, true),
            ("* * * */* *", pod, true),
            ("* * * pods/* *", pod, true),
            ("* * * */status *", status, true),
            ("* * * */status *", pod, false),
            ("CREATE,UPDATE core v1 pods *", pod, true),
            ("UPDATE core v1 pods *", pod, false),
            ("CREATE apps v1 pods *", pod, false),
            ("CREATE core v2 pods *", pod, false),
            ("* * * * Namespaced", pod, true),
            ("* * * * Cluster", pod, false),
            ("* * * * Cluster", node, true),
            ("* * * * Namespaced", node, false),
        ];
        for (text, place, expected) in cases {
            assert_eq!(rule_matches(&rule(text), &place), expected, "{text}");
        }
    }

    #[test]
    fn versions_of_one_kind_are_equivalent() {
        let v1 = kinds::find("autoscaling", "v1", "horizontalpodautoscalers").expect("built in");
        let v2 = kinds::find("autoscaling", "v2", "horizontalpodautoscalers").expect("built in");
        let object = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50}});
        let converted = convert(v1, v2, object);
        assert_eq!(converted["apiVersion"], "autoscaling/v2");
        assert_eq!(converted["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    }
}
