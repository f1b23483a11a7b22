//! The audit policy: how much of which request is written down. Pure.

use std::path::PathBuf;

use mk8s_api::{
    field::{FieldError, Path},
    names,
};
use serde::Deserialize;

use crate::auth::Attributes;

/// How much of a request is written down. Each level has what the one before it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    const ALL: [Level; 4] = [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];

    pub(super) fn word(self) -> &'static str {
        match self {
            Level::None => "None",
            Level::Metadata => "Metadata",
            Level::Request => "Request",
            Level::RequestResponse => "RequestResponse",
        }
    }

    fn of(word: &str) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.word() == word)
    }
}

/// When it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    const ALL: [Stage; 4] = [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete, Stage::Panic];

    pub(super) fn word(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }
}

/// A policy that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("cannot be read: {0}")]
    Read(#[source] std::io::Error),
    #[error("is not readable: {0}")]
    Yaml(#[source] serde_yaml::Error),
    #[error("is no Policy of audit.k8s.io/v1, but {kind:?} of {api_version:?}")]
    Kind { kind: String, api_version: String },
    #[error("has no rules")]
    NoRules,
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct File {
    api_version: String,
    kind: String,
    #[serde(flatten)]
    policy: Policy,
}

/// `Policy` of `audit.k8s.io/v1`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Policy {
    rules: Vec<Rule>,
    omit_stages: Vec<String>,
    omit_managed_fields: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Rule {
    level: String,
    users: Vec<String>,
    user_groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    #[serde(rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    omit_stages: Vec<String>,
    omit_managed_fields: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    resource_names: Vec<String>,
}

/// What is wanted of one request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(super) level: Level,
    omitted: [bool; Stage::ALL.len()],
    pub(super) omit_managed_fields: bool,
}

impl Wanted {
    pub(super) fn omits(&self, stage: Stage) -> bool {
        self.omitted[stage as usize]
    }
}

impl Policy {
    pub fn read(path: &PathBuf) -> Result<Policy, PolicyError> {
        Policy::parse(&std::fs::read_to_string(path).map_err(PolicyError::Read)?)
    }

    pub fn parse(text: &str) -> Result<Policy, PolicyError> {
        let File { api_version, kind, policy } = serde_yaml::from_str(text).map_err(PolicyError::Yaml)?;
        if (kind.as_str(), api_version.as_str()) != ("Policy", "audit.k8s.io/v1") {
            return Err(PolicyError::Kind { kind, api_version });
        }
        if policy.rules.is_empty() {
            return Err(PolicyError::NoRules);
        }
        match policy.complaints() {
            complaints if complaints.is_empty() => Ok(policy),
            complaints => Err(PolicyError::Invalid(complaints)),
        }
    }

    /// What the first rule that matches says; nothing is written down when none does.
    pub(super) fn wanted(&self, request: &Attributes<'_>) -> Wanted {
        let rule = self.rules.iter().find(|rule| rule.matches(request));
        let in_rule = |word: &str| rule.is_some_and(|rule| rule.omit_stages.iter().any(|omitted| omitted == word));
        let omitted =
            Stage::ALL.map(|stage| self.omit_stages.iter().any(|o| o == stage.word()) || in_rule(stage.word()));
        Wanted {
            level: rule.and_then(|rule| Level::of(&rule.level)).unwrap_or(Level::None),
            omitted,
            omit_managed_fields: rule.and_then(|rule| rule.omit_managed_fields).unwrap_or(self.omit_managed_fields),
        }
    }

    fn complaints(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        stages(&self.omit_stages, &Path::new("omitStages"), &mut errors);
        for (index, rule) in self.rules.iter().enumerate() {
            rule.complain(&Path::new("rules").index(index), &mut errors);
        }
        errors
    }
}

fn stages(omitted: &[String], path: &Path, errors: &mut Vec<FieldError>) {
    let known = Stage::ALL.map(Stage::word);
    for (index, stage) in omitted.iter().enumerate().filter(|(_, stage)| !known.contains(&stage.as_str())) {
        let why = format!("allowed stages are {}", known.join(","));
        errors.push(FieldError::invalid(&path.index(index), stage.as_str(), why));
    }
}

impl Rule {
    fn complain(&self, path: &Path, errors: &mut Vec<FieldError>) {
        match self.level.as_str() {
            "" => errors.push(FieldError::required(&path.child("level"), "")),
            level if Level::of(level).is_none() => {
                errors.push(FieldError::not_supported(&path.child("level"), level, &Level::ALL.map(Level::word)));
            }
            _ => {}
        }
        let urls = path.child("nonResourceURLs");
        for (index, url) in self.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*") {
            let mut refuse = |why: &str| errors.push(FieldError::invalid(&urls.index(index), url.as_str(), why));
            if !url.starts_with('/') {
                refuse("non-resource URL rules must begin with a '/' character");
            }
            if url.char_indices().any(|(at, c)| c == '*' && at + 1 < url.len()) {
                refuse("non-resource URL wildcards '*' must be the final character of the rule");
            }
        }
        for of_group in &self.resources {
            let group = of_group.group.as_str();
            let at = path.child("resources");
            let wrong = names::dns1123_subdomain(group);
            if !matches!(group, "" | "*") && !wrong.is_empty() {
                errors.push(FieldError::invalid(&at.child("group"), group, wrong.join(",")));
            }
            if !of_group.resource_names.is_empty() && of_group.resources.is_empty() {
                let why = "using resourceNames requires at least one resource";
                errors.push(FieldError::invalid(&at.child("resourceNames"), of_group.resource_names.clone(), why));
            }
        }
        stages(&self.omit_stages, &path.child("omitStages"), errors);
        if !self.non_resource_urls.is_empty() && (!self.resources.is_empty() || !self.namespaces.is_empty()) {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(FieldError::invalid(&urls, self.non_resource_urls.clone(), why));
        }
    }

    fn matches(&self, request: &Attributes<'_>) -> bool {
        let allows = |list: &[String], word: &str| list.is_empty() || list.iter().any(|known| known == word);
        let in_group = || self.user_groups.iter().any(|group| request.user.in_group(group));
        if !allows(&self.users, &request.user.name)
            || !(self.user_groups.is_empty() || in_group())
            || !allows(&self.verbs, request.verb)
        {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            return request.is_resource
                && allows(&self.namespaces, request.namespace)
                && (self.resources.is_empty() || self.resources.iter().any(|of_group| of_group.matches(request)));
        }
        if self.non_resource_urls.is_empty() {
            return true;
        }
        let covers = |url: &String| {
            url == "*"
                || url == request.path
                || url.ends_with('*') && request.path.starts_with(url.trim_end_matches('*'))
        };
        !request.is_resource && self.non_resource_urls.iter().any(covers)
    }
}

impl GroupResources {
    fn matches(&self, request: &Attributes<'_>) -> bool {
        if self.group != request.group && self.group != "*" {
            return false;
        }
        let named = self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == request.name);
        let covers = |known: &String| match known.split_once('/') {
            None => known == "*" || known == request.resource && request.subresource.is_empty(),
            Some((resource, "*")) => resource == request.resource || resource == "*" && !request.subresource.is_empty(),
            Some(("*", subresource)) => !subresource.is_empty() && subresource == request.subresource,
            Some((resource, subresource)) => resource == request.resource && subresource == request.subresource,
        };
        self.resources.is_empty() || named && self.resources.iter().any(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::User;

    const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch]}
- {level: None, userGroups: ["system:nodes"], nonResourceURLs: ["/healthz*"]}
- {level: RequestResponse, resources: [{group: "", resources: [pods, "pods/log"], resourceNames: [a]}], omitManagedFields: true}
- {level: Request, namespaces: [kube-system], resources: [{group: "", resources: ["*/status"]}], omitStages: [ResponseStarted]}
- {level: Metadata, resources: [{group: ""}]}
"#;

    #[test]
    fn the_first_rule_that_matches_counts() {
        let policy = Policy::parse(POLICY).expect("readable");
        let proxy = User::new("system:kube-proxy", ["g"]);
        let node = User::new("system:node:a", ["system:nodes"]);
        let pods = Attributes { name: "a", namespace: "n", ..Attributes::for_resource(&node, "get", "", "pods") };
        let cases = [
            (Attributes::for_resource(&proxy, "watch", "", "services"), Level::None),
            (Attributes::for_resource(&proxy, "list", "", "services"), Level::Metadata),
            (Attributes::for_path(&node, "get", "/healthz/x"), Level::None),
            (pods, Level::RequestResponse),
            (Attributes { subresource: "log", ..pods }, Level::RequestResponse),
            (Attributes { subresource: "exec", ..pods }, Level::Metadata),
            (Attributes { name: "b", ..pods }, Level::Metadata),
            (Attributes { namespace: "kube-system", subresource: "status", ..pods }, Level::Request),
            (Attributes { group: "apps", resource: "deployments", ..pods }, Level::None),
        ];
        for (request, expected) in cases {
            assert_eq!(policy.wanted(&request).level, expected, "{request:?}");
        }
        let wanted = policy.wanted(&pods);
        assert!(wanted.omits(Stage::RequestReceived) && !wanted.omits(Stage::Panic) && wanted.omit_managed_fields);
    }

    #[test]
    fn policies_are_checked() {
        let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
        let cases = [
            ("kind: Pod\n".to_owned(), "is no Policy of audit.k8s.io/v1, but \"Pod\" of \"\""),
            (head.to_owned(), "has no rules"),
            (
                format!("{head}rules: [{{level: Some}}]"),
                "rules[0].level: Unsupported value: \"Some\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\"",
            ),
            (format!("{head}rules: [{{}}]"), "rules[0].level: Required value"),
            (
                format!("{head}omitStages: [X]\nrules: [{{level: None, nonResourceURLs: [a], namespaces: [b]}}]"),
                "omitStages[0]: Invalid value: \"X\": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic; rules[0].nonResourceURLs[0]: Invalid value: \"a\": non-resource URL rules must begin with a '/' character; rules[0].nonResourceURLs: Invalid value: [\"a\"]: rules cannot apply to both regular resources and non-resource URLs",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Policy::parse(&text).expect_err(&text).to_string(), expected);
        }
    }
}
