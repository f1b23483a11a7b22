//! Claims on devices: made from templates for the pods that ask for them, let go when nobody uses them any more.
//!
//! Who allocates is the scheduler; here an allocation ends. A claim stays reserved for a pod until that has ended or is
//! known by the server to be gone.

mod plan;
#[cfg(test)]
mod plays;
#[cfg(test)]
mod tests;

pub(crate) use plan::{Named, claims, is_for, named, reserved_for};

use crate::common::{
    Context, Failure, Result,
    failure::{Doing, not_found, unless_gone},
    own_writes::OwnWrites,
};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate};
use mk8s_client::{
    Change, EventRecorder, Informer, Key, Outcome, WorkQueue,
    events::EventType,
    kube::{
        ResourceExt,
        api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    },
    pod::Pod,
};
use plan::{Need, Step};
use serde_json::json;
use std::{collections::BTreeMap, fmt, sync::Arc};

const WORKERS: usize = 8;

/// Pods by the ResourceClaims that they use, and by the templates that they name: `namespace/name`.
pub(crate) const BY_CLAIM: &str = "resource-claim";
const BY_TEMPLATE: &str = "resource-claim-template";
/// Claims by the uid of the pod that controls them.
const BY_OWNER: &str = "resource-claim-owner";

#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Work {
    Pod(Key),
    Claim(Key),
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Work::Pod(key) => write!(f, "pod {key}"),
            Work::Claim(key) => write!(f, "claim {key}"),
        }
    }
}

struct Controller {
    ctx: Context,
    events: EventRecorder,
    pods: Informer<Pod>,
    claims: Informer<ResourceClaim>,
    templates: Informer<ResourceClaimTemplate>,
    made: OwnWrites<ResourceClaim>,
    queue: WorkQueue<Work>,
}

pub(crate) async fn run(ctx: Context) {
    let controller = Arc::new(Controller {
        events: ctx.events.with_component("resource_claim"),
        pods: ctx.informers.all(),
        claims: ctx.informers.all(),
        templates: ctx.informers.all(),
        made: OwnWrites::default(),
        queue: WorkQueue::new("resource_claim"),
        ctx: ctx.clone(),
    });
    controller.index();
    controller.pods.synced().await;
    controller.claims.synced().await;
    controller.templates.synced().await;
    controller.pods.handle({
        let controller = controller.clone();
        move |change| controller.pod_changed(change.object(), matches!(change, Change::Deleted(_)))
    });
    controller.claims.handle({
        let controller = controller.clone();
        move |change| controller.claim_changed(change)
    });
    controller.templates.handle({
        let controller = controller.clone();
        move |change| {
            let key = Key::of(change.object().as_ref());
            for pod in controller.pods.indexed(BY_TEMPLATE, &key.to_string()) {
                controller.pod_changed(&pod, false);
            }
        }
    });
    let queue = controller.queue.clone();
    let reconcile = move |work| {
        let controller = controller.clone();
        async move {
            match work {
                Work::Pod(key) => controller.pod(&key).await,
                Work::Claim(key) => controller.claim(&key).await,
            }
        }
    };
    ctx.serve(queue, WORKERS, reconcile).await;
}

impl Controller {
    fn index(&self) {
        index(&self.pods);
        self.pods.index(BY_TEMPLATE, |pod| {
            let templates = plan::claims(pod).iter().filter_map(|claim| claim.resource_claim_template_name.as_deref());
            templates.map(|name| beside(pod, name)).collect()
        });
        self.claims.index(BY_OWNER, |claim| plan::owner(claim).map(|(_, uid)| uid.to_owned()).into_iter().collect());
    }

    fn pod_changed(&self, pod: &Pod, gone: bool) {
        if plan::claims(pod).is_empty() && plan::extended(pod).is_none() {
            return;
        }
        if gone || plan::is_done(pod) {
            let namespace = pod.namespace().unwrap_or_default();
            claim_names(pod).for_each(|name| self.queue.add(Work::Claim(Key::new(namespace.clone(), name))));
        }
        if gone {
            self.made.forget(&Key::of(pod));
        } else if wants_claims(pod) {
            self.queue.add(Work::Pod(Key::of(pod)));
        }
    }

    fn claim_changed(&self, change: &Change<ResourceClaim>) {
        let key = Key::of(change.object().as_ref());
        for pod in self.pods.indexed(BY_CLAIM, &key.to_string()) {
            self.pod_changed(&pod, false);
        }
        if !matches!(change, Change::Deleted(_)) {
            self.queue.add(Work::Claim(key));
        }
    }

    async fn pod(&self, key: &Key) -> Result<Outcome> {
        let Some(pod) = self.pods.by_key(key).filter(|pod| wants_claims(pod)) else { return Ok(Outcome::Done) };
        let made = self.make(key, &pod).await?;
        if !made.is_empty() {
            self.record(key, &pod, made).await?;
        }
        if pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_none_or(str::is_empty) {
            return Ok(Outcome::Done);
        }
        for name in claim_names(&pod) {
            let claim = self.claims.by_key(&Key::new(key.namespace.clone(), name));
            let Some(claim) = claim.filter(|claim| plan::lacks_reservation(&pod, claim)) else { continue };
            let mut reserved = ResourceClaim::clone(&claim);
            let consumers = reserved.status.get_or_insert_default().reserved_for.get_or_insert_default();
            consumers.push(plan::consumer(&pod));
            self.write_status(&reserved).await?;
        }
        Ok(Outcome::Done)
    }

    /// Makes the claims that are missing. Returns those that the pod's status does not name: by the pod's name for them.
    async fn make(&self, key: &Key, pod: &Pod) -> Result<BTreeMap<String, String>> {
        let mut unrecorded = BTreeMap::new();
        let uid = pod.uid().unwrap_or_default();
        for claim in plan::claims(pod) {
            let known = match plan::named(pod, claim) {
                Named::Generated(name) => self.claims.by_key(&Key::new(key.namespace.clone(), name)),
                _ => None,
            };
            let own = self.made.read(key, &self.claims, || self.claims.indexed(BY_OWNER, &uid));
            let template = claim.resource_claim_template_name.as_deref();
            let template = template.and_then(|name| self.templates.get(&key.namespace, name));
            let made = match plan::need(pod, claim, known.as_deref(), &own, template.as_deref()) {
                Need::Nothing => continue,
                Need::Record(name) => Ok(name),
                Need::NoTemplate(name) => Err(Failure::Other(format!(
                    "resource claim template {name:?}: resourceclaimtemplate.resource.k8s.io {name:?} not found"
                ))),
                Need::Create(wanted) => self.create(key, *wanted).await,
            };
            match made {
                Ok(name) => drop(unrecorded.insert(claim.name.clone(), name)),
                Err(failure) => {
                    let message = format!("PodResourceClaim {}: {}", claim.name, failure.message());
                    self.events.event(pod, EventType::Warning, "FailedResourceClaimCreation", message);
                    return Err(failure);
                }
            }
        }
        Ok(unrecorded)
    }

    async fn create(&self, pod: &Key, wanted: ResourceClaim) -> Result<String> {
        let created = self.ctx.api::<ResourceClaim>(&pod.namespace).create(&PostParams::default(), &wanted).await;
        let created = created.doing("create ResourceClaim")?;
        let name = created.name_any();
        self.made.wrote(pod, created);
        Ok(name)
    }

    async fn record(&self, key: &Key, pod: &Pod, made: BTreeMap<String, String>) -> Result<()> {
        let mut all = made;
        let known = pod.status.iter().flat_map(|status| status.resource_claim_statuses.iter().flatten());
        for status in known {
            if let Some(name) = &status.resource_claim_name {
                all.entry(status.name.clone()).or_insert_with(|| name.clone());
            }
        }
        let statuses: Vec<_> =
            all.iter().map(|(name, claim)| json!({"name": name, "resourceClaimName": claim})).collect();
        // With the uid: another pod of the name has claims of its own.
        let patch = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": key.name, "uid": pod.uid()},
            "status": {"resourceClaimStatuses": statuses},
        });
        let params = PatchParams::apply("ResourceClaimController").force();
        let written = self.ctx.api::<Pod>(&key.namespace).patch_status(&key.name, &params, &Patch::Apply(patch)).await;
        unless_gone(written).doing(format_args!("update pod {key} ResourceClaimStatuses"))?;
        Ok(())
    }

    async fn claim(&self, key: &Key) -> Result<Outcome> {
        let Some(claim) = self.claims.by_key(key) else { return Ok(Outcome::Done) };
        let remaining = self.remaining(&claim).await?;
        // A pod that is not known yet may come; one that is truly gone takes the claim with it.
        let owner = plan::owner(&claim).and_then(|(name, uid)| Some((self.pods.get(&key.namespace, name)?, uid)));
        let orphan = owner.is_some_and(|(pod, uid)| pod.uid().as_deref() != Some(uid) || plan::is_done(&pod));
        let mut current = ResourceClaim::clone(&claim);
        for step in plan::steps(&claim, remaining, orphan) {
            match step {
                Step::Status { reserved_for, allocated } => {
                    let status = current.status.get_or_insert_default();
                    status.reserved_for = Some(reserved_for).filter(|consumers| !consumers.is_empty());
                    if !allocated {
                        (status.allocation, status.devices) = (None, None);
                    }
                    let Some(written) = self.write_status(&current).await? else { return Ok(Outcome::Done) };
                    current = written;
                }
                Step::Release => {
                    current.finalizers_mut().retain(|finalizer| finalizer != plan::ALLOCATED);
                    let api = self.ctx.api::<ResourceClaim>(&key.namespace);
                    let written = unless_gone(api.replace(&key.name, &PostParams::default(), &current).await);
                    let Some(written) = written.doing(format_args!("release claim {key}"))? else {
                        return Ok(Outcome::Done);
                    };
                    current = written;
                }
                Step::Delete => {
                    let only = Preconditions { uid: current.uid(), resource_version: None };
                    let params = DeleteParams { preconditions: Some(only), ..DeleteParams::default() };
                    let deleted = self.ctx.api::<ResourceClaim>(&key.namespace).delete(&key.name, &params).await;
                    unless_gone(deleted).doing(format_args!("delete unused generated claim {key}"))?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// The consumers of a claim that still are, or of which it is not known what they are.
    async fn remaining(&self, claim: &ResourceClaim) -> Result<Vec<ResourceClaimConsumerReference>> {
        let namespace = claim.namespace().unwrap_or_default();
        let mut remaining = Vec::new();
        for consumer in plan::reserved_for(claim) {
            let is_pod = consumer.resource == "pods" && consumer.api_group.as_deref().is_none_or(str::is_empty);
            let is_the_same = |pod: &Pod| pod.uid().as_deref() == Some(&consumer.uid);
            let keep = match self.pods.get(&namespace, &consumer.name) {
                _ if !is_pod => true,
                Some(pod) => is_the_same(&pod) && !plan::is_done(&pod),
                // The scheduler may know the pod already: the server decides.
                None => match self.ctx.api::<Pod>(&namespace).get(&consumer.name).await {
                    Ok(pod) => is_the_same(&pod),
                    Err(error) if not_found(&error) => false,
                    Err(error) => return Err(error).doing(format_args!("look for pod {}", consumer.name)),
                },
            };
            if keep {
                remaining.push(consumer.clone());
            }
        }
        Ok(remaining)
    }

    async fn write_status(&self, claim: &ResourceClaim) -> Result<Option<ResourceClaim>> {
        let api = self.ctx.api::<ResourceClaim>(&claim.namespace().unwrap_or_default());
        let written = api.replace_status(&claim.name_any(), &PostParams::default(), claim).await;
        unless_gone(written).doing(format_args!("write the status of claim {}", claim.name_any()))
    }
}

/// Files pods under the ResourceClaims that they use.
pub(crate) fn index(pods: &Informer<Pod>) {
    pods.index(BY_CLAIM, |pod| claim_names(pod).map(|name| beside(pod, &name)).collect());
}

/// One that has ended needs none any more: a claim made for it would be deleted at once, and made again.
fn wants_claims(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none() && !plan::is_done(pod)
}

/// The ResourceClaims that a pod uses, as far as they are known.
fn claim_names(pod: &Pod) -> impl Iterator<Item = String> {
    let named = plan::claims(pod).iter().filter_map(|claim| match plan::named(pod, claim) {
        Named::Given(name) | Named::Generated(name) => Some(name),
        _ => None,
    });
    named.chain(plan::extended(pod).map(str::to_owned))
}

/// `namespace/name` of something in the pod's namespace.
fn beside(pod: &Pod, name: &str) -> String {
    Key::new(pod.namespace().unwrap_or_default(), name).to_string()
}
