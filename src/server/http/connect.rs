//! What a connection to a pod, a Service or a node asks for, as the object that admission sees.

use serde_json::{Value, json};

use super::query::Query;
use crate::registry::Resource;

/// `PodExecOptions` and its like, read from the query.
pub(super) fn options(resource: &Resource, subresource: &str, rest: Option<&str>, query: &Query) -> Value {
    let (group, version) = resource.kind_version_of(subresource);
    let mut options = json!({
        "kind": resource.kind_of(subresource),
        "apiVersion": mk8s_api::kinds::api_version(group, version),
    });
    match subresource {
        "proxy" => {
            if let Some(path) = rest.filter(|path| !path.is_empty()) {
                options["path"] = json!(path);
            }
        }
        "portforward" => {
            let ports = query.all("ports").flat_map(|ports| ports.split(','));
            let ports: Vec<u16> = ports.filter_map(|port| port.parse().ok()).collect();
            if !ports.is_empty() {
                options["ports"] = json!(ports);
            }
        }
        _ => {
            for stream in ["stdin", "stdout", "stderr", "tty"].into_iter().filter(|stream| query.flag(stream)) {
                options[stream] = json!(true);
            }
            if let Some(container) = query.get("container") {
                options["container"] = json!(container);
            }
            let command: Vec<&str> = query.all("command").collect();
            if !command.is_empty() {
                options["command"] = json!(command);
            }
        }
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_described() {
        let cases = [
            (
                "exec",
                None,
                "command=ls&command=-l&stdout=true&stdin=0&container=c",
                r#"{"apiVersion":"v1","command":["ls","-l"],"container":"c","kind":"PodExecOptions","stdout":true}"#,
            ),
            ("attach", None, "tty=1", r#"{"apiVersion":"v1","kind":"PodAttachOptions","tty":true}"#),
            (
                "portforward",
                None,
                "ports=80,81&ports=82",
                r#"{"apiVersion":"v1","kind":"PodPortForwardOptions","ports":[80,81,82]}"#,
            ),
            ("proxy", Some("a/b"), "", r#"{"apiVersion":"v1","kind":"PodProxyOptions","path":"a/b"}"#),
        ];
        let kind = mk8s_api::kinds::find("", "v1", "pods").expect("pods are built in");
        let pods = Resource::new(kind.clone());
        for (subresource, rest, query, expected) in cases {
            assert_eq!(options(&pods, subresource, rest, &Query::parse(Some(query))).to_string(), expected);
        }
    }
}
