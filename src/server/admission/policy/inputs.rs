//! What expressions see of a request.

use mk8s_api::cel::{admission::Inputs, authorize::ResourceQuestion};
use mk8s_store::View;
use serde_json::{Value, json};

use super::authorize::Asker;
use crate::{
    admission::{Request, webhook::rules::Asked},
    stored,
};

/// The `AdmissionRequest`, without the objects.
pub(in crate::admission) fn request(request: &Request<'_>, asked: &Asked) -> Value {
    let (kind_group, kind_version) = request.kind_version;
    let mut value = json!({
        "kind": {"group": asked.kind.0, "version": asked.kind.1, "kind": asked.kind.2},
        "resource": {"group": asked.group, "version": asked.version, "resource": request.resource},
        "requestKind": {"group": kind_group, "version": kind_version, "kind": request.kind},
        "requestResource": {"group": request.group, "version": request.version, "resource": request.resource},
        "name": request.name,
        "namespace": request.namespace,
        "operation": request.operation.word(),
        "userInfo": request.user.to_user_info(),
        "dryRun": request.dry_run,
        "options": request.options_value(),
    });
    if !request.subresource.is_empty() {
        value["subResource"] = request.subresource.into();
        value["requestSubResource"] = request.subresource.into();
    }
    if request.namespace.is_empty() {
        value.as_object_mut().expect("made as an object").remove("namespace");
    }
    value
}

/// The objects that expressions are given.
pub(in crate::admission) struct Given<'a> {
    pub(in crate::admission) request: &'a Value,
    pub(in crate::admission) object: &'a Value,
    pub(in crate::admission) old: Option<&'a Value>,
    pub(in crate::admission) namespace: Option<&'a Value>,
    pub(in crate::admission) params: Option<&'a Value>,
}

impl<'a> Given<'a> {
    pub(in crate::admission) fn to_expressions(
        &self,
        request: &Request<'_>,
        asked: &Asked,
        asker: &'a Asker<'a>,
    ) -> Inputs<'a> {
        Inputs {
            object: Some(self.object),
            old: self.old,
            namespace: self.namespace,
            request: self.request,
            params: self.params,
            authorize: Some(asker),
            resource: ResourceQuestion {
                group: asked.group.clone(),
                resource: request.resource.to_string(),
                subresource: request.subresource.to_string(),
                namespace: request.namespace.to_string(),
                name: request.name.to_string(),
                ..ResourceQuestion::default()
            },
        }
    }
}

/// The namespace of the request as expressions see it; nothing for what is in none.
pub(super) fn namespace(request: &Request<'_>, view: &View) -> Option<Value> {
    if request.namespace.is_empty() || request.is("", "namespaces") {
        return None;
    }
    let mut namespace = stored::get(view, "", "namespaces", "", request.namespace)?;
    if let Some(metadata) = namespace["metadata"].as_object_mut() {
        metadata.retain(|field, _| !matches!(field.as_str(), "managedFields" | "ownerReferences" | "selfLink"));
    }
    Some(namespace)
}
