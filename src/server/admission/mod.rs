//! What an allowed write must still pass: plugins that complete an object (mutate) and plugins that may refuse it
//! (validate), in Kubernetes' order. One file a plugin; webhooks and policies have a folder each.
//!
//! The registry calls [`Admission::mutate`] after defaulting and [`Admission::validate`] after validation;
//! [`Admission::admit`] is both for what is not written itself: deletes, connections, orders such as an eviction. A
//! plugin sees a [`Request`] and a consistent [`View`] of the store; only the quota plugin writes.

use mk8s_api::status::{GroupResource, Status};
use mk8s_store::{Store, View};
use serde_json::{Value, json};

use crate::{
    auth::{Authorization, User},
    registry::{DeleteOptions, FieldValidation, Presenter, Propagation, Resource, WriteOptions},
    stored,
    webhook::Client,
};

mod certificates;
mod claim_resize;
mod claim_status;
mod claims;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod device_admin;
mod limit_ranger;
mod managers;
mod namespace_lifecycle;
mod node_restriction;
mod notes;
mod object_in_use;
mod pod_resources;
mod pod_security;
mod pod_topology;
mod policy;
mod priority;
mod quota;
mod rbac_escalation;
mod runtime_class;
mod service_account;
mod taint_nodes;
mod webhook;

#[cfg(test)]
mod tests;

pub(crate) use claims::Claims;
pub use notes::Notes;
pub(crate) use notes::Outdated;
pub use webhook::read_answer as read_review;

/// The verb of an admission request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

impl Operation {
    /// The operation as rules and reviews spell it.
    pub fn word(self) -> &'static str {
        match self {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
            Operation::Connect => "CONNECT",
        }
    }
}

/// What a request says besides the object.
#[derive(Debug, Clone, Copy)]
pub enum Options<'a> {
    None,
    /// Of a create or an update.
    Write(&'a WriteOptions),
    Delete(&'a DeleteOptions),
}

/// One write on its way, as upstream's `admission.Attributes`.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub operation: Operation,
    pub group: &'a str,
    pub version: &'a str,
    pub kind: &'a str,
    /// Group and version of `kind`: those of the resource but for some subresources.
    pub kind_version: (&'a str, &'a str),
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
    pub options: Options<'a>,
    /// The resource itself, for those who must make sense of changed objects.
    pub target: Option<&'a Resource>,
    /// Where admission puts what it says besides yes and no.
    pub notes: &'a Notes,
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

    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions`; null when there are none.
    pub fn options_value(&self) -> Value {
        let mut value = match self.options {
            Options::None => return Value::Null,
            Options::Write(options) => {
                let kind = if self.operation == Operation::Create { "CreateOptions" } else { "UpdateOptions" };
                let mut value = json!({"kind": kind});
                if !options.field_manager.is_empty() {
                    value["fieldManager"] = json!(options.field_manager);
                }
                match options.validation {
                    FieldValidation::Strict => value["fieldValidation"] = json!("Strict"),
                    FieldValidation::Ignore => value["fieldValidation"] = json!("Ignore"),
                    FieldValidation::Warn => {}
                }
                value
            }
            Options::Delete(options) => delete_options(options),
        };
        value["apiVersion"] = json!("meta.k8s.io/v1");
        if self.dry_run {
            value["dryRun"] = json!(["All"]);
        }
        value
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

fn delete_options(options: &DeleteOptions) -> Value {
    let mut value = json!({"kind": "DeleteOptions"});
    if let Some(seconds) = options.grace_period_s {
        value["gracePeriodSeconds"] = json!(seconds);
    }
    if let Some(orphan) = options.orphan_dependents {
        value["orphanDependents"] = json!(orphan);
    }
    if let Some(propagation) = options.propagation {
        value["propagationPolicy"] = json!(match propagation {
            Propagation::Orphan => "Orphan",
            Propagation::Background => "Background",
            Propagation::Foreground => "Foreground",
        });
    }
    if let Some(uid) = &options.uid {
        value["preconditions"]["uid"] = json!(uid);
    }
    if let Some(version) = &options.resource_version {
        value["preconditions"]["resourceVersion"] = json!(version);
    }
    value
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
    policies: policy::Policies,
    webhooks: webhook::Webhooks,
    quota: quota::Quota,
}

impl Admission {
    /// `presenter` shows objects of custom kinds in the version that is wanted.
    pub(crate) fn new(store: Store, authorization: Authorization, client: Client, presenter: Presenter) -> Admission {
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
            Box::new(claim_resize::PersistentVolumeClaimResize),
            Box::new(runtime_class::RuntimeClass),
            Box::new(certificates::Approval),
            Box::new(certificates::Signing),
            Box::new(certificates::SubjectRestriction),
            Box::new(default_ingress_class::DefaultIngressClass),
            Box::new(pod_topology::PodTopologyLabels),
            Box::new(rbac_escalation::RbacEscalation),
            Box::new(device_admin::DeviceAdminAccess),
            Box::new(claim_status::ClaimStatusAuthorization),
        ];
        let policies = policy::Policies::new(store.clone(), presenter);
        let webhooks = webhook::Webhooks::new(store.clone(), client, authorization.clone());
        Admission { quota: quota::Quota::new(store.clone()), store, authorization, plugins, policies, webhooks }
    }

    /// Completes `object`, or refuses it. When a policy or a webhook changes it, everybody has another look.
    pub async fn mutate(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        service_account::await_default(&self.store, request, object).await;
        let view = self.store.view();
        self.complete(request, object, &view)?;
        let mut policies = policy::Round::default();
        let by_policy = self.policies.mutate(request, object, &view, &self.authorization, &mut policies).await?;
        let mut round = webhook::Round::default();
        let by_webhook = self.webhooks.mutate(request, object, &view, &mut round).await?;
        if !by_policy && !by_webhook {
            return Ok(());
        }
        let view = self.store.view();
        self.complete(request, object, &view)?;
        self.policies.mutate(request, object, &view, &self.authorization, &mut policies.again()).await?;
        self.webhooks.mutate(request, object, &view, &mut round.again(object)).await.map(drop)
    }

    /// The plugins' half of [`Admission::mutate`].
    fn complete(&self, request: &Request<'_>, object: &mut Value, view: &View) -> Result<(), Status> {
        let context = Context { view, authorization: &self.authorization };
        self.plugins.iter().try_for_each(|plugin| plugin.mutate(request, object, &context))
    }

    /// Lets pass or refuses what is not written itself. `object` is null for deletes.
    pub async fn admit(&self, request: &Request<'_>, object: &mut Value) -> Result<(), Status> {
        if request.operation == Operation::Delete {
            // No plugin completes what goes away; webhooks hear of it in both halves.
            let view = self.store.view();
            self.webhooks.mutate(request, object, &view, &mut webhook::Round::default()).await?;
        } else {
            self.mutate(request, object).await?;
        }
        self.validate(request, object).await
    }

    /// What was counted of webhooks, in the text form of metrics.
    pub fn metrics_text(&self) -> String {
        self.webhooks.metrics_text()
    }

    /// Refuses `object`, or lets it pass. Charges quotas last, so that nothing refused is charged.
    pub async fn validate(&self, request: &Request<'_>, object: &Value) -> Result<(), Status> {
        {
            let view = self.store.view();
            let context = Context { view: &view, authorization: &self.authorization };
            self.plugins.iter().try_for_each(|plugin| plugin.validate(request, object, &context))?;
        }
        let view = self.store.view();
        self.policies.validate(request, object, &view, &self.authorization).await?;
        self.webhooks.validate(request, object, &view).await?;
        self.quota.charge(request, object).await
    }
}
