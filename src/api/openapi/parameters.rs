//! The parameters of requests, described in few words.

/// The type of a parameter's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Text,
    Integer,
    Boolean,
}

impl Type {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Type::Text => "string",
            Type::Integer => "integer",
            Type::Boolean => "boolean",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) of: Type,
    pub(super) description: &'static str,
}

const fn parameter(name: &'static str, of: Type, description: &'static str) -> Parameter {
    Parameter { name, of, description }
}

use Type::{Boolean, Integer, Text};

/// Query parameters, sorted by name.
const QUERY: &[Parameter] = &[
    parameter("allowWatchBookmarks", Boolean, "Asks a watch for BOOKMARK events. Servers may send none."),
    parameter("command", Text, "The command to run, one parameter an argument. No shell is involved."),
    parameter("container", Text, "The container; needed when the pod has several."),
    parameter("continue", Text, "Continues a list with the token of the chunk before."),
    parameter("dryRun", Text, "With `All`, the request goes through every stage but persists nothing."),
    parameter(
        "fieldManager",
        Text,
        "Who makes the change, at most 128 printable characters. Required for apply patches.",
    ),
    parameter("fieldSelector", Text, "Restricts the objects by their fields."),
    parameter(
        "fieldValidation",
        Text,
        "What happens on unknown or duplicate fields: Ignore, Warn (the default) or Strict.",
    ),
    parameter("follow", Boolean, "Keeps sending what the container writes."),
    parameter("force", Boolean, "Lets an apply patch take over fields that others own. For apply patches only."),
    parameter("gracePeriodSeconds", Integer, "Seconds before the object is deleted; zero means at once."),
    parameter(
        "insecureSkipTLSVerifyBackend",
        Boolean,
        "Does not verify the certificate of the node that sends the log.",
    ),
    parameter("labelSelector", Text, "Restricts the objects by their labels."),
    parameter("limit", Integer, "The most objects a list answers with; more are fetched with `continue`."),
    parameter("limitBytes", Integer, "The most bytes of log to send."),
    parameter("orphanDependents", Boolean, "Deprecated: use propagationPolicy."),
    parameter("path", Text, "The path the request is passed on to."),
    parameter("ports", Integer, "The ports to forward, needed with WebSockets."),
    parameter("pretty", Text, "With `true`, the answer is indented."),
    parameter("previous", Boolean, "The log of the container's instance before this one."),
    parameter("propagationPolicy", Text, "What becomes of dependents: Orphan, Background or Foreground."),
    parameter("resourceVersion", Text, "Which state a list or watch may start from."),
    parameter("resourceVersionMatch", Text, "How resourceVersion is meant: Exact or NotOlderThan."),
    parameter(
        "sendInitialEvents",
        Boolean,
        "Makes a watch begin with the present state as events, ended by a bookmark.",
    ),
    parameter("sinceSeconds", Integer, "Only log lines younger than this."),
    parameter("stderr", Boolean, "Connects standard error."),
    parameter("stdin", Boolean, "Connects standard input."),
    parameter("stdout", Boolean, "Connects standard output."),
    parameter("stream", Text, "Which stream of the log: All, Stdout or Stderr."),
    parameter("tailLines", Integer, "Only this many lines from the end of the log."),
    parameter("timeoutSeconds", Integer, "Ends a list or watch after this time."),
    parameter("timestamps", Boolean, "Begins each line of the log with its time."),
    parameter("tty", Boolean, "Whether the connection is a terminal."),
    parameter("watch", Boolean, "Streams changes instead of answering with a list."),
];

pub(super) fn query(name: &str) -> Option<&'static Parameter> {
    QUERY.binary_search_by(|parameter| parameter.name.cmp(name)).ok().map(|at| &QUERY[at])
}

pub(super) const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
pub(super) const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
pub(super) const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];
pub(super) const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
pub(super) const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];
pub(super) const LOG: &[&str] = &[
    "container",
    "follow",
    "insecureSkipTLSVerifyBackend",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "stream",
    "tailLines",
    "timestamps",
];

/// The parameters of a request that is passed on to a container or a port.
pub(super) fn connect(subresource: &str) -> &'static [&'static str] {
    match subresource {
        "attach" => &["container", "stderr", "stdin", "stdout", "tty"],
        "exec" => &["command", "container", "stderr", "stdin", "stdout", "tty"],
        "portforward" => &["ports"],
        _ => &["path"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_complete() {
        assert!(QUERY.is_sorted_by_key(|parameter| parameter.name));
        let used =
            [LIST, WRITE, PATCH, DELETE, DELETE_COLLECTION, LOG, connect("attach"), connect("exec"), connect("proxy")];
        for name in used.concat() {
            assert!(query(name).is_some(), "{name}");
        }
    }
}
