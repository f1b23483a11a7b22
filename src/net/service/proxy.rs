//! The task that follows Services and EndpointSlices and keeps the table loaded.
//!
//! ```text
//!   changes -> dirty Services -> contributions -> one transaction -> nft
//!      ^------------- gathered while the transaction runs -----------|
//! ```
//!
//! A change is applied at once; those that arrive while nft runs make the next transaction together. What nft refuses is
//! answered by loading the whole table, again and again with growing pauses until that works.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::model::{Place, Protocol, ServicePort, service_ports};
use super::rules::Frame;
use super::stale::Stale;
use super::table::{ServiceKey, ServiceTable};
use crate::feed::{Change, KINDS, ObjectKey};
use crate::netlink::conntrack;
use crate::nft::{Family, Nft, NftError, Transaction};

const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// How often to look whether somebody else removed the table.
const GUARD_INTERVAL: Duration = Duration::from_secs(15);
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(10);

/// The Services and endpoints of one address family, and the table that follows from them. Pure: in go changes, out come
/// transactions.
#[derive(Debug)]
pub struct Proxy {
    node_name: String,
    /// This node's; unknown until the API has said whether there is one.
    zone: Option<Option<Arc<str>>>,
    table: ServiceTable,
    services: HashMap<ServiceKey, Arc<Service>>,
    slices: HashMap<ServiceKey, BTreeMap<Arc<str>, Arc<EndpointSlice>>>,
    /// A slice's Service, to find it when the slice is gone or was given to another.
    owners: HashMap<ObjectKey, ServiceKey>,
    /// Ports of Services that have UDP ones, as last loaded.
    udp: HashMap<ServiceKey, Vec<ServicePort>>,
    dirty: HashSet<ServiceKey>,
    stale: Stale,
    /// Kinds of which the first list is still to come.
    awaited: usize,
    loaded: bool,
}

/// What to do to the kernel.
#[derive(Debug)]
pub struct Update {
    pub transaction: Transaction,
    pub stale: Stale,
}

impl Proxy {
    pub fn new(frame: Frame, node_name: &str) -> Self {
        Self {
            node_name: node_name.to_owned(),
            zone: None,
            table: ServiceTable::new(frame),
            services: HashMap::new(),
            slices: HashMap::new(),
            owners: HashMap::new(),
            udp: HashMap::new(),
            dirty: HashSet::new(),
            stale: Stale::default(),
            awaited: KINDS,
            loaded: false,
        }
    }

    /// Takes note of one change.
    pub fn observe(&mut self, change: Change) {
        match change {
            Change::Service(key, service) => {
                let key = service_key(&key.0, &key.1);
                match service {
                    Some(service) => self.services.insert(key.clone(), service),
                    None => self.services.remove(&key),
                };
                self.dirty.insert(key);
            }
            Change::Slice(key, slice) => self.observe_slice(key, slice),
            Change::Namespace(..) => {}
            Change::Zone(zone) => self.observe_zone(zone),
            Change::Synced => self.awaited = self.awaited.saturating_sub(1),
        }
    }

    /// Another zone concerns all Services that have hints, and who has is in their slices.
    fn observe_zone(&mut self, zone: Option<Arc<str>>) {
        let before = self.zone.replace(zone);
        if before.is_some() && before != self.zone {
            self.dirty.extend(self.slices.keys().cloned());
        }
    }

    fn observe_slice(&mut self, key: ObjectKey, slice: Option<Arc<EndpointSlice>>) {
        let owner = slice.as_ref().and_then(|slice| {
            let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
            Some(service_key(&key.0, name))
        });
        let before = match &owner {
            Some(owner) => self.owners.insert(key.clone(), owner.clone()),
            None => self.owners.remove(&key),
        };
        if let Some(before) = before.filter(|before| owner.as_ref() != Some(before)) {
            if let Some(slices) = self.slices.get_mut(&before) {
                slices.remove(&key.1);
                if slices.is_empty() {
                    self.slices.remove(&before);
                }
            }
            self.dirty.insert(before);
        }
        if let (Some(owner), Some(slice)) = (owner, slice) {
            self.slices.entry(owner.clone()).or_default().insert(key.1, slice);
            self.dirty.insert(owner);
        }
    }

    /// What has to be done now: nothing until everything that exists is known, the whole table at first, then changes.
    pub fn update(&mut self) -> Option<Update> {
        if self.awaited > 0 || self.zone.is_none() {
            return None;
        }
        let ipv6 = self.table.frame().family == Family::V6;
        let mut changes = BTreeMap::new();
        for key in std::mem::take(&mut self.dirty) {
            let ports = self.ports(&key, ipv6);
            let has_udp = ports.iter().any(|port| port.protocol == Protocol::Udp);
            let old = self.udp.remove(&key).unwrap_or_default();
            if has_udp || !old.is_empty() {
                self.stale.note(&old, &ports);
            }
            changes.insert(key.clone(), self.table.frame().contribution(&ports));
            if has_udp {
                self.udp.insert(key, ports);
            }
        }
        let change = self.table.change(changes);
        let transaction = if self.loaded { change } else { self.table.whole() };
        self.loaded = true;
        let stale = std::mem::take(&mut self.stale);
        (!transaction.is_empty() || !stale.is_empty()).then_some(Update { transaction, stale })
    }

    /// The last update was not applied, or the table was lost: the next one loads everything.
    pub fn lost(&mut self, stale: Stale) {
        self.loaded = false;
        self.stale = stale;
    }

    pub fn table(&self) -> &ServiceTable {
        &self.table
    }

    fn ports(&self, key: &ServiceKey, ipv6: bool) -> Vec<ServicePort> {
        let Some(service) = self.services.get(key) else { return Vec::new() };
        let slices: Vec<&EndpointSlice> =
            self.slices.get(key).into_iter().flat_map(|slices| slices.values()).map(AsRef::as_ref).collect();
        let zone = self.zone.as_ref().and_then(|zone| zone.as_deref());
        service_ports(service, &slices, Place { node: &self.node_name, zone }, ipv6)
    }
}

/// Keeps the table loaded until `stop`. The table stays when it ends: Services work on while the proxy restarts.
pub async fn run(mut proxy: Proxy, nft: Arc<dyn Nft>, mut changes: mpsc::Receiver<Change>, stop: CancellationToken) {
    // The first retry loads the whole table and comes at once: mostly somebody else changed something.
    let mut retry = Duration::ZERO;
    let mut retry_at: Option<tokio::time::Instant> = None;
    let mut batch = Vec::new();
    loop {
        let wake = retry_at.unwrap_or_else(|| tokio::time::Instant::now() + GUARD_INTERVAL);
        tokio::select! {
            () = stop.cancelled() => return,
            count = changes.recv_many(&mut batch, 4096) => if count == 0 { return },
            () = tokio::time::sleep_until(wake) => if retry_at.take().is_none() { guard(&mut proxy, &nft).await },
        }
        for change in batch.drain(..) {
            proxy.observe(change);
        }
        // After a failure changes do not shorten the pause: they will be part of the whole table.
        if retry_at.is_some() {
            continue;
        }
        let Some(update) = proxy.update() else { continue };
        match apply(&nft, update, proxy.table().frame().family).await {
            Ok(()) => retry = Duration::ZERO,
            Err((error, stale)) => {
                let error = error_chain(&error);
                if retry.is_zero() {
                    tracing::warn!(error, "the Services' rules do not fit what is loaded, loading all of them");
                } else {
                    tracing::error!(error, "cannot load the Services' rules, trying again");
                }
                proxy.lost(stale);
                retry_at = Some(tokio::time::Instant::now() + retry);
                retry = (retry * 2).clamp(RETRY_MIN, RETRY_MAX);
            }
        }
    }
}

async fn apply(nft: &Arc<dyn Nft>, update: Update, family: Family) -> Result<(), (NftError, Stale)> {
    let nft = nft.clone();
    let work = move || {
        let started = Instant::now();
        let commands = update.transaction.commands().len();
        if let Err(error) = nft.apply(&update.transaction) {
            return Err((error, update.stale));
        }
        tracing::debug!(commands, micros = started.elapsed().as_micros(), "loaded the Services' rules");
        if !update.stale.is_empty() {
            match conntrack::forget(family == Family::V6, |flow| update.stale.matches(flow)) {
                Ok(count) => tracing::debug!(count, "forgot stale UDP connections"),
                Err(error) => tracing::warn!(%error, "cannot forget stale UDP connections"),
            }
        }
        Ok(())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Somebody may have flushed the ruleset.
async fn guard(proxy: &mut Proxy, nft: &Arc<dyn Nft>) {
    let (nft, table) = (nft.clone(), proxy.table().table());
    let present = tokio::task::spawn_blocking(move || nft.has_table(&table)).await;
    if proxy.loaded && matches!(present, Ok(Ok(false))) {
        tracing::warn!("the Services' nftables table was removed by something else, loading it again");
        proxy.loaded = false;
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

fn service_key(namespace: &str, name: &str) -> ServiceKey {
    format!("{namespace}/{name}").into()
}
