//! The ranges that addresses of Services come from, and an IPAddress for each address that a Service has.
//!
//! ```text
//! ServiceCIDR: finalizer ─▶ Ready ─▶ the allocator uses it
//!     deleted ─▶ Ready=False while only it covers some address ─▶ 10 s for the allocator to hear of it ─▶ gone
//! Service ─▶ its addresses ─▶ IPAddress ─▶ gone with the Service
//! ```
//!
//! The allocator goes by the Services themselves; the IPAddresses made here tell others, and hold up the deletion of
//! their range.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::common::{
    Context, Result,
    failure::{Doing, already_exists, unless_gone},
    queue_changes,
};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::Service,
        networking::v1::{IPAddress, ServiceCIDR},
    },
    apimachinery::pkg::apis::meta::v1::Condition,
};
use mk8s_client::{
    Informer, Key, Outcome, WorkQueue,
    kube::{
        Api, ResourceExt,
        api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    },
};
use plan::{AddressStep, FINALIZER, Observed, READY, Step, addresses_of, plan_address, plan_range};
use serde_json::json;
use std::{net::IpAddr, sync::Arc};

struct Controller {
    ctx: Context,
    ranges: Informer<ServiceCIDR>,
    addresses: Informer<IPAddress>,
    services: Informer<Service>,
    range_queue: WorkQueue<Key>,
    address_queue: WorkQueue<Key>,
}

const BY_ADDRESS: &str = "cluster-ip";

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        ranges: ctx.informers.all(),
        addresses: ctx.informers.all(),
        services: ctx.informers.all(),
        range_queue: WorkQueue::new("service-cidr-controller"),
        address_queue: WorkQueue::new("service-addresses"),
        ctx: ctx.clone(),
    });
    controller.services.index(BY_ADDRESS, |service| addresses_of(service).map(|address| address.to_string()).collect());
    controller.ranges.synced().await;
    controller.addresses.synced().await;
    controller.services.synced().await;
    controller.follow();
    let (for_ranges, for_addresses) = (controller.clone(), controller.clone());
    let ranges = move |key| {
        let controller = for_ranges.clone();
        async move { controller.reconcile_range(key).await }
    };
    let addresses = move |key| {
        let controller = for_addresses.clone();
        async move { controller.reconcile_address(key).await }
    };
    tokio::join!(
        ctx.serve(controller.range_queue.clone(), 2, ranges),
        ctx.serve(controller.address_queue.clone(), 5, addresses)
    );
}

impl Controller {
    fn follow(self: &Arc<Self>) {
        queue_changes(&self.addresses, &self.address_queue);
        let this = self.clone();
        self.services.handle(move |change| {
            let both = [Some(change.object()), change.old()].into_iter().flatten();
            let addresses = both.flat_map(|service| addresses_of(service).collect::<Vec<_>>());
            addresses.for_each(|address| this.address_queue.add(Key::new("", address.to_string())));
        });
        // Ranges are few, and what becomes of one may depend on any other.
        let this = self.clone();
        self.ranges
            .handle(move |_| this.ranges.list().iter().for_each(|range| this.range_queue.add(Key::of(range.as_ref()))));
        let this = self.clone();
        self.addresses.handle(move |_| {
            let leaving = this.ranges.list().into_iter().filter(|range| range.metadata.deletion_timestamp.is_some());
            leaving.for_each(|range| this.range_queue.add(Key::of(range.as_ref())));
        });
    }

    async fn reconcile_range(&self, key: Key) -> Result<Outcome> {
        let Some(range) = self.ranges.by_key(&key) else { return Ok(Outcome::Done) };
        let leaving = range.metadata.deletion_timestamp.is_some();
        let addresses = if leaving { self.addresses.list() } else { Vec::new() };
        let observed = Observed { ranges: self.ranges.list(), addresses, range: range.clone() };
        let api = Api::<ServiceCIDR>::all(self.ctx.client.clone());
        let mut outcome = Outcome::Done;
        for step in plan_range(&observed, Timestamp::now()) {
            match step {
                Step::Protect | Step::LetGo => {
                    let mut finalizers = range.finalizers().to_vec();
                    finalizers.retain(|name| name != FINALIZER);
                    if step == Step::Protect {
                        finalizers.push(FINALIZER.to_owned());
                    }
                    let patch =
                        json!({"metadata": {"resourceVersion": range.resource_version(), "finalizers": finalizers}});
                    unless_gone(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await)
                        .doing(format_args!("changing the finalizers of ServiceCIDR {key}"))?;
                }
                Step::Say(condition) => self.say(&range, condition).await?,
                Step::Wait(time) => outcome = Outcome::After(time),
            }
        }
        Ok(outcome)
    }

    async fn say(&self, range: &ServiceCIDR, condition: Condition) -> Result<()> {
        let name = range.name_any();
        let mut conditions = range.status.clone().unwrap_or_default().conditions.unwrap_or_default();
        conditions.retain(|known| known.type_ != READY);
        conditions.push(condition);
        let patch = json!({"status": {"conditions": conditions}});
        let api = Api::<ServiceCIDR>::all(self.ctx.client.clone());
        unless_gone(api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await)
            .doing(format_args!("updating the status of ServiceCIDR {name}"))
            .map(drop)
    }

    async fn reconcile_address(&self, key: Key) -> Result<Outcome> {
        let Ok(address) = key.name.parse::<IpAddr>() else { return Ok(Outcome::Done) };
        let known = self.addresses.by_key(&key);
        let mut users = self.services.indexed(BY_ADDRESS, &address.to_string());
        users.sort_by_key(|service| {
            (service.metadata.creation_timestamp.clone(), service.namespace(), service.name_any())
        });
        let api = Api::<IPAddress>::all(self.ctx.client.clone());
        match plan_address(address, users.first().map(AsRef::as_ref), known.as_deref()) {
            AddressStep::Nothing => {}
            AddressStep::Create(new) => match api.create(&PostParams::default(), &new).await {
                // Somebody else's, or the informer is behind: its next change tells.
                Err(error) if already_exists(&error) => {}
                created => drop(created.doing(format_args!("creating IPAddress {key}"))?),
            },
            AddressStep::Delete => {
                let uid = known.as_ref().and_then(|known| known.uid());
                let params = DeleteParams {
                    preconditions: Some(Preconditions { uid, resource_version: None }),
                    ..DeleteParams::default()
                };
                unless_gone(api.delete(&key.name, &params).await).doing(format_args!("deleting IPAddress {key}"))?;
            }
        }
        Ok(Outcome::Done)
    }
}
