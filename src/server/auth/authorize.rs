//! Whether a request may be: `system:masters` may everything, then the [`chain`](super::chain) is asked: usually the Node
//! authorizer, then RBAC.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use mk8s_api::status::{GroupResource, Status};
use mk8s_store::Store;

use super::{
    ANONYMOUS, Attributes, AuthorizerOptions, MASTERS, User, Verdict,
    chain::{Chain, Counted, FILE, Heard, Link, Who, aggregate},
    node::NodeAuthorizer,
    rbac::{Rbac, rule::Rule},
    reload::Reloads,
    webhook,
};
use crate::webhook::Client;

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
    chain: Arc<ArcSwap<Chain>>,
    counted: Arc<Counted>,
    /// Set when a file names the authorizers.
    reloads: Arc<OnceLock<Reloads>>,
}

/// What a user may do, as far as it can be listed.
#[derive(Default)]
pub struct Rules {
    pub rules: Vec<Rule>,
    /// They may do everything.
    pub all: bool,
    /// They may be allowed more than is listed, and why that is not known.
    pub incomplete: bool,
    pub error: Option<String>,
}

impl Authorization {
    /// The Node authorizer, and RBAC.
    pub fn new(store: Store) -> Authorization {
        let counted = Counted::default();
        let chain = Chain::new(AuthorizerOptions::usual(), None, &counted);
        Authorization {
            node: Arc::new(NodeAuthorizer::new(store.clone())),
            rbac: Arc::new(Rbac::new(store)),
            chain: Arc::new(ArcSwap::from_pointee(chain)),
            counted: Arc::new(counted),
            reloads: Arc::default(),
        }
    }

    /// These authorizers are asked from now on; webhooks by this client.
    pub fn ask(&self, authorizers: Vec<AuthorizerOptions>, client: &Client) {
        self.chain.store(Arc::new(Chain::new(authorizers, Some(client), &self.counted)));
    }

    /// The RBAC index, for escalation checks and SelfSubjectRulesReview.
    pub fn rbac(&self) -> &Rbac {
        &self.rbac
    }

    /// Allows, or the 403 the client gets.
    pub fn check(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        self.authorize(attributes).permit(attributes)
    }

    /// The authorizers are those of a file, which at the start has this text; `server`: the name of this one.
    pub fn obey_file(&self, server: &str, text: &str) {
        // It is said once.
        let _ = self.reloads.set(Reloads::new(FILE, server, Some(text)));
    }

    pub(super) fn reloads(&self) -> Option<&Reloads> {
        self.reloads.get()
    }

    /// What is thought of a request, without holding up a thread while others are asked.
    pub async fn decide(&self, attributes: &Attributes<'_>) -> Verdict {
        if allowed_unasked(attributes) {
            return Decision::Allow.into();
        }
        let (chain, mut heard) = (self.chain.load_full(), Heard::default());
        for link in &chain.links {
            let verdict = match &link.who {
                // Boxed, because this is part of the future of every request.
                Who::Webhook(webhook) => Box::pin(webhook.decide(attributes)).await,
                _ => self.of(link, attributes).into(),
            };
            if let Some(verdict) = heard.hear(link, verdict) {
                return verdict;
            }
        }
        heard.silence()
    }

    /// As [`Authorization::decide`], where it is not possible to wait otherwise.
    pub fn judge(&self, attributes: &Attributes<'_>) -> Verdict {
        if allowed_unasked(attributes) {
            return Decision::Allow.into();
        }
        let (chain, mut heard) = (self.chain.load(), Heard::default());
        for link in &chain.links {
            let verdict = match &link.who {
                Who::Webhook(webhook) => webhook::wait(webhook.decide(attributes)).unwrap_or_else(|| Verdict {
                    error: Some("a webhook cannot be asked here".to_owned()),
                    ..Decision::NoOpinion(String::new()).into()
                }),
                _ => self.of(link, attributes).into(),
            };
            if let Some(verdict) = heard.hear(link, verdict) {
                return verdict;
            }
        }
        heard.silence()
    }

    /// What one thinks who knows by himself.
    fn of(&self, link: &Link, attributes: &Attributes<'_>) -> Decision {
        match &link.who {
            Who::AlwaysAllow => Decision::Allow,
            Who::AlwaysDeny => Decision::NoOpinion("Everything is forbidden.".to_owned()),
            Who::Node => match attributes.user.node_name() {
                Some(node) => self.node.authorize(node, attributes),
                None => Decision::NoOpinion(String::new()),
            },
            Who::Rbac => self.rbac.authorize(attributes),
            Who::Webhook(_) => Decision::NoOpinion(String::new()),
        }
    }

    /// What a user may do cluster-wide and in a namespace, as far as it can be listed.
    pub fn rules_of(&self, user: &User, namespace: &str) -> Rules {
        let mut rules = Rules { all: user.in_group(MASTERS), ..Rules::default() };
        let mut errors = Vec::new();
        for link in &self.chain.load().links {
            match &link.who {
                Who::AlwaysAllow => rules.all = true,
                Who::AlwaysDeny => {}
                Who::Rbac => rules.rules.extend(self.rbac.rules_of(user, namespace)),
                Who::Node if user.node_name().is_none() => {}
                Who::Node => errors.push("node authorizer does not support user rule resolution".to_owned()),
                Who::Webhook(_) => errors.push("webhook authorizer does not support user rule resolution".to_owned()),
            }
        }
        rules.incomplete = !errors.is_empty();
        rules.error = aggregate(&errors);
        rules
    }

    pub(crate) fn metrics_text(&self) -> String {
        self.counted.text() + &self.reloads().map(Reloads::text).unwrap_or_default()
    }

    /// Why it was decided so, as the audit log and reviews of access tell it.
    pub fn reason(&self, attributes: &Attributes<'_>, verdict: &Verdict) -> String {
        match &verdict.decision {
            Decision::Deny(reason) | Decision::NoOpinion(reason) => reason.clone(),
            Decision::Allow if !verdict.reason.is_empty() => verdict.reason.clone(),
            // Others than webhooks and RBAC allow without a word.
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

impl Verdict {
    /// Nothing, or what the client gets: a 403, or a 500 when somebody could have allowed it who did not answer.
    pub fn permit(self, attributes: &Attributes<'_>) -> Result<(), Status> {
        match (&self.decision, &self.error) {
            (Decision::Allow, _) | (_, None) => self.decision.permit(attributes),
            (_, Some(error)) => {
                let message = sanitize(&format!("Internal Server Error: {:?}: {error}", attributes.path));
                Err(Status::failure(500, "InternalError", message))
            }
        }
    }
}

impl Authorizer for Authorization {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        self.judge(attributes).decision
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
