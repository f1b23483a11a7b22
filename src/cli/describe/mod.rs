//! How `describe` tells what there is to know about an object.
//!
//! A description has two steps: the object and what it points to are read (`Need`), then the text is made from that
//! alone. Kinds without a description of their own are told field by field (`generic.rs`).
//!
//! Invariant: the text depends on nothing but a `Seen`.

mod autoscaling;
mod certificates;
mod config;
mod containers;
mod events;
pub(crate) mod fields;
mod generic;
mod ingress;
mod namespace;
mod network;
mod node;
mod page;
mod pod;
mod pod_resources;
mod policy;
pub(crate) mod rbac;
mod service;
mod storage;
#[cfg(test)]
mod tests;
mod volume_sources;
mod volumes;
mod workloads;

use crate::{failure::Failure, remote::Remote, resolve::discovery::Resource};
use anyhow::Result;
use fields::{Clock, text};
use page::Page;
use serde_json::Value;
use std::collections::BTreeMap;

/// Something to read besides the object itself.
enum Need {
    Get(String),
    List(String),
}

/// Everything a description is made of.
struct Seen {
    object: Value,
    related: BTreeMap<String, Result<Value>>,
    /// Nothing when events are not wanted.
    events: Option<Vec<Value>>,
    clock: Clock,
}

impl Seen {
    /// An object that was needed.
    fn related(&self, key: &str) -> Result<&Value, &anyhow::Error> {
        self.related.get(key).map_or(Ok(&Value::Null), Result::as_ref)
    }

    /// A list that was needed; when it could not be read there is no description.
    fn list(&self, key: &str) -> Result<&[Value]> {
        match self.related(key) {
            Ok(found) => Ok(fields::list(&found["items"])),
            Err(error) => Err(again(error)),
        }
    }
}

/// A copy of an error that keeps what the server said.
fn again(error: &anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Api(status)) => Failure::Api(status.clone()).into(),
        _ => anyhow::anyhow!("{error:#}"),
    }
}

/// Whether the events of a kind are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Events {
    Never,
    /// When they can be read.
    Told,
    /// There is no description without them, although nothing says why.
    Required,
}

/// How one kind is described.
struct Describer {
    group: &'static str,
    kind: &'static str,
    /// The version it is read in, whichever was asked for.
    version: &'static str,
    events: Events,
    needs: fn(&Value) -> Vec<(String, Need)>,
    write: fn(&Seen, &mut Page) -> Result<()>,
}

const fn kind(
    group: &'static str,
    kind: &'static str,
    version: &'static str,
    write: fn(&Seen, &mut Page) -> Result<()>,
) -> Describer {
    Describer { group, kind, version, events: Events::Told, needs: nothing, write }
}

impl Describer {
    const fn needing(mut self, needs: fn(&Value) -> Vec<(String, Need)>) -> Describer {
        self.needs = needs;
        self
    }

    const fn with_events(mut self, events: Events) -> Describer {
        self.events = events;
        self
    }
}

fn nothing(_: &Value) -> Vec<(String, Need)> {
    Vec::new()
}

const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";

static DESCRIBERS: &[Describer] = &[
    kind("", "Pod", "v1", pod::write),
    kind("", "Node", "v1", node::write).needing(node::needs),
    kind("", "Namespace", "v1", namespace::write).needing(namespace::needs).with_events(Events::Never),
    kind("", "ResourceQuota", "v1", namespace::quota).with_events(Events::Never),
    kind("", "LimitRange", "v1", namespace::limit_range).with_events(Events::Never),
    kind("", "ReplicationController", "v1", workloads::replication_controller).needing(workloads::pods),
    kind("apps", "ReplicaSet", "v1", workloads::replica_set).needing(workloads::pods),
    kind("apps", "Deployment", "v1", workloads::deployment).needing(workloads::replica_sets),
    kind("apps", "StatefulSet", "v1", workloads::stateful_set).needing(workloads::pods),
    kind("apps", "DaemonSet", "v1", workloads::daemon_set).needing(workloads::pods),
    kind("batch", "Job", "v1", workloads::job),
    kind("batch", "CronJob", "v1", workloads::cron_job),
    kind("", "Service", "v1", service::service).needing(service::needs),
    kind("", "Endpoints", "v1", service::endpoints),
    kind("discovery.k8s.io", "EndpointSlice", "v1", service::endpoint_slice),
    kind("", "ConfigMap", "v1", config::config_map).with_events(Events::Required),
    kind("", "Secret", "v1", config::secret).with_events(Events::Never),
    kind("", "ServiceAccount", "v1", config::service_account),
    kind(RBAC, "Role", "v1", rbac::role).with_events(Events::Never),
    kind(RBAC, "ClusterRole", "v1", rbac::role).with_events(Events::Never),
    kind(RBAC, "RoleBinding", "v1", rbac::binding).with_events(Events::Never),
    kind(RBAC, "ClusterRoleBinding", "v1", rbac::binding).with_events(Events::Never),
    kind(NETWORKING, "Ingress", "v1", ingress::ingress).needing(ingress::needs),
    kind(NETWORKING, "IngressClass", "v1", ingress::class),
    kind(NETWORKING, "NetworkPolicy", "v1", network::policy).with_events(Events::Never),
    kind(NETWORKING, "ServiceCIDR", "v1", network::service_cidr),
    kind(NETWORKING, "IPAddress", "v1", network::ip_address),
    kind("", "PersistentVolume", "v1", storage::volume),
    kind("", "PersistentVolumeClaim", "v1", storage::claim).needing(storage::claim_needs),
    kind(STORAGE, "StorageClass", "v1", storage::class),
    kind(STORAGE, "VolumeAttributesClass", "v1", storage::attributes_class),
    kind(STORAGE, "CSINode", "v1", storage::csi_node),
    kind("autoscaling", "HorizontalPodAutoscaler", "v2", autoscaling::write),
    kind("policy", "PodDisruptionBudget", "v1", policy::disruption_budget),
    kind("scheduling.k8s.io", "PriorityClass", "v1", policy::priority_class),
    kind("certificates.k8s.io", "CertificateSigningRequest", "v1", certificates::write),
];

/// The path of a list in a namespace of the core group.
fn core_list(namespace: &str, plural: &str) -> String {
    match namespace {
        "" => format!("/api/v1/{plural}"),
        namespace => format!("/api/v1/namespaces/{namespace}/{plural}"),
    }
}

/// Reads an object and what belongs to it, and describes it.
pub(crate) async fn describe(
    remote: &Remote,
    resource: &Resource,
    namespace: Option<&str>,
    name: &str,
    show_events: bool,
) -> Result<String> {
    let describer = DESCRIBERS.iter().find(|one| one.group == resource.group && one.kind == resource.kind);
    let object_of = |version: &str| {
        let resource = Resource { version: version.to_owned(), ..resource.clone() };
        format!("{}/{name}", resource.path(namespace))
    };
    let object = remote.get(&object_of(describer.map_or(&resource.version, |one| one.version))).await?;
    let mut related = BTreeMap::new();
    if let Some(describer) = describer {
        for (key, need) in (describer.needs)(&object) {
            let found = match need {
                Need::Get(path) => remote.get(&path).await,
                Need::List(path) => remote.list(&path).await,
            };
            related.insert(key, found);
        }
    }
    let wanted = if show_events { describer.map_or(Events::Told, |one| one.events) } else { Events::Never };
    let found = match wanted {
        Events::Never => None,
        Events::Told => Some(events::of(remote, &resource.kind, &object).await.unwrap_or_default()),
        Events::Required => Some(events::of(remote, &resource.kind, &object).await?),
    };
    let seen = Seen { object, related, events: found, clock: Clock::system() };
    write(describer, &seen)
}

fn write(describer: Option<&Describer>, seen: &Seen) -> Result<String> {
    let mut page = Page::default();
    match describer {
        Some(describer) => (describer.write)(seen, &mut page)?,
        None => generic::write(seen, &mut page),
    }
    if let Some(found) = &seen.events {
        events::write(found, &seen.clock, &mut page);
    }
    Ok(page.finish())
}

/// A pod template as `rollout history` shows it: its tabs are not laid out.
pub(crate) fn pod_template(template: &Value) -> String {
    let mut page = Page::default();
    pod::template(template, &Clock::system(), &mut page);
    page.raw()
}

/// `namespace` and `name` of an object.
fn place(object: &Value) -> (&str, &str) {
    (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]))
}
