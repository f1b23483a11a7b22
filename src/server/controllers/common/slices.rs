//! EndpointSlices as those keep them who make them: labels that say whose they are, and what is done to them.

use super::{
    Context, Result,
    failure::{Doing, namespace_terminating, said, unless_gone},
    own_writes::OwnWrites,
};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use mk8s_client::{
    Key,
    kube::{
        ResourceExt,
        api::{DeleteParams, PostParams},
    },
};
use std::fmt;

pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";

/// The Service of a slice that `manager` keeps.
pub(crate) fn service_of_slice(slice: &EndpointSlice, manager: &str) -> Option<Key> {
    let labels = slice.labels();
    let name = labels.get(SERVICE_NAME).filter(|_| labels.get(MANAGED_BY).is_some_and(|by| by == manager))?;
    Some(Key::new(slice.namespace().unwrap_or_default(), name))
}

pub(crate) enum Action {
    Delete { name: String, uid: Option<String> },
    Update(Box<EndpointSlice>),
    Create(Box<EndpointSlice>),
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, slice) = match self {
            Action::Delete { name, .. } => return write!(f, "Delete {name}"),
            Action::Update(slice) => ("Update", slice),
            Action::Create(slice) => ("Create", slice),
        };
        let ports = slice.ports.iter().flatten();
        let ports: Vec<_> =
            ports.map(|port| format!("{:?}:{}", port.name.as_deref().unwrap_or(""), port.port.unwrap_or(0))).collect();
        write!(f, "{verb} {} {} ports [{}]", slice.name_any(), slice.address_type, ports.join(" "))?;
        for endpoint in slice.endpoints.iter().flatten() {
            let conditions = endpoint.conditions.clone().unwrap_or_default();
            let flag = |value: Option<bool>, letter: char| if value == Some(true) { letter } else { '-' };
            let letters =
                [flag(conditions.ready, 'r'), flag(conditions.serving, 's'), flag(conditions.terminating, 't')];
            write!(f, "\n  {} {}", endpoint.addresses.join(","), letters.iter().collect::<String>())?;
            for more in [&endpoint.hostname, &endpoint.node_name, &endpoint.zone].into_iter().flatten() {
                write!(f, " {more}")?;
            }
            if let Some(hints) = &endpoint.hints {
                let zones = hints.for_zones.iter().flatten().map(|zone| zone.name.as_str());
                let nodes = hints.for_nodes.iter().flatten().map(|node| node.name.as_str());
                write!(f, " for {}", zones.chain(nodes).collect::<Vec<_>>().join("+"))?;
            }
        }
        Ok(())
    }
}

/// Does it; what was written is known before the informer tells of it.
pub(crate) async fn act(ctx: &Context, writes: &OwnWrites<EndpointSlice>, key: &Key, action: &Action) -> Result<()> {
    let slices = ctx.api::<EndpointSlice>(&key.namespace);
    match action {
        Action::Create(slice) => match slices.create(&PostParams::default(), slice).await {
            Ok(created) => writes.wrote(key, created),
            Err(error) if namespace_terminating(&error) => {
                tracing::debug!(%key, error = said(&error), "no slices in a namespace that goes away");
            }
            Err(error) => return Err(error).doing(format_args!("creating an EndpointSlice of {key}")),
        },
        Action::Update(slice) => {
            let name = slice.name_any();
            let written = unless_gone(slices.replace(&name, &PostParams::default(), slice).await)
                .doing(format_args!("updating EndpointSlice {name}"))?;
            written.into_iter().for_each(|slice| writes.wrote(key, slice));
        }
        Action::Delete { name, uid } => {
            unless_gone(slices.delete(name, &DeleteParams::default()).await)
                .doing(format_args!("deleting EndpointSlice {name}"))?;
            writes.deleted(key, uid.clone());
        }
    }
    Ok(())
}
