//! What becomes of a range, and of the record of one address.

use crate::common::updates::{until, whole_second};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        core::v1::Service,
        networking::v1::{IPAddress, IPAddressSpec, ParentReference, ServiceCIDR},
    },
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta},
};
use mk8s_client::kube::ResourceExt;
use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

pub(super) const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
pub(super) const READY: &str = "Ready";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
/// How long the allocator may need to hear that a range goes.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

pub(super) struct Observed {
    pub(super) range: Arc<ServiceCIDR>,
    pub(super) ranges: Vec<Arc<ServiceCIDR>>,
    /// All addresses; needed only of a range that is being deleted.
    pub(super) addresses: Vec<Arc<IPAddress>>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    Protect,
    LetGo,
    Say(Condition),
    Wait(Duration),
}

pub(super) fn plan_range(observed: &Observed, now: Timestamp) -> Vec<Step> {
    let range = observed.range.as_ref();
    let protected = range.finalizers().iter().any(|name| name == FINALIZER);
    let Some(deleted) = &range.metadata.deletion_timestamp else {
        let protect = (!protected).then_some(Step::Protect);
        let ready = say(range, "True", "", "Kubernetes Service CIDR is ready", now);
        return protect.into_iter().chain(ready).collect();
    };
    if !can_go(observed) {
        let message =
            "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        return say(range, "False", "Terminating", message, now).into_iter().collect();
    }
    let left = until(deleted.0, GRACE, now);
    match (left.is_zero(), protected) {
        (false, _) => vec![Step::Wait(left)],
        (true, true) => vec![Step::LetGo],
        (true, false) => Vec::new(),
    }
}

/// The condition, unless the range says so already.
fn say(range: &ServiceCIDR, status: &str, reason: &str, message: &str, now: Timestamp) -> Option<Step> {
    let known =
        range.status.as_ref().and_then(|status| status.conditions.as_ref()?.iter().find(|known| known.type_ == READY));
    if known.is_some_and(|known| known.status == status && known.reason == reason && known.message == message) {
        return None;
    }
    Some(Step::Say(Condition {
        type_: READY.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: whole_second(now),
        observed_generation: None,
    }))
}

fn networks(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> + '_ {
    let texts = range.spec.as_ref().and_then(|spec| spec.cidrs.as_deref()).unwrap_or_default();
    texts.iter().filter_map(|text| text.parse().ok())
}

/// Whether addresses of the network are given to Services: its own address and that of all are not.
fn gives(network: &IpNet, address: IpAddr) -> bool {
    let ends = address == network.network() || (address.is_ipv4() && address == network.broadcast());
    network.contains(&address) && !ends
}

/// Whether every address of a range would be covered without it.
fn can_go(observed: &Observed) -> bool {
    let own = observed.range.name_any();
    let others: Vec<IpNet> =
        observed.ranges.iter().filter(|range| range.name_any() != own).flat_map(|range| networks(range)).collect();
    let mut own = networks(&observed.range);
    let uncovered: Vec<IpNet> =
        own.by_ref().filter(|network| !others.iter().any(|other| other.contains(network))).collect();
    let managed = observed.addresses.iter().filter(|address| is_managed(address));
    let mut addresses = managed.filter_map(|address| address.name_any().parse::<IpAddr>().ok());
    !addresses.any(|address| {
        uncovered.iter().any(|network| gives(network, address)) && !others.iter().any(|other| gives(other, address))
    })
}

fn is_managed(address: &IPAddress) -> bool {
    address.labels().get(MANAGED_BY).is_some_and(|by| by == MANAGER)
}

/// The addresses of a Service inside the cluster.
pub(super) fn addresses_of(service: &Service) -> impl Iterator<Item = IpAddr> + '_ {
    let spec = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName"));
    let texts = spec.and_then(|spec| spec.cluster_ips.as_deref()).unwrap_or_default();
    texts.iter().filter_map(|text| text.parse().ok())
}

#[derive(Debug, PartialEq)]
pub(super) enum AddressStep {
    Nothing,
    Create(Box<IPAddress>),
    Delete,
}

fn parent_of(service: &Service) -> ParentReference {
    ParentReference {
        group: None,
        resource: "services".to_owned(),
        namespace: service.namespace(),
        name: service.name_any(),
    }
}

/// `user` is the Service that has the address. Records that others made are left alone.
pub(super) fn plan_address(address: IpAddr, user: Option<&Service>, known: Option<&IPAddress>) -> AddressStep {
    match (user, known) {
        (None, None) => AddressStep::Nothing,
        (_, Some(known)) if !is_managed(known) => AddressStep::Nothing,
        (None, Some(_)) => AddressStep::Delete,
        (Some(user), Some(known)) => {
            let wanted = parent_of(user);
            let parent = &known.spec.parent_ref;
            let same = (&parent.resource, &parent.namespace, &parent.name)
                == (&wanted.resource, &wanted.namespace, &wanted.name);
            // Its parent cannot be changed: it is made anew.
            if same { AddressStep::Nothing } else { AddressStep::Delete }
        }
        (Some(user), None) => AddressStep::Create(Box::new(IPAddress {
            metadata: ObjectMeta {
                name: Some(address.to_string()),
                labels: Some(BTreeMap::from([
                    (FAMILY.to_owned(), if address.is_ipv4() { "IPv4" } else { "IPv6" }.to_owned()),
                    (MANAGED_BY.to_owned(), MANAGER.to_owned()),
                ])),
                ..ObjectMeta::default()
            },
            spec: IPAddressSpec { parent_ref: parent_of(user) },
        })),
    }
}
