//! ResourceQuotas: what of them is used. That nothing exceeds them is seen to by the server, when objects are written; both
//! reckon with `mk8s_api::quota`.
//!
//! ```text
//! pods, claims, services ─▶ charges ─┐
//! device classes ─▶ their resources ─┤
//! inventory ─▶ counts by kind ───────┴─▶ status.used
//! ```

mod charges;
mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

use crate::{
    common::{
        Context, Result,
        failure::{Doing, unless_gone},
        queue_changes,
    },
    inventory::{self, Inventory},
};
use charges::Charges;
use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::{PersistentVolumeClaim, ResourceQuota, Service},
    resource::v1::{DeviceClass, ResourceClaim},
};
use mk8s_api::quota::{
    Charge,
    devices::{Classes, count_extended, is_extended},
};
use mk8s_client::{
    Informer, Key, Kind, Outcome, WorkQueue,
    kube::{ResourceExt, api::PostParams},
    pod::Pod,
};
use plan::{CHARGED, Observed, concerns, is_charged, plan};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

const WORKERS: usize = 2;

/// Changes that come together are reckoned with together.
const GATHER: Duration = Duration::from_millis(50);

struct Controller {
    ctx: Context,
    inventory: Inventory,
    quotas: Informer<ResourceQuota>,
    pods: Informer<Pod>,
    services: Informer<Service>,
    claims: Informer<PersistentVolumeClaim>,
    device_claims: Informer<ResourceClaim>,
    classes: Informer<DeviceClass>,
    charges: HashMap<&'static str, Charges>,
}

/// Listens to the inventory before it runs; the rest goes on its own.
pub(crate) fn prepare(ctx: Context, inventory: Inventory) -> impl Future<Output = ()> {
    let queue = WorkQueue::new("resource-quota-controller");
    let quotas = ctx.informers.all::<ResourceQuota>();
    inventory.handle({
        let (queue, quotas) = (queue.clone(), quotas.clone());
        move |change| {
            let (inventory::Change::Applied(record) | inventory::Change::Removed(record)) = change;
            let (group, plural) = (&record.kind.group, &record.kind.plural);
            // Those are followed as a whole.
            if !is_charged(group, plural) {
                queue_quotas(&quotas, &record.key.namespace, group, plural, &queue);
            }
        }
    });
    run(ctx, inventory, quotas, queue)
}

async fn run(ctx: Context, inventory: Inventory, quotas: Informer<ResourceQuota>, queue: WorkQueue<Key>) {
    let controller = Arc::new(Controller {
        pods: ctx.informers.all(),
        services: ctx.informers.all(),
        claims: ctx.informers.all(),
        device_claims: ctx.informers.all(),
        classes: ctx.informers.all(),
        charges: CHARGED.iter().map(|(group, plural)| (*plural, Charges::new(group, plural))).collect(),
        quotas,
        inventory: inventory.clone(),
        ctx: ctx.clone(),
    });
    controller.quotas.synced().await;
    controller.pods.synced().await;
    controller.services.synced().await;
    controller.claims.synced().await;
    controller.device_claims.synced().await;
    controller.classes.synced().await;
    inventory.synced().await;
    queue_changes(&controller.quotas, &queue);
    follow(&controller.pods, ("", "pods"), &controller.quotas, &queue);
    follow(&controller.services, ("", "services"), &controller.quotas, &queue);
    follow(&controller.claims, ("", "persistentvolumeclaims"), &controller.quotas, &queue);
    follow(&controller.device_claims, ("resource.k8s.io", "resourceclaims"), &controller.quotas, &queue);
    controller.classes.handle({
        let (queue, quotas) = (queue.clone(), controller.quotas.clone());
        move |_| queue_extended(&quotas, &queue)
    });
    let reconcile = move |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

fn follow<K: Kind>(
    informer: &Informer<K>,
    (group, plural): (&'static str, &'static str),
    quotas: &Informer<ResourceQuota>,
    queue: &WorkQueue<Key>,
) {
    let (quotas, queue) = (quotas.clone(), queue.clone());
    informer.handle(move |change| {
        let namespace = change.object().namespace().unwrap_or_default();
        queue_quotas(&quotas, &namespace, group, plural, &queue);
    });
}

fn queue_quotas(quotas: &Informer<ResourceQuota>, namespace: &str, group: &str, plural: &str, queue: &WorkQueue<Key>) {
    for quota in quotas.list_in(namespace) {
        if limited(&quota).any(|name| concerns(name, group, plural)) {
            queue.add_after(Key::of(quota.as_ref()), GATHER);
        }
    }
}

/// A class stands behind extended resources in all namespaces.
fn queue_extended(quotas: &Informer<ResourceQuota>, queue: &WorkQueue<Key>) {
    for quota in quotas.list() {
        if limited(&quota).any(|name| is_extended(name)) {
            queue.add_after(Key::of(quota.as_ref()), GATHER);
        }
    }
}

fn limited(quota: &ResourceQuota) -> impl Iterator<Item = &String> {
    quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten()).map(|(name, _)| name)
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Outcome> {
        let Some(quota) = self.quotas.by_key(&key) else {
            if self.quotas.list_in(&key.namespace).is_empty() {
                self.charges.values().for_each(|charges| charges.forget(&key.namespace));
            }
            return Ok(Outcome::Done);
        };
        let now = Timestamp::now();
        let plan = plan(now, &self.observe(&quota, now));
        if let Some(status) = plan.status {
            let updated = ResourceQuota { status: Some(status), ..quota.as_ref().clone() };
            let api = self.ctx.api::<ResourceQuota>(&key.namespace);
            let written = unless_gone(api.replace_status(&key.name, &PostParams::default(), &updated).await);
            written.doing(format_args!("updating the status of {key}"))?;
        }
        Ok(plan.look_again.map_or(Outcome::Done, Outcome::After))
    }

    fn observe(&self, quota: &Arc<ResourceQuota>, now: Timestamp) -> Observed {
        let namespace = quota.namespace().unwrap_or_default();
        let is_asked = |group: &str, plural: &str| limited(quota).any(|name| concerns(name, group, plural));
        let mut charges = BTreeMap::new();
        for (_, plural) in CHARGED.iter().filter(|(group, plural)| is_asked(group, plural)) {
            let known = &self.charges[plural];
            let found = match *plural {
                "pods" => known.of(&self.pods, &namespace, now, text_of_pod),
                "services" => known.of(&self.services, &namespace, now, |service| json!(service)),
                "resourceclaims" => {
                    let found = known.of(&self.device_claims, &namespace, now, |claim| json!(claim));
                    let extended = limited(quota).any(|name| is_extended(name));
                    if extended { self.with_extended(&found, &namespace, now) } else { found }
                }
                _ => known.of(&self.claims, &namespace, now, |claim| json!(claim)),
            };
            charges.insert(*plural, found);
        }
        let mut counts = BTreeMap::new();
        for kind in self.inventory.kinds().all().filter(|kind| kind.namespaced && is_asked(&kind.group, &kind.plural)) {
            if !is_charged(&kind.group, &kind.plural) {
                counts.insert((kind.group.clone(), kind.plural.clone()), self.inventory.count(kind, &namespace));
            }
        }
        let dying = match charges.contains_key("pods") {
            true => self.pods.select_in(&namespace, |pod| pod.metadata.deletion_timestamp.is_some()),
            false => Vec::new(),
        };
        let gone = dying.iter().filter_map(|pod| gone_at(pod)).filter(|gone| *gone >= now);
        Observed { quota: quota.clone(), charges, counts, next_gone: gone.min() }
    }

    /// Claims count for the extended resources that their classes stand behind, too. That depends on classes and pods, so
    /// it is not kept.
    fn with_extended(&self, claims: &[Arc<Charge>], namespace: &str, now: Timestamp) -> Vec<Arc<Charge>> {
        let said = |class: &Arc<DeviceClass>| (class.name_any(), class.spec.extended_resource_name.clone());
        let classes: Classes = self.classes.list().iter().map(said).collect();
        let pod = |name: &str| self.pods.get(namespace, name).map(|pod| text_of_pod(&pod));
        let mut claims: Vec<Charge> = claims.iter().map(|claim| claim.as_ref().clone()).collect();
        count_extended(&mut claims, &classes, pod, now);
        claims.into_iter().map(Arc::new).collect()
    }
}

fn text_of_pod(pod: &Pod) -> Value {
    json!({"metadata": pod.metadata, "spec": pod.spec, "status": pod.status})
}

fn gone_at(pod: &Pod) -> Option<Timestamp> {
    let grace = jiff::SignedDuration::from_secs(pod.metadata.deletion_grace_period_seconds?);
    pod.metadata.deletion_timestamp.as_ref()?.0.checked_add(grace).ok()
}
