//! Writes of roles and bindings, held against the rights of who writes them.

use mk8s_api::{
    meta,
    status::{GroupResource, Status},
};
use serde::Deserialize;
use serde_json::Value;

use super::{Context, Operation, Plugin, Request};
use crate::auth::{
    escalation::{BindError, may_bind, may_write_role},
    rbac::rule::Rule,
};

pub(super) struct RbacEscalation;

const GROUP: &str = "rbac.authorization.k8s.io";

impl Plugin for RbacEscalation {
    fn validate(&self, request: &Request<'_>, object: &Value, context: &Context<'_>) -> Result<(), Status> {
        let written = matches!(request.operation, Operation::Create | Operation::Update);
        if request.group != GROUP || !written {
            return Ok(());
        }
        let unchanged = |field: &str| request.old.is_some_and(|old| old[field] == object[field]);
        let (authorization, user, namespace) = (context.authorization, request.user, request.namespace);
        let allowed = match request.resource {
            "roles" | "clusterroles" if unchanged("rules") && unchanged("aggregationRule") => Ok(()),
            "roles" | "clusterroles" => {
                let mut rules = Vec::<Rule>::deserialize(&object["rules"]).unwrap_or_default();
                if object["aggregationRule"].is_object() {
                    // Such a role may come to hold anything.
                    rules.extend(everything());
                }
                may_write_role(authorization, user, request.resource, namespace, meta::name(object), &rules)
            }
            "rolebindings" | "clusterrolebindings" if unchanged("roleRef") && unchanged("subjects") => Ok(()),
            "rolebindings" | "clusterrolebindings" => {
                let text = |field: &str| object["roleRef"][field].as_str().unwrap_or_default();
                match may_bind(authorization, user, namespace, text("kind"), text("name")) {
                    Err(BindError::NoRole) => {
                        // Kubernetes has it that a binding of the role's name is what is not there.
                        let resource = GroupResource::new(GROUP, request.resource);
                        return Err(Status::not_found(&resource, text("name")));
                    }
                    Err(BindError::Lacking(why)) => Err(why),
                    Ok(()) => Ok(()),
                }
            }
            _ => Ok(()),
        };
        allowed.map_err(|why| request.forbidden(Some(object), &why))
    }
}

fn everything() -> [Rule; 2] {
    let star = || vec!["*".to_string()];
    [
        Rule { api_groups: star(), resources: star(), verbs: star(), ..Rule::default() },
        Rule { non_resource_urls: star(), verbs: star(), ..Rule::default() },
    ]
}
