//! A kind as the registry sees it: its place in the store, its rules, its schema; and the table of all of them.
//!
//! What the registry asks of the API's language (schemas, rules) it asks here.

use std::{collections::HashMap, sync::Arc};

use mk8s_api::{
    field::FieldError,
    kinds::{self, Kind},
    meta,
    rules::{self, Rules},
    schema::{self, Schema},
    status::{GroupResource, Status},
};
use serde_json::Value;

use super::{FieldValidation, Warnings, keys, patch::report};

/// Kinds whose updates must say which version they are for.
const CONDITIONAL: [(&str, &str); 16] = [
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("coordination.k8s.io", "leases"),
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "volumeattachments"),
    ("certificates.k8s.io", "clustertrustbundles"),
];

/// Kinds that a replace creates when there is nothing to replace.
const CREATED_ON_UPDATE: [(&str, &str); 11] = [
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "services"),
    ("events.k8s.io", "events"),
    ("coordination.k8s.io", "leases"),
    ("node.k8s.io", "runtimeclasses"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
];

/// Kinds whose delete answers with the object instead of a Status.
const RETURNED_WHEN_DELETED: [(&str, &str); 9] = [
    ("", "namespaces"),
    ("", "nodes"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
];

/// One kind in one version.
pub struct Resource {
    pub kind: &'static Kind,
    pub group_resource: GroupResource,
    pub api_version: String,
    /// The store's prefix of all its objects.
    pub prefix: String,
    pub unconditional_update: bool,
    pub create_on_update: bool,
    pub returns_deleted: bool,
    rules: &'static Rules,
    schema: Option<&'static Schema>,
}

/// The kind that a subresource speaks.
pub struct SubresourceKind;

impl Resource {
    pub fn new(kind: &'static Kind) -> Resource {
        let id = (kind.group.as_str(), kind.plural.as_str());
        Resource {
            kind,
            group_resource: kind.group_resource(),
            api_version: kind.api_version(),
            prefix: keys::kind_prefix(storage_group(&kind.group, &kind.plural), &kind.plural),
            unconditional_update: !CONDITIONAL.contains(&id),
            create_on_update: CREATED_ON_UPDATE.contains(&id),
            returns_deleted: RETURNED_WHEN_DELETED.contains(&id),
            rules: rules::of(&kind.group, &kind.kind),
            schema: schema::schema_of(&kind.group, &kind.version, &kind.kind),
        }
    }
}

/// Events are one kind that two groups show.
fn storage_group<'a>(group: &'a str, plural: &str) -> &'a str {
    if plural == "events" { "" } else { group }
}
