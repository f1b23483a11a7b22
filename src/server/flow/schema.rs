//! FlowSchemas: which requests belong together, and what they are worth. Pure.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use http::HeaderValue;
use mk8s_api::{
    at::{flag, get, int, list, sub, text, texts},
    meta,
};
use serde_json::Value;

use super::seats::{Counts, Level};
use crate::auth::{Attributes, User};

/// A FlowSchema with the level it sends its requests to.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(super) name: String,
    pub(super) level: Arc<Level>,
    pub(super) counts: Arc<Counts>,
    /// What answers carry: the uids of the schema and of its level.
    pub(super) headers: Option<(HeaderValue, HeaderValue)>,
    pub(super) precedence: i64,
    distinguisher: Distinguisher,
    rules: Vec<PolicyRule>,
}

/// What tells the flows of a schema apart.
#[derive(Debug, Clone, Copy)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

/// `PolicyRulesWithSubjects`
#[derive(Debug)]
struct PolicyRule {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    paths: Vec<PathRule>,
}

#[derive(Debug)]
enum Subject {
    User(String),
    Group(String),
    ServiceAccount { namespace: String, name: String },
}

#[derive(Debug)]
struct ResourceRule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    namespaces: Vec<String>,
    cluster: bool,
}

#[derive(Debug)]
struct PathRule {
    verbs: Vec<String>,
    paths: Vec<String>,
}

fn words(rule: &Value, field: &str) -> Vec<String> {
    texts(rule, field).map(str::to_owned).collect()
}

/// The name of the level that a schema names.
pub(super) fn level_of(schema: &Value) -> &str {
    text(sub(sub(schema, "spec"), "priorityLevelConfiguration"), "name")
}

impl Schema {
    pub(super) fn read(schema: &Value, level: Arc<Level>, level_uid: &str, counts: Arc<Counts>) -> Schema {
        let spec = sub(schema, "spec");
        let header = |uid: &str| HeaderValue::from_str(uid).ok().filter(|_| !uid.is_empty());
        Schema {
            name: meta::name(schema).to_owned(),
            headers: header(meta::uid(schema)).zip(header(level_uid)),
            precedence: int(spec, "matchingPrecedence").unwrap_or(1000),
            distinguisher: match text(sub(spec, "distinguisherMethod"), "type") {
                "ByUser" => Distinguisher::User,
                "ByNamespace" => Distinguisher::Namespace,
                _ => Distinguisher::Nothing,
            },
            rules: list(spec, "rules").iter().map(PolicyRule::read).collect(),
            level,
            counts,
        }
    }

    /// Whether a request belongs here.
    pub(super) fn matches(&self, request: &Attributes<'_>) -> bool {
        self.rules.iter().any(|rule| rule.matches(request))
    }

    /// Tells flows apart.
    pub(super) fn flow(&self, request: &Attributes<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.name.hash(&mut hasher);
        match self.distinguisher {
            Distinguisher::Nothing => {}
            Distinguisher::User => request.user.name.hash(&mut hasher),
            Distinguisher::Namespace => request.namespace.hash(&mut hasher),
        }
        hasher.finish()
    }
}

impl PolicyRule {
    fn read(rule: &Value) -> PolicyRule {
        PolicyRule {
            subjects: list(rule, "subjects").iter().filter_map(Subject::read).collect(),
            resources: list(rule, "resourceRules").iter().map(ResourceRule::read).collect(),
            paths: list(rule, "nonResourceRules").iter().map(PathRule::read).collect(),
        }
    }

    fn matches(&self, request: &Attributes<'_>) -> bool {
        self.subjects.iter().any(|subject| subject.matches(request.user))
            && match request.is_resource {
                true => self.resources.iter().any(|rule| rule.matches(request)),
                false => self.paths.iter().any(|rule| rule.matches(request)),
            }
    }
}

impl Subject {
    fn read(subject: &Value) -> Option<Subject> {
        let name = |field: &str| Some(text(get(subject, field)?, "name").to_owned());
        match text(subject, "kind") {
            "User" => name("user").map(Subject::User),
            "Group" => name("group").map(Subject::Group),
            "ServiceAccount" => Some(Subject::ServiceAccount {
                namespace: text(sub(subject, "serviceAccount"), "namespace").to_owned(),
                name: name("serviceAccount")?,
            }),
            _ => None,
        }
    }

    fn matches(&self, user: &User) -> bool {
        match self {
            Subject::User(name) => name == "*" || *name == user.name,
            Subject::Group(group) => group == "*" || user.in_group(group),
            Subject::ServiceAccount { namespace, name } => {
                user.service_account().is_some_and(|(of, account)| of == namespace && (name == "*" || name == account))
            }
        }
    }
}

fn has(words: &[String], word: &str) -> bool {
    words.iter().any(|known| known == "*" || known == word)
}

impl ResourceRule {
    fn read(rule: &Value) -> ResourceRule {
        ResourceRule {
            verbs: words(rule, "verbs"),
            groups: words(rule, "apiGroups"),
            resources: words(rule, "resources"),
            namespaces: words(rule, "namespaces"),
            cluster: flag(rule, "clusterScope") == Some(true),
        }
    }

    fn matches(&self, request: &Attributes<'_>) -> bool {
        let named = |known: &String| match known.split_once('/') {
            Some((resource, subresource)) => resource == request.resource && subresource == request.subresource,
            None => known == "*" || known == request.resource && request.subresource.is_empty(),
        };
        has(&self.verbs, request.verb)
            && self.resources.iter().any(named)
            && has(&self.groups, request.group)
            && match request.namespace {
                "" => self.cluster,
                namespace => has(&self.namespaces, namespace),
            }
    }
}

impl PathRule {
    fn read(rule: &Value) -> PathRule {
        PathRule { verbs: words(rule, "verbs"), paths: words(rule, "nonResourceURLs") }
    }

    fn matches(&self, request: &Attributes<'_>) -> bool {
        let under = |known: &String| match known.strip_suffix("/*") {
            Some(root) => request.path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')),
            None => known == "*" || known == request.path,
        };
        has(&self.verbs, request.verb) && self.paths.iter().any(under)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn requests_are_told_apart() {
        let rule = |subject: Value, resources: Value, paths: Value| {
            let spec =
                json!({"rules": [{"subjects": [subject], "resourceRules": resources, "nonResourceRules": paths}]});
            let schema = json!({"metadata": {"name": "s"}, "spec": spec});
            Schema::read(&schema, Arc::new(Level::new("l", false)), "", Arc::default())
        };
        let user = User::new("system:serviceaccount:kube-system:a", ["g"]);
        let pods = Attributes { namespace: "n", ..Attributes::for_resource(&user, "get", "", "pods") };
        let status = Attributes { subresource: "status", ..pods };
        let nodes = Attributes::for_resource(&user, "get", "", "nodes");
        let path = Attributes::for_path(&user, "get", "/healthz/etcd");
        let any = json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}]);
        let only = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["n"]}]);
        let group = json!({"kind": "Group", "group": {"name": "g"}});
        let account = |name: &str| json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}});
        let urls = |url: &str| json!([{"verbs": ["get"], "nonResourceURLs": [url]}]);
        let cases = [
            (rule(group.clone(), any.clone(), json!([])), pods, true),
            (rule(group.clone(), any.clone(), json!([])), status, true),
            (rule(group.clone(), any.clone(), json!([])), path, false),
            (rule(group.clone(), only.clone(), json!([])), pods, true),
            (rule(group.clone(), only.clone(), json!([])), status, false),
            (rule(group.clone(), only.clone(), json!([])), nodes, false),
            (rule(group.clone(), only.clone(), json!([])), Attributes { verb: "list", ..pods }, false),
            (rule(group.clone(), only, json!([])), Attributes { namespace: "m", ..pods }, false),
            (rule(account("*"), any.clone(), json!([])), nodes, true),
            (rule(account("b"), any.clone(), json!([])), nodes, false),
            (rule(json!({"kind": "User", "user": {"name": "x"}}), any, json!([])), nodes, false),
            (rule(group.clone(), json!([]), urls("/healthz/*")), path, true),
            (rule(group.clone(), json!([]), urls("/healthz")), path, false),
            (rule(group, json!([]), urls("*")), path, true),
        ];
        for (n, (schema, request, expected)) in cases.iter().enumerate() {
            assert_eq!(schema.matches(request), *expected, "{n}");
        }
    }
}
