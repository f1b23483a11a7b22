//! Nobody hands out rights they do not have: the check behind writes of roles and bindings.

use mk8s_api::field::quote;

use super::{
    Attributes, Authorization, Authorizer, Decision, MASTERS, User,
    rbac::rule::{Rule, describe, missing, quoted},
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether `user` may write a role with these rules; otherwise why not.
pub fn may_write_role(
    authorization: &Authorization,
    user: &User,
    resource: &str,
    namespace: &str,
    name: &str,
    rules: &[Rule],
) -> Result<(), String> {
    if user.in_group(MASTERS) || holds(authorization, user, "escalate", resource, namespace, name) {
        return Ok(());
    }
    confirm(authorization, user, namespace, rules)
}

/// Why a binding may not be written.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("the role does not exist")]
    NoRole,
    #[error("{0}")]
    Lacking(String),
}

/// Whether `user` may write a binding to this role; otherwise why not.
pub fn may_bind(
    authorization: &Authorization,
    user: &User,
    namespace: &str,
    role_kind: &str,
    role: &str,
) -> Result<(), BindError> {
    let plural = if role_kind == "ClusterRole" { "clusterroles" } else { "roles" };
    if user.in_group(MASTERS) || holds(authorization, user, "bind", plural, namespace, role) {
        return Ok(());
    }
    match authorization.rbac().rules_of_role(role_kind, namespace, role) {
        Some(rules) => confirm(authorization, user, namespace, &rules).map_err(BindError::Lacking),
        None => Err(BindError::NoRole),
    }
}

fn holds(authorization: &Authorization, user: &User, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
    let attributes = Attributes { namespace, name, ..Attributes::for_resource(user, verb, GROUP, resource) };
    authorization.authorize(&attributes) == Decision::Allow
}

fn confirm(authorization: &Authorization, user: &User, namespace: &str, rules: &[Rule]) -> Result<(), String> {
    let lacking = missing(&authorization.rbac().rules_of(user, namespace), rules);
    if lacking.is_empty() {
        return Ok(());
    }
    Err(format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quote(&user.name),
        quoted(&user.groups),
        describe(&lacking)
    ))
}
