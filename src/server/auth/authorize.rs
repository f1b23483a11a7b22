//! The chain of authorizers: `system:masters` may everything, then the Node authorizer, then RBAC; first to allow or
//! deny wins, silence of all is a no.

use std::sync::Arc;

use mk8s_api::status::{GroupResource, Status};
use mk8s_store::Store;

use super::{ANONYMOUS, Attributes, MASTERS, node::NodeAuthorizer, rbac::Rbac};

/// What one authorizer thinks of a request. The strings are reasons for the client; empty ones are not shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    Allow,
    Deny(String),
    NoOpinion(String),
}

pub trait Authorizer: Send + Sync {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision;
}

/// The paths anybody may read: whether the server lives, and what it is.
const PUBLIC_PATHS: [&str; 4] = ["/healthz", "/livez", "/readyz", "/version"];

/// All authorizers of the server. Cheap to clone.
#[derive(Clone)]
pub struct Authorization {
    node: Arc<NodeAuthorizer>,
    rbac: Arc<Rbac>,
}

impl Authorization {
    pub fn new(store: Store) -> Authorization {
        Authorization { node: Arc::new(NodeAuthorizer::new(store.clone())), rbac: Arc::new(Rbac::new(store)) }
    }

    /// The RBAC index, for escalation checks and SelfSubjectRulesReview.
    pub fn rbac(&self) -> &Rbac {
        &self.rbac
    }

    /// Allows, or the 403 the client gets.
    pub fn check(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        self.authorize(attributes).permit(attributes)
    }

    /// Why it was decided so, as the audit log and reviews of access tell it.
    pub fn reason(&self, attributes: &Attributes<'_>, decision: &Decision) -> String {
        match decision {
            Decision::Deny(reason) | Decision::NoOpinion(reason) => reason.clone(),
            // Others than RBAC allow without a word.
            Decision::Allow if allowed_unasked(attributes) || self.allowed_as_node(attributes) => String::new(),
            Decision::Allow => self.rbac.explain(attributes).unwrap_or_default(),
        }
    }

    fn allowed_as_node(&self, attributes: &Attributes<'_>) -> bool {
        let node = attributes.user.node_name();
        node.is_some_and(|node| self.node.authorize(node, attributes) == Decision::Allow)
    }
}

impl Decision {
    /// Nothing, or the 403 the client gets.
    pub fn permit(self, attributes: &Attributes<'_>) -> Result<(), Status> {
        match self {
            Decision::Allow => Ok(()),
            Decision::Deny(reason) | Decision::NoOpinion(reason) => Err(forbidden(attributes, &reason)),
        }
    }
}

impl Authorizer for Authorization {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if allowed_unasked(attributes) {
            return Decision::Allow;
        }
        if let Some(node) = attributes.user.node_name() {
            match self.node.authorize(node, attributes) {
                Decision::NoOpinion(reason) => return self.rbac_or(attributes, reason),
                decided => return decided,
            }
        }
        self.rbac.authorize(attributes)
    }
}

impl Authorization {
    fn rbac_or(&self, attributes: &Attributes<'_>, node_reason: String) -> Decision {
        match self.rbac.authorize(attributes) {
            Decision::NoOpinion(reason) if reason.is_empty() => Decision::NoOpinion(node_reason),
            Decision::NoOpinion(reason) if !node_reason.is_empty() => {
                Decision::NoOpinion(format!("{node_reason}\n{reason}"))
            }
            decided => decided,
        }
    }
}

/// What needs no rule.
fn allowed_unasked(attributes: &Attributes<'_>) -> bool {
    // Probes are answered before the roles that allow them exist. What else anonymous may, somebody granted.
    attributes.user.in_group(MASTERS) || (attributes.user.name == ANONYMOUS && public(attributes))
}

fn public(attributes: &Attributes<'_>) -> bool {
    let under = |path: &str| {
        attributes.path == path || attributes.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    };
    !attributes.is_resource && attributes.verb == "get" && PUBLIC_PATHS.into_iter().any(under)
}

/// The 403 of a request nobody allowed, worded as `kubectl` users know it.
pub fn forbidden(attributes: &Attributes<'_>, reason: &str) -> Status {
    let mut message = sanitize(&describe(attributes));
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    let resource = GroupResource { group: attributes.group.to_string(), resource: attributes.resource.to_string() };
    Status::forbidden(&resource, attributes.name, &message)
}

fn describe(a: &Attributes<'_>) -> String {
    let (user, verb) = (&a.user.name, a.verb);
    if !a.is_resource {
        return format!("User {user:?} cannot {verb} path {:?}", a.path);
    }
    let resource = match a.subresource {
        "" => a.resource.to_string(),
        subresource => format!("{}/{subresource}", a.resource),
    };
    let place = match a.namespace {
        "" => "at the cluster scope".to_string(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    format!("User {user:?} cannot {verb} resource {resource:?} in API group {:?} {place}", a.group)
}

/// Keeps a browser from taking what a client sent for HTML.
fn sanitize(message: &str) -> String {
    message.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::User;

    #[test]
    fn refusals_are_worded_as_upstream() {
        let user = User::new("x", Vec::<String>::new());
        let list = Attributes::for_resource(&user, "list", "", "configmaps");
        let cases = [
            (
                Attributes { namespace: "y", ..list },
                r#"configmaps is forbidden: User "x" cannot list resource "configmaps" in API group "" in the namespace "y""#,
            ),
            (
                Attributes {
                    group: "apps",
                    resource: "deployments",
                    subresource: "scale",
                    name: "web",
                    verb: "get",
                    namespace: "y",
                    ..list
                },
                r#"deployments.apps "web" is forbidden: User "x" cannot get resource "deployments/scale" in API group "apps" in the namespace "y""#,
            ),
            (
                Attributes { resource: "nodes", ..list },
                r#"nodes is forbidden: User "x" cannot list resource "nodes" in API group "" at the cluster scope"#,
            ),
            (Attributes::for_path(&user, "get", "/metrics"), r#"forbidden: User "x" cannot get path "/metrics""#),
        ];
        for (attributes, expected) in cases {
            assert_eq!(forbidden(&attributes, "").message, expected);
        }
        assert_eq!(
            forbidden(&Attributes::for_path(&user, "get", "/<b>"), "because").message,
            r#"forbidden: User "x" cannot get path "/&lt;b&gt;": because"#
        );
    }

    #[test]
    fn anonymous_reads_public_paths_only() {
        let user = User::anonymous();
        let cases = [
            ("get", "/healthz", true),
            ("get", "/livez/ping", true),
            ("get", "/readyz", true),
            ("get", "/version", true),
            ("get", "/versions", false),
            ("get", "/metrics", false),
            ("get", "/api", false),
            ("post", "/healthz", false),
        ];
        for (verb, path, allowed) in cases {
            assert_eq!(public(&Attributes::for_path(&user, verb, path)), allowed, "{verb} {path}");
        }
    }
}
