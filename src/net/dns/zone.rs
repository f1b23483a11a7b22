//! What the cluster's names lead to, indexed for queries.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::ProtoError;
use hickory_proto::rr::Name;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::feed::{Change, KINDS, ObjectKey};

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// A name for one ready endpoint of a Service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EndpointAddress {
    /// Its hostname, or its address with dashes.
    pub label: String,
    pub address: IpAddr,
}

/// One port of an endpoint; without ports an endpoint still has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointPort {
    pub name: String,
    pub protocol: String,
    pub port: u16,
}

#[derive(Debug, Default)]
struct Entry {
    service: Option<Arc<Service>>,
    slices: BTreeMap<Arc<str>, Arc<EndpointSlice>>,
}

/// The names of a cluster.
#[derive(Debug)]
pub struct Zone {
    /// `cluster.local.`
    pub(super) domain: Name,
    /// The server's own address.
    pub(super) server: IpAddr,
    /// Networks of which reverse names are ours alone.
    networks: Vec<IpNet>,
    /// Counts changes.
    pub(super) serial: u32,
    /// Kinds of which the first list is still to come.
    awaited: usize,
    entries: HashMap<ObjectKey, Entry>,
    owners: HashMap<ObjectKey, ObjectKey>,
    namespaces: HashSet<Arc<str>>,
    by_cluster_ip: HashMap<IpAddr, BTreeSet<ObjectKey>>,
    by_endpoint_ip: HashMap<IpAddr, BTreeSet<ObjectKey>>,
}

impl Zone {
    /// `domain` such as `cluster.local`; `networks` are the pods' and the Services'.
    pub fn new(domain: &str, server: IpAddr, networks: Vec<IpNet>) -> Result<Self, ProtoError> {
        let mut domain = Name::from_ascii(domain.to_ascii_lowercase())?;
        domain.set_fqdn(true);
        Ok(Self {
            domain,
            server,
            networks,
            serial: 1,
            awaited: KINDS,
            entries: HashMap::new(),
            owners: HashMap::new(),
            namespaces: HashSet::new(),
            by_cluster_ip: HashMap::new(),
            by_endpoint_ip: HashMap::new(),
        })
    }

    /// Takes note of one change.
    pub fn observe(&mut self, change: &Change) {
        match change {
            Change::Service(key, service) => self.update(key, |entry| entry.service = service.clone()),
            Change::Slice(key, slice) => self.observe_slice(key, slice.as_ref()),
            Change::Namespace(key, Some(_)) => {
                self.namespaces.insert(key.1.clone());
            }
            Change::Namespace(key, None) => {
                self.namespaces.remove(&key.1);
            }
            Change::Zone(_) => {}
            Change::Synced => self.awaited = self.awaited.saturating_sub(1),
        }
        self.serial = self.serial.wrapping_add(1);
    }

    fn observe_slice(&mut self, key: &ObjectKey, slice: Option<&Arc<EndpointSlice>>) {
        let owner = slice.and_then(|slice| {
            let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
            Some((key.0.clone(), Arc::from(name.as_str())))
        });
        let before = match &owner {
            Some(owner) => self.owners.insert(key.clone(), owner.clone()),
            None => self.owners.remove(key),
        };
        if let Some(before) = before.filter(|before| owner.as_ref() != Some(before)) {
            self.update(&before, |entry| {
                entry.slices.remove(&key.1);
            });
        }
        if let (Some(owner), Some(slice)) = (owner, slice) {
            self.update(&owner, |entry| {
                entry.slices.insert(key.1.clone(), slice.clone());
            });
        }
    }

    /// Changes an entry and what the indexes say about it.
    fn update(&mut self, key: &ObjectKey, change: impl FnOnce(&mut Entry)) {
        let mut entry = self.entries.remove(key).unwrap_or_default();
        index(&mut self.by_cluster_ip, key, cluster_ips(&entry), false);
        index(&mut self.by_endpoint_ip, key, endpoint_ips(&entry), false);
        change(&mut entry);
        index(&mut self.by_cluster_ip, key, cluster_ips(&entry), true);
        index(&mut self.by_endpoint_ip, key, endpoint_ips(&entry), true);
        if entry.service.is_some() || !entry.slices.is_empty() {
            self.entries.insert(key.clone(), entry);
        }
    }

    /// Whether what is not found does not exist.
    pub(super) fn is_complete(&self) -> bool {
        self.awaited == 0
    }

    pub(super) fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    pub(super) fn service(&self, namespace: &str, name: &str) -> Option<&Service> {
        self.entry(namespace, name)?.service.as_deref()
    }

    /// The ready endpoints of a Service with their ports, in a fixed order.
    pub(super) fn endpoints(&self, namespace: &str, name: &str) -> Vec<(EndpointAddress, Vec<EndpointPort>)> {
        let Some(entry) = self.entry(namespace, name) else { return Vec::new() };
        let mut found = Vec::new();
        for slice in entry.slices.values() {
            let ports: Vec<EndpointPort> = slice.ports.iter().flatten().filter_map(endpoint_port).collect();
            found.extend(ready_addresses(slice).map(|address| (address, ports.clone())));
        }
        found.sort_by(|(a, _), (b, _)| a.cmp(b));
        found
    }

    /// The names of an address, without the domain.
    pub(super) fn names_of(&self, address: IpAddr) -> Vec<Vec<String>> {
        let key_labels = |key: &ObjectKey| [key.1.to_string(), key.0.to_string(), "svc".to_owned()];
        if let Some(keys) = self.by_cluster_ip.get(&address) {
            return keys.iter().map(|key| key_labels(key).to_vec()).collect();
        }
        let mut names = Vec::new();
        for key in self.by_endpoint_ip.get(&address).into_iter().flatten() {
            let endpoints = self.endpoints(&key.0, &key.1);
            let own = endpoints.into_iter().find(|(endpoint, _)| endpoint.address == address);
            if let Some((endpoint, _)) = own.filter(|_| self.service(&key.0, &key.1).is_some()) {
                names.push([vec![endpoint.label], key_labels(key).to_vec()].concat());
            }
        }
        names
    }

    /// Whether reverse names of the address are ours alone.
    pub(super) fn owns_address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    fn entry(&self, namespace: &str, name: &str) -> Option<&Entry> {
        self.entries.get(&(Arc::from(namespace), Arc::from(name)))
    }
}

fn index(
    index: &mut HashMap<IpAddr, BTreeSet<ObjectKey>>,
    key: &ObjectKey,
    addresses: impl Iterator<Item = IpAddr>,
    present: bool,
) {
    for address in addresses {
        if present {
            index.entry(address).or_default().insert(key.clone());
        } else if let Some(keys) = index.get_mut(&address) {
            keys.remove(key);
            if keys.is_empty() {
                index.remove(&address);
            }
        }
    }
}

fn cluster_ips(entry: &Entry) -> impl Iterator<Item = IpAddr> {
    entry.service.iter().flat_map(|service| service_ips(service))
}

/// The cluster IPs of a Service that has some.
pub(super) fn service_ips(service: &Service) -> BTreeSet<IpAddr> {
    let spec = service.spec.iter();
    let texts = spec.flat_map(|spec| spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip));
    texts.filter_map(|text| text.parse().ok()).collect()
}

fn endpoint_ips(entry: &Entry) -> impl Iterator<Item = IpAddr> {
    entry.slices.values().flat_map(|slice| ready_addresses(slice)).map(|endpoint| endpoint.address)
}

fn ready_addresses(slice: &EndpointSlice) -> impl Iterator<Item = EndpointAddress> {
    let ready =
        |endpoint: &&Endpoint| endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
    slice.endpoints.iter().flatten().filter(ready).flat_map(|endpoint| {
        endpoint.addresses.iter().filter_map(|text| {
            let address: IpAddr = text.parse().ok()?;
            let hostname = endpoint.hostname.clone().filter(|hostname| !hostname.is_empty());
            let label = hostname.unwrap_or_else(|| address.to_string().replace(['.', ':'], "-"));
            Some(EndpointAddress { label: label.to_ascii_lowercase(), address })
        })
    })
}

fn endpoint_port(port: &k8s_openapi::api::discovery::v1::EndpointPort) -> Option<EndpointPort> {
    Some(EndpointPort {
        name: port.name.clone().unwrap_or_default().to_ascii_lowercase(),
        protocol: port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase(),
        port: u16::try_from(port.port?).ok()?,
    })
}
