//! Cluster addresses and node ports of Services: given out, asked for, and given back.
//!
//! Addresses come from the network of the server's flag, and from those of ServiceCIDRs that are ready. One that an
//! IPAddress of somebody else records is not given.
//!
//! What is taken is what the stored Services say. Alone, it is read once and then kept in memory, because this registry
//! is the only way to write a Service. With other servers it is read for each write, by the one server that has the
//! claim to give out. A reservation that is not kept (the write was refused) gives everything back.

use std::{
    collections::{BTreeMap, HashSet},
    net::Ipv4Addr,
    ops::RangeInclusive,
    sync::Arc,
};

use ipnet::Ipv4Net;
use mk8s_api::{
    at,
    field::{FieldError, Path},
    meta,
    status::Status,
};
use mk8s_store::{Event, EventKind, Store, View};
use parking_lot::{Mutex, MutexGuard};
use rand::Rng;
use serde_json::{Value, json};

use super::{encode, keys, service_families};
use crate::{
    admission::{Claims, Notes},
    auth::follow::{Follow, Follower},
    stored::items,
};

/// Where addresses and ports come from.
#[derive(Debug, Clone)]
pub struct ServiceRanges {
    pub addresses: Ipv4Net,
    pub node_ports: RangeInclusive<u16>,
}

impl Default for ServiceRanges {
    fn default() -> ServiceRanges {
        let addresses = Ipv4Net::new(Ipv4Addr::new(10, 43, 0, 0), 16).expect("16 is a prefix length of IPv4");
        ServiceRanges { addresses, node_ports: 30000..=32767 }
    }
}

#[derive(Debug, Default)]
struct Taken {
    /// The claim under which it was read, if it was; alone it is 0.
    claim: Option<u64>,
    addresses: HashSet<Ipv4Addr>,
    ports: HashSet<u16>,
    /// What is not stored yet.
    reserved_addresses: HashSet<Ipv4Addr>,
    reserved_ports: HashSet<u16>,
}

impl Taken {
    fn take_address(&mut self, address: Ipv4Addr) -> bool {
        self.addresses.insert(address) && self.reserved_addresses.insert(address)
    }

    fn take_port(&mut self, port: u16) -> bool {
        self.ports.insert(port) && self.reserved_ports.insert(port)
    }

    fn read(&mut self, claim: u64, view: &View) {
        if self.claim != Some(claim) && claim != 0 {
            // What was reserved under another claim is stored by now, or never.
            self.reserved_addresses.clear();
            self.reserved_ports.clear();
        }
        self.claim = Some(claim);
        self.addresses = self.reserved_addresses.clone();
        self.ports = self.reserved_ports.clone();
        let prefix = keys::kind_prefix("", "services");
        for entry in view.range(prefix.as_bytes(), &keys::end_of(&prefix)) {
            let service = encode::decode(&entry.value);
            self.addresses.extend(address_of(&service));
            self.ports.extend(ports_of(&service));
        }
    }
}

pub(super) struct Allocator {
    store: Store,
    claims: Claims,
    ranges: ServiceRanges,
    added: Mutex<(Follower, Added)>,
    taken: Arc<Mutex<Taken>>,
}

const ADDED: &[u8] = b"/registry/networking.k8s.io/servicecidrs/";
const RECORDS: &str = "/registry/networking.k8s.io/ipaddresses/";

/// The networks of ServiceCIDRs from which addresses may be given, by key.
#[derive(Default)]
struct Added(BTreeMap<Vec<u8>, Vec<Ipv4Net>>);

impl Added {
    fn put(&mut self, key: &[u8], value: &[u8]) {
        let range = encode::decode(value);
        let conditions = items(&range["status"]["conditions"]);
        let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        let networks = items(&range["spec"]["cidrs"]).iter().filter_map(|text| text.as_str()?.parse().ok()).collect();
        match ready && !meta::is_deleting(&range) {
            true => self.0.insert(key.to_vec(), networks),
            false => self.0.remove(key),
        };
    }
}

impl Follow for Added {
    fn rebuild(&mut self, view: &View) {
        self.0.clear();
        for entry in view.prefix(ADDED) {
            self.put(&entry.key, &entry.value);
        }
    }

    fn apply(&mut self, event: &Event) {
        match event.kind {
            EventKind::Put => self.put(&event.entry.key, &event.entry.value),
            EventKind::Delete => drop(self.0.remove(&event.entry.key[..])),
        }
    }
}

/// Whether a network's address may be a Service's: its first and last are not.
fn gives(network: &Ipv4Net, address: Ipv4Addr) -> bool {
    network.contains(&address) && address != network.network() && address != network.broadcast()
}

/// What a write has taken and will give back.
#[derive(Default)]
pub(super) struct Reservation {
    taken: Option<Arc<Mutex<Taken>>>,
    addresses: Vec<Ipv4Addr>,
    ports: Vec<u16>,
    /// Given back when the write takes place.
    old_addresses: Vec<Ipv4Addr>,
    old_ports: Vec<u16>,
    /// The write was proposed and its end is not known.
    proposed: bool,
    claim: u64,
}

impl Reservation {
    pub(super) fn none() -> Reservation {
        Reservation::default()
    }

    /// The write is on its way. Whoever stops waiting for it (a client that went away) does not know whether it takes
    /// place, so then nothing is given back.
    pub(super) fn propose(&mut self) {
        self.proposed = true;
    }

    /// The write did not take place.
    pub(super) fn refused(&mut self) {
        self.proposed = false;
    }

    /// The write took place: what is new stays taken, what it left is free.
    pub(super) fn keep(mut self) {
        self.proposed = false;
        let (addresses, ports) = (std::mem::take(&mut self.addresses), std::mem::take(&mut self.ports));
        if let Some(mut taken) = self.taken() {
            taken.reserved_addresses.retain(|address| !addresses.contains(address));
            taken.reserved_ports.retain(|port| !ports.contains(port));
        }
        self.addresses = std::mem::take(&mut self.old_addresses);
        self.ports = std::mem::take(&mut self.old_ports);
    }

    /// What is taken, as long as the claim is the one under which this was reserved.
    fn taken(&self) -> Option<MutexGuard<'_, Taken>> {
        let taken = self.taken.as_ref()?.lock();
        (taken.claim == Some(self.claim)).then_some(taken)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let Some(mut taken) = self.taken().filter(|_| !self.proposed) else { return };
        for address in &self.addresses {
            taken.addresses.remove(address);
            taken.reserved_addresses.remove(address);
        }
        for port in &self.ports {
            taken.ports.remove(port);
            taken.reserved_ports.remove(port);
        }
    }
}

impl Allocator {
    pub(super) fn new(store: Store, ranges: ServiceRanges) -> Allocator {
        let added = Mutex::new((Follower::new(store.clone(), ADDED), Added::default()));
        Allocator { claims: Claims::new(store.clone()), store, ranges, added, taken: Arc::default() }
    }

    /// All networks that addresses may come from, the server's own first.
    fn networks(&self) -> Vec<Ipv4Net> {
        let (follower, added) = &mut *self.added.lock();
        follower.catch_up(added);
        let others = added.0.values().flatten().copied().filter(|network| *network != self.ranges.addresses);
        std::iter::once(self.ranges.addresses).chain(others).collect()
    }

    /// Whether somebody has recorded the address for something that is no Service of ours.
    fn is_recorded(&self, address: Ipv4Addr) -> bool {
        let view = self.store.view();
        let entry = view.get(format!("{RECORDS}{address}").as_bytes());
        entry.is_some_and(|entry| {
            let labels = &encode::decode(&entry.value)["metadata"]["labels"];
            labels["ipaddress.kubernetes.io/managed-by"] != "ipallocator.k8s.io"
        })
    }

    /// Completes a new Service with the address and ports its type needs.
    pub(super) async fn reserve_create(
        &self,
        service: &mut Value,
        dry_run: bool,
        notes: &Notes,
    ) -> Result<Reservation, Status> {
        let claim = self.claim(notes).await?;
        service_families::pair_addresses(service, None);
        service_families::complete(service, None).map_err(|errors| invalid(service, errors))?;
        let mut work = Work { allocator: self, reservation: self.reservation(claim), errors: Vec::new() };
        work.take_address(service, None);
        work.take_ports(service, &HashSet::new());
        work.finish(service, dry_run)
    }

    /// As [`Allocator::reserve_create`], for a new version of a Service: what it has, it keeps.
    pub(super) async fn reserve_update(
        &self,
        service: &mut Value,
        old: &Value,
        dry_run: bool,
        notes: &Notes,
    ) -> Result<Reservation, Status> {
        let claim = self.claim(notes).await?;
        service_families::pair_addresses(service, Some(old));
        carry_over(service, old);
        service_families::complete(service, Some(old)).map_err(|errors| invalid(service, errors))?;
        let mut work = Work { allocator: self, reservation: self.reservation(claim), errors: Vec::new() };
        let (had, had_ports) = (address_of(old), ports_of(old));
        work.take_address(service, had);
        work.take_ports(service, &had_ports);
        let (has, has_ports) = (address_of(service), ports_of(service));
        work.reservation.old_addresses = had.into_iter().filter(|address| Some(*address) != has).collect();
        work.reservation.old_ports = had_ports.difference(&has_ports).copied().collect();
        work.finish(service, dry_run)
    }

    /// Gives back what a deleted Service had.
    pub(super) fn release(&self, service: &Value) {
        let mut taken = self.taken.lock();
        if let Some(address) = address_of(service) {
            taken.addresses.remove(&address);
        }
        for port in ports_of(service) {
            taken.ports.remove(&port);
        }
    }

    fn reservation(&self, claim: u64) -> Reservation {
        let mut empty = Reservation::none();
        empty.taken = Some(self.taken.clone());
        empty.claim = claim;
        empty
    }

    /// Reads what is taken, once there is nobody else who gives out.
    async fn claim(&self, notes: &Notes) -> Result<u64, Status> {
        let claim = self.claims.take("services", notes).await?;
        let mut taken = self.taken.lock();
        if claim != 0 || taken.claim != Some(0) {
            taken.read(claim, &self.store.view());
        }
        Ok(claim)
    }
}

/// One reservation in the making.
struct Work<'a> {
    allocator: &'a Allocator,
    reservation: Reservation,
    errors: Vec<FieldError>,
}

impl Work<'_> {
    fn finish(self, service: &Value, dry_run: bool) -> Result<Reservation, Status> {
        if !self.errors.is_empty() {
            return Err(invalid(service, self.errors));
        }
        if dry_run {
            return Ok(Reservation::none());
        }
        Ok(self.reservation)
    }

    fn take_address(&mut self, service: &mut Value, had: Option<Ipv4Addr>) {
        if !needs_address(service) {
            return;
        }
        let asked = service["spec"]["clusterIP"].as_str().unwrap_or_default().to_string();
        if asked.is_empty() {
            match self.free_address() {
                Some(address) => {
                    self.reservation.addresses.push(address);
                    set_address(service, &address.to_string());
                }
                None => self.errors.push(FieldError::internal(
                    &Path::new("spec").child("clusterIPs"),
                    "failed to allocate a serviceIP: range is full",
                )),
            }
            return;
        }
        // What is no address is for validation to refuse.
        let Ok(address) = asked.parse::<Ipv4Addr>() else { return };
        set_address(service, &asked);
        if Some(address) == had {
            return;
        }
        let path = Path::new("spec").child("clusterIPs").index(0);
        let refused =
            |why: String| FieldError::invalid(&path, asked.as_str(), format!("failed to allocate IP {asked}: {why}"));
        if !self.allocator.networks().iter().any(|network| gives(network, address)) {
            self.errors.push(refused("the provided network does not match the current range".into()));
        } else if !self.allocator.is_recorded(address) && self.allocator.taken.lock().take_address(address) {
            self.reservation.addresses.push(address);
        } else {
            self.errors.push(refused("provided IP is already allocated".into()));
        }
    }

    /// A free address of the first network that has one.
    fn free_address(&self) -> Option<Ipv4Addr> {
        self.allocator.networks().iter().find_map(|network| self.free_address_of(network))
    }

    /// A free address of the upper part of the range; the lower is for those who ask for a certain one.
    fn free_address_of(&self, range: &Ipv4Net) -> Option<Ipv4Addr> {
        let first = u32::from(range.network());
        let size = u32::from(range.broadcast()) - first;
        let band = (size / 16).clamp(16, 256).min(size / 2);
        let mut taken = self.allocator.taken.lock();
        let mut pick = |from: u32, to: u32| {
            let count = to.checked_sub(from).filter(|count| *count > 0)?;
            let start = rand::rng().random_range(0..count);
            // Not `(start + n) % count`: a large network would overflow.
            let mut candidates = (start..count).chain(0..start).map(|n| Ipv4Addr::from(first + from + n));
            candidates.find(|address| !self.allocator.is_recorded(*address) && taken.take_address(*address))
        };
        pick(band, size).or_else(|| pick(1, band))
    }

    fn take_ports(&mut self, service: &mut Value, had: &HashSet<u16>) {
        if !needs_ports(service) {
            return;
        }
        let mut own: HashSet<u16> = HashSet::new();
        let Some(spec) = at::get_mut(service, "spec") else { return };
        for (index, port) in at::items_mut(spec, "ports").iter_mut().enumerate() {
            let path = Path::new("spec").child("ports").index(index).child("nodePort");
            match at::int(port, "nodePort").unwrap_or(0) {
                0 => match self.free_port() {
                    Some(free) => {
                        at::set(port, "nodePort", free);
                        own.insert(free);
                    }
                    None => {
                        self.errors.push(FieldError::internal(&path, "failed to allocate a nodePort: range is full"))
                    }
                },
                asked => {
                    if let Some(asked) = self.ask_port(&path, asked, had, &own) {
                        own.insert(asked);
                    }
                }
            }
        }
        if needs_health_port(service) && service["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0) == 0 {
            if let Some(free) = self.free_port() {
                set(service, "healthCheckNodePort", json!(free));
            }
        } else if let Some(asked) = service["spec"]["healthCheckNodePort"].as_i64().filter(|port| *port != 0) {
            self.ask_port(&Path::new("spec").child("healthCheckNodePort"), asked, had, &own);
        }
    }

    fn ask_port(&mut self, path: &Path, asked: i64, had: &HashSet<u16>, own: &HashSet<u16>) -> Option<u16> {
        let range = &self.allocator.ranges.node_ports;
        let Some(port) = u16::try_from(asked).ok().filter(|port| range.contains(port)) else {
            let why = format!(
                "provided port is not in the valid range. The range of valid ports is {}-{}",
                range.start(),
                range.end()
            );
            self.errors.push(FieldError::invalid(path, asked, why));
            return None;
        };
        if had.contains(&port) || own.contains(&port) {
            return Some(port);
        }
        if self.allocator.taken.lock().take_port(port) {
            self.reservation.ports.push(port);
        } else {
            self.errors.push(FieldError::invalid(path, asked, "provided port is already allocated"));
        }
        Some(port)
    }

    fn free_port(&mut self) -> Option<u16> {
        let range = self.allocator.ranges.node_ports.clone();
        let count = u32::from(*range.end()).checked_sub(u32::from(*range.start()))? + 1;
        let start = rand::rng().random_range(0..count);
        let mut taken = self.allocator.taken.lock();
        let mut candidates =
            (0..count).filter_map(|n| u16::try_from(u32::from(*range.start()) + (start + n) % count).ok());
        let free = candidates.find(|port| taken.take_port(*port))?;
        self.reservation.ports.push(free);
        Some(free)
    }
}

fn type_of(service: &Value) -> &str {
    service["spec"]["type"].as_str().unwrap_or("ClusterIP")
}

fn is_headless(service: &Value) -> bool {
    service["spec"]["clusterIP"] == "None"
}

fn needs_address(service: &Value) -> bool {
    type_of(service) != "ExternalName" && !is_headless(service)
}

fn needs_ports(service: &Value) -> bool {
    match type_of(service) {
        "NodePort" => true,
        "LoadBalancer" => service["spec"]["allocateLoadBalancerNodePorts"] != json!(false),
        _ => false,
    }
}

fn needs_health_port(service: &Value) -> bool {
    type_of(service) == "LoadBalancer" && service["spec"]["externalTrafficPolicy"] == "Local"
}

fn address_of(service: &Value) -> Option<Ipv4Addr> {
    service["spec"]["clusterIP"].as_str()?.parse().ok()
}

fn ports_of(service: &Value) -> HashSet<u16> {
    let ports = service["spec"]["ports"].as_array().into_iter().flatten().map(|port| &port["nodePort"]);
    ports
        .chain([&service["spec"]["healthCheckNodePort"]])
        .filter_map(|port| u16::try_from(port.as_i64()?).ok())
        .filter(|port| *port != 0)
        .collect()
}

/// Sets a field of the spec, where there is one.
fn set(service: &mut Value, field: &str, to: Value) {
    if let Some(spec) = at::get_mut(service, "spec") {
        at::set(spec, field, to);
    }
}

fn remove(service: &mut Value, field: &str) {
    if let Some(spec) = at::get_mut(service, "spec") {
        at::remove(spec, field);
    }
}

fn set_address(service: &mut Value, address: &str) {
    set(service, "clusterIP", json!(address));
    set(service, "clusterIPs", json!([address]));
}

/// What the old version was given and the new one does not mention stays, as far as the new type has a use for it.
fn carry_over(service: &mut Value, old: &Value) {
    if type_of(service) != "ExternalName" && type_of(old) != "ExternalName" {
        let unsaid = |value: &Value| value.as_str().is_none_or(str::is_empty);
        let none = |value: &Value| value.as_array().is_none_or(Vec::is_empty);
        for (field, is_unsaid) in [("clusterIP", &unsaid as &dyn Fn(&Value) -> bool), ("clusterIPs", &none)] {
            if let Some(value) = old["spec"].get(field).filter(|_| is_unsaid(&service["spec"][field])) {
                set(service, field, value.clone());
            }
        }
    }
    let (needed, needs) = (needs_ports(old), needs_ports(service));
    let old_ports = at::list(at::sub(old, "spec"), "ports");
    let own: HashSet<i64> = node_ports(service).collect();
    let Some(spec) = at::get_mut(service, "spec") else { return };
    for port in at::items_mut(spec, "ports") {
        let same = |old: &&Value| ["port", "protocol"].iter().all(|field| at::get(old, field) == at::get(port, field));
        let had = old_ports.iter().find(same).and_then(|old| at::int(old, "nodePort")).unwrap_or(0);
        let has = at::int(port, "nodePort").unwrap_or(0);
        if needed && needs && has == 0 && had != 0 && !own.contains(&had) {
            at::set(port, "nodePort", had);
        }
        if needed && !needs && has == had {
            at::remove(port, "nodePort");
        }
    }
    let (had, has) =
        (old["spec"]["healthCheckNodePort"].clone(), service["spec"]["healthCheckNodePort"].as_i64().unwrap_or(0));
    if needs_health_port(service) && has == 0 && !had.is_null() {
        set(service, "healthCheckNodePort", had);
    } else if !needs_health_port(service) && had == service["spec"]["healthCheckNodePort"] {
        remove(service, "healthCheckNodePort");
    }
}

fn node_ports(service: &Value) -> impl Iterator<Item = i64> + '_ {
    service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|port| port["nodePort"].as_i64())
        .filter(|port| *port != 0)
}

fn invalid(service: &Value, errors: Vec<FieldError>) -> Status {
    Status::invalid("", "Service", meta::name(service), errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn allocator(addresses: &str) -> Allocator {
        let store = Store::open(mk8s_store::Options::default()).await.expect("memory opens");
        let ranges = ServiceRanges { addresses: addresses.parse().expect("a network"), node_ports: 30000..=30002 };
        Allocator::new(store, ranges)
    }

    fn service(spec: Value) -> Value {
        json!({"metadata": {"name": "s"}, "spec": spec})
    }

    #[tokio::test]
    async fn addresses_are_given_once_and_back() {
        let allocator = allocator("10.0.0.0/24").await;
        let mut first = service(json!({"clusterIP": "10.0.0.10"}));
        allocator.reserve_create(&mut first, false, &Notes::default()).await.expect("free").keep();
        assert_eq!(first["spec"]["clusterIPs"], json!(["10.0.0.10"]));
        let refused =
            allocator.reserve_create(&mut first.clone(), false, &Notes::default()).await.err().expect("taken");
        assert!(refused.message.contains("spec.clusterIPs[0]: Invalid value: \"10.0.0.10\": failed to allocate IP 10.0.0.10: provided IP is already allocated"), "{}", refused.message);
        allocator.release(&first);
        // Not kept: free again.
        drop(allocator.reserve_create(&mut first.clone(), false, &Notes::default()).await.expect("free again"));
        allocator.reserve_create(&mut first, false, &Notes::default()).await.expect("free once more").keep();
    }

    async fn put(store: &Store, key: &str, value: Value) {
        let value = mk8s_store::Stamped::plain(value.to_string());
        let op = mk8s_store::Op::Put { key: key.as_bytes().to_vec().into(), value, expect: mk8s_store::Expect::Any };
        store.commit(mk8s_store::Txn::one(op)).await.expect("memory takes it");
    }

    /// What is said to a Service that asks for an address.
    async fn asked(allocator: &Allocator, address: &str) -> String {
        let mut asking = service(json!({"clusterIP": address}));
        let reserved = allocator.reserve_create(&mut asking, true, &Notes::default()).await;
        reserved.err().map(|status| status.message).unwrap_or_default()
    }

    #[tokio::test]
    async fn more_networks_may_be_added() {
        let allocator = allocator("10.0.0.0/30").await;
        let range = |ready: &str| {
            json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["203.0.113.0/24"]},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}})
        };
        let key = "/registry/networking.k8s.io/servicecidrs/more";
        let outside = "the provided network does not match the current range";
        put(&allocator.store, key, range("False")).await;
        assert!(asked(&allocator, "203.0.113.10").await.contains(outside));
        put(&allocator.store, key, range("True")).await;
        assert_eq!(asked(&allocator, "203.0.113.10").await, "");
        assert!(asked(&allocator, "203.0.113.255").await.contains(outside));
        // When the first is full, addresses come from the next.
        for network in ["10.0.0.", "10.0.0.", "203.0.113."] {
            let mut new = service(json!({}));
            allocator.reserve_create(&mut new, false, &Notes::default()).await.expect("free").keep();
            assert!(new["spec"]["clusterIP"].as_str().is_some_and(|text| text.starts_with(network)), "{new}");
        }
        // What somebody else has recorded is taken.
        let record = |labels: Value| json!({"metadata": {"name": "10.0.0.77", "labels": labels}});
        let key = "/registry/networking.k8s.io/ipaddresses/203.0.113.77";
        put(&allocator.store, key, record(json!({}))).await;
        assert!(asked(&allocator, "203.0.113.77").await.contains("provided IP is already allocated"));
        put(&allocator.store, key, record(json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}))).await;
        assert!(!asked(&allocator, "203.0.113.77").await.contains(outside));
    }

    #[tokio::test]
    async fn what_types_need() {
        let allocator = allocator("10.0.0.0/16").await;
        let mut headless = service(json!({"clusterIP": "None", "selector": {"a": "b"}}));
        allocator.reserve_create(&mut headless, false, &Notes::default()).await.expect("nothing to allocate").keep();
        assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
        let mut named = service(json!({"type": "ExternalName", "externalName": "x"}));
        allocator.reserve_create(&mut named, false, &Notes::default()).await.expect("nothing to allocate").keep();
        assert_eq!(named["spec"], json!({"type": "ExternalName", "externalName": "x"}));
        let mut ports = service(json!({"type": "NodePort", "ports": [{"port": 80}, {"port": 81, "nodePort": 30001}]}));
        allocator.reserve_create(&mut ports, false, &Notes::default()).await.map(Reservation::keep).ok();
        let mut outside = service(json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": 1}]}));
        let refused =
            allocator.reserve_create(&mut outside, false, &Notes::default()).await.err().expect("out of range");
        assert_eq!(
            refused.message,
            "Service \"s\" is invalid: spec.ports[0].nodePort: Invalid value: 1: provided port is not in the valid range. The range of valid ports is 30000-30002"
        );
    }

    #[tokio::test]
    async fn updates_keep_what_they_do_not_mention() {
        let allocator = allocator("10.0.0.0/16").await;
        let mut old = service(json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}));
        allocator.reserve_create(&mut old, false, &Notes::default()).await.expect("free").keep();
        let mut same = service(json!({"type": "NodePort", "ports": [{"port": 80, "protocol": "TCP"}]}));
        allocator.reserve_update(&mut same, &old, false, &Notes::default()).await.expect("its own").keep();
        assert_eq!(same["spec"], old["spec"]);
        let mut inner = service(json!({"type": "ClusterIP", "ports": old["spec"]["ports"]}));
        allocator.reserve_update(&mut inner, &old, false, &Notes::default()).await.expect("its own").keep();
        assert_eq!(
            (&inner["spec"]["clusterIP"], &inner["spec"]["ports"][0]["nodePort"]),
            (&old["spec"]["clusterIP"], &Value::Null)
        );
        assert!(allocator.taken.lock().ports.is_empty());
    }
}
