//! Kubernetes' default roles and bindings, read from the table beside this file.

use serde_json::{Map, Value, json};

use crate::auth::rbac::rule::Rule;

const TABLE: &str = include_str!("defaults.txt");
const GROUP: &str = "rbac.authorization.k8s.io";

/// Roles and bindings as objects, roles before the bindings that name them.
pub fn objects() -> Vec<Value> {
    let mut objects: Vec<Value> = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(line) = line.strip_prefix("  ") {
            rules.push(rule(line));
            continue;
        }
        flush(&mut objects, &mut rules);
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["role", name, labels @ ..] => objects.push(role(name, labels)),
            ["bind", name, role, subjects @ ..] => objects.push(binding(name, role, subjects)),
            _ => {}
        }
    }
    flush(&mut objects, &mut rules);
    objects
}

/// The rules of `system:node`, which the Node authorizer grants where it has none of its own.
pub fn node_rules() -> Vec<Rule> {
    let lines = TABLE.lines().skip_while(|line| *line != "role system:node").skip(1);
    lines.map_while(|line| line.strip_prefix("  ")).map(rule).collect()
}

/// Gives the rules read so far to the role that was read last.
fn flush(objects: &mut [Value], rules: &mut Vec<Rule>) {
    if let (Some(last), false) = (objects.last_mut(), rules.is_empty()) {
        last["rules"] = json!(std::mem::take(rules));
    }
}

fn rule(line: &str) -> Rule {
    let list = |word: Option<&&str>| -> Vec<String> {
        let names = word.into_iter().flat_map(|word| word.split(','));
        names.map(|name| if name == "core" { String::new() } else { name.to_string() }).collect()
    };
    let words: Vec<&str> = line.split_whitespace().collect();
    if words.first() == Some(&"url") {
        return Rule { non_resource_urls: list(words.get(1)), verbs: list(words.get(2)), ..Rule::default() };
    }
    Rule {
        api_groups: list(words.first()),
        resources: list(words.get(1)),
        verbs: list(words.get(2)),
        resource_names: list(words.get(3)),
        non_resource_urls: Vec::new(),
    }
}

fn metadata(name: &str, labels: &[&str]) -> Value {
    let mut all = Map::from_iter([("kubernetes.io/bootstrapping".to_string(), json!("rbac-defaults"))]);
    all.extend(
        labels
            .iter()
            .filter_map(|word| word.strip_prefix('+'))
            .map(|label| (format!("{GROUP}/{label}"), json!("true"))),
    );
    let (namespace, name) = name.split_once('/').unwrap_or(("", name));
    let mut metadata = json!({
        "name": name,
        "labels": all,
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    });
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

fn role(name: &str, labels: &[&str]) -> Value {
    let kind = if name.contains('/') { "Role" } else { "ClusterRole" };
    let mut role =
        json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata(name, labels), "rules": []});
    if let Some(label) = labels.iter().find_map(|word| word.strip_prefix('=')) {
        role["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {format!("{GROUP}/{label}"): "true"}}]});
    }
    role
}

fn binding(name: &str, role: &str, subjects: &[&str]) -> Value {
    let kind = if name.contains('/') { "RoleBinding" } else { "ClusterRoleBinding" };
    let (role_kind, role) = role.split_once('/').unwrap_or(("ClusterRole", role));
    let mut binding = json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": kind,
        "metadata": metadata(name, &[]),
        "roleRef": {"apiGroup": GROUP, "kind": role_kind, "name": role},
    });
    if !subjects.is_empty() {
        binding["subjects"] = subjects.iter().filter_map(|word| subject(word)).collect();
    }
    binding
}

/// `user:NAME`, `group:NAME`, `sa:NAMESPACE/NAME`.
fn subject(word: &str) -> Option<Value> {
    let (kind, name) = word.split_once(':')?;
    Some(match kind {
        "user" => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
        "group" => json!({"apiGroup": GROUP, "kind": "Group", "name": name}),
        _ => {
            let (namespace, name) = name.split_once('/')?;
            json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
        objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).expect(name)
    }

    #[test]
    fn the_table_is_read_whole() {
        let objects = objects();
        let count = |kind: &str| objects.iter().filter(|o| o["kind"] == kind).count();
        let lines = |start: &str| TABLE.lines().filter(|line| line.starts_with(start)).count();
        assert_eq!(count("ClusterRole") + count("Role"), lines("role "));
        assert_eq!(count("ClusterRoleBinding") + count("RoleBinding"), lines("bind "));
        let rules: usize = objects.iter().map(|o| o["rules"].as_array().map_or(0, Vec::len)).sum();
        assert_eq!(rules, lines("  "));
        assert!(!node_rules().is_empty());
        assert_eq!(json!(node_rules()), find(&objects, "ClusterRole", "system:node")["rules"]);
    }

    #[test]
    fn objects_are_as_upstream_writes_them() {
        let objects = objects();
        assert_eq!(
            *find(&objects, "ClusterRole", "system:basic-user"),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {
                    "name": "system:basic-user",
                    "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
                    "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
                },
                "rules": [
                    {"apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"], "verbs": ["create"]},
                    {"apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"], "verbs": ["create"]},
                ],
            })
        );
        assert_eq!(
            find(&objects, "RoleBinding", "system:controller:bootstrap-signer")["subjects"],
            json!([{"kind": "ServiceAccount", "namespace": "kube-system", "name": "bootstrap-signer"}])
        );
        assert_eq!(
            find(&objects, "ClusterRole", "edit")["aggregationRule"],
            json!({"clusterRoleSelectors": [{"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}}]})
        );
    }
}
