//! What an allowed write must still pass: plugins that complete an object (mutate) and plugins that may refuse it
//! (validate), in Kubernetes' order. One file a plugin.
//!
//! The registry calls [`Admission::mutate`] after defaulting and [`Admission::validate`] after validation. A plugin sees a
//! [`Request`] and a consistent [`View`] of the store; only the quota plugin writes.

use mk8s_api::status::{GroupResource, Status};
use mk8s_store::{Store, View};
use serde_json::Value;

use crate::auth::{Authorization, User};

mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod object_in_use;
mod pod_resources;
mod pod_security;
mod priority;
mod quota;
mod rbac_escalation;
mod runtime_class;
mod service_account;
mod stored;
mod taint_nodes;

#[cfg(test)]
mod tests;

/// The verb of an admission request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// One write on its way, as upstream's `admission.Attributes`.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub operation: Operation,
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    /// The plural.
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// Empty for a create with generateName that has no name yet.
    pub name: &'a str,
    pub user: &'a User,
    /// What is stored now, for updates and deletes.
    pub old: Option<&'a Value>,
    pub dry_run: bool,
    /// DeleteOptions, CreateOptions, ...
    pub options: Option<&'a Value>,
}

impl Request<'_> {
    fn is(&self, group: &str, resource: &str) -> bool {
        self.group == group && self.resource == resource
    }

    /// The object itself is written, not one of its subresources.
    fn whole(&self, group: &str, resource: &str) -> bool {
        self.is(group, resource) && self.subresource.is_empty()
    }

    fn creates(&self, group: &str, resource: &str) -> bool {
        self.operation == Operation::Create && self.whole(group, resource)
    }

    /// The 403 of a plugin: `pods "x" is forbidden: why`.
    fn forbidden(&self, object: Option<&Value>, why: &str) -> Status {
        let group_resource = GroupResource { group: self.group.to_string(), resource: self.resource.to_string() };
        Status::forbidden(&group_resource, self.name_of(object), why)
    }

    /// The name of the request, of the object, or what upstream says when there is none yet.
    fn name_of<'a>(&'a self, object: Option<&'a Value>) -> &'a str {
        if !self.name.is_empty() {
            return self.name;
        }
        let metadata = |field: &str| object.and_then(|o| o["metadata"][field].as_str()).filter(|s| !s.is_empty());
        metadata("name").or_else(|| metadata("generateName")).unwrap_or("Unknown")
    }
}

/// What a plugin may look at besides the request.
struct Context<'a> {
    view: &'a View,
    authorization: &'a Authorization,
}

/// One rule of admission. Both halves default to "nothing to say".
trait Plugin: Send + Sync {
    fn mutate(&self, _request: &Request<'_>, _object: &mut Value, _context: &Context<'_>) -> Result<(), Status> {
        Ok(())
    }

    /// `object` is null for deletes.
    fn validate(&self, _request: &Request<'_>, _object: &Value, _context: &Context<'_>) -> Result<(), Status> {
        Ok(())
    }
}

/// The chain.
pub struct Admission {
    store: Store,
    authorization: Authorization,
    plugins: Vec<Box<dyn Plugin>>,
    quota: quota::Quota,
}

impl Admission {
    pub fn new(store: Store, authorization: Authorization) -> Admission {
        let plugins: Vec<Box<dyn Plugin>> = vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle),
            Box::new(limit_ranger::LimitRanger),
            Box::new(service_account::ServiceAccount),
            Box::new(node_restriction::NodeRestriction),
            Box::new(taint_nodes::TaintNodesByCondition),
            Box::new(pod_security::PodSecurity),
            Box::new(priority::Priority),
            Box::new(default_toleration_seconds::DefaultTolerationSeconds),
            Box::new(default_storage_class::DefaultStorageClass),
            Box::new(object_in_use::StorageObjectInUseProtection),
            Box::new(runtime_class::RuntimeClass),
            Box::new(default_ingress_class::DefaultIngressClass),
            Box::new(rbac_escalation::RbacEscalation),
        ];
        Admission { quota: quota::Quota::new(store.clone()), store, authorization, plugins }
    }

    /// Completes `object`, or refuses it.
    pub async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        service_account::await_default(&self.store, request, object).await;
        let view = self.store.view();
        let context = Context { view: &view, authorization: &self.authorization };
        self.plugins.iter().try_for_each(|plugin| plugin.mutate(request, object, &context))
    }

    /// What the author should know about an object that is let through.
    pub fn warnings(&self, request: &Request<'_>, object: &Value) -> Vec<String> {
        let view = self.store.view();
        pod_security::warnings(request, object, &Context { view: &view, authorization: &self.authorization })
    }

    /// Refuses `object`, or lets it pass. Charges quotas last, so that nothing refused is charged.
    pub async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        {
            let view = self.store.view();
            let context = Context { view: &view, authorization: &self.authorization };
            self.plugins.iter().try_for_each(|plugin| plugin.validate(request, object, &context))?;
        }
        self.quota.charge(request, object).await
    }
}
