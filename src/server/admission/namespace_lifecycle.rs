//! Nothing is created in a namespace that is missing or going away; the namespaces every cluster has stay.

use mk8s_api::status::{Cause, GroupResource, Status};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::{Context, Operation, Plugin, Request};

pub(super) struct NamespaceLifecycle;

const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// As much of a namespace as is needed here: this is read on every write.
#[derive(Deserialize)]
struct Namespace {
    metadata: Metadata,
    #[serde(default)]
    status: Phase,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    deletion_timestamp: Option<IgnoredAny>,
}

#[derive(Deserialize, Default)]
struct Phase {
    #[serde(default)]
    phase: String,
}

impl Plugin for NamespaceLifecycle {
    fn mutate(&self, request: &Request<'_>, object: &mut Value, context: &Context<'_>) -> Result<(), Status> {
        self.check(request, Some(object), context)
    }

    fn validate(&self, request: &Request<'_>, _object: &Value, context: &Context<'_>) -> Result<(), Status> {
        // Writes were checked by `mutate`; deletes come only here.
        match request.operation {
            Operation::Delete => self.check(request, None, context),
            _ => Ok(()),
        }
    }
}

impl NamespaceLifecycle {
    fn check(&self, request: &Request<'_>, object: Option<&Value>, context: &Context<'_>) -> Result<(), Status> {
        if request.is("", "namespaces") {
            let immortal = request.operation == Operation::Delete && IMMORTAL.contains(&request.name);
            return if immortal { Err(request.forbidden(None, "this namespace may not be deleted")) } else { Ok(()) };
        }
        let exempt = request.namespace.is_empty()
            || matches!(request.operation, Operation::Delete | Operation::Connect)
            || request.is("authorization.k8s.io", "localsubjectaccessreviews");
        if exempt {
            return Ok(());
        }
        let missing = || Status::not_found(&GroupResource::new("", "namespaces"), request.namespace);
        let entry = context
            .view
            .get(format!("/registry/core/namespaces/{}", request.namespace).as_bytes())
            .ok_or_else(missing)?;
        let terminating = match serde_json::from_slice::<Namespace>(&entry.value) {
            Ok(namespace) => namespace.metadata.deletion_timestamp.is_some() || namespace.status.phase == "Terminating",
            Err(_) => false,
        };
        match terminating && request.operation == Operation::Create {
            true => Err(refusal(request, object)),
            false => Ok(()),
        }
    }
}

fn refusal(request: &Request<'_>, object: Option<&Value>) -> Status {
    let namespace = request.namespace;
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut status = request.forbidden(object, &why);
    if let Some(details) = &mut status.details {
        details.causes.push(Cause {
            reason: "NamespaceTerminating".into(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".into(),
        });
    }
    status
}
